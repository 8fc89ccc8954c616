//! The token bucket as a pure rule: the generic cell rate algorithm.
//!
//! A bucket is one number, the theoretical arrival time: when it would be full
//! again. A request of `n` tokens moves it `n` increments on, and is refused
//! if that put it further ahead of the clock than the whole burst takes to
//! refill. (ITU-T I.371, 1996; Turner's leaky bucket, 1986.)
//!
//! Times are in sixteenths of a nanosecond since the region's epoch; the clock
//! has 62 bits of them, nine years. The increment is rounded up, so any interval Δ admits at
//! most burst + rate·Δ, and the tolerance is a whole number of increments, so
//! a full bucket holds exactly its burst.

use crate::{Error, Result};
use std::fmt;
use std::time::Duration;

/// Ticks in a nanosecond.
pub const TICKS: u64 = 16;
/// The clock stays below this; arrival times, half as far again.
pub const END_OF_TIME: u64 = 1 << 62;
/// The longest time that a bucket may take to refill, in ticks: 4.5 years.
pub const LONGEST_REFILL: u64 = 1 << 61;

/// A rate: so many tokens a period, up to a burst at once.
///
/// Written `60/min`, `100/15min`, `60/min burst 90` or `unlimited`.
///
/// ```
/// use forebay::Rate;
/// use std::time::Duration;
/// assert_eq!("60/min burst 90".parse(), Ok(Rate::per_minute(60).burst(90)));
/// assert_eq!("100/15min".parse(), Ok(Rate::new(100, Duration::from_secs(900))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u64,
    per: Duration,
    burst: u64,
}

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Rate = Rate {
        count: u64::MAX,
        per: Duration::ZERO,
        burst: u64::MAX,
    };

    /// `count` tokens every `per`, and as many at once.
    pub const fn new(count: u64, per: Duration) -> Rate {
        Rate {
            count,
            per,
            burst: count,
        }
    }

    /// `count` tokens a second.
    pub const fn per_second(count: u64) -> Rate {
        Rate::new(count, Duration::from_secs(1))
    }

    /// `count` tokens a minute.
    pub const fn per_minute(count: u64) -> Rate {
        Rate::new(count, Duration::from_secs(60))
    }

    /// `count` tokens an hour.
    pub const fn per_hour(count: u64) -> Rate {
        Rate::new(count, Duration::from_secs(3_600))
    }

    /// `count` tokens a day.
    pub const fn per_day(count: u64) -> Rate {
        Rate::new(count, Duration::from_secs(86_400))
    }

    /// The most tokens at once; by default the count.
    pub const fn burst(mut self, burst: u64) -> Rate {
        self.burst = burst;
        self
    }

    /// Whether this is [`Rate::UNLIMITED`].
    pub fn is_unlimited(&self) -> bool {
        *self == Rate::UNLIMITED
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return f.write_str("unlimited");
        }
        write!(f, "{} per {:?}", self.count, self.per)?;
        if self.burst != self.count {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rate> {
        parse(text.trim()).ok_or_else(|| {
            Error::invalid(
                "rate",
                format_args!("{text:?}"),
                "COUNT/PERIOD such as 60/min or 100/15min, then optionally: burst N; or unlimited",
            )
        })
    }
}

fn parse(text: &str) -> Option<Rate> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Some(Rate::UNLIMITED);
    }
    let (rate, burst) = match text.split_once(char::is_whitespace) {
        None => (text, None),
        Some((rate, rest)) => {
            let burst = rest.trim_start().strip_prefix("burst")?;
            if !burst.starts_with(char::is_whitespace) {
                return None;
            }
            (rate, Some(number(burst.trim())?))
        }
    };
    let (count, period) = rate.split_once('/')?;
    let count = number(count)?;
    let unit = period.trim_start_matches(|c: char| c.is_ascii_digit());
    let times = match &period[..period.len() - unit.len()] {
        "" => 1,
        digits => number(digits)?,
    };
    let seconds = match unit {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        "d" | "day" => 86_400,
        _ => return None,
    };
    let rate = Rate::new(count, Duration::from_secs(times.checked_mul(seconds)?));
    Some(burst.map_or(rate, |burst| rate.burst(burst)))
}

fn number(digits: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// A rate as the arithmetic needs it. Zero increment means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Ticks for one token.
    pub increment: u64,
    /// Tokens of a full bucket.
    pub burst: u64,
}

impl Rule {
    /// The rule without a limit.
    pub const UNLIMITED: Rule = Rule {
        increment: 0,
        burst: u64::MAX,
    };

    /// The rule for a rate.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it cannot be represented, with the reason.
    pub fn new(rate: Rate) -> Result<Rule> {
        if rate.is_unlimited() {
            return Ok(Rule::UNLIMITED);
        }
        let given = |count: u64| format!("{count} per {:?}", rate.per);
        if rate.count == 0 {
            return Err(Error::invalid(
                "rate",
                given(0),
                "at least 1 token in the period",
            ));
        }
        if rate.per.is_zero() {
            return Err(Error::invalid(
                "rate",
                given(rate.count),
                "a period above zero",
            ));
        }
        let period = rate.per.as_nanos().saturating_mul(u128::from(TICKS));
        let increment = period.div_ceil(u128::from(rate.count));
        // Below one tick a token the rounding would halve the rate and worse.
        if u128::from(rate.count) > rate.per.as_nanos() {
            return Err(Error::invalid(
                "rate",
                given(rate.count),
                "at most one token a nanosecond",
            ));
        }
        if increment > u128::from(LONGEST_REFILL) {
            return Err(Error::invalid(
                "rate",
                given(rate.count),
                "at least one token in four and a half years",
            ));
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
        Ok(Rule {
            increment,
            burst: rate.burst,
        })
    }

    /// A rule from two words of a region: whatever they hold, the arithmetic
    /// below stays in range.
    #[inline]
    pub fn from_words(increment: u64, burst: u64) -> Rule {
        match increment.checked_mul(burst) {
            Some(1..=LONGEST_REFILL) => Rule { increment, burst },
            _ => Rule::clamped(increment, burst),
        }
    }

    #[cold]
    fn clamped(increment: u64, burst: u64) -> Rule {
        if increment == 0 {
            return Rule::UNLIMITED;
        }
        let increment = increment.min(LONGEST_REFILL);
        Rule {
            increment,
            burst: burst.clamp(1, LONGEST_REFILL / increment),
        }
    }

    /// Whether this rule has no limit.
    pub fn is_unlimited(&self) -> bool {
        self.increment == 0
    }

    /// Ticks that a full bucket takes to refill: at most 2^61.
    pub fn tolerance(&self) -> u64 {
        self.increment * self.burst
    }

    /// Ticks that `cost` tokens take, or `None` if no bucket ever holds them.
    pub fn ticks(&self, cost: u64) -> Option<u64> {
        (cost <= self.burst).then(|| cost * self.increment)
    }

    /// The bucket after a request of `ticks` at `now`, or `None` if refused.
    #[inline]
    pub fn charge(&self, arrival: u64, now: u64, ticks: u64) -> Option<u64> {
        let after = arrival.max(now) + ticks;
        (after <= now + self.tolerance()).then_some(after)
    }

    /// Tokens in the bucket at `now`.
    pub fn remaining(&self, arrival: u64, now: u64) -> u64 {
        let ahead = arrival.max(now) - now;
        self.tolerance().saturating_sub(ahead) / self.increment.max(1)
    }

    /// Nanoseconds from `now` until a request of `ticks` is admitted: exact,
    /// in that one nanosecond earlier it is refused.
    pub fn wait(&self, arrival: u64, now: u64, ticks: u64) -> u64 {
        let after = arrival.max(now) + ticks;
        after.saturating_sub(now + self.tolerance()).div_ceil(TICKS)
    }

    /// Nanoseconds from `now` until the bucket is full.
    pub fn reset_after(&self, arrival: u64, now: u64) -> u64 {
        arrival.saturating_sub(now).div_ceil(TICKS)
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
    use num_bigint::BigUint;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let minute = Duration::from_secs(60);
        for (text, rate) in [
            ("60/min", Rate::new(60, minute)),
            ("60/minute burst 90", Rate::new(60, minute).burst(90)),
            ("  5/s  ", Rate::per_second(5)),
            ("100/15min", Rate::new(100, minute * 15)),
            ("1000/day", Rate::per_day(1000)),
            ("3/2h burst 1", Rate::new(3, minute * 120).burst(1)),
            ("Unlimited", Rate::UNLIMITED),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in [
            "",
            "/",
            "60",
            "60/",
            "/min",
            "60/fortnight",
            "-1/s",
            "+1/s",
            "6e1/s",
            "60/min burst",
            "60/min burst x",
            "60/min burst90",
            "60 /min",
            "1/99999999999999999999s",
            "1/18446744073709551615d",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

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
            match Rule::new(rate) {
                Err(Error::InvalidArgument { argument: a, .. }) => assert_eq!(a, argument),
                other => panic!("{rate}: {other:?}"),
            }
        }
        assert!(Rule::new(Rate::per_second(1_000_000_000)).is_ok());
        assert!(Rule::new(Rate::new(1, Duration::from_secs(365 * 86_400))).is_ok());
    }

    /// Every sequence of requests in a small world, against the definition:
    /// for all i ≤ j, what was admitted from i to j is at most burst + rate·Δ.
    #[test]
    fn no_interval_admits_more_than_burst_and_rate_in_a_small_world() {
        for (count, per, burst) in [(1, 3, 1), (1, 3, 2), (2, 3, 2), (3, 7, 3), (1, 1, 4)] {
            let rule = Rule::new(Rate::new(count, Duration::from_nanos(per)).burst(burst)).unwrap();
            // Six requests, each 0 to 3 ns after the one before, each of 1 or 2 tokens.
            for world in 0..8usize.pow(6) {
                let (mut now, mut arrival, mut admitted) = (0, 0, Vec::new());
                for i in 0..6 {
                    let choice = world / 8usize.pow(i) % 8;
                    now += (choice % 4) as u64;
                    let cost = (choice / 4) as u64 + 1;
                    let charged = rule
                        .ticks(cost)
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
            let Ok(rule) = Rule::new(rate) else { return Ok(()) };
            let now = ticks_of(now_ns);
            let big = |n: u64| BigUint::from(n);
            // The increment is the exact one, rounded up by less than a tick.
            let exact = big(per_ns) * big(TICKS);
            prop_assert!(big(rule.increment) * big(count) >= exact);
            prop_assert!((big(rule.increment) - 1u32) * big(count) < exact);
            let ticks = rule.ticks(cost);
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
            let rule = Rule::from_words(increment, burst);
            let now = ticks_of(now_ns);
            if let Some(ticks) = rule.ticks(cost) {
                rule.charge(arrival, now, ticks);
                rule.wait(arrival, now, ticks);
            }
            rule.remaining(arrival, now);
            rule.reset_after(arrival, now);
        }
    }
}
