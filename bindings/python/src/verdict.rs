//! `Verdict`: what a limiter answers.

use crate::values::seconds;
use pyo3::prelude::*;

/// A limiter's answer; true if the request may proceed.
#[pyclass(frozen, get_all, eq, module = "forebay")]
#[derive(PartialEq)]
pub struct Verdict {
    /// Whether the request may proceed.
    allowed: bool,
    /// The most tokens the key's bucket holds; None when unlimited.
    limit: Option<u64>,
    /// The tokens left; None when unlimited.
    remaining: Option<u64>,
    /// Seconds until it would be admitted; None when it was, or never can be.
    retry_after: Option<f64>,
    /// Seconds until the bucket is full again.
    reset_after: f64,
}

impl From<forebay::Verdict> for Verdict {
    fn from(verdict: forebay::Verdict) -> Verdict {
        let unlimited = verdict.limit == u64::MAX;
        Verdict {
            allowed: verdict.allowed,
            limit: (!unlimited).then_some(verdict.limit),
            remaining: (!unlimited).then_some(verdict.remaining),
            retry_after: verdict.retry_after.map(|wait| wait.as_secs_f64()),
            reset_after: verdict.reset_after.as_secs_f64(),
        }
    }
}

#[pymethods]
impl Verdict {
    fn __bool__(&self) -> bool {
        self.allowed
    }

    fn __repr__(&self) -> String {
        let count = |n: Option<u64>| n.map_or_else(|| "None".to_owned(), |n| n.to_string());
        format!(
            "Verdict(allowed={}, limit={}, remaining={}, retry_after={}, reset_after={:?})",
            if self.allowed { "True" } else { "False" },
            count(self.limit),
            count(self.remaining),
            seconds(self.retry_after),
            self.reset_after,
        )
    }
}
