//! Numbers as counts, checked and named.

use crate::failure::Failure;
use crate::js::{Env, Type, Value};
use forebay::Error;

/// The largest whole number that JavaScript counts exactly: 2^53 - 1.
pub const SAFE: f64 = 9_007_199_254_740_991.0;

/// A number as JavaScript prints it.
pub fn show(n: f64) -> String {
    if n.is_infinite() {
        return if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    n.to_string()
}

/// A whole number from 0 to `max`.
pub fn count(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
    max: u64,
) -> Result<u64, Failure> {
    let max = (SAFE as u64).min(max);
    let allowed = || format!("a whole number from 0 to {max}");
    match env.as_number(value)? {
        Some(n) if n.fract() == 0.0 && n >= 0.0 && n <= max as f64 => Ok(n as u64),
        Some(n) => Err(Error::invalid(argument, show(n), allowed()).into()),
        None => Err(Failure::of_type(
            argument,
            env.type_of(value)?.name(),
            allowed(),
        )),
    }
}

/// A whole number of any size, also as a bigint; what does not fit is the
/// largest `u64`.
pub fn large_count(env: Env<'_>, value: Value<'_>, argument: &'static str) -> Result<u64, Failure> {
    const ALLOWED: &str = "a whole number or bigint, not negative";
    if let Some(n) = env.as_number(value)? {
        // The cast saturates.
        return if n.fract() == 0.0 && n >= 0.0 {
            Ok(n as u64)
        } else {
            Err(Error::invalid(argument, show(n), ALLOWED).into())
        };
    }
    match env.as_bigint(value)? {
        Some(Some(n)) => Ok(n),
        Some(None) => Err(Error::invalid(argument, "a negative bigint", ALLOWED).into()),
        None => Err(Failure::of_type(
            argument,
            env.type_of(value)?.name(),
            ALLOWED,
        )),
    }
}

/// Any number, NaN too: which are allowed is for the caller to say.
pub fn float(env: Env<'_>, value: Value<'_>, argument: &'static str) -> Result<f64, Failure> {
    env.as_number(value)?.map_or_else(
        || {
            let given: Type = env.type_of(value)?;
            Err(Failure::of_type(argument, given.name(), "a number"))
        },
        Ok,
    )
}
