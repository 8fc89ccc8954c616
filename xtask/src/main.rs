//! `cargo xtask`: forebay's commands. Each needs no more than rustup's cargo, a
//! C and a C++ compiler, python3 and node.

mod bench;
mod c;
mod demo;
mod language;
mod layers;
mod mutants;
mod node;
mod parity;
mod python;
mod readme;
mod rust;
mod shell;
mod stepper;
mod torture;
mod verify;

use anyhow::{bail, Result};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "forebay's commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything and plays a gateway with workers in four languages.
    Demo {
        /// Arguments of the demo: `cargo xtask demo --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything that must pass, in all languages.
    Test {
        /// Faces or checks to leave out: lint, parity, rust, c, python, node, frameworks, readme.
        #[arg(long, value_delimiter = ',')]
        skip: Vec<String>,
    },
    /// The deep layers: all, or those named.
    Verify {
        /// search, step, loom, mutants, miri, fuzz, torture.
        layers: Vec<String>,
        #[command(flatten)]
        how: verify::How,
    },
    /// Ours beside the peers; writes docs/performance.md.
    Bench {
        /// Arguments of the comparison: `cargo xtask bench --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Writes include/forebay.h from its sources.
    Header {
        /// Only compare.
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/parity.md, the table of every verb in every language.
    Parity {
        /// Only compare.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    // Not returned from main: a backtrace of ours is no use to anybody.
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo { arguments } => demo::demo(arguments),
        Command::Test { skip } => test(&skip),
        Command::Verify { layers, how } => verify::verify(&layers, &how),
        Command::Bench { arguments } => bench::bench(arguments),
        Command::Header { check } => header(check),
        Command::Parity { check } => parity::parity(check),
    }
}

/// A step of the test command: what `--skip` calls it, what it needs, and what
/// it does.
type Step = (&'static str, &'static [&'static str], fn() -> Result<()>);

const STEPS: [Step; 8] = [
    ("lint", &["cargo"], lint),
    ("parity", &[], || parity::parity(true)),
    ("rust", &["cargo"], rust::test),
    ("c", &["cc", "c++"], || {
        header(true)?;
        c::test().map(|_| ())
    }),
    ("python", &["python3"], python::test),
    ("node", &["node", "npm"], node::test),
    ("frameworks", &["node", "npm"], node::test_frameworks),
    ("readme", &["c++", "python3", "node"], readme::test),
];

fn test(skip: &[String]) -> Result<()> {
    for name in skip {
        if !STEPS.iter().any(|(step, ..)| step == name) {
            let known: Vec<_> = STEPS.iter().map(|(step, ..)| *step).collect();
            bail!("--skip {name}: not one of {}", known.join(", "));
        }
    }
    let mut skipped = Vec::new();
    let files = rust::bad_files()?;
    // Every face opens the same bad files and compares the same sentences.
    std::env::set_var("FOREBAY_BAD_FILES", files);
    for (name, tools, step) in STEPS {
        if skip.iter().any(|s| s == name) {
            skipped.push(name);
            continue;
        }
        for tool in tools {
            if !shell::have(tool) {
                bail!("{name} needs {tool}, which is not here; install it or say --skip {name}");
            }
        }
        println!("\n== {name}");
        step()?;
    }
    println!();
    for name in &skipped {
        println!("skipped, as asked: {name}");
    }
    println!(
        "{} of {} steps passed",
        STEPS.len() - skipped.len(),
        STEPS.len()
    );
    Ok(())
}

fn lint() -> Result<()> {
    layers::check()?;
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// The header is made by cbindgen, which only this command is built with.
fn header(check: bool) -> Result<()> {
    if cfg!(feature = "header") {
        return c::header(check);
    }
    let mut command = shell::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--features",
        "header",
    ]);
    // A directory of its own, else the two xtasks keep replacing one another.
    command
        .arg("--target-dir")
        .arg(shell::target().join("header"));
    command.args(["--", "header"]);
    if check {
        command.arg("--check");
    }
    shell::run(&mut command)
}
