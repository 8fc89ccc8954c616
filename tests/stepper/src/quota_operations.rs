//! The operations on several rates, windows, window counters and permits.

use crate::operations::{goes, hold, usual, Operation, PLAIN};
use crate::quotas::{spend, Quotas, FIXED, LEASE, LONG, PERMITS, SHORT, SLIDES, SLIDING, WINDOW};
use crate::world::{clients, World};
use forebay::Limiter;
use std::time::Duration;

/// All slots of these limiters hold a live window or bucket, of which the first
/// is used least and the third most.
fn crowd(world: &World, limiters: &[&Limiter]) {
    world.advance(Duration::from_secs(1));
    for limiter in limiters {
        for (i, client) in clients().take(16).enumerate() {
            spend(limiter, &client, [1, 2, 4][i.min(2)]);
        }
    }
}

/// The second rate of `c3` is used up, the first is full again.
fn spent(world: &World) {
    usual(world);
    let Quotas { rates, .. } = &world.quotas;
    for _ in 0..3 {
        while rates.allow("c3") {}
        world.advance(Duration::from_secs(SHORT));
    }
}

/// All of them.
pub const QUOTAS: [Operation; 29] = [
    Operation {
        name: "several rates: take by a new key",
        act: |world, _| {
            world.quotas.rates.allow("new");
        },
        worked: |before, after| {
            goes(before, after, "short", "new", [SHORT, SHORT - 1])
                && goes(before, after, "long", "new", [LONG, LONG - 1])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: take by a known key",
        act: |world, _| {
            world.quotas.rates.allow("c3");
        },
        worked: |before, after| {
            goes(before, after, "short", "c3", [SHORT - 4, SHORT - 5])
                && goes(before, after, "long", "c3", [LONG - 4, LONG - 5])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: refused by the first",
        prepare: |world| {
            usual(world);
            while world.quotas.rates.allow("c3") {}
        },
        act: |world, _| {
            world.quotas.rates.allow("c3");
        },
        worked: |before, after| {
            before.quotas == after.quotas && goes(before, after, "short", "c3", [0, 0])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: refused by the second",
        prepare: spent,
        act: |world, _| {
            world.quotas.rates.allow("c3");
        },
        worked: |before, after| {
            before.quotas == after.quotas
                && goes(before, after, "short", "c3", [SHORT, SHORT])
                && goes(before, after, "long", "c3", [0, 0])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: take that evicts live buckets",
        prepare: |world| crowd(world, &[&world.quotas.rates]),
        act: |world, _| {
            world.quotas.rates.allow("new");
        },
        worked: |before, after| {
            goes(before, after, "short", "new", [SHORT, SHORT - 1])
                && goes(before, after, "long", "new", [LONG, LONG - 1])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: reset",
        act: |world, _| {
            world.quotas.rates.reset("c3");
        },
        worked: |before, after| {
            goes(before, after, "short", "c3", [SHORT - 4, SHORT])
                && goes(before, after, "long", "c3", [LONG - 4, LONG])
        },
        ..PLAIN
    },
    Operation {
        name: "several rates: clear",
        act: |world, _| world.quotas.rates.clear(),
        worked: |before, after| {
            goes(before, after, "short", "c3", [SHORT - 4, SHORT])
                && goes(before, after, "long", "c3", [LONG - 4, LONG])
        },
        ..PLAIN
    },
    Operation {
        name: "sliding window: take by a new key",
        act: |world, _| {
            world.quotas.sliding.allow("new");
        },
        worked: |before, after| goes(before, after, "sliding", "new", [SLIDING, SLIDING - 1]),
        ..PLAIN
    },
    Operation {
        name: "sliding window: take by a known key",
        prepare: |world| {
            usual(world);
            world.advance(SLIDES / 2);
        },
        act: |world, _| {
            world.quotas.sliding.allow("c2");
        },
        worked: |before, after| goes(before, after, "sliding", "c2", [SLIDING - 3, SLIDING - 4]),
        ..PLAIN
    },
    Operation {
        name: "sliding window: refuse",
        prepare: |world| {
            usual(world);
            while world.quotas.sliding.allow("c2") {}
        },
        act: |world, _| {
            world.quotas.sliding.allow("c2");
        },
        worked: |before, after| goes(before, after, "sliding", "c2", [0, 0]),
        ..PLAIN
    },
    Operation {
        name: "sliding window: take by a newcomer to a full group",
        prepare: |world| crowd(world, &[&world.quotas.sliding]),
        act: |world, _| {
            world.quotas.sliding.allow("new");
        },
        // It owes the four tokens of the most used, and one for the slot's change.
        worked: |before, after| goes(before, after, "sliding", "new", [SLIDING, SLIDING - 6]),
        ..PLAIN
    },
    Operation {
        name: "sliding window: refund",
        act: |world, _| {
            world.quotas.sliding.refund("c3", 3);
        },
        worked: |before, after| goes(before, after, "sliding", "c3", [SLIDING - 4, SLIDING - 1]),
        ..PLAIN
    },
    Operation {
        name: "fixed window: take by a new key",
        act: |world, _| {
            world.quotas.fixed.allow("new");
        },
        worked: |before, after| goes(before, after, "fixed", "new", [FIXED, FIXED - 1]),
        ..PLAIN
    },
    Operation {
        name: "fixed window: take by a known key",
        act: |world, _| {
            world.quotas.fixed.allow("c2");
        },
        worked: |before, after| goes(before, after, "fixed", "c2", [FIXED - 3, FIXED - 4]),
        ..PLAIN
    },
    Operation {
        name: "fixed window: take that begins the next",
        prepare: |world| {
            usual(world);
            world.advance(WINDOW);
        },
        act: |world, _| {
            world.quotas.fixed.allow("c2");
        },
        worked: |before, after| goes(before, after, "fixed", "c2", [FIXED, FIXED - 1]),
        ..PLAIN
    },
    Operation {
        name: "fixed window: take by a newcomer to a full group",
        prepare: |world| crowd(world, &[&world.quotas.fixed]),
        act: |world, _| {
            world.quotas.fixed.allow("new");
        },
        worked: |before, after| goes(before, after, "fixed", "new", [FIXED, FIXED - 5]),
        ..PLAIN
    },
    Operation {
        name: "window counter: hit by a new key",
        act: |world, _| {
            world.quotas.hits.hit("new", WINDOW).expect("a window");
        },
        worked: |before, after| goes(before, after, "hits", "new", [0, 1]),
        ..PLAIN
    },
    Operation {
        name: "window counter: hit by a known key",
        act: |world, _| {
            let hits = &world.quotas.hits;
            let hit = hits.hit_with("c3", WINDOW, 2, Some(5)).expect("a window");
            hit.expect("five are allowed");
        },
        worked: |before, after| goes(before, after, "hits", "c3", [3, 5]),
        ..PLAIN
    },
    Operation {
        name: "window counter: a hit beyond the limit",
        act: |world, _| {
            let hits = &world.quotas.hits;
            let hit = hits.hit_with("c3", WINDOW, 3, Some(5)).expect("a window");
            hit.expect_err("five are allowed");
        },
        worked: |before, after| before.quotas == after.quotas,
        ..PLAIN
    },
    Operation {
        name: "window counter: decrement",
        act: |world, _| {
            world.quotas.hits.decrement("c3", 2);
        },
        worked: |before, after| goes(before, after, "hits", "c3", [3, 1]),
        ..PLAIN
    },
    Operation {
        name: "window counter: block",
        act: |world, _| world.quotas.hits.block("c3", WINDOW),
        worked: |before, after| {
            let blocked = [0, WINDOW.as_nanos() as u64];
            goes(before, after, "hits blocked", "c3", blocked)
                && goes(before, after, "hits", "c3", [3, 3])
        },
        ..PLAIN
    },
    Operation {
        name: "window counter: reset",
        prepare: |world| {
            usual(world);
            world.quotas.hits.block("c3", WINDOW);
        },
        act: |world, _| {
            world.quotas.hits.reset("c3");
        },
        worked: |before, after| {
            let blocked = [WINDOW.as_nanos() as u64, 0];
            goes(before, after, "hits blocked", "c3", blocked)
                && goes(before, after, "hits", "c3", [3, 0])
        },
        ..PLAIN
    },
    Operation {
        name: "permits: acquire the first",
        prepare: |_| {},
        act: |world, _| {
            world.quotas.lease("new");
        },
        worked: |before, after| goes(before, after, "leases", "new", [0, 1]),
        ..PLAIN
    },
    Operation {
        name: "permits: acquire another",
        ready: hold,
        act: |world, _| {
            world.quotas.lease("c2");
        },
        worked: |before, after| goes(before, after, "leases", "c2", [1, 2]),
        ..PLAIN
    },
    Operation {
        name: "permits: acquire what a dead one holds",
        prepare: |world| {
            usual(world);
            // Its holder is this process, which is gone when the victim comes.
            for _ in 0..PERMITS {
                world.quotas.lease("c3");
            }
        },
        act: |world, _| {
            world.quotas.lease("c3");
        },
        worked: |before, after| goes(before, after, "leases", "c3", [PERMITS, 1]),
        ..PLAIN
    },
    Operation {
        name: "permits: acquire in the record of one that is over",
        prepare: |world| {
            usual(world);
            world.advance(LEASE / 2);
            world.quotas.lease("c3");
            world.advance(LEASE / 2);
        },
        act: |world, _| {
            world.quotas.lease("c3");
        },
        worked: |before, after| goes(before, after, "leases", "c3", [1, 2]),
        ..PLAIN
    },
    Operation {
        name: "permits: refuse",
        ready: |world| {
            world.quotas.lease("c2");
            hold(world)
        },
        act: |world, _| {
            let lease = world.quotas.permits.try_acquire_raw("c2");
            lease.expect_err("both are out");
        },
        worked: |before, after| before.quotas == after.quotas,
        ..PLAIN
    },
    Operation {
        name: "permits: release",
        ready: hold,
        act: |world, ready| {
            assert!(world.quotas.permits.release_raw(ready.lease()));
        },
        worked: |before, after| goes(before, after, "leases", "c2", [1, 0]),
        ..PLAIN
    },
    Operation {
        name: "permits: renew",
        ready: |world| {
            let ready = hold(world);
            world.advance(LEASE / 2);
            ready
        },
        act: |world, ready| {
            let renewed = world.quotas.permits.renew_raw(ready.lease());
            assert!(renewed.is_some());
        },
        worked: |before, after| goes(before, after, "leases", "c2", [1, 1]),
        ..PLAIN
    },
];
