//! "An item within `max_item` always fits, whatever the history": random
//! histories over a shard of its own, checked whole after every step, and over
//! caches through the public API.

use forebay::internals::cache::{New, Read, Shard, ShardGeometry};
use forebay::internals::{Hash, Words};
use forebay::{CacheOptions, Region};
use proptest::prelude::*;
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// Words on the heap; an index outside is a failure here.
struct Heap(Vec<AtomicU64>);

impl Words for Heap {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.0[index].store(value, order);
    }
    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.0[index].compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn add(&self, index: usize, value: u64) -> u64 {
        self.0[index].fetch_add(value, Ordering::Relaxed)
    }
    fn fence(&self, order: Ordering) {
        fence(order);
    }
    fn spin(&self) {}
}

#[derive(Clone, Debug)]
enum Step {
    /// A key, and how large its item is, in 255ths of the largest.
    Set(u8, u8),
    Delete(u8),
    Clear,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![
        4 => 0u8..8,
        2 => any::<u8>(),
        1 => Just(255u8),
    ];
    let step = prop_oneof![
        12 => (any::<u8>(), size).prop_map(|(key, size)| Step::Set(key % 96, size)),
        4 => any::<u8>().prop_map(|key| Step::Delete(key % 96)),
        1 => (0u8..16).prop_map(|n| if n == 0 { Step::Clear } else { Step::Delete(n) }),
    ];
    prop::collection::vec(step, 1..most)
}

/// Key `number`, of one to 23 bytes.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![number];
    key.resize(1 + number as usize % 23, b'k');
    key
}

fn hash(number: u8) -> Hash {
    // Few homes in the index and few classes of stamps, so that they collide.
    let tag = u64::from(number) << 32 | u64::from(number % 7) << 24 | u64::from(number % 13);
    Hash { place: 0, tag }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_shard_never_refuses_an_item_within_bounds(
        cells in prop_oneof![4usize..12, 60usize..70, 100usize..700],
        entries in prop_oneof![1usize..4, 16usize..200],
        steps in steps(250),
    ) {
        let index = (entries + entries.div_ceil(2)).next_power_of_two();
        let geometry = ShardGeometry { entries, index, cells };
        let heap = Heap((0..geometry.words() + 1).map(|_| AtomicU64::new(0)).collect());
        let shard = Shard { words: &heap, at: 0, geometry: &geometry, cleared: geometry.words() };
        // What `max_item` can be at most: a quarter of the shard.
        let largest = cells / 4 * 56;
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Step::Set(number, size) => {
                    let key = key(number);
                    let length = (largest * usize::from(size) / 255).saturating_sub(key.len());
                    if key.len() + length > largest {
                        continue;
                    }
                    let value: Vec<u8> = (0..length).map(|at| (at * 7 + i) as u8).collect();
                    let new = New {
                        key: &key,
                        hash: hash(number),
                        value: &value,
                        codec: 0,
                        now: 1,
                        expires: 0,
                    };
                    prop_assert_eq!(shard.set(&new), Ok(()), "step {}", i);
                    let read = shard.read(&key, hash(number), || 1, |shard, found| {
                        let mut back = vec![0; found.length];
                        shard.copy_value(found, &mut back);
                        back
                    });
                    let Read::Hit((_, back)) = read else {
                        return Err(TestCaseError::fail("what was just set is not there"));
                    };
                    prop_assert_eq!(back, value);
                }
                Step::Delete(number) => {
                    prop_assert!(shard.delete(&key(number), hash(number), 1).is_ok());
                }
                Step::Clear => shard.clear(),
            }
            prop_assert_eq!(shard.verify(), Ok(()), "step {}", i);
        }
    }

    #[test]
    fn a_cache_never_refuses_an_item_within_bounds(
        bytes in prop_oneof![Just(16u64 << 10), Just(64 << 10), Just(256 << 10)],
        shards in prop_oneof![Just(1u64), Just(2), Just(8)],
        part in 1u64..40,
        steps in steps(250),
    ) {
        let region = Region::options().bytes(2 << 20).private().unwrap();
        let options = CacheOptions::new().bytes(bytes).shards(shards);
        let probe = region.cache("probe", options.clone()).unwrap().stats();
        let largest = probe.bytes_capacity / shards / 64 / 4 * 56;
        let max_item = (largest / part).max(32);
        prop_assume!(max_item <= largest);
        let cache = region.cache("fits", options.max_item(max_item)).unwrap();
        for step in &steps {
            match *step {
                Step::Set(number, size) => {
                    let key = key(number);
                    let length = (max_item as usize * usize::from(size) / 255)
                        .saturating_sub(key.len());
                    let value = vec![size; length];
                    prop_assert!(cache.set(&key, &value));
                    prop_assert_eq!(cache.get(&key), Some(value));
                }
                Step::Delete(number) => {
                    cache.delete(key(number));
                }
                Step::Clear => cache.clear(),
            }
        }
        let stats = cache.stats();
        prop_assert_eq!((stats.resets, stats.busy, stats.too_large), (0, 0, 0));
        prop_assert!(stats.bytes_used <= stats.bytes_capacity);
    }
}
