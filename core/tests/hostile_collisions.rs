//! Keys chosen to collide by somebody who knows the region's secret: they cost
//! what other keys cost, within a stated factor, and they loosen no limit. The
//! cost is counted in accesses to words, not in time.
//!
//! And a shard whose storage leads in circles: a call still takes the steps
//! that its own key and value need.

mod hostile_words;

use forebay::internals::cache::{Damaged, New, Read, Shard, ShardGeometry, PROBES};
use forebay::internals::limiter::{
    Answer, Form, Group, OnFull, Rule, Table, Witness, SLOT_WORDS, TICKS,
};
use forebay::internals::Hash;
use hostile_words::{Guarded, Random};
use std::cell::Cell;

const KEYS: usize = 10_000;
const VALUE: [u8; 256] = [7; 256];
const SHARD: usize = 8;

/// Room for more than all the keys, at two thirds of the index.
const GEOMETRY: ShardGeometry = ShardGeometry {
    entries: 21_845,
    index: 32_768,
    cells: 140_000,
};

fn key(i: usize) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(i as u64).to_le_bytes());
    key
}

/// Steps of each call, on average and at most.
#[derive(Default)]
struct Cost {
    sum: u64,
    most: u64,
    calls: u64,
}

impl Cost {
    fn add(&mut self, steps: u64) {
        self.sum += steps;
        self.most = self.most.max(steps);
        self.calls += 1;
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.calls as f64
    }
}

struct Costs {
    get: Cost,
    miss: Cost,
    set: Cost,
    delete: Cost,
    /// Reading what is left in the end.
    later: Cost,
}

/// A shard full of keys with random hashes; then the keys of `hashes` are set,
/// read, missed and deleted.
fn measure(hashes: impl Fn(usize) -> Hash) -> Costs {
    let words = Guarded::new(SHARD + GEOMETRY.words());
    let shard = Shard {
        words: &words,
        at: SHARD,
        geometry: &GEOMETRY,
        cleared: 0,
    };
    let set = |i: usize, hash| {
        let new = New {
            key: &key(i),
            hash,
            value: &VALUE,
            codec: 0,
            now: 0,
            expires: 0,
        };
        let (done, steps) = words.within("set", 4_000, || shard.set(&new));
        assert_eq!(done, Ok(()));
        steps
    };
    let read = |i: usize, hash| {
        let (read, steps) = words.within("get", 4_000, || {
            shard.read(
                &key(i),
                hash,
                || 0,
                |shard, found| shard.copy_value(found, &mut vec![0; found.length]),
            )
        });
        (matches!(read, Read::Hit(_)), steps)
    };
    let mut random = Random(99);
    for i in 0..GEOMETRY.entries {
        let (place, tag) = (random.next(), random.next());
        set(1 << 32 | i, Hash { place, tag });
    }
    let mut costs = Costs {
        get: Cost::default(),
        miss: Cost::default(),
        set: Cost::default(),
        delete: Cost::default(),
        later: Cost::default(),
    };
    for i in 0..KEYS {
        costs.set.add(set(i, hashes(i)));
        let (hit, steps) = read(i, hashes(i));
        assert!(hit, "what was just set is there");
        costs.get.add(steps);
        let (hit, steps) = read(KEYS + i, hashes(KEYS + i));
        assert!(!hit);
        costs.miss.add(steps);
        if i % 10 == 9 {
            let (_, steps) = words.within("delete", 4_000, || {
                shard.delete(&key(i), hashes(i), 0).unwrap()
            });
            costs.delete.add(steps);
        }
    }
    for i in 0..KEYS {
        if let (true, steps) = read(i, hashes(i)) {
            costs.later.add(steps);
        }
    }
    assert_eq!(shard.verify(), Ok(()));
    costs
}

#[test]
fn colliding_keys_cost_a_cache_a_stated_factor_at_most() {
    let spread = |i: usize| {
        let mut random = Random((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (place, tag) = (random.next(), random.next());
        Hash { place, tag }
    };
    let usual = measure(spread);
    let mask = GEOMETRY.index as u64 - 1;
    type Crafted<'a> = (&'a str, &'a dyn Fn(usize) -> Hash);
    let crafted: [Crafted<'_>; 4] = [
        ("one home", &|i| Hash {
            tag: spread(i).tag & !mask | 77,
            ..spread(i)
        }),
        ("neighbouring homes", &|i| Hash {
            tag: spread(i).tag & !mask | (77 + i as u64 / PROBES as u64) & mask,
            ..spread(i)
        }),
        ("one half of the tag", &|i| Hash {
            tag: (i as u64) << 32 | 77,
            place: 1,
        }),
        ("one whole tag", &|_| Hash { tag: 77, place: 1 }),
    ];
    for (name, hashes) in crafted {
        let costs = measure(hashes);
        for (call, crafted, usual, factor) in [
            ("get", &costs.get, &usual.get, 1.5),
            ("get of what is left", &costs.later, &usual.later, 2.0),
            // A usual miss is over after a few steps: as much as two usual hits.
            ("miss", &costs.miss, &usual.get, 2.0),
            ("set", &costs.set, &usual.set, 2.2),
            ("delete", &costs.delete, &usual.delete, 2.0),
        ] {
            if crafted.calls == 0 {
                continue;
            }
            println!(
                "{name}, {call}: {:.0} steps (most {}), usually {:.0} (most {}): {:.2} times",
                crafted.mean(),
                crafted.most,
                usual.mean(),
                usual.most,
                crafted.mean() / usual.mean(),
            );
            assert!(crafted.mean() <= factor * usual.mean(), "{name}, {call}");
        }
        println!(
            "{name}: {} kept, usually {}",
            costs.later.calls, usual.later.calls
        );
    }
}

#[test]
fn the_slots_that_deletion_leaves_do_not_pile_up() {
    let geometry = ShardGeometry {
        entries: 682,
        index: 1024,
        cells: 4096,
    };
    let words = Guarded::new(SHARD + geometry.words());
    let shard = Shard {
        words: &words,
        at: SHARD,
        geometry: &geometry,
        cleared: 0,
    };
    let mut random = Random(7);
    let mut misses = Vec::new();
    // A full shard at two thirds of its index, in which each set evicts.
    for _ in 0..20 {
        for _ in 0..10 * geometry.entries {
            let (place, tag) = (random.next(), random.next());
            let new = New {
                key: &[1],
                hash: Hash { place, tag },
                value: &[],
                codec: 0,
                now: 0,
                expires: 0,
            };
            assert_eq!(shard.set(&new), Ok(()));
        }
        let mut cost = Cost::default();
        for _ in 0..4_000 {
            let (place, tag) = (random.next(), random.next());
            let miss = || shard.read(&[1], Hash { place, tag }, || 0, |_, _| ());
            cost.add(words.within("miss", 500, miss).1);
        }
        misses.push(cost.mean());
    }
    println!("{misses:.1?}");
    let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
    let (early, late) = (mean(&misses[..5]), mean(&misses[15..]));
    assert!(late <= 1.1 * early, "{early} then {late} steps");
    assert_eq!(shard.verify(), Ok(()));
}

#[test]
fn storage_that_leads_in_circles_costs_what_the_item_needs() {
    let geometry = ShardGeometry {
        entries: 64,
        index: 128,
        cells: 4096,
    };
    let words = Guarded::new(SHARD + geometry.words());
    let shard = Shard {
        words: &words,
        at: SHARD,
        geometry: &geometry,
        cleared: 0,
    };
    let hash = |i: usize| Hash {
        place: 0,
        tag: (i as u64) << 33 | i as u64,
    };
    let set = |i: usize| {
        shard.set(&New {
            key: &key(i),
            hash: hash(i),
            value: &VALUE,
            codec: 0,
            now: 0,
            expires: 0,
        })
    };
    let fill = || (0..64).for_each(|i| assert_eq!(set(i), Ok(())));
    let first = words.len() - geometry.cells * 8;
    // Runs that claim all that follows and lead to themselves, to the next
    // cell, to the first one; runs of one cell that lead to themselves; no run.
    for head in [
        |cell: u64| (cell + 1) << 32 | 0xffff_ffff,
        |cell: u64| (cell + 2) << 32 | 4096,
        |_: u64| 1 << 32 | 4096,
        |cell: u64| (cell + 1) << 32 | 1,
        |_: u64| 0,
    ] {
        fill();
        (0..geometry.cells).for_each(|cell| words.poke(first + cell * 8, head(cell as u64)));
        let (_, steps) = words.within("get", 500, || {
            shard.read(
                &key(3),
                hash(3),
                || 0,
                |shard, found| shard.copy_value(found, &mut vec![0; found.length]),
            )
        });
        let (deleted, more) = words.within("delete", 500, || shard.delete(&key(3), hash(3), 0));
        assert_eq!(deleted, Err(Damaged));
        let (stored, most) = words.within("set", 1_000, || set(100));
        assert_eq!(stored, Err(Damaged));
        println!("get {steps}, delete {more}, set {most} steps");
        shard.clear();
        assert_eq!(shard.verify(), Ok(()));
    }
    // Counters that never let a set have room, beside runs that are well.
    fill();
    for (used, count) in [(u64::MAX, 64), (4096, 1), (0, u64::MAX), (0, 65)] {
        words.poke(SHARD + 7, used);
        words.poke(SHARD + 6, count);
        let (_, steps) = words.within("set", 2_000, || set(100));
        println!("set {steps} steps");
        shard.clear();
        fill();
    }
}

#[derive(Default)]
struct Evictions(Cell<u64>);

impl Witness for Evictions {
    fn clock(&self) -> u64 {
        0
    }
    fn evicting_live(&self, _label: u64) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn colliding_keys_cost_a_limiter_no_more_and_loosen_no_limit() {
    // Ten tokens at once, one more each second.
    let rule = Rule::bucket(1_000_000_000 * TICKS, 10);
    let second = 1_000_000_000 * TICKS;
    for on_full in [OnFull::Strict, OnFull::Lenient] {
        let slots = 16_384;
        let at = 4;
        let table = Table {
            at,
            slots,
            group: 16,
            on_full,
            form: Form::Bucket,
        };
        let mut means = Vec::new();
        for colliding in [false, true] {
            let words = Guarded::new(at + slots * SLOT_WORDS);
            let mut random = Random(5);
            let mut hash = || Hash {
                place: if colliding { 3 } else { random.next() },
                tag: random.next(),
            };
            let drained = table.group(hash());
            let evictions = Evictions::default();
            let mut now = second;
            let (mut cost, mut admitted) = (Cost::default(), 0u64);
            let mut ask = |group: &Group, now: u64| {
                let ticks = rule.amount(1).unwrap();
                let (answer, steps) = words.within("charge", 600, || {
                    table.charge(&words, group, &rule, ticks, now, &evictions)
                });
                cost.add(steps);
                matches!(answer, Answer::Admitted(_))
            };
            while ask(&drained, now) {
                admitted += 1;
            }
            assert_eq!(admitted, 10);
            for i in 0..KEYS as u64 {
                let other = table.group(hash());
                while ask(&other, now) {}
                // After each of them the drained key comes back, and the clock
                // hardly moves.
                admitted += u64::from(ask(&drained, now));
                now = second + i * second / KEYS as u64;
            }
            let earned = 1 + (now - second) / second;
            let bound = match on_full {
                OnFull::Strict => 10 + earned,
                OnFull::Lenient => 10 * (1 + evictions.0.get()) + earned,
            };
            println!(
                "{on_full:?}, colliding {colliding}: {:.1} steps (most {}), {admitted} admitted, bound {bound}, {} evicted",
                cost.mean(),
                cost.most,
                evictions.0.get(),
            );
            assert!(admitted <= bound, "{admitted} admitted of {bound}");
            means.push(cost.mean());
        }
        // With `Lenient` each newcomer claims a slot, which costs more steps.
        assert!(means[1] <= 2.5 * means[0], "{means:?}");
    }
}
