//! Permits: so many at once of each key, as leases that end by themselves.

use crate::argument::{bytes, duration, nanoseconds, optional_out, out, text};
use crate::handle::{self, borrow, held};
use crate::region::fb_region;
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status, print, FB_NEVER};
use forebay::permits::{RawLease, Reason, Refused};
use forebay::{Error, Permits, PermitsOptions, Region, Result};
use std::ffi::{c_char, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::time::Duration;

/// Permits: of each key at most so many leases are live at once, over all threads
/// and processes, whichever of them are killed or stopped.
///
/// A lease is live until it is released, or its time is over, or its holder's
/// process has ended. A lease whose time is over does not stop its holder: who
/// works on without renewing works beside the next one.
pub struct fb_permits {
    _opaque: [u8; 0],
}

held!(fb_permits, 6, Permits);

/// How to open permits. Zero in a field is its default, but a limit is needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_permits_options {
    /// sizeof(fb_permits_options); fb_permits_options_init sets it.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Leases of a key at once, 1 to 4,096. When it is lowered, the leases that
    /// there are go on; it may not be raised beyond what the permits were created
    /// for.
    pub limit: u64,
    /// When a lease ends by itself that is neither released nor renewed, 1 ms to
    /// 30 days, in whole milliseconds. Choose more than the work takes, or renew.
    /// 0: 60 s.
    pub lease_ns: u64,
    /// Leases of all keys together, from the limit to 16,777,216; it fixes the
    /// memory. 0: 4,096.
    pub max_leases: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_permits_options {}

/// A lease, as the numbers to give back: they mean something to this process
/// only, for these permits only. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_lease {
    /// Which record.
    pub record: u64,
    /// The record's word while it is this lease.
    pub word: u64,
}

/// Why there is no permit, in `fb_refusal.reason`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum fb_reason {
    /// The key has as many leases as it may.
    FB_REASON_LIMIT = 1,
    /// There is no room for another lease: raise max_leases.
    FB_REASON_FULL = 2,
    /// A process that is stopped, or that is much at work, has the lock of the
    /// key's shard; or this process found no seat.
    FB_REASON_BUSY = 3,
}

const LIMIT: u32 = fb_reason::FB_REASON_LIMIT as u32;
const FULL: u32 = fb_reason::FB_REASON_FULL as u32;
const BUSY: u32 = fb_reason::FB_REASON_BUSY as u32;

/// There is no permit now. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_refusal {
    /// Why, one of `enum fb_reason`.
    pub reason: u32,
    /// 0.
    pub reserved: u32,
    /// How long until one of the leases in the way has ended, at the latest,
    /// unless it is renewed; most end before, by being released. FB_NEVER:
    /// unknown, for FB_REASON_BUSY.
    pub retry_after_ns: u64,
}

/// What permits counted since they were created, in all processes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_permits_stats {
    /// sizeof(fb_permits_stats); fb_permits_stats_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Leases granted.
    pub granted: u64,
    /// Refusals because of the limit.
    pub refused: u64,
    /// Refusals because there was no room.
    pub full: u64,
    /// Refusals because the shard could not be had.
    pub busy: u64,
    /// Leases whose time was over before they were released.
    pub expired: u64,
    /// Leases whose holders had died.
    pub reaped: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_permits_stats {}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_permits_options>() == 8 + 3 * 8);
    assert!(size_of::<fb_lease>() == 2 * 8);
    assert!(size_of::<fb_refusal>() == 2 * 8);
    assert!(size_of::<fb_permits_stats>() == 8 + 6 * 8);
};

/// Opens permits: creates them or attaches to them. With options, existing permits
/// take over the limit and the lease (for all processes, for later calls); another
/// `max_leases` than they have is an error. `options` NULL: attach only, to what is
/// there.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*permits` is the caller's, to be given to fb_permits_close; it
/// keeps the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_GEOMETRY, FB_E_WRONG_KIND,
/// FB_E_REGION_FULL, FB_E_NOT_FOUND (no options and no such permits), FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_permits_options,
    permits: *mut *mut fb_permits,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let permits = out("permits", permits)?;
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(choose(unsafe { sized::read("options", options)? })?)
        };
        let opened = region.permits(name, options)?;
        // SAFETY: as above.
        unsafe { permits.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

fn choose(asked: fb_permits_options) -> Result<PermitsOptions> {
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    let mut options = PermitsOptions::new(asked.limit);
    if let Some(lease) = duration(asked.lease_ns) {
        options = options.lease(lease);
    }
    if asked.max_leases != 0 {
        options = options.max_leases(asked.max_leases);
    }
    Ok(options)
}

/// Closes the handle. The permits themselves stay in the region, and so do leases
/// that were not released: release them first, else they end with their time or
/// with this process.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no permits.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_close(permits: *mut fb_permits) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Permits>(permits) }.map(|()| fb_code::FB_OK))
}

/// Asks for a permit for this key; does not wait for one. After FB_OK, give
/// `*lease` to fb_permits_release once the work is done.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `lease`,
/// and when there is none to `refusal` unless it is NULL: not wanted.
/// Threads: any; the lease may be released by another thread, though not by
/// another process: a child of fork has none of its parent's.
/// Cost: one reading of the clock; no allocation. Locks one shard, for a bounded
/// time; before a refusal it may ask the kernel which processes live.
/// Returns: FB_OK; FB_DENIED: there is none, with the refusal.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_try_acquire(
    permits: *const fb_permits,
    key: *const c_void,
    key_len: usize,
    lease: *mut fb_lease,
    refusal: *mut fb_refusal,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (permits, key) = unsafe { keyed(permits, key, key_len)? };
        let lease = out("lease", lease)?;
        let refusal = optional_out("refusal", refusal)?;
        match permits.try_acquire_raw(key) {
            Ok(raw) => {
                // SAFETY: as above.
                unsafe { lease.write(raw.into()) };
                Ok(fb_code::FB_OK)
            }
            Err((reason, retry_after)) => {
                if let Some(place) = refusal {
                    let told = fb_refusal {
                        reason: number(reason),
                        reserved: 0,
                        retry_after_ns: retry_after.map_or(FB_NEVER, nanoseconds),
                    };
                    // SAFETY: as above.
                    unsafe { place.write(told) };
                }
                Ok(fb_code::FB_DENIED)
            }
        }
    })
}

/// Gives a permit back.
///
/// Ownership: borrows the lease, which is over then.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it had ended before (by its time: somebody else may
/// have had it meanwhile; or it was released already), belongs to another process,
/// or is no lease.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_release(
    permits: *const fb_permits,
    lease: *const fb_lease,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (permits, lease) = unsafe { leased(permits, lease)? };
        // SAFETY: as above.
        let raw = unsafe { lease.read() }.into();
        Ok(in_time(permits.release_raw(raw)))
    })
}

/// Has a lease end by itself as late as one that was acquired now. `*lease` is
/// another then: release that one.
///
/// Ownership: writes to `lease`.
/// Threads: any; no other call may be using this lease.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_LATE as fb_permits_release answers it: acquire another.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_renew(
    permits: *const fb_permits,
    lease: *mut fb_lease,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (permits, lease) = unsafe { leased(permits, lease)? };
        // SAFETY: as above.
        let renewed = permits.renew_raw(unsafe { lease.read() }.into());
        if let Some(raw) = renewed {
            // SAFETY: as above.
            unsafe { lease.write(raw.into()) };
        }
        Ok(in_time(renewed.is_some()))
    })
}

/// How long until a lease ends by itself; 0 if that is over. Says nothing about
/// whether it was released.
///
/// Ownership: borrows the lease; writes to `ends_in_ns`.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_ends_in(
    permits: *const fb_permits,
    lease: *const fb_lease,
    ends_in_ns: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (permits, lease) = unsafe { leased(permits, lease)? };
        let ends_in_ns = out("ends_in_ns", ends_in_ns)?;
        // SAFETY: as above.
        unsafe {
            let ends_in = permits.ends_in_raw(lease.read().into());
            ends_in_ns.write(nanoseconds(ends_in));
        }
        Ok(fb_code::FB_OK)
    })
}

/// How many leases the key has, those of dead processes that nobody has noticed
/// yet among them.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `leases`.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_in_use(
    permits: *const fb_permits,
    key: *const c_void,
    key_len: usize,
    leases: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (permits, key) = unsafe { keyed(permits, key, key_len)? };
        let leases = out("leases", leases)?;
        // SAFETY: as above.
        unsafe { leases.write(permits.in_use(key)) };
        Ok(fb_code::FB_OK)
    })
}

/// What the permits counted, in all processes.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: a few loads; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_get_stats(
    permits: *const fb_permits,
    stats: *mut fb_permits_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (permits, place) = unsafe {
            let permits = borrow::<Permits>(permits)?;
            (permits, sized::place("stats", stats)?)
        };
        let now = permits.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_permits_stats {
                struct_size: 0,
                reserved: 0,
                granted: now.granted,
                refused: now.refused,
                full: now.full,
                busy: now.busy,
                expired: now.expired,
                reaped: now.reaped,
            });
        }
        Ok(fb_code::FB_OK)
    })
}

/// The sentence for a caller who got no permit: which permits, why, and when to
/// try again. Cut to fit and always terminated by NUL.
///
/// Ownership: borrows the refusal; writes to `buf` (`cap` bytes; NULL with 0 asks
/// for the length).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: the sentence's length without NUL; 0 if `permits` is no open handle or
/// `refusal` is none.
#[no_mangle]
pub unsafe extern "C" fn fb_permits_refusal(
    permits: *const fb_permits,
    refusal: *const fb_refusal,
    buf: *mut c_char,
    cap: usize,
) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise, here and below.
        let Ok(permits) = (unsafe { borrow::<Permits>(permits) }) else {
            return 0;
        };
        let Ok(refusal) = out("refusal", refusal.cast_mut()) else {
            return 0;
        };
        // SAFETY: as above.
        let refusal = unsafe { refusal.read() };
        let reason = match refusal.reason {
            LIMIT => Reason::Limit,
            FULL => Reason::Full,
            BUSY => Reason::Busy,
            _ => return 0,
        };
        let refused = Refused {
            permits: permits.name().into(),
            reason,
            retry_after: (refusal.retry_after_ns != FB_NEVER)
                .then_some(Duration::from_nanos(refusal.retry_after_ns)),
        };
        // SAFETY: as above.
        unsafe { print(&refused.to_string(), buf, cap) }
    }))
    .unwrap_or(0)
}

/// A reason in a word, such as `limit`; the same in every language.
///
/// Ownership: the text is static.
/// Threads: any.
/// Cost: none.
/// Returns: the name, or `unknown`.
#[no_mangle]
pub extern "C" fn fb_reason_name(reason: u32) -> *const c_char {
    let name: &CStr = match reason {
        LIMIT => c"limit",
        FULL => c"full",
        BUSY => c"busy",
        _ => c"unknown",
    };
    name.as_ptr()
}

fn number(reason: Reason) -> u32 {
    match reason {
        Reason::Limit => LIMIT,
        Reason::Full => FULL,
        Reason::Busy => BUSY,
        // A reason that is newer than these: `unknown`.
        _ => 0,
    }
}

fn in_time(ended_now: bool) -> fb_code {
    if ended_now {
        fb_code::FB_OK
    } else {
        fb_code::FB_LATE
    }
}

/// The permits and the bytes of the key.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
unsafe fn keyed<'a>(
    permits: *const fb_permits,
    key: *const c_void,
    key_len: usize,
) -> Result<(&'a Permits, &'a [u8])> {
    // SAFETY: the caller's promise.
    unsafe {
        let permits = borrow::<Permits>(permits)?;
        Ok((permits, bytes("key", key, key_len)?))
    }
}

/// The permits and the place of the lease.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
unsafe fn leased<'a>(
    permits: *const fb_permits,
    lease: *const fb_lease,
) -> Result<(&'a Permits, NonNull<fb_lease>)> {
    // SAFETY: the caller's promise.
    let permits = unsafe { borrow::<Permits>(permits)? };
    Ok((permits, out("lease", lease.cast_mut())?))
}

impl From<RawLease> for fb_lease {
    fn from(raw: RawLease) -> fb_lease {
        let RawLease { record, word } = raw;
        fb_lease { record, word }
    }
}

impl From<fb_lease> for RawLease {
    fn from(lease: fb_lease) -> RawLease {
        let fb_lease { record, word } = lease;
        RawLease { record, word }
    }
}
