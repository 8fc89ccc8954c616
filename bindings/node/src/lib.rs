//! The native half of the npm package `forebay`.
//!
//! JavaScript sees functions only: one for each verb of each object, carrying
//! a pointer to the object and dropping it when the function is collected. The
//! classes that users see are in `lib/*.js`; they hold these functions in
//! private fields and give their answers a shape. From the call inwards:
//!
//! | file | idea |
//! |---|---|
//! | `function.rs` | a Rust function as a JavaScript function; where panics stop |
//! | `js.rs` | JavaScript values: making and reading them |
//! | `failure.rs` | errors on their way to `throw` |
//! | `realm.rs` | what one JavaScript thread shares between its calls |
//! | `text.rs`, `bytes.rs`, `key.rs` | strings and arrays as bytes, without a copy where that is sound |
//! | `number.rs`, `duration.rs`, `options.rs` | arguments checked and named |
//! | `handle.rs` | objects that `close()` can empty |
//! | `region.rs`, `limiter.rs`, `window.rs`, `permits.rs`, `cache.rs`, `breaker.rs`, `histogram.rs` | the verbs |
//! | `waiting.rs`, `headers.rs`, `address.rs` | what belongs to limiters: reservations, verdicts as headers, clients' addresses |
//!
//! Nothing here is static: each worker thread loads its own copy of the
//! functions, and the core maps a region once for the process.

mod address;
mod breaker;
mod bytes;
mod cache;
mod duration;
mod failure;
mod function;
mod handle;
mod headers;
mod histogram;
mod js;
mod key;
mod limiter;
mod number;
mod options;
mod permits;
mod realm;
mod region;
mod text;
mod waiting;
mod window;

use napi_sys as sys;

/// The Node-API version that the addon needs: 8, which Node 12.22 had.
#[no_mangle]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}

/// Called by Node once for each thread of JavaScript that loads the addon.
///
/// # Safety
/// Node calls it, with a live environment and the module's `exports`.
#[no_mangle]
pub unsafe extern "C" fn napi_register_module_v1(
    env: sys::napi_env,
    exports: sys::napi_value,
) -> sys::napi_value {
    // MSVC cannot leave symbols to the process; they are looked up, once, and
    // the library that they came from is the process itself: never closed.
    #[cfg(target_env = "msvc")]
    // SAFETY: called before any other function of `napi_sys`.
    std::mem::forget(unsafe { sys::setup() });

    // SAFETY: the environment and `exports` are Node's, alive for this call.
    unsafe { function::enter(env, |env| region::exports(env, env.adopt(exports))) };
    exports
}
