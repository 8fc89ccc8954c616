//! Any sequence of calls on a cache, against a map that never forgets: a hit
//! is the last value that was set, and whatever was deleted, cleared or has
//! expired is no hit. (A miss is always allowed: entries make room.)
#![no_main]

use arbitrary::Arbitrary;
use forebay::*;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
enum Call {
    Get(u8),
    Set { key: u8, length: u16, ttl_ms: u8 },
    Delete(u8),
    Contains(u8),
    Clear,
    Advance(u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    entries: u8,
    calls: Vec<Call>,
}

fuzz_target!(|input: Input| {
    let region = Region::options()
        .bytes(128 << 10)
        .manual_clock(true)
        .private()
        .unwrap();
    let options = CacheOptions::new()
        .bytes(32 << 10)
        .max_entries(u64::from(input.entries) + 1)
        .shards(1);
    let Ok(cache) = region.cache("c", options) else {
        return;
    };
    let mut model: HashMap<u8, (Vec<u8>, Option<u64>)> = HashMap::new();
    for (i, call) in input.calls.iter().enumerate() {
        let now = region.now();
        let live = |expires: Option<u64>| expires.is_none_or(|at| now < at);
        match *call {
            Call::Get(key) => {
                if let Some(value) = cache.get([key]) {
                    let (expected, expires) = model.get(&key).expect("a value that was never set");
                    assert_eq!(value, *expected);
                    assert!(live(*expires), "expired");
                }
            }
            Call::Set {
                key,
                length,
                ttl_ms,
            } => {
                let value = vec![i as u8; usize::from(length)];
                let ttl = Duration::from_millis(u64::from(ttl_ms));
                let options = SetOptions {
                    ttl: if ttl_ms == 0 {
                        Ttl::Never
                    } else {
                        Ttl::For(ttl)
                    },
                    ..SetOptions::default()
                };
                if cache.set_with([key], &value, options) {
                    // What was just set is there.
                    assert_eq!(cache.get([key]).as_ref(), Some(&value));
                    let expires = (ttl_ms != 0).then(|| now + ttl.as_nanos() as u64);
                    model.insert(key, (value, expires));
                } else {
                    assert!(value.len() + 1 > cache.stats().max_item as usize);
                    assert!(!cache.contains([key]));
                    model.remove(&key);
                }
            }
            Call::Delete(key) => {
                let was = cache.delete([key]);
                let modelled = model.remove(&key);
                assert!(!was || modelled.is_some_and(|(_, expires)| live(expires)));
            }
            Call::Contains(key) => {
                if cache.contains([key]) {
                    let (_, expires) = &model[&key];
                    assert!(live(*expires));
                }
            }
            Call::Clear => {
                cache.clear();
                model.clear();
                assert!(cache.is_empty());
            }
            Call::Advance(ms) => region
                .advance(Duration::from_millis(u64::from(ms)))
                .unwrap(),
        }
        let stats = cache.stats();
        assert!(stats.entries <= stats.max_entries && stats.bytes_used <= stats.bytes_capacity);
        assert_eq!(stats.resets, 0);
    }
});
