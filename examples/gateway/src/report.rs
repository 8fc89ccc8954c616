//! One page for a person to read.

use crate::checks::{Check, Evidence, Verdict};
use crate::counted::Counted;
use crate::origin::Phase;
use crate::outcome::{ratio, Tally};
use forebay::{Events, Snapshot};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// What the page tells.
pub struct Report<'a> {
    /// The run.
    pub evidence: &'a Evidence<'a>,
    /// The latencies of all workers.
    pub latency: &'a Snapshot,
    /// What the region noted.
    pub events: &'a Events,
    /// The verdicts.
    pub checks: &'a [Check],
}

impl Display for Report<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        self.workers(page)?;
        self.figures(page)?;
        self.breaker(page)?;
        self.verdicts(page)
    }
}

impl Report<'_> {
    fn workers(&self, page: &mut Formatter<'_>) -> fmt::Result {
        let workers = &self.evidence.play.workers;
        let (leaver, joiner) = self.evidence.play.change;
        let mut languages: Vec<&str> = Vec::new();
        for worker in workers {
            if !languages.contains(&worker.language) {
                languages.push(worker.language);
            }
        }
        writeln!(
            page,
            "\n{:<20} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "worker", "requests", "429", "hits", "fetched", "failed", "rejected"
        )?;
        for (number, worker) in workers.iter().enumerate() {
            let note = match number {
                n if n == leaver => ", left",
                n if n == joiner => ", joined",
                _ => "",
            };
            row(
                page,
                &format!("{} {}{note}", number + 1, worker.language),
                &worker.tally,
            )?;
        }
        let mut all = Tally::default();
        for language in languages {
            let mut tally = Tally::default();
            for worker in workers.iter().filter(|w| w.language == language) {
                tally += worker.tally;
            }
            row(page, &format!("all {language}"), &tally)?;
            all += tally;
        }
        row(page, "all", &all)
    }

    fn figures(&self, page: &mut Formatter<'_>) -> fmt::Result {
        let Evidence {
            log, play, counted, ..
        } = self.evidence;
        let Counted { clients, pages, .. } = counted;
        let served = log.requests.len() as u64;
        let seconds = (play.span.end - play.span.start) as f64 / 1e9;
        writeln!(
            page,
            "\nrequests    {served} in {seconds:.1} s: {:.0} a second",
            served as f64 / seconds
        )?;
        if !play.slipped.is_zero() {
            writeln!(
                page,
                "            {:.1} s later than the log, as the workers could not keep up",
                play.slipped.as_secs_f64()
            )?;
        }
        writeln!(
            page,
            "limiter     {} admitted, {} refused with 429 ({:.2} %)",
            clients.admitted,
            clients.refused,
            100.0 * ratio(clients.refused, served)
        )?;
        writeln!(
            page,
            "cache       {:.2} % hits; {} entries, {:.1} of {:.1} MiB, {} evictions",
            100.0 * pages.hit_rate(),
            pages.entries,
            mebibytes(pages.bytes_used),
            mebibytes(pages.bytes_capacity),
            pages.evictions
        )?;
        write!(page, "latency    ")?;
        for percent in [50.0, 95.0, 99.0] {
            // The percents are within bounds, and something was recorded.
            if let Ok(Some(value)) = self.latency.percentile(percent) {
                write!(page, " p{percent} {}", short(value))?;
            }
        }
        writeln!(page, ", mean {}", short(self.latency.mean()))
    }

    fn breaker(&self, page: &mut Formatter<'_>) -> fmt::Result {
        let start = self.evidence.play.span.start;
        let transitions = (self.events.events.iter())
            .filter(|event| event.object == "origin" && event.kind.name().starts_with("breaker-"));
        for (nth, event) in transitions.enumerate() {
            writeln!(
                page,
                "{:<11} {:>7.3} s  {:<10} {}",
                if nth == 0 { "breaker" } else { "" },
                event.time.saturating_sub(start) as f64 / 1e9,
                event.kind.name().trim_start_matches("breaker-"),
                match self.evidence.phase(event.time) {
                    Phase::Healthy => "while the origin is healthy",
                    Phase::Slow => "while the origin is slow",
                    Phase::Failing => "while the origin is down",
                    Phase::Recovered => "when the origin has recovered",
                }
            )?;
        }
        Ok(())
    }

    fn verdicts(&self, page: &mut Formatter<'_>) -> fmt::Result {
        writeln!(page)?;
        for check in self.checks {
            let verdict = match check.verdict {
                Verdict::Pass => "PASS",
                Verdict::Fail => "FAIL",
                Verdict::NotApplicable => "n/a ",
            };
            writeln!(page, "{verdict}  {}", check.name)?;
            writeln!(page, "      {}", check.detail)?;
        }
        Ok(())
    }
}

fn row(page: &mut Formatter<'_>, title: &str, tally: &Tally) -> fmt::Result {
    writeln!(
        page,
        "{title:<20} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        tally.served, tally.limited, tally.hits, tally.fetched, tally.failed, tally.rejected
    )
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// A duration in the unit that fits, to three digits or so.
fn short(duration: Duration) -> String {
    match duration.as_nanos() {
        ns @ ..1_000 => format!("{ns} ns"),
        ns @ ..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        ns => format!("{:.2} ms", ns as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(short(Duration::from_nanos(999)), "999 ns");
        assert_eq!(short(Duration::from_nanos(1_500)), "1.5 µs");
        assert_eq!(short(Duration::from_micros(2_345)), "2.35 ms");
    }
}
