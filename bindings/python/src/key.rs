//! Keys: `str` (its UTF-8), bytes-like, or a tuple of those and ints.

use crate::arguments::{invalid, type_name};
use crate::engine;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyInt, PyMemoryView, PyString, PyTuple};
use std::io::Write;

/// Calls the engine with a key's bytes.
///
/// `str` and `bytes` are read where they lie. A `bytearray` or `memoryview` is
/// copied first, so that another thread may write to it meanwhile.
#[inline]
pub fn with_key<R>(key: &Bound<'_, PyAny>, call: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    if let Ok(text) = key.cast::<PyString>() {
        let text = text.to_str()?;
        return engine::run(key.py(), || call(text.as_bytes()));
    }
    if let Ok(bytes) = key.cast::<PyBytes>() {
        return engine::run(key.py(), || call(bytes.as_bytes()));
    }
    if let Ok(parts) = key.cast::<PyTuple>() {
        return with_parts(parts, call);
    }
    match copied(key)? {
        Some(bytes) => engine::run(key.py(), || call(bytes.as_bytes())),
        None => Err(PyTypeError::new_err(format!(
            "key: str, bytes-like or a tuple of those and ints, not {}",
            type_name(key)
        ))),
    }
}

/// The bytes of a `bytearray` or a `memoryview`; `None` for anything else.
///
/// Other objects with a buffer (arrays) are not taken for bytes: their bytes
/// alone do not say what they are.
pub fn copied<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    if !value.is_instance_of::<PyByteArray>() && !value.is_instance_of::<PyMemoryView>() {
        return Ok(None);
    }
    let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
    Ok(Some(bytes.cast_into::<PyBytes>()?))
}

/// As many parts as are joined without allocating.
const FEW: usize = 8;

fn with_parts<R>(parts: &Bound<'_, PyTuple>, call: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    let count = parts.len();
    if count == 0 {
        return Err(invalid(
            "key",
            parts.as_any(),
            "a tuple of at least one part",
        ));
    }
    if count <= FEW {
        let mut few: [Part<'_, '_>; FEW] = [const { Part::Lent(&[]) }; FEW];
        for (place, part) in few.iter_mut().zip(parts.iter_borrowed()) {
            *place = Part::of(part)?;
        }
        let slices: [&[u8]; FEW] = std::array::from_fn(|i| few[i].bytes());
        return engine::run(parts.py(), || forebay::join_parts(&slices[..count], call));
    }
    let many = parts
        .iter_borrowed()
        .map(Part::of)
        .collect::<PyResult<Vec<_>>>()?;
    let slices: Vec<&[u8]> = many.iter().map(Part::bytes).collect();
    engine::run(parts.py(), || forebay::join_parts(&slices, call))
}

/// One part of a tuple.
enum Part<'a, 'py> {
    /// The bytes of a `str` or `bytes` that the tuple keeps alive.
    Lent(&'a [u8]),
    /// The decimal text of an int, and its length.
    Decimal([u8; 20], usize),
    Owned(Bound<'py, PyBytes>),
    Text(String),
}

impl<'a, 'py> Part<'a, 'py> {
    fn of(part: Borrowed<'a, 'py, PyAny>) -> PyResult<Part<'a, 'py>> {
        if part.is_instance_of::<PyString>() {
            return Ok(Part::Lent(part.extract::<&'a str>()?.as_bytes()));
        }
        if part.is_instance_of::<PyBytes>() {
            return Ok(Part::Lent(part.extract::<&'a [u8]>()?));
        }
        // A bool is an int to Python, but `True` in a key is a mistake.
        if part.is_instance_of::<PyInt>() && !part.is_instance_of::<PyBool>() {
            return Part::decimal(&part);
        }
        match copied(&part)? {
            Some(bytes) => Ok(Part::Owned(bytes)),
            None => Err(PyTypeError::new_err(format!(
                "key: each part is str, bytes-like or int, not {}",
                type_name(&part)
            ))),
        }
    }

    fn decimal(number: &Bound<'py, PyAny>) -> PyResult<Part<'a, 'py>> {
        if let Ok(value) = number.extract::<i64>() {
            let mut digits = [0u8; 20];
            let mut rest = &mut digits[..];
            // The longest, -9223372036854775808, has 20 characters.
            let _ = write!(rest, "{value}");
            let left = rest.len();
            return Ok(Part::Decimal(digits, 20 - left));
        }
        // `int`'s own text, whatever a subclass prints.
        let text = number
            .py()
            .get_type::<PyInt>()
            .call_method1("__repr__", (number,))?;
        Ok(Part::Text(text.extract()?))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Part::Lent(bytes) => bytes,
            Part::Decimal(digits, len) => &digits[..*len],
            Part::Owned(bytes) => bytes.as_bytes(),
            Part::Text(text) => text.as_bytes(),
        }
    }
}
