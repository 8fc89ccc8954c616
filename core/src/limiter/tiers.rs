//! A limiter's tiers: names, and a rate for each that may change at any time.
//!
//! Names are only ever added. A rate is an immutable record; a tier points at
//! its record by one word, which also counts its changes, so a change is one
//! store and a reader that sees the same word before and after has read one
//! whole record. Records are reused in turn, long after they were left. A
//! record has room for each of several rates.

use super::options::{LimiterOptions, OnError};
use super::rate::MOST_RATES;
use super::rule::Rule;
use super::shape::Shape;
use super::window::Form;
use crate::words::Words;
use crate::{Error, Result};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many tiers a limiter can have, the default one included.
pub const TIERS: usize = 16;
/// The longest name, in bytes.
pub const TIER_NAME_BYTES: usize = 31;
const TIER_WORDS: usize = 8;
const RULES: usize = 64;
const RATE_WORDS: usize = 2;
const RULE_WORDS: usize = MOST_RATES * RATE_WORDS;

/// How often a rate that changes meanwhile is read again.
const ROUNDS: usize = 64;

const AT_COUNT: usize = 0;
const AT_CURSOR: usize = 1;
/// {unused 61, keys are shown 1, on error allow 1, disabled 1}
const AT_SWITCHES: usize = 2;
/// Words that are not for the tiers.
pub const SPARE: usize = 3;
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

const DISABLED: u64 = 1;
const ALLOW_ON_ERROR: u64 = 2;
const SHOW_KEYS: u64 = 4;

/// What may be switched at any time.
#[derive(Clone, Copy)]
pub struct Switches(u64);

impl Switches {
    /// As of now.
    #[inline(always)]
    pub fn read(words: &impl Words) -> Switches {
        Switches(words.load(AT_SWITCHES, Relaxed))
    }

    fn of(options: &LimiterOptions) -> Switches {
        let bit = |set: bool, bit| if set { bit } else { 0 };
        Switches(
            bit(!options.enabled, DISABLED)
                | bit(options.on_error == OnError::Allow, ALLOW_ON_ERROR)
                | bit(options.show_keys, SHOW_KEYS),
        )
    }

    /// Everything passes.
    #[inline(always)]
    pub fn is_disabled(self) -> bool {
        self.0 & DISABLED != 0
    }

    /// What cannot be told passes.
    pub fn allows_on_error(self) -> bool {
        self.0 & ALLOW_ON_ERROR != 0
    }

    /// Keys may be stored.
    pub fn shows_keys(self) -> bool {
        self.0 & SHOW_KEYS != 0
    }
}

/// The name of the tier that requests without one use.
pub const DEFAULT: &str = "default";

/// Writes names, rates and switches, under the creation lock; tells whether any
/// changed.
pub fn configure(words: &impl Words, shape: &Shape, options: &LimiterOptions) -> Result<bool> {
    let wanted: Result<Vec<_>> = options
        .limits()
        .map(|(name, rates)| Ok((name, shape.rules(rates)?)))
        .collect();
    let wanted = wanted?;
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
    let switches = Switches::of(options).0;
    let mut changed = words.load(AT_SWITCHES, Relaxed) != switches;
    words.store(AT_SWITCHES, switches, Relaxed);
    let forms: Vec<Form> = shape.forms().collect();
    for (name, rules) in wanted {
        let is_so = |tier: usize| {
            let mut forms = forms.iter().enumerate();
            forms.all(|(i, form)| read(words, tier, i, *form) == rules[i])
        };
        let tier = match find(words, name) {
            Some(tier) if is_so(tier) => continue,
            Some(tier) => tier,
            None => {
                let tier = count(words);
                let at = AT_TIERS + tier * TIER_WORDS;
                words.copy_in(at + TIER_NAME, name.as_bytes());
                words.store(at + TIER_LENGTH, name.len() as u64, Relaxed);
                tier
            }
        };
        set(words, tier, &rules);
        if tier == count(words) {
            // Release: publishes the name and the rates.
            words.store(AT_COUNT, tier as u64 + 1, Release);
        }
        changed = true;
    }
    Ok(changed)
}

/// Points a tier at a new record with these rules.
pub fn set(words: &impl Words, tier: usize, rules: &[Rule; MOST_RATES]) {
    let in_use: Vec<usize> = (0..count(words))
        .map(|tier| record(words, tier).1)
        .collect();
    let mut free = words.load(AT_CURSOR, Relaxed) as usize % RULES;
    while in_use.contains(&free) {
        free = (free + 1) % RULES;
    }
    for (rate, rule) in rules.iter().enumerate() {
        let at = AT_RULES + free * RULE_WORDS + rate * RATE_WORDS;
        words.store(at, rule.increment, Relaxed);
        words.store(at + 1, rule.burst, Relaxed);
    }
    words.store(AT_CURSOR, (free as u64 + 1) % RULES as u64, Relaxed);
    let pointer = AT_TIERS + tier * TIER_WORDS + TIER_RULE;
    let changes = words.load(pointer, Relaxed) >> 8;
    // Release: publishes the record.
    words.store(pointer, (changes + 1) << 8 | free as u64, Release);
}

/// The tier's pointer word and the record that it names.
#[inline]
fn record(words: &impl Words, tier: usize) -> (u64, usize) {
    let pointer = words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Acquire);
    (pointer, (pointer & 0xff) as usize % RULES)
}

/// How many tiers there are.
fn count(words: &impl Words) -> usize {
    (words.load(AT_COUNT, Acquire) as usize).min(TIERS)
}

/// The names of the tiers, in the order in which they came to be.
pub fn names(words: &impl Words) -> impl Iterator<Item = String> + '_ {
    (0..count(words)).map(|tier| {
        let at = AT_TIERS + tier * TIER_WORDS;
        let length = words.load(at + TIER_LENGTH, Relaxed) as usize;
        let mut name = [0; TIER_NAME_BYTES];
        words.copy_out(at + TIER_NAME, &mut name);
        String::from_utf8_lossy(&name[..length.min(TIER_NAME_BYTES)]).into_owned()
    })
}

/// The number of the tier of this name.
pub fn find(words: &impl Words, name: &str) -> Option<usize> {
    (0..count(words)).find(|tier| {
        let at = AT_TIERS + tier * TIER_WORDS;
        words.load(at + TIER_LENGTH, Relaxed) == name.len() as u64
            && name.len() <= TIER_NAME_BYTES
            && words.holds(at + TIER_NAME, name.as_bytes())
    })
}

/// The rule of a tier's `rate`-th rate, as of now.
#[inline]
pub fn read(words: &impl Words, tier: usize, rate: usize, form: Form) -> Rule {
    for _ in 0..ROUNDS {
        let (pointer, rule) = attempt(words, tier, rate, form);
        if words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Relaxed) == pointer {
            return rule;
        }
        // It changed under us. A change needs the creation lock and several
        // stores, so nobody can do that round after round, but by mischief.
        words.spin();
    }
    attempt(words, tier, rate, form).1
}

/// The rule of a tier's first rate, if it is a bucket with a limit and nobody
/// changes it meanwhile.
#[inline(always)]
pub fn bucket(words: &impl Words, tier: usize) -> Option<Rule> {
    let (pointer, record) = record(words, tier);
    let at = AT_RULES + record * RULE_WORDS;
    let rule = Rule::read_bucket(words.load(at, Acquire), words.load(at + 1, Acquire))?;
    (words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Relaxed) == pointer).then_some(rule)
}

/// The longest time, in ticks, that a bucket of any rate takes to refill: of
/// those in use and of the last 48 that were replaced, whose debts remain.
pub fn longest_refill(words: &impl Words, rate: usize, form: Form) -> u64 {
    let refill = |record: usize| {
        let at = AT_RULES + record * RULE_WORDS + rate * RATE_WORDS;
        Rule::from_words(form, words.load(at, Acquire), words.load(at + 1, Acquire)).tolerance()
    };
    (0..RULES).map(refill).max().unwrap_or(0)
}

#[inline(always)]
fn attempt(words: &impl Words, tier: usize, rate: usize, form: Form) -> (u64, Rule) {
    let (pointer, record) = record(words, tier);
    let at = AT_RULES + record * RULE_WORDS + rate * RATE_WORDS;
    let rule = Rule::from_words(form, words.load(at, Acquire), words.load(at + 1, Acquire));
    (pointer, rule)
}
