//! `Permit`: leave to make one call.

use crate::breaker::Breaker;
use forebay::breaker::Outcome;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Leave to make one call, to be told what became of it; a context manager.
#[pyclass(frozen, module = "forebay")]
pub struct Permit {
    breaker: Py<Breaker>,
    number: u64,
    /// Whether the outcome has been told: the first word counts.
    told: AtomicBool,
    /// What dropping it without a word means.
    unsaid: Outcome,
}

impl Permit {
    pub fn new(breaker: &Bound<'_, Breaker>, number: u64, unsaid: Outcome) -> Permit {
        Permit {
            breaker: breaker.clone().unbind(),
            number,
            told: AtomicBool::new(false),
            unsaid,
        }
    }

    fn tell(&self, py: Python<'_>, outcome: Outcome) -> PyResult<bool> {
        // Relaxed: the flag orders nothing, it only lets one word through.
        if self.told.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        self.breaker.get().leave(py, self.number, outcome)
    }

    fn judge(&self, py: Python<'_>, result: Result<&Bound<'_, PyAny>, &PyErr>) -> PyResult<()> {
        if self.told.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.breaker.get().outcome(py, result) {
            Ok(outcome) => self.tell(py, outcome).map(drop),
            Err(error) => {
                self.tell(py, Outcome::Failure)?;
                Err(error)
            }
        }
    }
}

#[pymethods]
impl Permit {
    /// The call succeeded. True if that counted, False if it came too late.
    fn success(&self, py: Python<'_>) -> PyResult<bool> {
        self.tell(py, Outcome::Success)
    }

    /// The call failed. True if that counted, False if it came too late.
    fn failure(&self, py: Python<'_>) -> PyResult<bool> {
        self.tell(py, Outcome::Failure)
    }

    /// The call says nothing: neither success nor failure.
    fn ignore(&self, py: Python<'_>) -> PyResult<bool> {
        self.tell(py, Outcome::Ignored)
    }

    /// The call returned `result`, or raised `error`: the breaker judges.
    #[pyo3(signature = (result, error, /))]
    fn _settle(
        &self,
        py: Python<'_>,
        result: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if error.is_none() {
            self.judge(py, Ok(result))
        } else {
            self.judge(py, Err(&PyErr::from_value(error.clone())))
        }
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
        let _ = (exc_type, traceback);
        if exc_value.is_none() {
            // A block has no result to judge: not raising is success.
            self.tell(py, Outcome::Success).map(drop)
        } else {
            self.judge(py, Err(&PyErr::from_value(exc_value.clone())))
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.breaker.bind(py).getattr("name")?.repr()?;
        Ok(format!(
            "<forebay.Permit of {name}{}>",
            if self.told.load(Ordering::Relaxed) {
                ", told"
            } else {
                ""
            }
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.breaker)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !*self.told.get_mut() {
            // A destructor has nobody to raise to.
            let _ = Python::attach(|py| self.breaker.get().leave(py, self.number, self.unsaid));
        }
    }
}
