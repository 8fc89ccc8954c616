//! Entering and leaving a closed breaker.

use super::{private, Group};
use crate::{Comparison, Side};
use forebay::breaker::Outcome;
use forebay::{Breaker, BreakerOptions};
use recloser::Recloser;
use std::hint::black_box;
use std::sync::Arc;

pub const GROUP: Group = Group {
    title: "Breaker",
    about: "A successful call through a closed breaker. recloser judges by the last 100 outcomes \
            (its default) and reads no clock while closed. forebay's default judges by failures \
            in a row and by the rate over the last ten seconds, for which it reads the clock. \
            `call` wraps a closure and reports a panic in it; enter and leave are the two calls \
            that bindings make.",
    build,
};

fn build() -> Vec<Comparison> {
    let defaults = BreakerOptions::new();
    let in_a_row = BreakerOptions::new().failure_rate(None);
    vec![
        Comparison {
            operation: "breaker, enter and leave".into(),
            ours: enter_and_leave(ours(defaults.clone())),
            peer: recloser(),
        },
        Comparison {
            operation: "breaker, enter and leave, failures in a row only".into(),
            ours: enter_and_leave(ours(in_a_row)),
            peer: recloser(),
        },
        Comparison {
            operation: "breaker, call".into(),
            ours: call(ours(defaults)),
            peer: recloser(),
        },
    ]
}

fn ours(options: BreakerOptions) -> Breaker {
    let region = private(1 << 20);
    let opens = region.breaker("opens", options.clone()).expect("a breaker");
    for _ in 0..5 {
        let permit = opens.enter_raw().expect("closed");
        assert!(opens.leave(permit, Outcome::Failure));
    }
    assert!(opens.enter_raw().is_err(), "five failures open it");
    let breaker = region.breaker("origin", options).expect("a breaker");
    let permit = breaker.enter_raw().expect("closed");
    assert!(breaker.leave(permit, Outcome::Success));
    breaker
}

fn enter_and_leave(breaker: Breaker) -> Side {
    Side::new("forebay", move |_| {
        let breaker = breaker.clone();
        move |n| {
            for _ in 0..n {
                if let Ok(permit) = breaker.enter_raw() {
                    black_box(breaker.leave(black_box(permit), Outcome::Success));
                }
            }
        }
    })
}

fn call(breaker: Breaker) -> Side {
    Side::new("forebay", move |_| {
        let breaker = breaker.clone();
        move |n| {
            for _ in 0..n {
                let _ = black_box(breaker.call(|| Ok::<_, ()>(black_box(7))));
            }
        }
    })
}

fn recloser() -> Side {
    let opens = Recloser::custom().build();
    for _ in 0..200 {
        let _ = opens.call(|| Err::<(), ()>(()));
    }
    assert!(
        matches!(
            opens.call(|| Ok::<_, ()>(())),
            Err(recloser::Error::Rejected)
        ),
        "a hundred failures open it"
    );
    let breaker = Arc::new(Recloser::custom().build());
    assert!(breaker.call(|| Ok::<_, ()>(())).is_ok());
    Side::new("recloser", move |_| {
        let breaker = breaker.clone();
        move |n| {
            for _ in 0..n {
                let _ = black_box(black_box(&*breaker).call(|| Ok::<_, ()>(black_box(7))));
            }
        }
    })
}
