//! What became of a request, and how many came to what.

use serde::Deserialize;
use std::ops::AddAssign;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The limiter refused it: 429.
    Limited,
    /// Served from the cache, every byte compared.
    Hit,
    /// Served by the origin.
    Fetched,
    /// The origin failed: 502.
    Failed,
    /// The breaker did not let the origin be called: 503.
    Rejected,
}

impl Outcome {
    /// The letter that workers answer with.
    pub fn letter(self) -> u8 {
        match self {
            Outcome::Limited => b'L',
            Outcome::Hit => b'H',
            Outcome::Fetched => b'F',
            Outcome::Failed => b'E',
            Outcome::Rejected => b'X',
        }
    }

    /// The outcome of a letter.
    pub fn from_letter(letter: u8) -> Option<Outcome> {
        Some(match letter {
            b'L' => Outcome::Limited,
            b'H' => Outcome::Hit,
            b'F' => Outcome::Fetched,
            b'E' => Outcome::Failed,
            b'X' => Outcome::Rejected,
            _ => return None,
        })
    }
}

/// How many requests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Tally {
    /// All requests.
    pub served: u64,
    /// [`Outcome::Limited`].
    pub limited: u64,
    /// [`Outcome::Hit`].
    pub hits: u64,
    /// [`Outcome::Fetched`].
    pub fetched: u64,
    /// [`Outcome::Failed`].
    pub failed: u64,
    /// [`Outcome::Rejected`].
    pub rejected: u64,
}

impl Tally {
    /// Counts one outcome.
    pub fn count(&mut self, outcome: Outcome) {
        self.served += 1;
        *match outcome {
            Outcome::Limited => &mut self.limited,
            Outcome::Hit => &mut self.hits,
            Outcome::Fetched => &mut self.fetched,
            Outcome::Failed => &mut self.failed,
            Outcome::Rejected => &mut self.rejected,
        } += 1;
    }

    /// Counts all outcomes of a list.
    pub fn of(outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally::default();
        outcomes.iter().for_each(|&outcome| tally.count(outcome));
        tally
    }

    /// Requests that the cache did not have.
    pub fn misses(&self) -> u64 {
        self.fetched + self.failed + self.rejected
    }

    /// Hits among the requests that reached the cache; 0 when none did.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.hits + self.misses())
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.served += other.served;
        self.limited += other.limited;
        self.hits += other.hits;
        self.fetched += other.fetched;
        self.failed += other.failed;
        self.rejected += other.rejected;
    }
}

/// `part` of `whole`; 0 of nothing.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// What a worker says of itself when it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Its own count of outcomes.
    #[serde(flatten)]
    pub tally: Tally,
    /// Fills that the cache kept.
    pub stored: u64,
    /// Calls that succeeded so late that the origin was failing by the time the
    /// breaker had heard of it: each may have put the breaker's count of
    /// consecutive failures back to nought.
    pub straddled: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_outcomes_match() {
        for letter in 0..=u8::MAX {
            match Outcome::from_letter(letter) {
                Some(outcome) => assert_eq!(outcome.letter(), letter),
                None => assert!(!b"LHFEX".contains(&letter)),
            }
        }
    }

    #[test]
    fn a_tally_counts_each_outcome_once() {
        let outcomes: Vec<_> = b"LHHFEXX"
            .iter()
            .filter_map(|&l| Outcome::from_letter(l))
            .collect();
        let tally = Tally::of(&outcomes);
        assert_eq!(
            (tally.served, tally.limited, tally.hits, tally.fetched),
            (7, 1, 2, 1)
        );
        assert_eq!((tally.failed, tally.rejected, tally.misses()), (1, 2, 4));
        assert_eq!(tally.hit_ratio(), 2.0 / 6.0);
        let mut twice = tally;
        twice += tally;
        assert_eq!(twice.served, 14);
        assert_eq!(Tally::default().hit_ratio(), 0.0);
    }
}
