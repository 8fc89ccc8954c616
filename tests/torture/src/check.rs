//! The checks of what all workers saw, each a pure function of what was logged.

pub mod cache;
pub mod conserved;
pub mod limiter;
pub mod permits;
pub mod window;

/// Something that must not be, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
