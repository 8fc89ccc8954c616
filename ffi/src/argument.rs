//! Pointers, lengths and texts from C become slices, `&str` and places to
//! write, or an error that names the argument.

use forebay::{Error, Result};
use std::ffi::{c_char, c_void, CStr};
use std::ptr::NonNull;
use std::time::Duration;

/// `len` bytes at `pointer`; NULL with 0 is the empty slice.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn bytes<'a>(
    what: &'static str,
    pointer: *const c_void,
    len: usize,
) -> Result<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { slice(what, pointer.cast(), len) }
}

/// `count` values at `pointer`; NULL with 0 is the empty slice.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn slice<'a, T>(
    what: &'static str,
    pointer: *const T,
    count: usize,
) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check(what, pointer, count)?;
    // SAFETY: not NULL, within what an object in memory can be; valid for
    // `count` values by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// A buffer of `cap` bytes to write into; NULL with 0 is the empty buffer.
///
/// # Safety
/// The caller's promise (see the crate's documentation), and no other reference
/// to the buffer is in use while this one is.
#[inline]
pub(crate) unsafe fn buffer<'a, T>(
    what: &'static str,
    pointer: *mut T,
    cap: usize,
) -> Result<&'a mut [T]> {
    if cap == 0 {
        return Ok(&mut []);
    }
    check(what, pointer, cap)?;
    // SAFETY: not NULL, within what an object in memory can be; valid for
    // `cap` values by the caller's promise. Nothing is read through it before
    // it is written, so that it may be memory that was never written.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, cap) })
}

#[inline]
fn check<T>(what: &'static str, pointer: *const T, count: usize) -> Result<()> {
    let most = isize::MAX as usize / size_of::<T>();
    if count > most {
        return Err(Error::TooLarge {
            what,
            size: (count as u64).saturating_mul(size_of::<T>() as u64),
            max: isize::MAX as u64,
        });
    }
    if pointer.is_null() {
        return Err(null_with_length(what, count));
    }
    if !pointer.is_aligned() {
        return Err(misaligned(what));
    }
    Ok(())
}

/// A text that ends with NUL: a name, a path, a rate.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
pub(crate) unsafe fn text<'a>(what: &'static str, pointer: *const c_char) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    match unsafe { optional_text(what, pointer)? } {
        Some(text) => Ok(text),
        None => Err(Error::invalid(what, "NULL", "a text that ends with NUL")),
    }
}

/// The same, where NULL says that there is none.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn optional_text<'a>(
    what: &'static str,
    pointer: *const c_char,
) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so it ends with NUL by the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::invalid(
            what,
            format_args!("\"{}\"", text.to_bytes().escape_ascii()),
            "UTF-8",
        )),
    }
}

/// A place to write an answer to.
#[inline]
pub(crate) fn out<T>(what: &'static str, pointer: *mut T) -> Result<NonNull<T>> {
    match NonNull::new(pointer) {
        Some(place) if place.is_aligned() => Ok(place),
        Some(_) => Err(misaligned(what)),
        None => Err(Error::invalid(what, "NULL", "a pointer to write to")),
    }
}

/// A place to write an answer to, which a caller who does not want it leaves NULL.
#[inline]
pub(crate) fn optional_out<T>(what: &'static str, pointer: *mut T) -> Result<Option<NonNull<T>>> {
    match NonNull::new(pointer) {
        Some(place) if !place.is_aligned() => Err(misaligned(what)),
        place => Ok(place),
    }
}

/// Nanoseconds as C has them: what does not fit in 584 years is `FB_NEVER`.
#[inline]
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An option in nanoseconds: zero leaves the default.
pub(crate) fn duration(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds != 0).then(|| Duration::from_nanos(nanoseconds))
}

/// Writes a text that ends with NUL. `*len` becomes its length without NUL, also
/// when there is no room for it.
///
/// # Safety
/// `len` is valid for writing.
pub(crate) unsafe fn write_text(text: &[u8], buf: &mut [u8], len: NonNull<usize>) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { len.write(text.len()) };
    if text.len() >= buf.len() {
        return Err(too_small::<u8>("buf", text.len() + 1, buf.len()));
    }
    buf[..text.len()].copy_from_slice(text);
    buf[text.len()] = 0;
    Ok(())
}

/// An answer of `needed` values of `T` did not fit into room for `cap`.
#[cold]
pub(crate) fn too_small<T>(what: &'static str, needed: usize, cap: usize) -> Error {
    Error::TooLarge {
        what,
        size: (needed * size_of::<T>()) as u64,
        max: (cap * size_of::<T>()) as u64,
    }
}

#[cold]
fn null_with_length(what: &'static str, count: usize) -> Error {
    Error::invalid(
        what,
        format_args!("NULL with a length of {count}"),
        "NULL only with a length of 0",
    )
}

#[cold]
fn misaligned(what: &'static str) -> Error {
    Error::invalid(
        what,
        "a misaligned pointer",
        "a pointer to an object of its type",
    )
}
