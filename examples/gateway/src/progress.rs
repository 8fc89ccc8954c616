//! How far the run is: a bar on a terminal, a line each quarter elsewhere.

use crate::origin::Phase;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;

/// How far the run is.
pub struct Progress {
    total: usize,
    bar: Option<ProgressBar>,
    quarters: Cell<usize>,
}

impl Progress {
    /// Of so many requests.
    pub fn new(total: usize) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:40} {human_pos} of {human_len} requests, {msg}";
            let style = ProgressStyle::with_template(style).expect("the template is well-formed");
            ProgressBar::new(total as u64).with_style(style)
        });
        Progress {
            total,
            bar,
            quarters: Cell::new(0),
        }
    }

    /// So many are served, and the origin does so.
    pub fn show(&self, served: usize, origin: Phase) {
        let origin = match origin {
            Phase::Healthy => "the origin is healthy",
            Phase::Slow => "the origin is slow",
            Phase::Failing => "the origin is down",
            Phase::Recovered => "the origin has recovered",
        };
        if let Some(bar) = &self.bar {
            bar.set_message(origin);
            bar.set_position(served as u64);
            return;
        }
        let quarters = served * 4 / self.total;
        if quarters > self.quarters.replace(quarters) {
            eprintln!("{:>3} % served, {origin}", quarters * 25);
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
