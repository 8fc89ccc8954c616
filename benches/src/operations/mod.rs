//! What is compared, primitive by primitive.

mod breaker;
mod cache;
mod clock;
mod histogram;
mod limiter;
mod shared;

use crate::Comparison;
use forebay::Region;

/// Comparisons that belong together; built when it is their turn, so that
/// only one group's memory is in use.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// What a reader must know to judge the figures.
    pub about: &'static str,
    /// Checks both sides and makes them ready.
    pub build: fn() -> Vec<Comparison>,
}

/// All groups, in the order of the report.
pub fn groups() -> [Group; 6] {
    [
        clock::GROUP,
        limiter::GROUP,
        cache::GROUP,
        histogram::GROUP,
        breaker::GROUP,
        shared::GROUP,
    ]
}

/// A private region of that many bytes.
fn private(bytes: u64) -> Region {
    Region::options()
        .bytes(bytes)
        .private()
        .expect("memory for a region")
}
