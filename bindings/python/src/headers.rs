//! `headers`: verdicts as HTTP headers.

use crate::arguments::{duration, invalid, type_name};
use crate::engine;
use crate::key::with_key;
use crate::verdict::Verdict;
use forebay::limiter::Header;
use forebay::{HeaderStyle, Limit};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::time::{SystemTime, UNIX_EPOCH};

/// A limit: its name, its verdict and perhaps its key.
type Row<'py> = (
    Bound<'py, PyString>,
    Bound<'py, Verdict>,
    Option<Bound<'py, PyAny>>,
);

/// The headers that tell a client about these limits.
#[pyfunction]
#[pyo3(signature = (limits, /, *styles, now=None))]
pub fn headers(
    limits: &Bound<'_, PyAny>,
    styles: &Bound<'_, PyTuple>,
    now: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Header>> {
    let mut named = Vec::new();
    for limit in limits.try_iter()? {
        let limit = limit?;
        let row: Result<Row<'_>, _> = limit
            .extract()
            .or_else(|_| limit.extract().map(|(name, verdict)| (name, verdict, None)));
        let (name, verdict, key) = row.map_err(|_: PyErr| {
            PyTypeError::new_err(format!(
                "limits: each a (name, verdict) or (name, verdict, key), not {}",
                type_name(&limit)
            ))
        })?;
        let key = key.map(|key| with_key(&key, <[u8]>::to_vec)).transpose()?;
        named.push((name, verdict, key));
    }
    let limits = named
        .iter()
        .map(|(name, verdict, key)| {
            let limit = Limit::new(name.to_str()?, verdict.get().inner());
            Ok(match key {
                Some(key) => limit.key(key),
                None => limit,
            })
        })
        .collect::<PyResult<Vec<_>>>()?;
    told(styles.py(), &limits, styles, now)
}

/// The headers in these styles, `legacy` unless any is named; `now` is the
/// seconds since 1970, the system's unless given.
pub fn told(
    py: Python<'_>,
    limits: &[Limit<'_>],
    styles: &Bound<'_, PyTuple>,
    now: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Header>> {
    let mut chosen = Vec::new();
    for style in styles {
        let style = style.cast::<PyString>().map_err(|_| {
            PyTypeError::new_err(format!(
                "style: a str such as 'draft-8', not {}",
                type_name(&style)
            ))
        })?;
        let style = style.to_str()?;
        chosen.push(engine::attempt(py, || style.parse::<HeaderStyle>())?);
    }
    if chosen.is_empty() {
        chosen.push(HeaderStyle::Legacy);
    }
    let now = match now {
        Some(now) => UNIX_EPOCH
            .checked_add(duration("now", now)?)
            .ok_or_else(|| invalid("now", now, "seconds since 1970 that a clock can show"))?,
        None => SystemTime::now(),
    };
    engine::attempt(py, || forebay::headers(limits, &chosen, now))
}
