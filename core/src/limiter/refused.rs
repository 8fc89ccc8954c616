//! Who is refused most: a sketch of the keys, in words of the limiter's own.
//!
//! It is the Space-Saving algorithm (Metwally, Agrawal, El Abbadi, *Efficient
//! Computation of Frequent and Top-k Elements in Data Streams*, 2005) with 32
//! entries. A key that has an entry is counted there. A key that has none takes
//! the entry with the smallest count, and the count with it: so an estimate is
//! never too low, is too high by at most what was inherited, which is kept
//! beside it, and who makes more than a 32nd of all refusals has an entry.
//!
//! ```text
//!        at    32 marks   64 bits of a key's keyed hash each; 0: free
//!   at + 32    32 counts
//!   at + 64    32 overs   how much of the count was inherited at most
//!   at + 96    32 texts   of six words: a byte of length, up to 47 of the key
//! ```
//!
//! Zeros are a fresh sketch, and the parts lie apart so that looking for a key
//! reads four cache lines that seldom change. There is no lock: a mark is
//! exchanged, a count added to, an over only raised, and each of these leaves a
//! legal sketch whoever dies after it. What is lost then, or in a race, is a
//! count, or who had the entry gets one that was another's. A text can be torn,
//! late or forged: it is believed only if it hashes to the mark beside it, and
//! the next refusal of the key writes it anew.

use crate::words::{update, Words};
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// How many keys it has room for.
pub const ENTRIES: usize = 32;
/// The longest key whose text is kept: the longest IPv6 address, a UUID with a
/// prefix.
pub const TEXT_BYTES: usize = TEXT_WORDS * 8 - 1;
/// Words of a sketch. It is best begun at a cache line.
pub const WORDS: usize = TEXTS + ENTRIES * TEXT_WORDS;

const TEXT_WORDS: usize = 6;
const COUNTS: usize = ENTRIES;
const OVERS: usize = 2 * ENTRIES;
const TEXTS: usize = 3 * ENTRIES;

/// How often a newcomer tries to get an entry that others want too.
const TRIES: usize = 4;

/// Until so many refusals were counted all of them are noted.
const NOTED_ALL: u64 = 256;
/// Then one in so many, two to the power of `SAMPLE_BITS`.
const SAMPLE: u64 = 1 << SAMPLE_BITS;
const SAMPLE_BITS: u32 = 6;

/// A key that was refused often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedKey {
    /// 64 bits of the key's hash with the region's secret: the same key has the
    /// same mark in this region, and no other way leads back from it.
    pub mark: u64,
    /// How often it was refused, an estimate: not too low but for what sampling
    /// and races lose. Of a count c that was sampled, two in three are within
    /// 8·√c.
    pub count: u64,
    /// By how much the count may be too high, as keys before it had the entry.
    pub over: u64,
    /// The key's bytes, if they are kept and it has at most [`TEXT_BYTES`].
    pub key: Option<Vec<u8>>,
}

/// The key as text in which nothing can disturb a terminal or a log, or the
/// mark in 16 hexadecimal digits.
impl fmt::Display for RefusedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}", String::from_utf8_lossy(key).escape_debug()),
            None => write!(f, "{:016x}", self.mark),
        }
    }
}

/// Whether to note a refusal before which so many were counted, and with what
/// weight: each while they are few, then one of 64 in a row for all of them, so
/// that a refusal stays as cheap as a refusal is.
///
/// Which one differs from row to row: were it always the same, of two keys that
/// are refused in turn one would have all the counts.
#[inline]
pub fn sample(previous: u64) -> Option<u64> {
    if previous < NOTED_ALL {
        return Some(1);
    }
    // Multiplicative hashing by the golden ratio (Knuth, TAOCP 3, 6.4).
    let row = (previous / SAMPLE).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (row >> (u64::BITS - SAMPLE_BITS) == previous % SAMPLE).then_some(SAMPLE)
}

/// Notes that the key with this mark was refused, `weight` times. Its text is
/// kept only if it is given, and at most [`TEXT_BYTES`] long.
///
/// Takes no lock, allocates nothing, and ends within a number of steps whatever
/// the words hold. A newcomer that meets several others is not counted.
pub fn note<W: Words>(words: &W, at: usize, mark: u64, weight: u64, key: Option<&[u8]>) {
    let mark = not_zero(mark);
    for _ in 0..TRIES {
        let entry = match entries(mark).find(|e| words.load(at + e, Relaxed) == mark) {
            Some(entry) => {
                words.add(at + COUNTS + entry, weight);
                entry
            }
            None => match claim(words, at, mark, weight) {
                Some(entry) => entry,
                None => continue,
            },
        };
        if let Some(key) = key {
            keep_text(words, text_at(at, entry), key);
        }
        return;
    }
}

/// Takes the entry with the smallest count, unless another takes it meanwhile.
fn claim<W: Words>(words: &W, at: usize, mark: u64, weight: u64) -> Option<usize> {
    let (least, entry) = entries(mark)
        .map(|entry| (words.load(at + COUNTS + entry, Relaxed), entry))
        .min_by_key(|(count, _)| *count)?;
    let former = words.load(at + entry, Relaxed);
    // Counts only grow, so the larger of two overs is right for who comes last,
    // and too careful for who was there before. Raised first: who dies after
    // the exchange has then claimed no count that was not its key's.
    raise(words, at + OVERS + entry, least);
    // AcqRel, publishes the over to the Acquire in `top`.
    words.cas(at + entry, former, mark).ok()?;
    let inherited = words.add(at + COUNTS + entry, weight);
    if inherited != least {
        raise(words, at + OVERS + entry, inherited);
    }
    Some(entry)
}

fn raise<W: Words>(words: &W, index: usize, to: u64) {
    // If the attempts run out somebody hostile is at it, and nothing is owed.
    let _ = update(words, index, Relaxed, |over| (over < to).then_some(to));
}

/// Writes the key's text where it is not there yet: it may be another's, torn,
/// or of before keys were to be kept.
fn keep_text<W: Words>(words: &W, at: usize, key: &[u8]) {
    if key.len() > TEXT_BYTES {
        return;
    }
    let mut text = [0; TEXT_WORDS * 8];
    text[0] = key.len() as u8;
    text[1..=key.len()].copy_from_slice(key);
    let text = &text[..=key.len()];
    if !words.holds(at, text) {
        words.copy_in(at, text);
    }
}

/// The keys that were refused most, the most often refused one first; `rehash`
/// gives a key's mark. Allocates; no lock.
///
/// What it shows while others count is a mixture of moments.
pub fn top<W: Words>(words: &W, at: usize, rehash: impl Fn(&[u8]) -> u64) -> Vec<RefusedKey> {
    let mut found: Vec<RefusedKey> = Vec::with_capacity(ENTRIES);
    for entry in 0..ENTRIES {
        let mark = words.load(at + entry, Acquire);
        let count = words.load(at + COUNTS + entry, Relaxed);
        if mark == 0 || count == 0 {
            continue;
        }
        let over = words.load(at + OVERS + entry, Relaxed).min(count);
        let mut text = [0; TEXT_WORDS * 8];
        words.copy_out(text_at(at, entry), &mut text);
        let key = text.get(1..=usize::from(text[0]));
        let key = key.filter(|key| not_zero(rehash(key)) == mark);
        let key = key.map(<[u8]>::to_vec);
        match found.iter_mut().find(|other| other.mark == mark) {
            // Two who noted a new key at once may have taken an entry each. What
            // came before either is in both overs.
            Some(twin) => {
                let sure = (twin.count - twin.over).saturating_add(count - over);
                twin.count = sure.saturating_add(twin.over.max(over));
                twin.over = twin.count - sure;
                twin.key = twin.key.take().or(key);
            }
            None => found.push(RefusedKey {
                mark,
                count,
                over,
                key,
            }),
        }
    }
    found.sort_unstable_by_key(|key| (std::cmp::Reverse(key.count), key.mark));
    found
}

/// Forgets all counts and wipes all texts. What is noted meanwhile may be lost,
/// or stay.
pub fn clear<W: Words>(words: &W, at: usize) {
    (0..WORDS).for_each(|index| words.store(at + index, 0, Relaxed));
}

/// All entries, from one of the key's own on: several newcomers to a sketch
/// with free entries seldom want the same one.
fn entries(mark: u64) -> impl Iterator<Item = usize> {
    (0..ENTRIES).map(move |i| (mark as usize % ENTRIES + i) % ENTRIES)
}

fn text_at(at: usize, entry: usize) -> usize {
    at + TEXTS + entry * TEXT_WORDS
}

/// Zero is a free entry's mark.
fn not_zero(mark: u64) -> u64 {
    mark.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Hasher, SECRET_BYTES};
    use crate::region::Memory;
    use crate::words::Span;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    /// Where it begins in the tests: not at the words' beginning.
    const AT: usize = 8;

    fn sketch() -> Span {
        Span::new(Arc::new(Memory::heap(AT + WORDS)), 0, AT + WORDS).unwrap()
    }

    fn mark(key: &[u8]) -> u64 {
        let secret: [u8; SECRET_BYTES] = std::array::from_fn(|i| (i * 151 + 17) as u8);
        Hasher::new(secret).hash(key).tag
    }

    fn note(words: &Span, key: &[u8], weight: u64) {
        super::note(words, AT, mark(key), weight, Some(key));
    }

    fn top(words: &Span) -> Vec<RefusedKey> {
        super::top(words, AT, mark)
    }

    fn known(key: &[u8], count: u64, over: u64) -> RefusedKey {
        RefusedKey {
            mark: mark(key),
            count,
            over,
            key: Some(key.to_vec()),
        }
    }

    #[test]
    fn few_keys_are_counted_exactly_and_the_most_refused_comes_first() {
        let words = sketch();
        for turn in 1..=32u8 {
            for key in turn..=32 {
                note(&words, &[key], 2);
            }
        }
        let expected: Vec<_> = (1..=32u8)
            .rev()
            .map(|key| known(&[key], 2 * u64::from(key), 0))
            .collect();
        assert_eq!(top(&words), expected);
        // A newcomer inherits the smallest count, and says so.
        note(&words, b"new", 3);
        assert!(top(&words).contains(&known(b"new", 5, 2)));
        assert_eq!(top(&words).len(), ENTRIES);
        assert!(!top(&words).iter().any(|found| found.mark == mark(&[1])));
        (0..AT).for_each(|at| assert_eq!(words.load(at, Relaxed), 0, "before the sketch"));
    }

    #[test]
    fn a_key_is_shown_only_if_it_was_given_and_is_short_and_its_own() {
        let words = sketch();
        let long = [b'x'; TEXT_BYTES + 1];
        for key in [&b""[..], &long[..TEXT_BYTES], &long] {
            note(&words, key, 1);
        }
        super::note(&words, AT, mark(b"hidden"), 1, None);
        let shown = |key: &[u8]| {
            let of = |found: &&RefusedKey| found.mark == mark(key);
            top(&words).iter().find(of).unwrap().key.clone()
        };
        assert_eq!(shown(b""), Some(Vec::new()));
        assert_eq!(shown(&long[..TEXT_BYTES]), Some(vec![b'x'; TEXT_BYTES]));
        assert_eq!((shown(&long), shown(b"hidden")), (None, None));

        // From when on keys are to be shown they are, and what is torn or
        // another's is recognised, and mended by the key's next refusal.
        note(&words, b"hidden", 1);
        assert_eq!(shown(b"hidden"), Some(b"hidden".to_vec()));
        let entry = (0..ENTRIES)
            .find(|e| words.load(AT + e, Relaxed) == mark(b"hidden"))
            .unwrap();
        for wrong in [&b"\x06hidder"[..], b"\x05hidden", b"\x30", &[255; 48]] {
            words.copy_in(text_at(AT, entry), wrong);
            assert_eq!(shown(b"hidden"), None);
            note(&words, b"hidden", 1);
            assert_eq!(shown(b"hidden"), Some(b"hidden".to_vec()));
        }
    }

    #[test]
    fn a_key_whose_mark_is_zero_is_a_key_too() {
        let words = sketch();
        super::note(&words, AT, 0, 4, Some(b"zero"));
        let found = super::top(&words, AT, |_| 0);
        assert_eq!((found[0].count, found[0].over), (4, 0));
        assert_eq!(found[0].key.as_deref(), Some(&b"zero"[..]));
    }

    #[test]
    fn entries_of_one_key_are_told_as_one() {
        let words = sketch();
        for (entry, count, over) in [(3, 50, 10), (9, 27, 20)] {
            words.store(AT + entry, 77, Relaxed);
            words.store(AT + COUNTS + entry, count, Relaxed);
            words.store(AT + OVERS + entry, over, Relaxed);
        }
        let found = top(&words);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].count, found[0].over), (67, 20));
    }

    #[test]
    fn clear_wipes_everything() {
        let words = sketch();
        (0..100u8).for_each(|key| note(&words, &[key; 30], 1));
        clear(&words, AT);
        (0..AT + WORDS).for_each(|at| assert_eq!(words.load(at, Relaxed), 0));
        assert_eq!(top(&words), []);
        note(&words, b"again", 1);
        assert_eq!(top(&words), [known(b"again", 1, 0)]);
    }

    #[test]
    fn a_refused_key_is_printed_so_that_nothing_can_break_out() {
        let mut key = known("naïve\x1b[2J\n\"".as_bytes(), 1, 0);
        assert_eq!(key.to_string(), "naïve\\u{1b}[2J\\n\\\"");
        (key.key, key.mark) = (None, 0xbeef);
        assert_eq!(key.to_string(), "000000000000beef");
    }

    #[test]
    fn one_of_sixty_four_in_a_row_is_noted_for_all_of_them() {
        assert!((0..NOTED_ALL).all(|previous| sample(previous) == Some(1)));
        for row in NOTED_ALL / SAMPLE..10_000 {
            let noted = (0..SAMPLE).filter_map(|i| sample(row * SAMPLE + i));
            assert_eq!(noted.collect::<Vec<_>>(), [SAMPLE]);
        }
        assert!((0..SAMPLE).any(|i| sample(u64::MAX - i).is_some()));
    }

    /// Keys that are refused in turn are treated alike: within five standard
    /// errors of a sampling by chance.
    #[test]
    fn sampling_favours_none_of_several_keys_refused_in_turn() {
        const EACH: u64 = 20_000;
        let error = 5 * (SAMPLE * EACH).isqrt();
        for keys in 1..=100 {
            let mut counts = vec![0; keys as usize];
            for previous in 0..EACH * keys {
                counts[(previous % keys) as usize] += sample(previous).unwrap_or(0);
            }
            for count in counts {
                assert!(count.abs_diff(EACH) < error, "{count} of {keys} keys");
            }
        }
    }

    /// A hundred thousand keys, the n-th refused 1/n as often as the first, and
    /// sampled as a limiter does: the heaviest are found, in their order where
    /// that is clear, and no estimate is off by more than a 32nd of all and
    /// five standard errors of the sampling.
    #[test]
    fn the_heavy_are_found_among_many_with_a_stated_error() {
        const ALL: u64 = 400_000;
        const KEYS: usize = 100_000;
        let mut until = 0.0;
        let ends: Vec<f64> = (1..=KEYS)
            .map(|n| {
                until += 1.0 / n as f64;
                until
            })
            .collect();
        let words = sketch();
        let (mut random, mut real) = (88_172_645_463_325_252u64, vec![0u64; KEYS]);
        for previous in 0..ALL {
            // Marsaglia's xorshift, 2003.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let point = (random >> 11) as f64 / (1u64 << 53) as f64 * until;
            let key = ends.partition_point(|end| *end < point).min(KEYS - 1);
            real[key] += 1;
            if let Some(weight) = sample(previous) {
                note(&words, &key.to_le_bytes(), weight);
            }
        }
        let found = top(&words);
        let number = |found: &RefusedKey| {
            usize::from_le_bytes(found.key.clone().unwrap().try_into().unwrap())
        };
        let order: Vec<usize> = found.iter().map(number).collect();
        assert_eq!(order[..2], [0, 1]);
        let heavy = real.iter().filter(|n| **n > ALL / ENTRIES as u64).count();
        assert!(heavy >= 2, "only {heavy} keys above a 32nd");
        for key in 0..heavy {
            assert!(order.contains(&key), "key {key} is not among {order:?}");
        }
        for found in &found {
            let real = real[number(found)] as f64;
            let sampling = 5.0 * (SAMPLE as f64 * real.max(16.0)).sqrt();
            let (low, high) = (found.count - found.over, found.count as f64);
            assert!(low as f64 <= real + sampling, "{found:?} of {real}");
            assert!(high >= real - sampling, "{found:?} of {real}");
            let most = real + ALL as f64 / ENTRIES as f64 + sampling;
            assert!(high <= most, "{found:?} of {real}");
        }
    }

    /// Threads that note few keys lose at most a newcomer's first counts, and
    /// threads that fight for the entries show no key that nobody noted.
    #[test]
    fn threads_lose_little_and_invent_nothing() {
        let words = sketch();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..4_000u32 {
                        note(&words, &[(turn % 16) as u8], 1);
                    }
                });
            }
        });
        let found = top(&words);
        assert_eq!(found.len(), 16);
        for found in found {
            assert!((990..=1_010).contains(&found.count), "{found:?}");
            assert!(found.key.is_some_and(|key| key.len() == 1 && key[0] < 16));
        }

        let words = sketch();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let words = &words;
                scope.spawn(move || {
                    for turn in 0..20_000u32 {
                        let key = [thread, turn % 61].map(u32::to_le_bytes).concat();
                        note(words, &key.repeat(5), 1);
                        if turn % 4 == 0 {
                            note(words, b"heavy", 1);
                        }
                        if turn % 100 == 0 {
                            top(words).iter().for_each(real);
                        }
                    }
                });
            }
        });
        let found = top(&words);
        found.iter().for_each(real);
        assert_eq!(found[0].key.as_deref(), Some(&b"heavy"[..]));
        // Sums of four threads: 80,000 of 244 keys, and 20,000 of one.
        let all: u64 = found.iter().map(|found| found.count).sum();
        assert!(all <= 100_000, "{all}");
        assert!((19_000..=24_000).contains(&found[0].count), "{found:?}");
    }

    /// Whole, and one that a thread noted.
    fn real(found: &RefusedKey) {
        let Some(key) = &found.key else { return };
        let known = key == b"heavy"
            || key.len() == 40
                && key.chunks(8).all(|part| part == &key[..8])
                && key[0] < 4
                && key[4] < 61;
        assert!(known, "{found:?}");
    }

    proptest! {
        /// Alone, whatever comes in whatever order: no count is lost, each key
        /// shown was refused at least `count - over` times and at most `count`,
        /// and none above a 32nd of all is missing.
        #[test]
        fn the_bounds_of_space_saving_hold(
            refusals in prop::collection::vec((0u8..90, 1u64..50), 0..600),
        ) {
            let words = sketch();
            let mut real = HashMap::<u64, u64>::new();
            for (key, weight) in &refusals {
                note(&words, &[*key], *weight);
                *real.entry(mark(&[*key])).or_default() += weight;
            }
            let found = top(&words);
            let all: u64 = real.values().sum();
            prop_assert_eq!(found.iter().map(|found| found.count).sum::<u64>(), all);
            for found in &found {
                let count = real[&found.mark];
                prop_assert!(found.count - found.over <= count && count <= found.count);
                prop_assert!(found.over <= all / ENTRIES as u64);
            }
            for (mark, count) in real {
                if count > all / ENTRIES as u64 {
                    prop_assert!(found.iter().any(|found| found.mark == mark));
                }
            }
            prop_assert!(found.windows(2).all(|two| two[0].count >= two[1].count));
        }
    }
}
