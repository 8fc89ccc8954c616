//! What a full table does: ours, on the limiter's own table, and two that are
//! models of what others do.

use forebay::internals::limiter::{Answer, Form, Rule, Table, Witness, GROUP, SLOT_WORDS};
use forebay::internals::{Hash, Words};
use lru::LruCache;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

pub use forebay::internals::limiter::OnFull;

/// A limiter with one rate.
pub trait Policy {
    /// Takes tokens of this key's at `now`: whether they were had.
    fn take(&mut self, key: Hash, tokens: u64, now: u64) -> bool;
    /// Refuses this key everything until then.
    fn block(&mut self, _key: Hash, _until: u64, _now: u64) {}
    /// Whether it does.
    fn is_blocked(&self, _key: Hash, _now: u64) -> bool {
        false
    }
    /// Live buckets evicted so far for a newcomer that starts afresh.
    fn evicted(&self) -> u64;
    /// The same of one key's.
    fn evicted_of(&self, key: Hash) -> u64;
}

/// Words of one thread.
struct Plain(Vec<Cell<u64>>);

impl Words for Plain {
    fn load(&self, index: usize, _: Ordering) -> u64 {
        self.0[index].get()
    }

    fn store(&self, index: usize, value: u64, _: Ordering) {
        self.0[index].set(value);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        let found = self.0[index].get();
        if found != old {
            return Err(found);
        }
        self.0[index].set(new);
        Ok(found)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.0[index].replace(self.0[index].get().wrapping_add(value))
    }

    fn fence(&self, _: Ordering) {}

    fn spin(&self) {}
}

/// Evictions by the fingerprint in the label.
#[derive(Default)]
struct Evictions {
    now: Cell<u64>,
    all: Cell<u64>,
    of: RefCell<HashMap<u64, u64>>,
}

/// The lowest of a fingerprint's bits in a label.
const FINGERPRINT_SHIFT: u32 = 21;

impl Witness for Evictions {
    fn evicting_live(&self, label: u64) {
        self.all.set(self.all.get() + 1);
        let mut of = self.of.borrow_mut();
        *of.entry(label >> FINGERPRINT_SHIFT).or_default() += 1;
    }

    fn clock(&self) -> u64 {
        self.now.get()
    }
}

/// The limiter's table.
pub struct Ours {
    words: Plain,
    table: Table,
    rule: Rule,
    evictions: Evictions,
}

impl Ours {
    pub fn new(on_full: OnFull, rule: Rule, slots: usize) -> Ours {
        let table = Table {
            at: 0,
            slots,
            group: GROUP,
            on_full,
            form: Form::Bucket,
        };
        Ours {
            words: Plain(vec![Cell::new(0); slots * SLOT_WORDS]),
            table,
            rule,
            evictions: Evictions::default(),
        }
    }
}

impl Policy for Ours {
    fn take(&mut self, key: Hash, tokens: u64, now: u64) -> bool {
        self.evictions.now.set(now);
        let group = self.table.group(key);
        let ticks = tokens * self.rule.increment;
        let (words, witness) = (&self.words, &self.evictions);
        let answer = self
            .table
            .charge(words, &group, &self.rule, ticks, now, witness);
        matches!(answer, Answer::Admitted(_))
    }

    fn block(&mut self, key: Hash, until: u64, now: u64) {
        self.evictions.now.set(now);
        let group = self.table.block_group(&self.table.group(key));
        let decide = |end: u64, _| Some(end.max(until));
        let (words, witness) = (&self.words, &self.evictions);
        let entry = self.table.advance(words, &group, now, decide, witness);
        assert!(entry.is_ok(), "nobody else is there");
    }

    fn is_blocked(&self, key: Hash, now: u64) -> bool {
        let group = self.table.block_group(&self.table.group(key));
        self.table.arrival(&self.words, &group) > now
    }

    fn evicted(&self) -> u64 {
        self.evictions.all.get()
    }

    fn evicted_of(&self, key: Hash) -> u64 {
        let of = self.evictions.of.borrow();
        let count = of.get(&(key.tag >> FINGERPRINT_SHIFT));
        count.copied().unwrap_or_default()
    }
}

/// The least recently used bucket goes, whatever is in it: nginx, fastify,
/// throttled-py, gubernator.
pub struct Lru {
    buckets: LruCache<u64, u64>,
    rule: Rule,
    evicted: HashMap<u64, u64>,
}

impl Lru {
    pub fn new(rule: Rule, slots: usize) -> Lru {
        let slots = NonZeroUsize::new(slots).expect("a table has slots");
        Lru {
            buckets: LruCache::new(slots),
            rule,
            evicted: HashMap::new(),
        }
    }
}

impl Policy for Lru {
    fn take(&mut self, key: Hash, tokens: u64, now: u64) -> bool {
        let ticks = tokens * self.rule.increment;
        let arrival = self.buckets.get(&key.tag).copied().unwrap_or_default();
        let Some(after) = self.rule.charge(arrival, now, ticks) else {
            return false;
        };
        if let Some((other, arrival)) = self.buckets.push(key.tag, after) {
            if other != key.tag && arrival > now {
                *self.evicted.entry(other).or_default() += 1;
            }
        }
        true
    }

    fn evicted(&self) -> u64 {
        self.evicted.values().sum()
    }

    fn evicted_of(&self, key: Hash) -> u64 {
        self.evicted.get(&key.tag).copied().unwrap_or_default()
    }
}

/// A newcomer is refused while all buckets are live.
pub struct Refusing {
    buckets: HashMap<u64, u64>,
    /// Buckets by when they are full, as of when they were put here.
    full_at: BinaryHeap<Reverse<(u64, u64)>>,
    rule: Rule,
    slots: usize,
}

impl Refusing {
    pub fn new(rule: Rule, slots: usize) -> Refusing {
        Refusing {
            buckets: HashMap::new(),
            full_at: BinaryHeap::new(),
            rule,
            slots,
        }
    }

    fn has_room(&mut self, now: u64) -> bool {
        while self.buckets.len() >= self.slots {
            let Some(Reverse((full_at, key))) = self.full_at.pop() else {
                return false;
            };
            let arrival = self.buckets[&key];
            if arrival <= now {
                self.buckets.remove(&key);
            } else {
                self.full_at.push(Reverse((arrival, key)));
                if arrival == full_at {
                    return false;
                }
            }
        }
        true
    }
}

impl Policy for Refusing {
    fn take(&mut self, key: Hash, tokens: u64, now: u64) -> bool {
        let ticks = tokens * self.rule.increment;
        let found = self.buckets.get(&key.tag).copied();
        if found.is_none() && !self.has_room(now) {
            return false;
        }
        let arrival = found.unwrap_or_default();
        let Some(after) = self.rule.charge(arrival, now, ticks) else {
            return false;
        };
        self.buckets.insert(key.tag, after);
        if found.is_none() {
            self.full_at.push(Reverse((after, key.tag)));
        }
        true
    }

    fn evicted(&self) -> u64 {
        0
    }

    fn evicted_of(&self, _: Hash) -> u64 {
        0
    }
}
