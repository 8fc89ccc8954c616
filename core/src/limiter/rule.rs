//! A limit as a pure rule: what a slot's word says of a request, and what it
//! becomes. Windows are in [`super::window`]; this is the token bucket, as the
//! generic cell rate algorithm.
//!
//! A bucket is one number, the theoretical arrival time: when it would be full
//! again. A request of `n` tokens moves it `n` increments on, and is refused
//! if that put it further ahead of the clock than the whole burst takes to
//! refill. (ITU-T I.371, 1996; Turner's leaky bucket, 1986.)
//!
//! Times are in sixteenths of a nanosecond since the region's epoch; the
//! clock has 62 bits of them, nine years. The increment is rounded up, so any
//! interval Δ admits at most burst + rate·Δ, and the tolerance is a whole number
//! of increments, so a full bucket holds exactly its burst.

use super::rate::Rate;
use super::window::{nanoseconds, Form, Window};
use crate::{Error, Result};
use std::time::Duration;

/// Ticks in a nanosecond.
pub const TICKS: u64 = 16;
/// The clock stays below this; arrival times, half as far again.
pub const END_OF_TIME: u64 = 1 << 62;
/// The longest time that a bucket may take to refill, in ticks: 4.5 years.
pub const LONGEST_REFILL: u64 = 1 << 61;

/// The shortest window.
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);

/// A rate as the arithmetic needs it. Zero increment means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the words say.
    pub form: Form,
    /// Ticks for one token of a bucket; ticks of a window.
    pub increment: u64,
    /// Tokens of a full bucket, or of a window.
    pub burst: u64,
}

impl Rule {
    /// The rule without a limit.
    pub const UNLIMITED: Rule = Rule {
        form: Form::Bucket,
        increment: 0,
        burst: u64::MAX,
    };

    /// The rule of a bucket.
    pub const fn bucket(increment: u64, burst: u64) -> Rule {
        Rule {
            form: Form::Bucket,
            increment,
            burst,
        }
    }

    /// The rule for a rate.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it cannot be represented, with the reason.
    pub fn new(rate: Rate, form: Form) -> Result<Rule> {
        if rate.is_unlimited() {
            return Ok(Rule::UNLIMITED);
        }
        let wrong = |allowed: &str| {
            let given = format!("{} per {:?}", rate.count, rate.per);
            Err(Error::invalid("rate", given, allowed))
        };
        if rate.count == 0 {
            return wrong("at least 1 token in the period");
        }
        if rate.per.is_zero() {
            return wrong("a period above zero");
        }
        let period = rate.per.as_nanos().saturating_mul(u128::from(TICKS));
        if form != Form::Bucket {
            if period > u128::from(LONGEST_REFILL) || rate.per < SHORTEST_WINDOW {
                return wrong("a window of a millisecond to four and a half years");
            }
            if rate.burst != rate.count {
                return Err(Error::invalid(
                    "burst",
                    rate.burst,
                    "no burst: a window admits its whole count at once",
                ));
            }
            if rate.count > form.most() {
                let most = form.most();
                return wrong(&format!("at most {most} in a window of this limiter"));
            }
            return Ok(Rule {
                form,
                increment: period as u64,
                burst: rate.count,
            });
        }
        let increment = period.div_ceil(u128::from(rate.count));
        // Below one tick a token the rounding would halve the rate and worse.
        if u128::from(rate.count) > rate.per.as_nanos() {
            return wrong("at most one token a nanosecond");
        }
        if increment > u128::from(LONGEST_REFILL) {
            return wrong("at least one token in four and a half years");
        }
        let increment = increment as u64;
        let most = LONGEST_REFILL / increment;
        if rate.burst == 0 || rate.burst > most {
            return Err(Error::invalid(
                "burst",
                format_args!("{} at {} per {:?}", rate.burst, rate.count, rate.per),
                if rate.burst == 0 {
                    "at least 1".to_owned()
                } else {
                    format!("at most {most} at this rate (four and a half years to refill)")
                },
            ));
        }
        Ok(Rule::bucket(increment, rate.burst))
    }

    /// A rule from two words of a region: whatever they hold, the arithmetic
    /// below stays in range.
    #[inline]
    pub fn from_words(form: Form, increment: u64, burst: u64) -> Rule {
        match form {
            Form::Bucket => Rule::read_bucket(increment, burst),
            _ => None,
        }
        .unwrap_or_else(|| Rule::clamped(form, increment, burst))
    }

    /// The same of a bucket, if its words are as they should be.
    #[inline(always)]
    pub fn read_bucket(increment: u64, burst: u64) -> Option<Rule> {
        match increment.checked_mul(burst) {
            Some(1..=LONGEST_REFILL) => Some(Rule::bucket(increment, burst)),
            _ => None,
        }
    }

    #[cold]
    fn clamped(form: Form, increment: u64, burst: u64) -> Rule {
        if increment == 0 {
            return Rule::UNLIMITED;
        }
        let increment = increment.min(LONGEST_REFILL);
        let most = match form {
            Form::Bucket => LONGEST_REFILL / increment,
            _ => form.most(),
        };
        Rule {
            form,
            increment,
            burst: burst.clamp(1, most),
        }
    }

    /// Whether this rule has no limit.
    pub fn is_unlimited(&self) -> bool {
        self.increment == 0
    }

    /// Ticks that a full bucket takes to refill, at most 2^61; a window's period.
    pub fn tolerance(&self) -> u64 {
        match self.form {
            Form::Bucket => self.increment * self.burst,
            _ => self.increment,
        }
    }

    /// What `cost` tokens are to a word: ticks of a bucket, tokens of a window;
    /// `None` if there never are so many.
    pub fn amount(&self, cost: u64) -> Option<u64> {
        (cost <= self.burst).then(|| match self.form {
            Form::Bucket => cost * self.increment,
            _ => cost,
        })
    }

    /// The word after a request of this amount at `now`, or `None` if refused.
    #[inline(always)]
    pub fn charge(&self, word: u64, now: u64, amount: u64) -> Option<u64> {
        if self.form != Form::Bucket {
            return self.charge_window(word, now, amount);
        }
        let after = word.max(now) + amount;
        (after <= now + self.tolerance()).then_some(after)
    }

    #[cold]
    fn charge_window(&self, word: u64, now: u64, amount: u64) -> Option<u64> {
        let (due, after) = self.book(word, now, amount);
        (due <= now).then_some(after)
    }

    /// When a request of this amount may pass, `now` or later, and the word
    /// once it has its place.
    pub fn book(&self, word: u64, now: u64, amount: u64) -> (u64, u64) {
        if self.form == Form::Bucket {
            let after = word.max(now) + amount;
            return (after.saturating_sub(self.tolerance()).max(now), after);
        }
        let ns = nanoseconds(now);
        let (due, after) = self.form.book(self.window(), word, ns, amount);
        (now.saturating_add((due - ns).saturating_mul(TICKS)), after)
    }

    /// The word after an amount was taken that may not be there.
    pub fn owe(&self, word: u64, now: u64, amount: u64) -> u64 {
        match self.form {
            Form::Bucket => {
                let last = now + LONGEST_REFILL;
                word.max(now).saturating_add(amount).min(last).max(word)
            }
            form => form.owe(self.window(), word, nanoseconds(now), amount),
        }
    }

    /// How much of an amount may be given back that a call took when it made
    /// the word `then`, and that was not used. While others have taken places
    /// after it that are yet to come, only what lies between: or as much again
    /// could be used at their time (as x/time/rate of Go has it).
    pub fn returns(&self, word: u64, then: u64, amount: u64, now: u64) -> u64 {
        match self.form {
            Form::Bucket if word <= now + self.tolerance() => amount,
            Form::Bucket => amount.saturating_sub(word.saturating_sub(then)),
            form if form.counts_those_of(word, then) => amount,
            _ => 0,
        }
    }

    /// Tokens that are there at `now`.
    pub fn remaining(&self, word: u64, now: u64) -> u64 {
        match self.form {
            Form::Bucket => {
                let ahead = word.max(now) - now;
                self.tolerance().saturating_sub(ahead) / self.increment.max(1)
            }
            form => form.remaining(self.window(), word, nanoseconds(now)),
        }
    }

    /// Nanoseconds from `now` until a request of this amount is admitted: exact,
    /// in that one nanosecond earlier it is refused.
    pub fn wait(&self, word: u64, now: u64, amount: u64) -> u64 {
        (self.book(word, now, amount).0 - now).div_ceil(TICKS)
    }

    /// Nanoseconds from `now` until the bucket is full, or nothing counts any
    /// more in the window.
    pub fn reset_after(&self, word: u64, now: u64) -> u64 {
        match self.form {
            Form::Bucket => word.saturating_sub(now).div_ceil(TICKS),
            form => form.reset_after(word, nanoseconds(now)),
        }
    }

    fn window(&self) -> Window {
        Window {
            limit: self.burst,
            period: (self.increment / TICKS).max(1),
        }
    }
}

/// A region's time in ticks, which begin at one nanosecond: a slot that was
/// never used, whose arrival time is a few ticks, is full from the start. A
/// clock beyond the end of time stands still there.
#[inline]
pub fn ticks_of(now: u64) -> u64 {
    (now.min(END_OF_TIME / TICKS - 2) + 1) * TICKS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::Rate;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    #[test]
    fn rates_that_cannot_be_kept_are_refused_with_the_argument_named() {
        for (rate, argument) in [
            (Rate::per_second(0), "rate"),
            (Rate::new(1, Duration::ZERO), "rate"),
            (Rate::per_second(1_000_000_001), "rate"),
            (Rate::new(1, Duration::MAX), "rate"),
            (Rate::per_second(1).burst(0), "burst"),
            (Rate::per_second(1).burst(u64::MAX), "burst"),
        ] {
            match Rule::new(rate, Form::Bucket) {
                Err(Error::InvalidArgument { argument: a, .. }) => assert_eq!(a, argument),
                other => panic!("{rate}: {other:?}"),
            }
        }
        assert!(Rule::new(Rate::per_second(1_000_000_000), Form::Bucket).is_ok());
        assert!(Rule::new(
            Rate::new(1, Duration::from_secs(365 * 86_400)),
            Form::Bucket
        )
        .is_ok());
    }

    /// Every sequence of requests in a small world, against the definition:
    /// for all i ≤ j, what was admitted from i to j is at most burst + rate·Δ.
    #[test]
    fn no_interval_admits_more_than_burst_and_rate_in_a_small_world() {
        for (count, per, burst) in [(1, 3, 1), (1, 3, 2), (2, 3, 2), (3, 7, 3), (1, 1, 4)] {
            let rule = Rule::new(
                Rate::new(count, Duration::from_nanos(per)).burst(burst),
                Form::Bucket,
            )
            .unwrap();
            // Six requests, each 0 to 3 ns after the one before, each of 1 or 2 tokens.
            for world in 0..8usize.pow(6) {
                let (mut now, mut arrival, mut admitted) = (0, 0, Vec::new());
                for i in 0..6 {
                    let choice = world / 8usize.pow(i) % 8;
                    now += (choice % 4) as u64;
                    let cost = (choice / 4) as u64 + 1;
                    let charged = rule
                        .amount(cost)
                        .and_then(|ticks| rule.charge(arrival, now * TICKS, ticks));
                    if let Some(after) = charged {
                        arrival = after;
                        admitted.push((now, cost));
                    }
                }
                for i in 0..admitted.len() {
                    for j in i..admitted.len() {
                        let sum: u64 = admitted[i..=j].iter().map(|(_, cost)| cost).sum();
                        let elapsed = admitted[j].0 - admitted[i].0;
                        assert!(sum * per <= burst * per + count * elapsed);
                    }
                }
            }
        }
    }

    proptest! {
        /// The same against big integers, for rates and times of every size;
        /// and the stated wait is exact.
        #[test]
        fn arithmetic_agrees_with_big_integers(
            count in 1u64..2_000_000_000,
            per_ns in 1u64..100_000_000_000_000_000,
            burst in 1u64..1_000_000,
            arrival in 0u64..2 * END_OF_TIME,
            now_ns in 0u64..(END_OF_TIME / TICKS),
            cost in 0u64..1_000_000,
        ) {
            let rate = Rate::new(count, Duration::from_nanos(per_ns)).burst(burst);
            let Ok(rule) = Rule::new(rate, Form::Bucket) else { return Ok(()) };
            let now = ticks_of(now_ns);
            let big = |n: u64| BigUint::from(n);
            // The increment is the exact one, rounded up by less than a tick.
            let exact = big(per_ns) * big(TICKS);
            prop_assert!(big(rule.increment) * big(count) >= exact);
            prop_assert!((big(rule.increment) - 1u32) * big(count) < exact);
            let ticks = rule.amount(cost);
            prop_assert_eq!(ticks.is_none(), cost > burst);
            let Some(ticks) = ticks else { return Ok(()) };
            let after = big(arrival.max(now)) + big(cost) * big(rule.increment);
            let limit = big(now) + big(burst) * big(rule.increment);
            let answer = rule.charge(arrival, now, ticks);
            prop_assert_eq!(answer.is_some(), after <= limit);
            if let Some(answer) = answer {
                prop_assert_eq!(big(answer), after);
                prop_assert_eq!(rule.wait(arrival, now, ticks), 0);
            } else {
                let wait = rule.wait(arrival, now, ticks);
                let later = now + wait * TICKS;
                prop_assert!(rule.charge(arrival, later, ticks).is_some());
                prop_assert!(rule.charge(arrival, later - TICKS, ticks).is_none());
            }
        }

        /// Whatever a region's words hold, nothing overflows.
        #[test]
        fn hostile_words_make_a_legal_rule(increment: u64, burst: u64, arrival in 0..2 * END_OF_TIME, now_ns: u64, cost: u64) {
            let rule = Rule::from_words(Form::Bucket, increment, burst);
            let now = ticks_of(now_ns);
            if let Some(ticks) = rule.amount(cost) {
                rule.charge(arrival, now, ticks);
                rule.wait(arrival, now, ticks);
            }
            rule.remaining(arrival, now);
            rule.reset_after(arrival, now);
        }
    }
}
