//! `WindowCounter`: counts by key in windows of time, and what it answers.

use crate::arguments::{duration, unsigned};
use crate::engine;
use crate::key::with_key;
use crate::values;
use pyo3::prelude::*;
use std::time::Duration;

/// Counts by key in windows of time.
#[pyclass(frozen, module = "forebay")]
pub struct WindowCounter {
    counter: forebay::WindowCounter,
}

impl WindowCounter {
    pub fn new(counter: forebay::WindowCounter) -> WindowCounter {
        WindowCounter { counter }
    }
}

/// What a key's window has seen.
#[pyclass(frozen, eq, get_all, module = "forebay")]
#[derive(PartialEq)]
pub struct Count {
    /// Hits in the window.
    count: u64,
    /// Seconds until it ends; 0.0 without a window.
    resets_in: f64,
}

impl From<forebay::Count> for Count {
    fn from(count: forebay::Count) -> Count {
        Count {
            count: count.count,
            resets_in: count.resets_in.as_secs_f64(),
        }
    }
}

#[pymethods]
impl Count {
    fn __repr__(&self) -> String {
        format!(
            "Count(count={}, resets_in={:?})",
            self.count, self.resets_in
        )
    }
}

/// A `Count` and whether the hit is in it; true if it is.
#[pyclass(frozen, eq, get_all, module = "forebay")]
#[derive(PartialEq)]
pub struct Hit {
    /// Whether the hit was counted.
    counted: bool,
    /// Hits in the window.
    count: u64,
    /// Seconds until it ends; 0.0 without a window.
    resets_in: f64,
}

#[pymethods]
impl Hit {
    fn __bool__(&self) -> bool {
        self.counted
    }

    fn __repr__(&self) -> String {
        format!(
            "Hit(counted={}, count={}, resets_in={:?})",
            if self.counted { "True" } else { "False" },
            self.count,
            self.resets_in
        )
    }
}

fn window(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("window", value)
}

fn hits(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("hits", value)
}

fn limit(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    match value.is_none() {
        true => Ok(None),
        false => unsigned("limit", value).map(Some),
    }
}

fn time(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("time", value)
}

#[pymethods]
impl WindowCounter {
    /// The counter's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.counter.name()
    }

    /// Counts hits of the key, unless there would be more than `limit` then.
    #[pyo3(signature = (key, window, /, hits=1, *, limit=None))]
    fn hit(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = window)] window: Duration,
        #[pyo3(from_py_with = hits)] hits: u64,
        #[pyo3(from_py_with = limit)] limit: Option<u64>,
    ) -> PyResult<Hit> {
        let hit = with_key(key, |key| self.counter.hit_with(key, window, hits, limit))?
            .map_err(|error| engine::raise(key.py(), error))?;
        let (Ok(count) | Err(count)) = hit;
        Ok(Hit {
            counted: hit.is_ok(),
            count: count.count,
            resets_in: count.resets_in.as_secs_f64(),
        })
    }

    /// What the key's window has seen.
    #[pyo3(signature = (key, /))]
    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<Count> {
        Ok(with_key(key, |key| self.counter.get(key))?.into())
    }

    /// Takes hits back, down to none; the window stays as it is.
    #[pyo3(signature = (key, hits=1, /))]
    fn decrement(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = hits)] hits: u64,
    ) -> PyResult<Count> {
        Ok(with_key(key, |key| self.counter.decrement(key, hits))?.into())
    }

    /// Ends the key's window and its block; whether it had either.
    #[pyo3(signature = (key, /))]
    fn reset(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.counter.reset(key))
    }

    /// Marks the key as blocked for so long.
    #[pyo3(signature = (key, time, /))]
    fn block(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = time)] time: Duration,
    ) -> PyResult<()> {
        with_key(key, |key| self.counter.block(key, time))
    }

    /// Seconds that the key is blocked yet; 0.0 if it is not.
    #[pyo3(signature = (key, /))]
    fn blocked_for(&self, key: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(with_key(key, |key| self.counter.blocked_for(key))?.as_secs_f64())
    }

    /// Ends a block; whether there was one.
    #[pyo3(signature = (key, /))]
    fn unblock(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.counter.unblock(key))
    }

    /// Ends all windows and blocks, for every process.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        engine::wait(py, || self.counter.clear())
    }

    /// Counts since the counter was created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.counter.stats())?;
        let fields = [
            ("hits", stats.hits),
            ("refused", stats.refused),
            ("evicted_live", stats.evicted_live),
            ("contended", stats.contended),
            ("slots", stats.slots),
        ];
        values::make(py, "WindowStats", fields)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.WindowCounter {:?}>", self.counter.name())
    }
}
