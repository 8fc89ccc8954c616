//! Permits among processes that fork, stop and are killed.

mod region_support;

use forebay::internals::lock::Owner;
use forebay::permits::Reason;
use forebay::*;
use region_support::{fork, wait_for, wait_until, word, Place, Player, Stage, Words};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// What processes of this test do when they are started as children.
#[test]
fn child() {
    let Some((role, mut stage)) = Stage::of_child() else {
        return;
    };
    match role.as_str() {
        "holds" => holds(&mut stage),
        "forks" => forks(&stage),
        "kills-holders" => kills_holders(&stage),
        other => panic!("no role {other}"),
    }
}

/// A region whose clock stands, and permits of two at once for ten seconds.
fn open(path: &str) -> (Region, Permits) {
    let options = Region::options().bytes(256 << 10).manual_clock(true);
    let region = options.open(path).unwrap();
    let options = PermitsOptions::new(2)
        .lease(Duration::from_secs(10))
        .max_leases(50);
    let permits = region.permits("exports", options).unwrap();
    (region, permits)
}

/// Holds a lease until told, then says whether it had it until then.
fn holds(stage: &mut Stage) {
    let (_region, permits) = open(stage.argument(0));
    let mut lease = permits.try_acquire("key").unwrap();
    stage.ready();
    let renewed = lease.renew();
    stage.say(format_args!("{renewed} {}", lease.release()));
    stage.hear();
}

fn holding(path: &str) -> Player {
    let mut player = Player::start("holds", &[path]);
    assert_eq!(player.hear(), "ready");
    player
}

#[test]
fn the_lease_of_a_killed_process_goes_to_another_at_once() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, permits) = open(&path);
    let (first, second) = (holding(&path), holding(&path));
    let refused = permits.try_acquire("key").unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(10)));
    first.kill();
    assert_eq!(permits.in_use("key"), 2, "nobody has noticed");
    // No time has passed.
    let lease = permits.try_acquire("key").unwrap();
    assert!(permits.try_acquire("key").is_err(), "the other one lives");
    assert_eq!(permits.stats().reaped, 1);
    second.finish();
    assert!(lease.release());
    assert_eq!(permits.in_use("key"), 0);
}

#[test]
fn the_lease_of_a_killed_process_is_free_whoever_sits_in_its_seat_now() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, permits) = open(&path);
    holding(&path).kill();
    let mut successor = holding(&path);
    let lease = permits.try_acquire("key").unwrap();
    assert_eq!((permits.stats().reaped, permits.in_use("key")), (1, 2));
    assert_eq!(successor.ask("go on"), "true true");
    assert!(lease.release());
}

#[test]
fn a_full_shard_is_cleared_of_the_dead_of_other_keys() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, permits) = open(&path);
    let player = holding(&path);
    // One shard of 128 records.
    let held: Vec<_> = (0..127u64)
        .map(|key| permits.try_acquire(key.to_le_bytes()).unwrap())
        .collect();
    let refused = permits.try_acquire("another").unwrap_err();
    assert_eq!(refused.reason, Reason::Full);
    player.kill();
    assert!(permits.try_acquire("another").is_ok());
    drop(held);
    assert_eq!(permits.stats().reaped, 1);
}

#[test]
fn a_stopped_process_keeps_its_lease_until_its_time_is_over() {
    let place = Place::new();
    let path = place.file("region");
    let (region, permits) = open(&path);
    let mut player = holding(&path);
    player.signal(libc::SIGSTOP);
    wait_until(player.pid(), libc::WSTOPPED);
    let lease = permits.try_acquire("key").unwrap();
    assert!(permits.try_acquire("key").is_err());
    region.advance(Duration::from_secs(10)).unwrap();
    let next = [(); 2].map(|()| permits.try_acquire("key").unwrap());
    player.signal(libc::SIGCONT);
    // It learns that it had not what it thought it had, and harms nobody.
    assert_eq!(player.ask("go on"), "false false");
    assert!(!lease.release());
    assert_eq!((permits.in_use("key"), permits.stats().expired), (2, 2));
    assert!(next.into_iter().all(Lease::release));
}

/// The word of the shard's lock of permits that are a region's only object.
fn lock_of(words: &Words) -> usize {
    words.load(word::DIRECTORY + word::ENTRY_OFFSET) as usize + 80
}

#[test]
fn who_is_stopped_with_the_lock_keeps_nobody_from_releasing_or_renewing() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, permits) = open(&path);
    let mut lease = permits.try_acquire("key").unwrap();
    let player = holding(&path);
    let words = Words::of(&path);
    let owner = Owner::new(1, words.load(word::SEATS + 1));
    words.store(lock_of(&words), owner.word());
    let refused = permits.try_acquire("key").unwrap_err();
    assert_eq!((refused.reason, refused.retry_after), (Reason::Busy, None));
    assert_eq!(
        refused.to_string(),
        "the permits 'exports' are held by another participant"
    );
    assert!(lease.renew());
    assert_eq!(permits.in_use("key"), 2);
    assert!(lease.release());
    assert_eq!((permits.in_use("key"), permits.stats().busy), (1, 1));
    // The dead have neither the lock nor the lease.
    player.kill();
    let _both = [(); 2].map(|()| permits.try_acquire("key").unwrap());
    assert_eq!(permits.stats().reaped, 1);
}

fn forks(stage: &Stage) {
    let path = stage.argument(0);
    let (shared, permits) = open(path);
    let private = Region::private().unwrap();
    let own = private.permits("own", PermitsOptions::new(1)).unwrap();
    let [mut lease, own_lease] = [&permits, &own].map(|permits| permits.try_acquire("a").unwrap());
    let raw = permits.try_acquire("a").unwrap().into_raw();
    // SAFETY: only this thread goes on in the child, as in `fork`; here it has
    // the very leases of its parent, to drop them.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert!(!lease.renew() && !permits.release_raw(raw));
            assert!(permits.renew_raw(raw).is_none());
            assert!(!lease.release(), "it is the parent's");
            drop(own_lease);
            assert_eq!(shared.stats().seats, 1, "no seat is taken for that");
            assert_eq!(permits.in_use("a"), 2);
            // On its own behalf it may do everything.
            assert!(permits.try_acquire("a").is_err());
            let mut mine = permits.try_acquire("b").unwrap();
            assert!(mine.renew() && mine.release());
            assert_eq!((shared.stats().seats, permits.stats().reaped), (2, 0));
            // In its copy of a private region the parent is no more.
            assert!(own.try_acquire("a").unwrap().release());
            std::mem::forget(permits.try_acquire("b").unwrap());
        }))
        .is_err();
        // SAFETY: the parent's destructors are not to run here.
        unsafe { libc::_exit(i32::from(failed)) }
    }
    assert!(wait_for(pid).success());
    assert_eq!(permits.in_use("a"), 2);
    assert!(lease.renew() && lease.release() && permits.release_raw(raw));
    assert!(own.try_acquire("a").is_err() && own_lease.release());
    // What the child has not released went with it.
    let _both = [(); 2].map(|()| permits.try_acquire("b").unwrap());
    assert_eq!(permits.stats().reaped, 1);
    stage.say("done");
}

#[test]
fn a_forked_child_has_no_lease_of_its_parents() {
    let place = Place::new();
    let mut player = Player::start("forks", &[&place.file("region")]);
    assert_eq!(player.hear(), "done");
    player.finish();
}

/// Words that all children share.
fn shared_words() -> &'static [AtomicU64; 8] {
    // SAFETY: a new mapping, never unmapped, whose zeros are valid atomics.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        &*page.cast()
    }
}

/// Children acquire, look around and release, and are killed at any moment.
fn kills_holders(stage: &Stage) {
    const LIMIT: u64 = 2;
    const WORKERS: usize = 4;
    let rounds: u64 = stage.argument(1).parse().unwrap();
    let region = Region::options().bytes(256 << 10).open(stage.argument(0));
    let permits = PermitsOptions::new(LIMIT).max_leases(50);
    let permits = region.unwrap().permits("exports", permits).unwrap();
    // Who is inside; and {kills so far, who is being killed + 1}: that one does
    // not count, as nobody can say when exactly it died.
    let words = shared_words();
    let (inside, rest) = words.split_at(WORKERS);
    let (doomed, turns) = (&rest[0], &rest[1]);
    let look = || {
        let before = doomed.load(SeqCst);
        let counts = |who: &usize| before & 0xff != *who as u64 + 1;
        let all = (0..WORKERS).filter(|who| inside[*who].load(SeqCst) == 1);
        let count = all.filter(counts).count() as u64;
        (doomed.load(SeqCst) == before).then_some(count)
    };
    let work = |me: usize| loop {
        let Ok(mut lease) = permits.try_acquire("key") else {
            std::thread::yield_now();
            continue;
        };
        inside[me].store(1, SeqCst);
        assert!(look().is_none_or(|count| count <= LIMIT));
        assert!(lease.renew());
        inside[me].store(0, SeqCst);
        assert!(lease.release());
        turns.fetch_add(1, SeqCst);
    };
    let mut workers: Vec<_> = (0..WORKERS).map(|me| fork(|| work(me))).collect();
    let mut moment = 88172645463325252u64;
    for round in 0..rounds {
        let before = turns.load(SeqCst);
        moment ^= moment << 13;
        moment ^= moment >> 7;
        moment ^= moment << 17;
        while turns.load(SeqCst) < before + moment % 64 {
            std::thread::yield_now();
        }
        let who = (moment >> 32) as usize % WORKERS;
        doomed.store(round << 8 | (who as u64 + 1), SeqCst);
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(workers[who], libc::SIGKILL) };
        assert_eq!(wait_for(workers[who]).signal(), Some(libc::SIGKILL));
        inside[who].store(0, SeqCst);
        doomed.store((round + 1) << 8, SeqCst);
        workers[who] = fork(|| work(who));
    }
    for worker in workers {
        // SAFETY: as above.
        unsafe { libc::kill(worker, libc::SIGKILL) };
        assert_eq!(wait_for(worker).signal(), Some(libc::SIGKILL));
    }
    // Nothing is lost, and there is no more than there was.
    let all = [(); LIMIT as usize].map(|()| permits.try_acquire("key").unwrap());
    assert!(permits.try_acquire("key").is_err());
    assert!(all.into_iter().all(Lease::release));
    let stats = permits.stats();
    assert_eq!((stats.full, stats.expired), (0, 0));
    assert!(stats.reaped > rounds / 20, "only {stats:?}");
    stage.say(format_args!("{rounds} kills; {stats:?}"));
}

#[test]
fn the_limit_holds_among_processes_that_are_killed_at_any_moment() {
    let place = Place::new();
    // FOREBAY_KILLS=100000 for a night's worth.
    let rounds = std::env::var("FOREBAY_KILLS").unwrap_or("400".into());
    let mut player = Player::start("kills-holders", &[&place.file("region"), &rounds]);
    println!("{}", player.hear());
    player.finish();
}
