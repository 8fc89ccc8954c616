//! A long life: a least-recently-set order over any store.

use crate::sizes::{zipf, Sizes, KEY};
use crate::stores::Store;
use rand::rngs::StdRng;
use rand::SeedableRng;
use std::collections::{BTreeMap, HashMap};

/// What a store looks like after its life.
pub struct Outcome {
    /// Bytes of keys and values in it.
    pub payload: usize,
    /// Its items.
    pub items: usize,
    /// Bytes that are not taken.
    pub free: usize,
    /// Sets that found enough room but not in one piece.
    pub refused: usize,
    /// Sets.
    pub sets: usize,
    /// {bytes of key and value, pieces} of each item.
    pub pieces: Vec<(usize, usize)>,
    /// Evictions of the set that evicted most.
    pub most_evictions: usize,
}

struct Item {
    turn: usize,
    place: usize,
    bytes: usize,
}

/// Fills the store, then sets `sets` keys by Zipf's law over four times as many
/// keys as fit, each time with a value of another size.
pub fn churn(store: &mut impl Store, sizes: Sizes, sets: usize) -> Outcome {
    let mut random = StdRng::seed_from_u64(7);
    let mut items: HashMap<usize, Item> = HashMap::new();
    let mut order: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut refused, mut most_evictions) = (0, 0);
    let mut full = None;
    let mut turn = 0;
    while full.is_none_or(|(at, _)| turn < at + sets) {
        let key = match full {
            None => turn,
            Some((_, distinct)) => zipf(distinct, &mut random),
        };
        let bytes = KEY + sizes.draw(&mut random);
        if let Some(old) = items.remove(&key) {
            order.remove(&old.turn);
            store.free(old.place, old.bytes);
        }
        let (mut evictions, mut was_refused) = (0, false);
        let place = loop {
            if store.has_room(bytes) {
                match store.allocate(bytes) {
                    Some(place) => break place,
                    // There is room, but not in one piece.
                    None => was_refused = true,
                }
            }
            full = full.or(Some((turn, items.len() * 4)));
            let (_, oldest) = order.pop_first().expect("an empty store has room");
            let old = items.remove(&oldest).expect("the order is the items'");
            store.free(old.place, old.bytes);
            evictions += 1;
        };
        refused += usize::from(was_refused);
        most_evictions = most_evictions.max(evictions);
        order.insert(turn, key);
        items.insert(key, Item { turn, place, bytes });
        turn += 1;
    }
    Outcome {
        payload: items.values().map(|item| item.bytes).sum(),
        items: items.len(),
        free: store.free_bytes(),
        refused,
        sets: turn,
        pieces: items
            .values()
            .map(|item| (item.bytes, store.pieces(item.place, item.bytes)))
            .collect(),
        most_evictions,
    }
}
