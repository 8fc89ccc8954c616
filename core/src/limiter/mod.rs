//! Rate limits: token buckets by key, in fixed memory, exact under concurrency.

mod headers;
mod options;
mod rule;
mod table;
mod tiers;
mod together;
mod verdict;
mod waiting;

pub use headers::{headers, Header, HeaderStyle};
pub use options::LimiterOptions;
pub use rule::Rate;
pub use together::{take_all, Request, MOST_TOGETHER};
pub use verdict::{Charge, Limited, LimiterStats, Verdict};
pub use waiting::{Acquire, Reservation};

use crate::region::{Inner, Object};
use crate::stripes;
use crate::words::{update, Words};
use crate::{Error, Key, Kind, Result};
use options::{slots_for, words_for, DEFAULT_MAX_KEYS};
use rule::{ticks_of, Rule, LONGEST_REFILL, TICKS};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use table::{Answer, Group, OnFull, Table, Witness, GROUP, SLOT_WORDS};
use verdict::Asked;

/// Changes with the layout of a limiter's words.
pub(crate) const FORMAT: usize = AT_TABLE << 8 | SLOT_WORDS;

/// When the last block ends, in ticks: until then calls look for blocks.
const AT_BLOCKED_UNTIL: usize = tiers::SPARE;
/// The furthest that a debt or a reservation may have put an arrival time
/// ahead of the clock, in ticks.
const AT_FURTHEST: usize = tiers::SPARE + 1;
const AT_STATS: usize = tiers::WORDS;
const AT_TABLE: usize = (AT_STATS + stripes::WORDS).next_multiple_of(16);

const ADMITTED: usize = 0;
const REFUSED: usize = 1;
const EVICTED_LIVE: usize = 2;
const UNKNOWN_TIER: usize = 3;
const CONTENDED: usize = 4;

/// A limiter in a region: [`Region::limiter`](crate::Region::limiter).
///
/// Any interval of length Δ admits, for one key, at most burst + rate·Δ tokens,
/// however many processes ask at once and whichever of them die; a live bucket
/// evicted by other keys (counted in the stats) adds one burst, and
/// [`refund`](Limiter::refund) and [`reset`](Limiter::reset) add what they give
/// back. Calls take no lock, allocate nothing and cannot fail; keys may be of
/// any length.
#[derive(Clone)]
pub struct Limiter {
    object: Arc<Object>,
    table: Table,
}

struct Counting<'a>(&'a Object);

impl Witness for Counting<'_> {
    fn evicting_live(&self, _label: u64) {
        stripes::add(&self.0.words, AT_STATS, EVICTED_LIVE, 1);
    }

    fn clock(&self) -> u64 {
        ticks_of(self.0.region.clock.now())
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
            &crate::region::Request {
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
    #[inline]
    pub fn allow(&self, key: impl Key) -> bool {
        self.allow_with(key, Charge::default())
    }

    /// Whether this charge may pass; spends it.
    #[inline]
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

    /// Spends one token, or says with the verdict that there is none: for `?`.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn enforce(&self, key: impl Key) -> std::result::Result<Verdict, Limited> {
        self.enforce_with(key, Charge::default())
    }

    /// [`Limiter::enforce`] for any charge.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn enforce_with(
        &self,
        key: impl Key,
        charge: Charge<'_>,
    ) -> std::result::Result<Verdict, Limited> {
        let verdict = self.take_with(key, charge);
        match verdict.allowed {
            true => Ok(verdict),
            false => Err(Limited {
                limiter: self.object.name.clone(),
                verdict,
            }),
        }
    }

    /// Gives tokens back that were spent for nothing: a request that came to
    /// no harm, a job that was cancelled. The bucket is never more than full.
    /// Tells what [`Limiter::peek`] then would.
    ///
    /// ```
    /// # fn main() -> forebay::Result<()> {
    /// # use forebay::{Rate, Region};
    /// let logins = Region::private()?.limiter("logins", Rate::per_minute(5))?;
    /// logins.take("ada");
    /// assert_eq!(logins.refund("ada", 1).remaining, 5); // the password was right
    /// # Ok(())
    /// # }
    /// ```
    pub fn refund(&self, key: impl Key, tokens: u64) -> Verdict {
        self.refund_with(key, Charge::cost(tokens))
    }

    /// [`Limiter::refund`] in the tokens of a tier. More than the burst is the
    /// burst. Reads the clock, whatever `now` says: what was given back at an
    /// old time would be too much.
    pub fn refund_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let mut asked = self.asked(
            key,
            Charge {
                now: None,
                ..charge
            },
        );
        if let Some(group) = self.bucket(&asked) {
            let ticks = asked.rule.increment * charge.cost.min(asked.rule.burst);
            asked.arrival = self
                .table
                .refund(&self.object.words, &group, ticks, asked.now);
        }
        self.told(asked)
    }

    /// Takes tokens whether they are there or not: the key may be in debt
    /// afterwards, and waits until that is paid off. Tells what
    /// [`Limiter::peek`] then would.
    ///
    /// ```
    /// # fn main() -> forebay::Result<()> {
    /// # use forebay::{Rate, Region};
    /// let api = Region::options().manual_clock(true).private()?.limiter("api", Rate::per_minute(60))?;
    /// api.penalize("a scraper", 90);
    /// assert_eq!(api.take("a scraper").retry_after, Some(std::time::Duration::from_secs(31)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn penalize(&self, key: impl Key, tokens: u64) -> Verdict {
        self.penalize_with(key, Charge::cost(tokens))
    }

    /// [`Limiter::penalize`] in the tokens of a tier. A debt is at most what
    /// four and a half years pay off. An unlimited tier has no debts.
    pub fn penalize_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let mut asked = self.asked(key, charge);
        if let Some(group) = self.bucket(&asked) {
            let ticks = asked.rule.increment.saturating_mul(charge.cost);
            let (ticks, now) = (ticks.min(LONGEST_REFILL), asked.now);
            self.reach(ticks.saturating_add(asked.rule.tolerance()));
            let decide = |arrival: u64, now| {
                let last = now + LONGEST_REFILL;
                Some((arrival.max(now) + ticks).min(last).max(arrival))
            };
            asked.arrival = self.advance(&group, now, decide);
        }
        self.told(asked)
    }

    /// Refuses the key everything for this long, at least: a block that ends
    /// later stays. What is in its bucket stays there, and goes on refilling.
    /// Holds in every tier, unlimited ones too. At most four and a half years.
    pub fn block(&self, key: impl Key, time: Duration) {
        let group = self.table.block_group(&self.group(key));
        let now = ticks_of(self.object.region.clock.now());
        let until = now + ticks_in(time).min(LONGEST_REFILL);
        self.reach(until - now);
        raise(&self.object.words, AT_BLOCKED_UNTIL, until);
        self.advance(&group, now, |end, _| Some(end.max(until)));
    }

    /// Ends a block; false if there was none.
    pub fn unblock(&self, key: impl Key) -> bool {
        let now = ticks_of(self.object.region.clock.now());
        let group = self.table.block_group(&self.group(key));
        self.table.reset(&self.object.words, &group, now)
    }

    /// Fills the key's bucket and ends a block; false if it was full and there
    /// was none.
    pub fn reset(&self, key: impl Key) -> bool {
        let now = ticks_of(self.object.region.clock.now());
        let group = self.group(key);
        let reset = |group: &Group| self.table.reset(&self.object.words, group, now);
        // Both, whatever the first one says.
        reset(&group) | reset(&self.table.block_group(&group))
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
        let mut asked = self.asked(key, charge);
        let spend = spend && charge.cost > 0;
        let allowed = match (self.bucket(&asked), asked.ticks) {
            _ if asked.is_blocked() => {
                self.look(&mut asked);
                false
            }
            (None, _) => true,
            (Some(group), Some(ticks)) if spend => self.charge(&mut asked, &group, ticks),
            (Some(_), ticks) => {
                self.look(&mut asked);
                let charge = |ticks| asked.rule.charge(asked.arrival, asked.now, ticks);
                ticks.and_then(charge).is_some()
            }
        };
        if !allowed && asked.arrival > asked.now + asked.rule.tolerance() {
            self.doubt(&mut asked, spend);
        }
        if spend {
            self.count(allowed);
        }
        (allowed, asked)
    }

    /// Who asks, for what, and when.
    #[inline]
    fn asked(&self, key: impl Key, charge: Charge<'_>) -> Asked {
        let rule = self.rule(charge.tier);
        let clock = || self.object.region.clock.now();
        let now = ticks_of(charge.now.unwrap_or_else(clock));
        let mut asked = Asked {
            rule,
            group: None,
            arrival: 0,
            now,
            ticks: rule.ticks(charge.cost),
            blocked: 0,
        };
        let blocks = self.object.words.load(AT_BLOCKED_UNTIL, Relaxed) > now;
        if blocks || !rule.is_unlimited() {
            let group = self.group(key);
            asked.group = Some(group);
            if blocks {
                asked.blocked = self.blocked_until(&group, now);
            }
        }
        asked
    }

    /// Where the bucket of the request is, if its tier has a limit.
    #[inline]
    fn bucket(&self, asked: &Asked) -> Option<Group> {
        asked.group.filter(|_| !asked.rule.is_unlimited())
    }

    #[inline]
    fn group(&self, key: impl Key) -> Group {
        let hasher = &self.object.region.hasher;
        self.table.group(key.with_bytes(|key| hasher.hash(key)))
    }

    #[cold]
    fn blocked_until(&self, group: &Group, now: u64) -> u64 {
        let words = &self.object.words;
        let group = self.table.block_group(group);
        let (end, last) = (self.table.arrival(words, &group), self.last_arrival(now));
        if end > last {
            self.table.put_right(words, &group, last);
        }
        end.min(last)
    }

    /// A bucket further in debt than this rate lets anybody go: another tier's
    /// or an earlier rate may have, or a penalty. Beyond what all of them can
    /// it is damage, and is put right, so that no key is refused for ever.
    #[cold]
    fn doubt(&self, asked: &mut Asked, spend: bool) {
        let last = self.last_arrival(asked.now);
        if asked.arrival > last {
            asked.arrival = last;
            if let Some(group) = asked.group.filter(|_| spend) {
                self.table.put_right(&self.object.words, &group, last);
            }
        }
    }

    /// No call can have put an arrival time further ahead than this.
    fn last_arrival(&self, now: u64) -> u64 {
        /// Ticks by which the clocks of two cores may differ, and more.
        const SLACK: u64 = 1_000_000_000 * TICKS;
        let words = &self.object.words;
        let furthest = words.load(AT_FURTHEST, Relaxed).min(2 * LONGEST_REFILL);
        // Read after the arrival time, so not before whoever set that read it.
        let now = ticks_of(self.object.region.clock.now_by_kernel()).max(now);
        now + tiers::longest_refill(words).max(furthest) + SLACK
    }

    #[inline]
    fn charge(&self, asked: &mut Asked, group: &Group, ticks: u64) -> bool {
        let words = &self.object.words;
        let counting = Counting(&self.object);
        let rule = asked.rule;
        let decide = |arrival, now| rule.charge(arrival, now, ticks);
        match self
            .table
            .advance(words, group, asked.now, decide, &counting)
        {
            Ok(entry) => {
                (asked.arrival, asked.now) = (entry.arrival, entry.now);
                true
            }
            Err(Answer::Contended) => {
                stripes::add(words, AT_STATS, CONTENDED, 1);
                asked.arrival = self.table.arrival(words, group);
                false
            }
            Err(Answer::Refused(arrival) | Answer::Admitted(arrival)) => {
                asked.arrival = arrival;
                false
            }
        }
    }

    /// Reads the bucket of the request.
    fn look(&self, asked: &mut Asked) {
        if let Some(group) = self.bucket(asked) {
            asked.arrival = self.table.arrival(&self.object.words, &group);
        }
    }

    /// Moves an arrival time on to what `decide` says, always; where it is then.
    fn advance(&self, group: &Group, now: u64, decide: impl Fn(u64, u64) -> Option<u64>) -> u64 {
        let words = &self.object.words;
        let counting = Counting(&self.object);
        match self.table.advance(words, group, now, decide, &counting) {
            Ok(entry) => entry.arrival,
            Err(_) => {
                stripes::add(words, AT_STATS, CONTENDED, 1);
                self.table.arrival(words, group)
            }
        }
    }

    /// What a look at one token says now.
    fn told(&self, mut asked: Asked) -> Verdict {
        asked.ticks = asked.rule.ticks(1);
        let charged = asked
            .rule
            .charge(asked.arrival, asked.now, asked.rule.increment);
        let allowed = !asked.is_blocked() && (asked.rule.is_unlimited() || charged.is_some());
        asked.verdict(allowed)
    }

    /// Notes that an arrival time may be so far ahead of the clock.
    fn reach(&self, ticks: u64) {
        raise(&self.object.words, AT_FURTHEST, ticks);
    }

    #[inline]
    fn count(&self, allowed: bool) {
        let counter = if allowed { ADMITTED } else { REFUSED };
        stripes::add(&self.object.words, AT_STATS, counter, 1);
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

/// A duration in ticks.
fn ticks_in(time: Duration) -> u64 {
    let ticks = time.as_nanos().saturating_mul(u128::from(TICKS));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Makes a word at least `value`.
fn raise(words: &impl Words, at: usize, value: u64) {
    // Only an adversary, who lowers it, can keep it from growing.
    let _ = update(words, at, Relaxed, |found| (found < value).then_some(value));
}

/// For [`crate::internals`].
pub mod internals {
    pub use super::rule::{Rule, TICKS};
    pub use super::table::*;
}
