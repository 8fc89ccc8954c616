//! How a cache's memory is divided: shards, and in each an index, entry
//! records, a bitmap of cells and the cells themselves.

use super::CacheOptions;
use crate::region::Geometry;
use crate::{Error, Result};

/// Words of a cell, the unit of storage: 64 bytes, one cache line.
pub const CELL_WORDS: usize = 8;
/// Words of an entry record: one cache line.
pub const ENTRY_WORDS: usize = 8;
/// Words of a shard's fixed part: lock, lists and counters, then stamps.
pub const SHARD_WORDS: usize = 32;
/// Stamps of a shard.
pub const STAMPS: usize = 32;
/// Words of a cache's fixed part, before the shards.
pub const CACHE_WORDS: usize = 16;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 65_535;
/// Values are shorter than this.
pub const MAX_VALUE: usize = 1 << 30;

const DEFAULT_BYTES: u64 = 4 << 20;
const LEAST_BYTES: u64 = 16 << 10;
const MOST_BYTES: u64 = 1 << 38;
/// A shard keeps at least this many entries, else there are fewer shards.
const LEAST_ENTRIES: u64 = 128;
/// And at least this many of the largest items.
const LEAST_ITEMS: u64 = 32;

/// The division of one shard. All shards of a cache are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardGeometry {
    /// Most entries.
    pub entries: usize,
    /// Words of the index: a power of two, at least a half more than entries.
    pub index: usize,
    /// Cells.
    pub cells: usize,
}

impl ShardGeometry {
    /// Words of the bitmap.
    pub fn bitmap(&self) -> usize {
        self.cells.div_ceil(64)
    }

    /// Words of the whole shard.
    pub fn words(&self) -> usize {
        SHARD_WORDS
            + STAMPS
            + self.index
            + (self.entries + self.cells) * ENTRY_WORDS
            + self.bitmap().next_multiple_of(CELL_WORDS)
    }

    /// The largest key and value together that always fit, even if every free
    /// cell lies alone: a quarter of the shard, so that one item never evicts
    /// more than that.
    pub fn largest_item(&self) -> usize {
        // One word of each run is its head.
        (self.cells / 4 * (CELL_WORDS - 1) * 8).min(MAX_VALUE + MAX_KEY)
    }

    fn fitting(words: usize, entries: usize) -> Option<ShardGeometry> {
        let index = index_for(entries as u64) as usize;
        let fixed = SHARD_WORDS + STAMPS + index + entries * ENTRY_WORDS;
        // A cell takes its words and one bit; keep a line for the bitmap's rounding.
        let left = words.checked_sub(fixed + CELL_WORDS)?;
        let cells = left * 64 / (CELL_WORDS * 64 + 1);
        (cells > 0).then_some(ShardGeometry {
            entries,
            index,
            cells,
        })
    }
}

const _: () = assert!(ENTRY_WORDS == CELL_WORDS);

/// Words of an index for so many entries: at most two thirds are taken, and at
/// least one is free, so that every probe ends.
fn index_for(entries: u64) -> u64 {
    (entries + entries.div_ceil(2)).next_power_of_two()
}

/// The geometry for these options: what the directory keeps.
pub fn plan(options: &CacheOptions, cores: usize) -> Result<Geometry> {
    let bytes = options.bytes.unwrap_or(DEFAULT_BYTES);
    let max_entries = options.max_entries.unwrap_or(bytes / 512).max(1);
    let most = (4 * cores as u64).next_power_of_two();
    let chosen = options.shards;
    let mut shards = chosen.unwrap_or(most);
    loop {
        let words = (bytes / 8).saturating_sub(CACHE_WORDS as u64) / shards;
        let entries = max_entries.div_ceil(shards);
        let shard = ShardGeometry::fitting(words as usize, entries as usize);
        let largest = shard.map_or(0, |shard| shard.largest_item() as u64);
        let max_item = options.max_item.unwrap_or_else(|| default_item(largest));
        let room = shard.map_or(0, |shard| shard.cells as u64 * 64);
        let good = shard.is_some()
            && max_item <= largest
            && (shards == 1 || (entries >= LEAST_ENTRIES && room / max_item.max(1) >= LEAST_ITEMS));
        if let Some(shard) = shard {
            if good || (chosen.is_some() && max_item <= largest) {
                return Ok([
                    shards,
                    shard.entries as u64,
                    shard.index as u64,
                    shard.cells as u64,
                    max_item,
                    max_entries,
                ]);
            }
        }
        if shards == 1 || chosen.is_some() {
            return Err(match options.max_item {
                Some(item) if shard.is_some() => Error::invalid(
                    "max_item",
                    item,
                    format_args!("at most {largest} with {bytes} bytes, {max_entries} entries and {shards} shards"),
                ),
                _ => Error::invalid(
                    "bytes",
                    bytes,
                    format_args!("more: {max_entries} entries in {shards} shards leave no room for values"),
                ),
            });
        }
        shards /= 2;
    }
}

/// 64 KiB, so that an ordinary page is stored, or a 32nd of a larger shard;
/// shards are made fewer until each holds enough of them.
fn default_item(largest: u64) -> u64 {
    (largest / 8).max(largest.min(64 << 10))
}

/// The shard geometry that a directory entry describes, and how many shards;
/// `None` if it is senseless.
pub fn read(geometry: &Geometry) -> Option<(usize, ShardGeometry)> {
    let [shards, entries, index, cells, max_item, max_entries] = *geometry;
    let limit = u64::from(u32::MAX) / 2;
    if !shards.is_power_of_two() || shards > 1 << 16 {
        return None;
    }
    if entries == 0 || entries > limit || cells == 0 || cells > limit {
        return None;
    }
    if !index.is_power_of_two() || index > limit || index < index_for(entries.min(limit)) {
        return None;
    }
    if max_entries.div_ceil(shards) != entries {
        return None;
    }
    let shard = ShardGeometry {
        entries: entries as usize,
        index: index as usize,
        cells: cells as usize,
    };
    (max_item <= shard.largest_item() as u64).then_some((shards as usize, shard))
}

/// Words of the whole cache.
pub fn words(geometry: &Geometry) -> Option<usize> {
    let (shards, shard) = read(geometry)?;
    shards.checked_mul(shard.words())?.checked_add(CACHE_WORDS)
}

/// Whether the options can be kept at all.
pub fn check(options: &CacheOptions) -> Result<()> {
    let within = |name, value: Option<u64>, least: u64, most: u64| match value {
        Some(value) if value < least || value > most => Err(Error::invalid(
            name,
            value,
            format_args!("{least} to {most}"),
        )),
        _ => Ok(()),
    };
    within("bytes", options.bytes, LEAST_BYTES, MOST_BYTES)?;
    within("max_entries", options.max_entries, 1, 1 << 30)?;
    within(
        "max_item",
        options.max_item,
        1,
        (MAX_KEY + MAX_VALUE) as u64,
    )?;
    within("shards", options.shards, 1, 1 << 16)?;
    match options.shards {
        Some(shards) if !shards.is_power_of_two() => {
            Err(Error::invalid("shards", shards, "a power of two"))
        }
        _ => Ok(()),
    }
}

/// Compares what was asked for with what exists.
pub fn compare(name: &str, options: &CacheOptions, theirs: &Geometry) -> Result<()> {
    let differ = |option, ours: u64, theirs: u64| {
        Err(Error::Geometry {
            object: name.to_owned(),
            option,
            theirs,
            ours,
        })
    };
    match options.shards {
        Some(ours) if ours != theirs[0] => return differ("shards", ours, theirs[0]),
        _ => {}
    }
    match options.max_entries {
        Some(ours) if ours != theirs[5] => return differ("max_entries", ours, theirs[5]),
        _ => {}
    }
    match options.max_item {
        Some(ours) if ours != theirs[4] => return differ("max_item", ours, theirs[4]),
        _ => {}
    }
    match options.bytes {
        Some(ours) => {
            // The size is not kept, what it was divided into is: the same
            // bytes divide alike whatever this machine's cores are now.
            let again = CacheOptions {
                shards: Some(theirs[0]),
                max_entries: Some(theirs[5]),
                max_item: Some(theirs[4]),
                ..options.clone()
            };
            match plan(&again, 1) {
                Ok(planned) if planned == *theirs => Ok(()),
                // The remedy says how much it takes: that must do, too.
                _ if Some(ours) == words(theirs).map(|words| words as u64 * 8) => Ok(()),
                _ => differ("bytes", ours, words(theirs).unwrap_or(0) as u64 * 8),
            }
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fits_its_bytes_and_reads_back() {
        for bytes in [16 << 10, 64 << 10, 1 << 20, 4 << 20, 100 << 20] {
            for cores in [1, 2, 8, 64] {
                for entries in [None, Some(4), Some(100), Some(10_000)] {
                    let options = CacheOptions {
                        bytes: Some(bytes),
                        max_entries: entries,
                        ..CacheOptions::default()
                    };
                    let Ok(planned) = plan(&options, cores) else {
                        assert!(entries == Some(10_000), "{bytes} {cores} {entries:?}");
                        continue;
                    };
                    let words = words(&planned).unwrap() as u64;
                    assert!(words * 8 <= bytes);
                    assert!(words * 8 > bytes * 9 / 10, "{bytes} {cores} {words}");
                    assert_eq!(compare("c", &options, &planned), Ok(()));
                }
            }
        }
    }

    #[test]
    fn small_caches_are_one_shard() {
        let options = CacheOptions {
            max_entries: Some(100),
            ..CacheOptions::default()
        };
        assert_eq!(plan(&options, 64).unwrap()[0], 1);
    }

    #[test]
    fn senseless_geometries_are_refused() {
        let good = plan(&CacheOptions::default(), 2).unwrap();
        assert!(words(&good).is_some());
        for i in 0..6 {
            for value in [0, 3, u64::MAX, 1 << 40] {
                let mut bad = good;
                bad[i] = value;
                // Fewer cells, or a smaller largest item, are another good one.
                if bad != good && !(i == 3 || i == 4 && value <= good[4]) {
                    assert_eq!(words(&bad), None, "{i} {value}");
                }
            }
        }
    }
}
