//! Opening regions: `forebay.open` and `forebay.private`.

use crate::arguments::{small, type_name, unsigned};
use crate::engine;
use crate::options::{given, with};
use crate::region::Region;
use forebay::RegionOptions;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Opens a shared region by name or path; creates it if it does not exist.
#[pyfunction]
#[pyo3(signature = (name_or_path, /, *, bytes=None, mode=None, create=true, fresh=false, ephemeral=false, manual_clock=false))]
#[allow(clippy::too_many_arguments)] // keywords in Python
pub fn open(
    py: Python<'_>,
    name_or_path: &Bound<'_, PyAny>,
    bytes: Option<&Bound<'_, PyAny>>,
    mode: Option<&Bound<'_, PyAny>>,
    create: bool,
    fresh: bool,
    ephemeral: bool,
    manual_clock: bool,
) -> PyResult<Region> {
    let place = place(name_or_path)?;
    let bytes = given("bytes", bytes, unsigned)?;
    let mode = given("mode", mode, small)?;
    engine::open(py, || {
        let options = with(RegionOptions::new(), bytes, RegionOptions::bytes);
        with(options, mode, RegionOptions::mode)
            .create(create)
            .fresh(fresh)
            .ephemeral(ephemeral)
            .manual_clock(manual_clock)
            .open(&place)
    })
    .map(Region::new)
}

/// Makes a region of this process alone.
#[pyfunction]
#[pyo3(signature = (*, bytes=None, manual_clock=false))]
pub fn private(
    py: Python<'_>,
    bytes: Option<&Bound<'_, PyAny>>,
    manual_clock: bool,
) -> PyResult<Region> {
    let bytes = given("bytes", bytes, unsigned)?;
    engine::open(py, || {
        with(RegionOptions::new(), bytes, RegionOptions::bytes)
            .manual_clock(manual_clock)
            .private()
    })
    .map(Region::new)
}

/// A `str` is a name, or a path if it has a slash; a `PathLike` is a path.
fn place(given: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(text.to_str()?.to_owned());
    }
    let path = given
        .py()
        .import("os")?
        .call_method1("fspath", (given,))
        .map_err(|_| not_a_place(given))?;
    let path = path
        .cast::<PyString>()
        .map_err(|_| not_a_place(given))?
        .to_str()?;
    Ok(if path.contains('/') {
        path.to_owned()
    } else {
        format!("./{path}")
    })
}

fn not_a_place(given: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "a region's name or path: str or os.PathLike[str], not {}",
        type_name(given)
    ))
}
