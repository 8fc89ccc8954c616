//! Reads of items in one piece and in eight, beside a memcpy.

use crate::heap::Heap;
use anyhow::{ensure, Result};
use forebay::internals::cache::{New, Read, Shard, ShardGeometry};
use forebay::internals::Hash;
use forebay_benches::keys::key;
use forebay_benches::report::Table;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::time::Instant;

pub const ABOUT: &str = "A find and copy of a shard (no lock, no promotion, the key's hash given) \
     beside a memcpy of the same bytes from a random place in a `Vec`, in turn within each round. \
     *Cold*: items in random order out of 512 MiB. *Warm*: eight items over and over. \
     *In eight runs*: the shard was filled with items of an eighth of the size, every second one \
     deleted, so that no whole run is to be had; what one item leaves of a hole can make a few \
     runs more of the next (at most eleven, which is checked). \
     Medians of the rounds in nanoseconds; ratios are taken within a round.";

/// How much is read from when cold.
const COLD: usize = 512 << 20;

/// A shard with some items of one size.
struct Filled {
    heap: Heap,
    geometry: ShardGeometry,
    keys: Vec<(String, Hash)>,
    value: usize,
}

fn hash(random: &mut StdRng) -> Hash {
    Hash {
        place: random.random(),
        tag: random.random(),
    }
}

impl Filled {
    /// `count` items with values of `value` bytes, each in so many runs.
    fn new(count: usize, value: usize, runs: usize) -> Result<Filled> {
        let mut random = StdRng::seed_from_u64(3);
        // Words of an item: a key of 20 bytes and its value.
        let words = 3 + value / 8;
        let cells_each = (words + 1).div_ceil(8);
        // The holes that make `runs` of an item, each with a word of head.
        let hole = (words + runs).div_ceil(8 * runs);
        let small = hole * 8 * 8 - 32;
        // What is kept free, a 32nd, and an item's worst case come on top.
        let (fillers, cells) = match runs {
            1 => (0, (count + 8) * cells_each * 14 / 13),
            _ => {
                let fillers = (count * 11 / 10 + 8) * runs * 2;
                (fillers, fillers * hole * 15 / 14 + 64)
            }
        };
        let entries = count + fillers + 1;
        let geometry = ShardGeometry {
            entries,
            index: (entries * 2).next_power_of_two(),
            cells,
        };
        let filled = Filled {
            heap: Heap::new(geometry.words() + 8),
            geometry,
            keys: (0..count).map(|i| (key(i), hash(&mut random))).collect(),
            value,
        };
        let shard = filled.shard();
        let bytes = vec![7; cells * 64];
        let set = |key: &str, hash: Hash, length: usize| {
            let done = shard.set(&New {
                key: key.as_bytes(),
                hash,
                value: &bytes[..length],
                codec: 0,
                now: 0,
                expires: 0,
            });
            ensure!(done.is_ok(), "the shard has room");
            Ok(())
        };
        if runs > 1 {
            let small_keys: Vec<_> = (0..fillers)
                .map(|i| (key(count + i), hash(&mut random)))
                .collect();
            for (key, hash) in &small_keys {
                set(key, *hash, small)?;
            }
            ensure!(shard.used_cells() as usize == fillers * hole);
            for (key, hash) in small_keys.iter().step_by(2) {
                ensure!(shard.delete(key.as_bytes(), *hash, 0) == Ok(true));
            }
            // The room behind them is one large hole: another item's.
            let rest = (geometry.cells - fillers * hole) * 64;
            set("plug", hash(&mut random), rest - 16)?;
        }
        for (key, hash) in &filled.keys {
            set(key, *hash, value)?;
        }
        for (key, hash) in &filled.keys {
            let Read::Hit((_, found)) = shard.read(
                key.as_bytes(),
                *hash,
                || 0,
                |shard, found| shard.runs(found),
            ) else {
                anyhow::bail!("an item was evicted");
            };
            // What one item leaves of a hole may be another run of the next one.
            let good = if runs == 1 { 1..=1 } else { runs..=runs + 3 };
            ensure!(good.contains(&found), "{found} runs instead of {runs}");
        }
        Ok(filled)
    }

    fn shard(&self) -> Shard<'_, Heap> {
        Shard {
            words: &self.heap,
            at: 0,
            geometry: &self.geometry,
            cleared: self.geometry.words(),
        }
    }

    /// Nanoseconds of reading each of these items once.
    fn time(&self, which: &[usize], into: &mut [u8]) -> f64 {
        let shard = self.shard();
        let started = Instant::now();
        for item in which {
            let (key, hash) = &self.keys[*item];
            let read = shard.read(
                key.as_bytes(),
                *hash,
                || 0,
                |shard, found| shard.copy_value(found, &mut into[..self.value]),
            );
            assert!(matches!(read, Read::Hit(_)));
            black_box(&into);
        }
        started.elapsed().as_nanos() as f64 / which.len() as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times all.
pub fn table(rounds: usize) -> Result<Table> {
    let mut table = Table::new(
        &[
            "value",
            "memory",
            "memcpy",
            "one run",
            "eight runs",
            "one / memcpy",
            "eight / memcpy",
            "eight / one",
        ],
        2,
    );
    for value in [4 << 10, 50 << 10] {
        for warm in [true, false] {
            let count = if warm { 8 } else { COLD / value };
            let one = Filled::new(count, value, 1)?;
            let eight = Filled::new(count, value, 8)?;
            let plain = vec![7u8; count * value];
            let mut into = vec![0; value];
            let mut random = StdRng::seed_from_u64(5);
            let mut order: Vec<usize> = (0..count).collect();
            let mut times: Vec<[f64; 3]> = Vec::new();
            for round in 0..=rounds {
                order.shuffle(&mut random);
                let which: Vec<usize> = match warm {
                    true => order.iter().copied().cycle().take(2_000).collect(),
                    // Others each time, so that none is in a near cache.
                    false => order[..count.min(4_000)].to_vec(),
                };
                let mut of = [0.0; 3];
                for turn in 0..3 {
                    let side = (turn + round) % 3;
                    of[side] = match side {
                        0 => {
                            let started = Instant::now();
                            for item in &which {
                                into.copy_from_slice(&plain[item * value..][..value]);
                                black_box(&into);
                            }
                            started.elapsed().as_nanos() as f64 / which.len() as f64
                        }
                        1 => one.time(&which, &mut into),
                        _ => eight.time(&which, &mut into),
                    };
                }
                times.push(of);
            }
            let times = &times[1..];
            let ns = |side: usize| median(times.iter().map(|t| t[side]).collect());
            let ratio = |a: usize, b: usize| {
                format!("{:.2}", median(times.iter().map(|t| t[a] / t[b]).collect()))
            };
            table.row(vec![
                format!("{} KiB", value >> 10),
                if warm { "warm" } else { "cold" }.to_owned(),
                format!("{:.0}", ns(0)),
                format!("{:.0}", ns(1)),
                format!("{:.0}", ns(2)),
                ratio(1, 0),
                ratio(2, 0),
                ratio(2, 1),
            ]);
        }
    }
    Ok(table)
}
