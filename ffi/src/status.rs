//! What a call returns: zero done, above zero an expected answer, below zero an
//! error, whose sentence the thread keeps until its next error.

use forebay::{Code, Error};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// What a call returns: one of `enum fb_code`, as a number whose width the
/// language fixes. 0 is done, above 0 an expected answer, below 0 an error.
pub type fb_status = i32;

/// The values of `fb_status`. New ones may be added: treat an unknown number
/// above zero as "no" and one below zero as an error.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum fb_code {
    /// Done, or yes.
    FB_OK = 0,
    /// There is none: no such entry, no such bucket, no path.
    FB_MISS = 1,
    /// The limiter refuses the request; the hit is not counted; there is no
    /// permit.
    FB_DENIED = 2,
    /// The breaker is open: do not call.
    FB_REJECTED = 3,
    /// The cache did not keep the value (too large, or its shard was busy); an
    /// older value of that key is no longer there either.
    FB_NOT_STORED = 4,
    /// Too late to count: the breaker has moved on, the reservation is due, or the
    /// lease has ended.
    FB_LATE = 5,
    /// Nothing was recorded yet.
    FB_EMPTY = 6,
    /// An argument is outside what is allowed; nothing was changed.
    FB_E_INVALID_ARGUMENT = -1,
    /// The object exists with another geometry than the one asked for.
    FB_E_GEOMETRY = -2,
    /// An object of that name exists and is of another kind.
    FB_E_WRONG_KIND = -3,
    /// The region has no room for the object.
    FB_E_REGION_FULL = -4,
    /// The file system or the container cannot hold the region.
    FB_E_OUT_OF_SPACE = -5,
    /// The file, its directory or its owner is not one to trust.
    FB_E_PERMISSION = -6,
    /// The file was made by another layout version or byte order.
    FB_E_LAYOUT = -7,
    /// The file is not a region, or is damaged.
    FB_E_CORRUPT = -8,
    /// The file was made before the machine last booted.
    FB_E_OTHER_BOOT = -9,
    /// The file's clock cannot be read here: another time namespace.
    FB_E_CLOCK_NAMESPACE = -10,
    /// A key, a value or a buffer has the wrong size.
    FB_E_TOO_LARGE = -11,
    /// Somebody else holds what the call needs, for longer than it may wait.
    FB_E_BUSY = -12,
    /// The handle was closed.
    FB_E_CLOSED = -13,
    /// There is nothing of that name.
    FB_E_NOT_FOUND = -14,
    /// All seats of the region are taken by live processes.
    FB_E_NO_SEAT = -15,
    /// The operating system refused.
    FB_E_IO = -16,
    /// This platform cannot do it.
    FB_E_UNSUPPORTED = -17,
    /// A bug in forebay: it caught one of its own panics.
    FB_E_PANIC = -99,
}

// The header's numbers are the core's.
const _: () = {
    assert!(fb_code::FB_E_INVALID_ARGUMENT as i32 == Code::InvalidArgument as i32);
    assert!(fb_code::FB_E_GEOMETRY as i32 == Code::Geometry as i32);
    assert!(fb_code::FB_E_WRONG_KIND as i32 == Code::WrongKind as i32);
    assert!(fb_code::FB_E_REGION_FULL as i32 == Code::RegionFull as i32);
    assert!(fb_code::FB_E_OUT_OF_SPACE as i32 == Code::OutOfSpace as i32);
    assert!(fb_code::FB_E_PERMISSION as i32 == Code::Permission as i32);
    assert!(fb_code::FB_E_LAYOUT as i32 == Code::Layout as i32);
    assert!(fb_code::FB_E_CORRUPT as i32 == Code::Corrupt as i32);
    assert!(fb_code::FB_E_OTHER_BOOT as i32 == Code::OtherBoot as i32);
    assert!(fb_code::FB_E_CLOCK_NAMESPACE as i32 == Code::ClockNamespace as i32);
    assert!(fb_code::FB_E_TOO_LARGE as i32 == Code::TooLarge as i32);
    assert!(fb_code::FB_E_BUSY as i32 == Code::Busy as i32);
    assert!(fb_code::FB_E_CLOSED as i32 == Code::Closed as i32);
    assert!(fb_code::FB_E_NOT_FOUND as i32 == Code::NotFound as i32);
    assert!(fb_code::FB_E_NO_SEAT as i32 == Code::NoSeat as i32);
    assert!(fb_code::FB_E_IO as i32 == Code::Io as i32);
    assert!(fb_code::FB_E_UNSUPPORTED as i32 == Code::Unsupported as i32);
    assert!(fb_code::FB_E_PANIC as i32 == Code::Panic as i32);
};

/// The version of this interface, and the number in `libforebay.so.0`.
/// Functions and fields are added without changing it; nothing is removed.
pub const FB_ABI_VERSION: u32 = 0;

/// The version of the layout of a region's file. Processes that share a region
/// have the same.
pub const FB_LAYOUT_VERSION: u32 = 1;

const _: () = assert!(FB_LAYOUT_VERSION as u64 == forebay::LAYOUT_VERSION as u64);

/// A time that never comes: a TTL without end, a wait without one.
pub const FB_NEVER: u64 = u64::MAX;

thread_local! {
    // The error, not its sentence: keeping it allocates nothing, so that a hot
    // call that fails is still free of allocations.
    static LAST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Runs a function's body and turns what it says, also a panic, into a status.
#[inline]
pub(crate) fn answer(body: impl FnOnce() -> forebay::Result<fb_code>) -> fb_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(code)) => code as fb_status,
        Ok(Err(error)) => failed(error),
        Err(panic) => failed(Error::Panic {
            message: words_of(&*panic),
        }),
    }
}

#[cold]
fn failed(error: Error) -> fb_status {
    let code = error.code() as fb_status;
    // A thread that is ending may have lost its place for errors already: the
    // code still tells.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some(error));
    code
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without words".to_owned()
    }
}

/// Writes a sentence into the caller's buffer: as many whole UTF-8 characters
/// as fit, then NUL. Returns the length of the whole sentence.
pub(crate) unsafe fn print(sentence: &str, buf: *mut c_char, cap: usize) -> usize {
    if !buf.is_null() && cap > 0 {
        let mut fits = sentence.len().min(cap - 1);
        while !sentence.is_char_boundary(fits) {
            fits -= 1;
        }
        // SAFETY: the caller's promise: `buf` is valid for `cap` bytes, and
        // `fits` is below `cap`. The sentence is ours, so they do not overlap.
        unsafe {
            buf.cast::<u8>()
                .copy_from_nonoverlapping(sentence.as_ptr(), fits);
            buf.add(fits).write(0);
        }
    }
    sentence.len()
}

/// Copies the sentence of this thread's last error into `buf`, cut to fit and
/// always terminated by NUL. A call that succeeds leaves it as it is, so ask
/// only after a status below zero.
///
/// Ownership: `buf` (`cap` bytes) is the caller's; NULL with 0 asks for the length.
/// Threads: any; each thread has its own last error.
/// Cost: allocates; for the cold path.
/// Returns: the sentence's length without NUL (0: there was no error), which
/// may be `cap` or more: then the text in `buf` is cut.
#[no_mangle]
pub unsafe extern "C" fn fb_last_error(buf: *mut c_char, cap: usize) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        let sentence = LAST
            .try_with(|last| last.borrow().as_ref().map(Error::to_string))
            .ok()
            .flatten()
            .unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { print(&sentence, buf, cap) }
    }))
    .unwrap_or(0)
}

/// The name of a status, such as `FB_E_CORRUPT`; the same in every language.
///
/// Ownership: the text is static.
/// Threads: any.
/// Cost: none.
/// Returns: the name, or `FB_UNKNOWN` for a number this library does not know.
#[no_mangle]
pub extern "C" fn fb_status_name(status: fb_status) -> *const c_char {
    let name: &CStr = match status {
        0 => c"FB_OK",
        1 => c"FB_MISS",
        2 => c"FB_DENIED",
        3 => c"FB_REJECTED",
        4 => c"FB_NOT_STORED",
        5 => c"FB_LATE",
        6 => c"FB_EMPTY",
        -1 => c"FB_E_INVALID_ARGUMENT",
        -2 => c"FB_E_GEOMETRY",
        -3 => c"FB_E_WRONG_KIND",
        -4 => c"FB_E_REGION_FULL",
        -5 => c"FB_E_OUT_OF_SPACE",
        -6 => c"FB_E_PERMISSION",
        -7 => c"FB_E_LAYOUT",
        -8 => c"FB_E_CORRUPT",
        -9 => c"FB_E_OTHER_BOOT",
        -10 => c"FB_E_CLOCK_NAMESPACE",
        -11 => c"FB_E_TOO_LARGE",
        -12 => c"FB_E_BUSY",
        -13 => c"FB_E_CLOSED",
        -14 => c"FB_E_NOT_FOUND",
        -15 => c"FB_E_NO_SEAT",
        -16 => c"FB_E_IO",
        -17 => c"FB_E_UNSUPPORTED",
        -99 => c"FB_E_PANIC",
        _ => c"FB_UNKNOWN",
    };
    name.as_ptr()
}

/// The version of the library that is running, such as `0.1.0`; `FB_VERSION`
/// is that of the header.
///
/// Ownership: the text is static.
/// Threads: any.
/// Cost: none.
/// Returns: the version.
#[no_mangle]
pub extern "C" fn fb_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The ABI of the library that is running; `FB_ABI_VERSION` is that of the header.
///
/// Threads: any.
/// Cost: none.
/// Returns: the version.
#[no_mangle]
pub extern "C" fn fb_abi_version() -> u32 {
    FB_ABI_VERSION
}

/// The layout of region files that the running library reads and writes;
/// `FB_LAYOUT_VERSION` is that of the header.
///
/// Threads: any.
/// Cost: none.
/// Returns: the version.
#[no_mangle]
pub extern "C" fn fb_layout_version() -> u32 {
    FB_LAYOUT_VERSION
}
