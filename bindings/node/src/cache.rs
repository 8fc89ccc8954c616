//! Verbs of a cache: bytes with a codec tag. `lib/cache.js` decides which codec
//! a value has and turns JSON into values; text is made here.

use crate::bytes::with_bytes;
use crate::duration::{duration, to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{Call, Verb};
use crate::handle::Handle;
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::options::Options;
use crate::text;
use forebay::{Cache, CacheOptions, Codec, SetOptions, Ttl};
use std::time::UNIX_EPOCH;

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, Verb<Handle<Cache>>)] = &[
    ("get", get),
    ("getBytes", get_bytes),
    ("entry", entry),
    ("set", set),
    ("has", has),
    ("delete", delete),
    ("clear", clear),
    ("size", size),
    ("stats", stats),
];

fn get<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    find(cache, call, |bytes, codec| value(call, bytes, codec))
}

/// The bytes, whatever their codec.
fn get_bytes<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    find(cache, call, |bytes, _| {
        call.realm.hand_over(call.env, bytes)
    })
}

/// `undefined` for a miss, else what `answer` makes of the bytes.
fn find<'e>(
    cache: &Handle<Cache>,
    call: &Call<'e>,
    answer: impl FnOnce(&[u8], Codec) -> Answer<'e>,
) -> Answer<'e> {
    call.realm.with_buffer(|buffer| {
        let found = with_key(call.env, call.arguments[0], |key| {
            Ok(cache.get()?.get_into(key, buffer))
        })?;
        match found {
            Some(meta) => answer(buffer, meta.codec),
            None => call.env.undefined(),
        }
    })
}

/// Text and JSON as a string, bytes as `hand_over` hands them; the codec's
/// number is the realm's first number.
fn value<'e>(call: &Call<'e>, bytes: &[u8], codec: Codec) -> Answer<'e> {
    call.realm.numbers()[0].set(codec.number().into());
    match codec {
        Codec::Text | Codec::Json => call.env.string(bytes),
        _ => call.realm.hand_over(call.env, bytes),
    }
}

/// As `get`, with version, creation (ms since 1970) and time to live (ms, -1
/// for ever) after the codec.
fn entry<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let found = with_key(call.env, call.arguments[0], |key| {
        Ok(cache.get()?.entry(key))
    })?;
    let Some(entry) = found else {
        return call.env.undefined();
    };
    let [_, version, created, ttl, ..] = call.realm.numbers();
    version.set(entry.version as f64);
    created.set(match entry.created.duration_since(UNIX_EPOCH) {
        Ok(since) => to_ms(since),
        Err(before) => -to_ms(before.duration()),
    });
    ttl.set(entry.ttl.map_or(-1.0, to_ms));
    value(call, &entry.value, entry.codec)
}

/// `set(key, value, codec, ttl)`: a string or a `Uint8Array`; the ttl is
/// `undefined` for the default, `null` for never, or a duration.
fn set<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let [key, value, codec, ttl] = call.arguments;
    let ttl = match env.type_of(ttl)? {
        Type::Undefined => Ttl::Default,
        Type::Null => Ttl::Never,
        _ => Ttl::For(duration(env, ttl, "ttl")?),
    };
    let codec = Codec::from_number(env.as_number(codec)?.unwrap_or(0.0) as u8);
    let options = SetOptions { ttl, codec };
    let stored = with_key(env, key, |key| {
        let store = |value: &[u8]| Ok(cache.get()?.set_with(key, value, options));
        if codec == Codec::Bytes {
            return match with_bytes(env, value, "value", store)? {
                Some(stored) => stored,
                None => Err(Failure::of_type(
                    "value",
                    env.type_of(value)?.name(),
                    "a Uint8Array",
                )),
            };
        }
        call.realm.with_buffer(|buffer| {
            text::read(env, value, buffer)?;
            store(buffer)
        })
    })?;
    env.boolean(stored)
}

fn has<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let has = with_key(call.env, call.arguments[0], |key| {
        Ok(cache.get()?.contains(key))
    })?;
    call.env.boolean(has)
}

fn delete<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let was = with_key(call.env, call.arguments[0], |key| {
        Ok(cache.get()?.delete(key))
    })?;
    call.env.boolean(was)
}

fn clear<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    cache.get()?.clear();
    call.env.undefined()
}

fn size<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let len = cache.get()?.len();
    call.env.number(len as f64)
}

fn stats<'e>(cache: &Handle<Cache>, call: &Call<'e>) -> Answer<'e> {
    let stats = cache.get()?.stats();
    let object = call.env.numbers(&[
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("sets", stats.sets),
        ("deletes", stats.deletes),
        ("evictions", stats.evictions),
        ("expirations", stats.expirations),
        ("tooLarge", stats.too_large),
        ("busy", stats.busy),
        ("resets", stats.resets),
        ("entries", stats.entries),
        ("bytesUsed", stats.bytes_used),
        ("bytesCapacity", stats.bytes_capacity),
        ("maxItem", stats.max_item),
        ("maxEntries", stats.max_entries),
        ("shards", stats.shards),
    ])?;
    let hit_rate = call.env.number(stats.hit_rate())?;
    call.env.set(object, "hitRate", hit_rate)?;
    Ok(object)
}

/// `{bytes, maxEntries, maxItem, shards, ttl}`
pub fn options<'e>(env: Env<'e>, value: Value<'e>) -> Result<Option<CacheOptions>, Failure> {
    const KNOWN: &[&str] = &["bytes", "maxEntries", "maxItem", "shards", "ttl"];
    let Some(options) = Options::read(env, value, KNOWN)? else {
        return Ok(None);
    };
    let mut cache = CacheOptions::new();
    if let Some(n) = options.count("bytes")? {
        cache = cache.bytes(n);
    }
    if let Some(n) = options.count("maxEntries")? {
        cache = cache.max_entries(n);
    }
    if let Some(n) = options.count("maxItem")? {
        cache = cache.max_item(n);
    }
    if let Some(n) = options.count("shards")? {
        cache = cache.shards(n);
    }
    if let Some(ttl) = options.duration("ttl")? {
        cache = cache.ttl(ttl);
    }
    Ok(Some(cache))
}
