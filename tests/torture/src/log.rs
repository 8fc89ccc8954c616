//! What a worker did, in a file that survives its death: each call is written
//! down before it is made and again when it has answered, by plain stores to a
//! shared mapping (or by positioned writes, where a language has no mappings).
//! The kernel keeps what was stored, however the writer ends.
//!
//! ```text
//! header   16 words: cursor, state, order, counts of a nursery
//! record   5 words:  {key 32, ttl in ms 16, 8 unused, operation 8}
//!                    argument (a value's id, a cost)
//!                    invoked, CLOCK_MONOTONIC in ns
//!                    result
//!                    answered, CLOCK_MONOTONIC in ns; 0 while it has not
//! ```

use crate::sys::Mapped;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Word of the header: how many records were begun.
pub const CURSOR: usize = 0;
/// Word of the header: {the round of the order that the worker has seen 56, what
/// it is doing 8}, a [`state`].
pub const STATE: usize = 1;
/// Word of the header: {round 56, what to do 8}, an [`order`].
pub const ORDER: usize = 2;
/// First word of a nursery's counts: see `nursery.rs`.
pub const COUNTS: usize = 4;
/// Words of the header.
pub const HEADER: usize = 16;
/// Words of a record.
pub const RECORD: usize = 5;
/// Records that a log holds.
pub const CAPACITY: usize = 32_768;

/// What a worker is doing.
pub mod state {
    /// Not yet at work.
    pub const STARTING: u64 = 0;
    /// At work.
    pub const RUNNING: u64 = 1;
    /// Between two calls, until it is told to go on or has room in its log.
    pub const RESTING: u64 = 2;
}

/// What a worker is to do.
pub mod order {
    /// Work.
    pub const RUN: u64 = 0;
    /// Rest.
    pub const REST: u64 = 1;
    /// End.
    pub const QUIT: u64 = 2;
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Operation {
    /// Reads a key; the result is the value's id, 0 for a miss, [`WRONG`].
    Get = 1,
    /// Sets a key; the argument is the value's id, the result [`YES`] or [`NO`].
    Set = 2,
    /// Deletes a key; [`YES`] or [`NO`].
    Delete = 3,
    /// Clears the cache.
    Clear = 4,
    /// Takes tokens; the argument is the cost, the result [`YES`] or [`NO`].
    Take = 5,
    /// Enters and leaves the breaker; the result is a [`breaker`] answer.
    Break = 6,
    /// Records the duration of this key: see `world.rs`.
    Record = 7,
    /// Takes a token of a sliding window; [`YES`] or [`NO`].
    Slide = 8,
    /// Takes a token of two rates; [`YES`] or [`NO`].
    Both = 9,
    /// Asks for a permit; the argument is what the lease is called, the result
    /// [`YES`] or [`NO`].
    Acquire = 10,
    /// Renews the lease called so; [`YES`] or [`NO`].
    Renew = 11,
    /// Releases the lease called so; [`YES`] or [`NO`].
    Release = 12,
}

impl Operation {
    /// All, in the order of their numbers from 1.
    pub const ALL: [Operation; 12] = [
        Operation::Get,
        Operation::Set,
        Operation::Delete,
        Operation::Clear,
        Operation::Take,
        Operation::Break,
        Operation::Record,
        Operation::Slide,
        Operation::Both,
        Operation::Acquire,
        Operation::Renew,
        Operation::Release,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "cache get",
            Operation::Set => "cache set",
            Operation::Delete => "cache delete",
            Operation::Clear => "cache clear",
            Operation::Take => "limiter take",
            Operation::Break => "breaker enter and leave",
            Operation::Record => "histogram record",
            Operation::Slide => "sliding window take",
            Operation::Both => "take of two rates",
            Operation::Acquire => "permit acquire",
            Operation::Renew => "permit renew",
            Operation::Release => "permit release",
        }
    }

    /// Whether it is one of the cache's.
    pub fn is_cache(self) -> bool {
        (self as u8) <= Operation::Clear as u8
    }
}

/// A result: it did.
pub const YES: u64 = 1;
/// A result: it did not.
pub const NO: u64 = 2;
/// A result of a read: bytes that nobody wrote for this key.
pub const WRONG: u64 = u64::MAX;

/// Results of [`Operation::Break`].
pub mod breaker {
    /// A success that counted.
    pub const SUCCESS: u64 = 1;
    /// A failure that counted.
    pub const FAILURE: u64 = 2;
    /// Not let in.
    pub const REJECTED: u64 = 3;
    /// Let in; what it said came too late.
    pub const LATE: u64 = 4;
}

/// A call as its log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub operation: Operation,
    /// Of which key.
    pub key: u32,
    /// How long the value may live, in ms; 0 for ever.
    pub ttl: u16,
    /// The argument.
    pub argument: u64,
    /// When it began.
    pub invoked: u64,
    /// Its result and when it ended; `None` if its caller was killed before.
    pub answer: Option<(u64, u64)>,
}

/// A worker's log.
pub struct Log {
    mapped: Mapped,
}

impl Log {
    /// Makes a log at this path.
    pub fn create(path: &Path) -> Result<Log> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| path.display().to_string())?;
        file.set_len(((HEADER + CAPACITY * RECORD) * 8) as u64)?;
        Ok(Log {
            mapped: Mapped::new(&file)?,
        })
    }

    /// Maps the log at this path.
    pub fn open(path: &Path) -> Result<Log> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| path.display().to_string())?;
        Ok(Log {
            mapped: Mapped::new(&file)?,
        })
    }

    /// A word of the header.
    pub fn header(&self, word: usize) -> &AtomicU64 {
        &self.mapped.words()[word]
    }

    /// How many records were begun.
    pub fn len(&self) -> usize {
        (self.header(CURSOR).load(Acquire) as usize).min(CAPACITY)
    }

    /// The `n`-th record; an error if it is none.
    pub fn record(&self, n: usize) -> Result<Record> {
        let at = HEADER + n * RECORD;
        let word = |i: usize| self.mapped.words()[at + i].load(Acquire);
        let number = (word(0) & 0xff) as usize;
        let operation = number.checked_sub(1).and_then(|i| Operation::ALL.get(i));
        let answered = word(4);
        Ok(Record {
            operation: *operation.with_context(|| format!("record {n} of a log is none"))?,
            key: (word(0) >> 32) as u32,
            ttl: (word(0) >> 16) as u16,
            argument: word(1),
            invoked: word(2),
            answer: (answered != 0).then(|| (word(3), answered)),
        })
    }

    /// Notes that a call begins: its record's number. The log must have room.
    pub fn invoke(&self, operation: Operation, key: u32, ttl: u16, argument: u64) -> usize {
        let n = self.header(CURSOR).load(Relaxed) as usize;
        let at = HEADER + n * RECORD;
        let words = &self.mapped.words()[at..at + RECORD];
        let head = u64::from(key) << 32 | u64::from(ttl) << 16 | operation as u64;
        // Release throughout: whoever sees a word sees those stored before.
        words[4].store(0, Release);
        words[0].store(head, Release);
        words[1].store(argument, Release);
        words[2].store(crate::sys::now(), Release);
        self.header(CURSOR).store(n as u64 + 1, Release);
        n
    }

    /// Notes a call's answer.
    pub fn answer(&self, n: usize, result: u64) {
        let at = HEADER + n * RECORD;
        let words = &self.mapped.words()[at..at + RECORD];
        words[3].store(result, Release);
        words[4].store(crate::sys::now(), Release);
    }

    /// What the worker is to do, and the round.
    pub fn order(&self) -> (u64, u64) {
        let word = self.header(ORDER).load(Acquire);
        (word & 0xff, word >> 8)
    }

    /// Says what the worker is doing, having seen the order of this round.
    pub fn say(&self, state: u64, round: u64) {
        self.header(STATE).store(round << 8 | state, Release);
    }

    /// What the worker last said.
    pub fn said(&self) -> (u64, u64) {
        let word = self.header(STATE).load(Acquire);
        (word & 0xff, word >> 8)
    }

    /// Whether another record fits.
    pub fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    /// Whether so many more records fit.
    pub fn has_room_for(&self, records: usize) -> bool {
        self.len() + records <= CAPACITY
    }
}
