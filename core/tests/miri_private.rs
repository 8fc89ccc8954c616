//! Every verb over small private regions, sized for Miri: undefined behaviour,
//! data races and weak-memory mistakes in the code that users run.
//! `cargo xtask verify miri` runs it under many seeds; the test command runs it
//! natively.

use forebay::breaker::Outcome;
use forebay::internals::{limiter::refused, Words};
use forebay::*;
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::time::Duration;

/// A region that Miri can afford, with one small object of each kind.
fn small() -> (Region, Limiter, Cache, Breaker, Histogram) {
    let region = Region::options()
        .bytes(96 << 10)
        .manual_clock(true)
        .private()
        .unwrap();
    let limiter = LimiterOptions::new(Rate::per_second(2))
        .tier("more", Rate::per_second(5))
        .tier("all", Rate::UNLIMITED)
        .max_keys(12);
    let limiter = region.limiter("limiter", limiter).unwrap();
    let cache = CacheOptions::new().bytes(16 << 10).max_entries(4).shards(1);
    let cache = region.cache("cache", cache).unwrap();
    let breaker = BreakerOptions::new()
        .failure_threshold(2)
        .success_threshold(1);
    let breaker = region.breaker("breaker", breaker).unwrap();
    let histogram = region.histogram("histogram", None).unwrap();
    (region, limiter, cache, breaker, histogram)
}

#[test]
fn every_verb_once() {
    let (region, limiter, cache, breaker, histogram) = small();
    assert!(limiter.allow("a"));
    assert!(limiter.take(("a", "b")).allowed);
    assert!(limiter.take_with("a", Charge::cost(2).tier("more")).allowed);
    assert!(!limiter.take("a").allowed);
    assert!(limiter.allow_with("a", Charge::cost(9).tier("all")));
    assert!(!limiter.peek("a").allowed);
    assert!(limiter.reset("a"));
    limiter.penalize("a", 3);
    limiter.refund("a", 3);
    limiter.block("b", Duration::from_secs(1));
    assert!(!limiter.allow("b") && limiter.unblock("b"));
    let one = || limiter.request("c", Charge::default());
    assert!(take_all(&[one(), one()]).unwrap().0);
    assert!(limiter.reserve("d", Duration::ZERO).is_ok());
    assert_eq!(limiter.stats().refused, 2);

    for i in 0..6u8 {
        assert!(cache.set([i], vec![i; usize::from(i) * 100]));
        assert_eq!(cache.get([i]).unwrap().len(), usize::from(i) * 100);
    }
    assert!(cache.contains([5]) && !cache.contains([0]));
    let (meta, page) = cache.get_with([5], |_| [0; 600]).unwrap().unwrap();
    assert_eq!((meta.len, page[499], page[500]), (500, 5, 0));
    assert!(cache.get_with([5], |_| [0; 499]).is_err());
    let options = SetOptions {
        ttl: Ttl::For(Duration::from_secs(1)),
        codec: Codec::Text,
    };
    assert!(cache.set_with("ttl", "short", options));
    assert_eq!(
        cache.entry("ttl").unwrap().ttl,
        Some(Duration::from_secs(1))
    );
    region.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(cache.get("ttl"), None);
    assert!(cache.delete([5]));
    cache.clear();
    assert!(cache.is_empty());
    assert_eq!(cache.stats().resets, 0);

    for _ in 0..2 {
        let _ = breaker.call(|| Err::<(), ()>(()));
    }
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.enter().is_err());
    region.advance(Duration::from_secs(60)).unwrap();
    breaker.enter().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
    let raw = breaker.enter().unwrap().into_raw();
    assert!(breaker.leave(raw, Outcome::Ignored));

    let permits = PermitsOptions::new(1).max_leases(1);
    let permits = region.permits("permits", permits).unwrap();
    let mut lease = permits.try_acquire("a").unwrap();
    assert!(permits.try_acquire("a").is_err() && lease.renew());
    assert_eq!(permits.in_use("a"), 1);
    assert!(lease.release());
    let raw = permits.try_acquire("a").unwrap().into_raw();
    region.advance(Duration::from_secs(60)).unwrap();
    assert!(permits.try_acquire("a").is_ok() && !permits.release_raw(raw));
    assert_eq!((permits.stats().granted, permits.stats().expired), (3, 1));

    histogram.record(Duration::from_millis(3));
    assert_eq!(
        histogram.percentile(50.0).unwrap(),
        Some(Duration::from_millis(3))
    );
    assert_eq!(histogram.snapshot().buckets().len(), 1);
    assert_eq!(region.objects().len(), 5);
    let kinds: Vec<_> = region.events(0).events.iter().map(|e| e.kind).collect();
    assert!(kinds.contains(&EventKind::BreakerOpened));
    assert!(region.stats().used <= region.bytes());
}

/// Values say which key and which write they are of, so that a torn or foreign
/// one is seen.
fn value(key: u8, turn: u8) -> Vec<u8> {
    let mut value = vec![key; 20 + usize::from(turn) * 30];
    value[10..].fill(turn);
    value
}

#[test]
fn two_threads_on_one_cache() {
    let (_, _, cache, ..) = small();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..3 {
                for key in 0..3u8 {
                    cache.set([key], value(key, turn));
                }
            }
            cache.delete([1]);
        });
        for _ in 0..3 {
            for key in 0..3u8 {
                if let Some(found) = cache.get([key]) {
                    assert_eq!(found, value(key, *found.last().unwrap()));
                }
            }
        }
    });
    assert!(!cache.contains([1]));
}

#[test]
fn two_threads_on_one_bucket_and_new_keys() {
    let (_, limiter, ..) = small();
    let ask = || {
        (0..3u8)
            .map(|key| u32::from(limiter.allow([key])) + u32::from(limiter.allow("one")))
            .sum::<u32>()
    };
    let admitted = std::thread::scope(|scope| {
        let other = scope.spawn(ask);
        ask() + other.join().unwrap()
    });
    // Two of each of three keys, and two of the one.
    assert_eq!(admitted, 8);
}

#[test]
fn two_threads_on_one_breaker_and_histogram() {
    let (_, _, _, breaker, histogram) = small();
    std::thread::scope(|scope| {
        for outcome in [Outcome::Failure, Outcome::Success] {
            let (breaker, histogram) = (&breaker, &histogram);
            scope.spawn(move || {
                for i in 0..3 {
                    if let Ok(permit) = breaker.enter_raw() {
                        breaker.leave(permit, outcome);
                    }
                    histogram.record_ns(i * 1_000_000);
                }
            });
        }
    });
    assert_eq!(histogram.snapshot().count(), 6);
}

/// Two who note the same and other keys: nothing torn or foreign is shown.
#[test]
fn two_threads_on_one_sketch_of_refused_keys() {
    let words = Plain((0..refused::WORDS).map(|_| AtomicU64::new(0)).collect());
    let mark = |key: &[u8]| {
        key.iter().fold(1, |mark: u64, byte| {
            (mark ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    };
    std::thread::scope(|scope| {
        for thread in 0..2u8 {
            let words = &words;
            scope.spawn(move || {
                for turn in 0..20 {
                    for key in [[turn + thread * 20; 20], [200; 20]] {
                        refused::note(words, 0, mark(&key), 1, Some(&key));
                    }
                }
            });
        }
        for found in refused::top(&words, 0, mark) {
            if let Some(key) = found.key {
                assert!(key.len() == 20 && key.iter().all(|byte| *byte == key[0]));
            }
        }
    });
    let found = refused::top(&words, 0, mark);
    assert_eq!(found[0].key.as_deref(), Some(&[200; 20][..]));
    refused::clear(&words, 0);
    assert!(refused::top(&words, 0, mark).is_empty());
}

struct Plain(Vec<AtomicU64>);

impl Words for Plain {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.0[index].store(value, order);
    }
    fn cas(&self, index: usize, old: u64, new: u64) -> std::result::Result<u64, u64> {
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

/// What a permit of one guards is handed on by releasing it: a data race
/// otherwise.
#[test]
fn two_threads_on_one_permit() {
    struct Guarded(std::cell::UnsafeCell<u32>);
    // SAFETY: touched only under the one permit.
    unsafe impl Sync for Guarded {}

    let (region, ..) = small();
    let options = PermitsOptions::new(1).max_leases(1);
    let permits = region.permits("permits", options).unwrap();
    let count = Guarded(std::cell::UnsafeCell::new(0));
    let add = || {
        let count = &count;
        let turns = (0..4).filter_map(|_| permits.try_acquire("one").ok());
        turns.fold(0, |turns, lease| {
            // SAFETY: nobody else has the permit.
            unsafe { *count.0.get() += 1 };
            assert!(lease.release());
            turns + 1
        })
    };
    let turns = std::thread::scope(|scope| {
        let other = scope.spawn(add);
        add() + other.join().unwrap()
    });
    assert!(turns > 0);
    assert_eq!(count.0.into_inner(), turns);
}
