//! A region as bytes: copies of it, and what docs/layout.md says is in them.

use anyhow::{bail, Context, Result};
use forebay::internals::cache::{Shard, ShardGeometry};
use forebay::internals::Words;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// Writes a copy of a region as a file of its own, whose seats nobody holds.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A file as mapped here too: what a stopped victim has stored is seen at once.
pub struct View {
    first: *mut libc::c_void,
    length: usize,
}

impl View {
    /// Maps the file.
    pub fn new(path: &Path) -> Result<View> {
        let file = File::open(path)?;
        let length = file.metadata()?.len() as usize;
        let (protection, how) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let first = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                how,
                file.as_raw_fd(),
                0,
            )
        };
        if first == libc::MAP_FAILED {
            bail!(
                "cannot map {}: {}",
                path.display(),
                std::io::Error::last_os_error()
            );
        }
        Ok(View { first, length })
    }

    /// Whether the file still holds these bytes.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        assert_eq!(bytes.len(), self.length);
        // SAFETY: both are readable for `length` bytes, and the only writer is
        // stopped; the C function looks anew at each call.
        unsafe { libc::memcmp(self.first, bytes.as_ptr().cast(), self.length) == 0 }
    }

    /// A copy of what it holds.
    pub fn copy(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        // SAFETY: both are `length` bytes long and do not overlap.
        unsafe { libc::memcpy(bytes.as_mut_ptr().cast(), self.first, self.length) };
        bytes
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nothing borrows from it.
        unsafe { libc::munmap(self.first, self.length) };
    }
}

/// A copy of a region as words.
pub struct Image(Vec<AtomicU64>);

const AT_CREATION_LOCK: usize = 11;
const AT_EVENT_LOCK: usize = 12;
const AT_DIRECTORY: usize = 320;
const OBJECTS: usize = 128;
const ENTRY_WORDS: usize = 16;
const LIMITER_STATISTICS: std::ops::Range<usize> =
    forebay::internals::limiter::AT_STATS..forebay::internals::limiter::AT_TABLES;
const PERMITS_STATISTICS: std::ops::Range<usize> = 16..80;
const PERMITS_FIRST_SHARD: usize = 80;
const CACHE_CLEARED: usize = 8;
const CACHE_FIRST_SHARD: usize = 16;

/// An object of an image: its first word and its geometry.
pub struct Place {
    kind: u64,
    at: usize,
    geometry: [u64; 6],
}

/// A lock that a dead one has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// That of objects.
    Creation,
    /// That of the event ring.
    Events,
    /// That of a cache's shard.
    Shard,
    /// That of permits' shard.
    Permits,
}

impl Image {
    /// The words of these bytes.
    pub fn new(bytes: &[u8]) -> Image {
        let words = bytes.chunks_exact(8);
        Image(
            words
                .map(|word| AtomicU64::new(u64::from_le_bytes(word.try_into().expect("eight"))))
                .collect(),
        )
    }

    fn word(&self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    fn objects(&self) -> impl Iterator<Item = Place> + '_ {
        (0..OBJECTS)
            .map(|number| AT_DIRECTORY + number * ENTRY_WORDS)
            .take_while(|at| self.word(*at) != 0)
            .map(|at| Place {
                kind: self.word(at) & 0xff,
                at: self.word(at + 7) as usize,
                geometry: std::array::from_fn(|i| self.word(at + 9 + i)),
            })
    }

    fn shards(&self) -> impl Iterator<Item = (ShardGeometry, usize, usize)> + '_ {
        let caches = self.objects().filter(|place| place.kind == 2);
        caches.flat_map(|cache| {
            let [shards, entries, index, cells, ..] = cache.geometry;
            let geometry = ShardGeometry {
                entries: entries as usize,
                index: index as usize,
                cells: cells as usize,
            };
            let first = cache.at + CACHE_FIRST_SHARD;
            (0..shards as usize).map(move |number| {
                let at = first + number * geometry.words();
                (geometry, at, cache.at + CACHE_CLEARED)
            })
        })
    }

    /// The locks that somebody holds.
    pub fn held(&self) -> Vec<Held> {
        let mut held = Vec::new();
        if self.word(AT_CREATION_LOCK) != 0 {
            held.push(Held::Creation);
        }
        if self.word(AT_EVENT_LOCK) != 0 {
            held.push(Held::Events);
        }
        if self.shards().any(|(_, at, _)| self.word(at) != 0) {
            held.push(Held::Shard);
        }
        let mut permits = self.objects().filter(|place| place.kind == 6);
        // All permits of the world have one shard.
        if permits.any(|place| self.word(place.at + PERMITS_FIRST_SHARD) != 0) {
            held.push(Held::Permits);
        }
        held
    }

    /// Checks each shard's structure; only when nobody is at work.
    pub fn verify(&self) -> Result<()> {
        if self.held().contains(&Held::Shard) {
            bail!("a shard's lock is still held");
        }
        for (geometry, at, cleared) in self.shards() {
            let shard = Shard {
                words: self,
                at,
                geometry: &geometry,
                cleared,
            };
            shard
                .verify()
                .map_err(anyhow::Error::msg)
                .context("the shard's structure")?;
        }
        Ok(())
    }

    /// A digest of all but the limiters' and permits' statistics, which each
    /// process keeps in a place of its own.
    pub fn digest(&self) -> u64 {
        let statistics: Vec<std::ops::Range<usize>> = self
            .objects()
            .filter_map(|place| {
                let words = match place.kind {
                    1 | 5 => LIMITER_STATISTICS,
                    6 => PERMITS_STATISTICS,
                    _ => return None,
                };
                Some(place.at + words.start..place.at + words.end)
            })
            .collect();
        let mut hasher = DefaultHasher::new();
        for (at, word) in self.0.iter().enumerate() {
            if !statistics.iter().any(|words| words.contains(&at)) {
                word.load(Ordering::Relaxed).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

impl Words for Image {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.0[index].store(value, order);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.0[index].compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.0[index].fetch_add(value, Ordering::Relaxed)
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {}
}
