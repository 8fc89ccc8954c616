//! Reads the access logs of web servers: the common log format of NCSA httpd,
//! and the combined one, which adds two fields that nothing here needs.
//!
//! ```text
//! 203.0.113.7 - - [10/Oct/2000:13:55:36 -0700] "GET /a.html HTTP/1.1" 200 2326
//! ```
//!
//! What a log does not tell is decided here:
//! - Every address is a client of tier Enterprise, 300 requests a minute of the
//!   log's own time.
//! - The log's whole span is played in the run, a minute shrinking with it.
//!   Requests of one second, the log's resolution, are spread evenly over it.
//! - Only `GET` and `HEAD` are played: nothing else is cached.
//! - A page is as large as its largest answer, 1 byte to 100 kB.

use crate::log::{Client, Log, Page, Request};
use crate::tier::ENTERPRISE;
use anyhow::{ensure, Result};
use std::collections::HashMap;
use std::time::Duration;

const LARGEST_PAGE: u32 = 100_000;
/// A longer path is not worth a place in the cache.
const LONGEST_PATH: usize = 8_192;

/// A log read, and what was left out of it.
#[derive(Debug)]
pub struct Parsed {
    /// What remains.
    pub log: Log,
    /// Lines that are not in the format.
    pub bad: usize,
    /// Requests with another method than `GET` and `HEAD`.
    pub uncacheable: usize,
}

/// One line of an access log.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    host: &'a str,
    /// Seconds since 1970.
    second: i64,
    method: &'a str,
    path: &'a str,
    bytes: u32,
}

/// Reads an access log, to be played in `run`. An error if it holds no request.
pub fn parse(bytes: &[u8], run: Duration) -> Result<Parsed> {
    let (mut bad, mut uncacheable) = (0, 0);
    let mut entries = Vec::new();
    for line in bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
        match std::str::from_utf8(line).ok().and_then(entry) {
            Some(found) if ["GET", "HEAD"].contains(&found.method) => entries.push(found),
            Some(_) => uncacheable += 1,
            None => bad += 1,
        }
    }
    ensure!(
        !entries.is_empty(),
        "no request in common or combined log format ({bad} other lines, {uncacheable} not GET or HEAD)"
    );
    // Servers log when they answer: lines may be a little out of order.
    entries.sort_by_key(|entry| entry.second);

    let first = entries[0].second;
    let span = (entries[entries.len() - 1].second - first + 1) as u128 * 1_000_000_000;
    let shrink = |ns: u128| (ns * run.as_nanos() / span) as u64;
    let (mut clients, mut pages) = (Index::default(), Index::default());
    let mut sizes: Vec<u32> = Vec::new();
    let mut requests = Vec::with_capacity(entries.len());
    for second in entries.chunk_by(|a, b| a.second == b.second) {
        for (nth, entry) in second.iter().enumerate() {
            let within = nth as u128 * 1_000_000_000 / second.len() as u128;
            let since = (entry.second - first) as u128 * 1_000_000_000;
            let page = pages.number(entry.path);
            sizes.resize(sizes.len().max(page as usize + 1), 1);
            let size = &mut sizes[page as usize];
            *size = entry.bytes.clamp(*size, LARGEST_PAGE);
            requests.push(Request {
                time: shrink(since + within),
                client: clients.number(entry.host),
                page,
            });
        }
    }
    let log = Log {
        title: format!("{:.1} h of a web server", span as f64 / 3.6e12),
        requests,
        clients: (clients.names.into_iter())
            .map(|name| Client {
                name: name.into(),
                tier: ENTERPRISE,
            })
            .collect(),
        pages: (pages.names.into_iter().zip(sizes))
            .map(|(path, size)| Page {
                path: path.into(),
                size,
            })
            .collect(),
        run,
        minute: Duration::from_nanos(shrink(60_000_000_000).max(1)),
        cast: None,
    };
    Ok(Parsed {
        log,
        bad,
        uncacheable,
    })
}

/// Numbers names in the order of their first appearance.
#[derive(Default)]
struct Index<'a> {
    numbers: HashMap<&'a str, u32>,
    names: Vec<&'a str>,
}

impl<'a> Index<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() as u32 - 1
        })
    }
}

fn entry(line: &str) -> Option<Entry<'_>> {
    // A tab would not survive the workers' format.
    if line.contains('\t') {
        return None;
    }
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (host, rest) = line.split_once(' ')?;
    let (_names, rest) = rest.split_once('[')?;
    let (date, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_at(closing_quote(rest)?);
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    // HTTP/0.9 sent no version; more words are not a request.
    if words.count() > 1 || host.is_empty() || path.is_empty() || path.len() > LONGEST_PATH {
        return None;
    }
    let mut fields = rest.strip_prefix("\" ")?.split(' ');
    let _status: u16 = fields.next()?.parse().ok()?;
    let bytes = match fields.next()? {
        "-" => 0,
        // Larger than u32 is larger than any page here.
        number => u32::try_from(number.parse::<u64>().ok()?).unwrap_or(u32::MAX),
    };
    let second = chrono::DateTime::parse_from_str(date, "%d/%b/%Y:%H:%M:%S %z")
        .ok()?
        .timestamp();
    Some(Entry {
        host,
        second,
        method,
        path,
        bytes,
    })
}

/// The first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str =
        r#"203.0.113.7 - ann [10/Oct/2000:13:55:36 -0700] "GET /a.html HTTP/1.1" 200 2326"#;
    const RUN: Duration = Duration::from_secs(10);

    #[test]
    fn common_and_combined_lines_are_read() {
        let expected = Entry {
            host: "203.0.113.7",
            second: 971_211_336,
            method: "GET",
            path: "/a.html",
            bytes: 2_326,
        };
        assert_eq!(entry(COMMON), Some(expected));
        let combined = format!(r#"{COMMON} "http://x/" "A \"browser\"""#);
        assert_eq!(entry(&combined), entry(COMMON));
        assert_eq!(entry(&format!("{COMMON}\r")), entry(COMMON));
        let quoted = COMMON.replace("/a.html", r#"/?q=\"a\\\""#);
        assert_eq!(entry(&quoted).unwrap().path, r#"/?q=\"a\\\""#);
        let old = COMMON.replace(" HTTP/1.1", "");
        assert_eq!(entry(&old).unwrap().path, "/a.html");
        let v6 = COMMON.replace("203.0.113.7", "2001:db8::1");
        assert_eq!(entry(&v6).unwrap().host, "2001:db8::1");
        assert_eq!(entry(&COMMON.replace("2326", "-")).unwrap().bytes, 0);
    }

    #[test]
    fn what_is_not_a_request_is_counted_not_guessed() {
        for bad in [
            "hello",
            "",
            " ",
            &COMMON.replace("Oct", "Foo"),
            &COMMON.replace("[10", "10"),
            &COMMON.replace("HTTP/1.1\"", "HTTP/1.1"),
            &COMMON.replace("GET /a.html HTTP/1.1", "-"),
            &COMMON.replace("/a.html", "/a b"),
            &COMMON.replace("/a.html", "/a\tb"),
            &COMMON.replace("/a.html", ""),
            &COMMON.replace("/a.html", &"/a".repeat(5_000)),
            &COMMON.replace("200 ", ""),
            &COMMON.replace("2326", "-1"),
            &COMMON.replace("200", "OK"),
        ] {
            assert_eq!(entry(bad), None, "{bad}");
        }
        let mut log = format!("{COMMON}\nbad\n{}\n\n", COMMON.replace("GET", "POST")).into_bytes();
        log.extend_from_slice(b"\xff\xfe\n");
        let parsed = parse(&log, RUN).unwrap();
        assert_eq!((parsed.bad, parsed.uncacheable), (2, 1));
        assert_eq!(parsed.log.requests.len(), 1);
    }

    #[test]
    fn a_log_without_requests_is_an_error() {
        for log in ["", "\n\n", "bad\n", &COMMON.replace("GET", "POST")] {
            assert!(parse(log.as_bytes(), RUN).is_err());
        }
    }

    #[test]
    fn the_span_shrinks_to_the_run_in_order() {
        let at = |second: u32, path: &str, size: &str| {
            COMMON
                .replace("55:36", &format!("55:{second:02}"))
                .replace("/a.html", path)
                .replace("2326", size)
        };
        let lines = [
            at(38, "/c", "5"),
            at(36, "/a", "70"),
            at(36, "/b", "999999999999"),
            at(39, "/a", "-"),
        ];
        let parsed = parse(lines.join("\n").as_bytes(), RUN).unwrap();
        let times: Vec<u64> = parsed.log.requests.iter().map(|r| r.time).collect();
        // Four seconds in ten; two requests share the first second.
        assert_eq!(times, [0, 1_250_000_000, 5_000_000_000, 7_500_000_000]);
        assert_eq!(parsed.log.minute, Duration::from_secs(150));
        let pages: Vec<_> = (parsed.log.pages.iter())
            .map(|p| (p.path.as_str(), p.size))
            .collect();
        assert_eq!(pages, [("/a", 70), ("/b", 100_000), ("/c", 5)]);
        assert_eq!(parsed.log.clients.len(), 1);
    }

    #[test]
    fn one_second_of_log_is_spread_over_the_run() {
        let log = [COMMON; 4].join("\n");
        let parsed = parse(log.as_bytes(), RUN).unwrap();
        let times: Vec<u64> = parsed.log.requests.iter().map(|r| r.time).collect();
        assert_eq!(times, [0, 2_500_000_000, 5_000_000_000, 7_500_000_000]);
    }
}
