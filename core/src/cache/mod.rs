//! A cache of bytes: sharded, least recently used first out, with a time to
//! live for each entry, in a fixed amount of memory.

mod cells;
mod geometry;
#[doc(hidden)]
pub mod recover;
#[doc(hidden)]
pub mod sequence;
#[doc(hidden)]
pub mod shard;

use crate::hash::Hash;
use crate::region::lock::Stuck;
use crate::region::{EventKind, Inner, Object, Request};
use crate::words::{Span, Words};
use crate::{Error, Key, Kind, Result};
use geometry::{ShardGeometry, CACHE_WORDS, MAX_KEY};
use shard::{Damaged, Found, New, Read, Shard};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Changes with the layout of a cache's words.
pub(crate) const FORMAT: usize =
    geometry::SHARD_WORDS << 16 | geometry::STAMPS << 8 | geometry::ENTRY_WORDS;

/// Word of the default time to live, in nanoseconds; 0 never.
const AT_TTL: usize = 0;
/// Word that counts clears of the whole cache.
const AT_CLEARED: usize = 8;

/// Optimistic reads before the lock is taken.
const ATTEMPTS: usize = 8;

/// How a cache works: its memory, its default time to live.
///
/// ```
/// use forebay::CacheOptions;
/// use std::time::Duration;
/// let options = CacheOptions::new()
///     .bytes(8 << 20)
///     .max_entries(10_000)
///     .ttl(Duration::from_secs(300));
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheOptions {
    bytes: Option<u64>,
    max_entries: Option<u64>,
    max_item: Option<u64>,
    shards: Option<u64>,
    ttl: Option<Duration>,
}

impl CacheOptions {
    /// The defaults: 4 MiB, an entry for every 512 bytes, no expiry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The memory that the cache takes in its region, all included; at least
    /// 16 KiB. Fixed when the cache is created.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// The most entries; each takes about 80 bytes beside its key and value.
    /// They are spread over the shards evenly. Fixed when the cache is created.
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = Some(max_entries);
        self
    }

    /// The largest key and value together that is stored. At most about a
    /// quarter of a shard. Fixed when the cache is created.
    pub fn max_item(mut self, bytes: u64) -> Self {
        self.max_item = Some(bytes);
        self
    }

    /// How many shards, a power of two: more let more writers in at once, one
    /// keeps the order of the whole cache. By default at most four a core, and
    /// fewer for a small cache. Fixed when the cache is created.
    pub fn shards(mut self, shards: u64) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The time to live of entries that are set without one.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// How a value's bytes are encoded, so that languages can read each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Bytes as they are.
    #[default]
    Bytes,
    /// UTF-8 text.
    Text,
    /// JSON.
    Json,
    /// Another one, by its number: 16 to 255 are free for applications.
    Other(u8),
}

impl Codec {
    /// The number that is stored.
    pub fn number(self) -> u8 {
        match self {
            Codec::Bytes => 0,
            Codec::Text => 1,
            Codec::Json => 2,
            Codec::Other(number) => number,
        }
    }

    /// The codec of that number.
    pub fn from_number(number: u8) -> Codec {
        match number {
            0 => Codec::Bytes,
            1 => Codec::Text,
            2 => Codec::Json,
            other => Codec::Other(other),
        }
    }
}

/// How long an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ttl {
    /// As long as the cache's options say.
    #[default]
    Default,
    /// Until it is evicted.
    Never,
    /// So long. Nothing that lives for no time at all is stored; setting it
    /// deletes what was there.
    For(Duration),
}

/// How to set a value: [`Cache::set_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    /// How long it lives.
    pub ttl: Ttl,
    /// How its bytes are encoded.
    pub codec: Codec,
}

/// An entry with all that is known of it: [`Cache::entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// How it is encoded.
    pub codec: Codec,
    /// A number that no other value of this key has had or will have.
    pub version: u64,
    /// When it was set, by the wall clock at the region's creation and the
    /// region's clock since.
    pub created: SystemTime,
    /// How long it will live; `None` until it is evicted.
    pub ttl: Option<Duration>,
}

/// What [`Cache::get_into`] and [`Cache::get_with`] tell of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The value's length in bytes.
    pub len: usize,
    /// How it is encoded.
    pub codec: Codec,
    /// A number that no other value of this key has had or will have.
    pub version: u64,
    /// When it was set, in nanoseconds of the region's clock.
    pub created: u64,
    /// When it expires, in nanoseconds of the region's clock.
    pub expires: Option<u64>,
}

impl Meta {
    fn of(found: &Found) -> Meta {
        Meta {
            len: found.length,
            codec: Codec::from_number(found.codec),
            version: found.version,
            created: found.created,
            expires: (found.expires != 0).then_some(found.expires),
        }
    }
}

/// Figures of a cache since its creation: [`Cache::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Values stored.
    pub sets: u64,
    /// Values deleted.
    pub deletes: u64,
    /// Live entries that made room for others.
    pub evictions: u64,
    /// Expired entries that made room for others.
    pub expirations: u64,
    /// Sets refused because the item was too large.
    pub too_large: u64,
    /// Writes that could not get the shard's lock in time.
    pub busy: u64,
    /// Shards cleared because their holder had died.
    pub resets: u64,
    /// Entries there now, expired ones included until they make room.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes_used: u64,
    /// Bytes there are for them.
    pub bytes_capacity: u64,
    /// The largest key and value together that is stored.
    pub max_item: u64,
    /// The most entries.
    pub max_entries: u64,
    /// Shards.
    pub shards: u64,
}

impl CacheStats {
    /// hits / (hits + misses); 0 before the first read.
    pub fn hit_rate(&self) -> f64 {
        // Floating, so that the counters of a damaged region cannot overflow.
        let reads = self.hits as f64 + self.misses as f64;
        if reads == 0.0 {
            0.0
        } else {
            self.hits as f64 / reads
        }
    }
}

/// A cache in a region: [`Region::cache`](crate::Region::cache).
///
/// A value is never another key's, never torn and never older than the last
/// write that was answered. Reads take no lock; writes lock one shard, for a
/// bounded time: a shard that a stopped process holds is skipped and counted
/// (a read is a miss; a write answers false, and the old value is not
/// readable any more). Nothing is allocated but the vectors that are returned.
#[derive(Clone)]
pub struct Cache {
    object: Arc<Object>,
    shards: usize,
    geometry: ShardGeometry,
    /// What this process knows of each shard's lock.
    stuck: Arc<[Stuck]>,
}

impl Cache {
    pub(crate) fn open(
        region: &Arc<Inner>,
        name: &str,
        options: Option<CacheOptions>,
    ) -> Result<Cache> {
        if let Some(options) = &options {
            geometry::check(options)?;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let object = crate::region::open(
            region,
            &Request {
                name,
                kind: Kind::Cache,
                create: match &options {
                    Some(options) => Some(geometry::plan(options, cores)?),
                    None => None,
                },
                words: geometry::words,
                check: &|theirs| match &options {
                    Some(options) => geometry::compare(name, options, theirs),
                    None => Ok(()),
                },
                configure: &|words, _| {
                    // A TTL that is not given leaves what is there.
                    let Some(ttl) = options.as_ref().and_then(|options| options.ttl) else {
                        return Ok(false);
                    };
                    if ttl.is_zero() {
                        return Err(Error::invalid("ttl", "0", "above zero"));
                    }
                    let ttl = nanoseconds(ttl);
                    let was = words.load(AT_TTL, Relaxed);
                    words.store(AT_TTL, ttl, Relaxed);
                    Ok(was != ttl)
                },
            },
        )?;
        let (shards, geometry) =
            geometry::read(&object.geometry).expect("the directory checked the geometry");
        Ok(Cache {
            object: Arc::new(object),
            shards,
            geometry,
            stuck: (0..shards).map(|_| Stuck::default()).collect(),
        })
    }

    /// The cache's name.
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// The value of a key.
    pub fn get(&self, key: impl Key) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        self.get_into(key, &mut value).map(|_| value)
    }

    /// The value of a key, into a vector that is cleared first; allocates only
    /// when the vector is too short.
    pub fn get_into(&self, key: impl Key, into: &mut Vec<u8>) -> Option<Meta> {
        let found = self.look_up(key, |length, earlier: Option<Vec<u8>>| {
            let mut value = earlier.unwrap_or_else(|| std::mem::take(into));
            value.clear();
            value.resize(length, 0);
            value
        });
        match found {
            Some((meta, mut value, _)) => {
                // A disturbed read may have made room for a longer one before.
                value.truncate(meta.len);
                *into = value;
                Some(meta)
            }
            None => {
                into.clear();
                None
            }
        }
    }

    /// The value of a key, into memory that the caller chooses once the length
    /// is known: `place` is called outside any lock, again if a writer got in
    /// between, and its last answer comes back with the value in its first
    /// bytes. Allocates nothing.
    ///
    /// ```
    /// # fn main() -> forebay::Result<()> {
    /// let cache = forebay::Region::private()?.cache("c", forebay::CacheOptions::new())?;
    /// cache.set("key", "value");
    /// let (meta, page) = cache.get_with("key", |_| [0; 64])?.unwrap();
    /// assert_eq!(&page[..meta.len], b"value");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the memory is shorter than the value; nothing is
    /// copied then.
    pub fn get_with<B: AsMut<[u8]>>(
        &self,
        key: impl Key,
        mut place: impl FnMut(usize) -> B,
    ) -> Result<Option<(Meta, B)>> {
        match self.look_up(key, |length, _| place(length)) {
            Some((meta, memory, true)) => Ok(Some((meta, memory))),
            Some((meta, mut memory, false)) => Err(Error::TooLarge {
                what: "the value for this buffer",
                size: meta.len as u64,
                max: memory.as_mut().len() as u64,
            }),
            None => Ok(None),
        }
    }

    /// The value of a key with all that is known of it.
    pub fn entry(&self, key: impl Key) -> Option<Entry> {
        let mut value = Vec::new();
        let meta = self.get_into(key, &mut value)?;
        let region = &self.object.region;
        Some(Entry {
            value,
            codec: meta.codec,
            version: meta.version,
            created: region.wall(meta.created),
            ttl: meta
                .expires
                .map(|at| Duration::from_nanos(at.saturating_sub(region.clock.now()))),
        })
    }

    /// Whether the key has a value. Neither counted nor noted as a use.
    pub fn contains(&self, key: impl Key) -> bool {
        key.with_bytes(|key| {
            let hash = self.hash(key);
            self.read(&self.shard(hash), key, hash, |_, _| []).is_some()
        })
    }

    /// Sets a key to a value, with the defaults: [`Cache::set_with`].
    pub fn set(&self, key: impl Key, value: impl AsRef<[u8]>) -> bool {
        self.set_with(key, value, SetOptions::default())
    }

    /// Sets a key to a value: visible to everybody on return. False, and
    /// counted, if the item is too large or the shard is held by a stopped
    /// process; the old value is gone then, too.
    pub fn set_with(&self, key: impl Key, value: impl AsRef<[u8]>, options: SetOptions) -> bool {
        let value = value.as_ref();
        key.with_bytes(|key| {
            let hash = self.hash(key);
            let shard = self.shard(hash);
            let now = self.object.region.clock.now();
            let expires = match options.ttl {
                Ttl::Never => 0,
                Ttl::Default => match self.object.words.load(AT_TTL, Relaxed) {
                    0 => 0,
                    ttl => now.saturating_add(ttl),
                },
                Ttl::For(ttl) if ttl.is_zero() => {
                    self.delete(key);
                    return true;
                }
                Ttl::For(ttl) => now.saturating_add(nanoseconds(ttl)),
            };
            let max_item = self.object.geometry[4];
            if key.len() > MAX_KEY || (key.len() + value.len()) as u64 > max_item {
                shard.count_one(shard::TOO_LARGE);
                self.delete(key);
                return false;
            }
            let new = New {
                key,
                hash,
                value,
                codec: options.codec.number(),
                now,
                expires,
            };
            self.change(&shard, hash, |shard| shard.set(&new)).is_some()
        })
    }

    /// Deletes a key; whether it had a value. If the shard is held by a
    /// stopped process the value is unreadable all the same, and the answer
    /// is false.
    pub fn delete(&self, key: impl Key) -> bool {
        key.with_bytes(|key| {
            let hash = self.hash(key);
            let shard = self.shard(hash);
            let now = self.object.region.clock.now();
            self.change(&shard, hash, |shard| shard.delete(key, hash, now))
                .unwrap_or(false)
        })
    }

    /// Deletes everything: nothing that was set before is readable when it
    /// returns, whoever holds a shard. Freeing the memory costs time in
    /// proportion to the index.
    pub fn clear(&self) {
        let region = &self.object.region;
        self.object.words.add(AT_CLEARED, 1);
        for number in 0..self.shards {
            let shard = self.shard_at(number);
            // A shard that cannot be locked frees its memory by evictions.
            self.locked(&shard, true, |shard| {
                shard.clear();
                Ok(())
            });
        }
        self.object
            .event(region.clock.now(), EventKind::CacheCleared, 0);
    }

    /// How many entries there are, expired ones included until they make room.
    pub fn len(&self) -> u64 {
        self.all_shards().map(|shard| shard.count()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Figures since the cache's creation.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            bytes_capacity: (self.shards * self.geometry.cells * 64) as u64,
            max_item: self.object.geometry[4],
            max_entries: self.object.geometry[5],
            shards: self.shards as u64,
            ..CacheStats::default()
        };
        for shard in self.all_shards() {
            for (sum, which) in [
                (&mut stats.hits, shard::HITS),
                (&mut stats.misses, shard::MISSES),
                (&mut stats.sets, shard::SETS),
                (&mut stats.deletes, shard::DELETES),
                (&mut stats.evictions, shard::EVICTIONS),
                (&mut stats.expirations, shard::EXPIRATIONS),
                (&mut stats.too_large, shard::TOO_LARGE),
                (&mut stats.busy, shard::BUSY),
                (&mut stats.resets, shard::RESETS),
            ] {
                *sum = sum.wrapping_add(shard.statistic(which));
            }
            stats.entries += shard.count();
            stats.bytes_used += shard.used_cells() * 64;
        }
        stats
    }

    fn hash(&self, key: &[u8]) -> Hash {
        self.object.region.hasher.hash(key)
    }

    fn shard(&self, hash: Hash) -> Shard<'_, Span> {
        // The upper half: nothing else is chosen by it.
        self.shard_at((hash.place >> 32) as usize & (self.shards - 1))
    }

    fn shard_at(&self, number: usize) -> Shard<'_, Span> {
        Shard {
            words: &self.object.words,
            at: CACHE_WORDS + number * self.geometry.words(),
            geometry: &self.geometry,
            cleared: AT_CLEARED,
        }
    }

    fn all_shards(&self) -> impl Iterator<Item = Shard<'_, Span>> {
        (0..self.shards).map(|number| self.shard_at(number))
    }

    /// Looks a key up for [`Cache::get`] and its kin: counts, promotes. Tells
    /// whether the value fitted where `place` put it.
    #[inline]
    fn look_up<B: AsMut<[u8]>>(
        &self,
        key: impl Key,
        place: impl FnMut(usize, Option<B>) -> B,
    ) -> Option<(Meta, B, bool)> {
        key.with_bytes(|key| {
            let hash = self.hash(key);
            let shard = self.shard(hash);
            let Some((found, memory, fits)) = self.read(&shard, key, hash, place) else {
                shard.count_one(shard::MISSES);
                return None;
            };
            shard.count_one(shard::HITS);
            if shard.wants_promotion(&found) {
                self.promote(&shard, &found);
            }
            Some((Meta::of(&found), memory, fits))
        })
    }

    /// Reads without the lock, or with it if writers keep getting in between;
    /// `place`, which is the caller's code, is never called under the lock. It
    /// gets its earlier answer back.
    #[inline]
    fn read<W: Words, B: AsMut<[u8]>>(
        &self,
        shard: &Shard<'_, W>,
        key: &[u8],
        hash: Hash,
        mut place: impl FnMut(usize, Option<B>) -> B,
    ) -> Option<(Found, B, bool)> {
        let now = || self.object.region.clock.now();
        let copy = |shard: &Shard<'_, W>, found: &Found, memory: &mut B| {
            let into = memory.as_mut().get_mut(..found.length);
            into.map(|into| shard.copy_value(found, into)).is_some()
        };
        let mut memory = None;
        for _ in 0..ATTEMPTS {
            let read = shard.read(key, hash, now, |shard, found| {
                let chosen = place(found.length, memory.take());
                copy(shard, found, memory.insert(chosen))
            });
            match read {
                Read::Hit((found, fits)) => return Some((found, memory?, fits)),
                Read::Miss => return None,
                Read::Disturbed => shard.words.spin(),
            }
        }
        for _ in 0..ATTEMPTS {
            // Nobody can disturb who holds the lock.
            let read = self.locked(shard, false, |shard| {
                Ok(
                    shard.read(key, hash, now, |shard, found| match &mut memory {
                        Some(memory) => copy(shard, found, memory),
                        None => false,
                    }),
                )
            });
            match read {
                Some(Read::Hit((found, fits))) => {
                    let room = memory.as_mut().map_or(0, |memory| memory.as_mut().len());
                    if fits || room >= found.length {
                        return Some((found, memory?, fits));
                    }
                    let mut chosen = place(found.length, memory.take());
                    if chosen.as_mut().len() < found.length {
                        // It does not want the value at this length.
                        return Some((found, chosen, false));
                    }
                    memory = Some(chosen);
                }
                _ => return None,
            }
        }
        None
    }

    /// Moves an entry to the front, unless somebody holds the shard.
    fn promote<W: Words>(&self, shard: &Shard<'_, W>, found: &Found) {
        recover::if_free(shard, &self.object.region.seats, |shard| {
            shard.promote(found);
        });
    }

    /// Changes a shard under its lock; if that cannot be had, makes what the
    /// key had unreadable.
    fn change<W: Words, T>(
        &self,
        shard: &Shard<'_, W>,
        hash: Hash,
        change: impl FnOnce(&Shard<'_, W>) -> std::result::Result<T, Damaged>,
    ) -> Option<T> {
        let result = self.locked(shard, true, change);
        if result.is_none() {
            shard.bump_stamp(hash);
            shard.count_one(shard::BUSY);
        }
        result
    }

    /// Does something under a shard's lock. `None` if it cannot be had, or if
    /// the shard turned out to be damaged, which clears it.
    fn locked<W: Words, T>(
        &self,
        shard: &Shard<'_, W>,
        dirty: bool,
        body: impl FnOnce(&Shard<'_, W>) -> std::result::Result<T, Damaged>,
    ) -> Option<T> {
        let region = &self.object.region;
        let number = (shard.at - CACHE_WORDS) / self.geometry.words();
        let reset = || {
            shard.count_one(shard::RESETS);
            region.count_reset();
            let now = region.clock.now();
            self.object.event(now, EventKind::ShardReset, number as u64);
        };
        recover::locked(
            shard,
            &region.seats,
            dirty,
            &self.stuck[number],
            reset,
            body,
        )
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.name())
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// For [`crate::internals`].
#[doc(hidden)]
pub mod internals {
    pub use super::cells::{worst, Cells};
    pub use super::geometry::{ShardGeometry, CELL_WORDS};
    pub use super::shard::*;
    pub use super::{recover, sequence};
}
