//! `Limiter`: a token bucket for each key.

use crate::arguments::{duration, tier_of, unsigned};
use crate::engine;
use crate::key::with_key;
use crate::reservation::{wait_out, Reservation};
use crate::values;
use crate::verdict::Verdict;
use forebay::Charge;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::time::Duration;

/// Token buckets by key, each refilled at the rate that the key's tier gives.
#[pyclass(frozen, module = "forebay")]
pub struct Limiter {
    limiter: forebay::Limiter,
    /// For its clock, by which those who wait sleep.
    region: forebay::Region,
}

impl Limiter {
    pub fn new(limiter: forebay::Limiter, region: forebay::Region) -> Limiter {
        Limiter { limiter, region }
    }

    pub fn inner(&self) -> &forebay::Limiter {
        &self.limiter
    }

    /// A place in the queue of a key, or the refusal.
    fn place(
        &self,
        key: &Bound<'_, PyAny>,
        charge: Charge<'_>,
        max_wait: Duration,
    ) -> PyResult<Result<forebay::Reservation, forebay::Verdict>> {
        with_key(key, |key| self.limiter.reserve_with(key, charge, max_wait))
    }
}

fn cost(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("cost", value)
}

fn tokens(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("tokens", value)
}

fn max_wait(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("max_wait", value)
}

fn timeout(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("timeout", value)
}

fn time(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration("time", value)
}

/// A mark, as all languages write it.
fn shown(mark: u64) -> String {
    format!("{mark:016x}")
}

/// A cost that was left out.
const UNSAID: Option<Bound<'_, PyAny>> = None;

/// One that was not, `None` included.
fn said<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(Some(value.clone()))
}

fn charge(cost: u64, tier: Option<&str>) -> Charge<'_> {
    Charge {
        cost,
        tier,
        now: None,
    }
}

#[pymethods]
impl Limiter {
    /// The limiter's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.limiter.name()
    }

    /// Spends `cost` tokens of the key's bucket if they are there.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn allow(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<bool> {
        with_key(key, |key| self.limiter.allow_with(key, charge(cost, tier)))
    }

    /// As `allow`, with all that there is to know of the answer.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn take(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let verdict = with_key(key, |key| self.limiter.take_with(key, charge(cost, tier)))?;
        Ok(verdict.into())
    }

    /// What `take` would answer; spends nothing.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn peek(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let verdict = with_key(key, |key| self.limiter.peek_with(key, charge(cost, tier)))?;
        Ok(verdict.into())
    }

    /// As `take`, but raises `Limited` if the request may not proceed.
    #[pyo3(signature = (key, /, cost=1, tier=None))]
    fn enforce(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        match with_key(key, |key| {
            self.limiter.enforce_with(key, charge(cost, tier))
        })? {
            Ok(verdict) => Ok(verdict.into()),
            Err(refusal) => Err(engine::limited(key.py(), refusal)),
        }
    }

    /// Gives tokens back that were spent for nothing.
    #[pyo3(signature = (key, tokens=1, /, *, tier=None))]
    fn refund(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = tokens)] tokens: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let charge = charge(tokens, tier);
        let verdict = with_key(key, |key| self.limiter.refund_with(key, charge))?;
        Ok(verdict.into())
    }

    /// Takes tokens whether they are there or not: the key may be in debt.
    #[pyo3(signature = (key, tokens=1, /, *, tier=None))]
    fn penalize(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = tokens)] tokens: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        let charge = charge(tokens, tier);
        let verdict = with_key(key, |key| self.limiter.penalize_with(key, charge))?;
        Ok(verdict.into())
    }

    /// Refuses the key everything for so long, in every tier.
    #[pyo3(signature = (key, time, /))]
    fn block(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = time)] time: Duration,
    ) -> PyResult<()> {
        with_key(key, |key| self.limiter.block(key, time))
    }

    /// Ends a block; whether there was one.
    #[pyo3(signature = (key, /))]
    fn unblock(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.limiter.unblock(key))
    }

    /// Spends now, to act after `reservation.wait`; None if that were too long.
    #[pyo3(signature = (key, max_wait, /, *, cost=1, tier=None))]
    fn reserve(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = max_wait)] max_wait: Duration,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Option<Reservation>> {
        let place = self.place(key, charge(cost, tier), max_wait)?;
        Ok(place
            .ok()
            .map(|place| Reservation::new(place, self.region.clone())))
    }

    /// Waits for the tokens, at most `timeout`, and spends them.
    #[pyo3(signature = (key, timeout, /, *, cost=1, tier=None))]
    fn acquire(
        &self,
        key: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = timeout)] timeout: Duration,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Verdict> {
        match self.place(key, charge(cost, tier), timeout)? {
            Ok(place) => wait_out(key.py(), place, &self.region),
            Err(refusal) => Ok(refusal.into()),
        }
    }

    /// `acquire` for asyncio: a coroutine.
    #[pyo3(signature = (key, timeout, /, *, cost=1, tier=None))]
    fn acquire_async<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        timeout: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Told at the call, not when it is awaited.
        with_key(key, |_| ())?;
        duration("timeout", timeout)?;
        static ACQUIRED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        ACQUIRED
            .import(slf.py(), "forebay._limits", "acquired")?
            .call1((slf, key, timeout, cost, tier))
    }

    /// A place in the queue, or the refusal.
    #[pyo3(signature = (key, timeout, cost, tier, /))]
    fn _place<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = timeout)] timeout: Duration,
        #[pyo3(from_py_with = cost)] cost: u64,
        tier: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.place(key, charge(cost, tier), timeout)? {
            Ok(place) => Bound::new(py, Reservation::new(place, self.region.clone()))?.into_any(),
            Err(refusal) => Bound::new(py, Verdict::from(refusal))?.into_any(),
        })
    }

    /// Decorates a function or an `async def`: each call is enforced first.
    #[pyo3(
        signature = (*, key, cost=UNSAID, tier=None),
        text_signature = "($self, *, key, cost=1, tier=None)"
    )]
    fn limit<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = said)] cost: Option<Bound<'py, PyAny>>,
        tier: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let cost = match cost {
            Some(cost) => cost,
            None => 1u64.into_pyobject(py)?.into_any(),
        };
        // What does not depend on the call is told before there is one.
        if !key.is_callable() {
            with_key(key, |_| ())?;
        }
        if !cost.is_callable() {
            unsigned("cost", &cost)?;
        }
        if let Some(tier) = tier.filter(|tier| !tier.is_callable()) {
            tier_of(tier)?;
        }
        static LIMITED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        LIMITED.import(py, "forebay._limits", "limited")?.call1((
            slf.getattr("enforce")?,
            key,
            cost,
            tier,
        ))
    }

    /// Fills the key's bucket and ends a block; whether there was either.
    #[pyo3(signature = (key, /))]
    fn reset(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.limiter.reset(key))
    }

    /// Fills all buckets and ends all blocks, for every process.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        engine::wait(py, || self.limiter.clear())
    }

    /// The keys that were refused most, the worst first.
    fn top_refused<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for refused in engine::wait(py, || self.limiter.top_refused())? {
            let key = refused.key.as_deref().map(|key| match str::from_utf8(key) {
                Ok(text) => PyString::new(py, text).into_any(),
                Err(_) => PyBytes::new(py, key).into_any(),
            });
            let fields = PyDict::new(py);
            fields.set_item("mark", shown(refused.mark))?;
            fields.set_item("count", refused.count)?;
            fields.set_item("over", refused.over)?;
            fields.set_item("key", key)?;
            list.append(values::make(py, "RefusedKey", fields)?)?;
        }
        Ok(list)
    }

    /// By what `top_refused` calls this key.
    #[pyo3(signature = (key, /))]
    fn mark(&self, key: &Bound<'_, PyAny>) -> PyResult<String> {
        with_key(key, |key| self.limiter.mark(key)).map(shown)
    }

    /// Begins to count anew who is refused most.
    fn forget_refused(&self, py: Python<'_>) -> PyResult<()> {
        engine::run(py, || self.limiter.forget_refused())
    }

    /// Counts since the limiter was created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.limiter.stats())?;
        let fields = [
            ("admitted", stats.admitted),
            ("refused", stats.refused),
            ("debts", stats.debts),
            ("evicted_live", stats.evicted_live),
            ("unknown_tier", stats.unknown_tier),
            ("contended", stats.contended),
            ("slots", stats.slots),
        ];
        values::make(py, "LimiterStats", fields)
    }

    /// The counts of each tier, `default` first.
    fn tier_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for of in engine::run(py, || self.limiter.tier_stats())? {
            let fields = PyDict::new(py);
            fields.set_item("tier", of.tier)?;
            fields.set_item("admitted", of.admitted)?;
            fields.set_item("refused", of.refused)?;
            fields.set_item("debts", of.debts)?;
            list.append(values::make(py, "TierStats", fields)?)?;
        }
        Ok(list)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.Limiter {:?}>", self.limiter.name())
    }
}
