//! Storage: runs of 64-byte cells.
//!
//! A bitmap says which cells are taken. An item lies in one run of cells where
//! there is room for it, else in as many runs as it takes, linked by the first
//! word of each: {next run + 1 32, cells 32}. So an item always fits when
//! enough cells are free, whatever the history; there is no fragmentation to
//! wait out. Allocation goes on where the last one ended (next fit).
//!
//! Everything read from memory is clamped to the shard, and no walk takes more
//! steps than there are cells, so hostile words cost time, not safety.

use super::geometry::{ShardGeometry, CELL_WORDS};
use crate::words::Words;
use std::sync::atomic::Ordering::Relaxed;

/// How many bitmap words are searched for a whole run before an item is split.
const SEARCH: usize = 64;

/// The cells of one shard.
pub struct Cells<'a, W> {
    /// The region.
    pub words: &'a W,
    /// First word of the bitmap.
    pub bitmap: usize,
    /// First word of the cells.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

/// Cells that an item of so many words takes at worst: each run alone.
pub fn worst(words: usize) -> usize {
    words.div_ceil(CELL_WORDS - 1)
}

/// Cells of one run that holds so many words.
fn in_one_run(words: usize) -> usize {
    (words + 1).div_ceil(CELL_WORDS)
}

/// Where an item's bytes are: a position in its runs.
struct Cursor {
    /// The next word of the current run.
    at: usize,
    /// Words left in it.
    left: usize,
    /// The next run's cell + 1; 0 at the end.
    next: usize,
}

impl<W: Words> Cells<'_, W> {
    /// The cells of the shard whose bitmap begins at `bitmap`.
    pub fn new<'a>(words: &'a W, bitmap: usize, geometry: &ShardGeometry) -> Cells<'a, W> {
        Cells {
            words,
            bitmap,
            first: bitmap + geometry.bitmap().next_multiple_of(CELL_WORDS),
            count: geometry.cells,
        }
    }

    /// Takes cells for `words` words of payload, beginning the search at cell
    /// `hint`: the first run, where the search ended, and how many cells.
    /// `None` if there are too few, which [`worst`] and the count of free
    /// cells rule out; then the shard is damaged.
    pub fn allocate(&self, hint: usize, words: usize) -> Option<(usize, usize, usize)> {
        let words = words.max(1);
        let whole = in_one_run(words);
        if let Some(run) = self.find_run(hint % self.count, whole) {
            self.mark(run, whole, true);
            self.words.store(self.cell(run), whole as u64, Relaxed);
            return Some((run, run + whole, whole));
        }
        self.gather(hint % self.count, words)
    }

    /// A run of `wanted` free cells, within a bounded search.
    fn find_run(&self, hint: usize, wanted: usize) -> Option<usize> {
        let mut at = hint;
        let mut budget = SEARCH;
        // From the hint to the end, then from the beginning.
        for _ in 0..2 {
            while at < self.count && budget > 0 {
                let Some(start) = self.next_free(at, &mut budget) else {
                    break;
                };
                let length = self.free_run(start, wanted);
                if length >= wanted {
                    return Some(start);
                }
                at = start + length + 1;
                budget = budget.saturating_sub(1);
            }
            if budget == 0 {
                return None;
            }
            at = 0;
        }
        None
    }

    /// Takes runs of any length until they hold `words` words.
    fn gather(&self, hint: usize, words: usize) -> Option<(usize, usize, usize)> {
        let (mut at, mut left) = (hint, words);
        let (mut head, mut last, mut taken) = (None, None, 0);
        let mut wrapped = false;
        while left > 0 {
            let mut unbounded = usize::MAX;
            let Some(start) = self.next_free(at, &mut unbounded) else {
                if wrapped {
                    // Hostile bitmap: the count of free cells was a lie. The
                    // shard is cleared, so what was taken is left.
                    return None;
                }
                wrapped = true;
                at = 0;
                continue;
            };
            // At least the one just seen, whatever the bitmap says by now.
            let cells = self.free_run(start, in_one_run(left)).max(1);
            self.mark(start, cells, true);
            self.words.store(self.cell(start), cells as u64, Relaxed);
            match last {
                None => head = Some(start),
                Some((cell, cells)) => {
                    let link = (start as u64 + 1) << 32 | cells as u64;
                    self.words.store(self.cell(cell), link, Relaxed);
                }
            }
            last = Some((start, cells));
            taken += cells;
            left = left.saturating_sub(cells * CELL_WORDS - 1);
            at = start + cells;
        }
        head.map(|head| (head, at, taken))
    }

    /// Gives back the cells of an item of so many words; returns how many.
    /// `None` if its runs are not as [`Cells::allocate`] makes them, so that the
    /// steps are those that the item's length needs.
    pub fn free(&self, first: usize, words: usize) -> Option<usize> {
        let mut left = words.max(1);
        let mut next = first % self.count + 1;
        let mut freed = 0;
        while left > 0 {
            let (cell, cells, following) = self.run(next.checked_sub(1)?);
            if cells > in_one_run(left) || self.mark(cell, cells, false) != cells {
                return None;
            }
            freed += cells;
            left = left.saturating_sub(cells * CELL_WORDS - 1);
            next = following;
        }
        (next == 0).then_some(freed)
    }

    /// In how many runs the item lies that begins at `first`: for measurements.
    pub fn runs(&self, first: usize) -> usize {
        let mut next = first + 1;
        let runs = std::iter::from_fn(|| {
            let cell = next.checked_sub(1)?;
            next = self.run(cell).2;
            Some(cell)
        });
        runs.take(self.count).count()
    }

    /// Writes key and value into the runs that begin at `first`, each from a
    /// whole word on.
    pub fn write(&self, first: usize, key: &[u8], value: &[u8]) {
        let mut cursor = self.cursor(first);
        for part in [key, value] {
            let mut rest = part;
            while !rest.is_empty() {
                let (at, bytes) = self.take(&mut cursor, rest.len());
                self.words.copy_in(at, &rest[..bytes]);
                rest = &rest[bytes..];
            }
        }
    }

    /// Whether the runs that begin at `first` begin with this key.
    #[inline]
    pub fn holds_key(&self, first: usize, key: &[u8]) -> bool {
        let mut cursor = self.cursor(first);
        let mut rest = key;
        while !rest.is_empty() {
            let (at, bytes) = self.take(&mut cursor, rest.len());
            if !self.words.holds(at, &rest[..bytes]) {
                return false;
            }
            rest = &rest[bytes..];
        }
        true
    }

    /// Copies the value behind a key of `key` bytes.
    #[inline]
    pub fn read_value(&self, first: usize, key: usize, into: &mut [u8]) {
        let mut cursor = self.cursor(first);
        let mut skip = key.div_ceil(8) * 8;
        while skip > 0 {
            skip -= self.take(&mut cursor, skip).1;
        }
        let mut rest = into;
        while !rest.is_empty() {
            let (at, bytes) = self.take(&mut cursor, rest.len());
            let (now, later) = rest.split_at_mut(bytes);
            self.words.copy_out(at, now);
            rest = later;
        }
    }

    /// Notes in `owners` which cells an entry's `words` lie in; an error if one
    /// is not marked as taken, or has another owner.
    pub fn claim(
        &self,
        first: usize,
        words: usize,
        entry: usize,
        owners: &mut [Option<usize>],
    ) -> Result<(), String> {
        let mut left = words.max(1);
        let mut next = first + 1;
        while left > 0 {
            if next == 0 || next > self.count {
                return Err(format!("entry {entry}: {left} words are missing"));
            }
            let (cell, cells, following) = self.run(next - 1);
            for (cell, owner) in owners.iter_mut().enumerate().skip(cell).take(cells) {
                let marks = self.words.load(self.bitmap + cell / 64, Relaxed);
                if marks >> (cell % 64) & 1 == 0 {
                    return Err(format!("entry {entry}: cell {cell} is marked free"));
                }
                if let Some(other) = owner.replace(entry) {
                    return Err(format!("cell {cell} belongs to {other} and {entry}"));
                }
            }
            left = left.saturating_sub(cells * CELL_WORDS - 1);
            next = following;
        }
        if next != 0 {
            return Err(format!("entry {entry} has a run too many"));
        }
        Ok(())
    }

    /// How many cells are marked as taken.
    pub fn marked(&self) -> usize {
        (0..self.count.div_ceil(64))
            .map(|word| self.words.load(self.bitmap + word, Relaxed).count_ones() as usize)
            .sum()
    }

    fn cell(&self, cell: usize) -> usize {
        self.first + cell * CELL_WORDS
    }

    /// A run, clamped: its cell, its length, the next run's cell + 1.
    #[inline]
    fn run(&self, cell: usize) -> (usize, usize, usize) {
        let cell = cell % self.count;
        let head = self.words.load(self.cell(cell), Relaxed);
        let cells = (head as u32 as usize).clamp(1, self.count - cell);
        let next = (head >> 32) as usize;
        (cell, cells, next.min(self.count))
    }

    #[inline]
    fn cursor(&self, first: usize) -> Cursor {
        let (cell, cells, next) = self.run(first);
        Cursor {
            at: self.cell(cell) + 1,
            left: cells * CELL_WORDS - 1,
            next,
        }
    }

    /// The next stretch of at most `bytes` bytes: its first word and length.
    /// Never empty; a chain that ends too early begins anew at its first cell,
    /// which only hostile words make it do.
    #[inline]
    fn take(&self, cursor: &mut Cursor, bytes: usize) -> (usize, usize) {
        if cursor.left == 0 {
            *cursor = self.cursor(cursor.next.saturating_sub(1));
        }
        let bytes = bytes.min(cursor.left * 8);
        let at = cursor.at;
        let words = bytes.div_ceil(8);
        cursor.at += words;
        cursor.left -= words;
        (at, bytes)
    }

    /// The first free cell from `at` on, looking at no more than `budget`
    /// bitmap words.
    fn next_free(&self, at: usize, budget: &mut usize) -> Option<usize> {
        let mut at = at;
        while at < self.count && *budget > 0 {
            let word = self.words.load(self.bitmap + at / 64, Relaxed);
            let free = !word & (u64::MAX << (at % 64));
            if free != 0 {
                let cell = at / 64 * 64 + free.trailing_zeros() as usize;
                return (cell < self.count).then_some(cell);
            }
            at = (at / 64 + 1) * 64;
            *budget -= 1;
        }
        None
    }

    /// How many cells from `start` on are free, at most `wanted`.
    fn free_run(&self, start: usize, wanted: usize) -> usize {
        let end = self.count.min(start + wanted);
        let mut at = start;
        while at < end {
            let taken = self.words.load(self.bitmap + at / 64, Relaxed) >> (at % 64);
            let free = (taken.trailing_zeros() as usize).min(64 - at % 64);
            at += free;
            if taken != 0 {
                break;
            }
        }
        at.min(end) - start
    }

    /// Marks cells as taken or free; returns how many changed.
    fn mark(&self, start: usize, cells: usize, taken: bool) -> usize {
        let end = start + cells;
        let (mut at, mut changed) = (start, 0);
        while at < end {
            let bits = (64 - at % 64).min(end - at);
            let mask = (u64::MAX >> (64 - bits)) << (at % 64);
            let word = self.bitmap + at / 64;
            let was = self.words.load(word, Relaxed);
            let is = if taken { was | mask } else { was & !mask };
            self.words.store(word, is, Relaxed);
            changed += (was ^ is).count_ones() as usize;
            at += bits;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Memory;
    use crate::words::Span;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn space(cells: usize) -> (Span, ShardGeometry) {
        let geometry = ShardGeometry {
            entries: 1,
            index: 2,
            cells,
        };
        let words = geometry.bitmap().next_multiple_of(CELL_WORDS) + cells * CELL_WORDS;
        let memory = Arc::new(Memory::heap(words));
        (Span::new(memory, 0, words).unwrap(), geometry)
    }

    proptest! {
        /// Items of any size come and go; each reads back whole, no two share
        /// a cell, and whenever `worst` cells are free an item fits.
        #[test]
        fn items_fit_whenever_enough_cells_are_free(
            cells in 1usize..200,
            steps in prop::collection::vec((0usize..10, 0usize..40, 0usize..1500), 1..120),
        ) {
            let (words, geometry) = space(cells);
            let cells = Cells::new(&words, 0, &geometry);
            let mut items: Vec<(usize, Vec<u8>, Vec<u8>, usize)> = Vec::new();
            let (mut hint, mut used) = (0, 0);
            for (i, (choice, key, value)) in steps.into_iter().enumerate() {
                if choice < 4 && !items.is_empty() {
                    let (first, key, value, taken) = items.swap_remove(i % items.len());
                    let words = key.len().div_ceil(8) + value.len().div_ceil(8);
                    prop_assert_eq!(cells.free(first, words), Some(taken));
                    used -= taken;
                } else {
                    let byte = |n: usize| (0..n).map(|j| (i * 31 + j) as u8).collect::<Vec<_>>();
                    let (key, value) = (byte(key), byte(value));
                    let size = key.len().div_ceil(8) + value.len().div_ceil(8);
                    let fits = worst(size.max(1)) <= geometry.cells - used;
                    match cells.allocate(hint, size) {
                        Some((first, next, taken)) => {
                            cells.write(first, &key, &value);
                            hint = next;
                            used += taken;
                            items.push((first, key, value, taken));
                        }
                        // Then the shard is cleared.
                        None => {
                            prop_assert!(!fits);
                            return Ok(());
                        }
                    }
                }
                let marked: u32 = (0..geometry.bitmap())
                    .map(|i| words.load(i, Relaxed).count_ones())
                    .sum();
                prop_assert_eq!(marked as usize, used);
                for (first, key, value, _) in &items {
                    prop_assert!(cells.holds_key(*first, key));
                    let mut back = vec![0; value.len()];
                    cells.read_value(*first, key.len(), &mut back);
                    prop_assert_eq!(&back, value);
                }
            }
        }

        /// Whatever the words hold, every call ends and stays inside.
        #[test]
        fn hostile_words_cost_time_only(noise in prop::collection::vec(any::<u64>(), 64), first: usize) {
            let (words, geometry) = space(7);
            for (i, word) in noise.iter().take(words.len()).enumerate() {
                words.store(i, *word, Relaxed);
            }
            let cells = Cells::new(&words, 0, &geometry);
            cells.read_value(first, 9, &mut [0; 300]);
            cells.holds_key(first, &[1; 100]);
            cells.allocate(first, 20);
            cells.free(first, 20);
        }
    }
}
