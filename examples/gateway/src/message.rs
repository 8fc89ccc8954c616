//! What workers and the coordinator say to each other, a line each.
//!
//! | to a worker | |
//! |---|---|
//! | `start NS` | the run began at this time of the region |
//! | `serve FROM TO` | serve the requests FROM..TO of the log |
//! | `quit` | say what you did, and go |
//!
//! | from a worker | |
//! |---|---|
//! | `ready` | the region is open, the log read |
//! | `done FROM TO LETTERS` | served; a letter a request, see [`Outcome::letter`] |
//! | `wrong WHAT` | a byte that should not be there, or an error: the run has failed |
//! | `{"served": …}` | its [`Summary`], the answer to `quit` |

use crate::outcome::{Outcome, Summary};
use std::ops::Range;

/// A line from a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// It waits for work.
    Ready,
    /// It has served a batch.
    Done {
        /// Which requests.
        batch: Range<usize>,
        /// What became of each.
        outcomes: Vec<Outcome>,
    },
    /// It found something wrong.
    Wrong(String),
    /// It leaves.
    Summary(Summary),
}

/// Reads a line from a worker.
pub fn read(line: &str) -> Result<Message, String> {
    let no = || format!("said what no worker says: {line:.100}");
    if line == "ready" {
        Ok(Message::Ready)
    } else if let Some(what) = line.strip_prefix("wrong ") {
        Ok(Message::Wrong(what.to_owned()))
    } else if line.starts_with('{') {
        serde_json::from_str(line)
            .map(Message::Summary)
            .map_err(|_| no())
    } else {
        done(line).ok_or_else(no)
    }
}

fn done(line: &str) -> Option<Message> {
    let mut words = line.strip_prefix("done ")?.split(' ');
    let from: usize = words.next()?.parse().ok()?;
    let to: usize = words.next()?.parse().ok()?;
    let outcomes: Vec<Outcome> = words
        .next()?
        .bytes()
        .map(Outcome::from_letter)
        .collect::<Option<_>>()?;
    let whole = words.next().is_none() && to.checked_sub(from) == Some(outcomes.len());
    whole.then_some(Message::Done {
        batch: from..to,
        outcomes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_say_is_read() {
        assert_eq!(read("ready"), Ok(Message::Ready));
        assert_eq!(read("wrong /a: x"), Ok(Message::Wrong("/a: x".into())));
        assert_eq!(
            read("done 7 9 HX"),
            Ok(Message::Done {
                batch: 7..9,
                outcomes: vec![Outcome::Hit, Outcome::Rejected]
            })
        );
        let summary = r#"{"served": 3, "limited": 1, "hits": 1, "fetched": 1, "failed": 0, "rejected": 0, "stored": 1, "straddled": 0}"#;
        match read(summary) {
            Ok(Message::Summary(said)) => {
                assert_eq!((said.tally.served, said.stored), (3, 1));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_else_is() {
        for line in [
            "",
            "Ready",
            "done",
            "done 7 9",
            "done 7 9 H",
            "done 9 7 HH",
            "done 7 9 HQ",
            "done 7 9 HH more",
            "done -1 1 HH",
            "{}",
            "{\"served\": 1}",
            "wrong",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
