//! How a limiter works: its rates, its algorithm, its memory.

use super::rate::{Rate, Rates};
use super::tiers;
use crate::{Error, Result};
use std::str::FromStr;

const MOST_KEYS: u64 = 1 << 28;

/// An option that is one of a few, by name.
macro_rules! choices {
    ($(#[$about:meta])* $choice:ident ($option:literal) { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $choice {
            $($(#[$doc])* $variant,)*
        }

        impl $choice {
            /// All of them.
            pub const ALL: &[$choice] = &[$($choice::$variant,)*];

            /// Its name, as it is written in options.
            pub fn name(self) -> &'static str {
                match self {
                    $($choice::$variant => $name,)*
                }
            }
        }

        impl FromStr for $choice {
            type Err = Error;

            fn from_str(name: &str) -> Result<$choice> {
                let known = $choice::ALL.iter();
                known.clone().find(|known| known.name() == name).copied().ok_or_else(|| {
                    let names: Vec<_> = known.map(|known| known.name()).collect();
                    Error::invalid($option, format_args!("{name:?}"), names.join(", "))
                })
            }
        }
    };
}

choices! {
    /// What a limiter counts.
    Algorithm("algorithm") {
        /// A token bucket (GCRA): tokens come back one by one, at the rate. For
        /// most limits; up to burst + rate·Δ in any interval Δ.
        Bucket = "bucket",
        /// A window that begins with a key's first token: at most the count in
        /// each, all back at its end. Up to twice the count in an interval of the
        /// window's length that two of them share.
        Fixed = "fixed",
        /// At most the count in *any* interval of the window's length. A token
        /// comes back when the window has passed, or up to one slice of it
        /// later: docs/limiter.md tells the slices of a window.
        Sliding = "sliding",
    }
}

choices! {
    /// What happens when a newcomer finds no free slot among those of its key.
    OnFull("on_full") {
        /// It takes the one that is free soonest, and starts anew: a flood of
        /// fresh keys costs nobody anything, and gives a key whose slot was
        /// taken its whole burst once more. Counted as `evicted_live`.
        Lenient = "lenient",
        /// It takes that one with what is owed there, or is refused: a flood of
        /// fresh keys never gives anybody a token. For logins.
        Strict = "strict",
    }
}

choices! {
    /// What a limiter answers when it cannot tell: others kept changing the
    /// key's slots, a thousand times in a row.
    OnError("on_error") {
        /// The request is refused.
        Deny = "deny",
        /// The request passes, uncharged.
        Allow = "allow",
    }
}

/// How a limiter works: its rates, its tiers, its memory.
///
/// ```
/// use forebay::{LimiterOptions, Rate};
/// let options = LimiterOptions::new(Rate::per_minute(5))
///     .tier("business", Rate::per_minute(30))
///     .tier("internal", Rate::UNLIMITED)
///     .max_keys(10_000);
/// # let _ = options;
/// ```
///
/// Ten in any fifteen minutes, whatever a flood of other keys does:
///
/// ```
/// use forebay::{Algorithm, LimiterOptions, OnFull, Rate};
/// use std::time::Duration;
/// let logins = LimiterOptions::new(Rate::new(10, Duration::from_secs(900)))
///     .algorithm(Algorithm::Sliding)
///     .on_full(OnFull::Strict);
/// # let _ = logins;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterOptions {
    pub(super) rates: Rates,
    pub(super) tiers: Vec<(String, Rates)>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) on_full: Option<OnFull>,
    pub(super) max_keys: Option<u64>,
    pub(super) enabled: bool,
    pub(super) on_error: OnError,
    pub(super) show_keys: bool,
}

impl LimiterOptions {
    /// One rate for everybody, or several that all must be kept to.
    pub fn new(rate: impl Into<Rates>) -> Self {
        LimiterOptions {
            rates: rate.into(),
            tiers: Vec::new(),
            algorithm: None,
            on_full: None,
            max_keys: None,
            enabled: true,
            on_error: OnError::Deny,
            show_keys: false,
        }
    }

    /// Another rate for requests that name this tier: up to 15 of them, names
    /// of 1 to 31 bytes. `default` is the limiter's own rate. With several
    /// rates, the first ones share their memory, and so on: put those of
    /// similar periods in the same place.
    pub fn tier(mut self, name: impl Into<String>, rate: impl Into<Rates>) -> Self {
        self.tiers.push((name.into(), rate.into()));
        self
    }

    /// Bucket unless told. Fixed when the limiter is created; with `sliding` so
    /// is the length of the window, which all tiers share.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Lenient unless told. Fixed when the limiter is created.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = Some(on_full);
        self
    }

    /// How many keys may have less than a full bucket at once without
    /// crowding each other; 65,536 unless told. A key takes 16 bytes for each
    /// rate, and the table has a quarter to spare. Fixed when the limiter is
    /// created.
    pub fn max_keys(mut self, max_keys: u64) -> Self {
        self.max_keys = Some(max_keys);
        self
    }

    /// False: everything passes, uncharged, and is counted as admitted.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// What is answered when the limiter cannot tell; refused unless told.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Whether [`Limiter::top_refused`](crate::Limiter::top_refused) may show
    /// keys, as far as they are at most 47 bytes long; they are stored in the
    /// region then.
    pub fn show_keys(mut self, show_keys: bool) -> Self {
        self.show_keys = show_keys;
        self
    }

    /// The limits of all tiers, the default one first.
    pub(super) fn limits(&self) -> impl Iterator<Item = (&str, &Rates)> + Clone {
        let tiers = self
            .tiers
            .iter()
            .map(|(name, rates)| (name.as_str(), rates));
        std::iter::once((tiers::DEFAULT, &self.rates)).chain(tiers)
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, _) in &self.tiers {
            if name.is_empty() || name.len() > tiers::TIER_NAME_BYTES || name == tiers::DEFAULT {
                return Err(Error::invalid(
                    "tiers",
                    format_args!("the name {name:?}"),
                    format_args!(
                        "names of 1 to {} bytes other than \"{}\"",
                        tiers::TIER_NAME_BYTES,
                        tiers::DEFAULT
                    ),
                ));
            }
        }
        for (_, rates) in self.limits() {
            rates.check()?;
        }
        if let Some(n) = self.max_keys {
            if n == 0 || n > MOST_KEYS {
                return Err(Error::invalid(
                    "max_keys",
                    n,
                    format_args!("1 to {MOST_KEYS}"),
                ));
            }
        }
        Ok(())
    }
}

impl From<Rates> for LimiterOptions {
    fn from(rates: Rates) -> Self {
        LimiterOptions::new(rates)
    }
}

impl From<Rates> for Option<LimiterOptions> {
    fn from(rates: Rates) -> Self {
        Some(LimiterOptions::new(rates))
    }
}

impl From<Rate> for LimiterOptions {
    fn from(rate: Rate) -> Self {
        LimiterOptions::new(rate)
    }
}

impl From<Rate> for Option<LimiterOptions> {
    fn from(rate: Rate) -> Self {
        Some(LimiterOptions::new(rate))
    }
}
