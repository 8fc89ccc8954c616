//! `Region`: the memory that limiters, caches, breakers and histograms live in.

use crate::arguments::{duration, invalid, small, unsigned};
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::engine::{self, attempt_detached, raise};
use crate::histogram::Histogram;
use crate::limiter::Limiter;
use crate::rate::rate;
use crate::values;
use forebay::{BreakerOptions, CacheOptions, Error, LimiterOptions, RegionOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A region of memory: private to the process, or a file that every process on
/// the machine shares.
#[pyclass(frozen, module = "forebay")]
pub struct Region {
    /// `None` once closed.
    region: Mutex<Option<forebay::Region>>,
}

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
    let mut options = options(bytes, manual_clock)?
        .create(create)
        .fresh(fresh)
        .ephemeral(ephemeral);
    if let Some(mode) = mode {
        options = options.mode(small("mode", mode)?);
    }
    attempt_detached(py, || options.open(&place)).map(Region::new)
}

/// Makes a region of this process alone.
#[pyfunction]
#[pyo3(signature = (*, bytes=None, manual_clock=false))]
pub fn private(
    py: Python<'_>,
    bytes: Option<&Bound<'_, PyAny>>,
    manual_clock: bool,
) -> PyResult<Region> {
    let options = options(bytes, manual_clock)?;
    attempt_detached(py, || options.private()).map(Region::new)
}

fn options(bytes: Option<&Bound<'_, PyAny>>, manual_clock: bool) -> PyResult<RegionOptions> {
    let mut options = RegionOptions::new().manual_clock(manual_clock);
    if let Some(bytes) = bytes {
        options = options.bytes(unsigned("bytes", bytes)?);
    }
    Ok(options)
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
        crate::arguments::type_name(given)
    ))
}

/// An option that was given, through its conversion.
fn given<T>(
    argument: &'static str,
    value: Option<&Bound<'_, PyAny>>,
    convert: fn(&'static str, &Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    value.map(|value| convert(argument, value)).transpose()
}

impl Region {
    fn new(region: forebay::Region) -> Region {
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
    #[pyo3(signature = (name, rate=None, *, tiers=None, max_keys=None))]
    fn limiter(
        &self,
        py: Python<'_>,
        name: &str,
        rate: Option<&Bound<'_, PyAny>>,
        tiers: Option<&Bound<'_, PyAny>>,
        max_keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Limiter> {
        let region = self.open(py)?;
        let options = match rate {
            Some(rate) => {
                let mut options = LimiterOptions::new(crate::rate::rate(rate)?);
                if let Some(tiers) = tiers {
                    options = with_tiers(options, tiers)?;
                }
                if let Some(max_keys) = given("max_keys", max_keys, unsigned)? {
                    options = options.max_keys(max_keys);
                }
                Some(options)
            }
            None if tiers.is_some() || max_keys.is_some() => {
                return Err(raise(
                    py,
                    Error::invalid("rate", "None", "a rate, when tiers or max_keys are given"),
                ));
            }
            None => None,
        };
        attempt_detached(py, || region.limiter(name, options)).map(Limiter::new)
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
        let mut options = CacheOptions::new();
        let mut chosen = false;
        if let Some(bytes) = given("bytes", bytes, unsigned)? {
            (options, chosen) = (options.bytes(bytes), true);
        }
        if let Some(max_entries) = given("max_entries", max_entries, unsigned)? {
            (options, chosen) = (options.max_entries(max_entries), true);
        }
        if let Some(max_item) = given("max_item", max_item, unsigned)? {
            (options, chosen) = (options.max_item(max_item), true);
        }
        if let Some(shards) = given("shards", shards, unsigned)? {
            (options, chosen) = (options.shards(shards), true);
        }
        if let Some(ttl) = given("ttl", ttl, duration)? {
            (options, chosen) = (options.ttl(ttl), true);
        }
        attach_or_create(py, create, chosen, |create| {
            region.cache(name, create.then(|| options.clone()))
        })
        .map(Cache::new)
    }

    /// A breaker: created, or attached to if there is one of that name.
    #[pyo3(
        signature = (name, *, failure_threshold=None, failure_rate=Share::Unsaid, volume_threshold=None, window=None, open_for=None, success_threshold=None, half_open_calls=None, probe_lease=None, is_failure=None, create=true),
        text_signature = "($self, name, *, failure_threshold=None, failure_rate=..., volume_threshold=None, window=None, open_for=None, success_threshold=None, half_open_calls=None, probe_lease=None, is_failure=None, create=True)"
    )]
    #[allow(clippy::too_many_arguments)] // keywords in Python
    fn breaker(
        &self,
        py: Python<'_>,
        name: &str,
        failure_threshold: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = share)] failure_rate: Share,
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
                    crate::arguments::type_name(judge)
                )));
            }
        }
        let mut options = BreakerOptions::new();
        let mut chosen = false;
        if let Some(n) = given("failure_threshold", failure_threshold, small)? {
            (options, chosen) = (options.failure_threshold(n), true);
        }
        match failure_rate {
            Share::Unsaid => {}
            Share::Off => (options, chosen) = (options.failure_rate(None), true),
            Share::Of(rate) => (options, chosen) = (options.failure_rate(rate), true),
        }
        if let Some(n) = given("volume_threshold", volume_threshold, small)? {
            (options, chosen) = (options.volume_threshold(n), true);
        }
        if let Some(window) = given("window", window, duration)? {
            (options, chosen) = (options.window(window), true);
        }
        if let Some(open_for) = given("open_for", open_for, duration)? {
            (options, chosen) = (options.open_for(open_for), true);
        }
        if let Some(n) = given("success_threshold", success_threshold, small)? {
            (options, chosen) = (options.success_threshold(n), true);
        }
        if let Some(n) = given("half_open_calls", half_open_calls, small)? {
            (options, chosen) = (options.half_open_calls(n), true);
        }
        if let Some(lease) = given("probe_lease", probe_lease, duration)? {
            (options, chosen) = (options.probe_lease(lease), true);
        }
        let breaker = attach_or_create(py, create, chosen, |create| {
            region.breaker(name, create.then(|| options.clone()))
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
        let histogram = attempt_detached(py, || region.histogram(name, None))?;
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

/// A breaker's failure rate: `...` when it was not given, `None` for off.
enum Share {
    Unsaid,
    Off,
    Of(f64),
}

fn share(value: &Bound<'_, PyAny>) -> PyResult<Share> {
    if value.is_none() {
        return Ok(Share::Off);
    }
    if value.is_instance_of::<pyo3::types::PyEllipsis>() {
        return Ok(Share::Unsaid);
    }
    Ok(Share::Of(value.extract()?))
}

fn with_tiers(mut options: LimiterOptions, tiers: &Bound<'_, PyAny>) -> PyResult<LimiterOptions> {
    for pair in tiers.cast::<PyMapping>()?.items()? {
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyAny>) = pair.extract()?;
        options = options.tier(name.to_str()?, rate(&value)?);
    }
    Ok(options)
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
        let given = pyo3::types::PyBool::new(py, false);
        return Err(invalid(
            "create",
            given.as_any(),
            "True when other options are given",
        ));
    }
    attempt_detached(py, || {
        if !chosen {
            match call(false) {
                Err(Error::NotFound { .. }) if create => {}
                answer => return answer,
            }
        }
        call(true)
    })
}
