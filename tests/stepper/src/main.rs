//! Kills a real process after each single instruction of each operation, and has
//! another one go on: `cargo xtask verify step`.
//!
//! - [`operations`], [`quota_operations`]: in which operations, from which states.
//! - [`quotas`]: several rates, windows and permits: the objects and what
//!   survivors do with them.
//! - [`steps`]: death after each instruction, and of repairers in turn.
//! - [`opening`]: death at each system call of opening a region.
//! - [`survivor`]: what the next one must find and be able to do.
//! - [`count`]: the same steps, counted for hot calls: `cargo xtask bench`.

fn main() -> std::process::ExitCode {
    match platform::main() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    pub fn main() -> anyhow::Result<()> {
        println!("SKIPPED: single steps need ptrace as Linux has it");
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod opening;
#[cfg(target_os = "linux")]
mod operations;
#[cfg(target_os = "linux")]
mod quota_operations;
#[cfg(target_os = "linux")]
mod quotas;
#[cfg(target_os = "linux")]
mod steps;
#[cfg(target_os = "linux")]
mod survivor;
#[cfg(target_os = "linux")]
mod trace;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
mod platform {
    use crate::steps::{self, Size, Tally};
    use crate::watch::Watch;
    use crate::world::World;
    use crate::{count, opening, survivor, trace};
    use anyhow::{bail, ensure, Result};
    use std::os::unix::fs::DirBuilderExt;
    use std::path::{Path, PathBuf};

    /// A directory of this run's own.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Result<Place> {
            let shared = Path::new("/dev/shm");
            let parent = if shared.is_dir() {
                shared.to_owned()
            } else {
                std::env::temp_dir()
            };
            let path = parent.join(format!("forebay-stepper-{}", std::process::id()));
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            Ok(Place(path))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub fn main() -> Result<()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["nobody"] => {
                trace::mark();
                Ok(())
            }
            ["victim", name, path] => steps::be_victim(name, Path::new(path)),
            ["opener", name, path] => opening::be_victim(name, Path::new(path)),
            ["next", name, path] => opening::be_next(name, Path::new(path)),
            ["counted", call] => count::be_victim(call),
            ["count"] => print_counts(),
            [] => run(false, ""),
            ["--quick"] => run(true, ""),
            [only] => run(false, only),
            ["--quick", only] => run(true, only),
            _ => bail!("usage: forebay-stepper [--quick] [PART OF AN OPERATION'S NAME] | count"),
        }
    }

    /// Why single steps cannot be had on this processor.
    fn lacks() -> Option<&'static str> {
        #[cfg(target_arch = "x86_64")]
        return None;
        #[cfg(target_arch = "aarch64")]
        return (!std::arch::is_aarch64_feature_detected!("lse"))
            .then_some("exclusive stores never succeed between single steps");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        return Some("only x86-64 and aarch64 are known to step right");
    }

    /// Why nothing can be stepped here, if so.
    fn skipped() -> Option<String> {
        if let Err(error) = trace::is_allowed() {
            return Some(format!("processes cannot be traced here: {error:#}"));
        }
        lacks().map(str::to_owned)
    }

    fn print_counts() -> Result<()> {
        match skipped() {
            Some(why) => println!("## Instructions\n\nNot counted: {why}.\n"),
            None => print!("{}", count::count()?),
        }
        Ok(())
    }

    fn run(quick: bool, only: &str) -> Result<()> {
        if let Some(why) = skipped() {
            println!("SKIPPED: {why}");
            return Ok(());
        }
        let place = Place::new()?;
        let watch = Watch::start();
        let path = place.0.join("region");
        let room = survivor::fill(&World::create(&path)?)?;
        ensure!(
            room == survivor::ROOM,
            "an empty cache has room for {room:?}"
        );
        let size = if quick {
            Size { kills: 6, pairs: 2 }
        } else {
            Size {
                kills: 60,
                pairs: 20,
            }
        };
        let (mut first, mut second) = (Tally::default(), Tally::default());
        println!(
            "{:>12} {:>7} {:>9} {:>6}",
            "instructions", "states", "lock held", "kills"
        );
        for operation in steps::all(only) {
            let (tally, repairs) = steps::step(operation, &path, &size, &watch)?;
            println!(
                "{:>12} {:>7} {:>9} {:>6}  {}",
                tally.instructions, tally.states, tally.held, tally.kills, operation.name
            );
            first.add(tally);
            second.add(repairs);
        }
        let mut opened = Tally::default();
        println!("{:>12} {:>15}", "system calls", "temporary names");
        for opening in opening::ALL
            .iter()
            .filter(|opening| opening.name.contains(only))
        {
            let calls = opening::step(opening, &place.0, &watch, &mut opened)?;
            println!(
                "{:>12} {:>15}  {}",
                calls.points, calls.temporary, opening.name
            );
        }
        for (what, tally) in [("operations", &first), ("repairs", &second)] {
            println!(
                "{what}: {}, {} instructions, {} distinct states, {} with a lock held, {} processes killed, {} violations",
                tally.operations,
                tally.instructions,
                tally.states,
                tally.held,
                tally.kills,
                tally.violations.len()
            );
        }
        println!(
            "openings: {} processes killed, {} violations",
            opened.kills,
            opened.violations.len()
        );
        let violations: Vec<String> = [first, second, opened]
            .into_iter()
            .flat_map(|tally| tally.violations)
            .collect();
        for violation in violations.iter().take(20) {
            println!("VIOLATION: {violation}");
        }
        ensure!(violations.is_empty(), "{} violations", violations.len());
        Ok(())
    }
}
