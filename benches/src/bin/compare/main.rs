//! Times forebay beside its peers and how late waiters wake, counts allocations
//! and measures memory:
//! `cargo run --release -p forebay-benches --bin compare -- --help`.

mod allocations;
mod memory;
mod waiting;

use anyhow::{ensure, Context, Result};
use clap::Parser;
use forebay_benches::rounds::{self, Plan};
use forebay_benches::{groups, report};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// forebay beside its peers: each operation by both in short alternating
/// rounds, hot calls' allocations counted, memory measured.
#[derive(Parser)]
struct Options {
    /// Rounds that count.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Milliseconds of one side in one round.
    #[arg(long, default_value_t = 50)]
    millis: u64,
    /// Numbers of threads.
    #[arg(long, default_values_t = [1, 2], value_delimiter = ',')]
    threads: Vec<usize>,
    /// Only operations whose name, or whose peer's, contains this.
    #[arg(long)]
    only: Option<String>,
    /// Writes all tables to this file, in Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0, "--rounds must be above zero");
    ensure!(options.millis > 0, "--millis must be above zero");
    ensure!(
        options.threads.iter().all(|threads| *threads > 0),
        "--threads must be above zero"
    );
    let mut text = String::new();
    let mut section = |title: &str, about: &str, table: &str| {
        let section = format!("## {title}\n\n{about}\n\n{table}\n");
        print!("{section}");
        text.push_str(&section);
    };
    for group in groups() {
        let rows = rows(&group, &options);
        if !rows.is_empty() {
            section(group.title, group.about, &report::comparisons(&rows));
        }
    }
    if options.only.is_none() {
        section("Waiting", waiting::ABOUT, &waiting::measure()?.markdown());
        section(
            "Allocations",
            allocations::ABOUT,
            &allocations::count()?.markdown(),
        );
        section("Memory", memory::ABOUT, &memory::measure()?.markdown());
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn rows(group: &forebay_benches::operations::Group, options: &Options) -> Vec<rounds::Row> {
    let plan = Plan {
        rounds: options.rounds,
        time: Duration::from_millis(options.millis),
    };
    let only = options.only.as_deref().unwrap_or("");
    let mut rows = Vec::new();
    for comparison in (group.build)() {
        let mut name = comparison.operation.clone();
        let _ = write!(name, " {}", comparison.peer.name);
        if !name.contains(only) {
            continue;
        }
        for threads in &options.threads {
            rows.push(rounds::compare(&comparison, *threads, plan));
        }
    }
    rows
}
