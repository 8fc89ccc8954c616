//! Durations: milliseconds, or text such as `'5m'`.

use crate::failure::Failure;
use crate::js::{Env, Value};
use crate::number::show;
use crate::text;
use forebay::Error;
use std::time::Duration;

const ALLOWED: &str =
    "milliseconds, or text such as '250ms', '10s', '5m', '1h', '1d'; not negative, below 584 years";

/// A duration argument.
pub fn duration(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
) -> Result<Duration, Failure> {
    if let Some(ms) = env.as_number(value)? {
        return from_units(ms, 1e6)
            .ok_or_else(|| Error::invalid(argument, show(ms), ALLOWED).into());
    }
    match text::to_string(env, value, argument)? {
        Some(text) => parse(&text)
            .ok_or_else(|| Error::invalid(argument, format!("{text:?}"), ALLOWED).into()),
        None => Err(Failure::of_type(
            argument,
            env.type_of(value)?.name(),
            ALLOWED,
        )),
    }
}

/// The duration as JavaScript counts it: milliseconds, with a fraction.
pub fn to_ms(d: Duration) -> f64 {
    ns_to_ms(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds as milliseconds, with a fraction.
pub fn ns_to_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// `amount` units of `ns` nanoseconds, to the nearest nanosecond.
pub fn from_units(amount: f64, ns: f64) -> Option<Duration> {
    let total = (amount * ns).round();
    // False for NaN as well; 2^64 itself is too much.
    (amount >= 0.0 && total < u64::MAX as f64).then(|| Duration::from_nanos(total as u64))
}

/// `'5m'`, `'1.5s'`, `'250 ms'`: a number and the units that rates have, and `ms`.
fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (amount, unit) = text.split_at(unit_at);
    let amount = amount.trim_end();
    if !amount.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let ns = match unit {
        "ms" => 1e6,
        "s" | "sec" | "second" => 1e9,
        "m" | "min" | "minute" => 60e9,
        "h" | "hour" => 3600e9,
        "d" | "day" => 86400e9,
        _ => return None,
    };
    from_units(amount.parse().ok()?, ns)
}
