//! The C face of forebay: `libforebay`, declared in `include/forebay.h`.
//!
//! Every function has the same shape: check the arguments, call the core once,
//! write the answer, return a status. `docs/abi.md` tells a C programmer the
//! rules; these files keep them:
//!
//! | file | |
//! |---|---|
//! | `status.rs` | what a call returns; the last error; no panic crosses |
//! | `handle.rs` | opaque handles that know their kind and whether they are open |
//! | `argument.rs` | pointers and lengths become slices, text and places to write |
//! | `sized.rs` | structs that grow by `struct_size` |
//! | `limiter_options.rs` | how a limiter is asked for becomes core's options |
//! | `key.rs`, `region.rs`, `limiter.rs`, `waiting.rs`, `together.rs`, `http.rs`, `window.rs`, `permits.rs`, `cache.rs`, `breaker.rs`, `histogram.rs` | the functions |
//!
//! # Safety
//! Every exported function that takes a pointer asks the same of its caller:
//! a pointer is NULL where that is allowed, or valid for what the function
//! reads or writes through it, for the length of the call; a handle is NULL or
//! came from the matching `_open`, and is not closed while another thread uses
//! it. "The caller's promise" in a SAFETY comment is this paragraph.

// The names are C's.
#![allow(non_camel_case_types)]
// C has neither options by name nor several results.
#![allow(clippy::too_many_arguments)]
// Said once, above.
#![allow(clippy::missing_safety_doc)]

mod argument;
mod breaker;
mod cache;
mod handle;
mod histogram;
mod http;
mod key;
mod limiter;
mod limiter_options;
mod permits;
mod region;
mod sized;
mod status;
mod together;
mod waiting;
mod window;
