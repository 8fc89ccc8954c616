//! Values as bytes and back: bytes and text as they are, all else as JSON, so
//! that every language reads what another wrote.

use crate::engine::{self, raise};
use crate::key::copied;
use forebay::{Codec, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString};

/// Calls the engine with a value's bytes and the codec that reads them.
pub fn with_value<R>(
    value: &Bound<'_, PyAny>,
    call: impl FnOnce(&[u8], Codec) -> R,
) -> PyResult<R> {
    let py = value.py();
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return engine::run(py, || call(bytes.as_bytes(), Codec::Bytes));
    }
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str()?;
        return engine::run(py, || call(text.as_bytes(), Codec::Text));
    }
    if let Some(bytes) = copied(value)? {
        return engine::run(py, || call(bytes.as_bytes(), Codec::Bytes));
    }
    // The commonest JSON needs no encoder.
    if value.is_none() {
        return engine::run(py, || call(b"null", Codec::Json));
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        let text: &[u8] = if truth.is_true() { b"true" } else { b"false" };
        return engine::run(py, || call(text, Codec::Json));
    }
    if value.is_exact_instance_of::<PyInt>() {
        if let Ok(number) = value.extract::<i64>() {
            let text = number.to_string();
            return engine::run(py, || call(text.as_bytes(), Codec::Json));
        }
    }
    let json = encoder(py)?.call1((value,))?;
    let json = json.cast::<PyString>()?.to_str()?;
    engine::run(py, || call(json.as_bytes(), Codec::Json))
}

/// The value that `bytes` stand for.
pub fn decode<'py>(py: Python<'py>, bytes: &[u8], codec: Codec) -> PyResult<Bound<'py, PyAny>> {
    match codec {
        Codec::Bytes => Ok(PyBytes::new(py, bytes).into_any()),
        Codec::Text => text(py, bytes),
        Codec::Json => match bytes {
            b"null" => Ok(py.None().into_bound(py)),
            b"true" => Ok(PyBool::new(py, true).to_owned().into_any()),
            b"false" => Ok(PyBool::new(py, false).to_owned().into_any()),
            _ => match small_integer(bytes) {
                Some(number) => Ok(number.into_pyobject(py)?.into_any()),
                None => decoder(py)?.call1((text(py, bytes)?,)),
            },
        },
        other => Err(raise(
            py,
            Error::invalid(
                "codec",
                other.number(),
                "0 (bytes), 1 (text) or 2 (JSON); get_bytes reads any",
            ),
        )),
    }
}

/// Whether [`decode`] knows the codec.
pub fn is_known(codec: Codec) -> bool {
    matches!(codec, Codec::Bytes | Codec::Text | Codec::Json)
}

/// A codec's name in an entry.
pub fn name(codec: Codec) -> String {
    match codec {
        Codec::Bytes => "bytes".to_owned(),
        Codec::Text => "text".to_owned(),
        Codec::Json => "json".to_owned(),
        other => format!("other({})", other.number()),
    }
}

fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyString::from_bytes(py, bytes)?.into_any())
}

/// A JSON integer of at most 18 digits, in the one form that JSON allows.
fn small_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// `json.JSONEncoder(...).encode`: no spaces, text as it is, no NaN, which no
/// other language's JSON would read.
fn encoder(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let options = PyDict::new(py);
        options.set_item("separators", (",", ":"))?;
        options.set_item("ensure_ascii", false)?;
        options.set_item("allow_nan", false)?;
        let encoder = py
            .import("json")?
            .getattr("JSONEncoder")?
            .call((), Some(&options))?;
        Ok(encoder.getattr("encode")?.unbind())
    })?;
    Ok(encode.bind(py))
}

/// `json.JSONDecoder().decode`
fn decoder(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static DECODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let decode = DECODE.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let decoder = py.import("json")?.getattr("JSONDecoder")?.call0()?;
        Ok(decoder.getattr("decode")?.unbind())
    })?;
    Ok(decode.bind(py))
}
