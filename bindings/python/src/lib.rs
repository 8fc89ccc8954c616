//! `forebay._core`: the engine as Python sees it. The package `forebay` beside
//! it holds what is better said in Python: exceptions, plain values, the awaiting
//! of coroutines and the decorators around them.
//!
//! Rules that hold in every file here:
//! - The engine copies out before anything of Python's is made, and copies in
//!   after everything of Python's has been read. So no Python code (equality,
//!   destructors, callbacks, the collector) runs inside the engine.
//! - Classes are frozen; what may change in them is atomic or behind a mutex
//!   that is held for a clone only. Nothing is ever "already borrowed".
//! - An engine's panic arrives as `forebay.Panic`, an ordinary exception.

mod address;
mod arguments;
mod breaker;
mod cache;
mod codec;
mod engine;
mod guarded;
mod headers;
mod histogram;
mod key;
mod lease;
mod limiter;
mod opening;
mod options;
mod permit;
mod permits;
mod rate;
mod region;
mod reservation;
mod snapshot;
mod together;
mod values;
mod verdict;
mod window;

use pyo3::prelude::*;

/// The native half of the package `forebay`: import that one.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::{
        address::client_address,
        breaker::Breaker,
        cache::Cache,
        guarded::Guarded,
        headers::headers,
        histogram::{Histogram, Timer},
        lease::Lease,
        limiter::Limiter,
        opening::{open, private},
        permit::Permit,
        permits::Permits,
        rate::Rate,
        region::Region,
        reservation::Reservation,
        snapshot::Snapshot,
        together::take_all,
        verdict::{_verdict, Verdict},
        window::{Count, Hit, WindowCounter},
    };
}
