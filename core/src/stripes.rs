//! Counters that many threads add to at once: eight copies, each on its own
//! cache line; a thread always uses the same one, and a reader sums them.

use crate::words::Words;
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// How many copies.
pub const STRIPES: usize = 8;
/// Words of a copy: one cache line.
pub const STRIPE_WORDS: usize = 8;
/// Words of all copies.
pub const WORDS: usize = STRIPES * STRIPE_WORDS;

/// Adds to a counter of this thread's copy; tells what that was.
#[inline(always)]
pub fn add<W: Words>(words: &W, at: usize, counter: usize, n: u64) -> u64 {
    words.add(at + stripe() * STRIPE_WORDS + counter, n)
}

/// The sum of a counter over all copies.
pub fn sum<W: Words>(words: &W, at: usize, counter: usize) -> u64 {
    (0..STRIPES)
        .map(|stripe| words.load(at + stripe * STRIPE_WORDS + counter, Relaxed))
        .fold(0, u64::wrapping_add)
}

#[inline(always)]
fn stripe() -> usize {
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    match MINE.get() {
        usize::MAX => {
            let mine = next();
            MINE.set(mine);
            mine
        }
        mine => mine,
    }
}

/// A copy for another thread; processes start at different places.
#[cold]
fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    (NEXT.fetch_add(1, Relaxed) + std::process::id() as usize) % STRIPES
}
