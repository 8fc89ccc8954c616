//! A log of requests, ready to be played: who asks for what, and when.

use crate::tier::Tier;
use std::io::{self, Write};
use std::time::Duration;

/// A client, known by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The limiter's key.
    pub name: String,
    /// What it has paid for.
    pub tier: Tier,
}

/// A page of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The cache's key.
    pub path: String,
    /// Bytes of its body.
    pub size: u32,
}

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Nanoseconds after the log's beginning, never before the request above.
    pub time: u64,
    /// Index into [`Log::clients`].
    pub client: u32,
    /// Index into [`Log::pages`].
    pub page: u32,
}

/// A log, its clients and its pages.
#[derive(Clone, Debug)]
pub struct Log {
    /// Where it comes from, in a few words.
    pub title: String,
    /// All requests in the order of time.
    pub requests: Vec<Request>,
    /// All clients.
    pub clients: Vec<Client>,
    /// All pages.
    pub pages: Vec<Page>,
    /// How long it takes to play.
    pub run: Duration,
    /// How long a minute of the limits is while it plays.
    pub minute: Duration,
    /// Who is known to be what; `None` of a log from elsewhere.
    pub cast: Option<Cast>,
}

/// The parts that the clients of a generated log play: all but one ask evenly
/// for about a fifth of what they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Index of the client that asks without end.
    pub abuser: u32,
}

impl Log {
    /// The client of a request.
    pub fn client(&self, request: &Request) -> &Client {
        &self.clients[request.client as usize]
    }

    /// The page of a request.
    pub fn page(&self, request: &Request) -> &Page {
        &self.pages[request.page as usize]
    }

    /// Writes the log as the workers read it: a line a request; time, client,
    /// tier, path and size between tabs.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for request in &self.requests {
            let (client, page) = (self.client(request), self.page(request));
            writeln!(
                to,
                "{}\t{}\t{}\t{}\t{}",
                request.time, client.name, client.tier.name, page.path, page.size
            )?;
        }
        to.flush()
    }
}

/// A request as a worker holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The limiter's key.
    pub client: &'a str,
    /// The limiter's tier.
    pub tier: &'a str,
    /// The cache's key.
    pub path: &'a str,
    /// Bytes of the page.
    pub size: usize,
}

/// Reads what [`Log::write`] wrote; the first line that is not so is the error.
pub fn read(text: &str) -> Result<Vec<Line<'_>>, String> {
    text.lines()
        .map(|line| {
            let mut fields = line.split('\t').skip(1);
            let mut field = || {
                fields
                    .next()
                    .ok_or_else(|| format!("not a request: {line}"))
            };
            Ok(Line {
                client: field()?,
                tier: field()?,
                path: field()?,
                size: field()?
                    .parse()
                    .map_err(|_| format!("not a size of a page: {line}"))?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;

    #[test]
    fn workers_read_what_was_written() {
        let log = Log {
            title: String::new(),
            requests: vec![
                Request {
                    time: 5,
                    client: 1,
                    page: 0,
                },
                Request {
                    time: 7,
                    client: 0,
                    page: 0,
                },
            ],
            clients: [("a", tier::BASIC), ("b", tier::MUSEUM)]
                .map(|(name, tier)| Client {
                    name: name.into(),
                    tier,
                })
                .into(),
            pages: vec![Page {
                path: "/x y".into(),
                size: 300,
            }],
            run: Duration::from_secs(1),
            minute: Duration::from_secs(1),
            cast: None,
        };
        let mut written = Vec::new();
        log.write(&mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text, "5\tb\tMuseum\t/x y\t300\n7\ta\tBasic\t/x y\t300\n");
        let lines = read(&text).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].client, lines[0].tier), ("b", "Museum"));
        assert_eq!((lines[1].path, lines[1].size), ("/x y", 300));
        assert!(read("5\tb\tMuseum\n").is_err());
        assert!(read("5\tb\tMuseum\t/x\tbig\n").is_err());
    }
}
