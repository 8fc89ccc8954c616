//! One shard of leases, applied to words that many share.
//!
//! ```text
//! lock, records ever in use at once      8 words
//! leases      one word each: rule.rs
//! tags        one word each: the key's hash
//! holders     one word each: seat and epoch, as in lock words
//! ```
//!
//! A record is a lease iff its lease word says so. It **begins** under the
//! shard's lock only: who counts the leases of a key and adds one cannot be
//! overtaken by another who does. Tag and holder are written while the record
//! is free, the lease word last, so a death between two stores leaves the
//! record free or whole, and whoever takes the lock over has nothing to repair.
//!
//! It **ends** by one exchange of the lease word for the free one, without the
//! lock: by its holder, by whoever sees that its time is over, or by whoever
//! sees that its holder is dead. A **renewal** is an exchange of the same word.
//! Of several one succeeds. So a lease that was not counted has ended, and a
//! late release, or a late renewal, changes nothing.

pub use super::rule::Word;
use crate::region::lock::{self, Owner, Participant, Stuck};
use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const LOCK: usize = 0;
/// No lease lies beyond so many records: who looks at all stops there.
const HIGH: usize = 1;
const LEASES: usize = 8;

/// Words of a shard with so many records.
pub const fn shard_words(records: usize) -> usize {
    LEASES + 3 * records
}

/// Who asks, and who is told.
pub trait Witness: Participant {
    /// Nanoseconds since the region was made.
    fn now(&self) -> u64;
    /// This process, if it has used the region since it was forked: a child
    /// that only drops its parent's leases takes no seat for it.
    fn seated(&self) -> Option<Owner>;
    /// A lease ended that was not released.
    fn ended(&self, how: End);
}

/// How a lease ended that was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    Expired,
    /// Its holder was dead.
    Reaped,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The key.
    pub tag: u64,
    /// Its leases at once.
    pub limit: u64,
    /// Milliseconds until the lease ends by itself.
    pub lease: u64,
}

/// A lease, as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which record.
    pub record: usize,
    /// What its word is for as long as it is this lease.
    pub word: Word,
}

/// Why there is no lease. Nanoseconds until one ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key has all its leases.
    Limit(u64),
    /// The shard has no free record.
    Full(u64),
    /// A process that is stopped has the shard's lock, or this one has no seat.
    Busy,
}

/// One shard.
pub struct Shard<'a, W> {
    /// The object's words.
    pub words: &'a W,
    /// The shard's first word.
    pub at: usize,
    /// How many records it has.
    pub records: usize,
}

/// What is in a shard.
struct Found {
    /// Leases of the key, and nanoseconds until the first of them ends.
    held: u64,
    wait: u64,
    /// Nanoseconds until any ends.
    wait_any: u64,
    /// A record that is no lease.
    free: Option<usize>,
}

impl<W: Words> Shard<'_, W> {
    /// A lease of this key, if it has not all of them. The dead are looked for
    /// only before a refusal, as that costs a system call for each process, and
    /// without the lock.
    pub fn acquire(
        &self,
        ask: &Ask,
        stuck: &Stuck,
        witness: &impl Witness,
    ) -> Result<Held, Refusal> {
        let answer = self.attempt(ask, stuck, witness);
        let has_room = match answer {
            Err(Refusal::Limit(_)) => self.reap(Some(ask.tag), witness) < ask.limit,
            Err(Refusal::Full(_)) => self.reap(None, witness) < self.records as u64,
            _ => false,
        };
        if has_room {
            return self.attempt(ask, stuck, witness);
        }
        answer
    }

    fn attempt(&self, ask: &Ask, stuck: &Stuck, witness: &impl Witness) -> Result<Held, Refusal> {
        let owner = witness.owner().ok_or(Refusal::Busy)?;
        lock::lock(self.words, self.at + LOCK, witness, false, stuck).ok_or(Refusal::Busy)?;
        // Read under the lock: the wait for it is not taken from the lease.
        let now = witness.now();
        let found = self.look(ask.tag, now, witness);
        let answer = match found.free {
            _ if found.held >= ask.limit => Err(Refusal::Limit(found.wait)),
            None => Err(Refusal::Full(found.wait_any)),
            Some(record) => Ok(self.begin(record, ask, owner, now)),
        };
        lock::unlock(self.words, self.at + LOCK);
        answer
    }

    /// Counts, and ends what is over: what is not counted must not be renewed
    /// any more. Under the lock.
    fn look(&self, tag: u64, now: u64, witness: &impl Witness) -> Found {
        let mut found = Found {
            held: 0,
            wait: u64::MAX,
            wait_any: u64::MAX,
            free: None,
        };
        let (high, mut top) = (self.high(), 0);
        for record in 0..high {
            let word = self.end_if_over(record, now, witness);
            if word.is_free() {
                found.free.get_or_insert(record);
                continue;
            }
            top = record + 1;
            found.wait_any = found.wait_any.min(word.left(now));
            if self.words.load(self.tag_at(record), Relaxed) == tag {
                found.held += 1;
                found.wait = found.wait.min(word.left(now));
            }
        }
        if top < high {
            self.words.store(self.at + HIGH, top as u64, Relaxed);
        }
        found.free = found.free.or((high < self.records).then_some(high));
        found
    }

    /// The record's word, after it was freed if its time is over.
    fn end_if_over(&self, record: usize, now: u64, witness: &impl Witness) -> Word {
        let at = self.lease_at(record);
        // Acquire: pairs with the release of the lease, so what its holder did
        // is seen by the next.
        let word = Word(self.words.load(at, Acquire));
        if word.is_free() || !word.is_over(now) {
            return word;
        }
        match self.words.cas(at, word.0, word.freed().0) {
            Ok(_) => {
                witness.ended(End::Expired);
                word.freed()
            }
            // Released, or renewed by a clock that was read before.
            Err(other) => Word(other),
        }
    }

    /// Makes a lease of a free record. Under the lock, and nobody else changes
    /// a record that is free.
    fn begin(&self, record: usize, ask: &Ask, owner: Owner, now: u64) -> Held {
        let at = self.lease_at(record);
        let word = Word(self.words.load(at, Relaxed)).taken(now, ask.lease);
        self.words.store(self.tag_at(record), ask.tag, Relaxed);
        self.words
            .store(self.holder_at(record), owner.word(), Relaxed);
        if self.words.load(self.at + HIGH, Relaxed) <= record as u64 {
            self.words.store(self.at + HIGH, record as u64 + 1, Relaxed);
        }
        // Release, and last: who sees the lease sees whose it is.
        self.words.store(at, word.0, Release);
        Held { record, word }
    }

    /// Ends leases whose holders are dead, of one key or of all; how many the
    /// others are. Takes no lock.
    fn reap(&self, tag: Option<u64>, witness: &impl Witness) -> u64 {
        let mut living = Living::new(witness.owner());
        let mut left = 0;
        for record in 0..self.high() {
            let at = self.lease_at(record);
            let word = Word(self.words.load(at, Acquire));
            let is_asked = |tag| self.words.load(self.tag_at(record), Relaxed) == tag;
            if word.is_free() || !tag.is_none_or(is_asked) {
                continue;
            }
            // Not older than the lease; if it is a later one's, the lease has
            // ended, and the exchange fails.
            let holder = Owner::of_word(self.words.load(self.holder_at(record), Relaxed));
            let is_dead = holder.is_none_or(|holder| living.lacks(holder, witness));
            if !is_dead {
                left += 1;
            } else if self.words.cas(at, word.0, word.freed().0).is_ok() {
                witness.ended(End::Reaped);
            }
        }
        left
    }

    /// Ends a lease; false if it had ended before, or is another process's.
    pub fn release(&self, held: Held, witness: &impl Witness) -> bool {
        if !self.is_mine(held, witness) {
            return false;
        }
        let is_over = held.word.is_over(witness.now());
        let at = self.lease_at(held.record);
        // AcqRel: publishes what was done under the lease to the next one.
        if self
            .words
            .cas(at, held.word.0, held.word.freed().0)
            .is_err()
        {
            return false;
        }
        if is_over {
            witness.ended(End::Expired);
        }
        !is_over
    }

    /// Has a lease end so many milliseconds from now; `None` if it had ended
    /// before, or is another process's.
    pub fn renew(&self, held: Held, lease: u64, witness: &impl Witness) -> Option<Held> {
        if !self.is_mine(held, witness) {
            return None;
        }
        let now = witness.now();
        if held.word.is_over(now) {
            self.release(held, witness);
            return None;
        }
        let word = held.word.renewed(now, lease);
        let at = self.lease_at(held.record);
        self.words.cas(at, held.word.0, word.0).ok()?;
        Some(Held { word, ..held })
    }

    /// Whether this process may have taken that lease: its parent may have, and
    /// a binding may hand in any number.
    fn is_mine(&self, held: Held, witness: &impl Witness) -> bool {
        held.record < self.records && !held.word.is_free() && {
            let holder = self.words.load(self.holder_at(held.record), Relaxed);
            witness.seated().is_some_and(|me| me.word() == holder)
        }
    }

    /// How many leases the key has; those that begin or end meanwhile count or
    /// not. Takes no lock and changes nothing.
    pub fn count(&self, tag: u64, now: u64) -> u64 {
        let is_of_key = |record: &usize| {
            let word = Word(self.words.load(self.lease_at(*record), Acquire));
            !word.is_free()
                && !word.is_over(now)
                && self.words.load(self.tag_at(*record), Relaxed) == tag
        };
        (0..self.high()).filter(is_of_key).count() as u64
    }

    fn high(&self) -> usize {
        (self.words.load(self.at + HIGH, Relaxed) as usize).min(self.records)
    }

    fn lease_at(&self, record: usize) -> usize {
        self.at + LEASES + record
    }

    fn tag_at(&self, record: usize) -> usize {
        self.lease_at(record) + self.records
    }

    fn holder_at(&self, record: usize) -> usize {
        self.tag_at(record) + self.records
    }
}

/// Who was found alive by this call, so that nobody is asked for again and
/// again: as many as can be remembered cheaply, this process first.
struct Living {
    known: [Option<Owner>; 16],
    next: usize,
}

impl Living {
    fn new(me: Option<Owner>) -> Living {
        let mut known = [None; 16];
        known[0] = me;
        Living { known, next: 1 }
    }

    fn lacks(&mut self, holder: Owner, witness: &impl Witness) -> bool {
        if self.known.contains(&Some(holder)) {
            return false;
        }
        if witness.is_dead(holder) {
            return true;
        }
        self.known[self.next] = Some(holder);
        self.next = (self.next + 1) % self.known.len();
        false
    }
}
