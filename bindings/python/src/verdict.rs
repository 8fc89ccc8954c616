//! `Verdict`: what a limiter answers.

use crate::headers;
use crate::values::seconds;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::time::Duration;

/// A limiter's answer; true if the request may proceed.
#[pyclass(frozen, eq, module = "forebay")]
#[derive(PartialEq)]
pub struct Verdict {
    verdict: forebay::Verdict,
}

impl Verdict {
    pub fn inner(&self) -> &forebay::Verdict {
        &self.verdict
    }
}

impl From<forebay::Verdict> for Verdict {
    fn from(verdict: forebay::Verdict) -> Verdict {
        Verdict { verdict }
    }
}

#[pymethods]
impl Verdict {
    /// Whether the request may proceed.
    #[getter]
    fn allowed(&self) -> bool {
        self.verdict.allowed
    }

    /// The most tokens the key's bucket holds; None when unlimited.
    #[getter]
    fn limit(&self) -> Option<u64> {
        limited(self.verdict.limit)
    }

    /// The tokens left; None when unlimited, 0 if the key is blocked then.
    #[getter]
    fn remaining(&self) -> Option<u64> {
        limited(self.verdict.remaining)
    }

    /// Seconds until it would be admitted; None when it was, or never can be.
    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.verdict.retry_after.map(|wait| wait.as_secs_f64())
    }

    /// Seconds until the bucket is full again and nothing blocks the key.
    #[getter]
    fn reset_after(&self) -> f64 {
        self.verdict.reset_after.as_secs_f64()
    }

    /// Seconds that an empty bucket takes to fill; 0.0 when unlimited.
    #[getter]
    fn window(&self) -> f64 {
        self.verdict.window.as_secs_f64()
    }

    /// The headers that tell a client of it: `headers([(name, verdict)], ...)`.
    #[pyo3(signature = (name, /, *styles, now=None))]
    fn headers(
        &self,
        name: &Bound<'_, PyString>,
        styles: &Bound<'_, PyTuple>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<forebay::limiter::Header>> {
        let limit = forebay::Limit::new(name.to_str()?, &self.verdict);
        headers::told(name.py(), &[limit], styles, now)
    }

    fn __bool__(&self) -> bool {
        self.verdict.allowed
    }

    /// For `Limited`, which crosses processes.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Fields)> {
        let verdict = &self.verdict;
        let make = py.import("forebay._core")?.getattr("_verdict")?;
        let fields = (
            verdict.allowed,
            verdict.limit,
            verdict.remaining,
            verdict.retry_after.map(nanoseconds),
            nanoseconds(verdict.reset_after),
            nanoseconds(verdict.window),
        );
        Ok((make, fields))
    }

    fn __repr__(&self) -> String {
        let count = |n: Option<u64>| n.map_or_else(|| "None".to_owned(), |n| n.to_string());
        format!(
            "Verdict(allowed={}, limit={}, remaining={}, retry_after={}, reset_after={:?}, window={:?})",
            if self.verdict.allowed { "True" } else { "False" },
            count(self.limit()),
            count(self.remaining()),
            seconds(self.retry_after()),
            self.reset_after(),
            self.window(),
        )
    }
}

/// A number of tokens, unless it is the one that stands for no limit.
fn limited(tokens: u64) -> Option<u64> {
    (tokens != u64::MAX).then_some(tokens)
}

/// A verdict's fields, exactly: times are whole nanoseconds.
type Fields = (bool, u64, u64, Option<u64>, u64, u64);

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The verdict that was pickled as these fields.
#[pyfunction]
#[pyo3(signature = (allowed, limit, remaining, retry_after, reset_after, window, /))]
pub fn _verdict(
    allowed: bool,
    limit: u64,
    remaining: u64,
    retry_after: Option<u64>,
    reset_after: u64,
    window: u64,
) -> Verdict {
    Verdict {
        verdict: forebay::Verdict {
            allowed,
            limit,
            remaining,
            retry_after: retry_after.map(Duration::from_nanos),
            reset_after: Duration::from_nanos(reset_after),
            window: Duration::from_nanos(window),
        },
    }
}
