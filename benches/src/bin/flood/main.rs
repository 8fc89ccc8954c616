//! What a flood of fresh keys does to a full limiter, beside what others do
//! when they are full: `cargo run --release -p forebay-benches --bin flood`.
//! Nothing is timed, so the figures are the same everywhere.

mod policies;
mod world;

use forebay::internals::limiter::{OnFull, Rule};
use forebay_benches::report::Table;
use policies::{Lru, Ours, Refusing};
use world::{Outcome, World, SECOND, TARGETS};

const SLOTS: usize = 65_536;

const RATES: [(&str, Rule); 2] = [
    ("5/min", Rule::bucket(12 * SECOND, 5)),
    ("100/min burst 20", Rule::bucket(6 * SECOND / 10, 20)),
];

const LOGIN: Rule = RATES[0].1;

/// A flood that the others are variations of.
const FLOOD: World = World {
    rule: LOGIN,
    seconds: 60,
    keys_a_second: 100_000,
    tokens: 1,
    colliding: false,
    pause: 1,
    blocked: false,
};

fn main() {
    for (title, table) in [
        ("Beside other ways", policies_beside_each_other()),
        ("How much it takes", by_load()),
        ("Without a flood", honest()),
        ("Who knows where keys lie", colliding()),
        ("Blocks", blocks()),
    ] {
        println!("## {title}\n\n{}", table.markdown());
    }
}

fn ours(world: &World, on_full: OnFull) -> Outcome {
    world.run(Ours::new(on_full, world.rule, SLOTS))
}

fn most(of: &[u64]) -> u64 {
    of.iter().copied().max().unwrap_or_default()
}

fn mean(of: &[u64]) -> String {
    format!("{:.1}", of.iter().sum::<u64>() as f64 / of.len() as f64)
}

/// What the document allows the target that was evicted most.
fn allowed(world: &World, outcome: &Outcome) -> u64 {
    world.bound() + world.rule.burst * most(&outcome.evictions)
}

fn policies_beside_each_other() -> Table {
    let heading = [
        "rate, time, own bound",
        "each key spends",
        "full table",
        "target: most",
        "mean",
        "its evictions",
        "allowed",
        "newcomers",
        "regulars",
        "all evictions",
    ];
    let mut table = Table::new(&heading, 3);
    for ((name, rule), seconds) in RATES.into_iter().zip([20, 15]) {
        for tokens in [1, rule.burst] {
            let world = World {
                rule,
                seconds,
                tokens,
                ..FLOOD
            };
            for (policy, outcome) in [
                ("lenient", ours(&world, OnFull::Lenient)),
                ("strict", ours(&world, OnFull::Strict)),
                ("LRU", world.run(Lru::new(rule, SLOTS))),
                ("refuses", world.run(Refusing::new(rule, SLOTS))),
            ] {
                table.row(vec![
                    format!("{name}, {seconds} s, {}", world.bound()),
                    tokens.to_string(),
                    policy.to_owned(),
                    most(&outcome.tokens).to_string(),
                    mean(&outcome.tokens),
                    most(&outcome.evictions).to_string(),
                    allowed(&world, &outcome).to_string(),
                    outcome.newcomers.percent(),
                    outcome.regulars.percent(),
                    outcome.evicted.to_string(),
                ]);
            }
        }
    }
    table
}

fn by_load() -> Table {
    let heading = [
        "each key spends",
        "keys/s",
        "live at once / slots",
        "lenient: most",
        "mean",
        "its evictions",
        "allowed",
        "all evictions",
        "strict: most",
        "newcomers",
        "regulars",
    ];
    let mut table = Table::new(&heading, 0);
    for tokens in [1, LOGIN.burst] {
        for keys_a_second in [500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 100_000] {
            let world = World {
                keys_a_second,
                tokens,
                ..FLOOD
            };
            let (lenient, strict) = (ours(&world, OnFull::Lenient), ours(&world, OnFull::Strict));
            let live = keys_a_second * tokens * LOGIN.increment / SECOND;
            table.row(vec![
                tokens.to_string(),
                keys_a_second.to_string(),
                format!("{:.2}", live as f64 / SLOTS as f64),
                most(&lenient.tokens).to_string(),
                mean(&lenient.tokens),
                most(&lenient.evictions).to_string(),
                allowed(&world, &lenient).to_string(),
                lenient.evicted.to_string(),
                most(&strict.tokens).to_string(),
                strict.newcomers.percent(),
                strict.regulars.percent(),
            ]);
        }
    }
    table
}

fn honest() -> Table {
    let heading = [
        "rate",
        "load",
        "lenient: evictions",
        "a newcomer",
        "strict: newcomers",
        "regulars",
        "who waits gets",
        "own bound",
    ];
    let mut table = Table::new(&heading, 1);
    for (name, rule) in RATES {
        for percent in [25, 50, 70, 80, 90, 100, 125, 150, 200] {
            let all = SLOTS as u64 * percent * SECOND / rule.increment / 100;
            let keys_a_second = all - world::others_a_second(&rule);
            // Targets wait until half of their bucket is full again.
            let half = rule.tolerance() / SECOND / 2;
            let world = World {
                rule,
                keys_a_second,
                pause: half,
                seconds: 6 * half,
                ..FLOOD
            };
            let (lenient, strict) = (ours(&world, OnFull::Lenient), ours(&world, OnFull::Strict));
            let share = lenient.evicted as f64 / (keys_a_second * world.seconds) as f64;
            table.row(vec![
                name.to_owned(),
                format!("{:.2}", percent as f64 / 100.0),
                lenient.evicted.to_string(),
                format!("{share:.3}"),
                strict.newcomers.percent(),
                strict.regulars.percent(),
                mean(&strict.tokens),
                world.bound().to_string(),
            ]);
        }
    }
    table
}

fn colliding() -> Table {
    let heading = [
        "keys/s",
        "lenient: target",
        "its evictions",
        "allowed",
        "keys for a burst",
        "strict: target",
        "own bound",
    ];
    let mut table = Table::new(&heading, 0);
    for keys_a_second in [1, 2, 5, 20] {
        let world = World {
            keys_a_second,
            tokens: LOGIN.burst,
            colliding: true,
            ..FLOOD
        };
        let (lenient, strict) = (ours(&world, OnFull::Lenient), ours(&world, OnFull::Strict));
        let evictions = lenient.evictions[0];
        let keys = keys_a_second * world.seconds;
        table.row(vec![
            keys_a_second.to_string(),
            lenient.tokens[0].to_string(),
            evictions.to_string(),
            (world.bound() + LOGIN.burst * evictions).to_string(),
            keys.checked_div(evictions)
                .map_or("–".to_owned(), |keys| keys.to_string()),
            strict.tokens[0].to_string(),
            world.bound().to_string(),
        ]);
    }
    table
}

fn blocks() -> Table {
    let heading = [
        "blocked for",
        "each key spends",
        "full table",
        "keys/s",
        "blocks lost",
        "first lost, before its end",
        "tokens before the end: most",
        "mean",
    ];
    let mut table = Table::new(&heading, 3);
    for (seconds, keys_a_second, tokens) in [
        (30, 100_000, 1),
        (30, 100_000, LOGIN.burst),
        (120, 100_000, 1),
        (120, 100_000, LOGIN.burst),
        (120, 2_500, 1),
        (120, 500, LOGIN.burst),
        (120, 1_000, LOGIN.burst),
    ] {
        for (name, on_full) in [("lenient", OnFull::Lenient), ("strict", OnFull::Strict)] {
            let world = World {
                seconds,
                keys_a_second,
                tokens,
                blocked: true,
                ..FLOOD
            };
            let outcome = ours(&world, on_full);
            table.row(vec![
                format!("{seconds} s"),
                tokens.to_string(),
                name.to_owned(),
                keys_a_second.to_string(),
                format!("{} of {TARGETS}", outcome.blocks_lost),
                match outcome.blocks_lost {
                    0 => "–".to_owned(),
                    _ => format!("{} s", outcome.block_left / SECOND),
                },
                most(&outcome.tokens).to_string(),
                mean(&outcome.tokens),
            ]);
        }
    }
    table
}
