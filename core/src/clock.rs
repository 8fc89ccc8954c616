//! A region's clock: nanoseconds since the region was made, the same for all
//! processes, never going back; or a manual clock that only [`Clock::advance`]
//! moves, for tests of users and our own.

use crate::region::layout::{AT_EPOCH, AT_MANUAL_NOW};
use crate::region::sys::boot_clock;
use crate::words::{update, Span, Words};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

/// A region's clock.
#[derive(Clone)]
pub struct Clock {
    epoch: u64,
    manual: Option<Span>,
}

/// Times are kept below this (146 years), so that sums of two cannot overflow
/// and a hostile word cannot put the clock beyond all deadlines.
const LAST: u64 = u64::MAX >> 2;

impl Clock {
    /// The clock of the region with this header.
    pub fn new(header: &Span, manual: bool) -> Clock {
        Clock {
            epoch: header.load(AT_EPOCH, Relaxed),
            manual: manual.then(|| header.clone()),
        }
    }

    /// Nanoseconds since the region's epoch.
    #[inline]
    pub fn now(&self) -> u64 {
        match &self.manual {
            None => boot_clock().saturating_sub(self.epoch),
            Some(header) => header.load(AT_MANUAL_NOW, Acquire).min(LAST),
        }
    }

    /// Whether it is moved by hand.
    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Sleeps until this time, but not for longer than `at_most`; whether it
    /// has come.
    pub fn wait_until(&self, due: u64, at_most: Duration) -> bool {
        let now = self.now();
        if now >= due {
            return true;
        }
        match &self.manual {
            None => std::thread::sleep(Duration::from_nanos(due - now).min(at_most)),
            Some(header) => {
                let word = header.load(AT_MANUAL_NOW, Acquire);
                if word.min(LAST) < due {
                    header.wait_for_change(AT_MANUAL_NOW, word, at_most);
                }
            }
        }
        self.now() >= due
    }

    /// Moves a manual clock forward; `None` for a real one. Against an
    /// adversary who keeps setting it, it stays where that one puts it.
    pub fn advance(&self, by: u64) -> Option<()> {
        let header = self.manual.as_ref()?;
        let _ = update(header, AT_MANUAL_NOW, Acquire, |now| {
            Some(now.min(LAST).saturating_add(by).min(LAST))
        });
        header.wake_all(AT_MANUAL_NOW);
        Some(())
    }
}
