//! What a client has paid for: the four tiers of an asset platform.

use forebay::Rate;
use std::time::Duration;

/// A tier: its name, and how many requests it admits in a minute and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// As the limiter knows it.
    pub name: &'static str,
    /// Requests in a minute; also the burst.
    pub per_minute: u64,
}

/// All tiers. A client without one is `Basic`.
pub const TIERS: [Tier; 4] = [BASIC, BUSINESS, ENTERPRISE, MUSEUM];

/// Five requests a minute.
pub const BASIC: Tier = Tier {
    name: "Basic",
    per_minute: 5,
};
/// Thirty requests a minute.
pub const BUSINESS: Tier = Tier {
    name: "Business",
    per_minute: 30,
};
/// Three hundred requests a minute.
pub const ENTERPRISE: Tier = Tier {
    name: "Enterprise",
    per_minute: 300,
};
/// Fifty requests a minute.
pub const MUSEUM: Tier = Tier {
    name: "Museum",
    per_minute: 50,
};

impl Tier {
    /// The limiter's rate, where a minute of the log lasts `minute`.
    pub fn rate(&self, minute: Duration) -> Rate {
        Rate::new(self.per_minute, minute)
    }

    /// The most that any stretch of `elapsed` nanoseconds may admit: a full
    /// bucket, and what drips into it meanwhile.
    pub fn bound(&self, minute: Duration, elapsed: u64) -> f64 {
        let burst = self.per_minute as f64;
        burst + burst * elapsed as f64 / minute.as_nanos() as f64
    }
}
