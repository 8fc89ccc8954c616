//! A region file with bytes of the fuzzer's choice written over it: opening
//! answers or refuses, and so does every verb; nothing crashes or hangs.
#![no_main]

use arbitrary::Arbitrary;
use forebay::*;
use libfuzzer_sys::fuzz_target;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
struct Input {
    /// {word, value}: written over a valid region.
    patches: Vec<(u16, u64)>,
    /// Or nothing but these bytes.
    instead: Option<Vec<u8>>,
    keys: Vec<u8>,
}

const BYTES: u64 = 1 << 18;

/// A valid region with one object of each kind, in use.
fn valid() -> &'static [u8] {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    VALID.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let options = Region::options().bytes(BYTES).manual_clock(true);
        let region = options.open(path.to_str().unwrap()).unwrap();
        exercise(&region, &[1, 2, 3]);
        std::fs::read(path).unwrap()
    })
}

/// Every verb, whatever the answers.
fn exercise(region: &Region, keys: &[u8]) {
    let limiter = region.limiter("l", LimiterOptions::new(Rate::per_second(2)).max_keys(64));
    let cache = region.cache("c", CacheOptions::new().bytes(64 << 10).max_entries(32));
    let breaker = region.breaker("b", BreakerOptions::new().failure_threshold(1));
    let histogram = region.histogram("h", None);
    for (i, key) in keys.iter().take(32).enumerate() {
        let key = &[*key];
        if let Ok(limiter) = &limiter {
            let verdict = limiter.take(key);
            assert!(verdict.remaining <= verdict.limit);
            limiter.peek_with(key, Charge::cost(2).tier("t"));
            if i % 5 == 0 {
                limiter.reset(key);
            }
        }
        if let Ok(cache) = &cache {
            cache.get(key);
            cache.set(key, vec![key[0]; i * 97]);
            cache.contains(key);
            cache.entry(key);
            if i % 7 == 0 {
                cache.delete(key);
            }
            cache.stats();
        }
        if let Ok(breaker) = &breaker {
            if let Ok(permit) = breaker.enter_raw() {
                let outcome = [breaker::Outcome::Success, breaker::Outcome::Failure][i % 2];
                breaker.leave(permit, outcome);
            }
        }
        if let Ok(histogram) = &histogram {
            histogram.record_ns(i as u64 * 1_000_003);
            let _ = histogram.percentile(50.0);
        }
        let _ = region.advance(Duration::from_millis(400));
    }
    if let Ok(cache) = &cache {
        cache.clear();
    }
    region.events(0);
    region.objects();
    region.stats();
}

fuzz_target!(|input: Input| {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = folder.path().join("region");
    let bytes = input.instead.as_deref().unwrap_or(valid());
    std::fs::write(&path, bytes).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if input.instead.is_none() {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for (word, value) in &input.patches {
            let at = u64::from(*word) * 8 % BYTES;
            file.write_all_at(&value.to_le_bytes(), at).unwrap();
        }
    }
    let options = Region::options().bytes(BYTES).create(false);
    if let Ok(region) = options.open(path.to_str().unwrap()) {
        exercise(&region, &input.keys);
    }
});
