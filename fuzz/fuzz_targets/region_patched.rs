//! A region in use, of which words are overwritten between verbs: in one
//! object, then no other object's words change and all others work as ever; or
//! anywhere, the header and the directory included, then nothing crashes or
//! hangs and answers stay in their bounds.
#![no_main]

use forebay::{CacheOptions, LimiterOptions, Rate};
use hostile_words::drive::Script;
use libfuzzer_sys::fuzz_target;
use std::os::unix::fs::FileExt;
use zoo::{Zoo, BYTES, DIRECTORY, HEADER_WORDS, OBJECTS};

#[path = "../../core/tests/hostile_words/mod.rs"]
mod hostile_words;
mod zoo;

/// Where to patch in words `from` to `to`: often near the beginning, where an
/// object keeps what it is.
fn somewhere(script: &mut Script<'_>, from: usize, to: usize) -> usize {
    let length = to - from;
    from + match script.byte() % 4 {
        0 | 1 => script.below(length.min(96)),
        2 => script.below(length.min(1024)),
        _ => script.below(length),
    }
}

fn in_one_object(script: &mut Script<'_>) {
    let (path, file) = zoo::file();
    let zoo = Zoo::open(&path);
    let victim = script.below(OBJECTS);
    let (from, to) = zoo::zone(&file, victim);
    let read = || {
        let mut bytes = vec![0; BYTES as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = read();
    while !script.is_over() {
        if script.byte() % 3 == 0 {
            zoo::poke(&file, somewhere(script, from, to), script.hostile());
        } else {
            zoo.exercise(victim, script);
        }
    }
    let after = read();
    let others = [HEADER_WORDS * 8..from * 8, to * 8..BYTES as usize];
    for range in others {
        assert!(
            before[range.clone()] == after[range],
            "object {victim} wrote outside"
        );
    }
    zoo.ask_region();
    for other in (0..OBJECTS).filter(|&other| other != victim) {
        zoo.check_sound(other);
    }
}

fn anywhere(script: &mut Script<'_>) {
    let (path, file) = zoo::file();
    let zoo = Zoo::open(&path);
    // Opening waits for a creator, who may be forged: once is enough.
    let mut opened = false;
    while !script.is_over() {
        match script.byte() % 8 {
            0 | 1 => {
                let at = match script.byte() % 4 {
                    0 => somewhere(script, 10, 16),
                    1 => somewhere(script, DIRECTORY, HEADER_WORDS),
                    2 => somewhere(script, HEADER_WORDS, BYTES as usize / 8),
                    _ => script.below(BYTES as usize / 8),
                };
                zoo::poke(&file, at, script.hostile());
            }
            2 => zoo.ask_region(),
            3 if !opened => {
                opened = true;
                match script.byte() % 4 {
                    0 => drop(
                        zoo.region
                            .cache("cache one", CacheOptions::new().bytes(40 << 10)),
                    ),
                    1 => drop(zoo.region.cache("cache two", None)),
                    2 => {
                        let options = LimiterOptions::new(Rate::per_second(3));
                        drop(zoo.region.limiter("limiter one", options.max_keys(24)));
                    }
                    _ => drop(zoo.region.histogram("another", None)),
                }
            }
            _ => zoo.exercise(script.below(OBJECTS), script),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    match script.byte() % 2 {
        0 => in_one_object(&mut script),
        _ => anywhere(&mut script),
    }
});
