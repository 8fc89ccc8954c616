//! Limiters of several rates and of windows, a window counter and permits: the
//! objects, what can be seen of them, and what a survivor must be able to do.

use crate::survivor::Bounds;
use crate::world::{clients, Seen, World};
use anyhow::{ensure, Context, Result};
use forebay::permits::{RawLease, Reason};
use forebay::{
    Algorithm, Charge, Limiter, LimiterOptions, OnFull, Permits, PermitsOptions, Rate, Rates,
    Region, WindowCounter, WindowOptions,
};
use std::collections::HashMap;
use std::time::Duration;

/// What the first of the two rates admits at once; a token takes a second.
pub const SHORT: u64 = 6;
/// What the second admits at once; a token takes minutes.
pub const LONG: u64 = 9;
/// The first rate once it is changed; the second becomes [`SHORT_CHANGED`] + 3.
pub const SHORT_CHANGED: u64 = 4;
/// What a sliding window admits.
pub const SLIDING: u64 = 7;
/// How long it is.
pub const SLIDES: Duration = Duration::from_secs(60);
/// What a fixed window admits.
pub const FIXED: u64 = 5;
/// How long it is, and the counter's too.
pub const WINDOW: Duration = Duration::from_secs(20);
/// Leases of a key at once.
pub const PERMITS: u64 = 2;
/// How long a lease is.
pub const LEASE: Duration = Duration::from_secs(10);
/// How many leases there is room for, one of each key.
const ROOM: usize = 128;
/// Slots of each table: one group.
const SLOTS: usize = 16;

/// The objects, each with slots for sixteen keys or one shard.
pub struct Quotas {
    /// Two rates. Its tiers `short` and `long` show one of them each.
    pub rates: Limiter,
    /// A strict sliding window.
    pub sliding: Limiter,
    /// A strict fixed window.
    pub fixed: Limiter,
    /// A window counter.
    pub hits: WindowCounter,
    /// Permits.
    pub permits: Permits,
}

/// Two rates, both settled by what they admit at once.
pub fn two_rates(short: u64, long: u64) -> Rates {
    let hour = Rate::per_hour(LONG).burst(long);
    Rate::per_second(1).burst(short).and(hour)
}

/// The options of the permits.
pub fn permits_options(limit: u64) -> PermitsOptions {
    PermitsOptions::new(limit).lease(LEASE).max_leases(64)
}

fn windows(rate: Rate, algorithm: Algorithm) -> LimiterOptions {
    let options = LimiterOptions::new(rate).algorithm(algorithm);
    options.on_full(OnFull::Strict).max_keys(1)
}

impl Quotas {
    /// Makes them.
    pub fn create(region: &Region) -> Result<Quotas> {
        // Tiers through which one rate alone is seen: the other is no limit.
        let rates = LimiterOptions::new(two_rates(SHORT, LONG))
            .tier("short", two_rates(SHORT, 1000))
            .tier("long", two_rates(1000, LONG))
            .max_keys(1);
        let sliding = windows(Rate::new(SLIDING, SLIDES), Algorithm::Sliding);
        let fixed = windows(Rate::new(FIXED, WINDOW), Algorithm::Fixed);
        Ok(Quotas {
            rates: region.limiter("rates", rates)?,
            sliding: region.limiter("sliding", sliding)?,
            fixed: region.limiter("fixed", fixed)?,
            hits: region.window("hits", WindowOptions::new().max_keys(1))?,
            permits: region.permits("permits", permits_options(PERMITS))?,
        })
    }

    /// Attaches to them.
    pub fn attach(region: &Region) -> Result<Quotas> {
        Ok(Quotas {
            rates: region.limiter("rates", None)?,
            sliding: region.limiter("sliding", None)?,
            fixed: region.limiter("fixed", None)?,
            hits: region.window("hits", None)?,
            permits: region.permits("permits", None)?,
        })
    }

    /// Some tokens spent, some hits counted, a lease that is out.
    pub fn use_some(&self) {
        for (i, client) in clients().take(4).enumerate() {
            for limiter in [&self.rates, &self.sliding, &self.fixed] {
                spend(limiter, &client, 1 + i as u64);
            }
            for _ in 0..i {
                self.hits.hit(&client, WINDOW).expect("a window");
            }
        }
        self.lease("c1");
    }

    /// A lease that is not released when it goes out of scope.
    pub fn lease(&self, key: &str) -> RawLease {
        let lease = self.permits.try_acquire(key).expect("there is one");
        lease.into_raw()
    }

    /// Figures that nothing but an operation changes, each with its name.
    pub fn figures(&self) -> HashMap<String, u64> {
        let mut figures = HashMap::new();
        let tier = |tier| Charge::default().tier(tier);
        let left = |limiter: &Limiter, client: &str| limiter.peek(client).remaining;
        let ns = |time: Duration| time.as_nanos() as u64;
        for client in clients() {
            let short = self.rates.peek_with(&client, tier("short")).remaining;
            let long = self.rates.peek_with(&client, tier("long")).remaining;
            let hits = self.hits.get(&client);
            for (what, figure) in [
                ("short", short),
                ("long", long),
                ("sliding", left(&self.sliding, &client)),
                ("fixed", left(&self.fixed, &client)),
                ("hits", hits.count),
                ("hits end", ns(hits.resets_in)),
                ("hits blocked", ns(self.hits.blocked_for(&client))),
                ("leases", self.permits.in_use(&client)),
            ] {
                figures.insert(format!("{what} {client}"), figure);
            }
        }
        // Nobody has asked for this key: it tells the limits.
        figures.insert("limit".to_owned(), left(&self.rates, "fresh"));
        figures
    }
}

/// What is promised to a key, and the most that it may have had.
fn promised(what: &str, client: &str, seen: &Seen, bounds: &Bounds) -> (u64, u64) {
    let held = bounds.images.iter().map(|seen| seen.figure(what, client));
    (seen.figure(what, client), held.max().unwrap_or(0))
}

/// Takes so many tokens, one by one.
pub fn spend(limiter: &Limiter, client: &str, tokens: u64) {
    for _ in 0..tokens {
        limiter.allow(client);
    }
}

fn drain(limiter: &Limiter, client: &str) -> u64 {
    (0..100).take_while(|_| limiter.allow(client)).count() as u64
}

/// Uses all of them at once and later: nobody gets a token, a hit or a lease
/// too many, and everything comes back. Moves the clock.
pub fn check(world: &World, seen: &Seen, bounds: &Bounds) -> Result<()> {
    permits(world).context("permits")?;
    hits(world, seen).context("the window counter")?;
    for (what, limiter, limit) in [
        ("sliding", &world.quotas.sliding, SLIDING),
        ("fixed", &world.quotas.fixed, FIXED),
    ] {
        window(what, limiter, limit, seen, bounds).with_context(|| what.to_owned())?;
    }
    rates(world, seen, bounds).context("several rates")?;
    expiry(&world.quotas.permits, world).context("permits, later")
}

/// A strict table: who has no slot owes what others do, so it may get less than
/// it is promised, and nobody ever gets more.
fn window(what: &str, limiter: &Limiter, limit: u64, seen: &Seen, bounds: &Bounds) -> Result<()> {
    let (mut live, others): (Vec<String>, Vec<String>) =
        clients().partition(|client| seen.figure(what, client) < limit);
    let mut slots = live.len();
    live.extend(others);
    for client in live {
        let (promised, most) = promised(what, &client, seen, bounds);
        slots += usize::from(promised == limit);
        let tokens = drain(limiter, &client);
        ensure!(tokens <= most, "{client}: {tokens} tokens of {most}");
        ensure!(
            tokens == promised || (promised == limit && slots >= SLOTS),
            "{client} was promised {promised} tokens and got {tokens}"
        );
    }
    Ok(())
}

/// Both rates are kept to, now and when the first has filled again.
fn rates(world: &World, seen: &Seen, bounds: &Bounds) -> Result<()> {
    let quotas = &world.quotas;
    let evicted = || quotas.rates.stats().evicted_live;
    let before = evicted();
    // As many keys as have a slot, those that have one already first.
    let (mut asking, others): (Vec<String>, Vec<String>) = clients().partition(|client| {
        seen.figure("short", client) < SHORT || seen.figure("long", client) < LONG
    });
    // A death between the tables leaves one key more than there are slots.
    let crowded = asking.len() > SLOTS;
    let fresh = (asking.len() < SLOTS - 1).then(|| drain(&quotas.rates, "fresh"));
    asking.extend(others);
    if !crowded {
        asking.truncate(SLOTS - usize::from(fresh.is_some()));
    }
    let changed = quotas.rates.peek("fresh").limit == SHORT_CHANGED;
    let mut first = Vec::new();
    for client in asking {
        let tokens = drain(&quotas.rates, &client);
        if crowded && evicted() > before {
            return Ok(());
        }
        let (short, most_short) = promised("short", &client, seen, bounds);
        let (long, most_long) = promised("long", &client, seen, bounds);
        ensure!(
            tokens <= most_short.min(most_long),
            "{client}: {tokens} tokens of {most_short} and {most_long}"
        );
        // Who takes a slot over begins a tick late: up to one token less.
        let both = short.min(long);
        ensure!(
            changed || (tokens <= both && tokens + 1 >= both),
            "{client} was promised {short} and {long} tokens and got {tokens}"
        );
        first.push((client, tokens, long));
    }
    world.advance(Duration::from_secs(SHORT));
    for (client, tokens, long) in first {
        let more = drain(&quotas.rates, &client);
        let both = SHORT.min(long.saturating_sub(tokens));
        ensure!(
            changed || (more <= both && more + 1 >= both),
            "{client} got {tokens} tokens and then {more} of {long}"
        );
    }
    ensure!(evicted() == before, "evicted though there are slots");
    if let Some(fresh) = fresh {
        // One of the two pairs of rates, and no mixture: any of the others
        // would give something else at first or then.
        let then = drain(&quotas.rates, "fresh");
        ensure!(
            (fresh, then) == (SHORT, LONG - SHORT) || (fresh, then) == (SHORT_CHANGED, 3),
            "a fresh key got {fresh} tokens and then {then}"
        );
        let known = |seen: &&Seen| seen.quotas["limit"] == fresh;
        let mut images = bounds.images.iter();
        ensure!(images.any(known), "a fresh key got {fresh} tokens");
    }
    Ok(())
}

/// Hits count on from what is seen, and are taken back.
fn hits(world: &World, seen: &Seen) -> Result<()> {
    let hits = &world.quotas.hits;
    for client in clients().take(8).chain(["new".to_owned()]) {
        let before = seen.figure("hits", &client);
        let count = hits.hit(&client, WINDOW)?.count;
        ensure!(count == before + 1, "{client}: hit {count} after {before}");
        let refused = hits.hit_with(&client, WINDOW, 1, Some(count))?;
        ensure!(refused.is_err(), "{client} is hit beyond a limit");
        let fewer = hits.decrement(&client, 1).count;
        ensure!(fewer == before, "{client}: {fewer} hits, not {before}");
    }
    Ok(())
}

/// All other holders being dead, each key has all its leases for who asks, and
/// no more, and all room can be used.
fn permits(world: &World) -> Result<()> {
    let permits = &world.quotas.permits;
    for client in clients() {
        let mut leases = Vec::new();
        let reason = loop {
            match permits.try_acquire(&client) {
                Ok(lease) => leases.push(lease),
                Err(refused) => break refused.reason,
            }
            ensure!(leases.len() < 100, "{client}: leases without end");
        };
        let count = leases.len() as u64;
        let limits = [PERMITS, PERMITS + 1];
        ensure!(
            reason == Reason::Limit && limits.contains(&count),
            "{client} has {count} leases, then {reason}"
        );
        ensure!(permits.in_use(&client) == count, "{client}: leases in use");
        for mut lease in leases {
            ensure!(lease.renew() && lease.ends_in() == LEASE, "a renewal");
            ensure!(lease.release(), "{client}: a lease was not ours");
        }
        ensure!(permits.in_use(&client) == 0, "{client}: leases are left");
    }
    let room = room(permits);
    ensure!(room == ROOM, "there is room for {room} leases");
    Ok(())
}

/// A lease whose time is over is another's.
fn expiry(permits: &Permits, world: &World) -> Result<()> {
    let leases: Vec<_> = (0..=PERMITS)
        .map_while(|_| permits.try_acquire("c0").ok())
        .collect();
    world.advance(LEASE);
    for mut lease in leases {
        ensure!(!lease.renew(), "a lease that is over is renewed");
        let next = permits.try_acquire("c0");
        ensure!(next.is_ok(), "a lease that is over stays");
        ensure!(!lease.release(), "a lease that is over is released");
    }
    ensure!(permits.in_use("c0") == 0, "leases are left");
    Ok(())
}

/// How many leases of different keys there is room for.
fn room(permits: &Permits) -> usize {
    let key = |i| format!("key {i}");
    let leases: Vec<_> = (0..2 * ROOM)
        .map_while(|i| permits.try_acquire(key(i)).ok())
        .collect();
    leases.len()
}

/// An hour later everything is as if new.
pub fn check_later(world: &World) -> Result<()> {
    let quotas = &world.quotas;
    for client in clients().take(10) {
        let limit = quotas.rates.peek(&client).limit;
        for (what, limiter, limit) in [
            ("rates", &quotas.rates, limit),
            ("sliding", &quotas.sliding, SLIDING),
            ("fixed", &quotas.fixed, FIXED),
        ] {
            let tokens = drain(limiter, &client);
            ensure!(
                tokens == limit,
                "{what}: {client} got {tokens} tokens of {limit}"
            );
        }
        let hits = quotas.hits.hit(&client, WINDOW)?;
        let late = hits.resets_in.saturating_sub(WINDOW);
        ensure!(
            hits.count == 1 && late < Duration::from_millis(1) && hits.resets_in >= WINDOW,
            "{client}: {hits:?}"
        );
        let blocked = quotas.hits.blocked_for(&client);
        ensure!(blocked.is_zero(), "{client} is blocked for {blocked:?}");
    }
    Ok(())
}
