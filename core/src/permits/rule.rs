//! The rule for one lease, which is one word, and for the memory that leases
//! take: pure arithmetic.
//!
//! ```text
//!  63               40 39                          0
//! ┌───────────────────┬─────────────────────────────┐
//! │ generation     24 │ when it ends, ms         40 │   0 there = free
//! └───────────────────┴─────────────────────────────┘
//! ```
//!
//! The generation counts the leases that the record has been, and stays when
//! it is free. So the word of one lease is not the word of a later one, and an
//! exchange of it answers whether that lease still is.

use crate::region::Geometry;
use crate::{Error, Result};

/// Most leases of one key at once.
pub const MOST_LIMIT: u64 = 4_096;
/// Most leases in all.
pub const MOST_LEASES: u64 = 1 << 24;
/// The longest lease, in milliseconds: 30 days.
pub const LONGEST: u64 = 30 * 86_400_000;

const MS: u64 = (1 << 40) - 1;
/// Time stands still here, after 34 years, so that a later lease does not end
/// before it begins.
const LAST: u64 = MS - LONGEST - 1;

/// The fewest records of a shard.
const LEAST_RECORDS: u64 = 128;
/// A shard has room for this many keys at their limit.
const KEYS: u64 = 8;

/// A lease as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    fn with_end(self, end: u64) -> Word {
        Word(self.0 & !MS | end.min(MS))
    }

    /// When it ends by itself, in milliseconds.
    pub fn end(self) -> u64 {
        self.0 & MS
    }

    /// Whether the record is no lease.
    pub fn is_free(self) -> bool {
        self.end() == 0
    }

    /// Whether it has ended by itself, `now` in nanoseconds. An end further
    /// ahead than any can have been set is damage, and over as well: nobody
    /// shall wait for it.
    pub fn is_over(self, now: u64) -> bool {
        let now = whole_ms(now);
        // Two cores may read the clock a little apart.
        self.end() <= now || self.end() - now > LONGEST + 2
    }

    /// Nanoseconds until it ends by itself.
    pub fn left(self, now: u64) -> u64 {
        (self.end() * 1_000_000).saturating_sub(now)
    }

    /// The record when the lease has ended.
    pub fn freed(self) -> Word {
        self.with_end(0)
    }

    /// The next lease of a free record, for `lease` milliseconds from now on.
    pub fn taken(self, now: u64, lease: u64) -> Word {
        Word(self.0.wrapping_add(MS + 1)).renewed(now, lease)
    }

    /// The same lease, for so many milliseconds from now on: for no less.
    pub fn renewed(self, now: u64, lease: u64) -> Word {
        let rounded_up = u64::from(!now.is_multiple_of(1_000_000));
        self.with_end(whole_ms(now) + rounded_up + lease.clamp(1, LONGEST))
    }
}

fn whole_ms(now: u64) -> u64 {
    (now / 1_000_000).min(LAST)
}

/// Shards and records of each, for these options: half of all records are to
/// spare, as keys do not spread evenly.
pub fn plan(limit: u64, max_leases: Option<u64>) -> Result<Geometry> {
    let max_leases = match max_leases {
        Some(given) if given < limit || given > MOST_LEASES => {
            return Err(Error::invalid(
                "max_leases",
                given,
                format_args!("{limit}, which is the limit of one key, to {MOST_LEASES}"),
            ))
        }
        Some(given) => given,
        None => 4_096.max(limit),
    };
    let all = (2 * max_leases).next_power_of_two().max(LEAST_RECORDS);
    let records = (KEYS * limit).next_power_of_two().clamp(LEAST_RECORDS, all);
    Ok([all / records, records, max_leases, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLION: u64 = 1_000_000;

    #[test]
    fn a_lease_lasts_no_less_than_it_was_given_and_a_millisecond_more_at_most() {
        for now in [0, 1, 999_999, MILLION, 5 * MILLION + 7] {
            let word = Word(0).taken(now, 3);
            assert!(!word.is_over(now + 3 * MILLION - 1), "{now}");
            assert!(word.is_over(now + 4 * MILLION), "{now}");
            let left = word.left(now);
            assert!((3 * MILLION..4 * MILLION).contains(&left), "{now}: {left}");
            assert!(!word.is_over(now + left - 1), "{now}");
            assert!(word.is_over(now + left), "{now}");
        }
    }

    #[test]
    fn every_lease_of_a_record_has_another_word_than_the_one_before() {
        let first = Word(0).taken(0, 10);
        assert_ne!(first.freed().taken(0, 10), first);
        assert!(first.freed().is_free() && !first.is_free());
        assert_eq!(first.renewed(0, 10), first);
        // The generation wraps without a trace in the end.
        let last = Word(u64::MAX).freed().taken(0, 10);
        assert_eq!(last, Word(10));
    }

    #[test]
    fn the_longest_lease_is_no_damage_and_what_no_call_can_have_set_is() {
        for now in [0, 1, 10 * MILLION - 1] {
            assert!(!Word(0).taken(now, u64::MAX).is_over(now));
        }
        assert!(Word(LONGEST + 3).is_over(0));
        assert!(Word(MS).is_over(0));
    }

    #[test]
    fn leases_of_the_last_years_do_not_end_by_themselves() {
        let word = Word(0).taken(u64::MAX, 1);
        assert!(!word.is_over(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_word_and_no_time_panics(word: u64, now: u64, lease: u64) {
            let word = Word(word);
            let taken = word.freed().taken(now, lease);
            prop_assert!(!taken.is_free() && !taken.is_over(now));
            prop_assert_ne!(taken, word);
            word.is_over(now);
            word.left(now);
        }

        #[test]
        fn a_shard_has_room_for_a_key_at_its_limit(
            limit in 1..=MOST_LIMIT,
            more in 0..MOST_LEASES - MOST_LIMIT,
        ) {
            for max_leases in [None, Some(limit + more)] {
                let [shards, records, leases, ..] = plan(limit, max_leases).unwrap();
                prop_assert!(shards.is_power_of_two() && records.is_power_of_two());
                prop_assert!(records >= limit && shards * records >= 2 * leases);
            }
        }
    }
}
