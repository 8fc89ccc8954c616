//! `Histogram`: how long things took.

use crate::arguments::{duration, unsigned};
use crate::engine;
use crate::snapshot::Snapshot;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Latencies: exact counts and sums, percentiles within 1.1 percent.
#[pyclass(frozen, module = "forebay")]
pub struct Histogram {
    histogram: forebay::Histogram,
    /// For its clock, which a test may hold in its own hands.
    region: forebay::Region,
}

impl Histogram {
    pub fn new(histogram: forebay::Histogram, region: forebay::Region) -> Histogram {
        Histogram { histogram, region }
    }
}

fn recorded(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("duration", value)
}

fn nanoseconds(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("ns", value)
}

#[pymethods]
impl Histogram {
    /// The histogram's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.histogram.name()
    }

    /// Records a duration: seconds or a timedelta.
    #[pyo3(signature = (duration, /))]
    fn record(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = recorded)] duration: Duration,
    ) -> PyResult<()> {
        engine::run(py, || self.histogram.record(duration))
    }

    /// Records a whole number of nanoseconds.
    #[pyo3(signature = (ns, /))]
    fn record_ns(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = nanoseconds)] ns: u64,
    ) -> PyResult<()> {
        engine::run(py, || self.histogram.record_ns(ns))
    }

    /// A timer: `with histogram.time():` records how long the block took.
    fn time(slf: &Bound<'_, Self>) -> Timer {
        Timer {
            histogram: slf.clone().unbind(),
            started: AtomicU64::new(NOT_STARTED),
        }
    }

    /// The percentile (0 to 100) in seconds, or None when nothing was recorded.
    #[pyo3(signature = (percent, /))]
    fn percentile(&self, py: Python<'_>, percent: f64) -> PyResult<Option<f64>> {
        let value = engine::attempt(py, || self.histogram.percentile(percent))?;
        Ok(value.map(|value| value.as_secs_f64()))
    }

    /// All of it at one moment.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        engine::run(py, || self.histogram.snapshot()).map(Snapshot::new)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.Histogram {:?}>", self.histogram.name())
    }
}

const NOT_STARTED: u64 = u64::MAX;

/// Records how long a `with` block took, whether it raised or not.
#[pyclass(frozen, module = "forebay")]
pub struct Timer {
    histogram: Py<Histogram>,
    /// Region time at entry.
    started: AtomicU64,
}

#[pymethods]
impl Timer {
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        let now = engine::run(slf.py(), || this.histogram.get().region.now())?;
        this.started.store(now, Ordering::Relaxed);
        Ok(slf.clone())
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        let started = self.started.swap(NOT_STARTED, Ordering::Relaxed);
        if started == NOT_STARTED {
            return Ok(());
        }
        let histogram = self.histogram.get();
        engine::run(py, || {
            let took = histogram.region.now().saturating_sub(started);
            histogram.histogram.record_ns(took);
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.histogram.bind(py).getattr("name")?.repr()?;
        Ok(format!("<forebay.Timer of {name}>"))
    }
}
