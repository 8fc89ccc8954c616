//! Whatever a region's words hold, every call stays inside its object and ends
//! within a stated number of steps: noise, crafted words, and words that an
//! adversary changes between two steps of a call. `fuzz/` drives the same.

mod hostile_words;

use forebay::breaker::Outcome;
use forebay::internals::breaker::{self, Observer, Ticket};
use forebay::internals::cache::{New, Read, Shard, ShardGeometry};
use forebay::internals::lock::{self, Owner, Participant, Stuck};
use forebay::internals::{events, histogram, limiter, Hash};
use forebay::{EventKind, State};
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
fn permits_of_hostile_words_answer_within_their_steps() {
    run(5, 20_000);
}

/// Scripts for one driver.
fn run_one(driver: fn(&mut drive::Script<'_>, &mut drive::Most)) {
    let mut most = drive::Most::default();
    for seed in 1..=2_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let script: Vec<u8> = (0..300).map(|_| (random.next() >> 24) as u8).collect();
        driver(&mut drive::Script(&script), &mut most);
    }
    println!("most steps of a call: {most:?}");
}

#[test]
fn a_histogram_of_hostile_words_answers_within_its_steps() {
    run_one(drive::histogram);
}

#[test]
fn refused_keys_of_hostile_words_are_told_within_their_steps() {
    run_one(drive::refused_keys);
}

#[test]
fn a_header_of_hostile_words_answers_within_its_steps() {
    run(7, 4_000);
}

struct Nobody;

impl Observer for Nobody {
    fn transition(&self, _: State, _: u64) {}
    fn holder(&self) -> u64 {
        7
    }
    fn holder_is_dead(&self, _: u64) -> bool {
        false
    }
}

impl limiter::Witness for Nobody {
    fn evicting_live(&self, _: u64) {}
    fn clock(&self) -> u64 {
        0
    }
}

impl Participant for Nobody {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(1, 1))
    }
    fn is_dead(&self, _: Owner) -> bool {
        true
    }
    fn give_way(&self) {}
}

/// No exchange ever succeeds, whichever bit the adversary turns over: calls
/// that retry one give up, within the steps stated here.
#[test]
fn a_word_that_changes_before_every_exchange_ends_every_call() {
    let now = || 5_000_000_000;
    for bit in 0..64 {
        let words = Guarded::new(breaker::WORDS);
        // Five failures in a row, or half of ten calls in a second, open it.
        for (at, value) in [5, 500_000, 10, 100_000_000, 1_000, 1, 16, 1_000]
            .into_iter()
            .enumerate()
        {
            words.poke(at, value);
        }
        words.set_spite(Some(bit));
        // Closed, half-open, open since long; and forced open.
        for state in 0..4u64 {
            words.poke(8, state << 61);
            let ask = || breaker::enter(&words, now, &Nobody);
            let _ = words.within("enter", 64 * 40, ask);
            for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored] {
                for ticket in [0, 1 << 36, 2 << 36 | 7] {
                    words.poke(8, state << 61);
                    words.poke(32, 1);
                    let leave = || breaker::leave(&words, Ticket(ticket), outcome, now, &Nobody);
                    words.within("leave", 2 * 1_001 + 40, leave);
                }
            }
        }

        let words = Guarded::new(histogram::WORDS);
        words.set_spite(Some(bit));
        words.within("record", 2 * 1_001 + 2, || histogram::record(&words, 77));

        let words = Guarded::new(limiter::refused::WORDS);
        words.set_spite(Some(bit));
        let note = || limiter::refused::note(&words, 0, 7, 1, Some(b"key"));
        words.within("note", 4 * (128 + 4_002), note);

        let words = Guarded::new(64 * limiter::SLOT_WORDS);
        let table = limiter::Table {
            at: 0,
            slots: 64,
            group: limiter::GROUP,
            on_full: limiter::OnFull::Lenient,
            form: limiter::Form::Bucket,
        };
        let rule = limiter::Rule::bucket(1 << 40, 3);
        let hash = Hash {
            place: 1,
            tag: 1 << 21,
        };
        let group = table.group(hash);
        let (at, tick) = (2 * 8, 1 << 40);
        for (time, label) in [(0, 0), (2 << 20, 1 << 21 | 2), (1 << 42, 1 << 21 | 1)] {
            words.set_spite(None);
            words.poke(at, time);
            words.poke(at + 1, label);
            words.set_spite(Some(bit));
            let charge = || table.charge(&words, &group, &rule, tick, 1 << 44, &Nobody);
            let (answer, _) = words.within("charge", 64 * 128, charge);
            let admitted = matches!(answer, limiter::Answer::Admitted(_));
            assert!(!admitted, "bit {bit}");
            words.within("reset", 64 * 64, || table.reset(&words, &group, 1));
            words.within("put right", 40, || table.put_right(&words, &group, 0));
        }

        let words = Guarded::new(forebay::region::HEADER_BYTES as usize / 8);
        words.set_spite(Some(bit));
        for at in [11, 12] {
            let take = || lock::lock(&words, at, &Nobody, true, &Stuck::default());
            assert_eq!(words.within("lock", 1_000, take).0, None);
        }
        let write = || events::write(&words, &Nobody, 1, EventKind::CacheCleared, 1, 1);
        assert!(!words.within("event", 1_000, write).0);
    }
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
