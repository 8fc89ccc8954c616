//! A verdict as HTTP headers, in every style that clients read today.
//!
//! `X-RateLimit-*` is what most services send. The styles named draft-6 to
//! draft-10 are those of the IETF's draft-ietf-httpapi-ratelimit-headers; from
//! draft-8 on several limits share one header, as items of a list (RFC 9651).

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

/// The headers that tell a client about these limits, each with the name that
/// the newer styles give it: printable ASCII, such as the limiter's name.
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
pub fn headers(
    limits: &[(&str, &Verdict)],
    styles: &[HeaderStyle],
    now: SystemTime,
) -> Result<Vec<Header>> {
    for (name, _) in limits {
        if !name.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Error::invalid(
                "name",
                format_args!("{name:?}"),
                "printable ASCII characters",
            ));
        }
    }
    let limited: Vec<_> = limits
        .iter()
        .filter(|(_, verdict)| verdict.limit != u64::MAX)
        .map(|(name, verdict)| (*name, *verdict))
        .collect();
    let tightest = limited
        .iter()
        .map(|(_, verdict)| *verdict)
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
            (HeaderStyle::Draft8, Some(_)) => lists(&mut told, &limited, "; ", ", "),
            (HeaderStyle::Draft10, Some(_)) => lists(&mut told, &limited, ";", ", "),
        }
    }
    let wait = limited
        .iter()
        .filter_map(|(_, verdict)| verdict.retry_after);
    if let Some(wait) = wait.max() {
        told.push(("Retry-After", seconds(wait).to_string()));
    }
    Ok(told)
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
fn lists(told: &mut Vec<Header>, limits: &[(&str, &Verdict)], between: &str, items: &str) {
    let (mut policy, mut state) = (String::new(), String::new());
    for (name, verdict) in limits {
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
        // Nobody is asked to come back before Retry-After.
        let until = verdict.retry_after.unwrap_or(verdict.reset_after);
        let (remaining, until) = (verdict.remaining, seconds(until));
        let _ = write!(state, "{between}r={remaining}{between}t={until}");
    }
    told.push(("RateLimit-Policy", policy));
    told.push(("RateLimit", state));
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
