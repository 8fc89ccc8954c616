//! Verbs of permits. The leases are kept here, under numbers that JavaScript
//! holds: so those that are left end with the region's `close()`, and with
//! their thread.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{Call, Verb};
use crate::handle::Handle;
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::number::{count, SAFE};
use crate::options::{name, Options};
use forebay::permits::{Reason, Refused};
use forebay::{Error, Lease, Permits, PermitsOptions};
use std::cell::RefCell;
use std::collections::HashMap;

/// Permits that one JavaScript object opened, and the leases of its own.
pub struct Open {
    permits: Permits,
    leases: RefCell<Leases>,
}

#[derive(Default)]
struct Leases {
    held: HashMap<u64, Lease>,
    next: u64,
}

impl Open {
    /// The permits, with no lease yet.
    pub fn new(permits: Permits) -> Self {
        Open {
            permits,
            leases: RefCell::default(),
        }
    }
}

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, Verb<Handle<Open>>)] = &[
    ("tryAcquire", try_acquire),
    ("refusal", refusal),
    ("inUse", in_use),
    ("stats", stats),
    ("release", release),
    ("renew", renew),
    ("endsIn", ends_in),
];

const REASONS: [Reason; 3] = [Reason::Limit, Reason::Full, Reason::Busy];

/// A lease's number; or why there is none, as text, and the wait in ms is the
/// realm's first number, -1 where nobody can tell.
fn try_acquire<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let answer = with_key(call.env, call.arguments[0], |key| {
        let open = permits.get()?;
        Ok(open.permits.try_acquire(key).map(|lease| {
            let mut leases = open.leases.borrow_mut();
            let number = leases.next;
            leases.next += 1;
            leases.held.insert(number, lease);
            number
        }))
    })?;
    match answer {
        Ok(number) => call.env.number(number as f64),
        Err(refused) => {
            call.realm.numbers()[0].set(refused.retry_after.map_or(-1.0, to_ms));
            call.env.string(refused.reason.name().as_bytes())
        }
    }
}

/// `refusal(reason, retryAfter)`: the core's sentence for it.
fn refusal<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let [reason, retry_after, ..] = call.arguments;
    let reason = name(env, reason, "reason")?;
    let reason = REASONS
        .into_iter()
        .find(|known| known.name() == reason)
        .ok_or_else(|| Error::invalid("reason", reason, "limit, full, busy"))?;
    let retry_after = match env.type_of(retry_after)? {
        Type::Null => None,
        _ => Some(duration(env, retry_after, "retryAfter")?),
    };
    let refused = Refused {
        permits: permits.get()?.permits.name().into(),
        reason,
        retry_after,
    };
    env.string(refused.to_string().as_bytes())
}

fn in_use<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let leases = with_key(call.env, call.arguments[0], |key| {
        Ok(permits.get()?.permits.in_use(key))
    })?;
    call.env.number(leases as f64)
}

fn stats<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let stats = permits.get()?.permits.stats();
    call.env.numbers(&[
        ("granted", stats.granted),
        ("refused", stats.refused),
        ("full", stats.full),
        ("busy", stats.busy),
        ("expired", stats.expired),
        ("reaped", stats.reaped),
    ])
}

/// `release(number)`: whether its time was not over. The lease is no more.
fn release<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let number = number(call)?;
    // After `close()` it has been released.
    let lease = permits
        .get()
        .ok()
        .and_then(|open| open.leases.borrow_mut().held.remove(&number));
    call.env.boolean(lease.is_some_and(Lease::release))
}

/// `renew(number)`: whether its time was not over.
fn renew<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let renewed = with_lease(permits, call, Lease::renew)?;
    call.env.boolean(renewed.unwrap_or(false))
}

/// `endsIn(number)`: milliseconds; 0 when it is over.
fn ends_in<'e>(permits: &Handle<Open>, call: &Call<'e>) -> Answer<'e> {
    let left = with_lease(permits, call, |lease| lease.ends_in())?;
    call.env.number(left.map_or(0.0, to_ms))
}

/// What `use_it` says of the lease, if there is one: there is none after
/// `close()`.
fn with_lease<R>(
    permits: &Handle<Open>,
    call: &Call<'_>,
    use_it: impl FnOnce(&mut Lease) -> R,
) -> Result<Option<R>, Failure> {
    let number = number(call)?;
    let Ok(open) = permits.get() else {
        return Ok(None);
    };
    let mut leases = open.leases.borrow_mut();
    Ok(leases.held.get_mut(&number).map(use_it))
}

fn number(call: &Call<'_>) -> Result<u64, Failure> {
    count(call.env, call.arguments[0], "lease", SAFE as u64)
}

/// `{limit, lease, maxLeases}`
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<PermitsOptions>, Failure> {
    let Some(options) = Options::read(env, value, &["limit", "lease", "maxLeases"])? else {
        return Ok(None);
    };
    let Some(limit) = options.count("limit")? else {
        return Err(Failure::of_type(
            "limit",
            "undefined",
            "how many leases a key may have at once",
        ));
    };
    let mut permits = PermitsOptions::new(limit);
    if let Some(lease) = options.duration("lease")? {
        permits = permits.lease(lease);
    }
    if let Some(n) = options.count("maxLeases")? {
        permits = permits.max_leases(n);
    }
    Ok(Some(permits))
}
