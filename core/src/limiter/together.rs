//! One request against several limits: all of them or none.

use super::table::Entry;
use super::verdict::{Asked, Charge, Verdict};
use super::{ticks_of, Counting, Limiter};
use crate::{Error, Key, Result};

/// How many limits one request can be held against.
pub const MOST_TOGETHER: usize = 16;

/// One of the limits that a request is held against: [`Limiter::request`].
pub struct Request<'a> {
    limiter: &'a Limiter,
    asked: Asked,
    cost: u64,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("limiter", &self.limiter.name())
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// This charge of this key's, for [`take_all`].
    pub fn request(&self, key: impl Key, charge: Charge<'_>) -> Request<'_> {
        Request {
            limiter: self,
            asked: self.asked(key, charge),
            cost: charge.cost,
        }
    }
}

/// Holds one request against several limits, of any limiters: either all admit
/// it and all are charged, or none is. Tells which, and what each one says: the
/// one with the longest wait among those that refuse is the one to tell about.
///
/// All are looked at before any is charged, the tightest first. If one refuses
/// after all, because others came in between, those already charged are given
/// back; a call that is killed just then loses those tokens. None is ever
/// overdrawn.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{take_all, Charge, Rate, Region};
/// let region = Region::private()?;
/// let each = region.limiter("each", Rate::per_minute(60))?;
/// let all = region.limiter("all", Rate::per_minute(1000))?;
/// let (allowed, verdicts) = take_all(&[
///     each.request("203.0.113.7", Charge::default()),
///     all.request("", Charge::default()),
/// ])?;
/// assert!(allowed && verdicts[1].remaining == 999);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`] for more than [`MOST_TOGETHER`] requests.
pub fn take_all(requests: &[Request<'_>]) -> Result<(bool, Vec<Verdict>)> {
    if requests.len() > MOST_TOGETHER {
        return Err(Error::invalid(
            "requests",
            requests.len(),
            format_args!("at most {MOST_TOGETHER}"),
        ));
    }
    let mut order: Vec<usize> = (0..requests.len()).collect();
    let mut verdicts: Vec<Verdict> = requests.iter().map(Request::look).collect();
    let mut allowed = verdicts.iter().all(|verdict| verdict.allowed);
    if allowed {
        // Who refuses is likely the one with the least to spare.
        order.sort_by_key(|&i| verdicts[i].remaining.saturating_sub(requests[i].cost));
        let mut charged: Vec<(usize, Entry)> = Vec::with_capacity(requests.len());
        for &i in &order {
            match requests[i].charge() {
                Ok((verdict, entry)) => {
                    verdicts[i] = verdict;
                    charged.extend(entry.map(|entry| (i, entry)));
                }
                Err(verdict) => {
                    allowed = false;
                    verdicts[i] = verdict;
                    break;
                }
            }
        }
        if !allowed {
            for (i, entry) in &charged {
                requests[*i].undo(entry);
            }
            for (i, _) in charged {
                verdicts[i] = requests[i].look();
            }
        }
    }
    for request in requests.iter().filter(|request| request.cost > 0) {
        request.limiter.count(allowed);
    }
    Ok((allowed, verdicts))
}

impl Request<'_> {
    fn look(&self) -> Verdict {
        let mut asked = self.asked.clone();
        self.limiter.look(&mut asked);
        let charged =
            (asked.ticks).and_then(|ticks| asked.rule.charge(asked.arrival, asked.now, ticks));
        asked.verdict(!asked.is_blocked() && charged.is_some())
    }

    /// Charges the bucket, if there is one to charge.
    fn charge(&self) -> std::result::Result<(Verdict, Option<Entry>), Verdict> {
        let mut asked = self.asked.clone();
        let group = self.limiter.bucket(&asked);
        let (Some(group), Some(ticks), true) = (group, asked.ticks, self.cost > 0) else {
            return Ok((self.look(), None));
        };
        let words = &self.limiter.object.words;
        let counting = Counting(&self.limiter.object);
        let rule = asked.rule;
        let decide = |arrival, now| rule.charge(arrival, now, ticks);
        let table = &self.limiter.table;
        match table.advance(words, &group, asked.now, decide, &counting) {
            Ok(entry) => {
                (asked.arrival, asked.now) = (entry.arrival, entry.now);
                Ok((asked.verdict(true), Some(entry)))
            }
            Err(_) => {
                self.limiter.look(&mut asked);
                Err(asked.verdict(false))
            }
        }
    }

    fn undo(&self, entry: &Entry) {
        let ticks = self.asked.ticks.unwrap_or(0);
        let now = ticks_of(self.limiter.object.region.clock.now());
        let words = &self.limiter.object.words;
        self.limiter.table.undo(words, entry, ticks, now);
    }
}
