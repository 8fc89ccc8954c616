//! A Rust function as a JavaScript function.
//!
//! Each JavaScript function owns a box with the object that it acts on, a
//! shared handle; Node-API passes the box to [`call`] as the function's data
//! and to [`drop_bound`] when the function is collected or its thread ends.
//! Panics stop here: they become errors.

use crate::failure::{Answer, Failure};
use crate::js::{check, Env, Value};
use crate::realm::Realm;
use forebay::Error;
use napi_sys as sys;
use std::any::Any;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::Rc;

/// The most arguments that a verb takes.
const ARGUMENTS: usize = 4;

/// One call from JavaScript.
pub struct Call<'e> {
    /// The environment of the call.
    pub env: Env<'e>,
    /// What the calls of this thread share.
    pub realm: &'e Rc<Realm>,
    /// How many arguments were given.
    pub given: usize,
    /// The arguments; those not given are `undefined`.
    pub arguments: [Value<'e>; ARGUMENTS],
}

/// A verb: what to do when the function is called.
pub type Verb<T> = for<'e> fn(&T, &Call<'e>) -> Answer<'e>;

/// What a JavaScript function owns.
struct Bound<T> {
    realm: Rc<Realm>,
    handle: Rc<T>,
    verb: Verb<T>,
}

/// An object whose properties are `verbs`, all acting on `handle`.
pub fn functions<'e, T: 'static>(
    env: Env<'e>,
    realm: &Rc<Realm>,
    handle: &Rc<T>,
    verbs: &[(&'static str, Verb<T>)],
) -> Answer<'e> {
    let object = env.object()?;
    for (name, verb) in verbs {
        let function = function(env, realm, handle, name, *verb)?;
        env.set(object, name, function)?;
    }
    Ok(object)
}

/// A JavaScript function that calls `verb` on `handle`.
fn function<'e, T: 'static>(
    env: Env<'e>,
    realm: &Rc<Realm>,
    handle: &Rc<T>,
    name: &str,
    verb: Verb<T>,
) -> Answer<'e> {
    let bound = Box::into_raw(Box::new(Bound {
        realm: Rc::clone(realm),
        handle: Rc::clone(handle),
        verb,
    }));
    let mut function = ptr::null_mut();
    // SAFETY: the environment is live, `name` has the given length, and `bound`
    // is what `call::<T>` expects as its data.
    let made = check(unsafe {
        sys::napi_create_function(
            env.raw(),
            name.as_ptr().cast(),
            name.len() as isize,
            Some(call::<T>),
            bound.cast(),
            &mut function,
        )
    })
    .and_then(|()| {
        // SAFETY: `function` was just made; the finaliser gets the same box.
        check(unsafe {
            sys::napi_add_finalizer(
                env.raw(),
                function,
                bound.cast(),
                Some(drop_bound::<T>),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })
    });
    if let Err(failure) = made {
        // SAFETY: without a finaliser the box is still ours, and the function,
        // if there is one, has been given to nobody.
        drop(unsafe { Box::from_raw(bound) });
        return Err(failure);
    }
    // SAFETY: made in the scope of this call.
    Ok(unsafe { env.adopt(function) })
}

/// Every call from JavaScript comes in here.
unsafe extern "C" fn call<T>(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut arguments = [ptr::null_mut(); ARGUMENTS];
    let mut given = ARGUMENTS;
    let mut data: *mut c_void = ptr::null_mut();
    // SAFETY: Node passes a live environment and this call's info; the array
    // has room for `given` values, and Node fills what was not given with
    // `undefined`.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &mut given,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
            &mut data,
        )
    };
    if status != sys::Status::napi_ok {
        return ptr::null_mut();
    }
    // SAFETY: `data` is the box that `function::<T>` gave to this function,
    // which is alive (it is being called), so its finaliser has not run.
    let bound = unsafe { &*data.cast::<Bound<T>>() };
    // SAFETY: the environment is live, and we are on its thread.
    let env = unsafe { Env::new(env) };
    let call = Call {
        env,
        realm: &bound.realm,
        given,
        // SAFETY: the values are this call's.
        arguments: arguments.map(|raw| unsafe { env.adopt(raw) }),
    };
    guard(env, Some(&bound.realm), || {
        (bound.verb)(&bound.handle, &call)
    })
    .map_or(ptr::null_mut(), Value::raw)
}

/// Runs what Node calls while it loads the addon.
///
/// # Safety
/// `env` must be live, and this its thread.
pub unsafe fn enter(env: sys::napi_env, body: impl for<'e> FnOnce(Env<'e>) -> Result<(), Failure>) {
    // SAFETY: the caller's promise.
    let env = unsafe { Env::new(env) };
    guard(env, None, || body(env));
}

/// Runs `body`; a failure or a panic is thrown to JavaScript.
fn guard<R>(
    env: Env<'_>,
    realm: Option<&Realm>,
    body: impl FnOnce() -> Result<R, Failure>,
) -> Option<R> {
    // A panic may leave a handle's options half read, never its state in the
    // region: the core catches its own.
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => return Some(result),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::Core(Error::Panic {
            message: message(&*panic),
        }),
    };
    // Making the message may fail as well (memory): then the call has no
    // answer and no error, which beats ending the process.
    let _ = catch_unwind(AssertUnwindSafe(|| failure.throw(env, realm)));
    None
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "panicked".to_owned(),
    }
}

/// Node calls this on the function's own thread once nobody can call it again.
unsafe extern "C" fn drop_bound<T>(_: sys::napi_env, bound: *mut c_void, _: *mut c_void) {
    // SAFETY: the box that `function::<T>` made, which no call can reach now.
    let bound = unsafe { Box::from_raw(bound.cast::<Bound<T>>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(bound)));
}
