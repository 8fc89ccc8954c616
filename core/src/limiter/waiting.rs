//! Waiting for tokens: a place in the queue is a reservation, which spends at
//! once and acts later. So whoever came first is served first, and a large
//! request is not overtaken by small ones for ever.

use super::rate::MOST_RATES;
use super::rule::{LONGEST_REFILL, TICKS};
use super::together::hold;
use super::verdict::{Asked, Charge, Verdict};
use super::{ticks_in, ticks_of, Limiter};
use crate::{timer, Key};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A reservation as numbers: [`Reservation::raw`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawReservation {
    /// When to act, in nanoseconds of the region's clock.
    pub due: u64,
    /// The words as it left them; 0: not charged.
    pub words: [u64; MOST_RATES],
}

/// Tokens that are spent, to be used when [`Reservation::wait`] is over:
/// [`Limiter::reserve`]. Dropped, it stays spent; [`Reservation::cancel`] gives
/// it back.
#[must_use = "its tokens are spent"]
pub struct Reservation {
    limiter: Limiter,
    /// What was asked of the first rate, and what the answer tells of.
    first: Asked,
    telling: Asked,
    cost: u64,
    raw: RawReservation,
}

impl Reservation {
    /// How long to wait before acting; zero once it is time.
    pub fn wait(&self) -> Duration {
        let now = self.limiter.object.region.clock.now();
        Duration::from_nanos(self.raw.due.saturating_sub(now))
    }

    /// When to act, in nanoseconds of [`Region::now`](crate::Region::now).
    pub fn due(&self) -> u64 {
        self.raw.due
    }

    /// The reservation as numbers, for [`Limiter::cancel_raw`]: for bindings.
    #[doc(hidden)]
    pub fn raw(&self) -> RawReservation {
        self.raw
    }

    /// Gives the tokens back; false if it was time to act already. Those who
    /// reserved after it keep their times, and of a bucket's tokens as many are
    /// given back as they did not take after it. In a window nobody passes over
    /// a place that was given up: who comes later waits for its time.
    pub fn cancel(self) -> bool {
        let now = self.limiter.object.region.clock.now();
        if now >= self.raw.due {
            return false;
        }
        let request = self.limiter.request_of(self.first, self.cost);
        request.refund(&self.raw.words, ticks_of(now));
        true
    }

    /// Sleeps until it is time; then the bucket as the reservation left it.
    fn sleep(&self) -> Verdict {
        let clock = &self.limiter.object.region.clock;
        while !clock.wait_until(self.raw.due, Duration::MAX) {}
        self.verdict()
    }

    /// The bucket as the reservation left it, as of now: what
    /// [`Limiter::acquire`] answers, for bindings that do the waiting.
    #[doc(hidden)]
    pub fn verdict(&self) -> Verdict {
        let mut asked = self.telling;
        asked.now = ticks_of(self.limiter.object.region.clock.now());
        asked.verdict(true)
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("limiter", &self.limiter.name())
            .field("wait", &self.wait())
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// Spends one token, now or in advance, if it may be used within `max_wait`.
    ///
    /// ```
    /// # fn main() -> forebay::Result<()> {
    /// use forebay::{Rate, Region};
    /// use std::time::Duration;
    /// let mails = Region::options().manual_clock(true).private()?.limiter("mails", Rate::per_minute(60).burst(1))?;
    /// assert!(mails.allow("a@example.org"));
    /// let mail = mails.reserve("a@example.org", Duration::from_secs(5)).unwrap();
    /// assert_eq!(mail.wait(), Duration::from_secs(1)); // sleep so long, then send
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The refusal, if the wait would be longer. Nothing is spent then.
    pub fn reserve(&self, key: impl Key, max_wait: Duration) -> Result<Reservation, Verdict> {
        self.reserve_with(key, Charge::default(), max_wait)
    }

    /// [`Limiter::reserve`] for any charge. A wait is at most two years.
    ///
    /// # Errors
    /// The refusal; also for a charge above the burst, which no wait helps.
    pub fn reserve_with(
        &self,
        key: impl Key,
        charge: Charge<'_>,
        max_wait: Duration,
    ) -> Result<Reservation, Verdict> {
        let first = self.asked(&key, charge);
        let patience = ticks_in(max_wait).min(LONGEST_REFILL / 2);
        let mut request = self.request_of(first, charge.cost);
        if patience > 0 {
            let refill = request.parts().map(|asked| asked.rule.tolerance()).max();
            self.reach(refill.unwrap_or(0) + patience);
        }
        let due = hold(std::slice::from_mut(&mut request), patience);
        if charge.cost > 0 {
            self.count(due.is_some(), first.tier, &key);
        }
        match due {
            Some(due) => Ok(Reservation {
                limiter: self.clone(),
                first,
                telling: *request.telling(true),
                cost: charge.cost,
                raw: RawReservation {
                    // A tick more than the nanosecond's own is the next one.
                    due: due.div_ceil(TICKS) - 1,
                    words: request.words(),
                },
            }),
            None => Err(request.telling(false).verdict(false)),
        }
    }

    /// [`Reservation::cancel`] for bindings, which keep the key, the charge and
    /// the numbers. Whatever these are, no more than the charge is given back.
    #[doc(hidden)]
    pub fn cancel_raw(&self, key: impl Key, charge: Charge<'_>, raw: RawReservation) -> bool {
        let charge = Charge {
            now: None,
            ..charge
        };
        let asked = self.asked(&key, charge);
        let reservation = Reservation {
            limiter: self.clone(),
            first: asked,
            telling: asked,
            cost: charge.cost,
            raw,
        };
        reservation.cancel()
    }

    /// Waits for one token, at most for so long, and spends it. Whoever comes
    /// first is served first; nobody waits who would not be served in time.
    /// Blocks the thread. A verdict that is not allowed waited for nothing.
    pub fn acquire(&self, key: impl Key, timeout: Duration) -> Verdict {
        self.acquire_with(key, Charge::default(), timeout)
    }

    /// [`Limiter::acquire`] for any charge.
    pub fn acquire_with(&self, key: impl Key, charge: Charge<'_>, timeout: Duration) -> Verdict {
        match self.reserve_with(key, charge, timeout) {
            Ok(reservation) => reservation.sleep(),
            Err(refusal) => refusal,
        }
    }

    /// [`Limiter::acquire_with`] as a future, for any runtime: it takes its
    /// place at once and is woken by one thread of this process that serves all
    /// waiters. Dropped before its time, it gives its place up.
    pub fn acquire_async(&self, key: impl Key, charge: Charge<'_>, timeout: Duration) -> Acquire {
        Acquire {
            place: Some(self.reserve_with(key, charge, timeout)),
            alarm: None,
        }
    }
}

/// A future of [`Limiter::acquire_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    place: Option<Result<Reservation, Verdict>>,
    alarm: Option<timer::Alarm>,
}

impl Future for Acquire {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        let wait = match self.place.as_ref().expect("polled after it was ready") {
            Ok(reservation) => reservation.wait(),
            Err(_) => Duration::ZERO,
        };
        if !wait.is_zero() {
            let place = self.place.as_ref().and_then(|place| place.as_ref().ok());
            let manual = place.is_some_and(|place| place.limiter.object.region.clock.is_manual());
            // A clock that is moved by hand tells nobody when; it is for tests.
            let wait = if manual {
                Duration::from_millis(1)
            } else {
                wait
            };
            self.alarm = Some(timer::wake_after(wait, context.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(match self.place.take() {
            Some(Ok(reservation)) => reservation.verdict(),
            Some(Err(refusal)) => refusal,
            None => unreachable!("looked at above"),
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(Ok(reservation)) = self.place.take() {
            reservation.cancel();
        }
    }
}
