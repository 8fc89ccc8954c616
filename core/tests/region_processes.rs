//! A region among processes that come, fork, daemonize, stop and are killed.

#[path = "region_support/derived.rs"]
mod derived;
mod region_support;

use forebay::internals::lock::{Owner, DIRTY};
use forebay::*;
use region_support::{
    budget, fork, skip, small, wait_for, wait_until, word, Place, Player, Stage, Words,
};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What processes of this test do when they are started as children.
#[test]
fn child() {
    let Some((role, mut stage)) = Stage::of_child() else {
        return;
    };
    match role.as_str() {
        "sits" => sits(&mut stage),
        "lives-elsewhere" => lives_elsewhere(&mut stage),
        "turns-into-another-program" => turns_into_another_program(&stage),
        "forks" => forks(&stage),
        "leaves-a-child" => leaves_a_child(&mut stage),
        "leaves-a-child-without-a-seat" => leaves_a_child_without_a_seat(&mut stage),
        "forks-while-threads-open" => forks_while_threads_open(&stage),
        "forks-under-fire" => forks_under_fire(&stage),
        "closes-all-descriptors" => closes_all_descriptors(&mut stage),
        "fills-the-seats" => fills_the_seats(&mut stage),
        "probes" => probes(&mut stage),
        "kills-writers" => kills_writers(&stage),
        other => panic!("no role {other}"),
    }
}

/// A cache of one shard, small enough for a small region.
fn pages() -> CacheOptions {
    CacheOptions::new()
        .bytes(64 << 10)
        .max_entries(50)
        .shards(1)
}

/// Opens the region and stays until told.
fn sits(stage: &mut Stage) {
    let region = small(stage.argument(0));
    region.cache("pages", pages()).unwrap();
    stage.ready();
}

fn sitting(path: &str) -> Player {
    let mut player = Player::start("sits", &[path]);
    assert_eq!(player.hear(), "ready");
    player
}

// ----- seats

#[test]
fn live_processes_are_counted_and_their_seats_are_free_when_they_leave() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let mut players = Vec::new();
    for seats in 2..=6 {
        players.push(sitting(&path));
        assert_eq!(region.stats().seats, seats);
    }
    for seats in (1..=5).rev() {
        players.pop().unwrap().finish();
        assert_eq!(region.stats().seats, seats);
    }
}

#[test]
fn the_seat_of_a_killed_process_is_free_even_while_it_is_a_zombie() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let player = sitting(&path);
    assert_eq!(region.stats().seats, 2);
    player.signal(libc::SIGKILL);
    wait_until(player.pid(), libc::WEXITED);
    assert_eq!(region.stats().seats, 1);
    // Its seat is taken again, with another epoch.
    let epoch = Words::of(&path).load(word::SEATS + 1);
    let _another = sitting(&path);
    assert_eq!(Words::of(&path).load(word::SEATS + 1), epoch + 1);
    assert_eq!(region.stats().seats, 2);
}

#[test]
fn a_stopped_process_keeps_its_seat() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let player = sitting(&path);
    player.signal(libc::SIGSTOP);
    wait_until(player.pid(), libc::WSTOPPED);
    assert_eq!(region.stats().seats, 2);
    player.signal(libc::SIGCONT);
    player.finish();
    assert_eq!(region.stats().seats, 1);
}

fn lives_elsewhere(stage: &mut Stage) {
    // SAFETY: a plain system call; the namespace is for children to come.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return stage.say(std::io::Error::last_os_error());
    }
    let path = stage.argument(0).to_owned();
    let inner = fork(|| {
        let region = small(&path);
        let seats = region.stats().seats;
        stage.say(format_args!("{} {seats}", std::process::id()));
        stage.hear();
    });
    stage.say(format_args!("{inner}"));
    assert_eq!(wait_for(inner).signal(), Some(libc::SIGKILL));
    stage.say("reaped");
}

#[test]
fn life_and_death_are_seen_across_pid_namespaces() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let mut player = Player::start("lives-elsewhere", &[&path]);
    let mut said = [player.hear(), player.hear_any().unwrap_or_default()];
    if said[1].is_empty() {
        return skip("life_and_death_are_seen_across_pid_namespaces", &said[0]);
    }
    // Whoever was faster.
    said.sort_by_key(|line| !line.contains(' '));
    // It is number 1 where it lives, and sees the two of us.
    assert_eq!(said[0], "1 2");
    assert_eq!(region.stats().seats, 2);
    let outside: libc::pid_t = said[1].parse().unwrap();
    // SAFETY: a child of the player, which waits for it only after this.
    assert_eq!(unsafe { libc::kill(outside, libc::SIGKILL) }, 0);
    assert_eq!(player.hear(), "reaped");
    assert_eq!(region.stats().seats, 1);
    player.finish();
}

fn turns_into_another_program(stage: &Stage) {
    let _region = small(stage.argument(0));
    stage.say("in");
    panic!("{}", std::process::Command::new("cat").exec());
}

#[test]
fn exec_gives_the_seat_up() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let mut player = Player::start("turns-into-another-program", &[&path]);
    assert_eq!(player.hear(), "in");
    assert_eq!(
        player.ask("@who are you?"),
        "who are you?",
        "the other program answers"
    );
    assert_eq!(region.stats().seats, 1);
    player.finish();
}

fn fills_the_seats(stage: &mut Stage) {
    let region = small(stage.argument(0));
    let cache = region.cache("pages", None).unwrap();
    let limiter = region.limiter("api", None).unwrap();
    let children: Vec<libc::pid_t> = (0..254)
        .map(|_| {
            fork(|| {
                // A child takes its seat on first use.
                while !cache.set("child", "x") {}
                stage.say("sits");
                stage.hear();
            })
        })
        .collect();
    while region.stats().seats < 256 {
        std::thread::yield_now();
    }
    while !cache.set("held", "by all") {}
    // The 257th process.
    let left_over = fork(|| {
        assert_eq!(
            cache.get("held").as_deref(),
            Some(&b"by all"[..]),
            "reading needs none"
        );
        assert!(limiter.allow("a"), "nor does limiting");
        assert!(!cache.set("key", "value"), "no seat, no lock");
        assert_eq!(cache.get("key"), None);
        let error = region.limiter("other", budget(1)).unwrap_err();
        stage.say(error);
    });
    assert!(wait_for(left_over).success());
    stage.hear();
    for child in children {
        assert!(wait_for(child).success());
    }
}

#[test]
fn the_257th_process_is_told_that_there_is_no_seat() {
    let sentence = "no seat left: 256 live processes have this region open";
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    region.limiter("api", budget(1000)).unwrap();
    let mut player = Player::start("fills-the-seats", &[&path]);
    for _ in 0..254 {
        assert_eq!(player.hear(), "sits");
    }
    assert_eq!(player.hear(), sentence);
    assert_eq!(region.stats().seats, 256);
    let mut refused = Player::start("probes", &[&path]);
    assert_eq!(refused.hear(), sentence);
    refused.finish();
    // All who are in can work.
    assert!(cache.set("key", "value"));
    assert!(region.breaker("origin", BreakerOptions::new()).is_ok());
    // All children hear that their input has ended, and leave.
    player.finish();
    assert_eq!(region.stats().seats, 1);
    sitting(&path).finish();
}

// ----- fork

fn forks(stage: &Stage) {
    let path = stage.argument(0);
    let (shared, private) = (
        small(path),
        Region::options().bytes(256 << 10).private().unwrap(),
    );
    let open = |region: &Region| {
        let limiter = region.limiter("api", budget(3)).unwrap();
        (limiter, region.cache("pages", pages()).unwrap())
    };
    let ((limiter, cache), (own_limiter, own_cache)) = (open(&shared), open(&private));
    assert!(limiter.allow("a") && own_limiter.allow("a"));
    assert!(cache.set("key", "the parent's") && own_cache.set("key", "the parent's"));
    let child = fork(|| {
        assert_eq!(cache.get("key").as_deref(), Some(&b"the parent's"[..]));
        assert!(cache.set("key", "the child's") && own_cache.set("key", "the child's"));
        assert!(limiter.allow("a") && own_limiter.allow("a"));
        assert_eq!(shared.stats().seats, 2, "a seat of its own");
        assert_eq!(private.stats().seats, 1);
        // The same mapping as ever, also by name.
        assert!(small(path).limiter("api", None).unwrap().allow("a"));
        assert_eq!(shared.stats().seats, 2);
        assert!(!limiter.allow("a"));
        // Objects can be made on this side, too.
        assert!(shared.breaker("origin", BreakerOptions::new()).is_ok());
        // And by grandchildren.
        let grandchild = fork(|| {
            assert!(cache.set("grandchild", "was here"));
            assert_eq!(shared.stats().seats, 3);
        });
        assert!(wait_for(grandchild).success());
        assert_eq!(shared.stats().seats, 2);
    });
    assert!(wait_for(child).success());
    assert_eq!(shared.stats().seats, 1);
    // What is shared is shared; what is private was the child's own copy.
    assert!(!limiter.allow("a"));
    assert!(own_limiter.allow("a") && own_limiter.allow("a") && !own_limiter.allow("a"));
    assert_eq!(cache.get("key").as_deref(), Some(&b"the child's"[..]));
    assert_eq!(own_cache.get("key").as_deref(), Some(&b"the parent's"[..]));
    assert!(cache.contains("grandchild"));
    assert!(shared.breaker("origin", None).is_ok());
    let stats = cache.stats();
    assert_eq!((stats.busy, stats.resets), (0, 0));
    stage.say("done");
}

#[test]
fn a_forked_child_works_with_its_parents_handles_in_a_seat_of_its_own() {
    let place = Place::new();
    let mut player = Player::start("forks", &[&place.file("region")]);
    assert_eq!(player.hear(), "done");
    player.finish();
}

fn leaves_a_child(stage: &mut Stage) {
    let region = small(stage.argument(0));
    let cache = region.cache("pages", pages()).unwrap();
    let uses_it = stage.argument(1) == "uses it";
    fork(|| {
        if uses_it {
            assert!(cache.set("key", "the child's"));
        }
        stage.say("child");
        stage.hear();
        assert!(cache.set("key", "an orphan's"));
        stage.say("still works");
        stage.hear();
    });
    // SAFETY: waits for the signal that ends this process.
    unsafe { libc::pause() };
}

#[test]
fn the_death_of_a_parent_is_seen_although_its_child_lives_on() {
    for (child, during, after) in [("uses it", 3, 2), ("leaves it alone", 2, 1)] {
        let place = Place::new();
        let path = place.file("region");
        let region = small(&path);
        let mut player = Player::start("leaves-a-child", &[&path, child]);
        assert_eq!(player.hear(), "child");
        assert_eq!(region.stats().seats, during);
        player.signal(libc::SIGKILL);
        wait_until(player.pid(), libc::WEXITED);
        assert_eq!(region.stats().seats, after);
        assert_eq!(player.ask("go on"), "still works");
        assert_eq!(region.stats().seats, 2);
        let cache = region.cache("pages", None).unwrap();
        assert_eq!(cache.get("key").as_deref(), Some(&b"an orphan's"[..]));
    }
}

/// Its child only takes tokens, for which it needs no seat.
fn leaves_a_child_without_a_seat(stage: &mut Stage) {
    let (path, ephemeral) = (stage.argument(0), stage.argument(1) == "ephemeral");
    let options = Region::options().bytes(256 << 10).ephemeral(ephemeral);
    let region = options.open(path).unwrap();
    let limiter = region.limiter("api", budget(100)).unwrap();
    fork(|| {
        stage.say("child");
        stage.hear();
        assert_eq!(limiter.take("key").remaining, 98);
        stage.say("took one");
        stage.hear();
    });
    assert!(limiter.allow("key"));
    // Leaves in good order; the child has its handles still.
    drop((limiter, region));
    stage.say("left");
    // SAFETY: waits for the signal that ends this process.
    unsafe { libc::pause() };
}

#[test]
fn no_file_is_taken_from_under_a_child_that_has_no_seat() {
    let fresh = |path: &str| {
        let options = Region::options().bytes(256 << 10).fresh(true);
        options.open(path).unwrap()
    };
    let used = |region: &Region| {
        let limiter = region.limiter("api", budget(100)).unwrap();
        100 - limiter.peek("key").remaining
    };
    for lifetime in ["ephemeral", "lasting"] {
        let place = Place::new();
        let path = place.file("region");
        let mut player = Player::start("leaves-a-child-without-a-seat", &[&path, lifetime]);
        let mut said = [player.hear(), player.hear()];
        said.sort();
        assert_eq!(said, ["child", "left"]);
        player.signal(libc::SIGKILL);
        wait_until(player.pid(), libc::WEXITED);
        // The parent is dead and has left; the child is in the region.
        let region = fresh(&path);
        assert_eq!(
            used(&region),
            1,
            "{lifetime}: the child's region was replaced"
        );
        assert_eq!(player.ask("go on"), "took one");
        assert_eq!(used(&region), 2, "{lifetime}");
        drop(region);
        player.tell("end");
        while player.hear_any().is_some() {}
        assert_eq!(
            used(&fresh(&path)),
            0,
            "{lifetime}: nobody is left in the old one"
        );
    }
}

/// Children that live on and never touch a region, forked while threads open
/// and leave regions: the descriptor that a seat's lock first hangs on is
/// nothing that they may inherit.
fn forks_while_threads_open(stage: &Stage) {
    let path = |thread: u32| format!("{}-{thread}", stage.argument(0));
    let done = AtomicBool::new(false);
    let children: Vec<_> = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (path, done) = (path(thread), &done);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    drop(small(&path));
                }
            });
        }
        let pause = || {
            // SAFETY: waits for the signal that ends this process.
            unsafe { libc::pause() };
        };
        let children = (0..300).map(|_| fork(pause)).collect();
        done.store(true, Relaxed);
        children
    });
    let seats: Vec<_> = (0..2)
        .map(|thread| small(&path(thread)).stats().seats)
        .collect();
    for child in children {
        // SAFETY: plain system call about a child that was not waited for.
        assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
        wait_for(child);
    }
    assert_eq!(seats, [1, 1]);
    stage.say("done");
}

#[test]
fn children_forked_while_threads_open_do_not_keep_their_seats() {
    let place = Place::new();
    let mut player = Player::start("forks-while-threads-open", &[&place.file("region")]);
    assert_eq!(player.hear(), "done");
    player.finish();
}

fn forks_under_fire(stage: &Stage) {
    let path = stage.argument(0);
    let region = match path {
        "private" => Region::options().bytes(512 << 10).private().unwrap(),
        path => Region::options().bytes(512 << 10).open(path).unwrap(),
    };
    let cache = region.cache("pages", pages()).unwrap();
    let limiter = region.limiter("api", budget(1_000_000)).unwrap();
    let breaker = region.breaker("origin", BreakerOptions::new()).unwrap();
    let histogram = region.histogram("http", None).unwrap();
    let work = |i: u64| {
        let key = i % 60;
        if let Some(bytes) = cache.get(key.to_le_bytes()) {
            derived::number_of(key, &bytes);
        }
        cache.set(key.to_le_bytes(), derived::value(key, i));
        limiter.allow(key.to_le_bytes());
        let _ = breaker.call(|| if i.is_multiple_of(3) { Err(()) } else { Ok(()) });
        histogram.record_ns(i);
        if i.is_multiple_of(64) {
            cache.clear();
            region.limiter("api", budget(1_000_000 + i)).unwrap();
            // Opening, too, is under way when the process forks.
            if path != "private" {
                Region::open(path).unwrap();
                drop(small(&format!("{path}-{}", i % 256)));
            }
        }
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (work, done) = (&work, &done);
            scope.spawn(move || {
                (thread..)
                    .take_while(|_| !done.load(Relaxed))
                    .for_each(work)
            });
        }
        let children = (0..60).map(|_| fork(|| (0..300).for_each(work)));
        let ends: Vec<_> = children.map(wait_for).collect();
        done.store(true, Relaxed);
        for end in ends {
            assert!(end.success(), "a child ended with {end}");
        }
    });
    stage.say("done");
}

#[test]
fn children_forked_while_all_threads_are_busy_work_and_never_hang() {
    let place = Place::new();
    for region in ["private", &place.file("region")] {
        let mut player = Player::start("forks-under-fire", &[region]);
        assert_eq!(player.hear(), "done");
        player.finish();
    }
}

// ----- daemons that close what they do not know

fn closes_all_descriptors(stage: &mut Stage) {
    let region = small(stage.argument(0));
    let cache = region.cache("pages", pages()).unwrap();
    for fd in 3..1024 {
        // SAFETY: what a daemon does; nothing else in this process has a
        // descriptor that it will use again.
        unsafe { libc::close(fd) };
    }
    // Whatever is opened now gets the old numbers.
    let others: Vec<i32> = (0..64)
        // SAFETY: the path is NUL-terminated.
        .map(|_| unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })
        .collect();
    stage.say("closed");
    while let Some(line) = stage.hear() {
        match line.as_str() {
            "seats" => stage.say(region.stats().seats),
            "set" => stage.say(cache.set("key", "a daemon's")),
            "open" => stage.say(small(stage.argument(0)).stats().seats),
            other => panic!("{other}"),
        }
    }
    drop((region, cache));
    // The last handle is gone, and nobody else's descriptor with it.
    for fd in others {
        // SAFETY: asks about a number.
        let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
        assert!(open, "{fd} was closed");
    }
}

#[test]
fn a_process_that_closes_all_its_descriptors_stays_alive_and_sees_who_is() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let mut player = Player::start("closes-all-descriptors", &[&path]);
    assert_eq!(player.hear(), "closed");
    assert_eq!(region.stats().seats, 2);
    assert_eq!(player.ask("seats"), "2");
    assert_eq!(player.ask("open"), "2", "still one seat a process");
    // It tells the dead from the living, too.
    let dead = sitting(&path);
    assert_eq!(player.ask("seats"), "3");
    let lock = lock_held_by(&path, 2);
    assert_eq!(player.ask("set"), "false");
    dead.kill();
    assert_eq!(player.ask("seats"), "2");
    assert_eq!(player.ask("set"), "true");
    assert_eq!(Words::of(&path).load(lock), 0);
    player.finish();
    assert_eq!(region.stats().seats, 1);
}

// ----- holders of locks and leases

/// The word of the only shard's lock of a region's first object, a cache.
fn shard_lock(words: &Words) -> usize {
    words.load(word::DIRECTORY + word::ENTRY_OFFSET) as usize + 16
}

/// Lets the process in this seat hold the shard's lock, as if in the middle of
/// a write.
fn lock_held_by(path: &str, seat: usize) -> usize {
    let words = Words::of(path);
    let owner = Owner::new(seat, words.load(word::SEATS + seat));
    let lock = shard_lock(&words);
    words.store(lock, owner.word() | DIRTY);
    lock
}

#[test]
fn a_shard_held_by_a_living_process_is_skipped_and_by_a_dead_one_taken_over() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    assert!(cache.set("key", "old") && cache.set("other", "kept"));
    let player = sitting(&path);
    let lock = lock_held_by(&path, 1);
    // The write does not wait for ever; and the old value is gone all the same.
    assert!(!cache.set("key", "new"));
    assert_eq!(cache.get("key"), None);
    assert!(!cache.delete("other"));
    assert_eq!(cache.get("other"), None);
    assert_eq!(cache.stats().busy, 2);
    player.kill();
    assert!(cache.set("key", "new"));
    assert_eq!(cache.get("key").as_deref(), Some(&b"new"[..]));
    assert_eq!(Words::of(&path).load(lock), 0);
    assert_eq!(cache.stats().busy, 2);
}

#[test]
fn clear_hides_what_lies_in_a_shard_that_is_held() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    assert!(cache.set("key", "old"));
    let player = sitting(&path);
    lock_held_by(&path, 1);
    cache.clear();
    assert_eq!(cache.get("key"), None);
    // The shard could not be emptied, and nothing comes back when it can be had.
    assert_eq!(cache.len(), 1);
    player.kill();
    assert!(cache.set("other", "new"));
    assert_eq!(cache.get("key"), None);
    assert_eq!(cache.get("other").as_deref(), Some(&b"new"[..]));
}

#[test]
fn values_survive_a_holder_that_died_between_changes() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    for key in 0..20u64 {
        assert!(cache.set(key.to_le_bytes(), derived::value(key, 1)));
    }
    let there = |cache: &Cache| {
        let keys = (0..20u64).filter(|key| match cache.get(key.to_le_bytes()) {
            Some(bytes) => derived::number_of(*key, &bytes) == 1,
            None => false,
        });
        keys.count()
    };
    let before = there(&cache);
    let player = sitting(&path);
    lock_held_by(&path, 1);
    player.kill();
    assert!(cache.delete(0u64.to_le_bytes()));
    assert_eq!(there(&cache), before - 1);
    assert_eq!(cache.stats().resets, 0);
}

#[test]
fn a_shard_left_in_the_middle_of_a_change_is_cleared_and_the_event_says_so() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    assert!(cache.set("key", "value"));
    let player = sitting(&path);
    let lock = lock_held_by(&path, 1);
    // The word behind the lock is the sequence: odd while things change.
    let words = Words::of(&path);
    words.store(lock + 1, words.load(lock + 1) | 1);
    player.kill();
    assert_eq!(cache.get("key"), None);
    assert!(cache.set("other", "value"));
    assert_eq!(
        (cache.len(), cache.stats().resets, region.stats().resets),
        (1, 1, 1)
    );
    let last = region.events(0).events.pop().unwrap();
    assert_eq!(
        (last.kind, last.object.as_str(), last.detail),
        (EventKind::ShardReset, "pages", 0)
    );
}

#[test]
fn an_earlier_occupant_of_a_seat_is_dead_whoever_sits_there_now() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    sitting(&path).kill();
    lock_held_by(&path, 1);
    let _successor = sitting(&path);
    assert!(cache.set("key", "value"));
}

#[test]
fn a_lock_word_that_names_nobody_possible_is_taken_over() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    let words = Words::of(&path);
    for nobody in [
        DIRTY,
        1 << 10,
        Owner::new(256, 1).word(),
        Owner::new(400, 9).word(),
        u64::MAX,
    ] {
        words.store(shard_lock(&words), nobody);
        assert!(cache.set("key", "value"), "{nobody:#x}");
    }
}

#[test]
fn a_creator_that_died_with_the_creation_lock_holds_nobody_up() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let player = sitting(&path);
    let words = Words::of(&path);
    let owner = Owner::new(1, words.load(word::SEATS + 1));
    words.store(word::CREATION_LOCK, owner.word());
    player.kill();
    assert!(region.breaker("origin", BreakerOptions::new()).is_ok());
    assert_eq!(words.load(word::CREATION_LOCK), 0);
}

#[test]
fn events_are_dropped_and_counted_while_a_stopped_process_has_the_ring() {
    let place = Place::new();
    let path = place.file("region");
    let region = small(&path);
    let cache = region.cache("pages", pages()).unwrap();
    let player = sitting(&path);
    let words = Words::of(&path);
    let owner = Owner::new(1, words.load(word::SEATS + 1));
    words.store(word::EVENT_LOCK, owner.word());
    let before = region.stats().events;
    cache.clear();
    let stats = region.stats();
    assert_eq!((stats.events, stats.events_dropped), (before, 1));
    player.kill();
    cache.clear();
    let stats = region.stats();
    assert_eq!((stats.events, stats.events_dropped), (before + 1, 1));
}

/// Opens the region or says why not; then probes its breaker, and stays.
fn probes(stage: &mut Stage) {
    let region = match Region::open(stage.argument(0)) {
        Ok(region) => region,
        Err(error) => return stage.say(error),
    };
    let breaker = region.breaker("origin", None).unwrap();
    let permit = breaker.enter().unwrap();
    stage.ready();
    permit.success();
}

/// A breaker at the moment when it lets a probe through, on a clock that stands.
fn half_open(path: &str) -> (Region, Breaker) {
    let options = Region::options().bytes(256 << 10).manual_clock(true);
    let region = options.open(path).unwrap();
    let options = BreakerOptions::new()
        .failure_threshold(1)
        .success_threshold(1);
    let breaker = region.breaker("origin", options).unwrap();
    breaker.enter().unwrap().failure();
    region.advance(Duration::from_secs(60)).unwrap();
    (region, breaker)
}

#[test]
fn the_place_of_a_killed_prober_goes_to_another_at_once() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, breaker) = half_open(&path);
    let mut player = Player::start("probes", &[&path]);
    assert_eq!(player.hear(), "ready");
    let rejected = breaker.enter().unwrap_err();
    assert_eq!(
        rejected.retry_after,
        Duration::from_secs(30),
        "the probe's lease"
    );
    player.kill();
    // No time has passed.
    breaker.enter().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn the_place_of_a_killed_prober_is_free_whoever_sits_in_its_seat_now() {
    let place = Place::new();
    let path = place.file("region");
    let (_region, breaker) = half_open(&path);
    let mut player = Player::start("probes", &[&path]);
    assert_eq!(player.hear(), "ready");
    assert!(breaker.enter().is_err(), "the probe's lease");
    let epoch = Words::of(&path).load(word::SEATS + 1);
    player.kill();
    let _successor = sitting(&path);
    assert_eq!(Words::of(&path).load(word::SEATS + 1), epoch + 1);
    // No time has passed.
    breaker.enter().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

// ----- at any instruction

/// Forks writers and kills or stops each at some moment; after each, everything
/// must work for the survivor, and every value be one that was written.
fn kills_writers(stage: &Stage) {
    const KEYS: u64 = 40;
    let rounds: u64 = stage.argument(1).parse().unwrap();
    let region = Region::options()
        .bytes(512 << 10)
        .open(stage.argument(0))
        .unwrap();
    let pages = CacheOptions::new()
        .bytes(64 << 10)
        .max_entries(30)
        .shards(1);
    let cache = region.cache("pages", pages).unwrap();
    let limiter = region.limiter("api", budget(1000).max_keys(1000)).unwrap();
    let histogram = region.histogram("http", None).unwrap();
    let breaker = BreakerOptions::new()
        .failure_threshold(3)
        .open_for(Duration::from_millis(1));
    let breaker = region.breaker("origin", breaker).unwrap();
    let verify = || {
        for key in 0..KEYS {
            if let Some(bytes) = cache.get(key.to_le_bytes()) {
                derived::number_of(key, &bytes);
            }
        }
    };
    let write = |i: u64| {
        let key = i % KEYS;
        cache.set(key.to_le_bytes(), derived::value(key, i));
        if i.is_multiple_of(7) {
            cache.delete(((i / 7) % KEYS).to_le_bytes());
        }
        if i.is_multiple_of(101) {
            cache.clear();
        }
        cache.get(((i / 3) % KEYS).to_le_bytes());
        limiter.allow((i % 100).to_le_bytes());
        let _ = breaker.call(|| if i % 5 < 3 { Err(()) } else { Ok(()) });
        histogram.record_ns(1000);
    };
    let mut moment = 88172645463325252u64;
    for round in 0..rounds {
        let before = histogram.snapshot().count();
        let writer = fork(|| (round * 1_000_000..u64::MAX).for_each(write));
        while histogram.snapshot().count() < before + 2 {
            std::thread::yield_now();
        }
        moment ^= moment << 13;
        moment ^= moment >> 7;
        moment ^= moment << 17;
        for i in 0..moment % 64 {
            limiter.peek(i.to_le_bytes());
        }
        if round.is_multiple_of(4) {
            // A stopped one may hold the shard: others go round it and, when
            // it resumes, it may finish what it began.
            // SAFETY: a child that was not waited for.
            unsafe { libc::kill(writer, libc::SIGSTOP) };
            wait_until(writer, libc::WSTOPPED);
            verify();
            (0..KEYS).for_each(write);
            verify();
            let count = histogram.snapshot().count();
            // SAFETY: as above.
            unsafe { libc::kill(writer, libc::SIGCONT) };
            while histogram.snapshot().count() < count + 2 {
                std::thread::yield_now();
            }
            verify();
        }
        // SAFETY: as above.
        unsafe { libc::kill(writer, libc::SIGKILL) };
        assert_eq!(wait_for(writer).signal(), Some(libc::SIGKILL));
        // Nobody else is left: what does not work now never will.
        for key in 0..KEYS {
            let value = derived::value(key, round);
            assert!(cache.set(key.to_le_bytes(), &value), "round {round}");
            assert_eq!(cache.get(key.to_le_bytes()), Some(value), "round {round}");
        }
        verify();
        assert_eq!(region.stats().seats, 1);
        assert!(cache.len() <= 30);
        // Each killed thread may leave the sum without one duration.
        let snapshot = histogram.snapshot();
        let missing = u128::from(snapshot.count()) * 1000 - snapshot.sum().as_nanos();
        assert!(missing <= u128::from(round + 1) * 1000);
    }
    // No death mints a token: a hundred keys of a thousand tokens a day.
    assert_eq!(limiter.stats().evicted_live, 0);
    let admitted = limiter.stats().admitted;
    assert!(admitted <= 100 * 1000 + 100, "{admitted} admitted");
    let stats = cache.stats();
    stage.say(format_args!(
        "{rounds} kills; {} in the middle of a change",
        stats.resets
    ));
}

#[test]
fn writers_killed_at_any_moment_leave_a_region_that_works_and_lies_to_nobody() {
    let place = Place::new();
    // FOREBAY_KILLS=100000 for a night's worth.
    let rounds = std::env::var("FOREBAY_KILLS").unwrap_or("400".into());
    let mut player = Player::start("kills-writers", &[&place.file("region"), &rounds]);
    println!("{}", player.hear());
    player.finish();
}
