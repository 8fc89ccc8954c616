//! One shard: an index, entry records in LRU order, and their cells; the
//! sequential rule, to be called under the shard's lock, and the optimistic
//! read, which takes none.
//!
//! The sequence word (`sequence.rs`) is odd while the index, the records or
//! the cells change. The links of the LRU list are never read without the
//! lock, so promoting an entry does not disturb readers.
//!
//! All zeros is a valid empty shard.
//!
//! ```text
//! fixed part  lock, sequence, list ends, counters, statistics     32 words
//! stamps      one word for each of 32 classes of keys             32 words
//! index       {low half of tag 32, entry + 1 32} … linear probing
//! entries     8 words each: see ENTRY_*
//! bitmap      one bit a cell
//! cells       8 words each
//! ```

use super::cells::{worst, Cells};
use super::geometry::{ShardGeometry, ENTRY_WORDS, SHARD_WORDS, STAMPS};
use super::sequence;
use crate::hash::Hash;
use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// The lock word.
pub const LOCK: usize = 0;
const SEQUENCE: usize = 1;
/// Ends of the list: entry + 1, 0 if empty.
const NEWEST: usize = 2;
const OLDEST: usize = 3;
/// Head of the list of given-back entry records, linked by `next`.
const FREE_ENTRY: usize = 4;
/// Entry records ever used; those above are fresh.
const FRESH_ENTRY: usize = 5;
const COUNT: usize = 6;
const USED_CELLS: usize = 7;
/// Counts changes of the list, to tell how far an entry has sunk.
const LIST_CLOCK: usize = 8;
/// The last version given out. Survives clearing.
const VERSION: usize = 9;
/// Where the next search for cells begins.
const HINT: usize = 10;
/// Statistics written under the lock.
pub const SETS: usize = 11;
/// See [`SETS`].
pub const DELETES: usize = 12;
/// See [`SETS`].
pub const EVICTIONS: usize = 13;
/// See [`SETS`].
pub const EXPIRATIONS: usize = 14;
/// Statistics added to without the lock, on a line of their own.
pub const HITS: usize = 16;
/// See [`HITS`].
pub const MISSES: usize = 17;
/// See [`HITS`].
pub const TOO_LARGE: usize = 18;
/// See [`HITS`].
pub const BUSY: usize = 19;
/// See [`HITS`].
pub const RESETS: usize = 20;

/// Within an entry: the key's tag.
const ENTRY_TAG: usize = 0;
/// {previous + 1 32, next + 1 32}: towards newer, towards older.
const ENTRY_LINKS: usize = 1;
/// When it expires, in nanoseconds; 0 never.
const ENTRY_EXPIRES: usize = 2;
const ENTRY_CREATED: usize = 3;
const ENTRY_VERSION: usize = 4;
/// {value length 32, key length 16, 8 unused, codec 8}.
const ENTRY_SIZES: usize = 5;
/// {first cell 32, list clock when it was last moved 32}.
const ENTRY_PLACE: usize = 6;
/// What the key's stamps were when it was set.
const ENTRY_STAMP: usize = 7;

/// A key lies within this many slots of its home: of a thousand sets into a
/// full cache whose load is the highest, two thirds, fewer than one finds no
/// slot there and takes that of another entry. So no call takes more steps,
/// neither for keys that were chosen to collide nor in a damaged index.
pub const PROBES: usize = 64;

/// A key that finds no slot there takes one of so many next to its home.
const NEAREST: usize = 16;

/// So many slots are moved up on deletion, which is hardly ever too few where
/// nobody chose the keys.
const MOVES: usize = 8;

/// A slot that was emptied where closing up would have taken too long: probes
/// go on behind it. No entry has the number that it names.
const PASS: u64 = 1 << 32;

/// What is known of an entry beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which entry.
    pub entry: usize,
    /// The value's length.
    pub length: usize,
    /// The value's codec.
    pub codec: u8,
    /// Its version.
    pub version: u64,
    /// When it was set.
    pub created: u64,
    /// When it expires; 0 never.
    pub expires: u64,
    first_cell: usize,
    key_length: usize,
    moved: u32,
}

/// A new value.
pub struct New<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its hash.
    pub hash: Hash,
    /// The value.
    pub value: &'a [u8],
    /// The value's codec.
    pub codec: u8,
    /// Now.
    pub now: u64,
    /// When it expires; 0 never.
    pub expires: u64,
}

/// An answer of an optimistic read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// It was there.
    Hit(T),
    /// It was not.
    Miss,
    /// A writer was at work: ask again, or take the lock.
    Disturbed,
}

/// Something in the shard is impossible: clear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Words of an item's payload: the key and the value, each from a whole word on.
fn words_of_item(key: usize, value: usize) -> usize {
    (key.div_ceil(8) + value.div_ceil(8)).max(1)
}

/// One shard of a cache.
pub struct Shard<'a, W> {
    /// The cache's words.
    pub words: &'a W,
    /// The shard's first word.
    pub at: usize,
    /// How it is divided.
    pub geometry: &'a ShardGeometry,
    /// The word that counts the whole cache's clears.
    pub cleared: usize,
}

impl<'a, W: Words> Shard<'a, W> {
    // ----- reading, with or without the lock

    /// Looks the key up and has `copy` take the value, without the lock.
    #[inline]
    pub fn read<T>(
        &self,
        key: &[u8],
        hash: Hash,
        now: impl FnOnce() -> u64,
        copy: impl FnOnce(&Self, &Found) -> T,
    ) -> Read<(Found, T)> {
        let copied = sequence::read(self.words, self.at + SEQUENCE, || {
            self.find(hash)
                .map(|(_, found)| found)
                .filter(|found| self.is_of(found, key) && self.is_valid(found, hash))
                .map(|found| (found, copy(self, &found)))
        });
        let Some(copied) = copied else {
            return Read::Disturbed;
        };
        match copied {
            // The clock is read only for entries that expire.
            Some((found, copied)) if found.expires == 0 || now() < found.expires => {
                Read::Hit((found, copied))
            }
            _ => Read::Miss,
        }
    }

    /// Copies the value of an entry.
    #[inline]
    pub fn copy_value(&self, found: &Found, into: &mut [u8]) {
        self.cells()
            .read_value(found.first_cell, found.key_length, into);
    }

    /// In how many runs of cells an entry lies: for measurements.
    pub fn runs(&self, found: &Found) -> usize {
        self.cells().runs(found.first_cell)
    }

    /// The entry with this tag and its slot in the index. There is one at
    /// most, so that a call compares one key: of two keys with the same 64 bits
    /// the one that is set later takes the place of the other.
    #[inline]
    fn find(&self, hash: Hash) -> Option<(usize, Found)> {
        let mask = self.geometry.index - 1;
        let mut slot = hash.tag as usize & mask;
        for _ in 0..PROBES {
            let word = self.words.load(self.index() + slot, Relaxed);
            if word == 0 {
                return None;
            }
            if word >> 32 == hash.tag & 0xffff_ffff {
                let link = word & 0xffff_ffff;
                let tag = self.entry_at(self.clamp(link)) + ENTRY_TAG;
                if self.words.load(tag, Relaxed) == hash.tag && word != PASS {
                    return Some((slot, self.entry(link as usize)));
                }
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Whether the entry is this key's.
    #[inline]
    fn is_of(&self, found: &Found, key: &[u8]) -> bool {
        found.key_length == key.len() && self.cells().holds_key(found.first_cell, key)
    }

    /// Whether no stamp of the entry's key moved since it was set.
    #[inline]
    fn is_valid(&self, found: &Found, hash: Hash) -> bool {
        self.words
            .load(self.entry_at(found.entry) + ENTRY_STAMP, Relaxed)
            == self.stamp(hash)
    }

    /// The sum of the key's stamps: it grows with each of them.
    #[inline]
    fn stamp(&self, hash: Hash) -> u64 {
        let class = self.words.load(self.stamp_at(hash), Relaxed);
        class.wrapping_add(self.words.load(self.cleared, Acquire))
    }

    fn stamp_at(&self, hash: Hash) -> usize {
        self.at + SHARD_WORDS + (hash.tag >> 32) as usize % STAMPS
    }

    /// Makes what is there for this key (and its class) unreadable, without
    /// the lock: for writes that cannot get it.
    pub fn bump_stamp(&self, hash: Hash) {
        self.words.add(self.stamp_at(hash), 1);
    }

    /// Whether an entry found by a read has sunk far enough to be moved to the
    /// front: an eighth of the list (measured on recorded traces, that keeps
    /// the hit ratio within 0.15 points of strict order and saves most moves).
    #[inline]
    pub fn wants_promotion(&self, found: &Found) -> bool {
        let sunk = (self.load(LIST_CLOCK) as u32).wrapping_sub(found.moved);
        u64::from(sunk) > self.load(COUNT) / 8
    }

    // ----- writing, under the lock

    /// Moves the entry to the front if it is still the one that was read.
    pub fn promote(&self, found: &Found) {
        if self.load(self.entry_word(found.entry, ENTRY_VERSION)) == found.version
            && self.load(NEWEST) != found.entry as u64 + 1
        {
            self.unlink(found.entry);
            self.link_front(found.entry);
        }
    }

    /// Sets the key. The caller has checked that the item is small enough.
    pub fn set(&self, new: &New<'_>) -> Result<(), Damaged> {
        let change = self.begin();
        let result = self.set_inside(new);
        self.end(change);
        result
    }

    fn set_inside(&self, new: &New<'_>) -> Result<(), Damaged> {
        if let Some((slot, found)) = self.find(new.hash) {
            self.remove(slot, &found)?;
        }
        let words = words_of_item(new.key.len(), new.value.len());
        let spare = self.geometry.cells / 32;
        let needed = (worst(words) + spare).min(self.geometry.cells);
        // The spare cells were free after the last set, and each turn frees at
        // least one: more turns are damage.
        let mut turns = worst(words) + 1;
        while !self.has_room(needed) {
            turns = turns.checked_sub(1).ok_or(Damaged)?;
            self.evict(new.now)?;
        }
        let hint = self.load(HINT) as usize;
        let (first, next, taken) = self.cells().allocate(hint, words).ok_or(Damaged)?;
        let entry = self.take_entry()?;
        self.cells().write(first, new.key, new.value);
        let version = self.load(VERSION).wrapping_add(1);
        let at = self.entry_at(entry) - self.at;
        self.store(at + ENTRY_TAG, new.hash.tag);
        self.store(at + ENTRY_EXPIRES, new.expires);
        self.store(at + ENTRY_CREATED, new.now);
        self.store(at + ENTRY_VERSION, version);
        self.store(
            at + ENTRY_SIZES,
            (new.value.len() as u64) << 32 | (new.key.len() as u64) << 16 | u64::from(new.codec),
        );
        self.store(at + ENTRY_PLACE, (first as u64) << 32);
        self.store(at + ENTRY_STAMP, self.stamp(new.hash));
        self.store(VERSION, version);
        self.store(HINT, (next % self.geometry.cells) as u64);
        let used = self.load(USED_CELLS).saturating_add(taken as u64);
        self.store(USED_CELLS, used);
        self.store(COUNT, self.load(COUNT).saturating_add(1));
        self.link_front(entry);
        self.insert(new.hash.tag, entry, new.now)?;
        self.store(SETS, self.load(SETS).wrapping_add(1));
        Ok(())
    }

    /// Whether so many cells and one entry are free.
    fn has_room(&self, cells: usize) -> bool {
        let free = (self.geometry.cells as u64).saturating_sub(self.load(USED_CELLS));
        free >= cells as u64 && self.load(COUNT) < self.geometry.entries as u64
    }

    /// Deletes the key; whether a readable value was there.
    pub fn delete(&self, key: &[u8], hash: Hash, now: u64) -> Result<bool, Damaged> {
        let Some((slot, found)) = self.find(hash) else {
            return Ok(false);
        };
        if !self.is_of(&found, key) {
            return Ok(false);
        }
        let readable = self.is_valid(&found, hash) && (found.expires == 0 || now < found.expires);
        let change = self.begin();
        let removed = self.remove(slot, &found);
        if readable {
            self.store(DELETES, self.load(DELETES).wrapping_add(1));
        }
        self.end(change);
        removed.map(|()| readable)
    }

    /// Empties the shard. Versions, stamps and statistics go on.
    pub fn clear(&self) {
        let change = self.begin();
        for word in [
            NEWEST,
            OLDEST,
            FREE_ENTRY,
            FRESH_ENTRY,
            COUNT,
            USED_CELLS,
            HINT,
        ] {
            self.store(word, 0);
        }
        for slot in 0..self.geometry.index {
            self.words.store(self.index() + slot, 0, Relaxed);
        }
        for word in 0..self.geometry.bitmap() {
            self.words.store(self.bitmap() + word, 0, Relaxed);
        }
        self.end(change);
    }

    /// Makes the list and the free records anew from the index, which a change
    /// of the list alone leaves whole. Values survive, their order does not.
    pub fn relink(&self) {
        for word in [NEWEST, OLDEST, FREE_ENTRY] {
            self.store(word, 0);
        }
        // A record without a version is in no list yet.
        let mut free = 0;
        for entry in (0..self.fresh_entries()).rev() {
            if self.load(self.entry_word(entry, ENTRY_VERSION)) == 0 {
                self.store(self.entry_word(entry, ENTRY_LINKS), free);
                free = entry as u64 + 1;
            } else {
                self.link_front(entry);
            }
        }
        self.store(FREE_ENTRY, free);
    }

    /// Checks that index, records, list, bitmap and counters agree; what does
    /// not, in words. Under the lock, or when nobody else is there.
    pub fn verify(&self) -> Result<(), String> {
        let geometry = self.geometry;
        let mut owners = vec![None; geometry.cells];
        let mut indexed = vec![false; geometry.entries];
        for slot in 0..geometry.index {
            let word = self.words.load(self.index() + slot, Relaxed);
            if matches!(word, 0 | PASS) {
                continue;
            }
            let link = word & 0xffff_ffff;
            let found = self.entry(link as usize);
            if link == 0 || link > self.fresh_entries() as u64 {
                return Err(format!("slot {slot} names entry {link} - 1"));
            }
            let tag = self.load(self.entry_word(found.entry, ENTRY_TAG));
            if self.slot_of(tag, found.entry) != Ok(slot) {
                return Err(format!("slot {slot} is not where its tag is looked for"));
            }
            if std::mem::replace(&mut indexed[found.entry], true) {
                return Err(format!("entry {} is indexed twice", found.entry));
            }
            let words = words_of_item(found.key_length, found.length);
            self.cells()
                .claim(found.first_cell, words, found.entry, &mut owners)?;
        }
        let count = indexed.iter().filter(|there| **there).count();
        if count as u64 != self.load(COUNT) {
            return Err(format!("{count} entries, counted {}", self.load(COUNT)));
        }
        let taken = owners.iter().filter(|owner| owner.is_some()).count();
        if taken as u64 != self.load(USED_CELLS) || taken != self.cells().marked() {
            return Err(format!(
                "{taken} cells in use, counted {}, marked {}",
                self.load(USED_CELLS),
                self.cells().marked()
            ));
        }
        self.verify_list(&indexed, count)
    }

    /// The list holds just the indexed entries, forwards and backwards, and the
    /// free records just the others.
    fn verify_list(&self, indexed: &[bool], count: usize) -> Result<(), String> {
        let (mut at, mut newer) = (self.load(NEWEST), 0);
        for _ in 0..count {
            if at == 0 || !indexed[self.clamp(at)] {
                return Err(format!("the list leads to {at}"));
            }
            let links = self.load(self.entry_word(self.clamp(at), ENTRY_LINKS));
            if links >> 32 != newer {
                return Err(format!("entry {at} - 1 does not lead back"));
            }
            newer = at;
            at = links & 0xffff_ffff;
        }
        if at != 0 || self.load(OLDEST) != newer {
            return Err("the list does not end where it should".into());
        }
        let mut free = self.load(FREE_ENTRY);
        let mut spare = self.fresh_entries().saturating_sub(count);
        while free != 0 && spare > 0 {
            if indexed[self.clamp(free)] {
                return Err(format!("entry {free} - 1 is free and in use"));
            }
            free = self.load(self.entry_word(self.clamp(free), ENTRY_LINKS)) & 0xffff_ffff;
            spare -= 1;
        }
        if free != 0 || spare != 0 {
            return Err(format!("{spare} records are lost"));
        }
        Ok(())
    }

    /// Evicts the least recently used entry.
    fn evict(&self, now: u64) -> Result<(), Damaged> {
        let oldest = self.load(OLDEST) as usize;
        if oldest == 0 {
            return Err(Damaged);
        }
        let found = self.entry(oldest);
        let tag = self.load(self.entry_word(found.entry, ENTRY_TAG));
        let slot = self.slot_of(tag, found.entry)?;
        self.count_eviction(&found, now);
        self.remove(slot, &found)
    }

    fn count_eviction(&self, found: &Found, now: u64) {
        let expired = found.expires != 0 && found.expires <= now;
        let counter = if expired { EXPIRATIONS } else { EVICTIONS };
        self.store(counter, self.load(counter).wrapping_add(1));
    }

    /// Takes an entry out of everything.
    fn remove(&self, slot: usize, found: &Found) -> Result<(), Damaged> {
        self.remove_slot(slot);
        self.release(found)
    }

    /// Gives an entry's record and cells back.
    fn release(&self, found: &Found) -> Result<(), Damaged> {
        self.unlink(found.entry);
        let words = words_of_item(found.key_length, found.length);
        let freed = self.cells().free(found.first_cell, words).ok_or(Damaged)?;
        self.store(
            USED_CELLS,
            self.load(USED_CELLS).saturating_sub(freed as u64),
        );
        self.store(COUNT, self.load(COUNT).saturating_sub(1));
        let at = self.entry_word(found.entry, 0);
        // A reader that still holds the number must not take it for current.
        self.store(at + ENTRY_TAG, 0);
        self.store(at + ENTRY_VERSION, 0);
        self.store(at + ENTRY_LINKS, self.load(FREE_ENTRY));
        self.store(FREE_ENTRY, found.entry as u64 + 1);
        Ok(())
    }

    fn take_entry(&self) -> Result<usize, Damaged> {
        let free = self.load(FREE_ENTRY) as u32 as usize;
        if free != 0 {
            let entry = (free - 1) % self.geometry.entries;
            let next = self.load(self.entry_word(entry, ENTRY_LINKS)) as u32;
            self.store(FREE_ENTRY, u64::from(next));
            return Ok(entry);
        }
        let fresh = self.fresh_entries();
        if fresh >= self.geometry.entries {
            return Err(Damaged);
        }
        self.store(FRESH_ENTRY, fresh as u64 + 1);
        Ok(fresh)
    }

    // ----- the index: linear probing, closed up on deletion

    fn insert(&self, tag: u64, entry: usize, now: u64) -> Result<(), Damaged> {
        let mask = self.geometry.index - 1;
        let home = tag as usize & mask;
        let mine = tag << 32 | (entry as u64 + 1);
        let probes = PROBES.min(self.geometry.index);
        for step in 0..probes {
            let at = self.index() + ((home + step) & mask);
            if matches!(self.words.load(at, Relaxed), 0 | PASS) {
                self.words.store(at, mine, Relaxed);
                return Ok(());
            }
        }
        // No room near its home: it takes the place of one of those that are
        // nearest to it, so that what was just set is soon found.
        let at = self.index() + ((home + entry % NEAREST) & mask);
        let other = self.words.load(at, Relaxed);
        let found = self.entry(other as u32 as usize);
        let its_tag = self.load(self.entry_word(found.entry, ENTRY_TAG));
        if found.entry == entry || its_tag & 0xffff_ffff != other >> 32 {
            return Err(Damaged);
        }
        self.words.store(at, mine, Relaxed);
        self.count_eviction(&found, now);
        self.release(&found)
    }

    /// The slot of an entry whose tag is known.
    fn slot_of(&self, tag: u64, entry: usize) -> Result<usize, Damaged> {
        let mask = self.geometry.index - 1;
        let mut slot = tag as usize & mask;
        for _ in 0..PROBES {
            let word = self.words.load(self.index() + slot, Relaxed);
            if word == tag << 32 | (entry as u64 + 1) {
                return Ok(slot);
            }
            if word == 0 {
                break;
            }
            slot = (slot + 1) & mask;
        }
        Err(Damaged)
    }

    /// Empties a slot and moves later ones of its run up, so that no probe
    /// meets a gap before its key (Knuth, TAOCP 6.4, algorithm R); for so many
    /// steps and moves, then it leaves a slot that probes pass.
    fn remove_slot(&self, slot: usize) {
        let mask = self.geometry.index - 1;
        let mut gap = slot;
        let mut at = slot;
        let mut moves = MOVES;
        for _ in 0..PROBES {
            at = (at + 1) & mask;
            let word = self.words.load(self.index() + at, Relaxed);
            if word == 0 {
                self.words.store(self.index() + gap, 0, Relaxed);
                return;
            }
            let home = (word >> 32) as usize & mask;
            // It may move if its home is not between the gap and itself.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) && word != PASS {
                if moves == 0 {
                    break;
                }
                moves -= 1;
                self.words.store(self.index() + gap, word, Relaxed);
                gap = at;
            }
        }
        self.words.store(self.index() + gap, PASS, Relaxed);
    }

    // ----- the list, newest first

    fn link_front(&self, entry: usize) {
        let newest = self.load(NEWEST);
        self.store(self.entry_word(entry, ENTRY_LINKS), newest);
        if newest == 0 {
            self.store(OLDEST, entry as u64 + 1);
        } else {
            let links = self.entry_word(self.clamp(newest), ENTRY_LINKS);
            let next = self.load(links) & 0xffff_ffff;
            self.store(links, (entry as u64 + 1) << 32 | next);
        }
        self.store(NEWEST, entry as u64 + 1);
        let clock = self.load(LIST_CLOCK).wrapping_add(1) & 0xffff_ffff;
        self.store(LIST_CLOCK, clock);
        let place = self.entry_word(entry, ENTRY_PLACE);
        self.store(place, self.load(place) & !0xffff_ffff | clock);
    }

    fn unlink(&self, entry: usize) {
        let links = self.load(self.entry_word(entry, ENTRY_LINKS));
        let (newer, older) = (links >> 32, links & 0xffff_ffff);
        if newer == 0 {
            self.store(NEWEST, older);
        } else {
            let at = self.entry_word(self.clamp(newer), ENTRY_LINKS);
            self.store(at, self.load(at) & !0xffff_ffff | older);
        }
        if older == 0 {
            self.store(OLDEST, newer);
        } else {
            let at = self.entry_word(self.clamp(older), ENTRY_LINKS);
            self.store(at, newer << 32 | self.load(at) & 0xffff_ffff);
        }
    }

    // ----- words

    /// Marks the shard as changing.
    fn begin(&self) -> u64 {
        sequence::begin(self.words, self.at + SEQUENCE)
    }

    fn end(&self, change: u64) {
        sequence::end(self.words, self.at + SEQUENCE, change);
    }

    /// Whether a writer began and has not ended.
    pub fn is_changing(&self) -> bool {
        self.load(SEQUENCE) & 1 == 1
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.load(COUNT).min(self.geometry.entries as u64)
    }

    /// How many entry records were ever used.
    fn fresh_entries(&self) -> usize {
        (self.load(FRESH_ENTRY) as usize).min(self.geometry.entries)
    }

    /// How many cells are taken.
    pub fn used_cells(&self) -> u64 {
        self.load(USED_CELLS).min(self.geometry.cells as u64)
    }

    /// A statistic.
    pub fn statistic(&self, which: usize) -> u64 {
        self.load(which)
    }

    /// Counts one in a statistic that needs no lock.
    #[inline]
    pub fn count_one(&self, which: usize) {
        self.words.add(self.at + which, 1);
    }

    #[inline]
    fn load(&self, word: usize) -> u64 {
        self.words.load(self.at + word, Relaxed)
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        self.words.store(self.at + word, value, Relaxed);
    }

    fn index(&self) -> usize {
        self.at + SHARD_WORDS + STAMPS
    }

    fn entries(&self) -> usize {
        self.index() + self.geometry.index
    }

    fn bitmap(&self) -> usize {
        self.entries() + self.geometry.entries * ENTRY_WORDS
    }

    #[inline]
    fn cells(&self) -> Cells<'a, W> {
        Cells::<W>::new(self.words, self.bitmap(), self.geometry)
    }

    /// An entry's number from a link, which is one more, clamped.
    #[inline]
    fn clamp(&self, link: u64) -> usize {
        (link as usize).wrapping_sub(1) % self.geometry.entries
    }

    fn entry_at(&self, entry: usize) -> usize {
        self.entries() + entry * ENTRY_WORDS
    }

    /// A word of an entry, relative to the shard.
    fn entry_word(&self, entry: usize, word: usize) -> usize {
        self.entry_at(entry) - self.at + word
    }

    /// Reads an entry's record by its link.
    #[inline]
    fn entry(&self, link: usize) -> Found {
        let entry = self.clamp(link as u64);
        let at = self.entry_at(entry);
        let word = |i| self.words.load(at + i, Relaxed);
        let (sizes, place) = (word(ENTRY_SIZES), word(ENTRY_PLACE));
        Found {
            entry,
            // A length is read once, then clamped to what is ever stored.
            length: ((sizes >> 32) as usize).min(self.geometry.largest_item()),
            key_length: (sizes >> 16) as usize & 0xffff,
            codec: sizes as u8,
            version: word(ENTRY_VERSION),
            created: word(ENTRY_CREATED),
            expires: word(ENTRY_EXPIRES),
            first_cell: (place >> 32) as usize,
            moved: place as u32,
        }
    }
}
