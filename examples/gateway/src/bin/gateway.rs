//! The gateway's coordinator: opens the region, starts the workers, plays a log,
//! and says how it went. Exit status 0 when every check holds, 1 otherwise.

use anyhow::{bail, ensure, Context, Result};
use clap::Parser;
use forebay::Region;
use gateway::checks::{nothing_is_left_behind, Evidence, Verdict};
use gateway::counted::{Counted, Leftovers};
use gateway::crew::Language;
use gateway::generate::generate;
use gateway::log::Log;
use gateway::objects::{Objects, Setup};
use gateway::parse::parse;
use gateway::play::{play, Staff};
use gateway::progress::Progress;
use gateway::report::Report;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Requests a second, unless told.
const PACE: u64 = 25_000;

/// Plays an access log through workers that share one forebay region.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Workers at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// Requests of a generated log
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    requests: u64,
    /// Seed of a generated log
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play this access log (common or combined format) instead
    #[arg(long)]
    log: Option<PathBuf>,
    /// How long to play; 25,000 requests a second unless told, at least 4 s
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=3_600))]
    seconds: Option<u64>,
    /// Workers in Rust: program and first arguments [default: gateway-worker beside this program]
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    rust: Vec<String>,
    /// Workers in C++
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    cpp: Vec<String>,
    /// Workers in Python
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    python: Vec<String>,
    /// Workers in Node
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    node: Vec<String>,
}

impl Arguments {
    /// The languages that there is a command for.
    fn languages(&self) -> Result<Vec<Language>> {
        let mut languages: Vec<Language> = [
            ("Rust", &self.rust),
            ("C++", &self.cpp),
            ("Python", &self.python),
            ("Node", &self.node),
        ]
        .into_iter()
        .filter(|(_, command)| !command.is_empty())
        .map(|(name, command)| Language {
            name,
            command: command.clone(),
        })
        .collect();
        if languages.is_empty() {
            let beside = std::env::current_exe()?.with_file_name("gateway-worker");
            let program = beside
                .to_str()
                .context("the path of this program is not UTF-8")?;
            ensure!(
                beside.exists(),
                "{program} is missing: build it, or give a command"
            );
            languages.push(Language {
                name: "Rust",
                command: vec![program.to_owned()],
            });
        }
        Ok(languages)
    }

    fn read_log(&self) -> Result<Log> {
        let run = |requests: u64| {
            Duration::from_secs(self.seconds.unwrap_or_else(|| (requests / PACE).max(4)))
        };
        let Some(path) = &self.log else {
            return Ok(generate(
                self.requests as usize,
                run(self.requests),
                self.seed,
            ));
        };
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        let parsed =
            parse(&bytes, run(lines as u64)).with_context(|| path.display().to_string())?;
        println!(
            "{}: {} bad lines and {} requests other than GET and HEAD left out",
            path.display(),
            parsed.bad,
            parsed.uncacheable
        );
        Ok(parsed.log)
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays and reports; whether every check holds.
fn run(arguments: &Arguments) -> Result<bool> {
    let languages = arguments.languages()?;
    let log = arguments.read_log()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;

    let files = tempfile::Builder::new()
        .prefix("gateway-")
        .tempdir()
        .context("no temporary directory")?;
    let file = files.path().join("requests.tsv");
    log.write(&mut BufWriter::new(File::create(&file)?))?;

    let setup = Setup {
        run: log.run,
        minute: log.minute,
        max_keys: (log.clients.len() as u64 * 4).max(65_536),
    };
    let name = format!("gateway-{}", std::process::id());
    let region = Region::options()
        .bytes(setup.region_bytes())
        .fresh(true)
        .ephemeral(true)
        .open(&name)?;
    introduce(arguments, &languages, &log, &region, &name);

    let staff = Staff {
        languages: &languages,
        workers: usize::from(arguments.workers),
        arguments: vec![
            name.clone(),
            utf8(&file)?.to_owned(),
            setup.run.as_nanos().to_string(),
            setup.minute.as_nanos().to_string(),
            setup.max_keys.to_string(),
        ],
    };
    let progress = Progress::new(log.requests.len());
    let played = play(&log, &region, &staff, &interrupted, &progress);
    progress.finish();
    let played = played?;

    let objects = Objects::attach(&region)?;
    // In this order: looking at the leftovers counts as hits and misses.
    let counted = Counted::read(&objects);
    let evidence = Evidence {
        log: &log,
        play: &played,
        counted,
        leftovers: Leftovers::read(&objects, &log),
        open_for: setup.open_for(),
    };
    let (latency, events) = (objects.latency.snapshot(), region.events(0));
    let (path, others) = (region.path().map(Path::to_owned), region.stats().seats - 1);
    drop((objects, region));

    let mut checks = evidence.checks();
    checks.push(nothing_is_left_behind(path.as_deref(), others));
    let report = Report {
        evidence: &evidence,
        latency: &latency,
        events: &events,
        checks: &checks,
    };
    println!("{report}");
    let failed = (checks.iter().filter(|check| check.verdict == Verdict::Fail)).count();
    println!(
        "{}",
        match failed {
            0 => "every check that applies holds".to_owned(),
            _ => format!("{failed} of {} checks failed", checks.len()),
        }
    );
    Ok(failed == 0)
}

/// Says what is going to happen, and how to look at it meanwhile.
fn introduce(
    arguments: &Arguments,
    languages: &[Language],
    log: &Log,
    region: &Region,
    name: &str,
) {
    let names: Vec<&str> = languages.iter().map(|language| language.name).collect();
    println!(
        "{} requests of {} clients for {} pages in {} s ({})",
        log.requests.len(),
        log.clients.len(),
        log.pages.len(),
        log.run.as_secs(),
        log.title
    );
    println!(
        "{} workers: {} in turn",
        arguments.workers,
        names.join(", ")
    );
    let path = region.path().map(|path| path.display().to_string());
    println!("region {name}: {}", path.unwrap_or_default());
    if !arguments.python.is_empty() {
        let modules = match std::env::var("PYTHONPATH") {
            Ok(path) => format!("PYTHONPATH={path} "),
            Err(_) => String::new(),
        };
        println!(
            "open it live: {modules}{} -c \"import forebay; print(forebay.open('{name}', create=False).cache('pages').stats())\"",
            arguments.python[0]
        );
    }
}

fn utf8(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(path) => Ok(path),
        None => bail!("{} is not UTF-8", path.display()),
    }
}
