//! The event ring: what happened to the objects of a region, for everybody in it.
//!
//! Lossy on purpose: the newest [`EVENTS`] are kept, and an event that cannot
//! be written because the ring's lock is held by a stopped process is dropped
//! and counted. Readers take no lock; a slot counts only if its sequence word
//! says the same before and after it is read.

use super::layout::*;
use super::lock::{self, Participant, Stuck};
use super::{Event, EventKind, Events};
use crate::words::{Span, Words};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Writes an event; false if it was dropped.
pub fn write<W: Words>(
    header: &W,
    participant: &impl Participant,
    now: u64,
    kind: EventKind,
    object: usize,
    detail: u64,
) -> bool {
    // A slot that a dead writer left half-written has sequence 0: no repair.
    if lock::lock(header, AT_EVENT_LOCK, participant, false, &Stuck::default()).is_none() {
        header.add(AT_EVENTS_DROPPED, 1);
        return false;
    }
    let sequence = header.load(AT_EVENT_NEXT, Relaxed);
    let at = slot(sequence);
    header.store(at, 0, Relaxed);
    // Release: whoever sees one of the new words sees the zero too.
    header.fence(Release);
    header.store(at + 1, now, Relaxed);
    header.store(
        at + 2,
        (object as u64) << 32 | u64::from(kind.number()),
        Relaxed,
    );
    header.store(at + 3, detail, Relaxed);
    header.store(at, sequence.wrapping_add(1), Release);
    header.store(AT_EVENT_NEXT, sequence.wrapping_add(1), Release);
    lock::unlock(header, AT_EVENT_LOCK);
    true
}

/// Reads the events from sequence number `since` on.
pub fn read(header: &Span, since: u64, name_of: impl Fn(usize) -> String) -> Events {
    let next = header.load(AT_EVENT_NEXT, Acquire);
    let first = since.max(next.saturating_sub(EVENTS as u64));
    let mut events = Vec::new();
    for sequence in first..next {
        let at = slot(sequence);
        if header.load(at, Acquire) != sequence.wrapping_add(1) {
            continue;
        }
        let words = [1, 2, 3].map(|i| header.load(at + i, Relaxed));
        // Acquire: the second look at the sequence comes after the words.
        header.fence(Acquire);
        if header.load(at, Relaxed) != sequence.wrapping_add(1) {
            continue;
        }
        let Some(kind) = EventKind::from_number(words[1] as u32) else {
            continue;
        };
        events.push(Event {
            sequence,
            time: words[0],
            kind,
            object: name_of((words[1] >> 32) as usize),
            detail: words[2],
        });
    }
    let lost = next.saturating_sub(since) - events.len() as u64;
    Events { events, next, lost }
}

fn slot(sequence: u64) -> usize {
    AT_EVENTS + (sequence % EVENTS as u64) as usize * EVENT_WORDS
}
