//! `cargo xtask bench`: forebay beside its peers on this machine, written to
//! docs/performance.md with all that one needs to repeat it.

use crate::shell::{cargo, output, root, run, target};
use anyhow::{Context, Result};
use clap::Parser;
use std::path::Path;
use std::process::Command;

/// Compares forebay with its peers and writes docs/performance.md
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// Few short rounds, to see that all is well: printed, not written to docs
    #[arg(long)]
    quick: bool,
    /// Rounds that count, of each operation
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds of one side in one round
    #[arg(long)]
    millis: Option<u64>,
}

/// Builds the comparison, runs it and writes the page. `args` are what follows
/// `bench` on the command line.
pub fn bench(args: Vec<String>) -> Result<()> {
    let name = "cargo xtask bench".to_owned();
    let options = match Options::try_parse_from(std::iter::once(name).chain(args)) {
        Ok(options) => options,
        // Also what --help comes back as: print it and leave with its status.
        Err(error) => error.exit(),
    };
    let (rounds, millis) = match options.quick {
        true => (3, 20),
        false => (11, 50),
    };
    let rounds = options.rounds.unwrap_or(rounds);
    let millis = options.millis.unwrap_or(millis);

    run(cargo().args([
        "build",
        "--release",
        "--package",
        "forebay-benches",
        "--package",
        "forebay-stepper",
    ]))?;
    let machine = machine();
    let tables = target().join("performance-tables.md");
    let program = target()
        .join("release")
        .join(format!("compare{}", std::env::consts::EXE_SUFFIX));
    run(Command::new(&program)
        .args(["--rounds", &rounds.to_string()])
        .args(["--millis", &millis.to_string()])
        .arg("--markdown")
        .arg(&tables))?;
    // Also in a quick run: it takes a second, and no quiet machine.
    let stepper = target().join("release/forebay-stepper");
    let instructions = output(Command::new(stepper).arg("count"))?;
    print!("{instructions}");
    if options.quick {
        return Ok(());
    }
    let tables = std::fs::read_to_string(&tables)
        .with_context(|| format!("cannot read {}", tables.display()))?
        + &instructions;
    let page = root().join("docs").join("performance.md");
    write(&page, &page_text(&machine, rounds, millis, &tables))?;
    println!("written: {}", page.display());
    Ok(())
}

fn page_text(machine: &[(&str, String)], rounds: usize, millis: u64, tables: &str) -> String {
    let machine: String = machine
        .iter()
        .map(|(what, value)| format!("| {what} | {value} |\n"))
        .collect();
    format!(
        "# Performance

forebay beside the crates that programs use today, on the same operations, in one
process; then how late waiters wake, and what calls allocate, take and execute. This page
is written by `cargo xtask bench`; nothing on it is edited by hand.

| | |
|---|---|
{machine}| command | `cargo xtask bench --rounds {rounds} --millis {millis}` |
| build | `--release`: optimised, without fat link-time optimisation, for any processor of the architecture |

## How to read it

- Every comparison first asserts that both sides give the right answers.
- A **round** times forebay for {millis} ms and its peer for {millis} ms, in turn first. A row
  shows the median of {rounds} rounds in nanoseconds a call, as the calling thread sees it, and the
  ratio: forebay's time in terms of the peer's, taken within each round, median and
  extremes. Below 1 forebay is faster.
- **Ratios are what carries over** to another machine, nanoseconds are not. Where the extremes lie
  far apart, other programs had the processor: run it again on a quiet machine. Each row has
  forebay's time anew, so it may differ between rows of one operation.
- With two threads, both work on the same object all the time, which no service does: it shows
  what contention costs.
- A peer does not always do the same work: what differs is said above each table.

{tables}"
    )
}

/// What the figures were measured on.
fn machine() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|load| load.split(' ').next().map(str::to_owned));
    vec![
        ("date", told("date", &["-u", "+%Y-%m-%d"])),
        ("commit", commit()),
        ("processor", processor()),
        ("cores", cores.to_string()),
        ("kernel", told("uname", &["-srm"])),
        (
            "load at the start",
            load.unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("compiler", told("rustc", &["--version"])),
    ]
}

fn commit() -> String {
    let commit = told("git", &["rev-parse", "--short=12", "HEAD"]);
    let changes = told(
        "git",
        &["status", "--porcelain", "--", ".", ":!docs/performance.md"],
    );
    match changes.as_str() {
        "" => commit,
        _ => format!("{commit}, with changes that are not committed"),
    }
}

fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| {
        let (what, model) = line.split_once(':')?;
        (what.trim() == "model name").then(|| model.trim().to_owned())
    });
    model.unwrap_or_else(|| told("sysctl", &["-n", "machdep.cpu.brand_string"]))
}

/// What a program says about the machine; figures without it are better than none.
fn told(program: &str, arguments: &[&str]) -> String {
    output(Command::new(program).args(arguments).current_dir(root()))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
