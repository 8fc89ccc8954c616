//! The deep layers, each by name.

use crate::shell::{cargo, output, root, run, target};
use crate::{mutants, stepper};
use anyhow::{bail, Context, Result};
use std::process::Command;

/// A layer: its name, what it is, and how to run it (quickly).
type Layer = (&'static str, &'static str, fn(&How) -> Result<()>);

/// How the layers are run.
#[derive(clap::Args)]
pub struct How {
    /// A size that fits in continuous integration
    #[arg(long)]
    quick: bool,
    /// Layers to leave out because a tool cannot be had; of torture, also the
    /// languages cpp, python, node
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,
    /// mutants: only the defects whose names contain this
    #[arg(long)]
    defect: Option<String>,
    /// torture: how long; 600 unless told, 90 with --quick
    #[arg(long)]
    secs: Option<u64>,
    /// torture: the seed of all random choices
    #[arg(long)]
    seed: Option<u64>,
    /// torture: processes that fork workers and kill them
    #[arg(long)]
    workers: Option<u64>,
    /// torture: write docs/reliability.md and the table in README.md
    #[arg(long)]
    write: bool,
}

const LAYERS: [Layer; 7] = [
    (
        "search",
        "all interleavings of the slot table, of rates and of permits in small worlds",
        search,
    ),
    (
        "step",
        "real processes, killed after each single instruction",
        |how| stepper::step(how.quick),
    ),
    ("loom", "orderings of the pieces, by loom", loom),
    (
        "mutants",
        "each named defect is caught by its named test",
        |how| mutants::mutants(how.defect.as_deref()),
    ),
    (
        "miri",
        "undefined behaviour and data races over private regions, by Miri",
        miri,
    ),
    (
        "fuzz",
        "hostile files and calls against a model, by libFuzzer",
        fuzz,
    ),
    (
        "torture",
        "processes in four languages killed, stopped and starved",
        torture,
    ),
];

/// Runs the layers named, or all.
pub fn verify(names: &[String], how: &How) -> Result<()> {
    let skip: Vec<&String> = how.skip.iter().filter(|s| !is_language(s)).collect();
    for name in names.iter().chain(skip.iter().copied()) {
        if !LAYERS.iter().any(|(layer, ..)| layer == name) {
            let known: Vec<_> = LAYERS.iter().map(|(layer, ..)| *layer).collect();
            bail!("{name}: not one of {}", known.join(", "));
        }
    }
    for (name, what, layer) in LAYERS {
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        if skip.iter().any(|s| *s == name) {
            println!("\n== {name}: SKIPPED, as asked: {what}");
            continue;
        }
        println!("\n== {name}: {what}");
        let started = std::time::Instant::now();
        layer(how).with_context(|| format!("verify {name}"))?;
        println!("== {name}: passed in {:.0?}", started.elapsed());
    }
    Ok(())
}

fn search(_: &How) -> Result<()> {
    run(cargo()
        .args([
            "test",
            "--release",
            "--package",
            "forebay",
            "--test",
            "table_search",
            "--test",
            "rates_search",
            "--test",
            "permits_search",
        ])
        .args(["--", "--nocapture"]))
}

fn loom(_: &How) -> Result<()> {
    run(cargo()
        .args([
            "test",
            "--release",
            "--package",
            "forebay",
            "--test",
            "loom_models",
        ])
        .args(["--", "--nocapture", "--test-threads=1"]))
}

fn miri(how: &How) -> Result<()> {
    let seeds = if how.quick { "0..4" } else { "0..64" };
    run(Command::new("cargo")
        .current_dir(root())
        // Set by the cargo that runs us; rustup must choose anew.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env(
            "MIRIFLAGS",
            format!("-Zmiri-disable-isolation -Zmiri-many-seeds={seeds}"),
        )
        .args(["+nightly", "miri", "test", "--package", "forebay"])
        .args(["--test", "miri_private"]))
}

const FUZZ_TARGETS: [&str; 6] = [
    "region_file",
    "region_words",
    "region_patched",
    "region_adversary",
    "api_sequences",
    "cache_model",
];

/// The flags with which libFuzzer sees which code an input reaches.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Cdebug-assertions --cfg fuzzing";

fn fuzz(how: &How) -> Result<()> {
    let seconds = if how.quick { 15 } else { 600 };
    let host = output(Command::new("rustc").arg("-vV"))?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc's host")?
        .to_owned();
    let out = target().join("fuzz");
    run(Command::new("cargo")
        .current_dir(root().join("fuzz"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", &out)
        .args(["+nightly", "build", "--release", "--target", &host]))?;
    for name in FUZZ_TARGETS {
        let corpus = target().join("fuzz-corpus").join(name);
        std::fs::create_dir_all(&corpus)?;
        println!("{name}: {seconds} s");
        run(Command::new(out.join(&host).join("release").join(name))
            .current_dir(&corpus)
            .arg(&corpus)
            .args([
                &format!("-max_total_time={seconds}"),
                "-print_final_stats=1",
                "-verbosity=0",
                "-timeout=10",
                "-rss_limit_mb=4096",
                "-max_len=4096",
                // Long inputs from the beginning: the targets are sequences of calls.
                "-len_control=0",
            ]))?;
    }
    Ok(())
}

fn is_language(name: &str) -> bool {
    ["cpp", "python", "node"].contains(&name)
}

fn torture(how: &How) -> Result<()> {
    let secs = how.secs.unwrap_or(if how.quick { 90 } else { 600 });
    let mut arguments = vec!["--secs".to_owned(), secs.to_string()];
    for (flag, value) in [("--seed", how.seed), ("--workers", how.workers)] {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value.to_string()]);
        }
    }
    for language in how.skip.iter().filter(|name| is_language(name)) {
        arguments.extend(["--skip".to_owned(), language.clone()]);
    }
    if how.write {
        arguments.push("--write".to_owned());
    }
    crate::torture::torture(arguments)
}
