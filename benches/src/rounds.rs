//! Timing in short alternating rounds.
//!
//! A machine slows down and speeds up (other programs, the clock of the
//! processor) over seconds. So each round times both sides, one right after
//! the other and in turn first; the ratio is taken within a round, and what is
//! reported is the median over the rounds, with the extremes beside it.

use crate::{Comparison, Worker};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Operations between two looks at the clock.
const CHUNK: usize = 4_096;

/// How much to time.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count; one more goes before them to warm up.
    pub rounds: usize,
    /// Of one side in one round.
    pub time: Duration,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub operation: String,
    /// Whose operation ours was compared with.
    pub peer: String,
    /// By so many threads at once.
    pub threads: usize,
    /// Nanoseconds of one of our operations, as its thread sees it.
    pub ours_ns: f64,
    /// The peer's.
    pub peer_ns: f64,
    /// Ours in terms of the peer's.
    pub ratio: Spread,
    /// Percent of hits, ours and the peer's, where reads can miss.
    pub hits: Option<(f64, f64)>,
}

/// The median of the rounds and their extremes.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// Times both sides with so many threads.
pub fn compare(comparison: &Comparison, threads: usize, plan: Plan) -> Row {
    let barrier = Barrier::new(threads);
    let per_thread: Vec<Vec<[f64; 2]>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || one_thread(comparison, thread, plan, barrier))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a worker ran to its end"))
            .collect()
    });
    let round = |side: usize| -> Vec<f64> {
        (0..plan.rounds)
            .map(|round| per_thread.iter().map(|t| t[round][side]).sum::<f64>() / threads as f64)
            .collect()
    };
    let (ours, peers) = (round(0), round(1));
    let ratios = ours.iter().zip(&peers).map(|(ours, peer)| ours / peer);
    let hits = |side: &crate::Side| side.hits.as_ref().map(|hits| hits.take_percent());
    Row {
        operation: comparison.operation.clone(),
        peer: comparison.peer.name.clone(),
        threads,
        ratio: spread(ratios.collect()),
        ours_ns: spread(ours).median,
        peer_ns: spread(peers).median,
        hits: hits(&comparison.ours).zip(hits(&comparison.peer)),
    }
}

/// Nanoseconds an operation of both sides, for each round.
fn one_thread(
    comparison: &Comparison,
    thread: usize,
    plan: Plan,
    barrier: &Barrier,
) -> Vec<[f64; 2]> {
    let mut sides = [
        comparison.ours.worker(thread),
        comparison.peer.worker(thread),
    ];
    let mut rounds = Vec::with_capacity(plan.rounds + 1);
    for round in 0..=plan.rounds {
        let mut times = [0.0; 2];
        for side in [round % 2, 1 - round % 2] {
            barrier.wait();
            times[side] = time(&mut sides[side], plan.time);
        }
        rounds.push(times);
    }
    rounds.split_off(1)
}

fn time(worker: &mut Worker, at_least: Duration) -> f64 {
    let started = Instant::now();
    let mut operations = 0;
    loop {
        worker(CHUNK);
        operations += CHUNK;
        let taken = started.elapsed();
        if taken >= at_least {
            return taken.as_nanos() as f64 / operations as f64;
        }
    }
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Spread {
        median: match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        },
        min: values[0],
        max: values[values.len() - 1],
    }
}
