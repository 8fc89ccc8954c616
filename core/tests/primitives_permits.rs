//! Permits: limits by key, leases that end, options, and many threads at once.

use forebay::permits::{RawLease, Reason};
use forebay::*;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

fn region() -> Region {
    let options = Region::options().bytes(1 << 20).manual_clock(true);
    options.private().unwrap()
}

fn permits(limit: u64) -> (Region, Permits) {
    let region = region();
    let options = PermitsOptions::new(limit).lease(Duration::from_secs(10));
    let permits = region.permits("exports", options).unwrap();
    (region, permits)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn leases(permits: &Permits, key: &str, n: usize) -> Vec<Lease> {
    (0..n).map(|_| permits.try_acquire(key).unwrap()).collect()
}

// ----- the limit

#[test]
fn a_key_has_so_many_leases_at_once_and_another_has_its_own() {
    let (_, permits) = permits(3);
    let mut held = leases(&permits, "ada", 3);
    let refused = permits.try_acquire("ada").unwrap_err();
    assert_eq!(
        (refused.reason, refused.retry_after),
        (Reason::Limit, Some(secs(10)))
    );
    let others = leases(&permits, "bob", 3);
    assert_eq!((permits.in_use("ada"), permits.in_use("eve")), (3, 0));
    assert!(held.pop().unwrap().release());
    held.extend(leases(&permits, "ada", 1));
    assert!(permits.try_acquire("ada").is_err() && permits.try_acquire("bob").is_err());
    drop((held, others));
    assert_eq!(permits.in_use("ada"), 0);
    let stats = permits.stats();
    assert_eq!((stats.granted, stats.refused), (7, 3));
    assert_eq!(
        (stats.full, stats.busy, stats.expired, stats.reaped),
        (0, 0, 0, 0)
    );
}

#[test]
fn a_lease_ends_however_its_scope_does() {
    let (_, permits) = permits(1);
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let _lease = permits.try_acquire("a").unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err());
    let forgotten = permits.try_acquire("a").unwrap();
    std::mem::forget(forgotten);
    assert!(permits.try_acquire("a").is_err(), "it is live still");
}

#[test]
fn a_refusal_says_which_permits_why_and_when() {
    let (region, permits) = permits(1);
    let _held = permits.try_acquire("a").unwrap();
    region.advance(Duration::from_millis(2_500)).unwrap();
    let refused = permits.try_acquire("a").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the permits 'exports' are all out: retry within 7.5s"
    );
}

// ----- time

#[test]
fn a_lease_that_is_not_renewed_ends_by_itself_at_its_time_and_not_before() {
    let (region, permits) = permits(1);
    let lease = permits.try_acquire("a").unwrap();
    assert_eq!(lease.ends_in(), secs(10));
    region.advance(secs(10) - Duration::from_nanos(1)).unwrap();
    assert_eq!(lease.ends_in(), Duration::from_nanos(1));
    assert!(permits.try_acquire("a").is_err());
    region.advance(Duration::from_nanos(1)).unwrap();
    assert_eq!((lease.ends_in(), permits.in_use("a")), (secs(0), 0));
    let next = permits.try_acquire("a").unwrap();
    // The late one has nothing to give back, and takes nothing away.
    assert!(!lease.release());
    assert!(permits.try_acquire("a").is_err());
    assert!(next.release());
    assert_eq!((permits.stats().expired, permits.stats().granted), (1, 2));
}

#[test]
fn a_release_after_the_time_is_late_even_if_nobody_came() {
    let (region, permits) = permits(1);
    let lease = permits.try_acquire("a").unwrap();
    region.advance(secs(10)).unwrap();
    assert!(!lease.release());
    assert_eq!(permits.stats().expired, 1);
    assert!(permits.try_acquire("a").unwrap().release());
    assert_eq!(permits.stats().expired, 1);
}

#[test]
fn a_lease_that_is_renewed_goes_on_and_one_that_is_over_does_not() {
    let (region, permits) = permits(1);
    let mut lease = permits.try_acquire("a").unwrap();
    for _ in 0..5 {
        region.advance(secs(9)).unwrap();
        assert!(permits.try_acquire("a").is_err());
        assert!(lease.renew());
        assert_eq!(lease.ends_in(), secs(10));
    }
    region.advance(secs(10)).unwrap();
    assert!(!lease.renew());
    assert!(!lease.renew(), "it stays over");
    let next = permits.try_acquire("a").unwrap();
    assert!(!lease.renew());
    drop(lease);
    assert_eq!(permits.in_use("a"), 1);
    assert!(next.release());
    assert_eq!(permits.stats().expired, 1);
}

#[test]
fn a_lease_may_outlast_every_other_handle() {
    let (region, permits) = permits(1);
    let lease = permits.try_acquire("a").unwrap();
    drop((region, permits));
    assert_eq!(lease.ends_in(), secs(10));
    assert!(lease.release());
}

// ----- options

#[test]
fn a_limit_and_a_lease_given_later_hold_for_later_calls() {
    let (region, permits) = permits(3);
    let held = leases(&permits, "a", 3);
    let lower = PermitsOptions::new(2).lease(secs(1));
    region.permits("exports", lower.clone()).unwrap();
    let (first, rest) = (&held[0], &held[1..]);
    assert_eq!(first.ends_in(), secs(10), "what is out stays out");
    assert_eq!(rest.len(), 2);
    let mut held = held.into_iter();
    drop(held.next());
    assert!(permits.try_acquire("a").is_err(), "two are left");
    drop(held.next());
    let lease = permits.try_acquire("a").unwrap();
    assert_eq!(lease.ends_in(), secs(1));
    // Opening without options changes nothing.
    let same = region.permits("exports", None).unwrap();
    assert!(same.try_acquire("a").is_err());
    region.permits("exports", PermitsOptions::new(4)).unwrap();
    assert!(same.try_acquire("a").is_ok());
    let kinds: Vec<_> = region.events(0).events.iter().map(|e| e.kind).collect();
    let changed = EventKind::OptionsChanged;
    assert_eq!(kinds, [EventKind::ObjectCreated, changed, changed]);
}

#[test]
fn bad_options_are_refused_by_name_and_change_nothing() {
    let region = region();
    let day = Duration::from_secs(86_400);
    for (options, sentence) in [
        (PermitsOptions::new(0), "limit: got 0; allowed: 1 to 4096"),
        (
            PermitsOptions::new(4_097),
            "limit: got 4097; allowed: 1 to 4096",
        ),
        (
            PermitsOptions::new(1).lease(Duration::ZERO),
            "lease: got 0ns; allowed: 1ms to 2592000s",
        ),
        (
            PermitsOptions::new(1).lease(30 * day + Duration::from_nanos(1)),
            "lease: got 2592000.000000001s; allowed: 1ms to 2592000s",
        ),
        (
            PermitsOptions::new(1).lease(Duration::MAX),
            "lease: got 18446744073709551615.999999999s; allowed: 1ms to 2592000s",
        ),
        (
            PermitsOptions::new(5).max_leases(4),
            "max_leases: got 4; allowed: 5, which is the limit of one key, to 16777216",
        ),
        (
            PermitsOptions::new(1).max_leases(u64::MAX),
            "max_leases: got 18446744073709551615; allowed: 1, which is the limit of one key, to 16777216",
        ),
    ] {
        let error = region.permits("exports", options).unwrap_err();
        assert_eq!(error.to_string(), sentence);
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    assert_eq!(region.objects(), []);
    let least = PermitsOptions::new(1)
        .lease(Duration::from_nanos(1))
        .max_leases(1);
    let permits = region.permits("exports", least).unwrap();
    let lease = permits.try_acquire("a").unwrap();
    assert_eq!(lease.ends_in(), Duration::from_millis(1), "rounded up");
    let longest = PermitsOptions::new(1).lease(30 * day);
    region.permits("exports", longest).unwrap();
    drop(lease);
    assert_eq!(permits.try_acquire("a").unwrap().ends_in(), 30 * day);
}

#[test]
fn what_permits_were_not_created_for_is_an_error() {
    let region = region();
    let options = PermitsOptions::new(2).max_leases(100);
    let permits = region.permits("exports", options.clone()).unwrap();
    let error = region
        .permits("exports", options.clone().max_leases(101))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "'exports' exists with max_leases = 100, asked for 101: \
         ask for 100, leave max_leases out, or use another name"
    );
    assert!(region.permits("exports", PermitsOptions::new(100)).is_ok());
    let _all = leases(&permits, "a", 100);
    for limit in [101, 4_096] {
        let error = region
            .permits("exports", PermitsOptions::new(limit))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("limit: got {limit}; allowed: 1 to 100, for which 'exports' was created")
        );
    }
    assert!(permits.try_acquire("a").is_err(), "the limit is 100");
    let error = region.permits("others", None).unwrap_err();
    assert_eq!(error.to_string(), "the permits 'others' does not exist");
    let error = region.cache("exports", None).unwrap_err();
    assert_eq!(error.to_string(), "'exports' is a permits, not a cache");
    assert_eq!(Kind::Permits.number(), 6);
}

#[test]
fn max_leases_of_keys_that_nobody_chose_find_room() {
    let region = Region::options().bytes(2 << 20).private().unwrap();
    let options = PermitsOptions::new(1).max_leases(4_096);
    let permits = region.permits("exports", options).unwrap();
    let held: Vec<_> = (0..4_096u64)
        .map(|key| permits.try_acquire(key.to_le_bytes()).unwrap())
        .collect();
    assert_eq!(permits.stats().full, 0);
    drop(held);
    let bytes = region.objects()[0].bytes;
    assert!(bytes < 4_096 * 50, "{bytes}");
}

#[test]
fn keys_at_their_limit_hardly_ever_find_their_shard_full() {
    const KEYS: u64 = 4_096;
    let region = Region::options().bytes(4 << 20).private().unwrap();
    let options = PermitsOptions::new(16).max_leases(KEYS * 16);
    let permits = region.permits("exports", options).unwrap();
    let full = (0..KEYS).filter(|key| {
        let key = key.to_le_bytes();
        let refused = (0..16).find_map(|_| permits.try_acquire_raw(key).err());
        assert!(refused.is_none_or(|(reason, _)| reason == Reason::Full));
        refused.is_some()
    });
    // One in a hundred is what chance makes of it.
    let full = full.count() as u64;
    assert!(full < KEYS / 50, "{full} of {KEYS}");
}

#[test]
fn a_shard_without_room_refuses_and_says_when_there_may_be_some() {
    let region = region();
    let options = PermitsOptions::new(1).max_leases(1).lease(secs(10));
    let permits = region.permits("exports", options).unwrap();
    // One shard of 128 records.
    let held: Vec<_> = (0..128u64)
        .map(|key| permits.try_acquire(key.to_le_bytes()).unwrap())
        .collect();
    region.advance(secs(4)).unwrap();
    let refused = permits.try_acquire("one more").unwrap_err();
    assert_eq!(
        (refused.reason, refused.retry_after),
        (Reason::Full, Some(secs(6)))
    );
    assert_eq!(
        refused.to_string(),
        "the permits 'exports' have no room for another lease: retry within 6s"
    );
    assert_eq!(permits.stats().full, 1);
    region.advance(secs(6)).unwrap();
    assert!(permits.try_acquire("one more").is_ok());
    assert_eq!(permits.stats().expired, 128);
    assert!(held.into_iter().all(|lease| !lease.release()));
}

// ----- numbers instead of leases

#[test]
fn a_lease_as_numbers_is_released_once_and_renewed_by_its_newest_numbers() {
    let (region, permits) = permits(1);
    let raw = permits.try_acquire("a").unwrap().into_raw();
    assert_eq!(permits.in_use("a"), 1, "it is not dropped");
    region.advance(secs(1)).unwrap();
    let newer = permits.renew_raw(raw).unwrap();
    assert_eq!(permits.ends_in_raw(newer), secs(10));
    assert_eq!(permits.renew_raw(raw), None);
    assert!(!permits.release_raw(raw));
    assert!(permits.release_raw(newer));
    assert!(!permits.release_raw(newer));
    assert_eq!(permits.renew_raw(newer), None);
    let refused = permits
        .try_acquire_raw("a")
        .and(permits.try_acquire_raw("a"));
    assert_eq!(refused, Err((Reason::Limit, Some(secs(10)))));
}

#[test]
fn numbers_that_are_no_lease_change_nothing() {
    let (_, permits) = permits(1);
    let raw = permits.try_acquire_raw("a").unwrap();
    for record in [0, 1, raw.record, 1 << 20, u64::MAX] {
        for word in [0, 1, raw.word ^ 1, raw.word ^ 1 << 40, u64::MAX] {
            let forged = RawLease { record, word };
            assert!(!permits.release_raw(forged));
            assert_eq!(permits.renew_raw(forged), None);
            permits.ends_in_raw(forged);
        }
    }
    assert_eq!(permits.in_use("a"), 1);
    assert!(permits.release_raw(raw));
    assert_eq!(permits.stats().expired, 0);
}

// ----- threads

#[test]
fn many_threads_never_hold_more_than_the_limit_nor_lose_a_permit() {
    const LIMIT: u64 = 3;
    let region = Region::options().bytes(1 << 20).private().unwrap();
    let permits = region
        .permits("exports", PermitsOptions::new(LIMIT))
        .unwrap();
    let inside = AtomicU64::new(0);
    let granted: u64 = std::thread::scope(|scope| {
        let work = || {
            let mut granted = 0;
            while granted < 2_000 {
                let Ok(mut lease) = permits.try_acquire("key") else {
                    std::thread::yield_now();
                    continue;
                };
                assert!(inside.fetch_add(1, SeqCst) < LIMIT);
                assert!(lease.renew());
                inside.fetch_sub(1, SeqCst);
                assert!(lease.release());
                granted += 1;
            }
            granted
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let stats = permits.stats();
    assert_eq!(
        (stats.granted, stats.expired, stats.reaped),
        (granted, 0, 0)
    );
    assert_eq!(leases(&permits, "key", 3).len(), 3);
}
