//! What other limiters are tested by, where a vector cannot say it, and the
//! defects found in some of them, which ours must not have. Those that fit a
//! table are in `tests/vectors/limiter_outside.json`. All clocks are manual.

use forebay::{Charge, Error, Limiter, LimiterOptions, Rate, Region};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A region whose clock stands still, and a limiter in it.
fn limiter(rate: Rate) -> (Region, Limiter) {
    let options = Region::options().bytes(1 << 20).manual_clock(true);
    let region = options.private().unwrap();
    let limiter = region.limiter("l", LimiterOptions::new(rate).max_keys(100));
    let limiter = limiter.unwrap();
    (region, limiter)
}

/// Polls a bucket again and again: how many times it admitted.
fn admitted(region: &Region, limiter: &Limiter, every: Duration, until: Duration) -> u64 {
    let polls = until.as_nanos().div_ceil(every.as_nanos());
    let mut admitted = 0;
    for _ in 0..polls {
        admitted += u64::from(limiter.allow("key"));
        region.advance(every).unwrap();
    }
    admitted
}

/// x/time/rate, TestLimiterJumpBackwards: the same requests at the same times.
/// There the clock may go back, and what it goes through twice is earned twice.
#[test]
fn a_time_that_goes_back_earns_nothing_twice() {
    let (region, limiter) = limiter(Rate::per_second(10).burst(3));
    let tenth = Duration::from_millis(100);
    let earlier = region.now();
    region.advance(tenth).unwrap();
    let later = region.now();
    region.advance(tenth).unwrap();
    let last = region.now();
    let answers = [
        (later, true),
        (earlier, true),
        // There a third is admitted now: here the bucket is as of the later time.
        (earlier, false),
        (earlier, false),
        (later, true),
        (later, false),
        (later, false),
        (last, true),
        (last, false),
        (last, false),
    ];
    for (i, (now, answer)) in answers.into_iter().enumerate() {
        let charge = Charge::default().at(now);
        assert_eq!(limiter.allow_with("key", charge), answer, "request {i}");
    }
}

/// x/time/rate, TestReserveJumpBack, which "should violate Limit,Burst" there.
#[test]
fn a_reservation_at_an_earlier_time_violates_nothing() {
    let (region, limiter) = limiter(Rate::per_second(10).burst(2));
    let day = 86_400 * SECOND;
    let earlier = region.now();
    region.advance(Duration::from_millis(100)).unwrap();
    let reserve = |charge| limiter.reserve_with("key", charge, day).unwrap().due();
    let now = region.now();
    assert_eq!(reserve(Charge::cost(2)), now);
    assert_eq!(reserve(Charge::default().at(earlier)), now + 100_000_000);
    assert_eq!(reserve(Charge::cost(2)), now + 300_000_000);
}

/// x/time/rate, TestSimultaneousRequests.
#[test]
fn fifteen_at_once_share_five_tokens() {
    for _ in 0..100 {
        let (_region, limiter) = limiter(Rate::per_second(1).burst(5));
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..15 {
                scope.spawn(|| admitted.fetch_add(u64::from(limiter.allow("key")), Relaxed));
            }
        });
        assert_eq!(admitted.into_inner(), 5);
    }
}

/// x/time/rate, TestLongRunningQPS, which allows one more than 600, and one in a
/// thousand fewer.
#[test]
fn a_bucket_that_is_always_asked_gives_all_that_it_earns() {
    let (region, limiter) = limiter(Rate::per_second(100));
    let admitted = admitted(&region, &limiter, Duration::from_millis(2), 5 * SECOND);
    // The last of the 600 is there at the end, after the last poll.
    assert_eq!(admitted, 599);
}

/// ratelimit 2.0.0 forgets what is earned between two polls that lie close to
/// each other: it admits 10 of 20, and 1 of 3.
#[test]
fn frequent_polls_lose_no_part_of_a_token() {
    let hour = 3_600 * SECOND;
    for (rate, every, until, due) in [
        (Rate::per_hour(1), 7_100, 20 * hour, 20),
        (Rate::per_day(1), 172_000, 3 * 24 * hour, 3),
    ] {
        let (region, limiter) = limiter(rate);
        let every = Duration::from_micros(every);
        assert_eq!(admitted(&region, &limiter, every, until), due);
    }
}

/// governor 0.10.4 multiplies a cost and a cell's time in 64 bits: some costs
/// above the burst wrap round to small ones. All that could here are tried.
#[test]
fn no_cost_above_the_burst_is_ever_admitted() {
    for rate in [
        Rate::per_minute(1).burst(2),
        Rate::per_hour(1).burst(40_031),
        Rate::per_second(1_000_000_000),
    ] {
        let (_region, limiter) = limiter(rate);
        let burst = limiter.peek("key").remaining;
        // A token's time, in nanoseconds and in sixteenths of them.
        let second = 1_000_000_000_u64;
        let token = match burst {
            2 => 60 * second,
            40_031 => 3_600 * second,
            _ => 1,
        };
        let mut costs = vec![burst + 1, u64::MAX, u64::MAX - 1, 1 << 63];
        for wrap in 1..=64u128 {
            for unit in [token, 16 * token] {
                for beside in [-1i128, 0, 1, 2] {
                    let cost = (wrap << 64) / u128::from(unit);
                    costs.extend(u64::try_from(cost as i128 + beside).ok());
                }
            }
        }
        costs.retain(|cost| *cost > burst);
        assert!(costs.len() > 4);
        for cost in costs {
            let verdict = limiter.take_with("key", Charge::cost(cost));
            assert_eq!(
                (verdict.allowed, verdict.retry_after),
                (false, None),
                "{cost}"
            );
            assert_eq!(verdict.remaining, burst, "{cost}");
        }
        assert!(limiter.allow_with("key", Charge::cost(burst)));
        assert!(!limiter.allow("key"));
    }
}

/// governor 0.10.4 rounds a cell's time down to whole nanoseconds (600,000,000
/// a second become a billion) and wraps round for long bursts.
#[test]
fn no_rate_is_exceeded_by_rounding_and_none_falls_short_by_more_than_is_told() {
    for count in [
        3,
        7,
        1_000,
        999_999,
        150_000_000,
        300_000_000,
        600_000_000,
        999_999_999,
        1_000_000_000,
    ] {
        let (region, limiter) = limiter(Rate::per_second(count));
        assert!(limiter.allow_with("key", Charge::cost(count)));
        assert!(!limiter.allow("key"));
        region.advance(SECOND).unwrap();
        let earned = limiter.peek("key").remaining;
        assert!(earned <= count, "{earned} of {count}");
        // One part in sixteen times a token's nanoseconds, and what is not yet whole.
        let short = count as f64 * count as f64 / 16e9 + 1.0;
        assert!((count - earned) as f64 <= short, "{earned} of {count}");
    }
    let (region, _limiter) = limiter(Rate::per_second(1));
    for (rate, named) in [
        (Rate::per_hour(1).burst(6_000_000), "burst"),
        (Rate::per_second(1_500_000_000), "rate"),
    ] {
        match region.limiter("another", rate) {
            Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, named),
            other => panic!("{rate}: {other:?}"),
        }
    }
}

/// pingora-limits 0.9.1 subtracts times that may be in the wrong order, and
/// asserts that none is older than a second. Here threads bring any.
#[test]
fn times_in_any_order_neither_panic_nor_make_tokens() {
    let (region, limiter) = limiter(Rate::per_second(1).burst(50));
    region.advance(100 * SECOND).unwrap();
    let now = region.now();
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (limiter, admitted) = (&limiter, &admitted);
            scope.spawn(move || {
                for i in 0..2_000u64 {
                    let age = (i * 7_919 + thread * 104_729) % 100 * 1_000_000_000;
                    let charge = Charge::default().at(now - age);
                    admitted.fetch_add(u64::from(limiter.allow_with("key", charge)), Relaxed);
                }
            });
        }
    });
    // A bucket first seen at an old time has earned since: the bound for `now`.
    let admitted = admitted.into_inner();
    assert!((50..=50 + 100).contains(&admitted), "{admitted}");
}
