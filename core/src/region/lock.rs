//! The lock of a shard, of the event ring and of the directory: one word that
//! names its holder.
//!
//! ```text
//!  63                                             10 9        1   0
//! ┌─────────────────────────────────────────────────┬──────────┬───┐
//! │ epoch of the holder's seat                      │ seat + 1 │ D │
//! └─────────────────────────────────────────────────┴──────────┴───┘
//!  0 = free. D (dirty): the holder may leave links or lists half-changed.
//! ```
//!
//! Taking it is one exchange that writes the whole word, so there is no moment
//! at which it is held by nobody in particular. What it guards changes owner
//! only by release, or when the kernel has proved the holder dead: a holder
//! that is merely stopped keeps it, because its later stores could not be
//! fenced. Waiting is bounded: who does not get it in time gives up and says so.

use crate::words::Words;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Marks a holder that may leave structures half-changed.
pub const DIRTY: u64 = 1;

/// A participant as lock words and leases name it: {epoch, seat + 1}, shifted
/// past the dirty bit. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    const SEAT_BITS: u32 = 9;
    /// Epochs wrap at this many; reusing one needs as many processes in a seat.
    pub const EPOCHS: u64 = 1 << (63 - Self::SEAT_BITS);

    /// The participant in `seat` for the `epoch`-th time.
    pub fn new(seat: usize, epoch: u64) -> Owner {
        let epoch = epoch % Self::EPOCHS;
        Owner(((epoch << Self::SEAT_BITS) | (seat as u64 + 1)) << 1)
    }

    /// Who a lock word names, or `None` if it is free.
    pub fn of_word(word: u64) -> Option<Owner> {
        (word & !DIRTY != 0).then_some(Owner(word & !DIRTY))
    }

    /// The word that names this participant.
    pub fn word(self) -> u64 {
        self.0
    }

    /// The seat; hostile words may name one that does not exist.
    pub fn seat(self) -> Option<usize> {
        ((self.0 >> 1) as usize & ((1 << Self::SEAT_BITS) - 1)).checked_sub(1)
    }

    /// The epoch of the seat.
    pub fn epoch(self) -> u64 {
        self.0 >> (1 + Self::SEAT_BITS)
    }
}

/// How a lock was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// From nobody.
    Free,
    /// From a dead holder; `dirty` tells whether it may have left links half-changed.
    FromDead {
        /// The dead holder's dirty bit.
        dirty: bool,
    },
}

/// Polls of the word before giving way to other threads.
const SPINS: u32 = 100;
/// Turns given away before giving up.
const YIELDS: u32 = 200;

/// Who takes locks, and who can tell the dead from the living.
pub trait Participant {
    /// Who takes the lock.
    fn owner(&self) -> Option<Owner>;
    /// Whether the kernel proves that this holder is gone. In doubt, false.
    fn is_dead(&self, owner: Owner) -> bool;
    /// Lets another thread run.
    fn give_way(&self);
}

/// One attempt without waiting.
pub fn try_lock<W: Words>(words: &W, at: usize, owner: Owner, dirty: bool) -> bool {
    words.load(at, Acquire) == 0 && words.cas(at, 0, owner.0 | u64::from(dirty)).is_ok()
}

/// What a process remembers of a lock that it could not get: the word that it
/// waited for in vain. While that stays there it does not wait as long again.
#[derive(Default)]
pub struct Stuck(AtomicU64);

/// Takes the lock at word `at`, waiting a bounded while; `None` if a living
/// participant keeps it. With `dirty`, the word says so from the first moment.
pub fn lock<W: Words>(
    words: &W,
    at: usize,
    participant: &impl Participant,
    dirty: bool,
    stuck: &Stuck,
) -> Option<Taken> {
    let owner = participant.owner()?;
    let mine = owner.0 | u64::from(dirty);
    let known = stuck.0.load(Relaxed);
    let is_stuck = known != 0 && words.load(at, Acquire) == known;
    let rounds = SPINS + if is_stuck { 1 } else { YIELDS };
    let taken = wait(words, at, participant, mine, rounds);
    match taken {
        None => stuck.0.store(words.load(at, Relaxed), Relaxed),
        Some(_) if known != 0 => stuck.0.store(0, Relaxed),
        Some(_) => {}
    }
    taken
}

fn wait<W: Words>(
    words: &W,
    at: usize,
    participant: &impl Participant,
    mine: u64,
    rounds: u32,
) -> Option<Taken> {
    for round in 0..rounds {
        let found = words.load(at, Acquire);
        match Owner::of_word(found) {
            None => {
                // A free word with the dirty bit is nobody's state: repair it.
                if words.cas(at, found, mine).is_ok() {
                    return Some(if found & DIRTY == 0 {
                        Taken::Free
                    } else {
                        Taken::FromDead { dirty: true }
                    });
                }
            }
            // Probing costs a system call: not while the holder is likely to
            // be in the middle of its few hundred nanoseconds.
            Some(holder) if round >= SPINS && round % 32 == SPINS % 32 => {
                if participant.is_dead(holder) {
                    // A repairer that dies must leave word of what it inherited.
                    let keep = mine | (found & DIRTY);
                    if words.cas(at, found, keep).is_ok() {
                        return Some(Taken::FromDead {
                            dirty: found & DIRTY != 0,
                        });
                    }
                }
            }
            Some(_) => {}
        }
        if round < SPINS {
            words.spin();
        } else {
            participant.give_way();
        }
    }
    None
}

/// Gives the lock back. Only its holder may call this.
pub fn unlock<W: Words>(words: &W, at: usize) {
    // Release: publishes what the holder did to the next one's Acquire.
    words.store(at, 0, Release);
}

const _: () = assert!(super::layout::SEATS < 1 << Owner::SEAT_BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Memory;
    use crate::words::Span;
    use std::sync::Arc;

    struct Someone {
        seat: usize,
        dead: Vec<usize>,
    }

    impl Participant for Someone {
        fn owner(&self) -> Option<Owner> {
            Some(Owner::new(self.seat, 7))
        }
        fn is_dead(&self, owner: Owner) -> bool {
            owner.seat().is_none_or(|seat| self.dead.contains(&seat))
        }
        fn give_way(&self) {}
    }

    fn word() -> Span {
        Span::new(Arc::new(Memory::heap(1)), 0, 1).unwrap()
    }

    #[test]
    fn an_owner_keeps_its_seat_and_epoch() {
        for (seat, epoch) in [(0, 0), (255, 1), (3, Owner::EPOCHS - 1)] {
            let owner = Owner::new(seat, epoch);
            assert_eq!((owner.seat(), owner.epoch()), (Some(seat), epoch));
            assert_eq!(Owner::of_word(owner.0 | DIRTY), Some(owner));
        }
    }

    #[test]
    fn a_living_holder_keeps_the_lock_and_others_give_up() {
        let word = word();
        let holder = Someone {
            seat: 1,
            dead: vec![],
        };
        let other = Someone {
            seat: 2,
            dead: vec![],
        };
        assert_eq!(
            lock(&word, 0, &holder, true, &Stuck::default()),
            Some(Taken::Free)
        );
        assert_eq!(lock(&word, 0, &other, true, &Stuck::default()), None);
        unlock(&word, 0);
        assert_eq!(
            lock(&word, 0, &other, false, &Stuck::default()),
            Some(Taken::Free)
        );
    }

    #[test]
    fn who_waited_in_vain_waits_less_until_the_holder_lets_go() {
        struct Counting(AtomicU64);
        impl Participant for Counting {
            fn owner(&self) -> Option<Owner> {
                Some(Owner::new(2, 7))
            }
            fn is_dead(&self, _: Owner) -> bool {
                false
            }
            fn give_way(&self) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let word = word();
        let holder = Someone {
            seat: 1,
            dead: vec![],
        };
        lock(&word, 0, &holder, true, &Stuck::default()).unwrap();
        let (other, stuck) = (Counting(AtomicU64::new(0)), Stuck::default());
        let waits = || {
            let before = other.0.load(Relaxed);
            let taken = lock(&word, 0, &other, true, &stuck);
            (taken, other.0.load(Relaxed) - before)
        };
        assert_eq!(waits(), (None, u64::from(YIELDS)));
        assert_eq!(waits(), (None, 1));
        unlock(&word, 0);
        assert_eq!(waits(), (Some(Taken::Free), 0));
        // The same word again is a new holder's: it is waited for as ever.
        unlock(&word, 0);
        lock(&word, 0, &holder, true, &Stuck::default()).unwrap();
        assert_eq!(waits(), (None, u64::from(YIELDS)));
    }

    #[test]
    fn a_dead_holder_hands_over_what_it_left() {
        for dirty in [false, true] {
            let word = word();
            let dead = Someone {
                seat: 1,
                dead: vec![],
            };
            let heir = Someone {
                seat: 2,
                dead: vec![1],
            };
            lock(&word, 0, &dead, dirty, &Stuck::default()).unwrap();
            assert_eq!(
                lock(&word, 0, &heir, false, &Stuck::default()),
                Some(Taken::FromDead { dirty })
            );
        }
    }

    #[test]
    fn a_word_that_names_no_possible_seat_is_taken_over() {
        let word = word();
        word.store(0, 1 << 40, Release);
        let heir = Someone {
            seat: 2,
            dead: vec![],
        };
        assert_eq!(
            lock(&word, 0, &heir, false, &Stuck::default()),
            Some(Taken::FromDead { dirty: false })
        );
    }
}
