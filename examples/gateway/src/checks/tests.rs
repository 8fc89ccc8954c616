//! A small run in which all is well; then each test breaks one thing.

use super::*;
use crate::log::{Cast, Client, Page, Request};
use crate::outcome::Summary;
use crate::play::Record;
use crate::tier::{BASIC, BUSINESS};
use forebay::breaker::BreakerStats;

const MS: u64 = 1_000_000;
const RUN: u64 = 2_000 * MS;

/// Two seconds, a batch of two requests a millisecond from two workers in turn:
/// the abuser asks once a millisecond, honest client `n` at `n` ms, for page 0.
/// All pages but the first are asked for once, from 40 % on by nobody honest.
struct Scene {
    log: Log,
    play: Play,
    counted: Counted,
    leftovers: Leftovers,
}

impl Scene {
    fn good() -> Scene {
        let mut clients = vec![Client {
            name: "abuser".into(),
            tier: BUSINESS,
        }];
        let mut requests = Vec::new();
        let mut outcomes = Vec::new();
        let mut batches = Vec::new();
        let mut admitted = 0;
        let mut failed = 0;
        for ms in 0..2_000u64 {
            requests.push(Request {
                time: ms * MS,
                client: 0,
                page: 0,
            });
            // 30 at once, then one each 2 s / 30.
            if admitted < 30 + ms * 30 / 2_000 {
                admitted += 1;
                outcomes.push(if ms == 0 {
                    Outcome::Fetched
                } else {
                    Outcome::Hit
                });
            } else {
                outcomes.push(Outcome::Limited);
            }
            clients.push(Client {
                name: format!("basic-{ms}"),
                tier: BASIC,
            });
            requests.push(Request {
                time: ms * MS,
                client: ms as u32 + 1,
                page: 1 + ms as u32,
            });
            outcomes.push(match ms {
                // Five to open; then probes that fail at 59 % and 63 %.
                1_100..1_300 => {
                    if ms < 1_105 || ms == 1_185 || ms == 1_265 {
                        failed += 1;
                        Outcome::Failed
                    } else {
                        Outcome::Rejected
                    }
                }
                1_300..1_345 => Outcome::Rejected,
                _ => Outcome::Fetched,
            });
            let first = requests.len() - 2;
            batches.push(Batch {
                requests: first..first + 2,
                worker: ms as usize % 2,
                dealt: 5 + ms * MS,
                done: 6 + ms * MS,
            });
        }
        assert_eq!(failed, 7);
        let pages = (0..=2_000)
            .map(|n| Page {
                path: format!("/{n}"),
                size: 100,
            })
            .collect();
        let mut workers = Vec::new();
        for number in 0..2 {
            let mut tally = Tally::default();
            for batch in batches.iter().filter(|b| b.worker == number) {
                tally += Tally::of(&outcomes[batch.requests.clone()]);
            }
            workers.push(Record {
                language: "Rust",
                summary: Summary {
                    tally,
                    stored: tally.fetched,
                    straddled: 0,
                },
                tally,
            });
        }
        let all = Tally::of(&outcomes);
        // The statistics of each object may grow fields: only assignment makes them.
        let mut counted = Counted {
            recorded: all.served,
            ..Counted::default()
        };
        counted.clients.admitted = all.served - all.limited;
        counted.clients.refused = all.limited;
        counted.pages.hits = all.hits;
        counted.pages.misses = all.misses();
        counted.pages.sets = all.fetched;
        counted.pages.entries = all.fetched;
        counted.pages.bytes_capacity = 1 << 20;
        counted.pages.max_entries = 10_000;
        counted.origin.successes = all.fetched;
        counted.origin.failures = all.failed;
        counted.origin.rejected = all.rejected;
        counted.origin.opened = 3;
        counted.origin.half_opened = 3;
        counted.origin.closed = 1;
        Scene {
            log: Log {
                title: String::new(),
                requests,
                clients,
                pages,
                run: Duration::from_nanos(RUN),
                minute: Duration::from_secs(2),
                cast: Some(Cast { abuser: 0 }),
            },
            play: Play {
                outcomes,
                batches,
                workers,
                span: 5..RUN + 5,
                slipped: Duration::ZERO,
                change: (1, 2),
            },
            counted,
            leftovers: Leftovers {
                pages: all.fetched,
                wrong: None,
            },
        }
    }

    fn checks(&self) -> Vec<Check> {
        Evidence {
            log: &self.log,
            play: &self.play,
            counted: self.counted,
            leftovers: self.leftovers.clone(),
            open_for: Duration::from_nanos(RUN / 25),
        }
        .checks()
    }

    /// The checks that do not pass.
    fn failed(&self) -> Vec<&'static str> {
        let checks = self.checks().into_iter();
        let failed = checks.filter(|check| check.verdict == Verdict::Fail);
        failed.map(|check| check.name).collect()
    }

    /// Turns the first `from` of the abuser (or of another) into `to`.
    fn turn(&mut self, many: usize, abuser: bool, from: Outcome, to: Outcome) {
        let mut left = many;
        for (request, outcome) in self.log.requests.iter().zip(&mut self.play.outcomes) {
            if left > 0 && (request.client == 0) == abuser && *outcome == from {
                *outcome = to;
                left -= 1;
            }
        }
        assert_eq!(left, 0, "the scene has enough of them");
    }
}

#[test]
fn a_good_run_passes_every_check() {
    for check in Scene::good().checks() {
        assert_eq!(check.verdict, Verdict::Pass, "{check:?}");
    }
}

#[test]
fn one_token_too_many_is_found() {
    let mut scene = Scene::good();
    scene.turn(2, true, Outcome::Limited, Outcome::Hit);
    assert_eq!(
        scene.failed(),
        ["no client is admitted more than burst + rate x elapsed"]
    );
}

#[test]
fn a_limiter_that_admits_too_little_is_found() {
    let mut scene = Scene::good();
    scene.turn(3, true, Outcome::Hit, Outcome::Limited);
    assert!(scene
        .failed()
        .contains(&"the abuser is admitted at least 99 % of its bound"));
}

#[test]
fn a_standstill_of_the_machine_is_not_the_limiters_fault() {
    let mut scene = Scene::good();
    let late = 3_000 * MS;
    for batch in &mut scene.play.batches[1_000..] {
        batch.dealt += late;
        batch.done += late;
    }
    // Of the three seconds that were added, two filled the bucket: 29 more.
    assert!(scene
        .failed()
        .contains(&"the abuser is admitted at least 99 % of its bound"));
    scene.turn(30, true, Outcome::Limited, Outcome::Hit);
    assert!(!scene
        .failed()
        .contains(&"the abuser is admitted at least 99 % of its bound"));
}

#[test]
fn a_refusal_of_an_honest_client_is_found() {
    let mut scene = Scene::good();
    scene.turn(1, false, Outcome::Fetched, Outcome::Limited);
    assert_eq!(scene.failed(), ["no honest client is refused"]);
}

#[test]
fn a_poor_hit_ratio_is_found() {
    let mut scene = Scene::good();
    scene.turn(40, true, Outcome::Hit, Outcome::Fetched);
    assert_eq!(
        scene.failed(),
        ["the hit ratio is at most 1 point below strict LRU's"]
    );
}

#[test]
fn a_breaker_that_sleeps_or_sticks_is_found() {
    let mut scene = Scene::good();
    scene.counted.origin.opened = 0;
    assert!(scene
        .failed()
        .contains(&"the breaker opens when the origin fails, and closes again"));
    let mut scene = Scene::good();
    scene.counted.origin.closed = 0;
    assert_eq!(
        scene.failed(),
        ["the breaker opens when the origin fails, and closes again"]
    );
}

#[test]
fn hammering_a_failing_origin_is_found() {
    // Five to open, one other in flight, two probes; seven failed.
    let mut scene = Scene::good();
    scene.turn(1, false, Outcome::Rejected, Outcome::Failed);
    assert_eq!(scene.failed(), [""; 0]);
    scene.turn(1, false, Outcome::Rejected, Outcome::Failed);
    assert_eq!(
        scene.failed(),
        ["the failing origin is called no more than it takes to know"]
    );
    scene.play.workers[0].summary.straddled = 1;
    assert_eq!(scene.failed(), [""; 0]);
}

#[test]
fn an_evicted_bucket_or_an_unknown_tier_is_found() {
    let name = "no live bucket is evicted, no tier unknown";
    let mut scene = Scene::good();
    scene.counted.clients.evicted_live = 1;
    assert_eq!(scene.failed(), [name]);
    let mut scene = Scene::good();
    scene.counted.clients.unknown_tier = 1;
    assert_eq!(scene.failed(), [name]);
}

#[test]
fn every_count_that_differs_is_found() {
    let breaks: [fn(&mut Scene); 11] = [
        |s| s.counted.recorded += 1,
        |s| s.counted.clients.refused -= 1,
        |s| s.counted.clients.admitted += 1,
        |s| s.counted.pages.hits -= 1,
        |s| s.counted.pages.misses += 1,
        |s| s.counted.pages.sets -= 1,
        |s| s.counted.origin.rejected += 1,
        |s| s.counted.origin.successes -= 1,
        |s| s.play.workers[0].summary.tally.hits += 1,
        |s| s.play.workers[0].summary.stored += 1,
        |s| s.play.workers[0].tally.served -= 1,
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        let mut scene = Scene::good();
        break_it(&mut scene);
        assert_eq!(
            scene.failed(),
            ["workers and region count alike"],
            "{number}"
        );
    }
    let mut scene = Scene::good();
    scene.counted.origin.successes -= 1;
    scene.counted.origin.late += 1;
    assert_eq!(scene.failed(), [""; 0], "a late result is heard too");
}

#[test]
fn a_wrong_body_and_a_key_of_nobody_are_found() {
    let name = "every cached body is its key's, byte for byte";
    let mut scene = Scene::good();
    scene.leftovers.wrong = Some("/1: wrong after byte 64".into());
    assert_eq!(scene.failed(), [name]);
    let mut scene = Scene::good();
    scene.leftovers.pages -= 1;
    assert_eq!(scene.failed(), [name]);
    scene.counted.pages.busy = 1;
    assert_eq!(scene.failed(), [""; 0], "a busy write voids older entries");
    scene.leftovers.pages += 2;
    assert_eq!(scene.failed(), [name]);
}

#[test]
fn what_a_foreign_log_cannot_tell_is_not_applicable() {
    let mut scene = Scene::good();
    scene.log.cast = None;
    let checks = scene.checks();
    let not: Vec<_> = (checks.iter())
        .filter(|check| check.verdict == Verdict::NotApplicable)
        .map(|check| check.name)
        .collect();
    assert_eq!(
        not,
        [
            "the abuser is admitted at least 99 % of its bound",
            "no honest client is refused"
        ]
    );
    assert_eq!(scene.failed(), [""; 0]);
}

#[test]
fn a_breaker_that_nobody_asked_is_not_judged() {
    let mut scene = Scene::good();
    scene.play.batches.retain(|batch| batch.dealt < 1_100 * MS);
    scene.counted.origin = BreakerStats::default();
    let check = &scene.checks()[4];
    assert_eq!(check.verdict, Verdict::NotApplicable);
}

#[test]
fn a_file_that_stays_is_found() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    assert_eq!(
        nothing_is_left_behind(Some(&path), 0).verdict,
        Verdict::Fail
    );
    let verdict = nothing_is_left_behind(Some(&path), 1).verdict;
    assert_eq!(verdict, Verdict::NotApplicable);
    drop(file);
    assert_eq!(
        nothing_is_left_behind(Some(&path), 0).verdict,
        Verdict::Pass
    );
    assert_eq!(
        nothing_is_left_behind(None, 0).verdict,
        Verdict::NotApplicable
    );
}
