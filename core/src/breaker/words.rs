//! The breaker's rule applied to words that many share.
//!
//! A permit from the closed state is a generation; a probe's permit names its
//! lease too, and counts only if the exchange that gives back *that* lease
//! succeeds. Nothing here waits; whoever dies leaves a lease that expires.

use super::rule::{rate_trips, Bucket, Lease, Tally, Word, BUCKETS, MS};
use super::{Outcome, State};
use crate::words::{update, Words};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

// Options, one word each, so that each may change at any time.
/// Consecutive failures that open; 0 off.
pub const FAILURE_THRESHOLD: usize = 0;
/// Failures in a million calls of the window that open; 0 off.
pub const FAILURE_RATE: usize = 1;
/// Calls in the window before the rate counts.
pub const VOLUME_THRESHOLD: usize = 2;
/// Nanoseconds of one bucket of the window.
pub const BUCKET_NS: usize = 3;
/// Milliseconds that it stays open.
pub const OPEN_MS: usize = 4;
/// Probes that must succeed to close.
pub const SUCCESS_THRESHOLD: usize = 5;
/// Probes at once.
pub const HALF_OPEN_CALLS: usize = 6;
/// Milliseconds until a probe's place is given to another.
pub const PROBE_LEASE_MS: usize = 7;

/// How often entering starts over, when others change the state, before it is
/// told to wait.
const ROUNDS: usize = 64;

const STATE: usize = 8;
const RUN: usize = 9;
const PROBES: usize = 10;
const WINDOW: usize = 16;
const LEASES: usize = 32;
/// Most probes at once.
pub const MOST_PROBES: usize = 16;
/// First statistic.
pub const STATS: usize = 48;
/// Words of a breaker: half a KiB.
pub const WORDS: usize = 64;

const _: () = assert!(WINDOW + BUCKETS <= LEASES);
const _: () = assert!(LEASES + MOST_PROBES <= STATS);

/// What happened, for events and statistics.
pub trait Observer {
    /// A transition to this state began this generation.
    fn transition(&self, to: State, generation: u64);
    /// This process as leases name it, in 16 bits; 0 if it has no such name.
    fn holder(&self) -> u64;
    /// Whether the kernel proves that this one is gone.
    fn holder_is_dead(&self, holder: u64) -> bool;
}

/// Leave to make one call, as a number:
///
/// ```text
/// ┌ generation 20 ┬ lease + 1, 8 bits; 0 none ┬ expiry 36, ms ┐
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

impl Ticket {
    fn new(generation: u64, lease: Option<(usize, u64)>) -> Ticket {
        let (lease, expiry) = lease.map_or((0, 0), |(lease, expiry)| (lease as u64 + 1, expiry));
        Ticket(generation << 44 | lease << 36 | expiry)
    }

    fn generation(self) -> u64 {
        self.0 >> 44
    }

    fn lease(self) -> Option<(usize, u64)> {
        let lease = (self.0 >> 36 & 0xff) as usize;
        (lease != 0).then(|| ((lease - 1) % MOST_PROBES, self.0 & MS))
    }

    /// Whether this is leave to probe.
    pub fn is_probe(self) -> bool {
        self.lease().is_some()
    }
}

/// Asks for leave to call, `now` in nanoseconds; else how many milliseconds to wait.
#[inline]
pub fn enter<W: Words>(
    words: &W,
    now: impl FnOnce() -> u64,
    observer: &impl Observer,
) -> Result<Ticket, u64> {
    let word = Word::unpack(words.load(STATE, Acquire));
    match word.state {
        // The usual way in: one load, and no clock.
        State::Closed => Ok(Ticket::new(word.generation, None)),
        State::ForcedOpen => Err(MS),
        _ => enter_slowly(words, now() / 1_000_000, observer),
    }
}

#[cold]
fn enter_slowly<W: Words>(words: &W, now: u64, observer: &impl Observer) -> Result<Ticket, u64> {
    for _ in 0..ROUNDS {
        let found = words.load(STATE, Acquire);
        let word = Word::unpack(found);
        match word.state {
            State::Closed => return Ok(Ticket::new(word.generation, None)),
            State::ForcedOpen => return Err(MS),
            State::Open => {
                // A deadline further ahead than it can have been set is
                // damage; the breaker must not be stuck for it.
                let longest = words.load(OPEN_MS, Relaxed).min(MS);
                let wait = word.deadline.saturating_sub(now).min(longest);
                if wait > 0 {
                    return Err(wait);
                }
                let half_open = word.half_opened();
                if words.cas(STATE, found, half_open.pack()).is_ok() {
                    observer.transition(State::HalfOpen, half_open.generation);
                }
            }
            State::HalfOpen => {
                let lease = take_lease(words, word.generation, now, observer)?;
                // If the period ended meanwhile the place is nobody's: ask again.
                if words.load(STATE, Acquire) == found {
                    return Ok(Ticket::new(word.generation, Some(lease)));
                }
            }
        }
    }
    Err(1)
}

/// Takes a probe's place: its number and its expiry; else how long to wait.
fn take_lease<W: Words>(
    words: &W,
    generation: u64,
    now: u64,
    observer: &impl Observer,
) -> Result<(usize, u64), u64> {
    let places = (words.load(HALF_OPEN_CALLS, Relaxed) as usize).clamp(1, MOST_PROBES);
    let longest = words.load(PROBE_LEASE_MS, Relaxed).min(MS);
    let mut soonest = MS;
    for place in 0..places {
        let found = words.load(LEASES + place, Acquire);
        let lease = Lease::unpack(found);
        let wait = lease.expiry.saturating_sub(now);
        let taken = found != 0
            && lease.is_of(generation)
            && wait > 0
            && wait <= longest
            && !observer.holder_is_dead(lease.holder);
        if taken {
            soonest = soonest.min(wait);
            continue;
        }
        let mine = Lease {
            generation,
            holder: observer.holder(),
            expiry: (now + longest.max(1)).min(MS),
        };
        if words.cas(LEASES + place, found, mine.pack()).is_ok() {
            return Ok((place, mine.expiry));
        }
        // Somebody was faster; theirs is as fresh as mine would have been.
        soonest = soonest.min(longest);
    }
    Err(soonest.max(1))
}

/// Takes back a ticket with its outcome; false if it came too late to count.
#[inline]
pub fn leave<W: Words>(
    words: &W,
    ticket: Ticket,
    outcome: Outcome,
    now: impl FnOnce() -> u64,
    observer: &impl Observer,
) -> bool {
    match ticket.lease() {
        Some((place, expiry)) => leave_probe(
            words,
            ticket.generation(),
            place,
            expiry,
            outcome,
            now,
            observer,
        ),
        None => leave_closed(words, ticket.generation(), outcome, now, observer),
    }
}

fn leave_closed<W: Words>(
    words: &W,
    generation: u64,
    outcome: Outcome,
    now: impl FnOnce() -> u64,
    observer: &impl Observer,
) -> bool {
    let found = words.load(STATE, Acquire);
    let word = Word::unpack(found);
    if word.state != State::Closed || word.generation != generation {
        return false;
    }
    if outcome == Outcome::Ignored {
        return true;
    }
    let failed = outcome == Outcome::Failure;
    let mut trips = false;
    let threshold = words.load(FAILURE_THRESHOLD, Relaxed);
    if threshold != 0 {
        let run = words.load(RUN, Relaxed);
        if failed {
            trips |= add(words, RUN, generation) >= threshold;
        } else if Tally(run).count(generation) != 0 {
            // Losing the race to a failure is as good as having been earlier.
            let _ = words.cas(RUN, run, Tally::of(generation, 0).0);
        }
    }
    let rate = words.load(FAILURE_RATE, Relaxed);
    if rate == 0 && !trips {
        // Nothing here depends on the time.
        return true;
    }
    let now = now();
    if rate != 0 {
        let epoch = now / words.load(BUCKET_NS, Relaxed).max(1);
        count(words, epoch, generation, failed);
        let (failures, calls) = window(words, epoch, generation);
        let volume = words.load(VOLUME_THRESHOLD, Relaxed);
        trips |= rate_trips(failures, calls, volume, rate);
    }
    if trips {
        trip(words, found, now, observer);
    }
    true
}

/// Opens a closed or half-open breaker.
fn trip<W: Words>(words: &W, found: u64, now: u64, observer: &impl Observer) {
    // Rounded up: never half-open before its time.
    let deadline = now.div_ceil(1_000_000) + words.load(OPEN_MS, Relaxed).min(MS);
    let open = Word::unpack(found).opened(deadline);
    if words.cas(STATE, found, open.pack()).is_ok() {
        observer.transition(State::Open, open.generation);
    }
}

/// Adds one to a tally of this generation; returns the new count. Where an
/// adversary keeps it from being stored it decides this once and is lost.
fn add<W: Words>(words: &W, at: usize, generation: u64) -> u64 {
    let counted = update(words, at, Relaxed, |found| {
        let count = Tally(found).count(generation) + 1;
        Some(Tally::of(generation, count).0)
    });
    let (Ok(Some(word)) | Err(word)) = counted else {
        return 0;
    };
    Tally(word).count(generation)
}

/// Counts a call in the window; lost where an adversary keeps it from being
/// stored.
fn count<W: Words>(words: &W, epoch: u64, generation: u64, failed: bool) {
    let at = WINDOW + (epoch % BUCKETS as u64) as usize;
    let _ = update(words, at, Relaxed, |found| {
        let bucket = Bucket::unpack(found).with(epoch, generation, failed);
        Some(bucket.pack())
    });
}

/// Failures and calls in the window that ends with this stretch.
fn window<W: Words>(words: &W, epoch: u64, generation: u64) -> (u64, u64) {
    let mut sums = (0, 0);
    for back in 0..BUCKETS as u64 {
        let Some(epoch) = epoch.checked_sub(back) else {
            break;
        };
        let word = words.load(WINDOW + (epoch % BUCKETS as u64) as usize, Relaxed);
        let bucket = Bucket::unpack(word);
        if bucket.is(epoch, generation) {
            sums.0 += bucket.failures;
            sums.1 += bucket.calls;
        }
    }
    sums
}

fn leave_probe<W: Words>(
    words: &W,
    generation: u64,
    place: usize,
    expiry: u64,
    outcome: Outcome,
    now: impl FnOnce() -> u64,
    observer: &impl Observer,
) -> bool {
    let at = LEASES + place;
    let held = words.load(at, Acquire);
    let lease = Lease::unpack(held);
    if held == 0 || !lease.is_of(generation) || lease.expiry != expiry {
        return false;
    }
    // Only who gives back its own lease is heard.
    if words.cas(at, held, 0).is_err() {
        return false;
    }
    let found = words.load(STATE, Acquire);
    let word = Word::unpack(found);
    if word.state != State::HalfOpen || word.generation != generation {
        return false;
    }
    match outcome {
        Outcome::Ignored => {}
        Outcome::Failure => trip(words, found, now(), observer),
        Outcome::Success => {
            let threshold = words.load(SUCCESS_THRESHOLD, Relaxed).max(1);
            if add(words, PROBES, generation) >= threshold {
                let closed = word.closed();
                if words.cas(STATE, found, closed.pack()).is_ok() {
                    observer.transition(State::Closed, closed.generation);
                }
            }
        }
    }
    true
}

/// The state, as last changed: an open breaker whose time is up half-opens
/// when somebody enters.
pub fn state<W: Words>(words: &W) -> State {
    Word::unpack(words.load(STATE, Acquire)).state
}
