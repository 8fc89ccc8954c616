//! Structs that grow: the first field, `struct_size`, says how much of the
//! struct the caller's header knows.
//!
//! Options from an older caller are shorter: what is missing is zero, which is
//! the default in every field. Options from a newer caller are longer: the
//! unknown rest must be zero, else something would be ignored that was asked
//! for. Answers to an older caller are cut at what it knows; the rest of a
//! newer caller's struct becomes zero.

use forebay::{Error, Result};
use std::mem::MaybeUninit;

/// More than any version of any struct will have: beyond it, `struct_size` was
/// never set.
const MOST: usize = 4096;

/// A struct of the header that begins with `struct_size`.
///
/// # Safety
/// `#[repr(C)]`, a `u32` first, no padding on 64-bit machines, and any bytes
/// are a value.
pub(crate) unsafe trait Grows: Copy {}

/// Reads a caller's options.
///
/// # Safety
/// `given` is NULL or valid for as many bytes as its first four say.
pub(crate) unsafe fn read<T: Grows>(what: &'static str, given: *const T) -> Result<T> {
    let given = crate::argument::out(what, given.cast_mut())?.as_ptr();
    // SAFETY: not NULL and aligned, and valid by the caller's promise.
    let size = unsafe { size_of_struct(given)? };
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's promise: valid for `size` bytes.
    let rest = unsafe { std::slice::from_raw_parts(given.cast::<u8>().add(known), size - known) };
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Error::invalid(
            what,
            format_args!("{size} bytes, with an option set that this library does not know"),
            format_args!("{} bytes, and zero after them", size_of::<T>()),
        ));
    }
    let mut options = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are within both; the local is not the caller's.
    // Any bytes are a T.
    unsafe {
        options
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(given.cast(), known);
        Ok(options.assume_init())
    }
}

/// Checks a place for an answer before the answer is made.
///
/// # Safety
/// `place` is NULL or valid for as many bytes as its first four say.
pub(crate) unsafe fn place<T: Grows>(what: &'static str, place: *mut T) -> Result<Place<T>> {
    let place = crate::argument::out(what, place)?.as_ptr();
    // SAFETY: not NULL and aligned, and valid by the caller's promise.
    let size = unsafe { size_of_struct(place)? };
    Ok(Place { place, size })
}

/// A caller's struct that an answer goes to.
pub(crate) struct Place<T> {
    place: *mut T,
    size: usize,
}

impl<T: Grows> Place<T> {
    /// Writes the answer, all but `struct_size`, which stays the caller's.
    ///
    /// # Safety
    /// The place is still valid, and nobody else uses it.
    pub(crate) unsafe fn write(self, answer: T) {
        const HEAD: usize = size_of::<u32>();
        let known = self.size.min(size_of::<T>());
        let from = (&raw const answer).cast::<u8>();
        let to = self.place.cast::<u8>();
        // SAFETY: `known` is within both, `size` within the place by the
        // caller's promise; neither is below HEAD, which `size_of_struct` checked.
        unsafe {
            to.add(HEAD)
                .copy_from_nonoverlapping(from.add(HEAD), known - HEAD);
            to.add(known).write_bytes(0, self.size - known);
        }
    }
}

unsafe fn size_of_struct<T>(given: *const T) -> Result<usize> {
    // SAFETY: valid for at least its first field, by the caller's promise.
    let size = unsafe { given.cast::<u32>().read() } as usize;
    // A struct's size is a multiple of its alignment in every version; any other
    // would cut a field, or a pointer, in half.
    let is_whole = size == size_of::<u32>() || size.is_multiple_of(align_of::<T>());
    if (size_of::<u32>()..=MOST).contains(&size) && is_whole {
        Ok(size)
    } else {
        Err(Error::invalid(
            "struct_size",
            size,
            "the struct's size, as its _init function sets it",
        ))
    }
}
