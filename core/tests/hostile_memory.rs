//! Whatever a region's words hold, every call stays inside its object and ends
//! within a stated number of steps: noise, crafted words, and words that an
//! adversary changes between two steps of a call. `fuzz/` drives the same.

mod hostile_words;

use hostile_words::{drive, Random};

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
