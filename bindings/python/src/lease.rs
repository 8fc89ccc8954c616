//! `Lease`: one permit, for a time.

use crate::engine;
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One permit, for a time: a context manager that releases it. Dropped, it is
/// released too.
#[pyclass(frozen, module = "forebay")]
pub struct Lease {
    /// `None` once released. Held for calls that take no lock.
    lease: Mutex<Option<forebay::Lease>>,
}

impl Lease {
    pub fn new(lease: forebay::Lease) -> Lease {
        Lease {
            lease: Mutex::new(Some(lease)),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<forebay::Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Lease {
    /// Gives the permit back; False if it had ended before.
    fn release(&self, py: Python<'_>) -> PyResult<bool> {
        let lease = self.held().take();
        engine::run(py, || lease.is_some_and(forebay::Lease::release))
    }

    /// Has it end as late as one acquired now would; False if it had ended.
    fn renew(&self, py: Python<'_>) -> PyResult<bool> {
        let mut lease = self.held();
        engine::run(py, || lease.as_mut().is_some_and(forebay::Lease::renew))
    }

    /// Seconds until it ends by itself; 0.0 once it has ended.
    #[getter]
    fn ends_in(&self, py: Python<'_>) -> PyResult<f64> {
        let lease = self.held();
        engine::run(py, || {
            let left = lease.as_ref().map(forebay::Lease::ends_in);
            left.unwrap_or_default().as_secs_f64()
        })
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
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
        self.release(py).map(drop)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "<forebay.Lease, ends in {:?} s>",
            self.ends_in(py)?
        ))
    }
}
