//! The operations in which victims die: each with the state before it, and how
//! to tell that it did what its name says.

use crate::quota_operations::QUOTAS;
use crate::quotas::{permits_options, spend, two_rates, LONG, PERMITS, SHORT};
use crate::quotas::{SHORT_CHANGED, SLIDING};
use crate::world::{breaker_options, cache_options, clients, value, Seen, World, ENTRIES, LARGE};
use crate::world::{OPEN_FOR, PROBE_LEASE};
use forebay::breaker::Outcome;
use forebay::limiter::RawReservation;
use forebay::permits::RawLease;
use forebay::{take_all, Charge, LimiterOptions, PermitsOptions, Rate, SetOptions};
use forebay::{State, Ttl, WindowOptions};
use std::time::Duration;

/// What was made ready for an operation: a number, or a lease.
#[derive(Clone, Copy)]
pub struct Ready(u64, u64);

impl Ready {
    /// The lease, if it is one.
    pub fn lease(self) -> RawLease {
        let Ready(record, word) = self;
        RawLease { record, word }
    }
}

/// An operation.
pub struct Operation {
    /// What reports call it, and the victim's argument.
    pub name: &'static str,
    /// Brings a fresh world into the state before it.
    pub prepare: fn(&World),
    /// What the victim does before its first mark; its answer goes to `act`.
    pub ready: fn(&World) -> Ready,
    /// The operation.
    pub act: fn(&World, Ready),
    /// Whether what is seen before and after is what its name says.
    pub worked: fn(&Seen, &Seen) -> bool,
}

/// What operations have unless they say otherwise.
pub const PLAIN: Operation = Operation {
    name: "",
    prepare: usual,
    ready: |_| Ready(0, 0),
    act: |_, _| {},
    worked: |_, _| true,
};

/// Some of everything.
pub fn usual(world: &World) {
    for i in 0..10 {
        world
            .cache
            .set(format!("k{i}"), value(&format!("k{i}"), 1, 20 + 30 * i));
    }
    // A used limiter: some buckets drained, some full again.
    for i in 0..4u64 {
        take(world, &format!("c{i}"), 2 * i + 1);
    }
    for ms in [3, 5, 40] {
        world.histogram.record(Duration::from_millis(ms));
    }
    leave(world, Outcome::Success);
    world.quotas.use_some();
}

/// A cache whose entries are all taken.
fn full(world: &World) {
    usual(world);
    for i in 0..ENTRIES {
        world
            .cache
            .set(format!("k{i}"), value(&format!("k{i}"), 1, 20 + 30 * i));
    }
}

/// Free cells lie apart, so that a large value needs several runs.
fn scattered(world: &World) {
    usual(world);
    world.cache.clear();
    for i in 0..9 {
        world
            .cache
            .set(format!("k{i}"), value(&format!("k{i}"), 1, 1450));
    }
    for i in [1, 3, 5, 7] {
        world.cache.delete(format!("k{i}"));
    }
}

/// Large values fill the cache.
fn stuffed(world: &World) {
    usual(world);
    for i in 0..10 {
        world
            .cache
            .set(format!("k{i}"), value(&format!("k{i}"), 1, 1300));
    }
}

/// The event ring has gone round.
fn many_events(world: &World) {
    usual(world);
    for _ in 0..300 {
        // So that a slot's old event differs from its new one.
        world.advance(Duration::from_secs(1));
        world.cache.clear();
    }
}

/// Every slot of the limiter holds a live bucket.
fn crowded(world: &World) {
    for client in clients().take(16) {
        take(world, &client, 4);
    }
}

fn take(world: &World, client: &str, tokens: u64) {
    spend(&world.limiter, client, tokens);
}

fn enter(world: &World) -> Ready {
    Ready(world.breaker.enter_raw().expect("it lets one in"), 0)
}

fn leave(world: &World, outcome: Outcome) {
    let Ready(permit, _) = enter(world);
    world.breaker.leave(permit, outcome);
}

/// Reserves more tokens than there are; the word that this left.
fn reserve(world: &World) -> Ready {
    let wait = Duration::from_secs(10);
    let reservation = world.limiter.reserve_with("c3", Charge::cost(5), wait);
    let raw = reservation.expect("ten seconds are enough").raw();
    Ready(raw.words[0], 0)
}

fn failing(world: &World) {
    usual(world);
    leave(world, Outcome::Failure);
    leave(world, Outcome::Failure);
}

fn open(world: &World) {
    failing(world);
    leave(world, Outcome::Failure);
}

fn due(world: &World) {
    open(world);
    world.advance(OPEN_FOR);
}

fn half_closed(world: &World) {
    due(world);
    leave(world, Outcome::Success);
}

/// A probe was lost with its process long ago.
fn lost_probe(world: &World) {
    due(world);
    enter(world);
    world.advance(PROBE_LEASE / 2);
}

/// Leases are out, all of which are the victim's own.
pub fn hold(world: &World) -> Ready {
    let RawLease { record, word } = world.quotas.lease("c2");
    world.quotas.lease("c3");
    Ready(record, word)
}

/// Whether a figure was this before and is that after.
pub fn goes(before: &Seen, after: &Seen, what: &str, client: &str, from_to: [u64; 2]) -> bool {
    [before, after].map(|seen| seen.figure(what, client)) == from_to
}

fn created(before: &Seen, after: &Seen) -> bool {
    after.objects.len() == before.objects.len() + 1 && after.events.next == before.events.next + 1
}

/// Those on buckets, caches, breakers, histograms and the directory; the others
/// are in `quota_operations.rs`.
pub const ALL: [Operation; 52] = [
    Operation {
        name: "cache: set a new key",
        act: |world, _| {
            world.cache.set("new", value("new", 1, 50));
        },
        worked: |before, after| {
            before.value("new").is_none() && after.value("new") == Some(&value("new", 1, 50))
        },
        ..PLAIN
    },
    Operation {
        name: "cache: set the first key of an empty cache",
        prepare: |_| {},
        act: |world, _| {
            world.cache.set("new", value("new", 1, 50));
        },
        worked: |_, after| after.value("new").is_some() && after.entries == 1,
        ..PLAIN
    },
    Operation {
        name: "cache: overwrite",
        act: |world, _| {
            world.cache.set("k3", value("k3", 2, 200));
        },
        worked: |_, after| after.value("k3") == Some(&value("k3", 2, 200)),
        ..PLAIN
    },
    Operation {
        name: "cache: set a value in several runs of cells",
        prepare: scattered,
        act: |world, _| {
            world.cache.set("new", value("new", 1, 2500));
        },
        worked: |_, after| {
            after.value("new") == Some(&value("new", 1, 2500)) && after.evictions == (0, 0)
        },
        ..PLAIN
    },
    Operation {
        name: "cache: set that evicts an entry",
        prepare: full,
        act: |world, _| {
            world.cache.set("new", value("new", 1, 50));
        },
        worked: |before, after| {
            after.value("new").is_some() && after.evictions.0 == before.evictions.0 + 1
        },
        ..PLAIN
    },
    Operation {
        name: "cache: set that evicts several for their cells",
        prepare: stuffed,
        act: |world, _| {
            world.cache.set("new", value("new", 1, LARGE));
        },
        worked: |before, after| {
            after.value("new").is_some() && after.evictions.0 > before.evictions.0 + 1
        },
        ..PLAIN
    },
    Operation {
        name: "cache: set that evicts an expired entry",
        prepare: |world| {
            let soon = SetOptions {
                ttl: Ttl::For(Duration::from_secs(1)),
                ..SetOptions::default()
            };
            world.cache.set_with("k0", value("k0", 1, 20), soon);
            full(world);
            for i in 0..ENTRIES {
                world.cache.delete(format!("k{i}"));
            }
            for i in 0..ENTRIES {
                let key = format!("k{i}");
                world.cache.set_with(&key, value(&key, 1, 20), soon);
            }
            world.advance(Duration::from_secs(2));
        },
        act: |world, _| {
            world.cache.set("new", value("new", 1, 50));
        },
        worked: |before, after| {
            after.value("new").is_some() && after.evictions.1 == before.evictions.1 + 1
        },
        ..PLAIN
    },
    Operation {
        name: "cache: set of an item that is too large",
        act: |world, _| {
            world.cache.set("k2", value("k2", 2, 4000));
        },
        worked: |before, after| before.value("k2").is_some() && after.value("k2").is_none(),
        ..PLAIN
    },
    Operation {
        name: "cache: delete",
        act: |world, _| {
            world.cache.delete("k4");
        },
        worked: |before, after| before.value("k4").is_some() && after.value("k4").is_none(),
        ..PLAIN
    },
    Operation {
        name: "cache: delete of the only key",
        prepare: |world| {
            world.cache.set("k4", value("k4", 1, 50));
        },
        act: |world, _| {
            world.cache.delete("k4");
        },
        worked: |before, after| before.value("k4").is_some() && after.entries == 0,
        ..PLAIN
    },
    Operation {
        name: "cache: delete of a value in several runs",
        prepare: |world| {
            scattered(world);
            world.cache.set("new", value("new", 1, 2500));
        },
        act: |world, _| {
            world.cache.delete("new");
        },
        worked: |before, after| before.value("new").is_some() && after.value("new").is_none(),
        ..PLAIN
    },
    Operation {
        name: "cache: clear",
        act: |world, _| world.cache.clear(),
        worked: |before, after| before.entries > 0 && after.entries == 0,
        ..PLAIN
    },
    Operation {
        name: "cache: clear, the event ring being full",
        prepare: many_events,
        act: |world, _| world.cache.clear(),
        worked: |before, after| after.events.next == before.events.next + 1,
        ..PLAIN
    },
    Operation {
        name: "cache: get that moves the oldest to the front",
        prepare: full,
        act: |world, _| {
            world.cache.get("k0");
        },
        worked: |before, after| before.values == after.values,
        ..PLAIN
    },
    Operation {
        name: "cache: get that moves one from the middle",
        prepare: full,
        act: |world, _| {
            world.cache.get("k5");
        },
        worked: |before, after| before.values == after.values,
        ..PLAIN
    },
    Operation {
        name: "limiter: take by a new key",
        act: |world, _| {
            world.limiter.allow("new");
        },
        worked: |before, after| (before.tokens("new"), after.tokens("new")) == (10, 9),
        ..PLAIN
    },
    Operation {
        name: "limiter: take by a known key",
        act: |world, _| {
            world.limiter.allow("c2");
        },
        worked: |before, after| (before.tokens("c2"), after.tokens("c2")) == (5, 4),
        ..PLAIN
    },
    Operation {
        name: "limiter: refuse",
        prepare: |world| take(world, "c2", 12),
        act: |world, _| {
            world.limiter.allow("c2");
        },
        worked: |before, after| (before.tokens("c2"), after.tokens("c2")) == (0, 0),
        ..PLAIN
    },
    Operation {
        name: "limiter: take that reuses a full bucket's slot",
        prepare: |world| {
            crowded(world);
            world.advance(Duration::from_secs(60));
            for client in clients().take(15) {
                take(world, &client, 4);
            }
        },
        act: |world, _| {
            world.limiter.allow("new");
        },
        worked: |before, after| {
            after.tokens("new") == 9 && after.evicted_live == before.evicted_live
        },
        ..PLAIN
    },
    Operation {
        name: "limiter: take that evicts a live bucket",
        prepare: crowded,
        act: |world, _| {
            world.limiter.allow("new");
        },
        worked: |before, after| {
            after.tokens("new") == 9 && after.evicted_live == before.evicted_live + 1
        },
        ..PLAIN
    },
    Operation {
        name: "limiter: reset",
        act: |world, _| {
            world.limiter.reset("c3");
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (3, 10),
        ..PLAIN
    },
    Operation {
        name: "limiter: refund",
        act: |world, _| {
            world.limiter.refund("c3", 2);
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (3, 5),
        ..PLAIN
    },
    Operation {
        name: "limiter: penalize",
        act: |world, _| {
            world.limiter.penalize("c3", 8);
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (3, 0),
        ..PLAIN
    },
    Operation {
        name: "limiter: block",
        act: |world, _| world.limiter.block("c3", Duration::from_secs(60)),
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (3, 0),
        ..PLAIN
    },
    Operation {
        name: "limiter: unblock",
        prepare: |world| {
            usual(world);
            world.limiter.block("c3", Duration::from_secs(60));
        },
        act: |world, _| {
            world.limiter.unblock("c3");
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (0, 3),
        ..PLAIN
    },
    Operation {
        name: "limiter: reserve",
        act: |world, _| {
            let _ = reserve(world);
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (3, 0),
        ..PLAIN
    },
    Operation {
        name: "limiter: cancel",
        ready: reserve,
        act: |world, Ready(word, _)| {
            let raw = RawReservation {
                due: u64::MAX,
                words: [word, 0, 0, 0],
            };
            world.limiter.cancel_raw("c3", Charge::cost(5), raw);
        },
        worked: |before, after| (before.tokens("c3"), after.tokens("c3")) == (0, 3),
        ..PLAIN
    },
    Operation {
        name: "limiter: take_all",
        act: |world, _| {
            let one = |client| world.limiter.request(client, Charge::default());
            take_all(&[one("c1"), one("new"), one("c3")]).expect("three of them");
        },
        worked: |before, after| {
            ["c1", "new", "c3"].map(|c| before.tokens(c) - after.tokens(c)) == [1, 1, 1]
        },
        ..PLAIN
    },
    Operation {
        name: "limiter: take_all over three tables of two limiters",
        act: |world, _| {
            let one = |limiter: &'static str, client: &'static str| match limiter {
                "rates" => world.quotas.rates.request(client, Charge::default()),
                _ => world.quotas.sliding.request(client, Charge::default()),
            };
            take_all(&[one("rates", "c1"), one("sliding", "new")]).expect("two of them");
        },
        worked: |before, after| {
            goes(before, after, "short", "c1", [SHORT - 2, SHORT - 3])
                && goes(before, after, "long", "c1", [LONG - 2, LONG - 3])
                && goes(before, after, "sliding", "new", [SLIDING, SLIDING - 1])
        },
        ..PLAIN
    },
    Operation {
        name: "limiter: take_all that the second limiter refuses",
        prepare: |world| {
            usual(world);
            while world.quotas.fixed.allow("c1") {}
        },
        act: |world, _| {
            let first = world.quotas.rates.request("c1", Charge::default());
            let second = world.quotas.fixed.request("c1", Charge::default());
            take_all(&[first, second]).expect("two of them");
        },
        worked: |before, after| before.quotas == after.quotas && after.figure("fixed", "c1") == 0,
        ..PLAIN
    },
    Operation {
        name: "limiter: clear",
        prepare: |world| {
            usual(world);
            world.limiter.block("c1", Duration::from_secs(60));
        },
        act: |world, _| world.limiter.clear(),
        worked: |before, after| {
            before.tokens("c3") == 3 && clients().all(|client| after.tokens(&client) == 10)
        },
        ..PLAIN
    },
    Operation {
        name: "limiter: forget who was refused",
        prepare: |world| {
            usual(world);
            take(world, "c2", 12);
            take(world, "c3", 9);
        },
        act: |world, _| world.limiter.forget_refused(),
        worked: |before, after| (before.refused.len(), after.refused.len()) == (2, 0),
        ..PLAIN
    },
    Operation {
        name: "breaker: a failure that counts",
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Failure);
        },
        worked: |before, after| after.calls[1] == before.calls[1] + 1,
        ..PLAIN
    },
    Operation {
        name: "breaker: a success that ends a run of failures",
        prepare: failing,
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Success);
        },
        worked: |before, after| after.calls[0] == before.calls[0] + 1,
    },
    Operation {
        name: "breaker: the failure that opens it",
        prepare: failing,
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Failure);
        },
        worked: |_, after| after.state == State::Open && after.calls[2] == 1,
    },
    Operation {
        name: "breaker: the call that half-opens it",
        prepare: due,
        act: |world, _| {
            let _ = world.breaker.enter_raw();
        },
        worked: |before, after| {
            (before.state, after.state) == (State::Open, State::HalfOpen) && after.calls[3] == 1
        },
        ..PLAIN
    },
    Operation {
        name: "breaker: a probe in a dead one's place",
        prepare: lost_probe,
        act: |world, _| {
            let _ = world.breaker.enter_raw();
        },
        worked: |_, after| after.state == State::HalfOpen,
        ..PLAIN
    },
    Operation {
        name: "breaker: a probe that succeeds",
        prepare: due,
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Success);
        },
        worked: |_, after| after.state == State::HalfOpen,
    },
    Operation {
        name: "breaker: the probe that closes it",
        prepare: half_closed,
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Success);
        },
        worked: |_, after| after.state == State::Closed && after.calls[4] == 1,
    },
    Operation {
        name: "breaker: the probe that opens it again",
        prepare: half_closed,
        ready: enter,
        act: |world, Ready(permit, _)| {
            world.breaker.leave(permit, Outcome::Failure);
        },
        worked: |_, after| after.state == State::Open && after.calls[2] == 2,
    },
    Operation {
        name: "histogram: record",
        act: |world, _| world.histogram.record(Duration::from_secs(1)),
        worked: |before, after| after.latency.0 == before.latency.0 + 1,
        ..PLAIN
    },
    Operation {
        name: "histogram: the first record",
        prepare: |_| {},
        act: |world, _| world.histogram.record(Duration::from_millis(1)),
        worked: |_, after| after.latency.0 == 1,
        ..PLAIN
    },
    Operation {
        name: "region: create a limiter",
        act: |world, _| {
            let options = LimiterOptions::new(Rate::per_second(1)).max_keys(1);
            let options = options.tier("gold", Rate::per_second(5));
            world.region.limiter("second", options).expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: create a cache",
        act: |world, _| {
            let options = cache_options().ttl(Duration::from_secs(9));
            world.region.cache("second", options).expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: create a breaker",
        act: |world, _| {
            let breaker = world.region.breaker("second", breaker_options());
            breaker.expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: create a limiter of several rates",
        act: |world, _| {
            let rates = Rate::per_second(1).and(Rate::per_day(100));
            let options = LimiterOptions::new(rates).max_keys(1);
            let options = options.tier("gold", Rate::per_second(5));
            world.region.limiter("second", options).expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: create a window counter",
        act: |world, _| {
            let options = WindowOptions::new().max_keys(1);
            world.region.window("second", options).expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: create permits",
        act: |world, _| {
            let options = PermitsOptions::new(3).max_leases(3);
            world.region.permits("second", options).expect("it fits");
        },
        worked: created,
        ..PLAIN
    },
    Operation {
        name: "region: change several rates",
        act: |world, _| {
            let rates = two_rates(SHORT_CHANGED, SHORT_CHANGED + 3);
            world.region.limiter("rates", rates).expect("it is there");
        },
        worked: |before, after| {
            (before.quotas["limit"], after.quotas["limit"]) == (SHORT, SHORT_CHANGED)
        },
        ..PLAIN
    },
    Operation {
        name: "region: change the limit of permits",
        ready: hold,
        act: |world, _| {
            let options = permits_options(PERMITS + 1);
            world
                .region
                .permits("permits", options)
                .expect("it is there");
        },
        worked: |before, after| after.events.next == before.events.next + 1,
        ..PLAIN
    },
    Operation {
        name: "region: change a limiter's rates",
        act: |world, _| {
            let rate = Rate::per_second(1).burst(8);
            let options = LimiterOptions::new(rate).tier("gold", Rate::per_second(5));
            world.region.limiter("api", options).expect("it is there");
        },
        worked: |before, after| {
            let limit = |seen: &Seen| seen.buckets[0].1.limit;
            (limit(before), limit(after)) == (10, 8) && after.events.next == before.events.next + 1
        },
        ..PLAIN
    },
    Operation {
        name: "region: change a breaker's options",
        prepare: half_closed,
        act: |world, _| {
            let options = breaker_options()
                .failure_threshold(2)
                .open_for(OPEN_FOR / 2);
            let options = options.success_threshold(1).half_open_calls(2);
            world
                .region
                .breaker("origin", options)
                .expect("it is there");
        },
        worked: |before, after| after.events.next == before.events.next + 1,
        ..PLAIN
    },
];

/// What repairers begin with.
pub const REPAIRS: [Operation; 6] = [
    Operation {
        name: "repair: set",
        act: |world, _| {
            world.cache.set("other", value("other", 1, 70));
        },
        worked: |_, after| after.value("other") == Some(&value("other", 1, 70)),
        ..PLAIN
    },
    Operation {
        name: "repair: get",
        act: |world, _| {
            world.cache.get("k1");
        },
        ..PLAIN
    },
    Operation {
        name: "repair: delete",
        act: |world, _| {
            world.cache.delete("k1");
        },
        worked: |_, after| after.value("k1").is_none(),
        ..PLAIN
    },
    Operation {
        name: "repair: clear",
        act: |world, _| world.cache.clear(),
        worked: |_, after| after.entries == 0,
        ..PLAIN
    },
    Operation {
        name: "repair: create",
        act: |world, _| {
            world.region.histogram("heir", None).expect("it fits");
        },
        worked: |_, after| after.objects.iter().any(|object| object.name == "heir"),
        ..PLAIN
    },
    Operation {
        name: "repair: acquire",
        act: |world, _| {
            world.quotas.lease("c9");
        },
        worked: |_, after| after.figure("leases", "c9") == 1,
        ..PLAIN
    },
];

/// The operation of this name.
pub fn find(name: &str) -> Option<&'static Operation> {
    const EVERY: [&[Operation]; 3] = [&ALL, &QUOTAS, &REPAIRS];
    EVERY
        .into_iter()
        .flatten()
        .find(|operation| operation.name == name)
}
