//! How a limiter works: its rates and its memory.

use super::rule::{Rate, Rule};
use super::table::{GROUP, SLOT_WORDS};
use super::{tiers, AT_TABLE};
use crate::region::Geometry;
use crate::{Error, Result};

pub const DEFAULT_MAX_KEYS: u64 = 65_536;
const MOST_KEYS: u64 = 1 << 28;

/// How a limiter works: its rate, its tiers, its memory.
///
/// ```
/// use forebay::{LimiterOptions, Rate};
/// let options = LimiterOptions::new(Rate::per_minute(5))
///     .tier("business", Rate::per_minute(30))
///     .tier("internal", Rate::UNLIMITED)
///     .max_keys(10_000);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterOptions {
    pub(super) rate: Rate,
    pub(super) tiers: Vec<(String, Rate)>,
    pub(super) max_keys: Option<u64>,
}

impl LimiterOptions {
    /// One rate for everybody.
    pub fn new(rate: Rate) -> Self {
        LimiterOptions {
            rate,
            tiers: Vec::new(),
            max_keys: None,
        }
    }

    /// Another rate for requests that name this tier: up to 15 of them, names
    /// of 1 to 31 bytes. `default` is the limiter's own rate.
    pub fn tier(mut self, name: impl Into<String>, rate: Rate) -> Self {
        self.tiers.push((name.into(), rate));
        self
    }

    /// How many keys may have less than a full bucket at once without
    /// crowding each other; 65,536 unless told. A key takes 16 bytes and the
    /// table has a quarter to spare. Fixed when the limiter is created.
    pub fn max_keys(mut self, max_keys: u64) -> Self {
        self.max_keys = Some(max_keys);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        Rule::new(self.rate)?;
        for (name, rate) in &self.tiers {
            if name.is_empty() || name.len() > tiers::TIER_NAME_BYTES || name == tiers::DEFAULT {
                return Err(Error::invalid(
                    "tiers",
                    format_args!("the name {name:?}"),
                    format_args!(
                        "names of 1 to {} bytes other than \"{}\"",
                        tiers::TIER_NAME_BYTES,
                        tiers::DEFAULT
                    ),
                ));
            }
            Rule::new(*rate)?;
        }
        if let Some(n) = self.max_keys {
            if n == 0 || n > MOST_KEYS {
                return Err(Error::invalid(
                    "max_keys",
                    n,
                    format_args!("1 to {MOST_KEYS}"),
                ));
            }
        }
        Ok(())
    }
}

impl From<Rate> for LimiterOptions {
    fn from(rate: Rate) -> Self {
        LimiterOptions::new(rate)
    }
}

impl From<Rate> for Option<LimiterOptions> {
    fn from(rate: Rate) -> Self {
        Some(LimiterOptions::new(rate))
    }
}

/// Slots for that many keys: a quarter to spare, rounded up to a power of two.
pub fn slots_for(max_keys: u64) -> u64 {
    (max_keys + max_keys.div_ceil(4))
        .max(GROUP as u64)
        .next_power_of_two()
}

/// A limiter's words, if its geometry makes sense.
pub fn words_for(geometry: &Geometry) -> Option<usize> {
    let slots = usize::try_from(geometry[0]).ok()?;
    if !slots.is_power_of_two() || slots < GROUP {
        return None;
    }
    slots.checked_mul(SLOT_WORDS)?.checked_add(AT_TABLE)
}
