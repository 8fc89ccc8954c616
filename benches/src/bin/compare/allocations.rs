//! Hot calls allocate nothing: counted by a global allocator, and asserted.

use anyhow::{ensure, Result};
use forebay::breaker::Outcome;
use forebay::{BreakerOptions, CacheOptions, Rate, Region};
use forebay_benches::keys::{key, value};
use forebay_benches::report::Table;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

pub const ABOUT: &str = "Counted by a global allocator over 100,000 calls each; a number other \
                         than zero fails the run.";

const CALLS: usize = 100_000;

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    // Plain and constant, so that reaching it allocates nothing itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's, with the caller's arguments;
// the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc::dealloc`'s contract, and the
        // block came from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc::alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc::realloc`'s contract, and the
        // block came from the system's allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Counts, and refuses any call that allocates.
pub fn count() -> Result<Table> {
    let region = Region::private()?;
    let limiter = region.limiter("api", Rate::per_second(1).burst(1_000_000))?;
    let cache = region.cache("pages", CacheOptions::new().max_entries(1_000))?;
    let breaker = region.breaker("origin", BreakerOptions::new())?;
    let histogram = region.histogram("http", None)?;
    // More keys than entries: sets evict.
    let keys: Vec<String> = (0..2_048).map(key).collect();
    let at = |i: usize| keys[i % keys.len()].as_str();
    for i in 0..keys.len() {
        ensure!(cache.set(at(i), value(at(i))));
    }
    ensure!(cache.stats().evictions > 0, "the cache is not full");
    let held = at(keys.len() - 1);
    let held_value = value(held);
    let mut buffer = Vec::with_capacity(held_value.len());

    let mut table = Table::new(&["call", "allocations"], 1);
    let mut row = |call: &str, body: &mut dyn FnMut(usize)| -> Result<()> {
        let before = ALLOCATIONS.get();
        (0..CALLS).for_each(body);
        let allocations = ALLOCATIONS.get() - before;
        ensure!(allocations == 0, "{call}: {allocations} allocations");
        table.row(vec![format!("`{call}`"), allocations.to_string()]);
        Ok(())
    };
    // The counter itself, proved to count.
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(7)));
    ensure!(
        ALLOCATIONS.get() == before + 1,
        "the counter does not count"
    );

    row("limiter.allow", &mut |i| {
        black_box(limiter.allow(at(i)));
    })?;
    row("limiter.allow, tuple key", &mut |i| {
        black_box(limiter.allow(("tenant-7", at(i))));
    })?;
    row("limiter.take", &mut |i| {
        black_box(limiter.take(at(i)));
    })?;
    row("limiter.peek", &mut |i| {
        black_box(limiter.peek(at(i)));
    })?;
    row("cache.get_into", &mut |_| {
        black_box(cache.get_into(held, &mut buffer));
    })?;
    ensure!(buffer == held_value, "get_into answers wrongly");
    row("cache.get_into, miss", &mut |_| {
        black_box(cache.get_into("absent", &mut buffer));
    })?;
    let mut found = [0u8; 512];
    row("cache.get_with", &mut |_| {
        if let Ok(Some((meta, page))) = cache.get_with(held, |_| [0u8; 512]) {
            found[..meta.len].copy_from_slice(&page[..meta.len]);
        }
    })?;
    ensure!(
        found[..held_value.len()] == held_value[..],
        "get_with answers wrongly"
    );
    row("cache.contains", &mut |_| {
        black_box(cache.contains(held));
    })?;
    row("cache.set, evicting", &mut |i| {
        black_box(cache.set(at(i), held_value));
    })?;
    row("cache.delete, then set", &mut |i| {
        black_box(cache.delete(at(i)));
        black_box(cache.set(at(i), held_value));
    })?;
    row("breaker.enter_raw, leave", &mut |_| {
        if let Ok(permit) = breaker.enter_raw() {
            black_box(breaker.leave(permit, Outcome::Success));
        }
    })?;
    row("breaker.call", &mut |_| {
        let _ = black_box(breaker.call(|| Ok::<_, ()>(())));
    })?;
    row("histogram.record_ns", &mut |i| {
        histogram.record_ns(i as u64 * 1_000);
    })?;
    row("region.now", &mut |_| {
        black_box(region.now());
    })?;
    Ok(table)
}
