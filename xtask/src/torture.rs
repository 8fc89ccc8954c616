//! `cargo xtask verify torture`: builds the workers in all languages and kills
//! them for a while, with every promise checked on what they saw.

use crate::language::Language;
use crate::shell::{cargo, have, output, root, run, target};
use anyhow::{bail, Context, Result};
use clap::{value_parser, Parser};
use std::path::PathBuf;
use std::process::Command;

/// Kill, stop and starve processes in four languages that share a region
#[derive(Parser)]
#[command(name = "torture", no_binary_name = true)]
struct Torture {
    /// How long, 1 to 86,400
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u64).range(1..=86_400))]
    secs: u64,
    /// The seed of all random choices; by the clock unless told
    #[arg(long)]
    seed: Option<u64>,
    /// Processes that fork Rust workers and kill them, 1 to 32
    #[arg(long, value_parser = value_parser!(u64).range(1..=32))]
    workers: Option<u64>,
    /// Leave languages out: those whose tools are missing
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Language>,
    /// Write docs/reliability.md and the table in README.md
    #[arg(long)]
    write: bool,
}

/// Runs it; fails on any violation.
pub fn torture(arguments: Vec<String>) -> Result<()> {
    let torture = Torture::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    let languages: Vec<Language> = (Language::ALL.into_iter())
        .filter(|language| !torture.skip.contains(language))
        .collect();
    for language in &languages {
        let (program, name) = (language.program(), language.name());
        if !have(&program) {
            bail!("{program} cannot be run: install it, or leave it out with --skip {name}");
        }
    }
    run(cargo().args(["build", "--release", "--package", "forebay-torture"]))?;
    let mut command = Command::new(target().join("release/forebay-torture"));
    command.args(["run", "--secs", &torture.secs.to_string()]);
    for language in languages {
        command.arg(format!("--{}", language.name()));
        match language {
            Language::Cpp => command.arg(compile()?),
            Language::Python => command
                .env("PYTHONPATH", crate::python::build(true)?)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg(python()?)
                .arg(source("worker.py")),
            Language::Node => {
                // Beside node_modules, where its import finds the package.
                let worker = crate::node::build(true)?.join("torture-worker.mjs");
                std::fs::copy(source("worker.mjs"), &worker)
                    .with_context(|| format!("cannot write {}", worker.display()))?;
                command.arg(language.program()).arg(worker)
            }
        };
    }
    for (flag, value) in [("--seed", torture.seed), ("--workers", torture.workers)] {
        if let Some(value) = value {
            command.arg(flag).arg(value.to_string());
        }
    }
    if torture.write {
        command
            .arg("--write")
            .arg(root().join("docs/reliability.md"))
            .arg("--summary")
            .arg(root().join("README.md"))
            .args(["--commit", &commit()]);
    }
    // Set by the cargo that runs us, to the debug build's libraries: the C++
    // worker would load those, of whatever commit, and not its own.
    run(command.env_remove("LD_LIBRARY_PATH"))
}

/// The commit that is checked out, and whether files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(root()).args(arguments));
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let clean = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        "core",
        "bindings",
        "ffi",
        "tests",
    ])
    .is_ok_and(|changes| changes.is_empty());
    let also = if clean { "" } else { " with changes" };
    format!("{}{also}", commit.trim())
}

/// The interpreter itself: a launcher in between would be what the signals hit.
fn python() -> Result<String> {
    let asked = ["-c", "import sys; print(sys.executable)"];
    let path = output(Command::new(Language::Python.program()).args(asked))?;
    Ok(path.trim().to_owned())
}

fn source(name: &str) -> PathBuf {
    root().join("tests/torture").join(name)
}

/// Compiles the C++ worker against the shared library.
fn compile() -> Result<PathBuf> {
    let library = crate::c::build(true)?;
    let program = target().join("torture-worker-cpp");
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(&library);
    run(Command::new(Language::Cpp.program())
        .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(source("worker.cpp"))
        .arg("-I")
        .arg(root().join("include"))
        .arg("-L")
        .arg(&library)
        .args(["-lforebay", "-pthread"])
        .arg(rpath))?;
    Ok(program)
}
