//! `Cache`: values by key, within hard bounds.

use crate::arguments::duration;
use crate::codec::{self, decode, with_value};
use crate::engine;
use crate::key::with_key;
use crate::values;
use forebay::{Codec, SetOptions, Ttl};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyEllipsis};
use std::cell::Cell;

/// A bounded map from keys to values, the least recently used evicted first.
#[pyclass(frozen, module = "forebay")]
pub struct Cache {
    cache: forebay::Cache,
}

impl Cache {
    pub fn new(cache: forebay::Cache) -> Cache {
        Cache { cache }
    }

    /// Copies the key's value out of the region and hands it over, so that
    /// nothing of Python's is made before the engine has returned.
    #[inline]
    fn fetch<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        then: impl FnOnce(&[u8], Codec) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        // The buffer is taken, not borrowed: whatever Python runs while the
        // value is decoded may read a cache itself, with a buffer of its own.
        let mut buffer = BUFFER.take();
        let found = with_key(key, |key| self.cache.get_into(key, &mut buffer));
        let value = match found {
            Ok(Some(meta)) => then(&buffer, meta.codec).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if buffer.capacity() <= KEPT {
            BUFFER.set(buffer);
        }
        value
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps from one read to the next.
const KEPT: usize = 64 << 10;

/// `...` is the cache's own TTL, `None` is never.
fn ttl(value: &Bound<'_, PyAny>) -> PyResult<Ttl> {
    if value.is_none() {
        return Ok(Ttl::Never);
    }
    if value.is_instance_of::<PyEllipsis>() {
        return Ok(Ttl::Default);
    }
    Ok(Ttl::For(duration("ttl", value)?))
}

#[pymethods]
impl Cache {
    /// The cache's name in its region.
    #[getter]
    fn name(&self) -> &str {
        self.cache.name()
    }

    /// The key's value, or `default`.
    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.fetch(key, |bytes, codec| decode(py, bytes, codec))?;
        Ok(found
            .or(default)
            .unwrap_or_else(|| py.None().into_bound(py)))
    }

    /// The key's value as its bytes, whatever its codec, or None.
    #[pyo3(signature = (key, /))]
    fn get_bytes<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.fetch(key, |bytes, _| Ok(PyBytes::new(py, bytes).into_any()))
    }

    /// The key's value with all that is known of it, or None.
    #[pyo3(signature = (key, /))]
    fn entry<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(entry) = with_key(key, |key| self.cache.entry(key))? else {
            return Ok(None);
        };
        let value = if codec::is_known(entry.codec) {
            decode(py, &entry.value, entry.codec)?
        } else {
            PyBytes::new(py, &entry.value).into_any()
        };
        let fields = PyDict::new(py);
        fields.set_item("value", value)?;
        fields.set_item("codec", codec::name(entry.codec))?;
        fields.set_item("version", entry.version)?;
        fields.set_item("created", entry.created)?;
        fields.set_item("ttl", entry.ttl.map(|ttl| ttl.as_secs_f64()))?;
        values::make(py, "Entry", fields).map(Some)
    }

    /// Stores a value; False if it is too large or its shard is held.
    #[pyo3(
        signature = (key, value, /, ttl=Ttl::Default),
        text_signature = "($self, key, value, /, ttl=...)"
    )]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = ttl)] ttl: Ttl,
    ) -> PyResult<bool> {
        // The value first: making it JSON may run any code, the key's bytes
        // are held for the engine's call only.
        with_value(value, |bytes, codec| {
            with_key(key, |key| {
                self.cache.set_with(key, bytes, SetOptions { ttl, codec })
            })
        })?
    }

    /// Removes the key; whether it was there.
    #[pyo3(signature = (key, /))]
    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.cache.delete(key))
    }

    /// Whether the key is there; does not count as a use of it.
    #[pyo3(signature = (key, /))]
    fn contains(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| self.cache.contains(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.contains(key)
    }

    /// Removes everything.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        engine::run(py, || self.cache.clear())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let len = engine::run(py, || self.cache.len())?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// A cache is there even when it is empty.
    fn __bool__(&self) -> bool {
        true
    }

    /// Counts since the cache was created, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = engine::run(py, || self.cache.stats())?;
        let fields = [
            ("hits", stats.hits),
            ("misses", stats.misses),
            ("sets", stats.sets),
            ("deletes", stats.deletes),
            ("evictions", stats.evictions),
            ("expirations", stats.expirations),
            ("too_large", stats.too_large),
            ("busy", stats.busy),
            ("resets", stats.resets),
            ("entries", stats.entries),
            ("bytes_used", stats.bytes_used),
            ("bytes_capacity", stats.bytes_capacity),
            ("max_item", stats.max_item),
            ("max_entries", stats.max_entries),
            ("shards", stats.shards),
        ];
        values::make(py, "CacheStats", fields)
    }

    fn __repr__(&self) -> String {
        format!("<forebay.Cache {:?}>", self.cache.name())
    }
}
