//! Keys: a string, a `Uint8Array`, or an array of parts.

use crate::bytes::with_bytes;
use crate::failure::Failure;
use crate::js::{Env, Type, Value};
use crate::number::{self, SAFE};
use crate::text::with_text;
use forebay::{join_parts, Error};

const ALLOWED: &str = "a string, a Uint8Array or an array of such parts and whole numbers";

/// Calls `use_it` with the key's bytes. A string of up to 251 bytes of UTF-8
/// and any `Uint8Array` are used without allocating; parts are copied.
pub fn with_key<R>(
    env: Env<'_>,
    key: Value<'_>,
    use_it: impl FnOnce(&[u8]) -> Result<R, Failure>,
) -> Result<R, Failure> {
    // A reader calls it only if the value is of its kind, so it is called once.
    let mut use_it = Some(use_it);
    let mut once = |bytes: &[u8]| use_it.take().map(|use_it| use_it(bytes));
    if let Some(Some(result)) = with_text(env, key, "key", &mut once)? {
        return result;
    }
    if let Some(Some(result)) = with_bytes(env, key, "key", &mut once)? {
        return result;
    }
    match env.type_of(key)? {
        Type::Array => {
            let parts = parts(env, key)?;
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            join_parts(&parts, once).unwrap_or(Err(Failure::Thrown))
        }
        other => Err(Failure::of_type("key", other.name(), ALLOWED)),
    }
}

/// Copies of an array's parts. Reading an element may run a getter, so nothing
/// borrowed from JavaScript is held from one part to the next.
fn parts(env: Env<'_>, key: Value<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let count = env.array_len(key)?;
    if count == 0 {
        return Err(Error::invalid("key", "an array without parts", "at least one part").into());
    }
    (0..count)
        .map(|i| {
            let part = env.element(key, i)?;
            if let Some(text) = with_text(env, part, "key", <[u8]>::to_vec)? {
                return Ok(text);
            }
            if let Some(bytes) = with_bytes(env, part, "key", <[u8]>::to_vec)? {
                return Ok(bytes);
            }
            match env.as_number(part)? {
                Some(n) if n.fract() == 0.0 && n.abs() <= SAFE => {
                    Ok((n as i64).to_string().into_bytes())
                }
                Some(n) => Err(Error::invalid(
                    "key",
                    format!("the part {}", number::show(n)),
                    "whole numbers from -9007199254740991 to 9007199254740991",
                )
                .into()),
                None => Err(Failure::of_type(
                    "key",
                    format!("a part that is {}", env.type_of(part)?.name()),
                    ALLOWED,
                )),
            }
        })
        .collect()
}
