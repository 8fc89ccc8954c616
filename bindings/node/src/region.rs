//! Opening regions, and their verbs.

use crate::address;
use crate::breaker;
use crate::cache;
use crate::duration::{duration, ns_to_ms};
use crate::failure::{Answer, Failure};
use crate::function::{functions, Call, Verb};
use crate::handle::{Close, Handle, Opened};
use crate::headers;
use crate::histogram;
use crate::js::{Env, Type, Value};
use crate::limiter;
use crate::number::large_count;
use crate::options::{name, Options};
use crate::permits;
use crate::realm::Realm;
use crate::window;
use forebay::{BreakerOptions, CacheOptions, Codec, Error, HistogramOptions};
use forebay::{RegionOptions, WindowOptions};
use std::rc::Rc;
use std::time::Duration;

/// A region that one JavaScript object opened, and what was opened in it.
struct Region {
    handle: Handle<forebay::Region>,
    objects: Rc<Opened>,
}

const VERBS: &[(&str, Verb<Region>)] = &[
    ("limiter", limiter),
    ("cache", cache),
    ("breaker", breaker),
    ("histogram", histogram),
    ("window", window),
    ("permits", permits),
    ("objects", objects),
    ("stats", stats),
    ("events", events),
    ("now", now),
    ("advance", advance),
    ("close", close),
];

/// Fills the module's exports: the shared arrays, `link`, what opens, what acts
/// on no object or on several, and the numbers of the codecs.
pub fn exports<'e>(env: Env<'e>, exports: Value<'e>) -> Result<(), Failure> {
    let realm = Realm::new(env, exports)?;
    let verbs: &[(&str, Verb<()>)] = &[
        ("link", link),
        ("open", open),
        ("privateRegion", private_region),
        ("takeAll", limiter::take_all),
        ("headers", headers::headers),
        ("clientAddress", address::client_address),
    ];
    let free = functions(env, &realm, &Rc::new(()), verbs)?;
    for (name, _) in verbs {
        env.set(exports, name, env.get(free, name)?)?;
    }
    let codecs = env.numbers(&[
        ("bytes", Codec::Bytes.number().into()),
        ("text", Codec::Text.number().into()),
        ("json", Codec::Json.number().into()),
    ])?;
    env.set(exports, "codecs", codecs)
}

fn link<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    let make_error = call.arguments[0];
    match call.env.type_of(make_error)? {
        Type::Function => call.realm.link(call.env, make_error)?,
        other => return Err(Failure::of_type("link", other.name(), "a function")),
    }
    call.env.undefined()
}

fn open<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    let [path, options, ..] = call.arguments;
    let path = name(call.env, path, "name")?;
    handed(call, region_options(call.env, options)?.open(&path)?)
}

fn private_region<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    let options = region_options(call.env, call.arguments[0])?;
    handed(call, options.private()?)
}

fn handed<'e>(call: &Call<'e>, region: forebay::Region) -> Answer<'e> {
    let env = call.env;
    let path = match region.path() {
        Some(path) => env.string(path.to_string_lossy().as_bytes())?,
        None => env.undefined()?,
    };
    let is_shared = env.boolean(region.is_shared())?;
    let bytes = env.number(region.bytes() as f64)?;
    // Only a manual clock can be moved, were it by nothing.
    let manual_clock = env.boolean(region.advance(Duration::ZERO).is_ok())?;
    let region = Rc::new(Region {
        handle: Handle::new("region", region),
        objects: Rc::default(),
    });
    let object = functions(env, call.realm, &region, VERBS)?;
    env.set(object, "path", path)?;
    env.set(object, "isShared", is_shared)?;
    env.set(object, "bytes", bytes)?;
    env.set(object, "manualClock", manual_clock)?;
    Ok(object)
}

/// `{bytes, mode, create, fresh, ephemeral, manualClock}`
fn region_options<'e>(env: Env<'e>, value: Value<'e>) -> Result<RegionOptions, Failure> {
    const KNOWN: &[&str] = &[
        "bytes",
        "mode",
        "create",
        "fresh",
        "ephemeral",
        "manualClock",
    ];
    let mut region = forebay::Region::options();
    let Some(options) = Options::read(env, value, KNOWN)? else {
        return Ok(region);
    };
    if let Some(n) = options.count("bytes")? {
        region = region.bytes(n);
    }
    if let Some(mode) = options.small_count("mode")? {
        region = region.mode(mode);
    }
    if let Some(is) = options.boolean("create")? {
        region = region.create(is);
    }
    if let Some(is) = options.boolean("fresh")? {
        region = region.fresh(is);
    }
    if let Some(is) = options.boolean("ephemeral")? {
        region = region.ephemeral(is);
    }
    if let Some(is) = options.boolean("manualClock")? {
        region = region.manual_clock(is);
    }
    Ok(region)
}

fn limiter<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let [object, options, ..] = call.arguments;
    let object = name(call.env, object, "name")?;
    let options = limiter::options(call.env, options)?;
    let limiter = region.handle.get()?.limiter(&object, options)?;
    limiter::handed(call, &region.objects, limiter)
}

/// Without options, a cache, a breaker or a window counter is attached to as it is, and made with
/// the defaults if it is not there. A limiter has no default rate and permits no
/// default limit: the core answers that they were not found.
fn cache<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let [object, options, ..] = call.arguments;
    let object = name(call.env, object, "name")?;
    let options = cache::options(call.env, options)?;
    let attach = options.is_none();
    let cache = match (region.handle.get()?.cache(&object, options), attach) {
        (Err(Error::NotFound { .. }), true) => {
            region.handle.get()?.cache(&object, CacheOptions::new())?
        }
        (cache, _) => cache?,
    };
    let handle = region.objects.adopt("cache", cache);
    functions(call.env, call.realm, &handle, cache::VERBS)
}

fn breaker<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let [object, options, ..] = call.arguments;
    let object = name(call.env, object, "name")?;
    let options = breaker::options(call.env, options)?;
    let attach = options.is_none();
    let breaker = match (region.handle.get()?.breaker(&object, options), attach) {
        (Err(Error::NotFound { .. }), true) => region
            .handle
            .get()?
            .breaker(&object, BreakerOptions::new())?,
        (breaker, _) => breaker?,
    };
    let handle = region.objects.adopt("breaker", breaker);
    functions(call.env, call.realm, &handle, breaker::VERBS)
}

fn histogram<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let object = name(call.env, call.arguments[0], "name")?;
    let none: Option<HistogramOptions> = None;
    let histogram = region.handle.get()?.histogram(&object, none)?;
    let handle = region.objects.adopt("histogram", histogram);
    functions(call.env, call.realm, &handle, histogram::VERBS)
}

fn window<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let [object, options, ..] = call.arguments;
    let object = name(call.env, object, "name")?;
    let options = window::options(call.env, options)?;
    let attach = options.is_none();
    let window = match (region.handle.get()?.window(&object, options), attach) {
        (Err(Error::NotFound { .. }), true) => {
            region.handle.get()?.window(&object, WindowOptions::new())?
        }
        (window, _) => window?,
    };
    let handle = region.objects.adopt("window counter", window);
    functions(call.env, call.realm, &handle, window::VERBS)
}

fn permits<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let [object, options, ..] = call.arguments;
    let object = name(call.env, object, "name")?;
    let options = permits::options(call.env, options)?;
    let permits = region.handle.get()?.permits(&object, options)?;
    let handle = region
        .objects
        .adopt("permits object", permits::Open::new(permits));
    functions(call.env, call.realm, &handle, permits::VERBS)
}

fn objects<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let objects = region.handle.get()?.objects();
    let objects = objects
        .iter()
        .map(|object| {
            env.record(&[
                ("name", env.string(object.name.as_bytes())?),
                ("kind", env.string(object.kind.name().as_bytes())?),
                ("bytes", env.number(object.bytes as f64)?),
            ])
        })
        .collect::<Result<Vec<_>, _>>()?;
    env.array(&objects)
}

fn stats<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let stats = region.handle.get()?.stats();
    call.env.numbers(&[
        ("bytes", stats.bytes),
        ("used", stats.used),
        ("objects", stats.objects),
        ("seats", stats.seats),
        ("seatsMax", stats.seats_max),
        ("events", stats.events),
        ("eventsDropped", stats.events_dropped),
        ("resets", stats.resets),
    ])
}

fn events<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let since = match env.type_of(call.arguments[0])? {
        Type::Undefined => 0,
        _ => large_count(env, call.arguments[0], "since")?,
    };
    let answer = region.handle.get()?.events(since);
    let events = answer
        .events
        .iter()
        .map(|event| {
            env.record(&[
                ("sequence", env.number(event.sequence as f64)?),
                ("time", env.number(ns_to_ms(event.time))?),
                ("kind", env.string(event.kind.name().as_bytes())?),
                ("object", env.string(event.object.as_bytes())?),
                ("detail", env.number(event.detail as f64)?),
            ])
        })
        .collect::<Result<Vec<_>, _>>()?;
    env.record(&[
        ("events", env.array(&events)?),
        ("next", env.number(answer.next as f64)?),
        ("lost", env.number(answer.lost as f64)?),
    ])
}

fn now<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let now = region.handle.get()?.now();
    call.env.number(ns_to_ms(now))
}

fn advance<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    let by = duration(call.env, call.arguments[0], "duration")?;
    region.handle.get()?.advance(by)?;
    call.env.undefined()
}

fn close<'e>(region: &Region, call: &Call<'e>) -> Answer<'e> {
    region.objects.close();
    region.handle.close();
    call.env.undefined()
}
