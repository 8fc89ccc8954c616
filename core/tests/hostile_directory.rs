//! A directory of hostile words: whatever an entry says of its object, opening
//! it answers or refuses, and what it opens works.

use forebay::{CacheOptions, Charge, Error, LimiterOptions, Rate, Region};
use std::os::unix::fs::FileExt;

/// The directory's first word, the words of an entry, and its geometry within
/// it, as docs/layout.md draws them.
const DIRECTORY: u64 = 320;
const ENTRY: u64 = 16;
const GEOMETRY: u64 = 9;

const HOSTILE: [u64; 10] = [
    0,
    1,
    2,
    3,
    255,
    1 << 31,
    1 << 32,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

#[test]
fn any_word_of_an_entry_may_be_any_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let open = || {
        let options = Region::options().bytes(1 << 18).manual_clock(true);
        options.open(path.to_str().unwrap()).unwrap()
    };
    // Bytes that differ from those of the plan are a geometry of their own, so
    // that opening plans again with what the entry says.
    let cache = |region: &Region| region.cache("c", CacheOptions::new().bytes(64 << 10));
    let limiter = |region: &Region| {
        let options = LimiterOptions::new(Rate::per_second(2));
        region.limiter("l", options.max_keys(64))
    };
    let region = open();
    cache(&region).unwrap();
    limiter(&region).unwrap();
    region.breaker("b", forebay::BreakerOptions::new()).unwrap();
    region.histogram("h", None).unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut refused = 0;
    for entry in 0..4 {
        for word in 0..GEOMETRY + 6 {
            let at = (DIRECTORY + entry * ENTRY + word) * 8;
            let mut was = [0; 8];
            file.read_exact_at(&mut was, at).unwrap();
            for value in HOSTILE {
                file.write_all_at(&value.to_le_bytes(), at).unwrap();
                match cache(&region) {
                    Ok(cache) => drop((cache.set("k", "v"), cache.get("k"), cache.stats())),
                    Err(error) => refused += usize::from(is_refusal(&error)),
                }
                match limiter(&region) {
                    Ok(limiter) => drop(limiter.take_with("k", Charge::cost(1))),
                    Err(error) => refused += usize::from(is_refusal(&error)),
                }
                let _ = region.cache("c", None).map(|cache| cache.get("k"));
                let _ = region.breaker("b", None).map(|breaker| breaker.stats());
                let _ = region
                    .histogram("h", None)
                    .map(|h| h.record_ns(1))
                    .map_err(|error| is_refusal(&error));
                region.objects();
                region.stats();
                // What a first hostile entry let be created is not kept.
                file.write_all_at(&[0; 8], (DIRECTORY + 4 * ENTRY) * 8)
                    .unwrap();
            }
            file.write_all_at(&was, at).unwrap();
        }
    }
    assert!(refused > 100);
    assert!(cache(&region).is_ok() && limiter(&region).is_ok());
}

fn is_refusal(error: &Error) -> bool {
    assert!(
        matches!(
            error,
            Error::Corrupt { .. }
                | Error::WrongKind { .. }
                | Error::Geometry { .. }
                | Error::RegionFull { .. }
                | Error::NotFound { .. }
        ),
        "{error}"
    );
    true
}
