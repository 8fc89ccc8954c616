//! Options as Python's callers give them: keywords, each of them or not.

use crate::engine::{self, raise};
use crate::rate::rates;
use forebay::Error;
use pyo3::prelude::*;
use pyo3::types::{PyEllipsis, PyMapping, PyString};
use std::str::FromStr;

/// An option that was given, through its conversion.
pub fn given<T>(
    argument: &'static str,
    value: Option<&Bound<'_, PyAny>>,
    convert: fn(&'static str, &Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    value.map(|value| convert(argument, value)).transpose()
}

/// An option that is one of a few, by name.
pub fn named<T: FromStr<Err = Error>>(py: Python<'_>, name: Option<&str>) -> PyResult<Option<T>> {
    engine::attempt(py, || name.map(str::parse).transpose())
}

/// The argument without which an object is attached to as it is: needed when
/// other options are given.
pub fn needed<'a, 'py>(
    py: Python<'py>,
    argument: &'static str,
    value: Option<&'a Bound<'py, PyAny>>,
    chosen: bool,
    allowed: &str,
) -> PyResult<Option<&'a Bound<'py, PyAny>>> {
    match value {
        None if chosen => Err(raise(py, Error::invalid(argument, "None", allowed))),
        value => Ok(value),
    }
}

/// A failure rate that was left out.
pub const UNSAID: Option<Option<f64>> = None;

/// A breaker's failure rate: nothing when it is `...`, off when it is `None`.
pub fn share(value: &Bound<'_, PyAny>) -> PyResult<Option<Option<f64>>> {
    if value.is_none() {
        return Ok(Some(None));
    }
    if value.is_instance_of::<PyEllipsis>() {
        return Ok(None);
    }
    Ok(Some(Some(value.extract()?)))
}

pub fn by_tier(tiers: &Bound<'_, PyAny>) -> PyResult<Vec<(String, forebay::Rates)>> {
    let mut found = Vec::new();
    for pair in tiers.cast::<PyMapping>()?.items()? {
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyAny>) = pair.extract()?;
        found.push((name.to_str()?.to_owned(), rates(&value)?));
    }
    Ok(found)
}

/// The options with one more, if it was given.
pub fn with<O, T>(options: O, value: Option<T>, set: impl FnOnce(O, T) -> O) -> O {
    match value {
        Some(value) => set(options, value),
        None => options,
    }
}
