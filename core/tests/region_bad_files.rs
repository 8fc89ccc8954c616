//! Files that must not open: each is refused with one exact sentence, however
//! often it is tried, and is not changed by it.

#[path = "../examples/bad_files/files.rs"]
mod files;

use forebay::{Code, Region};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is said of each file after its path.
const SENTENCES: &[(&str, Code, &str)] = &[
    (
        "empty",
        Code::Corrupt,
        ": not a usable region: it holds 0 bytes, a header alone takes 27136",
    ),
    (
        "one-byte",
        Code::Corrupt,
        ": not a usable region: it holds 1 bytes, a header alone takes 27136",
    ),
    (
        "truncated-header",
        Code::Corrupt,
        ": not a usable region: it holds 1000 bytes, a header alone takes 27136",
    ),
    (
        "truncated-body",
        Code::Corrupt,
        ": not a usable region: it holds 61440 bytes, its header says 65536",
    ),
    (
        "not-whole-words",
        Code::Corrupt,
        ": not a usable region: it holds 65533 bytes, its header says 65536",
    ),
    (
        "longer-than-it-says",
        Code::Corrupt,
        ": not a usable region: it holds 69632 bytes, its header says 65536",
    ),
    (
        "random",
        Code::Corrupt,
        ": not a usable region: it does not begin with the mark of a region",
    ),
    (
        "text",
        Code::Corrupt,
        ": not a usable region: it does not begin with the mark of a region",
    ),
    (
        "zeros",
        Code::Corrupt,
        ": not a usable region: it does not begin with the mark of a region",
    ),
    (
        "magic-only",
        Code::Layout,
        ": made with layout 0 (00000000), this build reads layout {LAYOUT}",
    ),
    (
        "other-layout-version",
        Code::Layout,
        ": made with layout {VERSION + 1}, this build reads layout {LAYOUT}",
    ),
    (
        "other-fingerprint",
        Code::Layout,
        ": made with layout {FINGERPRINT ^ 1}, this build reads layout {LAYOUT}",
    ),
    (
        "other-byte-order",
        Code::Layout,
        ": made with the other byte order, this build reads this machine's",
    ),
    (
        "damaged-byte-order-mark",
        Code::Corrupt,
        ": not a usable region: its byte order mark is damaged",
    ),
    (
        "size-zero",
        Code::Corrupt,
        ": not a usable region: it holds 65536 bytes, its header says 0",
    ),
    (
        "size-huge",
        Code::Corrupt,
        ": not a usable region: it holds 65536 bytes, its header says 18446744073709551615",
    ),
    (
        "other-time-namespace",
        Code::ClockNamespace,
        ": made in another time namespace, whose clock differs",
    ),
    (
        "epoch-in-the-future",
        Code::Corrupt,
        ": not a usable region: its epoch lies in the future",
    ),
    (
        "directory",
        Code::Permission,
        ": is a directory, not a regular file",
    ),
    (
        "symbolic-link",
        Code::Permission,
        ": is a symbolic link, which is not followed",
    ),
    ("fifo", Code::Permission, ": is not a regular file"),
    (
        "two-names",
        Code::Permission,
        ": has 2 names (hard links), not one",
    ),
    (
        "mode-660",
        Code::Permission,
        ": has mode 660, which lets in more than mode 600: chmod 600 it, or open it with mode 660",
    ),
    (
        "mode-666",
        Code::Permission,
        ": has mode 666, which lets in more than mode 600: chmod 600 it",
    ),
    (
        "other-owner",
        Code::Permission,
        ": belongs to user 65534, not to user 0",
    ),
];

/// The sentence for a file, with this build's layout filled in.
fn sentence(path: &Path, rest: &str) -> String {
    let layout = layout();
    let (version, fingerprint) = (layout as u32, (layout >> 32) as u32);
    let shown = |version: u32, fingerprint: u32| format!("{version} ({fingerprint:08x})");
    let rest = rest
        .replace("{LAYOUT}", &shown(version, fingerprint))
        .replace("{VERSION + 1}", &shown(version + 1, fingerprint))
        .replace("{FINGERPRINT ^ 1}", &shown(version, fingerprint ^ 1));
    format!("{}{rest}", path.display())
}

/// The layout word of a region of this build.
fn layout() -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("good");
    let _region = Region::open(path.to_str().unwrap()).unwrap();
    let layout = u64::from_ne_bytes(fs::read(path).unwrap()[8..16].try_into().unwrap());
    assert_eq!(layout as u32, forebay::LAYOUT_VERSION);
    layout
}

/// Everything about a file that opening it could change.
#[derive(PartialEq)]
struct State {
    name: std::ffi::OsString,
    inode: u64,
    mode: u32,
    names: u64,
    modified: (i64, i64),
    content: Vec<u8>,
}

fn state(directory: &Path) -> Vec<State> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        State {
            name: entry.file_name(),
            inode: meta.ino(),
            mode: meta.mode(),
            names: meta.nlink(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            content: match meta.is_file() {
                true => fs::read(entry.path()).unwrap(),
                false => Vec::new(),
            },
        }
    });
    let mut states: Vec<State> = entries.collect();
    states.sort_by(|a, b| a.name.cmp(&b.name));
    states
}

#[test]
fn every_bad_file_is_refused_with_its_own_sentence_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let names = files::write(directory.path()).unwrap();
    let before = state(directory.path());
    for time in ["the first time", "the second time", "without create"] {
        for name in &names {
            let path = directory.path().join(name);
            let (_, code, rest) = SENTENCES
                .iter()
                .find(|(of, ..)| of == name)
                .unwrap_or_else(|| panic!("no sentence for {name}"));
            let create = time != "without create";
            let error = Region::options()
                .create(create)
                .open(path.to_str().unwrap())
                .unwrap_err();
            assert_eq!(error.to_string(), sentence(&path, rest), "{name}, {time}");
            assert_eq!(error.code(), *code, "{name}, {time}");
        }
        assert!(
            state(directory.path()) == before,
            "opening changed a file {time}"
        );
    }
    let unused = SENTENCES.iter().filter(|(name, ..)| !names.contains(name));
    for (name, ..) in unused {
        println!("SKIPPED {name}: needs root");
    }
}

#[test]
fn bad_files_can_be_written_over_those_of_an_earlier_run() {
    let directory = tempfile::tempdir().unwrap();
    let first = files::write(directory.path()).unwrap();
    assert_eq!(files::write(directory.path()).unwrap(), first);
}

#[test]
fn a_bad_file_is_replaced_by_who_asks_for_a_fresh_one_and_may_trust_it() {
    let directory = tempfile::tempdir().unwrap();
    for name in files::write(directory.path()).unwrap() {
        let path = directory.path().join(name);
        let (_, code, _) = SENTENCES.iter().find(|(of, ..)| *of == name).unwrap();
        let opened = Region::options()
            .bytes(1 << 16)
            .fresh(true)
            .open(path.to_str().unwrap());
        // Whose file it is, and what kind, no option overrides.
        match code {
            Code::Permission => assert_eq!(opened.unwrap_err().code(), Code::Permission, "{name}"),
            _ => assert_eq!(opened.unwrap().bytes(), 1 << 16, "{name}"),
        }
    }
}
