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
const TO_BE_READY: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });
/// and to serve a batch, or to leave.
const TO_ANSWER: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });

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

/// What a worker was asked for.
enum Asked {
    ToBeReady,
    ToServe { requests: Range<usize>, dealt: u64 },
    ToSumUp,
    ToEnd,
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
    awaited: BTreeMap<usize, (Asked, Instant)>,
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
        self.ask(worker, Asked::ToBeReady, TO_BE_READY);
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
        self.ask(worker, Asked::ToServe { requests, dealt }, TO_ANSWER);
        self.crew.tell(worker, &line)
    }

    fn dismiss(&mut self, worker: usize) -> Result<()> {
        self.ask(worker, Asked::ToSumUp, TO_ANSWER);
        self.crew.dismiss(worker)
    }

    fn ask(&mut self, worker: usize, asked: Asked, within: Duration) {
        self.awaited
            .insert(worker, (asked, Instant::now() + within));
    }

    /// Waits for one message; returns the batch if it was one's end.
    fn listen(&mut self, wait: Duration) -> Result<Option<(Batch, Vec<Outcome>)>> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let Some((worker, heard)) = self.crew.hear(wait)? else {
            return self.find_silence().map(|()| None);
        };
        let asked = self.awaited.remove(&worker).map(|(asked, _)| asked);
        match (asked, heard) {
            (Some(Asked::ToBeReady), Heard::Said(Message::Ready)) => self.ready += 1,
            (Some(Asked::ToSumUp), Heard::Said(Message::Summary(summary))) => {
                self.summaries[worker] = Some(summary);
                self.ask(worker, Asked::ToEnd, TO_ANSWER);
            }
            (Some(Asked::ToEnd), Heard::Left) => {}
            (
                Some(Asked::ToServe { requests, dealt }),
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
        let Some((&worker, (asked, _))) = self.awaited.iter().find(|(_, it)| it.1 < now) else {
            return Ok(());
        };
        let title = self.crew.title(worker);
        match asked {
            Asked::ToBeReady => bail!("{title} was not ready within {TO_BE_READY:?}"),
            Asked::ToServe { requests, .. } => {
                bail!("{title} did not serve the requests {requests:?} within {TO_ANSWER:?}")
            }
            Asked::ToSumUp => bail!("{title} did not sum up within {TO_ANSWER:?}"),
            Asked::ToEnd => bail!("{title} did not end within {TO_ANSWER:?}"),
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
mod tests {
    use super::*;
    use crate::generate::generate;

    /// A worker in a few lines of shell, that refuses every request.
    const REFUSER: &str = r#"
        served=0
        echo ready
        while read verb first last; do
            case $verb in
            serve)
                count=$((last - first)); served=$((served + count))
                echo "done $first $last $(head -c $count /dev/zero | tr '\0' L)" ;;
            quit)
                echo '{"served":'$served',"limited":'$served',"hits":0,"fetched":0,"failed":0,"rejected":0,"stored":0,"straddled":0}'
                exit ;;
            esac
        done"#;

    fn play_with(script: &str) -> Result<Play> {
        let mut log = generate(1_000, Duration::from_secs(2), 1);
        log.requests.iter_mut().for_each(|r| r.time /= 10);
        let languages = [Language {
            name: "Shell",
            command: ["sh", "-c", script].map(String::from).into(),
        }];
        let staff = Staff {
            languages: &languages,
            workers: 2,
            arguments: Vec::new(),
        };
        let (region, progress) = (Region::private()?, Progress::new(1_000));
        play(&log, &region, &staff, &AtomicBool::new(false), &progress)
    }

    #[test]
    fn every_request_is_dealt_once_and_one_worker_takes_anothers_place() {
        let play = play_with(REFUSER).unwrap();
        assert_eq!(play.outcomes.len(), 1_000);
        assert_eq!(play.change, (1, 2));
        assert_eq!(play.workers.len(), 3);
        for worker in &play.workers {
            assert_eq!(worker.tally, worker.summary.tally);
            assert!(worker.tally.served > 100, "{worker:?}");
        }
        let mut batches: Vec<_> = play.batches.iter().map(|b| b.requests.clone()).collect();
        batches.sort_by_key(|batch| batch.start);
        assert!(batches.windows(2).all(|two| two[0].end == two[1].start));
        assert!(batches[0].start == 0 && batches[batches.len() - 1].end == 1_000);
        assert!(play
            .batches
            .iter()
            .all(|b| play.span.start <= b.dealt && b.dealt <= b.done && b.done <= play.span.end));
    }

    #[test]
    fn whoever_hangs_or_leaves_ends_the_run() {
        for (was, is, says) in [
            ("echo ready", "sleep 5", "was not ready within 2s"),
            (
                "echo \"done",
                "sleep 5; echo \"done",
                "did not serve the requests",
            ),
            ("echo '{", "sleep 5; echo '{", "did not sum up within 2s"),
            ("exit ;;", "exec sleep 5 ;;", "did not end within 2s"),
            ("echo '{", "exit; echo '{", "left without a word"),
            (
                "exit ;;",
                "exit 7 ;;",
                "ended before its time (exit status: 7)",
            ),
            (
                "served=0",
                "exit 7",
                "ended before its time (exit status: 7)",
            ),
            (
                "echo \"done",
                "kill -9 $$; echo \"done",
                "ended before its time",
            ),
        ] {
            assert!(REFUSER.contains(was), "{was}");
            let error = play_with(&REFUSER.replacen(was, is, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{is}: {error}");
        }
    }

    #[test]
    fn batches_cover_the_log_and_are_short() {
        let mut log = generate(20_000, Duration::from_secs(4), 1);
        // A rush: many requests at one time.
        let rush = log.requests[10_000].time;
        (log.requests[10_000..15_000].iter_mut()).for_each(|r| r.time = rush);
        log.requests.sort_by_key(|r| r.time);
        let batches = cut(&log);
        assert_eq!(batches[0].start, 0);
        assert_eq!(batches.last().unwrap().end, 20_000);
        assert!(batches.windows(2).all(|two| two[0].end == two[1].start));
        for batch in batches {
            assert!(!batch.is_empty() && batch.len() <= BATCH_REQUESTS);
            let (first, last) = (log.requests[batch.start], log.requests[batch.end - 1]);
            assert!(last.time - first.time < BATCH);
        }
    }
}
