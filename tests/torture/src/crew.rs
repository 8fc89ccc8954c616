//! The long-lived processes: nurseries, and workers in all languages. Started,
//! stopped, killed, started again, and watched: one that makes no progress is an
//! error that tells where it hangs.

use crate::log::{order, state, Log, Record, CURSOR, ORDER, STATE};
use crate::nursery::Count;
use crate::random::Random;
use crate::sys;
use crate::world::{Outside, LOCKS};
use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Release;
use std::time::{Duration, Instant};

/// Within this time, a process that is not stopped answers a call.
pub const BOUND: Duration = Duration::from_secs(2);
/// A program that starts has so long to begin.
const START: Duration = Duration::from_secs(30);

/// What a member of the crew is.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its language, or that it is a nursery, as reports call it.
    pub name: &'static str,
    /// The program and its first arguments.
    pub command: Vec<String>,
    /// Out of a thousand ticks of the run, in how many it is killed.
    pub kills: u64,
    /// And in how many it is stopped.
    pub stops: u64,
}

/// What was done to the crew.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By fault: how often, and how often a lock was held.
    pub faults: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    /// Counts a fault.
    pub fn count(&mut self, fault: impl Into<String>, tried: u64, effective: u64) {
        let sums = self.faults.entry(fault.into()).or_default();
        sums.0 += tried;
        sums.1 += effective;
    }
}

/// A process of the crew.
pub struct Member {
    kind: Kind,
    number: u32,
    starts: u32,
    seed: u64,
    region: String,
    path: PathBuf,
    log: Log,
    child: Child,
    stopped_until: Option<Instant>,
    /// The words of the locks when it was stopped.
    held: [u64; LOCKS],
    /// Its progress when last seen, and since when.
    seen: (u64, u64, u64),
    since: Instant,
    counted: [u64; Count::ALL.len()],
}

impl Member {
    /// Starts the `number`-th member.
    pub fn hire(kind: Kind, number: u32, seed: u64, region: &str) -> Result<Member> {
        let path = PathBuf::from(format!("{region}.log{number}"));
        let log = Log::create(&path)?;
        log.header(ORDER).store(order::REST, Release);
        let child = start(&kind, region, &path, who(number, 0), seed)?;
        Ok(Member {
            kind,
            number,
            starts: 1,
            seed,
            region: region.to_owned(),
            path,
            log,
            child,
            stopped_until: None,
            held: Default::default(),
            seen: (0, 0, 0),
            since: Instant::now(),
            counted: Default::default(),
        })
    }

    /// Its title in errors.
    pub fn title(&self) -> String {
        format!("{} (process {})", self.kind.name, self.child.id())
    }

    /// Tells it what to do, as the order of this round.
    pub fn tell(&mut self, order: u64, round: u64) {
        self.log.header(ORDER).store(round << 8 | order, Release);
        self.since = Instant::now();
    }

    /// Whether it rests as the order of this round says.
    pub fn rests(&self, round: u64) -> bool {
        self.log.said() == (state::RESTING, round)
    }

    /// Whether it has a seat of its own in the region, at rest.
    pub fn sits(&self) -> bool {
        self.kind.command.iter().all(|part| part != "nursery")
            || self.kind.command.iter().any(|part| part == "--inherit")
    }

    /// Takes what it has written down, if it waits for that.
    pub fn collect(&mut self, history: &mut Vec<Record>) -> Result<()> {
        let records = self.log.len();
        if records > 0 && self.log.said().0 == state::RESTING {
            self.take_records(history)?;
        }
        Ok(())
    }

    fn take_records(&mut self, history: &mut Vec<Record>) -> Result<()> {
        for n in 0..self.log.len() {
            history.push(self.log.record(n).with_context(|| self.title())?);
        }
        self.log.header(CURSOR).store(0, Release);
        Ok(())
    }

    /// Watches it: an error if it ended or hangs; resumes it when it is time.
    pub fn watch(
        &mut self,
        outside: &Outside,
        random: &mut Random,
        history: &mut Vec<Record>,
        tally: &mut Tally,
    ) -> Result<()> {
        if let Some(until) = self.stopped_until {
            if Instant::now() < until {
                return Ok(());
            }
            if self.kind.kills > 0 && random.one_in(4) {
                return self.kill(outside, history, tally);
            }
            let now = outside.locks();
            let stood = |lock: usize| now[lock] != 0 && now[lock] == self.held[lock];
            let effective = (0..now.len()).any(stood);
            let name = format!("{}: SIGSTOP, SIGCONT", self.kind.name);
            tally.count(name, 1, u64::from(effective));
            return self.go_on();
        }
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself: {status}", self.title());
        }
        let (said, round) = self.log.said();
        let progress = (
            self.log.len() as u64,
            round << 8 | said,
            self.counts().iter().sum(),
        );
        if progress != self.seen || said == state::RESTING {
            self.seen = progress;
            self.since = Instant::now();
        }
        let bound = if said == state::STARTING {
            START
        } else {
            BOUND
        };
        if self.since.elapsed() > bound {
            bail!(
                "{} made no progress for {:?}: {}",
                self.title(),
                self.since.elapsed(),
                self.whereabouts()
            );
        }
        Ok(())
    }

    /// Where it hangs.
    pub fn whereabouts(&self) -> String {
        let read = |what: &str| {
            std::fs::read_to_string(format!("/proc/{}/{what}", self.child.id()))
                .unwrap_or_default()
                .replace('\n', " ")
        };
        let last = match self.log.len().checked_sub(1) {
            Some(n) => format!("{:?}", self.log.record(n)),
            None => "none".into(),
        };
        format!(
            "state {}, in {}, {} its last record: {last}",
            self.log.said().0,
            read("wchan"),
            read("stack"),
        )
    }

    /// Perhaps does it some harm.
    pub fn torment(
        &mut self,
        outside: &Outside,
        random: &mut Random,
        history: &mut Vec<Record>,
        tally: &mut Tally,
    ) -> Result<()> {
        if self.stopped_until.is_some() || self.log.said().0 != state::RUNNING {
            return Ok(());
        }
        let draw = random.below(1000);
        if draw < self.kind.kills {
            self.kill(outside, history, tally)
        } else if draw < self.kind.kills + self.kind.stops {
            let time = Duration::from_nanos(random.by_octave(1_000_000, 200_000_000));
            self.stopped_until = Some(Instant::now() + time);
            sys::signal(self.child.id() as i32, libc::SIGSTOP)?;
            self.held = outside.locks();
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Lets it go on if it is stopped.
    pub fn go_on(&mut self) -> Result<()> {
        if self.stopped_until.take().is_some() {
            sys::signal(self.child.id() as i32, libc::SIGCONT)?;
            self.since = Instant::now();
        }
        Ok(())
    }

    /// Kills it, takes what it has written down, and starts another.
    fn kill(
        &mut self,
        outside: &Outside,
        history: &mut Vec<Record>,
        tally: &mut Tally,
    ) -> Result<()> {
        let stopped = self.stopped_until.take().is_some();
        let held = outside.locks();
        self.child.kill()?;
        self.child.wait()?;
        let held = if stopped { held } else { outside.locks() };
        let in_lock = held.into_iter().any(|lock| outside.names_the_dead(lock));
        let what = if stopped {
            "while stopped"
        } else {
            "while running"
        };
        let name = format!("{}: SIGKILL {what}", self.kind.name);
        tally.count(name, 1, u64::from(in_lock));
        self.take_records(history)?;
        self.log.header(STATE).store(state::STARTING, Release);
        let who = who(self.number, self.starts);
        self.child = start(&self.kind, &self.region, &self.path, who, self.seed)?;
        self.starts += 1;
        self.since = Instant::now();
        Ok(())
    }

    fn counts(&self) -> [u64; Count::ALL.len()] {
        Count::ALL.map(|count| count.read(&self.log))
    }

    /// Adds what a nursery has counted since the last time.
    pub fn count(&mut self, tally: &mut Tally) {
        let now = self.counts();
        let grew = |count: Count| now[count as usize] - self.counted[count as usize];
        for (fault, tried, effective) in [
            (
                "SIGKILL",
                grew(Count::Killed) + grew(Count::KilledStopped),
                grew(Count::KilledInLock),
            ),
            (
                "SIGSTOP, SIGCONT",
                grew(Count::Stopped),
                grew(Count::StoppedInLock),
            ),
        ] {
            if tried > 0 {
                tally.count(format!("{}: {fault}", self.kind.name), tried, effective);
            }
        }
        self.counted = now;
    }

    /// Waits for its end, after it was told to.
    pub fn dismiss(mut self) -> Result<()> {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{} ended with {status}", self.title());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("{} does not end", self.title())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Fails if it has been waited for, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The upper half of the ids of a process's values: a nursery's children count on.
fn who(number: u32, start: u32) -> u32 {
    (number + 1) << 24 | start
}

fn start(kind: &Kind, region: &str, log: &std::path::Path, who: u32, seed: u64) -> Result<Child> {
    let (program, first) = kind.command.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command
        .args(first)
        .arg(region)
        .arg(log)
        .arg(who.to_string())
        .arg((seed & u64::from(u32::MAX)).to_string())
        .stdin(Stdio::null());
    sys::tie(&mut command);
    command
        .spawn()
        .with_context(|| format!("{}: cannot start {program}", kind.name))
}

/// Orders everybody to rest and waits until all do; an error if one hangs.
pub fn rest(
    crew: &mut [Member],
    round: u64,
    outside: &Outside,
    random: &mut Random,
    history: &mut Vec<Record>,
    tally: &mut Tally,
) -> Result<()> {
    for member in crew.iter_mut() {
        member.go_on()?;
        member.tell(order::REST, round);
    }
    for member in crew.iter_mut() {
        while !member.rests(round) {
            member.watch(outside, random, history, tally)?;
            std::thread::sleep(Duration::from_micros(200));
        }
        member.collect(history)?;
        member.count(tally);
    }
    Ok(())
}
