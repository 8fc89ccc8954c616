//! `cargo xtask demo`: builds every face and plays the gateway through them.

use crate::language::Language;
use crate::shell::{cargo, have, root, run, target};
use anyhow::{bail, ensure, Context, Result};
use clap::{value_parser, Parser};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Play an access log through eight workers in four languages that share one region
#[derive(Parser)]
#[command(name = "cargo xtask demo", no_binary_name = true)]
struct Demo {
    /// Workers at once, 1 to 16
    #[arg(long, value_parser = value_parser!(u8).range(1..=16))]
    workers: Option<u8>,
    /// Requests of a generated log, 1,000 to 10,000,000
    #[arg(long, value_parser = value_parser!(u64).range(1_000..=10_000_000))]
    requests: Option<u64>,
    /// Seed of a generated log
    #[arg(long)]
    seed: Option<u64>,
    /// Play this access log (common or combined format) instead
    #[arg(long)]
    log: Option<PathBuf>,
    /// How long to play, 2 to 3,600
    #[arg(long, value_parser = value_parser!(u64).range(2..=3_600))]
    seconds: Option<u64>,
    /// Leave languages out: those whose tools are missing
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Language>,
}

/// Runs the demo; fails if any of its checks does.
pub fn demo(args: Vec<String>) -> Result<()> {
    let demo = Demo::try_parse_from(args).unwrap_or_else(|error| error.exit());
    if let Some(log) = &demo.log {
        ensure!(log.is_file(), "--log {}: no such file", log.display());
    }
    let languages: Vec<Language> = (Language::ALL.into_iter())
        .filter(|language| !demo.skip.contains(language))
        .collect();
    for language in &languages {
        let (program, name) = (language.program(), language.name());
        if !have(&program) {
            bail!("{program} cannot be run: install it, or leave it out with --skip {name}");
        }
    }

    eprintln!("building everything ...");
    run(cargo().args(["build", "--release", "--package", "gateway"]))?;
    let gateway = target().join("release/gateway");
    let mut command = Command::new(gateway);
    command
        .arg("--rust")
        .arg(target().join("release/gateway-worker"));
    for language in &languages {
        command.arg(format!("--{}", language.name()));
        match language {
            Language::Cpp => command.arg(compile(&crate::c::build(true)?)?),
            Language::Python => command
                .env("PYTHONPATH", crate::python::build(true)?)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg(language.program())
                .arg(source("worker.py")),
            Language::Node => command
                .arg(language.program())
                .arg(beside_modules(&crate::node::build(true)?)?),
        };
    }
    for (flag, value) in [
        ("--workers", demo.workers.map(u64::from)),
        ("--requests", demo.requests),
        ("--seed", demo.seed),
        ("--seconds", demo.seconds),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value.to_string());
        }
    }
    if let Some(log) = &demo.log {
        command.arg("--log").arg(log);
    }
    let status = command.status().context("cannot start the gateway")?;
    ensure!(
        status.success(),
        "the demo failed: what it says above tells why"
    );
    Ok(())
}

fn source(name: &str) -> PathBuf {
    root().join("examples/gateway").join(name)
}

/// Compiles the C++ worker against the shared library in a directory.
fn compile(library: &Path) -> Result<PathBuf> {
    let program = target().join("gateway-worker-cpp");
    let include = root().join("include");
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(library);
    run(Command::new(Language::Cpp.program())
        .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(source("worker.cpp"))
        .arg("-I")
        .arg(include)
        .arg("-L")
        .arg(library)
        .args(["-lforebay"])
        .arg(rpath))?;
    Ok(program)
}

/// Puts the Node worker where its import finds the package: beside node_modules.
fn beside_modules(directory: &Path) -> Result<PathBuf> {
    let worker = directory.join("gateway-worker.mjs");
    std::fs::copy(source("worker.mjs"), &worker)
        .with_context(|| format!("cannot write {}", worker.display()))?;
    Ok(worker)
}
