//! `CLOCK_BOOTTIME` by the processor's time stamp counter (TSC), in half the
//! time that the kernel's own reading takes, for those who read it more than
//! 500 times a second.
//!
//! An *anchor* is a reading of the counter, the time then, and a rate. A
//! reading of the clock is the anchor's time and the ticks since at that rate.
//! An anchor is believed for two milliseconds of ticks. Who finds it expired
//! reads the kernel's clock and makes the next one; who finds another thread at
//! that answers with the kernel's clock. Anchors are this process's own: words
//! that others can write would let them bend everybody's time.
//!
//! - **How far off.** Less than a microsecond from `CLOCK_BOOTTIME` while that
//!   keeps its rate or changes it by 500 ppm, the most by which the kernel's
//!   own discipline slews; a change by f costs f × 2 ms. A counter that stops,
//!   jumps or goes wild, in a suspension or otherwise, is believed for the rest
//!   of an anchor's life: the time may lie behind by all of a suspension for
//!   two milliseconds of the counter, and after that is the kernel's. It is
//!   never further ahead than four milliseconds, and if it is it stands until
//!   the kernel's has caught up.
//! - **Order.** An anchor begins where its predecessor may have ended, so time
//!   does not go back from one to the next. It does where the counter steps
//!   back by less than the anchor's age, which nothing in it would show. The
//!   counter is read without a fence, which would cost all that is gained, so a
//!   reading may be as old as the oldest instruction before it that the
//!   processor has not finished. docs/decisions.md says how old that was,
//!   docs/limiter.md what it costs.
//! - **When not.** Only where the kernel itself takes its time from the
//!   counter, and it is invariant and may be read. Not for the first 50 ms, nor
//!   for so long after 8 s without a reading. After three anomalies, or a
//!   hundred readings of the kernel's clock in a row that took too long, never
//!   again in this process.
//! - **fork.** The anchors are a child's too: counter and clock are the
//!   machine's. A lock that a thread of the parent's held is not held.
//!
//! The latch of two slots is Linux's `seqcount_latch`, its fences are those of
//! Boehm, "Can seqlocks get along with programming language memory models?",
//! 2012.

mod anchor;
/// The processor's counter and the kernel's clock.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
pub mod machine;

pub use anchor::Pair;

use crate::words::Words;
use anchor::{Anchor, State};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The current state is in slot `SEQUENCE % 2`.
const SEQUENCE: usize = 0;
const SLOTS: usize = 8;
/// Two cache lines; the anchor lies in the first.
const SLOT_WORDS: usize = 16;
const LOCK: usize = SLOTS + 2 * SLOT_WORDS;
/// Words of a clock; all zero is one that is off.
pub const WORDS: usize = LOCK + 8;

/// Where the time comes from.
pub trait Source {
    /// The counter.
    fn ticks(&self) -> u64;
    /// The kernel's clock, in nanoseconds.
    fn kernel(&self) -> u64;
    /// The kernel's clock between two readings of the counter, in that order.
    fn pair(&self) -> Pair;
    /// A number above zero that differs between a process and its children.
    fn process(&self) -> u64;
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline]
pub fn now(words: &impl Words, source: &impl Source) -> u64 {
    match glance(words, source) {
        Some(now) => now,
        None => slow_now(words, source),
    }
}

/// The time by the current anchor, if it is good.
#[inline]
pub fn glance(words: &impl Words, source: &impl Source) -> Option<u64> {
    let anchor = Anchor::from_words(current(words)?);
    if anchor.good_for == 0 {
        return None;
    }
    // The counter is read after the anchor was found whole: one that has
    // expired meanwhile is seen to have.
    anchor.after(source.ticks().wrapping_sub(anchor.ticks))
}

#[cold]
#[inline(never)]
fn slow_now(words: &impl Words, source: &impl Source) -> u64 {
    let state = state(words);
    if state.chances == 0 {
        return state.anchor.bound(source.kernel());
    }
    let locked = lock(words, source.process());
    let pair = source.pair();
    if locked {
        if let Some(next) = self::state(words).next(&pair) {
            publish(words, &next);
        }
        words.store(LOCK, 0, Release);
    }
    // Looked at after the kernel's clock, so that no anchor which was made in
    // between has told more.
    let anchor = self::state(words).anchor;
    let ticks = pair.after.wrapping_sub(anchor.ticks);
    anchor.after(ticks).unwrap_or_else(|| {
        if ticks > ticks.wrapping_neg() {
            return anchor.time.max(pair.kernel); // made after this reading
        }
        anchor.bound(pair.kernel)
    })
}

/// Lets a clock begin that never has, if it may.
pub fn start(words: &impl Words, process: u64, may: impl FnOnce() -> bool) {
    if words.load(SEQUENCE, Acquire) == 0 && lock(words, process) {
        if words.load(SEQUENCE, Relaxed) == 0 && may() {
            publish(words, &State::new());
        }
        words.store(LOCK, 0, Release);
    }
}

/// Whether readings come from the counter just now.
pub fn is_on(words: &impl Words) -> bool {
    state(words).anchor.good_for != 0
}

/// Takes the lock, also one that was left behind in a process that forked.
fn lock(words: &impl Words, process: u64) -> bool {
    let holder = words.load(LOCK, Relaxed);
    holder != process && words.cas(LOCK, holder, process).is_ok()
}

fn slot(sequence: u64) -> usize {
    SLOTS + (sequence % 2) as usize * SLOT_WORDS
}

/// The first words of the current slot; `None` if they were changed meanwhile.
#[inline]
fn current<const N: usize>(words: &impl Words) -> Option<[u64; N]> {
    // Acquire: what was written to the slot before it was made current.
    let sequence = words.load(SEQUENCE, Acquire);
    let at = slot(sequence);
    let found = std::array::from_fn(|i| words.load(at + i, Relaxed));
    // If one of those is of a later state, its predecessor is seen now.
    words.fence(Acquire);
    (words.load(SEQUENCE, Relaxed) == sequence).then_some(found)
}

fn state(words: &impl Words) -> State {
    loop {
        // Fails only while others make anchors, one after another.
        if let Some(found) = current(words) {
            return State::from_words(found);
        }
    }
}

/// Makes a state the current one; only by who has the lock.
fn publish(words: &impl Words, state: &State) {
    let next = words.load(SEQUENCE, Relaxed).wrapping_add(1);
    // Who sees a word of this slot also sees that it is no longer current.
    words.fence(Release);
    for (i, word) in state.to_words().into_iter().enumerate() {
        words.store(slot(next) + i, word, Relaxed);
    }
    words.store(SEQUENCE, next, Release);
}

/// Elsewhere it is the kernel's clock.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
pub mod machine {
    pub use crate::region::sys::boot_clock as now;

    /// There is nothing to begin.
    pub fn start() {}

    /// Never.
    pub fn is_on() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::anchor::{CHANCES, LIFE, MOST_WIDE, STALE, WARM_UP};
    use super::*;
    use crate::region::Memory;
    use crate::words::Span;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::sync::Arc;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const HOUR: u64 = 3_600 * SECOND;
    /// What an adjustment of 500 ppm, and reading in pairs, costs.
    const CLOSE: u64 = 1_200;

    /// A machine whose counter and clock go as they are told to.
    struct Fake {
        words: Span,
        ticks: Cell<u64>,
        kernel: Cell<u64>,
        /// Ticks in a microsecond, and what the kernel makes of it in nanoseconds.
        pace: Cell<(u64, u64)>,
        /// Nanoseconds that a reading of the kernel's clock takes.
        takes: Cell<u64>,
        process: Cell<u64>,
        /// What is below a microsecond.
        rest: Cell<(u64, u64)>,
    }

    impl Fake {
        fn unstarted() -> Fake {
            Fake {
                words: Span::new(Arc::new(Memory::heap(WORDS)), 0, WORDS).unwrap(),
                ticks: Cell::new(77 * SECOND),
                kernel: Cell::new(HOUR),
                pace: Cell::new((2_600, 1_000_000)),
                takes: Cell::new(40),
                process: Cell::new(1),
                rest: Cell::new((0, 0)),
            }
        }

        fn new() -> Fake {
            let fake = Fake::unstarted();
            start(&fake.words, 1, || true);
            fake
        }

        /// One that has warmed up.
        fn warm() -> Fake {
            let fake = Fake::new();
            fake.now();
            fake.pass(50 * MS);
            fake.now();
            assert!(fake.is_on());
            fake
        }

        /// Lets so many nanoseconds pass.
        fn pass(&self, ns: u64) {
            let ((a, b), (c, d)) = (self.pace.get(), self.rest.get());
            // Thousandths of ticks, millionths of nanoseconds.
            let (ticks, kernel) = (
                u128::from(ns) * u128::from(a) + u128::from(c),
                u128::from(ns) * u128::from(b) + u128::from(d),
            );
            self.rest
                .set(((ticks % 1_000) as u64, (kernel % 1_000_000) as u64));
            self.ticks
                .set(self.ticks.get().wrapping_add((ticks / 1_000) as u64));
            self.kernel
                .set(self.kernel.get() + (kernel / 1_000_000) as u64);
        }

        fn now(&self) -> u64 {
            now(&self.words, self)
        }

        fn is_on(&self) -> bool {
            is_on(&self.words)
        }

        fn chances(&self) -> u64 {
            state(&self.words).chances
        }

        fn adjust(&self, ppm: i64) {
            self.pace.set((2_600, (1_000_000 + ppm) as u64));
        }

        fn assert_right(&self) {
            let (kernel, now) = (self.kernel.get(), self.now());
            assert!(now.abs_diff(kernel) <= CLOSE, "{now} at {kernel}");
        }
    }

    impl Source for Fake {
        fn ticks(&self) -> u64 {
            self.pass(8);
            self.ticks.get()
        }

        fn kernel(&self) -> u64 {
            self.pass(self.takes.get());
            self.kernel.get()
        }

        fn pair(&self) -> Pair {
            Pair {
                before: self.ticks(),
                kernel: self.kernel(),
                after: self.ticks(),
            }
        }

        fn process(&self) -> u64 {
            self.process.get()
        }
    }

    #[test]
    fn a_clock_that_may_not_begin_is_the_kernels() {
        let fake = Fake::unstarted();
        start(&fake.words, 1, || false);
        for _ in 0..1_000 {
            fake.pass(MS);
            assert_eq!(fake.now(), fake.kernel.get());
        }
        assert!(!fake.is_on());
    }

    #[test]
    fn the_counter_is_not_believed_before_50_ms() {
        let fake = Fake::new();
        for _ in 0..49 {
            fake.assert_right();
            assert!(!fake.is_on());
            fake.pass(MS);
        }
        fake.pass(MS);
        fake.assert_right();
        assert!(fake.is_on());
        fake.assert_right();
    }

    #[test]
    fn an_anchor_is_believed_for_two_milliseconds() {
        let fake = Fake::warm();
        fake.pass(LIFE - 1_000);
        assert!(glance(&fake.words, &fake).is_some());
        fake.pass(1_000);
        assert!(glance(&fake.words, &fake).is_none());
        fake.assert_right();
        assert!(glance(&fake.words, &fake).is_some());
    }

    #[test]
    fn a_stopped_process_reads_the_right_time_at_once() {
        let fake = Fake::warm();
        for stop in [3 * MS, 5 * SECOND, 7 * SECOND, 9 * SECOND, HOUR] {
            fake.pass(stop);
            fake.assert_right();
            assert_eq!(fake.is_on(), stop < STALE);
            fake.pass(WARM_UP);
            fake.assert_right();
            assert!(fake.is_on());
        }
        assert_eq!(fake.chances(), CHANCES);
    }

    #[test]
    fn after_a_suspension_the_time_is_right_within_two_milliseconds() {
        for ticks_after in [None, Some(0), Some(HOUR)] {
            let fake = Fake::warm();
            fake.kernel.set(fake.kernel.get() + HOUR);
            if let Some(ticks) = ticks_after {
                fake.ticks.set(ticks);
            } else {
                // The counter stood still.
                fake.pass(LIFE);
            }
            fake.assert_right();
            fake.pass(WARM_UP);
            fake.assert_right();
            assert!(fake.is_on() && fake.chances() == CHANCES);
        }
    }

    #[test]
    fn a_counter_that_jumps_is_noticed_and_time_does_not_go_back() {
        for jump in [
            MS as i64,
            HOUR as i64,
            -(SECOND as i64),
            -(77 * SECOND as i64),
        ] {
            let fake = Fake::warm();
            let mut last = fake.now();
            fake.ticks.set(fake.ticks.get().wrapping_add_signed(jump));
            for turn in 0..2_000 {
                let now = fake.now();
                assert!(now >= last, "{jump}");
                assert!(now <= fake.kernel.get() + 2 * LIFE, "{jump}");
                last = now;
                fake.pass(10_000);
                // Twice two milliseconds later it is right.
                if turn > 400 {
                    fake.assert_right();
                }
            }
            assert_eq!(fake.chances(), CHANCES - 1);
        }
    }

    #[test]
    fn three_anomalies_end_it_for_good() {
        let fake = Fake::warm();
        for left in [2, 1, 0] {
            fake.ticks.set(fake.ticks.get() - SECOND);
            fake.now(); // stands still at what it may have told
            assert_eq!(fake.chances(), left);
            fake.pass(LIFE);
            for _ in 0..100 {
                fake.pass(MS);
                fake.assert_right();
            }
            assert_eq!(fake.is_on(), left > 0);
        }
        fake.pass(HOUR);
        assert_eq!(fake.now(), fake.kernel.get());
    }

    #[test]
    fn an_implausible_frequency_ends_it() {
        for pace in [20_000, 100] {
            let fake = Fake::new();
            fake.pace.set((pace, 1_000_000));
            fake.takes.set(10);
            for _ in 0..400 {
                assert!(!fake.is_on());
                fake.assert_right();
                fake.pass(MS);
            }
            assert_eq!(fake.chances(), 0);
        }
    }

    #[test]
    fn a_kernel_that_leaves_the_counter_ends_it() {
        let fake = Fake::warm();
        fake.takes.set(600); // its clock is a system call by now
        for turn in 0..=MOST_WIDE {
            assert_eq!(fake.chances() > 0, turn < MOST_WIDE);
            fake.pass(2 * LIFE);
            fake.assert_right();
        }
        assert!(!fake.is_on());
    }

    #[test]
    fn steps_of_the_kernels_clock_are_followed() {
        let fake = Fake::warm();
        fake.kernel.set(fake.kernel.get() + SECOND);
        fake.pass(LIFE);
        fake.assert_right();
        // Back, as for a child in another time namespace: ahead by no more.
        fake.kernel.set(fake.kernel.get() - 30 * 60 * SECOND);
        for _ in 0..100 {
            fake.pass(MS);
            let (kernel, now) = (fake.kernel.get(), fake.now());
            assert!((kernel..=kernel + 2 * LIFE + CLOSE).contains(&now));
        }
    }

    #[test]
    fn an_adjustment_of_500_ppm_costs_a_microsecond() {
        for ppm in [-500, 500] {
            let fake = Fake::warm();
            fake.adjust(ppm);
            let mut last = 0;
            for _ in 0..200_000 {
                fake.pass(1_000);
                let now = fake.now();
                assert!(now >= last);
                assert!(now.abs_diff(fake.kernel.get()) <= CLOSE);
                last = now;
            }
            assert_eq!(fake.chances(), CHANCES);
        }
    }

    #[test]
    fn a_lock_that_a_fork_left_behind_is_not_held() {
        let fake = Fake::warm();
        fake.words.store(LOCK, 1, Relaxed);
        fake.pass(LIFE);
        fake.assert_right();
        assert!(glance(&fake.words, &fake).is_none(), "renewed by nobody");
        fake.process.set(2);
        fake.assert_right();
        assert!(glance(&fake.words, &fake).is_some());
    }

    proptest! {
        #[test]
        fn time_is_close_to_the_kernels_and_does_not_go_back(
            steps in prop::collection::vec((0u32..24, any::<u32>(), -250i64..=250), 1..400),
        ) {
            let fake = Fake::new();
            let mut last = 0;
            for (size, ns, ppm) in steps {
                if size % 4 == 0 {
                    fake.adjust(ppm);
                }
                fake.pass(u64::from(ns) >> size);
                let now = fake.now();
                prop_assert!(now >= last, "{now} after {last}");
                let kernel = fake.kernel.get();
                prop_assert!(now.abs_diff(kernel) <= CLOSE, "{now} at {kernel}");
                last = now;
            }
            prop_assert_eq!(fake.chances(), CHANCES);
        }
    }
}
