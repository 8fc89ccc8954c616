//! A limiter's tiers: names, and a rate for each that may change at any time.
//!
//! Names are only ever added. A rate is an immutable record; a tier points at
//! its record by one word, which also counts its changes, so a change is one
//! store and a reader that sees the same word before and after has read one
//! whole record. Records are reused in turn, long after they were left.

use super::rule::Rule;
use super::LimiterOptions;
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many tiers a limiter can have, the default one included.
pub const TIERS: usize = 16;
/// The longest name, in bytes.
pub const TIER_NAME_BYTES: usize = 31;
const TIER_WORDS: usize = 8;
const RULES: usize = 64;
const RULE_WORDS: usize = 2;

/// How often a rate that changes meanwhile is read again.
const ROUNDS: usize = 64;

const AT_COUNT: usize = 0;
const AT_CURSOR: usize = 1;
/// Words that are not for the tiers.
pub const SPARE: usize = 2;
const AT_TIERS: usize = 8;
const AT_RULES: usize = AT_TIERS + TIERS * TIER_WORDS;
/// Words that the tiers take, from the beginning of a limiter.
pub const WORDS: usize = AT_RULES + RULES * RULE_WORDS;

/// Within a tier: {changes 56, rule 8}.
const TIER_RULE: usize = 0;
/// Within a tier: the name's length, then the name.
const TIER_LENGTH: usize = 1;
const TIER_NAME: usize = 2;

const _: () = assert!(TIER_NAME * 8 + TIER_NAME_BYTES < TIER_WORDS * 8);
// A record is reused only after all others: none that a tier points at.
const _: () = assert!(RULES > 2 * TIERS && RULES <= 256);

/// The name of the tier that requests without one use.
pub const DEFAULT: &str = "default";

/// Writes names and rates, under the creation lock; tells whether any changed.
pub fn configure(words: &Span, options: &LimiterOptions) -> Result<bool> {
    let mut wanted = vec![(DEFAULT, Rule::new(options.rate)?)];
    for (name, rate) in &options.tiers {
        wanted.push((name, Rule::new(*rate)?));
    }
    let new = wanted
        .iter()
        .filter(|(name, _)| find(words, name).is_none());
    let total = count(words) + new.count();
    if total > TIERS {
        return Err(Error::invalid(
            "tiers",
            format_args!("{total} with those that exist"),
            format_args!("at most {TIERS}, the default included"),
        ));
    }
    let mut changed = false;
    for (name, rule) in wanted {
        let tier = match find(words, name) {
            Some(tier) if read(words, tier) == rule => continue,
            Some(tier) => tier,
            None => {
                let tier = count(words);
                let at = AT_TIERS + tier * TIER_WORDS;
                words.copy_in(at + TIER_NAME, name.as_bytes());
                words.store(at + TIER_LENGTH, name.len() as u64, Relaxed);
                tier
            }
        };
        set(words, tier, rule);
        if tier == count(words) {
            // Release: publishes the name and the rate.
            words.store(AT_COUNT, tier as u64 + 1, Release);
        }
        changed = true;
    }
    Ok(changed)
}

fn set(words: &Span, tier: usize, rule: Rule) {
    let in_use: Vec<usize> = (0..count(words))
        .map(|tier| record(words, tier).1)
        .collect();
    let mut free = words.load(AT_CURSOR, Relaxed) as usize % RULES;
    while in_use.contains(&free) {
        free = (free + 1) % RULES;
    }
    let at = AT_RULES + free * RULE_WORDS;
    words.store(at, rule.increment, Relaxed);
    words.store(at + 1, rule.burst, Relaxed);
    words.store(AT_CURSOR, (free as u64 + 1) % RULES as u64, Relaxed);
    let pointer = AT_TIERS + tier * TIER_WORDS + TIER_RULE;
    let changes = words.load(pointer, Relaxed) >> 8;
    // Release: publishes the record.
    words.store(pointer, (changes + 1) << 8 | free as u64, Release);
}

/// The tier's pointer word and the record that it names.
#[inline]
fn record(words: &Span, tier: usize) -> (u64, usize) {
    let pointer = words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Acquire);
    (pointer, (pointer & 0xff) as usize % RULES)
}

/// How many tiers there are.
fn count(words: &Span) -> usize {
    (words.load(AT_COUNT, Acquire) as usize).min(TIERS)
}

/// The number of the tier of this name.
pub fn find(words: &Span, name: &str) -> Option<usize> {
    (0..count(words)).find(|tier| {
        let at = AT_TIERS + tier * TIER_WORDS;
        words.load(at + TIER_LENGTH, Relaxed) == name.len() as u64
            && name.len() <= TIER_NAME_BYTES
            && words.holds(at + TIER_NAME, name.as_bytes())
    })
}

/// The rate of a tier, as of now.
#[inline]
pub fn read(words: &Span, tier: usize) -> Rule {
    for _ in 0..ROUNDS {
        let (pointer, rule) = attempt(words, tier);
        if words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Relaxed) == pointer {
            return rule;
        }
        // It changed under us. A change needs the creation lock and several
        // stores, so nobody can do that round after round, but by mischief.
        words.spin();
    }
    attempt(words, tier).1
}

/// The longest time, in ticks, that a bucket of any rate takes to refill: of
/// those in use and of the last 48 that were replaced, whose debts remain.
pub fn longest_refill(words: &Span) -> u64 {
    let refill = |record: usize| {
        let at = AT_RULES + record * RULE_WORDS;
        Rule::from_words(words.load(at, Acquire), words.load(at + 1, Acquire)).tolerance()
    };
    (0..RULES).map(refill).max().unwrap_or(0)
}

fn attempt(words: &Span, tier: usize) -> (u64, Rule) {
    let (pointer, record) = record(words, tier);
    let at = AT_RULES + record * RULE_WORDS;
    let rule = Rule::from_words(words.load(at, Acquire), words.load(at + 1, Acquire));
    (pointer, rule)
}
