//! Limiters: a token bucket or a window per key.

use crate::argument::{
    buffer, bytes, nanoseconds, optional_out, optional_text, out, text, too_small,
};
use crate::handle::{self, borrow, held};
use crate::limiter_options::choose;
use crate::region::{fb_region, name};
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status, print, FB_NEVER};
use forebay::internals::limiter::{refused, tiers};
use forebay::{Charge, Limited, Limiter, RefusedKey, Region, Result, Verdict};
use std::ffi::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::time::Duration;

/// A rate limiter: a token bucket or a window per key.
pub struct fb_limiter {
    _opaque: [u8; 0],
}

/// What a handle holds: the region too, whose clock tells how long to wait.
pub(crate) struct Open {
    pub(crate) limiter: Limiter,
    pub(crate) region: Region,
}

held!(fb_limiter, 1, Open);

/// In `fb_rate.count`: no limit.
pub const FB_UNLIMITED: u64 = u64::MAX;

/// In place of `now_ns`: the call reads the clock.
pub const FB_NOW: u64 = u64::MAX;

/// What a limiter counts, in `fb_limiter_options.algorithm`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum fb_algorithm {
    /// A token bucket: tokens come back one by one, at the rate. For most limits;
    /// up to burst + rate * t in any interval t.
    FB_ALGORITHM_BUCKET = 1,
    /// A window that begins with a key's first token: at most the count in each,
    /// all back at its end. Up to twice the count in an interval of the window's
    /// length that two of them share.
    FB_ALGORITHM_FIXED = 2,
    /// At most the count in any interval of the window's length. A token comes
    /// back when the window has passed, or up to one slice of it later
    /// (docs/limiter.md).
    FB_ALGORITHM_SLIDING = 3,
}

/// What happens when a newcomer finds no free slot among those of its key, in
/// `fb_limiter_options.on_full`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum fb_on_full {
    /// It takes the one that is free soonest, and starts anew: a flood of fresh
    /// keys costs nobody anything, and gives a key whose slot was taken its whole
    /// burst once more. Counted as `evicted_live`.
    FB_ON_FULL_LENIENT = 1,
    /// It takes that one with what is owed there, or is refused: a flood of fresh
    /// keys never gives anybody a token. For logins.
    FB_ON_FULL_STRICT = 2,
}

/// What a limiter answers when it cannot tell, because others kept changing the
/// key's slots, in `fb_limiter_options.on_error`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum fb_on_error {
    /// The request is refused.
    FB_ON_ERROR_DENY = 1,
    /// The request passes, uncharged.
    FB_ON_ERROR_ALLOW = 2,
}

/// In `fb_limiter_options.flags`: everything passes, uncharged, and is counted as
/// admitted, until the limiter is opened without this.
pub const FB_LIMITER_DISABLED: u32 = 1;
/// In `fb_limiter_options.flags`: fb_limiter_top_refused may show keys, as far as
/// they are at most 47 bytes long; they are stored in the region then.
pub const FB_LIMITER_SHOW_KEYS: u32 = 2;

/// As many keys as fb_limiter_top_refused tells at most.
pub const FB_MOST_REFUSED: usize = 32;

const _: () = assert!(FB_MOST_REFUSED == refused::ENTRIES && refused::TEXT_BYTES < 48);

/// A rate, as text or in numbers. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_rate {
    /// Such as "60/min", "60/min burst 90", "100/15min", "unlimited", or several
    /// that all must be kept to: "10/s and 1000/day". NULL: in numbers.
    pub text: *const c_char,
    /// Tokens in the period; FB_UNLIMITED: no limit. 0 with a text.
    pub count: u64,
    /// The period in nanoseconds. 0 with a text.
    pub per_ns: u64,
    /// How many tokens may be taken at once. 0: as many as `count`.
    pub burst: u64,
}

/// A tier: a rate of its own for some requests. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_tier {
    /// Its name, 1 to 31 bytes other than "default", ended by NUL.
    pub name: *const c_char,
    /// Its rate.
    pub rate: fb_rate,
}

/// How to open a limiter. Zero in a field is its default, but a rate is needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_limiter_options {
    /// sizeof(fb_limiter_options); fb_limiter_options_init sets it.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The rate of the tier "default". All zero with `rates`.
    pub rate: fb_rate,
    /// Further tiers, at most 15; a tier that is not named again stays. Rows of
    /// one name are that tier's rates, all of which must be kept to. The first
    /// rates of all tiers share their memory, and so on: put those of similar
    /// periods in the same place.
    pub tiers: *const fb_tier,
    /// How many.
    pub tier_count: usize,
    /// How many keys may have a bucket that is not full at once without crowding
    /// each other, at most 2^28; it fixes the memory: 16 bytes for each rate, and
    /// a quarter to spare. 0: 65,536.
    pub max_keys: u64,
    /// In place of `rate`: several that all must be kept to, at most 4, and later
    /// no more than the limiter was created with.
    pub rates: *const fb_rate,
    /// How many; 0: it is `rate`.
    pub rate_count: usize,
    /// One of `enum fb_algorithm`, fixed when the limiter is created; so is the
    /// length of a sliding window, which all tiers share. 0: a bucket when it is
    /// created, else what it has.
    pub algorithm: u32,
    /// One of `enum fb_on_full`, fixed when the limiter is created. 0: lenient
    /// when it is created, else what it has.
    pub on_full: u32,
    /// One of `enum fb_on_error`. 0: refused.
    pub on_error: u32,
    /// Any of the FB_LIMITER_ flags, added up.
    pub flags: u32,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_limiter_options {}

/// A limiter's answer. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_verdict {
    /// The most tokens that the bucket holds; UINT64_MAX: unlimited.
    pub limit: u64,
    /// The tokens left.
    pub remaining: u64,
    /// 0: admitted. Else how long until the same request would be admitted;
    /// FB_NEVER: it costs more than the bucket holds.
    pub retry_after_ns: u64,
    /// How long until the bucket is full again and nothing blocks the key.
    pub reset_after_ns: u64,
    /// How long an empty bucket takes to fill: with `limit`, the rate that
    /// headers tell. 0: unlimited.
    pub window_ns: u64,
}

/// What a limiter counted since it was created, in all processes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_limiter_stats {
    /// sizeof(fb_limiter_stats); fb_limiter_stats_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Buckets that were not full when another key took their slot: max_keys is
    /// too small.
    pub evicted_live: u64,
    /// Requests that named a tier which the limiter does not have.
    pub unknown_tier: u64,
    /// Requests refused because others kept changing the key's slots; they are
    /// among `refused` too.
    pub contended: u64,
    /// Slots of the table, one for each bucket that is not full.
    pub slots: u64,
    /// Penalties that took more than was there.
    pub debts: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_limiter_stats {}

/// As many tiers as a limiter has at most, `default` included.
pub const FB_MOST_TIERS: usize = 16;

const _: () = assert!(FB_MOST_TIERS == tiers::TIERS && tiers::TIER_NAME_BYTES < 32);

/// What a limiter counted for one of its tiers. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_tier_stats {
    /// The tier's name; ends with NUL. "default": requests that name no tier, or
    /// one that the limiter does not have.
    pub tier: [c_char; 32],
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Penalties that took more than was there.
    pub debts: u64,
}

/// A key that was refused often. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_refused_key {
    /// The key's mark: fb_limiter_mark tells that of a key.
    pub mark: u64,
    /// How often it was refused, at most: an estimate.
    pub count: u64,
    /// By how much `count` may be too high.
    pub over: u64,
    /// 1 if the key itself is shown, else 0.
    pub is_shown: u32,
    /// The key's length.
    pub key_len: u32,
    /// The key.
    pub key: [u8; 48],
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<fb_rate>() == 3 * 8 + WORD.next_multiple_of(8));
    assert!(size_of::<fb_limiter_options>() == 32 + size_of::<fb_rate>() + 4 * WORD);
    assert!(size_of::<fb_refused_key>() == 4 * 8 + 48);
    assert!(size_of::<fb_verdict>() == 5 * 8);
    assert!(size_of::<fb_limiter_stats>() == 8 + 7 * 8);
    assert!(size_of::<fb_tier_stats>() == 32 + 3 * 8);
};

/// Opens a limiter: creates it or attaches to it. With options, an existing
/// limiter takes over the rates, `on_error` and the flags (for all processes);
/// another `max_keys`, `algorithm`, `on_full` or sliding window than it has, or
/// more rates, is an error. `options` NULL: attach only, to what is there.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*limiter` is the caller's, to be given to fb_limiter_close; it
/// keeps the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_GEOMETRY, FB_E_WRONG_KIND,
/// FB_E_REGION_FULL, FB_E_NOT_FOUND (no options and no such limiter), FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_limiter_options,
    limiter: *mut *mut fb_limiter,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let limiter = out("limiter", limiter)?;
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(unsafe { choose(sized::read("options", options)?)? })
        };
        let opened = Open {
            limiter: region.limiter(name, options)?,
            region: region.clone(),
        };
        // SAFETY: as above.
        unsafe { limiter.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

/// Closes the handle. The limiter itself stays in the region.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no limiter.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_close(limiter: *mut fb_limiter) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Open>(limiter) }.map(|()| fb_code::FB_OK))
}

/// Takes one token from the key's bucket, at the default tier's rate.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to
/// `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK admitted; FB_DENIED refused, nothing spent. Both write the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_take(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.take(key), place) })
    })
}

/// Takes `cost` tokens from the key's bucket at a tier's rate. The bucket is the
/// key's: a tier only picks the rate. A cost of 0 only looks and is not counted;
/// a cost beyond the burst is refused and never admitted.
///
/// `tier` NULL: the default tier; a tier that the limiter does not have is the
/// default tier too, and counted. `now_ns`: region time from fb_region_now, or
/// FB_NOW to read the clock.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier;
/// writes to `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK admitted; FB_DENIED refused, nothing spent. Both write the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_take_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    cost: u64,
    tier: *const c_char,
    now_ns: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        // SAFETY: as above.
        let charge = unsafe { charge(cost, tier, now_ns)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.take_with(key, charge), place) })
    })
}

/// Answers as fb_limiter_take would, and spends nothing.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to
/// `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK or FB_DENIED. Both write the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_peek(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.peek(key), place) })
    })
}

/// Answers as fb_limiter_take_with would, and spends nothing.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier;
/// writes to `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK or FB_DENIED. Both write the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_peek_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    cost: u64,
    tier: *const c_char,
    now_ns: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        // SAFETY: as above.
        let charge = unsafe { charge(cost, tier, now_ns)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.peek_with(key, charge), place) })
    })
}

/// The limiter and the bytes of the key.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn keyed<'a>(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
) -> Result<(&'a Limiter, &'a [u8])> {
    // SAFETY: the caller's promise.
    unsafe {
        let open = borrow::<Open>(limiter)?;
        Ok((&open.limiter, bytes("key", key, key_len)?))
    }
}

/// What a request costs.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn charge<'a>(cost: u64, tier: *const c_char, now_ns: u64) -> Result<Charge<'a>> {
    Ok(Charge {
        cost,
        // SAFETY: the caller's promise.
        tier: unsafe { optional_text("tier", tier)? },
        now: (now_ns != FB_NOW).then_some(now_ns),
    })
}

impl From<Verdict> for fb_verdict {
    fn from(verdict: Verdict) -> fb_verdict {
        fb_verdict {
            limit: verdict.limit,
            remaining: verdict.remaining,
            retry_after_ns: match verdict.retry_after {
                _ if verdict.allowed => 0,
                // Who lost a race may find tokens at once, but was refused.
                Some(wait) => nanoseconds(wait).max(1),
                None => FB_NEVER,
            },
            reset_after_ns: nanoseconds(verdict.reset_after),
            window_ns: nanoseconds(verdict.window),
        }
    }
}

impl From<&fb_verdict> for Verdict {
    fn from(verdict: &fb_verdict) -> Verdict {
        Verdict {
            allowed: verdict.retry_after_ns == 0,
            limit: verdict.limit,
            remaining: verdict.remaining,
            retry_after: match verdict.retry_after_ns {
                0 | FB_NEVER => None,
                wait => Some(Duration::from_nanos(wait)),
            },
            reset_after: Duration::from_nanos(verdict.reset_after_ns),
            window: Duration::from_nanos(verdict.window_ns),
        }
    }
}

/// Writes the verdict, if it is wanted, and turns it into a status.
///
/// # Safety
/// `place` is valid for writing.
#[inline]
pub(crate) unsafe fn tell(verdict: Verdict, place: Option<NonNull<fb_verdict>>) -> fb_code {
    if let Some(place) = place {
        // SAFETY: the caller's promise.
        unsafe { place.write(verdict.into()) };
    }
    if verdict.allowed {
        fb_code::FB_OK
    } else {
        fb_code::FB_DENIED
    }
}

/// Gives tokens back that were spent for nothing: a request that came to no
/// harm, a job that was cancelled. The bucket is never more than full.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to
/// `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: what fb_limiter_peek then would: FB_OK or FB_DENIED. Both write the
/// verdict, and both say that it was done.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_refund(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    tokens: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.refund(key, tokens), place) })
    })
}

/// fb_limiter_refund in the tokens of a tier. More than the burst is the burst.
/// It has no `now_ns`: what was given back at an old time would be too much.
///
/// `tier` NULL: the default tier; one that the limiter does not have is the
/// default tier too, and counted.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier;
/// writes to `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: what fb_limiter_peek_with then would of one token: FB_OK or
/// FB_DENIED. Both write the verdict, and both say that it was done.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_refund_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    tokens: u64,
    tier: *const c_char,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        // SAFETY: as above.
        let charge = unsafe { charge(tokens, tier, FB_NOW)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.refund_with(key, charge), place) })
    })
}

/// Takes tokens whether they are there or not: the key may be in debt
/// afterwards, and waits until that is paid off.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to
/// `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: what fb_limiter_peek then would: FB_OK or FB_DENIED. Both write the
/// verdict, and both say that it was done.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_penalize(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    tokens: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.penalize(key, tokens), place) })
    })
}

/// fb_limiter_penalize in the tokens of a tier. A debt is at most what four and
/// a half years pay off; an unlimited tier has none.
///
/// `tier` and `now_ns` as in fb_limiter_take_with.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier;
/// writes to `verdict` unless it is NULL: not wanted.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: what fb_limiter_peek_with then would of one token: FB_OK or
/// FB_DENIED. Both write the verdict, and both say that it was done.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_penalize_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    tokens: u64,
    tier: *const c_char,
    now_ns: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        // SAFETY: as above.
        let charge = unsafe { charge(tokens, tier, now_ns)? };
        let place = optional_out("verdict", verdict)?;
        // SAFETY: as above.
        Ok(unsafe { tell(limiter.penalize_with(key, charge), place) })
    })
}

/// Refuses the key everything for this long, at least: a block that ends later
/// stays. What is in its bucket stays there, and goes on refilling. Holds in
/// every tier, unlimited ones too. At most four and a half years.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_block(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    for_ns: u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        limiter.block(key, Duration::from_nanos(for_ns));
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
pub unsafe extern "C" fn fb_limiter_unblock(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        Ok(there_was(limiter.unblock(key)))
    })
}

pub(crate) fn there_was(one: bool) -> fb_code {
    if one {
        fb_code::FB_OK
    } else {
        fb_code::FB_MISS
    }
}

/// Makes the key's bucket full again, and ends a block.
///
/// Ownership: borrows the key (NULL with 0 is the empty key).
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK; FB_MISS if it was full already and there was no block.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_reset(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        Ok(there_was(limiter.reset(key)))
    })
}

/// Fills all buckets and ends all blocks. Calls that are under way meanwhile may
/// come before or after.
///
/// Threads: any.
/// Cost: reads the whole table; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_clear(limiter: *const fb_limiter) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { borrow::<Open>(limiter)? }.limiter.clear();
        Ok(fb_code::FB_OK)
    })
}

/// The keys that were refused most since the limiter's creation, or since
/// fb_limiter_forget_refused, the worst first: as many as there is room for, at
/// most FB_MOST_REFUSED. Estimates, never exact. A key itself is told only with
/// FB_LIMITER_SHOW_KEYS; without, fb_limiter_mark tells whether a key that you
/// know is among them.
///
/// Ownership: writes to `keys` (room for `cap`), and how many to `count`.
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: FB_OK, with `*count` keys.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_top_refused(
    limiter: *const fb_limiter,
    keys: *mut fb_refused_key,
    cap: usize,
    count: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (open, places) = unsafe {
            let open = borrow::<Open>(limiter)?;
            (open, buffer("keys", keys, cap)?)
        };
        let count = out("count", count)?;
        let found = open.limiter.top_refused();
        for (place, refused) in places.iter_mut().zip(&found) {
            *place = refused.into();
        }
        // SAFETY: as above.
        unsafe { count.write(found.len().min(cap)) };
        Ok(fb_code::FB_OK)
    })
}

impl From<&RefusedKey> for fb_refused_key {
    fn from(refused: &RefusedKey) -> fb_refused_key {
        let mut told = fb_refused_key {
            mark: refused.mark,
            count: refused.count,
            over: refused.over,
            is_shown: 0,
            key_len: 0,
            key: [0; 48],
        };
        let key = refused.key.as_deref();
        if let Some((key, room)) = key.and_then(|key| Some((key, told.key.get_mut(..key.len())?))) {
            room.copy_from_slice(key);
            told.is_shown = 1;
            told.key_len = key.len() as u32;
        }
        told
    }
}

/// By what fb_limiter_top_refused calls this key.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `mark`.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_mark(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    mark: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let mark = out("mark", mark)?;
        // SAFETY: as above.
        unsafe { mark.write(limiter.mark(key)) };
        Ok(fb_code::FB_OK)
    })
}

/// Begins to count anew who is refused most.
///
/// Threads: any.
/// Cost: a few hundred stores; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_forget_refused(limiter: *const fb_limiter) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { borrow::<Open>(limiter)? }.limiter.forget_refused();
        Ok(fb_code::FB_OK)
    })
}

/// The limiter's name. Cut to fit and always terminated by NUL.
///
/// Ownership: writes to `buf` (`cap` bytes; NULL with 0 asks for the length).
/// Threads: any.
/// Cost: one copy.
/// Returns: the name's length without NUL; 0 if `limiter` is no open handle.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_name(
    limiter: *const fb_limiter,
    buf: *mut c_char,
    cap: usize,
) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise, here and below.
        match unsafe { borrow::<Open>(limiter) } {
            // SAFETY: as above.
            Ok(open) => unsafe { print(open.limiter.name(), buf, cap) },
            Err(_) => 0,
        }
    }))
    .unwrap_or(0)
}

/// The sentence for a caller who was refused: which limiter it was, and when to
/// try again (`retry_after_ns` of the verdict). Cut to fit and always terminated
/// by NUL.
///
/// Ownership: writes to `buf` (`cap` bytes; NULL with 0 asks for the length).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: the sentence's length without NUL; 0 if `limiter` is no open handle.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_refusal(
    limiter: *const fb_limiter,
    retry_after_ns: u64,
    buf: *mut c_char,
    cap: usize,
) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let Ok(open) = (unsafe { borrow::<Open>(limiter) }) else {
            return 0;
        };
        let limited = Limited {
            limiter: open.limiter.name().into(),
            verdict: Verdict {
                allowed: false,
                limit: 0,
                remaining: 0,
                retry_after: (retry_after_ns != FB_NEVER)
                    .then_some(Duration::from_nanos(retry_after_ns)),
                reset_after: Duration::ZERO,
                window: Duration::ZERO,
            },
        };
        // SAFETY: as above.
        unsafe { print(&limited.to_string(), buf, cap) }
    }))
    .unwrap_or(0)
}

/// What the limiter counted, in all processes.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: a few hundred loads; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_get_stats(
    limiter: *const fb_limiter,
    stats: *mut fb_limiter_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, place) = unsafe {
            let open = borrow::<Open>(limiter)?;
            (&open.limiter, sized::place("stats", stats)?)
        };
        let now = limiter.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_limiter_stats {
                struct_size: 0,
                reserved: 0,
                admitted: now.admitted,
                refused: now.refused,
                evicted_live: now.evicted_live,
                unknown_tier: now.unknown_tier,
                contended: now.contended,
                slots: now.slots,
                debts: now.debts,
            });
        }
        Ok(fb_code::FB_OK)
    })
}

/// What the limiter counted for each of its tiers, in all processes: "default"
/// first, then in the order in which the tiers came to be. Evictions are not
/// told apart: a bucket is a key's, in whatever tier it is asked. `*count`
/// becomes how many tiers there are, also when `cap` is too small; FB_MOST_TIERS
/// is always enough.
///
/// Ownership: writes to `stats` (room for `cap`; NULL with 0 to ask for the count).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: FB_OK; FB_E_TOO_LARGE when `cap` is less than `*count` (nothing else
/// is written).
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_tier_stats(
    limiter: *const fb_limiter,
    stats: *mut fb_tier_stats,
    cap: usize,
    count: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (open, places) = unsafe {
            let open = borrow::<Open>(limiter)?;
            (open, buffer("stats", stats, cap)?)
        };
        let count = out("count", count)?;
        let found = open.limiter.tier_stats();
        // SAFETY: as above.
        unsafe { count.write(found.len()) };
        if found.len() > cap {
            return Err(too_small::<fb_tier_stats>("stats", found.len(), cap));
        }
        for (place, of) in places.iter_mut().zip(&found) {
            *place = fb_tier_stats {
                tier: name(&of.tier),
                admitted: of.admitted,
                refused: of.refused,
                debts: of.debts,
            };
        }
        Ok(fb_code::FB_OK)
    })
}
