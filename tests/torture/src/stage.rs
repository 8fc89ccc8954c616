//! Misfortunes that are staged, each in a directory of its own by a process of
//! its own with one thread, which forks those that they befall.

use crate::random::Random;
use crate::sys::{self, Fate, Forked};
use anyhow::{bail, ensure, Context, Result};
use forebay::{CacheOptions, Code, Error, LimiterOptions, Rate, Region, LAYOUT_VERSION};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A misfortune: its name for the command line, what it is in reports, and how
/// to stage it; it tells how many there were.
type Stage = (
    &'static str,
    &'static str,
    fn(&str, &mut Random) -> Result<Staged>,
);

/// What became of a staging.
#[derive(Debug)]
pub enum Staged {
    /// So many happened.
    Happened(u64),
    /// It cannot be staged here.
    Skipped(String),
}

/// All of them.
pub const STAGES: [Stage; 9] = [
    (
        "race",
        "creators that race for a new region, some killed",
        race,
    ),
    ("unlink", "file removed under a running worker", unlink),
    ("boot", "file of another boot", other_boot),
    ("layout", "file of another layout version", other_layout),
    (
        "descriptors",
        "opening with few descriptors left",
        descriptors,
    ),
    ("full", "region on a full tmpfs", full),
    (
        "clock",
        "manual clock: takers killed while it is moved",
        clock,
    ),
    ("short", "file cut short under a live mapping", short),
    ("fork", "fork with open handles, parent killed", fork),
];

/// Stages one in this directory; prints what became of it.
pub fn play(name: &str, directory: &str, seed: u64) -> Result<()> {
    let (_, what, stage) = STAGES
        .into_iter()
        .find(|(stage, ..)| *stage == name)
        .with_context(|| format!("{name}: no such stage"))?;
    sys::sleep_exactly();
    match stage(directory, &mut Random::new(seed, 77)).with_context(|| what.to_owned())? {
        Staged::Happened(times) => println!("happened {times}"),
        Staged::Skipped(why) => println!("skipped {why}"),
    }
    Ok(())
}

/// Forks a child; its error is told and is its exit status.
fn child(body: impl FnOnce() -> Result<()>) -> Result<Forked> {
    Ok(Forked::run(|| match body() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("in a child: {error:#}");
            1
        }
    })?)
}

fn must_succeed(child: Forked) -> Result<()> {
    match child.end()? {
        Fate::Exited(0) => Ok(()),
        other => bail!("a child ended with {other:?}"),
    }
}

const SMALL: u64 = 256 << 10;

fn open(path: &str) -> forebay::Result<Region> {
    Region::options().bytes(SMALL).open(path)
}

fn wait_until(at: u64) {
    while sys::now() < at {
        std::hint::spin_loop();
    }
}

/// Eight open the same new path at once; some are killed on the way. Those that
/// are left are all in one region, and nothing but its file is left behind.
fn race(directory: &str, random: &mut Random) -> Result<Staged> {
    const RACERS: u64 = 8;
    let mut races = 0;
    for round in 0..20 {
        let path = format!("{directory}/race{round}");
        let start = sys::now() + 1_000_000;
        let mut alive = Vec::new();
        let mut doomed = Vec::new();
        for _ in 0..RACERS {
            let path = path.clone();
            let racer = child(move || {
                wait_until(start);
                let region = open(&path)?;
                let limiter = region.limiter(
                    "l",
                    LimiterOptions::new(Rate::per_hour(1).burst(1000)).max_keys(64),
                )?;
                let cache = region.cache("c", CacheOptions::new().bytes(64 << 10))?;
                ensure!(limiter.allow("key"), "a token was refused");
                cache.set("key", "value");
                region.histogram("h", None)?.record_ns(1);
                Ok(())
            })?;
            if random.one_in(4) {
                doomed.push((random.below(1_500_000), racer));
            } else {
                alive.push(racer);
            }
        }
        doomed.sort_by_key(|(at, _)| *at);
        for (at, racer) in doomed {
            wait_until(start + at);
            racer.kill()?;
        }
        let finished = alive.len() as u64;
        for racer in alive {
            must_succeed(racer)?;
        }
        if finished > 0 {
            let region = open(&path)?;
            let count = region.histogram("h", None)?.snapshot().count();
            ensure!(
                count >= finished && count <= RACERS,
                "{finished} racers finished and {count} recorded in one region"
            );
            let used = 1000 - region.limiter("l", None)?.peek("key").remaining;
            ensure!(
                used >= finished && used <= RACERS,
                "{finished} racers finished and {used} tokens are spent"
            );
            let names = region.objects();
            ensure!(names.len() == 3, "objects exist twice: {names:?}");
        }
        races += 1;
    }
    let left: Vec<_> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with("race"))
        .collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(Staged::Happened(races))
}

/// A worker goes on in the region that it has; a new one gets a new region.
fn unlink(directory: &str, random: &mut Random) -> Result<Staged> {
    let path = format!("{directory}/region");
    let old = open(&path)?;
    let cache = old.cache("c", CacheOptions::new().bytes(64 << 10))?;
    let worker_path = path.clone();
    let worker = child(move || {
        let region = open(&worker_path)?;
        let cache = region.cache("c", None)?;
        for n in 0u64.. {
            ensure!(cache.set("theirs", n.to_le_bytes()), "a set was refused");
            ensure!(cache.get("theirs").is_some(), "a value is gone");
        }
        Ok(())
    })?;
    let value = |cache: &forebay::Cache| cache.get("theirs").map(|v| v.to_vec());
    let deadline = Instant::now() + Duration::from_secs(10);
    while value(&cache).is_none() {
        ensure!(Instant::now() < deadline, "the worker does not begin");
    }
    let rounds = 10;
    for round in 0..rounds {
        std::fs::remove_file(&path)?;
        sys::sleep_ns(random.below(2_000_000));
        // Another process, because in this one the old mapping is known.
        let new_path = path.clone();
        must_succeed(child(move || {
            let region = Region::options().bytes(SMALL).open(&new_path)?;
            ensure!(
                region.objects().is_empty(),
                "round {round}: the new region is not new"
            );
            region.cache("c", CacheOptions::new().bytes(64 << 10))?;
            Ok(())
        })?)?;
        let before = value(&cache);
        let deadline = Instant::now() + Duration::from_secs(2);
        while value(&cache) == before {
            ensure!(Instant::now() < deadline, "the worker stands still");
        }
    }
    ensure!(
        worker.kill()? == Fate::Killed(libc::SIGKILL),
        "the worker ended by itself"
    );
    Ok(Staged::Happened(rounds))
}

/// A region in a file whose header then says something else.
fn altered(directory: &str, name: &str, word: u64, value: u64) -> Result<String> {
    let path = format!("{directory}/{name}");
    let made = path.clone();
    must_succeed(child(move || {
        let region = open(&made)?;
        region.histogram("old", None)?;
        Ok(())
    })?)?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.write_all_at(&value.to_le_bytes(), word * 8)?;
    Ok(path)
}

// Words of the header, as docs/layout.md draws them.
const LAYOUT: u64 = 1;
const BOOT: u64 = 5;

fn must_fail(result: forebay::Result<Region>, code: Code) -> Result<Error> {
    match result {
        Err(error) if error.code() == code => Ok(error),
        Err(error) => bail!(
            "{} instead of {}: {error}",
            error.code().name(),
            code.name()
        ),
        Ok(_) => bail!("opened, instead of {}", code.name()),
    }
}

/// A file from before a reboot is told apart, and replaced by who may create,
/// once, also if several find it at once.
fn other_boot(directory: &str, random: &mut Random) -> Result<Staged> {
    let rounds = 5;
    for round in 0..rounds {
        let path = altered(directory, &format!("boot{round}"), BOOT, random.next())?;
        must_fail(Region::options().create(false).open(&path), Code::OtherBoot)?;
        let start = sys::now() + 1_000_000;
        let mut racers = Vec::new();
        for _ in 0..4 {
            let path = path.clone();
            racers.push(child(move || {
                wait_until(start);
                let region = open(&path)?;
                region.histogram("new", None)?.record_ns(1);
                Ok(())
            })?);
        }
        for racer in racers {
            must_succeed(racer)?;
        }
        let region = open(&path)?;
        let objects = region.objects();
        ensure!(
            objects.len() == 1,
            "the old region is still there: {objects:?}"
        );
        let count = region.histogram("new", None)?.snapshot().count();
        ensure!(count == 4, "{count} of 4 met in one region");
    }
    Ok(Staged::Happened(rounds))
}

/// A file of another layout version is told apart and left alone, and the
/// standard name of a region names the version, so that two stand side by side.
fn other_layout(directory: &str, random: &mut Random) -> Result<Staged> {
    let version = u64::from(LAYOUT_VERSION) + 1 + random.below(100);
    let path = altered(directory, "layout", LAYOUT, version)?;
    let before = std::fs::read(&path)?;
    must_fail(open(&path), Code::Layout)?;
    let elsewhere = directory.to_owned();
    must_succeed(child(move || {
        std::env::set_var("FOREBAY_DIR", &elsewhere);
        open("side-by-side")?;
        let expected = format!("{elsewhere}/side-by-side.v{LAYOUT_VERSION}");
        ensure!(
            Path::new(&expected).exists(),
            "the standard name does not tell the layout"
        );
        Ok(())
    })?)?;
    ensure!(
        std::fs::read(&path)? == before,
        "the refused file was changed"
    );
    Ok(Staged::Happened(1))
}

/// With any number of descriptors left, opening works or says why not; and it
/// works again when there are more.
fn descriptors(directory: &str, _random: &mut Random) -> Result<Staged> {
    let mut refused = 0;
    for existing in [false, true] {
        for spare in 0..8 {
            let path = format!("{directory}/region{spare}{existing}");
            if existing {
                let path = path.clone();
                must_succeed(child(move || Ok(open(&path).map(drop)?))?)?;
            }
            let trial = Forked::run(move || {
                let open_now = std::fs::read_dir("/proc/self/fd").map_or(8, Iterator::count);
                // The listing itself took one.
                let most = open_now as u64 - 1 + spare;
                let Ok(before) = sys::limit_descriptors(most) else {
                    return 2;
                };
                let outcome = open(&path);
                let _ = sys::limit_descriptors(before);
                let refused = match outcome {
                    Ok(region) => {
                        drop(region);
                        0
                    }
                    Err(Error::Io { errno, .. }) if errno == libc::EMFILE => 10,
                    Err(other) => {
                        eprintln!("with {spare} descriptors left: {other:?}");
                        return 3;
                    }
                };
                match open(&path).and_then(|region| region.histogram("h", None)) {
                    Ok(_) => refused,
                    Err(error) => {
                        eprintln!("with descriptors again: {error}");
                        4
                    }
                }
            })?;
            match trial.end()? {
                Fate::Exited(0) => {}
                Fate::Exited(10) => refused += 1,
                other => bail!("with {spare} descriptors left: {other:?}"),
            }
        }
    }
    ensure!(refused > 0, "no opening was refused");
    Ok(Staged::Happened(refused))
}

/// A region that does not fit is refused with the setting's name, never SIGBUS;
/// one that fits works.
fn full(directory: &str, _random: &mut Random) -> Result<Staged> {
    let place = directory.to_owned();
    let trial = Forked::run(move || {
        if let Err(error) = sys::mount_small(&place, 1 << 20) {
            eprintln!("no tmpfs can be mounted: {error}");
            return 10;
        }
        let path = format!("{place}/region");
        let outcome = || -> Result<()> {
            let error = must_fail(
                Region::options().bytes(4 << 20).open(&path),
                Code::OutOfSpace,
            )?;
            let told = error.to_string();
            ensure!(
                told.contains("--shm-size"),
                "the setting is not named: {told}"
            );
            ensure!(!Path::new(&path).exists(), "something was left behind");
            let region = Region::options().bytes(512 << 10).open(&path)?;
            let cache = region.cache("c", CacheOptions::new().bytes(256 << 10))?;
            std::fs::write(format!("{place}/filler"), vec![0; 600 << 10]).unwrap_or(());
            let value = [7u8; 900];
            for n in 0..2000u32 {
                ensure!(cache.set(n.to_le_bytes(), value), "a set was refused");
            }
            Ok(())
        };
        match outcome() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error:#}");
                1
            }
        }
    })?;
    match trial.end()? {
        Fate::Exited(0) => Ok(Staged::Happened(1)),
        Fate::Exited(10) => Ok(Staged::Skipped("no tmpfs can be mounted here".into())),
        other => bail!("it ended with {other:?}"),
    }
}

/// Takers are killed while the clock is moved in steps: all that was admitted
/// is at most the burst and what the clock's way earned.
fn clock(directory: &str, random: &mut Random) -> Result<Staged> {
    const BURST: u64 = 50;
    const RATE: u64 = 1000;
    let path = format!("{directory}/region");
    let region = Region::options()
        .bytes(SMALL)
        .manual_clock(true)
        .open(&path)?;
    let options = LimiterOptions::new(Rate::per_second(RATE).burst(BURST)).max_keys(64);
    let limiter = region.limiter("l", options)?;
    let mut moved = Duration::ZERO;
    let mut kills = 0;
    for _ in 0..20 {
        let mut takers = Vec::new();
        for _ in 0..3 {
            let path = path.clone();
            takers.push(child(move || {
                let region = Region::options().create(false).open(&path)?;
                let limiter = region.limiter("l", None)?;
                loop {
                    limiter.allow("key");
                }
            })?);
        }
        sys::sleep_ns(random.by_octave(200_000, 3_000_000));
        for _ in 0..random.below(5) {
            let step = Duration::from_nanos(random.by_octave(1, 100_000_000));
            region.advance(step)?;
            moved += step;
            sys::sleep_ns(random.below(300_000));
        }
        for taker in takers {
            let fate = taker.kill()?;
            ensure!(
                fate == Fate::Killed(libc::SIGKILL),
                "a taker ended: {fate:?}"
            );
            kills += 1;
        }
    }
    let admitted = limiter.stats().admitted;
    let most = BURST + (moved.as_nanos() * u128::from(RATE) / 1_000_000_000) as u64 + 1;
    ensure!(
        admitted <= most,
        "{admitted} were admitted; the clock went {moved:?}, which allows {most}"
    );
    ensure!(admitted > 0, "nothing was admitted");
    ensure!(
        region.now() == moved.as_nanos() as u64,
        "the clock went another way"
    );
    Ok(Staged::Happened(kills))
}

/// Cutting a file short ends those that touch what is gone, by SIGBUS, and
/// nobody else: workers of another region go on.
fn short(directory: &str, _random: &mut Random) -> Result<Staged> {
    let paths = [format!("{directory}/short"), format!("{directory}/whole")];
    let mut workers = Vec::new();
    for path in &paths {
        let region = open(path)?;
        region.cache("c", CacheOptions::new().bytes(64 << 10))?;
        region.histogram("h", None)?;
        let path = path.clone();
        workers.push(child(move || {
            let region = open(&path)?;
            let (cache, histogram) = (region.cache("c", None)?, region.histogram("h", None)?);
            for n in 0u64.. {
                cache.set("key", n.to_le_bytes());
                histogram.record_ns(1);
            }
            Ok(())
        })?);
    }
    let whole = workers.pop().context("a worker")?;
    let victim = workers.pop().context("a victim")?;
    let progress = |path: &str| -> Result<()> {
        let histogram = open(path)?.histogram("h", None)?;
        let before = histogram.snapshot().count();
        let deadline = Instant::now() + Duration::from_secs(10);
        while histogram.snapshot().count() == before {
            ensure!(
                Instant::now() < deadline,
                "the worker on {path} stands still"
            );
        }
        Ok(())
    };
    progress(&paths[0])?;
    progress(&paths[1])?;
    OpenOptions::new()
        .write(true)
        .open(&paths[0])?
        .set_len(4096)?;
    let fate = victim.end()?;
    ensure!(
        fate == Fate::Killed(libc::SIGBUS),
        "the victim ended with {fate:?}"
    );
    progress(&paths[1])?;
    // Opening what is left is refused by its length.
    let left = paths[0].clone();
    must_succeed(child(move || {
        must_fail(open(&left), Code::Corrupt)?;
        Ok(())
    })?)?;
    ensure!(
        whole.kill()? == Fate::Killed(libc::SIGKILL),
        "the other worker ended by itself"
    );
    Ok(Staged::Happened(1))
}

/// A child goes on with the handles of its parent when that is killed, in a
/// seat of its own; the parent's seat is free.
fn fork(directory: &str, random: &mut Random) -> Result<Staged> {
    let rounds = 10;
    let path = format!("{directory}/region");
    let region = open(&path)?;
    let count = region.histogram("done", None)?;
    let forked = region.histogram("forked", None)?;
    let cache = region.cache("c", CacheOptions::new().bytes(64 << 10))?;
    for round in 0..rounds {
        let path = path.clone();
        let pause = random.by_octave(10_000, 1_000_000);
        let parent = child(move || {
            let region = Region::options().create(false).open(&path)?;
            let (cache, done) = (region.cache("c", None)?, region.histogram("done", None)?);
            let forked = region.histogram("forked", None)?;
            // Not tied to its parent, which dies first.
            Forked::run_untied(move || {
                for n in 0..2000u32 {
                    cache.set(n.to_le_bytes(), "value");
                    sys::sleep_ns(1000);
                }
                done.record_ns(1);
                0
            })?;
            forked.record_ns(1);
            loop {
                sys::sleep_ns(1_000_000);
            }
        })?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while forked.snapshot().count() <= round {
            ensure!(
                Instant::now() < deadline,
                "round {round}: no child is forked"
            );
            sys::sleep_ns(10_000);
        }
        sys::sleep_ns(pause);
        parent.kill()?;
        while count.snapshot().count() <= round {
            ensure!(
                Instant::now() < deadline,
                "round {round}: the orphan does not finish"
            );
            cache.get(0u32.to_le_bytes());
            sys::sleep_ns(100_000);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while region.stats().seats != 1 {
        ensure!(
            Instant::now() < deadline,
            "{} seats are taken by one process",
            region.stats().seats
        );
    }
    Ok(Staged::Happened(rounds))
}
