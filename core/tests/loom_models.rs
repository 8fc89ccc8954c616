//! The orderings of the protocols' pieces, checked by loom on the real code.
//!
//! loom skips interleavings of a load followed by an exchange (loom 0.7 keeps
//! one last access per object), so each model runs twice: with plain loads,
//! which may be stale, and with loads that are read-modify-writes, which loom
//! interleaves fully; stores are exchanges then, or loom would invent
//! executions. Each model asserts the set of outcomes that it saw, exactly, and
//! that loom ran at least so many executions.

use forebay::breaker::Outcome;
use forebay::internals::breaker::{self, Observer, Ticket};
use forebay::internals::limiter::{Answer, Form, OnFull, Rule, Table, Witness};
use forebay::internals::lock::{self, Owner, Participant, Stuck};
use forebay::internals::permits::{self, Ask, End, Held, Shard};
use forebay::internals::{events, Words};
use forebay::{EventKind, State};
use loom::sync::atomic::{fence, AtomicU64};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex};

/// loom's words; `exact` loads are read-modify-writes.
struct LoomWords {
    words: Vec<AtomicU64>,
    exact: bool,
}

impl LoomWords {
    fn new(words: usize, exact: bool) -> LoomWords {
        LoomWords {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            exact,
        }
    }
}

impl Words for LoomWords {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        if self.exact {
            self.words[index].fetch_add(0, AcqRel)
        } else {
            self.words[index].load(order)
        }
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        if self.exact {
            self.words[index].swap(value, AcqRel);
        } else {
            self.words[index].store(value, order);
        }
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.words[index].compare_exchange(old, new, AcqRel, Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.words[index].fetch_add(value, Relaxed)
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {
        loom::thread::yield_now();
    }
}

/// Explores a model in both modes; the outcomes seen must be exactly these.
fn explore<T: Ord + Debug + Send + 'static>(
    preemptions: usize,
    least: [usize; 2],
    expected: impl IntoIterator<Item = T>,
    model: impl Fn(bool) -> T + Send + Sync + Clone + 'static,
) {
    let expected: BTreeSet<T> = expected.into_iter().collect();
    for (exact, least) in [false, true].into_iter().zip(least) {
        let seen = Arc::new(Mutex::new((BTreeSet::new(), 0)));
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        let (model, inner) = (model.clone(), seen.clone());
        builder.check(move || {
            let outcome = model(exact);
            let mut seen = inner.lock().unwrap();
            seen.0.insert(outcome);
            seen.1 += 1;
        });
        let seen = seen.lock().unwrap();
        println!(
            "exact {exact}: {} executions, outcomes {:?}",
            seen.1, seen.0
        );
        assert_eq!(seen.0, expected, "exact {exact}");
        assert!(seen.1 >= least, "exact {exact}: only {} executions", seen.1);
    }
}

struct Quiet;

impl Witness for Quiet {
    fn clock(&self) -> u64 {
        TOKEN
    }
    fn evicting_live(&self, _label: u64) {}
}

const TOKEN: u64 = 1000;

fn charge(words: &LoomWords, key: u64) -> Answer {
    let table = Table {
        at: 0,
        slots: 16,
        group: 2,
        on_full: OnFull::Strict,
        form: Form::Bucket,
    };
    let rule = Rule::bucket(TOKEN, 1);
    let group = table.small_group(key);
    table.charge(words, &group, &rule, TOKEN, TOKEN, &Quiet)
}

/// Two claimers of a fresh key with a burst of one: one token is granted,
/// whatever the order and however stale their loads.
#[test]
fn two_claimers_of_one_key_are_granted_one_token() {
    explore(3, [1_000, 600], [1], |exact| {
        let words = Arc::new(LoomWords::new(4, exact));
        let other = words.clone();
        let thread = loom::thread::spawn(move || charge(&other, 1));
        let mine = charge(&words, 1);
        let theirs = thread.join().unwrap();
        [mine, theirs]
            .iter()
            .filter(|answer| matches!(answer, Answer::Admitted(_)))
            .count()
    });
}

struct Someone {
    seat: usize,
}

impl Participant for Someone {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(self.seat, 1))
    }

    fn is_dead(&self, _: Owner) -> bool {
        false
    }

    fn give_way(&self) {
        loom::thread::yield_now();
    }
}

/// What the lock guards is handed over whole: two increments by load and store
/// make two. (A waiter that gives up counts none.)
#[test]
fn the_lock_excludes_and_publishes() {
    explore(3, [20, 15], [(2, 2)], |exact| {
        let words = Arc::new(LoomWords::new(2, exact));
        let add = |words: &LoomWords, seat: usize| {
            if lock::lock(words, 0, &Someone { seat }, true, &Stuck::default()).is_none() {
                return 0;
            }
            let found = words.load(1, Relaxed);
            words.store(1, found + 1, Relaxed);
            lock::unlock(words, 0);
            1
        };
        let other = words.clone();
        let thread = loom::thread::spawn(move || add(&other, 1));
        let mine = add(&words, 2);
        let theirs = thread.join().unwrap();
        (mine + theirs, words.load(1, Relaxed))
    });
}

/// A sequence that guards two words, written as a shard writes and read as a
/// shard reads: what is believed is never half old, half new.
#[test]
fn a_believed_read_is_never_torn() {
    use forebay::internals::cache::sequence;
    explore(3, [100, 30], [None, Some((0, 0)), Some((1, 1))], |exact| {
        let words = Arc::new(LoomWords::new(3, exact));
        let writer = words.clone();
        let thread = loom::thread::spawn(move || {
            let change = sequence::begin(&*writer, 0);
            writer.store(1, 1, Relaxed);
            writer.store(2, 1, Relaxed);
            sequence::end(&*writer, 0, change);
        });
        let read = sequence::read(&*words, 0, || {
            (words.load(1, Relaxed), words.load(2, Relaxed))
        });
        thread.join().unwrap();
        read
    });
}

/// The words of a header that an event touches whose slot is the ring's first,
/// as docs/layout.md draws them; loom is spared the others, which are zero.
struct RingWords(LoomWords);

const EVENT_LOCK: usize = 12;
const EVENT_NEXT: usize = 13;
const FIRST_SLOT: usize = 2368;

fn ring_word(index: usize) -> Option<usize> {
    match index {
        EVENT_LOCK | EVENT_NEXT => Some(index - EVENT_LOCK),
        FIRST_SLOT..2372 => Some(index - FIRST_SLOT + 2),
        _ => None,
    }
}

impl Words for RingWords {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        ring_word(index).map_or(0, |index| self.0.load(index, order))
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        let index = ring_word(index).expect("a word of the ring's first slot");
        self.0.store(index, value, order);
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        let index = ring_word(index).expect("the ring's lock");
        self.0.cas(index, old, new)
    }

    fn add(&self, _: usize, _: u64) -> u64 {
        unreachable!("no event is dropped here");
    }

    fn fence(&self, order: Ordering) {
        self.0.fence(order);
    }

    fn spin(&self) {
        self.0.spin();
    }
}

/// An event written over while it is read: it is the old one, the new one or
/// none, and whole.
#[test]
fn an_event_that_is_read_is_never_torn() {
    const RING: u64 = 256;
    let old = vec![(0, 1, 1)];
    let new = vec![(RING, 2, 2)];
    explore(3, [500, 40], [vec![], old, new], |exact| {
        let words = Arc::new(RingWords(LoomWords::new(6, exact)));
        let write = |words: &RingWords, seat: usize, value: u64| {
            let kind = EventKind::CacheCleared;
            let number = value as usize;
            assert!(events::write(
                words,
                &Someone { seat },
                value,
                kind,
                number,
                value
            ));
        };
        write(&words, 1, 1);
        // The other slots of the ring went by meanwhile.
        words.store(EVENT_NEXT, RING, Relaxed);
        let other = words.clone();
        let reader = loom::thread::spawn(move || {
            let read = events::read(&*other, 0, |object| object.to_string());
            let said = read.events.iter().map(|event| {
                assert_eq!(event.object, event.detail.to_string(), "torn");
                (event.sequence, event.time, event.detail)
            });
            said.collect()
        });
        write(&words, 2, 2);
        reader.join().unwrap()
    });
}

struct Transitions<'a>(&'a LoomWords);

/// The word after the breaker's counts its openings in these models.
const OPENINGS: usize = breaker::WORDS;

impl Observer for Transitions<'_> {
    fn transition(&self, to: State, _: u64) {
        if to == State::Open {
            self.0.add(OPENINGS, 1);
        }
    }

    fn holder(&self) -> u64 {
        0
    }

    fn holder_is_dead(&self, _: u64) -> bool {
        false
    }
}

fn breaker_words(exact: bool) -> LoomWords {
    let words = LoomWords::new(breaker::WORDS + 1, exact);
    words.store(breaker::FAILURE_THRESHOLD, 2, Relaxed);
    words.store(breaker::OPEN_MS, 1000, Relaxed);
    words.store(breaker::SUCCESS_THRESHOLD, 1, Relaxed);
    words.store(breaker::HALF_OPEN_CALLS, 1, Relaxed);
    words.store(breaker::PROBE_LEASE_MS, 1000, Relaxed);
    words
}

fn enter(words: &LoomWords, now_ms: u64) -> Result<Ticket, u64> {
    breaker::enter(words, || now_ms * 1_000_000, &Transitions(words))
}

fn leave(words: &LoomWords, ticket: Ticket, outcome: Outcome, now_ms: u64) -> bool {
    let now = || now_ms * 1_000_000;
    breaker::leave(words, ticket, outcome, now, &Transitions(words))
}

/// Two failures at once, at a threshold of two: no failure is lost, and it
/// opens once.
#[test]
fn two_failures_at_once_open_the_breaker_once() {
    explore(3, [8, 60], [(State::Open.number(), 1)], |exact| {
        let words = Arc::new(breaker_words(exact));
        let tickets = (enter(&words, 1).unwrap(), enter(&words, 1).unwrap());
        let other = words.clone();
        let thread = loom::thread::spawn(move || {
            leave(&other, tickets.0, Outcome::Failure, 1);
        });
        leave(&words, tickets.1, Outcome::Failure, 1);
        thread.join().unwrap();
        (
            breaker::state(&*words).number(),
            words.load(OPENINGS, Relaxed),
        )
    });
}

/// Two callers at the moment an open breaker's time is up: one probes.
#[test]
fn one_probe_at_a_time() {
    explore(2, [30, 60], [1], |exact| {
        let words = Arc::new(breaker_words(exact));
        for _ in 0..2 {
            let ticket = enter(&words, 1).unwrap();
            leave(&words, ticket, Outcome::Failure, 1);
        }
        let other = words.clone();
        let thread = loom::thread::spawn(move || enter(&other, 1_500).is_ok());
        let mine = enter(&words, 1_500).is_ok();
        usize::from(mine) + usize::from(thread.join().unwrap())
    });
}

/// A probe's success against a failure that was let through before it opened:
/// the late one counts for nothing, so it always ends closed.
#[test]
fn a_late_failure_does_not_undo_a_probe() {
    explore(2, [4, 4], [(State::Closed.number(), 1)], |exact| {
        let words = Arc::new(breaker_words(exact));
        let late = enter(&words, 1).unwrap();
        for _ in 0..2 {
            let ticket = enter(&words, 1).unwrap();
            leave(&words, ticket, Outcome::Failure, 1);
        }
        let probe = enter(&words, 1_500).unwrap();
        let other = words.clone();
        let thread = loom::thread::spawn(move || {
            leave(&other, late, Outcome::Failure, 1_500);
        });
        leave(&words, probe, Outcome::Success, 1_500);
        thread.join().unwrap();
        (
            breaker::state(&*words).number(),
            words.load(OPENINGS, Relaxed),
        )
    });
}

/// Seats above this are dead in the models of permits.
const LAST_LIVING: usize = 8;

impl Participant for Mortal {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(self.0, 1))
    }

    fn is_dead(&self, owner: Owner) -> bool {
        owner.seat().is_none_or(|seat| seat > LAST_LIVING)
    }

    fn give_way(&self) {
        loom::thread::yield_now();
    }
}

/// A participant by its seat.
struct Mortal(usize);

impl permits::Witness for Mortal {
    fn now(&self) -> u64 {
        0
    }

    fn seated(&self) -> Option<Owner> {
        self.owner()
    }

    fn ended(&self, _: End) {}
}

/// A shard of one record, and a word that its permit guards.
const GUARDED: usize = permits::shard_words(1);

fn one_lease(words: &LoomWords) -> Shard<'_, LoomWords> {
    Shard {
        words,
        at: 0,
        records: 1,
    }
}

fn acquire(words: &LoomWords, seat: usize) -> Option<Held> {
    let ask = Ask {
        tag: 1,
        limit: 1,
        lease: 1_000,
    };
    let acquired = one_lease(words).acquire(&ask, &Stuck::default(), &Mortal(seat));
    acquired.ok()
}

/// A permit of one at once hands over what its holder did when it is released:
/// two increments by load and store make two. (Who is refused makes none.)
#[test]
fn a_permit_of_one_excludes_and_publishes() {
    explore(3, [100, 20], [(1, 1), (2, 2)], |exact| {
        let words = Arc::new(LoomWords::new(GUARDED + 1, exact));
        let add = |words: &LoomWords, seat: usize| {
            let Some(held) = acquire(words, seat) else {
                return 0;
            };
            let found = words.load(GUARDED, Relaxed);
            words.store(GUARDED, found + 1, Relaxed);
            assert!(one_lease(words).release(held, &Mortal(seat)));
            1
        };
        let other = words.clone();
        let thread = loom::thread::spawn(move || add(&other, 1));
        let mine = add(&words, 2);
        let theirs = thread.join().unwrap();
        (mine + theirs, words.load(GUARDED, Relaxed))
    });
}

/// Two find the one lease of a key with a dead holder: one of them gets it,
/// and who looks for the dead without the lock never takes it for a dead one's.
#[test]
fn the_lease_of_the_dead_goes_to_one() {
    explore(3, [100, 100], [1], |exact| {
        let words = Arc::new(LoomWords::new(GUARDED, exact));
        acquire(&words, LAST_LIVING + 1).unwrap();
        let other = words.clone();
        let thread = loom::thread::spawn(move || acquire(&other, 1).is_some());
        let mine = acquire(&words, 2).is_some();
        usize::from(mine) + usize::from(thread.join().unwrap())
    });
}
