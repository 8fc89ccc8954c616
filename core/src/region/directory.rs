//! The directory: which objects a region holds, and where.
//!
//! Entries are only ever appended, under the creation lock, and published by
//! their first word; so looking one up takes no lock. An object is placed
//! after the last published one: a creator that dies before publishing leaves
//! nothing behind. What an entry says is checked once, when it is read, and
//! copied to private memory.

use super::layout::*;
use super::lock::{self, Participant, Stuck};
use super::{EventKind, Inner};
use crate::words::{words_of, Span, Words};
use crate::{Error, Kind, Result};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::Arc;

/// The sizes of an object, as its kind defines them.
pub type Geometry = [u64; GEOMETRY_WORDS];

/// An object as a primitive holds it.
pub struct Object {
    /// Its words.
    pub words: Span,
    /// Its name.
    pub name: Arc<str>,
    /// Its number in the directory.
    pub number: usize,
    /// Its geometry, checked.
    pub geometry: Geometry,
    /// The region that it lives in, let go after the words: the last to leave
    /// an ephemeral region has nothing of it mapped any more.
    pub region: Arc<Inner>,
}

impl Object {
    /// Writes an event about this object.
    pub fn event(&self, now: u64, kind: EventKind, detail: u64) {
        super::events::write(
            &self.region.header,
            &self.region.seats,
            now,
            kind,
            self.number,
            detail,
        );
    }
}

/// What a primitive asks of the directory.
pub struct Request<'a> {
    /// The object's name.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// The geometry to create it with; `None` attaches only.
    pub create: Option<Geometry>,
    /// The words that a geometry takes; `None` if it is senseless.
    pub words: fn(&Geometry) -> Option<usize>,
    /// Compares an existing geometry with the options asked for.
    pub check: &'a dyn Fn(&Geometry) -> Result<()>,
    /// Writes the options that may change, under the creation lock; tells
    /// whether they did change. Not called when only attaching.
    pub configure: &'a dyn Fn(&Span, &Geometry) -> Result<bool>,
}

/// An entry, as read and checked.
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    pub offset: usize,
    pub length: usize,
    pub geometry: Geometry,
}

/// How long creation waits for another creator: turns of a millisecond.
const PATIENCE: u32 = 5_000;

/// Opens or creates an object.
pub fn open(region: &Arc<Inner>, request: &Request<'_>) -> Result<Object> {
    check_name(request.name)?;
    if request.create.is_none() {
        return match find(region, request.name)? {
            Some(found) => attach(region, request, found),
            None => Err(Error::NotFound {
                what: format!("the {} '{}'", request.kind, request.name),
            }),
        };
    }
    let _creating = Creating::lock(region)?;
    let (object, created) = match find(region, request.name)? {
        Some(found) => (attach(region, request, found)?, false),
        None => (create(region, request)?, true),
    };
    let changed = (request.configure)(&object.words, &object.geometry)?;
    if created {
        publish(&region.header, &object, request.kind);
        object.event(region.clock.now(), EventKind::ObjectCreated, 0);
    } else if changed {
        object.event(region.clock.now(), EventKind::OptionsChanged, 0);
    }
    Ok(object)
}

/// The published entries, in the order of their creation.
pub fn entries(region: &Inner) -> impl Iterator<Item = Result<Entry>> + '_ {
    (0..ENTRIES).map_while(|number| read(region, number).transpose())
}

/// The name of an object by its number; empty for the region itself.
pub fn name_of(region: &Inner, number: usize) -> String {
    match read(region, number) {
        Ok(Some(entry)) => entry.name,
        _ => String::new(),
    }
}

/// The first word after the last published object.
pub fn used(region: &Inner) -> Result<usize> {
    entries(region).try_fold(HEADER_WORDS, |end, entry| {
        entry.map(|entry| end.max(entry.offset + entry.length))
    })
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
        return Err(Error::invalid(
            "name",
            format_args!("{name:?}"),
            format_args!("1 to {NAME_BYTES} bytes of UTF-8 without NUL"),
        ));
    }
    Ok(())
}

fn entry_at(number: usize) -> usize {
    AT_DIRECTORY + number * ENTRY_WORDS
}

fn corrupt(region: &Inner, problem: String) -> Error {
    Error::Corrupt {
        path: region.path().unwrap_or("(private)".as_ref()).to_owned(),
        problem,
    }
}

/// Reads one entry; `None` if it is not published.
fn read(region: &Inner, number: usize) -> Result<Option<Entry>> {
    if number >= ENTRIES {
        return Ok(None);
    }
    let header = &region.header;
    let at = entry_at(number);
    let head = header.load(at + ENTRY_KIND, Acquire);
    if head == 0 {
        return Ok(None);
    }
    let damaged = || corrupt(region, format!("its directory entry {number} is damaged"));
    let kind = Kind::from_number(head & 0xff).ok_or_else(damaged)?;
    let length = (head >> 8) as usize;
    if length == 0 || length > NAME_BYTES {
        return Err(damaged());
    }
    let mut name = vec![0; length];
    header.copy_out(at + ENTRY_NAME, &mut name);
    let name = String::from_utf8(name).map_err(|_| damaged())?;
    let word = |i: usize| header.load(at + i, Relaxed);
    let offset = usize::try_from(word(ENTRY_OFFSET)).map_err(|_| damaged())?;
    let length = usize::try_from(word(ENTRY_LENGTH)).map_err(|_| damaged())?;
    let end = offset.checked_add(length).ok_or_else(damaged)?;
    if offset < HEADER_WORDS || length == 0 || end > region.words {
        return Err(damaged());
    }
    let mut geometry = [0; GEOMETRY_WORDS];
    for (i, value) in geometry.iter_mut().enumerate() {
        *value = word(ENTRY_GEOMETRY + i);
    }
    Ok(Some(Entry {
        name,
        kind,
        offset,
        length,
        geometry,
    }))
}

fn find(region: &Inner, name: &str) -> Result<Option<(usize, Entry)>> {
    for (number, entry) in entries(region).enumerate() {
        let entry = entry?;
        if entry.name == name {
            return Ok(Some((number, entry)));
        }
    }
    Ok(None)
}

/// Whether an entry's words are another entry's too: one of them is forged, and
/// nothing tells which. Entries that are damaged themselves open nothing.
fn overlaps_another(region: &Inner, number: usize, entry: &Entry) -> bool {
    entries(region).enumerate().any(|(other, it)| {
        let Ok(it) = it else { return false };
        let apart =
            entry.offset + entry.length <= it.offset || it.offset + it.length <= entry.offset;
        other != number && !apart
    })
}

fn attach(region: &Arc<Inner>, request: &Request<'_>, found: (usize, Entry)) -> Result<Object> {
    let (number, entry) = found;
    if entry.kind != request.kind {
        return Err(Error::WrongKind {
            object: entry.name,
            found: entry.kind,
            wanted: request.kind,
        });
    }
    // Before anything else looks at the geometry: it may be senseless.
    if (request.words)(&entry.geometry) != Some(entry.length) {
        return Err(corrupt(
            region,
            format!("the geometry of '{}' does not fit its length", entry.name),
        ));
    }
    if overlaps_another(region, number, &entry) {
        return Err(corrupt(
            region,
            format!("'{}' overlaps another object", entry.name),
        ));
    }
    (request.check)(&entry.geometry)?;
    let words = Span::new(region.memory.clone(), entry.offset, entry.length)
        .ok_or_else(|| corrupt(region, format!("'{}' lies outside", entry.name)))?;
    Ok(Object {
        words,
        name: entry.name.into(),
        number,
        geometry: entry.geometry,
        region: region.clone(),
    })
}

fn create(region: &Arc<Inner>, request: &Request<'_>) -> Result<Object> {
    let geometry = request.create.expect("asked to create");
    let needs = (request.words)(&geometry).ok_or(Error::RegionFull {
        what: "bytes",
        needs: u64::MAX,
        has: (region.words * 8) as u64,
    })?;
    let number = entries(region).count();
    if number >= ENTRIES {
        return Err(Error::RegionFull {
            what: "objects",
            needs: ENTRIES as u64 + 1,
            has: ENTRIES as u64,
        });
    }
    let offset = used(region)?.next_multiple_of(OBJECT_ALIGN);
    let has = region.words.saturating_sub(offset);
    let words = (needs <= has)
        .then(|| Span::new(region.memory.clone(), offset, needs))
        .flatten()
        .ok_or(Error::RegionFull {
            what: "bytes",
            needs: (needs * 8) as u64,
            has: (has * 8) as u64,
        })?;
    // A creator that died here may have left anything. Zeros are not written
    // over zeros, so untouched pages of a private region stay untouched.
    for at in 0..needs {
        if words.load(at, Relaxed) != 0 {
            words.store(at, 0, Relaxed);
        }
    }
    Ok(Object {
        words,
        name: request.name.into(),
        number,
        geometry,
        region: region.clone(),
    })
}

fn publish(header: &Span, object: &Object, kind: Kind) {
    let at = entry_at(object.number);
    let offset = object.words.offset();
    for (i, word) in words_of(object.name.as_bytes()).enumerate() {
        header.store(at + ENTRY_NAME + i, word, Relaxed);
    }
    header.store(at + ENTRY_OFFSET, offset as u64, Relaxed);
    header.store(at + ENTRY_LENGTH, object.words.len() as u64, Relaxed);
    for (i, value) in object.geometry.into_iter().enumerate() {
        header.store(at + ENTRY_GEOMETRY + i, value, Relaxed);
    }
    let head = (object.name.len() as u64) << 8 | u64::from(kind.number());
    // Release: publishes the entry and the object's zeros and options.
    header.store(at + ENTRY_KIND, head, Release);
}

/// Holds the creation lock.
struct Creating<'a>(&'a Inner);

impl Creating<'_> {
    fn lock(region: &Inner) -> Result<Creating<'_>> {
        for _ in 0..PATIENCE {
            let participant = &region.seats;
            if participant.owner().is_none() {
                return Err(Error::NoSeat {
                    seats: SEATS as u64,
                });
            }
            // A dead creator left only words that nobody looks at yet.
            if lock::lock(
                &region.header,
                AT_CREATION_LOCK,
                participant,
                false,
                &Stuck::default(),
            )
            .is_some()
            {
                return Ok(Creating(region));
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Err(Error::Busy {
            what: "the region's creation lock",
        })
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        lock::unlock(&self.0.header, AT_CREATION_LOCK);
    }
}
