//! One request against several limits.

use crate::argument::{buffer, slice};
use crate::limiter::{charge, fb_limiter, fb_verdict, keyed};
use crate::status::{answer, fb_code, fb_status};
use forebay::limiter::MOST_TOGETHER;
use forebay::{take_all, Error, Request, Result};
use std::ffi::{c_char, c_void};

/// One of the limits that a request is held against; fb_request_of makes one
/// for one token. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_request {
    /// The limiter.
    pub limiter: *const fb_limiter,
    /// The key; NULL with 0 is the empty key.
    pub key: *const c_void,
    /// Its length.
    pub key_len: usize,
    /// How many tokens; 0 only looks.
    pub cost: u64,
    /// The tier; NULL: the default tier.
    pub tier: *const c_char,
    /// Region time from fb_region_now, or FB_NOW to read the clock.
    pub now_ns: u64,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<fb_request>() == 6 * 8);

/// Holds one request against several limits, of any limiters, at most 16: either
/// all admit it and all are charged, or none is.
///
/// Each verdict says what its limit does; one whose `retry_after_ns` is not 0
/// refused, and the longest of those is the one to tell the client. All are
/// looked at before any is charged. If one refuses after all, because others came
/// in between, those already charged are given back; a process that is killed
/// just then loses those tokens. None is ever overdrawn.
///
/// Ownership: borrows the requests, and their keys and tiers; writes as many
/// verdicts unless `verdicts` is NULL: not wanted.
/// Threads: any.
/// Cost: allocates; no lock.
/// Returns: FB_OK admitted; FB_DENIED refused, nothing spent. Both write the
/// verdicts. FB_E_INVALID_ARGUMENT for more than 16 requests.
#[no_mangle]
pub unsafe extern "C" fn fb_take_all(
    requests: *const fb_request,
    count: usize,
    verdicts: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        if count > MOST_TOGETHER {
            let most = format_args!("at most {MOST_TOGETHER}");
            return Err(Error::invalid("requests", count, most));
        }
        // SAFETY: the caller's promise, here and below.
        let requests = unsafe { slice("requests", requests, count)? };
        let room = if verdicts.is_null() { 0 } else { count };
        // SAFETY: as above.
        let places = unsafe { buffer("verdicts", verdicts, room)? };
        let charges = requests.iter().map(|request| {
            // SAFETY: as above.
            unsafe {
                let (limiter, key) = keyed(request.limiter, request.key, request.key_len)?;
                let charge = charge(request.cost, request.tier, request.now_ns)?;
                Ok((limiter, key, charge))
            }
        });
        // All are sound before the first one looks.
        let charges = charges.collect::<Result<Vec<_>>>()?;
        let asked: Vec<Request<'_>> = charges
            .into_iter()
            .map(|(limiter, key, charge)| limiter.request(key, charge))
            .collect();
        let (allowed, told) = take_all(&asked)?;
        for (place, verdict) in places.iter_mut().zip(told) {
            *place = verdict.into();
        }
        Ok(if allowed {
            fb_code::FB_OK
        } else {
            fb_code::FB_DENIED
        })
    })
}
