//! What the gateway keeps in its region. Every worker, in whatever language,
//! declares the same four objects; the first one creates them.

use crate::tier::{BASIC, TIERS};
use forebay::{
    Breaker, BreakerOptions, Cache, CacheOptions, Histogram, Limiter, LimiterOptions, Region,
    Result,
};
use std::time::Duration;

/// Bytes of the cache; the pages of a generated log are five times as much.
pub const CACHE_BYTES: u64 = 32 << 20;
/// Entries of the cache; it has room for 5,000 or so pages of usual size.
pub const CACHE_ENTRIES: u64 = 8_192;
/// No page with its path is larger.
pub const MAX_ITEM: u64 = 128 << 10;
/// Consecutive failures that open the breaker.
pub const FAILURE_THRESHOLD: u32 = 5;
/// Probes that must succeed before the breaker closes.
pub const SUCCESS_THRESHOLD: u32 = 2;
/// Probes in flight at once.
pub const HALF_OPEN_CALLS: u32 = 1;

/// What a run decides of the objects: what workers are told when they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// How long the run is meant to last.
    pub run: Duration,
    /// How long a minute of the limits is.
    pub minute: Duration,
    /// Clients that the limiter has room for.
    pub max_keys: u64,
}

impl Setup {
    /// How long the breaker stays open: 4 % of the run, so that it probes the
    /// failing origin in vain before it finds it recovered.
    pub fn open_for(&self) -> Duration {
        self.run / 25
    }

    /// Bytes of a region that holds it all.
    pub fn region_bytes(&self) -> u64 {
        CACHE_BYTES + (4 << 20) + self.max_keys * 64
    }
}

/// The four objects.
pub struct Objects {
    /// Requests by client.
    pub clients: Limiter,
    /// Bodies by path.
    pub pages: Cache,
    /// Stands before the origin.
    pub origin: Breaker,
    /// How long requests took.
    pub latency: Histogram,
}

impl Objects {
    /// Declares them: creates what is not there, attaches to what is.
    pub fn declare(region: &Region, setup: &Setup) -> Result<Objects> {
        let clients = TIERS
            .iter()
            .fold(
                LimiterOptions::new(BASIC.rate(setup.minute)),
                |options, tier| options.tier(tier.name, tier.rate(setup.minute)),
            )
            .max_keys(setup.max_keys);
        let pages = CacheOptions::new()
            .bytes(CACHE_BYTES)
            .max_entries(CACHE_ENTRIES)
            .max_item(MAX_ITEM);
        let origin = BreakerOptions::new()
            .failure_threshold(FAILURE_THRESHOLD)
            .failure_rate(None)
            .open_for(setup.open_for())
            .success_threshold(SUCCESS_THRESHOLD)
            .half_open_calls(HALF_OPEN_CALLS);
        Ok(Objects {
            clients: region.limiter("clients", clients)?,
            pages: region.cache("pages", pages)?,
            origin: region.breaker("origin", origin)?,
            latency: region.histogram("latency", None)?,
        })
    }

    /// Attaches to what the workers have declared.
    pub fn attach(region: &Region) -> Result<Objects> {
        Ok(Objects {
            clients: region.limiter("clients", None)?,
            pages: region.cache("pages", None)?,
            origin: region.breaker("origin", None)?,
            latency: region.histogram("latency", None)?,
        })
    }
}
