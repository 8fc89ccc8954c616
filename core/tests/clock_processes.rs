//! The clock of two processes and their threads, which hand each other readings
//! through a shared word: how far out of order they are, and how far from the
//! kernel's clock.
#![cfg(target_os = "linux")]

mod region_support;

use forebay::internals::tsc::machine;
use forebay::Region;
use region_support::{fork, skip, wait_for, Player, Stage};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::{Duration, Instant};

/// What readings may be out of order by, but for one in a million: then the
/// processor read the counter long before an instruction ahead of it was done.
const MICROSECOND: u64 = 1_000;

#[test]
fn child() {
    if let Some((_, stage)) = Stage::of_child() {
        exchanges(&stage);
    }
}

/// Words that a forked child shares.
fn shared() -> &'static [AtomicU64; 5] {
    // SAFETY: a new page at an address of the kernel's choice, never unmapped;
    // zeros are valid.
    unsafe {
        let (mode, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        let page = libc::mmap(std::ptr::null_mut(), 4_096, mode, kind, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        &*page.cast()
    }
}

fn kernel() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Two threads in each of two processes, for two seconds.
fn exchanges(stage: &Stage) {
    let _begins = Region::private().unwrap();
    let words = shared();
    let [latest, disorder, late, distance, exchanges] = words;
    let exchange = || {
        let end = Instant::now() + Duration::from_secs(2);
        let mut last = 0;
        while Instant::now() < end {
            for _ in 0..1_000 {
                let seen = latest.load(Acquire);
                let now = machine::now();
                let by = seen.saturating_sub(now);
                disorder.fetch_max(by, Relaxed);
                if by > MICROSECOND {
                    late.fetch_add(1, Relaxed);
                }
                latest.fetch_max(now, AcqRel);
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
            let (before, now, after) = (kernel(), machine::now(), kernel());
            let off = before.saturating_sub(now).max(now.saturating_sub(after));
            distance.fetch_max(off, Relaxed);
            exchanges.fetch_add(1_000, Relaxed);
        }
    };
    let both = || {
        std::thread::scope(|scope| {
            scope.spawn(exchange);
            exchange();
        })
    };
    // Warm, so that the child inherits an anchor.
    let end = Instant::now() + Duration::from_millis(60);
    while Instant::now() < end {
        machine::now();
    }
    let child = fork(both);
    both();
    assert!(wait_for(child).success());
    let on = machine::is_on();
    let [_, disorder, late, distance, exchanges] = words.each_ref().map(|word| word.load(Relaxed));
    stage.say(format!("{on} {disorder} {late} {distance} {exchanges}"));
}

#[test]
fn readings_of_two_processes_are_in_order_to_a_microsecond() {
    let mut player = Player::start("exchanges", &[]);
    let said = player.hear();
    player.finish();
    println!(
        "counter used, worst disorder, beyond a microsecond, distance from CLOCK_BOOTTIME, \
         exchanges: {said}"
    );
    let mut told = said.split(' ');
    if told.next() != Some("true") {
        skip("clock_processes", "this machine's counter is not used");
    }
    let mut number = || told.next().unwrap().parse::<u64>().unwrap();
    let (disorder, late, distance, exchanges) = (number(), number(), number(), number());
    assert!(disorder <= 20 * MICROSECOND, "{said}");
    assert!(late <= exchanges / 1_000_000, "{said}");
    // NTP may be adjusting the kernel's clock by more than its discipline does.
    assert!(distance <= 100 * MICROSECOND, "{said}");
}
