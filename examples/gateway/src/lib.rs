//! A gateway in front of a slow origin: the job that forebay is for, and its
//! test end to end.
//!
//! Worker processes in Rust, C++, Python and Node open one region by its name.
//! Each request of an access log passes the limiter (key: the client), the cache
//! (key: the path), the breaker around the origin, and is timed in the
//! histogram; all four are shared. When the log is played, what happened is
//! compared with what must have happened.
//!
//! The way through: a [`log`] comes from [`generate`] or [`parse`]; [`play`]
//! deals it to a [`crew`] of workers, each of which declares the same
//! [`objects`], makes the same [`page`]s and meets the same [`origin`];
//! [`checks`] judges the play, with the [`model`] of a strict LRU cache beside
//! it, and [`report`] prints one page.

pub mod checks;
pub mod counted;
pub mod crew;
pub mod generate;
pub mod log;
pub mod message;
pub mod model;
pub mod objects;
pub mod origin;
pub mod outcome;
pub mod page;
pub mod parse;
pub mod play;
pub mod progress;
pub mod report;
pub mod tier;
