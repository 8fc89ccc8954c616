//! What the searches of small worlds share: states that are kept as digests,
//! and memory on which one process takes one step of the core's own code.
//!
//! A process is the list of answers that its operations have had; to take one
//! more step the code runs again on that list, does one operation for real, and
//! is cut off at the next. One that pauses or dies is no longer picked.

// Each user takes a part of it.
#![allow(dead_code)]

use forebay::internals::Words;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;

/// 128 bits stand for a state: a search of 10^8 states misses one with
/// probability 10^-22.
pub fn digest(state: &impl Hash) -> u128 {
    let mut halves = [
        Mix(1, 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        Mix(2, 0xc2b2_ae3d_27d4_eb4f_a5a3_c4f7_d9e8_b6c3),
    ];
    for half in &mut halves {
        state.hash(half);
    }
    u128::from(halves[0].finish()) << 64 | u128::from(halves[1].finish())
}

/// A fast mixing hasher over whole words.
struct Mix(u64, u128);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = u128::from(self.0 ^ n).wrapping_add(1).wrapping_mul(self.1);
        self.0 = (mixed as u64).rotate_left(29) ^ (mixed >> 64) as u64;
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Looks at everything that can be reached; returns how many states.
pub fn search<S: Hash>(first: S, check: impl Fn(&S), next: impl Fn(&S, &mut Vec<S>)) -> usize {
    let mut seen = HashSet::from([digest(&first)]);
    let mut open = vec![first];
    let mut found = Vec::new();
    while let Some(state) = open.pop() {
        check(&state);
        next(&state, &mut found);
        for state in found.drain(..) {
            if seen.insert(digest(&state)) {
                open.push(state);
            }
        }
    }
    println!("{} states", seen.len());
    seen.len()
}

/// What an operation answered: a word, or that an exchange failed and why.
pub type Answered = Result<u64, u64>;

/// Memory on which one process takes some steps.
pub struct Step<'a> {
    memory: RefCell<Vec<u64>>,
    clock: u64,
    script: &'a [Answered],
    asked: Cell<usize>,
    /// Operations that are yet to be done for real.
    left: Cell<usize>,
    answers: RefCell<Vec<Answered>>,
    /// How often the code has started over, with how many answers behind it the
    /// last time, and at which reading of the clock.
    started: Cell<(usize, usize, u64)>,
    evicted: Cell<Option<u64>>,
}

/// What became of some steps.
pub struct Stepped<T> {
    pub memory: Vec<u64>,
    pub answers: Vec<Answered>,
    pub started: (usize, usize, u64),
    /// The label that the last step is about to evict, live.
    pub evicted: Option<u64>,
    /// The code's answer, if it came to one.
    pub end: Option<T>,
}

struct Cut;

/// Runs code on the answers that it has had, and `left` operations more.
pub fn run<T>(
    memory: Vec<u64>,
    clock: u64,
    script: &[Answered],
    left: usize,
    code: impl FnOnce(&Step<'_>) -> T,
) -> Stepped<T> {
    let step = Step {
        memory: RefCell::new(memory),
        clock,
        script,
        asked: Cell::new(0),
        left: Cell::new(left),
        answers: RefCell::new(script.to_vec()),
        started: Cell::new((0, 0, 0)),
        evicted: Cell::new(None),
    };
    let end = match catch_unwind(AssertUnwindSafe(|| code(&step))) {
        Ok(end) => Some(end),
        Err(cut) if cut.is::<Cut>() => None,
        Err(other) => resume_unwind(other),
    };
    Stepped {
        started: step.started.get(),
        evicted: step.evicted.get(),
        memory: step.memory.into_inner(),
        answers: step.answers.into_inner(),
        end,
    }
}

impl Step<'_> {
    fn act(&self, real: impl FnOnce(&mut Vec<u64>) -> Answered) -> Answered {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        if let Some(answer) = self.script.get(asked) {
            return *answer;
        }
        if self.left.get() == 0 {
            resume_unwind(Box::new(Cut));
        }
        self.left.set(self.left.get() - 1);
        let answer = real(&mut self.memory.borrow_mut());
        self.answers.borrow_mut().push(answer);
        assert!(asked < 100_000, "a call does not end");
        answer
    }

    /// The clock, which is a step, too.
    pub fn now(&self) -> u64 {
        self.act(|_| Ok(self.clock)).unwrap()
    }

    /// The code goes on as from its beginning, at this reading of the clock.
    pub fn starts_over(&self, now: u64) {
        let (times, ..) = self.started.get();
        self.started.set((times + 1, self.asked.get(), now));
    }

    /// The next step evicts what is labelled so.
    pub fn evicts(&self, label: u64) {
        // Once: when the operation just before it is the new one.
        if self.left.get() == 0 && self.asked.get() > self.script.len() {
            self.evicted.set(Some(label));
        }
    }
}

impl Words for Step<'_> {
    fn load(&self, index: usize, _: Ordering) -> u64 {
        self.act(|memory| Ok(memory[index])).unwrap()
    }

    fn store(&self, index: usize, value: u64, _: Ordering) {
        let _ = self.act(|memory| {
            memory[index] = value;
            Ok(0)
        });
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.act(|memory| {
            let found = memory[index];
            if found != old {
                return Err(found);
            }
            memory[index] = new;
            Ok(old)
        })
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        let add = |memory: &mut Vec<u64>| {
            let found = memory[index];
            memory[index] = found.wrapping_add(value);
            Ok(found)
        };
        self.act(add).unwrap()
    }

    fn fence(&self, _: Ordering) {}

    fn spin(&self) {}
}
