//! What a run did and found: a table for the terminal, and the document.

use crate::log::Operation;
use crate::run::Seen;
use crate::world::{BURST, HOT_BUCKETS, PERMITS, RATES, SLIDES, SLIDING};
use std::collections::BTreeMap;
use std::fmt;

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Report {
    seed: u64,
    workers: u32,
    commit: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// By fault: how often, and how often a lock was held.
    pub faults: BTreeMap<String, (u64, u64)>,
    /// Whether something was found that must not be.
    pub violated: bool,
    /// What could not be done here.
    pub skipped: Vec<String>,
    answered: [u64; Operation::ALL.len()],
    killed: [u64; Operation::ALL.len()],
    /// Reads, and those that hit.
    pub reads: u64,
    /// Reads that hit.
    pub hits: u64,
    busy: u64,
    resets: u64,
    evictions: u64,
    evicted_live: u64,
    /// Takes summed against the bound; those of empty buckets; those left out.
    summed: [u64; 3],
    fullest: u64,
    /// The most that a sliding window admitted in any interval of its length.
    slid: u64,
    /// Takes of two rates that were summed; what an interval gave beyond each.
    both: (u64, [u64; RATES.len()]),
    /// Leases granted, the most at once, those that dead holders left, and those
    /// of them that others took.
    leases: [u64; 4],
    /// Tokens that each hot bucket gave in the whole run, and the most it may.
    pub hot_buckets: [(u64, u64); HOT_BUCKETS as usize],
    batches: u64,
    /// How often the seats were counted.
    pub seat_counts: u64,
    /// Values read and compared while all were at rest.
    pub values_at_rest: u64,
}

impl Report {
    /// An empty one.
    pub fn new(seed: u64, workers: u32, commit: Option<String>) -> Report {
        Report {
            seed,
            workers,
            commit,
            seconds: 0.0,
            faults: BTreeMap::new(),
            violated: false,
            skipped: Vec::new(),
            answered: Default::default(),
            killed: Default::default(),
            reads: 0,
            hits: 0,
            busy: 0,
            resets: 0,
            evictions: 0,
            evicted_live: 0,
            summed: [0; 3],
            fullest: 0,
            slid: 0,
            both: Default::default(),
            leases: Default::default(),
            hot_buckets: Default::default(),
            batches: 0,
            seat_counts: 0,
            values_at_rest: 0,
        }
    }

    /// Adds a batch.
    pub fn add(&mut self, seen: &Seen) {
        for (sums, counts) in [
            (&mut self.answered, &seen.answered),
            (&mut self.killed, &seen.killed),
        ] {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        self.reads = self.answered[Operation::Get as usize - 1];
        self.hits += seen.hits;
        self.busy += seen.busy;
        self.resets += seen.resets;
        self.evictions += seen.evictions;
        self.evicted_live += seen.evicted_live;
        for (sum, count) in self.summed.iter_mut().zip([
            seen.bound.summed,
            seen.of_empty_buckets,
            seen.bound.left_out,
        ]) {
            *sum += count;
        }
        self.fullest = self.fullest.max(seen.bound.fullest);
        self.slid = self.slid.max(seen.slid);
        for (most, checked) in self.both.1.iter_mut().zip(seen.rates) {
            *most = checked.fullest.max(*most);
        }
        // The same takes are summed against both.
        self.both.0 += seen.rates[0].summed;
        let [granted, most, left, reaped] = &mut self.leases;
        *granted += seen.leases.leases;
        *most = seen.leases.most.max(*most);
        *left += seen.leases.left;
        *reaped += seen.reaped;
        self.batches += 1;
    }

    fn calls(&self) -> u64 {
        self.answered.iter().sum()
    }

    fn kills(&self) -> (u64, u64) {
        self.faults
            .iter()
            .filter(|(name, _)| name.contains("SIGKILL"))
            .fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1))
    }

    /// One line, for while it runs.
    pub fn line(&self) -> String {
        let (kills, in_lock) = self.kills();
        format!(
            "{:6.1} s: {kills} kills ({:.0}/s), {in_lock} in a lock, {} in a call; {} calls, {} takes summed against the bound; no violation",
            self.seconds,
            kills as f64 / self.seconds.max(0.1),
            self.killed.iter().sum::<u64>(),
            self.calls(),
            self.summed[0]
        )
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, value: String| rows.push((what.to_owned(), value));
        let (kills, in_lock) = self.kills();
        row("time", format!("{:.0} s", self.seconds));
        row(
            "SIGKILL",
            format!(
                "{kills} ({:.0} a second)",
                kills as f64 / self.seconds.max(0.1)
            ),
        );
        row("of those with a lock held, at least", in_lock.to_string());
        row(
            "of those inside a call",
            self.killed.iter().sum::<u64>().to_string(),
        );
        for (name, (tried, effective)) in &self.faults {
            let effective = match effective {
                0 => String::new(),
                n => format!(", {n} with a lock held"),
            };
            row(name, format!("{tried}{effective}"));
        }
        for operation in Operation::ALL {
            let i = operation as usize - 1;
            row(
                operation.name(),
                format!(
                    "{} answered, {} killed inside",
                    self.answered[i], self.killed[i]
                ),
            );
        }
        row("reads that hit", self.hits.to_string());
        row("shards cleared after a death", self.resets.to_string());
        row("writes that found their shard held", self.busy.to_string());
        row("entries evicted", self.evictions.to_string());
        row("live buckets evicted", self.evicted_live.to_string());
        let takes = self.answered[Operation::Take as usize - 1];
        let [summed, empty, left_out] = self.summed;
        row(
            "limiter takes checked against the bound",
            format!(
                "{}: {summed} admitted and summed, {} refused",
                takes - left_out,
                takes - left_out - summed
            ),
        );
        row(
            "of those admitted, by buckets that refused others meanwhile",
            empty.to_string(),
        );
        row("admitted in more than 1 ms: left out", left_out.to_string());
        row(
            "the most that an interval gave beyond rate × interval",
            format!("{} tokens; burst {BURST}", self.fullest),
        );
        row(
            &format!("the most that a sliding window gave in any {SLIDES:?}"),
            format!("{} of {SLIDING} tokens", self.slid),
        );
        let (summed, fullest) = self.both;
        row(
            "takes of two rates summed against the bound of each",
            summed.to_string(),
        );
        for ((rate, burst), most) in RATES.into_iter().zip(fullest) {
            row(
                &format!("the most beyond {rate} a second × interval"),
                format!("{most} tokens; burst {burst}"),
            );
        }
        let [granted, most, left, reaped] = self.leases;
        row(
            "leases granted",
            format!("{granted}, at most {most} of {PERMITS} of a key at once"),
        );
        row(
            "leases that holders may have had when they died",
            format!("{left}, {reaped} taken from them before the next rest"),
        );
        for (key, (spent, most)) in self.hot_buckets.iter().enumerate() {
            row(
                &format!("bucket b{key} in the whole run"),
                format!("gave {spent} of at most {most} tokens"),
            );
        }
        row(
            "rests at which everything was checked",
            self.batches.to_string(),
        );
        row("values compared at rest", self.values_at_rest.to_string());
        for skipped in &self.skipped {
            row("skipped", skipped.clone());
        }
        row("violations", u64::from(self.violated).to_string());
        rows
    }

    /// The document, with this run's figures.
    pub fn document(&self) -> String {
        let mut table = String::from("| | |\n|---|---|\n");
        for (what, value) in self.rows() {
            table += &format!("| {what} | {value} |\n");
        }
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = read("/proc/sys/kernel/osrelease");
        let provenance = format!(
            "Commit {}, {}, Linux {} on {} ({cores} cores), seed {}, {} nurseries.",
            self.commit.as_deref().unwrap_or("unknown"),
            today(),
            kernel.trim(),
            cpu.trim(),
            self.seed,
            self.workers
        );
        include_str!("reliability.md")
            .replace("{provenance}", &provenance)
            .replace("{table}", table.trim_end())
    }

    /// The table in the README: what was done to it in one run, and what of it.
    pub fn summary(&self) -> String {
        let (kills, in_lock) = self.kills();
        let inside: u64 = self.killed.iter().sum();
        let of = |part: &str| -> u64 {
            let faults = self.faults.iter().filter(|(name, _)| name.contains(part));
            faults.map(|(_, (tried, _))| tried).sum()
        };
        let (stops, staged) = (of("SIGSTOP"), of("staged"));
        let (calls, hits) = (thousands(self.calls()), thousands(self.hits));
        let killed = format!(
            "{}: {} inside a call, {} or more of them with a lock held",
            thousands(kills),
            thousands(inside),
            thousands(in_lock)
        );
        let leases = thousands(self.leases[0]);
        let rows = [
            ("processes killed (SIGKILL)", killed),
            ("processes stopped for a while (SIGSTOP)", thousands(stops)),
            (
                "staged: racing creators, files removed, cut or foreign, full tmpfs, no descriptors, …",
                thousands(staged),
            ),
            ("calls of the survivors, each checked", calls),
            ("cached values compared with what was set", hits),
            (
                "limiter takes summed against burst + rate × time, for every interval",
                thousands(self.summed[0]),
            ),
            ("permits granted, never more at once than their limit", leases),
            ("violations", u64::from(self.violated).to_string()),
        ];
        let mut table = format!(
            "`cargo xtask verify torture` for {:.0} s, workers in four languages on one region ([the whole table](docs/reliability.md)):\n\n| | |\n|---|---:|\n",
            self.seconds
        );
        for (what, value) in rows {
            table += &format!("| {what} | {value} |\n");
        }
        table
    }
}

/// A number as people read it.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

/// Writes a text between the two marks in a document.
pub fn between_marks(document: &str, text: &str) -> Option<String> {
    let from = document.find("<!-- torture")?;
    let from = from + document[from..].find("-->")? + 3;
    let to = document.find("<!-- /torture -->")?;
    Some(format!(
        "{}\n{text}{}",
        document.get(..from)?,
        document.get(to..)?
    ))
}

/// Today's date, UTC (days to civil by H. Hinnant's algorithm).
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(what, _)| what.chars().count()).max();
        for (what, value) in rows {
            let pad = width.unwrap_or(0) - what.chars().count();
            writeln!(f, "  {what}{}  {value}", " ".repeat(pad))?;
        }
        write!(f, "  replay with --seed {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = "a\n<!-- torture: how -->\nold\n<!-- /torture -->\nb\n";
        let expected = "a\n<!-- torture: how -->\nnew\n<!-- /torture -->\nb\n";
        assert_eq!(between_marks(document, "new\n").as_deref(), Some(expected));
        assert_eq!(between_marks("no marks", "new"), None);
    }
}
