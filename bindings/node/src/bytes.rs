//! `Uint8Array`s (and so `Buffer`s) as slices.

use crate::failure::Failure;
use crate::js::{check, Env, Value};
use napi_sys as sys;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Calls `use_it` with the array's bytes; `None` if it is not a `Uint8Array`.
/// `use_it` must run no JavaScript, which could detach the array.
///
/// A detached array is an error that names `argument`, not an empty one. Bytes
/// in a `SharedArrayBuffer` are copied first, since other threads may write
/// them meanwhile: then the answer is of some mixture.
pub fn with_bytes<R>(
    env: Env<'_>,
    value: Value<'_>,
    argument: &'static str,
    use_it: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>, Failure> {
    let mut is_typed_array = false;
    // SAFETY: the value is of this environment and call.
    check(unsafe { sys::napi_is_typedarray(env.raw(), value.raw(), &mut is_typed_array) })?;
    if !is_typed_array {
        return Ok(None);
    }
    let (mut kind, mut len, mut data) = (0, 0, ptr::null_mut());
    let (mut array, mut offset) = (ptr::null_mut(), 0);
    // SAFETY: it is a typed array; every result is writable.
    check(unsafe {
        sys::napi_get_typedarray_info(
            env.raw(),
            value.raw(),
            &mut kind,
            &mut len,
            &mut data,
            &mut array,
            &mut offset,
        )
    })?;
    if kind != sys::TypedarrayType::uint8_array {
        return Ok(None);
    }
    let mut is_private = false;
    // SAFETY: `array` is the typed array's buffer.
    check(unsafe { sys::napi_is_arraybuffer(env.raw(), array, &mut is_private) })?;
    if len == 0 {
        let mut detached = false;
        if is_private {
            // SAFETY: as above.
            check(unsafe { sys::napi_is_detached_arraybuffer(env.raw(), array, &mut detached) })?;
        }
        if detached {
            return Err(Failure::of_type(
                argument,
                "a detached Uint8Array",
                "one that still has its bytes",
            ));
        }
        return Ok(Some(use_it(&[])));
    }
    if is_private {
        // SAFETY: `len` bytes at `data` belong to an array of this thread, and
        // no JavaScript runs (so none is written or detached) during `use_it`.
        let bytes = unsafe { std::slice::from_raw_parts(data.cast(), len) };
        return Ok(Some(use_it(bytes)));
    }
    // SAFETY: `len` bytes at `data` are alive for this call (shared memory is
    // never detached); other threads may write them, so they are read as atoms.
    let shared = unsafe { std::slice::from_raw_parts(data.cast::<AtomicU8>(), len) };
    let copy: Vec<u8> = shared.iter().map(|byte| byte.load(Relaxed)).collect();
    Ok(Some(use_it(&copy)))
}
