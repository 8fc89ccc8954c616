//! A valid region in a file, used by every verb while somebody else writes to
//! it: between calls, by a script, and during calls, from another thread.
//! `fuzz/` drives the same for as long as it is given.

mod hostile_words;
mod hostile_zoo;

use hostile_words::drive::Script;
use hostile_words::Random;
use hostile_zoo::{self as zoo, Zoo, BYTES, HEADER_WORDS, OBJECTS};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;

/// There is one file, and all tests here use it.
static FILE: Mutex<()> = Mutex::new(());

fn script(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..length).map(|_| (random.next() >> 24) as u8).collect()
}

#[test]
fn one_objects_words_overwritten_between_calls_harm_no_other_object() {
    let _file = FILE.lock().unwrap_or_else(|e| e.into_inner());
    for seed in 1..=400 {
        let mut script = script(seed, 600);
        script[0] = 0;
        zoo::patched(&script);
    }
}

#[test]
fn any_words_overwritten_between_calls_crash_and_hang_nobody() {
    let _file = FILE.lock().unwrap_or_else(|e| e.into_inner());
    for seed in 1..=400 {
        let mut script = script(seed, 600);
        script[0] = 1;
        zoo::patched(&script);
    }
}

#[test]
fn words_that_a_thread_keeps_changing_crash_and_hang_nobody() {
    let _file = FILE.lock().unwrap_or_else(|e| e.into_inner());
    for seed in 1..=40 {
        let (path, file) = zoo::file();
        let zoo = Zoo::open(&path);
        let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
        // A panic must stop it too.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        std::thread::scope(|scope| {
            let adversary = scope.spawn(|| {
                let mut random = Random(seed);
                while !stop.load(Relaxed) {
                    let at = match random.next() >> 20 & 7 {
                        0 => random.below(HEADER_WORDS),
                        _ => random.below(BYTES as usize / 8),
                    };
                    let value = match random.next() >> 20 & 1 {
                        0 => random.hostile(),
                        // A copy of another word, so that links, tags and lock
                        // words turn up where they do not belong.
                        _ => {
                            let mut bytes = [0; 8];
                            let from = random.below(BYTES as usize / 8) as u64 * 8;
                            file.read_exact_at(&mut bytes, from).unwrap();
                            u64::from_ne_bytes(bytes)
                        }
                    };
                    zoo::poke(&file, at, value);
                    changes.fetch_add(1, Relaxed);
                }
            });
            let _stopped = Stop(&stop);
            let bytes = script(seed, 4_000);
            let mut script = Script(&bytes);
            for verb in 0.. {
                if script.is_over() {
                    break;
                }
                let before = changes.load(Relaxed);
                if script.byte().is_multiple_of(16) {
                    zoo.ask_region();
                } else {
                    zoo.exercise(script.below(OBJECTS), &mut script);
                }
                // On a busy machine nothing would be changed meanwhile.
                while verb % 64 == 0 && changes.load(Relaxed) == before && !adversary.is_finished()
                {
                    std::thread::yield_now();
                }
            }
        });
    }
}
