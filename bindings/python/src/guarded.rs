//! `Guarded`: a function that a breaker decorates. A class of ours instead of a
//! Python closure, which would cost as much again as the breaker itself.

use crate::breaker::Breaker;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// A function behind a breaker: looks like the function, binds like one.
#[pyclass(frozen, dict, weakref, module = "forebay")]
pub struct Guarded {
    breaker: Py<Breaker>,
    function: Py<PyAny>,
}

impl Guarded {
    pub fn around<'py>(
        breaker: &Bound<'py, Breaker>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = breaker.py();
        let guarded = Bound::new(
            py,
            Guarded {
                breaker: breaker.clone().unbind(),
                function: function.clone().unbind(),
            },
        )?;
        // Name, docs, module, annotations, `__wrapped__`: the signature, too.
        py.import("functools")?
            .getattr("update_wrapper")?
            .call1((guarded, function))
    }
}

#[pymethods]
impl Guarded {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Breaker::guard(self.breaker.bind(py), self.function.bind(py), args, kwargs)
    }

    /// Found on an instance, it is a method of it.
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: &Bound<'py, PyAny>,
        owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.clone().into_any());
        }
        static METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        METHOD
            .import(slf.py(), "types", "MethodType")?
            .call1((slf, instance))
    }

    /// Pickled and copied by name, as functions are.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("__qualname__")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "<{} guarded by {}>",
            self.function.bind(py).repr()?,
            self.breaker.bind(py).getattr("name")?.repr()?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.breaker)?;
        visit.call(&self.function)
    }
}
