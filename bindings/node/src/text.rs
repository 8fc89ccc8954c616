//! Strings as UTF-8, on the stack when they are short.
//!
//! JavaScript strings may hold half of a surrogate pair, which UTF-8 cannot
//! say. V8 writes U+FFFD in its place, so two different keys would become one:
//! such strings are refused. The check costs one scan for the byte 0xEF, and
//! only where U+FFFD is found is the string read again as UTF-16.

use crate::failure::Failure;
use crate::js::{check, Env, Value};
use napi_sys as sys;
use std::mem::MaybeUninit;
use std::ptr;

/// Strings of up to 251 bytes are read without allocating.
const ON_STACK: usize = 256;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Calls `use_it` with the string's UTF-8; `None` if it is not a string.
/// Runs no JavaScript. Half a surrogate pair is an error that names `argument`.
pub fn with_text<R>(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
    use_it: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>, Failure> {
    let mut stack = [MaybeUninit::<u8>::uninit(); ON_STACK];
    let mut len = 0;
    // SAFETY: the buffer has ON_STACK bytes, of which Node writes at most all,
    // with a NUL behind the text.
    let status = unsafe {
        sys::napi_get_value_string_utf8(
            env.raw(),
            value.raw(),
            stack.as_mut_ptr().cast(),
            ON_STACK,
            &mut len,
        )
    };
    if status == sys::Status::napi_string_expected {
        return Ok(None);
    }
    check(status)?;
    // Cut strings end early where a character did not fit; the longest is four
    // bytes, so with room for one more the string is whole.
    if len + 4 < ON_STACK {
        // SAFETY: Node has written `len` bytes.
        let text = unsafe { std::slice::from_raw_parts(stack.as_ptr().cast(), len) };
        refuse_surrogates(env, value, argument, text)?;
        return Ok(Some(use_it(text)));
    }
    let mut text = Vec::new();
    read(env, value, &mut text)?;
    refuse_surrogates(env, value, argument, &text)?;
    Ok(Some(use_it(&text)))
}

/// The string as a Rust string; `None` if it is not a string.
pub fn to_string(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
) -> Result<Option<String>, Failure> {
    with_text(env, value, argument, |text| {
        String::from_utf8_lossy(text).into_owned()
    })
}

/// Fills `into` with the UTF-8 of a string that may be long.
pub fn read(env: Env<'_>, value: Value<'_>, into: &mut Vec<u8>) -> Result<(), Failure> {
    into.clear();
    let mut len = 0;
    // What was long last time will do this time: one pass instead of two.
    if into.capacity() > ON_STACK {
        len = fill(env, value, into)?;
        if len + 4 < into.capacity() {
            return Ok(());
        }
    }
    // SAFETY: without a buffer Node only tells the length.
    check(unsafe {
        sys::napi_get_value_string_utf8(env.raw(), value.raw(), ptr::null_mut(), 0, &mut len)
    })?;
    into.clear();
    into.try_reserve(len + 1)
        .map_err(|_| no_memory(len as u64, into.capacity() as u64))?;
    fill(env, value, into)?;
    Ok(())
}

/// Writes as much of the string as the buffer's capacity holds, less the NUL.
fn fill(env: Env<'_>, value: Value<'_>, into: &mut Vec<u8>) -> Result<usize, Failure> {
    let mut len = 0;
    // SAFETY: Node writes at most `capacity` bytes, the last of them a NUL, and
    // `len` counts those before it: they are initialised.
    unsafe {
        check(sys::napi_get_value_string_utf8(
            env.raw(),
            value.raw(),
            into.as_mut_ptr().cast(),
            into.capacity(),
            &mut len,
        ))?;
        into.set_len(len);
    }
    Ok(len)
}

fn no_memory(size: u64, held: u64) -> Failure {
    Failure::Core(forebay::Error::TooLarge {
        what: "text beyond the memory there is",
        size,
        max: held,
    })
}

fn refuse_surrogates(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
    text: &[u8],
) -> Result<(), Failure> {
    if !text.contains(&REPLACEMENT[0]) {
        return Ok(());
    }
    refuse_lone(env, value, argument, text)
}

#[cold]
fn refuse_lone(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
    text: &[u8],
) -> Result<(), Failure> {
    if !text.windows(REPLACEMENT.len()).any(|w| w == REPLACEMENT) {
        return Ok(());
    }
    // A UTF-8 text has at least as many bytes as UTF-16 units.
    let mut units = vec![0u16; text.len() + 1];
    let mut len = 0;
    // SAFETY: the buffer has the given number of units.
    check(unsafe {
        sys::napi_get_value_string_utf16(
            env.raw(),
            value.raw(),
            units.as_mut_ptr(),
            units.len(),
            &mut len,
        )
    })?;
    if char::decode_utf16(units[..len].iter().copied()).any(|c| c.is_err()) {
        return Err(forebay::Error::invalid(
            argument,
            "a string with half of a surrogate pair",
            "text that UTF-8 can carry",
        )
        .into());
    }
    Ok(())
}
