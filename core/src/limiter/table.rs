//! The slot table: the buckets of many keys in fixed memory, sixteen bytes each.
//!
//! A slot is a pair of words:
//!
//! ```text
//!        63                             21 20         2 1     0
//! label ┌─────────────────────────────────┬────────────┬───────┐
//!       │ fingerprint of the key       43 │ version 19 │ state │  DEAD, PENDING, LIVE
//!       └─────────────────────────────────┴────────────┴───────┘
//!        63                                             1     0
//! time  ┌───────────────────────────────────────────────┬─────┐
//!       │ theoretical arrival time, or a window      63 │phase│
//!       └───────────────────────────────────────────────┴─────┘
//! ```
//!
//! Below, *arrival* stands for a window's word as well (`window.rs`): all that
//! the protocol needs is that it grows with each charge, and tells when it has
//! nothing to say any more.
//!
//! A slot is *labelled* iff the low bit of its version equals the phase of its
//! time; otherwise it is free. A key may live in any slot of its *group*: two
//! sets of eight.
//!
//! The two words cannot be exchanged together, so claiming a slot is a
//! protocol. Two claimers of one key must never hold two live slots (twice the
//! budget), and a claimer that slept must not evict a bucket that was charged
//! meanwhile. So: a claim first wins the *time* word, which frees the slot;
//! then labels it PENDING; then looks at the whole group, and of several
//! claims for one key all but the lowest kill themselves or are killed
//! (Dekker's pattern, with a sequentially consistent fence between the store
//! and the look); only then is it made LIVE, and an ordinary hit charges it.
//! An exchange of the time word on a hit proves that the slot had not been
//! freed since its label was read, because time is read first. Anybody can
//! finish what a dead or stopped claimer began.
//!
//! The tests search the interleavings of this very code, with pauses and
//! deaths, exhaustively (`core/tests/table_search.rs`).
//!
//! A strict table keeps the evicted arrival time, and of windows the tightest of
//! the group, so a key never regains tokens by being evicted; a lenient one starts a newcomer with a full bucket
//! even when it had to evict a live one, which is counted first.

use super::rule::{Rule, END_OF_TIME};
use super::window::Form;
use super::OnFull;
use crate::hash::Hash;
use crate::words::{update, Words, TURNS};
use std::sync::atomic::Ordering::{Acquire, SeqCst};

/// Words of a slot.
pub const SLOT_WORDS: usize = 2;
/// Slots of a set.
pub const SET: usize = 8;
/// Slots of a group.
pub const GROUP: usize = 2 * SET;

/// How often a call reads the clock again before it takes a slot that seems not
/// to be free: once it slept, twice somebody else was faster, and so on.
const LOOKS: usize = 4;

/// How often a call claims a slot before it gives up and refuses: others keep
/// taking what it claims.
const CLAIMS: usize = 64;

const STATE: u64 = 0b11;
const DEAD: u64 = 0;
const PENDING: u64 = 1;
const LIVE: u64 = 2;
const VERSION_ONE: u64 = 1 << 2;
const VERSION: u64 = ((1 << 19) - 1) << 2;
const FINGERPRINT: u64 = !(VERSION | STATE);

/// What tells the mark of a key's block from that of its bucket: half of the
/// fingerprint's bits, so that no key's neighbour is its block.
const BLOCKED: u64 = 0x5555_5555_5555_5555 & FINGERPRINT;

const PHASE: u64 = 1;
const ARRIVAL_SHIFT: u32 = 1;

const _: () = assert!(FINGERPRINT.count_ones() == 43);
const LAST_ARRIVAL: u64 = u64::MAX >> ARRIVAL_SHIFT;
const _: () = assert!(END_OF_TIME + super::rule::LONGEST_REFILL < LAST_ARRIVAL);

/// Where a table lies and how large it is.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its first word.
    pub at: usize,
    /// How many slots: a power of two, at least [`GROUP`].
    pub slots: usize,
    /// The slots of a group; fewer than [`GROUP`] only in searches of small worlds.
    pub group: usize,
    /// What happens when it is full.
    pub on_full: OnFull,
    /// What the time words say.
    pub form: Form,
}

/// The slots where a key may live, and its mark there.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    first: usize,
    second: usize,
    fingerprint: u64,
}

/// What a call wrote, and where: for taking it back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    at: usize,
    label: u64,
    /// The arrival time.
    pub arrival: u64,
    /// The clock's reading that it was decided by.
    pub now: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Admitted; the bucket's arrival time is now this.
    Admitted(u64),
    /// Refused; the bucket's arrival time is this, and nothing was written.
    Refused(u64),
    /// Others kept the group changing, round after round: refused.
    Contended,
}

/// What a call leaves for the statistics.
pub trait Witness {
    /// A live bucket of another key, labelled so, is about to be evicted.
    fn evicting_live(&self, label: u64);
    /// The clock, read anew, in ticks.
    fn clock(&self) -> u64;
    /// The call starts over, with nothing but its arguments in hand, and this
    /// reading of the clock.
    fn starting_over(&self, _now: u64) {}
}

#[derive(Clone, Copy)]
struct Slot {
    at: usize,
    time: u64,
    label: u64,
}

impl Slot {
    const NONE: Slot = Slot {
        at: 0,
        time: 0,
        label: 0,
    };

    fn arrival(&self) -> u64 {
        self.time >> ARRIVAL_SHIFT
    }

    /// Whether the label belongs to the time.
    fn is_labelled(&self) -> bool {
        (self.label / VERSION_ONE) & 1 == self.time & PHASE
    }

    fn is(&self, group: &Group, state: u64) -> bool {
        self.label & !VERSION == group.fingerprint | state && self.is_labelled()
    }
}

fn with_arrival(time: u64, arrival: u64) -> u64 {
    debug_assert!(arrival <= LAST_ARRIVAL);
    arrival << ARRIVAL_SHIFT | time & PHASE
}

/// Waits a little after an exchange that failed, and longer after many: those
/// who have failed most are otherwise the last to get through.
#[cold]
fn give_way<W: Words>(words: &W, turn: usize) {
    for _ in 0..(turn / 4).min(64) {
        words.spin();
    }
}

fn in_state(label: u64, state: u64) -> u64 {
    label & !STATE | state
}

impl Table {
    /// The group of a key. Strict groups do not overlap: what evicts a key has
    /// then looked at every slot where the key may come back, and none of them
    /// is fuller. Lenient groups do, so that crowds spread.
    #[inline(always)]
    pub fn group(&self, hash: Hash) -> Group {
        let sets = self.slots / SET;
        let place = hash.place as usize & (sets - 1);
        let (first, second) = match self.on_full {
            OnFull::Strict => (place & !1, place | 1),
            OnFull::Lenient => {
                // Any other set: the upper half of the place chooses which.
                let step = (((hash.place >> 32) * (sets as u64 - 1)) >> 32) as usize + 1;
                (place, (place + step) & (sets - 1))
            }
        };
        Group {
            first: self.at + first * SET * SLOT_WORDS,
            second: self.at + second * SET * SLOT_WORDS,
            fingerprint: hash.tag & FINGERPRINT,
        }
    }

    /// The group of the key's block: in the same sets, under another mark.
    #[inline]
    pub fn block_group(&self, group: &Group) -> Group {
        Group {
            fingerprint: group.fingerprint ^ BLOCKED,
            ..*group
        }
    }

    /// The key's group in another table of as many slots.
    #[inline]
    pub fn group_in(&self, other: &Table, group: &Group) -> Group {
        Group {
            first: group.first - self.at + other.at,
            second: group.second - self.at + other.at,
            ..*group
        }
    }

    /// A group of the table's first slots, for searches of small worlds.
    pub fn small_group(&self, key: u64) -> Group {
        Group {
            first: self.at,
            second: self.at + SET * SLOT_WORDS,
            fingerprint: (key << 21) & FINGERPRINT,
        }
    }

    /// The word where the `i`-th slot of a group begins.
    #[inline(always)]
    fn slot_at(&self, group: &Group, i: usize) -> usize {
        if i < SET {
            group.first + i * SLOT_WORDS
        } else {
            group.second + (i - SET) * SLOT_WORDS
        }
    }

    /// Reads a slot, time first: a later exchange of the time proves that the
    /// label was still its own.
    #[inline(always)]
    fn read<W: Words>(&self, words: &W, group: &Group, i: usize) -> Slot {
        let at = self.slot_at(group, i);
        let time = words.load(at, Acquire);
        let label = words.load(at + 1, Acquire);
        Slot { at, time, label }
    }

    /// Asks for this amount from the key's bucket at `now`.
    #[inline]
    pub fn charge<W: Words>(
        &self,
        words: &W,
        group: &Group,
        rule: &Rule,
        amount: u64,
        now: u64,
        witness: &impl Witness,
    ) -> Answer {
        let decide = |arrival, now| rule.charge(arrival, now, amount);
        self.advance(words, group, now, decide, witness)
            .map_or_else(|answer| answer, |entry| Answer::Admitted(entry.arrival))
    }

    /// Asks the memory for the slots of a group, and does not wait for them.
    #[inline(always)]
    pub fn prefetch<W: Words>(&self, words: &W, group: &Group) {
        for set in [group.first, group.second] {
            words.prefetch(set);
            words.prefetch(set + SET);
        }
    }

    /// What the first turn of [`Table::advance`] does if the key has a slot and
    /// nobody is faster: the arrival time that was written, or the one that was
    /// refused. `None` in any other case, and nothing was written.
    #[inline(always)]
    pub fn hit<W: Words>(
        &self,
        words: &W,
        group: &Group,
        rule: &Rule,
        amount: u64,
        now: u64,
    ) -> Option<Result<u64, u64>> {
        let live = group.fingerprint | LIVE;
        let in_set = |set, count| words.find_pair(set, count, !VERSION, live);
        let index = match in_set(group.first, self.group.min(SET)) {
            Some(index) => index,
            None => SET + in_set(group.second, self.group.saturating_sub(SET))?,
        };
        // Again, and time first.
        let slot = self.read(words, group, index);
        if !slot.is(group, LIVE) {
            return None;
        }
        let Some(after) = rule.charge(slot.arrival(), now, amount) else {
            return Some(Err(slot.arrival()));
        };
        let after = after.min(LAST_ARRIVAL);
        let exchange = words.cas(slot.at, slot.time, with_arrival(slot.time, after));
        exchange.ok().map(|_| Ok(after))
    }

    /// Moves the key's arrival time on to what `decide` makes of it and of the
    /// time, which is never less; `None` refuses. Tells what was written, and
    /// where. Who has read the clock long ago finds live what is full by now;
    /// before a newcomer takes such a slot the clock is read again.
    #[inline]
    pub fn advance<W: Words>(
        &self,
        words: &W,
        group: &Group,
        mut now: u64,
        decide: impl Fn(u64, u64) -> Option<u64>,
        witness: &impl Witness,
    ) -> Result<Entry, Answer> {
        let (mut looks, mut claims) = (0, 0);
        for turn in 0..TURNS {
            witness.starting_over(now);
            match self.find(words, group, self.form.floor(now)) {
                Found::Live(slot) => {
                    let Some(after) = decide(slot.arrival(), now) else {
                        return Err(Answer::Refused(slot.arrival()));
                    };
                    let after = after.min(LAST_ARRIVAL);
                    let time = with_arrival(slot.time, after);
                    if words.cas(slot.at, slot.time, time).is_ok() {
                        return Ok(Entry {
                            at: slot.at,
                            label: slot.label,
                            arrival: after,
                            now,
                        });
                    }
                    // Somebody else's call went through; let it pass.
                    give_way(words, turn);
                }
                Found::Nowhere { victim } => {
                    if victim.1.arrival() > self.form.floor(now) && looks < LOOKS {
                        looks += 1;
                        let later = witness.clock();
                        if later > now {
                            now = later;
                            continue;
                        }
                    }
                    claims += 1;
                    if claims > CLAIMS {
                        break;
                    }
                    let decide = |arrival| decide(arrival, now);
                    if let Some(refusal) = self.claim(words, group, victim, decide, now, witness) {
                        return Err(refusal);
                    }
                }
            }
        }
        Err(Answer::Contended)
    }

    /// Gives as much back to the key's bucket as `amount` says for its arrival
    /// time; it is never more than full at `now`, the clock's own reading. The
    /// arrival time that it then has.
    pub fn refund<W: Words>(
        &self,
        words: &W,
        group: &Group,
        now: u64,
        amount: impl Fn(u64) -> u64,
    ) -> u64 {
        let floor = self.form.floor(now);
        for turn in 0..TURNS {
            match self.find(words, group, floor) {
                Found::Live(slot) if slot.arrival() > floor => {
                    if let Some(arrival) = self.give_back(words, slot, now, &amount) {
                        return arrival;
                    }
                    give_way(words, turn);
                }
                Found::Live(slot) => return slot.arrival(),
                Found::Nowhere { .. } => return 0,
            }
        }
        self.arrival(words, group)
    }

    /// Takes back what a call wrote a moment ago: gives as much back as `amount`
    /// says if the slot still is the same key's, in the same residence. False if
    /// it is not, or if the clock has passed what was written. A bucket has
    /// regained the time since then: were that given back as well, more than its
    /// burst could be used by who charged it meanwhile and who comes next.
    pub fn undo<W: Words>(
        &self,
        words: &W,
        entry: &Entry,
        now: u64,
        amount: impl Fn(u64) -> u64,
    ) -> bool {
        let floor = self.form.floor(now);
        let regained = match self.form {
            Form::Bucket => now.saturating_sub(entry.now),
            _ => 0,
        };
        let amount = |word| amount(word).saturating_sub(regained);
        for turn in 0..TURNS {
            let time = words.load(entry.at, Acquire);
            let label = words.load(entry.at + 1, Acquire);
            let slot = Slot {
                at: entry.at,
                time,
                label,
            };
            if label != entry.label || !slot.is_labelled() || floor >= entry.arrival {
                return false;
            }
            if slot.arrival() <= floor || self.give_back(words, slot, now, amount).is_some() {
                return true;
            }
            give_way(words, turn);
        }
        false
    }

    /// Gives an amount back to a slot that is not full at `now`: its arrival
    /// time, or `None` if somebody else changed it.
    fn give_back<W: Words>(
        &self,
        words: &W,
        slot: Slot,
        now: u64,
        amount: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let amount = amount(slot.arrival());
        let arrival = self.form.give_back(slot.arrival(), amount, now);
        let exchange = words.cas(slot.at, slot.time, with_arrival(slot.time, arrival));
        exchange.is_ok().then_some(arrival)
    }

    /// The arrival time of the key's bucket; 0 (full) if it has no slot.
    pub fn arrival<W: Words>(&self, words: &W, group: &Group) -> u64 {
        match self.find(words, group, 0) {
            Found::Live(slot) => slot.arrival(),
            Found::Nowhere { .. } => 0,
        }
    }

    /// Fills the key's bucket; true if it was not full at `now`.
    pub fn reset<W: Words>(&self, words: &W, group: &Group, now: u64) -> bool {
        let floor = self.form.floor(now);
        for turn in 0..TURNS {
            match self.find(words, group, floor) {
                Found::Live(slot) if slot.arrival() > floor => {
                    let full = with_arrival(slot.time, floor);
                    if words.cas(slot.at, slot.time, full).is_ok() {
                        return true;
                    }
                    give_way(words, turn);
                }
                _ => return false,
            }
        }
        false
    }

    /// Fills all buckets and ends all blocks; those of calls under way stay.
    pub fn clear<W: Words>(&self, words: &W, now: u64) {
        let floor = self.form.floor(now);
        for at in (0..self.slots).map(|slot| self.at + slot * SLOT_WORDS) {
            let _ = update(words, at, Acquire, |time| {
                (time >> ARRIVAL_SHIFT > floor).then(|| with_arrival(time, floor))
            });
        }
    }

    /// Puts the key's bucket right if it is further ahead than `last`, which
    /// is further than any charge can have put it.
    #[cold]
    pub fn put_right<W: Words>(&self, words: &W, group: &Group, last: u64) {
        if let Found::Live(slot) = self.find(words, group, 0) {
            if slot.arrival() > last {
                // Losing the race to anybody is as good.
                let _ = words.cas(slot.at, slot.time, with_arrival(slot.time, last));
            }
        }
    }

    #[inline]
    fn find<W: Words>(&self, words: &W, group: &Group, floor: u64) -> Found {
        let mut sets = [Candidate {
            index: 0,
            slot: Slot::NONE,
            live: 0,
        }; GROUP / SET];
        for index in 0..self.group {
            let slot = self.read(words, group, index);
            if slot.is(group, LIVE) {
                return Found::Live(slot);
            }
            let set = &mut sets[index / SET];
            if index % SET == 0 || slot.arrival() < set.slot.arrival() {
                (set.index, set.slot) = (index, slot);
            }
            set.live += usize::from(slot.arrival() > floor);
        }
        self.victim(&sets[..self.group.div_ceil(SET)], floor)
    }

    /// The slot for a newcomer: the group's smallest arrival time. While both
    /// sets have a slot that is full again, a lenient newcomer goes to the set
    /// with fewer live buckets, so that neither fills up before the other
    /// (Azar et al., "Balanced allocations", 1994); a bucket that is full loses
    /// nothing by being evicted.
    #[cold]
    fn victim(&self, sets: &[Candidate], floor: u64) -> Found {
        let mut chosen = sets[0];
        if let Some(second) = sets.get(1) {
            let both_full = chosen.slot.arrival().max(second.slot.arrival()) <= floor;
            let goes_second = if both_full && self.on_full == OnFull::Lenient {
                second.live < chosen.live
            } else {
                second.slot.arrival() < chosen.slot.arrival()
            };
            if goes_second {
                chosen = *second;
            }
        }
        Found::Nowhere {
            victim: (chosen.index, chosen.slot),
        }
    }

    /// Claims a slot for the key. `None`: look again (the slot may be ours).
    #[cold]
    fn claim<W: Words>(
        &self,
        words: &W,
        group: &Group,
        (mine, victim): (usize, Slot),
        decide: impl Fn(u64) -> Option<u64>,
        now: u64,
        witness: &impl Witness,
    ) -> Option<Answer> {
        let floor = self.form.floor(now);
        let is_live =
            victim.arrival() > floor && victim.is_labelled() && victim.label & STATE == LIVE;
        let arrival = if is_live && self.on_full == OnFull::Lenient {
            witness.evicting_live(victim.label);
            floor
        } else {
            let owed = self.owed(words, group, &victim, floor);
            // A newcomer that would be refused claims nothing.
            if decide(owed).is_none() {
                return Some(Answer::Refused(owed));
            }
            // A little on, so that no earlier reading of this word survives.
            self.form.bump(owed).min(LAST_ARRIVAL)
        };
        let phase = if victim.is_labelled() { PHASE } else { 0 };
        let freed = with_arrival(victim.time, arrival) ^ phase;
        if words.cas(victim.at, victim.time, freed).is_err() {
            return None;
        }
        // The slot is free, and free for anybody: label it.
        let mut label = victim.label;
        let mut states = 0;
        let pending = loop {
            let version = label.wrapping_add(VERSION_ONE) & VERSION;
            let pending = group.fingerprint | version | PENDING;
            match words.cas(victim.at + 1, label, pending) {
                Ok(_) => break pending,
                // Somebody settled the label's former life: same life, new
                // state. A life has only so many, or it is mischief.
                Err(found) if found & !STATE == label & !STATE && states < STATE => label = found,
                Err(_) => return None,
            }
            states += 1;
        };
        // The label must be out before the others' are read; both claimers
        // cannot miss each other.
        words.fence(SeqCst);
        self.settle(words, group, mine, pending);
        None
    }

    /// What a newcomer takes over with a slot: its word. Of buckets that is
    /// the emptiest one's, so who was evicted has owed no more. Windows are not
    /// tighter in the order in which they end: a strict newcomer to a group
    /// without a free slot may have been evicted from any of them, and owes
    /// what all of them do.
    fn owed<W: Words>(&self, words: &W, group: &Group, victim: &Slot, floor: u64) -> u64 {
        let word = victim.arrival();
        if self.form == Form::Bucket || self.on_full == OnFull::Lenient || word <= floor {
            return word;
        }
        let others = (0..self.group).map(|i| words.load(self.slot_at(group, i), Acquire));
        others.fold(word, |owed, time| {
            self.form.tighter(owed, time >> ARRIVAL_SHIFT)
        })
    }

    /// Decides between several claims for the group's key, beginning with the
    /// slot `mine`, labelled `pending`: at most one becomes LIVE.
    fn settle<W: Words>(&self, words: &W, group: &Group, mut mine: usize, mut pending: u64) {
        // Each turn moves to a lower slot.
        'settling: for _ in 0..self.group {
            let at = self.slot_at(group, mine) + 1;
            for other in (0..self.group).filter(|&other| other != mine) {
                let mut looks = 0;
                loop {
                    // A claim that others keep changing is left to them.
                    looks += 1;
                    if looks > CLAIMS {
                        return;
                    }
                    let slot = self.read(words, group, other);
                    if slot.is(group, LIVE) {
                        let _ = words.cas(at, pending, in_state(pending, DEAD));
                        return;
                    }
                    if !slot.is(group, PENDING) {
                        break;
                    }
                    if other < mine {
                        // The lower one wins: step back and help it.
                        let _ = words.cas(at, pending, in_state(pending, DEAD));
                        mine = other;
                        pending = slot.label;
                        continue 'settling;
                    }
                    if words
                        .cas(slot.at + 1, slot.label, in_state(slot.label, DEAD))
                        .is_ok()
                    {
                        break;
                    }
                }
            }
            let _ = words.cas(at, pending, in_state(pending, LIVE));
            return;
        }
    }
}

/// The slot of a set that a newcomer would take, and how many of them are live.
#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    slot: Slot,
    live: usize,
}

enum Found {
    Live(Slot),
    Nowhere { victim: (usize, Slot) },
}
