//! Windows as pure rules: so many tokens in a span of time. Each is one word,
//! of as many bits as a bucket's arrival time, that grows with time in the
//! same way, so that the slot table holds it under the same protocol.
//!
//! ```text
//!           62                     24 23            0
//! fixed    ┌─────────────────────┬───┬───────────────┐
//!          │ end of the window 39│ R │ tokens     23 │  in milliseconds
//!          └─────────────────────┴───┴───────────────┘
//!           62
//! sliding  ┌──────────────────┬────────┬────────┬───┬────────┐
//!          │ number of a slice│ tokens │ before │ … │ oldest │
//!          └──────────────────┴────────┴────────┴───┴────────┘
//! ```
//!
//! *Fixed*: a window begins with its first token and ends a period later. R: it
//! was reserved for a time to come, and begins when the one before it ends.
//!
//! *Sliding*: the window is cut into slices of time, and a slot counts what the
//! present slice and as many before it as make a window have seen. A token
//! counts until its whole slice is older than the window, so no interval of the
//! window's length ever has more than the limit; and it comes back at most one
//! slice late. There are as many slices as have room in the word.

use super::rule::{END_OF_TIME, LONGEST_REFILL, TICKS};

/// Bits of a slot's word for its time.
const WORD_BITS: u32 = 63;
/// Below the end of a fixed window: whether it was reserved, and its count.
const END_SHIFT: u32 = 24;
const RESERVED: u64 = 1 << (END_SHIFT - 1);
const COUNT: u64 = RESERVED - 1;
const MILLISECOND: u64 = 1_000_000;
/// The furthest time that a word may have to name, in nanoseconds.
const LAST: u64 = (END_OF_TIME + LONGEST_REFILL) / TICKS;
/// More slices than these gain nothing that a clock shows.
const MOST_SLICES: u64 = 16;

const _: () = assert!((LAST / MILLISECOND + 1) >> (WORD_BITS - END_SHIFT) == 0);

/// What the words of a table say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// When the bucket is full again, in ticks.
    Bucket,
    /// When the window ends, and what it has seen.
    Fixed,
    /// What the last slices have seen.
    Sliding(Slices),
}

/// How a sliding window is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Nanoseconds of a slice.
    length: u64,
    /// Slices that a word counts: those of a window, and the present one.
    counts: u8,
    /// Bits of a count.
    bits: u8,
}

/// Nanoseconds of the region's clock.
pub fn nanoseconds(ticks: u64) -> u64 {
    (ticks / TICKS).saturating_sub(1)
}

fn ticks_at(ns: u64) -> u64 {
    ns.saturating_add(1).saturating_mul(TICKS)
}

impl Slices {
    /// As many slices for a window of this many nanoseconds, up to 16, as a
    /// word has room for with counts of so many bits; `None` if not even one.
    pub fn new(window: u64, bits: u32) -> Option<Slices> {
        (1..=MOST_SLICES).rev().find_map(|slices| {
            let length = window.div_ceil(slices).max(1);
            let counts = slices + 1;
            let numbers = u64::BITS - (LAST / length + 2 * counts).leading_zeros();
            let room = numbers + u32::try_from(counts).ok()? * bits;
            (window > 0 && (1..WORD_BITS).contains(&bits) && room <= WORD_BITS).then_some(Slices {
                length,
                counts: counts as u8,
                bits: bits as u8,
            })
        })
    }

    /// How many make a window.
    #[cfg(test)]
    pub fn in_a_window(&self) -> u64 {
        u64::from(self.counts) - 1
    }

    fn width(&self) -> u32 {
        u32::from(self.counts) * u32::from(self.bits)
    }

    fn most(&self) -> u64 {
        (1 << self.bits) - 1
    }

    /// Where in a word the newest count is.
    fn top(&self) -> u32 {
        self.width() - u32::from(self.bits)
    }

    /// The number of the slice at this time. Numbers begin late enough that an
    /// unused word, zero, is long past.
    fn number(&self, ns: u64) -> u64 {
        ns / self.length + u64::from(self.counts)
    }

    /// When a slice begins.
    fn start(&self, number: u64) -> u64 {
        number
            .saturating_sub(u64::from(self.counts))
            .saturating_mul(self.length)
    }

    /// The counts of a word as they are when slice `number` is the present one.
    fn counts(&self, word: u64, number: u64) -> u64 {
        let counts = word & ((1 << self.width()) - 1);
        let passed = number - (word >> self.width());
        match passed < u64::from(self.counts) {
            true => counts >> (passed as u32 * u32::from(self.bits)),
            false => 0,
        }
    }

    fn sum(&self, mut counts: u64) -> u64 {
        let mut sum = 0;
        while counts > 0 {
            sum += counts & self.most();
            counts >>= self.bits;
        }
        sum
    }

    /// The slice that a word is about: the present one, or one to come.
    fn present(&self, word: u64, ns: u64) -> u64 {
        self.number(ns).max(word >> self.width())
    }

    fn book(&self, word: u64, ns: u64, tokens: u64, limit: u64) -> (u64, u64) {
        let mut number = self.present(word, ns);
        let mut counts = self.counts(word, number);
        // Each slice that passes takes the oldest count with it.
        while counts > 0 && self.sum(counts) + tokens > limit {
            counts >>= self.bits;
            number += 1;
        }
        let after = (number << self.width()) + counts + (tokens << self.top());
        (self.start(number).max(ns), after)
    }
}

/// What a fixed window has seen, and when it ends, in nanoseconds.
pub fn window_of(word: u64) -> (u64, u64) {
    (word & COUNT, (word >> END_SHIFT) * MILLISECOND)
}

/// A window's limit: tokens, and nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// How many tokens it admits.
    pub limit: u64,
    /// How long it is.
    pub period: u64,
}

impl Window {
    /// Milliseconds of a fixed window.
    fn milliseconds(&self) -> u64 {
        self.period.div_ceil(MILLISECOND)
    }

    /// When a fixed window that is not over begins, if that is yet to come.
    fn start(&self, word: u64) -> u64 {
        match word & RESERVED {
            0 => 0,
            _ => (word >> END_SHIFT).saturating_sub(self.milliseconds()) * MILLISECOND,
        }
    }

    /// The fixed window that begins now.
    fn begin(&self, ns: u64, tokens: u64) -> u64 {
        ns.saturating_add(self.period).div_ceil(MILLISECOND) << END_SHIFT | tokens
    }

    fn book_fixed(&self, word: u64, ns: u64, tokens: u64) -> (u64, u64) {
        let end = word >> END_SHIFT;
        if end <= ns / MILLISECOND {
            return (ns, self.begin(ns, tokens));
        }
        if (word & COUNT) + tokens <= self.limit {
            return (self.start(word).max(ns), word + tokens);
        }
        let next = end + self.milliseconds();
        (end * MILLISECOND, next << END_SHIFT | RESERVED | tokens)
    }
}

impl Form {
    /// The most tokens that a word can count.
    pub fn most(&self) -> u64 {
        match self {
            Form::Bucket => u64::MAX,
            Form::Fixed => COUNT,
            Form::Sliding(slices) => slices.most(),
        }
    }

    /// A word that is not above this has nothing to say any more at this time:
    /// its slot is free for anybody.
    #[inline(always)]
    pub fn floor(&self, now: u64) -> u64 {
        match self {
            Form::Bucket => now,
            Form::Fixed => (nanoseconds(now) / MILLISECOND) << END_SHIFT | RESERVED | COUNT,
            Form::Sliding(slices) => {
                let oldest = slices.number(nanoseconds(now)) + 1 - u64::from(slices.counts);
                (oldest << slices.width()) - 1
            }
        }
    }

    /// A word just above this one that promises no more.
    pub fn bump(&self, word: u64) -> u64 {
        let (lowest, all) = match self {
            Form::Bucket => (0, 0),
            Form::Fixed => (COUNT, END_SHIFT),
            Form::Sliding(slices) => (slices.most(), slices.width()),
        };
        match lowest != 0 && word & lowest == lowest {
            true => word.saturating_add(1 << all),
            false => word.saturating_add(1),
        }
    }

    /// A word that promises no more than either of these, the first of which
    /// is live.
    pub fn tighter(&self, word: u64, other: u64) -> u64 {
        match self {
            Form::Bucket => word.max(other),
            Form::Fixed => {
                let reserved = (word | other) & RESERVED;
                word.max(other) & !COUNT | reserved | (word & COUNT).max(other & COUNT)
            }
            Form::Sliding(slices) => {
                let number = (word >> slices.width()).max(other >> slices.width());
                let (word, other) = (slices.counts(word, number), slices.counts(other, number));
                let larger = |counts: u64, place: u32| {
                    let count = slices.most() << (place * u32::from(slices.bits));
                    counts - (counts & count) + (counts & count).max(other & count)
                };
                let counts = (0..u32::from(slices.counts)).fold(word, larger);
                (number << slices.width()) + counts
            }
        }
    }

    /// The word after tokens came back: never more than were spent, and those
    /// first that would come back soonest anyhow.
    pub fn give_back(&self, word: u64, mut amount: u64, now: u64) -> u64 {
        let ns = nanoseconds(now);
        match self {
            Form::Bucket => word.saturating_sub(amount).max(now),
            Form::Fixed => word - amount.min(word & COUNT),
            Form::Sliding(slices) => {
                let number = slices.present(word, ns);
                let mut counts = slices.counts(word, number);
                for place in 0..u32::from(slices.counts) {
                    let shift = place * u32::from(slices.bits);
                    let less = amount.min(counts >> shift & slices.most());
                    counts -= less << shift;
                    amount -= less;
                }
                (number << slices.width()) + counts
            }
        }
    }

    /// Whether the tokens that made a word are still among those of a later one.
    pub fn counts_those_of(&self, later: u64, word: u64) -> bool {
        match self {
            Form::Bucket => true,
            Form::Fixed => later >> END_SHIFT == word >> END_SHIFT,
            Form::Sliding(slices) => {
                let passed = (later >> slices.width()).saturating_sub(word >> slices.width());
                passed < u64::from(slices.counts)
            }
        }
    }

    /// The word of a block that ends then.
    pub fn block(&self, until: u64) -> u64 {
        let ns = nanoseconds(until);
        match self {
            Form::Bucket => until,
            Form::Fixed => ns.div_ceil(MILLISECOND) << END_SHIFT,
            Form::Sliding(slices) => {
                // As much of the next slice as the time has, in the bits of the counts.
                let part = u128::from(ns % slices.length) << slices.width();
                let part = part.div_ceil(u128::from(slices.length)) as u64;
                let number = slices.number(ns) + 1 - u64::from(slices.counts);
                (number << slices.width()) + part
            }
        }
    }

    /// When the block of a word ends.
    pub fn block_end(&self, word: u64) -> u64 {
        match self {
            Form::Bucket => word,
            Form::Fixed => ticks_at((word >> END_SHIFT) * MILLISECOND),
            Form::Sliding(slices) => {
                let part = word & ((1 << slices.width()) - 1);
                let part = u128::from(part) * u128::from(slices.length);
                let number = (word >> slices.width()) + u64::from(slices.counts) - 1;
                let part = part.div_ceil(1 << slices.width()) as u64;
                ticks_at(slices.start(number).saturating_add(part))
            }
        }
    }

    /// No call before this time can have written a word above this.
    #[inline]
    pub fn last(&self, time: u64) -> u64 {
        let ns = nanoseconds(time);
        match self {
            Form::Bucket => time,
            Form::Fixed => ns.div_ceil(MILLISECOND) << END_SHIFT | RESERVED | COUNT,
            Form::Sliding(slices) => slices.number(ns) << slices.width(),
        }
    }

    /// When these tokens may be had, in nanoseconds, and the word once they are
    /// taken for then.
    pub fn book(&self, window: Window, word: u64, ns: u64, tokens: u64) -> (u64, u64) {
        match self {
            Form::Sliding(slices) => slices.book(word, ns, tokens, window.limit),
            _ => window.book_fixed(word, ns, tokens),
        }
    }

    /// The word once these tokens are taken, whether they are there or not, as
    /// far as it counts.
    pub fn owe(&self, window: Window, word: u64, ns: u64, tokens: u64) -> u64 {
        match self {
            Form::Sliding(slices) => {
                let number = slices.present(word, ns);
                let counts = slices.counts(word, number);
                let room = slices.most() - (counts >> slices.top());
                (number << slices.width()) + counts + (tokens.min(room) << slices.top())
            }
            _ if word >> END_SHIFT <= ns / MILLISECOND => window.begin(ns, tokens.min(COUNT)),
            _ => word + tokens.min(COUNT - (word & COUNT)),
        }
    }

    /// Tokens that may be had now.
    pub fn remaining(&self, window: Window, word: u64, ns: u64) -> u64 {
        let (due, spent) = match self {
            Form::Sliding(slices) => {
                let number = slices.present(word, ns);
                (
                    slices.start(number),
                    slices.sum(slices.counts(word, number)),
                )
            }
            _ if word >> END_SHIFT <= ns / MILLISECOND => (0, 0),
            _ => (window.start(word), word & COUNT),
        };
        match due > ns {
            true => 0,
            false => window.limit.saturating_sub(spent),
        }
    }

    /// Nanoseconds until all tokens may be had.
    pub fn reset_after(&self, word: u64, ns: u64) -> u64 {
        let end = match self {
            Form::Sliding(slices) => {
                let number = slices.present(word, ns);
                match slices.counts(word, number) {
                    0 => 0,
                    counts => {
                        let newest =
                            (u64::BITS - 1 - counts.leading_zeros()) / u32::from(slices.bits);
                        slices.start(number + 1 + u64::from(newest))
                    }
                }
            }
            _ if word & COUNT == 0 => 0,
            _ => window_of(word).1,
        };
        end.saturating_sub(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::rule::{ticks_of, Rule};
    use crate::limiter::Rate;
    use proptest::prelude::*;
    use std::time::Duration;

    const DAY: u64 = 86_400_000_000_000;

    fn sliding(count: u64, window: u64, bits: u32) -> Rule {
        let form = Form::Sliding(Slices::new(window, bits).expect("room"));
        Rule::new(Rate::new(count, Duration::from_nanos(window)), form).unwrap()
    }

    fn fixed(count: u64, window: u64) -> Rule {
        let rate = Rate::new(count, Duration::from_nanos(window));
        Rule::new(rate, Form::Fixed).unwrap()
    }

    #[test]
    fn a_window_is_cut_into_as_many_slices_as_have_room() {
        let slices = |window, bits| Slices::new(window, bits).map(|s| s.in_a_window());
        // Those that docs/limiter.md tells, each with room for twice as many: ten
        // in fifteen minutes, a hundred a minute, a thousand and ten thousand an
        // hour, a hundred thousand a day.
        assert_eq!(slices(900_000_000_000, 5), Some(7));
        assert_eq!(slices(60_000_000_000, 8), Some(3));
        assert_eq!(slices(3_600_000_000_000, 11), Some(3));
        assert_eq!(slices(3_600_000_000_000, 15), Some(2));
        assert_eq!(slices(DAY, 18), Some(1));
        assert_eq!(slices(1, 32), None);
        assert_eq!(slices(0, 4), None);
        assert_eq!(slices(DAY, 0), None);
        assert_eq!(slices(DAY, 63), None);
        assert_eq!(slices(u64::MAX, 2), Some(16));
    }

    /// What a rule admits of a script of {nanoseconds passed, tokens}, each
    /// request tried at its wait and a nanosecond earlier.
    fn play(rule: &Rule, script: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (mut ns, mut word, mut admitted) = (0, 0, Vec::new());
        for (passed, tokens) in script {
            ns += passed;
            let now = ticks_of(ns);
            match rule.charge(word, now, *tokens) {
                Some(after) => {
                    assert!(after > word, "words grow");
                    assert_eq!(rule.wait(word, now, *tokens), 0);
                    assert!(after > rule.form.floor(now), "and are live");
                    word = after;
                    admitted.push((ns, *tokens));
                }
                None => {
                    let wait = rule.wait(word, now, *tokens);
                    assert!(rule.remaining(word, now) < *tokens);
                    assert!(rule.charge(word, ticks_of(ns + wait), *tokens).is_some());
                    assert!(rule
                        .charge(word, ticks_of(ns + wait - 1), *tokens)
                        .is_none());
                }
            }
            let reset = rule.reset_after(word, now);
            let later = ticks_of(ns + reset);
            assert_eq!(rule.remaining(word, later), rule.burst);
            if reset > 0 {
                assert!(rule.remaining(word, ticks_of(ns + reset - 1)) < rule.burst);
            }
        }
        admitted
    }

    /// Every script of a small world: no interval of the window's length has
    /// more than the limit, and nothing is held back for longer than a slice.
    #[test]
    fn no_interval_of_a_sliding_window_has_more_than_its_limit() {
        for (count, window) in [(1, 6), (2, 6), (3, 7u64)] {
            let slices = Slices {
                length: window.div_ceil(3),
                counts: 4,
                bits: 4,
            };
            let rule = Rule {
                form: Form::Sliding(slices),
                increment: window * TICKS,
                burst: count,
            };
            for world in 0..8u64.pow(6) {
                let choice = |i| world / 8u64.pow(i) % 8;
                let script: Vec<_> = (0..6)
                    .map(|i| (choice(i) % 4, choice(i) / 4 % 2 + 1))
                    .map(|(passed, tokens)| (passed, tokens.min(count)))
                    .collect();
                let admitted = play(&rule, &script);
                for (i, (from, _)) in admitted.iter().enumerate() {
                    let within = admitted[i..].iter().filter(|(at, _)| at - from <= window);
                    let sum: u64 = within.map(|(_, tokens)| tokens).sum();
                    assert!(sum <= count, "{script:?} admits {admitted:?}");
                }
            }
        }
    }

    #[test]
    fn each_fixed_window_has_at_most_its_limit_and_begins_with_a_token() {
        const MS: u64 = MILLISECOND;
        let rule = fixed(3, 5 * MS);
        for world in 0..8u64.pow(6) {
            let choice = |i| world / 8u64.pow(i) % 8;
            let script: Vec<_> = (0..6)
                .map(|i| (choice(i) % 4 * MS, choice(i) / 4 % 2 + 1))
                .collect();
            let mut window: Option<(u64, u64)> = None;
            for (at, tokens) in play(&rule, &script) {
                match &mut window {
                    Some((begin, spent)) if at - *begin < 5 * MS => {
                        *spent += tokens;
                        assert!(*spent <= 3, "{script:?}");
                    }
                    _ => window = Some((at, tokens)),
                }
            }
        }
    }

    #[test]
    fn places_in_windows_to_come_are_taken_in_turn() {
        let minute = 60_000_000_000;
        for rule in [fixed(10, minute), sliding(10, minute, 5)] {
            let (mut word, now) = (0, ticks_of(500));
            let mut dues = Vec::new();
            for _ in 0..4 {
                let (due, after) = rule.book(word, now, 6);
                assert!(after > word);
                word = after;
                dues.push(nanoseconds(due));
            }
            assert_eq!(dues[0], 500);
            assert!(dues.is_sorted());
            assert!(dues.windows(2).all(|two| two[1] - two[0] >= minute - 1_000));
            // Nobody passes those who wait.
            assert_eq!(rule.charge(word, now, 1), None);
            assert_eq!(rule.remaining(word, now), 0);
            // From the last one's time on there are what it leaves.
            let then = ticks_of(dues[3]);
            assert_eq!(rule.remaining(word, then), 4);
            assert!(rule.charge(word, then, 4).is_some());
        }
    }

    #[test]
    fn what_comes_back_is_what_would_come_back_soonest() {
        let slices = Slices {
            length: 10,
            counts: 4,
            bits: 4,
        };
        let rule = Rule {
            form: Form::Sliding(slices),
            increment: 30 * TICKS,
            burst: 5,
        };
        let charge = |word, ns, n| rule.charge(word, ticks_of(ns), n).unwrap();
        let word = charge(charge(0, 0, 3), 15, 2);
        let less = rule.form.give_back(word, 2, ticks_of(15));
        // One of the first slice is left, two of the second.
        assert_eq!(rule.remaining(less, ticks_of(15)), 2);
        assert_eq!(rule.remaining(less, ticks_of(40)), 3);
        assert_eq!(rule.remaining(less, ticks_of(50)), 5);
        assert_eq!(
            rule.remaining(rule.form.give_back(word, 99, ticks_of(15)), ticks_of(15)),
            5
        );
        let rule = fixed(5, 60_000_000_000);
        let word = charge_of(&rule, 0, 4);
        assert_eq!(
            rule.remaining(rule.form.give_back(word, 3, ticks_of(1)), ticks_of(1)),
            4
        );
        assert_eq!(
            rule.remaining(rule.form.give_back(word, 9, ticks_of(1)), ticks_of(1)),
            5
        );
    }

    fn charge_of(rule: &Rule, word: u64, tokens: u64) -> u64 {
        rule.charge(word, ticks_of(0), tokens).unwrap()
    }

    proptest! {
        /// A block lasts at least as long as it was to, and not much longer.
        #[test]
        fn blocks_end_when_they_should(
            ns in 0u64..9 * 365 * DAY,
            length in 0u64..365 * DAY,
            window in 1_000_000u64..700 * DAY,
            bits in 2u32..12,
        ) {
            let (now, until) = (ticks_of(ns), ticks_of(ns + length));
            for form in [Form::Bucket, Form::Fixed, Form::Sliding(Slices::new(window, bits).unwrap())] {
                let word = form.block(until);
                let end = form.block_end(word);
                prop_assert!(end >= until);
                // Parts of a slice are counted in what the counts have room for.
                prop_assert!(end - until <= TICKS * MILLISECOND);
                prop_assert!(length == 0 || word > form.floor(now), "it is live");
                prop_assert!(word <= form.last(until));
            }
        }

        /// Whatever a region's words hold, nothing overflows, and a word that is
        /// bumped is another one and promises no more; nor does one of two.
        #[test]
        fn hostile_words_are_read_without_harm(
            word in 0u64..1 << 63,
            other in 0u64..1 << 63,
            period: u64,
            count: u64,
            ns: u64,
            tokens: u64,
            window in 1u64..700 * DAY,
            bits in 1u32..24,
        ) {
            let sliding = Slices::new(window, bits).map(Form::Sliding);
            for form in [Some(Form::Fixed), sliding].into_iter().flatten() {
                let rule = Rule::from_words(form, period, count);
                let now = ticks_of(ns);
                if let Some(amount) = rule.amount(tokens).filter(|_| !rule.is_unlimited()) {
                    rule.charge(word, now, amount);
                    rule.wait(word, now, amount);
                }
                rule.owe(word, now, tokens);
                rule.reset_after(word, now);
                form.give_back(word, tokens, now);
                form.block_end(word);
                let bumped = form.bump(word);
                prop_assert!(bumped > word);
                prop_assert!(rule.remaining(bumped, now) <= rule.remaining(word, now));
                let both = form.tighter(word, other);
                prop_assert!(both >= word.max(other));
                if word.min(other) > form.floor(now) {
                    let least = rule.remaining(word, now).min(rule.remaining(other, now));
                    prop_assert!(rule.remaining(both, now) <= least);
                }
            }
        }
    }
}
