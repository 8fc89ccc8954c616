//! Whatever a region's words hold, every call stays inside its object and ends
//! within a stated number of steps: noise, crafted words, and words that an
//! adversary changes between two steps of a call. `fuzz/` drives the same.

mod hostile_words;

use forebay::internals::cache::{New, Read, Shard, ShardGeometry};
use forebay::internals::Hash;
use hostile_words::{drive, Guarded, Random};

/// Scripts for each of the four drivers, from one seed each.
fn run(driver: u8, scripts: u64) -> drive::Most {
    let mut most = drive::Most::default();
    for seed in 1..=scripts {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let length = 32 + random.below(600);
        let mut script: Vec<u8> = (0..length).map(|_| (random.next() >> 24) as u8).collect();
        script[0] = driver;
        drive::all(&script, &mut most);
    }
    println!("most steps of a call: {most:?}");
    most
}

#[test]
fn a_shard_of_hostile_words_answers_within_its_steps() {
    run(0, 20_000);
}

#[test]
fn a_table_of_hostile_words_answers_within_its_steps() {
    run(4, 20_000);
}

#[test]
fn a_breaker_of_hostile_words_answers_within_its_steps() {
    run(6, 20_000);
}

#[test]
fn a_header_of_hostile_words_answers_within_its_steps() {
    run(7, 4_000);
}

/// Noise hardly ever makes a record that is believed but for its length.
#[test]
fn a_value_is_no_longer_than_the_largest_item_whatever_its_record_says() {
    const SHARD: usize = 8;
    // The shard's fixed part and stamps, the index, and the record's sizes, as
    // docs/layout.md draws them.
    const SIZES: usize = SHARD + 64 + 8 + 5;
    let geometry = ShardGeometry {
        entries: 4,
        index: 8,
        cells: 64,
    };
    let words = Guarded::new(SHARD + geometry.words());
    let shard = Shard {
        words: &words,
        at: SHARD,
        geometry: &geometry,
        cleared: 0,
    };
    let (key, hash) = ([7; 8], Hash { place: 0, tag: 7 });
    let new = New {
        key: &key,
        hash,
        value: &[1; 100],
        codec: 0,
        now: 0,
        expires: 0,
    };
    assert_eq!(shard.set(&new), Ok(()));
    let largest = geometry.largest_item();
    assert_eq!(words.peek(SIZES), 100 << 32 | 8 << 16);
    for length in [largest as u64 + 1, 1 << 16, 1 << 31, u64::from(u32::MAX)] {
        words.poke(SIZES, length << 32 | 8 << 16);
        let (read, _) = words.within("read", 2 * largest as u64 / 8 + 160, || {
            shard.read(
                &key,
                hash,
                || 0,
                |shard, found| {
                    assert_eq!(found.length, largest, "of {length}");
                    shard.copy_value(found, &mut vec![0; found.length]);
                },
            )
        });
        assert!(matches!(read, Read::Hit(_)), "a record that is believed");
    }
}
