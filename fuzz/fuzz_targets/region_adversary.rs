//! A region in use, whose words another thread keeps changing through a mapping
//! of its own: to values that break things, and to copies of other words, so
//! that links, tags and lock words turn up where they do not belong. Nothing
//! crashes or hangs, and answers stay in their bounds.
#![no_main]

use hostile_words::drive::Script;
use hostile_words::Random;
use libfuzzer_sys::fuzz_target;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use zoo::{Zoo, BYTES, HEADER_WORDS, OBJECTS};

#[path = "../../core/tests/hostile_words/mod.rs"]
mod hostile_words;
#[path = "../../core/tests/hostile_zoo/mod.rs"]
mod zoo;

fn adversary(words: &[AtomicU64], mut random: Random, pace: u32, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        let at = match random.next() >> 20 & 7 {
            0 => random.below(HEADER_WORDS),
            _ => HEADER_WORDS + random.below(words.len() - HEADER_WORDS),
        };
        let value = match random.next() >> 20 & 1 {
            0 => random.hostile(),
            _ => words[random.below(words.len())].load(Relaxed),
        };
        // Some changes are taken back at once: what was checked is what is there.
        let was = words[at].swap(value, Relaxed);
        if random.next() >> 20 & 1 == 0 {
            words[at].store(was, Relaxed);
        }
        (0..pace).for_each(|_| std::hint::spin_loop());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let (path, file) = zoo::file();
    let zoo = Zoo::open(&path);
    // SAFETY: a new mapping at an address of the kernel's choice, of a file
    // that keeps its size until the end of this run.
    let mapping = unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(
            std::ptr::null_mut(),
            BYTES as usize,
            prot,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(mapping, libc::MAP_FAILED);
    // SAFETY: mapped until the end of this run; everybody uses atomics.
    let words =
        unsafe { std::slice::from_raw_parts(mapping.cast::<AtomicU64>(), BYTES as usize / 8) };
    let (random, pace) = (Random(script.word() | 1), u32::from(script.byte()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| adversary(words, random, pace, &stop));
        // A panic must stop it too.
        let _stopped = Stop(&stop);
        while !script.is_over() {
            if script.byte() % 16 == 0 {
                zoo.ask_region();
            } else {
                zoo.exercise(script.below(OBJECTS), &mut script);
            }
        }
    });
    // SAFETY: the mapping made above, which nobody uses any more.
    unsafe { libc::munmap(mapping, BYTES as usize) };
});

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
