//! A region in a file with two objects of each kind, and every verb on each: for
//! the tests and fuzz targets of regions that somebody else writes to.

// Each user takes a part of it.
#![allow(dead_code)]

use crate::hostile_words::drive::Script;
use forebay::*;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

pub const BYTES: u64 = 1 << 18;
/// Words of a region before its objects, and of its directory, as
/// docs/layout.md draws them.
pub const HEADER_WORDS: usize = region::HEADER_BYTES as usize / 8;
pub const DIRECTORY: usize = 320;
const ENTRY_WORDS: usize = 16;
const SECRET: std::ops::Range<usize> = 16..40;
const ENTRY_OFFSET: usize = 7;

pub const OBJECTS: usize = 10;

/// The handles, by their numbers in the directory.
pub struct Zoo {
    pub region: Region,
    limiters: [Limiter; 2],
    caches: [Cache; 2],
    breakers: [Breaker; 2],
    histograms: [Histogram; 2],
    permits: [Permits; 2],
}

fn path() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
    });
    folder.path().join("region")
}

/// A file with a region in use, made once and copied for each run.
pub fn file() -> (PathBuf, File) {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    let path = path();
    let valid = VALID.get_or_init(|| {
        // With a secret of our own, so that a script does the same each time.
        drop(Zoo::region(&path));
        let file = File::options().write(true).open(&path).unwrap();
        for word in SECRET {
            poke(
                &file,
                word,
                0x9d3f_a6c1_5b82_e740 ^ (word as u64 * 0x0107_0b0d_1113_171d),
            );
        }
        let zoo = Zoo::open(&path);
        let everything: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let mut script = Script(&everything);
        while !script.is_over() {
            zoo.exercise(script.below(OBJECTS), &mut script);
        }
        drop(zoo);
        std::fs::read(&path).unwrap()
    });
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, valid).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (path, file)
}

/// The words of an object: from, to.
pub fn zone(file: &File, number: usize) -> (usize, usize) {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at as u64 * 8).unwrap();
        u64::from_le_bytes(bytes) as usize
    };
    let entry = DIRECTORY + number * ENTRY_WORDS + ENTRY_OFFSET;
    let (offset, length) = (word(entry), word(entry + 1));
    assert!(offset >= HEADER_WORDS && offset + length <= BYTES as usize / 8);
    (offset, offset + length)
}

pub fn poke(file: &File, word: usize, value: u64) {
    file.write_all_at(&value.to_le_bytes(), word as u64 * 8)
        .unwrap();
}

impl Zoo {
    fn region(path: &std::path::Path) -> Region {
        let options = Region::options().bytes(BYTES).manual_clock(true);
        options.open(path.to_str().unwrap()).unwrap()
    }

    pub fn open(path: &std::path::Path) -> Zoo {
        let region = Zoo::region(path);
        let limiter = |n: &str| {
            let options =
                LimiterOptions::new(Rate::per_second(2)).tier("more", Rate::per_second(9));
            region
                .limiter(&format!("limiter {n}"), options.max_keys(24))
                .unwrap()
        };
        let cache = |n: &str| {
            let options = CacheOptions::new()
                .bytes(40 << 10)
                .max_entries(32)
                .shards(2);
            region.cache(&format!("cache {n}"), options).unwrap()
        };
        let breaker = |n: &str| {
            let options = BreakerOptions::new().failure_threshold(2);
            region.breaker(&format!("breaker {n}"), options).unwrap()
        };
        let histogram = |n: &str| region.histogram(&format!("histogram {n}"), None).unwrap();
        let permits = |n: &str| {
            let options = PermitsOptions::new(2).max_leases(8);
            region.permits(&format!("permits {n}"), options).unwrap()
        };
        Zoo {
            limiters: ["one", "two"].map(limiter),
            caches: ["one", "two"].map(cache),
            breakers: ["one", "two"].map(breaker),
            histograms: ["one", "two"].map(histogram),
            permits: ["one", "two"].map(permits),
            region: region.clone(),
        }
    }

    /// One verb on one object, whatever the answer, which stays in its bounds.
    pub fn exercise(&self, object: usize, script: &mut Script<'_>) {
        let which = object % 2;
        match object / 2 {
            0 => self.limit(&self.limiters[which], script),
            1 => cache(&self.caches[which], script),
            2 => enter(&self.breakers[which], script),
            3 => record(&self.histograms[which], script),
            _ => permit(&self.permits[which], script),
        }
        if script.byte().is_multiple_of(8) {
            let ms = Duration::from_millis(u64::from(script.byte()) * 4);
            self.region.advance(ms).unwrap();
        }
    }

    fn limit(&self, limiter: &Limiter, script: &mut Script<'_>) {
        let key = [script.byte() % 40];
        match script.byte() % 6 {
            0..=2 => {
                let charge = Charge::cost(u64::from(script.byte() % 4));
                let charge = if script.byte().is_multiple_of(2) {
                    charge
                } else {
                    charge.tier("more")
                };
                let verdict = limiter.take_with(key, charge);
                assert!(verdict.remaining <= verdict.limit);
            }
            3 => assert!(limiter.peek(key).limit > 0),
            4 => drop(limiter.reset(key)),
            _ => assert_eq!(limiter.stats().slots, 32),
        }
    }

    /// The region's own answers.
    pub fn ask_region(&self) {
        assert!(self.region.events(0).events.len() <= 256);
        assert!(self.region.objects().len() <= 128);
        let stats = self.region.stats();
        assert!(stats.used <= BYTES && stats.seats <= stats.seats_max);
    }

    /// Objects that nobody touched work as if nothing had happened.
    pub fn check_sound(&self, object: usize) {
        let which = object % 2;
        match object / 2 {
            0 => {
                // More keys than the table holds may be there: a new one is
                // admitted its burst all the same, for the table is lenient.
                let admitted = (0..4)
                    .filter(|_| self.limiters[which].allow("newcomer"))
                    .count();
                assert_eq!(admitted, 2);
            }
            1 => {
                assert!(self.caches[which].set("newcomer", "value"));
                assert_eq!(
                    self.caches[which].get("newcomer").as_deref(),
                    Some(&b"value"[..])
                );
                assert_eq!(self.caches[which].stats().resets, 0);
            }
            2 => {
                let before = self.breakers[which].stats();
                let entered = self.breakers[which].enter_raw();
                if let Ok(permit) = entered {
                    assert!(self.breakers[which].leave(permit, breaker::Outcome::Success));
                }
                let after = self.breakers[which].stats();
                let rejected = after.rejected - before.rejected;
                assert_eq!(after.successes - before.successes + rejected, 1);
            }
            3 => {
                let before = self.histograms[which].snapshot().count();
                self.histograms[which].record_ns(5);
                assert_eq!(self.histograms[which].snapshot().count(), before + 1);
            }
            _ => {
                // All keys of a script at their limit leave room.
                let lease = self.permits[which].try_acquire("newcomer").unwrap();
                assert_eq!(self.permits[which].in_use("newcomer"), 1);
                assert!(lease.release());
            }
        }
    }
}

fn cache(cache: &Cache, script: &mut Script<'_>) {
    let key = [script.byte() % 48];
    let stats = cache.stats();
    match script.byte() % 8 {
        0..=2 => {
            let value = vec![key[0]; script.below(stats.max_item as usize + 9)];
            let ttl = match script.byte() % 3 {
                0 => Ttl::Default,
                1 => Ttl::Never,
                _ => Ttl::For(Duration::from_millis(u64::from(script.byte()))),
            };
            cache.set_with(
                key,
                value,
                SetOptions {
                    ttl,
                    ..SetOptions::default()
                },
            );
        }
        3 => {
            if let Some(value) = cache.get(key) {
                assert!(value.len() as u64 <= stats.bytes_capacity);
            }
        }
        4 => drop(cache.entry(key)),
        5 => drop(cache.contains(key)),
        6 => drop(cache.delete(key)),
        _ => {
            assert!(
                stats.entries <= stats.max_entries + 1 && stats.bytes_used <= stats.bytes_capacity
            );
            assert!((0.0..=1.0).contains(&stats.hit_rate()));
            if script.byte().is_multiple_of(8) {
                cache.clear();
            }
        }
    }
}

fn enter(breaker: &Breaker, script: &mut Script<'_>) {
    let outcome = match script.byte() % 3 {
        0 => breaker::Outcome::Success,
        1 => breaker::Outcome::Failure,
        _ => breaker::Outcome::Ignored,
    };
    match script.byte() % 4 {
        0 => drop(breaker.leave(script.word(), outcome)),
        1 => drop((breaker.state(), breaker.stats())),
        _ => {
            if let Ok(permit) = breaker.enter_raw() {
                breaker.leave(permit, outcome);
            }
        }
    }
}

fn record(histogram: &Histogram, script: &mut Script<'_>) {
    match script.byte() % 3 {
        0 => histogram.record_ns(script.word()),
        1 => histogram.record_ns(u64::from(script.byte()) * 1_000_003),
        _ => {
            let snapshot = histogram.snapshot();
            let percent = f64::from(script.byte()) / 2.55;
            let found = snapshot.percentile(percent.clamp(0.0, 100.0)).unwrap();
            assert_eq!(found.is_some(), snapshot.count() > 0);
            drop((
                snapshot.buckets(),
                snapshot.mean(),
                snapshot.sum(),
                snapshot.min(),
            ));
        }
    }
}

fn permit(permits: &Permits, script: &mut Script<'_>) {
    let raw = match permits.try_acquire_raw([script.byte() % 40]) {
        Ok(raw) => raw,
        Err(_) => permits::RawLease {
            record: script.hostile(),
            word: script.hostile(),
        },
    };
    permits.ends_in_raw(raw);
    match script.byte() % 4 {
        // Kept until its time is over.
        0 => assert!(permits.in_use("a") <= 128),
        1 => drop(permits.renew_raw(raw)),
        _ => drop(permits.release_raw(raw)),
    }
}

/// Where to patch in words `from` to `to`: often near the beginning, where an
/// object keeps what it is.
fn somewhere(script: &mut Script<'_>, from: usize, to: usize) -> usize {
    let length = to - from;
    from + match script.byte() % 4 {
        0 | 1 => script.below(length.min(96)),
        2 => script.below(length.min(1024)),
        _ => script.below(length),
    }
}

fn in_one_object(script: &mut Script<'_>) {
    let (path, file) = file();
    let zoo = Zoo::open(&path);
    let victim = script.below(OBJECTS);
    let (from, to) = zone(&file, victim);
    let read = || {
        let mut bytes = vec![0; BYTES as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = read();
    while !script.is_over() {
        if script.byte().is_multiple_of(3) {
            poke(&file, somewhere(script, from, to), script.hostile());
        } else {
            zoo.exercise(victim, script);
        }
    }
    let after = read();
    let others = [HEADER_WORDS * 8..from * 8, to * 8..BYTES as usize];
    for range in others {
        assert!(
            before[range.clone()] == after[range],
            "object {victim} wrote outside"
        );
    }
    zoo.ask_region();
    for other in (0..OBJECTS).filter(|&other| other != victim) {
        zoo.check_sound(other);
    }
}

fn anywhere(script: &mut Script<'_>) {
    let (path, file) = file();
    let zoo = Zoo::open(&path);
    // Opening waits for a creator, who may be forged: once is enough.
    let mut opened = false;
    while !script.is_over() {
        match script.byte() % 8 {
            0 | 1 => {
                let at = match script.byte() % 4 {
                    0 => somewhere(script, 10, 16),
                    1 => somewhere(script, DIRECTORY, HEADER_WORDS),
                    2 => somewhere(script, HEADER_WORDS, BYTES as usize / 8),
                    _ => script.below(BYTES as usize / 8),
                };
                poke(&file, at, script.hostile());
            }
            2 => zoo.ask_region(),
            3 if !opened => {
                opened = true;
                match script.byte() % 4 {
                    0 => drop(
                        zoo.region
                            .cache("cache one", CacheOptions::new().bytes(40 << 10)),
                    ),
                    1 => drop(zoo.region.cache("cache two", None)),
                    2 => {
                        let options = LimiterOptions::new(Rate::per_second(3));
                        drop(zoo.region.limiter("limiter one", options.max_keys(24)));
                    }
                    _ => drop(zoo.region.histogram("another", None)),
                }
            }
            _ => zoo.exercise(script.below(OBJECTS), script),
        }
    }
}

/// Verbs on a region whose words are overwritten between them, by a script.
pub fn patched(data: &[u8]) {
    let mut script = Script(data);
    match script.byte() % 2 {
        0 => in_one_object(&mut script),
        _ => anywhere(&mut script),
    }
}
