//! The service behind the gateway, and its bad day: healthy, then slow, then
//! down, then well again. Time is the region's, so all workers see one origin.

use forebay::Region;
use std::time::Duration;

/// How the origin is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Up to 45 % of the run: answers in 0.2 ms.
    Healthy,
    /// Up to 55 %: answers in 0.6 ms.
    Slow,
    /// Up to 65 %: fails at once.
    Failing,
    /// The rest: answers in 0.2 ms again.
    Recovered,
}

/// The phase at `elapsed` nanoseconds of a run that lasts `run`.
pub fn phase(elapsed: u64, run: Duration) -> Phase {
    let percent = u128::from(elapsed) * 100 / run.as_nanos().max(1);
    match percent {
        0..45 => Phase::Healthy,
        45..55 => Phase::Slow,
        55..65 => Phase::Failing,
        _ => Phase::Recovered,
    }
}

/// The origin failed: it is down, or went down while it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down;

/// The origin, as one worker sees it.
pub struct Origin {
    /// Tells the time.
    pub region: Region,
    /// When the run began, in the region's time.
    pub start: u64,
    /// How long the run is meant to last.
    pub run: Duration,
}

impl Origin {
    /// How it is doing now.
    pub fn phase(&self) -> Phase {
        phase(self.region.now().saturating_sub(self.start), self.run)
    }

    /// One call. An origin that goes down fails the calls it is working on too.
    pub fn work(&self) -> Result<(), Down> {
        match self.phase() {
            Phase::Failing => return Err(Down),
            Phase::Slow => std::thread::sleep(Duration::from_micros(600)),
            Phase::Healthy | Phase::Recovered => std::thread::sleep(Duration::from_micros(200)),
        }
        match self.phase() {
            Phase::Failing => Err(Down),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_passes_through_its_phases_in_order() {
        let run = Duration::from_secs(16);
        let at = |percent: u64| phase(percent * 160_000_000, run);
        assert_eq!(at(0), Phase::Healthy);
        assert_eq!(phase(45 * 160_000_000 - 1, run), Phase::Healthy);
        assert_eq!(at(45), Phase::Slow);
        assert_eq!(at(55), Phase::Failing);
        assert_eq!(phase(65 * 160_000_000 - 1, run), Phase::Failing);
        assert_eq!(at(65), Phase::Recovered);
        assert_eq!(phase(u64::MAX, run), Phase::Recovered);
    }
}
