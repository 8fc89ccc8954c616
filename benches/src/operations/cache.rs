//! Caches of 256-byte values: hits, then a mix of hits and fills.

use super::{private, Group};
use crate::keys::{key, value, Sequence};
use crate::{Comparison, HitCount, Side};
use crossbeam_utils::CachePadded;
use forebay::{Cache, CacheOptions};
use lru::LruCache;
use parking_lot::Mutex;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::UnitWeighter;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

pub const GROUP: Group = Group {
    title: "Cache",
    about: "Values of 256 bytes under 20-byte string keys, drawn by Zipf's law with exponent 1. \
            forebay copies the value into the caller's buffer; the peers hand out a counted \
            reference to it (`Arc<[u8]>`), which they do without touching its bytes. \
            Hits: 10,000 keys, all of them there. \
            Mixed: 50,000 keys, room for 10,000; a miss sets the value, for which the peers \
            allocate the key and the value. All of them hash with ahash but forebay, whose hash \
            must be the same in every program; `lru` is cut into eight shards, each under a \
            parking_lot mutex, which is how it is used from several threads.",
    build,
};

/// What the peers hold.
type Value = Arc<[u8]>;

const HIT_KEYS: usize = 10_000;
const MIXED_KEYS: usize = 50_000;
const MIXED_ROOM: usize = 10_000;

fn build() -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    let sequence = Sequence::zipf(HIT_KEYS, 1 << 17);
    let room = 2 * HIT_KEYS;
    for peer in [
        hits(quick(room), "quick_cache", &sequence),
        hits(moka(room), "moka", &sequence),
        hits(ShardedLru::new(room), "sharded lru, parking_lot", &sequence),
    ] {
        comparisons.push(Comparison {
            operation: "cache hit, 256 bytes".into(),
            ours: our_hits(&sequence),
            peer,
        });
    }
    let sequence = Sequence::zipf(MIXED_KEYS, 1 << 18);
    let room = MIXED_ROOM;
    for peer in [
        mixed(quick(room), "quick_cache", &sequence),
        mixed(moka(room), "moka", &sequence),
        mixed(ShardedLru::new(room), "sharded lru, parking_lot", &sequence),
    ] {
        comparisons.push(Comparison {
            operation: "cache get, set on a miss".into(),
            ours: our_mixed(&sequence),
            peer,
        });
    }
    comparisons
}

fn ours(entries: usize) -> Cache {
    // The entries are the bound, not the bytes: as for the peers.
    let bytes = entries as u64 * 700 + (1 << 20);
    let region = private(bytes + (1 << 20));
    let options = CacheOptions::new().bytes(bytes).max_entries(entries as u64);
    region.cache("pages", options).expect("a cache")
}

fn our_hits(sequence: &Sequence) -> Side {
    let cache = ours(2 * HIT_KEYS);
    for i in 0..HIT_KEYS {
        assert!(cache.set(key(i), value(&key(i))));
    }
    for i in 0..HIT_KEYS {
        assert_eq!(cache.get(key(i)).as_deref(), Some(&value(&key(i))[..]));
    }
    assert_eq!(cache.get("absent"), None);
    let sequence = sequence.clone();
    Side::new("forebay", move |thread| {
        let (cache, sequence) = (cache.clone(), sequence.clone());
        let mut place = sequence.start(thread);
        let mut buffer = Vec::with_capacity(256);
        move |n| {
            for _ in 0..n {
                let hit = cache.get_into(sequence.at(place), &mut buffer);
                black_box((hit.is_some(), buffer.as_slice()));
                place += 1;
            }
        }
    })
}

fn our_mixed(sequence: &Sequence) -> Side {
    let cache = ours(MIXED_ROOM);
    let hits = Arc::new(HitCount::default());
    let (counted, sequence) = (hits.clone(), sequence.clone());
    let mut buffer = Vec::with_capacity(256);
    for place in 0..2 * MIXED_ROOM {
        let key = sequence.at(place);
        match cache.get_into(key, &mut buffer) {
            Some(_) => assert_eq!(buffer, value(key), "{key}"),
            None => assert!(cache.set(key, value(key))),
        }
    }
    Side::new("forebay", move |thread| {
        let (cache, sequence, hits) = (cache.clone(), sequence.clone(), hits.clone());
        let mut place = sequence.start(thread);
        let mut buffer = Vec::with_capacity(256);
        let loaded = value("loaded");
        move |n| {
            let mut found = 0;
            for _ in 0..n {
                let key = sequence.at(place);
                if cache.get_into(key, &mut buffer).is_some() {
                    found += 1;
                    black_box(buffer.as_slice());
                } else {
                    black_box(cache.set(key, loaded));
                }
                place += 1;
            }
            hits.add(n, found);
        }
    })
    .counting(counted)
}

/// The calls that the peers have in common.
trait Peer: Send + Sync + 'static {
    fn get(&self, key: &str) -> Option<Value>;
    fn set(&self, key: &str, value: &[u8]);
}

type Quick =
    QuickCache<String, Value, UnitWeighter, ahash::RandomState, DefaultLifecycle<String, Value>>;

fn quick(room: usize) -> Quick {
    QuickCache::with(
        room,
        room as u64,
        UnitWeighter,
        ahash::RandomState::new(),
        DefaultLifecycle::default(),
    )
}

impl Peer for Quick {
    #[inline(always)]
    fn get(&self, key: &str) -> Option<Value> {
        QuickCache::get(self, key)
    }
    #[inline(always)]
    fn set(&self, key: &str, value: &[u8]) {
        self.insert(key.to_owned(), Arc::from(value));
    }
}

type Moka = moka::sync::Cache<String, Value, ahash::RandomState>;

fn moka(room: usize) -> Moka {
    moka::sync::Cache::builder()
        .max_capacity(room as u64)
        .build_with_hasher(ahash::RandomState::new())
}

impl Peer for Moka {
    #[inline(always)]
    fn get(&self, key: &str) -> Option<Value> {
        moka::sync::Cache::get(self, key)
    }
    #[inline(always)]
    fn set(&self, key: &str, value: &[u8]) {
        self.insert(key.to_owned(), Arc::from(value));
    }
}

const LRU_SHARDS: usize = 8;

type LruShard = CachePadded<Mutex<LruCache<String, Value, ahash::RandomState>>>;

struct ShardedLru {
    hash: ahash::RandomState,
    shards: [LruShard; LRU_SHARDS],
}

impl ShardedLru {
    fn new(room: usize) -> ShardedLru {
        let each = NonZeroUsize::new(room.div_ceil(LRU_SHARDS)).expect("there is room");
        let shard = |_| LruCache::with_hasher(each, ahash::RandomState::new());
        ShardedLru {
            hash: ahash::RandomState::new(),
            shards: std::array::from_fn(|i| CachePadded::new(Mutex::new(shard(i)))),
        }
    }

    #[inline(always)]
    fn shard(&self, key: &str) -> &LruShard {
        &self.shards[(self.hash.hash_one(key) >> 32) as usize % LRU_SHARDS]
    }
}

impl Peer for ShardedLru {
    #[inline(always)]
    fn get(&self, key: &str) -> Option<Value> {
        self.shard(key).lock().get(key).cloned()
    }
    #[inline(always)]
    fn set(&self, key: &str, value: &[u8]) {
        let value = Arc::from(value);
        let old = self.shard(key).lock().push(key.to_owned(), value);
        // What was evicted is freed outside the lock.
        drop(old);
    }
}

fn hits<P: Peer>(cache: P, name: &str, sequence: &Sequence) -> Side {
    for i in 0..HIT_KEYS {
        cache.set(&key(i), &value(&key(i)));
    }
    for i in 0..HIT_KEYS {
        let got = cache.get(&key(i));
        assert_eq!(got.as_deref(), Some(&value(&key(i))[..]), "{name} {i}");
    }
    assert_eq!(cache.get("absent"), None);
    let (cache, sequence) = (Arc::new(cache), sequence.clone());
    Side::new(name, move |thread| {
        let (cache, sequence) = (cache.clone(), sequence.clone());
        let mut place = sequence.start(thread);
        move |n| {
            for _ in 0..n {
                black_box(cache.get(sequence.at(place)));
                place += 1;
            }
        }
    })
}

fn mixed<P: Peer>(cache: P, name: &str, sequence: &Sequence) -> Side {
    for place in 0..2 * MIXED_ROOM {
        let key = sequence.at(place);
        match cache.get(key) {
            Some(got) => assert_eq!(*got, value(key), "{name} {key}"),
            None => cache.set(key, &value(key)),
        }
    }
    let hits = Arc::new(HitCount::default());
    let counted = hits.clone();
    let (cache, sequence) = (Arc::new(cache), sequence.clone());
    Side::new(name, move |thread| {
        let (cache, sequence, hits) = (cache.clone(), sequence.clone(), hits.clone());
        let mut place = sequence.start(thread);
        let loaded = value("loaded");
        move |n| {
            let mut found = 0;
            for _ in 0..n {
                let key = sequence.at(place);
                if let Some(got) = cache.get(key) {
                    found += 1;
                    black_box(got);
                } else {
                    cache.set(key, &loaded);
                }
                place += 1;
            }
            hits.add(n, found);
        }
    })
    .counting(counted)
}
