//! The objects of a region: names, kinds, sizes, options, events; and what a
//! damaged directory does.

mod region_support;

use forebay::region::HEADER_BYTES;
use forebay::*;
use region_support::{budget, small, word, Place, Words};
use std::time::Duration;

fn private(bytes: u64) -> Region {
    Region::options()
        .bytes(bytes)
        .manual_clock(true)
        .private()
        .unwrap()
}

fn kinds(events: &Events) -> Vec<(EventKind, &str)> {
    let kind = |event: &'_ Event| event.kind;
    events
        .events
        .iter()
        .map(|event| (kind(event), event.object.as_str()))
        .collect()
}

// ----- names and kinds

#[test]
fn objects_are_listed_in_the_order_of_their_creation_with_the_memory_they_take() {
    let region = private(1 << 20);
    region.limiter("api", budget(1)).unwrap();
    region
        .cache("pages", CacheOptions::new().bytes(128 << 10))
        .unwrap();
    region.breaker("origin", BreakerOptions::new()).unwrap();
    region.histogram("http", None).unwrap();
    region.permits("exports", PermitsOptions::new(2)).unwrap();
    let objects = region.objects();
    let names: Vec<_> = objects.iter().map(|o| (o.name.as_str(), o.kind)).collect();
    assert_eq!(
        names,
        [
            ("api", Kind::Limiter),
            ("pages", Kind::Cache),
            ("origin", Kind::Breaker),
            ("http", Kind::Histogram),
            ("exports", Kind::Permits)
        ]
    );
    assert!(objects[1].bytes <= 128 << 10 && objects[1].bytes > 120 << 10);
    assert_eq!(objects[2].bytes, 512, "as promised");
    let stats = region.stats();
    let taken: u64 = objects.iter().map(|o| o.bytes).sum();
    assert_eq!(stats.objects, 5);
    // Each begins at a pair of cache lines.
    assert!((HEADER_BYTES + taken..HEADER_BYTES + taken + 5 * 128).contains(&stats.used));
}

#[test]
fn opening_an_object_again_gives_the_same_one() {
    let region = private(256 << 10);
    let one = region.limiter("api", budget(1)).unwrap();
    let two = region.limiter("api", budget(1)).unwrap();
    let three = region.limiter("api", None).unwrap();
    assert!(one.allow("a"));
    assert!(!two.allow("a") && !three.allow("a"));
    assert_eq!(region.objects().len(), 1);
}

#[test]
fn names_of_objects_are_1_to_48_bytes_of_any_text_without_nul() {
    let region = private(256 << 10);
    for name in ["a", "two words", "größer/als", &"x".repeat(48), "🦀"] {
        assert_eq!(
            region.breaker(name, BreakerOptions::new()).unwrap().name(),
            name
        );
    }
    let named: Vec<String> = region.objects().into_iter().map(|o| o.name).collect();
    assert_eq!(
        named,
        ["a", "two words", "größer/als", &"x".repeat(48), "🦀"]
    );
    for name in ["", "a\0b", &"x".repeat(49), &"ü".repeat(25)] {
        for error in [
            region.breaker(name, BreakerOptions::new()).unwrap_err(),
            region.breaker(name, None).unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                format!("name: got {name:?}; allowed: 1 to 48 bytes of UTF-8 without NUL")
            );
            assert_eq!(error.code(), Code::InvalidArgument);
        }
    }
}

#[test]
fn an_object_of_one_kind_cannot_be_opened_as_another() {
    let region = private(1 << 20);
    region.limiter("limiter", budget(1)).unwrap();
    region
        .cache("cache", CacheOptions::new().bytes(16 << 10))
        .unwrap();
    region.breaker("breaker", BreakerOptions::new()).unwrap();
    region.histogram("histogram", None).unwrap();
    region.permits("permits", PermitsOptions::new(2)).unwrap();
    type Open = fn(&Region, &str) -> Option<Error>;
    let ways: [(Kind, Open); 9] = [
        (Kind::Limiter, |r, name| r.limiter(name, budget(1)).err()),
        (Kind::Limiter, |r, name| r.limiter(name, None).err()),
        (Kind::Cache, |r, name| {
            r.cache(name, CacheOptions::new()).err()
        }),
        (Kind::Cache, |r, name| r.cache(name, None).err()),
        (Kind::Breaker, |r, name| {
            r.breaker(name, BreakerOptions::new()).err()
        }),
        (Kind::Breaker, |r, name| r.breaker(name, None).err()),
        (Kind::Histogram, |r, name| r.histogram(name, None).err()),
        (Kind::Permits, |r, name| {
            r.permits(name, PermitsOptions::new(1)).err()
        }),
        (Kind::Permits, |r, name| r.permits(name, None).err()),
    ];
    for found in ways.map(|(kind, _)| kind) {
        for (wanted, open) in ways {
            let name = found.name();
            match open(&region, name) {
                None => assert_eq!(found, wanted),
                Some(error) => {
                    assert_eq!(
                        error.to_string(),
                        format!("'{name}' is a {found}, not a {wanted}")
                    );
                    assert_eq!(error.code(), Code::WrongKind);
                    assert_ne!(found, wanted);
                }
            }
        }
    }
}

// ----- room

#[test]
fn a_region_without_room_says_what_is_needed_and_what_is_left() {
    let region = private(64 << 10);
    let error = region
        .limiter("api", LimiterOptions::new(Rate::per_day(1)))
        .unwrap_err();
    let Error::RegionFull {
        what: "bytes",
        needs,
        has,
    } = error
    else {
        panic!("{error}");
    };
    assert!(needs > 2 << 20, "room for 65,536 keys");
    assert!(has <= (64 << 10) - HEADER_BYTES && has > (63 << 10) - HEADER_BYTES);
    assert_eq!(
        error.to_string(),
        format!(
            "region full: needs {needs} bytes, has {has}: open it with more bytes under a new name"
        )
    );
    assert_eq!(error.code(), Code::RegionFull);
    assert_eq!(region.objects(), [], "nothing was created");
    // A size that no address space holds is no different.
    let most = region
        .limiter("api", budget(1).max_keys(1 << 28))
        .unwrap_err();
    assert_eq!(most.code(), Code::RegionFull);
    // What fits still does.
    assert!(region.limiter("api", budget(1)).is_ok());
}

#[test]
fn a_region_can_be_filled_to_the_last_word_and_no_further() {
    let region = private(HEADER_BYTES + 8 * 1024);
    let mut breakers = 0;
    let error = loop {
        match region.breaker(&breakers.to_string(), BreakerOptions::new()) {
            Ok(_) => breakers += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(breakers, 16, "half a KiB each");
    assert_eq!(
        error,
        Error::RegionFull {
            what: "bytes",
            needs: 512,
            has: 0
        }
    );
    let stats = region.stats();
    assert_eq!(stats.used, stats.bytes);
    assert!(region.breaker("15", None).unwrap().enter().is_ok());
}

#[test]
fn a_region_holds_128_objects() {
    let region = private(1 << 20);
    for i in 0..128 {
        region
            .breaker(&i.to_string(), BreakerOptions::new())
            .unwrap();
    }
    let error = region.breaker("128", BreakerOptions::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "region full: needs 129 objects, has 128: open it with more bytes under a new name"
    );
    assert_eq!(region.objects().len(), 128);
    // All of them are found, the last one too.
    assert!(region.breaker("127", BreakerOptions::new()).is_ok());
    assert_eq!(
        region.breaker("128", None).unwrap_err().code(),
        Code::NotFound
    );
}

#[test]
fn refused_options_create_nothing() {
    let region = private(256 << 10);
    let no_time = Duration::ZERO;
    let refused = [
        region.limiter("x", budget(0)).unwrap_err(),
        region.limiter("x", budget(1).max_keys(0)).unwrap_err(),
        region
            .limiter("x", budget(1).tier("", Rate::per_day(1)))
            .unwrap_err(),
        region.cache("x", CacheOptions::new().bytes(1)).unwrap_err(),
        region
            .cache("x", CacheOptions::new().bytes(16 << 10).ttl(no_time))
            .unwrap_err(),
        region
            .breaker("x", BreakerOptions::new().open_for(no_time))
            .unwrap_err(),
        region
            .breaker("x", BreakerOptions::new().failure_rate(f64::NAN))
            .unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
    assert_eq!(region.objects(), []);
    assert_eq!(region.stats().events, 0);
    assert_eq!(region.stats().used, HEADER_BYTES);
}

// ----- geometry and soft options

#[test]
fn another_geometry_is_refused_with_the_option_both_values_and_the_remedy() {
    let region = private(1 << 20);
    region.limiter("api", budget(1).max_keys(100)).unwrap();
    let pages = CacheOptions::new()
        .bytes(256 << 10)
        .max_entries(500)
        .max_item(1000)
        .shards(2);
    region.cache("pages", pages.clone()).unwrap();
    let bytes = region.objects()[1].bytes;
    for (error, object, option, theirs, ours) in [
        (
            region.limiter("api", budget(1).max_keys(1000)).unwrap_err(),
            "api",
            "max_keys",
            100,
            1000,
        ),
        (
            region
                .cache("pages", pages.clone().max_entries(501))
                .unwrap_err(),
            "pages",
            "max_entries",
            500,
            501,
        ),
        (
            region
                .cache("pages", pages.clone().max_item(999))
                .unwrap_err(),
            "pages",
            "max_item",
            1000,
            999,
        ),
        (
            region.cache("pages", pages.clone().shards(1)).unwrap_err(),
            "pages",
            "shards",
            2,
            1,
        ),
        (
            region
                .cache("pages", pages.clone().bytes(512 << 10))
                .unwrap_err(),
            "pages",
            "bytes",
            bytes,
            512 << 10,
        ),
    ] {
        assert_eq!(
            error.to_string(),
            format!(
                "'{object}' exists with {option} = {theirs}, asked for {ours}: \
                 ask for {theirs}, leave {option} out, or use another name"
            )
        );
        assert_eq!(error.code(), Code::Geometry);
    }
    // The remedies work.
    for options in [
        pages,
        CacheOptions::new(),
        CacheOptions::new().shards(2),
        CacheOptions::new().max_entries(500),
        CacheOptions::new().max_item(1000),
        CacheOptions::new().bytes(256 << 10),
    ] {
        assert_eq!(
            region.cache("pages", options.clone()).err(),
            None,
            "{options:?}"
        );
    }
    for options in [
        budget(1).max_keys(100),
        LimiterOptions::new(Rate::per_day(1)),
    ] {
        assert_eq!(region.limiter("api", options).err(), None);
    }
}

#[test]
fn a_refused_geometry_does_not_change_soft_options() {
    let region = private(1 << 20);
    let limiter = region.limiter("api", budget(5).max_keys(100)).unwrap();
    region.limiter("api", budget(9).max_keys(1000)).unwrap_err();
    assert_eq!(limiter.peek("a").limit, 5);
}

#[test]
fn a_changed_rate_is_one_event_and_applies_to_all_handles() {
    let region = private(256 << 10);
    let burst = |n| LimiterOptions::new(Rate::per_second(1).burst(n)).max_keys(12);
    let limiter = region.limiter("api", burst(2)).unwrap();
    assert!(limiter.allow("a") && limiter.allow("a") && !limiter.allow("a"));
    let mut seen = region.events(0).next;
    let mut happened = |expected: &[(EventKind, &str)]| {
        let events = region.events(seen);
        seen = events.next;
        assert_eq!(kinds(&events), expected);
    };
    region.limiter("api", burst(2)).unwrap();
    region.limiter("api", None).unwrap();
    happened(&[]);
    region.limiter("api", burst(4)).unwrap();
    happened(&[(EventKind::OptionsChanged, "api")]);
    assert_eq!(limiter.peek("a").limit, 4);
    assert!(
        limiter.allow("a"),
        "the newest opener's rate applies at once"
    );
    region.limiter("api", burst(4)).unwrap();
    happened(&[]);
    let tiers = burst(4).tier("pro", Rate::per_day(9));
    region.limiter("api", tiers.clone()).unwrap();
    happened(&[(EventKind::OptionsChanged, "api")]);
    region.limiter("api", tiers).unwrap();
    happened(&[]);
    // Leaving a tier out leaves it as it is.
    region.limiter("api", burst(4)).unwrap();
    happened(&[]);
    assert_eq!(
        limiter.peek_with("b", Charge::default().tier("pro")).limit,
        9
    );
}

#[test]
fn a_changed_ttl_is_one_event_and_applies_to_later_sets() {
    let region = private(256 << 10);
    let options = CacheOptions::new().bytes(64 << 10);
    let cache = region.cache("pages", options.clone()).unwrap();
    assert!(cache.set("before", "x"));
    for _ in 0..2 {
        region
            .cache("pages", options.clone().ttl(Duration::from_secs(1)))
            .unwrap();
    }
    let events = region.events(0);
    let changes = [
        (EventKind::ObjectCreated, "pages"),
        (EventKind::OptionsChanged, "pages"),
    ];
    assert_eq!(kinds(&events), changes);
    assert!(cache.set("after", "x"));
    region.advance(Duration::from_secs(1)).unwrap();
    assert!(cache.contains("before") && !cache.contains("after"));
    // Leaving the TTL out leaves it as it is.
    region.cache("pages", options).unwrap();
    assert_eq!(region.events(events.next).events, []);
    assert!(cache.set("later", "x"));
    assert_eq!(
        cache.entry("later").unwrap().ttl,
        Some(Duration::from_secs(1))
    );
}

#[test]
fn a_changed_threshold_is_one_event_and_applies_to_calls_in_flight() {
    let region = private(256 << 10);
    let breaker = region.breaker("origin", BreakerOptions::new()).unwrap();
    let call = breaker.enter().unwrap();
    for _ in 0..2 {
        region
            .breaker("origin", BreakerOptions::new().failure_threshold(1))
            .unwrap();
    }
    call.failure();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(
        kinds(&region.events(0)),
        [
            (EventKind::ObjectCreated, "origin"),
            (EventKind::OptionsChanged, "origin"),
            (EventKind::BreakerOpened, "origin")
        ]
    );
}

// ----- events

#[test]
fn events_carry_their_number_time_and_detail() {
    let region = private(256 << 10);
    let breaker = BreakerOptions::new()
        .failure_threshold(1)
        .success_threshold(1);
    let breaker = region.breaker("origin", breaker).unwrap();
    region.advance(Duration::from_secs(1)).unwrap();
    breaker.enter().unwrap().failure();
    region.advance(Duration::from_secs(60)).unwrap();
    breaker.enter().unwrap().success();
    let cache = region
        .cache("pages", CacheOptions::new().bytes(16 << 10))
        .unwrap();
    cache.clear();
    let events = region.events(0);
    let second = 1_000_000_000;
    let seen: Vec<_> = events
        .events
        .iter()
        .map(|e| {
            (
                e.sequence,
                e.time,
                e.kind.name(),
                e.object.as_str(),
                e.detail,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, 0, "object-created", "origin", 0),
            (1, second, "breaker-open", "origin", 1),
            (2, 61 * second, "breaker-half-open", "origin", 2),
            (3, 61 * second, "breaker-closed", "origin", 3),
            (4, 61 * second, "object-created", "pages", 0),
            (5, 61 * second, "cache-cleared", "pages", 0),
        ]
    );
    assert_eq!((events.next, events.lost), (6, 0));
    assert_eq!(region.stats().events, 6);
    let rest = region.events(4);
    assert_eq!(rest.events, events.events[4..]);
    assert_eq!((rest.next, rest.lost), (6, 0));
}

#[test]
fn the_newest_256_events_are_kept_and_the_lost_ones_are_counted() {
    let region = private(256 << 10);
    let cache = region
        .cache("pages", CacheOptions::new().bytes(16 << 10))
        .unwrap();
    for total in 2..=700u64 {
        cache.clear();
        let events = region.events(0);
        let kept = total.min(256);
        assert_eq!((events.next, events.lost), (total, total - kept));
        let numbers: Vec<u64> = events.events.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, Vec::from_iter(total - kept..total));
    }
    // Who keeps up loses nothing; who fell behind is told how much.
    assert_eq!(region.events(500).lost, 0);
    assert_eq!(region.events(400).lost, 44);
    assert_eq!(region.events(400).events.len(), 256);
    let none = region.events(700);
    assert_eq!((none.events.len(), none.next, none.lost), (0, 700, 0));
    // A number from another region's life is taken back to where this one is.
    for since in [701, u64::MAX] {
        let none = region.events(since);
        assert_eq!((none.events.len(), none.next, none.lost), (0, 700, 0));
    }
}

#[test]
fn events_written_at_once_by_many_threads_are_all_whole_and_in_order() {
    let region = private(1 << 20);
    let caches: Vec<Cache> = ["one", "two"]
        .iter()
        .map(|name| {
            region
                .cache(name, CacheOptions::new().bytes(16 << 10))
                .unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for cache in &caches {
            scope.spawn(|| (0..2000).for_each(|_| cache.clear()));
        }
        scope.spawn(|| {
            let (mut since, mut seen, mut lost) = (0, 0, 0);
            while since < 4002 {
                let events = region.events(since);
                for event in &events.events {
                    assert!(event.sequence >= since && event.sequence < events.next);
                    since = event.sequence + 1;
                    let created = event.kind == EventKind::ObjectCreated;
                    assert!(created || event.kind == EventKind::CacheCleared);
                    assert!(event.object == "one" || event.object == "two");
                }
                seen += events.events.len() as u64;
                lost += events.lost;
                since = events.next;
                // A writer that does not get the ring's lock in time drops its event.
                let stats = region.stats();
                if stats.events + stats.events_dropped == 4002 && since == stats.events {
                    break;
                }
            }
            assert_eq!(seen + lost, since);
        });
    });
    let stats = region.stats();
    assert_eq!(stats.events + stats.events_dropped, 4002);
}

// ----- damage

/// A shared region with three objects, and its file's words.
fn with_objects(place: &Place) -> (Region, Words) {
    let path = place.file("region");
    let region = small(&path);
    region.limiter("first", budget(1)).unwrap();
    region
        .cache("second", CacheOptions::new().bytes(16 << 10))
        .unwrap();
    region.breaker("third", BreakerOptions::new()).unwrap();
    (region, Words::of(&path))
}

#[test]
fn a_damaged_directory_entry_is_an_error_and_ends_the_list() {
    let impossible = u64::MAX / 16;
    for (what, at, value) in [
        ("no such kind", 0, 9 | 6 << 8),
        ("no name", 0, 2),
        ("a name too long", 0, 2 | 49 << 8),
        ("a name that is no text", 1, u64::from_le_bytes([0xff; 8])),
        ("an offset within the header", word::ENTRY_OFFSET, 0),
        ("an offset outside", word::ENTRY_OFFSET, impossible),
        ("an offset that overflows", word::ENTRY_OFFSET, u64::MAX),
        ("no length", word::ENTRY_LENGTH, 0),
        (
            "a length that reaches outside",
            word::ENTRY_LENGTH,
            impossible,
        ),
    ] {
        let place = Place::new();
        let (region, words) = with_objects(&place);
        words.store(word::DIRECTORY + word::ENTRY_WORDS + at, value);
        let sentence = format!(
            "{}: not a usable region: its directory entry 1 is damaged",
            place.file("region")
        );
        for error in [
            region.cache("second", None).unwrap_err(),
            region.cache("second", CacheOptions::new()).unwrap_err(),
            region.breaker("third", None).unwrap_err(),
            region.breaker("fourth", BreakerOptions::new()).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), sentence, "{what}");
            assert_eq!(error.code(), Code::Corrupt, "{what}");
        }
        // What comes before it is as good as ever.
        assert!(region.limiter("first", None).unwrap().allow("a"));
        let names: Vec<String> = region.objects().into_iter().map(|o| o.name).collect();
        assert_eq!(names, ["first"], "{what}");
        assert_eq!(region.stats().objects, 1, "{what}");
        assert_eq!(region.events(0).events[1].object, "", "{what}");
        // It opens, and is no better in another process's hands.
        drop(region);
        assert!(small(&place.file("region")).breaker("third", None).is_err());
    }
}

#[test]
fn a_geometry_that_does_not_fit_its_object_is_an_error() {
    for (name, at, geometry) in [
        ("first", 0, 1u64 << 30),
        ("first", 0, 3),
        ("second", 1, 0),
        ("second", 3, u64::MAX),
        ("third", 0, 63),
    ] {
        let place = Place::new();
        let (region, words) = with_objects(&place);
        let number = ["first", "second", "third"]
            .iter()
            .position(|n| *n == name)
            .unwrap();
        let entry = word::DIRECTORY + number * word::ENTRY_WORDS;
        words.store(entry + word::ENTRY_GEOMETRY + at, geometry);
        let error = match name {
            "first" => region.limiter(name, None).unwrap_err(),
            "second" => region.cache(name, None).unwrap_err(),
            _ => region.breaker(name, None).unwrap_err(),
        };
        assert_eq!(
            error.to_string(),
            format!(
                "{}: not a usable region: the geometry of '{name}' does not fit its length",
                place.file("region")
            )
        );
    }
}

#[test]
fn an_object_left_half_made_is_made_anew_from_nothing() {
    let place = Place::new();
    let (region, words) = with_objects(&place);
    let cache = region.cache("second", None).unwrap();
    assert!(cache.set("key", "value"));
    // As if its creators had died before they published it.
    for number in [1, 2] {
        words.store(word::DIRECTORY + number * word::ENTRY_WORDS, 0);
    }
    assert_eq!(region.objects().len(), 1);
    let cache = region
        .cache("second", CacheOptions::new().bytes(16 << 10))
        .unwrap();
    assert_eq!(cache.get("key"), None);
    assert_eq!(cache.stats().sets, 0);
}

// ----- the clock

#[test]
fn a_manual_clock_is_fixed_when_the_region_is_made_and_moves_for_all() {
    let place = Place::new();
    let path = place.file("region");
    let manual = Region::options()
        .bytes(256 << 10)
        .manual_clock(true)
        .open(&path)
        .unwrap();
    let limiter = manual
        .limiter("api", LimiterOptions::new(Rate::per_second(1)).max_keys(12))
        .unwrap();
    assert!(limiter.allow("a") && !limiter.allow("a"));
    drop(manual);
    let again = Region::options().manual_clock(false).open(&path).unwrap();
    assert_eq!(again.now(), 0);
    again.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(again.now(), 1_000_000_000);
    assert!(limiter.allow("a"));
    // It stops long before sums of two times could overflow.
    again.advance(Duration::MAX).unwrap();
    again.advance(Duration::MAX).unwrap();
    assert_eq!(again.now(), u64::MAX >> 2);
    assert!(limiter.allow("a"));
}

#[test]
fn the_real_clock_begins_with_the_region_and_is_the_same_for_all_handles() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let first = region.now();
    let second = small(&path).now();
    let third = region.now();
    assert!(first <= second && second <= third);
    assert!(third < 60_000_000_000, "an epoch of its own");
}
