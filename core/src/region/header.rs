//! What a new region's header says, and what it is compared with: this machine
//! in this boot.

use super::file::random;
use super::layout::*;
use super::{sys, RegionOptions};
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering::Release;

/// Writes a header for a region of `options.bytes` over words that are zero.
pub fn fill(header: &Span, options: &RegionOptions) -> Result<()> {
    let here = machine()?;
    let mut secret = [0u8; crate::hash::SECRET_BYTES];
    random(Path::new("region"), &mut secret)?;
    header.copy_in(AT_SECRET, &secret);
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    let flags =
        flag(options.manual_clock, FLAG_MANUAL_CLOCK) | flag(options.ephemeral, FLAG_EPHEMERAL);
    for (at, value) in [
        (AT_LAYOUT, LAYOUT),
        (AT_BYTE_ORDER, BYTE_ORDER),
        (AT_WORDS, options.bytes / 8),
        (AT_FLAGS, flags),
        (AT_BOOT, here.boot.0),
        (AT_BOOT + 1, here.boot.1),
        (AT_CLOCK_OFFSET, here.clock_offset),
        (AT_EPOCH, sys::boot_clock()),
        (AT_WALL, wall_clock()),
        (AT_MAGIC, MAGIC),
    ] {
        header.store(at, value, Release);
    }
    Ok(())
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// What distinguishes this boot of this machine.
pub struct Machine {
    /// The boot's number.
    pub boot: (u64, u64),
    /// What the time namespace adds to the boot clock, in nanoseconds.
    pub clock_offset: u64,
}

/// A file of the kernel's; `None` where there is no such thing. That it cannot
/// be read is an error: taken for another boot, it would cost a live region.
fn told_by_kernel(path: &str) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(Path::new(path), "read", &e)),
    }
}

/// This one.
pub fn machine() -> Result<Machine> {
    let boot = told_by_kernel("/proc/sys/kernel/random/boot_id")?
        .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok())
        .unwrap_or(0);
    // The namespace's identity does not matter, its boot clock's offset does.
    let clock_offset = told_by_kernel("/proc/self/timens_offsets")?
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("boottime"))?;
            let mut fields = line.split_whitespace().skip(1);
            let seconds: i64 = fields.next()?.parse().ok()?;
            let nanoseconds: i64 = fields.next()?.parse().ok()?;
            Some(
                seconds
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(nanoseconds) as u64,
            )
        })
        .unwrap_or(0);
    Ok(Machine {
        boot: ((boot >> 64) as u64, boot as u64),
        clock_offset,
    })
}
