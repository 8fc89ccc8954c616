//! The deep layers, each by name.

use crate::shell::{cargo, output, root, run, target};
use crate::stepper;
use anyhow::{bail, ensure, Context, Result};
use std::path::Path;
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
    /// torture: how long; 600 unless told, 90 with --quick
    #[arg(long)]
    secs: Option<u64>,
    /// torture: the seed of all random choices
    #[arg(long)]
    seed: Option<u64>,
    /// torture: processes that fork workers and kill them
    #[arg(long)]
    workers: Option<u64>,
    /// torture: write docs/reliability.md
    #[arg(long)]
    write: bool,
}

const LAYERS: [Layer; 7] = [
    (
        "search",
        "all interleavings of the slot table in small worlds",
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
        mutants,
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

/// A defect: what it is, where, what becomes of what, and which test sees it.
struct Mutant {
    defect: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    test: &'static str,
}

const MUTANTS: [Mutant; 11] = [
    Mutant {
        defect: "claims are not settled",
        file: "src/limiter/table.rs",
        from: "self.settle(words, group, mine, pending);",
        to: "let _ = words.cas(self.slot_at(group, mine) + 1, pending, in_state(pending, LIVE));",
        test: "table_search",
    },
    Mutant {
        defect: "the label is read before the time",
        file: "src/limiter/table.rs",
        from:
            "let time = words.load(at, Acquire);\n        let label = words.load(at + 1, Acquire);",
        to: "let label = words.load(at + 1, Acquire);\n        let time = words.load(at, Acquire);",
        test: "table_search",
    },
    Mutant {
        defect: "a claim does not free the slot first",
        file: "src/limiter/table.rs",
        from: "with_arrival(victim.time, arrival) ^ phase",
        to: "with_arrival(victim.time, arrival) ^ (phase & 0)",
        test: "table_search",
    },
    Mutant {
        defect: "an eviction forgets the debt",
        file: "src/limiter/table.rs",
        from: "(victim.arrival() + 1).min(LAST_ARRIVAL)",
        to: "now.min(LAST_ARRIVAL)",
        test: "table_search",
    },
    Mutant {
        defect: "no fence between a claim and its look around",
        file: "src/limiter/table.rs",
        from: "words.fence(SeqCst);",
        to: "let _ = SeqCst;",
        test: "loom_models",
    },
    Mutant {
        defect: "the lock is released without publishing",
        file: "src/region/lock.rs",
        from: "words.store(at, 0, Release);",
        to: "let _ = Release; words.store(at, 0, std::sync::atomic::Ordering::Relaxed);",
        test: "loom_models",
    },
    Mutant {
        defect: "a change does not warn readers in time",
        file: "src/cache/sequence.rs",
        from: "words.fence(Release);",
        to: "let _ = Release;",
        test: "loom_models",
    },
    Mutant {
        defect: "a read checks the sequence too early",
        file: "src/cache/sequence.rs",
        from: "words.fence(Acquire);\n    (words.load(at, Relaxed)",
        to: "let _ = Acquire;\n    (words.load(at, Relaxed)",
        test: "loom_models",
    },
    Mutant {
        defect: "a transition keeps its generation",
        file: "src/breaker/rule.rs",
        from: "generation: (self.generation + 1) & GENERATION",
        to: "generation: self.generation & GENERATION",
        test: "vectors",
    },
    Mutant {
        defect: "a probe's place is taken without an exchange",
        file: "src/breaker/words.rs",
        from: "if words.cas(LEASES + place, found, mine.pack()).is_ok() {",
        to: "words.store(LEASES + place, mine.pack(), Relaxed);\n        if true {",
        test: "loom_models",
    },
    Mutant {
        defect: "anybody may report for a probe",
        file: "src/breaker/words.rs",
        from: "if held == 0 || !lease.is_of(generation) || lease.expiry != expiry {",
        to: "if held == 0 || !lease.is_of(generation) {\n        let _ = expiry;",
        test: "vectors",
    },
];

fn mutants(_: &How) -> Result<()> {
    let place = target().join("mutants");
    let (copy, out) = (place.join("source"), place.join("target"));
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    copy_tree(&root().join("core"), &copy.join("core"))?;
    copy_tree(&root().join("tests"), &copy.join("tests"))?;
    std::fs::copy(root().join("Cargo.lock"), copy.join("Cargo.lock"))?;
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .find(|line| line.starts_with("members"))
        .context("members")?;
    std::fs::write(
        copy.join("Cargo.toml"),
        manifest.replace(members, "members = [\"core\"]"),
    )?;
    let test = |name: &str| {
        Command::new("cargo")
            .args(["test", "--package", "forebay", "--test", name])
            .current_dir(&copy)
            .env("CARGO_TARGET_DIR", &out)
            .output()
            .context("cargo test")
    };
    for name in ["table_search", "loom_models", "vectors"] {
        let result = test(name)?;
        ensure!(
            result.status.success(),
            "without a mutant {name} fails:\n{}",
            String::from_utf8_lossy(&result.stdout)
        );
    }
    let mut escaped = Vec::new();
    for mutant in &MUTANTS {
        let file = copy.join("core").join(mutant.file);
        let original = std::fs::read_to_string(&file)?;
        ensure!(
            original.matches(mutant.from).count() == 1,
            "{}: \"{}\" no longer stands there once",
            mutant.file,
            mutant.from
        );
        std::fs::write(&file, original.replace(mutant.from, mutant.to))?;
        let result = test(mutant.test)?;
        std::fs::write(&file, &original)?;
        let said = String::from_utf8_lossy(&result.stdout);
        ensure!(
            said.contains("running "),
            "{}: does not compile:\n{}",
            mutant.defect,
            String::from_utf8_lossy(&result.stderr)
        );
        let caught = !result.status.success();
        let verdict = if caught { "caught by" } else { "ESCAPED" };
        println!("{}: {verdict} {}", mutant.defect, mutant.test);
        if !caught {
            escaped.push(mutant.defect);
        }
    }
    ensure!(escaped.is_empty(), "escaped: {}", escaped.join("; "));
    println!("{} of {} mutants caught", MUTANTS.len(), MUTANTS.len());
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to)?;
        } else {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
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
