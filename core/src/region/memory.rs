//! Where a region's words live: on the heap, or in a mapped file.

use super::sys::Mapping;
use std::alloc::{alloc_zeroed, Layout};
use std::sync::atomic::AtomicU64;

/// Bytes at a multiple of which a region begins, as objects in it do: two cache
/// lines, which a set of the limiter's slots fills.
const ALIGN: usize = 128;
/// Words more than asked for, so that a multiple is among them. (Asked to align
/// zeros itself, the allocator would write them.)
const SLACK: usize = ALIGN / 8;

/// The words of one region.
pub enum Memory {
    /// Private to the process, with some slack.
    Heap(Box<[AtomicU64]>),
    /// Shared through a file.
    Map(Mapping),
}

impl Memory {
    /// A private region of zeros, or `None` if there is no memory for it. The
    /// allocator's zeroed pages are not touched, so they cost nothing yet.
    pub fn try_heap(words: usize) -> Option<Memory> {
        let words = words.checked_add(SLACK)?;
        let layout = Layout::array::<AtomicU64>(words).ok()?;
        // SAFETY: the layout has a size: the slack, at least.
        let first = unsafe { alloc_zeroed(layout) };
        if first.is_null() {
            return None;
        }
        // SAFETY: the global allocator just returned this block for exactly
        // this slice's layout, and zeros are valid atomics.
        Some(Memory::Heap(unsafe {
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(first.cast(), words))
        }))
    }

    /// A private region of zeros.
    #[cfg(test)]
    pub fn heap(words: usize) -> Memory {
        Memory::try_heap(words).expect("memory for a test")
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        match self {
            Memory::Heap(words) => {
                let skip = words.as_ptr().align_offset(ALIGN).min(SLACK);
                &words[skip..words.len() - SLACK + skip]
            }
            Memory::Map(mapping) => mapping.words(),
        }
    }
}
