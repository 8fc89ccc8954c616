//! Where the memory goes.

use crate::churn::{churn, Outcome};
use crate::sizes::{zipf, Sizes, ALL, KEY};
use crate::stores::{BestFit, Chains, Runs};
use anyhow::{ensure, Result};
use forebay::{Cache, CacheOptions, Region};
use forebay_benches::keys::key;
use forebay_benches::report::Table;
use rand::rngs::StdRng;
use rand::SeedableRng;

/// Bytes of the caches here.
pub const BYTES: u64 = 64 << 20;
/// The largest item of all kinds.
pub const MAX_ITEM: u64 = KEY as u64 + (100 << 10);

pub const ABOUT: &str = "A cache of 64 MiB through the public API, as many entries allowed as its \
     cells hold, filled, then churned by sets of keys by Zipf's law, each time with a value of \
     another size. In percent of the keys and values that are in it at the end. *Records and \
     index* are those of the entries that are there (64 bytes and their share of the index) and \
     *fixed* is the rest: records for which no item was left room, the shards' heads.";

/// A cache for items of this kind, with records for as many as fit and a
/// fiftieth more.
pub fn cache(region: &Region, sizes: Sizes, shards: Option<u64>) -> Result<Cache> {
    // Half a cell of rounding and a word of head; a record and its index.
    let each = match sizes {
        Sizes::Fixed => 256,
        _ => sizes.mean_item() + 40,
    } + 64
        + 20;
    let mut options = CacheOptions::new()
        .bytes(BYTES)
        .max_entries(BYTES / each * 102 / 100)
        .max_item(MAX_ITEM);
    if let Some(shards) = shards {
        options = options.shards(shards);
    }
    Ok(region.cache("storage", options)?)
}

/// Measures the whole cache.
pub fn overhead(sets: usize) -> Result<Table> {
    let mut table = Table::new(
        &[
            "values",
            "shards",
            "items",
            "rounding, heads",
            "kept free",
            "records, index",
            "fixed",
            "all",
        ],
        1,
    );
    for sizes in ALL {
        for shards in [Some(1), None] {
            let region = Region::options().bytes(BYTES + (1 << 20)).private()?;
            let cache = cache(&region, sizes, shards)?;
            let mut random = StdRng::seed_from_u64(7);
            let mut last = Vec::new();
            while cache.stats().evictions == 0 {
                let length = sizes.draw(&mut random);
                ensure!(cache.set(key(last.len()).as_str(), vec![1; length]));
                last.push(length);
            }
            let distinct = cache.len() as usize * 4;
            last.resize(distinct.max(last.len()), 0);
            for _ in 0..sets {
                let which = zipf(distinct, &mut random);
                last[which] = sizes.draw(&mut random);
                ensure!(cache.set(key(which).as_str(), vec![1; last[which]]));
            }
            let stats = cache.stats();
            let live = (0..last.len()).filter(|i| cache.contains(key(*i).as_str()));
            let payload: usize = live.map(|i| KEY + last[i]).sum();
            let percent = |bytes: f64| format!("{:.1} %", bytes / payload as f64 * 100.0);
            let entries = stats.entries as f64;
            let per_shard = stats.max_entries.div_ceil(stats.shards);
            let index = (per_shard + per_shard.div_ceil(2)).next_power_of_two() * 8;
            let record = 64.0 + index as f64 / per_shard as f64;
            let rounding = (stats.bytes_used as usize - payload) as f64;
            let free = (stats.bytes_capacity - stats.bytes_used) as f64;
            let all = (BYTES as usize - payload) as f64;
            table.row(vec![
                sizes.name().to_owned(),
                stats.shards.to_string(),
                stats.entries.to_string(),
                percent(rounding),
                percent(free),
                percent(record * entries),
                percent(all - rounding - free - record * entries),
                percent(all),
            ]);
        }
    }
    Ok(table)
}

pub const ABOUT_OTHERS: &str = "The same churn over storage alone, 64 MiB of it, no records: ours \
     is the cache's own code, the others are models that count bytes. In percent of keys and \
     values, what is kept free included. *Refused*: sets that found room enough but not in one \
     piece; the model then evicts on until a piece is free, and *most evicted* is what the \
     worst single set took. *Pieces* of an item: mean and largest.";

/// Measures ours beside models of others.
pub fn others(sets: usize) -> Result<Table> {
    let bytes = BYTES as usize;
    let mut table = Table::new(
        &[
            "values",
            "storage",
            "overhead",
            "of which free",
            "pieces",
            "refused",
            "most evicted",
        ],
        2,
    );
    let mut row = |sizes: Sizes, name: &str, outcome: Outcome| {
        let percent = |bytes: usize| bytes as f64 / outcome.payload as f64 * 100.0;
        let pieces: usize = outcome.pieces.iter().map(|(_, pieces)| pieces).sum();
        let most = outcome.pieces.iter().map(|(_, pieces)| *pieces).max();
        table.row(vec![
            sizes.name().to_owned(),
            name.to_owned(),
            format!("{:.1} %", percent(bytes - outcome.payload)),
            format!("{:.1} %", percent(outcome.free)),
            format!(
                "{:.2}, {}",
                pieces as f64 / outcome.items as f64,
                most.unwrap_or(0)
            ),
            match outcome.refused {
                0 => "0".to_owned(),
                some => format!(
                    "{some} ({:.2} %)",
                    some as f64 / outcome.sets as f64 * 100.0
                ),
            },
            outcome.most_evictions.to_string(),
        ]);
    };
    for sizes in ALL {
        let mut runs = Runs::new(bytes, 32);
        row(
            sizes,
            "runs of 64 B cells (ours)",
            churn(&mut runs, sizes, sets),
        );
        for block in [64, 256, 1024] {
            let mut chains = Chains::new(bytes, block);
            let name = format!("chains of {block} B blocks");
            row(sizes, &name, churn(&mut chains, sizes, sets));
        }
        let mut best = BestFit::new(bytes);
        row(sizes, "one piece, best fit", churn(&mut best, sizes, sets));
    }
    Ok(table)
}

pub const ABOUT_RUNS: &str = "The same churn; how many of the items of a size lie in one run, in \
     two, in more. Shards of 64 MiB and of 8 MiB, which is what two cores make of 64 MiB.";

/// Counts the runs of items by their size.
pub fn runs(sets: usize) -> Result<Table> {
    let mut table = Table::new(
        &[
            "values",
            "shard",
            "key and value",
            "items",
            "1 run",
            "2",
            "3 or 4",
            "5 to 8",
            "more",
            "most",
        ],
        3,
    );
    for sizes in ALL {
        for shard in [64, 8] {
            let mut store = Runs::new(shard << 20, 32);
            let outcome = churn(&mut store, sizes, sets);
            let classes: &[(usize, usize, &str)] = match sizes {
                Sizes::Fixed => &[(0, usize::MAX, "all")],
                _ => &[
                    (0, 1 << 10, "to 1 KiB"),
                    (1 << 10, 4 << 10, "to 4 KiB"),
                    (4 << 10, 16 << 10, "to 16 KiB"),
                    (16 << 10, usize::MAX, "above"),
                ],
            };
            for (from, to, name) in classes {
                let sized = outcome.pieces.iter();
                let sized = sized.filter(|(bytes, _)| (*from..*to).contains(bytes));
                let pieces: Vec<usize> = sized.map(|(_, pieces)| *pieces).collect();
                if pieces.is_empty() {
                    continue;
                }
                let share = |from: usize, to: usize| {
                    let count = pieces.iter().filter(|p| (from..=to).contains(p)).count();
                    format!("{:.1} %", count as f64 / pieces.len() as f64 * 100.0)
                };
                table.row(vec![
                    sizes.name().to_owned(),
                    format!("{shard} MiB"),
                    (*name).to_owned(),
                    pieces.len().to_string(),
                    share(1, 1),
                    share(2, 2),
                    share(3, 4),
                    share(5, 8),
                    share(9, usize::MAX),
                    pieces.iter().max().unwrap_or(&0).to_string(),
                ]);
            }
        }
    }
    Ok(table)
}

pub const ABOUT_SPARE: &str = "The same churn in a shard of 8 MiB with other parts of the cells \
     kept free, beyond what the item at hand may need at worst.";

/// Varies how much is kept free.
pub fn spare(sets: usize) -> Result<Table> {
    let mut table = Table::new(
        &[
            "values",
            "kept free",
            "overhead",
            "mean runs",
            "in one run",
            "most runs",
        ],
        1,
    );
    for sizes in ALL {
        for (part, name) in [
            (8, "1/8"),
            (16, "1/16"),
            (32, "1/32 (ours)"),
            (64, "1/64"),
            (128, "1/128"),
            (usize::MAX, "0"),
        ] {
            let bytes = 8 << 20;
            let mut store = Runs::new(bytes, part);
            let outcome = churn(&mut store, sizes, sets);
            let all = outcome.items as f64;
            let pieces = || outcome.pieces.iter().map(|(_, pieces)| *pieces);
            table.row(vec![
                sizes.name().to_owned(),
                name.to_owned(),
                format!(
                    "{:.1} %",
                    (bytes - outcome.payload) as f64 / outcome.payload as f64 * 100.0
                ),
                format!("{:.2}", pieces().sum::<usize>() as f64 / all),
                format!(
                    "{:.1} %",
                    pieces().filter(|p| *p == 1).count() as f64 / all * 100.0
                ),
                pieces().max().unwrap_or(0).to_string(),
            ]);
        }
    }
    Ok(table)
}
