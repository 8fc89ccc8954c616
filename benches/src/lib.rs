//! forebay beside its peers.
//!
//! Each [`Comparison`] is one operation done by forebay and by a crate that
//! programs use for it today. Building one first asserts that each side gives
//! the right answer; only then is it timed, by [`rounds`] (both sides in turn,
//! in one process: ratios that survive a busy machine) or by criterion.
//!
//! - [`operations`]: what is compared
//! - [`keys`]: keys and sequences, drawn before anything is timed
//! - [`rounds`]: the timing
//! - [`report`]: the tables

pub mod keys;
pub mod operations;
pub mod report;
pub mod rounds;

pub use operations::groups;

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

/// Performs so many operations. A worker belongs to one thread; its place in
/// the sequence of keys goes on from call to call.
pub type Worker = Box<dyn FnMut(usize) + Send>;

/// One operation, done in two ways.
pub struct Comparison {
    /// What is done.
    pub operation: String,
    /// How forebay does it.
    pub ours: Side,
    /// How its peer does it.
    pub peer: Side,
}

/// One way to do it.
pub struct Side {
    /// Whose: a crate and how it was set up.
    pub name: String,
    /// For caches that miss: how often they did not.
    pub hits: Option<Arc<HitCount>>,
    new_worker: Box<dyn Fn(usize) -> Worker + Send + Sync>,
}

impl Side {
    /// A side whose `n`-th thread works as `new_worker(n)` says.
    pub fn new<W: FnMut(usize) + Send + 'static>(
        name: &str,
        new_worker: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> Side {
        Side {
            name: name.to_owned(),
            hits: None,
            new_worker: Box::new(move |thread| Box::new(new_worker(thread))),
        }
    }

    /// With a count of hits, which the workers keep.
    pub fn counting(mut self, hits: Arc<HitCount>) -> Side {
        self.hits = Some(hits);
        self
    }

    /// The worker of a thread.
    pub fn worker(&self, thread: usize) -> Worker {
        (self.new_worker)(thread)
    }
}

/// How many reads there were and how many found a value. Workers add to it
/// once a chunk, so that the counting is not what is timed.
#[derive(Default)]
pub struct HitCount {
    reads: CachePadded<AtomicU64>,
    hits: CachePadded<AtomicU64>,
}

impl HitCount {
    /// Adds a chunk's.
    pub fn add(&self, reads: usize, hits: usize) {
        self.reads.fetch_add(reads as u64, Relaxed);
        self.hits.fetch_add(hits as u64, Relaxed);
    }

    /// Hits in a hundred reads, since the last call.
    pub fn take_percent(&self) -> f64 {
        let reads = self.reads.swap(0, Relaxed);
        let hits = self.hits.swap(0, Relaxed);
        hits as f64 / reads.max(1) as f64 * 100.0
    }
}
