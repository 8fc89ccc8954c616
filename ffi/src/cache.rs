//! Caches: bytes by key. Reads copy, once, into memory that the caller names.

use crate::argument::{buffer, bytes, duration, out, text, too_small};
use crate::handle::{self, borrow, held};
use crate::region::fb_region;
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status, FB_NEVER};
use forebay::{Cache, CacheOptions, Codec, Error, Region, Result, SetOptions, Ttl};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A cache: bytes by key, within bounds of memory and of entries.
pub struct fb_cache {
    _opaque: [u8; 0],
}

/// What a handle holds: the region too, whose clock tells ages.
struct Open {
    cache: Cache,
    region: Region,
}

held!(fb_cache, 2, Open);

/// How a value's bytes are encoded, so that languages can read each other's
/// values; numbers up to 255 that are not here are the program's own.
#[repr(u32)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // for the header; here the core says the numbers
pub enum fb_codec {
    /// Bytes as they are.
    FB_CODEC_BYTES = 0,
    /// Text in UTF-8.
    FB_CODEC_TEXT = 1,
    /// JSON in UTF-8.
    FB_CODEC_JSON = 2,
}

/// How to open a cache. Zero in a field is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_cache_options {
    /// sizeof(fb_cache_options); fb_cache_options_init sets it.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Memory in the region, all included, at least 16 KiB. 0: 4 MiB.
    pub bytes: u64,
    /// The most entries; each takes about 80 bytes beside its key and value.
    /// 0: one for every 512 bytes.
    pub max_entries: u64,
    /// The largest key and value together, at most about a quarter of a shard.
    /// 0: an eighth of that most or 64 KiB, whichever is more; 94 KiB in 4 MiB.
    pub max_item: u64,
    /// How many parts it has, each with a lock of its own for writers: a power
    /// of two. 0: at most four a core, fewer where one would have less than 128
    /// entries or less room than 32 of the largest items.
    pub shards: u64,
    /// How long entries live unless fb_cache_set_with says otherwise. 0 or
    /// FB_NEVER: as it is in a cache that is there, without end in a new one.
    pub ttl_ns: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_cache_options {}

/// What is known of an entry beside its value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_entry {
    /// sizeof(fb_entry); fb_entry_init sets it.
    pub struct_size: u32,
    /// How the value is encoded: one of `enum fb_codec`, or the program's own.
    pub codec: u32,
    /// A number that no other value of this key has had or will have.
    pub version: u64,
    /// How long ago it was set.
    pub age_ns: u64,
    /// How long it will live; FB_NEVER: without end.
    pub ttl_ns: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_entry {}

/// What a cache counted since it was created, in all processes, and what it holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_cache_stats {
    /// sizeof(fb_cache_stats); fb_cache_stats_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Values stored.
    pub sets: u64,
    /// Entries deleted on demand.
    pub deletes: u64,
    /// Live entries that made room for others.
    pub evictions: u64,
    /// Expired entries that made room for others.
    pub expirations: u64,
    /// Sets refused because the item was too large.
    pub too_large: u64,
    /// Writes that could not get their shard's lock in time.
    pub busy: u64,
    /// Shards that were cleared because a process died while writing there.
    pub resets: u64,
    /// Entries there now, expired ones included until they make room.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes_used: u64,
    /// Bytes there are for them.
    pub bytes_capacity: u64,
    /// The most entries.
    pub max_entries: u64,
    /// The largest key and value together that is stored.
    pub max_item: u64,
    /// How many parts it has.
    pub shards: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_cache_stats {}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_cache_options>() == 8 + 5 * 8);
    assert!(size_of::<fb_entry>() == 8 + 3 * 8);
    assert!(size_of::<fb_cache_stats>() == 8 + 15 * 8);
};

/// Says where a value of `len` bytes is to be written: returns memory for `len`
/// bytes that stays valid until fb_cache_get_with returns, or NULL to refuse.
/// No lock is held while it runs, so it may allocate and may use the cache. It
/// must return: no longjmp, no C++ exception.
pub type fb_place_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, len: usize) -> *mut c_void>;

/// Opens a cache: creates it or attaches to it. With options, an existing cache
/// takes over the TTL, if one is given (for all processes); another size than it
/// has is an error. `options` NULL: attach only, to what is there.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*cache` is the caller's, to be given to fb_cache_close; it keeps
/// the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_GEOMETRY, FB_E_WRONG_KIND,
/// FB_E_REGION_FULL, FB_E_NOT_FOUND (no options and no such cache), FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_cache_options,
    cache: *mut *mut fb_cache,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let cache = out("cache", cache)?;
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(choose(unsafe { sized::read("options", options)? })?)
        };
        let opened = Open {
            cache: region.cache(name, options)?,
            region: region.clone(),
        };
        // SAFETY: as above.
        unsafe { cache.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

fn choose(asked: fb_cache_options) -> Result<CacheOptions> {
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    let mut options = CacheOptions::new();
    if asked.bytes != 0 {
        options = options.bytes(asked.bytes);
    }
    if asked.max_entries != 0 {
        options = options.max_entries(asked.max_entries);
    }
    if asked.max_item != 0 {
        options = options.max_item(asked.max_item);
    }
    if asked.shards != 0 {
        options = options.shards(asked.shards);
    }
    if asked.ttl_ns != FB_NEVER {
        if let Some(ttl) = duration(asked.ttl_ns) {
            options = options.ttl(ttl);
        }
    }
    Ok(options)
}

/// Closes the handle. The cache itself stays in the region.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no cache.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_close(cache: *mut fb_cache) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Open>(cache) }.map(|()| fb_code::FB_OK))
}

/// Copies the key's value into `buf`. `*len` becomes its length, also when `cap`
/// is too small.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `buf`
/// (room for `cap`; NULL with 0 to ask for the length).
/// Threads: any.
/// Cost: one copy; no allocation; locks the shard only when writers keep
/// changing the entry.
/// Returns: FB_OK; FB_MISS; FB_E_TOO_LARGE when `cap` is less than `*len` (no
/// byte is copied). Bytes of `buf` that are not the value's may be overwritten
/// whatever the answer, when the value changes during the call.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_get(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (open, key) = unsafe { (borrow::<Open>(cache)?, bytes("key", key, key_len)?) };
        let len = out("len", len)?;
        // SAFETY: as above.
        unsafe { buffer("buf", buf.cast::<u8>(), cap)? };
        let mut needed = 0;
        let found = open.cache.get_with(key, |value_len| {
            needed = value_len;
            // SAFETY: checked above; what an earlier call of this closure
            // returned is no longer used.
            unsafe { place(buf, cap) }
        });
        // SAFETY: as above.
        unsafe {
            told(
                found.map(|hit| hit.map(|(meta, _)| meta.len)),
                needed,
                cap,
                len,
            )
        }
    })
}

/// Copies the key's value to a place that `place` names when it knows the
/// length: one copy, straight to where the value is wanted. `place` may be
/// called more than once, if the value changes meanwhile; the last place has the
/// value. It is not called on a miss.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); `context` goes to
/// `place` as it is.
/// Threads: any.
/// Cost: one copy; no allocation; no lock is held while `place` runs.
/// Returns: FB_OK, with the length in `*len`; FB_MISS; FB_E_TOO_LARGE when
/// `place` returned NULL (`*len` is the length that was refused).
#[no_mangle]
pub unsafe extern "C" fn fb_cache_get_with(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
    place: fb_place_fn,
    context: *mut c_void,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and below.
        let (open, key) = unsafe { (borrow::<Open>(cache)?, bytes("key", key, key_len)?) };
        let len = out("len", len)?;
        let Some(ask) = place else {
            return Err(Error::invalid("place", "NULL", "a function"));
        };
        let mut needed = 0;
        let found = open.cache.get_with(key, |value_len| {
            needed = value_len;
            // SAFETY: the caller's promise: `ask` returns NULL or room for that
            // many bytes; an earlier place is no longer used.
            unsafe {
                let given = ask(context, value_len);
                let room = if given.is_null() { 0 } else { value_len };
                self::place(given, room)
            }
        });
        // SAFETY: as above.
        unsafe {
            told(
                found.map(|hit| hit.map(|(meta, _)| meta.len)),
                needed,
                0,
                len,
            )
        }
    })
}

/// fb_cache_get, and what is known of the entry.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `buf`
/// (room for `cap`) and to `entry`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: one copy and one reading of the clock; no allocation; locks as
/// fb_cache_get does.
/// Returns: FB_OK; FB_MISS; FB_E_TOO_LARGE when `cap` is less than `*len` (only
/// `*len` is written).
#[no_mangle]
pub unsafe extern "C" fn fb_cache_entry(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
    entry: *mut fb_entry,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (open, key) = unsafe { (borrow::<Open>(cache)?, bytes("key", key, key_len)?) };
        let len = out("len", len)?;
        // SAFETY: as above.
        let entry = unsafe {
            buffer("buf", buf.cast::<u8>(), cap)?;
            sized::place("entry", entry)?
        };
        let mut needed = 0;
        let found = open.cache.get_with(key, |value_len| {
            needed = value_len;
            // SAFETY: checked above; what an earlier call of this closure
            // returned is no longer used.
            unsafe { place(buf, cap) }
        });
        if let Ok(Some((meta, _))) = &found {
            let now = open.region.now();
            // SAFETY: as above.
            unsafe {
                entry.write(fb_entry {
                    struct_size: 0,
                    codec: meta.codec.number().into(),
                    version: meta.version,
                    age_ns: now.saturating_sub(meta.created),
                    ttl_ns: meta
                        .expires
                        .map_or(FB_NEVER, |expires| expires.saturating_sub(now)),
                });
            }
        }
        // SAFETY: as above.
        unsafe {
            told(
                found.map(|hit| hit.map(|(meta, _)| meta.len)),
                needed,
                cap,
                len,
            )
        }
    })
}

/// `room` bytes at `pointer`, which is valid for them.
unsafe fn place<'a>(pointer: *mut c_void, room: usize) -> &'a mut [u8] {
    if room == 0 {
        &mut []
    } else {
        // SAFETY: the caller's promise; nothing is read before it is written.
        unsafe { std::slice::from_raw_parts_mut(pointer.cast(), room) }
    }
}

/// Writes `*len` and turns what `get_with` said into a status.
unsafe fn told(
    found: Result<Option<usize>>,
    needed: usize,
    cap: usize,
    len: std::ptr::NonNull<usize>,
) -> Result<fb_code> {
    match found {
        Ok(Some(copied)) => {
            // SAFETY: the caller's promise.
            unsafe { len.write(copied) };
            Ok(fb_code::FB_OK)
        }
        Ok(None) => Ok(fb_code::FB_MISS),
        Err(Error::TooLarge { .. }) if needed > cap => {
            // SAFETY: the caller's promise.
            unsafe { len.write(needed) };
            Err(too_small::<u8>("buf", needed, cap))
        }
        Err(error) => Err(error),
    }
}

/// Whether the cache has the key. Neither promotes the entry nor counts as a hit.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: no allocation; locks as fb_cache_get does.
/// Returns: FB_OK or FB_MISS.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_contains(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (open, key) = unsafe { (borrow::<Open>(cache)?, bytes("key", key, key_len)?) };
        Ok(if open.cache.contains(key) {
            fb_code::FB_OK
        } else {
            fb_code::FB_MISS
        })
    })
}

/// Stores a value as bytes, to live as long as the cache's TTL says. Entries
/// that were used least recently make room for it.
///
/// Ownership: borrows the key and the value (NULL with 0 is empty); keeps copies.
/// Threads: any.
/// Cost: one copy; no allocation; locks the key's shard.
/// Returns: FB_OK; FB_NOT_STORED when it is larger than max_item, or the shard
/// was held for too long: then an older value of the key is not there either.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_set(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (open, key, value) = unsafe {
            let open = borrow::<Open>(cache)?;
            (
                open,
                bytes("key", key, key_len)?,
                bytes("value", value, value_len)?,
            )
        };
        Ok(stored(open.cache.set(key, value)))
    })
}

/// Stores a value. `ttl_ns`: how long it lives; 0: as the cache's TTL says;
/// FB_NEVER: without end. `codec`: one of `enum fb_codec`, or the program's own
/// up to 255.
///
/// Ownership: borrows the key and the value (NULL with 0 is empty); keeps copies.
/// Threads: any.
/// Cost: one copy; no allocation; locks the key's shard.
/// Returns: FB_OK; FB_NOT_STORED as fb_cache_set.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_set_with(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    ttl_ns: u64,
    codec: u32,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (open, key, value) = unsafe {
            let open = borrow::<Open>(cache)?;
            (
                open,
                bytes("key", key, key_len)?,
                bytes("value", value, value_len)?,
            )
        };
        let Ok(codec) = u8::try_from(codec) else {
            return Err(Error::invalid("codec", codec, "0 to 255"));
        };
        let options = SetOptions {
            ttl: match ttl_ns {
                0 => Ttl::Default,
                FB_NEVER => Ttl::Never,
                ttl => Ttl::For(Duration::from_nanos(ttl)),
            },
            codec: Codec::from_number(codec),
        };
        Ok(stored(open.cache.set_with(key, value, options)))
    })
}

fn stored(stored: bool) -> fb_code {
    if stored {
        fb_code::FB_OK
    } else {
        fb_code::FB_NOT_STORED
    }
}

/// Removes the key's entry.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: no allocation; locks the key's shard.
/// Returns: FB_OK; FB_MISS if there was none.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_delete(
    cache: *const fb_cache,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (open, key) = unsafe { (borrow::<Open>(cache)?, bytes("key", key, key_len)?) };
        Ok(if open.cache.delete(key) {
            fb_code::FB_OK
        } else {
            fb_code::FB_MISS
        })
    })
}

/// Removes all entries, for all processes.
///
/// Threads: any.
/// Cost: the same for any number of entries, in proportion to the cache's index;
/// no allocation; locks one shard after the other.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_clear(cache: *const fb_cache) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { borrow::<Open>(cache)? }.cache.clear();
        Ok(fb_code::FB_OK)
    })
}

/// How many entries the cache holds, expired ones included until they make room.
///
/// Threads: any.
/// Cost: one load a shard; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_len(cache: *const fb_cache, entries: *mut u64) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let open = unsafe { borrow::<Open>(cache)? };
        let entries = out("entries", entries)?;
        // SAFETY: as above.
        unsafe { entries.write(open.cache.len()) };
        Ok(fb_code::FB_OK)
    })
}

/// What the cache counted, in all processes, and what it holds.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: a few loads a shard; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_cache_get_stats(
    cache: *const fb_cache,
    stats: *mut fb_cache_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (open, place) = unsafe {
            let open = borrow::<Open>(cache)?;
            (open, sized::place("stats", stats)?)
        };
        let now = open.cache.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_cache_stats {
                struct_size: 0,
                reserved: 0,
                hits: now.hits,
                misses: now.misses,
                sets: now.sets,
                deletes: now.deletes,
                evictions: now.evictions,
                expirations: now.expirations,
                too_large: now.too_large,
                busy: now.busy,
                resets: now.resets,
                entries: now.entries,
                bytes_used: now.bytes_used,
                bytes_capacity: now.bytes_capacity,
                max_entries: now.max_entries,
                max_item: now.max_item,
                shards: now.shards,
            });
        }
        Ok(fb_code::FB_OK)
    })
}
