//! Windows, several rates and changes of rates in small worlds: every
//! interleaving, every pause and every death, and every script of reservations
//! that are cancelled. The bounds are checked from their definitions.
//!
//! `table_search.rs` is about the protocol of the slots; the words of a window
//! are under the same one, and here it is asked whether they are counted
//! rightly by it.

mod small_worlds;

use forebay::internals::limiter::{
    ticks_of, tiers, Answer, Entry, Form, OnFull, Rule, Shape, Slices, Table, Witness, TICKS,
};
use forebay::{LimiterOptions, Rate, Rates};
use small_worlds::{run, search, Answered, Step, Stepped};

impl Witness for Step<'_> {
    fn evicting_live(&self, label: u64) {
        self.evicts(label);
    }

    fn clock(&self) -> u64 {
        self.now()
    }

    fn starting_over(&self, now: u64) {
        self.starts_over(now);
    }
}

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const MS: u64 = 1_000_000;
/// Ticks of a token of a bucket.
const TOKEN: u64 = 1000;

/// A minute in three slices, each of 20 seconds.
fn sliding(limit: u64) -> Rule {
    let slices = Slices::new(MINUTE, 8).expect("room");
    window(Form::Sliding(slices), limit)
}

fn fixed(limit: u64) -> Rule {
    window(Form::Fixed, limit)
}

fn window(form: Form, limit: u64) -> Rule {
    Rule {
        form,
        increment: MINUTE * TICKS,
        burst: limit,
    }
}

fn bucket(burst: u64) -> Rule {
    Rule::bucket(TOKEN, burst)
}

/// What a call asks for: a key, and so many tokens of each rate.
type Call = (u64, u64);

/// What was admitted: tokens, and by each rate the clock's reading that it was
/// decided by and the word that it made.
type Grant = (u64, Vec<(u64, u64)>);

/// More operations than any call has.
const MANY: usize = 10_000;

/// Times that a call starts over before it gives up, as the real one does later.
const ROUNDS: usize = 2;

#[derive(Clone, Hash)]
struct Process {
    /// The calls to come, and the present one.
    calls: Vec<Call>,
    /// When it read the clock for the present one.
    now: Option<u64>,
    answers: Vec<Answered>,
    rounds: usize,
}

#[derive(Clone, Default, Hash)]
struct Key {
    grants: Vec<Grant>,
    /// Tokens of calls that gave up in the middle.
    given_up: u64,
    evictions: u64,
}

#[derive(Clone, Hash)]
struct State {
    memory: Vec<u64>,
    clock: u64,
    jumps: u64,
    processes: Vec<Process>,
    keys: Vec<Key>,
}

struct World<'a> {
    on_full: OnFull,
    slots: usize,
    /// One for each table.
    rules: &'a [Rule],
    /// Calls made two minutes before the search begins, so that there are slots.
    before: &'a [Call],
    start: u64,
    /// How far the clock jumps, and how often.
    jump: u64,
    jumps: u64,
    calls: &'a [&'a [Call]],
}

impl World<'_> {
    fn table(&self, rate: usize) -> Table {
        Table {
            at: rate * 2 * self.slots,
            slots: 16,
            group: self.slots,
            on_full: self.on_full,
            form: self.rules[rate].form,
        }
    }

    /// Charges one rate, as `Limiter::charge` does: who has slept asks a window
    /// again at the clock's reading.
    fn charge(&self, step: &Step<'_>, rate: usize, (key, cost): Call, now: u64) -> Option<Entry> {
        let (table, rule) = (self.table(rate), &self.rules[rate]);
        let (group, amount) = (table.small_group(key), rule.amount(cost)?);
        let decide = |word, now| rule.charge(word, now, amount);
        match table.advance(step, &group, now, decide, step) {
            Ok(entry) => Some(entry),
            Err(Answer::Refused(word)) if rule.form != Form::Bucket => {
                let later = step.now();
                if later <= now || decide(word, later).is_none() {
                    return None;
                }
                table.advance(step, &group, later, decide, step).ok()
            }
            Err(answer) => {
                assert_ne!(answer, Answer::Contended, "stuck");
                None
            }
        }
    }

    /// Charges all rates or none, as `hold` does: looks at all of them, charges
    /// the one with the least to spare first, and gives back if one refuses.
    fn hold(&self, step: &Step<'_>, call: Call, now: u64) -> Option<Vec<Entry>> {
        if self.rules.len() == 1 {
            return Some(vec![self.charge(step, 0, call, now)?]);
        }
        let (key, cost) = call;
        let mut order = Vec::new();
        for (rate, rule) in self.rules.iter().enumerate() {
            let table = self.table(rate);
            let word = table.arrival(step, &table.small_group(key));
            if rule.book(word, now, rule.amount(cost)?).0 > now {
                return None;
            }
            order.push((rule.remaining(word, now), rate));
        }
        order.sort_unstable();
        let mut entries: Vec<Option<Entry>> = vec![None; order.len()];
        for (_, rate) in order {
            entries[rate] = self.charge(step, rate, call, now);
            if entries[rate].is_none() {
                self.undo(step, cost, &entries);
                return None;
            }
        }
        entries.into_iter().collect()
    }

    fn undo(&self, step: &Step<'_>, cost: u64, entries: &[Option<Entry>]) {
        let now = step.now();
        for (rate, entry) in entries.iter().enumerate() {
            if let Some(entry) = entry {
                let rule = &self.rules[rate];
                let amount = rule.amount(cost).expect("it was charged");
                let returns = |word| rule.returns(word, entry.arrival, amount, now);
                self.table(rate).undo(step, entry, now, returns);
            }
        }
    }

    fn run(&self, state: &State, process: &Process, left: usize) -> Stepped<Option<Vec<Entry>>> {
        let (call, now) = (process.calls[0], process.now.expect("it has begun"));
        let memory = state.memory.clone();
        run(memory, state.clock, &process.answers, left, |step| {
            self.hold(step, call, now)
        })
    }

    fn search(&self) -> usize {
        let calls = || self.calls.iter().flat_map(|calls| calls.iter());
        let keys = calls().map(|(key, _)| key + 1).max().expect("some calls");
        let process = |calls: &&[Call]| Process {
            calls: calls.to_vec(),
            now: None,
            answers: Vec::new(),
            rounds: 0,
        };
        let mut memory = vec![0; 2 * self.slots * self.rules.len()];
        let then = self.start - 2 * MINUTE * TICKS;
        for call in self.before {
            memory = run(memory, then, &[], MANY, |step| self.hold(step, *call, then)).memory;
        }
        let first = State {
            memory,
            clock: self.start,
            jumps: self.jumps,
            processes: self.calls.iter().map(process).collect(),
            keys: vec![Key::default(); keys as usize],
        };
        search(
            first,
            |state| self.check(state),
            |state, into| self.next(state, into),
        )
    }

    /// All states one step on.
    fn next(&self, state: &State, into: &mut Vec<State>) {
        if state.jumps > 0 {
            let mut later = state.clone();
            later.clock += self.jump;
            later.jumps -= 1;
            into.push(later);
        }
        let processes = 0..state.processes.len();
        into.extend(processes.filter_map(|i| self.step(state, i)));
    }

    fn step(&self, state: &State, i: usize) -> Option<State> {
        let process = &state.processes[i];
        let (key, cost) = *process.calls.first()?;
        let mut next = state.clone();
        if process.now.is_none() {
            next.processes[i].now = Some(state.clock);
            return Some(next);
        }
        let stepped = self.run(state, process, 1);
        if let Some(label) = stepped.evicted {
            next.keys[(label >> 21) as usize].evictions += 1;
        }
        next.memory = stepped.memory;
        let moved = &mut next.processes[i];
        let (times, started, now) = stepped.started;
        // What came before is forgotten by a call of one rate.
        let rounds = match self.rules.len() {
            1 => process.rounds + times.saturating_sub(1),
            rates => times.saturating_sub(rates),
        };
        if stepped.end.is_none() && rounds <= ROUNDS {
            moved.answers = stepped.answers;
            if self.rules.len() == 1 && times > 0 {
                moved.answers.drain(..started);
                moved.now = Some(now);
                moved.rounds = rounds;
            }
            return Some(next);
        }
        moved.answers.clear();
        moved.now = None;
        moved.rounds = 0;
        moved.calls.remove(0);
        if let Some(Some(entries)) = stepped.end {
            let words = entries.iter().map(|entry| (entry.now, entry.arrival));
            next.keys[key as usize].grants.push((cost, words.collect()));
            // Their order says nothing.
            next.keys[key as usize].grants.sort_unstable();
        } else if stepped.end.is_none() {
            next.keys[key as usize].given_up += cost;
        }
        Some(next)
    }

    fn check(&self, state: &State) {
        let evictions: u64 = state.keys.iter().map(|key| key.evictions).sum();
        for (key, seen) in state.keys.iter().enumerate() {
            for (rate, rule) in self.rules.iter().enumerate() {
                let mut extra = 0;
                if self.on_full == OnFull::Lenient && evictions > 0 {
                    // Each live eviction of the key gives a fresh burst; a call
                    // that slept through one may spend what it saw before.
                    extra = seen.evictions * rule.burst + state.processes.len() as u64;
                }
                let grants: Vec<_> = seen.grants.iter().map(|(n, at)| (*n, at[rate])).collect();
                let admitted = within(rule, &grants);
                assert!(
                    admitted <= rule.burst + extra,
                    "key {key} was granted {admitted} of rate {rate}: {grants:?}, {} evictions, \
                     memory {:x?}",
                    seen.evictions,
                    state.memory
                );
            }
            self.check_losses(state, key as u64);
        }
        // Left alone, everybody comes to an end.
        for process in state
            .processes
            .iter()
            .filter(|process| process.now.is_some())
        {
            assert!(self.run(state, process, MANY).end.is_some());
        }
    }

    /// A key that is not crowded lacks at most what it was granted and what
    /// those took who are in the middle of a call, or died there; and nothing
    /// once time has passed.
    fn check_losses(&self, state: &State, key: u64) {
        if self.slots + 1 < state.keys.len() {
            return;
        }
        let seen = &state.keys[key as usize];
        let begun = state
            .processes
            .iter()
            .filter(|process| process.now.is_some());
        let calls = begun.map(|process| process.calls[0]);
        let in_hand: u64 = calls.filter(|call| call.0 == key).map(|call| call.1).sum();
        for (rate, rule) in self.rules.iter().enumerate() {
            let table = self.table(rate);
            let memory = state.memory.clone();
            let looked = run(memory.clone(), state.clock, &[], MANY, |step| {
                table.arrival(step, &table.small_group(key))
            });
            let left = rule.remaining(looked.end.expect("it ends"), state.clock);
            let least = least_left(rule, rate, &seen.grants, state.clock);
            assert!(
                left + in_hand + seen.given_up >= least,
                "rate {rate}: key {key} has {left} and not {least}: {memory:x?}"
            );
            let later = state.clock + 3 * MINUTE * TICKS;
            let all = run(memory, later, &[], MANY, |step| {
                self.charge(step, rate, (key, rule.burst), later)
            });
            assert!(all.end.flatten().is_some(), "rate {rate}: lost for good");
        }
    }
}

/// What is left where nobody but those who were granted something took it.
fn least_left(rule: &Rule, rate: usize, grants: &[Grant], clock: u64) -> u64 {
    let granted = || grants.iter().map(|(tokens, at)| (at[rate].0, *tokens));
    if rule.form == Form::Fixed {
        // Who slept counts in the window that has begun meanwhile.
        let ends = || {
            grants
                .iter()
                .map(|(tokens, at)| (at[rate].1 >> 24, *tokens))
        };
        let last = ends().map(|(end, _)| end).max().unwrap_or(0);
        let spent = ends()
            .filter(|(end, _)| *end == last)
            .map(|(_, tokens)| tokens);
        return rule.burst.saturating_sub(spent.sum());
    }
    if let Form::Sliding(_) = rule.form {
        // What is given back there comes back, for a while, a little later.
        let spent = granted().map(|grant| grant.1).sum();
        return rule.burst.saturating_sub(spent);
    }
    let mut granted: Vec<_> = granted().collect();
    granted.sort_unstable();
    let charge = |word, (now, tokens)| {
        let amount = rule.amount(tokens).expect("it was granted");
        rule.owe(word, now, amount)
    };
    rule.remaining(granted.into_iter().fold(0, charge), clock)
}

/// The most that any interval has of what was granted, {tokens, {when, word}}:
/// of a window's length, or, of a bucket, less what it regains in it.
fn within(rule: &Rule, grants: &[(u64, (u64, u64))]) -> u64 {
    let sum = |is_in: &dyn Fn(u64, u64) -> bool| -> u64 {
        let inside = grants.iter().filter(|(_, (at, word))| is_in(*at, *word));
        inside.map(|grant| grant.0).sum()
    };
    let most = grants.iter().map(|(_, (from, word))| match rule.form {
        Form::Sliding(_) => sum(&|at, _| (*from..=from + rule.increment).contains(&at)),
        // A word says when its window ends, in milliseconds; a new one does not
        // end before another one could have begun at the end of this.
        Form::Fixed => {
            let ends = word >> 24..(word >> 24) + rule.increment / TICKS / MS;
            sum(&|_, word| ends.contains(&(word >> 24)))
        }
        Form::Bucket => {
            let to = grants
                .iter()
                .map(|(_, (to, _))| *to)
                .filter(|to| to >= from);
            let above = to.map(|to| {
                let regained = to - from;
                let tokens = sum(&|at, _| (*from..=to).contains(&at));
                (tokens * rule.increment)
                    .saturating_sub(regained)
                    .div_ceil(rule.increment)
            });
            above.max().unwrap_or(0)
        }
    });
    most.max().unwrap_or(0)
}

/// Half past the beginning of a slice.
fn start() -> u64 {
    ticks_of(150 * SECOND)
}

const fn seconds(n: u64) -> u64 {
    n * SECOND * TICKS
}

/// Callers of one key and a third key that drives them out, slices passing.
#[test]
fn strict_sliding_windows_admit_their_limit_in_any_window() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rules: &[sliding(2)],
        before: &[],
        start: start(),
        jump: seconds(15),
        jumps: 1,
        calls: &[&[(1, 1), (1, 2)], &[(2, 1), (1, 1)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// More keys than slots, so that each newcomer drives somebody out.
#[test]
fn strict_sliding_windows_that_are_evicted_come_back_as_tight() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rules: &[sliding(4)],
        before: &[],
        start: start(),
        jump: seconds(25),
        jumps: 1,
        calls: &[&[(1, 3), (1, 2)], &[(2, 1), (3, 1)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

#[test]
fn lenient_sliding_windows_gain_only_what_is_counted() {
    let states = World {
        on_full: OnFull::Lenient,
        slots: 1,
        rules: &[sliding(2)],
        before: &[],
        start: start(),
        jump: seconds(25),
        jumps: 1,
        calls: &[&[(1, 1), (1, 2)], &[(2, 1), (1, 1)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

#[test]
fn strict_fixed_windows_admit_their_limit_each() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 2,
        rules: &[fixed(3)],
        before: &[],
        start: start() + 3,
        jump: seconds(35),
        jumps: 2,
        calls: &[&[(1, 2), (1, 1)], &[(1, 2)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

#[test]
fn lenient_fixed_windows_gain_only_what_is_counted() {
    let states = World {
        on_full: OnFull::Lenient,
        slots: 1,
        rules: &[fixed(2)],
        before: &[],
        start: start() + 3,
        jump: seconds(35),
        jumps: 1,
        calls: &[&[(1, 1), (1, 2)], &[(2, 1), (1, 1)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// The tighter of two buckets is full again before the other: who looked before
/// charges it, is refused by the other, and gives back.
#[test]
fn two_buckets_are_charged_both_or_neither() {
    let states = World {
        on_full: OnFull::Strict,
        slots: 1,
        rules: &[bucket(2), Rule::bucket(20 * TOKEN, 3)],
        before: &[(1, 1)],
        start: start(),
        jump: TOKEN * 5 / 2,
        jumps: 1,
        calls: &[&[(1, 2)], &[(1, 2)], &[(1, 1)]],
    }
    .search();
    assert!(states > 10_000, "only {states} states");
}

/// The same of a window of each form beside a bucket.
#[test]
fn a_window_and_a_bucket_are_charged_both_or_neither() {
    for window in [fixed(2), sliding(2)] {
        let states = World {
            on_full: OnFull::Lenient,
            slots: 1,
            rules: &[Rule::bucket(seconds(5), 1), window],
            before: &[(1, 1)],
            start: start(),
            jump: seconds(25),
            jumps: 1,
            calls: &[&[(1, 1)], &[(1, 1)], &[(1, 1)]],
        }
        .search();
        assert!(states > 10_000, "only {states} states");
    }
}

/// A place that was reserved, or tokens that were taken.
#[derive(Clone, Copy)]
struct Place {
    tokens: u64,
    /// When they were booked and when they act, in ticks, and the word then.
    booked: u64,
    due: u64,
    then: u64,
}

/// A key's word, and who has a place in it.
#[derive(Clone)]
struct Book {
    word: u64,
    now: u64,
    places: Vec<Place>,
}

/// Every script of a small world: tokens that are taken, taken back, reserved
/// and cancelled while time passes; how many scripts.
fn play(rule: &Rule, book: &Book, steps: [u64; 2], left: usize) -> usize {
    let grants: Vec<_> = book
        .places
        .iter()
        .map(|place| (place.tokens, (place.due, place.then)))
        .collect();
    let most = within(rule, &grants);
    assert!(most <= rule.burst, "{:?}: {most} of {grants:?}", rule.form);
    if left == 0 {
        return 1;
    }
    let mut scripts = 0;
    let mut go_on = |book: Book| scripts += play(rule, &book, steps, left - 1);
    for step in steps {
        go_on(Book {
            now: book.now + step,
            ..book.clone()
        });
    }
    for (tokens, waits) in [(1, false), (1, true), (2, true)] {
        let amount = rule.amount(tokens).expect("within the limit");
        let (due, word) = rule.book(book.word, book.now, amount);
        if due == book.now || waits {
            let mut next = Book {
                word,
                ..book.clone()
            };
            next.places.push(Place {
                tokens,
                booked: book.now,
                due,
                then: word,
            });
            go_on(next);
        }
    }
    // The first that may be given up yet, and the last: a reservation before
    // its time, and what was taken before it would have come back anyhow.
    let floor = rule.form.floor(book.now);
    let may = |i: &usize| {
        let place = &book.places[*i];
        match place.due > place.booked {
            true => place.due > book.now,
            false => place.then > floor,
        }
    };
    let first = (0..book.places.len()).find(may);
    let last = (0..book.places.len())
        .rfind(may)
        .filter(|i| Some(*i) != first);
    for i in first.into_iter().chain(last) {
        let mut next = book.clone();
        let place = next.places.remove(i);
        if book.word > floor {
            let amount = rule.amount(place.tokens).expect("it was booked");
            let mut returns = rule.returns(book.word, place.then, amount, book.now);
            if rule.form == Form::Bucket && place.due == place.booked {
                // As `Table::undo` does.
                returns = returns.saturating_sub(book.now - place.booked);
            }
            next.word = rule.form.give_back(book.word, returns, book.now);
        }
        go_on(next);
    }
    scripts
}

#[test]
fn what_is_given_up_is_never_used_twice() {
    for (rule, steps) in [
        (bucket(2), [TOKEN * 3 / 5, TOKEN * 3 / 2]),
        (fixed(2), [seconds(35), seconds(60)]),
        (sliding(2), [seconds(15), seconds(45)]),
    ] {
        let book = Book {
            word: 0,
            now: start(),
            places: Vec::new(),
        };
        let scripts = play(&rule, &book, steps, 8);
        println!("{:?}: {scripts} scripts", rule.form);
        assert!(scripts > 10_000, "only {scripts}");
    }
}

/// What was charged, and regained since, is not given back as well: or two who
/// came before and after would have more than the burst and the rate.
#[test]
fn a_bucket_does_not_get_back_what_it_has_regained() {
    let (rule, start) = (bucket(2), start());
    let table = Table {
        at: 0,
        slots: 16,
        group: 1,
        on_full: OnFull::Strict,
        form: Form::Bucket,
    };
    let group = table.small_group(1);
    let ended = run(vec![0; 2], start + 600, &[], MANY, |step| {
        let decide = |word, now| rule.charge(word, now, TOKEN);
        let charge = |at| table.advance(step, &group, at, decide, step);
        let first = charge(start).expect("a full bucket");
        charge(start + 600).expect("one more");
        assert!(table.undo(step, &first, start + 600, |_| TOKEN));
        charge(start + 600).expect("what was given back");
        charge(start + 1599).is_err() && charge(start + 1600).is_ok()
    });
    assert_eq!(ended.end, Some(true));
}

/// A count that is full does not run over into another one.
#[test]
fn a_word_that_is_bumped_promises_no_more() {
    let now = start();
    for (rule, tokens) in [(sliding(255), 255), (fixed((1 << 23) - 1), (1 << 23) - 1)] {
        // In the oldest slice that counts, where a slide would be seen.
        let word = rule.charge(0, now, tokens).expect("all there is");
        let later = now + seconds(59);
        let bumped = rule.form.bump(rule.owe(word, later, 0));
        assert!(bumped > word);
        assert_eq!(rule.remaining(bumped, later), 0, "{:?}", rule.form);
    }
}

/// The rates after so many changes, each of them told by either number.
fn rates(version: u64) -> Rates {
    Rate::per_second(10 + version).and(Rate::per_day(1_000 + version).burst(5 + version))
}

/// A change of rates by who has the creation lock.
#[derive(Clone, Copy, Hash)]
enum Change {
    /// Step by step, and it may die at each.
    To(u64),
    /// All that come before this one, while others sleep.
    AllTo(u64),
}

#[derive(Clone, Hash)]
struct Changing {
    memory: Vec<u64>,
    /// The last change that is done, and the last that was begun.
    done: u64,
    begun: u64,
    /// Changes to come, of one process after another; the next one begins
    /// where the first has died, or is done.
    writers: Vec<Vec<Change>>,
    answers: Vec<Answered>,
    readers: Vec<Reader>,
}

#[derive(Clone, Hash)]
struct Reader {
    /// Rates that it is yet to read.
    reads: Vec<usize>,
    answers: Vec<Answered>,
    /// Which change was done when it began.
    from: u64,
}

/// Changes of the rates of a limiter with two.
struct Changes {
    shape: Shape,
    /// Whether each change is one of a second tier, too, which the first adds.
    gold: bool,
    /// The rules of each change.
    rules: Vec<[Rule; 2]>,
}

impl Changes {
    fn options(&self, version: u64) -> LimiterOptions {
        let options = LimiterOptions::new(rates(version));
        match self.gold && version > 0 {
            true => options.tier("gold", rates(2 * version)),
            false => options,
        }
    }

    /// Which change a rule is of; it must be one.
    fn version(&self, rate: usize, rule: Rule) -> u64 {
        let version = self.rules.iter().position(|rules| rules[rate] == rule);
        version.unwrap_or_else(|| panic!("a mixture: {rule:?}")) as u64
    }

    fn change(
        &self,
        memory: Vec<u64>,
        answers: &[Answered],
        left: usize,
        to: u64,
    ) -> Stepped<bool> {
        run(memory, 0, answers, left, |step| {
            tiers::configure(step, &self.shape, &self.options(to)).expect("good options")
        })
    }

    fn read(
        &self,
        memory: Vec<u64>,
        answers: &[Answered],
        left: usize,
        rate: usize,
    ) -> Stepped<Rule> {
        let read = |step: &Step<'_>| tiers::read(step, 0, rate, Form::Bucket);
        run(memory, 0, answers, left, read)
    }

    /// All states one step on.
    fn next(&self, state: &Changing, into: &mut Vec<Changing>) {
        if let Some(change) = state.writers.first().and_then(|changes| changes.first()) {
            let mut next = state.clone();
            match *change {
                Change::To(to) => {
                    next.begun = to;
                    let stepped = self.change(next.memory, &state.answers, 1, to);
                    (next.memory, next.answers) = (stepped.memory, stepped.answers);
                    if stepped.end.is_some() {
                        next.done = to;
                        next.finish();
                    }
                }
                Change::AllTo(last) => {
                    for to in state.done + 1..=last {
                        next.memory = self.change(next.memory, &[], MANY, to).memory;
                    }
                    (next.begun, next.done) = (last, last);
                    next.finish();
                }
            }
            into.push(next);
            if state.writers.len() > 1 {
                let mut without = state.clone();
                without.writers.remove(0);
                without.answers.clear();
                into.push(without);
            }
        }
        for (i, reader) in state.readers.iter().enumerate() {
            let Some(rate) = reader.reads.first() else {
                continue;
            };
            let mut next = state.clone();
            let reading = &mut next.readers[i];
            if reading.answers.is_empty() {
                reading.from = state.done;
            }
            let stepped = self.read(next.memory, &reader.answers, 1, *rate);
            next.memory = stepped.memory;
            reading.answers = stepped.answers;
            if let Some(rule) = stepped.end {
                let version = self.version(*rate, rule);
                assert!(
                    (reading.from..=state.begun).contains(&version),
                    "read {version}, which was not there any more, or not yet"
                );
                reading.answers.clear();
                reading.reads.remove(0);
            }
            into.push(next);
        }
    }

    /// Whoever died, what is there is the old or the new, of each rate and each
    /// tier; and another one can go on.
    fn check(&self, state: &Changing) {
        let read = |memory: &Vec<u64>, rate| {
            let stepped = self.read(memory.clone(), &[], MANY, rate);
            self.version(rate, stepped.end.expect("it ends"))
        };
        for rate in 0..2 {
            assert!((state.done..=state.begun).contains(&read(&state.memory, rate)));
        }
        let gold = run(state.memory.clone(), 0, &[], MANY, |step| {
            let tier = tiers::find(step, "gold")?;
            Some(tiers::read(step, tier, 0, Form::Bucket))
        });
        if let Some(rule) = gold.end.expect("it ends") {
            let version = self.version(0, rule);
            assert!((2 * state.done..=2 * state.begun).contains(&version));
        } else {
            assert!(!self.gold || state.done == 0, "the tier is gone");
        }
        let memory = self.change(state.memory.clone(), &[], MANY, 99).memory;
        assert_eq!([read(&memory, 0), read(&memory, 1)], [99, 99]);
    }

    fn search(&self, writers: &[&[Change]], readers: &[&[usize]]) -> usize {
        let memory = self.change(vec![0; tiers::WORDS], &[], MANY, 0).memory;
        let reader = |reads: &&[usize]| Reader {
            reads: reads.to_vec(),
            answers: Vec::new(),
            from: 0,
        };
        let first = Changing {
            memory,
            done: 0,
            begun: 0,
            writers: writers.iter().map(|changes| changes.to_vec()).collect(),
            answers: Vec::new(),
            readers: readers.iter().map(reader).collect(),
        };
        search(
            first,
            |state| self.check(state),
            |state, into| self.next(state, into),
        )
    }
}

impl Changing {
    /// The present change is done.
    fn finish(&mut self) {
        self.answers.clear();
        self.writers[0].remove(0);
        if self.writers[0].is_empty() {
            self.writers.remove(0);
        }
    }
}

fn changes(gold: bool) -> Changes {
    let options = LimiterOptions::new(rates(0)).max_keys(1);
    let shape = Shape::wanted(&options).expect("good options");
    let rules = (0..200).map(|version| {
        let [first, second, ..] = shape.rules(&rates(version)).expect("good rates");
        [first, second]
    });
    let rules = rules.collect();
    Changes { shape, gold, rules }
}

/// A tier is added and changed beside the default one, and who does it dies.
#[test]
fn rates_that_change_are_read_whole_whoever_dies() {
    let states = changes(true).search(
        &[&[Change::To(1), Change::To(2)], &[Change::To(3)]],
        &[&[1]],
    );
    assert!(states > 10_000, "only {states} states");
}

/// So many changes while a reader sleeps that its record is another one.
#[test]
fn records_that_are_used_again_are_not_taken_for_the_old_ones() {
    let states = changes(false).search(
        &[
            &[Change::AllTo(62), Change::To(63), Change::To(64)],
            &[Change::To(65)],
        ],
        &[&[1]],
    );
    assert!(states > 10_000, "only {states} states");
}
