//! A verdict as HTTP headers, in every style that clients read today.
//!
//! `X-RateLimit-*` is what most services send. The styles named draft-6 to
//! draft-10 are those of the IETF's draft-ietf-httpapi-ratelimit-headers; from
//! draft-8 on several limits share one header, as items of a list (RFC 9651).

use super::sha256::sha256;
use super::Verdict;
use crate::{Error, Result};
use std::fmt::Write;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A style of rate-limit headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderStyle {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the reset in seconds
    /// since 1970.
    Legacy,
    /// The same, the reset in seconds from now.
    LegacyDelta,
    /// `RateLimit-Policy`, `RateLimit-Limit`, `-Remaining` and `-Reset`.
    Draft6,
    /// `RateLimit-Policy` and one `RateLimit: limit=, remaining=, reset=`.
    Draft7,
    /// `RateLimit-Policy` and `RateLimit`, with an item for each limit.
    Draft8,
    /// The same in the syntax of structured fields.
    Draft10,
}

impl HeaderStyle {
    /// All of them.
    pub const ALL: [HeaderStyle; 6] = [
        HeaderStyle::Legacy,
        HeaderStyle::LegacyDelta,
        HeaderStyle::Draft6,
        HeaderStyle::Draft7,
        HeaderStyle::Draft8,
        HeaderStyle::Draft10,
    ];

    /// `legacy`, `legacy-delta`, `draft-6`, `draft-7`, `draft-8` or `draft-10`.
    pub fn name(self) -> &'static str {
        match self {
            HeaderStyle::Legacy => "legacy",
            HeaderStyle::LegacyDelta => "legacy-delta",
            HeaderStyle::Draft6 => "draft-6",
            HeaderStyle::Draft7 => "draft-7",
            HeaderStyle::Draft8 => "draft-8",
            HeaderStyle::Draft10 => "draft-10",
        }
    }
}

impl FromStr for HeaderStyle {
    type Err = Error;

    fn from_str(name: &str) -> Result<HeaderStyle> {
        let known = HeaderStyle::ALL.into_iter();
        known
            .clone()
            .find(|style| style.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = known.map(HeaderStyle::name).collect();
                Error::invalid("style", format_args!("{name:?}"), names.join(", "))
            })
    }
}

/// A header: its name and its value.
pub type Header = (&'static str, String);

/// A limit as headers tell it.
///
/// A pair of name and verdict is one without a key:
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{headers, HeaderStyle, Limit, Rate, Region};
/// let region = Region::options().manual_clock(true).private()?;
/// let verdict = region.limiter("api", Rate::per_minute(60))?.take("foo");
/// let limit = Limit::new("api", &verdict).key(b"foo");
/// let told = headers(&[limit], &[HeaderStyle::Draft10], std::time::SystemTime::now())?;
/// assert_eq!(told[0].1, "\"api\";q=60;w=60;pk=:MmMyNmI0NmI2OGZm:");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limit<'a> {
    /// The name that the newer styles give it: printable ASCII, such as the
    /// limiter's.
    pub name: &'a str,
    /// What the limiter said.
    pub verdict: &'a Verdict,
    /// Whose bucket it is, if a client is to be told which of its requests
    /// share one.
    pub key: Option<&'a [u8]>,
}

impl<'a> Limit<'a> {
    /// A limit without a key.
    pub fn new(name: &'a str, verdict: &'a Verdict) -> Limit<'a> {
        Limit {
            name,
            verdict,
            key: None,
        }
    }

    /// With the key that was asked about: the policy of draft-8 and draft-10
    /// then tells it as `pk`, the partition key, by the first twelve hexadecimal
    /// digits of its SHA-256, as express-rate-limit does.
    ///
    /// Equal keys have equal digits, with any server: somebody who sees them can
    /// check a guess at the key. Give none that must not be guessed.
    pub fn key(mut self, key: &'a [u8]) -> Limit<'a> {
        self.key = Some(key);
        self
    }
}

impl<'a> From<(&'a str, &'a Verdict)> for Limit<'a> {
    fn from((name, verdict): (&'a str, &'a Verdict)) -> Limit<'a> {
        Limit::new(name, verdict)
    }
}

/// The headers that tell a client about these limits, each a [`Limit`] or a pair
/// of the name that the newer styles give it (printable ASCII, such as the
/// limiter's) and its verdict.
///
/// Several limits share the headers of draft-8 and draft-10. The older styles
/// have room for one: they tell of the one that refused, else of the one with
/// the fewest tokens left. An unlimited one is not told at all. Seconds are
/// rounded up. `Retry-After` is there if a limit refused and waiting helps, and
/// is the longest wait. `now` is the wall clock, which `legacy` needs.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::{headers, HeaderStyle, Rate, Region};
/// let region = Region::options().manual_clock(true).private()?;
/// let verdict = region.limiter("api", Rate::per_minute(60))?.take("key");
/// let told = headers(&[("api", &verdict)], &[HeaderStyle::Draft10], std::time::SystemTime::now())?;
/// assert_eq!(told[0], ("RateLimit-Policy", "\"api\";q=60;w=60".into()));
/// assert_eq!(told[1], ("RateLimit", "\"api\";r=59;t=1".into()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`] for a name that is not printable ASCII.
pub fn headers<'a, L: Copy + Into<Limit<'a>>>(
    limits: &[L],
    styles: &[HeaderStyle],
    now: SystemTime,
) -> Result<Vec<Header>> {
    let mut limited: Vec<Limit<'_>> = limits.iter().map(|limit| (*limit).into()).collect();
    for Limit { name, .. } in &limited {
        if !name.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Error::invalid(
                "name",
                format_args!("{name:?}"),
                "printable ASCII characters",
            ));
        }
    }
    limited.retain(|limit| limit.verdict.limit != u64::MAX);
    Ok(told(&limited, styles, now))
}

fn told(limited: &[Limit<'_>], styles: &[HeaderStyle], now: SystemTime) -> Vec<Header> {
    let verdicts = limited.iter().map(|limit| limit.verdict);
    let tightest = verdicts
        .clone()
        .min_by_key(|verdict| (verdict.allowed, verdict.remaining));
    let mut told = Vec::new();
    for style in styles {
        match (style, tightest) {
            (_, None) => {}
            (HeaderStyle::Legacy, Some(verdict)) => {
                let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                legacy(
                    &mut told,
                    verdict,
                    since.saturating_add(verdict.reset_after),
                );
            }
            (HeaderStyle::LegacyDelta, Some(verdict)) => {
                legacy(&mut told, verdict, verdict.reset_after);
            }
            (HeaderStyle::Draft6, Some(verdict)) => {
                told.push(("RateLimit-Policy", plain_policy(verdict)));
                told.push(("RateLimit-Limit", verdict.limit.to_string()));
                told.push(("RateLimit-Remaining", verdict.remaining.to_string()));
                told.push(("RateLimit-Reset", seconds(verdict.reset_after).to_string()));
            }
            (HeaderStyle::Draft7, Some(verdict)) => {
                told.push(("RateLimit-Policy", plain_policy(verdict)));
                let value = format!(
                    "limit={}, remaining={}, reset={}",
                    verdict.limit,
                    verdict.remaining,
                    seconds(verdict.reset_after)
                );
                told.push(("RateLimit", value));
            }
            (HeaderStyle::Draft8, Some(_)) => lists(&mut told, limited, "; ", ", "),
            (HeaderStyle::Draft10, Some(_)) => lists(&mut told, limited, ";", ", "),
        }
    }
    if let Some(wait) = verdicts.filter_map(|verdict| verdict.retry_after).max() {
        told.push(("Retry-After", seconds(wait).to_string()));
    }
    told
}

fn legacy(told: &mut Vec<Header>, verdict: &Verdict, reset: Duration) {
    told.push(("X-RateLimit-Limit", verdict.limit.to_string()));
    told.push(("X-RateLimit-Remaining", verdict.remaining.to_string()));
    told.push(("X-RateLimit-Reset", seconds(reset).to_string()));
}

fn plain_policy(verdict: &Verdict) -> String {
    format!("{};w={}", verdict.limit, window(verdict))
}

/// Both headers of the styles that are lists.
fn lists(told: &mut Vec<Header>, limits: &[Limit<'_>], between: &str, items: &str) {
    let (mut policy, mut state) = (String::new(), String::new());
    for Limit { name, verdict, key } in limits {
        for list in [&mut policy, &mut state] {
            if !list.is_empty() {
                list.push_str(items);
            }
            list.push('"');
            for c in name.chars() {
                if matches!(c, '"' | '\\') {
                    list.push('\\');
                }
                list.push(c);
            }
            list.push('"');
        }
        let (limit, window) = (verdict.limit, window(verdict));
        // A string takes whatever is written.
        let _ = write!(policy, "{between}q={limit}{between}w={window}");
        if let Some(key) = key {
            let _ = write!(policy, "{between}pk=:{}:", partition_key(key));
        }
        // Nobody is asked to come back before Retry-After.
        let until = verdict.retry_after.unwrap_or(verdict.reset_after);
        let (remaining, until) = (verdict.remaining, seconds(until));
        let _ = write!(state, "{between}r={remaining}{between}t={until}");
    }
    told.push(("RateLimit-Policy", policy));
    told.push(("RateLimit", state));
}

/// The first twelve hexadecimal digits of the key's SHA-256 in base64 (RFC
/// 4648), which is how a byte sequence is written (RFC 9651).
fn partition_key(key: &[u8]) -> String {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(16);
    // Three digits are four characters, and twelve need no padding.
    let digits = sha256(key)
        .into_iter()
        .take(6)
        .flat_map(|byte| [byte >> 4, byte & 15]);
    let digits: Vec<u8> = digits.map(|digit| HEX[usize::from(digit)]).collect();
    for three in digits.chunks_exact(3) {
        let bits = three
            .iter()
            .fold(0, |bits, digit| bits << 8 | usize::from(*digit));
        text.extend([18, 12, 6, 0].map(|shift| char::from(BASE64[bits >> shift & 63])));
    }
    text
}

/// The window in seconds: the nearest, since a rate that does not divide its
/// period fills some nanoseconds later than it, and 7 a minute are not 7 in 61
/// seconds.
fn window(verdict: &Verdict) -> u64 {
    let half = Duration::from_millis(500);
    verdict.window.saturating_add(half).as_secs().max(1)
}

/// Whole seconds, rounded up: nobody comes back too early.
fn seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five an hour and so on, of which four are left.
    fn verdict(limit: u64, remaining: u64, reset: u64, window: u64) -> Verdict {
        Verdict {
            allowed: true,
            limit,
            remaining,
            retry_after: None,
            reset_after: Duration::from_secs(reset),
            window: Duration::from_secs(window),
        }
    }

    fn told(limits: &[(&str, &Verdict)], style: HeaderStyle) -> Vec<String> {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let told = headers(limits, &[style], now).unwrap();
        told.into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    /// The same numbers as in the tests of express-rate-limit.
    #[test]
    fn each_style_is_what_its_clients_read() {
        let minute = verdict(5, 4, 60, 60);
        let limits = [("api", &minute)];
        for (style, expected) in [
            (
                HeaderStyle::Legacy,
                &[
                    "X-RateLimit-Limit: 5",
                    "X-RateLimit-Remaining: 4",
                    "X-RateLimit-Reset: 1700000061",
                ][..],
            ),
            (
                HeaderStyle::LegacyDelta,
                &[
                    "X-RateLimit-Limit: 5",
                    "X-RateLimit-Remaining: 4",
                    "X-RateLimit-Reset: 60",
                ],
            ),
            (
                HeaderStyle::Draft6,
                &[
                    "RateLimit-Policy: 5;w=60",
                    "RateLimit-Limit: 5",
                    "RateLimit-Remaining: 4",
                    "RateLimit-Reset: 60",
                ],
            ),
            (
                HeaderStyle::Draft7,
                &[
                    "RateLimit-Policy: 5;w=60",
                    "RateLimit: limit=5, remaining=4, reset=60",
                ],
            ),
        ] {
            assert_eq!(told(&limits, style), expected, "{style:?}");
        }
        let two_hours = verdict(5, 4, 7200, 7200);
        assert_eq!(
            told(&[("5-in-2hrs", &two_hours)], HeaderStyle::Draft8),
            [
                "RateLimit-Policy: \"5-in-2hrs\"; q=5; w=7200",
                "RateLimit: \"5-in-2hrs\"; r=4; t=7200"
            ]
        );
    }

    #[test]
    fn the_policy_has_the_partition_key_of_a_limit_with_a_key() {
        let two_hours = verdict(5, 4, 7200, 7200);
        let limit = Limit::new("5-in-2hrs", &two_hours);
        let now = SystemTime::now();
        let told = |limits: &[Limit<'_>], style| headers(limits, &[style], now).unwrap();
        let draft8 = told(&[limit.key(b"foo"), limit], HeaderStyle::Draft8);
        let items = [
            "\"5-in-2hrs\"; q=5; w=7200; pk=:MmMyNmI0NmI2OGZm:",
            "\"5-in-2hrs\"; q=5; w=7200",
        ];
        assert_eq!(draft8[0].1, items.join(", "));
        let draft10 = told(&[limit.key(b"")], HeaderStyle::Draft10);
        let (policy, state) = (&draft10[0].1, &draft10[1].1);
        // base64 of e3b0c44298fc.
        assert_eq!(policy, "\"5-in-2hrs\";q=5;w=7200;pk=:ZTNiMGM0NDI5OGZj:");
        assert_eq!(state, "\"5-in-2hrs\";r=4;t=7200");
        for style in HeaderStyle::ALL {
            let list = matches!(style, HeaderStyle::Draft8 | HeaderStyle::Draft10);
            let mut with = told(&[limit.key(b"foo")], style).into_iter();
            assert_eq!(
                with.any(|(_, value)| value.contains("pk=")),
                list,
                "{style:?}"
            );
        }
    }

    #[test]
    fn several_limits_share_a_list_and_the_older_styles_tell_of_the_tightest() {
        let (burst, daily) = (verdict(100, 40, 30, 60), verdict(1000, 39, 900, 86_400));
        let limits = [("burst", &burst), ("daily", &daily)];
        assert_eq!(
            told(&limits, HeaderStyle::Draft10),
            [
                "RateLimit-Policy: \"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
                "RateLimit: \"burst\";r=40;t=30, \"daily\";r=39;t=900"
            ]
        );
        assert_eq!(
            told(&limits, HeaderStyle::LegacyDelta)[0],
            "X-RateLimit-Limit: 1000"
        );
    }

    #[test]
    fn a_rate_that_does_not_divide_its_period_has_the_period_for_a_window() {
        let options = crate::Region::options().manual_clock(true);
        let region = options.private().unwrap();
        for (name, rate, window) in [
            ("7", "7/min", 60),
            ("3", "3/s", 1),
            ("30", "30/s burst 1", 1),
        ] {
            let rate: crate::Rate = rate.parse().unwrap();
            let verdict = region.limiter(name, rate).unwrap().take("k");
            let told = told(&[("api", &verdict)], HeaderStyle::Draft6);
            let policy = format!("RateLimit-Policy: {};w={window}", verdict.limit);
            assert_eq!(told[0], policy);
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back_rounded_up_and_no_earlier_than_the_limit_says() {
        let refused = Verdict {
            allowed: false,
            retry_after: Some(Duration::from_millis(2_001)),
            ..verdict(5, 0, 60, 60)
        };
        let told = told(&[("api", &refused)], HeaderStyle::Draft10);
        assert_eq!(told[1..], ["RateLimit: \"api\";r=0;t=3", "Retry-After: 3"]);
        let never = Verdict {
            allowed: false,
            ..verdict(5, 5, 0, 60)
        };
        let styles = HeaderStyle::ALL;
        let told = headers(&[("api", &never)], &styles, UNIX_EPOCH).unwrap();
        assert!(told.iter().all(|(name, _)| *name != "Retry-After"));
    }

    #[test]
    fn names_cannot_break_out_of_a_header_and_unlimited_tells_nothing() {
        let minute = verdict(5, 4, 60, 60);
        let quoted = told(&[("a\"b\\c", &minute)], HeaderStyle::Draft10);
        assert_eq!(quoted[1], "RateLimit: \"a\\\"b\\\\c\";r=4;t=60");
        for name in ["a\r\nSet-Cookie: x", "naïve", "\0"] {
            assert!(headers(&[(name, &minute)], &[HeaderStyle::Legacy], UNIX_EPOCH).is_err());
        }
        let unlimited = Verdict {
            limit: u64::MAX,
            ..minute
        };
        assert!(told(&[("staff", &unlimited)], HeaderStyle::Draft10).is_empty());
    }

    #[test]
    fn styles_have_names() {
        for style in HeaderStyle::ALL {
            assert_eq!(style.name().parse::<HeaderStyle>(), Ok(style));
        }
        assert!("draft-9".parse::<HeaderStyle>().is_err());
    }
}
