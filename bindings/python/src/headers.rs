//! `headers`: verdicts as HTTP headers.

use crate::arguments::{duration, invalid, type_name};
use crate::engine;
use crate::verdict::Verdict;
use forebay::limiter::Header;
use forebay::HeaderStyle;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::time::{SystemTime, UNIX_EPOCH};

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
        let pair: Result<(Bound<'_, PyString>, Bound<'_, Verdict>), _> = limit.extract();
        named.push(pair.map_err(|_| {
            PyTypeError::new_err(format!(
                "limits: each a (name, verdict), not {}",
                type_name(&limit)
            ))
        })?);
    }
    let limits = named
        .iter()
        .map(|(name, verdict)| Ok((name.to_str()?, verdict.get().inner())))
        .collect::<PyResult<Vec<_>>>()?;
    told(styles.py(), &limits, styles, now)
}

/// The headers in these styles, `legacy` unless any is named; `now` is the
/// seconds since 1970, the system's unless given.
pub fn told(
    py: Python<'_>,
    limits: &[(&str, &forebay::Verdict)],
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
