//! What a flood of keys may do to a full table: the claims of `docs/flood.md`.
//!
//! Beside the table each watched key has a bucket of its own, as if the table
//! were endless. Whatever the table admits, that bucket must admit too: then
//! every interval holds the bound, not only the whole run. Where a live bucket
//! of the key is evicted, and counted, the bucket beside it is filled.

mod hostile_words;

use forebay::internals::limiter::{
    Answer, Entry, Form, Group, OnFull, Rule, Table, Witness, GROUP, SLOT_WORDS, TICKS,
};
use forebay::internals::Hash;
use hostile_words::{Guarded, Random};
use std::cell::{Cell, RefCell};

const SECOND: u64 = 1_000_000_000 * TICKS;
/// Five a minute.
const RULE: Rule = Rule::bucket(12 * SECOND, 5);

/// The clock, and the fingerprints of what was evicted.
#[derive(Default)]
struct World {
    now: Cell<u64>,
    evicted: RefCell<Vec<u64>>,
}

impl Witness for World {
    fn evicting_live(&self, label: u64) {
        self.evicted.borrow_mut().push(label >> 21);
    }

    fn clock(&self) -> u64 {
        self.now.get()
    }
}

struct Flooded {
    words: Guarded,
    table: Table,
    world: World,
}

impl Flooded {
    fn new(on_full: OnFull, slots: usize) -> Flooded {
        let world = World::default();
        world.now.set(SECOND);
        Flooded {
            words: Guarded::new(slots * SLOT_WORDS),
            table: Table {
                at: 0,
                slots,
                group: GROUP,
                on_full,
                form: Form::Bucket,
            },
            world,
        }
    }

    fn now(&self) -> u64 {
        self.world.now.get()
    }

    fn pass(&self, ticks: u64) {
        self.world.now.set(self.now() + ticks);
    }

    fn decide(
        &self,
        group: &Group,
        decide: impl Fn(u64, u64) -> Option<u64>,
    ) -> Result<Entry, Answer> {
        self.table
            .advance(&self.words, group, self.now(), decide, &self.world)
    }

    fn take(&self, key: Hash, tokens: u64) -> bool {
        let ticks = RULE.amount(tokens).unwrap();
        let charge = |arrival, now| RULE.charge(arrival, now, ticks);
        self.decide(&self.table.group(key), charge).is_ok()
    }

    fn block(&self, key: Hash, until: u64) {
        let group = self.table.block_group(&self.table.group(key));
        let later = |end: u64, _| Some(end.max(until));
        assert!(self.decide(&group, later).is_ok());
    }

    fn is_blocked(&self, key: Hash) -> bool {
        let group = self.table.block_group(&self.table.group(key));
        self.table.arrival(&self.words, &group) > self.now()
    }

    /// How often this key's live bucket was evicted.
    fn evicted(&self, key: Hash) -> usize {
        let evicted = self.world.evicted.borrow();
        evicted.iter().filter(|&&it| it == key.tag >> 21).count()
    }
}

/// A key, and the bucket that it would have in an endless table.
struct Watched {
    key: Hash,
    arrival: u64,
    evicted: usize,
    admitted: u64,
}

impl Watched {
    fn new(key: Hash) -> Watched {
        Watched {
            key,
            arrival: 0,
            evicted: 0,
            admitted: 0,
        }
    }

    /// Asks until refused, if it is not blocked.
    fn drain(&mut self, flooded: &Flooded) {
        let evicted = flooded.evicted(self.key);
        if evicted > self.evicted {
            (self.evicted, self.arrival) = (evicted, 0);
        }
        while !flooded.is_blocked(self.key) && flooded.take(self.key, 1) {
            let after = RULE.charge(self.arrival, flooded.now(), RULE.increment);
            self.arrival = after.unwrap_or_else(|| {
                panic!("{:?}: more than the key's own rate", flooded.table.on_full)
            });
            self.admitted += 1;
        }
    }
}

/// A flood of five minutes.
#[derive(Clone, Copy, Debug)]
struct Flood {
    on_full: OnFull,
    slots: usize,
    keys_a_second: u64,
    /// What each of its keys asks for.
    tokens: u64,
    /// Whether each of them gives back what it had.
    refunds: bool,
    /// Seconds between two attempts of a watched key.
    pause: u64,
    seed: u64,
}

/// What came of it: the flood's keys admitted, the watched keys' evictions.
struct Outcome {
    admitted: u64,
    evictions: usize,
}

impl Flood {
    /// Keys lie anywhere, or, of those of the flood, where `place` says.
    fn run(&self, place: impl Fn(u64) -> u64) -> Outcome {
        let flooded = Flooded::new(self.on_full, self.slots);
        let mut random = Random(self.seed);
        let mut watched: Vec<Watched> = (0..8).map(|_| Watched::new(any(&mut random))).collect();
        // The first one lies where keys made to collide do.
        watched[0].key.place = 0;
        let mut admitted = 0;
        for second in 0..300 {
            // In waves, so that some slots are crowded while others are not.
            let keys = match second / 20 % 2 {
                0 => self.keys_a_second,
                _ => self.keys_a_second.div_ceil(8),
            };
            for _ in 0..keys {
                let found = any(&mut random);
                let place = place(found.place);
                let key = Hash { place, ..found };
                let had = flooded.take(key, self.tokens);
                admitted += u64::from(had);
                if self.refunds && had {
                    let (group, ticks) = (flooded.table.group(key), RULE.increment * self.tokens);
                    let now = flooded.now();
                    flooded.table.refund(&flooded.words, &group, now, |_| ticks);
                }
                flooded.pass(SECOND / keys);
            }
            for (i, watched) in (0..).zip(&mut watched) {
                if (second + i) % self.pause == 0 {
                    watched.drain(&flooded);
                }
            }
        }
        Outcome {
            admitted,
            evictions: watched.iter().map(|it| flooded.evicted(it.key)).sum(),
        }
    }
}

/// Floods from a quarter of what the table holds to several times that.
fn floods(on_full: OnFull) -> impl Iterator<Item = Flood> {
    let mut floods = Vec::new();
    for (seed, slots) in [(1, 32), (2, 64), (3, 128), (4, 256), (5, 64)] {
        for quarters in [1, 3, 6, 16] {
            for tokens in [1, RULE.burst] {
                for pause in [1, 12, 30] {
                    floods.push(Flood {
                        on_full,
                        slots,
                        keys_a_second: (slots as u64 * quarters / 4 / 12).max(1),
                        tokens,
                        refunds: seed == 5,
                        pause,
                        seed,
                    });
                }
            }
        }
    }
    floods.into_iter()
}

fn any(random: &mut Random) -> Hash {
    Hash {
        place: random.next(),
        tag: random.next(),
    }
}

#[test]
fn strict_a_flood_gives_no_key_a_token_before_its_rate_does() {
    for flood in floods(OnFull::Strict) {
        let outcome = flood.run(|place| place);
        assert_eq!(outcome.evictions, 0, "strict evicts no debt: {flood:?}");
    }
}

#[test]
fn lenient_a_flood_gives_a_key_one_burst_for_each_counted_eviction() {
    let evictions = |flood: Flood| flood.run(|place| place).evictions;
    let all: usize = floods(OnFull::Lenient).map(evictions).sum();
    assert!(all > 1_000, "floods that matter: {all}");
}

/// Who knows the secret can choose the sixteen slots, or the first eight of
/// them, or keys that the table cannot tell apart.
#[test]
fn keys_that_collide_make_limits_only_stricter() {
    for on_full in [OnFull::Strict, OnFull::Lenient] {
        for keys_a_second in [1, 4, 16] {
            for (pause, tokens) in [(1, 1), (1, 5), (12, 1), (12, 5), (30, 1), (30, 5)] {
                let flood = Flood {
                    on_full,
                    slots: 1024,
                    keys_a_second,
                    tokens,
                    refunds: false,
                    pause,
                    seed: keys_a_second,
                };
                let elsewhere = flood.run(|place| place);
                for outcome in [flood.run(|_| 0), flood.run(|place| place >> 32 << 32)] {
                    assert!(outcome.admitted <= elsewhere.admitted);
                    assert!(on_full == OnFull::Lenient || outcome.evictions == 0);
                }
            }
        }
        let flooded = Flooded::new(on_full, 1024);
        let (place, tag) = (9, 77 << 21);
        // The low bits are not part of the fingerprint.
        let twins = (0..20).filter(|&low| {
            flooded.take(
                Hash {
                    place,
                    tag: tag | low,
                },
                1,
            )
        });
        assert_eq!(twins.count(), 5, "one bucket for all of them");
    }
}

/// Every claim that makes a bucket vanish before it is full says so, and no
/// other does.
#[test]
fn lenient_every_live_eviction_is_counted_and_nothing_else() {
    let flooded = Flooded::new(OnFull::Lenient, 64);
    let mut random = Random(6);
    let mut live: Vec<Group> = Vec::new();
    let mut counted = 0;
    for i in 0..2_000 {
        let is_there = |group: &Group| {
            let arrival = flooded.table.arrival(&flooded.words, group);
            arrival > flooded.now()
        };
        live.retain(is_there);
        let key = any(&mut random);
        assert!(flooded.take(key, 1 + i % 5));
        let vanished = live.iter().filter(|group| !is_there(group)).count();
        counted += vanished;
        assert_eq!(flooded.world.evicted.borrow().len(), counted);
        live.retain(is_there);
        live.push(flooded.table.group(key));
        flooded.pass(SECOND / (1 + i % 7));
    }
    assert!(counted > 1_000, "{counted}");
}

/// A block's slot may go in the last part of its time, when it is no longer
/// than what a bucket may owe; strict buckets then owe what was left of it.
#[test]
fn a_lost_block_is_a_debt_of_what_was_left_of_it() {
    const BLOCKED: u64 = 120 * SECOND;
    // For one token a bucket may owe so much.
    let most_left = RULE.tolerance() - RULE.increment;
    for on_full in [OnFull::Strict, OnFull::Lenient] {
        let mut lost = 0;
        for (seed, (keys, tokens)) in (0..).zip([(64, 1), (64, 5), (8, 1), (8, 5), (4, 2)]) {
            let flooded = Flooded::new(on_full, 64);
            let mut random = Random(seed);
            let mut watched: Vec<Watched> =
                (0..16).map(|_| Watched::new(any(&mut random))).collect();
            let until = flooded.now() + BLOCKED;
            for (i, watched) in watched.iter_mut().enumerate() {
                if i % 2 == 0 {
                    watched.drain(&flooded);
                }
                flooded.block(watched.key, until);
                (watched.admitted, watched.arrival) = (0, until);
            }
            while flooded.now() < until {
                for watched in &mut watched {
                    if !flooded.is_blocked(watched.key) {
                        lost += 1;
                        let left = until - flooded.now();
                        match on_full {
                            OnFull::Strict => {
                                assert!(left <= most_left);
                                watched.drain(&flooded);
                                assert!(watched.admitted < RULE.burst);
                            }
                            OnFull::Lenient => assert!(left <= RULE.tolerance()),
                        }
                    }
                }
                for _ in 0..keys {
                    // Half of the groups are crowded, the others are not.
                    let found = any(&mut random);
                    let place = found.place | 2;
                    flooded.take(Hash { place, ..found }, tokens);
                    flooded.pass(SECOND / keys);
                }
            }
        }
        assert!(lost > 100, "{on_full:?}: {lost}");
    }
}

/// Why a login limiter must not block whatever key a flood names.
#[test]
fn strict_blocks_of_a_flood_shut_everybody_out_until_they_end() {
    let flooded = Flooded::new(OnFull::Strict, 64);
    let mut random = Random(8);
    let until = flooded.now() + 900 * SECOND;
    for _ in 0..400 {
        flooded.block(any(&mut random), until);
    }
    assert!((0..400).all(|_| !flooded.take(any(&mut random), 1)));
    // A block of a second inherits, too, and lasts as long as theirs.
    let short = any(&mut random);
    flooded.block(short, flooded.now() + SECOND);
    flooded.pass(839 * SECOND);
    assert!(flooded.is_blocked(short));
    assert!((0..400).all(|_| !flooded.take(any(&mut random), 1)));
    flooded.pass(61 * SECOND);
    assert!((0..40).all(|_| flooded.take(any(&mut random), 1)));
}

/// Who reset a key gives away what its slot owed for others: refund instead.
#[test]
fn strict_a_reset_gives_back_what_others_owed_and_a_refund_does_not() {
    for reset in [false, true] {
        let flooded = Flooded::new(OnFull::Strict, 16);
        let mut random = Random(9);
        let ours = any(&mut random);
        while flooded.take(ours, 1) {}
        // Others come until ours is what owes least, and goes.
        flooded.pass(RULE.increment + TICKS);
        (0..15).for_each(|_| assert!(flooded.take(any(&mut random), 5)));
        let login = any(&mut random);
        assert!(flooded.take(login, 1));
        let group = flooded.table.group(login);
        let now = flooded.now();
        match reset {
            true => assert!(flooded.table.reset(&flooded.words, &group, now)),
            false => {
                let ticks = RULE.increment;
                flooded.table.refund(&flooded.words, &group, now, |_| ticks);
            }
        }
        flooded.pass(TICKS);
        let had = (0..10).filter(|_| flooded.take(ours, 1)).count();
        assert_eq!(had, if reset { 5 } else { 1 });
    }
}
