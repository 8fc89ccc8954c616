//! Calling the engine: its errors and panics become exceptions here, and
//! nowhere else.

use crate::verdict::Verdict;
use forebay::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

/// Runs the engine; a panic in it becomes `forebay.Panic`.
#[inline]
pub fn run<T>(py: Python<'_>, call: impl FnOnce() -> T) -> PyResult<T> {
    // What the engine shares with others is words, valid after any partial
    // operation; nothing half-changed is observed after the unwinding.
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| raise(py, caught(&*panic)))
}

/// Runs an engine call that can fail.
#[inline]
pub fn attempt<T>(py: Python<'_>, call: impl FnOnce() -> forebay::Result<T>) -> PyResult<T> {
    run(py, call)?.map_err(|error| raise(py, error))
}

/// Runs an engine call that may wait for another process (opening a region or
/// one of its objects takes the creation lock) with other Python threads free
/// to go on.
pub fn open<T: Send>(
    py: Python<'_>,
    call: impl FnOnce() -> forebay::Result<T> + Send,
) -> PyResult<T> {
    wait(py, call)?.map_err(|error| raise(py, error))
}

/// Runs the engine with other Python threads free to go on.
pub fn wait<T: Send>(py: Python<'_>, call: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(call)).map_err(|panic| caught(&*panic)))
        .map_err(|error| raise(py, error))
}

#[cold]
fn caught(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    Error::Panic { message }
}

/// The exception for an engine's error: its sentence, its code, and for those
/// about a file what `OSError` carries.
#[cold]
pub fn raise(py: Python<'_>, error: Error) -> PyErr {
    let (path, errno): (Option<&Path>, Option<i32>) = match &error {
        Error::Io { path, errno, .. } => (Some(path), Some(*errno)),
        Error::OutOfSpace { path, .. }
        | Error::Permission { path, .. }
        | Error::Layout { path, .. }
        | Error::Corrupt { path, .. }
        | Error::OtherBoot { path }
        | Error::ClockNamespace { path } => (Some(path), None),
        _ => (None, None),
    };
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    MAKE.import(py, "forebay.errors", "_of_core")
        .and_then(|make| {
            make.call1((
                error.code().name(),
                error.to_string(),
                path.map(|path| path.as_os_str()),
                errno,
            ))
        })
        .map_or_else(|failed| failed, PyErr::from_value)
}

/// The exception for a call that an open breaker refused.
#[cold]
pub fn breaker_open(py: Python<'_>, breaker: &str, retry_after: Duration) -> PyErr {
    let sentence = forebay::Rejected {
        breaker: breaker.into(),
        retry_after,
    }
    .to_string();
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS
        .import(py, "forebay.errors", "BreakerOpen")
        .and_then(|class| class.call1((sentence, breaker, retry_after.as_secs_f64())))
        .map_or_else(|failed| failed, PyErr::from_value)
}

/// The exception for a request that a limiter refused.
#[cold]
pub fn limited(py: Python<'_>, refusal: forebay::Limited) -> PyErr {
    let sentence = refusal.to_string();
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS
        .import(py, "forebay.errors", "Limited")
        .and_then(|class| {
            let verdict = Verdict::from(refusal.verdict);
            class.call1((sentence, &*refusal.limiter, verdict))
        })
        .map_or_else(|failed| failed, PyErr::from_value)
}
