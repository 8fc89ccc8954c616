//! Rate limits: token buckets by key, in fixed memory, exact under concurrency.

mod rule;
mod table;
mod tiers;

pub use rule::Rate;
pub(crate) use rule::{ticks_of, Rule};

use crate::region::{Geometry, Inner, Object, Request};
use crate::stripes;
use crate::{Error, Key, Kind, Result};
use rule::TICKS;
use std::sync::Arc;
use std::time::Duration;
use table::{Answer, Group, OnFull, Table, Witness, GROUP, SLOT_WORDS};

/// Changes with the layout of a limiter's words.
pub(crate) const FORMAT: usize = AT_TABLE << 8 | SLOT_WORDS;

const AT_STATS: usize = tiers::WORDS;
const AT_TABLE: usize = (AT_STATS + stripes::WORDS).next_multiple_of(16);

const ADMITTED: usize = 0;
const REFUSED: usize = 1;
const EVICTED_LIVE: usize = 2;
const UNKNOWN_TIER: usize = 3;
const CONTENDED: usize = 4;

const DEFAULT_MAX_KEYS: u64 = 65_536;
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
    rate: Rate,
    tiers: Vec<(String, Rate)>,
    max_keys: Option<u64>,
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

    fn check(&self) -> Result<()> {
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
fn slots_for(max_keys: u64) -> u64 {
    (max_keys + max_keys.div_ceil(4))
        .max(GROUP as u64)
        .next_power_of_two()
}

fn words_for(geometry: &Geometry) -> Option<usize> {
    let slots = usize::try_from(geometry[0]).ok()?;
    if !slots.is_power_of_two() || slots < GROUP {
        return None;
    }
    slots.checked_mul(SLOT_WORDS)?.checked_add(AT_TABLE)
}

/// What a request costs, of which tier it is, and when it came.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{Charge, Rate, Region};
/// let region = Region::private()?;
/// let uploads = region.limiter("uploads", Rate::per_minute(100))?;
/// assert!(uploads.allow_with("user-7", Charge::cost(30)));
/// assert_eq!(uploads.peek("user-7").remaining, 70);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// Tokens; 0 only looks.
    pub cost: u64,
    /// The tier; `None` is the default one, an unknown one too, but counted.
    pub tier: Option<&'a str>,
    /// A reading of [`Region::now`](crate::Region::now) that serves a whole
    /// request; `None` reads the clock. One that is `s` old admits at most
    /// rate·s more than the bound; one ahead of the clock is a misuse.
    pub now: Option<u64>,
}

impl Default for Charge<'_> {
    fn default() -> Self {
        Charge {
            cost: 1,
            tier: None,
            now: None,
        }
    }
}

impl<'a> Charge<'a> {
    /// So many tokens.
    pub fn cost(cost: u64) -> Self {
        Charge {
            cost,
            ..Charge::default()
        }
    }

    /// For this tier.
    pub fn tier(mut self, tier: &'a str) -> Self {
        self.tier = Some(tier);
        self
    }

    /// At this reading of the region's clock.
    pub fn at(mut self, now: u64) -> Self {
        self.now = Some(now);
        self
    }
}

/// A limiter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Tokens of a full bucket; `u64::MAX` for an unlimited tier.
    pub limit: u64,
    /// Tokens left.
    pub remaining: u64,
    /// When it would be admitted; `None` if it is, and if it never can be
    /// because it costs more than a full bucket.
    pub retry_after: Option<Duration>,
    /// Until the bucket is full again.
    pub reset_after: Duration,
}

/// Figures of a limiter since its creation: [`Limiter::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LimiterStats {
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Buckets that were not full when another key took their slot.
    pub evicted_live: u64,
    /// Requests that named a tier that does not exist.
    pub unknown_tier: u64,
    /// Requests refused because others kept changing the key's slots; among `refused`.
    pub contended: u64,
    /// Slots of the table.
    pub slots: u64,
}

/// A limiter in a region: [`Region::limiter`](crate::Region::limiter).
///
/// Any interval of length Δ admits, for one key, at most burst + rate·Δ tokens,
/// however many processes ask at once and whichever of them die; a live bucket
/// evicted by other keys (counted in the stats) adds one burst. Calls take no
/// lock, allocate nothing and cannot fail; keys may be of any length.
#[derive(Clone)]
pub struct Limiter {
    object: Arc<Object>,
    table: Table,
}

struct Counting<'a>(&'a Object);

impl Witness for Counting<'_> {
    fn evicting_live(&self) {
        stripes::add(&self.0.words, AT_STATS, EVICTED_LIVE, 1);
    }
}

impl Limiter {
    pub(crate) fn open(
        region: &Arc<Inner>,
        name: &str,
        options: Option<LimiterOptions>,
    ) -> Result<Limiter> {
        if let Some(options) = &options {
            options.check()?;
        }
        let max_keys = options.as_ref().and_then(|options| options.max_keys);
        let object = crate::region::open(
            region,
            &Request {
                name,
                kind: Kind::Limiter,
                create: options.as_ref().map(|_| {
                    let max_keys = max_keys.unwrap_or(DEFAULT_MAX_KEYS);
                    [slots_for(max_keys), max_keys, 0, 0, 0, 0]
                }),
                words: words_for,
                check: &|geometry| match max_keys {
                    Some(ours) if slots_for(ours) != geometry[0] => Err(Error::Geometry {
                        object: name.to_owned(),
                        option: "max_keys",
                        theirs: geometry[1],
                        ours,
                    }),
                    _ => Ok(()),
                },
                configure: &|words| match &options {
                    Some(options) => tiers::configure(words, options),
                    None => Ok(false),
                },
            },
        )?;
        let table = Table {
            at: AT_TABLE,
            slots: object.geometry[0] as usize,
            group: GROUP,
            on_full: OnFull::Lenient,
        };
        Ok(Limiter {
            object: Arc::new(object),
            table,
        })
    }

    /// The limiter's name.
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// Whether one token may be had for this key; spends it.
    pub fn allow(&self, key: impl Key) -> bool {
        self.allow_with(key, Charge::default())
    }

    /// Whether this charge may pass; spends it.
    pub fn allow_with(&self, key: impl Key, charge: Charge<'_>) -> bool {
        self.ask(key, charge, true).0
    }

    /// Spends one token of this key's, if there is one, and tells all.
    pub fn take(&self, key: impl Key) -> Verdict {
        self.take_with(key, Charge::default())
    }

    /// Spends this charge, if the bucket holds it, and tells all. A charge
    /// above the burst is refused for ever and spends nothing.
    pub fn take_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let (allowed, asked) = self.ask(key, charge, true);
        asked.verdict(allowed)
    }

    /// What [`Limiter::take`] would say, without spending.
    pub fn peek(&self, key: impl Key) -> Verdict {
        self.peek_with(key, Charge::default())
    }

    /// What [`Limiter::take_with`] would say, without spending; `remaining`
    /// is what is there now.
    pub fn peek_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let (allowed, asked) = self.ask(key, charge, false);
        asked.verdict(allowed)
    }

    /// Fills the key's bucket; false if it was full.
    pub fn reset(&self, key: impl Key) -> bool {
        let region = &self.object.region;
        let hash = key.with_bytes(|key| region.hasher.hash(key));
        let now = ticks_of(region.clock.now());
        self.table
            .reset(&self.object.words, &self.table.group(hash), now)
    }

    /// Figures since the limiter's creation.
    pub fn stats(&self) -> LimiterStats {
        let sum = |counter| stripes::sum(&self.object.words, AT_STATS, counter);
        LimiterStats {
            admitted: sum(ADMITTED),
            refused: sum(REFUSED),
            evicted_live: sum(EVICTED_LIVE),
            unknown_tier: sum(UNKNOWN_TIER),
            contended: sum(CONTENDED),
            slots: self.table.slots as u64,
        }
    }

    #[inline]
    fn ask(&self, key: impl Key, charge: Charge<'_>, spend: bool) -> (bool, Asked) {
        let words = &self.object.words;
        let region = &self.object.region;
        let rule = self.rule(charge.tier);
        let now = ticks_of(charge.now.unwrap_or_else(|| region.clock.now()));
        let mut asked = Asked {
            rule,
            arrival: 0,
            now,
            ticks: None,
        };
        if rule.is_unlimited() {
            if spend && charge.cost > 0 {
                stripes::add(words, AT_STATS, ADMITTED, 1);
            }
            return (true, asked);
        }
        let hash = key.with_bytes(|key| region.hasher.hash(key));
        let group = self.table.group(hash);
        asked.ticks = rule.ticks(charge.cost);
        let allowed = match asked.ticks {
            Some(ticks) if spend && charge.cost > 0 => {
                let counting = Counting(&self.object);
                match self
                    .table
                    .charge(words, &group, &rule, ticks, now, &counting)
                {
                    Answer::Admitted(arrival) => {
                        asked.arrival = arrival;
                        true
                    }
                    Answer::Refused(arrival) => {
                        asked.arrival = arrival;
                        false
                    }
                    Answer::Contended => {
                        stripes::add(words, AT_STATS, CONTENDED, 1);
                        asked.arrival = self.table.arrival(words, &group);
                        false
                    }
                }
            }
            ticks => {
                asked.arrival = self.table.arrival(words, &group);
                ticks.is_some_and(|ticks| rule.charge(asked.arrival, now, ticks).is_some())
            }
        };
        if !allowed && asked.arrival > now + rule.tolerance() {
            self.doubt(&mut asked, &group, spend);
        }
        if spend && charge.cost > 0 {
            let counter = if allowed { ADMITTED } else { REFUSED };
            stripes::add(words, AT_STATS, counter, 1);
        }
        (allowed, asked)
    }

    /// A bucket further in debt than this rate lets anybody go: another tier's
    /// or an earlier rate may have. Beyond what all of them can it is damage,
    /// and is put right, so that no key is refused for ever.
    #[cold]
    fn doubt(&self, asked: &mut Asked, group: &Group, spend: bool) {
        /// Ticks by which the clocks of two cores may differ, and more.
        const SLACK: u64 = 1_000_000_000 * TICKS;
        let words = &self.object.words;
        // Read after the arrival time, so not before whoever set that read it.
        let now = ticks_of(self.object.region.clock.now()).max(asked.now);
        let last = now + tiers::longest_refill(words) + SLACK;
        if asked.arrival > last {
            asked.arrival = last;
            if spend {
                self.table.put_right(words, group, last);
            }
        }
    }

    #[inline]
    fn rule(&self, tier: Option<&str>) -> Rule {
        let words = &self.object.words;
        let tier = match tier {
            None => 0,
            Some(name) => tiers::find(words, name).unwrap_or_else(|| {
                stripes::add(words, AT_STATS, UNKNOWN_TIER, 1);
                0
            }),
        };
        tiers::read(words, tier)
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.name())
            .field("slots", &self.table.slots)
            .finish_non_exhaustive()
    }
}

/// What an answer was made from.
struct Asked {
    rule: Rule,
    arrival: u64,
    now: u64,
    ticks: Option<u64>,
}

impl Asked {
    fn verdict(&self, allowed: bool) -> Verdict {
        let Asked {
            rule,
            arrival,
            now,
            ticks,
        } = self;
        if rule.is_unlimited() {
            return Verdict {
                allowed,
                limit: u64::MAX,
                remaining: u64::MAX,
                retry_after: None,
                reset_after: Duration::ZERO,
            };
        }
        Verdict {
            allowed,
            limit: rule.burst,
            remaining: rule.remaining(*arrival, *now),
            retry_after: match ticks {
                Some(ticks) if !allowed => {
                    Some(Duration::from_nanos(rule.wait(*arrival, *now, *ticks)))
                }
                _ => None,
            },
            reset_after: Duration::from_nanos(rule.reset_after(*arrival, *now)),
        }
    }
}

/// For [`crate::internals`].
pub mod internals {
    pub use super::rule::{Rule, TICKS};
    pub use super::table::*;
}
