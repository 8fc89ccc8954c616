//! `Rate`: how many, in how long, and how many at once.

use crate::arguments::{duration, unsigned};
use crate::engine;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PySequence, PyString, PyType};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// A rate: `count` tokens every `per` seconds, at most `burst` at once.
#[pyclass(frozen, eq, hash, module = "forebay")]
pub struct Rate {
    rate: forebay::Rate,
    /// The Python expression that makes it.
    shown: String,
}

impl PartialEq for Rate {
    fn eq(&self, other: &Rate) -> bool {
        self.rate == other.rate
    }
}

impl Hash for Rate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rate.hash(state);
    }
}

impl Rate {
    fn of(py: Python<'_>, count: u64, per: Duration, burst: Option<u64>) -> PyResult<Rate> {
        let rate = engine::run(py, || {
            let rate = forebay::Rate::new(count, per);
            burst.map_or(rate, |burst| rate.burst(burst))
        })?;
        let per = per.as_secs_f64();
        let shown = match burst {
            Some(burst) => format!("Rate({count}, {per:?}, burst={burst})"),
            None => format!("Rate({count}, {per:?})"),
        };
        Ok(Rate { rate, shown })
    }
}

#[pymethods]
impl Rate {
    #[new]
    #[pyo3(signature = (count, per, burst=None))]
    fn new(
        count: &Bound<'_, PyAny>,
        per: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Rate> {
        Rate::of(
            count.py(),
            unsigned("rate", count)?,
            duration("per", per)?,
            burst.map(|burst| unsigned("burst", burst)).transpose()?,
        )
    }

    /// `Rate.parse("60/min burst 90")`
    #[classmethod]
    #[pyo3(signature = (text, /))]
    fn parse(_class: &Bound<'_, PyType>, text: &Bound<'_, PyString>) -> PyResult<Rate> {
        parse(text)
    }

    /// So many a second.
    #[classmethod]
    #[pyo3(signature = (count, /, burst=None))]
    fn per_second(
        _class: &Bound<'_, PyType>,
        count: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Rate> {
        every(1, count, burst)
    }

    /// So many a minute.
    #[classmethod]
    #[pyo3(signature = (count, /, burst=None))]
    fn per_minute(
        _class: &Bound<'_, PyType>,
        count: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Rate> {
        every(60, count, burst)
    }

    /// So many an hour.
    #[classmethod]
    #[pyo3(signature = (count, /, burst=None))]
    fn per_hour(
        _class: &Bound<'_, PyType>,
        count: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Rate> {
        every(3_600, count, burst)
    }

    /// So many a day.
    #[classmethod]
    #[pyo3(signature = (count, /, burst=None))]
    fn per_day(
        _class: &Bound<'_, PyType>,
        count: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Rate> {
        every(86_400, count, burst)
    }

    /// The rate that refuses nobody.
    #[classattr]
    const UNLIMITED: Unlimited = Unlimited;

    fn __repr__(&self) -> &str {
        &self.shown
    }
}

/// `Rate.UNLIMITED`, made when the class is.
struct Unlimited;

impl<'py> IntoPyObject<'py> for Unlimited {
    type Target = Rate;
    type Output = Bound<'py, Rate>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, Rate>> {
        Bound::new(
            py,
            Rate {
                rate: forebay::Rate::UNLIMITED,
                shown: "Rate.UNLIMITED".to_owned(),
            },
        )
    }
}

fn every(
    seconds: u64,
    count: &Bound<'_, PyAny>,
    burst: Option<&Bound<'_, PyAny>>,
) -> PyResult<Rate> {
    Rate::of(
        count.py(),
        unsigned("rate", count)?,
        Duration::from_secs(seconds),
        burst.map(|burst| unsigned("burst", burst)).transpose()?,
    )
}

fn parse(text: &Bound<'_, PyString>) -> PyResult<Rate> {
    let words = text.to_str()?;
    Ok(Rate {
        rate: engine::attempt(text.py(), || words.parse::<forebay::Rate>())?,
        shown: format!("Rate.parse({})", text.repr()?),
    })
}

/// Rates as callers give them: a `Rate`, its text, the text of several, or a
/// sequence of these.
pub fn rates(value: &Bound<'_, PyAny>) -> PyResult<forebay::Rates> {
    if let Ok(text) = value.cast::<PyString>() {
        let words = text.to_str()?;
        return engine::attempt(value.py(), || words.parse());
    }
    if let Ok(rate) = value.cast::<Rate>() {
        return Ok(rate.get().rate.into());
    }
    // A sequence to Python, but of no rates.
    if value.is_instance_of::<PyBytes>() {
        return Err(not_a_rate(value));
    }
    let Ok(several) = value.cast::<PySequence>() else {
        return Err(not_a_rate(value));
    };
    let mut rates = forebay::Rates::from([]);
    for value in several.try_iter()? {
        rates = rates.and(rate(&value?)?);
    }
    Ok(rates)
}

/// One of several rates.
fn rate(value: &Bound<'_, PyAny>) -> PyResult<forebay::Rate> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(parse(text)?.rate);
    }
    match value.cast::<Rate>() {
        Ok(rate) => Ok(rate.get().rate),
        Err(_) => Err(not_a_rate(value)),
    }
}

fn not_a_rate(value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "rate: a forebay.Rate, a str such as '60/min', or a sequence of them, not {}",
        crate::arguments::type_name(value)
    ))
}
