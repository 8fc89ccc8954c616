//! Latency histograms: a few nanoseconds a record, percentiles within 1.1 %.

mod buckets;

use crate::region::{Geometry, Inner, Object, Request};
use crate::words::{update, Words};
use crate::{Error, Kind, Result};
use buckets::BUCKETS;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

/// Changes with the layout of a histogram's words.
pub(crate) const FORMAT: usize = BUCKETS;

/// Word of the sum of all durations, in nanoseconds.
const SUM: usize = 0;
/// Word of the largest.
const MAX: usize = 1;
/// Word of the smallest, inverted, so that zero is a fresh state.
const MIN_INVERTED: usize = 2;
/// First bucket.
const FIRST: usize = 8;
/// Words of a histogram.
pub const WORDS: usize = (FIRST + BUCKETS).next_multiple_of(8);

const GEOMETRY: Geometry = [WORDS as u64, BUCKETS as u64, 0, 0, 0, 0];

/// There is nothing to choose about a histogram yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistogramOptions {}

/// A histogram in a region: [`Region::histogram`](crate::Region::histogram).
///
/// 7.6 KiB, whatever it counts. A record is two atomic additions; a process
/// that is killed in between leaves the sum without one duration, never a
/// count too many. The sum wraps after 584 years of durations.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use std::time::Duration;
/// let latency = forebay::Region::private()?.histogram("http", None)?;
/// for ms in 1..=100 {
///     latency.record(Duration::from_millis(ms));
/// }
/// let p99 = latency.percentile(99.0)?.unwrap();
/// assert!(p99 > Duration::from_millis(97) && p99 < Duration::from_millis(101));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Histogram {
    object: Arc<Object>,
}

impl Histogram {
    pub(crate) fn open(region: &Arc<Inner>, name: &str) -> Result<Histogram> {
        let object = crate::region::open(
            region,
            &Request {
                name,
                kind: Kind::Histogram,
                create: Some(GEOMETRY),
                words: |geometry| (*geometry == GEOMETRY).then_some(WORDS),
                check: &|_| Ok(()),
                configure: &|_, _| Ok(false),
            },
        )?;
        Ok(Histogram {
            object: Arc::new(object),
        })
    }

    /// The histogram's name.
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// Records a duration.
    pub fn record(&self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a duration in nanoseconds.
    #[inline]
    pub fn record_ns(&self, nanoseconds: u64) {
        record(&self.object.words, nanoseconds);
    }

    /// The duration that so many percent of the recorded ones do not exceed
    /// (nearest rank): within 1.1 % of it from 1 µs to 17 minutes, and never
    /// outside the extremes. `None` before the first record.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless `percent` is from 0 to 100.
    pub fn percentile(&self, percent: f64) -> Result<Option<Duration>> {
        self.snapshot().percentile(percent)
    }

    /// A copy of all counts as of now. Records made meanwhile may be in it or
    /// not, each as a whole but for the sum.
    pub fn snapshot(&self) -> Snapshot {
        let words = &self.object.words;
        let counts: Vec<u64> = (0..BUCKETS)
            .map(|i| words.load(FIRST + i, Relaxed))
            .collect();
        Snapshot {
            // Bounded, so that hostile words cannot overflow the sum.
            count: counts.iter().fold(0, |sum, n| u64::saturating_add(sum, *n)),
            counts,
            sum: words.load(SUM, Relaxed),
            max: words.load(MAX, Relaxed),
            min: !words.load(MIN_INVERTED, Relaxed),
        }
    }
}

/// Counts a duration.
#[inline]
fn record<W: Words>(words: &W, nanoseconds: u64) {
    words.add(FIRST + buckets::index(nanoseconds), 1);
    words.add(SUM, nanoseconds);
    raise(words, MAX, nanoseconds);
    raise(words, MIN_INVERTED, !nanoseconds);
}

/// Raises a word to at least `value`; almost always one load. Each exchange
/// that fails raised it for somebody else, unless an adversary lowers it: then
/// the extreme is lost.
#[inline]
fn raise<W: Words>(words: &W, at: usize, value: u64) {
    let _ = update(words, at, Relaxed, |found| (found < value).then_some(value));
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The counts of a histogram at one moment: [`Histogram::snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
    min: u64,
}

impl Snapshot {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exact.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Their mean; zero if there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count).unwrap_or(0))
    }

    /// The smallest, exact.
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min))
    }

    /// The largest, exact.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max))
    }

    /// As [`Histogram::percentile`], of this moment.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless `percent` is from 0 to 100.
    pub fn percentile(&self, percent: f64) -> Result<Option<Duration>> {
        // Written so that NaN is refused too.
        if !(0.0..=100.0).contains(&percent) {
            return Err(Error::invalid("percent", percent, "0 to 100"));
        }
        if self.count == 0 {
            return Ok(None);
        }
        // Nearest rank. The rounding of 99.9 / 100 must not raise it by one.
        let exact = percent / 100.0 * self.count as f64;
        let rank = ((exact * (1.0 - 1e-12)).ceil() as u64).clamp(1, self.count);
        let mut seen = 0u64;
        let bucket = self.counts.iter().position(|n| {
            seen = seen.saturating_add(*n);
            seen >= rank
        });
        // A record in flight has counted before it moved the extremes.
        let (low, high) = (self.min.min(self.max), self.max);
        let middle = buckets::midpoint(bucket.unwrap_or(BUCKETS - 1));
        // The last rank is the largest itself.
        let value = if rank == self.count { high } else { middle };
        Ok(Some(Duration::from_nanos(value.clamp(low, high))))
    }

    /// The buckets that are not empty, ascending: each one's upper edge in
    /// seconds (inclusive; infinite for the last) and its count. The edges are
    /// those of OpenTelemetry and Prometheus native histograms of scale 5.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(i, count)| (buckets::upper_edge(i), *count))
            .collect()
    }
}

/// For [`crate::internals`].
#[doc(hidden)]
pub mod internals {
    use crate::words::Words;

    pub use super::WORDS;

    /// Counts a duration in any words.
    pub fn record<W: Words>(words: &W, nanoseconds: u64) {
        super::record(words, nanoseconds);
    }
}
