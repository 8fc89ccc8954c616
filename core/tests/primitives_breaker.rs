//! The breaker against its documented rule, told in the plainest way: any
//! sequence of calls, results and waits gives the same answers. And the
//! scenarios of other breakers' own tests, where our options can express them.

#[path = "region_support/data.rs"]
mod data;

use forebay::breaker::{BreakerStats, Outcome};
use forebay::{BreakerOptions, Region, State};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

fn region() -> Region {
    Region::options()
        .bytes(64 << 10)
        .manual_clock(true)
        .private()
        .unwrap()
}

// ----- the rule

/// What a breaker is set to.
#[derive(Clone, Debug)]
struct Settings {
    failure_threshold: u32,
    failure_percent: Option<u32>,
    volume_threshold: u32,
    window_ms: u64,
    open_ms: u64,
    success_threshold: u32,
    half_open_calls: u32,
    lease_ms: u64,
}

impl Settings {
    fn options(&self) -> BreakerOptions {
        BreakerOptions::new()
            .failure_threshold(self.failure_threshold)
            .failure_rate(
                self.failure_percent
                    .map(|percent| f64::from(percent) / 100.0),
            )
            .volume_threshold(self.volume_threshold)
            .window(Duration::from_millis(self.window_ms))
            .open_for(Duration::from_millis(self.open_ms))
            .success_threshold(self.success_threshold)
            .half_open_calls(self.half_open_calls)
            .probe_lease(Duration::from_millis(self.lease_ms))
    }
}

/// What is known while it is in a state.
#[derive(Debug)]
enum Phase {
    Closed {
        failures_in_a_row: u32,
        /// When, in tenths of the window, and whether it failed.
        calls: Vec<(u64, bool)>,
    },
    Open {
        until: u64,
    },
    HalfOpen {
        /// Who probes, and until when that is waited for.
        probes: Vec<Option<(usize, u64)>>,
        successes: u32,
    },
}

/// The rule. Time is in whole milliseconds.
struct Model {
    settings: Settings,
    now: u64,
    phase: Phase,
    /// Counts phases: a permit is good for the one that it was given in.
    number: u64,
    /// The phase of each permit, and whether it is a probe's.
    permits: Vec<(u64, bool)>,
    stats: BreakerStats,
}

impl Model {
    fn new(settings: Settings) -> Model {
        let mut model = Model {
            settings,
            now: 0,
            phase: Phase::Open { until: 0 },
            number: 0,
            permits: Vec::new(),
            stats: BreakerStats::default(),
        };
        model.close();
        model
    }

    fn close(&mut self) {
        self.number += 1;
        self.phase = Phase::Closed {
            failures_in_a_row: 0,
            calls: Vec::new(),
        };
    }

    fn open(&mut self) {
        self.number += 1;
        self.stats.opened += 1;
        self.phase = Phase::Open {
            until: self.now + self.settings.open_ms,
        };
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// The number of a new permit, or how long to wait.
    fn enter(&mut self) -> Result<usize, u64> {
        if let Phase::Open { until } = self.phase {
            if self.now < until {
                self.stats.rejected += 1;
                return Err(until - self.now);
            }
            self.number += 1;
            self.stats.half_opened += 1;
            self.phase = Phase::HalfOpen {
                probes: vec![None; self.settings.half_open_calls as usize],
                successes: 0,
            };
        }
        let permit = self.permits.len();
        let mut probe = false;
        if let Phase::HalfOpen { probes, .. } = &mut self.phase {
            let now = self.now;
            let is_free =
                |place: &&mut Option<(usize, u64)>| place.is_none_or(|(_, end)| end <= now);
            match probes.iter_mut().find(is_free) {
                Some(place) => *place = Some((permit, now + self.settings.lease_ms)),
                None => {
                    self.stats.rejected += 1;
                    return Err(probes
                        .iter()
                        .flatten()
                        .map(|(_, end)| end - now)
                        .min()
                        .unwrap());
                }
            }
            probe = true;
            self.stats.probes += 1;
        }
        self.permits.push((self.number, probe));
        Ok(permit)
    }

    /// Whether the result counted.
    fn leave(&mut self, permit: usize, outcome: Outcome) -> bool {
        let (number, _) = self.permits[permit];
        if number != self.number {
            self.stats.late += 1;
            return false;
        }
        let settings = &self.settings;
        let (mut opens, mut closes) = (false, false);
        match &mut self.phase {
            Phase::Open { .. } => unreachable!("gives no permits"),
            Phase::HalfOpen { probes, successes } => {
                let mine =
                    |place: &&mut Option<(usize, u64)>| place.is_some_and(|(who, _)| who == permit);
                let Some(place) = probes.iter_mut().find(mine) else {
                    self.stats.late += 1;
                    return false;
                };
                *place = None;
                match outcome {
                    Outcome::Ignored => {}
                    Outcome::Failure => opens = true,
                    Outcome::Success => {
                        *successes += 1;
                        closes = *successes >= settings.success_threshold;
                    }
                }
            }
            Phase::Closed { .. } if outcome == Outcome::Ignored => {}
            Phase::Closed {
                failures_in_a_row,
                calls,
            } => {
                let failed = outcome == Outcome::Failure;
                *failures_in_a_row = if failed { *failures_in_a_row + 1 } else { 0 };
                opens |= failed
                    && settings.failure_threshold > 0
                    && *failures_in_a_row >= settings.failure_threshold;
                if let Some(percent) = settings.failure_percent {
                    let tenth = self.now * 10 / settings.window_ms;
                    calls.push((tenth, failed));
                    calls.retain(|(when, _)| when + 10 > tenth);
                    let failures = calls.iter().filter(|(_, failed)| *failed).count() as u32;
                    let all = calls.len() as u32;
                    opens |= all >= settings.volume_threshold && failures * 100 >= percent * all;
                }
            }
        }
        if opens {
            self.open();
        } else if closes {
            self.stats.closed += 1;
            self.close();
        }
        match outcome {
            Outcome::Success => self.stats.successes += 1,
            Outcome::Failure => self.stats.failures += 1,
            Outcome::Ignored => self.stats.ignored += 1,
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    /// One of the permits that are out, and how its call ended.
    Leave(usize, Outcome),
    Wait(u64),
}

fn settings() -> impl Strategy<Value = Settings> {
    let thresholds = (0u32..6, prop::option::of(1u32..=100), 1u32..12);
    let times = (1u64..20, 1u64..300, 1u64..200);
    (thresholds, times, 1u32..4, 1u32..4).prop_map(|(thresholds, times, successes, probes)| {
        let (failure_threshold, failure_percent, volume_threshold) = thresholds;
        let (window, open_ms, lease_ms) = times;
        Settings {
            failure_threshold,
            failure_percent,
            volume_threshold,
            window_ms: window * 10,
            open_ms,
            success_threshold: successes,
            half_open_calls: probes,
            lease_ms,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failure),
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Ignored),
    ];
    let step = prop_oneof![
        5 => Just(Step::Enter),
        5 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Leave(which, outcome)),
        1 => (1u64..20).prop_map(Step::Wait),
        1 => (20u64..400).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_breaker_does_what_its_rule_says(settings in settings(), steps in steps()) {
        let region = region();
        let breaker = region.breaker("origin", settings.options()).unwrap();
        let mut model = Model::new(settings);
        // The permits that are out: the model's number and the breaker's.
        let mut out: Vec<(usize, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Enter => match (model.enter(), breaker.enter_raw()) {
                    (Ok(number), Ok(permit)) => out.push((number, permit)),
                    (expected, is) => prop_assert_eq!(
                        expected.map(|_| ()).map_err(Duration::from_millis),
                        is.map(|_| ())
                    ),
                },
                Step::Leave(..) if out.is_empty() => {}
                Step::Leave(which, outcome) => {
                    let (number, permit) = out.swap_remove(which % out.len());
                    prop_assert_eq!(model.leave(number, outcome), breaker.leave(permit, outcome));
                }
                Step::Wait(ms) => {
                    model.now += ms;
                    region.advance(Duration::from_millis(ms)).unwrap();
                }
            }
            prop_assert_eq!(model.state(), breaker.state());
        }
        prop_assert_eq!(model.stats, breaker.stats());
        // Everybody was told of each transition, in order.
        let transitions = model.stats.opened + model.stats.half_opened + model.stats.closed;
        let events = region.events(0);
        prop_assert_eq!(events.next, transitions + 1);
        let numbers = events.events.iter().skip(1).map(|event| event.detail);
        if events.lost == 0 {
            prop_assert_eq!(numbers.collect::<Vec<_>>(), Vec::from_iter(1..=transitions));
        }
    }
}

// ----- the scenarios

/// Why our options cannot express a scenario, if so.
fn inexpressible(scenario: &Value) -> Option<String> {
    let config = &scenario["config"];
    let steps: Vec<&Value> = scenario["steps"].as_array().unwrap().iter().collect();
    let does = |what: &str| steps.iter().any(|step| step[0] == what);
    let half_opens = steps.iter().any(|step| step[1] == "HALF_OPEN");
    let waits = does("advance");
    let because = |why: &str| Some(why.to_owned());
    if does("force") {
        because("states cannot be forced")
    } else if steps
        .iter()
        .any(|step| step[0].as_str().unwrap().starts_with("call_") && step[1].is_u64())
    {
        because("slow calls do not count as failures")
    } else if half_opens && config["half_open_rule"] == "rate" {
        because("half-open is judged by single probes, not by a rate")
    } else if does("call_ignored") && config["ignored_in_half_open"] == "success" {
        because("an ignored probe says nothing, and does not close")
    } else if waits && config["window"]["type"] == "tumbling" {
        because("the window slides, it does not tumble")
    } else if waits
        && config["window"]["buckets"]
            .as_u64()
            .is_some_and(|n| n != 10)
    {
        because("the window has ten buckets")
    } else {
        None
    }
}

fn options_of(config: &Value) -> BreakerOptions {
    let number = |name: &str| config[name].as_u64().map(|n| n as u32);
    let time = |value: &Value| value.as_u64().map(Duration::from_millis);
    let rate = config["failure_rate"]
        .as_f64()
        .map(|rate| match config["rate_cmp"].as_str() {
            // More than: the next millionth, which is what a region keeps.
            Some(">") => rate + 1e-6,
            _ => rate,
        });
    let mut options = BreakerOptions::new()
        .failure_threshold(number("failure_threshold").unwrap_or(0))
        .failure_rate(rate);
    if let Some(calls) = number("volume_threshold") {
        options = options.volume_threshold(calls.max(1));
    }
    if let Some(window) = time(&config["window"]["ms"]) {
        options = options.window(window);
    }
    if let Some(open) = time(&config["open_ms"]) {
        options = options.open_for(open);
    }
    if let Some(calls) = number("half_open_max_calls") {
        options = options.half_open_calls(calls);
    }
    if let Some(successes) = number("success_threshold") {
        options = options.success_threshold(successes);
    }
    options
}

fn play(scenario: &Value) {
    let id = scenario["id"].as_str().unwrap();
    let region = region();
    let breaker = region
        .breaker("origin", options_of(&scenario["config"]))
        .unwrap();
    let mut permits: HashMap<String, u64> = HashMap::new();
    let last = || "the last".to_owned();
    // Others show half-open as soon as the time is up; ours, to the first call
    // that enters. So it is looked at again then.
    let mut due = false;
    for (i, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let at = format!("{id}, step {i}: {step}");
        let words = step.as_array().unwrap();
        let word = words[0].as_str().unwrap();
        let name = || words[1].as_str().map_or_else(last, str::to_owned);
        match word {
            "admit" | "admit_as" => {
                let expected = words.last().unwrap().as_bool().unwrap();
                let entered = breaker.enter_raw();
                assert_eq!(entered.is_ok(), expected, "{at}");
                if let Ok(permit) = entered {
                    permits.insert(if word == "admit" { last() } else { name() }, permit);
                }
            }
            "ok" | "fail" => {
                let outcome = if word == "ok" {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                breaker.leave(permits.remove(&last()).unwrap(), outcome);
            }
            "ok_as" | "fail_as" => {
                let outcome = if word == "ok_as" {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                breaker.leave(permits.remove(&name()).unwrap(), outcome);
            }
            "call_ok" | "call_fail" => {
                let permit = breaker
                    .enter_raw()
                    .unwrap_or_else(|wait| panic!("{at}: wait {wait:?}"));
                if std::mem::take(&mut due) {
                    assert_eq!(breaker.state(), State::HalfOpen, "{at}");
                }
                let outcome = if word == "call_ok" {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                breaker.leave(permit, outcome);
            }
            "advance" => region
                .advance(Duration::from_millis(words[1].as_u64().unwrap()))
                .unwrap(),
            "rejected" => assert_eq!(breaker.stats().rejected, words[1].as_u64().unwrap(), "{at}"),
            "state" => {
                let expected = match words[1].as_str().unwrap() {
                    "CLOSED" => State::Closed,
                    "OPEN" => State::Open,
                    "HALF_OPEN" => State::HalfOpen,
                    other => panic!("{at}: no state {other}"),
                };
                let on_read = scenario["config"]["half_open_visible"] == "on_read";
                match (expected, breaker.state()) {
                    (State::HalfOpen, State::Open) if on_read => due = true,
                    (expected, is) => assert_eq!(is, expected, "{at}"),
                }
            }
            other => panic!("{at}: no step {other}"),
        }
    }
    assert!(!due, "{id}: half-open was never seen");
}

#[test]
fn scenarios_of_other_breakers_end_as_theirs_do_where_options_agree() {
    let test = "scenarios_of_other_breakers_end_as_theirs_do_where_options_agree";
    let Some(file) = data::file(test, "breakers/scenarios.json") else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let mut played = 0;
    for scenario in file["scenarios"].as_array().unwrap() {
        match inexpressible(scenario) {
            Some(why) => data::skip(&format!("{test}, {}", scenario["id"]), why),
            None => {
                play(scenario);
                played += 1;
            }
        }
    }
    assert!(played >= 5, "only {played} scenarios");
}
