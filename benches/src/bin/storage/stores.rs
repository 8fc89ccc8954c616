//! Ways to store items of many sizes in a fixed amount of memory: ours, which
//! is the cache's own code, and simple models of others, which count bytes
//! and hold none.

use crate::heap::Heap;
use forebay::internals::cache::{worst, Cells, ShardGeometry};
use std::collections::{BTreeMap, BTreeSet};

/// What an allocator is asked.
pub trait Store {
    /// Whether its budget allows an item of so many bytes (key and value) now;
    /// if not, the caller evicts.
    fn has_room(&self, bytes: usize) -> bool;
    /// Takes room; `None` if there is room but not in one piece.
    fn allocate(&mut self, bytes: usize) -> Option<usize>;
    /// Gives an item's room back.
    fn free(&mut self, place: usize, bytes: usize);
    /// Bytes that are not taken.
    fn free_bytes(&self) -> usize;
    /// Pieces of the item.
    fn pieces(&self, place: usize, bytes: usize) -> usize;
}

/// Words of key and value, each from a whole word on.
fn words(bytes: usize) -> usize {
    let key = crate::sizes::KEY;
    key.div_ceil(8) + (bytes - key).div_ceil(8)
}

/// Runs of 64-byte cells: the cache's own code.
pub struct Runs {
    heap: Heap,
    geometry: ShardGeometry,
    hint: usize,
    used: usize,
    spare: usize,
}

impl Runs {
    /// So many bytes of cells, one part in `spare` kept free.
    pub fn new(bytes: usize, spare: usize) -> Runs {
        let geometry = ShardGeometry {
            entries: 1,
            index: 2,
            cells: bytes / 64,
        };
        Runs {
            heap: Heap::new(geometry.bitmap().next_multiple_of(8) + geometry.cells * 8),
            hint: 0,
            used: 0,
            spare: geometry.cells / spare,
            geometry,
        }
    }

    fn cells(&self) -> Cells<'_, Heap> {
        Cells::<Heap>::new(&self.heap, 0, &self.geometry)
    }
}

impl Store for Runs {
    fn has_room(&self, bytes: usize) -> bool {
        self.geometry.cells - self.used >= worst(words(bytes)) + self.spare
    }

    fn allocate(&mut self, bytes: usize) -> Option<usize> {
        let (first, next, taken) = self.cells().allocate(self.hint, words(bytes))?;
        self.hint = next % self.geometry.cells;
        self.used += taken;
        Some(first)
    }

    fn free(&mut self, place: usize, bytes: usize) {
        let freed = self.cells().free(place, words(bytes));
        self.used -= freed.expect("the runs are whole");
    }

    fn free_bytes(&self) -> usize {
        (self.geometry.cells - self.used) * 64
    }

    fn pieces(&self, place: usize, _: usize) -> usize {
        self.cells().runs(place)
    }
}

/// A model: chains of blocks of one size, a link of 8 bytes in each. Any block
/// will do, so counting them is all there is to it.
pub struct Chains {
    block: usize,
    blocks: usize,
    used: usize,
}

impl Chains {
    /// So many bytes in blocks of this size.
    pub fn new(bytes: usize, block: usize) -> Chains {
        Chains {
            block,
            blocks: bytes / block,
            used: 0,
        }
    }

    fn of(&self, bytes: usize) -> usize {
        (words(bytes) * 8).div_ceil(self.block - 8)
    }
}

impl Store for Chains {
    fn has_room(&self, bytes: usize) -> bool {
        self.blocks - self.used >= self.of(bytes)
    }

    fn allocate(&mut self, bytes: usize) -> Option<usize> {
        self.used += self.of(bytes);
        Some(0)
    }

    fn free(&mut self, _: usize, bytes: usize) {
        self.used -= self.of(bytes);
    }

    fn free_bytes(&self) -> usize {
        (self.blocks - self.used) * self.block
    }

    fn pieces(&self, _: usize, bytes: usize) -> usize {
        self.of(bytes)
    }
}

/// A model: one piece for each item, the smallest hole that holds it, 8 bytes
/// of header, 16-byte steps, neighbours joined at once. An exact best fit,
/// which fragments no more than TLSF's approximation to it.
pub struct BestFit {
    bytes: usize,
    by_place: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
    used: usize,
}

impl BestFit {
    /// So many bytes, one hole.
    pub fn new(bytes: usize) -> BestFit {
        BestFit {
            bytes,
            by_place: BTreeMap::from([(0, bytes)]),
            by_size: BTreeSet::from([(bytes, 0)]),
            used: 0,
        }
    }

    fn of(bytes: usize) -> usize {
        (words(bytes) * 8 + 8).next_multiple_of(16)
    }

    fn insert(&mut self, place: usize, size: usize) {
        self.by_place.insert(place, size);
        self.by_size.insert((size, place));
    }

    fn remove(&mut self, place: usize, size: usize) {
        self.by_place.remove(&place);
        self.by_size.remove(&(size, place));
    }
}

impl Store for BestFit {
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes - self.used >= BestFit::of(bytes)
    }

    fn allocate(&mut self, bytes: usize) -> Option<usize> {
        let wanted = BestFit::of(bytes);
        let (size, place) = *self.by_size.range((wanted, 0)..).next()?;
        self.remove(place, size);
        if size > wanted {
            self.insert(place + wanted, size - wanted);
        }
        self.used += wanted;
        Some(place)
    }

    fn free(&mut self, place: usize, bytes: usize) {
        let (mut place, mut size) = (place, BestFit::of(bytes));
        self.used -= size;
        if let Some((&at, &before)) = self.by_place.range(..place).next_back() {
            if at + before == place {
                self.remove(at, before);
                (place, size) = (at, before + size);
            }
        }
        if let Some(&after) = self.by_place.get(&(place + size)) {
            self.remove(place + size, after);
            size += after;
        }
        self.insert(place, size);
    }

    fn free_bytes(&self) -> usize {
        self.bytes - self.used
    }

    fn pieces(&self, _: usize, _: usize) -> usize {
        1
    }
}
