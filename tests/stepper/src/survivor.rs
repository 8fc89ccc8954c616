//! What another participant must find after a death, and be able to do.

use crate::image::Image;
use crate::quotas;
use crate::world::{
    clients, keys, options, rate, text, value, Seen, World, BURST, ENTRIES, LARGE, OPEN_FOR,
    PROBE_LEASE,
};
use anyhow::{bail, ensure, Context, Result};
use forebay::breaker::Outcome;
use forebay::{EventKind, LimiterOptions, ObjectInfo, Region, State};
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How the survivor comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// It takes the dead one's own seat, and begins by reading.
    InItsSeat,
    /// It takes another seat, and begins by writing.
    Beside,
    /// It was there before, in another seat, and begins by writing.
    Before,
}

/// What may be seen: anything between these, the first before the operation
/// and the last after it.
pub struct Bounds<'a> {
    /// Where the dead one died, at the earliest and at the latest.
    pub images: Vec<&'a Seen>,
    /// How many deaths there were.
    pub deaths: u64,
}

/// All that a survivor does must be done in this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the region as told.
pub fn come(path: &Path, coming: Coming) -> Result<World> {
    if coming != Coming::Beside {
        return World::attach(path);
    }
    // Somebody else sits in the dead one's seat for a moment.
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // SAFETY: flock is plain data, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_start = 1 << 40;
    lock.l_len = 1;
    // SAFETY: the descriptor is open and the struct outlives the call.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
    ensure!(done == 0, "the dead one's seat is not free");
    let region = options().create(false).open(text(path)?)?;
    drop(file);
    World::of(region)
}

/// What a survivor sees of a copy of a region.
pub fn see(path: &Path, bytes: &[u8]) -> Result<Seen> {
    crate::image::write(path, bytes)?;
    Ok(Seen::of(&World::attach(path)?))
}

/// Checks that the survivor finds what may be found, can do everything, and
/// that nothing is lost for good.
pub fn check(path: &Path, world: &World, coming: Coming, bounds: &Bounds) -> Result<()> {
    let started = Instant::now();
    if coming != Coming::InItsSeat {
        // The first thing it does is a write: what needs repair is repaired
        // on the way.
        world.cache.delete("other");
        create(&world.region)?;
    }
    let seen = Seen::of(world);
    between(&seen, bounds, coming).context("what is seen")?;
    drain(world, &seen, bounds).context("the limiter")?;
    refuse(world).context("refused keys")?;
    quotas::check(world, &seen, bounds)?;
    use_cache(path, world).context("the cache")?;
    record(world).context("the histogram")?;
    create(&world.region).context("a new object")?;
    close(world).context("the breaker")?;
    refill(world).context("the limiter, an hour later")?;
    quotas::check_later(world).context("an hour later")?;
    ensure!(world.region.stats().seats == 1, "a dead one keeps its seat");
    verify(path)?;
    let held = Image::new(&std::fs::read(path)?).held();
    ensure!(held.is_empty(), "locks are still held: {held:?}");
    let took = started.elapsed();
    ensure!(took < PATIENCE, "it took {took:?}");
    Ok(())
}

fn verify(path: &Path) -> Result<()> {
    Image::new(&std::fs::read(path)?).verify()
}

fn others(objects: &[ObjectInfo]) -> Vec<&ObjectInfo> {
    objects
        .iter()
        .filter(|object| object.name != "heir")
        .collect()
}

fn between(seen: &Seen, bounds: &Bounds, coming: Coming) -> Result<()> {
    let images = &bounds.images;
    let cleared = seen.resets - images[0].resets;
    ensure!(cleared <= bounds.deaths, "{cleared} shards cleared");
    for key in keys() {
        let found = seen.value(&key);
        let known: Vec<_> = images.iter().map(|image| image.value(&key)).collect();
        ensure!(
            found.is_none() || known.contains(&found),
            "{key} has a value that it must not have: {:?}",
            found.map(String::from_utf8_lossy)
        );
        let spared = known.iter().all(|value| *value == known[0]);
        let kept = coming == Coming::InItsSeat || key != "other";
        if spared && kept && cleared == 0 {
            ensure!(
                found == known[0],
                "{key} is lost, though nothing was cleared"
            );
        }
    }
    for client in clients() {
        let tokens = seen.tokens(&client);
        let known = images.iter().map(|image| image.tokens(&client));
        let (least, most) = (known.clone().min(), known.max());
        ensure!(
            least <= Some(tokens) && Some(tokens) <= most,
            "{client} has {tokens} tokens, not {least:?} to {most:?}"
        );
    }
    for (what, figure) in &seen.quotas {
        let known = images.iter().map(|image| image.quotas[what]);
        let (mut least, most) = (known.clone().min(), known.max());
        if what.starts_with("leases") {
            // All are of the dead, and end when one of them is noticed.
            least = Some(0);
        }
        ensure!(
            least <= Some(*figure) && Some(*figure) <= most,
            "{what}: {figure}, not {least:?} to {most:?}"
        );
    }
    for refused in &seen.refused {
        let same = |image: &&&Seen| image.refused.iter().any(|known| known == refused);
        ensure!(
            images.iter().any(|image| same(&image)),
            "{refused:?} was not refused so often"
        );
    }
    let limits = |seen: &Seen| seen.buckets[0].1.limit;
    ensure!(
        images.iter().any(|image| limits(image) == limits(seen)),
        "a limit of {}",
        limits(seen)
    );
    ensure!(
        images.iter().any(|image| image.state == seen.state),
        "the breaker is {}",
        seen.state
    );
    let latency = |of: fn(&Seen) -> u128| {
        let known = images.iter().map(|image| of(image));
        (known.clone().min()..=known.max()).contains(&Some(of(seen)))
    };
    ensure!(
        latency(|seen| seen.latency.0.into()),
        "records: {:?}",
        seen.latency
    );
    ensure!(
        latency(|seen| seen.latency.1.as_nanos()),
        "their sum: {:?}",
        seen.latency
    );
    ensure!(
        images
            .iter()
            .any(|image| others(&image.objects) == others(&seen.objects)),
        "the objects are {:?}",
        seen.objects
    );
    events(seen, bounds)
}

fn events(seen: &Seen, bounds: &Bounds) -> Result<()> {
    let (images, found) = (&bounds.images, &seen.events);
    let most = images.iter().map(|image| image.events.next).max();
    // Each death may add a shard's clearing and the object of `create`.
    let extra = found.next.saturating_sub(most.unwrap_or(0));
    ensure!(extra <= bounds.deaths + 1, "{extra} events too many");
    ensure!(images[0].events.next <= found.next, "an event is gone");
    let mut last = None;
    for event in &found.events {
        ensure!(last < Some(event.sequence), "events out of order");
        last = Some(event.sequence);
        let known = images[0].events.events.iter();
        if let Some(known) = known.clone().find(|known| known.sequence == event.sequence) {
            ensure!(known == event, "an old event has changed: {event:?}");
        } else {
            let sound = images[0].events.events.last().map(|known| known.time) <= Some(event.time)
                && (event.kind == EventKind::ShardReset || !event.object.is_empty());
            ensure!(sound, "a torn event: {event:?}");
        }
    }
    // The slot that was being written held the oldest; a repair writes more.
    let lost = found.lost - images[0].events.lost;
    ensure!(lost <= 2 + bounds.deaths, "{lost} events lost");
    Ok(())
}

/// Nobody gets more than the bucket held.
fn drain(world: &World, seen: &Seen, bounds: &Bounds) -> Result<()> {
    let evicted = || world.limiter.stats().evicted_live;
    let (before, mut total, mut most) = (evicted(), 0, 0);
    for client in clients() {
        let evictions = evicted();
        let tokens = (0..100)
            .take_while(|_| world.limiter.allow(&client))
            .count() as u64;
        let held = bounds
            .images
            .iter()
            .map(|image| image.tokens(&client))
            .max();
        total += tokens;
        most += held.unwrap_or(0);
        // Who takes a slot over begins a sixteenth of a nanosecond after its
        // last arrival: on a clock that stands still, one token later.
        let promised = seen.tokens(&client);
        if evicted() == evictions && evictions == before {
            ensure!(
                tokens <= promised && tokens + 1 >= promised,
                "{client} was promised {promised} tokens and got {tokens}"
            );
        }
    }
    let burst = seen.buckets[0].1.limit;
    ensure!(
        total <= most + burst * (evicted() - before),
        "{total} tokens from buckets that held {most}"
    );
    Ok(())
}

/// Who is refused is told, and once that is forgotten anew.
fn refuse(world: &World) -> Result<()> {
    let mark = world.limiter.mark("c0");
    let of = |world: &World| {
        let refused = world.limiter.top_refused();
        refused.into_iter().find(|key| key.mark == mark)
    };
    let before = of(world).context("c0 is not among them")?;
    world.limiter.forget_refused();
    ensure!(world.limiter.top_refused().is_empty(), "not forgotten");
    while world.limiter.allow("c0") {}
    let after = of(world).context("c0 is not among them again")?;
    ensure!(
        before.count > before.over && (after.count, after.over) == (1, 0),
        "before {before:?}, after {after:?}"
    );
    Ok(())
}

fn refill(world: &World) -> Result<()> {
    world.advance(Duration::from_secs(3600));
    for client in clients().take(10) {
        let burst = world.limiter.peek(&client).limit;
        let tokens = (0..100)
            .take_while(|_| world.limiter.allow(&client))
            .count() as u64;
        ensure!(tokens == burst, "{client} got {tokens} tokens of {burst}");
    }
    Ok(())
}

fn use_cache(path: &Path, world: &World) -> Result<()> {
    let cache = &world.cache;
    let every: Vec<String> = keys().collect();
    for key in &every {
        let new = value(key, 9, 33);
        ensure!(cache.set(key, &new), "{key} cannot be set");
        ensure!(cache.get(key) == Some(new), "{key} is not what was set");
    }
    verify(path)?;
    for key in &every {
        cache.delete(key);
        ensure!(
            cache.get(key).is_none(),
            "{key} is there after its deletion"
        );
    }
    let stats = cache.stats();
    ensure!(
        (stats.entries, stats.bytes_used) == (0, 0),
        "{} entries and {} bytes are left when all keys are gone",
        stats.entries,
        stats.bytes_used
    );
    let room = fill(world)?;
    ensure!(
        room == ROOM,
        "there is room for {room:?} small and large values"
    );
    Ok(())
}

/// How many small and large values an empty cache of [`World`] takes; the
/// beginning of a run checks it against a new one.
pub const ROOM: (u64, u64) = (ENTRIES as u64, 4);

/// Fills the cache with small values, then with large ones.
pub fn fill(world: &World) -> Result<(u64, u64)> {
    let cache = &world.cache;
    for i in 0..2 * ENTRIES {
        ensure!(
            cache.set(format!("small {i}"), [i as u8; 30]),
            "a small value"
        );
    }
    let small = cache.len();
    for i in 0..8 {
        ensure!(
            cache.set(format!("large {i}"), vec![i; LARGE]),
            "a large value"
        );
    }
    let large = (0..8).filter(|i| cache.get(format!("large {i}")) == Some(vec![*i; LARGE]));
    Ok((small, large.count() as u64))
}

fn record(world: &World) -> Result<()> {
    let before = world.histogram.snapshot();
    world.histogram.record(Duration::from_millis(7));
    let after = world.histogram.snapshot();
    ensure!(
        (after.count(), after.sum())
            == (before.count() + 1, before.sum() + Duration::from_millis(7)),
        "a record does not count"
    );
    ensure!(after.percentile(50.0)?.is_some(), "no median");
    Ok(())
}

/// A new object can be made, is empty, and lies where the last one ended.
fn create(region: &Region) -> Result<()> {
    let (before, dropped) = (region.events(0).next, region.stats().events_dropped);
    let is_new = region.objects().iter().all(|object| object.name != "heir");
    let heir = region.histogram("heir", None)?;
    ensure!(
        heir.snapshot().count() == 0,
        "it holds what a dead one left"
    );
    let news = region.events(before).events;
    let told = news
        .iter()
        .any(|event| event.kind == EventKind::ObjectCreated && event.object == "heir");
    ensure!(told == is_new, "its event: {news:?}");
    ensure!(
        region.stats().events_dropped == dropped,
        "an event was dropped"
    );
    let end = region
        .objects()
        .iter()
        .fold(forebay::region::HEADER_BYTES, |end, object| {
            end.next_multiple_of(128) + object.bytes
        });
    ensure!(
        region.stats().used == end,
        "room is lost between the objects"
    );
    // Whatever a dead creator of `second` left, it can be made and works.
    let second = region
        .objects()
        .into_iter()
        .find(|object| object.name == "second");
    match second.map(|object| object.kind) {
        None | Some(forebay::Kind::Histogram) => {}
        Some(forebay::Kind::Window) => {
            let second = region.window("second", None)?;
            let count = second.hit("c", Duration::from_secs(1))?.count;
            ensure!((1..=2).contains(&count), "a new counter counts {count}");
        }
        Some(forebay::Kind::Permits) => {
            let second = region.permits("second", None)?;
            let leases: Vec<_> = (0..5).map_while(|_| second.try_acquire("c").ok()).collect();
            ensure!(leases.len() == 3, "{} leases", leases.len());
        }
        Some(forebay::Kind::Limiter) => {
            let second = region.limiter("second", None)?;
            ensure!(second.peek("c").remaining == 1, "the limiter's rate");
            let gold = second.peek_with("c", forebay::Charge::default().tier("gold"));
            ensure!(gold.limit == 5, "the tier's rate");
        }
        Some(forebay::Kind::Cache) => {
            let second = region.cache("second", None)?;
            if second.is_empty() {
                ensure!(second.set("key", "value"), "it cannot be set");
            }
            let ttl = second.entry("key").and_then(|entry| entry.ttl);
            ensure!(
                ttl.is_none_or(|ttl| ttl <= Duration::from_secs(9)),
                "its time to live"
            );
        }
        Some(_) => {
            let second = region.breaker("second", None)?;
            ensure!(second.state() == State::Closed, "a new breaker is closed");
            let permit = second.enter_raw();
            let Ok(permit) = permit else {
                bail!("a new breaker lets nobody in");
            };
            second.leave(permit, Outcome::Ignored);
        }
    }
    Ok(())
}

/// The breaker closes again, opens, and closes.
fn close(world: &World) -> Result<()> {
    for round in 0..2 {
        let mut tries = 0;
        while world.breaker.state() != State::Closed {
            tries += 1;
            ensure!(tries < 20, "it stays {}", world.breaker.state());
            // No living process probes.
            let half_open = world.breaker.state() == State::HalfOpen;
            match world.breaker.enter_raw() {
                Ok(permit) => {
                    world.breaker.leave(permit, Outcome::Success);
                }
                Err(_) if half_open => bail!("a dead one's probe is waited for"),
                Err(wait) => {
                    ensure!(wait <= OPEN_FOR.max(PROBE_LEASE), "it wants {wait:?}");
                    world.advance(wait);
                }
            }
        }
        if round == 0 {
            let failures = (0..3).take_while(|_| {
                let Ok(permit) = world.breaker.enter_raw() else {
                    return false;
                };
                world.breaker.leave(permit, Outcome::Failure);
                world.breaker.state() == State::Closed
            });
            let failures = failures.count() + 1;
            ensure!(
                world.breaker.state() == State::Open && failures <= 3,
                "{failures} failures leave it {}",
                world.breaker.state()
            );
        }
    }
    Ok(())
}

/// Works in a region that has just been opened, whoever made it.
pub fn work(region: &Region) -> Result<()> {
    let limiter = region.limiter("api", LimiterOptions::new(rate()).max_keys(1))?;
    ensure!(
        limiter.take("somebody").remaining == BURST - 1,
        "the limiter does not count"
    );
    ensure!(region.stats().seats == 1, "a dead one keeps its seat");
    create(region)
}
