//! The region that everybody works on: its objects, their options, and how to
//! look at its words from outside.

use anyhow::{ensure, Context, Result};
use forebay::internals::cache::{Shard, ShardGeometry, LOCK};
use forebay::internals::lock::Owner;
use forebay::internals::Words;
use forebay::region::HEADER_BYTES;
use forebay::{
    Algorithm, Breaker, BreakerOptions, Cache, CacheOptions, Histogram, Limiter, LimiterOptions,
    Permits, PermitsOptions, Rate, Region,
};
use std::fs::{File, OpenOptions};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{fence, Ordering};
use std::time::Duration;

use crate::sys::{byte_is_locked, Mapped};

/// The region's size.
pub const BYTES: u64 = 2 << 20;
/// Keys of the cache: more than fit, so that there are evictions.
pub const KEYS: u32 = 2048;
/// Those of them that most calls are about.
pub const HOT_KEYS: u32 = 48;
/// Shards of the cache.
pub const SHARDS: usize = 4;
/// The limiter's keys that half of all takes are about: more than they admit, so
/// that they are empty most of the time and the bound is what limits them.
pub const HOT_BUCKETS: u32 = 4;
/// All of the limiter's keys.
pub const BUCKETS: u32 = 20_000;
/// Tokens that a bucket earns in a second.
pub const RATE: u64 = 12_000;
/// Tokens of a full bucket.
pub const BURST: u64 = 100;
/// Keys of the sliding window.
pub const SLIDING_KEYS: u32 = 2;
/// Tokens of a sliding window.
pub const SLIDING: u64 = 40;
/// How long it is.
pub const SLIDES: Duration = Duration::from_millis(20);
/// Keys of the limiter of two rates.
pub const RATES_KEYS: u32 = 2;
/// Its rates: tokens a second, and at once.
pub const RATES: [(u64, u64); 2] = [(8_000, 16), (2_000, 60)];
/// Keys of the permits.
pub const PERMITS_KEYS: u32 = 2;
/// Leases of a key at once.
pub const PERMITS: u64 = 2;
/// Fewer calls are made while one is held.
pub const HELD: u64 = 16;
/// How long a lease is: no worker is stopped for as long.
pub const LEASE: Duration = Duration::from_secs(60);
/// All limiters have filled again after so long a rest: the sliding window takes
/// a slice longer than its length, and has one at least.
pub const REST: Duration = Duration::from_millis(2 * 20 + 2);
/// Durations that are recorded: `n` stands for 2^n µs, each a bucket of its own.
pub const DURATIONS: u32 = 16;
/// How long the breaker stays open.
pub const OPEN_FOR: Duration = Duration::from_millis(5);
/// How long its probes may take.
pub const PROBE_LEASE: Duration = Duration::from_millis(40);
/// The largest value.
pub const LARGEST: usize = 3800;

/// The duration that this number stands for, in nanoseconds.
pub fn duration_ns(number: u32) -> u64 {
    1000 << number.min(DURATIONS - 1)
}

/// The name of a key of the cache.
pub fn key_name(key: u32) -> String {
    format!("k{key}")
}

/// The name of a bucket.
pub fn bucket_name(key: u32) -> String {
    format!("b{key}")
}

/// The name of a key of the sliding window, the two rates, the permits.
pub fn name_of(kind: char, key: u32) -> String {
    format!("{kind}{key}")
}

/// The objects of the region.
pub struct Objects {
    /// Their region.
    pub region: Region,
    /// The cache.
    pub cache: Cache,
    /// The limiter.
    pub limiter: Limiter,
    /// The breaker.
    pub breaker: Breaker,
    /// The histogram.
    pub histogram: Histogram,
    /// A sliding window.
    pub sliding: Limiter,
    /// A limiter of two rates.
    pub rates: Limiter,
    /// Permits.
    pub permits: Permits,
}

impl Objects {
    /// Opens the region and creates what is not there, under the creation lock.
    pub fn create(path: &str) -> forebay::Result<Objects> {
        let region = Region::options().bytes(BYTES).open(path)?;
        Ok(Objects {
            // First, so that its place is known: see `Outside`.
            cache: region.cache(
                "cache",
                CacheOptions::new()
                    .bytes(512 << 10)
                    .max_entries(1024)
                    .max_item(4096)
                    .shards(SHARDS as u64),
            )?,
            limiter: region.limiter(
                "limits",
                LimiterOptions::new(Rate::per_second(RATE).burst(BURST)).max_keys(8192),
            )?,
            breaker: region.breaker(
                "origin",
                BreakerOptions::new()
                    .failure_threshold(5)
                    .failure_rate(0.5)
                    .window(Duration::from_millis(100))
                    .open_for(OPEN_FOR)
                    .success_threshold(2)
                    .half_open_calls(2)
                    .probe_lease(PROBE_LEASE),
            )?,
            histogram: region.histogram("latency", None)?,
            sliding: region.limiter(
                "sliding",
                LimiterOptions::new(Rate::new(SLIDING, SLIDES))
                    .algorithm(Algorithm::Sliding)
                    .max_keys(64),
            )?,
            rates: region.limiter(
                "rates",
                LimiterOptions::new(RATES.map(|(rate, burst)| Rate::per_second(rate).burst(burst)))
                    .max_keys(64),
            )?,
            permits: region.permits(
                "permits",
                PermitsOptions::new(PERMITS).lease(LEASE).max_leases(64),
            )?,
            region,
        })
    }

    /// Opens the region and attaches to what is there, without a lock.
    pub fn attach(path: &str) -> forebay::Result<Objects> {
        let region = Region::options().create(false).open(path)?;
        Ok(Objects {
            cache: region.cache("cache", None)?,
            limiter: region.limiter("limits", None)?,
            breaker: region.breaker("origin", None)?,
            histogram: region.histogram("latency", None)?,
            sliding: region.limiter("sliding", None)?,
            rates: region.limiter("rates", None)?,
            permits: region.permits("permits", None)?,
            region,
        })
    }
}

// Words of the header and of a directory entry, as docs/layout.md draws them.
const CREATION_LOCK: usize = 11;
const EVENT_LOCK: usize = 12;
const SEATS: usize = 64;
const DIRECTORY: usize = 320;
const ENTRY: usize = 16;
const GEOMETRY: usize = 9;
const KIND_PERMITS: u64 = 6;
/// Words of permits before their first shard, which begins with its lock.
const PERMITS_SHARD: usize = 80;
/// Locks that are looked at: the shards', the event ring's, the directory's, the
/// permits'.
pub const LOCKS: usize = SHARDS + 3;
/// The byte that seat 0 locks.
const SEAT_BYTE: i64 = 1 << 40;

/// The region's words, seen by somebody who takes no part: no seat, no calls.
pub struct Outside {
    mapped: Mapped,
    file: File,
    shards: Vec<usize>,
    geometry: ShardGeometry,
    permits: usize,
}

impl Outside {
    /// Maps the file of a region that `Objects::create` made.
    pub fn look(path: &str) -> Result<Outside> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mapped = Mapped::new(&file)?;
        let word = |at: usize| mapped.words()[at].load(Acquire);
        let [shards, entries, index, cells] =
            [0, 1, 2, 3].map(|i| word(DIRECTORY + GEOMETRY + i) as usize);
        let geometry = ShardGeometry {
            entries,
            index,
            cells,
        };
        let (offset, length) = (
            word(DIRECTORY + GEOMETRY - 2) as usize,
            word(DIRECTORY + GEOMETRY - 1) as usize,
        );
        ensure!(
            shards == SHARDS && offset == HEADER_BYTES as usize / 8,
            "the first object is not the cache"
        );
        let entry = (0..)
            .map(|n| DIRECTORY + n * ENTRY)
            .take_while(|at| word(*at) != 0)
            .find(|at| word(*at) & 0xff == KIND_PERMITS)
            .context("there are no permits")?;
        ensure!(word(entry + GEOMETRY) == 1, "the permits have one shard");
        let permits = word(entry + GEOMETRY - 2) as usize + PERMITS_SHARD;
        let first = offset + length - shards * geometry.words();
        Ok(Outside {
            shards: (0..shards).map(|n| first + n * geometry.words()).collect(),
            mapped,
            file,
            geometry,
            permits,
        })
    }

    /// The words of all locks.
    pub fn locks(&self) -> [u64; LOCKS] {
        let mut found = [0; LOCKS];
        for (lock, at) in found.iter_mut().zip(self.lock_words()) {
            *lock = self.mapped.words()[at].load(Acquire);
        }
        found
    }

    fn lock_words(&self) -> impl Iterator<Item = usize> + '_ {
        let shards = self.shards.iter().map(|at| at + LOCK);
        shards.chain([EVENT_LOCK, CREATION_LOCK, self.permits])
    }

    /// Whether whom a lock's word names is gone.
    pub fn names_the_dead(&self, lock: u64) -> bool {
        let Some(owner) = Owner::of_word(lock) else {
            return false;
        };
        let Some(seat) = owner.seat() else {
            return false;
        };
        let epoch = self.mapped.words()[SEATS + seat].load(Acquire);
        epoch != owner.epoch()
            || !byte_is_locked(&self.file, SEAT_BYTE + seat as i64).unwrap_or(true)
    }

    /// Checks the structure of every shard; nobody may be at work.
    pub fn verify(&self) -> Result<(), String> {
        for (number, &at) in self.shards.iter().enumerate() {
            let shard = Shard {
                words: self,
                at,
                geometry: &self.geometry,
                cleared: 0,
            };
            if shard.is_changing() {
                return Err(format!("shard {number} is being changed by nobody"));
            }
            shard
                .verify()
                .map_err(|problem| format!("shard {number}: {problem}"))?;
        }
        for (number, lock) in self.locks().into_iter().enumerate() {
            // What a dead one holds is taken over by the next who wants it; all
            // shards have been wanted.
            if lock != 0 && (number < SHARDS || !self.names_the_dead(lock)) {
                return Err(format!("lock {number} is held by nobody: {lock:x}"));
            }
        }
        Ok(())
    }
}

impl Words for Outside {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.mapped.words()[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.mapped.words()[index].store(value, order);
    }
    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.mapped.words()[index].compare_exchange(old, new, AcqRel, Acquire)
    }
    fn add(&self, index: usize, value: u64) -> u64 {
        self.mapped.words()[index].fetch_add(value, Relaxed)
    }
    fn fence(&self, order: Ordering) {
        fence(order);
    }
    fn spin(&self) {
        std::hint::spin_loop();
    }
}

/// What the region's statistics say: compared before and after.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Reads of the cache.
    pub reads: u64,
    /// Takes admitted.
    pub admitted: u64,
    /// Takes refused.
    pub refused: u64,
    /// Live buckets evicted: each may add a burst.
    pub evicted_live: u64,
    /// Takes of the sliding window admitted, refused; of the two rates.
    pub others: [[u64; 2]; 2],
    /// Leases granted, refused for any reason, and taken from the dead.
    pub leases: [u64; 3],
    /// Calls that the breaker counted, rejected or found late.
    pub breaker: [u64; 4],
    /// Records in the bucket of each duration.
    pub records: Vec<u64>,
    /// Their sum in nanoseconds.
    pub sum: u64,
    /// Shards cleared.
    pub resets: u64,
    /// Writes that could not get a shard.
    pub busy: u64,
    /// Live buckets of the cache's memory.
    pub evictions: u64,
}

impl Figures {
    /// Reads them.
    pub fn of(objects: &Objects) -> Result<Figures> {
        let cache = objects.cache.stats();
        let limiter = objects.limiter.stats();
        let breaker = objects.breaker.stats();
        let permits = objects.permits.stats();
        ensure!(permits.full == 0, "there was no room for a lease");
        ensure!(permits.expired == 0, "a lease was over by its time");
        let others = [&objects.sliding, &objects.rates].map(Limiter::stats);
        ensure!(
            others.iter().all(|stats| stats.evicted_live == 0),
            "evicted, though there are slots for all"
        );
        let snapshot = objects.histogram.snapshot();
        let mut records = vec![0; DURATIONS as usize];
        let mut found = 0;
        for (edge, count) in snapshot.buckets() {
            let fits = |n: &u32| {
                let seconds = duration_ns(*n) as f64 / 1e9;
                seconds <= edge && seconds > edge / 1.03
            };
            let number = (0..DURATIONS)
                .find(fits)
                .with_context(|| format!("{count} records in a bucket up to {edge} s"))?;
            records[number as usize] += count;
            found += count;
        }
        ensure!(found == snapshot.count(), "buckets and count disagree");
        Ok(Figures {
            reads: cache.hits + cache.misses,
            admitted: limiter.admitted,
            refused: limiter.refused,
            evicted_live: limiter.evicted_live,
            others: others.map(|stats| [stats.admitted, stats.refused]),
            leases: [
                permits.granted,
                permits.refused + permits.busy,
                permits.reaped,
            ],
            breaker: [
                breaker.successes,
                breaker.failures,
                breaker.rejected,
                breaker.late,
            ],
            records,
            sum: u64::try_from(snapshot.sum().as_nanos()).unwrap_or(u64::MAX),
            resets: objects.region.stats().resets,
            busy: cache.busy,
            evictions: cache.evictions,
        })
    }
}
