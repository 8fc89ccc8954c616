//! How late those who wait for tokens are woken.

use anyhow::{ensure, Result};
use forebay::{Acquire, Charge, Limiter, Rate, Region, Verdict};
use forebay_benches::report::Table;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub const ABOUT: &str = "How long after its token was there a waiter had it, in microseconds: \
                         400 waits of 5 ms, one after the other. `acquire` sleeps in its own \
                         thread; `acquire_async` is woken by the thread that serves all futures \
                         of a process, and the figure ends when the woken thread has its answer. \
                         The last row is what the same sleeps cost without a limiter: Linux lets \
                         a sleep be 50 µs late by default, to save power. Other programs at work \
                         show first in the last columns. How often a waiter looks at the clock \
                         meanwhile is not measured but tested: it sleeps.";

const WAITS: usize = 400;
const EACH: Duration = Duration::from_millis(5);

/// Tokens of a full bucket, which it earns in a second: so late may a wait be
/// and still be measured.
const BURST: u64 = 200;

/// Measures.
pub fn measure() -> Result<Table> {
    let mut table = Table::new(&["wait by", "p50, µs", "p99, µs", "max, µs"], 1);
    let mut row = |how: &str, mut late: Vec<Duration>| {
        late.sort_unstable();
        let micros = |at: usize| format!("{:.0}", late[at].as_secs_f64() * 1e6);
        let last = late.len() - 1;
        let at = |percent: usize| micros((last * percent).div_ceil(100));
        table.row(vec![how.to_owned(), at(50), at(99), at(100)]);
    };
    row(
        "`limiter.acquire`, a thread",
        each(|limiter| limiter.acquire("key", 10 * EACH))?,
    );
    row(
        "`limiter.acquire_async`, a future",
        each(|limiter| block_on(limiter.acquire_async("key", Charge::default(), 10 * EACH)))?,
    );
    let slept = (0..WAITS).map(|_| {
        let began = Instant::now();
        std::thread::sleep(EACH);
        began.elapsed() - EACH
    });
    row("`std::thread::sleep`", slept.collect());
    Ok(table)
}

/// How late each of many waits ended. The bucket tells: when the token was there
/// it had just as much to refill as a full bucket takes.
fn each(wait: impl Fn(&Limiter) -> Verdict) -> Result<Vec<Duration>> {
    let region = Region::private()?;
    let full = EACH * BURST as u32;
    let limiter = region.limiter("waiting", Rate::new(BURST, full))?;
    ensure!(limiter.allow_with("key", Charge::cost(BURST)));
    let mut late = Vec::with_capacity(WAITS);
    for _ in 0..WAITS {
        let verdict = wait(&limiter);
        ensure!(verdict.allowed, "a wait was refused");
        ensure!(verdict.reset_after <= full, "a wait ended too early");
        late.push(full - verdict.reset_after);
    }
    Ok(late)
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
