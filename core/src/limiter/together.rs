//! One request against several limits: all of them or none.

use super::rate::MOST_RATES;
use super::table::{Entry, Table};
use super::verdict::{Asked, Charge, Verdict};
use super::{refused, ticks_of, Limiter, ADMITTED, AT_REFUSED, REFUSED};
use crate::{Error, Key, Result};
use std::cell::Cell;

/// How many limits one request can be held against.
pub const MOST_TOGETHER: usize = 16;

/// One of the limits that a request is held against: [`Limiter::request`].
#[derive(Clone)]
pub struct Request<'a> {
    limiter: &'a Limiter,
    /// One for each of the limiter's rates.
    parts: [Asked; MOST_RATES],
    count: usize,
    /// What each of them has been charged.
    entries: [Option<Entry>; MOST_RATES],
    cost: u64,
    /// The key's mark among those that are refused.
    mark: u64,
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
            mark: self.mark(&key),
            ..self.request_of(self.asked(&key, charge), charge.cost)
        }
    }

    /// The same, of a request whose key is known.
    pub(super) fn request_of(&self, first: Asked, cost: u64) -> Request<'_> {
        let mut parts = [first; MOST_RATES];
        for (i, table) in self.more.iter().enumerate() {
            let rule = self.rule(first.enabled, first.tier, i + 1, table);
            parts[i + 1] = Asked {
                rule,
                group: first.group.map(|group| self.table.group_in(table, &group)),
                amount: rule.amount(cost),
                ..first
            };
        }
        Request {
            limiter: self,
            parts,
            count: 1 + self.more.len(),
            entries: [None; MOST_RATES],
            cost,
            mark: 0,
        }
    }

    /// A request of a limiter with several rates: all of them or none. Leaves
    /// the one that the answer is about.
    #[cold]
    pub(super) fn ask_each(&self, asked: &mut Asked, cost: u64, spend: bool) -> bool {
        let mut request = self.request_of(*asked, cost);
        let allowed = match spend {
            true => hold(std::slice::from_mut(&mut request), 0).is_some(),
            false => {
                request.look();
                request.waits_at_most(0)
            }
        };
        *asked = *request.telling(allowed);
        allowed
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
    let mut requests = requests.to_vec();
    let allowed = hold(&mut requests, 0).is_some();
    let verdicts: Vec<Verdict> = requests.iter().map(Request::verdict).collect();
    for (request, verdict) in requests.iter().zip(&verdicts) {
        if request.cost > 0 {
            request.count(allowed, verdict.allowed);
        }
    }
    Ok((allowed, verdicts))
}

/// Charges all of the requests' parts or none: when they may pass, in ticks, if
/// nobody has to wait for longer than `patience`.
pub(super) fn hold(requests: &mut [Request<'_>], patience: u64) -> Option<u64> {
    for request in requests.iter_mut() {
        request.look();
    }
    let mut due = 0;
    let mut passes = requests
        .iter()
        .all(|request| request.waits_at_most(patience));
    while passes {
        // Who refuses is likely the one with the least to spare.
        let open = |request: &Request<'_>, part: usize| {
            request.cost > 0 && request.entries[part].is_none() && !request.parts[part].is_free()
        };
        let next = (0..requests.len())
            .flat_map(|i| (0..requests[i].count).map(move |part| (i, part)))
            .filter(|(i, part)| open(&requests[*i], *part))
            .min_by_key(|(i, part)| requests[*i].spare(*part));
        let Some((i, part)) = next else {
            let earliest = requests.iter().map(|request| request.parts[0].earliest());
            return Some(earliest.fold(due, u64::max));
        };
        match requests[i].charge(part, patience) {
            Some(at) => due = due.max(at),
            None => passes = false,
        }
    }
    for request in requests.iter() {
        request.undo();
    }
    for request in requests {
        request.forget();
    }
    None
}

impl<'a> Request<'a> {
    /// What is asked of each rate.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.parts[..self.count].iter_mut()
    }

    fn table(&self, part: usize) -> &'a Table {
        match part {
            0 => &self.limiter.table,
            _ => &self.limiter.more[part - 1],
        }
    }

    /// Counts that all of them were admitted, or not; who refused notes whom.
    fn count(&self, all: bool, this: bool) {
        let tier = self.parts[0].tier;
        if all {
            self.limiter.add(tier, ADMITTED);
            return;
        }
        let before = self.limiter.add(tier, REFUSED);
        if let Some(weight) = refused::sample(before).filter(|_| !this) {
            let words = &self.limiter.object.words;
            refused::note(words, AT_REFUSED, self.mark, weight, None);
        }
    }

    /// Reads the buckets.
    fn look(&mut self) {
        for part in 0..self.count {
            let table = self.table(part);
            let asked = &mut self.parts[part];
            self.limiter.look(table, asked);
            if asked.is_doubtful(table) {
                self.limiter.doubt(table, asked, self.cost > 0);
            }
        }
    }

    fn waits_at_most(&self, patience: u64) -> bool {
        let mut parts = self.parts[..self.count].iter();
        parts.all(|asked| asked.due().is_some_and(|due| due - asked.now <= patience))
    }

    /// Tokens that the request would leave.
    fn spare(&self, part: usize) -> u64 {
        let asked = &self.parts[part];
        let remaining = asked.rule.remaining(asked.arrival, asked.now);
        remaining.saturating_sub(self.cost)
    }

    /// Charges one of the buckets: when its tokens may be used, in ticks.
    fn charge(&mut self, part: usize, patience: u64) -> Option<u64> {
        let table = self.table(part);
        let asked = &mut self.parts[part];
        let (Some(group), Some(amount)) = (asked.group, asked.amount) else {
            return None;
        };
        let (rule, earliest) = (asked.rule, asked.earliest());
        let due = Cell::new(earliest);
        let decide = |word, now: u64| {
            let (at, after) = rule.book(word, now, amount);
            due.set(at.max(earliest));
            (due.get().saturating_sub(now) <= patience).then_some(after)
        };
        match self.limiter.charge(table, asked, &group, decide) {
            Ok(Some(entry)) => self.entries[part] = Some(entry),
            // Let through, uncharged: there is nothing more to charge here.
            Ok(None) => asked.rule = super::Rule::UNLIMITED,
            Err(()) => return None,
        }
        Some(due.get())
    }

    /// Takes back what was charged.
    fn undo(&self) {
        let now = ticks_of(self.limiter.object.region.clock.now());
        for part in 0..self.count {
            if let (Some(entry), Some(amount)) = (&self.entries[part], self.parts[part].amount) {
                let words = &self.limiter.object.words;
                let rule = self.parts[part].rule;
                let returns = |word| rule.returns(word, entry.arrival, amount, now);
                self.table(part).undo(words, entry, now, returns);
            }
        }
    }

    /// Reads anew what had been charged.
    fn forget(&mut self) {
        for part in 0..self.count {
            if self.entries[part].take().is_some() {
                self.limiter.look(self.table(part), &mut self.parts[part]);
            }
        }
    }

    /// Gives back what was charged some time ago, when the words became `then`:
    /// nothing to a rate whose word is 0, which let the request pass uncharged.
    pub(super) fn refund(&self, then: &[u64; MOST_RATES], now: u64) {
        let charged = then.iter().enumerate().take(self.count);
        for (part, then) in charged.filter(|(_, then)| **then > 0) {
            let asked = &self.parts[part];
            if let (Some(group), Some(amount)) = (self.limiter.bucket(asked), asked.amount) {
                let returns = |word| asked.rule.returns(word, *then, amount, now);
                let words = &self.limiter.object.words;
                self.table(part).refund(words, &group, now, returns);
            }
        }
    }

    /// The words as the charge left them.
    pub(super) fn words(&self) -> [u64; MOST_RATES] {
        self.entries
            .map(|entry| entry.map_or(0, |entry| entry.arrival))
    }

    /// The part that the answer is about: of those that refuse the one with the
    /// longest wait, else the one with the fewest tokens left.
    pub(super) fn telling(&self, allowed: bool) -> &Asked {
        let parts = || self.parts[..self.count].iter();
        let refusing = parts()
            .filter(|asked| !allowed && asked.due().is_none_or(|due| due > asked.now))
            .max_by_key(|asked| asked.due().unwrap_or(u64::MAX));
        let tightest = || {
            let limited = parts().filter(|asked| !asked.is_free());
            limited.min_by_key(|asked| asked.rule.remaining(asked.arrival, asked.now))
        };
        refusing.or_else(tightest).unwrap_or(&self.parts[0])
    }

    /// The answer: once charged, that it was admitted; else what a charge would
    /// be told.
    pub(super) fn verdict(&self) -> Verdict {
        let allowed = self.entries.iter().any(Option::is_some) || self.waits_at_most(0);
        self.telling(allowed).verdict(allowed)
    }
}
