//! Death at every store, and pauses at every operation, as unit tests.
//!
//! *Dying* words stop for ever at the k-th store: it and all later ones are
//! swallowed, and the thread unwinds. For every mutating operation and every k,
//! another participant, to whom the kernel would say that the first is dead,
//! goes on: what it finds must be whole, and nothing may be lost for good.
//! *Pausing* words stop before the k-th operation, let the others run, and
//! resume: late stores break what dead ones do not.

use forebay::breaker::Outcome;
use forebay::internals::breaker::{self, Observer, Ticket};
use forebay::internals::cache::{recover, Damaged, Found, New, Read, Shard, ShardGeometry};
use forebay::internals::limiter::refused;
use forebay::internals::lock::{Owner, Participant, Stuck};
use forebay::internals::permits::{self, Ask, End, Held, Refusal, Witness};
use forebay::internals::{events, Hash, Words};
use forebay::{EventKind, State};
use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::{mpsc, Arc};

/// What happens to a participant's operations.
enum Fate {
    Lives,
    /// Stores still to come before it dies.
    Dies(Cell<usize>),
    /// Operations still to come before it pauses: it says so, then waits.
    Pauses(Cell<usize>, mpsc::Sender<()>, mpsc::Receiver<()>),
}

struct Death;

/// Words as one participant sees them.
struct Fated {
    words: Arc<Vec<AtomicU64>>,
    fate: Fate,
    dead: Cell<bool>,
}

impl Fated {
    fn new(words: &Arc<Vec<AtomicU64>>, fate: Fate) -> Fated {
        Fated {
            words: words.clone(),
            fate,
            dead: Cell::new(false),
        }
    }

    fn operation(&self) {
        if let Fate::Pauses(left, paused, resume) = &self.fate {
            if left.get() == 0 {
                // Nobody is there any more if the test has failed: then it runs
                // on, as another panic would hide why.
                let _ = paused.send(());
                let _ = resume.recv();
            }
            left.set(left.get().wrapping_sub(1));
        }
    }

    /// Whether a store still counts.
    fn storing(&self) -> bool {
        if self.dead.get() {
            return false;
        }
        if let Fate::Dies(left) = &self.fate {
            if left.get() == 0 {
                self.dead.set(true);
                resume_unwind(Box::new(Death));
            }
            left.set(left.get() - 1);
        }
        true
    }
}

impl Words for Fated {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.operation();
        self.words[index].load(order)
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.operation();
        if self.storing() {
            self.words[index].store(value, order);
        }
    }

    fn cas(&self, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.operation();
        if !self.storing() {
            // So that the loops of destructors end.
            return Ok(old);
        }
        self.words[index].compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn add(&self, index: usize, value: u64) -> u64 {
        self.operation();
        if self.storing() {
            self.words[index].fetch_add(value, Ordering::Relaxed)
        } else {
            0
        }
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn spin(&self) {}
}

/// A participant by its seat; `dead` ones are known to be so.
struct Seat {
    mine: usize,
    dead: Option<usize>,
}

impl Participant for Seat {
    fn owner(&self) -> Option<Owner> {
        Some(Owner::new(self.mine, 1))
    }

    fn is_dead(&self, owner: Owner) -> bool {
        owner.seat() == self.dead
    }

    fn give_way(&self) {}
}

const GEOMETRY: ShardGeometry = ShardGeometry {
    entries: 4,
    index: 8,
    cells: 24,
};
/// The cache's word that counts clears, then the shard.
const CLEARED: usize = 0;
const SHARD: usize = 8;

/// Three keys that begin at the same place of the index, so that they move
/// each other there, and more that do not.
fn hash(key: u8) -> Hash {
    let home = if key < 3 { 5 } else { u64::from(key) };
    Hash {
        place: 0,
        tag: u64::from(key) << 32 | home,
    }
}

/// A value says whose it is and which write it is of.
fn value(key: u8, write: u8) -> Vec<u8> {
    let mut value = vec![key; 40 + usize::from(write % 4) * 90];
    value[20..].fill(write);
    value
}

fn shard(words: &Fated) -> Shard<'_, Fated> {
    Shard {
        words,
        at: SHARD,
        geometry: &GEOMETRY,
        cleared: CLEARED,
    }
}

fn locked<T>(
    words: &Fated,
    seat: &Seat,
    body: impl FnOnce(&Shard<'_, Fated>) -> Result<T, Damaged>,
) -> Option<T> {
    recover::locked(&shard(words), seat, true, &Stuck::default(), || {}, body)
}

/// Sets as the cache does: a write that cannot get in makes the old value
/// unreadable.
fn set(words: &Fated, seat: &Seat, key: u8, write: u8) -> bool {
    let done = locked(words, seat, |shard| {
        shard.set(&New {
            key: &[key],
            hash: hash(key),
            value: &value(key, write),
            codec: 0,
            now: 1,
            expires: 0,
        })
    });
    if done.is_none() {
        shard(words).bump_stamp(hash(key));
    }
    done.is_some()
}

/// Takes the lock as a read does that writers keep disturbing: it changes
/// nothing itself, so it announces nothing, but it repairs what it inherits.
fn look_locked(words: &Fated, seat: &Seat) {
    let stuck = Stuck::default();
    recover::locked(&shard(words), seat, false, &stuck, || {}, |_| Ok(()));
}

fn delete(words: &Fated, seat: &Seat, key: u8) -> bool {
    let done = locked(words, seat, |shard| shard.delete(&[key], hash(key), 1));
    if done.is_none() {
        shard(words).bump_stamp(hash(key));
    }
    done == Some(true)
}

fn look(words: &Fated, key: u8) -> Option<(Found, Vec<u8>)> {
    let read = shard(words).read(
        &[key],
        hash(key),
        || 1,
        |shard, found| {
            let mut value = vec![0; found.length];
            shard.copy_value(found, &mut value);
            value
        },
    );
    match read {
        Read::Hit(hit) => Some(hit),
        Read::Miss | Read::Disturbed => None,
    }
}

/// Which write of the key is read; it must be whole and the key's own.
fn get(words: &Fated, key: u8) -> Option<u8> {
    let (_, found) = look(words, key)?;
    let write = *found.last().unwrap();
    assert_eq!(found, value(key, write), "torn or foreign");
    Some(write)
}

/// A shard with four entries, one of them deleted again, and a full list.
fn in_use() -> Arc<Vec<AtomicU64>> {
    let length = SHARD + GEOMETRY.words();
    let words: Arc<Vec<AtomicU64>> = Arc::new((0..length).map(|_| AtomicU64::new(0)).collect());
    let alive = Fated::new(&words, Fate::Lives);
    let seat = Seat {
        mine: 0,
        dead: None,
    };
    for (write, key) in [(0, 0), (1, 1), (2, 2), (3, 7), (2, 1)] {
        assert!(set(&alive, &seat, key, write));
    }
    assert!(delete(&alive, &seat, 7));
    assert_eq!(shard(&alive).verify(), Ok(()));
    words
}

type Operation = (&'static str, fn(&Fated, &Seat));

const OPERATIONS: [Operation; 8] = [
    ("set a new key", |words, seat| {
        set(words, seat, 9, 1);
    }),
    ("set a key to a shorter value", |words, seat| {
        set(words, seat, 1, 0);
    }),
    ("set a key to a longer value", |words, seat| {
        set(words, seat, 0, 3);
    }),
    ("set two new keys, evicting", |words, seat| {
        set(words, seat, 10, 3);
        set(words, seat, 11, 3);
    }),
    ("delete a key others moved behind", |words, seat| {
        delete(words, seat, 0);
    }),
    ("delete the last of them", |words, seat| {
        delete(words, seat, 2);
    }),
    ("clear", |words, seat| {
        locked(words, seat, |shard| {
            shard.clear();
            Ok(())
        });
    }),
    ("move the oldest to the front", |words, seat| {
        if let Some((found, _)) = look(words, 0) {
            recover::if_free(&shard(words), seat, |shard| shard.promote(&found));
        }
    }),
];

/// The writes that a key may show after an operation was cut off.
fn may_show(key: u8, write: u8) -> bool {
    matches!(
        (key, write),
        (0, 0 | 3) | (1, 2 | 0) | (2, 2) | (9, 1) | (10 | 11, 3)
    )
}

/// An heir finds the shard whole, can use all of it, and sees only what was
/// written.
fn inherit(words: &Arc<Vec<AtomicU64>>, what: &str) {
    let heir = Fated::new(words, Fate::Lives);
    let seat = Seat {
        mine: 2,
        dead: Some(1),
    };
    for key in 0..16 {
        if let Some(write) = get(&heir, key) {
            assert!(may_show(key, write), "{what}: key {key} shows {write}");
        }
    }
    assert!(set(&heir, &seat, 12, 1), "{what}: the heir cannot write");
    assert_eq!(shard(&heir).verify(), Ok(()), "{what}");
    assert_eq!(get(&heir, 12), Some(1), "{what}");
    for key in 0..12 {
        if let Some(write) = get(&heir, key) {
            assert!(
                may_show(key, write),
                "{what}: key {key} shows {write} later"
            );
        }
    }
    // Nothing is lost for good: all entries and all cells serve again.
    for key in 3..7 {
        assert!(set(&heir, &seat, key, 0), "{what}");
    }
    assert_eq!(shard(&heir).verify(), Ok(()), "{what}: when full");
    assert_eq!(shard(&heir).count(), 4, "{what}");
    for key in 3..7 {
        assert_eq!(get(&heir, key), Some(0), "{what}");
    }
}

#[test]
fn a_shard_survives_death_at_every_store() {
    let mut deaths = 0;
    for (name, operation) in OPERATIONS {
        for k in 0.. {
            let words = in_use();
            let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
            let seat = Seat {
                mine: 1,
                dead: None,
            };
            let end = catch_unwind(AssertUnwindSafe(|| operation(&dying, &seat)));
            inherit(&words, &format!("{name}, dead at store {k}"));
            match end {
                Ok(()) => break,
                Err(death) => assert!(death.is::<Death>(), "{name}: panicked at store {k}"),
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 250, "only {deaths} deaths");
}

#[test]
fn values_survive_a_death_while_the_list_is_changed() {
    let (_, promote) = OPERATIONS[7];
    for k in 0.. {
        let words = in_use();
        let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
        let seat = Seat {
            mine: 1,
            dead: None,
        };
        let died = catch_unwind(AssertUnwindSafe(|| promote(&dying, &seat))).is_err();
        let heir = Fated::new(&words, Fate::Lives);
        let seat = Seat {
            mine: 2,
            dead: Some(1),
        };
        assert!(set(&heir, &seat, 7, 0));
        for (key, write) in [(0, 0), (1, 2), (2, 2), (7, 0)] {
            assert_eq!(get(&heir, key), Some(write), "dead at store {k}");
        }
        if !died {
            assert!(k > 5);
            break;
        }
    }
}

/// The heir dies too, at every store of its repair and of its own write, after
/// a death at every store: a third one finds all as it should be. An heir that
/// only reads repairs as well, and must leave word of what it inherited.
#[test]
fn a_shard_survives_the_death_of_its_repairer() {
    let repairs: [Operation; 2] = [
        ("a writer", |words, seat| {
            set(words, seat, 9, 1);
        }),
        ("a reader", look_locked),
    ];
    let mut pairs = 0;
    for (name, operation) in [OPERATIONS[1], OPERATIONS[4], OPERATIONS[7]] {
        for k in 0.. {
            let words = in_use();
            let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
            let first = Seat {
                mine: 1,
                dead: None,
            };
            if catch_unwind(AssertUnwindSafe(|| operation(&dying, &first))).is_ok() {
                break;
            }
            let left: Vec<u64> = words.iter().map(|w| w.load(Ordering::Relaxed)).collect();
            for (heir, repair) in repairs {
                for j in 0.. {
                    let words: Arc<Vec<AtomicU64>> =
                        Arc::new(left.iter().map(|w| AtomicU64::new(*w)).collect());
                    let dying = Fated::new(&words, Fate::Dies(Cell::new(j)));
                    // Seated where the third will know it is dead.
                    let repairer = Seat {
                        mine: 1,
                        dead: Some(1),
                    };
                    let end = catch_unwind(AssertUnwindSafe(|| repair(&dying, &repairer)));
                    inherit(&words, &format!("{name}: {k}, then {heir}: {j}"));
                    if end.is_ok() {
                        break;
                    }
                    pairs += 1;
                }
            }
        }
    }
    println!("{pairs} pairs");
    assert!(pairs > 3_000, "only {pairs} pairs");
}

/// A holder that is stopped, at every operation, keeps its shard; others are
/// not kept waiting, and what they could not write or delete is not readable
/// any more. When it resumes, all is whole.
#[test]
fn a_stopped_holder_keeps_its_shard_and_delays_nobody() {
    let mut pauses = 0;
    for (name, operation) in OPERATIONS {
        for k in 0.. {
            let what = format!("{name}, stopped at operation {k}");
            let words = in_use();
            let (paused, when_paused) = mpsc::channel();
            let (resume, when_resumed) = mpsc::channel();
            let stopped = std::thread::spawn({
                let words = words.clone();
                move || {
                    let fate = Fate::Pauses(Cell::new(k), paused, when_resumed);
                    let words = Fated::new(&words, fate);
                    operation(
                        &words,
                        &Seat {
                            mine: 1,
                            dead: None,
                        },
                    );
                }
            });
            let others = Fated::new(&words, Fate::Lives);
            let seat = Seat {
                mine: 2,
                dead: None,
            };
            let was_paused = when_paused.recv().is_ok();
            let wrote = set(&others, &seat, 2, 1);
            if !wrote {
                assert_eq!(get(&others, 2), None, "{what}: the old value is readable");
            }
            let deleted = delete(&others, &seat, 1);
            if !deleted {
                // Either it could not get in, or there was nothing readable.
                assert_eq!(get(&others, 1), None, "{what}: a deleted value is readable");
            }
            if was_paused {
                resume.send(()).unwrap();
            }
            stopped.join().unwrap();
            assert_eq!(shard(&others).verify(), Ok(()), "{what}");
            for key in 0..12 {
                if let Some(write) = get(&others, key) {
                    let ours = wrote && (key, write) == (2, 1);
                    assert!(may_show(key, write) || ours, "{what}: {key} shows {write}");
                }
            }
            assert!(set(&others, &seat, 2, 1), "{what}: not released");
            assert_eq!(get(&others, 2), Some(1), "{what}");
            if !was_paused {
                break;
            }
            pauses += 1;
        }
    }
    println!("{pauses} pauses");
    assert!(pauses > 500, "only {pauses} pauses");
}

/// An event says its own sequence number, so that a mixture of two shows.
fn write_event(header: &Fated, seat: &Seat, number: u64) {
    let kind = EventKind::CacheCleared;
    events::write(header, seat, number, kind, number as usize, number);
}

/// A writer that dies while it writes over the oldest event leaves that one, or
/// the new one, or neither; and the ring goes on.
#[test]
fn an_event_is_whole_whatever_store_its_writer_died_at() {
    const RING: u64 = 256;
    let whole = |header: &Fated| -> Vec<u64> {
        let read = events::read(header, 0, |object| object.to_string());
        let numbers = read.events.iter().map(|event| {
            let number = event.sequence;
            let said = (event.time, event.object.parse(), event.detail);
            assert_eq!(said, (number, Ok(number), number), "a mixture of two");
            number
        });
        numbers.collect()
    };
    for k in 0.. {
        let length = forebay::region::HEADER_BYTES as usize / 8;
        let words = Arc::new((0..length).map(|_| AtomicU64::new(0)).collect());
        let alive = Fated::new(&words, Fate::Lives);
        let first = Seat {
            mine: 1,
            dead: None,
        };
        (0..RING).for_each(|number| write_event(&alive, &first, number));
        assert_eq!(whole(&alive), Vec::from_iter(0..RING));
        let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
        let end = catch_unwind(AssertUnwindSafe(|| write_event(&dying, &first, RING)));
        let left = whole(&alive);
        assert!((1..RING).all(|number| left.contains(&number)), "{left:?}");
        let heir = Seat {
            mine: 2,
            dead: Some(1),
        };
        let next = events::read(&alive, 0, |_| String::new()).next;
        write_event(&alive, &heir, next);
        assert_eq!(whole(&alive).last(), Some(&next), "dead at store {k}");
        if end.is_ok() {
            assert!(k > 5, "only {k} stores");
            break;
        }
    }
}

struct Nobody;

impl Observer for Nobody {
    fn transition(&self, _: State, _: u64) {}

    fn holder(&self) -> u64 {
        0
    }

    fn holder_is_dead(&self, _: u64) -> bool {
        false
    }
}

fn breaker_words() -> Arc<Vec<AtomicU64>> {
    let words: Arc<Vec<AtomicU64>> =
        Arc::new((0..breaker::WORDS).map(|_| AtomicU64::new(0)).collect());
    for (at, value) in [
        (breaker::FAILURE_THRESHOLD, 2),
        (breaker::FAILURE_RATE, 500_000),
        (breaker::VOLUME_THRESHOLD, 4),
        (breaker::BUCKET_NS, 1_000_000_000),
        (breaker::OPEN_MS, 1000),
        (breaker::SUCCESS_THRESHOLD, 1),
        (breaker::HALF_OPEN_CALLS, 1),
        (breaker::PROBE_LEASE_MS, 500),
    ] {
        words[at].store(value, Ordering::Relaxed);
    }
    words
}

fn enter(words: &Fated, ms: u64) -> Result<Ticket, u64> {
    breaker::enter(words, || ms * 1_000_000, &Nobody)
}

fn leave(words: &Fated, ticket: Ticket, outcome: Outcome, ms: u64) -> bool {
    breaker::leave(words, ticket, outcome, || ms * 1_000_000, &Nobody)
}

/// A whole life of a breaker: opens, half-opens, fails, half-opens, closes.
fn live(words: &Fated) {
    for _ in 0..2 {
        if let Ok(ticket) = enter(words, 10) {
            leave(words, ticket, Outcome::Failure, 10);
        }
    }
    for (ms, outcome) in [(1_020, Outcome::Failure), (2_040, Outcome::Success)] {
        if let Ok(ticket) = enter(words, ms) {
            leave(words, ticket, outcome, ms);
        }
    }
}

#[test]
fn a_breaker_is_never_stuck_by_a_death_at_any_store() {
    let mut deaths = 0;
    for k in 0.. {
        let words = breaker_words();
        let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
        let died = catch_unwind(AssertUnwindSafe(|| live(&dying))).is_err();
        // Whatever state that left, successes close it, soon enough.
        let others = Fated::new(&words, Fate::Lives);
        let mut ms = 3_000;
        while breaker::state(&others) != State::Closed {
            assert!(ms < 10_000, "stuck after a death at store {k}");
            if let Ok(ticket) = enter(&others, ms) {
                leave(&others, ticket, Outcome::Success, ms);
            }
            ms += 100;
        }
        // And failures open it as ever.
        for _ in 0..2 {
            // The dead one may have counted a failure already.
            if let Ok(ticket) = enter(&others, ms) {
                leave(&others, ticket, Outcome::Failure, ms);
            }
        }
        assert_eq!(breaker::state(&others), State::Open, "dead at store {k}");
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 10, "only {deaths} deaths");
}

/// A full sketch of refused keys.
fn refusals() -> Arc<Vec<AtomicU64>> {
    let words: Arc<Vec<AtomicU64>> = Arc::new((0..refused::WORDS).map(|_| 0.into()).collect());
    let alive = Fated::new(&words, Fate::Lives);
    for key in 0..refused::ENTRIES as u8 {
        note_refusal(&alive, key, 10 + u64::from(key));
    }
    words
}

/// The number of a key that is whole, and a hash of all its bytes.
fn mark(key: &[u8]) -> u64 {
    let hash = key.iter().fold(key.len() as u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    hash & !0xff | key.first().map_or(0, |first| u64::from(*first))
}

fn note_refusal(words: &Fated, key: u8, weight: u64) {
    refused::note(words, 0, mark(&[key; 9]), weight, Some(&[key; 9]));
}

/// No count is more certain than it was, no key is shown that was not noted,
/// and who comes next is counted and shown.
fn refusals_go_on(words: &Arc<Vec<AtomicU64>>, what: &str) {
    let heir = Fated::new(words, Fate::Lives);
    let look = || refused::top(&heir, 0, mark);
    for found in look() {
        let key = found.mark as u8;
        let most = match key {
            32.. => 7,
            31 => 41 + 7,
            _ => 10 + u64::from(key),
        };
        assert!(found.count - found.over <= most, "{what}: {found:?}");
        if let Some(text) = found.key {
            assert_eq!(text, [key; 9], "{what}");
        }
    }
    note_refusal(&heir, 77, 500);
    let first = look().remove(0);
    assert_eq!(first.key.as_deref(), Some(&[77; 9][..]), "{what}");
    assert_eq!(first.count - first.over, 500, "{what}");
}

/// What is done to a sketch of refused keys.
type Noting = (&'static str, fn(&Fated));

#[test]
fn refused_keys_are_told_rightly_whatever_store_or_step_their_noter_stopped_at() {
    let operations: [Noting; 4] = [
        ("a known key", |words| {
            note_refusal(words, 31, 7);
        }),
        ("a newcomer", |words| {
            note_refusal(words, 40, 7);
        }),
        ("two newcomers", |words| {
            note_refusal(words, 40, 7);
            note_refusal(words, 41, 7);
        }),
        ("clear", |words| refused::clear(words, 0)),
    ];
    for (name, operation) in operations {
        for k in 0.. {
            let words = refusals();
            let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
            let died = catch_unwind(AssertUnwindSafe(|| operation(&dying))).is_err();
            refusals_go_on(&words, &format!("{name}, dead at store {k}"));
            if !died {
                assert!(k > 0);
                break;
            }
        }
        // Stopped before each step; meanwhile others take every entry, and
        // what it does when it goes on must not be believed for theirs.
        for k in 0.. {
            let words = refusals();
            let (paused, is_paused) = mpsc::channel();
            let (resume, resumed) = mpsc::channel();
            let was_paused = std::thread::scope(|scope| {
                let slow = words.clone();
                let thread = scope.spawn(move || {
                    operation(&Fated::new(
                        &slow,
                        Fate::Pauses(Cell::new(k), paused, resumed),
                    ));
                });
                let was_paused = is_paused.recv().is_ok();
                let quick = Fated::new(&words, Fate::Lives);
                for key in 100..164 {
                    note_refusal(&quick, key, 3);
                }
                let _ = resume.send(());
                thread.join().unwrap();
                was_paused
            });
            let alive = Fated::new(&words, Fate::Lives);
            for found in refused::top(&alive, 0, mark) {
                let key = found.mark as u8;
                if let Some(text) = found.key {
                    assert_eq!(text, [key; 9], "{name}, stopped before step {k}");
                }
            }
            note_refusal(&alive, 77, 500);
            let first = refused::top(&alive, 0, mark).remove(0);
            assert_eq!(first.key.as_deref(), Some(&[77; 9][..]), "{name}, {k}");
            if !was_paused {
                break;
            }
        }
    }
}

/// A seat at a time in milliseconds.
struct At<'a>(&'a Seat, u64);

impl Participant for At<'_> {
    fn owner(&self) -> Option<Owner> {
        self.0.owner()
    }

    fn is_dead(&self, owner: Owner) -> bool {
        self.0.is_dead(owner)
    }

    fn give_way(&self) {}
}

impl Witness for At<'_> {
    fn now(&self) -> u64 {
        self.1 * 1_000_000
    }

    fn seated(&self) -> Option<Owner> {
        self.owner()
    }

    fn ended(&self, _: End) {}
}

const RECORDS: usize = 4;
/// Leases last ten milliseconds.
const LEASE: u64 = 10;

fn leases(words: &Fated) -> permits::Shard<'_, Fated> {
    permits::Shard {
        words,
        at: 0,
        records: RECORDS,
    }
}

fn acquire(words: &Fated, seat: &Seat, key: u64, ms: u64) -> Result<Held, Refusal> {
    let ask = Ask {
        tag: key,
        limit: 3,
        lease: LEASE,
    };
    leases(words).acquire(&ask, &Stuck::default(), &At(seat, ms))
}

/// A shard of permits in use: seat 3 has a lease of key 1, and seat 1 two, one
/// of which has expired by the time of the operations.
fn permits_in_use() -> (Arc<Vec<AtomicU64>>, Held, Held) {
    let words = Arc::new(
        (0..permits::shard_words(RECORDS))
            .map(|_| AtomicU64::new(0))
            .collect(),
    );
    let alive = Fated::new(&words, Fate::Lives);
    let (theirs, mine) = (Seat::new(3), Seat::new(1));
    acquire(&alive, &mine, 1, 0).unwrap();
    let their_lease = acquire(&alive, &theirs, 1, 5).unwrap();
    let my_lease = acquire(&alive, &mine, 1, 5).unwrap();
    (words, my_lease, their_lease)
}

impl Seat {
    fn new(mine: usize) -> Seat {
        Seat { mine, dead: None }
    }
}

/// What seat 1 does with its lease when both are at 12 ms.
type LeaseOperation = (&'static str, fn(&Fated, &Seat, Held));

const LEASE_OPERATIONS: [LeaseOperation; 4] = [
    ("acquire", |words, seat, _| {
        let _ = acquire(words, seat, 1, 12);
    }),
    ("acquire of another key", |words, seat, _| {
        let _ = acquire(words, seat, 2, 12);
    }),
    ("release", |words, seat, lease| {
        leases(words).release(lease, &At(seat, 12));
    }),
    ("renew", |words, seat, lease| {
        leases(words).renew(lease, LEASE, &At(seat, 12));
    }),
];

#[test]
fn permits_survive_death_at_every_store() {
    let mut deaths = 0;
    for (name, operation) in LEASE_OPERATIONS {
        for k in 0.. {
            let what = format!("{name}, dead at store {k}");
            let (words, mine, theirs) = permits_in_use();
            let dying = Fated::new(&words, Fate::Dies(Cell::new(k)));
            let end = catch_unwind(AssertUnwindSafe(|| operation(&dying, &Seat::new(1), mine)));
            // What the dead one had is there for others, and nothing else is.
            let alive = Fated::new(&words, Fate::Lives);
            let heir = Seat {
                mine: 2,
                dead: Some(1),
            };
            for _ in 0..2 {
                assert!(acquire(&alive, &heir, 1, 12).is_ok(), "{what}");
            }
            let refused = acquire(&alive, &heir, 1, 12);
            assert!(matches!(refused, Err(Refusal::Limit(_))), "{what}");
            let at = At(&Seat::new(3), 12);
            let renewed = leases(&alive).renew(theirs, LEASE, &at);
            let renewed = renewed.unwrap_or_else(|| panic!("{what}: the other's lease"));
            assert!(leases(&alive).release(renewed, &at), "{what}");
            assert!(acquire(&alive, &heir, 1, 12).is_ok(), "{what}");
            assert!(acquire(&alive, &heir, 2, 12).is_ok(), "{what}: the room");
            match end {
                Ok(()) => break,
                Err(death) => assert!(death.is::<Death>(), "{name}: panicked at store {k}"),
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths");
    assert!(deaths >= 14, "only {deaths} deaths");
}

/// One that is stopped, at every operation, delays no release and no renewal;
/// with what it has when it goes on there are never more than the limit.
#[test]
fn who_is_stopped_among_permits_delays_nobody_and_has_no_more_than_its_own() {
    let mut pauses = 0;
    for (name, operation) in LEASE_OPERATIONS {
        for k in 0.. {
            let what = format!("{name}, stopped at operation {k}");
            let (words, mine, theirs) = permits_in_use();
            let (paused, when_paused) = mpsc::channel();
            let (resume, when_resumed) = mpsc::channel();
            let stopped = std::thread::spawn({
                let words = words.clone();
                move || {
                    let fate = Fate::Pauses(Cell::new(k), paused, when_resumed);
                    operation(&Fated::new(&words, fate), &Seat::new(1), mine);
                }
            });
            let others = Fated::new(&words, Fate::Lives);
            let was_paused = when_paused.recv().is_ok();
            let (shard, seat) = (leases(&others), Seat::new(3));
            let renewed = shard.renew(theirs, LEASE, &At(&seat, 12));
            let renewed = renewed.unwrap_or_else(|| panic!("{what}: renewing"));
            assert!(shard.release(renewed, &At(&seat, 12)), "{what}");
            let mut held: Vec<_> = (0..4)
                .flat_map(|_| acquire(&others, &seat, 1, 12))
                .collect();
            if was_paused {
                resume.send(()).unwrap();
            }
            stopped.join().unwrap();
            assert!(shard.count(1, 12_000_000) <= 3, "{what}");
            held.extend((0..4).flat_map(|_| acquire(&others, &seat, 1, 12)));
            assert_eq!(shard.count(1, 12_000_000), 3, "{what}");
            for lease in held {
                assert!(shard.release(lease, &At(&seat, 12)), "{what}");
            }
            if !was_paused {
                break;
            }
            pauses += 1;
        }
    }
    println!("{pauses} pauses");
    assert!(pauses >= 30, "only {pauses} pauses");
}
