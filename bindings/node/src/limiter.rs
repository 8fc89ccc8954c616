//! Verbs of a limiter. `allow` answers with a boolean; the verbs with a verdict
//! too, and leave the rest of it in the realm's numbers.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{functions, Call, Verb};
use crate::handle::{Handle, Opened};
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::number::{count, SAFE};
use crate::options::Options;
use crate::text::{self, with_text};
use crate::waiting::{acquire, reserve};
use forebay::limiter::MOST_RATES;
use forebay::{Charge, Error, Limiter, LimiterOptions, Rate, Rates, Verdict};
use std::cell::Ref;
use std::rc::Rc;

/// A limiter that one JavaScript object opened.
pub struct Open {
    handle: Rc<Handle<Limiter>>,
    /// Where its reservations belong: they close with its region.
    pub siblings: Rc<Opened>,
}

impl Open {
    /// The limiter. Callers run no JavaScript while they hold the answer.
    pub fn get(&self) -> Result<Ref<'_, Limiter>, Error> {
        self.handle.get()
    }
}

const VERBS: &[(&str, Verb<Open>)] = &[
    ("allow", allow),
    ("take", take),
    ("peek", peek),
    ("enforce", enforce),
    ("refund", refund),
    ("penalize", penalize),
    ("block", block),
    ("unblock", unblock),
    ("reserve", reserve),
    ("acquire", acquire),
    ("reset", reset),
    ("clear", clear),
    ("stats", stats),
    ("tierStats", tier_stats),
    ("topRefused", top_refused),
    ("mark", mark),
    ("forgetRefused", forget_refused),
];

/// The functions of a limiter, and its `number` for `takeAll`.
pub fn handed<'e>(call: &Call<'e>, siblings: &Rc<Opened>, limiter: Limiter) -> Answer<'e> {
    let handle = siblings.adopt("limiter", limiter);
    let number = call.realm.limiters().number(&handle);
    let open = Rc::new(Open {
        handle,
        siblings: Rc::clone(siblings),
    });
    let object = functions(call.env, call.realm, &open, VERBS)?;
    call.env
        .set(object, "number", call.env.number(number as f64)?)?;
    Ok(object)
}

fn allow<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let key = call.arguments[0];
    let allowed = if call.given < 2 {
        with_key(call.env, key, |key| Ok(limiter.get()?.allow(key)))
    } else {
        charged(limiter, call, "cost", |limiter, key, charge| {
            limiter.allow_with(key, charge)
        })
    };
    call.env.boolean(allowed?)
}

fn take<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let verdict = charged(limiter, call, "cost", |limiter, key, charge| {
        limiter.take_with(key, charge)
    })?;
    answer(call, verdict)
}

fn peek<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let verdict = charged(limiter, call, "cost", |limiter, key, charge| {
        limiter.peek_with(key, charge)
    })?;
    answer(call, verdict)
}

/// `true`, or the core's sentence for a refusal; either way with the verdict.
fn enforce<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let enforced = charged(limiter, call, "cost", |limiter, key, charge| {
        limiter.enforce_with(key, charge)
    })?;
    match enforced {
        Ok(verdict) => answer(call, verdict),
        Err(limited) => {
            answer(call, limited.verdict)?;
            call.env.string(limited.to_string().as_bytes())
        }
    }
}

fn refund<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let verdict = charged(limiter, call, "tokens", |limiter, key, charge| {
        limiter.refund_with(key, charge)
    })?;
    answer(call, verdict)
}

fn penalize<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let verdict = charged(limiter, call, "tokens", |limiter, key, charge| {
        limiter.penalize_with(key, charge)
    })?;
    answer(call, verdict)
}

fn block<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let [key, time, ..] = call.arguments;
    let time = duration(call.env, time, "time")?;
    with_key(call.env, key, |key| {
        limiter.get()?.block(key, time);
        Ok(())
    })?;
    call.env.undefined()
}

fn unblock<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(limiter.get()?.unblock(key))
    })?;
    call.env.boolean(was)
}

fn reset<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(limiter.get()?.reset(key))
    })?;
    call.env.boolean(was)
}

fn clear<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    limiter.get()?.clear();
    call.env.undefined()
}

/// `[{mark, count, over, key}, …]`: the key as text if it is UTF-8, else as a
/// `Buffer`, or `null`.
fn top_refused<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let refused = limiter.get()?.top_refused();
    let rows = refused
        .iter()
        .map(|refused| {
            let key = match refused.key.as_deref() {
                Some(key) if std::str::from_utf8(key).is_ok() => env.string(key)?,
                Some(key) => env.buffer(key)?,
                None => env.null()?,
            };
            env.record(&[
                ("mark", mark_text(env, refused.mark)?),
                ("count", env.number(refused.count as f64)?),
                ("over", env.number(refused.over as f64)?),
                ("key", key),
            ])
        })
        .collect::<Result<Vec<_>, _>>()?;
    env.array(&rows)
}

fn mark<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let mark = with_key(call.env, call.arguments[0], |key| {
        Ok(limiter.get()?.mark(key))
    })?;
    mark_text(call.env, mark)
}

/// A mark has 64 bits, a number 53: so it is text.
fn mark_text(env: Env<'_>, mark: u64) -> Answer<'_> {
    env.string(format!("{mark:016x}").as_bytes())
}

fn forget_refused<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    limiter.get()?.forget_refused();
    call.env.undefined()
}

fn stats<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let stats = limiter.get()?.stats();
    call.env.numbers(&[
        ("admitted", stats.admitted),
        ("refused", stats.refused),
        ("debts", stats.debts),
        ("evictedLive", stats.evicted_live),
        ("unknownTier", stats.unknown_tier),
        ("contended", stats.contended),
        ("slots", stats.slots),
    ])
}

/// `[{tier, admitted, refused, debts}, …]`
fn tier_stats<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let stats = limiter.get()?.tier_stats();
    let rows = stats
        .iter()
        .map(|of| {
            env.record(&[
                ("tier", env.string(of.tier.as_bytes())?),
                ("admitted", env.number(of.admitted as f64)?),
                ("refused", env.number(of.refused as f64)?),
                ("debts", env.number(of.debts as f64)?),
            ])
        })
        .collect::<Result<Vec<_>, _>>()?;
    env.array(&rows)
}

/// `takeAll([[number, key, cost, tier], …])`: whether all admit it; the verdicts
/// are in the realm's numbers, one behind the other.
pub fn take_all<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let rows = call.arguments[0];
    let rows = (0..env.array_len(rows)?)
        .map(|i| env.element(rows, i))
        .collect::<Result<Vec<_>, _>>()?;
    // Clones: reading a key may run JavaScript that closes the region.
    let limiters = rows
        .iter()
        .map(|row| {
            let number = count(env, env.element(*row, 0)?, "limiter", SAFE as u64)?;
            match call.realm.limiters().get(number) {
                Some(handle) => Ok(handle.get()?.clone()),
                None => Err(Failure::of_type("limiter", "another number", "a Limiter")),
            }
        })
        .collect::<Result<Vec<Limiter>, Failure>>()?;
    let requests = rows
        .iter()
        .zip(&limiters)
        .map(|(row, limiter)| {
            let [key, cost, tier] = [1, 2, 3].map(|i| env.element(*row, i));
            with_charge(env, "cost", cost?, tier?, |charge| {
                with_key(env, key?, |key| Ok(limiter.request(key, charge)))
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let (allowed, verdicts) = forebay::take_all(&requests)?;
    for (i, verdict) in verdicts.iter().enumerate() {
        tell(call, i, verdict);
    }
    env.boolean(allowed)
}

/// Calls `use_it` with the limiter, the key, and the cost and tier after it.
fn charged<R>(
    limiter: &Open,
    call: &Call<'_>,
    cost_is: &'static str,
    use_it: impl FnOnce(&Limiter, &[u8], Charge<'_>) -> R,
) -> Result<R, Failure> {
    let [key, cost, tier, _] = call.arguments;
    if call.given < 2 {
        return with_key(call.env, key, |key| {
            Ok(use_it(&*limiter.get()?, key, Charge::default()))
        });
    }
    with_charge(call.env, cost_is, cost, tier, |charge| {
        with_key(call.env, key, |key| {
            Ok(use_it(&*limiter.get()?, key, charge))
        })
    })
}

/// Calls `use_it` with a cost, which errors call `cost_is`, and a tier; either
/// may be `undefined`.
pub fn with_charge<R>(
    env: Env<'_>,
    cost_is: &'static str,
    cost: Value<'_>,
    tier: Value<'_>,
    use_it: impl FnOnce(Charge<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let mut charge = Charge::default();
    if env.type_of(cost)? != Type::Undefined {
        charge.cost = count(env, cost, cost_is, SAFE as u64)?;
    }
    if env.type_of(tier)? == Type::Undefined {
        return use_it(charge);
    }
    let with_tier = |tier: &[u8]| match std::str::from_utf8(tier) {
        Ok(tier) => use_it(charge.tier(tier)),
        // V8 writes UTF-8 only.
        Err(_) => Err(Error::invalid("tier", "bytes", "text").into()),
    };
    match with_text(env, tier, "tier", with_tier)? {
        Some(result) => result,
        None => Err(Failure::of_type(
            "tier",
            env.type_of(tier)?.name(),
            "the name of a tier",
        )),
    }
}

/// How many of the realm's numbers a verdict takes.
pub const VERDICT: usize = 6;

/// The verdict: whether it is allowed; the rest is in the realm.
pub fn answer<'e>(call: &Call<'e>, verdict: Verdict) -> Answer<'e> {
    tell(call, 0, &verdict);
    call.env.boolean(verdict.allowed)
}

/// Leaves the verdict in the realm as the `i`-th: limit, remaining, retry after
/// (ms, -1 for never), reset after (ms), window (ms), 1 if it is allowed.
fn tell(call: &Call<'_>, i: usize, verdict: &Verdict) {
    let numbers = [
        tokens(verdict.limit),
        tokens(verdict.remaining),
        verdict.retry_after.map_or(-1.0, to_ms),
        to_ms(verdict.reset_after),
        to_ms(verdict.window),
        f64::from(u8::from(verdict.allowed)),
    ];
    let cells = &call.realm.numbers()[i * VERDICT..];
    for (cell, number) in cells.iter().zip(numbers) {
        cell.set(number);
    }
}

/// Tokens as a number: an unlimited tier has infinitely many.
fn tokens(n: u64) -> f64 {
    if n == u64::MAX {
        f64::INFINITY
    } else {
        n as f64
    }
}

/// A rate as text, an array of rates, or `{rate, per, burst, tiers, algorithm,
/// onFull, maxKeys, onError, enabled, showKeys}`.
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<LimiterOptions>, Failure> {
    const KNOWN: &[&str] = &[
        "rate",
        "per",
        "burst",
        "tiers",
        "algorithm",
        "onFull",
        "maxKeys",
        "onError",
        "enabled",
        "showKeys",
    ];
    if let Some(rates) = plain_rates(env, value)? {
        return Ok(Some(LimiterOptions::new(rates)));
    }
    let Some(options) = Options::read(env, value, KNOWN)? else {
        return Ok(None);
    };
    let mut limiter = LimiterOptions::new(rates(env, &options)?);
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
            limiter = limiter.tier(&tier, tier_rates(env, env.get(tiers, &tier)?)?);
        }
    }
    if let Some(algorithm) = options.text("algorithm")? {
        limiter = limiter.algorithm(algorithm.parse()?);
    }
    if let Some(on_full) = options.text("onFull")? {
        limiter = limiter.on_full(on_full.parse()?);
    }
    if let Some(n) = options.count("maxKeys")? {
        limiter = limiter.max_keys(n);
    }
    if let Some(on_error) = options.text("onError")? {
        limiter = limiter.on_error(on_error.parse()?);
    }
    if let Some(is) = options.boolean("enabled")? {
        limiter = limiter.enabled(is);
    }
    if let Some(is) = options.boolean("showKeys")? {
        limiter = limiter.show_keys(is);
    }
    Ok(Some(limiter))
}

/// The rates of a tier: text, an array, or `{rate, per, burst}`.
fn tier_rates<'e>(env: Env<'e>, value: Value<'e>) -> Result<Rates, Failure> {
    if let Some(rates) = plain_rates(env, value)? {
        return Ok(rates);
    }
    match Options::read(env, value, PARTS)? {
        Some(options) => rates(env, &options),
        None => Err(not_a_rate("undefined")),
    }
}

const PARTS: &[&str] = &["rate", "per", "burst"];

/// Rates as text or as an array; `None` if it is neither.
fn plain_rates<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<Rates>, Failure> {
    if let Some(text) = text::to_string(env, value, "rate")? {
        return Ok(Some(text.parse()?));
    }
    match env.type_of(value)? {
        Type::Array => list_of_rates(env, value).map(Some),
        _ => Ok(None),
    }
}

/// An array of rates, each text or `{rate, per, burst}`.
fn list_of_rates<'e>(env: Env<'e>, list: Value<'e>) -> Result<Rates, Failure> {
    let len = env.array_len(list)?;
    if len as usize > MOST_RATES {
        return Err(Error::invalid(
            "rate",
            format!("{len} rates"),
            format!("1 to {MOST_RATES} rates"),
        )
        .into());
    }
    let rates = (0..len)
        .map(|i| {
            let part = env.element(list, i)?;
            if let Some(text) = text::to_string(env, part, "rate")? {
                return Ok(text.parse()?);
            }
            match Options::read(env, part, PARTS)? {
                Some(options) => rate(env, &options),
                None => Err(not_a_rate("undefined")),
            }
        })
        .collect::<Result<Vec<Rate>, Failure>>()?;
    Ok(Rates::from(&rates[..]))
}

/// The `rate` of options: several as text or as an array, or one as [`rate`]
/// has it.
fn rates<'e>(env: Env<'e>, options: &Options<'e>) -> Result<Rates, Failure> {
    let Some(value) = options.value("rate")? else {
        return Err(not_a_rate("undefined"));
    };
    let several = match text::to_string(env, value, "rate")? {
        Some(text) if text.parse::<Rate>().is_err() => text.parse::<Rates>()?,
        None if env.type_of(value)? == Type::Array => list_of_rates(env, value)?,
        _ => return Ok(rate(env, options)?.into()),
    };
    for beside in ["per", "burst"] {
        if options.value(beside)?.is_some() {
            return Err(Error::invalid(
                beside,
                "one beside several rates",
                "none there: each rate says its own",
            )
            .into());
        }
    }
    Ok(several)
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
