//! A worker in Rust that lives long: it works, rests when told to or when its
//! log is full, and ends when told to. The workers in other languages are its
//! like: `worker.cpp`, `worker.py`, `worker.mjs`.

use crate::log::{order, state, Log};
use crate::player::Player;
use crate::random::Random;
use crate::sys;
use crate::world::Objects;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// What every long-lived worker is told on its command line.
pub struct Part {
    /// The region's path.
    pub region: String,
    /// Its log's path.
    pub log: String,
    /// The upper half of its values' ids.
    pub who: u32,
    /// Its seed.
    pub seed: u64,
}

/// Works until it is told to end.
pub fn work(part: &Part) -> Result<()> {
    sys::sleep_exactly();
    let log = Log::open(Path::new(&part.log))?;
    let objects = Objects::create(&part.region)?;
    let mut random = Random::new(part.seed, u64::from(part.who) << 1 | 1);
    let evidence = format!("{}.wrong", part.log);
    let mut player = Player::new(&objects, &log, evidence.into(), part.seed, part.who);
    loop {
        match log.order() {
            (order::QUIT, _) => return Ok(()),
            (order::RUN, round) if log.has_room() => log.say(state::RUNNING, round),
            (_, round) => {
                log.say(state::RESTING, round);
                std::thread::sleep(Duration::from_micros(500));
                continue;
            }
        }
        for _ in 0..1 + random.below(200) {
            if log.has_room() {
                player.step();
            }
        }
        if log.has_room() && random.one_in(2000) {
            player.clear();
        }
        sys::sleep_ns(random.below(300_000));
    }
}
