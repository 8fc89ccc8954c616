//! What an error says is written to logs: never a key, a cached value, or a
//! word of the region's secret, whatever form they would be printed in. And
//! the secret itself is the operating system's random bytes.

mod region_support;

use forebay::*;
use region_support::{word, Place, Words};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const KEY: &str = "k3y-of-a-customer";
const VALUE: &str = "v4lue-of-a-customer";
/// The region's secret, by docs/layout.md.
const SECRET: std::ops::Range<usize> = 16..40;

/// What must not be said, in the forms that a word or bytes are printed in.
fn unspeakable(words: &Words) -> Vec<String> {
    let mut forms = vec![KEY.to_owned(), VALUE.to_owned()];
    for bytes in [KEY.as_bytes(), VALUE.as_bytes()] {
        forms.push(format!("{bytes:?}"));
        forms.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        forms.push(bytes[..4].iter().map(|b| format!("{b}, ")).collect());
    }
    for at in SECRET {
        let word = words.load(at);
        // A word that is a small number would be found anywhere.
        assert!(word >> 32 != 0, "32 zero bits in a row");
        forms.push(format!("{word}"));
        forms.push(format!("{word:x}"));
        forms.push(format!("{:x}", word.swap_bytes()));
        forms.push(format!("{:08x}", word as u32));
        forms.push(format!("{:08x}", word >> 32));
    }
    forms
}

/// Every sentence that a program can meet beside a region in use.
fn sentences(path: &str, words: &Words) -> Vec<String> {
    let mut said = Vec::new();
    let mut hear = |error: Error| {
        said.push(error.to_string());
        said.push(format!("{error:?}"));
    };
    let options = || Region::options().bytes(256 << 10);
    let region = options().open(path).unwrap();
    let limiter = region.limiter("limits", region_support::budget(1)).unwrap();
    let cache_options = || CacheOptions::new().bytes(64 << 10).max_entries(64);
    let cache = region.cache("pages", cache_options()).unwrap();
    let breaker_options = || BreakerOptions::new().failure_threshold(1);
    let breaker = region.breaker("origin", breaker_options()).unwrap();
    let histogram = region.histogram("times", None).unwrap();
    // Keys and values in use, also those that are refused.
    assert!(limiter.allow(KEY) && !limiter.allow(KEY));
    assert!(!limiter.allow_with(KEY, Charge::cost(99).tier("no such tier")));
    assert!(cache.set(KEY, VALUE));
    let long_key = KEY.repeat(70_000 / KEY.len());
    assert!(!cache.set(&long_key, VALUE) && !cache.set(KEY, VALUE.repeat(60_000 / VALUE.len())));
    assert!(cache.set(KEY, VALUE));
    let failed = breaker.call(|| Err::<(), _>("down"));
    assert_eq!(failed, Err(CallError::Failed("down")));
    let rejected = breaker.enter().unwrap_err();

    // Refused arguments.
    for error in [
        region.limiter("", None).unwrap_err(),
        region.cache(&"n".repeat(49), None).unwrap_err(),
        region.limiter("absent", None).unwrap_err(),
        region.limiter("pages", None).unwrap_err(),
        region.breaker("times", None).unwrap_err(),
        region
            .cache("pages", cache_options().shards(3))
            .unwrap_err(),
        region
            .cache("pages", cache_options().max_entries(65))
            .unwrap_err(),
        region
            .cache("pages", cache_options().bytes(1 << 20))
            .unwrap_err(),
        region
            .cache("large", CacheOptions::new().bytes(1 << 30))
            .unwrap_err(),
        region
            .limiter("limits", region_support::budget(1).max_keys(99_999))
            .unwrap_err(),
        region
            .breaker("origin", breaker_options().failure_rate(f64::NAN))
            .unwrap_err(),
        region.advance(Duration::ZERO).unwrap_err(),
        histogram.percentile(-1.0).unwrap_err(),
        "60/fortnight".parse::<Rate>().unwrap_err(),
        Region::options().bytes(1).private().unwrap_err(),
        Region::options().mode(0o777).private().unwrap_err(),
        Region::open("a\0b").unwrap_err(),
        Region::open("no name").unwrap_err(),
        options()
            .create(false)
            .open(&format!("{path}2"))
            .unwrap_err(),
        Region::options()
            .bytes(1 << 40)
            .open(&format!("{path}2"))
            .unwrap_err(),
    ] {
        hear(error);
    }
    // Every entry of the directory damaged in every word.
    for entry in 0..4 {
        for at in 0..word::ENTRY_WORDS {
            let at = word::DIRECTORY + entry * word::ENTRY_WORDS + at;
            let was = words.load(at);
            for value in [0, 1, 16, 24, 3_000, u64::MAX] {
                words.store(at, value);
                for error in [
                    region.limiter("limits", None).err(),
                    region.cache("pages", None).err(),
                    region.breaker("origin", None).err(),
                    region.histogram("times", None).err(),
                ]
                .into_iter()
                .flatten()
                {
                    hear(error);
                }
            }
            words.store(at, was);
        }
    }
    // What handles print of themselves.
    said.extend([
        rejected.to_string(),
        format!("{rejected:?}"),
        format!("{region:?} {limiter:?} {cache:?} {breaker:?} {histogram:?}"),
        format!("{:?} {:?}", region.stats(), region.objects()),
        format!("{:?}", region.events(0)),
        format!(
            "{:?} {:?} {:?}",
            limiter.stats(),
            cache.stats(),
            breaker.stats()
        ),
    ]);
    // A file that is refused: each word of the header damaged.
    drop((region, limiter, cache, breaker, rejected, histogram));
    // (The flags may say that the file goes with its last process.)
    for at in (0..SECRET.start).filter(|at| *at != 4) {
        let was = words.load(at);
        for value in [0, 1, u64::MAX, was ^ 1, was.swap_bytes()] {
            words.store(at, value);
            if let Err(error) = options().create(false).open(path) {
                said.push(error.to_string());
                said.push(format!("{error:?}"));
            }
        }
        words.store(at, was);
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
    let error = options().open(path).unwrap_err();
    said.push(error.to_string());
    said
}

#[test]
fn no_sentence_holds_a_key_a_value_or_the_secret() {
    let place = Place::new();
    let path = place.file("region");
    drop(region_support::small(&path));
    let words = Words::of(&path);
    // Random bytes may be like a number that is printed: not these.
    for at in SECRET {
        words.store(
            at,
            0x9d3f_a6c1_5b82_e740 ^ (at as u64 * 0x0107_0b0d_1113_171d),
        );
    }
    let forms = unspeakable(&words);
    let said = sentences(&path, &words);
    assert!(said.len() > 500, "{}", said.len());
    for sentence in &said {
        for form in &forms {
            assert!(!sentence.contains(form), "{form} in: {sentence}");
        }
    }
}

#[test]
fn every_region_has_a_secret_of_its_own_from_the_operating_system() {
    let place = Place::new();
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..64 {
        let path = place.file(&format!("region-{i}"));
        drop(region_support::small(&path));
        let words = Words::of(&path);
        // 24 words, each of which no other region and no other place has: by
        // chance two of these are alike once in 10^13 runs.
        seen.extend(SECRET.map(|at| words.load(at)));
    }
    assert_eq!(seen.len(), 64 * SECRET.len());
    // All bits of all words are drawn: none is the same everywhere.
    let (mut ones, mut zeros) = (0, 0);
    for word in &seen {
        ones |= word;
        zeros |= !word;
    }
    assert_eq!((ones, zeros), (u64::MAX, u64::MAX));
    // One that is replaced gets another.
    let path = place.file("region-0");
    let before = Words::of(&path).load(SECRET.start);
    let fresh = Region::options().bytes(256 << 10).fresh(true);
    drop(fresh.open(&path).unwrap());
    assert_ne!(Words::of(&path).load(SECRET.start), before);
}
