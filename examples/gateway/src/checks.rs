//! What must have happened, compared with what did. Each check has a name, and a
//! sentence with the figures that it judged; each must be able to fail.

use crate::counted::{Counted, Leftovers};
use crate::log::Log;
use crate::model::strict_hit_ratio;
use crate::objects::{FAILURE_THRESHOLD, HALF_OPEN_CALLS};
use crate::origin::{phase, Phase};
use crate::outcome::{Outcome, Tally};
use crate::play::{Batch, Play};
use std::collections::BTreeSet;
use std::time::Duration;

/// Clocks of two processes differ by less, in nanoseconds.
const CLOCK_SLACK: u64 = 1_000;
/// Points of hit ratio that approximate, sharded LRU may lose to strict LRU.
const HIT_RATIO_SLACK: f64 = 0.01;
/// Calls that surely open a breaker, or close it.
const ENOUGH_CALLS: usize = 50;

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Whether it does.
    pub verdict: Verdict,
    /// The figures, or why it does not apply.
    pub detail: String,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// This run cannot tell.
    NotApplicable,
}

impl Check {
    fn new(name: &'static str, holds: bool, detail: String) -> Check {
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        Check {
            name,
            verdict,
            detail,
        }
    }

    fn not_applicable(name: &'static str, why: &str) -> Check {
        Check {
            name,
            verdict: Verdict::NotApplicable,
            detail: why.to_owned(),
        }
    }
}

/// All that the checks judge.
pub struct Evidence<'a> {
    /// What was played.
    pub log: &'a Log,
    /// What happened.
    pub play: &'a Play,
    /// What the region counted.
    pub counted: Counted,
    /// What the cache held in the end.
    pub leftovers: Leftovers,
    /// How long the breaker stays open.
    pub open_for: Duration,
}

impl Evidence<'_> {
    /// All checks.
    pub fn checks(&self) -> Vec<Check> {
        vec![
            self.no_client_exceeds_its_bound(),
            self.the_abuser_gets_its_share(),
            self.no_honest_client_is_refused(),
            self.hit_ratio_is_that_of_strict_lru(),
            self.the_breaker_opens_and_closes(),
            self.the_failing_origin_is_spared(),
            self.no_live_bucket_is_evicted(),
            self.workers_and_region_count_alike(),
            self.every_body_is_its_own(),
        ]
    }

    fn no_client_exceeds_its_bound(&self) -> Check {
        let mut closest = (0.0, String::from("nobody asked"));
        let mut exceeded = 0;
        for (client, use_) in self.log.clients.iter().zip(self.uses()) {
            let elapsed = use_.until.saturating_sub(use_.since) + CLOCK_SLACK;
            let bound = client.tier.bound(self.log.minute, elapsed);
            exceeded += u64::from(use_.admitted as f64 > bound);
            let share = use_.admitted as f64 / bound;
            if share > closest.0 {
                let (name, admitted) = (&client.name, use_.admitted);
                closest = (share, format!("closest: {name}, {admitted} of {bound:.1}"));
            }
        }
        Check::new(
            "no client is admitted more than burst + rate x elapsed",
            exceeded == 0,
            match exceeded {
                0 => closest.1,
                _ => format!("{exceeded} clients are; {}", closest.1),
            },
        )
    }

    fn the_abuser_gets_its_share(&self) -> Check {
        const NAME: &str = "the abuser is admitted at least 99 % of its bound";
        let Some(cast) = self.log.cast else {
            return Check::not_applicable(NAME, "nobody is known to be an abuser");
        };
        let tier = self.log.clients[cast.abuser as usize].tier;
        let mut batches: Vec<&Batch> = (self.play.batches.iter())
            .filter(|batch| {
                (self.log.requests[batch.requests.clone()].iter()).any(|r| r.client == cast.abuser)
            })
            .collect();
        batches.sort_by_key(|batch| batch.dealt);
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Check::not_applicable(NAME, "the abuser asked for nothing");
        };
        // Whatever drips into a full bucket is lost: a pause longer than the
        // bucket takes to fill is not the abuser's to have.
        let full = self.log.minute.as_nanos() as u64;
        let lost: u64 = (batches.windows(2))
            .map(|two| (two[1].done.saturating_sub(two[0].dealt)).saturating_sub(full))
            .sum();
        let sure = last.dealt.saturating_sub(first.done).saturating_sub(lost);
        let bound = tier.bound(self.log.minute, sure);
        let asked = (self.log.requests.iter().filter(|r| r.client == cast.abuser)).count();
        if (asked as f64) < 3.0 * bound {
            return Check::not_applicable(NAME, "the log is too short for enough abuse");
        }
        let admitted = self.uses()[cast.abuser as usize].admitted;
        Check::new(
            NAME,
            // Less one, as tokens are whole.
            admitted as f64 >= bound * 0.99 - 1.0,
            format!("{admitted} of at least {bound:.1} due, {asked} asked for"),
        )
    }

    fn no_honest_client_is_refused(&self) -> Check {
        const NAME: &str = "no honest client is refused";
        let Some(cast) = self.log.cast else {
            return Check::not_applicable(NAME, "nobody is known to be honest");
        };
        let mut refused = 0;
        for (request, outcome) in self.log.requests.iter().zip(&self.play.outcomes) {
            let honest = request.client != cast.abuser;
            refused += u64::from(honest && *outcome == Outcome::Limited);
        }
        let honest = self.log.clients.len() - 1;
        let detail = format!("{refused} refusals of {honest} honest clients");
        Check::new(NAME, refused == 0, detail)
    }

    fn hit_ratio_is_that_of_strict_lru(&self) -> Check {
        let ratio = Tally::of(&self.play.outcomes).hit_ratio();
        let strict = self.strict_hit_ratio();
        Check::new(
            "the hit ratio is at most 1 point below strict LRU's",
            ratio >= strict - HIT_RATIO_SLACK,
            format!("{:.2} %, strict LRU {:.2} %", ratio * 100.0, strict * 100.0),
        )
    }

    /// What strict LRU reaches in the memory that the cache has for entries.
    pub fn strict_hit_ratio(&self) -> f64 {
        let pages = &self.counted.pages;
        let entries = pages.max_entries as usize;
        strict_hit_ratio(self.log, &self.play.outcomes, pages.bytes_capacity, entries)
    }

    fn the_breaker_opens_and_closes(&self) -> Check {
        const NAME: &str = "the breaker opens when the origin fails, and closes again";
        let failing = self.calls_between(55, 65);
        // By then the last time that it was open is over.
        let open = self.open_for.as_nanos() * 100 / self.log.run.as_nanos().max(1) + 1;
        let recovered = self.calls_between(65 + open as u64, u64::MAX);
        if failing < ENOUGH_CALLS || recovered < ENOUGH_CALLS {
            return Check::not_applicable(
                NAME,
                "the log has too few misses while or after it fails",
            );
        }
        let it = &self.counted.origin;
        Check::new(
            NAME,
            it.opened >= 1 && it.closed >= 1,
            format!(
                "opened {}, half-open {}, closed {} times",
                it.opened, it.half_opened, it.closed
            ),
        )
    }

    fn the_failing_origin_is_spared(&self) -> Check {
        let failed = Tally::of(&self.play.outcomes).failed;
        let workers: BTreeSet<usize> = (self.play.batches.iter())
            .filter(|batch| self.percent(batch.dealt) < 65 && self.percent(batch.done) >= 55)
            .map(|batch| batch.worker)
            .collect();
        let in_flight = (workers.len() as u64).saturating_sub(1);
        let reopened = self.counted.origin.opened.saturating_sub(1);
        let probes = reopened * u64::from(HALF_OPEN_CALLS);
        // A success that the breaker hears of late may interrupt the failures.
        let straddled: u64 = self.play.workers.iter().map(|w| w.summary.straddled).sum();
        let threshold = u64::from(FAILURE_THRESHOLD);
        let bound = threshold + in_flight + probes + straddled * (threshold - 1);
        Check::new(
            "the failing origin is called no more than it takes to know",
            failed <= bound,
            format!(
                "{failed} calls failed; at most {bound}: {threshold} to open, {in_flight} in flight, {probes} probes{}",
                match straddled {
                    0 => String::new(),
                    _ => format!(", {straddled} late successes"),
                }
            ),
        )
    }

    fn no_live_bucket_is_evicted(&self) -> Check {
        let it = &self.counted.clients;
        Check::new(
            "no live bucket is evicted, no tier unknown",
            it.evicted_live == 0 && it.unknown_tier == 0,
            format!(
                "{} evicted, {} unknown, {} slots",
                it.evicted_live, it.unknown_tier, it.slots
            ),
        )
    }

    fn workers_and_region_count_alike(&self) -> Check {
        let mut tally = Tally::default();
        let mut stored = 0;
        let mut differences = Vec::new();
        for (number, worker) in self.play.workers.iter().enumerate() {
            if worker.tally != worker.summary.tally {
                differences.push(format!("worker {} answered and summed up", number + 1));
            }
            tally += worker.summary.tally;
            stored += worker.summary.stored;
        }
        let Counted {
            clients,
            pages,
            origin,
            recorded,
        } = &self.counted;
        let heard = origin.successes + origin.failures + origin.late + origin.ignored;
        for (what, workers, region) in [
            ("requests", tally.served, self.log.requests.len() as u64),
            ("recorded", tally.served, *recorded),
            ("refused", tally.limited, clients.refused),
            ("admitted", tally.served - tally.limited, clients.admitted),
            ("hits", tally.hits, pages.hits),
            ("misses", tally.misses(), pages.misses),
            ("sets", stored, pages.sets),
            ("rejected", tally.rejected, origin.rejected),
            ("calls", tally.fetched + tally.failed, heard),
        ] {
            if workers != region {
                differences.push(format!("{what} {workers} and {region}"));
            }
        }
        Check::new(
            "workers and region count alike",
            differences.is_empty(),
            match differences.as_slice() {
                [] => "requests, admitted, refused, hits, misses, sets, calls, rejected, recorded"
                    .to_owned(),
                _ => format!("they differ: {}", differences.join("; ")),
            },
        )
    }

    fn every_body_is_its_own(&self) -> Check {
        let hits = Tally::of(&self.play.outcomes).hits;
        let (found, entries) = (self.leftovers.pages, self.counted.pages.entries);
        // A write that finds its shard held makes older entries unreadable, so
        // that none outlives it; they go when their room is needed.
        let busy = self.counted.pages.busy;
        let complete = found == entries || (busy > 0 && found < entries);
        Check::new(
            "every cached body is its key's, byte for byte",
            self.leftovers.wrong.is_none() && complete,
            match &self.leftovers.wrong {
                Some(wrong) => wrong.clone(),
                None if busy == 0 => format!("{hits} hits; then {found} of {entries} entries"),
                None => {
                    format!("{hits} hits; then {found} of {entries} entries (busy writes: {busy})")
                }
            },
        )
    }

    /// How much of the run had passed, in percent.
    fn percent(&self, now: u64) -> u64 {
        let elapsed = u128::from(now.saturating_sub(self.play.span.start));
        (elapsed * 100 / self.log.run.as_nanos().max(1)) as u64
    }

    /// Requests that wanted the origin, in batches served wholly within the
    /// percents `from..to` of the run.
    fn calls_between(&self, from: u64, to: u64) -> usize {
        (self.play.batches.iter())
            .filter(|batch| self.percent(batch.dealt) >= from && self.percent(batch.done) < to)
            .flat_map(|batch| &self.play.outcomes[batch.requests.clone()])
            .filter(|outcome| !matches!(outcome, Outcome::Limited | Outcome::Hit))
            .count()
    }

    /// What each client got, and when at the earliest and latest.
    fn uses(&self) -> Vec<Use> {
        let mut uses = vec![Use::default(); self.log.clients.len()];
        for batch in &self.play.batches {
            for number in batch.requests.clone() {
                let it = &mut uses[self.log.requests[number].client as usize];
                it.since = it.since.min(batch.dealt);
                it.until = it.until.max(batch.done);
                it.admitted += u64::from(self.play.outcomes[number] != Outcome::Limited);
            }
        }
        uses
    }

    /// The phase of the origin at a time of the region.
    pub fn phase(&self, now: u64) -> Phase {
        phase(now.saturating_sub(self.play.span.start), self.log.run)
    }
}

/// What one client got.
#[derive(Clone)]
struct Use {
    admitted: u64,
    since: u64,
    until: u64,
}

impl Default for Use {
    fn default() -> Self {
        Use {
            admitted: 0,
            since: u64::MAX,
            until: 0,
        }
    }
}

/// Nothing of the region is left when everybody has closed it.
pub fn nothing_is_left_behind(path: Option<&std::path::Path>, others: u64) -> Check {
    const NAME: &str = "nothing is left behind";
    match path {
        None => Check::not_applicable(NAME, "the region has no file"),
        Some(_) if others > 0 => Check::not_applicable(
            NAME,
            "another process has the region open: it is that one's now",
        ),
        Some(path) => Check::new(NAME, !path.exists(), path.display().to_string()),
    }
}

#[cfg(test)]
mod tests;
