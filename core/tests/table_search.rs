//! Every interleaving of the slot table's protocol in small worlds.
//!
//! The search runs the table's own code. A process's state is the list of
//! answers that its memory operations have had since it last started over; to
//! take one more step, the code runs again on that list, does one new
//! operation for real, and then meets words that lead it to an end and whose
//! effects are dropped. A process that pauses or dies is one that the search
//! no longer picks, so pauses and deaths at every operation are all here.
//!
//! In every state it is checked that no key was granted more than its burst
//! and rate allow; and that each process, left alone from there (all others
//! paused or dead), comes to an answer. Memory is sequentially consistent in
//! this model; the loom models check the orderings.

mod small_worlds;

use forebay::internals::limiter::{Answer, Form, OnFull, Rule, Table, Witness};
use forebay::internals::Words;
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

/// A word that ends the code quickly: the key's own slot, live and full.
struct Ending {
    label: u64,
}

/// Memory on which one process takes one step.
struct Step<'a> {
    memory: RefCell<Vec<u64>>,
    /// Answers already given since the last start.
    script: &'a [u64],
    /// Operations asked for so far.
    asked: Cell<usize>,
    /// How many operations are real; beyond, nothing counts.
    until: usize,
    answers: RefCell<Vec<u64>>,
    /// Where in `answers` the code last started over.
    started: Cell<usize>,
    starts: Cell<usize>,
    /// The clock's reading with which it did.
    now: Cell<u64>,
    /// Whose live bucket the step evicts.
    evicted: Cell<Option<u64>>,
    ending: Ending,
}

const FAILED: u64 = 1 << 63;

/// In a call beside its key: the token is given back as soon as it is had, as
/// by a request that another limit refused.
const UNDO: u64 = 1 << 16;
/// In a call beside its key: a token is given back, whoever spent it.
const REFUND: u64 = 1 << 17;
/// In a call beside its key: a token is taken that may not be there.
const PENALTY: u64 = 1 << 18;

/// In a call beside its key: tries the short way first, as a limiter does.
const HIT: u64 = 1 << 19;

fn key_of(call: u64) -> u64 {
    call & 0xffff
}

/// Rounds after which a call gives up, as the real one does later: claims move
/// time on, so without an end the worlds would be infinite.
const ROUNDS: usize = 2;

impl Step<'_> {
    fn act(&self, index: usize, real: impl FnOnce(&mut u64) -> u64) -> Option<u64> {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        let answer = if let Some(answer) = self.script.get(asked) {
            *answer
        } else if asked < self.until {
            real(&mut self.memory.borrow_mut()[index])
        } else {
            return None;
        };
        self.answers.borrow_mut().push(answer);
        Some(answer)
    }

    fn is_over(&self) -> bool {
        self.asked.get() > self.until
    }
}

impl Words for Step<'_> {
    fn load(&self, index: usize, _: Ordering) -> u64 {
        let is_time = index.is_multiple_of(2);
        let ending = if is_time { 0 } else { self.ending.label };
        self.act(index, |word| *word).unwrap_or(ending)
    }

    fn store(&self, _: usize, _: u64, _: Ordering) {
        unreachable!("the protocol exchanges words, it never stores");
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        // Words are below 2^63 in these worlds, so the top bit can say "failed".
        let answer = self.act(index, |word| {
            if *word == old {
                *word = new;
                old
            } else {
                *word | FAILED
            }
        });
        match answer {
            None => Ok(old),
            Some(answer) if answer & FAILED == 0 => Ok(answer),
            Some(answer) => Err(answer & !FAILED),
        }
    }

    fn add(&self, _: usize, _: u64) -> u64 {
        unreachable!("the protocol exchanges words, it never adds");
    }

    fn fence(&self, _: Ordering) {}

    fn spin(&self) {}
}

impl Witness for Step<'_> {
    fn evicting_live(&self, label: u64) {
        // Once: when the operation just before it is the new one. (Calls that
        // run to their end in one go evict nobody.)
        if self.asked.get() == self.until {
            self.evicted.set(Some(label >> 21));
        }
    }

    /// It is one of the words.
    fn clock(&self) -> u64 {
        let last = self.memory.borrow().len() - 1;
        self.load(last, Ordering::Acquire)
    }

    fn starting_over(&self, now: u64) {
        if self.asked.get() <= self.until {
            self.now.set(now);
            self.started.set(self.answers.borrow().len());
            self.starts.set(self.starts.get() + 1);
        }
    }
}

#[derive(Clone, Hash, PartialEq, Eq)]
struct Process {
    /// The keys it asks for, one call each, those done taken off; with what it
    /// asks, unless that is a token.
    calls: Vec<u64>,
    /// When it read the clock for the current call.
    now: Option<u64>,
    answers: Vec<u64>,
    /// How often the call has started over.
    rounds: usize,
}

#[derive(Clone, Default, Hash, PartialEq, Eq)]
struct Key {
    granted: u64,
    refunded: u64,
    evictions: u64,
    first: Option<u64>,
}

#[derive(Clone, Hash, PartialEq, Eq)]
struct State {
    memory: Vec<u64>,
    clock: u64,
    ticks_left: u64,
    processes: Vec<Process>,
    keys: Vec<Key>,
}

struct World<'a> {
    on_full: OnFull,
    slots: usize,
    rule: Rule,
    /// How far the clock jumps, and how often it may.
    jump: u64,
    jumps: u64,
    /// The calls of each process.
    calls: &'a [&'a [u64]],
    /// Calls made one after another before the search begins: {key, clock}.
    before: &'a [(u64, u64)],
    /// The clock when it begins.
    start: u64,
}

impl World<'_> {
    fn table(&self) -> Table {
        Table {
            at: 0,
            slots: 16,
            group: self.slots,
            on_full: self.on_full,
            form: Form::Bucket,
        }
    }

    /// Runs a process's current call for `until` operations in all.
    fn run<'a>(&self, memory: Vec<u64>, process: &'a Process, until: usize) -> (Step<'a>, Answer) {
        let call = process.calls[0];
        let key = key_of(call);
        let group = self.table().small_group(key);
        let step = Step {
            memory: RefCell::new(memory),
            script: &process.answers,
            asked: Cell::new(0),
            until,
            answers: RefCell::new(Vec::new()),
            started: Cell::new(0),
            starts: Cell::new(0),
            now: Cell::new(0),
            evicted: Cell::new(None),
            ending: Ending {
                label: key << 21 | 2,
            },
        };
        let now = process.now.expect("the call has begun");
        step.now.set(now);
        let ticks = self.rule.increment;
        let (table, rule) = (self.table(), &self.rule);
        // Whoever lowers a word reads the clock anew.
        let clock = || step.clock();
        let answer = match call - key {
            UNDO => {
                let decide = |arrival, now| rule.charge(arrival, now, ticks);
                match table.advance(&step, &group, now, decide, &step) {
                    Ok(entry) => {
                        let now = clock();
                        let returns = |word| rule.returns(word, entry.arrival, ticks, now);
                        table.undo(&step, &entry, now, returns);
                        Answer::Refused(entry.arrival)
                    }
                    Err(answer) => answer,
                }
            }
            REFUND => Answer::Refused(table.refund(&step, &group, clock(), |_| ticks)),
            PENALTY => {
                let decide = |arrival: u64, now| Some(arrival.max(now) + ticks);
                let debt = table.advance(&step, &group, now, decide, &step);
                debt.map_or_else(|answer| answer, |entry| Answer::Refused(entry.arrival))
            }
            HIT => match table.hit(&step, &group, rule, ticks, now) {
                Some(Ok(arrival)) => Answer::Admitted(arrival),
                Some(Err(arrival)) => Answer::Refused(arrival),
                None => table.charge(&step, &group, rule, ticks, now, &step),
            },
            _ => table.charge(&step, &group, rule, ticks, now, &step),
        };
        (step, answer)
    }

    fn first(&self) -> State {
        let keys = 1 + self
            .calls
            .iter()
            .flat_map(|calls| calls.iter())
            .chain(self.before.iter().map(|(key, _)| key))
            .map(|call| key_of(*call))
            .max()
            .unwrap();
        let mut state = State {
            // The slots, and the clock.
            memory: vec![0; 2 * self.slots + 1],
            clock: self.start,
            ticks_left: self.jumps,
            processes: Vec::new(),
            keys: vec![Key::default(); keys as usize],
        };
        for (key, clock) in self.before {
            state.clock = *clock;
            state.processes = vec![Process {
                calls: vec![*key],
                now: Some(*clock),
                answers: Vec::new(),
                rounds: 0,
            }];
            state.keys[*key as usize].first.get_or_insert(*clock);
            let process = state.processes[0].clone();
            let (step, answer) = self.run(state.memory.clone(), &process, usize::MAX - 1);
            state.memory = step.memory.take();
            if let Answer::Admitted(_) = answer {
                state.keys[*key as usize].granted += 1;
            }
        }
        state.clock = self.start;
        state.memory[2 * self.slots] = self.start;
        state.processes = self
            .calls
            .iter()
            .map(|calls| Process {
                calls: calls.to_vec(),
                now: None,
                answers: Vec::new(),
                rounds: 0,
            })
            .collect();
        state
    }

    /// All states one step on.
    fn next(&self, state: &State, into: &mut Vec<State>) {
        if state.ticks_left > 0 {
            let mut later = state.clone();
            later.clock += self.jump;
            later.memory[2 * self.slots] = later.clock;
            later.ticks_left -= 1;
            into.push(later);
        }
        let processes = 0..state.processes.len();
        into.extend(processes.filter_map(|i| self.step(state, i)));
    }

    /// The state after one step of process `i`, if it has anything left to do.
    fn step(&self, state: &State, i: usize) -> Option<State> {
        let process = &state.processes[i];
        let call = *process.calls.first()?;
        let key = key_of(call) as usize;
        let mut next = state.clone();
        if process.now.is_none() {
            next.processes[i].now = Some(state.clock);
            next.keys[key].first.get_or_insert(state.clock);
            next.keys[key].refunded += u64::from(call & REFUND != 0);
            return Some(next);
        }
        let (step, answer) = self.run(state.memory.clone(), process, process.answers.len() + 1);
        if let Some(evicted) = step.evicted.get() {
            next.keys[evicted as usize].evictions += 1;
        }
        let rounds = process.rounds + step.starts.get().saturating_sub(1);
        let goes_on = step.is_over() && rounds < ROUNDS;
        let moved = &mut next.processes[i];
        if goes_on {
            let answers = step.answers.take();
            moved.answers = answers[step.started.get()..].to_vec();
            moved.now = Some(step.now.get());
            moved.rounds = rounds;
            // Who starts over is on the long way.
            if step.starts.get() > 0 {
                moved.calls[0] &= !HIT;
            }
        } else {
            moved.answers.clear();
            moved.rounds = 0;
            moved.now = None;
            moved.calls.remove(0);
            if !step.is_over() && matches!(answer, Answer::Admitted(_)) {
                next.keys[key].granted += 1;
            }
        }
        next.memory = step.memory.take();
        Some(next)
    }

    /// Pauses the processes one after another at each of their steps, lets the
    /// last one finish, and then the others from the first on; returns how many
    /// schedules that makes. Reaches worlds with more processes than the search.
    fn pause_each(&self, state: &State, next: usize, order: &[usize]) -> usize {
        let last = self.calls.len() - 1;
        if next == last {
            let mut state = state.clone();
            for i in [last].iter().chain(order) {
                while let Some(later) = self.step(&state, *i) {
                    state = later;
                }
                self.check(&state);
            }
            return 1;
        }
        let mut schedules = 0;
        let mut paused = Some(state.clone());
        while let Some(state) = paused {
            schedules += self.pause_each(&state, next + 1, order);
            paused = self.step(&state, next);
        }
        schedules
    }

    fn check(&self, state: &State) {
        let Rule {
            increment, burst, ..
        } = self.rule;
        let evictions: u64 = state.keys.iter().map(|key| key.evictions).sum();
        for (i, key) in state.keys.iter().enumerate() {
            let elapsed = state.clock - key.first.unwrap_or(state.clock);
            let mut bound = (burst + key.refunded) * increment + elapsed;
            if self.on_full == OnFull::Lenient && key.evictions > 0 {
                // Each live eviction of this key gives a fresh burst.
                bound += key.evictions * burst * increment;
            }
            // A call that slept through an eviction may spend what it saw before.
            if self.on_full == OnFull::Lenient && evictions > 0 {
                bound += state.processes.len() as u64 * increment;
            }
            assert!(
                key.granted * increment <= bound,
                "key {i} was granted {} in {elapsed} ticks, evictions {}, memory {:x?}",
                key.granted,
                key.evictions,
                state.memory,
            );
        }
        // Left alone, everybody comes to an end.
        for process in &state.processes {
            if process.now.is_some() {
                let (_, answer) = self.run(state.memory.clone(), process, usize::MAX - 1);
                assert_ne!(answer, Answer::Contended, "stuck on {:x?}", state.memory);
            }
        }
    }

    /// Searches everything that can be reached; returns how many states.
    fn search(&self) -> usize {
        small_worlds::search(
            self.first(),
            |state| self.check(state),
            |state, into| self.next(state, into),
        )
    }
}

const TOKEN: u64 = 1000;

fn rule(burst: u64) -> Rule {
    Rule::bucket(TOKEN, burst)
}

/// Two claimers of one key, and a third key that changes which slot is the
/// emptiest between them: the key must not get two slots.
#[test]
fn strict_claimers_of_one_key_never_hold_two_slots() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(1),
        jump: TOKEN,
        jumps: 0,
        calls: &[&[1], &[1], &[2]],
        before: &[],
        start: TOKEN,
    }
    .search();
    assert!(states > 5_000, "only {states} states");
}

/// A claimer that slept through its victim's being charged must not evict it.
#[test]
fn strict_sleeping_claimers_evict_nobody_who_was_charged_meanwhile() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(1),
        jump: 2 * TOKEN,
        jumps: 1,
        calls: &[&[1], &[3], &[1]],
        before: &[(1, TOKEN), (2, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 5_000, "only {states} states");
}

/// Two claimers who come back for more on a table of drained buckets, while
/// time passes.
#[test]
fn strict_newcomers_on_a_table_with_drained_buckets() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(1),
        jump: TOKEN,
        jumps: 3,
        calls: &[&[1, 1], &[1, 2]],
        before: &[(3, TOKEN), (4, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// The same with fresh bursts for newcomers: the bound grows by one burst for
/// every live eviction, and by no more.
#[test]
fn lenient_claimers_gain_only_what_is_counted() {
    let states = World {
        on_full: OnFull::Lenient,
        slots: 2,
        rule: rule(1),
        jump: TOKEN,
        jumps: 1,
        calls: &[&[1, 1], &[1, 2]],
        before: &[(3, TOKEN), (4, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// Three slots, so that a claimer can help one claim while another is lower.
#[test]
fn strict_claimers_help_each_other_among_three_slots() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 3,
        rule: rule(1),
        jump: TOKEN,
        jumps: 0,
        calls: &[&[1, 2], &[1]],
        before: &[],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// Somebody reads half of a slot and sleeps; the slot is evicted twice, first by
/// one who sleeps before being charged; its key drains its bucket elsewhere. The
/// sleeper must not be granted one more from the slot that is no longer its key's.
#[test]
fn strict_sleepers_at_every_step_are_granted_nothing_extra() {
    let world = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(3),
        jump: 0,
        jumps: 0,
        calls: &[&[1], &[2], &[3], &[1, 1]],
        // A few ticks apart, so that the first slot is the emptiest; and a few
        // later, or the ticks that claims cost would hide a token too many.
        before: &[(1, TOKEN), (9, TOKEN + 5)],
        start: TOKEN + 10,
    };
    let schedules = world.pause_each(&world.first(), 0, &[0, 1, 2]);
    println!("{schedules} schedules");
    assert!(schedules > 1_000, "only {schedules} schedules");
}

/// The same of who sleeps on the short way.
#[test]
fn strict_sleepers_on_the_short_way_are_granted_nothing_extra() {
    let world = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(3),
        jump: 0,
        jumps: 0,
        calls: &[&[HIT | 1], &[2], &[3], &[HIT | 1, HIT | 1]],
        before: &[(1, TOKEN), (9, TOKEN + 5)],
        start: TOKEN + 10,
    };
    let schedules = world.pause_each(&world.first(), 0, &[0, 1, 2]);
    println!("{schedules} schedules");
    assert!(schedules > 1_000, "only {schedules} schedules");
}

/// Callers on the short way and on the long one, while a newcomer evicts them.
#[test]
fn strict_the_short_way_and_the_long_one_share_a_bucket() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(2),
        jump: TOKEN,
        jumps: 2,
        calls: &[&[HIT | 1, HIT | 1], &[HIT | 1, 2]],
        before: &[(1, TOKEN), (3, TOKEN), (3, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// A charge that is taken back mints nothing, whoever came in between: others
/// who took what it had spent, or who evicted it.
#[test]
fn strict_charges_that_are_taken_back_leave_no_token_behind() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(1),
        jump: TOKEN / 2,
        jumps: 1,
        calls: &[&[UNDO | 1], &[1, 2]],
        before: &[(3, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// The same where newcomers evict live buckets.
#[test]
fn lenient_charges_that_are_taken_back_leave_no_token_behind() {
    let states = World {
        on_full: OnFull::Lenient,
        slots: 2,
        rule: rule(1),
        jump: TOKEN / 2,
        jumps: 1,
        calls: &[&[UNDO | 1], &[2, 1]],
        before: &[(4, TOKEN)],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// The one slot there is becomes another key's between the charge and its being
/// taken back: that key's bucket is none of ours.
#[test]
fn a_charge_is_not_taken_back_from_another_key() {
    let world = World {
        on_full: OnFull::Lenient,
        slots: 1,
        rule: rule(2),
        jump: 0,
        jumps: 0,
        calls: &[],
        before: &[],
        start: TOKEN,
    };
    let words = Step {
        memory: RefCell::new(vec![0, 0, TOKEN]),
        script: &[],
        asked: Cell::new(0),
        until: usize::MAX - 1,
        answers: RefCell::new(Vec::new()),
        started: Cell::new(0),
        starts: Cell::new(0),
        now: Cell::new(0),
        evicted: Cell::new(None),
        ending: Ending { label: 0 },
    };
    let (table, rule) = (world.table(), &world.rule);
    let [one, two] = [1, 2].map(|key| table.small_group(key));
    let decide = |arrival, now| rule.charge(arrival, now, TOKEN);
    let entry = table
        .advance(&words, &one, TOKEN, decide, &words)
        .expect("a full bucket");
    for _ in 0..2 {
        let answer = table.charge(&words, &two, rule, TOKEN, TOKEN, &words);
        assert!(matches!(answer, Answer::Admitted(_)), "{answer:?}");
    }
    assert!(!table.undo(&words, &entry, TOKEN, |_| TOKEN));
    let answer = table.charge(&words, &two, rule, TOKEN, TOKEN, &words);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    // In its own residence it is taken back, and only until it is earned anyhow.
    let entry = table
        .advance(&words, &one, TOKEN, decide, &words)
        .expect("a full bucket");
    assert!(!table.undo(&words, &entry, entry.arrival, |_| TOKEN));
    assert!(table.undo(&words, &entry, TOKEN, |_| TOKEN));
    assert_eq!(table.arrival(&words, &one), TOKEN);
}

/// Requests that are refused elsewhere, while others take all that there is.
#[test]
fn charges_are_taken_back_once_while_others_drain_the_bucket() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(3),
        jump: TOKEN / 2,
        jumps: 1,
        calls: &[&[UNDO | 1, UNDO | 1], &[1, 1, 1, 1, 1]],
        before: &[],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// Refunds widen the bound by what they give back, and penalties never do.
#[test]
fn refunds_and_penalties_give_no_more_than_they_say() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rule: rule(1),
        jump: TOKEN,
        jumps: 1,
        calls: &[&[1, REFUND | 1], &[PENALTY | 1, 1]],
        before: &[],
        start: TOKEN,
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}
