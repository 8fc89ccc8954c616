//! `Permits`: so many at once of each key, as leases.

use crate::engine;
use crate::key::with_key;
use crate::lease::Lease;
use crate::values;
use forebay::permits::Refused;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// At most so many leases of a key at once, over all processes.
#[pyclass(frozen, module = "forebay")]
pub struct Permits {
    permits: forebay::Permits,
}

impl Permits {
    pub fn new(permits: forebay::Permits) -> Permits {
        Permits { permits }
    }

    fn lease(&self, key: &Bound<'_, PyAny>) -> PyResult<Result<Lease, Refused>> {
        let lease = with_key(key, |key| self.permits.try_acquire(key))?;
        Ok(lease.map(Lease::new))
    }
}

#[pymethods]
impl Permits {
    /// The permits' name in their region.
    #[getter]
    fn name(&self) -> &str {
        self.permits.name()
    }

    /// A lease for this key; None if there is none now.
    #[pyo3(signature = (key, /))]
    fn try_acquire(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Lease>> {
        Ok(self.lease(key)?.ok())
    }

    /// As `try_acquire`, but raises `NoPermit` if there is none.
    #[pyo3(signature = (key, /))]
    fn enter(&self, key: &Bound<'_, PyAny>) -> PyResult<Lease> {
        self.lease(key)?
            .map_err(|refused| no_permit(key.py(), &refused))
    }

    /// Decorates a function or an `async def`: each call holds a lease.
    #[pyo3(signature = (*, key))]
    fn limit<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // What does not depend on the call is told before there is one.
        if !key.is_callable() {
            with_key(key, |_| ())?;
        }
        static HELD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        HELD.import(slf.py(), "forebay._limits", "held")?
            .call1((slf.getattr("enter")?, key))
    }

    /// How many leases the key has.
    #[pyo3(signature = (key, /))]
    fn in_use(&self, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        with_key(key, |key| self.permits.in_use(key))
    }

    /// Counts since the permits were created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.permits.stats())?;
        let fields = [
            ("granted", stats.granted),
            ("refused", stats.refused),
            ("full", stats.full),
            ("busy", stats.busy),
            ("expired", stats.expired),
            ("reaped", stats.reaped),
        ];
        values::make(py, "PermitsStats", fields)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.Permits {:?}>", self.permits.name())
    }
}

/// The exception for a lease that there is not.
#[cold]
fn no_permit(py: Python<'_>, refused: &Refused) -> PyErr {
    let fields = (
        refused.to_string(),
        &*refused.permits,
        refused.reason.name(),
        refused.retry_after.map(|wait| wait.as_secs_f64()),
    );
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS
        .import(py, "forebay.errors", "NoPermit")
        .and_then(|class| class.call1(fields))
        .map_or_else(|failed| failed, PyErr::from_value)
}
