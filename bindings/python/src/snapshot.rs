//! `Snapshot`: a histogram at one moment.

use crate::engine;
use crate::values::seconds;
use pyo3::prelude::*;

/// What a histogram held when it was taken; it does not change any more.
#[pyclass(frozen, eq, module = "forebay")]
#[derive(PartialEq)]
pub struct Snapshot {
    snapshot: forebay::Snapshot,
}

impl Snapshot {
    pub fn new(snapshot: forebay::Snapshot) -> Snapshot {
        Snapshot { snapshot }
    }
}

#[pymethods]
impl Snapshot {
    /// How many values were recorded.
    #[getter]
    fn count(&self) -> u64 {
        self.snapshot.count()
    }

    /// Their sum in seconds.
    #[getter]
    fn sum(&self) -> f64 {
        self.snapshot.sum().as_secs_f64()
    }

    /// Their mean in seconds, 0.0 when there are none.
    #[getter]
    fn mean(&self) -> f64 {
        self.snapshot.mean().as_secs_f64()
    }

    /// The least in seconds, or None.
    #[getter]
    fn min(&self) -> Option<f64> {
        self.snapshot.min().map(|value| value.as_secs_f64())
    }

    /// The greatest in seconds, or None.
    #[getter]
    fn max(&self) -> Option<f64> {
        self.snapshot.max().map(|value| value.as_secs_f64())
    }

    /// The percentile (0 to 100) in seconds, or None when there are no values.
    #[pyo3(signature = (percent, /))]
    fn percentile(&self, py: Python<'_>, percent: f64) -> PyResult<Option<f64>> {
        let value = engine::attempt(py, || self.snapshot.percentile(percent))?;
        Ok(value.map(|value| value.as_secs_f64()))
    }

    /// The buckets that are not empty: upper edge in seconds, and count.
    fn buckets(&self, py: Python<'_>) -> PyResult<Vec<(f64, u64)>> {
        engine::run(py, || self.snapshot.buckets())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Snapshot(count={}, mean={:?}, p50={}, p99={}, max={})",
            self.count(),
            self.mean(),
            seconds(self.percentile(py, 50.0)?),
            seconds(self.percentile(py, 99.0)?),
            seconds(self.max()),
        ))
    }
}
