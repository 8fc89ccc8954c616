//! Circuit breakers: leave to call, and what came of it.

use crate::argument::{duration, nanoseconds, optional_out, out, text};
use crate::handle::{self, borrow, held};
use crate::region::fb_region;
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status, print};
use forebay::breaker::Outcome;
use forebay::{Breaker, BreakerOptions, Error, Region, Rejected, Result};
use std::ffi::{c_char, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

/// A circuit breaker.
pub struct fb_breaker {
    _opaque: [u8; 0],
}

held!(fb_breaker, 3, Breaker);

/// In `failure_threshold`: failures in a row never open the breaker.
pub const FB_NO_THRESHOLD: u32 = u32::MAX;

/// In `failure_rate`: the share of failures never opens the breaker.
pub const FB_NO_RATE: f64 = -1.0;

/// The states of a breaker.
#[repr(u32)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // for the header; here the core says the numbers
pub enum fb_state {
    /// Calls go through.
    FB_STATE_CLOSED = 0,
    /// A few calls go through, to see whether all is well again.
    FB_STATE_HALF_OPEN = 1,
    /// Calls are rejected for a while.
    FB_STATE_OPEN = 2,
    /// Calls are rejected until somebody says otherwise.
    FB_STATE_FORCED_OPEN = 3,
}

/// How to open a breaker. Zero in a field is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_breaker_options {
    /// sizeof(fb_breaker_options); fb_breaker_options_init sets it.
    pub struct_size: u32,
    /// Failures in a row that open the breaker, at most 1,000,000. 0: 5.
    /// FB_NO_THRESHOLD: never.
    pub failure_threshold: u32,
    /// Share of failures in the window that opens it (that or more), above 0 and
    /// at most 1, kept to a millionth. 0: 0.5. FB_NO_RATE: never.
    pub failure_rate: f64,
    /// The window's length, 10 ms to a day. 0: 10 s.
    pub window_ns: u64,
    /// How long it stays open, 1 ms to 30 days, in whole milliseconds. 0: 60 s.
    pub open_for_ns: u64,
    /// How long a probe may take before another takes its place, 1 ms to
    /// a day. 0: 30 s.
    pub probe_lease_ns: u64,
    /// Calls in the window before the rate counts, at most 500,000. 0: 10.
    pub volume_threshold: u32,
    /// Probes that must succeed to close it, at most 1,000,000. 0: 2.
    pub success_threshold: u32,
    /// Probes in flight at once when half-open, over all processes, at most 16.
    /// 0: 1.
    pub half_open_calls: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_breaker_options {}

/// What a breaker counted since it was created, in all processes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_breaker_stats {
    /// sizeof(fb_breaker_stats); fb_breaker_stats_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Calls that succeeded and counted.
    pub successes: u64,
    /// Calls that failed and counted.
    pub failures: u64,
    /// Calls that were neither.
    pub ignored: u64,
    /// Calls not made, because it was open.
    pub rejected: u64,
    /// Results that came too late to count; not among the above.
    pub late: u64,
    /// How often it opened.
    pub opened: u64,
    /// How often it became half-open.
    pub half_opened: u64,
    /// How often it closed.
    pub closed: u64,
    /// Probes let through when half-open.
    pub probes: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_breaker_stats {}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_breaker_options>() == 8 + 4 * 8 + 16);
    assert!(size_of::<fb_breaker_stats>() == 8 + 9 * 8);
};

/// Opens a breaker: creates it or attaches to it. With options, an existing
/// breaker takes them over (for all processes). `options` NULL: attach only, to
/// what is there.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*breaker` is the caller's, to be given to fb_breaker_close; it
/// keeps the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_GEOMETRY, FB_E_WRONG_KIND,
/// FB_E_REGION_FULL, FB_E_NOT_FOUND (no options and no such breaker), FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_breaker_options,
    breaker: *mut *mut fb_breaker,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let breaker = out("breaker", breaker)?;
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(choose(unsafe { sized::read("options", options)? })?)
        };
        let opened = region.breaker(name, options)?;
        // SAFETY: as above.
        unsafe { breaker.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

fn choose(asked: fb_breaker_options) -> Result<BreakerOptions> {
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    let mut options = BreakerOptions::new();
    match asked.failure_threshold {
        0 => {}
        FB_NO_THRESHOLD => options = options.failure_threshold(0),
        failures => options = options.failure_threshold(failures),
    }
    if asked.failure_rate == FB_NO_RATE {
        options = options.failure_rate(None);
    } else if asked.failure_rate != 0.0 {
        options = options.failure_rate(asked.failure_rate);
    }
    if let Some(window) = duration(asked.window_ns) {
        options = options.window(window);
    }
    if let Some(open_for) = duration(asked.open_for_ns) {
        options = options.open_for(open_for);
    }
    if let Some(lease) = duration(asked.probe_lease_ns) {
        options = options.probe_lease(lease);
    }
    if asked.volume_threshold != 0 {
        options = options.volume_threshold(asked.volume_threshold);
    }
    if asked.success_threshold != 0 {
        options = options.success_threshold(asked.success_threshold);
    }
    if asked.half_open_calls != 0 {
        options = options.half_open_calls(asked.half_open_calls);
    }
    Ok(options)
}

/// Closes the handle. The breaker itself stays in the region.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no breaker.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_close(breaker: *mut fb_breaker) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Breaker>(breaker) }.map(|()| fb_code::FB_OK))
}

/// Asks for leave to make one call. After FB_OK, give `*permit` to exactly one
/// of fb_breaker_success, fb_breaker_failure and fb_breaker_ignore.
///
/// Ownership: writes to `permit`, and when rejected to `retry_after_ns` (how long
/// until it may be worth asking again; FB_NEVER: unknown) unless it is NULL: not
/// wanted.
/// Threads: any; the permit may be given back by another thread.
/// Cost: no allocation, no lock.
/// Returns: FB_OK: make the call; FB_REJECTED: do not.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_enter(
    breaker: *const fb_breaker,
    permit: *mut u64,
    retry_after_ns: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let breaker = unsafe { borrow::<Breaker>(breaker)? };
        let permit = out("permit", permit)?;
        let retry_after_ns = optional_out("retry_after_ns", retry_after_ns)?;
        match breaker.enter_raw() {
            Ok(number) => {
                // SAFETY: as above.
                unsafe { permit.write(number) };
                Ok(fb_code::FB_OK)
            }
            Err(wait) => {
                if let Some(place) = retry_after_ns {
                    // SAFETY: as above.
                    unsafe { place.write(nanoseconds(wait)) };
                }
                Ok(fb_code::FB_REJECTED)
            }
        }
    })
}

/// The call succeeded.
///
/// Ownership: takes the permit back.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it came too late to count, or is no permit.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_success(breaker: *const fb_breaker, permit: u64) -> fb_status {
    // SAFETY: the caller's promise.
    unsafe { leave(breaker, permit, Outcome::Success) }
}

/// The call failed.
///
/// Ownership: takes the permit back.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it came too late to count, or is no permit.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_failure(breaker: *const fb_breaker, permit: u64) -> fb_status {
    // SAFETY: the caller's promise.
    unsafe { leave(breaker, permit, Outcome::Failure) }
}

/// The call was neither a success nor a failure: it was not made after all, or
/// says nothing about the other side.
///
/// Ownership: takes the permit back.
/// Threads: any.
/// Cost: no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it came too late to count, or is no permit.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_ignore(breaker: *const fb_breaker, permit: u64) -> fb_status {
    // SAFETY: the caller's promise.
    unsafe { leave(breaker, permit, Outcome::Ignored) }
}

unsafe fn leave(breaker: *const fb_breaker, permit: u64, outcome: Outcome) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let breaker = unsafe { borrow::<Breaker>(breaker)? };
        Ok(if breaker.leave(permit, outcome) {
            fb_code::FB_OK
        } else {
            fb_code::FB_LATE
        })
    })
}

/// The sentence for a caller who was rejected: which breaker is open, and when
/// to try again. Cut to fit and always terminated by NUL.
///
/// Ownership: writes to `buf` (`cap` bytes; NULL with 0 asks for the length).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: the sentence's length without NUL; 0 if `breaker` is no open handle.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_rejection(
    breaker: *const fb_breaker,
    retry_after_ns: u64,
    buf: *mut c_char,
    cap: usize,
) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let name = match unsafe { borrow::<Breaker>(breaker) } {
            Ok(breaker) => breaker.name().to_owned(),
            Err(_) => return 0,
        };
        let rejected = Rejected {
            breaker: name.as_str().into(),
            retry_after: Duration::from_nanos(retry_after_ns),
        };
        // SAFETY: the caller's promise.
        unsafe { print(&rejected.to_string(), buf, cap) }
    }))
    .unwrap_or(0)
}

/// The breaker's state, one of `enum fb_state`.
///
/// Threads: any.
/// Cost: one load; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_state(
    breaker: *const fb_breaker,
    state: *mut u32,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let breaker = unsafe { borrow::<Breaker>(breaker)? };
        let state = out("state", state)?;
        // SAFETY: as above.
        unsafe { state.write(breaker.state().number()) };
        Ok(fb_code::FB_OK)
    })
}

/// A state in words, such as `half-open`; the same in every language.
///
/// Ownership: the text is static.
/// Threads: any.
/// Cost: none.
/// Returns: the name, or `unknown`.
#[no_mangle]
pub extern "C" fn fb_state_name(state: u32) -> *const c_char {
    let name: &CStr = match state {
        0 => c"closed",
        1 => c"half-open",
        2 => c"open",
        3 => c"forced-open",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// What the breaker counted, in all processes.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: a few loads; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_breaker_get_stats(
    breaker: *const fb_breaker,
    stats: *mut fb_breaker_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (breaker, place) = unsafe {
            let breaker = borrow::<Breaker>(breaker)?;
            (breaker, sized::place("stats", stats)?)
        };
        let now = breaker.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_breaker_stats {
                struct_size: 0,
                reserved: 0,
                successes: now.successes,
                failures: now.failures,
                ignored: now.ignored,
                rejected: now.rejected,
                late: now.late,
                opened: now.opened,
                half_opened: now.half_opened,
                closed: now.closed,
                probes: now.probes,
            });
        }
        Ok(fb_code::FB_OK)
    })
}
