//! Taking a shard's lock, and putting right what a dead holder left.
//!
//! A holder that died while the sequence was odd may have left anything: the
//! shard is cleared. One that died with the dirty bit set but the sequence even
//! was moving an entry to the front, or had not begun, or had finished: the list
//! is made anew from the index, and values survive. A holder that is merely
//! stopped keeps the lock, whatever it takes.

use super::shard::{Damaged, Shard, LOCK};
use crate::region::lock::{self, Participant, Stuck, Taken};
use crate::words::Words;

/// Does something under the shard's lock. `None` if it cannot be had in time,
/// or if the shard turned out to be damaged. `reset` is called for each time
/// that the shard had to be cleared.
pub fn locked<W: Words, T>(
    shard: &Shard<'_, W>,
    participant: &impl Participant,
    dirty: bool,
    stuck: &Stuck,
    mut reset: impl FnMut(),
    body: impl FnOnce(&Shard<'_, W>) -> Result<T, Damaged>,
) -> Option<T> {
    let taken = lock::lock(shard.words, shard.at + LOCK, participant, dirty, stuck)?;
    let held = Held { shard };
    if shard.is_changing() {
        shard.clear();
        reset();
    } else if taken == (Taken::FromDead { dirty: true }) {
        shard.relink();
    }
    let result = body(shard);
    if result.is_err() {
        shard.clear();
        reset();
    }
    drop(held);
    result.ok()
}

/// Does something under the shard's lock if nobody has it.
pub fn if_free<W: Words>(
    shard: &Shard<'_, W>,
    participant: &impl Participant,
    body: impl FnOnce(&Shard<'_, W>),
) {
    let Some(owner) = participant.owner() else {
        return;
    };
    if lock::try_lock(shard.words, shard.at + LOCK, owner, true) {
        let held = Held { shard };
        body(shard);
        drop(held);
    }
}

/// Holds a shard's lock.
struct Held<'a, 'b, W: Words> {
    shard: &'a Shard<'b, W>,
}

impl<W: Words> Drop for Held<'_, '_, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A bug: what was being changed is not to be trusted.
            self.shard.clear();
        }
        lock::unlock(self.shard.words, self.shard.at + LOCK);
    }
}
