//! Counts by key in windows of time: what the stores of other rate limiters
//! are made of.

use super::options::{Algorithm, LimiterOptions};
use super::rate::Rate;
use super::rule::{ticks_of, Rule};
use super::window::{nanoseconds, window_of, Form};
use super::{Counting, Limiter, ADMITTED, AT_STATS, CONTENDED, REFUSED};
use crate::region::Inner;
use crate::{stripes, Error, Key, Kind, Result};
use std::sync::Arc;
use std::time::Duration;

/// How a window counter works.
///
/// ```
/// let options = forebay::WindowOptions::new().max_keys(10_000);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowOptions {
    max_keys: Option<u64>,
}

impl WindowOptions {
    /// Room for 65,536 keys.
    pub fn new() -> Self {
        WindowOptions::default()
    }

    /// How many keys may have a window at once without crowding each other, as
    /// for [`LimiterOptions::max_keys`].
    pub fn max_keys(mut self, max_keys: u64) -> Self {
        self.max_keys = Some(max_keys);
        self
    }
}

/// What a key's window has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Count {
    /// Hits in the window; at most 8,388,607 are counted.
    pub count: u64,
    /// Until it ends; zero if the key has no window.
    pub resets_in: Duration,
}

/// Figures of a window counter since its creation: [`WindowCounter::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WindowStats {
    /// Hits that were counted, whatever their weight.
    pub hits: u64,
    /// Hits that were not, for a limit.
    pub refused: u64,
    /// Windows that were not over when another key took their slot.
    pub evicted_live: u64,
    /// Hits that were not counted because others kept changing the key's slots.
    pub contended: u64,
    /// Slots of the table.
    pub slots: u64,
}

/// Counts by key in windows of time, exact under concurrency, in fixed memory:
/// [`Region::window`](crate::Region::window). For the store interfaces of other
/// rate limiters; a [`Limiter`] with [`Algorithm::Fixed`] is the limit itself.
///
/// A key's window begins with its first hit, which tells its length, in whole
/// milliseconds. Calls take no lock and allocate nothing.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{Region, WindowOptions};
/// use std::time::Duration;
/// let hits = Region::private()?.window("hits", WindowOptions::new())?;
/// let minute = Duration::from_secs(60);
/// assert_eq!(hits.hit("203.0.113.7", minute)?.count, 1);
/// assert_eq!(hits.hit("203.0.113.7", minute)?.count, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WindowCounter {
    slots: Limiter,
}

impl WindowCounter {
    pub(crate) fn open(
        region: &Arc<Inner>,
        name: &str,
        options: Option<WindowOptions>,
    ) -> Result<WindowCounter> {
        let options = options.map(|options| {
            let slots = LimiterOptions::new(Rate::UNLIMITED).algorithm(Algorithm::Fixed);
            match options.max_keys {
                Some(max_keys) => slots.max_keys(max_keys),
                None => slots,
            }
        });
        let slots = Limiter::open(region, name, Kind::Window, options)?;
        Ok(WindowCounter { slots })
    }

    /// The counter's name.
    pub fn name(&self) -> &str {
        self.slots.name()
    }

    /// Counts one hit of this key. If it has no window, or that is over, one of
    /// this length begins.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a window shorter than a millisecond or
    /// longer than four and a half years.
    pub fn hit(&self, key: impl Key, window: Duration) -> Result<Count> {
        let count = self.hit_with(key, window, 1, None)?;
        Ok(count.unwrap_or_else(|count| count))
    }

    /// Counts so many hits, unless the window would have more than `limit` then:
    /// `Err` is the count without them. Zero hits begin no window.
    ///
    /// # Errors
    /// As for [`WindowCounter::hit`].
    pub fn hit_with(
        &self,
        key: impl Key,
        window: Duration,
        hits: u64,
        limit: Option<u64>,
    ) -> Result<std::result::Result<Count, Count>> {
        let rule = rule(window)?;
        if hits == 0 {
            return Ok(Ok(self.get(key)));
        }
        let (words, table) = (&self.slots.object.words, &self.slots.table);
        // Not `charge`, to which a window that ends later than this one could is
        // one that was reserved.
        let decide = |word, now| {
            let most = limit.map_or(u64::MAX, |limit| limit.min(rule.burst));
            let seen = count_of(word, now).count;
            (seen.saturating_add(hits) <= most).then(|| rule.owe(word, now, hits))
        };
        let now = self.now();
        let group = self.slots.group(&key);
        let counting = Counting(&self.slots.object);
        let advanced = table.advance(words, &group, now, decide, &counting);
        match advanced {
            Ok(_) => self.slots.add(0, ADMITTED),
            Err(super::Answer::Contended) => stripes::add(words, AT_STATS, CONTENDED, 1),
            Err(_) => self.slots.add(0, REFUSED),
        };
        Ok(match advanced {
            Ok(entry) => Ok(count_of(entry.arrival, entry.now)),
            Err(_) => Err(self.get(key)),
        })
    }

    /// What the key's window has seen.
    pub fn get(&self, key: impl Key) -> Count {
        let group = self.slots.group(&key);
        let word = self.slots.table.arrival(&self.slots.object.words, &group);
        count_of(word, self.now())
    }

    /// Takes hits back, down to none; the window stays as it is.
    pub fn decrement(&self, key: impl Key, hits: u64) -> Count {
        let (group, now) = (self.slots.group(&key), self.now());
        let words = &self.slots.object.words;
        count_of(self.slots.table.refund(words, &group, now, |_| hits), now)
    }

    /// Ends the key's window, and its block; false if it had neither.
    pub fn reset(&self, key: impl Key) -> bool {
        self.slots.reset(key)
    }

    /// Marks the key as blocked for this long, for [`WindowCounter::blocked_for`]
    /// to tell; a mark that ends later stays. It is counted on regardless.
    pub fn block(&self, key: impl Key, time: Duration) {
        self.slots.block(key, time);
    }

    /// How long the key is blocked yet; zero if it is not.
    pub fn blocked_for(&self, key: impl Key) -> Duration {
        let now = self.now();
        let end = self.slots.blocked_until(&self.slots.group(&key), now);
        Duration::from_nanos(nanoseconds(end).saturating_sub(nanoseconds(now)))
    }

    /// Ends a block; false if there was none.
    pub fn unblock(&self, key: impl Key) -> bool {
        self.slots.unblock(key)
    }

    /// Ends all windows and blocks. Reads the whole table.
    pub fn clear(&self) {
        self.slots.clear();
    }

    /// Figures since the counter's creation.
    pub fn stats(&self) -> WindowStats {
        let stats = self.slots.stats();
        WindowStats {
            hits: stats.admitted,
            refused: stats.refused,
            evicted_live: stats.evicted_live,
            contended: stats.contended,
            slots: stats.slots,
        }
    }

    fn now(&self) -> u64 {
        ticks_of(self.slots.object.region.clock.now())
    }
}

impl std::fmt::Debug for WindowCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowCounter")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The rule of a window that admits all that can be counted.
fn rule(window: Duration) -> Result<Rule> {
    let rate = Rate::new(Form::Fixed.most(), window);
    Rule::new(rate, Form::Fixed).map_err(|_| {
        let allowed = "a millisecond to four and a half years";
        Error::invalid("window", format_args!("{window:?}"), allowed)
    })
}

fn count_of(word: u64, now: u64) -> Count {
    if word <= Form::Fixed.floor(now) {
        return Count::default();
    }
    let (count, end) = window_of(word);
    Count {
        count,
        resets_in: Duration::from_nanos(end.saturating_sub(nanoseconds(now))),
    }
}
