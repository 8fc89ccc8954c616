//! One thread that wakes futures when it is time, for runtimes that lend us no
//! timer of theirs. It begins with the first waiter and sleeps when there is
//! none.

use crate::region::{sys, ForkLock};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

type Waiters = BTreeMap<(Instant, u64), Waker>;

#[derive(Default)]
struct Timer {
    /// The process that its thread is in: a forked child needs its own.
    generation: u64,
    waiters: Mutex<(u64, Waiters)>,
    earlier: Condvar,
}

static TIMER: ForkLock<Option<Arc<Timer>>> = ForkLock::new(None, || None);

/// Somebody who is to be woken; not any more when this is dropped.
#[derive(Debug)]
pub struct Alarm {
    timer: Weak<Timer>,
    at: (Instant, u64),
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

/// Wakes somebody once this time has passed.
pub fn wake_after(time: Duration, waker: Waker) -> Alarm {
    // Later than any process lives.
    const LONGEST: Duration = Duration::from_secs(1 << 30);
    let at = Instant::now() + time.min(LONGEST);
    let Some(timer) = running() else {
        // No thread is to be had: the future looks again at once.
        waker.wake();
        return Alarm {
            timer: Weak::new(),
            at: (at, 0),
        };
    };
    let mut waiters = timer.waiters.lock().unwrap_or_else(PoisonError::into_inner);
    waiters.0 += 1;
    let at = (at, waiters.0);
    waiters.1.insert(at, waker);
    if waiters
        .1
        .first_key_value()
        .is_some_and(|(first, _)| *first == at)
    {
        timer.earlier.notify_one();
    }
    drop(waiters);
    Alarm {
        timer: Arc::downgrade(&timer),
        at,
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.upgrade().filter(|timer| timer.is_here()) {
            let mut waiters = timer.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            waiters.1.remove(&self.at);
        }
    }
}

/// The timer of this process; `None` if it cannot have a thread.
fn running() -> Option<Arc<Timer>> {
    let mut known = TIMER.lock();
    if let Some(timer) = known.as_ref().filter(|timer| timer.is_here()) {
        return Some(timer.clone());
    }
    let timer = Arc::new(Timer {
        generation: sys::fork_generation(),
        ..Timer::default()
    });
    let thread = timer.clone();
    std::thread::Builder::new()
        .name("forebay-timer".into())
        .spawn(move || thread.run())
        .ok()?;
    *known = Some(timer.clone());
    Some(timer)
}

impl Timer {
    fn is_here(&self) -> bool {
        self.generation == sys::fork_generation()
    }

    fn run(&self) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            let first = waiters.1.first_key_value().map(|((at, _), _)| *at);
            waiters = match first {
                None => self
                    .earlier
                    .wait(waiters)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) if at > now => {
                    let wait = self.earlier.wait_timeout(waiters, at - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let due = waiters.1.pop_first();
                    // A waker is somebody else's code.
                    drop(waiters);
                    if let Some((_, waker)) = due {
                        waker.wake();
                    }
                    self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
