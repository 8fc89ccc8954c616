//! Death at the entry and at the exit of each system call that opens a region.

use crate::steps::Tally;
use crate::survivor::work;
use crate::trace::{mark, Stop, Victim};
use crate::watch::Watch;
use crate::world::{options, text, World};
use anyhow::{ensure, Context, Result};
use forebay::{Region, RegionOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

/// What is opened, and how.
pub struct Opening {
    /// What reports call it, and the victim's argument.
    pub name: &'static str,
    /// What is there before.
    there: There,
    /// How the victim opens.
    how: fn(RegionOptions) -> RegionOptions,
    /// Whether the file system knows unnamed files.
    unnamed: bool,
    /// Whether the victim dies while it leaves instead.
    leaving: bool,
    /// Whether somebody else creates the region as soon as the victim's
    /// temporary file is there.
    rival: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// A region in which [`SPENDER`] has spent its tokens.
    Region,
    /// The same, but made before the last boot.
    OtherBoot,
}

/// A client whose spent tokens show that the old region is still there.
const SPENDER: &str = "c0";

/// All of them.
pub const ALL: [Opening; 8] = [
    Opening {
        name: "open: create",
        there: There::Nothing,
        how: |options| options,
        unnamed: true,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "open: create without unnamed files",
        there: There::Nothing,
        how: |options| options,
        unnamed: false,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "open: lose the race without unnamed files",
        there: There::Nothing,
        how: |options| options,
        unnamed: false,
        leaving: false,
        rival: true,
    },
    Opening {
        name: "open: attach",
        there: There::Region,
        how: |options| options,
        unnamed: true,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "open: replace an unused region",
        there: There::Region,
        how: |options| options.fresh(true),
        unnamed: true,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "open: replace one without unnamed files",
        there: There::Region,
        how: |options| options.fresh(true),
        unnamed: false,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "open: replace one of another boot",
        there: There::OtherBoot,
        how: |options| options,
        unnamed: true,
        leaving: false,
        rival: false,
    },
    Opening {
        name: "leave: an ephemeral region",
        there: There::Nothing,
        how: |options| options.ephemeral(true),
        unnamed: true,
        leaving: true,
        rival: false,
    },
];

/// What a victim does.
pub fn be_victim(name: &str, path: &Path) -> Result<()> {
    let region = open(name, path, mark)?;
    mark();
    drop(region);
    mark();
    Ok(())
}

/// What a process does that comes after a death.
pub fn be_next(name: &str, path: &Path) -> Result<()> {
    work(&open(name, path, || ())?)
}

fn open(name: &str, path: &Path, ready: fn()) -> Result<Region> {
    let opening = ALL.iter().find(|opening| opening.name == name);
    let opening = opening.context("no such opening")?;
    if !opening.unnamed {
        refuse_unnamed_files()?;
    }
    let options = (opening.how)(options());
    ready();
    options.open(text(path)?).context("open")
}

/// From now on the kernel refuses this process unnamed files, as it does on
/// file systems that have none.
fn refuse_unnamed_files() -> Result<()> {
    const NUMBER: u32 = 0;
    const FLAGS: u32 = 16 + 2 * 8;
    // O_TMPFILE has O_DIRECTORY in it.
    let tmpfile = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32;
    let line = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let any_bit = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        line(load, NUMBER, 0, 0),
        line(equal, libc::SYS_openat as u32, 0, 3),
        line(load, FLAGS, 0, 0),
        line(any_bit, tmpfile, 0, 1),
        line(answer, refuse, 0, 0),
        line(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter outlive the calls, which copy them.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                std::ptr::addr_of!(program),
            ) == 0
    };
    ensure!(done, "seccomp: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Figures of one opening.
#[derive(Default)]
pub struct Calls {
    /// Points at which the victim was killed.
    pub points: u64,
    /// Files under temporary names that deaths left, until the next creation.
    pub temporary: u64,
}

/// Kills a victim at each system call of an opening.
pub fn step(opening: &Opening, place: &Path, watch: &Watch, tally: &mut Tally) -> Result<Calls> {
    let mut calls = Calls::default();
    let directory = place.join("opening");
    let path = directory.join("region");
    loop {
        watch.now(opening.name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::DirBuilder::new().mode(0o700).create(&directory)?;
        opening.prepare(&path)?;
        let victim = Victim::start(&["opener", opening.name, text(&path)?])?;
        if opening.leaving {
            victim.run_to_mark()?;
        }
        let (mut done, mut rival) = (false, None);
        for _ in 0..=calls.points {
            done = victim.run_to_call()? == Stop::Mark;
            if done {
                break;
            }
            if opening.rival && rival.is_none() && !others(&directory, &path)?.is_empty() {
                rival = Some(options().open(text(&path)?)?);
            }
        }
        victim.kill();
        drop(rival);
        calls.points += 1;
        tally.kills += 1;
        let result = opening.check(&directory, &path, done, &mut calls);
        tally.note(result, || {
            format!("{}, system call stop {}", opening.name, calls.points)
        });
        if done {
            break;
        }
        ensure!(calls.points < 5_000, "the opening does not end");
    }
    // Else the file system's lack was not imitated.
    ensure!(
        opening.unnamed || calls.temporary > 0,
        "no temporary name was ever used"
    );
    Ok(calls)
}

impl Opening {
    fn prepare(&self, path: &Path) -> Result<()> {
        if self.there == There::Nothing {
            return Ok(());
        }
        let world = World::create(path)?;
        while world.limiter.allow(SPENDER) {}
        drop(world);
        if self.there == There::OtherBoot {
            let mut bytes = std::fs::read(path)?;
            bytes[5 * 8] ^= 1;
            crate::image::write(path, &bytes)?;
        }
        Ok(())
    }

    /// What is there is whole, the next one can open it, and nothing is left.
    fn check(&self, directory: &Path, path: &Path, done: bool, calls: &mut Calls) -> Result<()> {
        let temporary = others(directory, path)?;
        ensure!(self.unnamed || temporary.len() <= 1, "left: {temporary:?}");
        ensure!(!self.unnamed || temporary.is_empty(), "left: {temporary:?}");
        calls.temporary += temporary.len() as u64;
        let exists = path.exists();
        match (self.there, self.leaving, done) {
            (There::Region, ..) if exists => {
                let world = options().create(false).open(text(path)?)?;
                let spent = match world.limiter("api", None) {
                    Ok(limiter) => limiter.peek(SPENDER).remaining == 0,
                    Err(_) => false,
                };
                let replaces = self.name.contains("replace");
                ensure!(replaces || spent, "the old region's state is lost");
                ensure!(
                    !(replaces && done && spent),
                    "the old region was not replaced"
                );
            }
            (There::Region, ..) => ensure!(self.name.contains("replace"), "the region is gone"),
            (There::Nothing, true, true) => ensure!(!exists, "the ephemeral region stays"),
            (_, _, true) => ensure!(exists, "there is no region"),
            _ => {}
        }
        // The next one, on the same file system; first where the dead one was,
        // then in a new file, which sweeps what the dead one left.
        next(self, path)?;
        if !temporary.is_empty() {
            next(self, &directory.join("another"))?;
            std::fs::remove_file(directory.join("another"))?;
        }
        let left = others(directory, path)?;
        ensure!(left.is_empty(), "left for good: {left:?}");
        Ok(())
    }
}

fn next(opening: &Opening, path: &Path) -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["next", opening.name, text(path)?])
        .output()?;
    ensure!(
        output.status.success(),
        "the next one: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The names in the directory but for the region's.
fn others(directory: &Path, path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.path() != path {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
