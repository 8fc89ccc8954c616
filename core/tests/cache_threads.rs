//! A cache among threads: what only shows when a read is disturbed again and
//! again.

use forebay::{CacheOptions, Region, SetOptions, Ttl};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A read that is disturbed too often takes the lock, with the memory that it
/// had chosen for a longer value. What is left of that is not part of the value.
#[test]
fn a_disturbed_read_returns_the_value_and_nothing_behind_it() {
    let region = Region::private().unwrap();
    let options = CacheOptions::new()
        .bytes(1 << 20)
        .max_item(60_000)
        .shards(1);
    let cache = region.cache("c", options).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..=3usize {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                let value = [7u8; 50_000];
                for n in seed.. {
                    let length = n * 7919 % value.len() + 8;
                    let mut value = value[..length.min(value.len())].to_vec();
                    let told = (value.len() as u64).to_le_bytes();
                    value[..8].copy_from_slice(&told);
                    // False if the other writer was stopped by the scheduler for too long.
                    let _ = cache.set("key", &value);
                    if stop.load(Relaxed) {
                        break;
                    }
                }
            });
        }
        let began = Instant::now();
        let mut wrong = None;
        while began.elapsed() < Duration::from_millis(800) && wrong.is_none() {
            let Some(value) = cache.get("key") else {
                continue;
            };
            let told = u64::from_le_bytes(value[..8].try_into().unwrap());
            if told != value.len() as u64 {
                wrong = Some((told, value.len()));
            }
        }
        stop.store(true, Relaxed);
        assert_eq!(wrong, None, "bytes that were set, and bytes that were read");
    });
}

/// A read that is disturbed until it takes the lock answers by the time at which
/// it gets there: what expired meanwhile is not there.
#[test]
fn a_disturbed_read_does_not_return_what_expired_meanwhile() {
    let region = Region::options().manual_clock(true).private().unwrap();
    let options = CacheOptions::new().bytes(1 << 20).shards(1);
    let cache = region.cache("c", options).unwrap();
    for (expires, found) in [
        (Ttl::Never, true),
        (Ttl::For(Duration::from_secs(1)), false),
    ] {
        let options = SetOptions {
            ttl: expires,
            ..SetOptions::default()
        };
        assert!(cache.set_with("key", "value", options));
        let disturbed = Cell::new(0);
        // Called between the two looks at the sequence: a write there disturbs.
        let read = cache.get_with("key", |length| {
            assert!(cache.set("other", "value"));
            region.advance(Duration::from_secs(1)).unwrap();
            disturbed.set(disturbed.get() + 1);
            vec![0; length]
        });
        assert!(disturbed.get() > 1, "never disturbed");
        let value = read.unwrap().map(|(_, value)| value);
        assert_eq!(value.as_deref(), found.then_some(&b"value"[..]));
    }
}
