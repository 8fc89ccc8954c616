//! Opaque handles that know their kind and whether they are open.
//!
//! A handle points at a cell: one word that says which kind it is and whether it
//! is open, then the core's handle. The word is checked at every call, so NULL,
//! a handle of another kind and a closed handle are answered, not followed.
//! For that, a closed cell's memory must stay readable: cells are never given
//! back to the allocator, only reused for later handles of their kind, oldest
//! first and not before [`KEPT`] younger ones are waiting.

use forebay::{Error, Result};
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

/// How many closed cells of a kind wait before the oldest is used again.
const KEPT: usize = 256;

/// The kinds, by the number in their cells' words.
const KINDS: [&str; 7] = [
    "region",
    "limiter",
    "cache",
    "breaker",
    "histogram",
    "window",
    "permits",
];

/// `forebay` in ASCII; the low byte is the kind, with [`CLOSED`] once closed.
const OPEN: u64 = 0x666f_7265_6261_7900;
const CLOSED: u64 = 0x80;

/// What a cell may hold: the core's handles.
pub(crate) trait Held: Sized + Send + Sync + 'static {
    /// The type that the header declares and never defines.
    type Opaque;
    /// Index in [`KINDS`].
    const KIND: u64;
    /// Where closed cells of this kind wait.
    fn closed() -> &'static Mutex<VecDeque<Waiting<Self>>>;
}

#[repr(C)]
pub(crate) struct Cell<T> {
    word: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A closed cell: its word says so, and its value was dropped.
pub(crate) struct Waiting<T>(NonNull<Cell<T>>);

// SAFETY: a waiting cell is owned by the queue that it waits in, and holds no value.
unsafe impl<T> Send for Waiting<T> {}

/// Puts `value` into a cell and hands out the pointer to it.
pub(crate) fn open<T: Held>(value: T) -> *mut T::Opaque {
    let cell = match reusable::<T>() {
        Some(cell) => cell,
        None => NonNull::from(Box::leak(Box::new(Cell {
            word: AtomicU64::new(OPEN | CLOSED | T::KIND),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }))),
    };
    // SAFETY: the cell is new or came out of the queue: nobody else has it
    // open, and cells are never freed.
    unsafe {
        (*cell.as_ref().value.get()).write(value);
        cell.as_ref().word.store(OPEN | T::KIND, Ordering::Release);
    }
    cell.as_ptr().cast()
}

// `try_lock`, here and in `close`: a child of `fork` may inherit the lock held
// by a thread that it does not have. Then a cell is made anew, or left alone.
fn reusable<T: Held>() -> Option<NonNull<Cell<T>>> {
    let mut waiting = T::closed().try_lock().ok()?;
    if waiting.len() <= KEPT {
        return None;
    }
    waiting.pop_front().map(|cell| cell.0)
}

/// The value behind an open handle of the right kind.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
#[inline]
pub(crate) unsafe fn borrow<'a, T: Held>(handle: *const T::Opaque) -> Result<&'a T> {
    let cell = handle.cast::<Cell<T>>();
    if cell.is_null() || !cell.is_aligned() {
        return Err(refused::<T>(handle, 0));
    }
    // SAFETY: not NULL, so by the caller's promise it came from an `_open`:
    // every cell begins with its word, and none is ever freed.
    let word = unsafe { (*cell.cast::<AtomicU64>()).load(Ordering::Relaxed) };
    if word != OPEN | T::KIND {
        return Err(refused::<T>(handle, word));
    }
    // SAFETY: the word says that this is an open cell of T, so its value is
    // initialised; it stays so for the call, since nobody closes it meanwhile.
    Ok(unsafe { (*(*cell).value.get()).assume_init_ref() })
}

/// Closes a handle: drops its value. NULL is nothing to close.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
pub(crate) unsafe fn close<T: Held>(handle: *mut T::Opaque) -> Result<()> {
    let cell = handle.cast::<Cell<T>>();
    if cell.is_null() {
        return Ok(());
    }
    if !cell.is_aligned() {
        return Err(refused::<T>(handle, 0));
    }
    // SAFETY: as in `borrow`.
    let word = unsafe { &*cell.cast::<AtomicU64>() };
    // An exchange, so that of two threads that close it at once one is told.
    if let Err(found) = word.compare_exchange(
        OPEN | T::KIND,
        OPEN | CLOSED | T::KIND,
        Ordering::AcqRel,
        Ordering::Relaxed,
    ) {
        return Err(refused::<T>(handle, found));
    }
    // SAFETY: the exchange made this call the only one that has the value,
    // which was initialised because the word said open.
    unsafe { (*(*cell).value.get()).assume_init_drop() };
    if let (Ok(mut waiting), Some(cell)) = (T::closed().try_lock(), NonNull::new(cell)) {
        waiting.push_back(Waiting(cell));
    }
    Ok(())
}

/// Why `handle`, whose word is `word`, is not an open handle of `T`.
#[cold]
fn refused<T: Held>(handle: *const T::Opaque, word: u64) -> Error {
    let what = KINDS[T::KIND as usize];
    if word == OPEN | CLOSED | T::KIND {
        return Error::Closed { what };
    }
    let other = KINDS.get((word & 0xff & !CLOSED) as usize);
    let given = match other {
        _ if handle.is_null() => "NULL".to_owned(),
        Some(other) if word & !0xff == OPEN => format!("a {other} handle"),
        _ => "a pointer that is no handle".to_owned(),
    };
    Error::invalid(what, given, format_args!("an open {what} handle"))
}

/// Says what the handles of an opaque type hold. (The type itself is written
/// out where this is used, since cbindgen does not look into macros.)
macro_rules! held {
    ($opaque:ty, $kind:literal, $held:ty) => {
        impl $crate::handle::Held for $held {
            type Opaque = $opaque;
            const KIND: u64 = $kind;
            fn closed() -> &'static std::sync::Mutex<
                std::collections::VecDeque<$crate::handle::Waiting<Self>>,
            > {
                static CLOSED: std::sync::Mutex<
                    std::collections::VecDeque<$crate::handle::Waiting<$held>>,
                > = std::sync::Mutex::new(std::collections::VecDeque::new());
                &CLOSED
            }
        }
    };
}
pub(crate) use held;
