//! A lock for what a process keeps to itself, that a fork cannot leave locked.
//!
//! A child inherits memory as it was at the fork, locks included, but not the
//! thread that would unlock them. This lock's word is the fork generation of
//! its holder: a word of another generation is a ghost's. The value may then be
//! half changed, so it is left behind, undropped, for a fresh one.

use super::sys;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A value that one thread at a time may use.
pub struct ForkLock<T> {
    holder: AtomicU64,
    value: UnsafeCell<T>,
    fresh: fn() -> T,
}

// SAFETY: the value is reached only by whoever set `holder`, one at a time.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    /// A lock around `value`, which `fresh` replaces after a fork that found it
    /// locked.
    pub const fn new(value: T, fresh: fn() -> T) -> ForkLock<T> {
        ForkLock {
            holder: AtomicU64::new(0),
            value: UnsafeCell::new(value),
            fresh,
        }
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> Guard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            sys::give_way();
        }
    }

    /// Takes the lock unless a thread of this process has it.
    fn try_lock(&self) -> Option<Guard<'_, T>> {
        let mine = sys::fork_generation();
        let found = self.holder.load(Relaxed);
        let free = found != mine;
        let exchange = || (self.holder).compare_exchange(found, mine, Acquire, Relaxed);
        if !free || exchange().is_err() {
            return None;
        }
        if found != 0 {
            // SAFETY: the exchange made this thread the holder; the ghost's
            // value is overwritten without being dropped.
            unsafe { self.value.get().write((self.fresh)()) };
        }
        Some(Guard {
            lock: self,
            value: PhantomData,
        })
    }
}

/// The value, until dropped.
pub struct Guard<'a, T> {
    lock: &'a ForkLock<T>,
    /// Shared between threads only if the value may be.
    value: PhantomData<&'a mut T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard's thread holds the lock, and the guard is borrowed
        // for as long as the value.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.holder.store(0, Release);
    }
}

/// Held by who has a descriptor open that no child may inherit, and by a fork.
static NO_FORKS: ForkLock<()> = ForkLock::new((), || ());

/// Runs `f` while no other thread forks through the C library. (A bare system
/// call asks nobody.)
pub fn without_forks<T>(f: impl FnOnce() -> T) -> T {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let _guard = NO_FORKS.lock();
    if !ASKED.load(Relaxed) {
        // Where it is refused, for lack of memory, it is asked again next time.
        ASKED.store(sys::at_fork(before_fork, after_fork, after_fork), Relaxed);
    }
    f()
}

thread_local! {
    /// Whether this thread's fork holds the lock.
    static FORKING: Cell<bool> = const { Cell::new(false) };
}

/// How long a fork waits: it must come to pass also in a signal's handler on
/// the very thread that holds the lock.
const PATIENCE: u32 = 1_000;

extern "C" fn before_fork() {
    for turn in 0..PATIENCE {
        if let Some(guard) = NO_FORKS.try_lock() {
            std::mem::forget(guard);
            return FORKING.set(true);
        }
        sys::pause_briefly(turn);
    }
}

extern "C" fn after_fork() {
    if FORKING.replace(false) {
        NO_FORKS.holder.store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_turns() {
        static COUNT: ForkLock<u64> = ForkLock::new(0, || 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        *COUNT.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*COUNT.lock(), 4000);
    }

    #[test]
    fn what_a_ghost_holds_is_left_behind() {
        let lock = ForkLock::new(vec![1], Vec::new);
        lock.holder.store(u64::MAX, Relaxed);
        assert_eq!(*lock.lock(), Vec::<i32>::new());
    }
}
