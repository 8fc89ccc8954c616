//! Words of this program's own, for storage taken out of its cache.

use forebay::internals::Words;
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// An array of words, checked like a region's.
pub struct Heap(Box<[AtomicU64]>);

impl Heap {
    /// So many words, all zero.
    pub fn new(words: usize) -> Heap {
        Heap((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.0[index.min(self.0.len() - 1)]
    }
}

impl Words for Heap {
    #[inline(always)]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.word(index).load(order)
    }

    #[inline(always)]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.word(index).store(value, order);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.word(index)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.word(index).fetch_add(value, Ordering::Relaxed)
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {
        std::hint::spin_loop();
    }
}
