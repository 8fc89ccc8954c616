//! Waiting for tokens: a reservation spends at once, to be used later.

use crate::argument::{nanoseconds, optional_out, out};
use crate::handle::borrow;
use crate::limiter::{charge, fb_limiter, fb_verdict, keyed, tell, Open, FB_NOW};
use crate::status::{answer, fb_code, fb_status};
use forebay::limiter::RawReservation;
use forebay::{Charge, Limiter, Result};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// Tokens that are spent, to be used later, as the numbers to cancel it by: with
/// the same key, cost and tier. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_reservation {
    /// When to act, in the time of fb_region_now.
    pub due_ns: u64,
    /// How it left each of the limiter's rates: for fb_limiter_cancel.
    pub words: [u64; 4],
}

const _: () = assert!(size_of::<fb_reservation>() == 5 * 8);

/// Spends one token now, to be used in `*wait_ns`: later than `max_wait_ns` is
/// refused. Whoever came first is served first. Wait in the program's own way
/// (a condition variable, an event loop), then act; what is not needed after all
/// is given back by fb_limiter_cancel. A wait is at most two years.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to `wait_ns`,
/// and to `reservation` or, if it is refused, to `refusal`, unless they are NULL:
/// not wanted.
/// Threads: any.
/// Cost: two readings of the clock; no allocation, no lock.
/// Returns: FB_OK, with the wait (0: at once); FB_DENIED refused, nothing spent,
/// with the refusal.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_reserve(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    max_wait_ns: u64,
    wait_ns: *mut u64,
    reservation: *mut fb_reservation,
    refusal: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (limiter, key) = keyed(limiter, key, key_len)?;
            let charge = Charge::default();
            reserve(
                limiter,
                key,
                charge,
                max_wait_ns,
                wait_ns,
                reservation,
                refusal,
            )
        }
    })
}

/// fb_limiter_reserve for any cost, tier and time, which are as in
/// fb_limiter_take_with. A cost beyond the burst is refused: no wait helps.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier; writes
/// as fb_limiter_reserve does.
/// Threads: any.
/// Cost: a reading of the clock or two; no allocation, no lock.
/// Returns: FB_OK, with the wait (0: at once); FB_DENIED refused, nothing spent,
/// with the refusal.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_reserve_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    cost: u64,
    tier: *const c_char,
    now_ns: u64,
    max_wait_ns: u64,
    wait_ns: *mut u64,
    reservation: *mut fb_reservation,
    refusal: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (limiter, key) = keyed(limiter, key, key_len)?;
            let charge = charge(cost, tier, now_ns)?;
            reserve(
                limiter,
                key,
                charge,
                max_wait_ns,
                wait_ns,
                reservation,
                refusal,
            )
        }
    })
}

unsafe fn reserve(
    limiter: &Limiter,
    key: &[u8],
    charge: Charge<'_>,
    max_wait_ns: u64,
    wait_ns: *mut u64,
    reservation: *mut fb_reservation,
    refusal: *mut fb_verdict,
) -> Result<fb_code> {
    let wait_ns = out("wait_ns", wait_ns)?;
    let place = optional_out("reservation", reservation)?;
    let refusal = optional_out("refusal", refusal)?;
    match limiter.reserve_with(key, charge, Duration::from_nanos(max_wait_ns)) {
        Ok(reservation) => {
            // SAFETY: the caller's promise, for all writes.
            unsafe { wait_ns.write(nanoseconds(reservation.wait())) };
            if let Some(place) = place {
                let RawReservation { due, words } = reservation.raw();
                // SAFETY: as above.
                unsafe { place.write(fb_reservation { due_ns: due, words }) };
            }
            Ok(fb_code::FB_OK)
        }
        // SAFETY: as above.
        Err(verdict) => Ok(unsafe { tell(verdict, refusal) }),
    }
}

/// How long until a reservation is due: 0 once it is time.
///
/// Ownership: writes to `wait_ns`.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_until_due(
    limiter: *const fb_limiter,
    due_ns: u64,
    wait_ns: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let open = unsafe { borrow::<Open>(limiter)? };
        let wait_ns = out("wait_ns", wait_ns)?;
        // SAFETY: as above.
        unsafe { wait_ns.write(due_ns.saturating_sub(open.region.now())) };
        Ok(fb_code::FB_OK)
    })
}

/// Gives back what fb_limiter_reserve spent: the same key, and the reservation
/// that it wrote. At most once for each: nobody remembers them, and a second time
/// would give back what others spent. Who reserved after it keep their times, and
/// of a bucket's tokens as many are given back as they did not take after it: of
/// several, cancel the youngest first. In a window nobody passes over a place that
/// was given up: who comes later waits for its time. Whatever the numbers are, no
/// more than the cost is given back.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the reservation.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it was time to act already: it stays spent.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_cancel(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    reservation: *const fb_reservation,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (limiter, key) = keyed(limiter, key, key_len)?;
            cancel(limiter, key, Charge::default(), reservation)
        }
    })
}

/// fb_limiter_cancel for what fb_limiter_reserve_with spent: the same cost and
/// tier.
///
/// Ownership: borrows the key (NULL with 0 is the empty key), the tier and the
/// reservation.
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK; FB_LATE if it was time to act already: it stays spent.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_cancel_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    cost: u64,
    tier: *const c_char,
    reservation: *const fb_reservation,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (limiter, key) = keyed(limiter, key, key_len)?;
            let charge = charge(cost, tier, FB_NOW)?;
            cancel(limiter, key, charge, reservation)
        }
    })
}

unsafe fn cancel(
    limiter: &Limiter,
    key: &[u8],
    charge: Charge<'_>,
    reservation: *const fb_reservation,
) -> Result<fb_code> {
    let reservation = out("reservation", reservation.cast_mut())?;
    // SAFETY: the caller's promise.
    let fb_reservation { due_ns: due, words } = unsafe { reservation.read() };
    let cancelled = limiter.cancel_raw(key, charge, RawReservation { due, words });
    Ok(in_time(cancelled))
}

fn in_time(cancelled: bool) -> fb_code {
    if cancelled {
        fb_code::FB_OK
    } else {
        fb_code::FB_LATE
    }
}

/// Waits for one token, at most for `timeout_ns`, and spends it. Whoever comes
/// first is served first; nobody waits who would not be served in time.
///
/// Blocks the thread, asleep; a signal's handler runs and the sleep goes on. Where
/// the wait must end early, use fb_limiter_reserve.
///
/// Ownership: borrows the key (NULL with 0 is the empty key); writes to
/// `verdict` unless it is NULL: not wanted.
/// Threads: any; others may use the handle meanwhile.
/// Cost: the wait; no allocation, and no lock is held.
/// Returns: FB_OK, after the wait; FB_DENIED at once, nothing spent. Both write
/// the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_acquire(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    timeout_ns: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        let place = optional_out("verdict", verdict)?;
        let verdict = limiter.acquire(key, Duration::from_nanos(timeout_ns));
        // SAFETY: as above.
        Ok(unsafe { tell(verdict, place) })
    })
}

/// fb_limiter_acquire for any cost, tier and time, which are as in
/// fb_limiter_take_with. A cost beyond the burst is refused at once.
///
/// Ownership: borrows the key (NULL with 0 is the empty key) and the tier;
/// writes to `verdict` unless it is NULL: not wanted.
/// Threads: any; others may use the handle meanwhile.
/// Cost: the wait; no allocation, and no lock is held.
/// Returns: FB_OK, after the wait; FB_DENIED at once, nothing spent. Both write
/// the verdict.
#[no_mangle]
pub unsafe extern "C" fn fb_limiter_acquire_with(
    limiter: *const fb_limiter,
    key: *const c_void,
    key_len: usize,
    cost: u64,
    tier: *const c_char,
    now_ns: u64,
    timeout_ns: u64,
    verdict: *mut fb_verdict,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (limiter, key) = unsafe { keyed(limiter, key, key_len)? };
        // SAFETY: as above.
        let charge = unsafe { charge(cost, tier, now_ns)? };
        let place = optional_out("verdict", verdict)?;
        let verdict = limiter.acquire_with(key, charge, Duration::from_nanos(timeout_ns));
        // SAFETY: as above.
        Ok(unsafe { tell(verdict, place) })
    })
}
