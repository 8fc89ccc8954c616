//! `Region`: the memory that limiters, caches, breakers and all else live in.

use crate::arguments::{duration, invalid, small, type_name, unsigned};
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::engine::{self, raise};
use crate::histogram::Histogram;
use crate::limiter::Limiter;
use crate::options::{by_tier, given, named, needed, share, with, UNSAID};
use crate::permits::Permits;
use crate::rate;
use crate::values;
use crate::window::WindowCounter;
use forebay::{Algorithm, BreakerOptions, CacheOptions, Error, LimiterOptions, OnError, OnFull};
use forebay::{PermitsOptions, WindowOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A region of memory: private to the process, or a file that every process on
/// the machine shares.
#[pyclass(frozen, module = "forebay")]
pub struct Region {
    /// `None` once closed.
    region: Mutex<Option<forebay::Region>>,
}

impl Region {
    pub fn new(region: forebay::Region) -> Region {
        Region {
            region: Mutex::new(Some(region)),
        }
    }

    /// The engine's handle, cloned: nothing is done while the mutex is held.
    fn open(&self, py: Python<'_>) -> PyResult<forebay::Region> {
        self.peek()
            .ok_or_else(|| raise(py, Error::Closed { what: "region" }))
    }

    fn peek(&self) -> Option<forebay::Region> {
        self.region
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[pymethods]
impl Region {
    /// A limiter: created, or attached to if there is one of that name.
    #[pyo3(signature = (name, rate=None, *, tiers=None, algorithm=None, on_full=None, max_keys=None, enabled=None, on_error=None, show_keys=None))]
    #[allow(clippy::too_many_arguments)] // keywords in Python
    fn limiter(
        &self,
        py: Python<'_>,
        name: &str,
        rate: Option<&Bound<'_, PyAny>>,
        tiers: Option<&Bound<'_, PyAny>>,
        algorithm: Option<&str>,
        on_full: Option<&str>,
        max_keys: Option<&Bound<'_, PyAny>>,
        enabled: Option<bool>,
        on_error: Option<&str>,
        show_keys: Option<bool>,
    ) -> PyResult<Limiter> {
        let region = self.open(py)?;
        let tiers = tiers.map(by_tier).transpose()?;
        let max_keys = given("max_keys", max_keys, unsigned)?;
        let algorithm = named::<Algorithm>(py, algorithm)?;
        let on_full = named::<OnFull>(py, on_full)?;
        let on_error = named::<OnError>(py, on_error)?;
        let chosen = tiers.is_some()
            || algorithm.is_some()
            || on_full.is_some()
            || max_keys.is_some()
            || enabled.is_some()
            || on_error.is_some()
            || show_keys.is_some();
        let rate = needed(
            py,
            "rate",
            rate,
            chosen,
            "a rate, when other options are given",
        )?;
        let rates = rate.map(rate::rates).transpose()?;
        let limiter = engine::open(py, || {
            let options = rates.map(|rates| {
                let mut options = LimiterOptions::new(rates);
                for (name, rates) in tiers.unwrap_or_default() {
                    options = options.tier(name, rates);
                }
                let options = with(options, algorithm, LimiterOptions::algorithm);
                let options = with(options, on_full, LimiterOptions::on_full);
                let options = with(options, max_keys, LimiterOptions::max_keys);
                let options = with(options, enabled, LimiterOptions::enabled);
                let options = with(options, on_error, LimiterOptions::on_error);
                with(options, show_keys, LimiterOptions::show_keys)
            });
            region.limiter(name, options)
        })?;
        Ok(Limiter::new(limiter, region))
    }

    /// A window counter: created, or attached to if there is one of that name.
    #[pyo3(signature = (name, *, max_keys=None, create=true))]
    fn window(
        &self,
        py: Python<'_>,
        name: &str,
        max_keys: Option<&Bound<'_, PyAny>>,
        create: bool,
    ) -> PyResult<WindowCounter> {
        let region = self.open(py)?;
        let max_keys = given("max_keys", max_keys, unsigned)?;
        let options = || with(WindowOptions::new(), max_keys, WindowOptions::max_keys);
        attach_or_create(py, create, max_keys.is_some(), |create| {
            region.window(name, create.then(options))
        })
        .map(WindowCounter::new)
    }

    /// Permits: created, or attached to if there are some of that name.
    #[pyo3(signature = (name, limit=None, *, lease=None, max_leases=None))]
    fn permits(
        &self,
        py: Python<'_>,
        name: &str,
        limit: Option<&Bound<'_, PyAny>>,
        lease: Option<&Bound<'_, PyAny>>,
        max_leases: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Permits> {
        let region = self.open(py)?;
        let lease = given("lease", lease, duration)?;
        let max_leases = given("max_leases", max_leases, unsigned)?;
        let chosen = lease.is_some() || max_leases.is_some();
        let limit = needed(
            py,
            "limit",
            limit,
            chosen,
            "a number, when other options are given",
        )?;
        let limit = given("limit", limit, unsigned)?;
        let permits = engine::open(py, || {
            let options = limit.map(|limit| {
                let options = with(PermitsOptions::new(limit), lease, PermitsOptions::lease);
                with(options, max_leases, PermitsOptions::max_leases)
            });
            region.permits(name, options)
        })?;
        Ok(Permits::new(permits))
    }

    /// A cache: created, or attached to if there is one of that name.
    #[pyo3(signature = (name, *, bytes=None, max_entries=None, max_item=None, shards=None, ttl=None, create=true))]
    #[allow(clippy::too_many_arguments)] // keywords in Python
    fn cache(
        &self,
        py: Python<'_>,
        name: &str,
        bytes: Option<&Bound<'_, PyAny>>,
        max_entries: Option<&Bound<'_, PyAny>>,
        max_item: Option<&Bound<'_, PyAny>>,
        shards: Option<&Bound<'_, PyAny>>,
        ttl: Option<&Bound<'_, PyAny>>,
        create: bool,
    ) -> PyResult<Cache> {
        let region = self.open(py)?;
        let bytes = given("bytes", bytes, unsigned)?;
        let max_entries = given("max_entries", max_entries, unsigned)?;
        let max_item = given("max_item", max_item, unsigned)?;
        let shards = given("shards", shards, unsigned)?;
        let ttl = given("ttl", ttl, duration)?;
        let options = || {
            let options = CacheOptions::new();
            let options = with(options, bytes, CacheOptions::bytes);
            let options = with(options, max_entries, CacheOptions::max_entries);
            let options = with(options, max_item, CacheOptions::max_item);
            let options = with(options, shards, CacheOptions::shards);
            with(options, ttl, CacheOptions::ttl)
        };
        let chosen = [bytes, max_entries, max_item, shards] != [None; 4] || ttl.is_some();
        attach_or_create(py, create, chosen, |create| {
            region.cache(name, create.then(options))
        })
        .map(Cache::new)
    }

    /// A breaker: created, or attached to if there is one of that name.
    #[pyo3(
        signature = (name, *, failure_threshold=None, failure_rate=UNSAID, volume_threshold=None, window=None, open_for=None, success_threshold=None, half_open_calls=None, probe_lease=None, is_failure=None, create=true),
        text_signature = "($self, name, *, failure_threshold=None, failure_rate=..., volume_threshold=None, window=None, open_for=None, success_threshold=None, half_open_calls=None, probe_lease=None, is_failure=None, create=True)"
    )]
    #[allow(clippy::too_many_arguments)] // keywords in Python
    fn breaker(
        &self,
        py: Python<'_>,
        name: &str,
        failure_threshold: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = share)] failure_rate: Option<Option<f64>>,
        volume_threshold: Option<&Bound<'_, PyAny>>,
        window: Option<&Bound<'_, PyAny>>,
        open_for: Option<&Bound<'_, PyAny>>,
        success_threshold: Option<&Bound<'_, PyAny>>,
        half_open_calls: Option<&Bound<'_, PyAny>>,
        probe_lease: Option<&Bound<'_, PyAny>>,
        is_failure: Option<&Bound<'_, PyAny>>,
        create: bool,
    ) -> PyResult<Breaker> {
        let region = self.open(py)?;
        if let Some(judge) = is_failure {
            if !judge.is_callable() {
                return Err(PyTypeError::new_err(format!(
                    "is_failure: a callable, not {}",
                    type_name(judge)
                )));
            }
        }
        let failures = given("failure_threshold", failure_threshold, small)?;
        let volume = given("volume_threshold", volume_threshold, small)?;
        let window = given("window", window, duration)?;
        let open_for = given("open_for", open_for, duration)?;
        let successes = given("success_threshold", success_threshold, small)?;
        let probes = given("half_open_calls", half_open_calls, small)?;
        let lease = given("probe_lease", probe_lease, duration)?;
        let options = || {
            let options = BreakerOptions::new();
            let options = with(options, failures, BreakerOptions::failure_threshold);
            let options = with(options, failure_rate, BreakerOptions::failure_rate);
            let options = with(options, volume, BreakerOptions::volume_threshold);
            let options = with(options, window, BreakerOptions::window);
            let options = with(options, open_for, BreakerOptions::open_for);
            let options = with(options, successes, BreakerOptions::success_threshold);
            let options = with(options, probes, BreakerOptions::half_open_calls);
            with(options, lease, BreakerOptions::probe_lease)
        };
        let chosen = [failures, volume, successes, probes] != [None; 4]
            || [window, open_for, lease] != [None; 3]
            || failure_rate.is_some();
        let breaker = attach_or_create(py, create, chosen, |create| {
            region.breaker(name, create.then(options))
        })?;
        Ok(Breaker::new(
            breaker,
            is_failure.map(|judge| judge.clone().unbind()),
        ))
    }

    /// A histogram: created, or attached to if there is one of that name.
    #[pyo3(signature = (name))]
    fn histogram(&self, py: Python<'_>, name: &str) -> PyResult<Histogram> {
        let region = self.open(py)?;
        let histogram = engine::open(py, || region.histogram(name, None))?;
        Ok(Histogram::new(histogram, region))
    }

    /// What the region holds, in the order of creation.
    fn objects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let region = self.open(py)?;
        let list = PyList::empty(py);
        for object in engine::run(py, || region.objects())? {
            let fields = PyDict::new(py);
            fields.set_item("name", object.name)?;
            fields.set_item("kind", object.kind.to_string())?;
            fields.set_item("bytes", object.bytes)?;
            list.append(values::make(py, "ObjectInfo", fields)?)?;
        }
        Ok(list)
    }

    /// Size, use, participants, events.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let region = self.open(py)?;
        let stats = engine::run(py, || region.stats())?;
        let fields = [
            ("bytes", stats.bytes),
            ("used", stats.used),
            ("objects", stats.objects),
            ("seats", stats.seats),
            ("seats_max", stats.seats_max),
            ("events", stats.events),
            ("events_dropped", stats.events_dropped),
            ("resets", stats.resets),
        ];
        values::make(py, "RegionStats", fields)
    }

    /// What happened, from the event numbered `since` on.
    #[pyo3(signature = (since=0))]
    fn events<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = since)] since: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let region = self.open(py)?;
        let answer = engine::run(py, || region.events(since))?;
        let list = PyList::empty(py);
        for event in answer.events {
            let fields = PyDict::new(py);
            fields.set_item("sequence", event.sequence)?;
            fields.set_item("time", event.time as f64 / 1e9)?;
            fields.set_item("kind", event.kind.name())?;
            fields.set_item("object", event.object)?;
            fields.set_item("detail", event.detail)?;
            list.append(values::make(py, "Event", fields)?)?;
        }
        let fields = PyDict::new(py);
        fields.set_item("events", list.to_tuple())?;
        fields.set_item("next", answer.next)?;
        fields.set_item("lost", answer.lost)?;
        values::make(py, "Events", fields)
    }

    /// Seconds since the region was created.
    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        let region = self.open(py)?;
        Ok(engine::run(py, || region.now())? as f64 / 1e9)
    }

    /// Moves a manual clock on.
    #[pyo3(signature = (by, /))]
    fn advance(&self, py: Python<'_>, by: &Bound<'_, PyAny>) -> PyResult<()> {
        let region = self.open(py)?;
        let by = duration("by", by)?;
        engine::attempt(py, || region.advance(by))
    }

    /// The region's file; None for a private region.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<Option<PathBuf>> {
        let region = self.open(py)?;
        Ok(region.path().map(|path| path.to_owned()))
    }

    /// Whether other processes can open it.
    #[getter]
    fn shared(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.open(py)?.is_shared())
    }

    /// Its size.
    #[getter]
    fn bytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.open(py)?.bytes())
    }

    /// Lets go of the region; closing twice is nothing.
    fn close(&self) {
        // Taken out under the mutex, dropped after it.
        let region = self
            .region
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(region);
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.peek().is_none()
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().open(slf.py())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }

    fn __repr__(&self) -> String {
        match self.peek() {
            None => "<forebay.Region closed>".to_owned(),
            Some(region) => match region.path() {
                Some(path) => format!("<forebay.Region {:?} {} bytes>", path, region.bytes()),
                None => format!("<forebay.Region private {} bytes>", region.bytes()),
            },
        }
    }
}

fn since(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned("since", value)
}

/// With options: create, or attach to what agrees with them. Without: attach to
/// what is there, as it is, and create with the defaults only if nothing is.
/// With `create=False`: attach only.
fn attach_or_create<T: Send>(
    py: Python<'_>,
    create: bool,
    chosen: bool,
    call: impl Fn(bool) -> forebay::Result<T> + Send + Sync,
) -> PyResult<T> {
    if !create && chosen {
        let given = PyBool::new(py, false);
        return Err(invalid(
            "create",
            given.as_any(),
            "True when other options are given",
        ));
    }
    engine::open(py, || {
        if !chosen {
            match call(false) {
                Err(Error::NotFound { .. }) if create => {}
                answer => return answer,
            }
        }
        call(true)
    })
}
