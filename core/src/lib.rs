//! **forebay**: a cache, rate limits, circuit breakers and latency histograms
//! in one region of memory, private to the process or shared by every worker
//! on the machine through one mapped file.
//!
//! ```
//! use forebay::{BreakerOptions, CacheOptions, Rate, Region};
//! use std::time::Duration;
//!
//! # fn main() -> forebay::Result<()> {
//! let region = Region::private()?; // or Region::open("shop")? to share it
//! let limits = region.limiter("api", Rate::per_minute(60).burst(90))?;
//! let pages = region.cache("pages", CacheOptions::new().ttl(Duration::from_secs(300)))?;
//! let origin = region.breaker("origin", BreakerOptions::new())?;
//! let latency = region.histogram("http", None)?;
//!
//! if limits.allow("203.0.113.7") {
//!     let started = std::time::Instant::now();
//!     let body = match pages.get("/") {
//!         Some(body) => body,
//!         None => {
//!             let body = origin.call(|| Ok::<_, std::io::Error>(b"hello".to_vec())).unwrap();
//!             pages.set("/", &body);
//!             body
//!         }
//!     };
//!     assert_eq!(body, b"hello");
//!     latency.record(started.elapsed());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every handle is `Send + Sync + Clone`, keeps its region alive, works from
//! any thread and in a child after `fork`, and allocates nothing on a hot call.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod clock;
mod error;
mod hash;
mod key;
mod stripes;
mod timer;
mod words;

pub mod breaker;
pub mod cache;
pub mod histogram;
pub mod limiter;
pub mod permits;
pub mod region;

pub use address::ClientAddress;
pub use breaker::{Breaker, BreakerOptions, CallError, Permit, Rejected, State};
pub use cache::{Cache, CacheOptions, Codec, Entry, SetOptions, Ttl};
pub use error::{Code, Error, Kind, Result};
pub use histogram::{Histogram, HistogramOptions, Snapshot};
pub use key::{join_parts, Key};
pub use limiter::{headers, take_all, Acquire, HeaderStyle, Limit, Limited, Request, Reservation};
pub use limiter::{Algorithm, Charge, Limiter, LimiterOptions, OnError, OnFull};
pub use limiter::{Count, Rate, Rates, RefusedKey, Verdict, WindowCounter, WindowOptions};
pub use permits::{Lease, Permits, PermitsOptions};
pub use region::LAYOUT_VERSION;
pub use region::{Event, EventKind, Events, ObjectInfo, Region, RegionOptions, RegionStats};

/// The parts that forebay's own tests, models and fuzzers take apart. Not an
/// API: it changes without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::breaker::words as breaker;
    pub use crate::cache::internals as cache;
    pub use crate::hash::Hash;
    pub use crate::histogram::internals as histogram;
    pub use crate::limiter::internals as limiter;
    pub use crate::permits::words as permits;
    pub use crate::region::{events, lock};
    pub use crate::words::Words;
}
