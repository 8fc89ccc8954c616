//! Verbs of a breaker. A permit's 64-bit number travels as two halves in the
//! realm's numbers, because JavaScript's numbers have 53 bits.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{Call, Verb};
use crate::handle::Handle;
use crate::js::{Env, Type, Value};
use crate::number::{count, float};
use crate::options::Options;
use forebay::breaker::Outcome;
use forebay::{Breaker, BreakerOptions, Rejected};

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, Verb<Handle<Breaker>>)] = &[
    ("enter", enter),
    ("leave", leave),
    ("rejection", rejection),
    ("state", state),
    ("stats", stats),
];

/// Whether the call may go: then the permit's high and low half are the realm's
/// first numbers, else the wait in ms is the first.
fn enter<'e>(breaker: &Handle<Breaker>, call: &Call<'e>) -> Answer<'e> {
    let answer = breaker.get()?.enter_raw();
    let [first, second, ..] = call.realm.numbers();
    match answer {
        Ok(permit) => {
            first.set((permit >> 32) as f64);
            second.set((permit & u64::from(u32::MAX)) as f64);
            call.env.boolean(true)
        }
        Err(retry_after) => {
            first.set(to_ms(retry_after));
            call.env.boolean(false)
        }
    }
}

/// `leave(high, low, outcome)`: whether the result counted. Outcomes: 0
/// success, 1 failure, 2 ignored.
fn leave<'e>(breaker: &Handle<Breaker>, call: &Call<'e>) -> Answer<'e> {
    let [high, low, outcome, _] = call.arguments;
    let high = count(call.env, high, "permit", u32::MAX.into())?;
    let low = count(call.env, low, "permit", u32::MAX.into())?;
    let outcome = match count(call.env, outcome, "outcome", 2)? {
        0 => Outcome::Success,
        1 => Outcome::Failure,
        _ => Outcome::Ignored,
    };
    // A result may come after `close()`: it is late, not an error.
    let counted = breaker
        .get()
        .is_ok_and(|breaker| breaker.leave(high << 32 | low, outcome));
    call.env.boolean(counted)
}

/// `rejection(retryAfter)`: the core's sentence for an open breaker.
fn rejection<'e>(breaker: &Handle<Breaker>, call: &Call<'e>) -> Answer<'e> {
    let rejected = Rejected {
        breaker: breaker.get()?.name().into(),
        retry_after: duration(call.env, call.arguments[0], "retryAfter")?,
    };
    call.env.string(rejected.to_string().as_bytes())
}

fn state<'e>(breaker: &Handle<Breaker>, call: &Call<'e>) -> Answer<'e> {
    let state = breaker.get()?.state();
    call.env.string(state.name().as_bytes())
}

fn stats<'e>(breaker: &Handle<Breaker>, call: &Call<'e>) -> Answer<'e> {
    let stats = breaker.get()?.stats();
    call.env.numbers(&[
        ("successes", stats.successes),
        ("failures", stats.failures),
        ("ignored", stats.ignored),
        ("rejected", stats.rejected),
        ("late", stats.late),
        ("opened", stats.opened),
        ("halfOpened", stats.half_opened),
        ("closed", stats.closed),
        ("probes", stats.probes),
    ])
}

/// `{failureThreshold, failureRate, volumeThreshold, window, openFor,
/// successThreshold, halfOpenCalls, probeLease}`
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<BreakerOptions>, Failure> {
    const KNOWN: &[&str] = &[
        "failureThreshold",
        "failureRate",
        "volumeThreshold",
        "window",
        "openFor",
        "successThreshold",
        "halfOpenCalls",
        "probeLease",
    ];
    let Some(options) = Options::read(env, value, KNOWN)? else {
        return Ok(None);
    };
    let mut breaker = BreakerOptions::new();
    if let Some(n) = options.small_count("failureThreshold")? {
        breaker = breaker.failure_threshold(n);
    }
    if let Some(rate) = options.value("failureRate")? {
        breaker = match env.type_of(rate)? {
            Type::Null => breaker.failure_rate(None),
            _ => breaker.failure_rate(float(env, rate, "failureRate")?),
        };
    }
    if let Some(n) = options.small_count("volumeThreshold")? {
        breaker = breaker.volume_threshold(n);
    }
    if let Some(window) = options.duration("window")? {
        breaker = breaker.window(window);
    }
    if let Some(open_for) = options.duration("openFor")? {
        breaker = breaker.open_for(open_for);
    }
    if let Some(n) = options.small_count("successThreshold")? {
        breaker = breaker.success_threshold(n);
    }
    if let Some(n) = options.small_count("halfOpenCalls")? {
        breaker = breaker.half_open_calls(n);
    }
    if let Some(lease) = options.duration("probeLease")? {
        breaker = breaker.probe_lease(lease);
    }
    Ok(Some(breaker))
}
