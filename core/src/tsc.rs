//! `CLOCK_BOOTTIME` from the processor's time stamp counter (TSC), in a third
//! less time than the kernel's own reading of it takes.
//!
//! An *anchor* is a reading of the counter, the time then, and a rate. A
//! reading of the clock is the anchor's time and the ticks since at that rate.
//! An anchor is believed for [`LIFE`], two milliseconds; whoever finds it
//! expired reads the kernel's clock and makes the next one, and who cannot,
//! because another thread is about it, answers with the kernel's clock. Anchors
//! are this process's own: another's would be another's to bend.
//!
//! - **How far off.** Less than a microsecond from `CLOCK_BOOTTIME` while NTP
//!   slews by at most 500 ppm, as the kernel's own discipline does: 500 ppm of
//!   two milliseconds. An adjustment of f costs f × 2 ms. A counter that stops,
//!   jumps or goes wild, in a suspension or otherwise, is believed for the rest
//!   of one anchor's life, two milliseconds of ticks; a clock that was led
//!   ahead so then stands until the kernel's has caught up.
//! - **Order.** What an anchor may have told, the next one begins at: time goes
//!   back neither for a thread nor for those that it passes readings to, but by
//!   what processors look ahead. The counter is read without a fence, which
//!   costs as much as would be gained, so a reading may be as old as the oldest
//!   instruction that the processor has not finished. docs/decisions.md says
//!   how old that was, docs/limiter.md what it costs.
//! - **When not.** Only where the kernel trusts the counter itself, and it is
//!   invariant and readable. Not for the first 50 ms, nor after 8 s without a
//!   reading. After three anomalies, or a hundred readings of the kernel's
//!   clock in a row that took too long, never again in this process.
//! - **fork.** The anchors are a child's too: counter and clock are the
//!   machine's. A lock that a thread left behind in the parent is not held.
//!
//! The latch of two slots is Linux's `seqcount_latch`, its fences are those of
//! Boehm, "Can seqlocks get along with programming language memory models?",
//! 2012.

use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How long an anchor is believed, in nanoseconds.
const LIFE: u64 = 2_000_000;
/// What a rate is measured over, at least.
const WARM_UP: u64 = 50_000_000;
/// After so long without an anchor nothing is compared with the last one.
const STALE: u64 = 8_000_000_000;
/// Ticks that reading the kernel's clock may take, to be taken for one moment:
/// 0.1 to 0.5 µs. A system call takes longer, so a kernel that stops trusting
/// the counter, and its clock out of user space, ends this clock too.
const WINDOW: u64 = 500;
/// Readings in a row that took longer, after which it is given up.
const MOST_WIDE: u64 = 100;
/// Anomalies after which it is given up.
const CHANCES: u64 = 3;
/// A rate is nanoseconds a tick, in units of 2^-32.
const RATE_BITS: u32 = 32;
/// 10 GHz to 250 MHz.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = (1 << RATE_BITS) / 10..=4 << RATE_BITS;

/// The current state is in slot `SEQUENCE % 2`.
const SEQUENCE: usize = 0;
const SLOTS: usize = 8;
/// Two cache lines; the anchor lies in the first.
const SLOT_WORDS: usize = 16;
const STATE_WORDS: usize = 10;
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

/// A reading of the kernel's clock, and the counter before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The counter before.
    pub before: u64,
    /// The kernel's clock.
    pub kernel: u64,
    /// The counter after.
    pub after: u64,
}

/// What readings are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchor {
    ticks: u64,
    time: u64,
    rate: u64,
    /// Ticks; none if it is closed: nothing is made from it.
    good_for: u64,
}

impl Anchor {
    #[inline]
    const fn from_words([ticks, time, rate, good_for]: [u64; 4]) -> Anchor {
        Anchor {
            ticks,
            time,
            rate,
            good_for,
        }
    }

    /// The time so many ticks after it, if it is good for so many.
    #[inline]
    fn after(&self, ticks: u64) -> Option<u64> {
        (ticks < self.good_for).then(|| self.time + (ticks.wrapping_mul(self.rate) >> RATE_BITS))
    }

    /// The kernel's time, but none that lies before what was told by this
    /// anchor. If that is long before, this is a child in another time
    /// namespace, and what was told means nothing there.
    fn bound(&self, kernel: u64) -> u64 {
        let end = self.time + (self.good_for.wrapping_mul(self.rate) >> RATE_BITS);
        end.clamp(kernel, kernel.saturating_add(2 * LIFE))
    }
}

/// An anchor and how it came about. A slot holds all of it, so that a fork in
/// the middle of a change leaves the child the whole one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    anchor: Anchor,
    /// The kernel's clock at the anchor; behind its time if that was told.
    kernel: u64,
    /// Since when the rate is being measured, by the counter and the kernel.
    since: (u64, u64),
    /// As measured last; 0 while it is not known.
    rate: u64,
    /// Anomalies until it is given up; 0: it is.
    chances: u64,
    /// Readings in a row that took too long.
    wide: u64,
}

impl State {
    const fn from_words(words: [u64; STATE_WORDS]) -> State {
        let [a, b, c, d, kernel, ticks_then, kernel_then, rate, chances, wide] = words;
        State {
            anchor: Anchor::from_words([a, b, c, d]),
            kernel,
            since: (ticks_then, kernel_then),
            rate,
            chances,
            wide,
        }
    }

    fn to_words(self) -> [u64; STATE_WORDS] {
        let Anchor {
            ticks,
            time,
            rate,
            good_for,
        } = self.anchor;
        let (ticks_then, kernel_then) = self.since;
        [
            ticks,
            time,
            rate,
            good_for,
            self.kernel,
            ticks_then,
            kernel_then,
            self.rate,
            self.chances,
            self.wide,
        ]
    }

    /// The state after this reading; `None` if the anchor is still good.
    fn next(&self, pair: &Pair) -> Option<State> {
        let mut next = *self;
        if pair.after.wrapping_sub(pair.before) > WINDOW {
            next.wide += 1;
            if next.wide >= MOST_WIDE {
                next.chances = 0;
                next.close(pair);
            }
            return Some(next);
        }
        next.wide = 0;
        let age = pair.before.wrapping_sub(self.anchor.ticks);
        let back = age.wrapping_neg();
        if age < self.anchor.good_for || back <= WINDOW {
            return None; // made meanwhile, perhaps by a core whose counter is ahead
        }
        next.close(pair);
        let passed = pair.kernel.checked_sub(self.kernel);
        if self.since == (0, 0) || passed.is_some_and(|passed| passed > STALE) {
            next.begin();
            return Some(next);
        }
        let mut sane = age < back && passed.is_some_and(|passed| self.agrees(age, passed));
        let elapsed = pair.kernel.saturating_sub(self.since.1);
        if sane && elapsed >= WARM_UP {
            let ticks = pair.before.wrapping_sub(self.since.0).max(1);
            let rate = (u128::from(elapsed) << RATE_BITS) / u128::from(ticks);
            next.rate = u64::try_from(rate).unwrap_or(u64::MAX);
            next.since = (pair.before, pair.kernel);
            sane = PLAUSIBLE.contains(&next.rate);
        }
        if !sane {
            next.chances = next.chances.saturating_sub(1);
            next.begin();
        } else if next.rate != 0 {
            next.open();
        }
        Some(next)
    }

    /// Whether counter and kernel went on by the same, if the rate is known:
    /// to 1,000 ppm, which two extremes of the kernel's discipline differ by,
    /// and what two pairs are off by.
    fn agrees(&self, age: u64, passed: u64) -> bool {
        let expected = (u128::from(age) * u128::from(self.rate)) >> RATE_BITS;
        self.rate == 0 || expected.abs_diff(passed.into()) <= u128::from(passed / 1_000 + 1_000)
    }

    /// Ends the anchor: the kernel's clock, until there is another.
    fn close(&mut self, pair: &Pair) {
        self.anchor = Anchor {
            ticks: pair.before,
            time: self.anchor.bound(pair.kernel),
            rate: 0,
            good_for: 0,
        };
        self.kernel = pair.kernel;
    }

    /// Begins to measure the rate, from the closed anchor on.
    fn begin(&mut self) {
        self.since = (self.anchor.ticks, self.kernel);
        self.rate = 0;
    }

    /// Opens the closed anchor. If it is ahead of the kernel's clock it runs
    /// slower, by at most 500 ppm.
    fn open(&mut self) {
        let ahead = self.anchor.time - self.kernel;
        let slew = ahead.min(LIFE / 2_000) * self.rate / LIFE;
        self.anchor.rate = self.rate - slew;
        self.anchor.good_for = (LIFE << RATE_BITS) / self.anchor.rate;
    }
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
            let mut state = State::from_words([0; STATE_WORDS]);
            state.chances = CHANCES;
            publish(words, &state);
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

/// The processor's counter and the kernel's clock.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
pub mod machine {
    use super::*;
    use crate::region::sys;
    use std::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};
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
