//! Verbs of a histogram and of its snapshots. Milliseconds, as everywhere here.

use crate::duration::{from_units, ns_to_ms, to_ms};
use crate::failure::Answer;
use crate::function::{functions, Call, Verb};
use crate::handle::Handle;
use crate::number::{float, large_count, show};
use forebay::{Error, Histogram, Snapshot};
use std::rc::Rc;
use std::time::Duration;

/// `(name, verb)` for `function::functions`.
pub const VERBS: &[(&str, Verb<Handle<Histogram>>)] = &[
    ("record", record),
    ("recordNs", record_ns),
    ("percentile", percentile),
    ("snapshot", snapshot),
];

fn record<'e>(histogram: &Handle<Histogram>, call: &Call<'e>) -> Answer<'e> {
    let ms = float(call.env, call.arguments[0], "duration")?;
    let duration = from_units(ms, 1e6)
        .ok_or_else(|| Error::invalid("duration", show(ms), "milliseconds, not negative"))?;
    histogram.get()?.record(duration);
    call.env.undefined()
}

fn record_ns<'e>(histogram: &Handle<Histogram>, call: &Call<'e>) -> Answer<'e> {
    let ns = large_count(call.env, call.arguments[0], "duration")?;
    histogram.get()?.record_ns(ns);
    call.env.undefined()
}

fn percentile<'e>(histogram: &Handle<Histogram>, call: &Call<'e>) -> Answer<'e> {
    let percent = float(call.env, call.arguments[0], "percent")?;
    let percentile = histogram.get()?.percentile(percent)?;
    optional_ms(call, percentile)
}

/// The numbers of a snapshot, and its `percentile` function.
fn snapshot<'e>(histogram: &Handle<Histogram>, call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let snapshot = histogram.get()?.snapshot();
    let buckets = snapshot
        .buckets()
        .into_iter()
        .map(|(edge, count)| {
            env.record(&[
                ("le", env.number(edge * 1e3)?),
                ("count", env.number(count as f64)?),
            ])
        })
        .collect::<Result<Vec<_>, _>>()?;
    let verbs: &[(&str, Verb<Snapshot>)] = &[("percentile", snapshot_percentile)];
    let (count, sum) = (snapshot.count(), snapshot.sum());
    let (mean, min, max) = (snapshot.mean(), snapshot.min(), snapshot.max());
    let object = functions(env, call.realm, &Rc::new(snapshot), verbs)?;
    for (name, value) in [
        ("count", env.number(count as f64)?),
        ("sum", env.number(sum.as_nanos() as f64 / 1e6)?),
        ("mean", env.number(ns_to_ms(mean.as_nanos() as u64))?),
        ("min", optional_ms(call, min)?),
        ("max", optional_ms(call, max)?),
        ("buckets", env.array(&buckets)?),
    ] {
        env.set(object, name, value)?;
    }
    Ok(object)
}

fn snapshot_percentile<'e>(snapshot: &Snapshot, call: &Call<'e>) -> Answer<'e> {
    let percent = float(call.env, call.arguments[0], "percent")?;
    optional_ms(call, snapshot.percentile(percent)?)
}

fn optional_ms<'e>(call: &Call<'e>, duration: Option<Duration>) -> Answer<'e> {
    match duration {
        Some(duration) => call.env.number(to_ms(duration)),
        None => call.env.undefined(),
    }
}
