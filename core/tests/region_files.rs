//! A region's file: how it comes to be, who may open it, what is refused, how
//! it goes away.

mod region_support;

use forebay::region::HEADER_BYTES;
use forebay::*;
use region_support::{budget, skip, small, word, Place, Player, Stage, Words};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What processes of this test do when they are started as children.
#[test]
fn child() {
    let Some((role, mut stage)) = Stage::of_child() else {
        return;
    };
    match role.as_str() {
        "opens" => opens(&mut stage),
        "counts" => counts(&mut stage),
        "comes-and-goes" => comes_and_goes(&mut stage),
        "starts-fresh" => starts_fresh(&mut stage),
        "prints-the-path" => stage.say(path_or_error(stage.argument(0))),
        "creates-under-umask" => creates_under_umask(&stage),
        "changes-directory" => changes_directory(&stage),
        "fills-a-small-file-system" => fills_a_small_file_system(&stage),
        "has-few-descriptors" => has_few_descriptors(&stage),
        "has-a-file-size-limit" => has_a_file_size_limit(&stage),
        "is-interrupted" => is_interrupted(&stage),
        "has-a-memory-limit" => has_a_memory_limit(&mut stage),
        other => panic!("no role {other}"),
    }
}

fn path_or_error(name: &str) -> String {
    match Region::options().bytes(64 << 10).open(name) {
        Ok(region) => region.path().unwrap().display().to_string(),
        Err(error) => error.to_string(),
    }
}

fn inode(path: &str) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}

// ----- defaults, names, one mapping

#[test]
fn by_default_a_region_has_16_mib_mode_600_and_the_real_clock_and_stays() {
    let place = Place::new();
    let path = place.file("region");
    let region = Region::open(&path).unwrap();
    assert_eq!(region.bytes(), 16 << 20);
    assert_eq!(region.path(), Some(Path::new(&path)));
    assert!(region.is_shared());
    let error = region.advance(Duration::from_secs(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "clock: got the real clock; allowed: a region made with a manual clock"
    );
    drop(region);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.mode() & 0o7777), (16 << 20, 0o600));
    // All of its memory is there from the start.
    assert!(meta.blocks() * 512 >= meta.len());
    assert_eq!(place.names(), ["region"], "nothing else was left behind");
}

#[test]
fn a_new_region_holds_a_header_and_nothing_else() {
    let place = Place::new();
    let region = small(&place.file("region"));
    let stats = region.stats();
    assert_eq!((stats.bytes, stats.used), (256 << 10, HEADER_BYTES));
    assert_eq!(
        (
            stats.objects,
            stats.events,
            stats.events_dropped,
            stats.resets
        ),
        (0, 0, 0, 0)
    );
    assert_eq!((stats.seats, stats.seats_max), (1, 256));
    assert_eq!(region.objects(), []);
    assert_eq!(region.events(0).events, []);
}

/// The mappings of a file in this process: its memory and its seat.
fn mappings(path: &str) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter(|line| line.ends_with(path)).count()
}

#[test]
fn opening_twice_in_a_process_gives_one_mapping_and_one_seat() {
    let place = Place::new();
    let path = place.file("region");
    let first = small(&path);
    let mapped = mappings(&path);
    let second = small(&path);
    let roundabout = small(&place.file("./region"));
    assert_eq!(mappings(&path), mapped);
    assert_eq!(first.stats().seats, 1);
    let limiter = first.limiter("api", budget(1)).unwrap();
    assert!(limiter.allow("a"));
    drop(first);
    for region in [second, roundabout] {
        assert!(!region.limiter("api", None).unwrap().allow("a"));
    }
    // The limiter alone keeps it open.
    assert_eq!(mappings(&path), mapped);
    assert!(!limiter.allow("a"));
    drop(limiter);
    assert_eq!(mappings(&path), 0);
}

#[test]
fn threads_that_open_at_once_share_one_mapping() {
    let place = Place::new();
    let path = place.file("region");
    let start = std::sync::Barrier::new(8);
    let open = || {
        start.wait();
        small(&path)
    };
    let regions: Vec<Region> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(regions[0].stats().seats, 1);
    drop(regions);
    assert_eq!(mappings(&path), 0);
}

#[test]
fn a_region_that_was_closed_is_found_as_it_was() {
    let place = Place::new();
    let path = place.file("region");
    assert!(small(&path).limiter("api", budget(1)).unwrap().allow("a"));
    let again = Region::open(&path).unwrap();
    assert_eq!(again.bytes(), 256 << 10, "its own size, not the default");
    assert!(!again.limiter("api", None).unwrap().allow("a"));
    assert_eq!(again.stats().seats, 1);
}

#[test]
fn a_name_stands_for_a_file_in_forebay_dir_with_the_layouts_version() {
    let place = Place::new();
    let directory = place.path().to_str().unwrap().to_owned();
    for name in ["shop", "A.b_c-1", &"x".repeat(48)] {
        let mut player = Player::start_with("prints-the-path", &[name], |command| {
            command.env("FOREBAY_DIR", &directory);
        });
        assert_eq!(
            player.hear(),
            place.file(&format!("{name}.v{LAYOUT_VERSION}"))
        );
        player.finish();
    }
}

#[test]
fn a_forebay_dir_that_is_not_there_is_an_error_that_names_it() {
    let place = Place::new();
    let directory = place.file("nowhere");
    let mut player = Player::start_with("prints-the-path", &["shop"], |command| {
        command.env("FOREBAY_DIR", &directory);
    });
    assert_eq!(
        player.hear(),
        format!("{directory}: open directory: No such file or directory (os error 2)")
    );
    player.finish();
}

#[test]
fn without_forebay_dir_a_name_stands_for_a_file_in_a_directory_of_the_users_own() {
    let name = format!("test-{}", std::process::id());
    for dir in [None, Some("")] {
        let mut player = Player::start_with("prints-the-path", &[&name], |command| {
            command.env_remove("FOREBAY_DIR");
            // Set to nothing is as good as not set.
            command.envs(dir.map(|dir| ("FOREBAY_DIR", dir)));
        });
        let path = player.hear();
        player.finish();
        // SAFETY: has no preconditions and cannot fail.
        let user = unsafe { libc::geteuid() };
        let parent = match Path::new("/dev/shm").is_dir() {
            true => Path::new("/dev/shm").to_owned(),
            false => std::env::temp_dir(),
        };
        let directory = parent.join(format!("forebay-{user}"));
        assert_eq!(
            Path::new(&path),
            directory.join(format!("{name}.v{LAYOUT_VERSION}"))
        );
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn names_that_are_not_names_are_refused() {
    for name in [
        "",
        ".",
        "..",
        ".hidden",
        "two words",
        "ümlaut",
        "a\nb",
        &"x".repeat(49),
    ] {
        let error = Region::open(name).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "name: got {name:?}; allowed: 1 to 48 letters, digits, '-', '_' or '.', \
                 not beginning with '.'; or a path with a '/'"
            )
        );
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    for path in ["shop\0", "/tmp/shop\0"] {
        let error = Region::open(path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "path: got a NUL byte; allowed: a path without NUL"
        );
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    let place = Place::new();
    let least = HEADER_BYTES + 4096;
    for bytes in [
        0,
        1,
        HEADER_BYTES,
        least - 8,
        least + 4,
        (1 << 40) + 8,
        u64::MAX,
    ] {
        let sentence = format!(
            "bytes: got {bytes}; allowed: {least} to {}, a multiple of 8",
            1u64 << 40
        );
        let options = Region::options().bytes(bytes);
        for error in [
            options.private().unwrap_err(),
            options.open(&place.file("r")).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), sentence);
            assert_eq!(error.code(), Code::InvalidArgument);
        }
    }
    assert_eq!(place.names(), [""; 0]);
    for options in [
        Region::options().bytes(least),
        Region::options().bytes(least + 8),
    ] {
        assert!(options.private().is_ok());
        assert!(options.fresh(true).open(&place.file("r")).is_ok());
    }
}

#[test]
fn modes_other_than_600_and_660_are_refused() {
    let place = Place::new();
    for mode in [0, 0o400, 0o666, 0o700, 0o604, 0o1600, 0o777, u32::MAX] {
        let error = Region::options()
            .mode(mode)
            .open(&place.file("r"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "mode: got {mode:o}; allowed: 600 or 660 (octal): \
                 nobody but the owner and, if need be, a group"
            )
        );
    }
}

fn creates_under_umask(stage: &Stage) {
    for (umask, mode) in [(0, 0o600), (0, 0o660), (0o077, 0o660), (0o777, 0o600)] {
        // SAFETY: cannot fail; this process has no other thread that makes files.
        unsafe { libc::umask(umask) };
        let path = format!("{}-{umask:o}-{mode:o}", stage.argument(0));
        let region = Region::options()
            .bytes(64 << 10)
            .mode(mode)
            .open(&path)
            .unwrap();
        drop(region);
        stage.say(format_args!(
            "{:o} {mode:o}",
            fs::metadata(path).unwrap().mode() & 0o7777
        ));
    }
}

#[test]
fn the_file_has_the_mode_asked_for_whatever_the_umask() {
    let place = Place::new();
    let mut player = Player::start("creates-under-umask", &[&place.file("region")]);
    let mut files = 0;
    while let Some(line) = player.hear_any() {
        let (is, asked) = line.split_once(' ').unwrap();
        assert_eq!(is, asked);
        files += 1;
    }
    assert_eq!(files, 4);
    player.finish();
}

#[test]
fn a_file_with_a_stricter_mode_than_asked_for_is_taken() {
    let place = Place::new();
    let path = place.file("region");
    drop(small(&path));
    assert!(Region::options().mode(0o660).open(&path).is_ok());
}

fn changes_directory(stage: &Stage) {
    std::env::set_current_dir(stage.argument(0)).unwrap();
    let region = Region::options()
        .bytes(64 << 10)
        .ephemeral(true)
        .open("./region")
        .unwrap();
    stage.say(region.path().unwrap().display());
    // As a daemon does.
    std::env::set_current_dir("/").unwrap();
    let limiter = region.limiter("api", budget(1)).unwrap();
    assert!(limiter.allow("a"));
    // Still the same file for those who open it now, and gone with the last.
    assert!(!small(stage.argument(1))
        .limiter("api", None)
        .unwrap()
        .allow("a"));
}

#[test]
fn a_relative_path_still_means_the_same_file_after_chdir() {
    let place = Place::new();
    let directory = place.path().to_str().unwrap().to_owned();
    let mut player = Player::start("changes-directory", &[&directory, &place.file("region")]);
    assert_eq!(player.hear(), place.file("region"));
    player.finish();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn directories_that_cannot_be_trusted_are_refused() {
    let place = Place::new();
    let open = |path: &str| Region::options().bytes(64 << 10).open(path).map(drop);
    let missing = place.file("missing");
    assert_eq!(
        open(&format!("{missing}/region")).unwrap_err().to_string(),
        format!("{missing}: open directory: No such file or directory (os error 2)")
    );
    let file = place.file("file");
    fs::write(&file, "").unwrap();
    let error = open(&format!("{file}/region")).unwrap_err();
    assert_eq!(error.to_string(), format!("{file}: is not a directory"));
    assert_eq!(error.code(), Code::Permission);
    let directory = place.file("directory");
    fs::create_dir(&directory).unwrap();
    let mode = |mode| fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o777);
    let path = format!("{directory}/region");
    assert_eq!(
        open(&path).unwrap_err().to_string(),
        format!("{directory}: the directory is writable by everybody (mode 777): chmod o-w it")
    );
    for trusted in [0o1777, 0o755, 0o700] {
        mode(trusted);
        assert_eq!(open(&path), Ok(()));
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let place = Place::new();
    let directory = place.file("theirs");
    fs::create_dir(&directory).unwrap();
    // SAFETY: has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    if std::os::unix::fs::chown(&directory, Some(user + 1), None).is_err() {
        return skip("a_directory_of_another_user_is_refused", "needs root");
    }
    assert_eq!(
        Region::open(&format!("{directory}/region"))
            .unwrap_err()
            .to_string(),
        format!(
            "{directory}: the directory belongs to user {}, not to user {user} or root",
            user + 1
        )
    );
}

// ----- create, fresh, ephemeral, other boots

#[test]
fn without_create_a_file_that_is_absent_is_not_found() {
    let place = Place::new();
    let path = place.file("region");
    let options = Region::options().create(false);
    let error = options.open(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the region {path} does not exist")
    );
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(place.names(), [""; 0]);
    drop(small(&path));
    assert_eq!(options.open(&path).unwrap().bytes(), 256 << 10);
}

#[test]
fn an_object_that_is_absent_is_not_found_without_options() {
    let region = Region::options().bytes(64 << 10).private().unwrap();
    for (kind, error) in [
        ("limiter", region.limiter("x", None).unwrap_err()),
        ("cache", region.cache("x", None).unwrap_err()),
        ("breaker", region.breaker("x", None).unwrap_err()),
    ] {
        assert_eq!(error.to_string(), format!("the {kind} 'x' does not exist"));
        assert_eq!(error.code(), Code::NotFound);
    }
    assert_eq!(region.objects(), []);
}

fn opens(stage: &mut Stage) {
    let _region = small(stage.argument(0));
    stage.ready();
}

#[test]
fn fresh_starts_anew_only_when_nobody_is_in() {
    let place = Place::new();
    let path = place.file("region");
    let fresh = || {
        Region::options()
            .bytes(128 << 10)
            .fresh(true)
            .open(&path)
            .unwrap()
    };
    let player = {
        let region = small(&path);
        assert!(region.limiter("api", budget(1)).unwrap().allow("a"));
        // This process is in.
        assert_eq!(fresh().bytes(), 256 << 10);
        let mut player = Player::start("opens", &[&path]);
        assert_eq!(player.hear(), "ready");
        player
    };
    // Another process is in.
    let region = fresh();
    assert_eq!(region.bytes(), 256 << 10);
    assert!(!region.limiter("api", None).unwrap().allow("a"));
    drop(region);
    player.finish();
    // Nobody is.
    let region = fresh();
    assert_eq!(region.bytes(), 128 << 10);
    assert_eq!(region.objects(), []);
}

#[test]
fn fresh_starts_anew_after_the_only_other_process_was_killed() {
    let place = Place::new();
    let path = place.file("region");
    let mut player = Player::start("opens", &[&path]);
    assert_eq!(player.hear(), "ready");
    player.kill();
    let region = Region::options()
        .bytes(128 << 10)
        .fresh(true)
        .open(&path)
        .unwrap();
    assert_eq!(region.bytes(), 128 << 10);
}

#[test]
fn the_last_process_to_leave_an_ephemeral_region_removes_its_file() {
    let place = Place::new();
    let path = place.file("region");
    let region = Region::options()
        .bytes(64 << 10)
        .ephemeral(true)
        .open(&path)
        .unwrap();
    let inode_before = inode(&path);
    let mut player = Player::start("opens", &[&path]);
    assert_eq!(player.hear(), "ready");
    drop(region);
    assert_eq!(inode(&path), inode_before, "somebody is still in");
    player.finish();
    assert_eq!(inode(&path), None);
}

#[test]
fn being_ephemeral_is_fixed_when_the_region_is_made() {
    let place = Place::new();
    let path = place.file("region");
    drop(small(&path));
    drop(Region::options().ephemeral(true).open(&path).unwrap());
    assert_eq!(place.names(), ["region"]);
}

fn comes_and_goes(stage: &mut Stage) {
    let path = stage.argument(0).to_owned();
    stage.ready();
    for _ in 0..200 {
        let region = Region::options()
            .bytes(64 << 10)
            .ephemeral(true)
            .open(&path)
            .unwrap();
        // Nobody takes the file away from under a process that is in.
        let mine = Some(fs::metadata(region.path().unwrap()).unwrap().ino());
        let limiter = region.limiter("api", budget(1000)).unwrap();
        limiter.allow("a");
        assert_eq!(inode(&path), mine);
    }
    stage.say("done");
}

#[test]
fn an_ephemeral_file_never_leaves_anybody_behind_and_goes_with_the_last() {
    let place = Place::new();
    let path = place.file("region");
    let mut players: Vec<Player> = (0..4)
        .map(|_| Player::start("comes-and-goes", &[&path]))
        .collect();
    for player in &mut players {
        assert_eq!(player.hear(), "ready");
    }
    for player in &mut players {
        player.tell("go");
    }
    for mut player in players {
        assert_eq!(player.hear(), "done");
        player.finish();
    }
    assert_eq!(place.names(), [""; 0]);
}

fn starts_fresh(stage: &mut Stage) {
    let path = stage.argument(0).to_owned();
    stage.ready();
    for i in 0..200 {
        // Fresh or not, all who are in at once are in the same region.
        let region = Region::options()
            .bytes(64 << 10)
            .fresh(i % 2 == 0)
            .open(&path)
            .unwrap();
        let mine = Some(fs::metadata(region.path().unwrap()).unwrap().ino());
        for _ in 0..10 {
            assert_eq!(inode(&path), mine);
        }
    }
    stage.say("done");
}

#[test]
fn no_fresh_start_takes_the_file_away_from_who_is_just_coming_in() {
    let place = Place::new();
    let path = place.file("region");
    let mut players: Vec<Player> = (0..4)
        .map(|_| Player::start("starts-fresh", &[&path]))
        .collect();
    for player in &mut players {
        assert_eq!(player.hear(), "ready");
    }
    for player in &mut players {
        player.tell("go");
    }
    for mut player in players {
        assert_eq!(player.hear(), "done");
        player.finish();
    }
    assert_eq!(place.names(), ["region"]);
}

#[test]
fn a_region_of_another_boot_is_replaced_or_refused_without_create() {
    let place = Place::new();
    let path = place.file("region");
    for half in [0, 1] {
        let region = small(&path);
        assert!(region.limiter("api", budget(1)).unwrap().allow("a"));
        drop(region);
        let words = Words::of(&path);
        words.store(word::BOOT + half, !words.load(word::BOOT + half));
        let error = Region::options().create(false).open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{path}: made before the last boot; open it with create to replace it")
        );
        assert_eq!(error.code(), Code::OtherBoot);
        let region = small(&path);
        assert_eq!(
            region.objects(),
            [],
            "debts of before the boot are forgotten"
        );
        drop(region);
        assert!(Region::options().create(false).open(&path).is_ok());
    }
    assert_eq!(place.names(), ["region"]);
}

#[test]
fn a_file_unlinked_while_open_serves_on_and_newcomers_make_another() {
    let place = Place::new();
    let path = place.file("region");
    let old = small(&path);
    let limiter = old.limiter("api", budget(1)).unwrap();
    assert!(limiter.allow("a"));
    fs::remove_file(&path).unwrap();
    let new = small(&path);
    assert!(
        new.limiter("api", budget(1)).unwrap().allow("a"),
        "another region"
    );
    assert!(!limiter.allow("a"), "the same as before");
    assert!(old.limiter("other", budget(1)).unwrap().allow("a"));
    assert_eq!((old.objects().len(), new.objects().len()), (2, 1));
    drop((old, limiter));
    assert_eq!(place.names(), ["region"]);
}

#[test]
fn an_unlinked_ephemeral_region_does_not_remove_its_successor() {
    let place = Place::new();
    let path = place.file("region");
    let old = Region::options()
        .bytes(64 << 10)
        .ephemeral(true)
        .open(&path)
        .unwrap();
    fs::remove_file(&path).unwrap();
    drop(small(&path));
    drop(old);
    assert_eq!(place.names(), ["region"]);
}

fn counts(stage: &mut Stage) {
    let path = stage.argument(0).to_owned();
    stage.ready();
    let region = small(&path);
    let limiter = region.limiter("api", budget(7)).unwrap();
    let admitted = (0..4).filter(|_| limiter.allow("a")).count();
    let inode = inode(&path).unwrap();
    stage.say(format_args!("{admitted} {inode}"));
    // Leave only when all have come, so that nobody can find it unused.
    stage.hear();
}

#[test]
fn of_many_processes_that_create_at_once_one_wins_and_all_share_its_region() {
    for _ in 0..8 {
        let place = Place::new();
        let path = place.file("region");
        let mut players: Vec<Player> = (0..8).map(|_| Player::start("counts", &[&path])).collect();
        for player in &mut players {
            assert_eq!(player.hear(), "ready");
        }
        for player in &mut players {
            player.tell("go");
        }
        let answers: Vec<String> = players.iter_mut().map(Player::hear).collect();
        let mut admitted = 0;
        for answer in &answers {
            let (allowed, file) = answer.split_once(' ').unwrap();
            admitted += allowed.parse::<u64>().unwrap();
            assert_eq!(file.parse().ok(), inode(&path), "{answers:?}");
        }
        assert_eq!(admitted, 7, "one budget of seven for all: {answers:?}");
        assert_eq!(place.names(), ["region"], "losers leave nothing behind");
        let region = small(&path);
        let stats = region.stats();
        assert_eq!((stats.seats, stats.objects, stats.events), (9, 1, 1));
        assert_eq!(region.limiter("api", None).unwrap().stats().admitted, 7);
        for player in players {
            player.finish();
        }
    }
}

// ----- limits of file systems, processes and containers

fn fills_a_small_file_system(stage: &Stage) {
    let directory = std::ffi::CString::new(stage.argument(0)).unwrap();
    let tmpfs = c"tmpfs";
    // SAFETY: all strings are NUL-terminated and outlive the calls; the mount
    // namespace is this process's own, so the mount goes when it ends.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
            && libc::mount(
                tmpfs.as_ptr(),
                directory.as_ptr(),
                tmpfs.as_ptr(),
                0,
                c"size=8m,mode=0700".as_ptr().cast(),
            ) == 0
    };
    if !mounted {
        return stage.say(std::io::Error::last_os_error());
    }
    let path = format!("{}/region", stage.argument(0));
    let error = Region::open(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{path}: no space for a region of 16777216 bytes: the file system is full; raise it \
             (docker --shm-size, an emptyDir's sizeLimit) or ask for fewer bytes"
        )
    );
    assert_eq!(error.code(), Code::OutOfSpace);
    let names = || fs::read_dir(stage.argument(0)).unwrap().count();
    assert_eq!(names(), 0, "nothing is left behind");
    // What is there now fits, and all of it can be used.
    let region = Region::options().bytes(7 << 20).open(&path).unwrap();
    let cache = region
        .cache("pages", CacheOptions::new().bytes(6 << 20))
        .unwrap();
    for i in 0..20_000u32 {
        assert!(cache.set(i.to_le_bytes(), [7; 500]));
    }
    // Full, but not for those who attach.
    let error = Region::open(&format!("{path}2")).unwrap_err();
    assert_eq!(error.code(), Code::OutOfSpace);
    assert!(Region::open(&path).is_ok());
    stage.say("done");
}

#[test]
fn a_full_file_system_is_an_error_that_names_the_setting_and_never_a_crash() {
    let place = Place::new();
    let directory = place.path().to_str().unwrap().to_owned();
    let mut player = Player::start("fills-a-small-file-system", &[&directory]);
    match player.hear().as_str() {
        "done" => player.finish(),
        why => skip(
            "a_full_file_system_is_an_error_that_names_the_setting_and_never_a_crash",
            format_args!("cannot mount: {why}"),
        ),
    }
}

fn has_few_descriptors(stage: &Stage) {
    let path = stage.argument(0);
    let limit = |most: libc::rlim_t| {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: 1024,
        };
        // SAFETY: plain system call about this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    };
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as libc::rlim_t - 1;
    for spare in 0..4 {
        limit(open + spare);
        let outcome = match Region::options().create(false).open(path) {
            Ok(_) => "opened".to_owned(),
            Err(Error::Io { errno, .. }) if errno == libc::EMFILE => "too many".to_owned(),
            Err(other) => other.to_string(),
        };
        limit(1024);
        stage.say(outcome);
    }
}

#[test]
fn without_descriptors_left_the_error_says_so() {
    let place = Place::new();
    let path = place.file("region");
    drop(small(&path));
    let mut child = Player::start("has-few-descriptors", &[&path]);
    let said: Vec<String> = (0..4).map(|_| child.hear()).collect();
    child.finish();
    assert_eq!(said[0], "too many");
    assert_eq!(said[3], "opened");
    for outcome in said {
        assert!(outcome == "too many" || outcome == "opened", "{outcome}");
    }
}

fn has_a_file_size_limit(stage: &Stage) {
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    // SAFETY: the struct outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    let path = stage.argument(0);
    let error = Region::open(path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{path}: no space for a region of 16777216 bytes: this process may make files of \
             at most 1048576 bytes; raise that (ulimit -f) or ask for fewer bytes"
        )
    );
    assert_eq!(error.code(), Code::OutOfSpace);
    assert!(Region::options().bytes(1 << 20).open(path).is_ok());
    stage.say("done");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_deadly_signal() {
    let place = Place::new();
    let mut player = Player::start("has-a-file-size-limit", &[&place.file("region")]);
    assert_eq!(player.hear(), "done");
    player.finish();
    assert_eq!(place.names(), ["region"]);
}

fn is_interrupted(stage: &Stage) {
    extern "C" fn handler(_: libc::c_int) {}
    // SAFETY: the handler does nothing, the struct outlives the call, and
    // zeros are a valid sigaction (without SA_RESTART).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        assert_eq!(
            libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()),
            0
        );
    }
    // SAFETY: has no preconditions and cannot fail.
    let opener = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A signal a millisecond, as a profiler sends them.
        scope.spawn(|| {
            while !done.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                // SAFETY: that thread waits for this one at the end of the scope.
                unsafe { libc::pthread_kill(opener, libc::SIGPROF) };
            }
        });
        let region = Region::options()
            .bytes(128 << 20)
            .ephemeral(true)
            .open(stage.argument(0));
        done.store(true, Relaxed);
        stage.say(region.map_or_else(|e| e.to_string(), |_| "done".into()));
    });
}

#[test]
fn a_profilers_timer_does_not_keep_a_region_from_being_made() {
    let place = Place::new();
    let mut player = Player::start("is-interrupted", &[&place.file("region")]);
    assert_eq!(player.hear(), "done");
    player.finish();
}

/// A control group with a limit on memory, for one test; `None` where this
/// user may not make one.
struct MemoryGroup {
    directory: std::path::PathBuf,
}

impl MemoryGroup {
    fn new(limit: &str) -> Option<MemoryGroup> {
        let name = format!("forebay-test-{}", std::process::id());
        let hierarchies = [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ];
        for (root, file) in hierarchies {
            let directory = Path::new(root).join(&name);
            if fs::create_dir(&directory).is_err() {
                continue;
            }
            let group = MemoryGroup { directory };
            // Elsewhere this is an ordinary directory without the file.
            let file = group.directory.join(file);
            if file.exists() && fs::write(file, limit).is_ok() {
                return Some(group);
            }
        }
        None
    }

    fn join(&self, pid: libc::pid_t) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.directory);
    }
}

fn has_a_memory_limit(stage: &mut Stage) {
    let path = stage.argument(0).to_owned();
    stage.ready();
    let error = Region::options().bytes(256 << 20).open(&path).unwrap_err();
    assert_eq!(error.code(), Code::OutOfSpace);
    stage.say(error);
    let region = Region::options().bytes(8 << 20).open(&path).unwrap();
    let cache = region
        .cache("pages", CacheOptions::new().bytes(7 << 20))
        .unwrap();
    for i in 0..20_000u32 {
        assert!(cache.set(i.to_le_bytes(), [7; 500]));
    }
    stage.say("done");
}

#[test]
fn a_region_beyond_the_containers_memory_is_an_error_and_not_an_oom_kill() {
    let test = "a_region_beyond_the_containers_memory_is_an_error_and_not_an_oom_kill";
    let place = Place::new();
    let Some(group) = MemoryGroup::new("67108864") else {
        return skip(test, "this user may not make control groups");
    };
    let path = place.file("region");
    let mut player = Player::start("has-a-memory-limit", &[&path]);
    group.join(player.pid());
    assert_eq!(player.hear(), "ready");
    player.tell("go");
    let sentence = player.hear();
    let left = sentence
        .strip_prefix(&format!(
            "{path}: no space for a region of 268435456 bytes: the container's memory limit leaves "
        ))
        .and_then(|rest| {
            rest.strip_suffix(
                " bytes; raise it (docker --memory, resources.limits.memory) or ask for fewer bytes",
            )
        })
        .unwrap_or_else(|| panic!("{sentence}"));
    assert!(left.parse::<u64>().unwrap() <= 64 << 20);
    assert_eq!(player.hear(), "done");
    player.finish();
}

#[test]
fn a_private_region_beyond_all_memory_is_an_error() {
    let overcommit = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    if overcommit.trim() == "1" {
        return skip(
            "a_private_region_beyond_all_memory_is_an_error",
            "vm.overcommit_memory = 1",
        );
    }
    let error = Region::options().bytes(1 << 40).private().unwrap_err();
    assert_eq!(
        error.to_string(),
        "(private): no space for a region of 1099511627776 bytes: the allocator refused"
    );
    assert_eq!(error.code(), Code::OutOfSpace);
}

#[test]
fn a_file_with_holes_gets_its_memory_before_it_is_used() {
    let place = Place::new();
    let path = place.file("region");
    drop(small(&path));
    // A copy that skips zeros, as some tools make.
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes[..HEADER_BYTES as usize]).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < bytes.len() as u64);
    let _region = small(&path);
    assert!(file.metadata().unwrap().blocks() * 512 >= bytes.len() as u64);
}
