//! Who waits for tokens sleeps: the kernel's count of how often the thread gave
//! up the processor says so. A thread that looked at the clock now and then, each
//! millisecond say, would do so a thousand times in these tests; the bound does
//! not depend on how busy the machine is. In a process of its own, because one
//! timer thread serves all futures of a process.
#![cfg(target_os = "linux")]

use forebay::{Charge, Limiter, LimiterOptions, Rate, Region};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Who sleeps once and is woken once switches a few times: to sleep, and for
/// locks and memory on the way.
const A_HANDFUL: u64 = 20;

/// How often the thread with this status file gave up the processor by itself.
fn switches(status: &str) -> u64 {
    let status = std::fs::read_to_string(status).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// How often this thread does so in the meantime.
fn switches_while(wait: impl FnOnce()) -> u64 {
    let mine = "/proc/thread-self/status";
    let before = switches(mine);
    wait();
    switches(mine) - before
}

/// How often the thread that wakes futures has done so since it began.
fn switches_of_the_timer() -> u64 {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() == "forebay-timer" {
            return switches(task.join("status").to_str().unwrap());
        }
    }
    panic!("no thread is called forebay-timer");
}

/// A limiter whose next token is there in a second.
fn a_second_to_wait(region: &Region) -> Limiter {
    let options = LimiterOptions::new(Rate::per_second(1)).max_keys(100);
    let limiter = region.limiter("l", options).unwrap();
    assert!(limiter.allow("key"));
    limiter
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_thread_that_acquires_sleeps() {
    let region = Region::options().bytes(1 << 20).private().unwrap();
    let limiter = a_second_to_wait(&region);
    let switches = switches_while(|| assert!(limiter.acquire("key", 10 * SECOND).allowed));
    assert!(switches <= A_HANDFUL, "{switches}");
}

#[test]
fn a_thread_that_acquires_by_a_manual_clock_sleeps_until_it_is_moved() {
    let options = Region::options().bytes(1 << 20).manual_clock(true);
    let region = options.private().unwrap();
    let limiter = a_second_to_wait(&region);
    let waiter = std::thread::spawn(move || {
        switches_while(|| assert!(limiter.acquire("key", 10 * SECOND).allowed))
    });
    // Half a second in which it could look around.
    std::thread::sleep(SECOND / 2);
    region.advance(SECOND).unwrap();
    let switches = waiter.join().unwrap();
    assert!(switches <= A_HANDFUL, "{switches}");
}

#[test]
fn a_future_is_polled_when_it_is_time_and_its_timer_sleeps_until_then() {
    let region = Region::options().bytes(1 << 20).private().unwrap();
    let limiter = a_second_to_wait(&region);
    let mut polls = 0;
    let switches = switches_while(|| {
        let mut future = pin!(limiter.acquire_async("key", Charge::default(), 10 * SECOND));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let verdict = loop {
            polls += 1;
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(verdict) => break verdict,
                Poll::Pending => std::thread::park(),
            }
        };
        assert!(verdict.allowed);
    });
    assert!(polls <= A_HANDFUL, "{polls} polls");
    assert!(switches <= A_HANDFUL, "{switches}");
    let timer = switches_of_the_timer();
    assert!(timer <= A_HANDFUL, "{timer} in the timer's thread");
}
