//! The primitives under many threads at once: exact limits, values that are
//! never torn, foreign or stale, breakers that move once, histograms that lose
//! nothing. Time stands still or is moved by hand.

#[path = "region_support/derived.rs"]
mod derived;

use forebay::breaker::Outcome;
use forebay::*;
use std::collections::HashSet;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::Barrier;
use std::time::Duration;

fn region(bytes: u64) -> Region {
    Region::options()
        .bytes(bytes)
        .manual_clock(true)
        .private()
        .unwrap()
}

/// Runs `work` in so many threads that start together; their answers.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = |thread| {
            let (start, work) = (&start, &work);
            move || {
                start.wait();
                work(thread)
            }
        };
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(run(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Numbers that differ from thread to thread and are the same every time.
fn numbers(seed: usize) -> impl FnMut() -> u64 {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move || {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

// ----- limiter

#[test]
fn of_15_threads_that_ask_at_one_instant_exactly_the_burst_of_5_is_admitted() {
    let region = region(1 << 20);
    let limiter = LimiterOptions::new(Rate::per_second(1).burst(5)).max_keys(1000);
    let limiter = region.limiter("api", limiter).unwrap();
    let keys = 300u64;
    // All threads ask for every key, so each is claimed by several at once.
    let admitted = at_once(15, |_| {
        let allowed = (0..keys).map(|key| limiter.allow(key.to_le_bytes()));
        allowed.collect::<Vec<bool>>()
    });
    for key in 0..keys as usize {
        let tokens = admitted.iter().filter(|allowed| allowed[key]).count();
        assert_eq!(tokens, 5, "key {key}");
    }
    let stats = limiter.stats();
    assert_eq!((stats.admitted, stats.refused), (5 * keys, 10 * keys));
    assert_eq!((stats.evicted_live, stats.contended), (0, 0));
    // One second on, one more of each.
    region.advance(Duration::from_secs(1)).unwrap();
    let admitted = at_once(15, |_| {
        (0..keys)
            .filter(|key| limiter.allow(key.to_le_bytes()))
            .count()
    });
    assert_eq!(admitted.iter().sum::<usize>(), keys as usize);
}

#[test]
fn charges_of_any_size_spend_the_bucket_to_the_last_token_and_no_more() {
    let region = region(1 << 20);
    for round in 0..50u64 {
        let limiter = LimiterOptions::new(Rate::per_second(1).burst(100)).max_keys(1000);
        let limiter = region.limiter("api", limiter).unwrap();
        let spent = at_once(4, |thread| {
            let (mut next, mut spent) = (numbers(thread), 0);
            // Larger charges while they pass, then single tokens.
            loop {
                let cost = next() % 7 + 1;
                if !limiter.allow_with(round.to_le_bytes(), Charge::cost(cost)) {
                    break;
                }
                spent += cost;
            }
            while limiter.allow(round.to_le_bytes()) {
                spent += 1;
            }
            spent
        });
        assert_eq!(spent.iter().sum::<u64>(), 100, "{spent:?}");
        assert_eq!(limiter.peek(round.to_le_bytes()).remaining, 0);
    }
}

#[test]
fn while_the_clock_runs_no_key_gets_more_than_its_burst_and_rate() {
    let region = region(1 << 20);
    let limiter = LimiterOptions::new(Rate::new(1, Duration::from_millis(1)).burst(10));
    let limiter = region.limiter("api", limiter.max_keys(1000)).unwrap();
    let (steps, keys) = (2_000u64, 4u64);
    let admitted = at_once(4, |thread| {
        let mut admitted = [0u64; 4];
        for step in 0..steps {
            if thread == 0 {
                region.advance(Duration::from_micros(500)).unwrap();
            }
            let key = step % keys;
            admitted[key as usize] += u64::from(limiter.allow(key.to_le_bytes()));
        }
        admitted
    });
    let most = 10 + steps / 2;
    for key in 0..keys as usize {
        let sum: u64 = admitted.iter().map(|of| of[key]).sum();
        assert!(sum <= most, "{sum} of {most}");
        assert!(sum >= 10);
    }
}

#[test]
fn a_flood_of_fresh_keys_is_admitted_counted_and_does_not_refill_a_drained_bucket() {
    let region = region(1 << 20);
    let limiter = LimiterOptions::new(Rate::per_day(1).burst(5)).max_keys(100);
    let limiter = region.limiter("login", limiter).unwrap();
    let drained: Vec<String> = (0..20).map(|i| format!("attacker {i}")).collect();
    for key in &drained {
        assert!(limiter.allow_with(key, Charge::cost(5)));
    }
    let admitted = at_once(4, |thread| {
        (0..25_000u64)
            .filter(|i| limiter.allow((i * 4 + thread as u64).to_le_bytes()))
            .count()
    });
    let stats = limiter.stats();
    // Newcomers evict each other: whoever has spent least goes first.
    assert!(stats.evicted_live > 90_000);
    for key in &drained {
        assert!(!limiter.allow(key), "{key} got tokens by being evicted");
    }
    // A newcomer is refused only for as long as others keep taking its slots.
    let refused = 100_000 - admitted.iter().sum::<usize>() as u64;
    assert_eq!(refused, stats.contended);
    // That depends on who is interrupted where; it is a few in 100,000.
    assert!(refused < 2_000, "{refused}");
}

#[test]
fn looking_spends_nothing_and_resetting_fills_whatever_others_do() {
    let region = region(1 << 20);
    let limiter = LimiterOptions::new(Rate::per_day(1).burst(8)).max_keys(1000);
    let limiter = region.limiter("api", limiter).unwrap();
    at_once(4, |thread| {
        let mut next = numbers(thread);
        for _ in 0..20_000 {
            let key = (next() % 50).to_le_bytes();
            match next() % 4 {
                0 => drop(limiter.reset(key)),
                1 => drop(limiter.allow(key)),
                _ => {
                    let seen = limiter.peek(key);
                    assert!(seen.remaining <= seen.limit && seen.limit == 8);
                    assert_eq!(seen.allowed, seen.remaining > 0);
                    assert_eq!(seen.retry_after.is_none(), seen.allowed);
                }
            }
        }
    });
    for key in 0..50u64 {
        limiter.reset(key.to_le_bytes());
        assert_eq!(limiter.peek(key.to_le_bytes()).remaining, 8);
    }
}

#[test]
fn changing_rates_never_shows_a_mixture_of_two() {
    let region = region(256 << 10);
    let options = |n: u64| LimiterOptions::new(Rate::per_second(n).burst(n * 10)).max_keys(12);
    let limiter = region.limiter("api", options(1)).unwrap();
    at_once(3, |thread| match thread {
        0 => (0..3_000).for_each(|i| drop(region.limiter("api", options(i % 9 + 1)).unwrap())),
        _ => (0..30_000).for_each(|_| {
            let seen = limiter.peek_with("a", Charge::cost(0));
            assert!((1..=9).any(|n| seen.limit == n * 10), "{seen:?}");
        }),
    });
}

// ----- cache

fn small_cache(region: &Region, name: &str, shards: u64, entries: u64) -> Cache {
    let options = CacheOptions::new()
        .bytes(128 << 10)
        .shards(shards)
        .max_entries(entries);
    region.cache(name, options.max_item(2100)).unwrap()
}

#[test]
fn a_value_is_never_torn_and_never_another_keys() {
    let region = region(1 << 20);
    for (name, shards, entries) in [("one", 1, 1), ("few", 1, 20), ("two", 2, 60)] {
        let cache = small_cache(&region, name, shards, entries);
        let hits = at_once(4, |thread| {
            let (mut next, mut hits) = (numbers(thread), 0u64);
            let mut into = Vec::new();
            for i in 0..30_000 {
                let key = next() % 50;
                let bytes = key.to_le_bytes();
                match next() % 100 {
                    0..40 => drop(cache.set(bytes, derived::value(key, i))),
                    40..45 => drop(cache.delete(bytes)),
                    45 => cache.clear(),
                    46..70 => {
                        if cache.get_into(bytes, &mut into).is_some() {
                            derived::number_of(key, &into);
                            hits += 1;
                        }
                    }
                    70..80 => {
                        let found = cache.get_with(bytes, |length| vec![0; length]);
                        if let Some((meta, value)) = found.unwrap() {
                            derived::number_of(key, &value[..meta.len]);
                            hits += 1;
                        }
                    }
                    _ => {
                        if let Some(value) = cache.get(bytes) {
                            derived::number_of(key, &value);
                            hits += 1;
                        }
                    }
                }
            }
            hits
        });
        let stats = cache.stats();
        assert_eq!(stats.hits, hits.iter().sum::<u64>());
        assert!(
            stats.hits > 500,
            "{name}: always missing proves nothing: {stats:?}"
        );
        assert!(stats.entries <= entries.div_ceil(shards) * shards);
        assert_eq!((stats.resets, stats.too_large), (0, 0));
    }
}

#[test]
fn what_a_thread_wrote_last_is_what_it_reads_or_nothing() {
    let region = region(1 << 20);
    let cache = small_cache(&region, "pages", 1, 30);
    let kept = at_once(4, |thread| {
        let mut next = numbers(thread);
        // Keys of its own: what is set, if anything.
        let mut mine: [Option<u64>; 16] = [None; 16];
        let mut kept = 0;
        for i in 0..20_000u64 {
            let slot = next() as usize % 16;
            let key = (thread * 16 + slot) as u64;
            match next() % 10 {
                0..5 => {
                    let done = cache.set(key.to_le_bytes(), derived::value(key, i));
                    mine[slot] = done.then_some(i);
                }
                5 => {
                    cache.delete(key.to_le_bytes());
                    mine[slot] = None;
                }
                _ => {
                    if let Some(value) = cache.get(key.to_le_bytes()) {
                        assert_eq!(Some(derived::number_of(key, &value)), mine[slot]);
                        kept += 1;
                    }
                }
            }
        }
        kept
    });
    assert!(kept.iter().sum::<u64>() > 1_000, "{kept:?}");
}

#[test]
fn nobody_reads_a_value_older_than_the_last_write_that_was_answered() {
    let region = region(1 << 20);
    let cache = small_cache(&region, "pages", 1, 30);
    const KEYS: usize = 8;
    // For each key, the least number that may still be read.
    let floors: [AtomicU64; KEYS] = Default::default();
    let done = AtomicBool::new(false);
    let hits = at_once(4, |thread| {
        let (mut next, mut hits) = (numbers(thread), 0u64);
        if thread == 0 {
            for i in 1..30_000u64 {
                let key = next() as usize % KEYS;
                let bytes = (key as u64).to_le_bytes();
                match next() % 20 {
                    0 => {
                        cache.delete(bytes);
                        floors[key].store(i + 1, Release);
                    }
                    1 if i % 50 == 0 => {
                        cache.clear();
                        floors.iter().for_each(|floor| floor.store(i + 1, Release));
                    }
                    _ => {
                        cache.set(bytes, derived::value(key as u64, i));
                        floors[key].store(i, Release);
                    }
                }
            }
            // So that everybody has something to read, whoever ran when.
            for key in 0..KEYS as u64 {
                while !cache.set(key.to_le_bytes(), derived::value(key, 30_000)) {}
            }
            done.store(true, Release);
            return 1;
        }
        let mut newest = [0; KEYS];
        while !done.load(Acquire) || hits == 0 {
            let key = next() as usize % KEYS;
            let floor = floors[key].load(Acquire);
            if let Some(value) = cache.get((key as u64).to_le_bytes()) {
                let number = derived::number_of(key as u64, &value);
                assert!(number >= floor, "{number} was overwritten before {floor}");
                assert!(number >= newest[key], "{number} after {}", newest[key]);
                newest[key] = number;
                hits += 1;
            }
        }
        hits
    });
    assert!(hits.iter().all(|hits| *hits > 0), "{hits:?}");
}

#[test]
fn no_value_outlives_its_time_however_many_read_it() {
    let region = region(1 << 20);
    let cache = small_cache(&region, "sessions", 1, 30);
    let second = 1_000_000_000u64;
    at_once(4, |thread| {
        let mut next = numbers(thread);
        for _ in 0..20_000 {
            let key = (next() % 20).to_le_bytes();
            match next() % 10 {
                0 => region.advance(Duration::from_millis(next() % 300)).unwrap(),
                1..4 => {
                    let ttl = next() % 5 + 1;
                    // The clock may move on before the set reads it.
                    let at_least = region.now() + ttl * second;
                    let options = SetOptions {
                        ttl: Ttl::For(Duration::from_secs(ttl)),
                        ..SetOptions::default()
                    };
                    cache.set_with(key, at_least.to_le_bytes(), options);
                }
                _ => {
                    let now = region.now();
                    let mut value = Vec::new();
                    if let Some(meta) = cache.get_into(key, &mut value) {
                        let at_least = u64::from_le_bytes(value.try_into().unwrap());
                        assert!(meta.expires.unwrap() > now);
                        assert!(meta.expires.unwrap() >= at_least);
                    }
                }
            }
        }
    });
}

#[test]
fn no_two_values_of_a_key_have_one_version() {
    let region = region(1 << 20);
    let cache = small_cache(&region, "pages", 1, 10);
    let seen = at_once(4, |thread| {
        let (mut next, mut seen) = (numbers(thread), HashSet::new());
        for i in 0..10_000 {
            match next() % 10 {
                0 => cache.clear(),
                1..5 => drop(cache.set("key", derived::value(7, i * 4 + thread as u64))),
                _ => {
                    let entry = cache.entry("key");
                    seen.extend(entry.map(|e| (e.version, derived::number_of(7, &e.value))));
                }
            }
        }
        seen
    });
    let all: HashSet<(u64, u64)> = seen.into_iter().flatten().collect();
    let versions: HashSet<u64> = all.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions.len(), all.len());
    assert!(all.len() > 100);
}

// ----- breaker

#[test]
fn a_breaker_opens_once_however_many_see_it_fail() {
    let region = region(256 << 10);
    let options = BreakerOptions::new()
        .failure_threshold(5)
        .failure_rate(None);
    let breaker = region
        .breaker("origin", options.success_threshold(1))
        .unwrap();
    for generation in 0..100u64 {
        assert_eq!(breaker.state(), State::Closed);
        let permits: Vec<u64> = (0..8).map(|_| breaker.enter_raw().unwrap()).collect();
        let counted = at_once(8, |thread| breaker.leave(permits[thread], Outcome::Failure));
        assert_eq!(breaker.state(), State::Open);
        assert!(counted.iter().filter(|counted| **counted).count() >= 5);
        assert_eq!(breaker.stats().opened, generation + 1);
        region.advance(Duration::from_secs(60)).unwrap();
        breaker.enter().unwrap().success();
    }
    let stats = breaker.stats();
    assert_eq!(stats.failures + stats.late, 800);
    assert_eq!(
        (stats.opened, stats.half_opened, stats.closed),
        (100, 100, 100)
    );
}

#[test]
fn while_half_open_there_are_as_many_probes_as_the_options_say_and_no_more() {
    for probes in [1, 3, 16] {
        let region = region(256 << 10);
        let options = BreakerOptions::new()
            .failure_threshold(1)
            .half_open_calls(probes);
        let options = options.success_threshold(probes);
        let breaker = region.breaker("origin", options).unwrap();
        for _ in 0..50 {
            breaker.enter().unwrap().failure();
            region.advance(Duration::from_secs(60)).unwrap();
            let permits = at_once(20, |_| breaker.enter_raw().ok());
            let permits: Vec<u64> = permits.into_iter().flatten().collect();
            assert_eq!(permits.len(), probes as usize);
            assert_eq!(breaker.state(), State::HalfOpen);
            // All of them are needed to close it, so all of them count.
            let counted = at_once(permits.len(), |i| {
                breaker.leave(permits[i], Outcome::Success)
            });
            assert!(counted.iter().all(|counted| *counted));
            assert_eq!(breaker.state(), State::Closed);
        }
        assert_eq!(breaker.stats().probes, u64::from(probes) * 50);
    }
}

#[test]
fn calls_in_flight_when_a_breaker_opened_cannot_open_it_again() {
    let region = region(256 << 10);
    let options = BreakerOptions::new()
        .failure_threshold(1)
        .success_threshold(1);
    let breaker = region.breaker("origin", options).unwrap();
    for _ in 0..50 {
        let old: Vec<u64> = (0..8).map(|_| breaker.enter_raw().unwrap()).collect();
        breaker.enter().unwrap().failure();
        region.advance(Duration::from_secs(60)).unwrap();
        breaker.enter().unwrap().success();
        let late = at_once(8, |thread| !breaker.leave(old[thread], Outcome::Failure));
        assert!(late.iter().all(|late| *late));
        assert_eq!(breaker.state(), State::Closed);
    }
    assert_eq!(breaker.stats().late, 400);
}

#[test]
fn a_storm_of_calls_leaves_a_breaker_whose_figures_add_up() {
    let region = region(256 << 10);
    let options = BreakerOptions::new()
        .failure_threshold(4)
        .open_for(Duration::from_millis(2))
        .half_open_calls(2)
        .window(Duration::from_millis(100));
    let breaker = region.breaker("origin", options).unwrap();
    let entered = at_once(4, |thread| {
        let (mut next, mut entered, mut rejected) = (numbers(thread), 0u64, 0u64);
        for _ in 0..20_000 {
            match breaker.enter_raw() {
                Ok(permit) => {
                    entered += 1;
                    let outcome = match next() % 10 {
                        0..6 => Outcome::Success,
                        6..9 => Outcome::Failure,
                        _ => Outcome::Ignored,
                    };
                    breaker.leave(permit, outcome);
                }
                Err(wait) => {
                    rejected += 1;
                    assert!(wait > Duration::ZERO);
                    region.advance(Duration::from_micros(100)).unwrap();
                }
            }
        }
        (entered, rejected)
    });
    let stats = breaker.stats();
    let entered_all: u64 = entered.iter().map(|(entered, _)| entered).sum();
    let rejected_all: u64 = entered.iter().map(|(_, rejected)| rejected).sum();
    assert_eq!(
        stats.successes + stats.failures + stats.ignored + stats.late,
        entered_all
    );
    assert_eq!(stats.rejected, rejected_all);
    // Half-open comes after open, closed after half-open, one at a time.
    assert!(stats.half_opened <= stats.opened && stats.closed <= stats.half_opened);
    let reopened = stats.opened - stats.closed;
    assert!(reopened <= stats.half_opened + 1, "{stats:?}");
    assert!(stats.opened > 10, "{stats:?}");
}

// ----- histogram

#[test]
fn a_histogram_loses_no_record_whoever_looks_meanwhile() {
    let region = region(256 << 10);
    let histogram = region.histogram("http", None).unwrap();
    let each = 50_000u64;
    let sums = at_once(4, |thread| {
        let (mut next, mut sum, mut largest) = (numbers(thread), 0, 0);
        for i in 0..each {
            let ns = next() >> (next() % 40 + 24);
            histogram.record_ns(ns);
            (sum, largest) = (sum + ns, ns.max(largest));
            if i.is_multiple_of(5_000) {
                let seen = histogram.snapshot();
                assert!(seen.count() > i && seen.max().unwrap().as_nanos() as u64 >= largest);
                let in_buckets: u64 = seen.buckets().iter().map(|(_, count)| count).sum();
                assert_eq!(in_buckets, seen.count());
            }
        }
        (sum, largest)
    });
    let seen = histogram.snapshot();
    assert_eq!(seen.count(), 4 * each);
    let sum: u64 = sums.iter().map(|(sum, _)| sum).sum();
    assert_eq!(seen.sum(), Duration::from_nanos(sum));
    let largest = sums.iter().map(|(_, largest)| *largest).max().unwrap();
    assert_eq!(seen.max(), Some(Duration::from_nanos(largest)));
}

#[test]
fn counts_seen_by_a_reader_never_go_back() {
    let region = region(256 << 10);
    let histogram = region.histogram("http", None).unwrap();
    let done = AtomicU64::new(0);
    at_once(3, |thread| {
        if thread > 0 {
            (0..50_000).for_each(|i| histogram.record_ns(i * 1_000));
            done.fetch_add(1, Relaxed);
            return;
        }
        let mut last = 0;
        while done.load(Relaxed) < 2 {
            let count = histogram.snapshot().count();
            assert!(count >= last);
            last = count;
        }
    });
    assert_eq!(histogram.snapshot().count(), 100_000);
}

/// As many keys as `max_keys` promises do not crowd each other.
#[test]
fn as_many_keys_as_promised_have_buckets_side_by_side() {
    for keys in [1_000u32, 10_000, 100_000] {
        let region = Region::options()
            .bytes(16 << 20)
            .manual_clock(true)
            .private()
            .unwrap();
        let options = LimiterOptions::new(Rate::per_hour(1)).max_keys(u64::from(keys));
        let limiter = region.limiter("l", options).unwrap();
        for key in 0..keys {
            assert!(limiter.allow(key.to_le_bytes()));
        }
        let evicted = limiter.stats().evicted_live;
        assert!(evicted <= 8, "{evicted} of {keys} evicted");
    }
}
