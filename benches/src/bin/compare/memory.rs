//! What the primitives take of a region.

use anyhow::{ensure, Context, Result};
use forebay::region::HEADER_BYTES;
use forebay::{BreakerOptions, CacheOptions, LimiterOptions, Rate, Region};
use forebay_benches::keys::key;
use forebay_benches::report::Table;

pub const ABOUT: &str = "As `region.objects()` tells. A cache's figure is what is not key or \
                         value, for each entry, once it is full: 20-byte keys, and as many \
                         entries allowed as fit.";

/// Measures.
pub fn measure() -> Result<Table> {
    let region = Region::options().bytes(64 << 20).private()?;
    let mut table = Table::new(&["what", "bytes"], 1);
    let mut row = |what: &str, bytes: String| table.row(vec![what.to_owned(), bytes]);
    row("a region's header", HEADER_BYTES.to_string());

    let limiter = region.limiter(
        "limiter",
        LimiterOptions::new(Rate::per_minute(60)).max_keys(1_000_000),
    )?;
    let slots = limiter.stats().slots;
    let each = bytes(&region, "limiter")? as f64 / slots as f64;
    row("limiter, a slot", format!("{each:.2}"));
    row(
        "limiter for 1,000,000 keys",
        bytes(&region, "limiter")?.to_string(),
    );
    region.breaker("breaker", BreakerOptions::new())?;
    row("breaker", bytes(&region, "breaker")?.to_string());
    region.histogram("histogram", None)?;
    row("histogram", bytes(&region, "histogram")?.to_string());

    for size in [64, 200, 256, 1_000, 4_000] {
        let (each, entries) = overhead(&region, size)?;
        row(
            &format!("cache, over each of {entries} values of {size} bytes"),
            format!("{each:.0} ({:.0} %)", each / (size + 20) as f64 * 100.0),
        );
    }
    Ok(table)
}

fn bytes(region: &Region, name: &str) -> Result<u64> {
    let objects = region.objects();
    let object = objects.into_iter().find(|object| object.name == name);
    Ok(object.context("an object that was just made")?.bytes)
}

/// Bytes of a full cache that hold neither key nor value, for each entry.
fn overhead(region: &Region, size: usize) -> Result<(f64, u64)> {
    const BYTES: u64 = 4 << 20;
    let name = format!("cache{size}");
    // Records for as many as the cells hold: a record of 64 bytes, at most 24
    // of index, and the item in cells of 64 bytes with a word of head.
    let item = 20usize.next_multiple_of(8) + size.next_multiple_of(8) + 8;
    let entry = item.next_multiple_of(64) as u64 + 64 + 16;
    let options = CacheOptions::new()
        .bytes(BYTES)
        .max_entries(BYTES / entry)
        .shards(1);
    let cache = region.cache(&name, options)?;
    let value = vec![7; size];
    for i in 0..2 * BYTES / entry {
        ensure!(cache.set(key(i as usize), &value), "a set was refused");
    }
    let entries = cache.stats().entries;
    let payload = entries * (20 + size as u64);
    let rest = bytes(region, &name)? - payload;
    Ok((rest as f64 / entries as f64, entries))
}
