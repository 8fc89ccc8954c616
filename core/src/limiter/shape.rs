//! What a limiter's memory looks like, which is settled when it is created: how
//! many slots, of which form, for how many rates.

use super::options::{Algorithm, LimiterOptions, OnFull};
use super::rate::{Rate, Rates, MOST_RATES};
use super::rule::Rule;
use super::table::{Table, GROUP, SLOT_WORDS};
use super::window::{Form, Slices};
use super::AT_TABLES;
use crate::region::Geometry;
use crate::{Error, Result};

pub const DEFAULT_MAX_KEYS: u64 = 65_536;

/// Within the geometry.
const SLOTS: usize = 0;
/// {algorithm 8, on_full 8, rates 8, max_keys 32}
const KIND: usize = 1;
/// For each rate: {nanoseconds of the window 56, bits of a count 8}, if it slides.
const WINDOWS: usize = 2;
const LONGEST_WINDOW: u128 = 1 << 56;

/// What a limiter's memory looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    slots: u64,
    max_keys: u64,
    on_full: OnFull,
    algorithm: Algorithm,
    /// For each rate, what its words say; `None` where there is no rate.
    forms: [Option<Form>; MOST_RATES],
    windows: [u64; MOST_RATES],
}

impl Shape {
    /// For a limiter that these options create.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn wanted(options: &LimiterOptions) -> Result<Shape> {
        options.check()?;
        let max_keys = options.max_keys.unwrap_or(DEFAULT_MAX_KEYS);
        let algorithm = options.algorithm.unwrap_or(Algorithm::Bucket);
        let mut windows = [0; MOST_RATES];
        let mut rates = 0;
        for (place, window) in windows.iter_mut().enumerate() {
            let here = || {
                let tiers = options.limits();
                tiers.filter_map(move |(_, rates)| rates.as_slice().get(place))
            };
            rates += usize::from(here().next().is_some());
            if algorithm == Algorithm::Sliding {
                *window = cut(here().filter(|rate| !rate.is_unlimited()))?;
            }
        }
        let on_full = options.on_full.unwrap_or(OnFull::Lenient);
        let geometry = Shape::pack(max_keys, on_full, algorithm, rates, windows);
        let shape = Shape::read(&geometry).expect("checked options");
        for (_, rates) in options.limits() {
            shape.rules(rates)?;
        }
        Ok(shape)
    }

    fn pack(
        max_keys: u64,
        on_full: OnFull,
        algorithm: Algorithm,
        rates: usize,
        windows: [u64; MOST_RATES],
    ) -> Geometry {
        let kind = (algorithm as u64) << 48 | (on_full as u64) << 40 | (rates as u64) << 32;
        let mut geometry = [slots_for(max_keys), kind | max_keys, 0, 0, 0, 0];
        geometry[WINDOWS..].copy_from_slice(&windows);
        geometry
    }

    /// The geometry that says so.
    pub fn geometry(&self) -> Geometry {
        let rates = self.forms().count();
        Shape::pack(
            self.max_keys,
            self.on_full,
            self.algorithm,
            rates,
            self.windows,
        )
    }

    /// What a geometry says, if it makes sense.
    pub fn read(geometry: &Geometry) -> Option<Shape> {
        let slots = geometry[SLOTS];
        let byte = |at: u32| (geometry[KIND] >> at & 0xff) as usize;
        let algorithm = *Algorithm::ALL.get(byte(48))?;
        let on_full = *OnFull::ALL.get(byte(40))?;
        let rates = byte(32);
        let is_table = slots.is_power_of_two() && slots >= GROUP as u64;
        if !is_table || rates == 0 || rates > MOST_RATES || geometry[KIND] >> 56 != 0 {
            return None;
        }
        let windows: [u64; MOST_RATES] = geometry[WINDOWS..].try_into().ok()?;
        let mut forms = [None; MOST_RATES];
        for (form, window) in forms.iter_mut().zip(windows).take(rates) {
            *form = Some(match algorithm {
                Algorithm::Bucket => Form::Bucket,
                Algorithm::Fixed => Form::Fixed,
                // Every tier may be unlimited; the words are not used then.
                Algorithm::Sliding if window == 0 => Form::Fixed,
                Algorithm::Sliding => {
                    Form::Sliding(Slices::new(window >> 8, window as u32 & 0xff)?)
                }
            });
        }
        Some(Shape {
            slots,
            max_keys: geometry[KIND] & u64::from(u32::MAX),
            on_full,
            algorithm,
            forms,
            windows,
        })
    }

    /// The words that it takes.
    pub fn words(&self) -> Option<usize> {
        let tables = self
            .slots
            .checked_mul((self.forms().count() * SLOT_WORDS) as u64)?;
        usize::try_from(tables).ok()?.checked_add(AT_TABLES)
    }

    /// The form of each rate's words.
    pub fn forms(&self) -> impl Iterator<Item = Form> + '_ {
        self.forms.iter().flatten().copied()
    }

    /// The tables, one for each rate.
    pub fn tables(&self) -> impl Iterator<Item = Table> + '_ {
        let slots = self.slots as usize;
        self.forms().enumerate().map(move |(i, form)| Table {
            at: AT_TABLES + i * slots * SLOT_WORDS,
            slots,
            group: GROUP,
            on_full: self.on_full,
            form,
        })
    }

    /// The rules of a tier's rates in this memory; unlimited beyond them.
    pub fn rules(&self, rates: &Rates) -> Result<[Rule; MOST_RATES]> {
        let mut rules = [Rule::UNLIMITED; MOST_RATES];
        let forms = self.forms();
        for ((rule, rate), form) in rules.iter_mut().zip(rates.as_slice()).zip(forms) {
            *rule = Rule::new(*rate, form)?;
        }
        Ok(rules)
    }

    /// Whether options fit a limiter that exists with this memory.
    pub fn check(&self, object: &str, options: &LimiterOptions) -> Result<()> {
        let differs = |option, theirs, ours| {
            Err(Error::Geometry {
                object: object.to_owned(),
                option,
                theirs,
                ours,
            })
        };
        if let Some(ours) = options.algorithm.filter(|ours| *ours != self.algorithm) {
            return differs("algorithm", self.algorithm as u64, ours as u64);
        }
        if let Some(ours) = options.on_full.filter(|ours| *ours != self.on_full) {
            return differs("on_full", self.on_full as u64, ours as u64);
        }
        if let Some(ours) = options.max_keys.filter(|n| slots_for(*n) != self.slots) {
            return differs("max_keys", self.max_keys, ours);
        }
        let rates = self.forms().count() as u64;
        for (_, limits) in options.limits() {
            let limits = limits.as_slice();
            if limits.len() as u64 > rates {
                return differs("rates", rates, limits.len() as u64);
            }
            if self.algorithm != Algorithm::Sliding {
                continue;
            }
            for (rate, window) in limits.iter().zip(self.windows) {
                let (theirs, ours) = (window >> 8, rate.per.as_nanos());
                if !rate.is_unlimited() && ours != u128::from(theirs) {
                    return differs("window", theirs, u64::try_from(ours).unwrap_or(u64::MAX));
                }
            }
        }
        Ok(())
    }
}

/// How the sliding window that these rates share is cut: {nanoseconds, bits of
/// a count}, with counts for twice the largest limit; 0 if there is no limit.
fn cut<'a>(rates: impl Iterator<Item = &'a Rate> + Clone) -> Result<u64> {
    let Some(first) = rates.clone().next() else {
        return Ok(0);
    };
    for rate in rates.clone() {
        Rule::new(*rate, Form::Fixed)?;
    }
    let given = |rate: &Rate| format!("{} per {:?}", rate.count, rate.per);
    if let Some(other) = rates.clone().find(|rate| rate.per != first.per) {
        let allowed = format!(
            "windows of {:?}, as its other tiers have: they share their memory",
            first.per
        );
        return Err(Error::invalid("rate", given(other), allowed));
    }
    let largest = rates.max_by_key(|rate| rate.count).unwrap_or(first);
    let window = first.per.as_nanos();
    if window >= LONGEST_WINDOW {
        let allowed = "a sliding window of two years at most";
        return Err(Error::invalid("rate", given(first), allowed));
    }
    let window = window as u64;
    let bits = u64::BITS - largest.count.saturating_mul(2).leading_zeros();
    // Where there is no room to grow, as large as there is.
    let fits = |bits: &u32| Slices::new(window, *bits).is_some();
    let needed = u64::BITS - largest.count.leading_zeros();
    let Some(bits) = (needed..=bits).rev().find(fits) else {
        let most = (1..64).rev().find(fits).unwrap_or(1);
        let allowed = format!(
            "at most {} in a sliding window this long",
            (1u64 << most) - 1
        );
        return Err(Error::invalid("rate", given(largest), allowed));
    };
    Ok(window << 8 | u64::from(bits))
}

/// Slots for that many keys: a quarter to spare, rounded up to a power of two.
fn slots_for(max_keys: u64) -> u64 {
    (max_keys + max_keys.div_ceil(4))
        .max(GROUP as u64)
        .next_power_of_two()
}
