//! The one door to a region's memory: an array of 64-bit atomic words.
//!
//! All state is reached by word index; payload bytes are copied by relaxed word
//! loads and stores. There is never a reference or a slice into a region, so
//! any bytes are a legal (if senseless) state and no access is undefined
//! behaviour whatever another process writes. One width means no mixed-size
//! races; indices instead of pointers mean that every process may map a region
//! where it likes.
//!
//! Algorithms are generic over [`Words`], so the very code that serves requests
//! also runs on loom's atomics, under Miri, on words that die after the k-th
//! store and in the exhaustive searches of the test suite.

use crate::region::{sys, Memory};
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// An array of atomic 64-bit words.
///
/// Bytes are little-endian within words. An index outside is a bug of the
/// caller; implementations answer with the last word instead of a panic.
pub trait Words {
    /// Loads the word at `index`.
    fn load(&self, index: usize, order: Ordering) -> u64;
    /// Stores to the word at `index`.
    fn store(&self, index: usize, value: u64, order: Ordering);
    /// Exchanges the word at `index` if it equals `old`; tells what it found.
    /// A success is AcqRel, a failure Acquire.
    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64>;
    /// Adds to the word at `index`, relaxed and wrapping; returns what it was.
    fn add(&self, index: usize, value: u64) -> u64;
    /// A fence.
    fn fence(&self, order: Ordering);
    /// Tells the processor that we wait for another participant.
    fn spin(&self);
    /// Tells the processor that the word at `index` is about to be read.
    #[inline(always)]
    fn prefetch(&self, _index: usize) {}

    /// Copies the bytes from word `at` on into `into`.
    fn copy_out(&self, at: usize, into: &mut [u8]) {
        let mut chunks = into.chunks_exact_mut(8);
        let mut index = at;
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.load(index, Ordering::Relaxed).to_le_bytes());
            index += 1;
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            let word = self.load(index, Ordering::Relaxed).to_le_bytes();
            tail.copy_from_slice(&word[..tail.len()]);
        }
    }

    /// Copies `from` to the words from `at` on; the last word is padded with zeros.
    fn copy_in(&self, at: usize, from: &[u8]) {
        for (index, word) in words_of(from).enumerate() {
            self.store(at + index, word, Ordering::Relaxed);
        }
    }

    /// Whether the words from `at` on hold `bytes`, padded with zeros.
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        words_of(bytes)
            .enumerate()
            .all(|(index, word)| self.load(at + index, Ordering::Relaxed) == word)
    }

    /// Of `count` pairs of words from word `at` on, the number of the first one
    /// whose second word is `value` under `mask`. Relaxed.
    #[inline(always)]
    fn find_pair(&self, at: usize, count: usize, mask: u64, value: u64) -> Option<usize> {
        (0..count).find(|i| self.load(at + 2 * i + 1, Ordering::Relaxed) & mask == value)
    }
}

/// How often an exchange is tried that fails only when somebody else's
/// succeeded. Honest neighbours get through in a handful of turns; so many
/// failures in a row are an adversary's, who is not waited for.
pub const TURNS: usize = 1_000;

/// Exchanges the word at `index` for what `next` makes of it, in at most
/// [`TURNS`] attempts: what it was exchanged for, or `None` if `next` wants no
/// change; `Err` is what it would have become when the attempts ran out.
#[inline(always)]
pub fn update<W: Words>(
    words: &W,
    index: usize,
    order: Ordering,
    next: impl Fn(u64) -> Option<u64>,
) -> Result<Option<u64>, u64> {
    let mut found = words.load(index, order);
    let mut wanted = 0;
    for _ in 0..TURNS {
        wanted = match next(found) {
            Some(wanted) => wanted,
            None => return Ok(None),
        };
        match words.cas(index, found, wanted) {
            Ok(_) => return Ok(Some(wanted)),
            Err(other) => found = other,
        }
    }
    Err(wanted)
}

/// The words that hold `bytes`, the last one padded with zeros.
#[inline]
pub fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks(8).map(|chunk| match chunk.try_into() {
        Ok(whole) => u64::from_le_bytes(whole),
        Err(_) => {
            let mut padded = [0u8; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(padded)
        }
    })
}

/// A part of a region's memory: the words of one object, or the header.
///
/// Keeps the memory alive. Indices are relative to the part and never reach
/// outside it, so a hostile index in one object cannot touch another.
#[derive(Clone)]
pub struct Span {
    first: *const AtomicU64,
    words: usize,
    offset: usize,
    _memory: Arc<Memory>,
}

// SAFETY: a span is a pointer to atomics that `memory` keeps alive and never
// moves; atomics may be used from any thread.
unsafe impl Send for Span {}
// SAFETY: as above; there is no other interior state.
unsafe impl Sync for Span {}

impl Span {
    /// The part of `memory` from word `offset` on, `words` long, or `None` if
    /// that is empty or reaches outside.
    pub(crate) fn new(memory: Arc<Memory>, offset: usize, words: usize) -> Option<Span> {
        let whole = memory.words();
        if words == 0 || offset.checked_add(words)? > whole.len() {
            return None;
        }
        let first = whole[offset..].as_ptr();
        Some(Span {
            first,
            words,
            offset,
            _memory: memory,
        })
    }

    /// How many words it has: at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.words
    }

    /// Where in the region it begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.words, "word {index} of {}", self.words);
        let index = if index < self.words {
            index
        } else {
            self.words - 1
        };
        // SAFETY: `new` checked that `words` words from `first` on lie in
        // `memory`, which this span keeps alive; the index is below `words`.
        unsafe { &*self.first.add(index) }
    }

    /// Waits until the word at `index` is not `seen` any more or somebody wakes
    /// those who wait there, or for so long; it may also return before.
    pub(crate) fn wait_for_change(&self, index: usize, seen: u64, at_most: Duration) {
        sys::wait_on(self.word(index), seen, at_most);
    }

    /// Wakes all who wait for a change of the word at `index`, in any process.
    pub(crate) fn wake_all(&self, index: usize) {
        sys::wake_all(self.word(index));
    }

    /// The words that hold `bytes` bytes from word `at` on: one check for all
    /// of them. None outside.
    #[inline(always)]
    fn stretch(&self, at: usize, bytes: usize) -> &[AtomicU64] {
        let words = bytes.div_ceil(8);
        let inside = at <= self.words && words <= self.words - at;
        debug_assert!(inside, "words {at} to {at} + {words} of {}", self.words);
        if !inside {
            return &[];
        }
        // SAFETY: as in `word`, for all of them.
        unsafe { std::slice::from_raw_parts(self.first.add(at), words) }
    }
}

impl Words for Span {
    #[inline(always)]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.word(index).load(order)
    }

    #[inline(always)]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.word(index).store(value, order);
    }

    #[inline(always)]
    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.word(index)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline(always)]
    fn add(&self, index: usize, value: u64) -> u64 {
        self.word(index).fetch_add(value, Ordering::Relaxed)
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
    }

    #[inline(always)]
    fn spin(&self) {
        std::hint::spin_loop();
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    fn prefetch(&self, index: usize) {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        let word = std::ptr::from_ref(self.word(index));
        // SAFETY: a hint, of an address that may be read; SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(word.cast()) };
    }

    #[inline(always)]
    fn copy_out(&self, at: usize, into: &mut [u8]) {
        let words = self.stretch(at, into.len());
        for (chunk, word) in into.chunks_mut(8).zip(words) {
            let word = word.load(Ordering::Relaxed).to_le_bytes();
            match <&mut [u8; 8]>::try_from(&mut *chunk) {
                Ok(whole) => *whole = word,
                Err(_) => chunk.copy_from_slice(&word[..chunk.len()]),
            }
        }
    }

    #[inline(always)]
    fn copy_in(&self, at: usize, from: &[u8]) {
        let words = self.stretch(at, from.len());
        for (value, word) in words_of(from).zip(words) {
            word.store(value, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let words = self.stretch(at, bytes.len());
        words.len() == bytes.len().div_ceil(8)
            && words_of(bytes)
                .zip(words)
                .all(|(value, word)| word.load(Ordering::Relaxed) == value)
    }

    #[inline(always)]
    fn find_pair(&self, at: usize, count: usize, mask: u64, value: u64) -> Option<usize> {
        for (i, pair) in self.stretch(at, count * 16).chunks_exact(2).enumerate() {
            if pair[1].load(Ordering::Relaxed) & mask == value {
                return Some(i);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(words: usize) -> Span {
        Span::new(Arc::new(Memory::heap(words + 2)), 1, words).unwrap()
    }

    #[test]
    fn bytes_of_any_length_come_back_as_they_went_in() {
        let words = span(8);
        for length in 0..=64 {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
            words.copy_in(0, &bytes);
            assert!(words.holds(0, &bytes));
            let mut back = vec![0; length];
            words.copy_out(0, &mut back);
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_difference_in_the_last_byte_is_seen() {
        let words = span(4);
        words.copy_in(0, b"0123456789");
        assert!(words.holds(0, b"0123456789"));
        assert!(!words.holds(0, b"0123456788"));
        assert!(!words.holds(0, b"012345678"));
    }

    #[test]
    fn a_part_that_reaches_outside_is_none() {
        let memory = Arc::new(Memory::heap(8));
        assert!(Span::new(memory.clone(), 0, 8).is_some());
        assert!(Span::new(memory.clone(), 1, 8).is_none());
        assert!(Span::new(memory.clone(), usize::MAX, 2).is_none());
        assert!(Span::new(memory, 3, 0).is_none());
    }
}
