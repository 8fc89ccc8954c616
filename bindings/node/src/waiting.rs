//! Places in a limiter's queue. JavaScript does the waiting: its loop must not
//! stop, so nothing here sleeps.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{functions, Call, Verb};
use crate::handle::Handle;
use crate::key::with_key;
use crate::limiter::{answer, with_charge, Open};
use forebay::{Reservation, Verdict};

/// Tokens that are spent and act later.
struct Place {
    reservation: Option<Reservation>,
    /// Whether it is only worth something to somebody who waits for it: then it
    /// is given back when nobody does any more, because the region was closed
    /// or the thread ended.
    awaited: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.awaited {
            if let Some(reservation) = self.reservation.take() {
                reservation.cancel();
            }
        }
    }
}

const RESERVED: &[(&str, Verb<Handle<Place>>)] = &[("wait", wait), ("cancel", cancel)];
const AWAITED: &[(&str, Verb<Handle<Place>>)] =
    &[("wait", wait), ("cancel", cancel), ("verdict", verdict)];

/// `reserve(key, maxWait, cost, tier)`: the functions of a reservation and when
/// it is `due`, or `undefined`.
pub fn reserve<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    match reserved(limiter, call, "maxWait")? {
        Ok(reservation) => {
            let due = call.env.bigint(reservation.due())?;
            let place = place(limiter, call, reservation, false)?;
            call.env.set(place, "due", due)?;
            Ok(place)
        }
        Err(_) => call.env.undefined(),
    }
}

/// `acquire(key, timeout, cost, tier)`: a verdict, or the functions of a place
/// to wait for.
pub fn acquire<'e>(limiter: &Open, call: &Call<'e>) -> Answer<'e> {
    match reserved(limiter, call, "timeout")? {
        Ok(reservation) if reservation.wait().is_zero() => answer(call, reservation.verdict()),
        Ok(reservation) => place(limiter, call, reservation, true),
        Err(refusal) => answer(call, refusal),
    }
}

fn reserved(
    limiter: &Open,
    call: &Call<'_>,
    wait_is: &'static str,
) -> Result<Result<Reservation, Verdict>, Failure> {
    let [key, wait, cost, tier] = call.arguments;
    let wait = duration(call.env, wait, wait_is)?;
    with_charge(call.env, "cost", cost, tier, |charge| {
        with_key(call.env, key, |key| {
            Ok(limiter.get()?.reserve_with(key, charge, wait))
        })
    })
}

fn place<'e>(
    limiter: &Open,
    call: &Call<'e>,
    reservation: Reservation,
    awaited: bool,
) -> Answer<'e> {
    let place = Place {
        reservation: Some(reservation),
        awaited,
    };
    let handle = limiter.siblings.adopt("limiter", place);
    let verbs = if awaited { AWAITED } else { RESERVED };
    functions(call.env, call.realm, &handle, verbs)
}

/// Milliseconds until it is time; 0 then.
fn wait<'e>(place: &Handle<Place>, call: &Call<'e>) -> Answer<'e> {
    let wait = place.get()?.reservation.as_ref().map(Reservation::wait);
    call.env.number(wait.map_or(0.0, to_ms))
}

/// Gives the tokens back; whether that was in time. The place is no more.
fn cancel<'e>(place: &Handle<Place>, call: &Call<'e>) -> Answer<'e> {
    let reservation = place.take()?.reservation.take();
    call.env
        .boolean(reservation.is_some_and(Reservation::cancel))
}

/// What `acquire` answers when it is time. The place is no more.
fn verdict<'e>(place: &Handle<Place>, call: &Call<'e>) -> Answer<'e> {
    match place.take()?.reservation.take() {
        Some(reservation) => answer(call, reservation.verdict()),
        None => call.env.undefined(),
    }
}
