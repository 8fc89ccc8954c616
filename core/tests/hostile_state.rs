//! State that is well formed and was never honestly reached: times too far
//! ahead, locks of the living, entries that overlap, a file cut short. Each
//! costs what is stated here and in docs/caveats.md, and no more.

mod region_support;

use forebay::breaker::Outcome;
use forebay::internals::lock::Owner;
use forebay::*;
use region_support::{word, Place, Player, Stage, Words};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// What processes of this test do when they are started as children.
#[test]
fn child() {
    let Some((role, mut stage)) = Stage::of_child() else {
        return;
    };
    match role.as_str() {
        "reads" => reads(&mut stage),
        other => panic!("no role {other}"),
    }
}

fn manual(path: &str) -> Region {
    let options = Region::options().bytes(256 << 10).manual_clock(true);
    options.open(path).unwrap()
}

/// Where an object begins.
fn object(words: &Words, number: usize) -> usize {
    words.load(word::DIRECTORY + number * word::ENTRY_WORDS + word::ENTRY_OFFSET) as usize
}

// ----- limiters

/// The time word of the only bucket of a region's first object, a limiter.
fn bucket(words: &Words, slots: u64) -> usize {
    let first = object(words, 0) + forebay::internals::limiter::AT_TABLES;
    let live = (0..slots as usize).map(|slot| first + 2 * slot);
    let live: Vec<usize> = live.filter(|at| words.load(at + 1) & 3 == 2).collect();
    assert_eq!(live.len(), 1);
    live[0]
}

#[test]
fn an_arrival_further_ahead_than_any_rate_can_have_set_is_put_right() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    let rate = Rate::per_second(1).burst(10);
    let options = LimiterOptions::new(rate).tier("slow", Rate::per_minute(1));
    let limiter = region.limiter("api", options.max_keys(12)).unwrap();
    assert!(limiter.allow("key"));
    let words = Words::of(&path);
    let at = bucket(&words, limiter.stats().slots);
    let honest = words.load(at);
    for forged in [u64::MAX, u64::MAX >> 1, 1 << 63, 1 << 50] {
        words.store(at, forged & !1 | honest & 1);
        // Asking changes nothing; the wait is what the slowest tier, and a
        // second, can make of it.
        let longest = Duration::from_secs(60 + 1);
        let peeked = limiter.peek("key");
        assert!(!peeked.allowed && peeked.reset_after <= longest);
        assert_eq!(words.load(at), forged & !1 | honest & 1);
        let taken = limiter.take("key");
        assert!(!taken.allowed && taken.remaining == 0, "{taken:?}");
        assert!(taken.reset_after <= longest, "{forged:#x}: {taken:?}");
        let wait = taken.retry_after.unwrap();
        assert!(wait <= longest);
        region.advance(wait).unwrap();
        assert!(limiter.allow("key"));
        assert!(!limiter.allow("key"), "a debt is paid, not forgiven");
        // A charge that no bucket holds is told the same.
        words.store(at, forged & !1 | words.load(at) & 1);
        let verdict = limiter.take_with("key", Charge::cost(11));
        assert!(!verdict.allowed && verdict.reset_after <= longest);
        limiter.reset("key");
        assert_eq!(limiter.peek("key").remaining, 10);
    }
}

#[test]
fn a_debt_that_another_tier_or_an_earlier_rate_made_is_not_forgiven() {
    let region = Region::options()
        .bytes(256 << 10)
        .manual_clock(true)
        .private()
        .unwrap();
    let day = || {
        let options = LimiterOptions::new(Rate::per_day(24)).max_keys(12);
        options.tier("quick", Rate::per_second(1))
    };
    let limiter = region.limiter("api", day()).unwrap();
    let hour = Duration::from_secs(3_600);
    assert!(limiter.take_with("key", Charge::cost(24)).allowed);
    for _ in 0..3 {
        // Seen by a tier whose buckets never owe more than a second.
        let verdict = limiter.take_with("key", Charge::default().tier("quick"));
        assert!(!verdict.allowed && verdict.retry_after.unwrap() > 20 * hour);
    }
    // Workers with other options come and go, many times.
    for _ in 0..40 {
        let second = LimiterOptions::new(Rate::per_second(1)).max_keys(12);
        let quick = region.limiter("api", second).unwrap();
        assert!(!quick.allow("key"));
        region.limiter("api", day()).unwrap();
    }
    region.advance(hour).unwrap();
    assert!(limiter.allow("key"));
    assert!(!limiter.allow("key"), "one token an hour, as ever");
}

// ----- breakers

const STATE: usize = 8;
const LEASES: usize = 32;

#[test]
fn a_breakers_forged_deadlines_hold_no_longer_than_honest_ones() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    let options = BreakerOptions::new()
        .failure_threshold(1)
        .success_threshold(1);
    let (open_for, lease) = (Duration::from_secs(60), Duration::from_secs(30));
    let options = options.open_for(open_for).probe_lease(lease);
    let breaker = region.breaker("origin", options).unwrap();
    let words = Words::of(&path);
    let at = object(&words, 0);
    // Open until the end of time: told to wait as long as it is ever open.
    let far = (1 << 36) - 1;
    words.store(at + STATE, 2 << 61 | far);
    assert_eq!(breaker.enter_raw(), Err(open_for));
    // Half-open with a lease until the end of time, of nobody known to be
    // dead: no lease lasts so long.
    let generation = 7;
    words.store(at + STATE, 1 << 61 | generation << 36);
    words.store(at + LEASES, generation << 52 | far);
    let permit = breaker.enter_raw().unwrap();
    assert_eq!(breaker.enter_raw(), Err(lease));
    assert!(breaker.leave(permit, Outcome::Success));
    assert_eq!(breaker.state(), State::Closed);
    // States that there are not are closed.
    for state in 4..8 {
        words.store(at + STATE, state << 61 | far);
        assert!(breaker.enter_raw().is_ok());
    }
}

#[test]
fn a_forged_forced_open_is_believed_until_the_word_is_written_again() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    let breaker = region.breaker("origin", BreakerOptions::new()).unwrap();
    let words = Words::of(&path);
    let at = object(&words, 0) + STATE;
    let honest = words.load(at);
    words.store(at, 3 << 61);
    region.advance(Duration::from_secs(86_400)).unwrap();
    assert!(breaker.enter_raw().is_err());
    assert_eq!(breaker.state(), State::ForcedOpen);
    words.store(at, honest);
    assert!(breaker.enter_raw().is_ok());
}

// ----- locks

#[test]
fn a_forged_lock_word_of_this_very_process_is_a_stopped_holders() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    let options = CacheOptions::new().bytes(64 << 10).max_entries(64);
    let cache = region.cache("pages", options.shards(1)).unwrap();
    // One in 32 shares the key's stamp and is hidden with it, never all.
    let others: Vec<String> = (0..16).map(|i| format!("other {i}")).collect();
    assert!(cache.set("key", "value"));
    assert!(others.iter().all(|other| cache.set(other, "kept")));
    let words = Words::of(&path);
    let lock = object(&words, 0) + 16;
    let mine = Owner::new(0, words.load(word::SEATS));
    words.store(lock, mine.word());
    // Writes answer false, what they hid is hidden, reads go on.
    assert!(!cache.set("key", "new") && !cache.delete("key"));
    assert_eq!(cache.get("key"), None);
    let found: Vec<_> = others.iter().filter_map(|other| cache.get(other)).collect();
    assert!(!found.is_empty() && found.iter().all(|value| value == b"kept"));
    cache.clear();
    assert!(others.iter().all(|other| cache.get(other).is_none()));
    // Until this process leaves its seat.
    drop((cache, region));
    let region = manual(&path);
    let cache = region.cache("pages", None).unwrap();
    assert!(cache.set("key", "new"));
    assert_eq!(cache.get("key").as_deref(), Some(&b"new"[..]));
    assert_eq!(words.load(lock), 0);
}

// ----- the directory

#[test]
fn objects_that_overlap_are_not_opened() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    for name in ["a", "b", "c"] {
        region.breaker(name, BreakerOptions::new()).unwrap();
    }
    let words = Words::of(&path);
    let (at, second) = (
        word::DIRECTORY + word::ENTRY_WORDS + word::ENTRY_OFFSET,
        object(&words, 1),
    );
    let header = region::HEADER_BYTES as usize / 8;
    let open = |name: &str| region.breaker(name, None).map(drop);
    let overlaps = |name: &str| {
        let error = open(name).unwrap_err();
        assert_eq!(error.code(), Code::Corrupt);
        let expected = format!("{path}: not a usable region: '{name}' overlaps another object");
        assert_eq!(error.to_string(), expected);
        // With options it is refused as well, and nothing is written to it.
        let whole = || -> Vec<u64> { (0..64).map(|i| words.load(second + i)).collect() };
        let before = whole();
        let options = BreakerOptions::new().failure_threshold(99);
        assert_eq!(region.breaker(name, options).unwrap_err(), error);
        assert_eq!(whole(), before);
    };
    // "b" is moved onto its neighbours, by a word and by all of it.
    for (moved, victims) in [
        (second - 1, ["a", "b"]),
        (second - 64, ["a", "b"]),
        (second + 1, ["b", "c"]),
        (second + 64, ["b", "c"]),
    ] {
        words.store(at, moved as u64);
        victims.into_iter().for_each(overlaps);
    }
    // Onto the header.
    for moved in [0, 1, header - 1, header - 64] {
        words.store(at, moved as u64);
        let error = open("b").unwrap_err();
        assert_eq!(error.code(), Code::Corrupt, "{moved}");
    }
    // Where it was all three open.
    words.store(at, second as u64);
    for name in ["a", "b", "c"] {
        assert_eq!(open(name), Ok(()));
    }
}

// ----- a file cut short

/// Opens the region, and uses it when it is told to.
fn reads(stage: &mut Stage) {
    let region = match Region::open(stage.argument(0)) {
        Ok(region) => region,
        Err(error) => return stage.say(error),
    };
    let cache = region.cache("pages", None).unwrap();
    stage.ready();
    stage.say(cache.get("key").is_some());
    stage.hear();
}

#[test]
fn a_file_cut_short_is_refused_and_is_sigbus_for_who_has_it_mapped() {
    let place = Place::new();
    let path = place.file("region");
    let region = manual(&path);
    let options = CacheOptions::new().bytes(128 << 10).max_entries(64);
    let cache = region.cache("pages", options).unwrap();
    assert!(cache.set("key", "value"));
    let mut player = Player::start("reads", &[&path]);
    assert_eq!(player.hear(), "ready");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // The header stays, the cache goes.
    file.set_len(region::HEADER_BYTES.next_multiple_of(4096))
        .unwrap();
    player.tell("go");
    assert_eq!(player.hear_any(), None, "it said nothing more");
    assert_eq!(player.ended().signal(), Some(libc::SIGBUS));
    // What does not touch the missing pages still answers here, and nobody
    // new gets in.
    assert_eq!(region.objects().len(), 1);
    let mut newcomer = Player::start("reads", &[&path]);
    assert_eq!(
        newcomer.hear(),
        format!("{path}: not a usable region: it holds 28672 bytes, its header says 262144")
    );
    newcomer.finish();
}
