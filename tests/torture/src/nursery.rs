//! A nursery: forks children that work on the region, and kills each after a
//! random while, over and over. Some it stops on the way, some it stops until
//! one holds a lock. It has one thread, and takes no part itself.

use crate::log::{order, state, Log, CAPACITY, COUNTS};
use crate::player::Player;
use crate::random::Random;
use crate::sys::{self, Fate, Forked};
use crate::world::{Objects, Outside, LOCKS};
use anyhow::{bail, Context, Result};
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use crate::steady::Part;

/// What a nursery counts, from [`COUNTS`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Children killed while they ran.
    Killed,
    /// Of all killed: those that died with a lock.
    KilledInLock,
    /// Children stopped and resumed.
    Stopped,
    /// Of them: those that held a lock meanwhile.
    StoppedInLock,
    /// Children killed while they were stopped.
    KilledStopped,
}

impl Count {
    /// All.
    pub const ALL: [Count; 5] = [
        Count::Killed,
        Count::KilledInLock,
        Count::Stopped,
        Count::StoppedInLock,
        Count::KilledStopped,
    ];

    /// Reads it from a nursery's log.
    pub fn read(self, log: &Log) -> u64 {
        log.header(COUNTS + self as usize).load(Acquire)
    }

    fn add(self, log: &Log) {
        log.header(COUNTS + self as usize).fetch_add(1, Relaxed);
    }
}

/// Where nurseries note which death in a lock was counted last.
pub fn ledger_of(region: &str) -> String {
    format!("{region}.ledger")
}

/// Room that a log must have for another child.
pub const ROOM: usize = CAPACITY / 8;

/// Kills until it is told to end. With `inherit`, children use the handles that
/// the nursery opened before it forked; else each opens the region itself.
pub fn raise(part: &Part, inherit: bool) -> Result<()> {
    sys::sleep_exactly();
    let log = Log::open(Path::new(&part.log))?;
    let ledger = Log::open(Path::new(&ledger_of(&part.region)))?;
    let outside = Outside::look(&part.region)?;
    let objects = match inherit {
        true => Some(Objects::attach(&part.region)?),
        false => None,
    };
    let mut random = Random::new(part.seed, u64::from(part.who));
    let mut who = part.who;
    loop {
        match log.order() {
            (order::QUIT, _) => return Ok(()),
            (order::RUN, round) if log.len() + ROOM < CAPACITY => log.say(state::RUNNING, round),
            (_, round) => {
                log.say(state::RESTING, round);
                std::thread::sleep(Duration::from_micros(500));
                continue;
            }
        }
        who = who
            .checked_add(1)
            .context("a nursery's names are used up")?;
        let attach_only = random.one_in(2);
        let child = Forked::run(|| live(part, &log, objects.as_ref(), attach_only, who))?;
        end(child, &log, &ledger, &outside, &mut random)?;
    }
}

/// A child: works until it is killed.
fn live(part: &Part, log: &Log, inherited: Option<&Objects>, attach_only: bool, who: u32) -> i32 {
    let own;
    let objects = match inherited {
        Some(objects) => objects,
        None => {
            let opened = match attach_only {
                true => Objects::attach(&part.region),
                false => Objects::create(&part.region),
            };
            match opened {
                Ok(objects) => {
                    own = objects;
                    &own
                }
                Err(error) => {
                    eprintln!("a child cannot open the region: {error}");
                    return 1;
                }
            }
        }
    };
    let evidence = format!("{}.wrong", part.log);
    let mut player = Player::new(objects, log, evidence.into(), part.seed, who);
    while log.has_room() {
        player.step();
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Lets a child live for a while and kills it, one way or another.
fn end(
    child: Forked,
    log: &Log,
    ledger: &Log,
    outside: &Outside,
    random: &mut Random,
) -> Result<()> {
    sys::sleep_ns(random.by_octave(30_000, 4_000_000));
    let (mut held, mut stopped) = ([0; LOCKS], false);
    match random.below(100) {
        // At any instruction, without a warning.
        0..50 => {}
        // The same, but first see what it holds.
        50..85 => {
            stopped = child.stop()?;
            held = outside.locks();
        }
        // Stopped for a while, then on for a while.
        85..93 => {
            if child.stop()? {
                let before = outside.locks();
                sys::sleep_ns(random.by_octave(100_000, 20_000_000));
                note_stop(log, outside, before);
                child.go_on()?;
                sys::sleep_ns(random.by_octave(30_000, 1_000_000));
            }
        }
        // Stopped again and again until somebody stopped holds a lock.
        _ => {
            for _ in 0..60 {
                if !child.stop()? {
                    break;
                }
                let before = outside.locks();
                sys::sleep_ns(100_000);
                if unchanged(before, outside.locks()) {
                    sys::sleep_ns(random.by_octave(1_000_000, 30_000_000));
                    note_stop(log, outside, before);
                    if random.one_in(2) {
                        stopped = true;
                        held = before;
                        break;
                    }
                    child.go_on()?;
                    sys::sleep_ns(random.by_octave(30_000, 1_000_000));
                    break;
                }
                child.go_on()?;
                sys::sleep_ns(random.by_octave(1_000, 50_000));
            }
        }
    }
    match child.kill()? {
        Fate::Killed(libc::SIGKILL) => {}
        other => bail!("a child ended by itself: {other:?}"),
    }
    let count = if stopped {
        Count::KilledStopped
    } else {
        Count::Killed
    };
    count.add(log);
    // Its words stand until somebody takes over: often there is time to look.
    let held = if stopped { held } else { outside.locks() };
    for (number, lock) in held.into_iter().enumerate() {
        if outside.names_the_dead(lock) {
            // Another nursery may have seen it first.
            let counted = ledger.header(COUNTS + number).swap(lock, AcqRel);
            if counted != lock {
                Count::KilledInLock.add(log);
            }
        }
    }
    Ok(())
}

fn unchanged(before: [u64; LOCKS], after: [u64; LOCKS]) -> bool {
    before
        .iter()
        .zip(after)
        .any(|(one, other)| *one != 0 && *one == other)
}

fn note_stop(log: &Log, outside: &Outside, before: [u64; LOCKS]) {
    Count::Stopped.add(log);
    if unchanged(before, outside.locks()) {
        Count::StoppedInLock.add(log);
    }
}
