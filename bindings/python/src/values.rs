//! Making the plain values of `forebay.values` (frozen dataclasses): statistics,
//! events, entries. None of them lies on a hot path.

use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

/// An instance of a class of `forebay.values`, its fields by name.
pub fn make<'py>(
    py: Python<'py>,
    class: &str,
    fields: impl IntoPyDict<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("forebay.values")?
        .getattr(class)?
        .call((), Some(&fields.into_py_dict(py)?))
}

/// How Python writes an optional number of seconds.
pub fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| format!("{value:?}"))
}
