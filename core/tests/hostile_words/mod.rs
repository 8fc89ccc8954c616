//! Words that trust nobody, for the tests and fuzz targets of hostile memory.
//!
//! The array ends at one page that cannot be touched and begins after another,
//! so what reaches outside by a pointer faults; an index outside is a panic
//! with its number. Each access is a step, and a call that takes more steps
//! than it was given is a panic too. An adversary, if there is one, changes a
//! word after every so many steps, beside the last one touched or anywhere.

// Each user takes a part of it.
#![allow(dead_code)]

use forebay::internals::Words;
use std::cell::Cell;
use std::sync::atomic::{fence, AtomicU64, Ordering};

pub mod drive;

const PAGE: usize = 4096;

pub struct Guarded {
    mapping: *mut libc::c_void,
    bytes: usize,
    first: *const AtomicU64,
    len: usize,
    steps: Cell<u64>,
    limit: Cell<u64>,
    adversary: Cell<Option<Adversary>>,
    spite: Cell<Option<u32>>,
}

/// Who changes words while others use them.
#[derive(Clone, Copy)]
pub struct Adversary {
    /// Steps from one change to the next.
    pub every: u64,
    /// Decides what and where.
    pub random: Random,
}

/// A generator small enough to be part of a seed (Marsaglia's xorshift, 2003).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    /// A value of the kinds that break things: ends of ranges, small numbers,
    /// two halves of small numbers, anything.
    pub fn hostile(&mut self) -> u64 {
        let small = |random: &mut Random| random.next() >> 8 & 0xff;
        match self.next() >> 16 & 7 {
            0 => 0,
            1 => u64::MAX - small(self),
            2 | 3 => small(self),
            4 | 5 => small(self) << 32 | small(self),
            6 => 1 << (self.next() >> 16 & 63),
            _ => self.next(),
        }
    }
}

impl Guarded {
    /// So many words of zero, without a limit.
    pub fn new(len: usize) -> Guarded {
        assert!(len > 0);
        let inside = (len * 8).next_multiple_of(PAGE);
        let bytes = inside + 2 * PAGE;
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(mapping, libc::MAP_FAILED);
        // SAFETY: all but the first and the last page of the mapping just made.
        let first = unsafe {
            let inner = mapping.cast::<u8>().add(PAGE);
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(inner.cast(), inside, prot), 0);
            inner.add(inside - len * 8).cast()
        };
        Guarded {
            mapping,
            bytes,
            first,
            len,
            steps: Cell::new(0),
            limit: Cell::new(u64::MAX),
            adversary: Cell::new(None),
            spite: Cell::new(None),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Lets an adversary in, or none.
    pub fn set_adversary(&self, adversary: Option<Adversary>) {
        self.adversary.set(adversary);
    }

    /// Lets an adversary in who turns one bit of a word over just before it is
    /// exchanged, so that no exchange ever succeeds; or none.
    pub fn set_spite(&self, bit: Option<u32>) {
        self.spite.set(bit);
    }

    /// Runs a call that may take `limit` steps; returns how many it took.
    pub fn within<T>(&self, what: &str, limit: u64, call: impl FnOnce() -> T) -> (T, u64) {
        self.steps.set(0);
        self.limit.set(limit);
        let answer = call();
        self.limit.set(u64::MAX);
        let steps = self.steps.get();
        assert!(steps <= limit, "{what}: {steps} steps, allowed {limit}");
        (answer, steps)
    }

    /// Changes a word, uncounted.
    pub fn poke(&self, index: usize, value: u64) {
        self.at(index).store(value, Ordering::Relaxed);
    }

    /// Looks at a word, uncounted.
    pub fn peek(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Relaxed)
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: `len` words from `first` on are mapped until drop, and all
        // access is by atomics.
        unsafe { &*self.first.add(index) }
    }

    fn step(&self, index: usize) -> &AtomicU64 {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > self.limit.get() && !std::thread::panicking() {
            panic!("more than {} steps", self.limit.get());
        }
        if let Some(mut adversary) = self.adversary.get() {
            if steps.is_multiple_of(adversary.every.max(1)) {
                let random = &mut adversary.random;
                let target = if random.next() >> 20 & 3 == 0 {
                    random.below(self.len)
                } else {
                    (index + random.below(4)).min(self.len - 1)
                };
                let value = random.hostile();
                self.poke(target, value);
                self.adversary.set(Some(adversary));
            }
        }
        self.at(index)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, borrowed by nobody any more.
        unsafe { libc::munmap(self.mapping, self.bytes) };
    }
}

impl Words for Guarded {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.step(index).load(order)
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.step(index).store(value, order);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        if let Some(bit) = self.spite.get() {
            self.poke(index, old ^ 1 << bit);
        }
        self.step(index)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.step(index).fetch_add(value, Ordering::Relaxed)
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {}
}
