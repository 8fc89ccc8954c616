//! A parent directory in which others may write, and what they may have put at
//! the region's path before it is opened: nothing of it is opened, written to,
//! removed or waited for.

mod region_support;

use forebay::*;
use region_support::{skip, small, Place};
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// A parent with this mode, as `/tmp` has it or worse.
fn parent(place: &Place, mode: u32) -> String {
    let directory = place.file("parent");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
    directory
}

/// Another user than this one, to whom files are given.
const OTHER: u32 = 65_534;

/// What may lie at the path; false where this machine or user cannot make it.
fn plant(what: &str, path: &str, good: &str) -> bool {
    let copied = || fs::copy(good, path).is_ok();
    match what {
        "a symbolic link to a good region" => symlink(good, path).is_ok(),
        "a symbolic link to nothing" => symlink(format!("{good}-missing"), path).is_ok(),
        "a hard link to a good region" => fs::hard_link(good, path).is_ok(),
        "another user's region" => {
            copied() && std::os::unix::fs::chown(path, Some(OTHER), None).is_ok()
        }
        "a region that all may write" => {
            copied() && fs::set_permissions(path, PermissionsExt::from_mode(0o666)).is_ok()
        }
        "a FIFO" => Command::new("mkfifo")
            .args(["-m", "600", path])
            .status()
            .is_ok_and(|status| status.success()),
        "a socket" => std::os::unix::net::UnixListener::bind(path).is_ok(),
        "a directory" => fs::create_dir(path).is_ok(),
        other => panic!("{other}"),
    }
}

const PLANTED: [(&str, &str); 8] = [
    (
        "a symbolic link to a good region",
        "is a symbolic link, which is not followed",
    ),
    (
        "a symbolic link to nothing",
        "is a symbolic link, which is not followed",
    ),
    (
        "a hard link to a good region",
        "has 2 names (hard links), not one",
    ),
    (
        "another user's region",
        "belongs to user 65534, not to user",
    ),
    (
        "a region that all may write",
        "has mode 666, which lets in more than mode 600",
    ),
    ("a FIFO", "is not a regular file"),
    ("a socket", "is not a regular file"),
    ("a directory", "is a directory, not a regular file"),
];

fn remove(path: &str) {
    let _ = match Path::new(path).is_dir() {
        true => fs::remove_dir(path),
        false => fs::remove_file(path),
    };
}

#[test]
fn what_others_planted_in_a_sticky_directory_is_refused_and_left() {
    let place = Place::new();
    let good = place.file("good");
    drop(small(&good));
    let content = fs::read(&good).unwrap();
    let directory = parent(&place, 0o1777);
    let path = format!("{directory}/region");
    for (what, problem) in PLANTED {
        if !plant(what, &path, &good) {
            skip(
                "what_others_planted_in_a_sticky_directory_is_refused_and_left",
                format_args!("cannot make {what} here"),
            );
            remove(&path);
            continue;
        }
        let seen = |path: &str| {
            let meta = fs::symlink_metadata(path).unwrap();
            (
                meta.ino(),
                meta.mode(),
                meta.uid(),
                meta.len(),
                meta.mtime_nsec(),
            )
        };
        let before = seen(&path);
        let options = || Region::options().bytes(64 << 10);
        for options in [
            options(),
            options().create(false),
            options().fresh(true),
            options().ephemeral(true),
        ] {
            let error = options.open(&path).unwrap_err();
            assert_eq!(error.code(), Code::Permission, "{what}");
            let said = error.to_string();
            assert!(said.starts_with(&format!("{path}: {problem}")), "{said}");
        }
        assert_eq!(seen(&path), before, "{what}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "{what}");
        remove(&path);
    }
    assert!(!Path::new(&format!("{good}-missing")).exists());
    assert!(
        fs::read(&good).unwrap() == content,
        "the good one is as it was"
    );
    // With nothing in the way the directory will do.
    assert!(Region::options().bytes(64 << 10).open(&path).is_ok());
}

#[test]
fn a_directory_that_all_may_write_is_refused_whatever_lies_in_it() {
    let place = Place::new();
    let good = place.file("good");
    drop(small(&good));
    for mode in [0o777, 0o707, 0o702, 0o2777] {
        let directory = parent(&place, mode);
        let path = format!("{directory}/region");
        let expected = format!(
            "{directory}: the directory is writable by everybody (mode {mode:o}): chmod o-w it"
        );
        let refused = || Region::open(&path).unwrap_err().to_string();
        assert_eq!(refused(), expected);
        fs::copy(&good, &path).unwrap();
        assert_eq!(refused(), expected, "also where a good region is");
        for (what, _) in PLANTED {
            remove(&path);
            if plant(what, &path, &good) {
                assert_eq!(refused(), expected, "{what}");
            }
        }
        remove(&path);
        fs::remove_dir(&directory).unwrap();
    }
}
