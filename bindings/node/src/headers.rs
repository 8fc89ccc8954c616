//! Verdicts as HTTP headers. They come as JavaScript's objects, which may be
//! anything: each field is checked.

use crate::duration::from_units;
use crate::failure::{Answer, Failure};
use crate::function::Call;
use crate::js::{Env, Type, Value};
use crate::key::with_key;
use crate::number::{float, show};
use crate::options::name;
use crate::text;
use forebay::{Error, HeaderStyle, Limit, Verdict};
use std::time::{Duration, UNIX_EPOCH};

const ROWS: &str = "an array of [name, verdict] or [name, verdict, key]";

/// `headers([[name, verdict, key], …], styles, now)`: `[[name, value], …]`. No
/// key, or undefined, is none to tell. `styles` is one or an array of them, `now` milliseconds since 1970.
pub fn headers<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    let env = call.env;
    let [limits, styles, now, _] = call.arguments;
    let limits = array(env, limits, "limits", ROWS)?
        .into_iter()
        .map(|row| match array(env, row, "limits", ROWS)?[..] {
            [of, said] => Ok((name(env, of, "name")?, verdict(env, said)?, None)),
            [of, said, key] => Ok((
                name(env, of, "name")?,
                verdict(env, said)?,
                key_of(env, key)?,
            )),
            _ => Err(Failure::of_type(
                "limits",
                "an array of another length",
                ROWS,
            )),
        })
        .collect::<Result<Vec<(String, Verdict, Option<Vec<u8>>)>, Failure>>()?;
    let limits: Vec<Limit<'_>> = limits
        .iter()
        .map(|(name, verdict, key)| match key {
            Some(key) => Limit::new(name, verdict).key(key),
            None => Limit::new(name, verdict),
        })
        .collect();
    let styles = styles_of(env, styles)?;
    let ms = float(env, now, "now")?;
    let now = from_units(ms, 1e6)
        .ok_or_else(|| Error::invalid("now", show(ms), "milliseconds since 1970"))?;
    let told = forebay::headers(&limits, &styles, UNIX_EPOCH + now)?
        .iter()
        .map(|(name, value)| {
            env.array(&[env.string(name.as_bytes())?, env.string(value.as_bytes())?])
        })
        .collect::<Result<Vec<_>, _>>()?;
    env.array(&told)
}

/// A copy of the key's bytes; none of undefined.
fn key_of<'e>(env: Env<'e>, key: Value<'e>) -> Result<Option<Vec<u8>>, Failure> {
    match env.type_of(key)? {
        Type::Undefined => Ok(None),
        _ => with_key(env, key, |key| Ok(Some(key.to_vec()))),
    }
}

fn styles_of<'e>(env: Env<'e>, value: Value<'e>) -> Result<Vec<HeaderStyle>, Failure> {
    const ALLOWED: &str = "the name of a style, or an array of such names";
    if let Some(style) = text::to_string(env, value, "style")? {
        return Ok(vec![style.parse()?]);
    }
    array(env, value, "styles", ALLOWED)?
        .into_iter()
        .map(|style| Ok(name(env, style, "style")?.parse()?))
        .collect()
}

fn array<'e>(
    env: Env<'e>,
    value: Value<'e>,
    argument: &'static str,
    allowed: &str,
) -> Result<Vec<Value<'e>>, Failure> {
    match env.type_of(value)? {
        Type::Array => (0..env.array_len(value)?)
            .map(|i| env.element(value, i))
            .collect(),
        other => Err(Failure::of_type(argument, other.name(), allowed)),
    }
}

/// A verdict from its fields, as `lib/limiter.js` has made them.
fn verdict<'e>(env: Env<'e>, value: Value<'e>) -> Result<Verdict, Failure> {
    let not_one = |given: &str| Failure::of_type("verdict", given, "a Verdict");
    match env.type_of(value)? {
        Type::Object => {}
        other => return Err(not_one(other.name())),
    }
    let no_field = |field: &str| not_one(&format!("an object whose {field} is not a verdict's"));
    let number = |field: &str| match env.as_number(env.get(value, field)?)? {
        Some(n) => Ok(n),
        None => Err(no_field(field)),
    };
    let tokens = |field: &str| match number(field)? {
        f64::INFINITY => Ok(u64::MAX),
        n if n.fract() == 0.0 && n >= 0.0 => Ok(n as u64),
        _ => Err(no_field(field)),
    };
    let time = |field: &str| -> Result<Duration, Failure> {
        from_units(number(field)?, 1e6).ok_or_else(|| no_field(field))
    };
    Ok(Verdict {
        allowed: env
            .as_boolean(env.get(value, "allowed")?)?
            .ok_or_else(|| no_field("allowed"))?,
        limit: tokens("limit")?,
        remaining: tokens("remaining")?,
        retry_after: match env.type_of(env.get(value, "retryAfter")?)? {
            Type::Null => None,
            _ => Some(time("retryAfter")?),
        },
        reset_after: time("resetAfter")?,
        window: time("window")?,
    })
}
