//! Numbers and durations as Python gives them, checked before they reach the
//! engine. A value of the wrong type is a `TypeError`; one out of range is a
//! `forebay.InvalidArgument`, worded as the engine words its own.

use crate::engine::raise;
use forebay::Error;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyDeltaAccess, PyFloat, PyString};
use std::time::Duration;

const DURATION: &str = "0 or more seconds, as a finite number or a timedelta";

/// Seconds (any real number) or a `datetime.timedelta`; rounded to the nearest
/// nanosecond.
pub fn duration(argument: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    if let Ok(seconds) = value.cast_exact::<PyFloat>() {
        return seconds_of(argument, seconds.value(), value);
    }
    if let Ok(delta) = value.cast::<PyDelta>() {
        // The days alone carry the sign.
        return match u64::try_from(delta.get_days()) {
            Ok(days) => Ok(Duration::new(
                days * 86_400 + delta.get_seconds().unsigned_abs() as u64,
                delta.get_microseconds().unsigned_abs() * 1_000,
            )),
            Err(_) => Err(invalid(argument, value, DURATION)),
        };
    }
    if value.is_instance_of::<PyBool>() {
        return Err(not_a_duration(argument, value));
    }
    match value.extract::<u64>() {
        Ok(seconds) => return Ok(Duration::from_secs(seconds)),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            return Err(invalid(argument, value, DURATION));
        }
        Err(_) => {} // not an int: perhaps another kind of real number
    }
    match value.extract::<f64>() {
        Ok(seconds) => seconds_of(argument, seconds, value),
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => {
            Err(not_a_duration(argument, value))
        }
        Err(error) => Err(error),
    }
}

fn seconds_of(
    argument: &'static str,
    seconds: f64,
    value: &Bound<'_, PyAny>,
) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(argument, value, DURATION))
}

/// A whole number from 0 to 2^64 - 1.
pub fn unsigned(argument: &'static str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    value.extract::<u64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            invalid(argument, value, "0 to 18446744073709551615")
        } else {
            error
        }
    })
}

/// A whole number from 0 to 2^32 - 1.
pub fn small(argument: &'static str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    match value.extract::<u64>() {
        Ok(number) => {
            u32::try_from(number).map_err(|_| invalid(argument, value, "0 to 4294967295"))
        }
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Err(invalid(argument, value, "0 to 4294967295"))
        }
        Err(error) => Err(error),
    }
}

/// A tier's name, or None.
pub fn tier_of(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.cast::<PyString>() {
        Ok(tier) => Ok(Some(tier.to_str()?.to_owned())),
        Err(_) => Err(PyTypeError::new_err(format!(
            "tier: a str or None, not {}",
            type_name(value)
        ))),
    }
}

/// The error for `value`, shown as Python shows it.
pub fn invalid(argument: &'static str, value: &Bound<'_, PyAny>, allowed: &str) -> PyErr {
    raise(value.py(), Error::invalid(argument, shown(value), allowed))
}

fn not_a_duration(argument: &'static str, value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{argument}: a number of seconds or a datetime.timedelta, not {}",
        type_name(value)
    ))
}

/// The name of a value's type, for a `TypeError`.
pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| "an unnamed type".to_owned(), |name| name.to_string())
}

/// A value's repr, but not a page of it.
fn shown(value: &Bound<'_, PyAny>) -> String {
    const MOST: usize = 60;
    // Python refuses to write out integers of thousands of digits.
    let Ok(text) = value.repr() else {
        return "a number too long to print".to_owned();
    };
    let text = text.to_string_lossy();
    if text.chars().count() <= MOST {
        return text.into_owned();
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
