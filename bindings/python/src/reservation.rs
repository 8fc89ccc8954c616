//! `Reservation`: tokens spent in advance, and how Python waits for them.

use crate::engine;
use crate::verdict::Verdict;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tokens that are spent, to be used when `wait` is over.
#[pyclass(frozen, module = "forebay")]
pub struct Reservation {
    /// `None` once cancelled. Held to take it out or for a look at it.
    place: Mutex<Option<forebay::Reservation>>,
    /// When to act, in nanoseconds of the region's clock.
    due: u64,
    region: forebay::Region,
}

impl Reservation {
    pub fn new(place: forebay::Reservation, region: forebay::Region) -> Reservation {
        Reservation {
            due: place.due(),
            place: Mutex::new(Some(place)),
            region,
        }
    }
}

#[pymethods]
impl Reservation {
    /// Seconds to wait before acting; 0.0 once it is time.
    #[getter]
    fn wait(&self, py: Python<'_>) -> PyResult<f64> {
        let now = engine::run(py, || self.region.now())?;
        Ok(Duration::from_nanos(self.due.saturating_sub(now)).as_secs_f64())
    }

    /// When to act, in nanoseconds since the region was created.
    #[getter]
    fn due(&self) -> u64 {
        self.due
    }

    /// Gives the tokens back; False if it was time to act already.
    fn cancel(&self, py: Python<'_>) -> PyResult<bool> {
        let place = self
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        engine::run(py, || place.is_some_and(forebay::Reservation::cancel))
    }

    /// Whether the region's clock is moved by hand.
    #[getter]
    fn _manual(&self, py: Python<'_>) -> PyResult<bool> {
        is_manual(py, &self.region)
    }

    /// Sleeps by a manual clock, other threads running, for a short time at
    /// most; whether it is time.
    fn _sleep(&self, py: Python<'_>) -> PyResult<bool> {
        sleep(py, &self.region, self.due)
    }

    /// What `acquire` answers when the wait is over.
    fn _verdict(&self, py: Python<'_>) -> PyResult<Verdict> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some(place) => Ok(engine::run(py, || place.verdict())?.into()),
            None => Err(PyRuntimeError::new_err("the reservation was cancelled")),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "<forebay.Reservation, wait {:?} s>",
            self.wait(py)?
        ))
    }
}

/// How long a sleep by a manual clock goes on before Python is asked whether
/// it is to be interrupted. Nobody sleeps so by the real clock.
const SLICE: Duration = Duration::from_millis(50);

/// Waits until it is time; what a signal handler raises ends the wait, and
/// gives the tokens back.
pub fn wait_out(
    py: Python<'_>,
    place: forebay::Reservation,
    region: &forebay::Region,
) -> PyResult<Verdict> {
    match sleep_out(py, &place, region) {
        Ok(()) => Ok(engine::run(py, || place.verdict())?.into()),
        Err(interrupted) => {
            engine::run(py, || place.cancel())?;
            Err(interrupted)
        }
    }
}

fn sleep_out(
    py: Python<'_>,
    place: &forebay::Reservation,
    region: &forebay::Region,
) -> PyResult<()> {
    let wait = || engine::run(py, || place.wait());
    if wait()?.is_zero() {
        return Ok(());
    }
    if is_manual(py, region)? {
        while !sleep(py, region, place.due())? {
            py.check_signals()?;
        }
        return Ok(());
    }
    // Python's own sleep lets other threads run, and a signal ends it.
    let sleep = py.import("time")?.getattr("sleep")?;
    loop {
        let left = wait()?;
        if left.is_zero() {
            return Ok(());
        }
        py.check_signals()?;
        sleep.call1((left.as_secs_f64(),))?;
    }
}

/// Sleeps by a manual clock, but not for long; whether it is time.
fn sleep(py: Python<'_>, region: &forebay::Region, due: u64) -> PyResult<bool> {
    engine::wait(py, || region.sleep_until(due, SLICE))
}

/// Whether the region's clock is moved by hand: only such a one is moved, here
/// by nothing.
fn is_manual(py: Python<'_>, region: &forebay::Region) -> PyResult<bool> {
    engine::run(py, || region.advance(Duration::ZERO).is_ok())
}
