//! What a worker does all day: random calls on the shared objects, each written
//! to its log. The workers in other languages do the same.

use crate::log::{breaker, Log, Operation, NO, WRONG, YES};
use crate::random::Random;
use crate::value;
use crate::world::*;
use forebay::breaker::Outcome;
use forebay::{Charge, SetOptions, Ttl};
use std::path::PathBuf;
use std::time::Duration;

/// A worker at work.
pub struct Player<'a> {
    objects: &'a Objects,
    log: &'a Log,
    evidence: PathBuf,
    random: Random,
    /// The upper half of the ids of its values: no other worker has it.
    who: u32,
    written: u32,
    leases: u32,
    value: Vec<u8>,
}

impl<'a> Player<'a> {
    /// A worker that is called `who` and puts evidence into this file.
    pub fn new(
        objects: &'a Objects,
        log: &'a Log,
        evidence: PathBuf,
        seed: u64,
        who: u32,
    ) -> Player<'a> {
        Player {
            objects,
            log,
            evidence,
            random: Random::new(seed, u64::from(who)),
            who,
            written: 0,
            leases: 0,
            value: Vec::with_capacity(LARGEST),
        }
    }

    /// A random call. The log must have room.
    pub fn step(&mut self) {
        match self.random.below(1000) {
            0..370 => self.get(),
            370..590 => self.set(),
            590..650 => self.delete(),
            650..770 => self.take(),
            770..790 => self.slide(),
            790..810 => self.both(),
            810..830 => self.hold(),
            830..900 => self.call(),
            _ => self.record(),
        }
    }

    /// Clears the cache.
    pub fn clear(&mut self) {
        let call = self.log.invoke(Operation::Clear, 0, 0, 0);
        self.objects.cache.clear();
        self.log.answer(call, YES);
    }

    fn key(&mut self) -> u32 {
        let among = if self.random.one_in(4) {
            KEYS
        } else {
            HOT_KEYS
        };
        self.random.below(u64::from(among)) as u32
    }

    fn get(&mut self) {
        let key = self.key();
        let name = key_name(key);
        let call = self.log.invoke(Operation::Get, key, 0, 0);
        let found = self.objects.cache.get_into(&name, &mut self.value);
        let result = match found.map(|_| value::id_of(key, &self.value)) {
            None => 0,
            Some(Ok(id)) => id,
            Some(Err(problem)) => {
                // The run fails by the record; this is only for who looks into it.
                let _ = std::fs::write(&self.evidence, format!("{problem}\n{:x?}", self.value));
                WRONG
            }
        };
        self.log.answer(call, result);
    }

    fn set(&mut self) {
        let key = self.key();
        let name = key_name(key);
        let most = match self.random.below(20) {
            0 => LARGEST as u64,
            1..5 => 1500,
            _ => 400,
        };
        let length = value::LEAST + 4 * self.random.below((most - 16) / 4) as usize;
        let ttl = match self.random.below(8) {
            0 => 1 + self.random.below(20) as u16,
            _ => 0,
        };
        self.written += 1;
        let id = u64::from(self.who) << 32 | u64::from(self.written);
        value::make(key, id, length, &mut self.value);
        let options = SetOptions {
            ttl: match ttl {
                0 => Ttl::Default,
                ms => Ttl::For(Duration::from_millis(u64::from(ms))),
            },
            ..SetOptions::default()
        };
        let call = self.log.invoke(Operation::Set, key, ttl, id);
        let stored = self.objects.cache.set_with(&name, &self.value, options);
        self.log.answer(call, if stored { YES } else { NO });
    }

    fn delete(&mut self) {
        let key = self.key();
        let name = key_name(key);
        let call = self.log.invoke(Operation::Delete, key, 0, 0);
        let deleted = self.objects.cache.delete(&name);
        self.log.answer(call, if deleted { YES } else { NO });
    }

    fn take(&mut self) {
        let among = if self.random.one_in(2) {
            BUCKETS
        } else {
            HOT_BUCKETS
        };
        let key = self.random.below(u64::from(among)) as u32;
        let name = bucket_name(key);
        let cost = 1 + self.random.below(3);
        let call = self.log.invoke(Operation::Take, key, 0, cost);
        let admitted = self.objects.limiter.allow_with(&name, Charge::cost(cost));
        self.log.answer(call, if admitted { YES } else { NO });
    }

    fn slide(&mut self) {
        let key = self.random.below(u64::from(SLIDING_KEYS)) as u32;
        let name = name_of('w', key);
        let call = self.log.invoke(Operation::Slide, key, 0, 1);
        let admitted = self.objects.sliding.allow(&name);
        self.log.answer(call, if admitted { YES } else { NO });
    }

    fn both(&mut self) {
        let key = self.random.below(u64::from(RATES_KEYS)) as u32;
        let name = name_of('r', key);
        let call = self.log.invoke(Operation::Both, key, 0, 1);
        let admitted = self.objects.rates.allow(&name);
        self.log.answer(call, if admitted { YES } else { NO });
    }

    /// Acquires a permit, does something else meanwhile, perhaps renews it, and
    /// releases it: before anybody rests, so it must all fit in the log.
    fn hold(&mut self) {
        if !self.log.has_room_for(HELD as usize + 3) {
            return;
        }
        let key = self.random.below(u64::from(PERMITS_KEYS)) as u32;
        let name = name_of('p', key);
        self.leases += 1;
        let lease = u64::from(self.who) << 32 | u64::from(self.leases);
        let call = self.log.invoke(Operation::Acquire, key, 0, lease);
        let Ok(mut held) = self.objects.permits.try_acquire(&name) else {
            return self.log.answer(call, NO);
        };
        self.log.answer(call, YES);
        for _ in 0..self.random.below(HELD) {
            self.get();
        }
        if self.random.one_in(2) {
            let call = self.log.invoke(Operation::Renew, key, 0, lease);
            let renewed = held.renew();
            self.log.answer(call, if renewed { YES } else { NO });
        }
        let call = self.log.invoke(Operation::Release, key, 0, lease);
        let released = held.release();
        self.log.answer(call, if released { YES } else { NO });
    }

    fn call(&mut self) {
        // Every 120 ms the origin is down for 40.
        let down = (crate::sys::now() / 40_000_000).is_multiple_of(3);
        let fails = self.random.below(100) < if down { 60 } else { 1 };
        let call = self.log.invoke(Operation::Break, 0, 0, 0);
        let result = match self.objects.breaker.enter_raw() {
            Err(_) => breaker::REJECTED,
            Ok(permit) => {
                if self.random.one_in(16) {
                    std::thread::sleep(Duration::from_micros(100));
                }
                let outcome = if fails {
                    Outcome::Failure
                } else {
                    Outcome::Success
                };
                match (self.objects.breaker.leave(permit, outcome), fails) {
                    (false, _) => breaker::LATE,
                    (true, true) => breaker::FAILURE,
                    (true, false) => breaker::SUCCESS,
                }
            }
        };
        self.log.answer(call, result);
    }

    fn record(&mut self) {
        let number = self.random.below(u64::from(DURATIONS)) as u32;
        let call = self.log.invoke(Operation::Record, number, 0, 0);
        self.objects.histogram.record_ns(duration_ns(number));
        self.log.answer(call, YES);
    }
}
