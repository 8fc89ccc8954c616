//! Percentiles against the exact ones: of random durations, and of recorded
//! latencies.

#[path = "region_support/data.rs"]
mod data;

use forebay::{Histogram, Region};
use proptest::prelude::*;
use serde_json::Value;

fn histogram() -> Histogram {
    let region = Region::options().bytes(64 << 10).private().unwrap();
    region.histogram("http", None).unwrap()
}

/// The promise: within 1.1 % from 1 µs to 17 minutes, and 1 ns of rounding.
fn is_near(estimate: u64, exact: u64) -> bool {
    estimate.abs_diff(exact) as f64 <= exact as f64 * 0.011 + 1.0
}

/// The value that `percent` of them do not exceed, by nearest rank.
fn exact_percentile(sorted: &[u64], percent: f64) -> u64 {
    let rank = (percent / 100.0 * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Durations of every size, as many short as long.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let spread = (10u32..40, any::<u64>()).prop_map(|(bits, ns)| (1 << bits) + ns % (1 << bits));
    let in_range = spread.prop_map(|ns: u64| ns.clamp(1_000, 1_024_000_000_000));
    prop::collection::vec(in_range, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn percentiles_are_within_the_promised_error(durations in durations(), percent in 0.0f64..=100.0) {
        let histogram = histogram();
        durations.iter().for_each(|ns| histogram.record_ns(*ns));
        let mut sorted = durations;
        sorted.sort_unstable();
        for percent in [percent, 0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0] {
            let exact = exact_percentile(&sorted, percent);
            let estimate = histogram.percentile(percent).unwrap().unwrap().as_nanos() as u64;
            prop_assert!(is_near(estimate, exact), "p{}: {} for {}", percent, estimate, exact);
        }
        let seen = histogram.snapshot();
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        prop_assert_eq!(seen.count(), sorted.len() as u64);
        prop_assert_eq!(seen.sum().as_nanos(), sorted.iter().map(|ns| u128::from(*ns)).sum::<u128>());
        prop_assert_eq!(seen.min().unwrap().as_nanos(), u128::from(least));
        prop_assert_eq!(seen.max().unwrap().as_nanos(), u128::from(most));
        prop_assert_eq!(seen.percentile(100.0).unwrap(), seen.max());
    }

    #[test]
    fn percentiles_rise_and_stay_between_the_extremes(mut durations in prop::collection::vec(any::<u64>(), 1..100)) {
        // Small enough for their sum, and far beyond the range on both sides.
        durations.iter_mut().for_each(|ns| *ns >>= 8 + *ns % 50);
        let histogram = histogram();
        durations.iter().for_each(|ns| histogram.record_ns(*ns));
        let seen = histogram.snapshot();
        let mut last = seen.min().unwrap();
        for percent in 0..=100 {
            let estimate = seen.percentile(f64::from(percent)).unwrap().unwrap();
            prop_assert!(estimate >= last && estimate <= seen.max().unwrap());
            last = estimate;
        }
    }

    #[test]
    fn every_record_is_in_the_one_bucket_whose_edges_enclose_it(ns in any::<u64>(), bits in 0u32..64) {
        let (ns, histogram) = (ns >> bits, histogram());
        histogram.record_ns(ns);
        let buckets = histogram.snapshot().buckets();
        prop_assert_eq!(buckets.len(), 1);
        let (upper, count) = buckets[0];
        prop_assert_eq!(count, 1);
        let seconds = ns as f64 / 1e9;
        // The edge itself belongs below; a float of it may be off by a hair.
        prop_assert!(seconds <= upper * (1.0 + 1e-12));
        let lower = if upper.is_finite() { upper / 2f64.powf(1.0 / 32.0) } else { 1024.0 };
        prop_assert!(seconds > lower * (1.0 - 1e-12) || upper < 1e-6);
    }
}

#[test]
fn percentiles_of_recorded_latencies_are_those_that_others_computed() {
    let test = "percentiles_of_recorded_latencies_are_those_that_others_computed";
    // Recorded in nanoseconds, and in microseconds.
    for (name, unit) in [("tagged-Log.logV2.hlog", 1), ("ycsb.logV1.hlog", 1_000)] {
        let Some(expected) = data::file(test, "hdr/expected.json") else {
            return;
        };
        let Some(counts) = data::file(test, &format!("hdr/{name}.counts.csv")) else {
            return;
        };
        let expected: Value = serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
        let expected = &expected["files"][name];
        let counts = std::fs::read_to_string(counts).unwrap();
        let histogram = histogram();
        let mut total = 0;
        for line in counts.lines().skip(1) {
            let fields: Vec<u64> = line
                .split(',')
                .map(|field| field.parse().unwrap())
                .collect();
            let [_, highest, count] = fields[..] else {
                panic!("{line}");
            };
            (0..count).for_each(|_| histogram.record_ns(highest * unit));
            total += count;
        }
        assert_eq!(total, expected["total"].as_u64().unwrap());
        for (field, percent) in [
            ("p50", 50.0),
            ("p90", 90.0),
            ("p95", 95.0),
            ("p99", 99.0),
            ("p99.9", 99.9),
        ] {
            let theirs = expected[field].as_u64().unwrap() * unit;
            let ours = histogram.percentile(percent).unwrap().unwrap().as_nanos() as u64;
            // Beyond 17 minutes there is one bucket for all.
            let in_range = theirs <= 1_024_000_000_000;
            assert!(
                is_near(ours, theirs) || !in_range,
                "{name} {field}: {ours} for {theirs}"
            );
        }
        let max = expected["max"].as_u64().unwrap() * unit;
        assert_eq!(histogram.snapshot().max().unwrap().as_nanos() as u64, max);
    }
}
