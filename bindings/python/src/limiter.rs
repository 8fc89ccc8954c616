//! `Limiter`: a token bucket for each key.

use crate::arguments::unsigned;
use crate::engine;
use crate::key::with_key;
use crate::values;
use crate::verdict::Verdict;
use forebay::Charge;
use pyo3::prelude::*;

/// Token buckets by key, each refilled at the rate that the key's tier gives.
#[pyclass(frozen, module = "forebay")]
pub struct Limiter {
    limiter: forebay::Limiter,
}

impl Limiter {
    pub fn new(limiter: forebay::Limiter) -> Limiter {
        Limiter { limiter }
    }
}

fn cost(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("cost", value)
}

fn charge(cost: u64, tier: Option<&str>) -> Charge<'_> {
    Charge {
        cost,
        tier,
        now: None,
    }
}

#[pymethods]
impl Limiter {
    /// The limiter's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.limiter.name()
    }

    /// Spends `cost` tokens of the key's bucket if they are there.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn allow(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<bool> {
        with_key(key, |key| self.limiter.allow_with(key, charge(cost, tier)))
    }

    /// As `allow`, with all that there is to know of the answer.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn take(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let verdict = with_key(key, |key| self.limiter.take_with(key, charge(cost, tier)))?;
        Ok(verdict.into())
    }

    /// What `take` would answer; spends nothing.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn peek(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let verdict = with_key(key, |key| self.limiter.peek_with(key, charge(cost, tier)))?;
        Ok(verdict.into())
    }

    /// Fills the key's bucket; whether there was anything to reset.
    #[pyo3(signature = (key, /))]
    fn reset(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.limiter.reset(key))
    }

    /// Counts since the limiter was created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.limiter.stats())?;
        let fields = [
            ("admitted", stats.admitted),
            ("refused", stats.refused),
            ("evicted_live", stats.evicted_live),
            ("unknown_tier", stats.unknown_tier),
            ("contended", stats.contended),
            ("slots", stats.slots),
        ];
        values::make(py, "LimiterStats", fields)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.Limiter {:?}>", self.limiter.name())
    }
}
