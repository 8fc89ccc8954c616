//! Every operation of every primitive on words of somebody else's choice, each
//! within a stated number of steps.
//!
//! The bounds, with P = 64 probes, k and v the words of key and value, and the
//! division of the shard (a cell is eight words):
//!
//! | call | steps |
//! |---|---|
//! | read | 2 P + 4 k + 2 · the largest item + 32 |
//! | set | 5 P + 64 and 3 P + 64 for each cell of the new item, 6 for each cell of the shard (freed at most once) |
//! | delete | 5 P + 64 + 4 k + 6 for each cell of an item |
//! | promote | 32 |
//! | clear | index + bitmap + 32 |
//! | relink, of a shard whose holder died | 12 for each entry + 16 |
//! | lock | 400 |
//! | charge, arrival, reset of a table | 600; 32; 600 |
//! | note, top, clear of refused keys | 128; 9 for each of 32; the same |
//! | enter, leave of a breaker | 64 |
//! | record of a histogram | 8 |
//! | acquire, of a shard of R permits | 2 (700 + 4 R + 16) + 4 R |
//! | release, renew, count of permits | 8; 12; 2 R + 1 |
//! | write, read of the event ring | 400 + 16; 6 for each of 256 + 16 |
//!
//! With an adversary a charge and an entry may start over 64 times, a count be
//! exchanged for 1,000 times and freed cells be marked again: the bounds grow
//! by these factors, and are bounds still.

use super::{Adversary, Guarded, Random};
use forebay::breaker::Outcome;
use forebay::internals::breaker::{self, Observer, Ticket};
use forebay::internals::cache::{recover, New, Read, Shard, ShardGeometry, CELL_WORDS, PROBES};
use forebay::internals::limiter::{
    refused, Answer, Form, OnFull, Rule, Slices, Table, Witness, GROUP, SLOT_WORDS,
};
use forebay::internals::lock::{self, Owner, Participant, Stuck};
use forebay::internals::permits::{self, Ask, End, Held, Witness as Landlord};
use forebay::internals::{events, histogram, Hash};
use forebay::{EventKind, State};
use std::cell::Cell;

/// A script: bytes that decide everything; zeros when they are used up.
pub struct Script<'a>(pub &'a [u8]);

impl Script<'_> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }

    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A word that breaks things, by its first byte, or any.
    pub fn hostile(&mut self) -> u64 {
        match self.byte() {
            0..=63 => u64::from(self.byte()),
            64..=127 => u64::from(self.byte()) << 32 | u64::from(self.byte()),
            128..=159 => u64::MAX - u64::from(self.byte()),
            160..=191 => 1 << (self.byte() & 63),
            _ => self.word(),
        }
    }
}

/// The most steps seen of each call, for the published figures.
#[derive(Default, Debug)]
pub struct Most(pub std::collections::BTreeMap<&'static str, u64>);

impl Most {
    fn saw(&mut self, call: &'static str, steps: u64) {
        let most = self.0.entry(call).or_default();
        *most = (*most).max(steps);
    }
}

/// A participant in a world where some are dead and some alive.
struct Me;

impl Participant for Me {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(1, 1))
    }
    fn is_dead(&self, owner: Owner) -> bool {
        owner.seat().is_none_or(|seat| seat % 2 == 0)
    }
    fn give_way(&self) {}
}

/// Fills words with what the script says: nothing, noise, or noise here and there.
fn fill(words: &Guarded, from: usize, script: &mut Script<'_>) {
    let mut random = Random(script.word() | 1);
    match script.byte() % 4 {
        0 => {}
        1 => (from..words.len()).for_each(|at| words.poke(at, random.hostile())),
        2 => (from..words.len()).for_each(|at| words.poke(at, random.next())),
        _ => {
            for _ in 0..script.byte() {
                let at = from + random.below(words.len() - from);
                words.poke(at, random.hostile());
            }
        }
    }
}

/// Lets an adversary in, one run in four; tells whether.
fn maybe_adversary(words: &Guarded, script: &mut Script<'_>) -> bool {
    let there = script.byte().is_multiple_of(4);
    words.set_adversary(there.then(|| Adversary {
        every: u64::from(script.byte()) + 1,
        random: Random(script.word() | 1),
    }));
    there
}

/// What a key is made of: its bytes, and a hash of the script's choice, so that
/// tags and homes collide at will.
fn key_of(choice: u8) -> (Vec<u8>, Hash) {
    let length = match choice >> 5 {
        0..=4 => usize::from(choice >> 5) * 3,
        5 => 100,
        6 => 700,
        _ => 65_535,
    };
    let tag = u64::from(choice & 7) << 32 | u64::from(choice >> 3 & 3);
    (
        vec![choice; length],
        Hash {
            place: u64::from(choice),
            tag,
        },
    )
}

const CLEARED: usize = 0;
const SHARD: usize = 8;

/// One shard of a cache.
pub fn shard(script: &mut Script<'_>, most: &mut Most) {
    let entries = script.below(96) + 1;
    let geometry = ShardGeometry {
        entries,
        index: (entries + entries.div_ceil(2)).next_power_of_two(),
        cells: script.below(600) + 1,
    };
    let words = Guarded::new(SHARD + geometry.words());
    fill(&words, SHARD, script);
    let adversary = maybe_adversary(&words, script);
    let shard = Shard {
        words: &words,
        at: SHARD,
        geometry: &geometry,
        cleared: CLEARED,
    };
    let probes = PROBES as u64;
    let largest = (geometry.largest_item() / 8) as u64;
    // An item that a hostile record may name, by its lengths.
    let item = (8192 + largest) / (CELL_WORDS as u64 - 1) + 2;
    let cells = geometry.cells as u64;
    let freed = 6 * if adversary { item } else { item.min(cells) };
    let clear = (geometry.index + geometry.bitmap()) as u64 + 32;
    let relink = 12 * geometry.entries as u64 + 16;
    let locking = 400 + relink.max(clear) + clear;
    let stuck = Stuck::default();
    let mut last = None;
    while !script.is_over() {
        let (key, hash) = key_of(script.byte());
        let now = u64::from(script.byte());
        let k = key.len().div_ceil(8) as u64;
        match script.byte() % 8 {
            0 | 1 => {
                let limit = 2 * probes + 4 * k + 2 * largest + 32;
                let (read, steps) = words.within("read", limit, || {
                    shard.read(
                        &key,
                        hash,
                        || now,
                        |shard, found| {
                            assert!(found.length <= geometry.largest_item());
                            shard.copy_value(found, &mut vec![0; found.length]);
                        },
                    )
                });
                most.saw("read", steps);
                if let Read::Hit((found, ())) = read {
                    last = Some(found);
                }
            }
            2..=4 => {
                let room = geometry.largest_item().saturating_sub(key.len());
                if key.len() > geometry.largest_item() {
                    continue;
                }
                let value = vec![7; script.below(room + 1)];
                let new = New {
                    key: &key,
                    hash,
                    value: &value,
                    codec: 0,
                    now,
                    expires: u64::from(script.byte()),
                };
                let w = k + value.len().div_ceil(8) as u64;
                let turns = w / (CELL_WORDS as u64 - 1) + 3;
                let frees = if adversary { turns * freed } else { 6 * cells };
                let limit = locking
                    + 5 * probes
                    + 64
                    + turns * (3 * probes + 64)
                    + frees
                    + 4 * w
                    + 5 * geometry.bitmap() as u64
                    + 256;
                let (_, steps) = words.within("set", limit, || {
                    recover::locked(&shard, &Me, true, &stuck, || {}, |shard| shard.set(&new))
                });
                most.saw("set", steps);
            }
            5 => {
                let limit = locking + 5 * probes + 64 + 4 * k + freed;
                let (_, steps) = words.within("delete", limit, || {
                    recover::locked(
                        &shard,
                        &Me,
                        true,
                        &stuck,
                        || {},
                        |shard| shard.delete(&key, hash, now),
                    )
                });
                most.saw("delete", steps);
            }
            6 => {
                if let Some(found) = last {
                    let (_, steps) = words.within("promote", 32 + 2, || {
                        shard.wants_promotion(&found);
                        recover::if_free(&shard, &Me, |shard| shard.promote(&found));
                    });
                    most.saw("promote", steps);
                }
            }
            _ => {
                let at = SHARD + script.below(words.len() - SHARD);
                words.poke(at, script.hostile());
            }
        }
    }
    words.set_adversary(None);
    let (_, steps) = words.within("relink", relink, || shard.relink());
    most.saw("relink", steps);
    let (_, steps) = words.within("clear", clear, || shard.clear());
    most.saw("clear", steps);
    assert_eq!(shard.verify(), Ok(()), "after a clear all is well again");
    // Statistics, versions and stamps go on; everything else works as new.
    let (key, hash) = key_of(1);
    let new = New {
        key: &key,
        hash,
        value: b"",
        codec: 3,
        now: 0,
        expires: 0,
    };
    assert_eq!(shard.set(&new), Ok(()));
    let read = shard.read(&key, hash, || 0, |_, _| ());
    assert!(matches!(read, Read::Hit((found, ())) if found.codec == 3));
    assert_eq!(shard.verify(), Ok(()));
    if !adversary {
        (0..SHARD).for_each(|at| assert_eq!(words.peek(at), 0, "before the shard"));
    }
}

#[derive(Default)]
struct Counting {
    rounds: Cell<u64>,
}

impl Witness for Counting {
    fn clock(&self) -> u64 {
        0
    }
    fn evicting_live(&self, _label: u64) {}
    fn starting_over(&self, _: u64) {
        self.rounds.set(self.rounds.get() + 1);
    }
}

/// A limiter's table.
pub fn table(script: &mut Script<'_>, most: &mut Most) {
    let slots = GROUP << (script.byte() % 4);
    let at = 3;
    let words = Guarded::new(at + slots * SLOT_WORDS);
    fill(&words, at, script);
    let adversary = maybe_adversary(&words, script);
    let table = Table {
        at,
        slots,
        group: GROUP,
        on_full: [OnFull::Strict, OnFull::Lenient][usize::from(script.byte() % 2)],
        form: match script.byte() % 4 {
            0 => Form::Fixed,
            1 => match Slices::new(script.hostile() >> 8, 1 + u32::from(script.byte() % 24)) {
                Some(slices) => Form::Sliding(slices),
                None => Form::Fixed,
            },
            _ => Form::Bucket,
        },
    };
    let bound = |quiet: u64| if adversary { quiet * 96 } else { quiet };
    while !script.is_over() {
        let choice = script.byte();
        let hash = Hash {
            place: u64::from(choice & 3) << 30 | u64::from(choice >> 2 & 3),
            tag: u64::from(choice >> 4) << 21,
        };
        let group = table.group(hash);
        let rule = Rule::from_words(table.form, script.hostile(), script.hostile());
        let now = script.hostile() >> 2;
        match script.byte() % 6 {
            0 | 1 => {
                let Some(amount) = rule.amount(1) else {
                    continue;
                };
                let witness = Counting::default();
                let (answer, steps) = words.within("charge", bound(600), || {
                    table.charge(&words, &group, &rule, amount, now, &witness)
                });
                most.saw("charge", steps);
                assert!(witness.rounds.get() <= 1_000);
                match (answer, table.form) {
                    (Answer::Admitted(after), Form::Bucket) => {
                        assert!(after <= now + rule.tolerance(), "more than the burst");
                    }
                    (Answer::Admitted(after), _) => {
                        assert!(rule.remaining(after, now) < rule.burst, "uncounted");
                    }
                    (Answer::Refused(word), _) => {
                        rule.wait(word, now, amount);
                        rule.remaining(word, now);
                        rule.reset_after(word, now);
                        table.form.block_end(word);
                    }
                    (Answer::Contended, _) => {}
                }
            }
            4 => {
                let (amount, witness) = (script.hostile() >> 3, Counting::default());
                let decide = |word, now| Some(rule.owe(word, now, amount));
                let (entry, steps) = words.within("advance", bound(600), || {
                    table.advance(&words, &group, now, decide, &witness)
                });
                most.saw("advance", steps);
                if let Ok(entry) = entry {
                    words.within("undo", bound(600), || {
                        table.undo(&words, &entry, now, |_| amount)
                    });
                }
            }
            5 => {
                let amount = script.hostile() >> 3;
                let (_, steps) = words.within("refund", bound(600), || {
                    table.refund(&words, &group, now, |_| amount)
                });
                most.saw("refund", steps);
            }
            2 => {
                let (_, steps) = words.within("reset", bound(600), || {
                    table.reset(&words, &group, now.min(1 << 62))
                });
                most.saw("reset", steps);
                words.within("arrival", 32, || table.arrival(&words, &group));
            }
            _ => words.poke(at + script.below(words.len() - at), script.hostile()),
        }
    }
    if !adversary {
        (0..at).for_each(|at| assert_eq!(words.peek(at), 0, "before the table"));
    }
}

struct Nobody;

impl Observer for Nobody {
    fn transition(&self, _: State, _: u64) {}
    fn holder(&self) -> u64 {
        7
    }
    fn holder_is_dead(&self, holder: u64) -> bool {
        holder.is_multiple_of(2)
    }
}

/// A breaker.
pub fn breaker(script: &mut Script<'_>, most: &mut Most) {
    let words = Guarded::new(breaker::WORDS);
    fill(&words, 0, script);
    let adversary = maybe_adversary(&words, script);
    let limit = if adversary { 64 * 64 } else { 64 };
    let mut tickets = vec![Ticket(script.word())];
    while !script.is_over() {
        let now = script.hostile() >> 2;
        match script.byte() % 3 {
            0 => {
                let (entered, steps) =
                    words.within("enter", limit, || breaker::enter(&words, || now, &Nobody));
                most.saw("enter", steps);
                tickets.extend(entered);
            }
            1 => {
                let ticket = tickets[script.below(tickets.len())];
                let outcome = [Outcome::Success, Outcome::Failure, Outcome::Ignored]
                    [usize::from(script.byte() % 3)];
                let (_, steps) = words.within("leave", limit, || {
                    breaker::leave(&words, ticket, outcome, || now, &Nobody)
                });
                most.saw("leave", steps);
            }
            _ => words.poke(script.below(words.len()), script.hostile()),
        }
        breaker::state(&words);
    }
}

/// A histogram.
pub fn histogram(script: &mut Script<'_>, most: &mut Most) {
    let words = Guarded::new(histogram::WORDS);
    fill(&words, 0, script);
    let limit = if maybe_adversary(&words, script) {
        2 * 1_001 + 2
    } else {
        8
    };
    while !script.is_over() {
        let (_, steps) = words.within("record", limit, || {
            histogram::record(&words, script.hostile());
        });
        most.saw("record", steps);
        if script.byte().is_multiple_of(4) {
            words.poke(script.below(words.len()), script.hostile());
        }
    }
}

/// Me, at a time.
struct At(u64);

impl Participant for At {
    fn owner(&self) -> Option<Owner> {
        Me.owner()
    }
    fn is_dead(&self, owner: Owner) -> bool {
        Me.is_dead(owner)
    }
    fn give_way(&self) {}
}

impl Landlord for At {
    fn now(&self) -> u64 {
        self.0
    }
    fn seated(&self) -> Option<Owner> {
        self.owner()
    }
    fn ended(&self, _: End) {}
}

/// A shard of permits.
pub fn permits(script: &mut Script<'_>, most: &mut Most) {
    let at = 3;
    let records = script.below(200) + 1;
    let words = Guarded::new(at + permits::shard_words(records));
    fill(&words, at, script);
    let adversary = maybe_adversary(&words, script);
    let shard = permits::Shard {
        words: &words,
        at,
        records,
    };
    let looking = 4 * records as u64;
    let mut leases: Vec<Held> = Vec::new();
    while !script.is_over() {
        let now = At(script.hostile());
        let tag = u64::from(script.byte() % 4);
        let lease = match leases.len() {
            0 => Held {
                record: script.hostile() as usize,
                word: permits::Word(script.hostile()),
            },
            some => leases[script.below(some)],
        };
        match script.byte() % 8 {
            0..=2 => {
                let ask = Ask {
                    tag,
                    limit: u64::from(script.byte()) + 1,
                    lease: script.hostile(),
                };
                let bound = 2 * (700 + looking + 16) + looking;
                let (answer, steps) = words.within("acquire", bound, || {
                    shard.acquire(&ask, &Stuck::default(), &now)
                });
                most.saw("acquire", steps);
                if let Ok(held) = answer {
                    assert!(held.record < records && !held.word.is_over(now.0));
                    leases.push(held);
                }
            }
            3 | 4 => {
                let (_, steps) = words.within("release a permit", 8, || shard.release(lease, &now));
                most.saw("release a permit", steps);
            }
            5 => {
                let length = script.hostile();
                let (renewed, steps) =
                    words.within("renew", 12, || shard.renew(lease, length, &now));
                most.saw("renew", steps);
                leases.extend(renewed);
            }
            6 => {
                let bound = 2 * records as u64 + 1;
                let (count, _) = words.within("count", bound, || shard.count(tag, now.0));
                assert!(count <= records as u64);
            }
            _ => words.poke(at + script.below(words.len() - at), script.hostile()),
        }
    }
    if !adversary {
        (0..at).for_each(|at| assert_eq!(words.peek(at), 0, "before the permits"));
    }
}

/// The event ring and the locks of a header.
pub fn header(script: &mut Script<'_>, most: &mut Most) {
    let words = Guarded::new(forebay::region::HEADER_BYTES as usize / 8);
    fill(&words, 0, script);
    maybe_adversary(&words, script);
    while !script.is_over() {
        match script.byte() % 4 {
            0 => {
                let kind = [EventKind::CacheCleared, EventKind::BreakerOpened]
                    [usize::from(script.byte() % 2)];
                let number = usize::from(script.byte());
                let (_, steps) = words.within("event", 400 + 16, || {
                    events::write(&words, &Me, script.word(), kind, number, 1)
                });
                most.saw("event", steps);
            }
            1 => {
                let since = script.hostile();
                let (read, steps) = words.within("events", 256 * 6 + 16, || {
                    events::read(&words, since, |number| number.to_string())
                });
                most.saw("events", steps);
                assert!(read.events.len() <= 256);
            }
            2 => {
                let at = script.below(words.len());
                let (taken, steps) = words.within("lock", 400, || {
                    lock::lock(
                        &words,
                        at,
                        &Me,
                        script.byte().is_multiple_of(2),
                        &Stuck::default(),
                    )
                });
                most.saw("lock", steps);
                if taken.is_some() {
                    words.within("unlock", 1, || lock::unlock(&words, at));
                }
            }
            _ => {
                // The words of the locks and the ring more often than others.
                let at = [11, 12, 13, script.below(words.len())][usize::from(script.byte() % 4)];
                words.poke(at, script.hostile());
            }
        }
    }
}

/// The sketch of refused keys.
pub fn refused_keys(script: &mut Script<'_>, most: &mut Most) {
    let at = 3;
    let words = Guarded::new(at + refused::WORDS);
    fill(&words, at, script);
    let adversary = maybe_adversary(&words, script);
    // Four tries of a newcomer, with two exchanges that may be tried 1,000
    // times each.
    let limit = if adversary { 4 * (128 + 4_002) } else { 128 };
    let all = refused::WORDS as u64;
    while !script.is_over() {
        let (key, hash) = key_of(script.byte());
        match script.byte() % 8 {
            0..=4 => {
                let key = script.byte().is_multiple_of(2).then_some(&key[..]);
                let weight = script.hostile();
                let (_, steps) = words.within("note", limit, || {
                    refused::note(&words, at, hash.tag, weight, key);
                });
                most.saw("note", steps);
            }
            5 => {
                // Any text whatever is its own: what is shown is short.
                let mark = script.hostile();
                let (found, steps) =
                    words.within("top", all, || refused::top(&words, at, |_| mark));
                most.saw("top", steps);
                assert!(found.len() <= refused::ENTRIES);
                for found in found {
                    assert!(found.over <= found.count);
                    assert!(found.key.is_none_or(|key| key.len() <= refused::TEXT_BYTES));
                }
            }
            6 => words.poke(at + script.below(refused::WORDS), script.hostile()),
            _ if script.byte().is_multiple_of(8) => {
                words.within("clear", all, || refused::clear(&words, at));
            }
            _ => {}
        }
    }
    if !adversary {
        (0..at).for_each(|at| assert_eq!(words.peek(at), 0, "before the sketch"));
    }
    // Whatever was there, after a clear it works as new.
    words.set_adversary(None);
    refused::clear(&words, at);
    refused::note(&words, at, 5, 2, Some(b"new"));
    let found = refused::top(&words, at, |_| 5);
    assert_eq!((found.len(), found[0].count, found[0].over), (1, 2, 0));
    assert_eq!(found[0].key.as_deref(), Some(&b"new"[..]));
}

/// Everything: the first byte chooses.
pub fn all(data: &[u8], most: &mut Most) {
    let mut script = Script(data);
    match script.byte() % 8 {
        0..=3 => shard(&mut script, most),
        4 => table(&mut script, most),
        5 => permits(&mut script, most),
        6 => match script.byte() % 4 {
            3 => histogram(&mut script, most),
            2 => refused_keys(&mut script, most),
            _ => breaker(&mut script, most),
        },
        _ => header(&mut script, most),
    }
}
