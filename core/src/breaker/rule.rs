//! The breaker's words, packed and unpacked: pure arithmetic.
//!
//! ```text
//! state    ┌ state 3 ┬ attempts 5 ┬ generation 20 ┬ deadline 36, ms ┐
//! run      ┌ generation 20 ┬ consecutive failures 44 ┐
//! probes   ┌ generation 20 ┬ successes 44 ┐
//! lease    ┌ generation 12 ┬ holder 16 ┬ expiry 36, ms ┐               0 = free
//! bucket   ┌ epoch 20 ┬ generation 12 ┬ failures 16 ┬ calls 16 ┐
//! ```
//!
//! Each transition is one exchange of the state word, which gets a new
//! generation; every counted word carries the generation it belongs to, so a
//! result that comes late counts for nothing.

use super::State;

const GENERATION_BITS: u32 = 20;
const GENERATION: u64 = (1 << GENERATION_BITS) - 1;
const MS_BITS: u32 = 36;
/// Deadlines in milliseconds are below this: two years.
pub const MS: u64 = (1 << MS_BITS) - 1;
const ATTEMPTS: u64 = 31;
const LEASE_GENERATION: u64 = (1 << 12) - 1;
const COUNT: u64 = (1 << 44) - 1;

/// Buckets of the time window.
pub const BUCKETS: usize = 10;

/// The state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The state.
    pub state: State,
    /// Times it opened since it was last closed, saturating.
    pub attempts: u64,
    /// Counts transitions.
    pub generation: u64,
    /// When an open breaker lets probes through, in milliseconds.
    pub deadline: u64,
}

impl Word {
    /// Reads a word; a senseless state is closed.
    #[inline]
    pub fn unpack(word: u64) -> Word {
        Word {
            state: match word >> 61 {
                1 => State::HalfOpen,
                2 => State::Open,
                3 => State::ForcedOpen,
                _ => State::Closed,
            },
            attempts: word >> 56 & ATTEMPTS,
            generation: word >> MS_BITS & GENERATION,
            deadline: word & MS,
        }
    }

    /// The word.
    pub fn pack(self) -> u64 {
        u64::from(self.state.number()) << 61
            | (self.attempts & ATTEMPTS) << 56
            | (self.generation & GENERATION) << MS_BITS
            | self.deadline.min(MS)
    }

    fn next(self, state: State, attempts: u64, deadline: u64) -> Word {
        Word {
            state,
            attempts,
            generation: (self.generation + 1) & GENERATION,
            deadline,
        }
    }

    /// Opened until `deadline`.
    pub fn opened(self, deadline: u64) -> Word {
        self.next(
            State::Open,
            (self.attempts + 1).min(ATTEMPTS),
            deadline.min(MS),
        )
    }

    /// Half-opened.
    pub fn half_opened(self) -> Word {
        self.next(State::HalfOpen, self.attempts, 0)
    }

    /// Closed.
    pub fn closed(self) -> Word {
        self.next(State::Closed, 0, 0)
    }
}

/// A count that belongs to a generation: consecutive failures, probes' successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally(pub u64);

impl Tally {
    /// The count, if it belongs to this generation, else 0.
    #[inline]
    pub fn count(self, generation: u64) -> u64 {
        if self.0 >> 44 == generation & GENERATION {
            self.0 & COUNT
        } else {
            0
        }
    }

    /// The word for a count in a generation.
    #[inline]
    pub fn of(generation: u64, count: u64) -> Tally {
        Tally((generation & GENERATION) << 44 | count.min(COUNT))
    }
}

/// Leave to probe, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The half-open period that it belongs to, its low 12 bits.
    pub generation: u64,
    /// The process that has it: {low bits of its seat's epoch 8, seat + 1 8};
    /// 0 if it has no such name.
    pub holder: u64,
    /// When it may be given to another, in milliseconds.
    pub expiry: u64,
}

impl Lease {
    /// Reads a word.
    pub fn unpack(word: u64) -> Lease {
        Lease {
            generation: word >> 52,
            holder: word >> MS_BITS & 0xffff,
            expiry: word & MS,
        }
    }

    /// The word; never 0, because the expiry is not.
    pub fn pack(self) -> u64 {
        (self.generation & LEASE_GENERATION) << 52
            | (self.holder & 0xffff) << MS_BITS
            | self.expiry.clamp(1, MS)
    }

    /// Whether it belongs to this half-open period.
    pub fn is_of(self, generation: u64) -> bool {
        self.generation == generation & LEASE_GENERATION
    }
}

/// One stretch of the time window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which stretch.
    pub epoch: u64,
    /// In which generation, its low 12 bits.
    pub generation: u64,
    /// Failed calls.
    pub failures: u64,
    /// All calls.
    pub calls: u64,
}

/// Stretches are told apart modulo this.
pub const EPOCHS: u64 = 1 << 20;
const BUCKET_GENERATIONS: u64 = 1 << 12;
const BUCKET_MOST: u64 = (1 << 16) - 1;

impl Bucket {
    /// Reads a word.
    #[inline]
    pub fn unpack(word: u64) -> Bucket {
        Bucket {
            epoch: word >> 44,
            generation: word >> 32 & (BUCKET_GENERATIONS - 1),
            failures: word >> 16 & BUCKET_MOST,
            calls: word & BUCKET_MOST,
        }
    }

    /// The word.
    pub fn pack(self) -> u64 {
        (self.epoch % EPOCHS) << 44
            | (self.generation % BUCKET_GENERATIONS) << 32
            | self.failures << 16
            | self.calls
    }

    /// Whether it is this stretch of this generation.
    #[inline]
    pub fn is(self, epoch: u64, generation: u64) -> bool {
        self.epoch == epoch % EPOCHS && self.generation == generation % BUCKET_GENERATIONS
    }

    /// The bucket with one more call in this stretch of this generation. A
    /// full one is halved, which keeps the rate.
    #[inline]
    pub fn with(self, epoch: u64, generation: u64, failed: bool) -> Bucket {
        let (failures, calls) = if !self.is(epoch, generation) {
            (0, 0)
        } else if self.calls == BUCKET_MOST {
            (self.failures / 2, self.calls / 2)
        } else {
            (self.failures, self.calls)
        };
        Bucket {
            epoch: epoch % EPOCHS,
            generation: generation % BUCKET_GENERATIONS,
            failures: failures + u64::from(failed),
            calls: calls + 1,
        }
    }
}

/// A share of calls that fail, in millionths: what a region can hold exactly.
pub const MILLION: u64 = 1_000_000;

/// Whether so many failures of so many calls open the breaker.
#[inline]
pub fn rate_trips(failures: u64, calls: u64, volume: u64, rate: u64) -> bool {
    rate != 0 && calls >= volume.max(1) && failures * MILLION >= rate * calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_come_back_as_they_went_in(
            state in 0u32..4, attempts in 0u64..32, generation in 0u64..=GENERATION,
            deadline in 0u64..=MS, holder in 0u64..65536, expiry in 1u64..=MS,
        ) {
            let state = [State::Closed, State::HalfOpen, State::Open, State::ForcedOpen][state as usize];
            let word = Word { state, attempts, generation, deadline };
            prop_assert_eq!(Word::unpack(word.pack()), word);
            let lease = Lease { generation: generation & LEASE_GENERATION, holder, expiry };
            prop_assert_eq!(Lease::unpack(lease.pack()), lease);
            prop_assert_ne!(lease.pack(), 0);
        }

        /// Counting never spills into a neighbouring field, whatever the word was.
        #[test]
        fn a_bucket_counts_one_call_in_its_own_stretch(word: u64, epoch: u64, generation: u64, failed: bool) {
            let was = Bucket::unpack(word);
            let is = Bucket::unpack(was.with(epoch, generation, failed).pack());
            prop_assert!(is.is(epoch, generation));
            if !was.is(epoch, generation) {
                prop_assert_eq!((is.failures, is.calls), (u64::from(failed), 1));
            } else if was.calls < BUCKET_MOST && was.failures <= was.calls {
                prop_assert_eq!((is.failures, is.calls), (was.failures + u64::from(failed), was.calls + 1));
            }
        }

        #[test]
        fn a_tally_counts_for_its_own_generation_only(generation in 0u64..=GENERATION, count in 0u64..=COUNT) {
            let tally = Tally::of(generation, count);
            prop_assert_eq!(tally.count(generation), count);
            prop_assert_eq!(tally.count(generation + 1), 0);
        }
    }

    #[test]
    fn the_rate_counts_from_the_volume_on() {
        assert!(!rate_trips(9, 9, 10, MILLION / 2));
        assert!(rate_trips(5, 10, 10, MILLION / 2));
        assert!(!rate_trips(4, 10, 10, MILLION / 2));
        assert!(!rate_trips(10, 10, 10, 0), "off");
        assert!(!rate_trips(0, 0, 0, 1));
    }
}
