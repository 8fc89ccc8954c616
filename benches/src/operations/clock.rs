//! Reading the clock: what every limiter and every expiring entry pays.

use super::{private, Group};
use crate::{Comparison, Side};
use std::hint::black_box;
use std::time::Instant;

pub const GROUP: Group = Group {
    title: "Clock",
    about: "What one reading costs: the floor under every call that reads the clock. \
            The region's clock counts suspension, the standard library's does not.",
    build,
};

fn build() -> Vec<Comparison> {
    let region = private(1 << 20);
    let before = region.now();
    assert!(region.now() >= before, "the clock goes back");
    vec![Comparison {
        operation: "read the region's clock".into(),
        ours: Side::new("forebay", move |_| {
            let region = region.clone();
            move |n| {
                for _ in 0..n {
                    black_box(region.now());
                }
            }
        }),
        peer: Side::new("std `Instant::now`", |_| {
            |n| {
                for _ in 0..n {
                    black_box(Instant::now());
                }
            }
        }),
    }]
}
