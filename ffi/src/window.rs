//! Window counters: hits by key in windows of time.

use crate::argument::{bytes, nanoseconds, optional_out, out, text};
use crate::handle::{self, borrow, held};
use crate::limiter::{there_was, FB_UNLIMITED};
use crate::region::fb_region;
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status};
use forebay::{Count, Error, Region, Result, WindowCounter, WindowOptions};
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;
use std::time::Duration;

/// Counts by key in windows of time: what the stores of other rate limiters are
/// made of. A limiter with FB_ALGORITHM_FIXED is the limit itself.
///
/// A key's window begins with its first hit, which tells its length, in whole
/// milliseconds.
pub struct fb_window {
    _opaque: [u8; 0],
}

held!(fb_window, 5, WindowCounter);

/// How to open a window counter. Zero in a field is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_window_options {
    /// sizeof(fb_window_options); fb_window_options_init sets it.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// How many keys may have a window at once without crowding each other, at
    /// most 2^28; it fixes the memory. 0: 65,536.
    pub max_keys: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_window_options {}

/// What a key's window has seen. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_count {
    /// Hits in the window; at most 8,388,607 are counted.
    pub count: u64,
    /// How long until it ends; 0 if the key has no window.
    pub resets_in_ns: u64,
}

/// What a window counter counted since it was created, in all processes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_window_stats {
    /// sizeof(fb_window_stats); fb_window_stats_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Hits that were counted, whatever their weight.
    pub hits: u64,
    /// Hits that were not, for a limit.
    pub refused: u64,
    /// Windows that were not over when another key took their slot: max_keys is
    /// too small.
    pub evicted_live: u64,
    /// Hits that were not counted because others kept changing the key's slots.
    pub contended: u64,
    /// Slots of the table.
    pub slots: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_window_stats {}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_window_options>() == 8 + 8);
    assert!(size_of::<fb_count>() == 2 * 8);
    assert!(size_of::<fb_window_stats>() == 8 + 5 * 8);
};

/// Opens a window counter: creates it or attaches to it. Another `max_keys` than
/// it has is an error. `options` NULL: attach only, to what is there.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*window` is the caller's, to be given to fb_window_close; it keeps
/// the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_GEOMETRY, FB_E_WRONG_KIND,
/// FB_E_REGION_FULL, FB_E_NOT_FOUND (no options and no such counter), FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_window_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_window_options,
    window: *mut *mut fb_window,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let window = out("window", window)?;
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(choose(unsafe { sized::read("options", options)? })?)
        };
        let opened = region.window(name, options)?;
        // SAFETY: as above.
        unsafe { window.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

fn choose(asked: fb_window_options) -> Result<WindowOptions> {
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    Ok(match asked.max_keys {
        0 => WindowOptions::new(),
        max_keys => WindowOptions::new().max_keys(max_keys),
    })
}

/// Closes the handle. The counter itself stays in the region.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no window counter.
#[no_mangle]
pub unsafe extern "C" fn fb_window_close(window: *mut fb_window) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<WindowCounter>(window) }.map(|()| fb_code::FB_OK))
}

/// Counts one hit of this key. If it has no window, or that is over, one of
/// `window_ns` begins: 1 ms to four and a half years.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `count`
/// unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_hit(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    window_ns: u64,
    count: *mut fb_count,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        let place = optional_out("count", count)?;
        let told = window.hit(key, Duration::from_nanos(window_ns))?;
        // SAFETY: as above.
        unsafe { tell(told, place) };
        Ok(fb_code::FB_OK)
    })
}

/// Counts so many hits, unless the window would have more than `limit` then;
/// FB_UNLIMITED: without a limit. 0 hits begin no window.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `count`
/// unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK counted; FB_DENIED not: for the limit, or because others kept
/// changing the key's slots. Both write the count, which has the hits or has not.
#[no_mangle]
pub unsafe extern "C" fn fb_window_hit_with(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    window_ns: u64,
    hits: u64,
    limit: u64,
    count: *mut fb_count,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        let place = optional_out("count", count)?;
        let length = Duration::from_nanos(window_ns);
        let limit = (limit != FB_UNLIMITED).then_some(limit);
        let (told, code) = match window.hit_with(key, length, hits, limit)? {
            Ok(count) => (count, fb_code::FB_OK),
            Err(count) => (count, fb_code::FB_DENIED),
        };
        // SAFETY: as above.
        unsafe { tell(told, place) };
        Ok(code)
    })
}

/// What the key's window has seen.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `count`.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_get(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    count: *mut fb_count,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        let place = out("count", count)?;
        // SAFETY: as above.
        unsafe { tell(window.get(key), Some(place)) };
        Ok(fb_code::FB_OK)
    })
}

/// Takes hits back, down to none; the window stays as it is.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `count`
/// unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_decrement(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    hits: u64,
    count: *mut fb_count,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        let place = optional_out("count", count)?;
        // SAFETY: as above.
        unsafe { tell(window.decrement(key, hits), place) };
        Ok(fb_code::FB_OK)
    })
}

/// Ends the key's window, and its block.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_MISS if it had neither.
#[no_mangle]
pub unsafe extern "C" fn fb_window_reset(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        Ok(there_was(window.reset(key)))
    })
}

/// Marks the key as blocked for this long, for fb_window_blocked_for to tell; a
/// mark that ends later stays. It is counted on regardless. At most four and a
/// half years.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_block(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    for_ns: u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        window.block(key, Duration::from_nanos(for_ns));
        Ok(fb_code::FB_OK)
    })
}

/// How long the key is blocked yet; 0 if it is not.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `wait_ns`.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_blocked_for(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
    wait_ns: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        let wait_ns = out("wait_ns", wait_ns)?;
        // SAFETY: as above.
        unsafe { wait_ns.write(nanoseconds(window.blocked_for(key))) };
        Ok(fb_code::FB_OK)
    })
}

/// Ends a block.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_MISS if there was none.
#[no_mangle]
pub unsafe extern "C" fn fb_window_unblock(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (window, key) = unsafe { keyed(window, key, key_len)? };
        Ok(there_was(window.unblock(key)))
    })
}

/// Ends all windows and blocks.
///
/// Threads: any.
/// Cost: reads the whole table; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_clear(window: *const fb_window) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { borrow::<WindowCounter>(window)? }.clear();
        Ok(fb_code::FB_OK)
    })
}

/// What the window counter counted, in all processes.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: a few loads; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_window_get_stats(
    window: *const fb_window,
    stats: *mut fb_window_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (window, place) = unsafe {
            let window = borrow::<WindowCounter>(window)?;
            (window, sized::place("stats", stats)?)
        };
        let now = window.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_window_stats {
                struct_size: 0,
                reserved: 0,
                hits: now.hits,
                refused: now.refused,
                evicted_live: now.evicted_live,
                contended: now.contended,
                slots: now.slots,
            });
        }
        Ok(fb_code::FB_OK)
    })
}

/// The counter and the bytes of the key.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
unsafe fn keyed<'a>(
    window: *const fb_window,
    key: *const c_void,
    key_len: usize,
) -> Result<(&'a WindowCounter, &'a [u8])> {
    // SAFETY: the caller's promise.
    unsafe {
        let window = borrow::<WindowCounter>(window)?;
        Ok((window, bytes("key", key, key_len)?))
    }
}

/// Writes the count, if it is wanted.
///
/// # Safety
/// `place` is valid for writing.
#[inline]
unsafe fn tell(count: Count, place: Option<NonNull<fb_count>>) {
    if let Some(place) = place {
        // SAFETY: the caller's promise.
        unsafe {
            place.write(fb_count {
                count: count.count,
                resets_in_ns: nanoseconds(count.resets_in),
            });
        }
    }
}
