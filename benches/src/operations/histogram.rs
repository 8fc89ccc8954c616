//! Recording a latency.

use super::{private, Group};
use crate::keys::latencies;
use crate::{Comparison, Side};
use histogram::AtomicHistogram;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

pub const GROUP: Group = Group {
    title: "Histogram",
    about: "Log-normal latencies, median 5 ms. forebay counts the bucket (2.2 % wide), adds to the sum and keeps \
            the smallest and the largest; `histogram::AtomicHistogram` counts the bucket (1.6 % \
            wide). Both use one shared array of atomic counters.",
    build,
};

fn build() -> Vec<Comparison> {
    let durations = latencies(1 << 16);
    let exact = {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100 - 1] as f64
    };
    vec![Comparison {
        operation: "record a duration".into(),
        ours: ours(&durations, exact),
        peer: peer(&durations, exact),
    }]
}

fn ours(durations: &Arc<[u64]>, p99: f64) -> Side {
    let region = private(1 << 20);
    let histogram = region.histogram("http", None).expect("a histogram");
    durations.iter().for_each(|ns| histogram.record_ns(*ns));
    let snapshot = histogram.snapshot();
    assert_eq!(snapshot.count(), durations.len() as u64);
    let sum = Duration::from_nanos(durations.iter().sum());
    assert_eq!(snapshot.sum(), sum);
    let told = snapshot.percentile(99.0).expect("a percentage");
    close(told.expect("records").as_nanos() as f64, p99, 0.012);
    let durations = durations.clone();
    Side::new("forebay", move |thread| {
        let (histogram, durations) = (histogram.clone(), durations.clone());
        let mut place = thread * 9_973;
        move |n| {
            for _ in 0..n {
                histogram.record_ns(black_box(durations[place & (durations.len() - 1)]));
                place += 1;
            }
        }
    })
}

fn peer(durations: &Arc<[u64]>, p99: f64) -> Side {
    // From one nanosecond to eighteen minutes.
    let histogram = AtomicHistogram::new(6, 40).expect("a configuration");
    for ns in durations.iter() {
        histogram.increment(*ns).expect("a duration in range");
    }
    let told = histogram.load().quantile_bucket(0.99);
    let bucket = told.expect("a quantile").expect("records");
    close(bucket.end() as f64, p99, 0.016);
    let (histogram, durations) = (Arc::new(histogram), durations.clone());
    Side::new("histogram", move |thread| {
        let (histogram, durations) = (histogram.clone(), durations.clone());
        let mut place = thread * 9_973;
        move |n| {
            for _ in 0..n {
                let duration = black_box(durations[place & (durations.len() - 1)]);
                // Out of range is the only error, and was ruled out above.
                let _ = black_box(histogram.increment(duration));
                place += 1;
            }
        }
    })
}

fn close(told: f64, exact: f64, error: f64) {
    assert!((told / exact - 1.0).abs() < error, "{told} for {exact}");
}
