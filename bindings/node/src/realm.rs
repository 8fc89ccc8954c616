//! What one thread of JavaScript shares between its calls.
//!
//! Objects and buffers are slow to make (half a microsecond and more), so hot
//! verbs answer with one number, boolean or string, and leave the rest where
//! JavaScript can read it: some numbers and 64 KiB of bytes that both sides
//! see. JavaScript reads them before it makes its next call.

use crate::failure::{Answer, Failure};
use crate::handle::Numbered;
use crate::js::{check, Env, Value};
use crate::limiter::VERDICT;
use forebay::limiter::MOST_TOGETHER;
use forebay::Limiter;
use napi_sys as sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

/// Numbers that both sides see: the verdicts of one call.
const NUMBERS: usize = VERDICT * MOST_TOGETHER;

/// Bytes that both sides see; a larger value is handed over in a `Buffer`.
const BYTES: usize = 64 * 1024;

/// A value read or written is kept here; more than this is given back.
const KEEP: usize = 1024 * 1024;

/// One thread of JavaScript: the main one, or a worker's.
pub struct Realm {
    numbers: *const Cell<f64>,
    bytes: *mut u8,
    make_error: Cell<sys::napi_ref>,
    buffer: Cell<Vec<u8>>,
    limiters: Numbered<Limiter>,
}

impl Realm {
    /// Makes the shared arrays and sets them as `numbers` and `bytes`.
    pub fn new<'e>(env: Env<'e>, exports: Value<'e>) -> Result<Rc<Realm>, Failure> {
        let (numbers, view) = shared(env, NUMBERS, sys::TypedarrayType::float64_array, 8)?;
        env.set(exports, "numbers", view)?;
        let (bytes, view) = shared(env, BYTES, sys::TypedarrayType::uint8_array, 1)?;
        env.set(exports, "bytes", view)?;
        Ok(Rc::new(Realm {
            numbers: numbers.cast(),
            bytes: bytes.cast(),
            make_error: Cell::new(ptr::null_mut()),
            buffer: Cell::new(Vec::new()),
            limiters: Numbered::default(),
        }))
    }

    /// The numbers that JavaScript reads after this call.
    pub fn numbers(&self) -> &[Cell<f64>; NUMBERS] {
        // SAFETY: V8 allocated NUMBERS aligned doubles, `shared` holds them for
        // as long as the environment lives, and the package never detaches
        // them. JavaScript touches them only while no native call runs.
        unsafe { &*self.numbers.cast() }
    }

    /// This thread's limiters.
    pub fn limiters(&self) -> &Numbered<Limiter> {
        &self.limiters
    }

    /// Hands bytes over: their number, when they are in the shared bytes now,
    /// else a `Buffer` of their own.
    pub fn hand_over<'e>(&self, env: Env<'e>, bytes: &[u8]) -> Answer<'e> {
        if bytes.len() > BYTES {
            return env.buffer(bytes);
        }
        // SAFETY: at most BYTES bytes fit; the memory is V8's, held as above,
        // and `bytes` is Rust's: they do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes, bytes.len()) };
        env.number(bytes.len() as f64)
    }

    /// Lends the buffer for values, which keeps its memory between calls.
    pub fn with_buffer<R>(&self, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut buffer = self.buffer.take();
        let result = use_it(&mut buffer);
        if buffer.capacity() <= KEEP {
            self.buffer.set(buffer);
        }
        result
    }

    /// Takes the package's function that makes errors.
    pub fn link<'e>(&self, env: Env<'e>, make_error: Value<'e>) -> Result<(), Failure> {
        let mut reference = ptr::null_mut();
        // SAFETY: the value is of this environment. The reference is never
        // deleted: it goes with the environment.
        check(unsafe {
            sys::napi_create_reference(env.raw(), make_error.raw(), 1, &mut reference)
        })?;
        self.make_error.set(reference);
        Ok(())
    }

    /// Calls it; `None` before `link`.
    pub fn make_error<'e>(
        &self,
        env: Env<'e>,
        arguments: [Value<'e>; 3],
    ) -> Result<Option<Value<'e>>, Failure> {
        if self.make_error.get().is_null() {
            return Ok(None);
        }
        let arguments = arguments.map(Value::raw);
        let this = env.undefined()?;
        let (mut function, mut error) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the reference was made in this environment (a realm belongs
        // to one) and holds a function; the arguments are of this call.
        unsafe {
            check(sys::napi_get_reference_value(
                env.raw(),
                self.make_error.get(),
                &mut function,
            ))?;
            check(sys::napi_call_function(
                env.raw(),
                this.raw(),
                function,
                arguments.len(),
                arguments.as_ptr(),
                &mut error,
            ))?;
            Ok(Some(env.adopt(error)))
        }
    }
}

/// A zeroed array in V8's memory, held until the environment ends: its memory
/// and a view of `count` elements of `width` bytes.
fn shared<'e>(
    env: Env<'e>,
    count: usize,
    kind: sys::napi_typedarray_type,
    width: usize,
) -> Result<(*mut c_void, Value<'e>), Failure> {
    let (mut data, mut array, mut view) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let mut reference = ptr::null_mut();
    // SAFETY: the environment is live and every result is writable. The strong
    // reference, never deleted, keeps `data` valid until the environment ends.
    unsafe {
        check(sys::napi_create_arraybuffer(
            env.raw(),
            count * width,
            &mut data,
            &mut array,
        ))?;
        check(sys::napi_create_typedarray(
            env.raw(),
            kind,
            count,
            array,
            0,
            &mut view,
        ))?;
        check(sys::napi_create_reference(
            env.raw(),
            array,
            1,
            &mut reference,
        ))?;
        Ok((data, env.adopt(view)))
    }
}
