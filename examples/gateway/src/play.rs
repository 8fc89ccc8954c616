//! The run: batches of the log are dealt to idle workers in real time, by the
//! log's own timestamps, and half-way one worker leaves and another joins.
//!
//! When the workers cannot keep up, batches wait; when the whole machine stands
//! still, the log is played later rather than faster, so that no client seems to
//! have asked for the requests of seconds at once.

use crate::crew::{Crew, Heard, Language};
use crate::log::Log;
use crate::message::Message;
use crate::origin::phase;
use crate::outcome::{Outcome, Summary, Tally};
use crate::progress::Progress;
use anyhow::{bail, Result};
use forebay::Region;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Nanoseconds of log in a batch,
const BATCH: u64 = 16_000_000;
/// and the most requests.
const BATCH_REQUESTS: usize = 2_000;
/// Nanoseconds that the log is played behind its time at most; then it slips.
const LAG: u64 = 1_000_000_000;
/// How long a worker may take to open the region and to read the log,
const TO_BE_READY: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 60 });
/// and to serve a batch, or to leave.
const TO_ANSWER: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 30 });

/// A batch that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which requests.
    pub requests: Range<usize>,
    /// By whom.
    pub worker: usize,
    /// When it was dealt, in the region's time: nothing of it happened before,
    pub dealt: u64,
    /// and nothing after.
    pub done: u64,
}

/// What is known of a worker in the end.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its language.
    pub language: &'static str,
    /// What it said itself.
    pub summary: Summary,
    /// What its answers add up to.
    pub tally: Tally,
}

/// All that happened.
#[derive(Clone, Debug)]
pub struct Play {
    /// What became of each request of the log.
    pub outcomes: Vec<Outcome>,
    /// All batches in the order of their ends.
    pub batches: Vec<Batch>,
    /// All workers by number.
    pub workers: Vec<Record>,
    /// When it began and ended, in the region's time.
    pub span: Range<u64>,
    /// How much later than its time the log was played.
    pub slipped: Duration,
    /// Who left and who joined half-way, by number.
    pub change: (usize, usize),
}

/// Who plays.
pub struct Staff<'a> {
    /// The languages, taken in turn.
    pub languages: &'a [Language],
    /// How many workers at once.
    pub workers: usize,
    /// What each worker is started with.
    pub arguments: Vec<String>,
}

impl Staff<'_> {
    fn language(&self, worker: usize) -> &Language {
        &self.languages[worker % self.languages.len()]
    }
}

/// Plays the log; `interrupted` ends it early, with an error.
pub fn play(
    log: &Log,
    region: &Region,
    staff: &Staff<'_>,
    interrupted: &AtomicBool,
    progress: &Progress,
) -> Result<Play> {
    let batches = cut(log);
    let mut table = Table::new(region, interrupted);
    for number in 0..staff.workers {
        table.hire(staff.language(number), staff)?;
    }
    while !table.awaited.is_empty() {
        table.listen(Duration::from_millis(250))?;
    }

    let start = region.now();
    let mut play = Play {
        outcomes: vec![Outcome::Limited; log.requests.len()],
        batches: Vec::with_capacity(batches.len()),
        workers: Vec::new(),
        span: start..start,
        slipped: Duration::ZERO,
        change: (staff.workers - 1, staff.workers),
    };
    let (leaver, joiner) = play.change;
    for worker in 0..staff.workers {
        table.seat(worker, start)?;
    }

    let (mut next, mut served, mut slip) = (0, 0, 0);
    while served < log.requests.len() || table.seated <= joiner {
        if next * 5 >= batches.len() * 2 && table.languages.len() == joiner {
            table.hire(staff.language(leaver), staff)?;
        }
        if next * 2 >= batches.len() && table.ready > joiner && table.seated == joiner {
            table.seat(joiner, start)?;
            table.retire(leaver)?;
        }
        let mut wait = Duration::from_millis(250);
        while let (Some(batch), Some(worker)) = (batches.get(next), table.idle.front().copied()) {
            let (now, due) = (
                region.now() - start,
                slip + log.requests[batch.end - 1].time,
            );
            if now < due {
                wait = wait.min(Duration::from_nanos(due - now));
                break;
            }
            slip += (now - due).saturating_sub(LAG);
            table.deal(worker, batch.clone())?;
            next += 1;
        }
        if let Some((batch, outcomes)) = table.listen(wait)? {
            served += outcomes.len();
            play.outcomes[batch.requests.clone()].copy_from_slice(&outcomes);
            play.batches.push(batch);
            progress.show(served, phase(region.now() - start, log.run));
        }
    }
    play.span.end = region.now();
    play.slipped = Duration::from_nanos(slip);
    play.workers = table.dismiss_all()?;
    for batch in &play.batches {
        play.workers[batch.worker].tally += Tally::of(&play.outcomes[batch.requests.clone()]);
    }
    Ok(play)
}

/// Cuts the log into batches.
fn cut(log: &Log) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut from = 0;
    while from < log.requests.len() {
        let window = log.requests[from].time / BATCH;
        let ahead = log.requests[from..].iter().take(BATCH_REQUESTS);
        let to = from + ahead.take_while(|r| r.time / BATCH == window).count();
        batches.push(from..to);
        from = to;
    }
    batches
}

/// What a worker owes.
enum Owes {
    Ready,
    Done { requests: Range<usize>, dealt: u64 },
    Summary,
    End,
}

/// The workers and what each of them is at.
struct Table<'a> {
    region: &'a Region,
    interrupted: &'a AtomicBool,
    crew: Crew,
    /// Of each worker ever hired.
    languages: Vec<&'static str>,
    summaries: Vec<Option<Summary>>,
    /// How many have been ready, and how many have been given a seat.
    ready: usize,
    seated: usize,
    /// Those who wait for work; the one who has waited longest first.
    idle: VecDeque<usize>,
    /// Those who owe an answer, and until when.
    awaited: BTreeMap<usize, (Owes, Instant)>,
    /// The one who leaves after this batch.
    retiring: Option<usize>,
}

impl<'a> Table<'a> {
    fn new(region: &'a Region, interrupted: &'a AtomicBool) -> Self {
        Table {
            region,
            interrupted,
            crew: Crew::default(),
            languages: Vec::new(),
            summaries: Vec::new(),
            ready: 0,
            seated: 0,
            idle: VecDeque::new(),
            awaited: BTreeMap::new(),
            retiring: None,
        }
    }

    fn hire(&mut self, language: &Language, staff: &Staff<'_>) -> Result<()> {
        let worker = self.crew.hire(language, &staff.arguments)?;
        self.languages.push(language.name);
        self.summaries.push(None);
        self.ask(worker, Owes::Ready, TO_BE_READY);
        Ok(())
    }

    /// Lets a worker that is ready take part.
    fn seat(&mut self, worker: usize, start: u64) -> Result<()> {
        self.seated += 1;
        self.idle.push_back(worker);
        self.crew.tell(worker, &format!("start {start}"))
    }

    /// Lets a worker go as soon as it is idle.
    fn retire(&mut self, worker: usize) -> Result<()> {
        self.retiring = Some(worker);
        if let Some(place) = self.idle.iter().position(|&idle| idle == worker) {
            self.idle.remove(place);
            self.dismiss(worker)?;
        }
        Ok(())
    }

    /// Gives the first idle worker a batch.
    fn deal(&mut self, worker: usize, requests: Range<usize>) -> Result<()> {
        self.idle.pop_front();
        let line = format!("serve {} {}", requests.start, requests.end);
        let dealt = self.region.now();
        self.ask(worker, Owes::Done { requests, dealt }, TO_ANSWER);
        self.crew.tell(worker, &line)
    }

    fn dismiss(&mut self, worker: usize) -> Result<()> {
        self.ask(worker, Owes::Summary, TO_ANSWER);
        self.crew.dismiss(worker)
    }

    fn ask(&mut self, worker: usize, owes: Owes, within: Duration) {
        self.awaited.insert(worker, (owes, Instant::now() + within));
    }

    /// Waits for one message; returns the batch if it was one's end.
    fn listen(&mut self, wait: Duration) -> Result<Option<(Batch, Vec<Outcome>)>> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let Some((worker, heard)) = self.crew.hear(wait)? else {
            return self.find_silence().map(|()| None);
        };
        let owed = self.awaited.remove(&worker).map(|(owes, _)| owes);
        match (owed, heard) {
            (Some(Owes::Ready), Heard::Said(Message::Ready)) => self.ready += 1,
            (Some(Owes::Summary), Heard::Said(Message::Summary(summary))) => {
                self.summaries[worker] = Some(summary);
                self.ask(worker, Owes::End, TO_ANSWER);
            }
            (Some(Owes::End), Heard::Left) => {}
            (
                Some(Owes::Done { requests, dealt }),
                Heard::Said(Message::Done { batch, outcomes }),
            ) if batch == requests => {
                let done = self.region.now();
                if self.retiring == Some(worker) {
                    self.dismiss(worker)?;
                } else {
                    self.idle.push_back(worker);
                }
                let batch = Batch {
                    requests,
                    worker,
                    dealt,
                    done,
                };
                return Ok(Some((batch, outcomes)));
            }
            (_, Heard::Left) => bail!("{} left without a word", self.crew.title(worker)),
            (_, Heard::Said(message)) => {
                bail!("{} was not asked for {message:?}", self.crew.title(worker))
            }
        }
        Ok(None)
    }

    fn find_silence(&self) -> Result<()> {
        let now = Instant::now();
        let Some((&worker, (owes, _))) = self.awaited.iter().find(|(_, it)| it.1 < now) else {
            return Ok(());
        };
        let title = self.crew.title(worker);
        match owes {
            Owes::Ready => bail!("{title} was not ready within {TO_BE_READY:?}"),
            Owes::Done { requests, .. } => {
                bail!("{title} did not serve the requests {requests:?} within {TO_ANSWER:?}")
            }
            Owes::Summary => bail!("{title} did not sum up within {TO_ANSWER:?}"),
            Owes::End => bail!("{title} did not end within {TO_ANSWER:?}"),
        }
    }

    /// Lets everyone go, and returns what is known of each: all have summed up,
    /// as nobody's end is awaited before.
    fn dismiss_all(mut self) -> Result<Vec<Record>> {
        while let Some(worker) = self.idle.pop_front() {
            self.dismiss(worker)?;
        }
        while !self.awaited.is_empty() {
            self.listen(Duration::from_millis(250))?;
        }
        let said = self.summaries.into_iter().flatten();
        Ok((self.languages.into_iter().zip(said))
            .map(|(language, summary)| Record {
                language,
                summary,
                tally: Tally::default(),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests;
