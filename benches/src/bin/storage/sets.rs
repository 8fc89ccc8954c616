//! The time of one set: in a full cache, and in the worst states.

use crate::memory::{cache, BYTES};
use crate::sizes::{zipf, ALL};
use anyhow::{ensure, Result};
use forebay::{Cache, CacheOptions, Region};
use forebay_benches::keys::key;
use forebay_benches::report::Table;
use rand::rngs::StdRng;
use rand::SeedableRng;
use std::time::Instant;

pub const ABOUT: &str = "Sets through the public API in a full cache of 64 MiB, one thread, each \
     timed by itself (two looks at the clock, some 40 ns, are in it), in nanoseconds. The largest \
     is the machine's as much as ours: whatever interrupts the program is in it.";

/// Times sets after the cache is full.
pub fn churned(sets: usize) -> Result<Table> {
    let mut table = Table::new(
        &["values", "shards", "p50", "p99", "p99.9", "p99.99", "max"],
        1,
    );
    for sizes in ALL {
        for shards in [Some(1), None] {
            let region = Region::options().bytes(BYTES + (1 << 20)).private()?;
            let cache = cache(&region, sizes, shards)?;
            let mut random = StdRng::seed_from_u64(7);
            let bytes = vec![1; 100 << 10];
            let mut filled = 0;
            while cache.stats().evictions == 0 {
                let length = sizes.draw(&mut random);
                ensure!(cache.set(key(filled).as_str(), &bytes[..length]));
                filled += 1;
            }
            let distinct = cache.len() as usize * 4;
            let mut times = Vec::with_capacity(sets);
            // The first half brings the storage to its steady state.
            for i in 0..2 * sets {
                let key = key(zipf(distinct, &mut random));
                let value = &bytes[..sizes.draw(&mut random)];
                let started = Instant::now();
                let done = cache.set(key.as_str(), value);
                let taken = started.elapsed().as_nanos() as u64;
                ensure!(done, "a set was refused");
                if i >= sets {
                    times.push(taken);
                }
            }
            times.sort_unstable();
            let at = |q: f64| times[((times.len() as f64 * q) as usize).min(times.len() - 1)];
            table.row(vec![
                sizes.name().to_owned(),
                cache.stats().shards.to_string(),
                at(0.5).to_string(),
                at(0.99).to_string(),
                at(0.999).to_string(),
                at(0.9999).to_string(),
                at(1.0).to_string(),
            ]);
        }
    }
    Ok(table)
}

pub const ABOUT_WORST: &str = "States made on purpose, through the public API in one shard: first \
     it is full of items of one cell each. *Checkerboard*: every second one is deleted, so that an \
     item lies in runs of one cell. *Far hole*: all cells are taken but some that lie just behind \
     where the search begins, so that it reads the whole bitmap. *Full*: a set must evict one-cell \
     items until its own worst case is free. `max_item` is a quarter of the shard, the most that \
     can be asked for, or a 32nd, which is the default. Medians of five, in microseconds.";

struct State {
    cache: Cache,
    _region: Region,
    items: usize,
    max_item: usize,
}

/// A shard of so many bytes, full of one-cell items.
fn one_cell_items(bytes: u64, part: u64) -> Result<State> {
    let region = Region::options().bytes(bytes + (1 << 20)).private()?;
    let entries = bytes / (64 + 64 + 16);
    let base = CacheOptions::new().bytes(bytes).max_entries(entries);
    let base = base.shards(1);
    // The largest item that is allowed depends on the division: ask for it.
    let probe = region.cache("worst", base.clone())?;
    let most = probe.stats().bytes_capacity / 64 / 4 * 56;
    drop(probe);
    let region_again = Region::options().bytes(bytes + (1 << 20)).private()?;
    let max_item = most / part;
    let cache = region_again.cache("worst", base.max_item(max_item))?;
    let mut items = 0;
    while cache.stats().evictions == 0 {
        ensure!(cache.set(small_key(items).as_str(), [1; 40]));
        items += 1;
    }
    Ok(State {
        cache,
        _region: region_again,
        items,
        max_item: max_item as usize,
    })
}

/// Eight bytes, so that key and value take one cell.
fn small_key(i: usize) -> String {
    format!("{i:08}")
}

fn timed_set(state: &State, length: usize) -> Result<f64> {
    let value = vec![2; length - 8];
    let started = Instant::now();
    let done = state.cache.set("01234-56", &value);
    let taken = started.elapsed().as_nanos() as f64 / 1e3;
    ensure!(done, "a set was refused");
    Ok(taken)
}

/// Prepares a state from a full one and says how long its set took.
type Case = (&'static str, u64, fn(&State) -> Result<(usize, f64)>);

/// Times the worst states.
pub fn worst() -> Result<Table> {
    let checkerboard = |state: &State| {
        for i in (0..state.items).step_by(2) {
            state.cache.delete(small_key(i).as_str());
        }
        Ok((state.max_item, timed_set(state, state.max_item)?))
    };
    let full = |state: &State| Ok((state.max_item, timed_set(state, state.max_item)?));
    let far_hole = |state: &State| {
        // The search goes on behind the last set: the cells before it hold the
        // items set before that. Free more of them than is kept free anyway.
        let stats = state.cache.stats();
        let in_front = (stats.bytes_capacity - stats.bytes_used) / 64;
        for i in state.items - state.items / 16..state.items {
            state.cache.delete(small_key(i).as_str());
        }
        for i in 0..in_front as usize {
            state
                .cache
                .set(small_key(state.items + i).as_str(), [1; 40]);
        }
        Ok((48, timed_set(state, 48)?))
    };
    let overwritten = |state: &State| {
        for i in (0..state.items).step_by(2) {
            state.cache.delete(small_key(i).as_str());
        }
        timed_set(state, state.max_item)?;
        // The old one's cells are freed, then taken again.
        Ok((state.max_item, timed_set(state, state.max_item)?))
    };
    let cases: [Case; 6] = [
        ("checkerboard", 1, checkerboard),
        ("checkerboard", 8, checkerboard),
        ("checkerboard, over the same key", 1, overwritten),
        ("far hole", 8, far_hole),
        ("full", 1, full),
        ("full", 8, full),
    ];
    let mut table = Table::new(&["state", "shard", "item, bytes", "µs", "µs a KiB"], 2);
    for (name, part, case) in cases {
        for mebibytes in [8, 64, 128] {
            let mut times = Vec::new();
            let mut item = 0;
            for _ in 0..5 {
                let state = one_cell_items(mebibytes << 20, part)?;
                let (bytes, taken) = case(&state)?;
                item = bytes;
                times.push(taken);
            }
            times.sort_by(f64::total_cmp);
            table.row(vec![
                name.to_owned(),
                format!("{mebibytes} MiB"),
                item.to_string(),
                format!("{:.1}", times[2]),
                format!("{:.1}", times[2] / item as f64 * 1024.0),
            ]);
        }
    }
    Ok(table)
}
