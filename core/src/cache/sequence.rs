//! The sequence word of a shard: how writers warn readers.
//!
//! Writers make it odd while what readers look at changes. A reader notes it,
//! reads, and believes what it read only if the sequence was even and has not
//! moved (Boehm, "Can seqlocks get along with programming language memory
//! models?", MSPC 2012).

use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A change begins: the sequence is odd from here on.
#[inline]
pub fn begin<W: Words>(words: &W, at: usize) -> u64 {
    let sequence = words.load(at, Relaxed) | 1;
    words.store(at, sequence, Relaxed);
    // Release: whoever sees a later store sees the odd sequence too.
    words.fence(Release);
    sequence
}

/// The change that `begin` returned is complete.
#[inline]
pub fn end<W: Words>(words: &W, at: usize, sequence: u64) {
    words.store(at, sequence.wrapping_add(1), Release);
}

/// Reads without a lock; `None` if a change went on meanwhile.
#[inline]
pub fn read<W: Words, T>(words: &W, at: usize, read: impl FnOnce() -> T) -> Option<T> {
    let sequence = words.load(at, Acquire);
    if sequence & 1 == 1 {
        return None;
    }
    let value = read();
    // Acquire: the second look at the sequence comes after all the above.
    words.fence(Acquire);
    (words.load(at, Relaxed) == sequence).then_some(value)
}
