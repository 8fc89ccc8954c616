//! The same comparisons under criterion, one thread:
//! `cargo bench -p forebay-benches`.

use criterion::{criterion_group, criterion_main, Criterion};
use forebay_benches::{groups, Side};
use std::time::{Duration, Instant};

fn against_peers(criterion: &mut Criterion) {
    for group in groups() {
        let mut heading = criterion.benchmark_group(group.title);
        heading.warm_up_time(Duration::from_millis(300));
        heading.measurement_time(Duration::from_secs(1));
        for (number, comparison) in (group.build)().iter().enumerate() {
            let mut time = |side: &Side| {
                let mut worker = side.worker(0);
                // Numbered: two comparisons may have a side in common.
                let name = format!("{number} {}/{}", comparison.operation, side.name);
                heading.bench_function(name, |bencher| {
                    bencher.iter_custom(|operations| {
                        let started = Instant::now();
                        worker(operations as usize);
                        started.elapsed()
                    })
                });
            };
            time(&comparison.ours);
            time(&comparison.peer);
        }
        heading.finish();
    }
}

criterion_group!(benches, against_peers);
criterion_main!(benches);
