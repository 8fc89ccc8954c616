//! Permits: so many at once of each key, as leases that end by themselves.

mod rule;
#[doc(hidden)]
pub mod words;

use crate::hash::Hash;
use crate::region::lock::{Owner, Participant, Stuck};
use crate::region::{Geometry, Inner, Object, Request};
use crate::stripes;
use crate::words::{Span, Words};
use crate::{Error, Key, Kind, Result};
use rule::{plan, Word, LONGEST, MOST_LIMIT};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use words::{shard_words, Ask, End, Held, Refusal, Shard, Witness};

/// Changes with the layout of permits' words.
pub(crate) const FORMAT: usize = AT_SHARDS << 8 | shard_words(1);

/// Leases of a key at once.
const AT_LIMIT: usize = 0;
/// Milliseconds of a lease.
const AT_LEASE: usize = 1;
const AT_STATS: usize = 16;
const AT_SHARDS: usize = AT_STATS + stripes::WORDS;

const GRANTED: usize = 0;
const REFUSED: usize = 1;
const FULL: usize = 2;
const BUSY: usize = 3;
const EXPIRED: usize = 4;
const REAPED: usize = 5;

const _: () = assert!(AT_SHARDS.is_multiple_of(crate::stripes::STRIPE_WORDS));

/// How many at once, and for how long at most.
///
/// ```
/// use forebay::PermitsOptions;
/// use std::time::Duration;
/// let options = PermitsOptions::new(3)
///     .lease(Duration::from_secs(20))
///     .max_leases(1_000);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitsOptions {
    limit: u64,
    lease: Duration,
    max_leases: Option<u64>,
}

impl PermitsOptions {
    /// So many leases of a key at once, 1 to 4,096. When it is lowered, the
    /// leases that there are go on; when it is raised, it may be beyond what
    /// the permits were created for, which is an error.
    pub fn new(limit: u64) -> Self {
        PermitsOptions {
            limit,
            lease: Duration::from_secs(60),
            max_leases: None,
        }
    }

    /// When a lease ends by itself that is neither released nor renewed, 1 ms
    /// to 30 days, in whole milliseconds; a minute unless told. Its holder may
    /// still be at work then, beside the next one: choose more than the work
    /// takes, or renew.
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// Leases of all keys together, from the limit to 16,777,216; 4,096 unless
    /// told. Each takes about 50 bytes, twice that at worst. Fixed when the
    /// permits are created.
    pub fn max_leases(mut self, max_leases: u64) -> Self {
        self.max_leases = Some(max_leases);
        self
    }

    /// The options that may change, as words.
    fn to_words(&self) -> Result<[u64; 2]> {
        if self.limit == 0 || self.limit > MOST_LIMIT {
            return Err(Error::invalid(
                "limit",
                self.limit,
                format_args!("1 to {MOST_LIMIT}"),
            ));
        }
        let ms = self.lease.as_nanos().div_ceil(1_000_000);
        if ms == 0 || ms > u128::from(LONGEST) {
            return Err(Error::invalid(
                "lease",
                format_args!("{:?}", self.lease),
                format_args!("1ms to {:?}", Duration::from_millis(LONGEST)),
            ));
        }
        Ok([self.limit, ms as u64])
    }
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The key has as many leases as it may.
    Limit,
    /// There is no room for another lease: raise `max_leases`.
    Full,
    /// A process that is stopped, or that is much at work, has the lock of the
    /// key's shard; or this process found no seat.
    Busy,
}

impl Reason {
    /// `limit`, `full` or `busy`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Limit => "limit",
            Reason::Full => "full",
            Reason::Busy => "busy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no permit now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The permits' name.
    pub permits: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// When one of the leases in the way has ended, at the latest, unless it is
    /// renewed; most end before, by being released. `None` for
    /// [`Reason::Busy`].
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            Reason::Limit => "are all out",
            Reason::Full => "have no room for another lease",
            Reason::Busy => "are held by another participant",
        };
        write!(f, "the permits '{}' {why}", self.permits)?;
        match self.retry_after {
            Some(time) => write!(f, ": retry within {time:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

/// Figures of permits since their creation: [`Permits::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PermitsStats {
    /// Leases granted.
    pub granted: u64,
    /// Refusals because of the limit.
    pub refused: u64,
    /// Refusals because there was no room.
    pub full: u64,
    /// Refusals because the shard could not be had.
    pub busy: u64,
    /// Leases whose time was over before they were released.
    pub expired: u64,
    /// Leases whose holders had died.
    pub reaped: u64,
}

/// A lease as numbers: [`Lease::into_raw`]. It means something to this process
/// only, for these permits only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLease {
    /// Which record.
    pub record: u64,
    /// The record's word while it is this lease.
    pub word: u64,
}

/// Permits in a region: [`Region::permits`](crate::Region::permits).
///
/// Of each key at most `limit` leases are live at once, over all threads and
/// processes, whichever of them are killed or stopped. A lease is live from
/// [`Permits::try_acquire`] until it is released, or its time is over, or its
/// holder's process has ended. One whose process was killed is given to the
/// next who asks; one whose process is stopped is kept until its time is over.
/// **A lease whose time is over does not stop its holder**: who works on
/// without [renewing](Lease::renew) works beside the next one.
///
/// A call takes the lock of one of the shards, for as long as it takes to look
/// at the shard's leases, and allocates nothing (but the name in a refusal is
/// shared). Releasing and renewing take no lock. Nothing waits but for that
/// lock, a bounded while.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{PermitsOptions, Region};
/// let exports = Region::private()?.permits("exports", PermitsOptions::new(2))?;
/// let first = exports.try_acquire("ada").unwrap();
/// let _second = exports.try_acquire("ada").unwrap();
/// assert!(exports.try_acquire("ada").is_err());
/// first.release(); // dropping it does the same
/// assert!(exports.try_acquire("ada").is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Permits {
    object: Arc<Object>,
    shards: usize,
    records: usize,
    stuck: Arc<[Stuck]>,
}

/// A call to the region, as the words see it.
struct Call<'a>(&'a Object);

impl Participant for Call<'_> {
    fn owner(&self) -> Option<Owner> {
        self.0.region.seats.owner()
    }

    fn is_dead(&self, owner: Owner) -> bool {
        self.0.region.seats.is_dead(owner)
    }

    fn give_way(&self) {
        self.0.region.seats.give_way();
    }
}

impl Witness for Call<'_> {
    fn now(&self) -> u64 {
        self.0.region.clock.now()
    }

    fn seated(&self) -> Option<Owner> {
        self.0.region.seats.seated()
    }

    fn ended(&self, how: End) {
        let statistic = match how {
            End::Expired => EXPIRED,
            End::Reaped => REAPED,
        };
        stripes::add(&self.0.words, AT_STATS, statistic, 1);
    }
}

impl Permits {
    pub(crate) fn open(
        region: &Arc<Inner>,
        name: &str,
        options: Option<PermitsOptions>,
    ) -> Result<Permits> {
        let (wanted, geometry) = match &options {
            Some(options) => (
                Some(options.to_words()?),
                Some(plan(options.limit, options.max_leases)?),
            ),
            None => (None, None),
        };
        let object = crate::region::open(
            region,
            &Request {
                name,
                kind: Kind::Permits,
                create: geometry,
                words: words_for,
                check: &|geometry| options.as_ref().map_or(Ok(()), |o| fits(name, o, geometry)),
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
        let [shards, records, ..] = object.geometry.map(|size| size as usize);
        Ok(Permits {
            object: Arc::new(object),
            shards,
            records,
            stuck: (0..shards).map(|_| Stuck::default()).collect(),
        })
    }

    /// The permits' name.
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// A permit for this key, if there is one; it does not wait for one.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_acquire(&self, key: impl Key) -> std::result::Result<Lease, Refused> {
        match self.try_acquire_raw(key) {
            Ok(raw) => Ok(Lease {
                permits: self.clone(),
                raw,
                ended: false,
            }),
            Err((reason, retry_after)) => Err(Refused {
                permits: self.object.name.clone(),
                reason,
                retry_after,
            }),
        }
    }

    /// [`Permits::try_acquire`] with plain numbers for a lease, to be given to
    /// [`Permits::release_raw`]: for bindings.
    ///
    /// # Errors
    /// Why there is none, and when to try again.
    pub fn try_acquire_raw(
        &self,
        key: impl Key,
    ) -> std::result::Result<RawLease, (Reason, Option<Duration>)> {
        let hash = self.hash(key);
        let number = self.shard_of(hash);
        let ask = Ask {
            tag: hash.tag,
            limit: self.words().load(AT_LIMIT, Relaxed).clamp(1, MOST_LIMIT),
            lease: self.lease_ms(),
        };
        let answer = self
            .shard(number)
            .acquire(&ask, &self.stuck[number], &Call(&self.object));
        let (statistic, answer) = match answer {
            Ok(held) => (GRANTED, Ok(self.raw(number, held))),
            Err(Refusal::Limit(wait)) => (REFUSED, Err((Reason::Limit, Some(wait)))),
            Err(Refusal::Full(wait)) => (FULL, Err((Reason::Full, Some(wait)))),
            Err(Refusal::Busy) => (BUSY, Err((Reason::Busy, None))),
        };
        stripes::add(self.words(), AT_STATS, statistic, 1);
        answer.map_err(|(reason, wait)| (reason, wait.map(Duration::from_nanos)))
    }

    /// Ends a lease; false if it had ended before, belongs to another process
    /// (a child of `fork` has none of its parent's), or is no lease at all.
    pub fn release_raw(&self, lease: RawLease) -> bool {
        self.held(lease)
            .is_some_and(|(number, held)| self.shard(number).release(held, &Call(&self.object)))
    }

    /// Has a lease end as late as one acquired now would: the numbers to give
    /// back from then on. `None` as [`Permits::release_raw`] is false.
    pub fn renew_raw(&self, lease: RawLease) -> Option<RawLease> {
        let (number, held) = self.held(lease)?;
        self.shard(number)
            .renew(held, self.lease_ms(), &Call(&self.object))
            .map(|held| self.raw(number, held))
    }

    /// How long until a lease ends by itself; zero if that is over. Says
    /// nothing about whether it was released.
    pub fn ends_in_raw(&self, lease: RawLease) -> Duration {
        let (word, now) = (Word(lease.word), self.object.region.clock.now());
        match word.is_over(now) {
            true => Duration::ZERO,
            false => Duration::from_nanos(word.left(now)),
        }
    }

    /// How many leases the key has, those of dead processes that nobody has
    /// noticed yet among them. Takes no lock.
    pub fn in_use(&self, key: impl Key) -> u64 {
        let hash = self.hash(key);
        self.shard(self.shard_of(hash))
            .count(hash.tag, self.object.region.clock.now())
    }

    /// Figures since the permits' creation.
    pub fn stats(&self) -> PermitsStats {
        let sum = |counter| stripes::sum(self.words(), AT_STATS, counter);
        PermitsStats {
            granted: sum(GRANTED),
            refused: sum(REFUSED),
            full: sum(FULL),
            busy: sum(BUSY),
            expired: sum(EXPIRED),
            reaped: sum(REAPED),
        }
    }

    fn words(&self) -> &Span {
        &self.object.words
    }

    fn hash(&self, key: impl Key) -> Hash {
        let hasher = &self.object.region.hasher;
        key.with_bytes(|key| hasher.hash(key))
    }

    fn lease_ms(&self) -> u64 {
        self.words().load(AT_LEASE, Relaxed)
    }

    fn shard_of(&self, hash: Hash) -> usize {
        hash.place as usize & (self.shards - 1)
    }

    fn shard(&self, number: usize) -> Shard<'_, Span> {
        Shard {
            words: self.words(),
            at: AT_SHARDS + number * shard_words(self.records),
            records: self.records,
        }
    }

    fn raw(&self, shard: usize, held: Held) -> RawLease {
        RawLease {
            record: (shard * self.records + held.record) as u64,
            word: held.word.0,
        }
    }

    /// The shard of a lease's number and the lease in it, if there is that shard.
    fn held(&self, lease: RawLease) -> Option<(usize, Held)> {
        let record = usize::try_from(lease.record).ok()?;
        let held = Held {
            record: record % self.records,
            word: Word(lease.word),
        };
        let number = record / self.records;
        (number < self.shards).then_some((number, held))
    }
}

/// Whether options suit permits that exist.
fn fits(name: &str, options: &PermitsOptions, geometry: &Geometry) -> Result<()> {
    let [_, records, theirs, ..] = *geometry;
    match options.max_leases {
        Some(ours) if ours != theirs => Err(Error::Geometry {
            object: name.to_owned(),
            option: "max_leases",
            theirs,
            ours,
        }),
        _ if options.limit > records.min(theirs) => Err(Error::invalid(
            "limit",
            options.limit,
            format_args!(
                "1 to {}, for which '{name}' was created",
                records.min(theirs)
            ),
        )),
        _ => Ok(()),
    }
}

/// The words of permits, if their geometry makes sense.
fn words_for(geometry: &Geometry) -> Option<usize> {
    let shards = usize::try_from(geometry[0]).ok()?;
    let records = usize::try_from(geometry[1]).ok()?;
    if !shards.is_power_of_two() || !records.is_power_of_two() || records > u32::MAX as usize {
        return None;
    }
    let words = shards.checked_mul(shard_words(records))?;
    words.checked_add(AT_SHARDS)
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// One permit, for a time. Dropping it releases it; in a child of `fork`, whose
/// parent has it still, that does nothing.
#[must_use = "a lease that is dropped is released"]
pub struct Lease {
    permits: Permits,
    raw: RawLease,
    /// Whether there is nothing left to release.
    ended: bool,
}

impl Lease {
    /// Gives the permit back; false if its time was over before, so that
    /// somebody else may have had it meanwhile.
    pub fn release(mut self) -> bool {
        self.end()
    }

    /// Has it end by itself as late as one acquired now would; false if its
    /// time was over before. Then it stays so: acquire another.
    pub fn renew(&mut self) -> bool {
        let renewed = self.permits.renew_raw(self.raw);
        self.raw = renewed.unwrap_or(self.raw);
        renewed.is_some()
    }

    /// How long until it ends by itself; zero when that is over.
    pub fn ends_in(&self) -> Duration {
        self.permits.ends_in_raw(self.raw)
    }

    /// The lease as numbers for [`Permits::release_raw`]: for bindings.
    pub fn into_raw(mut self) -> RawLease {
        self.ended = true;
        self.raw
    }

    fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true) && self.permits.release_raw(self.raw)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("permits", &self.permits.name())
            .field("ends_in", &self.ends_in())
            .finish_non_exhaustive()
    }
}
