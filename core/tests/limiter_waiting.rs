//! Waiting for tokens, giving them back, and several limits at once, among
//! threads. The clocks are manual, but where sleeping itself is looked at.

use forebay::{take_all, Acquire, Charge, Limiter, LimiterOptions, Rate, Region, Verdict};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn still(bytes: u64) -> Region {
    let options = Region::options().bytes(bytes).manual_clock(true);
    options.private().unwrap()
}

fn limiter(region: &Region, name: &str, rate: Rate) -> Limiter {
    let options = LimiterOptions::new(rate).max_keys(100);
    region.limiter(name, options).unwrap()
}

#[test]
fn those_who_wait_are_woken_by_the_clock_in_the_order_in_which_they_came() {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_second(1).burst(5));
    assert!(limiter.allow_with("key", Charge::cost(5)));
    // A large one among small ones: all reserve in this order, and then wait.
    let costs = [1, 5, 1, 1];
    let reservations = costs.map(|cost| {
        let long = 100 * SECOND;
        limiter
            .reserve_with("key", Charge::cost(cost), long)
            .unwrap()
    });
    let waits = reservations.each_ref().map(|r| r.wait().as_secs());
    assert_eq!(waits, [1, 6, 7, 8]);
    let woken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reservation in &reservations {
            let (region, woken) = (&region, &woken);
            scope.spawn(move || {
                while !region.sleep_until(reservation.due(), Duration::MAX) {}
                woken.fetch_add(1, Relaxed);
            });
        }
        for (second, expected) in [(1, 1), (5, 2), (1, 3), (1, 4)] {
            region.advance(second * SECOND).unwrap();
            while woken.load(Relaxed) < expected {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn acquire_sleeps_until_its_token_is_there() {
    let region = Region::options().bytes(1 << 20).private().unwrap();
    let limiter = limiter(
        &region,
        "l",
        Rate::new(1, Duration::from_millis(20)).burst(1),
    );
    assert!(limiter.allow("key"));
    let began = Instant::now();
    let verdict = limiter.acquire("key", SECOND);
    assert!(verdict.allowed);
    assert!(
        began.elapsed() >= Duration::from_millis(15),
        "{:?}",
        began.elapsed()
    );
    // Who would be too late does not begin to wait.
    assert!(!limiter.acquire("key", Duration::ZERO).allowed);
    let refused = limiter.acquire_with("key", Charge::cost(2), 3600 * SECOND);
    assert_eq!((refused.allowed, refused.retry_after), (false, None));
}

/// A limiter that gives a token each 10 ms, 50 at once, and has none; somebody
/// wants all 50 at once while every 10 ms some who want one come by. All wait in
/// [`Limiter::acquire_async`], looked at each millisecond of a manual clock. In
/// how many milliseconds the 50 were there, and how many others were served.
fn fifty_among_ones(ones_at_once: u64, patience: Duration) -> (u64, u64) {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_second(100).burst(50));
    assert!(limiter.allow_with("key", Charge::cost(50)));
    let acquire =
        |cost, timeout| Box::pin(limiter.acquire_async("key", Charge::cost(cost), timeout));
    let mut context = Context::from_waker(Waker::noop());
    let (mut waiting, mut large, mut served) = (Vec::new(), None, 0);
    const COMES_AT: u64 = 1_000;
    for millisecond in 0..10_000 {
        if millisecond % 10 == 0 {
            waiting.extend((0..ones_at_once).map(|_| acquire(1, patience)));
        }
        if millisecond == COMES_AT {
            large = Some(acquire(50, 1000 * SECOND));
        }
        if let Some(large) = &mut large {
            if let Poll::Ready(verdict) = large.as_mut().poll(&mut context) {
                assert!(verdict.allowed);
                return (millisecond - COMES_AT, served);
            }
        }
        waiting.retain_mut(|one| match one.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(verdict) => {
                served += u64::from(verdict.allowed);
                false
            }
        });
        region.advance(Duration::from_millis(1)).unwrap();
    }
    panic!("never served");
}

#[test]
fn a_large_request_among_small_ones_waits_for_what_it_costs_and_no_tenth_longer() {
    // Fifty tokens take 500 ms.
    for (ones_at_once, patience) in [
        // As many as there are tokens for, with any patience.
        (1, 1000 * SECOND),
        // More than there are tokens for: the queue is as long as they will wait.
        (2, Duration::from_millis(40)),
        (5, Duration::from_millis(40)),
    ] {
        let (waited, served) = fifty_among_ones(ones_at_once, patience);
        assert!((500..=550).contains(&waited), "{waited} ms");
        // Those before it were served, a token each 10 ms; nobody was in between.
        assert!((99..=105).contains(&served), "{served}");
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on(future: Acquire) -> Verdict {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(verdict) => return verdict,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn futures_take_their_place_at_once_and_give_it_up_when_dropped() {
    let region = Region::options().bytes(1 << 20).private().unwrap();
    let rate = Rate::new(1, Duration::from_millis(20)).burst(1);
    let limiter = limiter(&region, "l", rate);
    let acquire = |timeout| limiter.acquire_async("key", Charge::default(), timeout);
    assert!(block_on(acquire(Duration::ZERO)).allowed);
    let hour = 3600 * SECOND;
    let (one, two) = (acquire(hour), acquire(hour));
    assert!(!block_on(acquire(Duration::ZERO)).allowed);
    assert!(block_on(one).allowed);
    assert!(block_on(two).allowed);
    // A thousand give up what is hours away, polled or not.
    let slow = LimiterOptions::new(Rate::per_hour(1)).max_keys(100);
    let slow = region.limiter("slow", slow).unwrap();
    assert!(slow.allow("key"));
    for i in 0..1000 {
        let mut future = pin!(slow.acquire_async("key", Charge::default(), 10 * hour));
        if i % 2 == 0 {
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
    }
    let wait = slow.peek("key").retry_after.unwrap();
    assert!(wait <= hour, "{wait:?}");
}

#[test]
fn futures_follow_a_clock_that_is_moved_by_hand() {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_second(1));
    assert!(limiter.allow("key"));
    let future = limiter.acquire_async("key", Charge::default(), SECOND);
    let waiting = std::thread::spawn(move || block_on(future));
    region.advance(SECOND).unwrap();
    assert!(waiting.join().unwrap().allowed);
}

/// Threads hold requests against two limits, of which one is the tighter now
/// and then: no limit is exceeded, and what a refusal charged comes back.
#[test]
fn several_limits_admit_exactly_what_each_of_them_can() {
    for (one, two) in [(100, 60), (60, 100), (80, 80)] {
        let region = still(1 << 20);
        let one_limit = limiter(&region, "one", Rate::per_day(one));
        let two_limit = limiter(&region, "two", Rate::per_day(two));
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (one, two, admitted) = (&one_limit, &two_limit, &admitted);
                scope.spawn(move || {
                    for i in 0..100u64 {
                        let cost = 1 + (i + thread) % 3;
                        let requests = [
                            one.request("key", Charge::cost(cost)),
                            two.request("key", Charge::cost(cost)),
                        ];
                        if take_all(&requests).unwrap().0 {
                            admitted.fetch_add(cost, Relaxed);
                        }
                    }
                });
            }
        });
        // The last tokens, which a cost of two or three may have left.
        while take_all(&[
            one_limit.request("key", Charge::default()),
            two_limit.request("key", Charge::default()),
        ])
        .unwrap()
        .0
        {
            admitted.fetch_add(1, Relaxed);
        }
        let admitted = admitted.load(Relaxed);
        assert_eq!(admitted, one.min(two));
        assert_eq!(one_limit.peek("key").remaining, one - admitted);
        assert_eq!(two_limit.peek("key").remaining, two - admitted);
    }
}

#[test]
fn what_is_taken_and_given_back_by_many_threads_is_there_in_the_end() {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_day(1000));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let limiter = &limiter;
            scope.spawn(move || {
                for i in 0..500u64 {
                    let tokens = 1 + (i + thread) % 5;
                    let verdict = limiter.take_with("key", Charge::cost(tokens));
                    assert!(verdict.allowed, "{verdict:?} {:?}", limiter.stats());
                    match i % 3 {
                        0 => drop(limiter.refund("key", tokens)),
                        1 => {
                            limiter.penalize("key", 1);
                            limiter.refund("key", tokens + 1);
                        }
                        _ => drop((limiter.refund("key", 1), limiter.refund("key", tokens - 1))),
                    }
                }
            });
        }
    });
    assert_eq!(limiter.peek("key").remaining, 1000);
}

#[test]
fn a_block_holds_for_all_threads_and_is_never_shortened_by_another() {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_second(1000));
    std::thread::scope(|scope| {
        for seconds in 1..=8 {
            let limiter = &limiter;
            scope.spawn(move || limiter.block("key", seconds * SECOND));
        }
    });
    assert_eq!(limiter.peek("key").retry_after, Some(8 * SECOND));
    assert!(limiter.allow("another"));
    region
        .advance(8 * SECOND - Duration::from_nanos(1))
        .unwrap();
    assert!(!limiter.allow("key"));
    region.advance(Duration::from_nanos(1)).unwrap();
    assert!(limiter.allow("key"));
}

#[test]
fn more_than_sixteen_limits_are_refused_and_none_is_charged() {
    let region = still(1 << 20);
    let limiter = limiter(&region, "l", Rate::per_day(100));
    let requests: Vec<_> = (0..17)
        .map(|_| limiter.request("key", Charge::default()))
        .collect();
    let error = take_all(&requests).unwrap_err();
    assert_eq!(error.to_string(), "requests: got 17; allowed: at most 16");
    assert!(take_all(&requests[1..]).unwrap().0);
    assert_eq!(limiter.peek("key").remaining, 84);
}
