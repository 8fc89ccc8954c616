//! Circuit breakers: stop calling what is down, and find out when it is back.

mod rule;
#[doc(hidden)]
pub mod words;

use crate::region::{EventKind, Geometry, Inner, Object, Request};
use crate::words::Words;
use crate::{Error, Kind, Result};
use rule::MILLION;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use words::{Observer, Ticket, WORDS};

/// Changes with the layout of a breaker's words.
pub(crate) const FORMAT: usize = WORDS << 8 | rule::BUCKETS;

const SUCCESSES: usize = words::STATS;
const FAILURES: usize = words::STATS + 1;
const IGNORED: usize = words::STATS + 2;
const REJECTED: usize = words::STATS + 3;
const LATE: usize = words::STATS + 4;
const OPENED: usize = words::STATS + 5;
const HALF_OPENED: usize = words::STATS + 6;
const CLOSED: usize = words::STATS + 7;
const PROBES: usize = words::STATS + 8;

/// When a breaker opens, for how long, and when it closes again.
///
/// ```
/// use forebay::BreakerOptions;
/// use std::time::Duration;
/// let options = BreakerOptions::new()
///     .failure_threshold(5)
///     .failure_rate(0.5)
///     .open_for(Duration::from_secs(30));
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerOptions {
    failure_threshold: u32,
    failure_rate: Option<f64>,
    volume_threshold: u32,
    window: Duration,
    open_for: Duration,
    success_threshold: u32,
    half_open_calls: u32,
    probe_lease: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        BreakerOptions {
            failure_threshold: 5,
            failure_rate: Some(0.5),
            volume_threshold: 10,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(60),
            success_threshold: 2,
            half_open_calls: 1,
            probe_lease: Duration::from_secs(30),
        }
    }
}

impl BreakerOptions {
    /// The defaults: opens after 5 failures in a row, or when half of at least
    /// 10 calls in 10 seconds failed; for 60 seconds; closes after 2 successes
    /// of one probe at a time, whose place is given away after 30 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Failures in a row that open it; 0 switches this off.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// The share of failures in the window that opens it (that or more),
    /// above 0 and up to 1, kept to a millionth; `None` switches this off.
    pub fn failure_rate(mut self, rate: impl Into<Option<f64>>) -> Self {
        self.failure_rate = rate.into();
        self
    }

    /// Calls in the window before the rate counts.
    pub fn volume_threshold(mut self, calls: u32) -> Self {
        self.volume_threshold = calls;
        self
    }

    /// The time window of the rate, counted in ten buckets; 10 ms to a day.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How long it stays open, 1 ms to 30 days, in whole milliseconds.
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Probes that must succeed to close it. One that fails opens it again.
    pub fn success_threshold(mut self, probes: u32) -> Self {
        self.success_threshold = probes;
        self
    }

    /// Probes at once while half-open, 1 to 16, over all processes.
    pub fn half_open_calls(mut self, probes: u32) -> Self {
        self.half_open_calls = probes;
        self
    }

    /// When a probe that has not reported is given up and its place goes to
    /// another, 1 ms to a day. It may still be running beside its successor;
    /// what it then reports counts as late.
    pub fn probe_lease(mut self, time: Duration) -> Self {
        self.probe_lease = time;
        self
    }

    /// The options as words; the checks name what they refuse.
    fn to_words(&self) -> Result<[u64; 8]> {
        let count = |name, given: u32, least: u32, most: u32| {
            if given < least || given > most {
                return Err(Error::invalid(
                    name,
                    given,
                    format_args!("{least} to {most}"),
                ));
            }
            Ok(u64::from(given))
        };
        let time = |name, given: Duration, least: u64, most: u64| {
            let ms = given.as_nanos().div_ceil(1_000_000);
            if ms < u128::from(least) || ms > u128::from(most) {
                return Err(Error::invalid(
                    name,
                    format_args!("{given:?}"),
                    format_args!(
                        "{:?} to {:?}",
                        Duration::from_millis(least),
                        Duration::from_millis(most)
                    ),
                ));
            }
            Ok(ms as u64)
        };
        const DAY: u64 = 86_400_000;
        let rate = match self.failure_rate {
            None => 0,
            // Written so that NaN is refused too.
            Some(rate) if rate > 0.0 && rate <= 1.0 => {
                ((rate * MILLION as f64).round() as u64).max(1)
            }
            Some(rate) => {
                return Err(Error::invalid(
                    "failure_rate",
                    rate,
                    "above 0 and at most 1",
                ))
            }
        };
        let window = time("window", self.window, 10, DAY)?;
        Ok([
            count("failure_threshold", self.failure_threshold, 0, 1_000_000)?,
            rate,
            count("volume_threshold", self.volume_threshold, 1, 500_000)?,
            window * 1_000_000 / rule::BUCKETS as u64,
            time("open_for", self.open_for, 1, 30 * DAY)?,
            count("success_threshold", self.success_threshold, 1, 1_000_000)?,
            count(
                "half_open_calls",
                self.half_open_calls,
                1,
                words::MOST_PROBES as u32,
            )?,
            time("probe_lease", self.probe_lease, 1, DAY)?,
        ])
    }
}

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Letting calls through.
    Closed,
    /// Letting probes through.
    HalfOpen,
    /// Rejecting calls.
    Open,
    /// Rejecting calls until told otherwise.
    ForcedOpen,
}

impl State {
    /// 0 closed, 1 half-open, 2 open, 3 forced open: above 1 means trouble.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// `closed`, `half-open`, `open` or `forced-open`.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
            State::ForcedOpen => "forced-open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It worked.
    Success,
    /// It failed.
    Failure,
    /// It says nothing about the other side: cancelled, or refused by it for a
    /// good reason.
    Ignored,
}

/// The breaker is open: do not call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The breaker's name.
    pub breaker: Arc<str>,
    /// When to try again, at the earliest.
    pub retry_after: Duration,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "breaker '{}' is open: retry after {:?}",
            self.breaker, self.retry_after
        )
    }
}

impl std::error::Error for Rejected {}

/// Why [`Breaker::call`] has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The call was not made.
    Rejected(Rejected),
    /// The call was made and failed.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Rejected(rejected) => rejected.fmt(f),
            CallError::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Rejected(_) => None,
            CallError::Failed(error) => Some(error),
        }
    }
}

/// Figures of a breaker since its creation: [`Breaker::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BreakerStats {
    /// Calls that worked and counted.
    pub successes: u64,
    /// Calls that failed and counted.
    pub failures: u64,
    /// Calls that were to be ignored.
    pub ignored: u64,
    /// Calls not let through.
    pub rejected: u64,
    /// Results that came when their generation was over; not among the above.
    pub late: u64,
    /// Times it opened.
    pub opened: u64,
    /// Times it half-opened.
    pub half_opened: u64,
    /// Times it closed.
    pub closed: u64,
    /// Probes let through.
    pub probes: u64,
}

/// A breaker in a region: [`Region::breaker`](crate::Region::breaker).
///
/// All processes share its state: five failures open it wherever they happen,
/// and while it is half-open there is one probe, not one for each process. A
/// result that comes after the state has moved on counts only as late. A
/// process that dies with a probe leaves a lease that passes on. Calls take no
/// lock, allocate nothing (but the name in a rejection is shared) and cannot fail.
#[derive(Clone)]
pub struct Breaker {
    object: Arc<Object>,
}

impl Breaker {
    pub(crate) fn open(
        region: &Arc<Inner>,
        name: &str,
        options: Option<BreakerOptions>,
    ) -> Result<Breaker> {
        let wanted = match &options {
            Some(options) => Some(options.to_words()?),
            None => None,
        };
        let geometry: Geometry = [WORDS as u64, 0, 0, 0, 0, 0];
        let object = crate::region::open(
            region,
            &Request {
                name,
                kind: Kind::Breaker,
                create: wanted.map(|_| geometry),
                words: |geometry| (geometry[0] == WORDS as u64).then_some(WORDS),
                check: &|_| Ok(()),
                configure: &|words, _| {
                    let mut changed = false;
                    for (at, value) in wanted.into_iter().flatten().enumerate() {
                        changed |= words.load(at, Relaxed) != value;
                        words.store(at, value, Relaxed);
                    }
                    Ok(changed)
                },
            },
        )?;
        Ok(Breaker {
            object: Arc::new(object),
        })
    }

    /// The breaker's name.
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// Leave to make one call, or a rejection. When closed this is one load.
    ///
    /// # Errors
    /// [`Rejected`] while the breaker is open, or half-open with its probes out.
    pub fn enter(&self) -> std::result::Result<Permit, Rejected> {
        match self.enter_raw() {
            Ok(ticket) => Ok(Permit {
                breaker: self.clone(),
                ticket: Some(ticket),
            }),
            Err(retry_after) => Err(Rejected {
                breaker: self.object.name.clone(),
                retry_after,
            }),
        }
    }

    /// [`Breaker::enter`] with a plain number for a permit, to be given to
    /// [`Breaker::leave`] exactly once: for bindings.
    ///
    /// # Errors
    /// When to try again, while the breaker is open.
    #[inline]
    pub fn enter_raw(&self) -> std::result::Result<u64, Duration> {
        let words = &self.object.words;
        let now = || self.object.region.clock.now();
        match words::enter(words, now, self) {
            Ok(ticket) => {
                if ticket.is_probe() {
                    words.add(PROBES, 1);
                }
                Ok(ticket.0)
            }
            Err(wait) => {
                words.add(REJECTED, 1);
                Err(Duration::from_millis(wait))
            }
        }
    }

    /// Takes a permit's number back with the call's outcome; false if it came
    /// too late to count, or is no permit at all.
    #[inline]
    pub fn leave(&self, permit: u64, outcome: Outcome) -> bool {
        let words = &self.object.words;
        let now = || self.object.region.clock.now();
        let counted = words::leave(words, Ticket(permit), outcome, now, self);
        let statistic = match outcome {
            _ if !counted => LATE,
            Outcome::Success => SUCCESSES,
            Outcome::Failure => FAILURES,
            Outcome::Ignored => IGNORED,
        };
        words.add(statistic, 1);
        counted
    }

    /// Calls `f` if the breaker lets it through, and reports how it ended. A
    /// panic in `f` counts as a failure.
    ///
    /// # Errors
    /// [`CallError::Rejected`] or what `f` returned.
    pub fn call<T, E>(
        &self,
        f: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, CallError<E>> {
        let permit = self.enter().map_err(CallError::Rejected)?;
        match f() {
            Ok(value) => {
                permit.success();
                Ok(value)
            }
            Err(error) => {
                permit.failure();
                Err(CallError::Failed(error))
            }
        }
    }

    /// The state, as last changed: an open breaker whose time is up says
    /// half-open when the first call enters, not before.
    pub fn state(&self) -> State {
        words::state(&self.object.words)
    }

    /// Figures since the breaker's creation.
    pub fn stats(&self) -> BreakerStats {
        let word = |at| self.object.words.load(at, Relaxed);
        BreakerStats {
            successes: word(SUCCESSES),
            failures: word(FAILURES),
            ignored: word(IGNORED),
            rejected: word(REJECTED),
            late: word(LATE),
            opened: word(OPENED),
            half_opened: word(HALF_OPENED),
            closed: word(CLOSED),
            probes: word(PROBES),
        }
    }
}

impl Observer for Breaker {
    #[cold]
    fn transition(&self, to: State, generation: u64) {
        let (event, statistic) = match to {
            State::Closed => (EventKind::BreakerClosed, CLOSED),
            State::HalfOpen => (EventKind::BreakerHalfOpened, HALF_OPENED),
            State::Open | State::ForcedOpen => (EventKind::BreakerOpened, OPENED),
        };
        self.object.words.add(statistic, 1);
        let now = self.object.region.clock.now();
        self.object.event(now, event, generation);
    }

    fn holder(&self) -> u64 {
        self.object.region.seats.short_name()
    }

    fn holder_is_dead(&self, holder: u64) -> bool {
        self.object.region.seats.short_name_is_dead(holder)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Leave to make one call. Dropped without a word, by `?` or a panic, it
/// counts as a failure.
#[must_use = "a permit that is dropped counts as a failure"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<u64>,
}

impl Permit {
    /// The call worked.
    pub fn success(mut self) {
        self.done(Outcome::Success);
    }

    /// The call failed.
    pub fn failure(mut self) {
        self.done(Outcome::Failure);
    }

    /// The call says nothing about the other side.
    pub fn ignore(mut self) {
        self.done(Outcome::Ignored);
    }

    /// The permit as a number for [`Breaker::leave`].
    pub fn into_raw(mut self) -> u64 {
        self.ticket.take().expect("a permit is spent only once")
    }

    fn done(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.leave(ticket, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.done(Outcome::Failure);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", &self.breaker.name())
            .finish_non_exhaustive()
    }
}
