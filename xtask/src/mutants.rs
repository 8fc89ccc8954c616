//! Named defects, put into a copy of the core one at a time: the test named for
//! each must fail. A defect that does not compile, or whose test does not run
//! to a verdict, is an error of this list and not a catch.

use crate::shell::{root, target};
use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A defect: what it is, where, what becomes of what, and which test sees it.
struct Mutant {
    defect: &'static str,
    /// Below `core/src`.
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The test's file in `core/tests`, and its name there.
    test: (&'static str, &'static str),
}

const NO_TORN_READ: (&str, &str) = ("loom_models", "a_believed_read_is_never_torn");
const NO_TORN_EVENT: (&str, &str) = ("loom_models", "an_event_that_is_read_is_never_torn");
const ONE_TOKEN: (&str, &str) = (
    "loom_models",
    "two_claimers_of_one_key_are_granted_one_token",
);
const LOCK_EXCLUDES: (&str, &str) = ("loom_models", "the_lock_excludes_and_publishes");
const DEATH_AT_EVERY_STORE: (&str, &str) = ("dying_words", "a_shard_survives_death_at_every_store");
const REPAIRER_DIES: (&str, &str) = ("dying_words", "a_shard_survives_the_death_of_its_repairer");
const STOPPED_HOLDER: (&str, &str) = (
    "dying_words",
    "a_stopped_holder_keeps_its_shard_and_delays_nobody",
);
const HOSTILE_SHARD: (&str, &str) = (
    "hostile_memory",
    "a_shard_of_hostile_words_answers_within_its_steps",
);
const HOSTILE_TABLE: (&str, &str) = (
    "hostile_memory",
    "a_table_of_hostile_words_answers_within_its_steps",
);
const VECTORS: (&str, &str) = ("vectors", "every_case_of_every_vector_file");

/// Ordered by test file, so that each is built while its parts are at hand.
const MUTANTS: &[Mutant] = &[
    Mutant {
        defect: "a removed fence: a change of a shard does not warn readers in time",
        file: "cache/sequence.rs",
        from: "words.fence(Release);",
        to: "let _ = Release;",
        test: NO_TORN_READ,
    },
    Mutant {
        defect: "a removed fence: a read of a shard checks the sequence too early",
        file: "cache/sequence.rs",
        from: "words.fence(Acquire);\n    (words.load(at, Relaxed)",
        to: "let _ = Acquire;\n    (words.load(at, Relaxed)",
        test: NO_TORN_READ,
    },
    Mutant {
        defect: "a removed fence: a claim of a limiter's slot looks around too early",
        file: "limiter/table.rs",
        from: "words.fence(SeqCst);",
        to: "let _ = SeqCst;",
        test: ONE_TOKEN,
    },
    Mutant {
        defect: "a removed fence: an event is written over before readers are warned",
        file: "region/events.rs",
        from: "header.fence(Release);",
        to: "",
        test: NO_TORN_EVENT,
    },
    Mutant {
        defect: "a removed fence: a read of an event checks the sequence too early",
        file: "region/events.rs",
        from: "header.fence(Acquire);",
        to: "",
        test: NO_TORN_EVENT,
    },
    Mutant {
        defect: "a read believes a sequence that is odd",
        file: "cache/sequence.rs",
        from: "if sequence & 1 == 1 {",
        to: "if false {",
        test: NO_TORN_READ,
    },
    Mutant {
        defect: "an unlocked claim: a limiter's slot is freed by a store, not an exchange",
        file: "limiter/table.rs",
        from: "if words.cas(victim.at, victim.time, freed).is_err() {\n            return None;\n        }",
        to: "if words.load(victim.at, Acquire) != victim.time {\n            return None;\n        }\n        \
             words.store(victim.at, freed, SeqCst);",
        test: ONE_TOKEN,
    },
    Mutant {
        defect: "an unlocked claim: a token is spent by a store, not an exchange",
        file: "limiter/table.rs",
        from: "if words.cas(slot.at, slot.time, time).is_ok() {",
        to: "words.store(slot.at, time, SeqCst);\n                    {",
        test: ONE_TOKEN,
    },
    Mutant {
        defect: "an unlocked claim: a probe's place is taken by a store, not an exchange",
        file: "breaker/words.rs",
        from: "if words.cas(LEASES + place, found, mine.pack()).is_ok() {",
        to: "words.store(LEASES + place, mine.pack(), Relaxed);\n        if true {",
        test: ("loom_models", "one_probe_at_a_time"),
    },
    Mutant {
        defect: "an unlocked claim: the lock's word is stored, not exchanged",
        file: "region/lock.rs",
        from: "if words.cas(at, found, mine).is_ok() {",
        to: "words.store(at, mine, Release);\n                if true {",
        test: LOCK_EXCLUDES,
    },
    Mutant {
        defect: "a release does not publish",
        file: "region/lock.rs",
        from: "words.store(at, 0, Release);",
        to: "let _ = Release;\n    words.store(at, 0, Relaxed);",
        test: LOCK_EXCLUDES,
    },
    Mutant {
        defect: "a skipped generation check: a late failure counts",
        file: "breaker/words.rs",
        from: "if word.state != State::Closed || word.generation != generation {",
        to: "if word.state != State::Closed {",
        test: ("loom_models", "a_late_failure_does_not_undo_a_probe"),
    },
    Mutant {
        defect: "a transition keeps its generation",
        file: "breaker/rule.rs",
        from: "generation: (self.generation + 1) & GENERATION",
        to: "generation: self.generation & GENERATION",
        test: VECTORS,
    },
    Mutant {
        defect: "anybody may report for a probe",
        file: "breaker/words.rs",
        from: "if held == 0 || !lease.is_of(generation) || lease.expiry != expiry {",
        to: "if held == 0 || !lease.is_of(generation) {\n        let _ = expiry;",
        test: VECTORS,
    },
    Mutant {
        defect: "an expired value is read",
        file: "cache/shard.rs",
        from: "Some((found, copied)) if found.expires == 0 || now() < found.expires => {",
        to: "Some((found, copied)) if found.expires == 0 || now() < u64::MAX => {",
        test: VECTORS,
    },
    Mutant {
        defect: "claims are not settled",
        file: "limiter/table.rs",
        from: "self.settle(words, group, mine, pending);",
        to: "let _ = words.cas(self.slot_at(group, mine) + 1, pending, in_state(pending, LIVE));",
        test: (
            "table_search",
            "strict_claimers_of_one_key_never_hold_two_slots",
        ),
    },
    Mutant {
        defect: "the label is read before the time",
        file: "limiter/table.rs",
        from:
            "let time = words.load(at, Acquire);\n        let label = words.load(at + 1, Acquire);",
        to: "let label = words.load(at + 1, Acquire);\n        let time = words.load(at, Acquire);",
        test: (
            "table_search",
            "strict_sleepers_at_every_step_are_granted_nothing_extra",
        ),
    },
    Mutant {
        defect: "the short way charges a slot that was the key's",
        file: "limiter/table.rs",
        from: "if !slot.is(group, LIVE) {\n            return None;\n        }",
        to: "",
        test: (
            "table_search",
            "strict_sleepers_on_the_short_way_are_granted_nothing_extra",
        ),
    },
    Mutant {
        defect: "a charge is taken back from whoever has its slot by then",
        file: "limiter/table.rs",
        from: "if label != entry.label || !slot.is_labelled() || floor >= entry.arrival {",
        to: "if floor >= entry.arrival {",
        test: (
            "table_search",
            "a_charge_is_not_taken_back_from_another_key",
        ),
    },
    Mutant {
        defect: "twice as much is given back as was spent",
        file: "limiter/table.rs",
        from: "let amount = |word| amount(word).saturating_sub(regained);",
        to: "let amount = |word| (2 * amount(word)).saturating_sub(regained);",
        test: (
            "table_search",
            "charges_are_taken_back_once_while_others_drain_the_bucket",
        ),
    },
    Mutant {
        defect: "a claim does not free the slot first",
        file: "limiter/table.rs",
        from: "with_arrival(victim.time, arrival) ^ phase",
        to: "with_arrival(victim.time, arrival) ^ (phase & 0)",
        test: (
            "table_search",
            "strict_newcomers_on_a_table_with_drained_buckets",
        ),
    },
    Mutant {
        defect: "an eviction forgets the debt",
        file: "limiter/table.rs",
        from: "self.form.bump(owed).min(LAST_ARRIVAL)",
        to: "now.min(LAST_ARRIVAL)",
        test: (
            "table_search",
            "strict_newcomers_on_a_table_with_drained_buckets",
        ),
    },
    Mutant {
        defect: "a missing clamp: a bucket that rests grows beyond its burst",
        file: "limiter/rule.rs",
        from: "let after = word.max(now) + amount;\n        (after <=",
        to: "let after = word + amount;\n        (after <=",
        test: (
            "table_search",
            "strict_newcomers_on_a_table_with_drained_buckets",
        ),
    },
    Mutant {
        defect: "a missing clamp: a burst from a region's words",
        file: "limiter/rule.rs",
        from: "burst: burst.clamp(1, most),",
        to: "burst: { let _ = most; burst.max(1) },",
        test: HOSTILE_TABLE,
    },
    Mutant {
        defect: "a missing clamp: an entry's number from an index word or a link",
        file: "cache/shard.rs",
        from: "(link as usize).wrapping_sub(1) % self.geometry.entries",
        to: "(link as usize).wrapping_sub(1)",
        test: HOSTILE_SHARD,
    },
    Mutant {
        defect: "a missing clamp: a value's length from a record",
        file: "cache/shard.rs",
        from: "length: ((sizes >> 32) as usize).min(self.geometry.largest_item()),",
        to: "length: (sizes >> 32) as usize,",
        test: (
            "hostile_memory",
            "a_value_is_no_longer_than_the_largest_item_whatever_its_record_says",
        ),
    },
    Mutant {
        defect: "a missing clamp: the cells of a run",
        file: "cache/cells.rs",
        from: "let cells = (head as u32 as usize).clamp(1, self.count - cell);",
        to: "let cells = (head as u32 as usize).max(1);",
        test: HOSTILE_SHARD,
    },
    Mutant {
        defect: "a missing clamp: the region's time, counted in a limiter's ticks",
        file: "limiter/rule.rs",
        from: "(now.min(END_OF_TIME / TICKS - 2) + 1) * TICKS",
        to: "(now + 1) * TICKS",
        test: (
            "region_objects",
            "a_manual_clock_is_fixed_when_the_region_is_made_and_moves_for_all",
        ),
    },
    Mutant {
        defect: "an object is made from what a dead creator left",
        file: "region/directory.rs",
        from: "if words.load(at, Relaxed) != 0 {\n            words.store(at, 0, Relaxed);",
        to: "if words.load(at, Relaxed) != 0 {",
        test: (
            "region_objects",
            "an_object_left_half_made_is_made_anew_from_nothing",
        ),
    },
    Mutant {
        defect: "a repair does not clear a shard whose sequence is odd",
        file: "cache/recover.rs",
        from: "if shard.is_changing() {",
        to: "if false {",
        test: DEATH_AT_EVERY_STORE,
    },
    Mutant {
        defect: "a repair does not relink the list",
        file: "cache/recover.rs",
        from: "shard.relink();",
        to: "",
        test: DEATH_AT_EVERY_STORE,
    },
    Mutant {
        defect: "who moves an entry to the front does not set the dirty bit",
        file: "region/lock.rs",
        from: "words.cas(at, 0, owner.0 | u64::from(dirty)).is_ok()",
        to: "words.cas(at, 0, owner.0 | u64::from(dirty & false)).is_ok()",
        test: DEATH_AT_EVERY_STORE,
    },
    Mutant {
        defect: "a reset leaves the bitmap",
        file: "cache/shard.rs",
        from: "self.words.store(self.bitmap() + word, 0, Relaxed);",
        to: "let _ = word;",
        test: DEATH_AT_EVERY_STORE,
    },
    Mutant {
        defect: "a repairer does not keep the dirty bit that it inherited",
        file: "region/lock.rs",
        from: "let keep = mine | (found & DIRTY);",
        to: "let keep = mine;",
        test: REPAIRER_DIES,
    },
    Mutant {
        defect: "a lock is taken over from a holder that is stopped",
        file: "region/lock.rs",
        from: "if participant.is_dead(holder) {",
        to: "if participant.is_dead(holder) || round > SPINS {",
        test: STOPPED_HOLDER,
    },
    Mutant {
        defect: "an unlocked claim: a shard's list is changed without its lock",
        file: "cache/recover.rs",
        from: "if lock::try_lock(shard.words, shard.at + LOCK, owner, true) {\n        let held = Held { shard };\n        body(shard);\n        drop(held);\n    }",
        to: "let _ = owner;\n    body(shard);",
        test: STOPPED_HOLDER,
    },
    Mutant {
        defect: "a read does not compare the stamp",
        file: "cache/shard.rs",
        from: ".filter(|found| self.is_of(found, key) && self.is_valid(found, hash))",
        to: ".filter(|found| self.is_of(found, key))",
        test: STOPPED_HOLDER,
    },
    Mutant {
        defect: "an event is written over without a warning to readers",
        file: "region/events.rs",
        from: "header.store(at, 0, Relaxed);",
        to: "",
        test: (
            "dying_words",
            "an_event_is_whole_whatever_store_its_writer_died_at",
        ),
    },
    Mutant {
        defect: "a skipped epoch check: a lock of a seat's earlier occupant is respected",
        file: "region/seat.rs",
        from: "epoch != owner.epoch() || !file.seat_is_live(seat)",
        to: "let _ = epoch;\n                    !file.seat_is_live(seat)",
        test: (
            "region_processes",
            "an_earlier_occupant_of_a_seat_is_dead_whoever_sits_there_now",
        ),
    },
    Mutant {
        defect: "a skipped epoch check: a lease of a seat's earlier occupant is respected",
        file: "region/seat.rs",
        from: "short_name(Owner::new(seat, epoch)) != name || !file.seat_is_live(seat)",
        to: "let _ = epoch;\n                !file.seat_is_live(seat)",
        test: (
            "region_processes",
            "the_place_of_a_killed_prober_is_free_whoever_sits_in_its_seat_now",
        ),
    },
    Mutant {
        defect: "a dead holder keeps its lease",
        file: "breaker/words.rs",
        from: "&& !observer.holder_is_dead(lease.holder);",
        to: ";",
        test: (
            "region_processes",
            "the_place_of_a_killed_prober_goes_to_another_at_once",
        ),
    },
    Mutant {
        defect: "who sits down keeps the epoch of who sat there before",
        file: "region/seat.rs",
        from: "header.add(AT_SEATS + number, 1).wrapping_add(1)",
        to: "header.cas(AT_SEATS + number, 0, 1).map_or_else(|epoch| epoch, |_| 1)",
        test: (
            "region_processes",
            "the_seat_of_a_killed_process_is_free_even_while_it_is_a_zombie",
        ),
    },
    Mutant {
        defect: "a write that cannot get in leaves the old value readable",
        file: "cache/mod.rs",
        from: "shard.bump_stamp(hash);",
        to: "let _ = hash;",
        test: (
            "region_processes",
            "a_shard_held_by_a_living_process_is_skipped_and_by_a_dead_one_taken_over",
        ),
    },
    Mutant {
        defect: "a clear leaves readable what lies in a shard that is held",
        file: "cache/mod.rs",
        from: "self.object.words.add(AT_CLEARED, 1);",
        to: "",
        test: (
            "region_processes",
            "clear_hides_what_lies_in_a_shard_that_is_held",
        ),
    },
    Mutant {
        defect: "a disturbed read does not check the expiry",
        file: "cache/mod.rs",
        from: "Ok(\n                    shard.read(key, hash, now, |shard, found|",
        to: "Ok(\n                    shard.read(key, hash, || 0, |shard, found|",
        test: (
            "cache_threads",
            "a_disturbed_read_does_not_return_what_expired_meanwhile",
        ),
    },
    Mutant {
        defect: "windows: a sliding one counts one slice too few",
        file: "limiter/window.rs",
        from: "match passed < u64::from(self.counts) {",
        to: "match passed + 1 < u64::from(self.counts) {",
        test: ("rates_search", "what_is_given_up_is_never_used_twice"),
    },
    Mutant {
        defect: "windows: a place that is no longer counted is given back",
        file: "limiter/window.rs",
        from: "passed < u64::from(slices.counts)\n            }",
        to: "let _ = passed;\n                true\n            }",
        test: ("rates_search", "what_is_given_up_is_never_used_twice"),
    },
    Mutant {
        defect: "windows: a count runs over when it is bumped",
        file: "limiter/window.rs",
        from: "match lowest != 0 && word & lowest == lowest {",
        to: "match lowest != 0 && word & lowest > lowest {",
        test: ("rates_search", "a_word_that_is_bumped_promises_no_more"),
    },
    Mutant {
        defect: "windows: a strict newcomer owes what one of them does",
        file: "limiter/table.rs",
        from: "if self.form == Form::Bucket || self.on_full == OnFull::Lenient || word <= floor {",
        to: "if self.form == Form::Bucket || self.on_full == OnFull::Lenient || word.max(floor) > 0 {",
        test: ("rates_search", "strict_sliding_windows_that_are_evicted_come_back_as_tight"),
    },
    Mutant {
        defect: "reservations: a cancelled one gives all back",
        file: "limiter/rule.rs",
        from: "Form::Bucket => amount.saturating_sub(word.saturating_sub(then)),",
        to: "Form::Bucket => amount,",
        test: ("rates_search", "what_is_given_up_is_never_used_twice"),
    },
    Mutant {
        defect: "several rates: what a bucket has regained is given back as well",
        file: "limiter/table.rs",
        from: "Form::Bucket => now.saturating_sub(entry.now),",
        to: "Form::Bucket => 0,",
        test: ("rates_search", "a_bucket_does_not_get_back_what_it_has_regained"),
    },
    Mutant {
        defect: "tiers: the pointer is swung before the record is written",
        file: "limiter/tiers.rs",
        from: "for (rate, rule) in rules.iter().enumerate() {\n        let at",
        to: "let pointer = AT_TIERS + tier * TIER_WORDS + TIER_RULE;\n    let changes = words.load(pointer, Relaxed) >> 8;\n    words.store(pointer, (changes + 1) << 8 | free as u64, Release);\n    for (rate, rule) in rules.iter().enumerate() {\n        let at",
        test: ("rates_search", "rates_that_change_are_read_whole_whoever_dies"),
    },
    Mutant {
        defect: "tiers: a record is believed without a second look at its pointer",
        file: "limiter/tiers.rs",
        from: "if words.load(AT_TIERS + tier * TIER_WORDS + TIER_RULE, Relaxed) == pointer {",
        to: "if pointer <= u64::MAX {",
        test: ("rates_search", "records_that_are_used_again_are_not_taken_for_the_old_ones"),
    },
    Mutant {
        defect: "windows: the end of a fixed one is rounded down",
        file: "limiter/window.rs",
        from: "ns.saturating_add(self.period).div_ceil(MILLISECOND) << END_SHIFT",
        to: "(ns.saturating_add(self.period) / MILLISECOND) << END_SHIFT",
        test: ("limiter_algorithms", "a_fixed_window_that_begins_within_a_millisecond_is_no_shorter"),
    },
    Mutant {
        defect: "several rates: nothing is taken back",
        file: "limiter/together.rs",
        from: "        request.undo();\n",
        to: "        let _ = request.cost;\n",
        test: ("limiter_algorithms", "a_call_that_is_refused_touches_what_it_must_and_leaves_all_as_it_was"),
    },
    Mutant {
        defect: "several rates: charged without a look",
        file: "limiter/together.rs",
        from: "    for request in requests.iter_mut() {\n        request.look();\n    }\n",
        to: "",
        test: ("limiter_algorithms", "a_call_that_is_refused_touches_what_it_must_and_leaves_all_as_it_was"),
    },
    Mutant {
        defect: "several rates: charged in the wrong order",
        file: "limiter/together.rs",
        from: ".min_by_key(|(i, part)| requests[*i].spare(*part));",
        to: ".max_by_key(|(i, part)| requests[*i].spare(*part));",
        test: ("limiter_algorithms", "a_call_that_is_refused_touches_what_it_must_and_leaves_all_as_it_was"),
    },
    Mutant {
        defect: "strict groups overlap",
        file: "limiter/table.rs",
        from: "OnFull::Strict => (place & !1, place | 1),",
        to: "OnFull::Strict => (place, (place + 1) & (sets - 1)),",
        test: ("limiter_flood", "strict_a_flood_gives_no_key_a_token_before_its_rate_does"),
    },
    Mutant {
        defect: "permits: the lease is there before its tag and its holder",
        file: "permits/words.rs",
        from: "self.words.store(self.tag_at(record), ask.tag, Relaxed);",
        to: "self.words.store(at, word.0, Release);\n        self.words.store(self.tag_at(record), ask.tag, Relaxed);",
        test: ("permits_search", "holders_die_while_leases_expire"),
    },
    Mutant {
        defect: "permits: leases are counted before the lock is had",
        file: "permits/words.rs",
        from: "        lock::lock(self.words, self.at + LOCK, witness, false, stuck).ok_or(Refusal::Busy)?;\n        // Read under the lock: the wait for it is not taken from the lease.\n        let now = witness.now();\n        let found = self.look(ask.tag, now, witness);\n",
        to: "        let now = witness.now();\n        let found = self.look(ask.tag, now, witness);\n        lock::lock(self.words, self.at + LOCK, witness, false, stuck).ok_or(Refusal::Busy)?;\n",
        test: ("permits_search", "two_who_acquire_and_release_at_once"),
    },
    Mutant {
        defect: "permits: a lease has the generation of the one before",
        file: "permits/rule.rs",
        from: "Word(self.0.wrapping_add(MS + 1)).renewed(now, lease)",
        to: "self.renewed(now, lease)",
        test: ("permits_search", "holders_die_and_their_leases_go_to_others"),
    },
    Mutant {
        defect: "refused keys: a text is believed without its mark",
        file: "limiter/refused.rs",
        from: "key.filter(|key| not_zero(rehash(key)) == mark);",
        to: "key.filter(|key| not_zero(rehash(key)) > 0);",
        test: ("dying_words", "refused_keys_are_told_rightly_whatever_store_or_step_their_noter_stopped_at"),
    },
];

/// What a test said.
enum Verdict {
    Passed,
    /// It failed, and why.
    Failed(String),
    /// Neither: there is no such test, or it crashed, or it did not end.
    None(String),
}

/// Every mutant must be caught, or those only whose defect names this word.
pub fn mutants(only: Option<&str>) -> Result<()> {
    let chosen: Vec<&Mutant> = MUTANTS
        .iter()
        .filter(|mutant| only.is_none_or(|word| mutant.defect.contains(word)))
        .collect();
    ensure!(!chosen.is_empty(), "no mutant of that name");
    let copy = Copy::new()?;
    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mutant in &chosen {
        let names = tests.entry(mutant.test.0).or_default();
        if !names.contains(&mutant.test.1) {
            names.push(mutant.test.1);
        }
    }
    for (file, names) in tests {
        let program = copy.build(file)?.map_err(|why| anyhow::anyhow!(why))?;
        for name in names {
            match copy.test(&program, name)? {
                Verdict::Passed => {}
                Verdict::Failed(why) | Verdict::None(why) => {
                    bail!("without a mutant {file}::{name} does not pass: {why}")
                }
            }
        }
    }
    let mut escaped = Vec::new();
    for mutant in &chosen {
        let began = Instant::now();
        let (file, name) = mutant.test;
        let verdict = match copy.with(mutant, || copy.build(file))? {
            Ok(program) => copy.test(&program, name)?,
            Err(why) => bail!("{}: does not compile:\n{why}", mutant.defect),
        };
        let seconds = began.elapsed().as_secs_f64();
        println!("{} ({seconds:.1} s)", mutant.defect);
        match verdict {
            Verdict::Failed(why) => println!("  caught by {file}::{name}: {why}"),
            Verdict::Passed => {
                println!("  ESCAPED {file}::{name}");
                escaped.push(mutant.defect);
            }
            Verdict::None(why) => {
                println!("  ESCAPED {file}::{name}, which came to no verdict: {why}");
                escaped.push(mutant.defect);
            }
        }
    }
    ensure!(escaped.is_empty(), "escaped: {}", escaped.join("; "));
    println!("{} of {} mutants caught", chosen.len(), chosen.len());
    Ok(())
}

/// A copy of the core and what its tests need, in a workspace of its own.
struct Copy {
    source: PathBuf,
    target: PathBuf,
    /// What the last test printed.
    printed: PathBuf,
}

/// Far longer than the slowest of the tests takes.
const PATIENCE: Duration = Duration::from_secs(120);

impl Copy {
    fn new() -> Result<Copy> {
        let place = target().join("mutants");
        let source = place.join("source");
        if source.exists() {
            std::fs::remove_dir_all(&source)?;
        }
        copy_tree(&root().join("core"), &source.join("core"))?;
        copy_tree(&root().join("tests/vectors"), &source.join("tests/vectors"))?;
        std::fs::copy(root().join("Cargo.lock"), source.join("Cargo.lock"))?;
        let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
        let members = manifest
            .lines()
            .find(|line| line.starts_with("members"))
            .context("members")?;
        std::fs::write(
            source.join("Cargo.toml"),
            manifest.replace(members, "members = [\"core\"]"),
        )?;
        Ok(Copy {
            source,
            target: place.join("target"),
            printed: place.join("printed"),
        })
    }

    /// Does something while the mutant's defect is in the copy.
    fn with<T>(&self, mutant: &Mutant, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let file = self.source.join("core/src").join(mutant.file);
        let original = std::fs::read_to_string(&file)?;
        ensure!(
            original.matches(mutant.from).count() == 1,
            "{}: \"{}\" does not stand once in {}",
            mutant.defect,
            mutant.from,
            mutant.file
        );
        std::fs::write(&file, original.replace(mutant.from, mutant.to))?;
        let done = work();
        std::fs::write(&file, &original)?;
        done
    }

    /// Builds the tests of a file: the program, or what the compiler said.
    fn build(&self, file: &str) -> Result<std::result::Result<PathBuf, String>> {
        let built = Command::new("cargo")
            .args(["test", "--no-run", "--package", "forebay", "--test", file])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            // Nobody debugs a mutant, and half the time goes into that.
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .output()
            .context("cargo test")?;
        if !built.status.success() {
            return Ok(Err(String::from_utf8_lossy(&built.stderr).into_owned()));
        }
        let program = String::from_utf8_lossy(&built.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == file)
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        Ok(Ok(program.context("cargo names no program")?))
    }

    /// Runs one test of a program.
    fn test(&self, program: &Path, name: &str) -> Result<Verdict> {
        let printed = File::create(&self.printed)?;
        let mut child = Command::new(program)
            .args([name, "--exact"])
            .current_dir(self.source.join("core"))
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()
            .context("the test's program")?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Ok(Verdict::None(format!("it did not end in {PATIENCE:?}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let printed = std::fs::read(&self.printed)?;
        Ok(judge(name, status, &String::from_utf8_lossy(&printed)))
    }
}

fn judge(name: &str, status: ExitStatus, printed: &str) -> Verdict {
    if status.success() && printed.contains("test result: ok. 1 passed") {
        return Verdict::Passed;
    }
    if !status.success() && printed.contains(&format!("test {name} ... FAILED")) {
        // The message stands behind the line that says where.
        let mut lines = printed.lines();
        let place = lines.any(|line| line.contains("panicked at "));
        let why = lines.next().filter(|_| place).unwrap_or("it says nothing");
        return Verdict::Failed(why.chars().take(100).collect());
    }
    Verdict::None(format!("{status}:\n{printed}"))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to)?;
        } else {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}
