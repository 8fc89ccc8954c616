//! A flood: who asks, when, and what they get. Time is counted, not read, and
//! keys come from a seed, so that every run is the same.

use crate::policies::Policy;
use forebay::internals::limiter::{Rule, TICKS};
use forebay::internals::Hash;

/// Ticks of a second.
pub const SECOND: u64 = 1_000_000_000 * TICKS;

/// Keys that were drained, or blocked, before the flood, and ask again now and
/// then for as much as they get.
pub const TARGETS: u64 = 100;
/// Honest keys that ask at half of what their rate allows.
const REGULARS: u64 = 1_000;
/// Honest keys a second that ask for one token and never again.
const NEWCOMERS: u64 = 100;

/// What newcomers and regulars spend a second.
pub fn others_a_second(rule: &Rule) -> u64 {
    NEWCOMERS + REGULARS * SECOND / (2 * rule.increment)
}

/// One flood.
#[derive(Clone, Copy)]
pub struct World {
    /// Everybody's rate.
    pub rule: Rule,
    /// How long it lasts.
    pub seconds: u64,
    /// Keys of the flood, each new, each asking once.
    pub keys_a_second: u64,
    /// What each of them asks for.
    pub tokens: u64,
    /// Whether they all lie where the first target does.
    pub colliding: bool,
    /// Seconds between two attempts of a target.
    pub pause: u64,
    /// Whether the targets are blocked all the time, instead of drained.
    pub blocked: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Tokens that each target got, a first burst included.
    pub tokens: Vec<u64>,
    /// Live evictions of each target's bucket.
    pub evictions: Vec<u64>,
    /// Live buckets evicted for newcomers that started afresh.
    pub evicted: u64,
    /// Honest newcomers, and those of them that were admitted.
    pub newcomers: Share,
    /// What honest regulars asked for, and got.
    pub regulars: Share,
    /// Ticks that the first block to be found ended still had to go, and how
    /// many were.
    pub block_left: u64,
    pub blocks_lost: usize,
}

/// So many of so many.
#[derive(Clone, Copy, Default)]
pub struct Share {
    of: u64,
    had: u64,
}

impl Share {
    fn add(&mut self, had: bool) {
        self.of += 1;
        self.had += u64::from(had);
    }

    /// In per cent.
    pub fn percent(self) -> String {
        format!("{:.1} %", 100.0 * self.had as f64 / self.of as f64)
    }
}

/// Kinds of keys, so that none is in two.
const FLOOD: u64 = 0;
const TARGET: u64 = 1 << 60;
const NEWCOMER: u64 = 2 << 60;
const REGULAR: u64 = 3 << 60;

impl World {
    /// What one key may have in this time: burst + rate × time.
    pub fn bound(&self) -> u64 {
        self.rule.burst + self.seconds * SECOND / self.rule.increment
    }

    /// Runs it.
    ///
    /// # Panics
    /// If a target was given more than [`World::bound`] and a burst for each
    /// of its live evictions.
    pub fn run(&self, mut policy: impl Policy) -> Outcome {
        let mut outcome = Outcome {
            tokens: vec![0; TARGETS as usize],
            ..Outcome::default()
        };
        let end = SECOND + self.seconds * SECOND;
        if self.blocked {
            (0..TARGETS).for_each(|i| policy.block(hash(TARGET | i), end, SECOND));
        } else {
            self.targets_ask(&mut policy, SECOND, &mut outcome);
        }
        // The flood, newcomers, regulars and targets: how often, and when next.
        let every = [
            SECOND / self.keys_a_second,
            SECOND / NEWCOMERS,
            2 * self.rule.increment / REGULARS,
            self.pause * SECOND,
        ];
        let mut next = every.map(|every| SECOND + every);
        let mut came = [0; 4];
        loop {
            let who = (0..4).min_by_key(|&who| next[who]).expect("there are four");
            let now = next[who];
            if now > end || (self.blocked && now == end) {
                break;
            }
            let i = came[who];
            came[who] += 1;
            next[who] += every[who];
            match who {
                0 => {
                    policy.take(self.flooding(i), self.tokens, now);
                }
                1 => {
                    let had = policy.take(hash(NEWCOMER | i), 1, now);
                    outcome.newcomers.add(had);
                }
                2 => {
                    let had = policy.take(hash(REGULAR | (i % REGULARS)), 1, now);
                    outcome.regulars.add(had);
                }
                _ => self.targets_ask(&mut policy, now, &mut outcome),
            }
        }
        for (i, &tokens) in (0..).zip(&outcome.tokens) {
            let evictions = policy.evicted_of(hash(TARGET | i));
            outcome.evictions.push(evictions);
            assert!(self.blocked || tokens <= self.bound() + self.rule.burst * evictions);
        }
        outcome.evicted = policy.evicted();
        outcome
    }

    fn targets_ask(&self, policy: &mut impl Policy, now: u64, outcome: &mut Outcome) {
        let mut lost = 0;
        for i in 0..TARGETS {
            let key = hash(TARGET | i);
            if policy.is_blocked(key, now) {
                continue;
            }
            lost += 1;
            while policy.take(key, 1, now) {
                outcome.tokens[i as usize] += 1;
            }
        }
        if self.blocked && lost > 0 {
            let end = SECOND + self.seconds * SECOND;
            outcome.block_left = outcome.block_left.max(end - now);
            outcome.blocks_lost = outcome.blocks_lost.max(lost);
        }
    }

    fn flooding(&self, i: u64) -> Hash {
        let found = hash(FLOOD | i);
        let place = match self.colliding {
            true => hash(TARGET).place,
            false => found.place,
        };
        Hash { place, ..found }
    }
}

/// Where a key lies: nobody who chooses keys knows.
fn hash(key: u64) -> Hash {
    let place = mix(key);
    Hash {
        place,
        tag: mix(place ^ key),
    }
}

/// A number with all its bits mixed (SplitMix64: Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
