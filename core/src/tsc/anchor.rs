//! Anchors, and when the next one is made: pure arithmetic.

/// How long an anchor is believed, in nanoseconds.
pub const LIFE: u64 = 2_000_000;
/// What a rate is measured over, at least.
pub const WARM_UP: u64 = 50_000_000;
/// After so long without an anchor nothing is compared with the last one.
pub const STALE: u64 = 8_000_000_000;
/// Ticks that reading the kernel's clock may take, to be taken for one moment:
/// 0.1 to 0.5 µs. A system call takes longer, so a kernel that stops trusting
/// the counter, and its clock out of user space, ends this clock too.
const WINDOW: u64 = 500;
/// Readings in a row that took longer, after which it is given up.
pub const MOST_WIDE: u64 = 100;
/// Anomalies after which it is given up.
pub const CHANCES: u64 = 3;
/// A rate is nanoseconds a tick, in units of 2^-32.
const RATE_BITS: u32 = 32;
/// 10 GHz to 250 MHz.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = (1 << RATE_BITS) / 10..=4 << RATE_BITS;
/// Words of a state.
const STATE_WORDS: usize = 10;

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
pub struct Anchor {
    /// The counter.
    pub ticks: u64,
    /// The time then, in nanoseconds.
    pub time: u64,
    /// Nanoseconds a tick.
    pub rate: u64,
    /// Ticks; none if it is closed: nothing is made from it.
    pub good_for: u64,
}

impl Anchor {
    /// Its words.
    #[inline]
    pub fn from_words([ticks, time, rate, good_for]: [u64; 4]) -> Anchor {
        Anchor {
            ticks,
            time,
            rate,
            good_for,
        }
    }

    /// The time so many ticks after it, if it is good for so many.
    #[inline]
    pub fn after(&self, ticks: u64) -> Option<u64> {
        (ticks < self.good_for).then(|| self.time + (ticks.wrapping_mul(self.rate) >> RATE_BITS))
    }

    /// The kernel's time, but none that lies before what was told by this
    /// anchor. If that is long before, this is a child in another time
    /// namespace, and what was told means nothing there.
    pub fn bound(&self, kernel: u64) -> u64 {
        let end = self.time + (self.good_for.wrapping_mul(self.rate) >> RATE_BITS);
        end.clamp(kernel, kernel.saturating_add(2 * LIFE))
    }
}

/// An anchor and how it came about. A slot holds all of it, so that a fork in
/// the middle of a change leaves the child the whole one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The anchor.
    pub anchor: Anchor,
    /// The kernel's clock at the anchor; behind its time if that was told.
    kernel: u64,
    /// Since when the rate is being measured, by the counter and the kernel.
    since: (u64, u64),
    /// As measured last; 0 while it is not known.
    rate: u64,
    /// Anomalies until it is given up; 0: it is.
    pub chances: u64,
    /// Readings in a row that took too long.
    wide: u64,
}

impl State {
    /// One that begins.
    pub fn new() -> State {
        State {
            chances: CHANCES,
            ..State::from_words([0; STATE_WORDS])
        }
    }

    /// Its words, the anchor's first.
    pub fn from_words(words: [u64; STATE_WORDS]) -> State {
        State {
            anchor: Anchor::from_words([words[0], words[1], words[2], words[3]]),
            kernel: words[4],
            since: (words[5], words[6]),
            rate: words[7],
            chances: words[8],
            wide: words[9],
        }
    }

    /// The words.
    pub fn to_words(self) -> [u64; STATE_WORDS] {
        [
            self.anchor.ticks,
            self.anchor.time,
            self.anchor.rate,
            self.anchor.good_for,
            self.kernel,
            self.since.0,
            self.since.1,
            self.rate,
            self.chances,
            self.wide,
        ]
    }

    /// The state after this reading; `None` if the anchor is still good.
    pub fn next(&self, pair: &Pair) -> Option<State> {
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
    /// to 1,000 ppm, which the extremes of the kernel's discipline differ by,
    /// and a microsecond, for what pairs are off by.
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
