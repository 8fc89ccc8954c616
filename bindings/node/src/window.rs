//! Verbs of a window counter. A count is the realm's first number, the time
//! until its window ends (ms) the second.

use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{Call, Verb};
use crate::handle::Handle;
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::number::{count, SAFE};
use crate::options::Options;
use forebay::{Count, WindowCounter, WindowOptions};

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, Verb<Handle<WindowCounter>>)] = &[
    ("hit", hit),
    ("get", get),
    ("decrement", decrement),
    ("reset", reset),
    ("block", block),
    ("blockedFor", blocked_for),
    ("unblock", unblock),
    ("clear", clear),
    ("stats", stats),
];

/// `hit(key, window, hits, limit)`: whether it was counted; with the count.
fn hit<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let [key, length, hits, limit] = call.arguments;
    let length = duration(call.env, length, "window")?;
    let hits = optional(call.env, hits, "hits")?.unwrap_or(1);
    let limit = optional(call.env, limit, "limit")?;
    let answer = with_key(call.env, key, |key| {
        Ok(window.get()?.hit_with(key, length, hits, limit)?)
    })?;
    let counted = answer.is_ok();
    tell(call, answer.unwrap_or_else(|without| without));
    call.env.boolean(counted)
}

fn get<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let count = with_key(call.env, call.arguments[0], |key| {
        Ok(window.get()?.get(key))
    })?;
    tell(call, count);
    call.env.undefined()
}

fn decrement<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let [key, hits, ..] = call.arguments;
    let hits = optional(call.env, hits, "hits")?.unwrap_or(1);
    let count = with_key(call.env, key, |key| Ok(window.get()?.decrement(key, hits)))?;
    tell(call, count);
    call.env.undefined()
}

fn reset<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(window.get()?.reset(key))
    })?;
    call.env.boolean(was)
}

fn block<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let [key, time, ..] = call.arguments;
    let time = duration(call.env, time, "time")?;
    with_key(call.env, key, |key| {
        window.get()?.block(key, time);
        Ok(())
    })?;
    call.env.undefined()
}

/// Milliseconds; 0 if the key is not blocked.
fn blocked_for<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let wait = with_key(call.env, call.arguments[0], |key| {
        Ok(window.get()?.blocked_for(key))
    })?;
    call.env.number(to_ms(wait))
}

fn unblock<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(window.get()?.unblock(key))
    })?;
    call.env.boolean(was)
}

fn clear<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    window.get()?.clear();
    call.env.undefined()
}

fn stats<'e>(window: &Handle<WindowCounter>, call: &Call<'e>) -> Answer<'e> {
    let stats = window.get()?.stats();
    call.env.numbers(&[
        ("hits", stats.hits),
        ("refused", stats.refused),
        ("evictedLive", stats.evicted_live),
        ("contended", stats.contended),
        ("slots", stats.slots),
    ])
}

fn tell(call: &Call<'_>, told: Count) {
    let [count, resets_in, ..] = call.realm.numbers();
    count.set(told.count as f64);
    resets_in.set(to_ms(told.resets_in));
}

/// A count that may be `undefined`.
fn optional(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
) -> Result<Option<u64>, Failure> {
    match env.type_of(value)? {
        Type::Undefined => Ok(None),
        _ => count(env, value, argument, SAFE as u64).map(Some),
    }
}

/// `{maxKeys}`
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<WindowOptions>, Failure> {
    let Some(options) = Options::read(env, value, &["maxKeys"])? else {
        return Ok(None);
    };
    let mut window = WindowOptions::new();
    if let Some(n) = options.count("maxKeys")? {
        window = window.max_keys(n);
    }
    Ok(Some(window))
}
