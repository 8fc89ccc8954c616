//! Each of our operations on a mapped file beside the same in private memory.

use super::{private, Group};
use crate::keys::{key, latencies, value, Sequence};
use crate::{Comparison, Side};
use forebay::breaker::Outcome;
use forebay::{BreakerOptions, CacheOptions, LimiterOptions, Rate, Region};
use std::hint::black_box;
use std::path::Path;

pub const GROUP: Group = Group {
    title: "Shared file against private memory",
    about: "forebay on both sides: *ours* in a file that other processes could map (in /dev/shm), \
            the peer in memory of its own. The same code runs on both.",
    build,
};

const KEYS: usize = 10_000;
const BYTES: u64 = 32 << 20;

fn build() -> Vec<Comparison> {
    let shared = shared();
    let sequence = Sequence::zipf(KEYS, 1 << 17);
    let pair = |operation: &str, side: &dyn Fn(&str, &Region) -> Side| Comparison {
        operation: operation.to_owned(),
        ours: side("forebay, shared", &shared),
        peer: side("forebay, private", &private(BYTES)),
    };
    vec![
        pair("one bucket, admitted", &|name, region| {
            limiter(name, region, None)
        }),
        pair("bucket by string key, 10,000 keys", &|name, region| {
            limiter(name, region, Some(sequence.clone()))
        }),
        pair("cache hit, 256 bytes", &|name, region| {
            cache(name, region, sequence.clone(), false)
        }),
        pair("cache set, 256 bytes", &|name, region| {
            cache(name, region, sequence.clone(), true)
        }),
        pair("record a duration", &|name, region| histogram(name, region)),
        pair("breaker, enter and leave", &|name, region| {
            breaker(name, region)
        }),
    ]
}

fn shared() -> Region {
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let directory = directory.expect("a temporary directory");
    let path = directory.path().join("region");
    let region = Region::options()
        .bytes(BYTES)
        .open(path.to_str().expect("a path in UTF-8"))
        .expect("a shared region");
    assert!(region.is_shared());
    // The directory goes now; the mapping stays as long as the region.
    region
}

fn limiter(name: &str, region: &Region, sequence: Option<Sequence>) -> Side {
    let object = match &sequence {
        Some(_) => "many",
        None => "one",
    };
    let options = LimiterOptions::new(Rate::per_second(1).burst(100_000_000)).max_keys(KEYS as u64);
    let limiter = region.limiter(object, options).expect("a limiter");
    for i in 0..KEYS {
        assert!(limiter.allow(key(i)));
    }
    Side::new(name, move |thread| {
        let (limiter, sequence) = (limiter.clone(), sequence.clone());
        let mut place = sequence.as_ref().map_or(0, |all| all.start(thread));
        move |n| match &sequence {
            Some(sequence) => {
                for _ in 0..n {
                    black_box(limiter.allow(sequence.at(place)));
                    place += 1;
                }
            }
            None => {
                for _ in 0..n {
                    black_box(limiter.allow(black_box("one")));
                }
            }
        }
    })
}

fn cache(name: &str, region: &Region, sequence: Sequence, write: bool) -> Side {
    let options = CacheOptions::new()
        .bytes(8 << 20)
        .max_entries(KEYS as u64 * 3 / 2);
    let object = if write { "written" } else { "read" };
    let cache = region.cache(object, options).expect("a cache");
    for i in 0..KEYS {
        assert!(cache.set(key(i), value(&key(i))));
    }
    for i in 0..KEYS {
        assert_eq!(cache.get(key(i)).as_deref(), Some(&value(&key(i))[..]));
    }
    Side::new(name, move |thread| {
        let (cache, sequence) = (cache.clone(), sequence.clone());
        let mut place = sequence.start(thread);
        let mut buffer = Vec::with_capacity(256);
        let written = value("written");
        move |n| {
            for _ in 0..n {
                let key = sequence.at(place);
                match write {
                    true => {
                        black_box(cache.set(key, written));
                    }
                    false => {
                        let hit = cache.get_into(key, &mut buffer);
                        black_box((hit.is_some(), buffer.as_slice()));
                    }
                }
                place += 1;
            }
        }
    })
}

fn histogram(name: &str, region: &Region) -> Side {
    let histogram = region.histogram("http", None).expect("a histogram");
    let durations = latencies(1 << 16);
    histogram.record_ns(durations[0]);
    assert_eq!(histogram.snapshot().count(), 1);
    Side::new(name, move |thread| {
        let (histogram, durations) = (histogram.clone(), durations.clone());
        let mut place = thread * 9_973;
        move |n| {
            for _ in 0..n {
                histogram.record_ns(black_box(durations[place & (durations.len() - 1)]));
                place += 1;
            }
        }
    })
}

fn breaker(name: &str, region: &Region) -> Side {
    let breaker = region
        .breaker("origin", BreakerOptions::new())
        .expect("a breaker");
    let permit = breaker.enter_raw().expect("closed");
    assert!(breaker.leave(permit, Outcome::Success));
    Side::new(name, move |_| {
        let breaker = breaker.clone();
        move |n| {
            for _ in 0..n {
                if let Ok(permit) = breaker.enter_raw() {
                    black_box(breaker.leave(black_box(permit), Outcome::Success));
                }
            }
        }
    })
}
