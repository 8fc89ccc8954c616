//! What a limiter is asked, and what it answers.

use super::rule::{Rule, TICKS};
use super::table::{Group, Table};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// Tokens of a full bucket or window; `u64::MAX` for an unlimited tier. Of
    /// several rates the one that refuses longest is told, else the one with
    /// the fewest tokens left.
    pub limit: u64,
    /// Tokens left.
    pub remaining: u64,
    /// When it would be admitted; `None` if it is, and if it never can be
    /// because it costs more than a full bucket.
    pub retry_after: Option<Duration>,
    /// Until the bucket is full again, or nothing counts in the window any more,
    /// and nothing blocks the key.
    pub reset_after: Duration,
    /// How long an empty bucket takes to fill, or a window's length: with
    /// `limit`, the rate that headers tell; zero for an unlimited tier.
    pub window: Duration,
}

/// A limit refused a request: [`Limiter::enforce`](crate::Limiter::enforce).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The limiter's name.
    pub limiter: Arc<str>,
    /// What it said.
    pub verdict: Verdict,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limiter = &self.limiter;
        match self.verdict.retry_after {
            Some(wait) => write!(f, "limiter '{limiter}' refused: retry after {wait:?}"),
            None => write!(f, "limiter '{limiter}' refused: it never admits that much"),
        }
    }
}

impl std::error::Error for Limited {}

/// Figures of a limiter since its creation: [`Limiter::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LimiterStats {
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Penalties that took more than was there.
    pub debts: u64,
    /// Buckets that were not full when another key took their slot.
    pub evicted_live: u64,
    /// Requests that named a tier that does not exist.
    pub unknown_tier: u64,
    /// Requests refused because others kept changing the key's slots; among `refused`.
    pub contended: u64,
    /// Slots of the table.
    pub slots: u64,
}

/// Figures of a tier since its limiter's creation: [`Limiter::tier_stats`].
///
/// [`Limiter::tier_stats`]: crate::Limiter::tier_stats
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TierStats {
    /// The tier's name; `default` for the rate of requests without one.
    pub tier: String,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Penalties that took more than was there.
    pub debts: u64,
}

/// Ticks by which the clocks of two cores may differ, and more.
pub const SLACK: u64 = 1_000_000_000 * TICKS;

/// A request, with all that an answer is made from.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The rate of its tier.
    pub rule: Rule,
    /// The number of the tier.
    pub tier: usize,
    /// Whether the limiter limits anything.
    pub enabled: bool,
    /// Where its key's bucket is; `None` if nobody needs to know.
    pub group: Option<Group>,
    /// The bucket's arrival time, once known.
    pub arrival: u64,
    /// When it came, in ticks.
    pub now: u64,
    /// What it costs, as its word counts; `None` if no bucket ever holds that.
    pub amount: Option<u64>,
    /// Until when the key is blocked, in ticks; 0 if it is not.
    pub blocked: u64,
}

impl Asked {
    /// Whether the key is blocked at the time of the request.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked > self.now
    }

    /// Whether its word is further ahead than this rate puts any.
    #[inline]
    pub fn is_doubtful(&self, table: &Table) -> bool {
        self.arrival > table.form.last(self.now + self.rule.tolerance() + SLACK)
    }

    /// Whether nothing limits it.
    pub fn is_free(&self) -> bool {
        self.rule.is_unlimited()
    }

    /// Before when nothing passes: now, or the end of a block.
    pub fn earliest(&self) -> u64 {
        self.blocked.max(self.now)
    }

    /// When it may pass, as far as its bucket is known; `None` if never.
    pub fn due(&self) -> Option<u64> {
        if self.is_free() {
            return Some(self.earliest());
        }
        let (due, _) = self.rule.book(self.arrival, self.now, self.amount?);
        Some(due.max(self.earliest()))
    }

    /// The answer.
    pub fn verdict(&self, allowed: bool) -> Verdict {
        let (rule, arrival, now) = (&self.rule, self.arrival, self.now);
        let blocked = self.blocked.saturating_sub(now).div_ceil(TICKS);
        let wait = |amount| Duration::from_nanos(rule.wait(arrival, now, amount).max(blocked));
        let retry_after = self.amount.filter(|_| !allowed).map(wait);
        if rule.is_unlimited() {
            return Verdict {
                allowed,
                limit: u64::MAX,
                remaining: if allowed { u64::MAX } else { 0 },
                retry_after,
                reset_after: Duration::from_nanos(blocked),
                window: Duration::ZERO,
            };
        }
        Verdict {
            allowed,
            limit: rule.burst,
            remaining: match self.is_blocked() {
                true => 0,
                false => rule.remaining(arrival, now),
            },
            retry_after,
            reset_after: Duration::from_nanos(rule.reset_after(arrival, now).max(blocked)),
            window: Duration::from_nanos(rule.tolerance().div_ceil(TICKS)),
        }
    }
}
