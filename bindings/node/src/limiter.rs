//! Verbs of a limiter. `allow` answers with a boolean; `take` and `peek` too,
//! and leave the rest of the verdict in the realm's numbers.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::Call;
use crate::handle::Handle;
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::number::{count, SAFE};
use crate::options::Options;
use crate::text::{self, with_text};
use forebay::{Charge, Error, Limiter, LimiterOptions, Rate, Verdict};

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, crate::function::Verb<Handle<Limiter>>)] = &[
    ("allow", allow),
    ("take", take),
    ("peek", peek),
    ("reset", reset),
    ("stats", stats),
];

fn allow<'e>(limiter: &Handle<Limiter>, call: &Call<'e>) -> Answer<'e> {
    let key = call.arguments[0];
    let allowed = if call.given < 2 {
        with_key(call.env, key, |key| Ok(limiter.get()?.allow(key)))
    } else {
        with_charge(call, |charge| {
            with_key(call.env, key, |key| {
                Ok(limiter.get()?.allow_with(key, charge))
            })
        })
    };
    call.env.boolean(allowed?)
}

fn take<'e>(limiter: &Handle<Limiter>, call: &Call<'e>) -> Answer<'e> {
    let verdict = with_charge(call, |charge| {
        with_key(call.env, call.arguments[0], |key| {
            Ok(limiter.get()?.take_with(key, charge))
        })
    })?;
    answer(call, verdict)
}

fn peek<'e>(limiter: &Handle<Limiter>, call: &Call<'e>) -> Answer<'e> {
    let verdict = with_charge(call, |charge| {
        with_key(call.env, call.arguments[0], |key| {
            Ok(limiter.get()?.peek_with(key, charge))
        })
    })?;
    answer(call, verdict)
}

fn reset<'e>(limiter: &Handle<Limiter>, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(limiter.get()?.reset(key))
    })?;
    call.env.boolean(was)
}

fn stats<'e>(limiter: &Handle<Limiter>, call: &Call<'e>) -> Answer<'e> {
    let stats = limiter.get()?.stats();
    call.env.numbers(&[
        ("admitted", stats.admitted),
        ("refused", stats.refused),
        ("evictedLive", stats.evicted_live),
        ("unknownTier", stats.unknown_tier),
        ("contended", stats.contended),
        ("slots", stats.slots),
    ])
}

/// Calls `use_it` with the cost and tier of the arguments after the key.
fn with_charge<R>(
    call: &Call<'_>,
    use_it: impl FnOnce(Charge<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let [_, cost, tier, _] = call.arguments;
    let mut charge = Charge::default();
    if call.given > 1 && call.env.type_of(cost)? != Type::Undefined {
        charge.cost = count(call.env, cost, "cost", SAFE as u64)?;
    }
    if call.given < 3 || call.env.type_of(tier)? == Type::Undefined {
        return use_it(charge);
    }
    let with_tier = |tier: &[u8]| match std::str::from_utf8(tier) {
        Ok(tier) => use_it(charge.tier(tier)),
        // V8 writes UTF-8 only.
        Err(_) => Err(Error::invalid("tier", "bytes", "text").into()),
    };
    match with_text(call.env, tier, "tier", with_tier)? {
        Some(result) => result,
        None => Err(Failure::of_type(
            "tier",
            call.env.type_of(tier)?.name(),
            "the name of a tier",
        )),
    }
}

/// The verdict: whether it is allowed; the numbers limit, remaining, retry
/// after (ms, -1 for never) and reset after (ms) in the realm.
fn answer<'e>(call: &Call<'e>, verdict: Verdict) -> Answer<'e> {
    let [limit, remaining, retry_after, reset_after, ..] = call.realm.numbers();
    limit.set(tokens(verdict.limit));
    remaining.set(tokens(verdict.remaining));
    retry_after.set(verdict.retry_after.map_or(-1.0, to_ms));
    reset_after.set(to_ms(verdict.reset_after));
    call.env.boolean(verdict.allowed)
}

/// Tokens as a number: an unlimited tier has infinitely many.
fn tokens(n: u64) -> f64 {
    if n == u64::MAX {
        f64::INFINITY
    } else {
        n as f64
    }
}

/// `'60/min burst 90'`, or `{rate, per, burst, tiers, maxKeys}`.
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<LimiterOptions>, Failure> {
    if let Some(rate) = text::to_string(env, value, "rate")? {
        return Ok(Some(LimiterOptions::new(rate.parse()?)));
    }
    let Some(options) = Options::read(env, value, &["rate", "per", "burst", "tiers", "maxKeys"])?
    else {
        return Ok(None);
    };
    let mut limiter = LimiterOptions::new(rate(env, &options)?);
    if let Some(tiers) = options.value("tiers")? {
        match env.type_of(tiers)? {
            Type::Object => {}
            other => {
                return Err(Failure::of_type(
                    "tiers",
                    other.name(),
                    "an object of rates by tier, such as {pro: '100/min', admin: 'unlimited'}",
                ))
            }
        }
        for tier in env.own_names(tiers)? {
            let tier = text::to_string(env, tier, "tier")?.unwrap_or_default();
            limiter = limiter.tier(&tier, tier_rate(env, env.get(tiers, &tier)?)?);
        }
    }
    if let Some(n) = options.count("maxKeys")? {
        limiter = limiter.max_keys(n);
    }
    Ok(Some(limiter))
}

/// A tier's rate: text or `{rate, per, burst}`.
fn tier_rate<'e>(env: Env<'e>, value: Value<'e>) -> Result<Rate, Failure> {
    if let Some(text) = text::to_string(env, value, "rate")? {
        return Ok(text.parse()?);
    }
    match Options::read(env, value, &["rate", "per", "burst"])? {
        Some(options) => rate(env, &options),
        None => Err(not_a_rate("undefined")),
    }
}

/// `rate` as text, or as a number beside `per`; `burst` beside either.
fn rate<'e>(env: Env<'e>, options: &Options<'e>) -> Result<Rate, Failure> {
    let Some(rate) = options.value("rate")? else {
        return Err(not_a_rate("undefined"));
    };
    let per = options.value("per")?;
    let mut result = match (text::to_string(env, rate, "rate")?, per) {
        (Some(text), None) => text.parse::<Rate>()?,
        (Some(text), Some(_)) => {
            return Err(Error::invalid(
                "per",
                format!("a period beside the rate {text:?}"),
                "none there: the text says it",
            )
            .into())
        }
        (None, per) => {
            if env.type_of(rate)? != Type::Number {
                return Err(not_a_rate(env.type_of(rate)?.name()));
            }
            let count = count(env, rate, "rate", SAFE as u64)?;
            match per {
                Some(per) => Rate::new(count, duration(env, per, "per")?),
                None => {
                    return Err(Failure::of_type(
                        "per",
                        "undefined",
                        "the period of the rate, such as '1m' or 60000",
                    ))
                }
            }
        }
    };
    if let Some(burst) = options.count("burst")? {
        result = result.burst(burst);
    }
    Ok(result)
}

fn not_a_rate(given: &str) -> Failure {
    Failure::of_type(
        "rate",
        given,
        "text such as '60/min burst 90' or 'unlimited', or a number beside per",
    )
}
