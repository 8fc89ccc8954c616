//! The bad files themselves: for each, its name and how it is made from the
//! bytes of a good region of this machine and this boot.
//!
//! Word numbers are those of `docs/layout.md`, written down here once more on
//! purpose: if the header moves without its document, the answers change.

use forebay::Region;
use std::fs::{self, Permissions};
use std::io::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Words of the header that the bad files bend.
mod word {
    pub const LAYOUT: usize = 1;
    pub const BYTE_ORDER: usize = 2;
    pub const SIZE: usize = 3;
    pub const CLOCK_OFFSET: usize = 7;
    pub const EPOCH: usize = 8;
}

/// Bytes of the good region that most of them are made from.
pub const BYTES: usize = 64 << 10;

/// Makes one bad file at a path that is free, from a good region's bytes.
type Make = fn(&Path, &[u8]) -> Result<()>;

const FILES: &[(&str, Make)] = &[
    ("empty", |path, _| fs::write(path, b"")),
    ("one-byte", |path, good| fs::write(path, &good[..1])),
    ("truncated-header", |path, good| {
        fs::write(path, &good[..1000])
    }),
    ("truncated-body", |path, good| {
        fs::write(path, &good[..BYTES - 4096])
    }),
    ("not-whole-words", |path, good| {
        fs::write(path, &good[..BYTES - 3])
    }),
    ("longer-than-it-says", |path, good| {
        fs::write(path, [good, &[0; 4096]].concat())
    }),
    ("random", |path, _| fs::write(path, noise(BYTES))),
    ("text", |path, _| {
        fs::write(path, "limits: 60 a minute, burst 90\n".repeat(2000))
    }),
    ("zeros", |path, _| fs::write(path, [0; BYTES])),
    ("magic-only", |path, good| {
        fs::write(path, [&good[..8], &[0; BYTES - 8]].concat())
    }),
    ("other-layout-version", |path, good| {
        fs::write(path, bent(good, word::LAYOUT, |w| w + 1))
    }),
    ("other-fingerprint", |path, good| {
        fs::write(path, bent(good, word::LAYOUT, |w| w ^ 1 << 32))
    }),
    ("other-byte-order", |path, good| {
        let swapped: Vec<u8> = good
            .chunks(8)
            .flat_map(|w| w.iter().rev().copied())
            .collect();
        fs::write(path, swapped)
    }),
    ("damaged-byte-order-mark", |path, good| {
        fs::write(path, bent(good, word::BYTE_ORDER, |w| w ^ 0xff00))
    }),
    ("size-zero", |path, good| {
        fs::write(path, bent(good, word::SIZE, |_| 0))
    }),
    ("size-huge", |path, good| {
        fs::write(path, bent(good, word::SIZE, |_| u64::MAX))
    }),
    ("other-time-namespace", |path, good| {
        fs::write(
            path,
            bent(good, word::CLOCK_OFFSET, |w| w.wrapping_add(1_000_000_000)),
        )
    }),
    ("epoch-in-the-future", |path, good| {
        fs::write(path, bent(good, word::EPOCH, |_| u64::MAX / 2))
    }),
    ("directory", |path, _| fs::create_dir(path)),
    ("symbolic-link", |path, good| {
        let target = path.with_extension("target");
        write_private(&target, good)?;
        std::os::unix::fs::symlink(target, path)
    }),
    ("fifo", |path, _| {
        let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is NUL-terminated and outlives the call.
        match unsafe { libc::mkfifo(name.as_ptr(), 0o600) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }),
    ("two-names", |path, good| {
        write_private(path, good)?;
        fs::hard_link(path, path.with_extension("second-name"))
    }),
    ("mode-660", |path, good| with_mode(path, good, 0o660)),
    ("mode-666", |path, good| with_mode(path, good, 0o666)),
];

/// Only root can give a file away.
const FILES_OF_ROOT: &[(&str, Make)] = &[("other-owner", |path, good| {
    write_private(path, good)?;
    std::os::unix::fs::chown(path, Some(65_534), None)
})];

/// Writes the bad files into `directory`, which is made if need be, over those
/// of an earlier run; returns their names.
pub fn write(directory: &Path) -> Result<Vec<&'static str>> {
    fs::create_dir_all(directory)?;
    let good = good_region(directory)?;
    // SAFETY: has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let files = FILES.iter().chain(FILES_OF_ROOT.iter().filter(|_| root));
    let mut names = Vec::new();
    for &(name, make) in files {
        let path = directory.join(name);
        for old in ["", "target", "second-name"] {
            remove(&path.with_extension(old))?;
        }
        make(&path, &good)?;
        // What is wrong with a file is its content: a mode that the umask
        // left open would be refused first.
        if path.symlink_metadata()?.is_file() && !name.starts_with("mode-") {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        }
        names.push(name);
    }
    Ok(names)
}

fn good_region(directory: &Path) -> Result<Vec<u8>> {
    let path = directory.join("good");
    remove(&path)?;
    let name = path
        .to_str()
        .ok_or_else(|| Error::other("the directory's name is not UTF-8"))?;
    Region::options()
        .bytes(BYTES as u64)
        .open(name)
        .map_err(Error::other)?;
    let bytes = fs::read(&path);
    remove(&path)?;
    bytes
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    with_mode(path, bytes, 0o600)
}

fn with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// The bytes with one word changed.
fn bent(good: &[u8], word: usize, change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let place = &mut bytes[word * 8..word * 8 + 8];
    let value = u64::from_ne_bytes((&*place).try_into().expect("eight bytes"));
    place.copy_from_slice(&change(value).to_ne_bytes());
    bytes
}

/// The same noise every time (xorshift64, Marsaglia 2003).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}
