//! Rates as people write them.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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
    pub(super) count: u64,
    pub(super) per: Duration,
    pub(super) burst: u64,
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

    /// This rate and another one: a request must keep to both.
    ///
    /// ```
    /// use forebay::{Rate, Rates};
    /// let rates = Rate::per_second(10).and(Rate::per_day(1000));
    /// assert_eq!("10/s and 1000/day".parse(), Ok(rates));
    /// ```
    pub fn and(self, other: Rate) -> Rates {
        Rates::from(self).and(other)
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

impl FromStr for Rate {
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

/// The most rates that one limiter holds a request against.
pub const MOST_RATES: usize = 4;

/// One rate or several, all of which a request must keep to: `10/s and 1000/day`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rates {
    rates: [Rate; MOST_RATES],
    /// How many were asked for: more than there is room for are refused when
    /// the limiter is opened.
    count: usize,
}

impl Rates {
    /// These rates and another one.
    pub fn and(mut self, other: Rate) -> Rates {
        if let Some(place) = self.rates.get_mut(self.count) {
            *place = other;
        }
        self.count += 1;
        self
    }

    pub(super) fn as_slice(&self) -> &[Rate] {
        &self.rates[..self.count.min(MOST_RATES)]
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.count == 0 || self.count > MOST_RATES {
            return Err(Error::invalid(
                "rate",
                format_args!("{} rates", self.count),
                format_args!("1 to {MOST_RATES} rates"),
            ));
        }
        if self.count > 1 && self.as_slice().contains(&Rate::UNLIMITED) {
            return Err(Error::invalid(
                "rate",
                self,
                "\"unlimited\" alone, not beside other rates",
            ));
        }
        Ok(())
    }
}

impl From<Rate> for Rates {
    fn from(rate: Rate) -> Rates {
        Rates::from([rate])
    }
}

/// All of these rates, in this order: 1 to 4 of them.
impl From<&[Rate]> for Rates {
    fn from(rates: &[Rate]) -> Rates {
        let none = Rates {
            rates: [Rate::UNLIMITED; MOST_RATES],
            count: 0,
        };
        rates.iter().fold(none, |rates, rate| rates.and(*rate))
    }
}

impl<const N: usize> From<[Rate; N]> for Rates {
    fn from(rates: [Rate; N]) -> Rates {
        Rates::from(&rates[..])
    }
}

impl FromStr for Rates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rates> {
        let rates: Result<Vec<Rate>> = text.split(" and ").map(str::parse).collect();
        Ok(Rates::from(&rates?[..]))
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rate) in self.as_slice().iter().enumerate() {
            write!(f, "{}{rate}", if i > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rates({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn several_rates_are_written_with_and() {
        let two = Rate::per_second(10).and(Rate::per_day(1000).burst(5));
        assert_eq!("10/s and 1000/day burst 5".parse(), Ok(two));
        assert_eq!(
            Rates::from([Rate::per_second(10)]),
            Rate::per_second(10).into()
        );
        assert_eq!(two.to_string(), "10 per 1s and 1000 per 86400s burst 5");
        assert!("10/s and".parse::<Rates>().is_err());
        assert!("10/s and and 5/s".parse::<Rates>().is_err());
        for wrong in [
            Rates::from([]),
            Rates::from([Rate::per_second(1); 5]),
            Rate::per_second(1).and(Rate::UNLIMITED),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains("rate"), "{error}");
        }
    }
}
