//! The whole: hires a crew, torments it for so many seconds in batches, and
//! after each batch has everybody rest and checks what they saw.

use crate::check::{self, cache::Carried, Violation};
use crate::crew::{self, Kind, Member, Tally};
use crate::log::{breaker, order, Log, Operation, Record, NO, YES};
use crate::nursery::ledger_of;
use crate::random::Random;
use crate::report::{self, Report};
use crate::stage::STAGES;
use crate::sys;
use crate::value;
use crate::world::*;
use anyhow::{bail, ensure, Context, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What there is to choose.
#[derive(clap::Args)]
pub struct Options {
    /// How long
    #[arg(long, default_value_t = 30)]
    pub secs: u64,
    /// The seed of all random choices; by the clock unless told
    #[arg(long)]
    pub seed: Option<u64>,
    /// Nurseries, each of which kills one child after another
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub workers: u32,
    /// Workers in C++: program and first arguments
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    pub cpp: Vec<String>,
    /// Workers in Python
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    pub python: Vec<String>,
    /// Workers in Node
    #[arg(long, num_args = 1..=4, value_name = "COMMAND")]
    pub node: Vec<String>,
    /// Write the document about this run here
    #[arg(long)]
    pub write: Option<PathBuf>,
    /// Write the short table between the marks in this document
    #[arg(long)]
    pub summary: Option<PathBuf>,
    /// The commit that the document names
    #[arg(long)]
    pub commit: Option<String>,
}

/// How long a batch lasts, and how many records end it early.
const BATCH: Duration = Duration::from_millis(1500);
const MOST_RECORDS: usize = 1_200_000;
/// Reads that hit, at least: one in so many, else the checks check nothing.
const HIT_FLOOR: u64 = 10;

impl Options {
    fn crew(&self) -> Result<Vec<Kind>> {
        let own = std::env::current_exe()?;
        let own = own.to_str().context("this program's path is not UTF-8")?;
        let rust = |name, arguments: &[&str], kills, stops| Kind {
            name,
            command: std::iter::once(&own)
                .chain(arguments)
                .map(|part| part.to_string())
                .collect(),
            kills,
            stops,
        };
        let mut crew = Vec::new();
        for number in 0..self.workers {
            crew.push(if number % 2 == 0 {
                rust("Rust, opening anew", &["nursery"], 0, 0)
            } else {
                rust("Rust, forked with handles", &["nursery", "--inherit"], 0, 0)
            });
        }
        // One that is never killed: its records tell of everybody's deaths.
        crew.push(rust("Rust, never killed", &["steady"], 0, 8));
        crew.push(rust("Rust", &["steady"], 20, 8));
        for (name, command, kills) in [
            ("C++", &self.cpp, 20),
            ("Python", &self.python, 6),
            ("Node", &self.node, 6),
        ] {
            if !command.is_empty() {
                let command = command.clone();
                crew.push(Kind {
                    name,
                    command,
                    kills,
                    stops: 8,
                });
            }
        }
        Ok(crew)
    }

    fn skipped(&self) -> Vec<String> {
        [
            ("C++", &self.cpp),
            ("Python", &self.python),
            ("Node", &self.node),
        ]
        .into_iter()
        .filter(|(_, command)| command.is_empty())
        .map(|(name, _)| format!("workers in {name}: not asked for"))
        .collect()
    }
}

/// Runs it; an error is a violation, with the evidence.
pub fn run(options: &Options) -> Result<()> {
    let seed = options.seed.unwrap_or_else(sys::now);
    println!("torture: seed {seed}, {} s", options.secs);
    sys::be_nice(10);
    let directory = scratch()?;
    let mut torture = Torture::start(options, seed, &directory)?;
    match torture.run(Duration::from_secs(options.secs)) {
        Ok(report) => {
            drop(torture);
            std::fs::remove_dir_all(&directory)?;
            println!("{report}");
            if let Some(path) = &options.write {
                std::fs::write(path, report.document())?;
                println!("written: {}", path.display());
            }
            if let Some(path) = &options.summary {
                let document = std::fs::read_to_string(path)?;
                let document = report::between_marks(&document, &report.summary())
                    .with_context(|| format!("{} has no marks for a table", path.display()))?;
                std::fs::write(path, document)?;
                println!("written: {}", path.display());
            }
            Ok(())
        }
        Err(error) => {
            torture.report.violated = true;
            eprintln!("{}", torture.report);
            eprintln!(
                "torture: VIOLATION with seed {seed}; the files are left in {}",
                directory.display()
            );
            Err(error)
        }
    }
}

/// A new directory, in memory if there is such a place.
fn scratch() -> Result<PathBuf> {
    let shared = Path::new("/dev/shm");
    let parent = match shared.is_dir() {
        true => shared.to_owned(),
        false => std::env::temp_dir(),
    };
    let directory = parent.join(format!("forebay-torture-{}", std::process::id()));
    std::fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

struct Torture {
    directory: PathBuf,
    seed: u64,
    random: Random,
    objects: Objects,
    outside: Outside,
    /// How many of the crew have the region open.
    crew: Vec<Member>,
    round: u64,
    tally: Tally,
    report: Report,
    carried: HashMap<u32, Carried>,
    /// Tokens spent in hot buckets over the whole run, and since when.
    spent: [u64; HOT_BUCKETS as usize],
    began: u64,
    /// A stage at play: its name, since when, and its process.
    playing: Option<(usize, Instant, Child)>,
    staged: usize,
    last_stage: Instant,
}

impl Torture {
    fn start(options: &Options, seed: u64, directory: &Path) -> Result<Torture> {
        let region = directory.join("region");
        let region = region.to_str().context("a path that is not UTF-8")?;
        let objects = Objects::create(region)?;
        let outside = Outside::look(region)?;
        Log::create(Path::new(&ledger_of(region)))?;
        let mut random = Random::new(seed, 0);
        let mut crew = Vec::new();
        let mut languages = Vec::new();
        for (number, kind) in options.crew()?.into_iter().enumerate() {
            languages.push(kind.name);
            crew.push(Member::hire(kind, number as u32, random.next(), region)?);
        }
        let mut report = Report::new(seed, options.workers, options.commit.clone());
        report.skipped = options.skipped();
        Ok(Torture {
            directory: directory.to_owned(),
            seed,
            random,
            objects,
            outside,
            crew,
            round: 0,
            tally: Tally::default(),
            report,
            carried: HashMap::new(),
            spent: [0; HOT_BUCKETS as usize],
            began: sys::now(),
            playing: None,
            staged: 0,
            last_stage: Instant::now(),
        })
    }

    fn run(&mut self, time: Duration) -> Result<Report> {
        let began = Instant::now();
        let mut checking: Option<JoinHandle<Result<Seen, Violation>>> = None;
        let mut before = Figures::of(&self.objects)?;
        loop {
            let history = self.batch()?;
            let after = Figures::of(&self.objects)?;
            if let Some(earlier) = checking.take() {
                self.judge(earlier)?;
            }
            let carried = self.carried.clone();
            self.at_rest(&history)?;
            let batch = Batch {
                history,
                carried,
                before,
                after,
            };
            before = Figures::of(&self.objects)?;
            checking = Some(std::thread::spawn(move || batch.check()));
            self.report.faults = self.tally.faults.clone();
            self.report.seconds = began.elapsed().as_secs_f64();
            let stages_are_due = self.staged < STAGES.len();
            if began.elapsed() >= time && !stages_are_due {
                break;
            }
        }
        if let Some(last) = checking.take() {
            self.judge(last)?;
        }
        self.dismiss()?;
        self.report.faults = self.tally.faults.clone();
        self.report.seconds = began.elapsed().as_secs_f64();
        Ok(self.report.clone())
    }

    /// Lets the crew work and torments it, then has it rest: what it wrote down.
    fn batch(&mut self) -> Result<Vec<Record>> {
        let mut history = Vec::new();
        self.round += 1;
        for member in &mut self.crew {
            member.tell(order::RUN, self.round);
        }
        let began = Instant::now();
        while began.elapsed() < BATCH && history.len() < MOST_RECORDS {
            for member in &mut self.crew {
                member.watch(
                    &self.outside,
                    &mut self.random,
                    &mut history,
                    &mut self.tally,
                )?;
                member.collect(&mut history)?;
                member.torment(
                    &self.outside,
                    &mut self.random,
                    &mut history,
                    &mut self.tally,
                )?;
            }
            self.play()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        self.round += 1;
        crew::rest(
            &mut self.crew,
            self.round,
            &self.outside,
            &mut self.random,
            &mut history,
            &mut self.tally,
        )?;
        Ok(history)
    }

    /// Keeps one stage at play.
    fn play(&mut self) -> Result<()> {
        match &mut self.playing {
            None => {
                if self.last_stage.elapsed() < Duration::from_millis(300) {
                    return Ok(());
                }
                let number = self.staged % STAGES.len();
                let (name, ..) = STAGES[number];
                let place = self.directory.join(format!("{name}{}", self.staged));
                std::fs::create_dir(&place)?;
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .args(["stage", name])
                    .arg(&place)
                    .arg((self.seed.wrapping_add(self.staged as u64)).to_string())
                    .stdout(File::create(place.with_extension("said"))?);
                sys::tie(&mut command);
                self.playing = Some((number, Instant::now(), command.spawn()?));
            }
            Some((number, since, child)) => {
                let (name, what, _) = STAGES[*number];
                let Some(status) = child.try_wait()? else {
                    if since.elapsed() > Duration::from_secs(60) {
                        let _ = child.kill();
                        bail!("stage {name} does not end: {what}");
                    }
                    return Ok(());
                };
                ensure!(status.success(), "stage {name} failed ({status}): {what}");
                let place = self.directory.join(format!("{name}{}", self.staged));
                let said = std::fs::read_to_string(place.with_extension("said"))?;
                match said.trim().split_once(' ') {
                    Some(("happened", times)) => {
                        self.tally
                            .count(format!("staged: {what}"), times.parse()?, 0);
                    }
                    Some(("skipped", why)) => {
                        let skip = format!("{what}: {why}");
                        if !self.report.skipped.contains(&skip) {
                            self.report.skipped.push(skip);
                        }
                    }
                    _ => bail!("stage {name} said {said:?}"),
                }
                std::fs::remove_dir_all(&place)?;
                std::fs::remove_file(place.with_extension("said"))?;
                self.playing = None;
                self.staged += 1;
                self.last_stage = Instant::now();
            }
        }
        Ok(())
    }

    /// What can be seen only when nobody is at work.
    fn at_rest(&mut self, history: &[Record]) -> Result<()> {
        self.seats()?;
        self.shards_heal()?;
        self.carry(history)?;
        self.outside
            .verify()
            .map_err(|problem| anyhow::anyhow!("the cache's structure is damaged: {problem}"))?;
        self.breaker_closes()?;
        self.buckets_fill(history)?;
        self.others_fill()?;
        self.permits_return()?;
        if self.random.one_in(4) {
            self.objects.cache.clear();
            for key in 0..KEYS {
                let name = key_name(key);
                ensure!(
                    self.objects.cache.get(&name).is_none(),
                    "{name} survived a clear"
                );
            }
            self.carried.clear();
        }
        Ok(())
    }

    /// The seats taken are those of us, the workers, and the nurseries that have
    /// the region open: no dead one is counted, no living one is missing.
    fn seats(&mut self) -> Result<()> {
        let expected = 1 + self.crew.iter().filter(|member| member.sits()).count() as u64;
        let seats = self.objects.region.stats().seats;
        ensure!(
            seats == expected,
            "{seats} seats are counted, {expected} processes live"
        );
        self.report.seat_counts += 1;
        Ok(())
    }

    /// Everybody can write again, in every shard, whoever died in it.
    fn shards_heal(&mut self) -> Result<()> {
        let cache = &self.objects.cache;
        for n in 0..64 {
            let name = format!("probe{n}");
            ensure!(cache.set(&name, &name), "{name} cannot be set at rest");
            ensure!(
                cache.get(&name).as_deref() == Some(name.as_bytes()),
                "{name} is not there after it was set, at rest"
            );
            ensure!(cache.delete(&name), "{name} cannot be deleted at rest");
            ensure!(cache.get(&name).is_none(), "{name} survived its deletion");
        }
        // Takes the creation lock, and the event ring's, from the dead.
        Objects::create(
            &self
                .objects
                .region
                .path()
                .context("a path")?
                .to_string_lossy(),
        )?;
        Ok(())
    }

    /// Reads every key: what is there is whole, and known in the next batch.
    fn carry(&mut self, history: &[Record]) -> Result<()> {
        let mut sets: HashMap<u64, Option<u64>> = HashMap::new();
        for carried in self.carried.values() {
            sets.insert(carried.id, carried.expires);
        }
        for record in history {
            if record.operation == Operation::Set {
                sets.insert(record.argument, check::cache::expiry(record));
            }
        }
        let mut carried = HashMap::new();
        for key in 0..KEYS {
            let from = sys::now();
            let Some(value) = self.objects.cache.get(key_name(key)) else {
                continue;
            };
            let until = sys::now();
            let id = value::id_of(key, &value)
                .map_err(|problem| anyhow::anyhow!("key {key} at rest: {problem}"))?;
            let Some(&expires) = sets.get(&id) else {
                bail!("key {key} at rest: id {id:x} was not set in this batch nor there before");
            };
            carried.insert(
                key,
                Carried {
                    id,
                    read: (from, until),
                    expires,
                },
            );
        }
        self.report.values_at_rest += carried.len() as u64;
        self.carried = carried;
        Ok(())
    }

    /// Once the faults stop and calls succeed, the breaker closes.
    fn breaker_closes(&mut self) -> Result<()> {
        let breaker = &self.objects.breaker;
        let deadline = Instant::now() + OPEN_FOR + PROBE_LEASE + crew::BOUND;
        while breaker.state() != forebay::State::Closed {
            ensure!(
                Instant::now() < deadline,
                "the breaker is stuck: {} after {:?} of success: {:?}",
                breaker.state(),
                OPEN_FOR + PROBE_LEASE + crew::BOUND,
                breaker.stats()
            );
            match breaker.enter() {
                Ok(permit) => {
                    permit.success();
                }
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
        Ok(())
    }

    /// Buckets that nobody asks are full after burst / rate; and over the whole
    /// run no hot one gave more than it earned. The rest being so long, an interval
    /// across it is within the bound if those before and after it are.
    fn buckets_fill(&mut self, history: &[Record]) -> Result<()> {
        let full_in = REST.max(Duration::from_nanos(
            BURST * 1_000_000_000 / RATE + 1_000_000,
        ));
        std::thread::sleep(full_in);
        for record in history.iter().filter(|record| admitted(record)) {
            if let Some(spent) = self.spent.get_mut(record.key as usize) {
                *spent += record.argument;
            }
        }
        let elapsed = sys::now() - self.began;
        let earned = (u128::from(elapsed) * u128::from(RATE) / 1_000_000_000) as u64;
        let evicted = self.objects.limiter.stats().evicted_live;
        for key in 0..HOT_BUCKETS {
            let name = bucket_name(key);
            let verdict = self.objects.limiter.peek(&name);
            ensure!(
                verdict.remaining == BURST,
                "bucket {name} holds {} of {BURST} after {full_in:?} of rest",
                verdict.remaining
            );
            let spent = self.spent[key as usize];
            let most = BURST * (1 + evicted) + earned;
            ensure!(
                spent <= most + 1,
                "bucket {name} gave {spent} tokens in {elapsed} ns"
            );
            self.report.hot_buckets[key as usize] = (spent, most);
        }
        Ok(())
    }

    /// So do windows, and both of two rates.
    fn others_fill(&self) -> Result<()> {
        let [(_, first), (_, second)] = RATES;
        for (kind, keys, limiter, full) in [
            ('w', SLIDING_KEYS, &self.objects.sliding, SLIDING),
            ('r', RATES_KEYS, &self.objects.rates, first.min(second)),
        ] {
            for key in 0..keys {
                let name = name_of(kind, key);
                let left = limiter.peek(&name).remaining;
                ensure!(left == full, "{name} holds {left} of {full} after a rest");
            }
        }
        Ok(())
    }

    /// All leases that are out are of the dead: each key has all of its permits
    /// for us, and not one more.
    fn permits_return(&self) -> Result<()> {
        let permits = &self.objects.permits;
        for key in 0..PERMITS_KEYS {
            let name = name_of('p', key);
            let mut leases = Vec::new();
            while let Ok(lease) = permits.try_acquire(&name) {
                leases.push(lease);
                ensure!(
                    leases.len() as u64 <= PERMITS,
                    "{name} has too many permits"
                );
            }
            let (count, in_use) = (leases.len() as u64, permits.in_use(&name));
            ensure!(
                (count, in_use) == (PERMITS, PERMITS),
                "{name} has {count} permits of {PERMITS} at rest, {in_use} in use"
            );
            for lease in leases {
                ensure!(lease.release(), "a lease of {name} was lost at rest");
            }
            ensure!(permits.in_use(&name) == 0, "a lease of {name} is left");
        }
        Ok(())
    }

    fn judge(&mut self, batch: JoinHandle<Result<Seen, Violation>>) -> Result<()> {
        let seen = match batch.join() {
            Ok(Ok(seen)) => seen,
            Ok(Err(violation)) => bail!("{violation}"),
            Err(_) => bail!("a check panicked"),
        };
        self.report.add(&seen);
        if self.report.reads > 10_000 {
            ensure!(
                self.report.hits >= self.report.reads / HIT_FLOOR,
                "only {} of {} reads hit",
                self.report.hits,
                self.report.reads
            );
        }
        println!("{}", self.report.line());
        Ok(())
    }

    fn dismiss(&mut self) -> Result<()> {
        if let Some((_, _, mut child)) = self.playing.take() {
            child.kill()?;
            child.wait()?;
        }
        self.round += 1;
        for member in &mut self.crew {
            member.tell(order::QUIT, self.round);
        }
        for member in self.crew.drain(..) {
            member.dismiss()?;
        }
        let seats = self.objects.region.stats().seats;
        ensure!(seats == 1, "{seats} seats are counted, one process is left");
        Ok(())
    }
}

fn admitted(record: &Record) -> bool {
    record.operation == Operation::Take && matches!(record.answer, Some((YES, _)))
}

/// What happened between two rests.
struct Batch {
    history: Vec<Record>,
    carried: HashMap<u32, Carried>,
    before: Figures,
    after: Figures,
}

/// What a batch's checks counted on the way.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls answered, by operation.
    pub answered: [u64; Operation::ALL.len()],
    /// Calls whose callers were killed on the way, by operation.
    pub killed: [u64; Operation::ALL.len()],
    /// Reads that hit.
    pub hits: u64,
    /// Writes that found their shard held.
    pub busy: u64,
    /// Shards cleared.
    pub resets: u64,
    /// Entries evicted.
    pub evictions: u64,
    /// Live buckets evicted.
    pub evicted_live: u64,
    /// Takes against the bound: see `check/limiter.rs`.
    pub bound: check::limiter::Checked,
    /// Of those summed, how many were of buckets that refused others meanwhile.
    pub of_empty_buckets: u64,
    /// The most that a sliding window admitted in any interval of its length.
    pub slid: u64,
    /// Takes of two rates that were summed, against each of them.
    pub rates: [check::limiter::Checked; RATES.len()],
    /// Leases: see `check/permits.rs`.
    pub leases: check::permits::Checked,
    /// Leases taken from the dead.
    pub reaped: u64,
}

impl Batch {
    fn check(self) -> Result<Seen, Violation> {
        let mut seen = Seen {
            busy: self.after.busy - self.before.busy,
            resets: self.after.resets - self.before.resets,
            evictions: self.after.evictions - self.before.evictions,
            evicted_live: self.after.evicted_live - self.before.evicted_live,
            reaped: self.after.leases[2] - self.before.leases[2],
            ..Seen::default()
        };
        for record in &self.history {
            let count = match record.answer {
                Some(_) => &mut seen.answered,
                None => &mut seen.killed,
            };
            count[record.operation as usize - 1] += 1;
        }
        seen.hits = self.check_cache()?;
        self.check_limiter(&mut seen)?;
        self.check_others(&mut seen)?;
        self.check_permits(&mut seen)?;
        self.check_counts(&seen)?;
        Ok(seen)
    }

    fn check_cache(&self) -> Result<u64, Violation> {
        let mut keys: Vec<Vec<Record>> = vec![Vec::new(); KEYS as usize];
        let mut clears = Vec::new();
        for record in &self.history {
            match record.operation {
                Operation::Clear => {
                    clears.push((record.invoked, record.answer.map(|(_, at)| at)));
                }
                Operation::Get | Operation::Set | Operation::Delete => {
                    let Some(calls) = keys.get_mut(record.key as usize) else {
                        return Err(Violation(format!("a log names key {}", record.key)));
                    };
                    calls.push(*record);
                }
                _ => {}
            }
        }
        let mut hits = 0;
        for (key, calls) in keys.iter().enumerate() {
            let key = key as u32;
            hits += check::cache::check(key, calls, self.carried.get(&key).copied(), &clears)?;
        }
        Ok(hits)
    }

    fn check_limiter(&self, seen: &mut Seen) -> Result<(), Violation> {
        let mut takes: HashMap<u32, Vec<check::limiter::Admitted>> = HashMap::new();
        for record in self.history.iter().filter(|record| admitted(record)) {
            let (_, answered) = record.answer.unwrap_or_default();
            let take = (record.invoked, answered, record.argument);
            takes.entry(record.key).or_default().push(take);
        }
        let refused = |record: &&Record| {
            record.operation == Operation::Take && matches!(record.answer, Some((NO, _)))
        };
        let refused: HashSet<u32> = (self.history.iter().filter(refused))
            .map(|record| record.key)
            .collect();
        for (key, mut takes) in takes {
            // A live bucket that others crowd out starts full again: once each.
            let burst = BURST * (1 + seen.evicted_live);
            let checked = check::limiter::check(key, RATE, burst, &mut takes)?;
            seen.bound.summed += checked.summed;
            seen.bound.left_out += checked.left_out;
            seen.bound.fullest = seen.bound.fullest.max(checked.fullest);
            if refused.contains(&key) {
                seen.of_empty_buckets += checked.summed;
            }
        }
        Ok(())
    }

    /// The admitted takes of an operation, by key.
    fn admitted(&self, operation: Operation) -> HashMap<u32, Vec<check::limiter::Admitted>> {
        let mut takes: HashMap<u32, Vec<_>> = HashMap::new();
        for record in &self.history {
            if let (true, Some((YES, answered))) = (record.operation == operation, record.answer) {
                let take = (record.invoked, answered, record.argument);
                takes.entry(record.key).or_default().push(take);
            }
        }
        takes
    }

    fn check_others(&self, seen: &mut Seen) -> Result<(), Violation> {
        for (key, takes) in self.admitted(Operation::Slide) {
            let length = SLIDES.as_nanos() as u64;
            let most = check::window::check(key, length, SLIDING, &takes)?;
            seen.slid = seen.slid.max(most);
        }
        for (key, mut takes) in self.admitted(Operation::Both) {
            for ((rate, burst), sums) in RATES.into_iter().zip(&mut seen.rates) {
                let checked = check::limiter::check(key, rate, burst, &mut takes)?;
                sums.summed += checked.summed;
                sums.fullest = sums.fullest.max(checked.fullest);
            }
        }
        Ok(())
    }

    fn check_permits(&self, seen: &mut Seen) -> Result<(), Violation> {
        for key in 0..PERMITS_KEYS {
            let of_key = |call: &&Record| {
                let operations = [Operation::Acquire, Operation::Renew, Operation::Release];
                call.key == key && operations.contains(&call.operation)
            };
            let calls: Vec<Record> = self.history.iter().filter(of_key).copied().collect();
            let checked = check::permits::check(key, PERMITS, &calls)?;
            seen.leases.leases += checked.leases;
            seen.leases.left += checked.left;
            seen.leases.most = seen.leases.most.max(checked.most);
        }
        // At the rest before there were none: only of those who died since.
        check::conserved::check("leases reaped", seen.reaped, 0, seen.leases.left)
    }

    fn check_counts(&self, seen: &Seen) -> Result<(), Violation> {
        let (before, after) = (&self.before, &self.after);
        let of = |operation: Operation, result: Option<u64>| {
            let mine = self.history.iter().filter(|r| r.operation == operation);
            let (mut answered, mut unanswered) = (0, 0);
            for record in mine {
                match record.answer {
                    None => unanswered += 1,
                    Some((got, _)) if result.is_none_or(|wanted| wanted == got) => answered += 1,
                    Some(_) => {}
                }
            }
            (answered, unanswered)
        };
        let check = |what: &str, grew: u64, (answered, unanswered): (u64, u64)| {
            check::conserved::check(what, grew, answered, unanswered)
        };
        check(
            "hits and misses",
            after.reads - before.reads,
            of(Operation::Get, None),
        )?;
        for (what, grew, result) in [
            ("admitted", after.admitted - before.admitted, YES),
            ("refused", after.refused - before.refused, NO),
        ] {
            check(what, grew, of(Operation::Take, Some(result)))?;
        }
        for (i, (what, result)) in [
            ("breaker successes", breaker::SUCCESS),
            ("breaker failures", breaker::FAILURE),
            ("breaker rejections", breaker::REJECTED),
            ("breaker late results", breaker::LATE),
        ]
        .into_iter()
        .enumerate()
        {
            let grew = after.breaker[i] - before.breaker[i];
            check(what, grew, of(Operation::Break, Some(result)))?;
        }
        for (i, operation) in [Operation::Slide, Operation::Both].into_iter().enumerate() {
            for (j, result) in [YES, NO].into_iter().enumerate() {
                let what = format!("{}: {}", operation.name(), ["admitted", "refused"][j]);
                let grew = after.others[i][j] - before.others[i][j];
                check(&what, grew, of(operation, Some(result)))?;
            }
        }
        let (asked, unanswered) = of(Operation::Acquire, None);
        let (granted, _) = of(Operation::Acquire, Some(YES));
        for (i, (what, answered)) in [("granted", granted), ("refused", asked - granted)]
            .into_iter()
            .enumerate()
        {
            let grew = after.leases[i] - before.leases[i];
            check(&format!("leases {what}"), grew, (answered, unanswered))?;
        }
        let mut records = vec![(0, 0); DURATIONS as usize];
        let mut sums = (0, 0);
        for record in &self.history {
            if record.operation == Operation::Record {
                let ns = duration_ns(record.key);
                let (counts, sum) = (&mut records[record.key as usize], &mut sums);
                match record.answer {
                    Some(_) => (counts.0 += 1, sum.0 += ns),
                    None => (counts.1 += 1, sum.1 += ns),
                };
            }
        }
        for (number, counts) in records.into_iter().enumerate() {
            let grew = after.records[number] - before.records[number];
            let what = format!("records of {} ns", duration_ns(number as u32));
            check(&what, grew, counts)?;
        }
        check("nanoseconds in the sum", after.sum - before.sum, sums)?;
        // A shard is cleared only for somebody who died in a call on the cache.
        let died: u64 = Operation::ALL
            .into_iter()
            .filter(|operation| operation.is_cache())
            .map(|operation| seen.killed[operation as usize - 1])
            .sum();
        check("shards cleared", seen.resets, (0, died))
    }
}
