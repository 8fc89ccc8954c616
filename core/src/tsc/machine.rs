//! The counter of an x86-64 processor and the clock of Linux.

use super::{Pair, Source, WORDS};
use crate::region::sys;
use crate::words::Words;
use std::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// This process's clock.
static CLOCK: Private = Private([const { AtomicU64::new(0) }; WORDS]);

/// Words of this process's own; slots begin with a cache line.
#[repr(align(64))]
struct Private([AtomicU64; WORDS]);

impl Words for Private {
    #[inline(always)]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.0[index].store(value, order);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.0[index].compare_exchange(old, new, Ordering::AcqRel, Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.0[index].fetch_add(value, Relaxed)
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {
        std::hint::spin_loop();
    }
}

struct Machine;

impl Source for Machine {
    #[inline(always)]
    fn ticks(&self) -> u64 {
        // SAFETY: every x86-64 processor has the instruction, and `start`
        // has asked whether this process may use it.
        unsafe { _rdtsc() }
    }

    fn kernel(&self) -> u64 {
        sys::boot_clock()
    }

    fn pair(&self) -> Pair {
        // The fence lets no reading be taken before the one before it.
        let ticks = || {
            // SAFETY: SSE2 is part of x86-64.
            unsafe { _mm_lfence() };
            self.ticks()
        };
        Pair {
            before: ticks(),
            kernel: sys::boot_clock(),
            after: ticks(),
        }
    }

    fn process(&self) -> u64 {
        sys::fork_generation()
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline]
pub fn now() -> u64 {
    super::now(&CLOCK, &Machine)
}

/// Looks whether this machine's counter may be used, and if so begins to
/// measure it. Makes system calls: for when a region is opened.
pub fn start() {
    super::start(&CLOCK, Machine.process(), || {
        sys::counter_is_readable() && is_invariant() && kernel_trusts_it()
    });
}

/// Whether readings come from the counter just now.
pub fn is_on() -> bool {
    super::is_on(&CLOCK)
}

/// Whether the counter runs at one rate in all states of the processor:
/// Intel's manual, volume 3, "Invariant TSC".
#[allow(unused_unsafe)] // it is unsafe in older compilers
fn is_invariant() -> bool {
    const POWER: u32 = 0x8000_0007;
    // SAFETY: every x86-64 processor has the instruction and leaf 0x8000_0000.
    unsafe { __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & 1 << 8 != 0 }
}

/// The kernel compares it with other clocks, and between cores, before it
/// takes it and while it uses it.
fn kernel_trusts_it() -> bool {
    std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .is_ok_and(|name| name.trim() == "tsc")
}
