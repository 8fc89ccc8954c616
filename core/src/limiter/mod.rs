//! Rate limits: token buckets by key, in fixed memory, exact under concurrency.

mod counter;
mod headers;
mod options;
mod rate;
mod refused;
mod rule;
mod sha256;
mod shape;
mod table;
mod tiers;
mod together;
mod verdict;
mod waiting;
mod window;

pub use counter::{Count, WindowCounter, WindowOptions, WindowStats};
pub use headers::{headers, Header, HeaderStyle, Limit};
pub use options::{Algorithm, LimiterOptions, OnError, OnFull};
pub use rate::{Rate, Rates, MOST_RATES};
pub use refused::RefusedKey;
pub use together::{take_all, Request, MOST_TOGETHER};
pub use verdict::{Charge, Limited, LimiterStats, TierStats, Verdict};
#[doc(hidden)]
pub use waiting::RawReservation;
pub use waiting::{Acquire, Reservation};

use crate::region::{Inner, Object};
use crate::stripes;
use crate::words::{update, Words};
use crate::{Key, Kind, Result};
use rule::{ticks_of, Rule, LONGEST_REFILL, TICKS};
use shape::Shape;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use table::{Answer, Entry, Group, Table, Witness, SLOT_WORDS};
use tiers::{Switches, TIERS};
use verdict::{Asked, SLACK};
use window::Form;

/// Changes with the layout of a limiter's words.
pub(crate) const FORMAT: usize = AT_TABLES << 8 | SLOT_WORDS;

/// When the last block ends, in ticks: until then calls look for blocks.
const AT_BLOCKED_UNTIL: usize = tiers::SPARE;
/// The furthest that a debt or a reservation may have put an arrival time
/// ahead of the clock, in ticks.
const AT_FURTHEST: usize = tiers::SPARE + 1;
/// Where the statistics are.
pub const AT_STATS: usize = tiers::WORDS;
/// Where those of the tiers are, two tiers in each array of counters.
const AT_TIER_STATS: usize = AT_STATS + stripes::WORDS;
const _: () = assert!(AT_STATS.is_multiple_of(stripes::STRIPE_WORDS));
/// Where the sketch of the keys that are refused most is.
const AT_REFUSED: usize = AT_TIER_STATS + TIERS / 2 * stripes::WORDS;
/// Where the tables begin.
pub const AT_TABLES: usize = (AT_REFUSED + refused::WORDS).next_multiple_of(16);

const EVICTED_LIVE: usize = 0;
const UNKNOWN_TIER: usize = 1;
const CONTENDED: usize = 2;

/// Of each tier.
const ADMITTED: usize = 0;
const REFUSED: usize = 1;
const DEBTS: usize = 2;

/// Where a statistic of a tier is: an array of counters, and which of them.
#[inline(always)]
fn tier_statistic(tier: usize, statistic: usize) -> (usize, usize) {
    let (array, half) = (tier / 2, tier % 2);
    let at = AT_TIER_STATS + array * stripes::WORDS;
    (at, half * stripes::STRIPE_WORDS / 2 + statistic)
}

/// A limiter in a region: [`Region::limiter`](crate::Region::limiter).
///
/// Any interval of length Δ admits, for one key, at most burst + rate·Δ tokens,
/// however many processes ask at once and whichever of them die; a live bucket
/// evicted by other keys (counted in the stats, and never by a strict limiter)
/// adds one burst, and [`refund`](Limiter::refund) and [`reset`](Limiter::reset)
/// add what they give back. [`Algorithm`] tells what windows admit. Calls take no lock, allocate nothing and cannot fail; keys may be of
/// any length.
#[derive(Clone)]
pub struct Limiter {
    object: Arc<Object>,
    table: Table,
    /// Those of the second rate and so on.
    more: Arc<[Table]>,
    /// One rate, of buckets.
    is_plain: bool,
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
        kind: Kind,
        options: Option<LimiterOptions>,
    ) -> Result<Limiter> {
        let wanted = options.as_ref().map(Shape::wanted).transpose()?;
        let object = crate::region::open(
            region,
            &crate::region::Request {
                name,
                kind,
                create: wanted.map(|wanted| wanted.geometry()),
                words: |geometry| Shape::read(geometry)?.words(),
                check: &|geometry| match (&options, Shape::read(geometry)) {
                    (Some(options), Some(shape)) => shape.check(name, options),
                    _ => Ok(()),
                },
                configure: &|words, geometry| match (&options, Shape::read(geometry)) {
                    (Some(options), Some(shape)) => tiers::configure(words, &shape, options),
                    _ => Ok(false),
                },
            },
        )?;
        let shape = Shape::read(&object.geometry).expect("checked when it was opened");
        let mut tables = shape.tables();
        let table = tables.next().expect("at least one rate");
        let more: Arc<[Table]> = tables.collect();
        Ok(Limiter {
            object: Arc::new(object),
            is_plain: more.is_empty() && table.form == Form::Bucket,
            table,
            more,
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
        match self.hit(&key, &charge) {
            Some((allowed, _)) => allowed,
            None => self.ask(key, charge, true).0,
        }
    }

    /// Spends one token of this key's, if there is one, and tells all.
    pub fn take(&self, key: impl Key) -> Verdict {
        self.take_with(key, Charge::default())
    }

    /// Spends this charge, if the bucket holds it, and tells all. A charge
    /// above the burst is refused for ever and spends nothing.
    pub fn take_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let (allowed, asked) = match self.hit(&key, &charge) {
            Some(answer) => answer,
            None => self.ask(key, charge, true),
        };
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
        let charge = Charge {
            now: None,
            ..charge
        };
        self.each(key, charge, |table, group, asked| {
            let tokens = charge.cost.min(asked.rule.burst);
            let amount = asked.rule.amount(tokens).unwrap_or(0);
            table.refund(&self.object.words, group, asked.now, |_| amount)
        })
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
    /// four and a half years pay off; in a window, as many tokens as it counts:
    /// at least its limit. An unlimited tier has no debts.
    pub fn penalize_with(&self, key: impl Key, charge: Charge<'_>) -> Verdict {
        let debt = Cell::new(None);
        let verdict = self.each(key, charge, |table, group, asked| {
            let rule = asked.rule;
            let amount = match rule.form {
                Form::Bucket => rule.increment.saturating_mul(charge.cost),
                _ => charge.cost,
            };
            self.reach(rule.tolerance().saturating_add(amount.min(LONGEST_REFILL)));
            let took_more = Cell::new(false);
            let decide = |word, now| {
                took_more.set(rule.remaining(word, now) < charge.cost);
                Some(rule.owe(word, now, amount))
            };
            let arrival = self.advance(table, group, asked.now, decide);
            if took_more.get() {
                debt.set(Some(asked.tier));
            }
            arrival
        });
        if let Some(tier) = debt.get() {
            self.add(tier, DEBTS);
        }
        verdict
    }

    /// Refuses the key everything for this long, at least: a block that ends
    /// later stays. What is in its bucket stays there, and goes on refilling.
    /// Holds in every tier, unlimited ones too. At most four and a half years.
    pub fn block(&self, key: impl Key, time: Duration) {
        let group = self.table.block_group(&self.group(&key));
        let now = ticks_of(self.object.region.clock.now());
        let until = now + ticks_in(time).min(LONGEST_REFILL);
        let form = self.table.form;
        let word = form.block(until);
        self.reach(form.block_end(word).saturating_sub(now));
        raise(&self.object.words, AT_BLOCKED_UNTIL, form.block_end(word));
        self.advance(&self.table, &group, now, |end, _| Some(end.max(word)));
    }

    /// Ends a block; false if there was none.
    pub fn unblock(&self, key: impl Key) -> bool {
        let now = ticks_of(self.object.region.clock.now());
        self.end_block(&self.group(&key), now)
    }

    fn end_block(&self, group: &Group, now: u64) -> bool {
        let words = &self.object.words;
        let group = self.table.block_group(group);
        let end = self.table.form.block_end(self.table.arrival(words, &group));
        end > now && self.table.reset(words, &group, now)
    }

    /// Fills the key's bucket and ends a block; false if it was full and there
    /// was none.
    pub fn reset(&self, key: impl Key) -> bool {
        let now = ticks_of(self.object.region.clock.now());
        let group = self.group(&key);
        let words = &self.object.words;
        // All of them, whatever the first one says.
        self.tables()
            .fold(self.end_block(&group, now), |was, table| {
                was | table.reset(words, &self.table.group_in(table, &group), now)
            })
    }

    /// Fills all buckets and ends all blocks. Reads the whole table; calls that
    /// are under way meanwhile may come before or after.
    pub fn clear(&self) {
        let now = ticks_of(self.object.region.clock.now());
        for table in self.tables() {
            table.clear(&self.object.words, now);
        }
    }

    /// Figures since the limiter's creation.
    pub fn stats(&self) -> LimiterStats {
        let sum = |counter| stripes::sum(&self.object.words, AT_STATS, counter);
        let of_all = |statistic| {
            let of_each = (0..TIERS).map(|tier| self.tier_sum(tier, statistic));
            of_each.fold(0, u64::wrapping_add)
        };
        LimiterStats {
            admitted: of_all(ADMITTED),
            refused: of_all(REFUSED),
            debts: of_all(DEBTS),
            evicted_live: sum(EVICTED_LIVE),
            unknown_tier: sum(UNKNOWN_TIER),
            contended: sum(CONTENDED),
            slots: self.table.slots as u64,
        }
    }

    /// The figures of each tier since the limiter's creation: `default` first,
    /// then in the order in which the tiers came to be. A request that names no
    /// tier, or one that does not exist, is in those of `default`. Evictions are
    /// not told apart: a bucket is a key's, in whatever tier it is asked.
    pub fn tier_stats(&self) -> Vec<TierStats> {
        let tiers = tiers::names(&self.object.words).enumerate();
        let stats = tiers.map(|(tier, name)| TierStats {
            tier: name,
            admitted: self.tier_sum(tier, ADMITTED),
            refused: self.tier_sum(tier, REFUSED),
            debts: self.tier_sum(tier, DEBTS),
        });
        stats.collect()
    }

    fn tier_sum(&self, tier: usize, statistic: usize) -> u64 {
        let (at, counter) = tier_statistic(tier, statistic);
        stripes::sum(&self.object.words, at, counter)
    }

    /// Adds one to a statistic of a tier; tells what this thread's share was.
    #[inline]
    fn add(&self, tier: usize, statistic: usize) -> u64 {
        let (at, counter) = tier_statistic(tier, statistic);
        stripes::add(&self.object.words, at, counter, 1)
    }

    /// The keys that were refused most since the limiter's creation, or since
    /// [`Limiter::forget_refused`]: up to 32, the worst first. Estimates, never
    /// exact. The keys themselves are told only with
    /// [`LimiterOptions::show_keys`], and not of refusals by [`take_all`]; without, [`Limiter::mark`] tells whether a
    /// key that you know is among them.
    pub fn top_refused(&self) -> Vec<RefusedKey> {
        let hasher = &self.object.region.hasher;
        refused::top(&self.object.words, AT_REFUSED, |key| hasher.hash(key).tag)
    }

    /// By what [`Limiter::top_refused`] calls this key.
    pub fn mark(&self, key: impl Key) -> u64 {
        key.with_bytes(|key| self.object.region.hasher.hash(key).tag)
    }

    /// Begins to count anew who is refused most.
    pub fn forget_refused(&self) {
        refused::clear(&self.object.words, AT_REFUSED);
    }

    /// The short way of most requests: for a limiter of one rate of buckets, that
    /// blocks nobody now, of a key that has a slot. `None` for any other, and
    /// nothing is spent.
    #[inline(always)]
    fn hit(&self, key: &impl Key, charge: &Charge<'_>) -> Option<(bool, Asked)> {
        match charge.tier {
            None => self.hit_in(0, key, charge),
            Some(name) => self.hit_named(name, key, charge),
        }
    }

    #[inline(never)]
    fn hit_named(&self, tier: &str, key: &impl Key, charge: &Charge<'_>) -> Option<(bool, Asked)> {
        let tier = tiers::find(&self.object.words, tier)?;
        self.hit_in(tier, key, charge)
    }

    /// Compiled anew where the tier is the first one, for speed.
    #[inline(always)]
    fn hit_in(&self, tier: usize, key: &impl Key, charge: &Charge<'_>) -> Option<(bool, Asked)> {
        let words = &self.object.words;
        if !self.is_plain || charge.cost == 0 || Switches::read(words).is_disabled() {
            return None;
        }
        let rule = tiers::bucket(words, tier)?;
        let amount = rule.amount(charge.cost)?;
        let group = self.group(key);
        let now = match charge.now {
            Some(now) => now,
            None => {
                // They arrive while the clock is read.
                self.table.prefetch(words, &group);
                self.object.region.clock.now()
            }
        };
        let now = ticks_of(now);
        if words.load(AT_BLOCKED_UNTIL, Relaxed) > now {
            return None;
        }
        let (allowed, arrival) = match self.table.hit(words, &group, &rule, amount, now)? {
            Ok(arrival) => (true, arrival),
            Err(arrival) => (false, arrival),
        };
        let asked = Asked {
            rule,
            tier,
            enabled: true,
            group: None,
            arrival,
            now,
            amount: Some(amount),
            blocked: 0,
        };
        if !allowed && asked.is_doubtful(&self.table) {
            return None;
        }
        self.count(allowed, tier, key);
        Some((allowed, asked))
    }

    #[inline(never)]
    fn ask(&self, key: impl Key, charge: Charge<'_>, spend: bool) -> (bool, Asked) {
        let mut asked = self.asked(&key, charge);
        let spend = spend && charge.cost > 0;
        let allowed = match self.more.is_empty() {
            true => self.ask_one(&mut asked, spend),
            false => self.ask_each(&mut asked, charge.cost, spend),
        };
        if spend {
            self.count(allowed, asked.tier, &key);
        }
        (allowed, asked)
    }

    /// Asks the only rate there is.
    #[inline]
    fn ask_one(&self, asked: &mut Asked, spend: bool) -> bool {
        let allowed = match (self.bucket(asked), asked.amount) {
            _ if asked.is_blocked() => {
                self.look(&self.table, asked);
                false
            }
            (None, _) => true,
            (Some(group), Some(amount)) if spend => {
                let rule = asked.rule;
                let decide = |word, now| rule.charge(word, now, amount);
                self.charge(&self.table, asked, &group, decide).is_ok()
            }
            (Some(_), amount) => {
                self.look(&self.table, asked);
                let charge = |amount| asked.rule.charge(asked.arrival, asked.now, amount);
                amount.and_then(charge).is_some()
            }
        };
        if !allowed && asked.is_doubtful(&self.table) {
            self.doubt(&self.table, asked, spend);
        }
        allowed
    }

    /// Who asks, for what, and when.
    #[inline]
    fn asked(&self, key: &impl Key, charge: Charge<'_>) -> Asked {
        let words = &self.object.words;
        let enabled = !Switches::read(words).is_disabled();
        let tier = self.tier(charge.tier);
        let rule = self.rule(enabled, tier, 0, &self.table);
        let clock = || self.object.region.clock.now();
        let now = ticks_of(charge.now.unwrap_or_else(clock));
        let mut asked = Asked {
            rule,
            tier,
            enabled,
            group: None,
            arrival: 0,
            now,
            amount: rule.amount(charge.cost),
            blocked: 0,
        };
        let blocks = enabled && words.load(AT_BLOCKED_UNTIL, Relaxed) > now;
        if blocks || !rule.is_unlimited() || !self.more.is_empty() {
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

    #[inline(always)]
    fn group(&self, key: &impl Key) -> Group {
        let hasher = &self.object.region.hasher;
        self.table.group(key.with_bytes(|key| hasher.hash(key)))
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.table).chain(self.more.iter())
    }

    /// The number of a rate's table: that of the rate.
    fn number(&self, table: &Table) -> usize {
        (table.at - self.table.at) / (table.slots * SLOT_WORDS)
    }

    #[cold]
    fn blocked_until(&self, group: &Group, now: u64) -> u64 {
        let words = &self.object.words;
        let group = self.table.block_group(group);
        let word = self.table.arrival(words, &group);
        let last = self.last_word(&self.table, now);
        if word > last {
            self.table.put_right(words, &group, last);
        }
        self.table.form.block_end(word.min(last))
    }

    /// A bucket further in debt than this rate lets anybody go: another tier's
    /// or an earlier rate may have, or a penalty. Beyond what all of them can
    /// it is damage, and is put right, so that no key is refused for ever.
    #[cold]
    fn doubt(&self, table: &Table, asked: &mut Asked, spend: bool) {
        let last = self.last_word(table, asked.now);
        if asked.arrival > last {
            asked.arrival = last;
            if let Some(group) = asked.group.filter(|_| spend) {
                table.put_right(&self.object.words, &group, last);
            }
        }
    }

    /// No call can have put a word further ahead than this.
    fn last_word(&self, table: &Table, now: u64) -> u64 {
        let words = &self.object.words;
        let furthest = words.load(AT_FURTHEST, Relaxed).min(2 * LONGEST_REFILL);
        let refill = tiers::longest_refill(words, self.number(table), table.form);
        // Read after the word, so not before whoever set that read it.
        let now = ticks_of(self.object.region.clock.now()).max(now);
        table.form.last(now + refill.max(furthest) + SLACK)
    }

    /// Charges the bucket of a request; who has slept looks at the clock again
    /// before it takes no for an answer from a window that has begun since.
    #[inline]
    fn charge(
        &self,
        table: &Table,
        asked: &mut Asked,
        group: &Group,
        decide: impl Fn(u64, u64) -> Option<u64>,
    ) -> std::result::Result<Option<Entry>, ()> {
        let words = &self.object.words;
        let counting = Counting(&self.object);
        match table.advance(words, group, asked.now, &decide, &counting) {
            Ok(entry) => {
                (asked.arrival, asked.now) = (entry.arrival, entry.now);
                Ok(Some(entry))
            }
            Err(Answer::Contended) => {
                stripes::add(words, AT_STATS, CONTENDED, 1);
                asked.arrival = table.arrival(words, group);
                match Switches::read(words).allows_on_error() {
                    true => Ok(None),
                    false => Err(()),
                }
            }
            Err(Answer::Refused(arrival) | Answer::Admitted(arrival)) => {
                asked.arrival = arrival;
                if asked.rule.form != Form::Bucket {
                    return self.charge_late(table, asked, group, decide);
                }
                Err(())
            }
        }
    }

    #[cold]
    fn charge_late(
        &self,
        table: &Table,
        asked: &mut Asked,
        group: &Group,
        decide: impl Fn(u64, u64) -> Option<u64>,
    ) -> std::result::Result<Option<Entry>, ()> {
        let now = ticks_of(self.object.region.clock.now());
        if now <= asked.now || decide(asked.arrival, now).is_none() {
            return Err(());
        }
        let words = &self.object.words;
        let counting = Counting(&self.object);
        let entry = table
            .advance(words, group, now, decide, &counting)
            .map_err(|_| ())?;
        (asked.arrival, asked.now) = (entry.arrival, entry.now);
        Ok(Some(entry))
    }

    /// Reads the bucket of the request.
    fn look(&self, table: &Table, asked: &mut Asked) {
        if let Some(group) = self.bucket(asked) {
            asked.arrival = table.arrival(&self.object.words, &group);
        }
    }

    /// Moves a word on to what `decide` says, always; what it is then.
    fn advance(
        &self,
        table: &Table,
        group: &Group,
        now: u64,
        decide: impl Fn(u64, u64) -> Option<u64>,
    ) -> u64 {
        let words = &self.object.words;
        let counting = Counting(&self.object);
        match table.advance(words, group, now, decide, &counting) {
            Ok(entry) => entry.arrival,
            Err(_) => {
                stripes::add(words, AT_STATS, CONTENDED, 1);
                table.arrival(words, group)
            }
        }
    }

    /// Does something to the key's bucket of each rate that has a limit, and
    /// tells what a look at one token then says.
    fn each(
        &self,
        key: impl Key,
        charge: Charge<'_>,
        act: impl Fn(&Table, &Group, &Asked) -> u64,
    ) -> Verdict {
        let mut request = self.request(key, charge);
        for (part, table) in request.parts().zip(self.tables()) {
            if let Some(group) = self.bucket(part) {
                part.arrival = act(table, &group, part);
            }
            part.amount = part.rule.amount(1);
        }
        request.verdict()
    }

    /// Notes that an arrival time may be so far ahead of the clock.
    fn reach(&self, ticks: u64) {
        raise(&self.object.words, AT_FURTHEST, ticks);
    }

    #[inline(always)]
    fn count(&self, allowed: bool, tier: usize, key: &impl Key) {
        if allowed {
            self.add(tier, ADMITTED);
            return;
        }
        let before = self.add(tier, REFUSED);
        if let Some(weight) = refused::sample(before) {
            self.note(key, weight);
        }
    }

    /// Notes who was refused.
    #[cold]
    fn note(&self, key: &impl Key, weight: u64) {
        let words = &self.object.words;
        let shown = Switches::read(words).shows_keys();
        key.with_bytes(|key| {
            let mark = self.object.region.hasher.hash(key).tag;
            let key = Some(key).filter(|_| shown);
            refused::note(words, AT_REFUSED, mark, weight, key);
        });
    }

    #[inline]
    fn tier(&self, name: Option<&str>) -> usize {
        let words = &self.object.words;
        match name {
            None => 0,
            Some(name) => tiers::find(words, name).unwrap_or_else(|| {
                stripes::add(words, AT_STATS, UNKNOWN_TIER, 1);
                0
            }),
        }
    }

    /// The rule of a tier's rate; everything passes a limiter that is disabled.
    #[inline]
    fn rule(&self, enabled: bool, tier: usize, rate: usize, table: &Table) -> Rule {
        match enabled {
            true => tiers::read(&self.object.words, tier, rate, table.form),
            false => Rule::UNLIMITED,
        }
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
    pub use super::options::OnFull;
    /// The sketch of the keys that are refused most.
    pub mod refused {
        pub use crate::limiter::refused::*;
    }
    pub use super::rule::{ticks_of, Rule, TICKS};
    pub use super::shape::Shape;
    pub use super::table::*;
    /// Names, and the rates of each.
    pub mod tiers {
        pub use crate::limiter::tiers::*;
    }
    pub use super::window::{Form, Slices};
    pub use super::{AT_STATS, AT_TABLES};
}
