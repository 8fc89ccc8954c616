//! Every interleaving of acquiring, releasing, renewing and expiring in small
//! shards of permits, with a pause or a death at every operation.
//!
//! As in `table_search.rs` the search runs the shard's own code: a process's
//! state is the list of answers that its operations have had since its call
//! began; to take one more step, the code runs again on that list, does one new
//! operation for real, and then meets words that lead it to an end and whose
//! effects are dropped. A process that pauses is one that the search no longer
//! picks; one that dies is picked never again, and from then on others are told
//! so when they ask. Who finds the lock taken may give up waiting at once, or
//! be picked only when it is free.
//!
//! In every state it is checked that no key has more live leases than its limit;
//! that each process, left alone, comes to an end; that, were all of them dead,
//! an heir would be granted all leases, and while none is in the middle of a
//! call exactly those that are not live. Memory is sequentially consistent in
//! this model; the loom model checks the orderings.

use forebay::internals::lock::{Owner, Participant, Stuck};
use forebay::internals::permits::{shard_words, Ask, End, Held, Refusal, Shard, Witness, Word};
use forebay::internals::Words;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// How far the clock jumps.
const MS: u64 = 1_000_000;
const LOCK: usize = 0;

#[derive(Clone, Copy, Hash, PartialEq, Eq)]
enum Call {
    /// A lease of this key.
    Acquire(u64),
    /// The end of the oldest that it has.
    Release,
    /// More time for it.
    Renew,
}
use Call::{Acquire, Release, Renew};

#[derive(Clone, Copy)]
enum Answer {
    Acquired(Result<Held, Refusal>),
    Released,
    Renewed(Option<Held>),
}

#[derive(Clone, Hash, PartialEq, Eq)]
struct Process {
    /// Those done taken off.
    calls: Vec<Call>,
    /// Answers in the current call.
    answers: Vec<u64>,
    /// The lease that the current call is about: {record, word}.
    subject: Option<(usize, u64)>,
    /// The leases that it believes to have: {key, record, word}.
    has: Vec<(u64, usize, u64)>,
    dead: bool,
}

#[derive(Clone, Hash, PartialEq, Eq)]
struct State {
    memory: Vec<u64>,
    clock: u64,
    jumps: u64,
    deaths: u64,
    processes: Vec<Process>,
}

/// Memory on which one process takes one step, or all that are left.
struct Step<'a> {
    memory: RefCell<Vec<u64>>,
    clock: u64,
    me: usize,
    /// Who is dead.
    dead: Vec<bool>,
    script: &'a [u64],
    asked: Cell<usize>,
    /// New operations that are real; beyond, nothing counts.
    left: Cell<usize>,
    over: Cell<bool>,
    answers: RefCell<Vec<u64>>,
}

const FAILED: u64 = 1 << 63;

impl Step<'_> {
    /// The answer to an operation: an earlier one, or that of `real`; `is_free`
    /// says of an answer that it changes nothing and is no step of its own.
    fn act(
        &self,
        is_free: impl FnOnce(u64) -> bool,
        real: impl FnOnce(&mut Vec<u64>) -> u64,
    ) -> Option<u64> {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        if let Some(answer) = self.script.get(asked) {
            return Some(*answer);
        }
        if self.left.get() == 0 {
            self.over.set(true);
            return None;
        }
        let answer = real(&mut self.memory.borrow_mut());
        if !is_free(answer) {
            self.left.set(self.left.get() - 1);
        }
        self.answers.borrow_mut().push(answer);
        assert!(asked < 2_000, "a call does not end");
        Some(answer)
    }
}

impl Words for Step<'_> {
    fn load(&self, index: usize, _: Ordering) -> u64 {
        // Waiting for the lock is one step with what comes after.
        let waits = |answer| index == LOCK && answer != 0;
        self.act(waits, |memory| memory[index]).unwrap_or(0)
    }

    fn store(&self, index: usize, value: u64, _: Ordering) {
        self.act(
            |_| false,
            |memory| {
                memory[index] = value;
                0
            },
        );
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        // Words are below 2^63 in these worlds, so the top bit can say "failed".
        let exchange = |memory: &mut Vec<u64>| match memory[index] == old {
            true => {
                memory[index] = new;
                old
            }
            false => memory[index] | FAILED,
        };
        match self.act(|_| false, exchange) {
            Some(answer) if answer & FAILED != 0 => Err(answer & !FAILED),
            _ => Ok(old),
        }
    }

    fn add(&self, _: usize, _: u64) -> u64 {
        unreachable!("the protocol never adds");
    }

    fn fence(&self, _: Ordering) {}

    fn spin(&self) {}
}

impl Participant for Step<'_> {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(self.me, 1))
    }

    fn is_dead(&self, owner: Owner) -> bool {
        let seat = owner.seat().unwrap();
        let is_dead = |_: &mut Vec<u64>| u64::from(self.dead.get(seat) == Some(&true));
        // That somebody is alive leads to nothing.
        self.act(|answer| answer == 0, is_dead) != Some(0)
    }

    fn give_way(&self) {}
}

impl Witness for Step<'_> {
    fn now(&self) -> u64 {
        self.act(|_| false, |_| self.clock).unwrap_or(0)
    }

    fn seated(&self) -> Option<Owner> {
        self.owner()
    }

    fn ended(&self, _: End) {}
}

struct World<'a> {
    limit: u64,
    records: usize,
    /// How long a lease is, in jumps of the clock, and how often that jumps.
    lease: u64,
    jumps: u64,
    deaths: u64,
    /// The calls of each process.
    calls: &'a [&'a [Call]],
}

impl World<'_> {
    fn step<'a>(&self, state: &State, me: usize, script: &'a [u64], left: usize) -> Step<'a> {
        Step {
            memory: RefCell::new(state.memory.clone()),
            clock: state.clock,
            me,
            dead: state.processes.iter().map(|process| process.dead).collect(),
            script,
            asked: Cell::new(0),
            left: Cell::new(left),
            over: Cell::new(false),
            answers: RefCell::new(Vec::new()),
        }
    }

    fn run(&self, step: &Step<'_>, call: Call, subject: Option<(usize, u64)>) -> Answer {
        let shard = Shard {
            words: step,
            at: 0,
            records: self.records,
        };
        let held = subject.map(|(record, word)| Held {
            record,
            word: Word(word),
        });
        match call {
            Acquire(tag) => {
                let ask = Ask {
                    tag,
                    limit: self.limit,
                    lease: self.lease,
                };
                Answer::Acquired(shard.acquire(&ask, &Stuck::default(), step))
            }
            Release => {
                shard.release(held.unwrap(), step);
                Answer::Released
            }
            Renew => Answer::Renewed(shard.renew(held.unwrap(), self.lease, step)),
        }
    }

    fn first(&self) -> State {
        let process = |calls: &&[Call]| Process {
            calls: calls.to_vec(),
            answers: Vec::new(),
            subject: None,
            has: Vec::new(),
            dead: false,
        };
        State {
            memory: vec![0; shard_words(self.records)],
            clock: 0,
            jumps: self.jumps,
            deaths: self.deaths,
            processes: self.calls.iter().map(process).collect(),
        }
    }

    /// All states one step on.
    fn next(&self, state: &State, into: &mut Vec<State>) {
        if state.jumps > 0 {
            let mut later = state.clone();
            later.clock += MS;
            later.jumps -= 1;
            into.push(later);
        }
        for i in 0..state.processes.len() {
            if state.processes[i].dead {
                continue;
            }
            if state.deaths > 0 {
                let mut without = state.clone();
                without.deaths -= 1;
                without.processes[i].dead = true;
                into.push(without);
            }
            into.extend(self.advance(state, i));
        }
    }

    /// The state after one step of process `i`, if it has anything left to do.
    fn advance(&self, state: &State, i: usize) -> Option<State> {
        let mut next = state.clone();
        let process = &mut next.processes[i];
        let call = *process.calls.first()?;
        if process.answers.is_empty() && !matches!(call, Acquire(_)) {
            let Some((_, record, word)) = process.has.first().copied() else {
                // It was refused: there is nothing to release or renew.
                process.calls.remove(0);
                return Some(next);
            };
            process.subject = Some((record, word));
            if call == Release {
                // From here on it does not count on it any more.
                process.has.remove(0);
            }
        }
        let script = process.answers.clone();
        let subject = process.subject;
        let step = self.step(state, i, &script, 1);
        let answer = self.run(&step, call, subject);
        next.memory = step.memory.take();
        let process = &mut next.processes[i];
        if step.over.get() {
            process.answers.extend(step.answers.take());
            return Some(next);
        }
        process.calls.remove(0);
        process.answers.clear();
        process.subject = None;
        match (call, answer) {
            (Acquire(key), Answer::Acquired(Ok(held))) => {
                process.has.push((key, held.record, held.word.0));
            }
            (Renew, Answer::Renewed(None)) => drop(process.has.remove(0)),
            (Renew, Answer::Renewed(Some(held))) => process.has[0].2 = held.word.0,
            _ => {}
        }
        Some(next)
    }

    /// Leases of a key whose holders live and whose time is not over.
    fn live(&self, state: &State, key: impl Fn(u64) -> bool) -> u64 {
        let living = state.processes.iter().filter(|process| !process.dead);
        let leases = living.flat_map(|process| &process.has);
        let is_live =
            |(of, _, word): &&(u64, usize, u64)| key(*of) && !Word(*word).is_over(state.clock);
        leases.filter(is_live).count() as u64
    }

    /// How many leases of key 1 an heir is granted one after another.
    fn granted(&self, state: &State) -> u64 {
        let mut state = state.clone();
        for granted in 0..=self.limit {
            let step = self.step(&state, 99, &[], usize::MAX);
            let answer = self.run(&step, Acquire(1), None);
            if !matches!(answer, Answer::Acquired(Ok(_))) {
                return granted;
            }
            state.memory = step.memory.take();
        }
        panic!("more than the limit");
    }

    fn check(&self, state: &State) {
        for key in 1..=2 {
            let live = self.live(state, |of| of == key);
            assert!(
                live <= self.limit,
                "{live} leases of key {key}: {:x?}",
                state.memory
            );
        }
        for (i, process) in state.processes.iter().enumerate() {
            if !process.dead && !process.answers.is_empty() {
                let step = self.step(state, i, &process.answers, usize::MAX);
                self.run(&step, process.calls[0], process.subject);
            }
        }
        let is_quiet = |process: &Process| process.dead || process.answers.is_empty();
        if state.processes.iter().all(is_quiet) {
            let room = self.records as u64 - self.live(state, |_| true);
            let left = self.limit - self.live(state, |of| of == 1);
            assert_eq!(self.granted(state), left.min(room), "{:x?}", state.memory);
        }
        let mut ended = state.clone();
        for process in &mut ended.processes {
            process.dead = true;
        }
        let all = self.limit.min(self.records as u64);
        assert_eq!(self.granted(&ended), all, "{:x?}", state.memory);
    }

    /// Searches everything that can be reached; returns how many states.
    fn search(&self) -> usize {
        let first = self.first();
        let mut seen = HashSet::from([digest(&first)]);
        let mut open = vec![first];
        let mut next = Vec::new();
        while let Some(state) = open.pop() {
            self.check(&state);
            self.next(&state, &mut next);
            for state in next.drain(..) {
                if seen.insert(digest(&state)) {
                    open.push(state);
                }
            }
        }
        println!("{} states", seen.len());
        seen.len()
    }
}

/// 128 bits stand for a state.
fn digest(state: &State) -> u128 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
    1u8.hash(&mut halves[1]);
    for half in &mut halves {
        state.hash(half);
    }
    u128::from(halves[0].finish()) << 64 | u128::from(halves[1].finish())
}

#[test]
fn two_who_acquire_and_release_at_once() {
    let states = World {
        limit: 1,
        records: 2,
        lease: 1,
        jumps: 0,
        deaths: 0,
        calls: &[
            &[Acquire(1), Release, Acquire(1)],
            &[Acquire(1), Release, Acquire(1)],
        ],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn three_with_a_limit_of_two() {
    let states = World {
        limit: 2,
        records: 2,
        lease: 1,
        jumps: 0,
        deaths: 0,
        calls: &[&[Acquire(1)], &[Acquire(1), Release], &[Acquire(1)]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn leases_that_expire_are_released_and_renewed_too_late() {
    let states = World {
        limit: 1,
        records: 1,
        lease: 1,
        jumps: 2,
        deaths: 0,
        calls: &[&[Acquire(1), Renew, Release], &[Acquire(1), Renew, Release]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn holders_die_and_their_leases_go_to_others() {
    let states = World {
        limit: 1,
        records: 1,
        lease: 1,
        jumps: 0,
        deaths: 2,
        calls: &[&[Acquire(1)], &[Acquire(1), Release], &[Acquire(1)]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn holders_die_while_leases_expire() {
    let states = World {
        limit: 1,
        records: 2,
        lease: 1,
        jumps: 1,
        deaths: 1,
        calls: &[&[Acquire(1), Renew], &[Acquire(1), Release], &[Acquire(1)]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn two_keys_share_the_last_record() {
    let states = World {
        limit: 1,
        records: 1,
        lease: 1,
        jumps: 1,
        deaths: 1,
        calls: &[&[Acquire(1), Release], &[Acquire(2), Release, Acquire(2)]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

/// A renewal that read the clock in time and comes when the lease has been
/// given to another, in another record.
#[test]
fn a_lease_that_was_not_counted_is_not_renewed() {
    let states = World {
        limit: 1,
        records: 2,
        lease: 2,
        jumps: 2,
        deaths: 0,
        calls: &[&[Acquire(2), Acquire(1), Release, Renew], &[Acquire(1)]],
    }
    .search();
    assert!(states > 1_000, "{states}");
}

#[test]
fn all_leases_are_counted_after_one_beyond_them_has_ended() {
    let states = World {
        limit: 1,
        records: 2,
        lease: 1,
        jumps: 0,
        deaths: 0,
        calls: &[
            &[Acquire(1)],
            &[Acquire(2), Release, Acquire(1), Acquire(1)],
        ],
    }
    .search();
    assert!(states > 1_000, "{states}");
}
