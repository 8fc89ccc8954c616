//! One small region with one of each object, how a victim and its survivors
//! open it, and what can be seen of it.

use crate::quotas::Quotas;
use anyhow::{Context, Result};
use forebay::limiter::Verdict;
use forebay::{
    Breaker, BreakerOptions, Cache, CacheOptions, Events, Histogram, Limiter, ObjectInfo, Rate,
    RefusedKey, Region, RegionOptions, State,
};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The limiter's burst; a token takes a second.
pub const BURST: u64 = 10;
/// How long the breaker stays open.
pub const OPEN_FOR: Duration = Duration::from_secs(10);
/// How long a probe may take.
pub const PROBE_LEASE: Duration = Duration::from_secs(5);
/// The most entries of the cache.
pub const ENTRIES: usize = 16;
/// The largest value used: a quarter of the cache.
pub const LARGE: usize = 3000;

/// A region with one of each object.
pub struct World {
    /// The region.
    pub region: Region,
    /// At most [`ENTRIES`] entries in one shard.
    pub cache: Cache,
    /// Slots for sixteen keys: all in one group.
    pub limiter: Limiter,
    /// Opens after three failures, closes after two probes.
    pub breaker: Breaker,
    /// A histogram.
    pub histogram: Histogram,
    /// Several rates, windows, permits.
    pub quotas: Quotas,
}

/// The region's options: with room for a few more objects.
pub fn options() -> RegionOptions {
    Region::options().bytes(144 << 10).manual_clock(true)
}

/// The cache's options.
pub fn cache_options() -> CacheOptions {
    CacheOptions::new()
        .bytes(16 << 10)
        .max_entries(ENTRIES as u64)
        .shards(1)
}

/// The limiter's rate.
pub fn rate() -> Rate {
    Rate::per_second(1).burst(BURST)
}

/// The breaker's options.
pub fn breaker_options() -> BreakerOptions {
    BreakerOptions::new()
        .failure_threshold(3)
        .volume_threshold(100)
        .open_for(OPEN_FOR)
        .success_threshold(2)
        .half_open_calls(1)
        .probe_lease(PROBE_LEASE)
}

impl World {
    /// Makes the region anew, with its objects.
    pub fn create(path: &Path) -> Result<World> {
        let _ = std::fs::remove_file(path);
        let region = options().open(text(path)?)?;
        region.advance(Duration::from_secs(1000))?;
        Ok(World {
            cache: region.cache("pages", cache_options())?,
            limiter: region.limiter("api", forebay::LimiterOptions::new(rate()).max_keys(1))?,
            breaker: region.breaker("origin", breaker_options())?,
            histogram: region.histogram("latency", None)?,
            quotas: Quotas::create(&region)?,
            region,
        })
    }

    /// Opens what is there, creating nothing.
    pub fn attach(path: &Path) -> Result<World> {
        World::of(options().create(false).open(text(path)?)?)
    }

    /// Opens the objects of a region.
    pub fn of(region: Region) -> Result<World> {
        Ok(World {
            cache: region.cache("pages", None)?,
            limiter: region.limiter("api", None)?,
            breaker: region.breaker("origin", None)?,
            histogram: region.histogram("latency", None)?,
            quotas: Quotas::attach(&region)?,
            region,
        })
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        self.region.advance(by).expect("the clock is manual");
    }
}

/// A path as text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

/// A value that tells its key and which one of the key's it is.
pub fn value(key: &str, which: u32, length: usize) -> Vec<u8> {
    let word = format!("{key}={which};");
    let mut value = word.repeat(length / word.len() + 1).into_bytes();
    value.truncate(length);
    value
}

/// The keys of the cache that are looked at.
pub fn keys() -> impl Iterator<Item = String> {
    let small = (0..ENTRIES).map(|i| format!("k{i}"));
    small.chain(["new".to_owned(), "other".to_owned()])
}

/// The limiter's keys that are looked at.
pub fn clients() -> impl Iterator<Item = String> {
    let known = (0..16).map(|i| format!("c{i}"));
    known.chain(["new".to_owned()])
}

/// What a participant sees of the region.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The cache's keys and values.
    pub values: Vec<(String, Option<Vec<u8>>)>,
    /// How many entries there are.
    pub entries: u64,
    /// Entries evicted, expired.
    pub evictions: (u64, u64),
    /// The limiter's keys and their buckets.
    pub buckets: Vec<(String, Verdict)>,
    /// Live buckets evicted.
    pub evicted_live: u64,
    /// The keys that were refused most.
    pub refused: Vec<RefusedKey>,
    /// What the other limiters, the window counter and the permits tell.
    pub quotas: HashMap<String, u64>,
    /// The breaker's state.
    pub state: State,
    /// Its counts: successes, failures, opened, half-opened, closed.
    pub calls: [u64; 5],
    /// The histogram: count, sum, least, largest.
    pub latency: (u64, Duration, Option<Duration>, Option<Duration>),
    /// The objects.
    pub objects: Vec<ObjectInfo>,
    /// The events.
    pub events: Events,
    /// Structures cleared.
    pub resets: u64,
}

impl Seen {
    /// Looks at everything. Looking is a use: it may promote, and repair.
    pub fn of(world: &World) -> Seen {
        let World {
            region,
            cache,
            limiter,
            breaker,
            histogram,
            quotas,
        } = world;
        let events = region.events(0);
        let values = keys().map(|key| (key.clone(), cache.get(&key))).collect();
        let buckets = clients()
            .map(|key| (key.clone(), limiter.peek(&key)))
            .collect();
        let (pages, calls) = (cache.stats(), breaker.stats());
        let latency = histogram.snapshot();
        Seen {
            values,
            entries: pages.entries,
            evictions: (pages.evictions, pages.expirations),
            buckets,
            evicted_live: limiter.stats().evicted_live,
            refused: limiter.top_refused(),
            quotas: quotas.figures(),
            state: breaker.state(),
            calls: [
                calls.successes,
                calls.failures,
                calls.opened,
                calls.half_opened,
                calls.closed,
            ],
            latency: (latency.count(), latency.sum(), latency.min(), latency.max()),
            objects: region.objects(),
            events,
            resets: region.stats().resets,
        }
    }

    /// The value of a key that is looked at.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = self.values.iter().find(|(known, _)| known == key)?;
        value.as_deref()
    }

    /// Tokens left for a key that is looked at.
    pub fn tokens(&self, key: &str) -> u64 {
        let found = self.buckets.iter().find(|(known, _)| known == key);
        found.map_or(0, |(_, bucket)| bucket.remaining)
    }

    /// A figure of a key that is looked at: see [`Quotas::figures`].
    pub fn figure(&self, what: &str, key: &str) -> u64 {
        self.quotas[&format!("{what} {key}")]
    }
}
