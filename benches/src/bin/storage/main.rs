//! What the cache's storage costs: memory, pieces, reads and sets, beside
//! other ways to do it: `cargo run --release -p forebay-benches --bin storage`.

mod churn;
mod heap;
mod memory;
mod reads;
mod sets;
mod sizes;
mod stores;

use anyhow::{Context, Result};
use clap::Parser;
use std::path::PathBuf;

/// What the cache's storage costs: memory, pieces, reads and sets, beside
/// other ways to do it.
#[derive(Parser)]
struct Options {
    /// Sets of each churn, after the cache is full.
    #[arg(long, default_value_t = 1_000_000)]
    sets: usize,
    /// Rounds of each timing of reads.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Only sections whose title contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes all tables to this file, in Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

type Section = (
    &'static str,
    &'static str,
    fn(&Options) -> Result<forebay_benches::report::Table>,
);

const SECTIONS: &[Section] = &[
    ("Memory over key and value", memory::ABOUT, |o| {
        memory::overhead(o.sets)
    }),
    ("Other ways to store", memory::ABOUT_OTHERS, |o| {
        memory::others(o.sets)
    }),
    ("Runs of an item", memory::ABOUT_RUNS, |o| {
        memory::runs(o.sets)
    }),
    ("Cells kept free", memory::ABOUT_SPARE, |o| {
        memory::spare(o.sets)
    }),
    ("Reads", reads::ABOUT, |o| reads::table(o.rounds)),
    ("Sets in a full cache", sets::ABOUT, |o| {
        sets::churned(o.sets)
    }),
    ("Sets at their worst", sets::ABOUT_WORST, |_| sets::worst()),
];

fn main() -> Result<()> {
    let options = Options::parse();
    let mut text = String::new();
    for (title, about, table) in SECTIONS {
        if title.contains(&options.only) {
            let table = table(&options)?.markdown();
            let section = format!("## {title}\n\n{about}\n\n{table}\n");
            print!("{section}");
            text.push_str(&section);
        }
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
