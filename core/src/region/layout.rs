//! The header of a region, word by word; `docs/layout.md` draws it.
//!
//! Offsets are a chain: each begins where the one before ends, and the
//! assertions at the end tie the sums to the drawing.

/// `forebay\0`, little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"forebay\0");
/// Raised whenever any format in a region changes.
pub const LAYOUT_VERSION: u32 = 1;
/// Tells this machine's byte order from the other one.
pub const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;

/// Word of the magic number.
pub const AT_MAGIC: usize = 0;
/// Word of {fingerprint 32, layout version 32}.
pub const AT_LAYOUT: usize = 1;
/// Word of the byte order mark.
pub const AT_BYTE_ORDER: usize = 2;
/// Word of the region's size in words.
pub const AT_WORDS: usize = 3;
/// Word of [`FLAG_MANUAL_CLOCK`] and [`FLAG_EPHEMERAL`].
pub const AT_FLAGS: usize = 4;
/// First of two words of the machine's boot id.
pub const AT_BOOT: usize = 5;
/// Word of the creator's time namespace: its boot clock's offset in nanoseconds.
pub const AT_CLOCK_OFFSET: usize = 7;
/// Word of the boot clock at creation, in nanoseconds: the region's epoch.
pub const AT_EPOCH: usize = 8;
/// Word of the wall clock at creation, in nanoseconds since 1970.
pub const AT_WALL: usize = 9;
/// Word of the manual clock's time, in nanoseconds since the epoch.
pub const AT_MANUAL_NOW: usize = 10;
/// Lock under which objects are created and options change.
pub const AT_CREATION_LOCK: usize = 11;
/// Lock of the event ring.
pub const AT_EVENT_LOCK: usize = 12;
/// Word of the next event's sequence number.
pub const AT_EVENT_NEXT: usize = 13;
/// Word of the count of structures that recovery cleared.
pub const AT_RESETS: usize = 14;
/// Word of the count of events that could not be written.
pub const AT_EVENTS_DROPPED: usize = 15;
/// First word of the hash secret.
pub const AT_SECRET: usize = 16;
/// Words of hash secret.
pub const SECRET_WORDS: usize = crate::hash::SECRET_BYTES / 8;

/// First word of the seats: one word each, the seat's epoch.
pub const AT_SEATS: usize = 64;
/// How many processes may have a region open at once.
pub const SEATS: usize = 256;

/// First word of the directory.
pub const AT_DIRECTORY: usize = AT_SEATS + SEATS;
/// Words of a directory entry.
pub const ENTRY_WORDS: usize = 16;
/// How many objects a region can hold.
pub const ENTRIES: usize = 128;
/// Within an entry: {name length 8, kind 8}; zero until published.
pub const ENTRY_KIND: usize = 0;
/// Within an entry: the name.
pub const ENTRY_NAME: usize = 1;
/// The longest name, in bytes.
pub const NAME_BYTES: usize = 48;
/// Within an entry: the object's first word.
pub const ENTRY_OFFSET: usize = ENTRY_NAME + NAME_BYTES / 8;
/// Within an entry: the object's length in words.
pub const ENTRY_LENGTH: usize = ENTRY_OFFSET + 1;
/// Within an entry: the object's geometry, as its kind defines it.
pub const ENTRY_GEOMETRY: usize = ENTRY_LENGTH + 1;
/// Words of geometry.
pub const GEOMETRY_WORDS: usize = 6;

/// First word of the event ring.
pub const AT_EVENTS: usize = AT_DIRECTORY + ENTRIES * ENTRY_WORDS;
/// Words of an event: {sequence + 1, time, {object 32, kind 32}, detail}.
pub const EVENT_WORDS: usize = 4;
/// How many events the ring keeps.
pub const EVENTS: usize = 256;

/// Words of the header; the first object follows.
pub const HEADER_WORDS: usize = AT_EVENTS + EVENTS * EVENT_WORDS;
/// Objects begin at a multiple of this many words (two cache lines).
pub const OBJECT_ALIGN: usize = 16;

/// The clock stands still until it is advanced.
pub const FLAG_MANUAL_CLOCK: u64 = 1;
/// The last process to leave removes the file.
pub const FLAG_EPHEMERAL: u64 = 2;

const _: () = assert!(AT_SECRET + SECRET_WORDS <= AT_SEATS);
const _: () = assert!(AT_DIRECTORY == 320);
const _: () = assert!(ENTRY_GEOMETRY + GEOMETRY_WORDS <= ENTRY_WORDS);
const _: () = assert!(AT_EVENTS == 2368);
const _: () = assert!(HEADER_WORDS == 3392);
const _: () = assert!(HEADER_WORDS.is_multiple_of(OBJECT_ALIGN));

/// A number that differs whenever one of the formats above does: the layout's
/// fingerprint, beside the version that people read (FNV-1a over the offsets).
pub const FINGERPRINT: u32 = {
    let parts = [
        AT_SECRET,
        AT_SEATS,
        SEATS,
        AT_DIRECTORY,
        ENTRY_WORDS,
        ENTRIES,
        ENTRY_GEOMETRY,
        AT_EVENTS,
        EVENT_WORDS,
        EVENTS,
        HEADER_WORDS,
        crate::limiter::FORMAT,
        crate::cache::FORMAT,
        crate::breaker::FORMAT,
        crate::histogram::FORMAT,
        crate::permits::FORMAT,
    ];
    let mut hash = 0x811c_9dc5u32;
    let mut i = 0;
    while i < parts.len() {
        hash = (hash ^ parts[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
};

/// What [`AT_LAYOUT`] holds.
pub const LAYOUT: u64 = (FINGERPRINT as u64) << 32 | LAYOUT_VERSION as u64;
