//! `Breaker`: leave to call, and what became of the calls.

use crate::engine::{self, breaker_open};
use crate::guarded::Guarded;
use crate::permit::Permit;
use crate::values;
use forebay::breaker::Outcome;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// A circuit breaker: refuses calls to what keeps failing, then probes it.
#[pyclass(frozen, module = "forebay")]
pub struct Breaker {
    breaker: forebay::Breaker,
    is_failure: Option<Py<PyAny>>,
}

impl Breaker {
    pub fn new(breaker: forebay::Breaker, is_failure: Option<Py<PyAny>>) -> Breaker {
        Breaker {
            breaker,
            is_failure,
        }
    }

    /// A permit's number, or `BreakerOpen`.
    #[inline]
    fn admit(&self, py: Python<'_>) -> PyResult<u64> {
        engine::run(py, || self.breaker.enter_raw())?
            .map_err(|retry_after| breaker_open(py, self.breaker.name(), retry_after))
    }

    /// Gives the permit back; whether the outcome counted.
    #[inline]
    pub fn leave(&self, py: Python<'_>, permit: u64, outcome: Outcome) -> PyResult<bool> {
        engine::run(py, || self.breaker.leave(permit, outcome))
    }

    /// What a call came to. Only an `Exception` can be a failure: cancellation
    /// and interruption say nothing about what was called.
    pub fn outcome(
        &self,
        py: Python<'_>,
        result: Result<&Bound<'_, PyAny>, &PyErr>,
    ) -> PyResult<Outcome> {
        let failed = match (result, &self.is_failure) {
            (Err(error), _) if !error.is_instance_of::<PyException>(py) => {
                return Ok(Outcome::Ignored)
            }
            (result, None) => result.is_err(),
            (Ok(result), Some(judge)) => judge.bind(py).call1((result, py.None()))?.is_truthy()?,
            (Err(error), Some(judge)) => judge
                .bind(py)
                .call1((py.None(), error.value(py)))?
                .is_truthy()?,
        };
        Ok(if failed {
            Outcome::Failure
        } else {
            Outcome::Success
        })
    }

    /// Calls `function` if the breaker lets it, and tells the outcome: at once,
    /// or for a coroutine when it has been awaited.
    pub fn guard<'py>(
        slf: &Bound<'py, Breaker>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let permit = this.admit(py)?;
        let result = function.call(args, kwargs);
        if let Ok(value) = &result {
            match is_coroutine(value) {
                Ok(false) => {}
                Ok(true) => {
                    // Cancelled before its first step, it was never made: ignored.
                    let permit = Bound::new(py, Permit::new(slf, permit, Outcome::Ignored))?;
                    return settled(py)?.call1((value, permit));
                }
                Err(error) => {
                    this.leave(py, permit, Outcome::Failure)?;
                    return Err(error);
                }
            }
        }
        match this.outcome(py, result.as_ref()) {
            Ok(outcome) => {
                this.leave(py, permit, outcome)?;
                result
            }
            Err(error) => {
                this.leave(py, permit, Outcome::Failure)?;
                Err(error)
            }
        }
    }
}

#[pymethods]
impl Breaker {
    /// The breaker's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.breaker.name()
    }

    /// Leave to make one call: a `Permit`, or raises `BreakerOpen`.
    fn enter(slf: &Bound<'_, Self>) -> PyResult<Permit> {
        let permit = slf.get().admit(slf.py())?;
        Ok(Permit::new(slf, permit, Outcome::Failure))
    }

    /// Calls `function(*args, **kwargs)` and counts what became of it.
    #[pyo3(signature = (function, /, *args, **kwargs))]
    fn call<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Breaker::guard(slf, function, args, kwargs)
    }

    /// Decorates a function or an `async def`: each call goes through `call`.
    #[pyo3(signature = (function, /))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if !function.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "a breaker decorates a callable, not {}",
                crate::arguments::type_name(function)
            )));
        }
        static IS_ASYNC: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if IS_ASYNC
            .import(py, "inspect", "iscoroutinefunction")?
            .call1((function,))?
            .is_truthy()?
        {
            return py
                .import("forebay._async")?
                .getattr("guarded")?
                .call1((function, slf.getattr("enter")?));
        }
        Guarded::around(slf, function)
    }

    /// "closed", "half-open", "open" or "forced-open".
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        engine::run(py, || self.breaker.state().name())
    }

    /// Counts since the breaker was created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.breaker.stats())?;
        let fields = [
            ("successes", stats.successes),
            ("failures", stats.failures),
            ("ignored", stats.ignored),
            ("rejected", stats.rejected),
            ("late", stats.late),
            ("opened", stats.opened),
            ("half_opened", stats.half_opened),
            ("closed", stats.closed),
            ("probes", stats.probes),
        ];
        values::make(py, "BreakerStats", fields)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "<forebay.Breaker {:?} {}>",
            self.breaker.name(),
            self.state(py)?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.is_failure)
    }
}

/// `forebay._async.settled`
fn settled(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static SETTLED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    SETTLED.import(py, "forebay._async", "settled")
}

/// Whether a call returned a coroutine, whose outcome is yet to come. Other
/// awaitables (a task, a future) are results: they run by themselves.
fn is_coroutine(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the type is alive while `value` is, and asking for a slot of any
    // type is allowed since Python 3.10.
    let awaits = unsafe {
        pyo3::ffi::PyType_GetSlot(value.get_type().as_type_ptr(), pyo3::ffi::Py_am_await)
    };
    if awaits.is_null() {
        return Ok(false);
    }
    static COROUTINE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    value.is_instance(COROUTINE.import(value.py(), "collections.abc", "Coroutine")?)
}
