//! Who is alive: each process that opens a shared region holds a seat.
//!
//! A seat is a word with an epoch in the header and a kernel-held lock on a
//! byte far beyond the file's end. The kernel drops the lock however the
//! process dies, and answers the same in every PID namespace, for zombies and
//! for reused PIDs, where `kill(pid, 0)` is wrong.
//!
//! The lock belongs to an open description of its own, of which one page is
//! mapped and not inherited by children; then the descriptor is closed. So the
//! lock lives exactly as long as this address space: closing all descriptors
//! (as daemons do) does not drop it, and a forked child does not keep its dead
//! parent alive. The child takes a seat of its own on first use. Forks wait while
//! the descriptor is open.
//!
//! A private region has one participant: this process, by its fork generation.

use super::fork_lock::{without_forks, ForkLock};
use super::layout::{AT_SEATS, SEATS};
use super::lock::{Owner, Participant};
use super::sys::{self, Hold, Mapping};
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The byte that seat 0 locks; the others follow.
const FIRST_BYTE: i64 = 1 << 40;
/// The byte that everybody holds together who has the region mapped, also a
/// forked child that has not needed a seat.
const PRESENCE_BYTE: i64 = FIRST_BYTE + SEATS as i64;

/// The file behind a shared region.
pub struct SharedFile {
    /// Its path.
    pub path: PathBuf,
    /// An open description of it, for probing seats; closed on drop, unless
    /// somebody else has closed it and its number may mean another file.
    pub file: ManuallyDrop<File>,
    /// Device and inode: a recycled descriptor number must not be believed.
    pub identity: (u64, u64),
}

impl SharedFile {
    /// The file at `path`, opened as `file`.
    pub fn new(path: &Path, file: File) -> Result<SharedFile> {
        let meta = file.metadata().map_err(|e| Error::io(path, "stat", &e))?;
        Ok(SharedFile {
            path: path.to_owned(),
            file: ManuallyDrop::new(file),
            identity: (meta.dev(), meta.ino()),
        })
    }

    /// Whether the descriptor still is this file.
    pub fn is_ours(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity)
    }

    /// Whether the path still leads to this file.
    pub fn is_at_its_path(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity)
    }

    /// Whether a live process sits in this seat. In doubt, yes.
    pub fn seat_is_live(&self, seat: usize) -> bool {
        let byte = FIRST_BYTE + seat as i64;
        self.is_locked(byte..byte + 1)
    }

    /// Says that the region is in use for as long as a process has the page
    /// that this returns: this one, or a child that inherited it.
    pub fn hold_presence(&self) -> Result<Mapping> {
        let description = self.reopen()?;
        let io = |operation| move |e| Error::io(&self.path, operation, &e);
        sys::try_lock_byte(&description, PRESENCE_BYTE, Hold::Together).map_err(io("lock"))?;
        Mapping::new(&description, 4096, false).map_err(io("map"))
    }

    /// Whether a live process sits in any seat or has the region mapped. In
    /// doubt, yes.
    pub fn is_in_use(&self) -> bool {
        // A process that is about to turn into another program is a copy of
        // its parent for a moment, and then is not.
        const PATIENCE: u32 = 130;
        if self.is_locked(FIRST_BYTE..PRESENCE_BYTE) {
            return true;
        }
        (0..PATIENCE).all(|turn| {
            sys::pause_briefly(turn);
            self.is_locked(PRESENCE_BYTE..PRESENCE_BYTE + 1)
        })
    }

    /// Whether a process holds one of these bytes. In doubt, yes.
    fn is_locked(&self, bytes: Range<i64>) -> bool {
        if self.is_ours() {
            let locked = sys::is_locked(&self.file, bytes.clone());
            if self.is_ours() {
                return locked.unwrap_or(true);
            }
        }
        // The process has closed all its descriptors, as daemons do.
        match self.reopen() {
            Ok(file) => sys::is_locked(&file, bytes).unwrap_or(true),
            Err(_) => true,
        }
    }

    /// Another open description of the same file.
    fn reopen(&self) -> Result<File> {
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let mut refused = None;
        // A number that means another file by now is not even opened.
        let ways = [(&by_descriptor, 0), (&self.path, libc::O_NOFOLLOW)];
        for (path, flags) in ways.into_iter().skip(usize::from(!self.is_ours())) {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                // What is not this file may be anything, and must not block.
                .custom_flags(flags | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(path);
            match opened.and_then(|file| Ok((file.metadata()?, file))) {
                Ok((meta, file)) if (meta.dev(), meta.ino()) == self.identity => return Ok(file),
                // Nothing there, or another file by now.
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => refused = Some(e),
            }
        }
        Err(match refused {
            Some(e) => Error::io(&self.path, "open", &e),
            None => Error::NotFound {
                what: format!("{} (it was removed while in use)", self.path.display()),
            },
        })
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: this is the end of the file's only owner.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// A seat taken; given up on drop.
struct Seat {
    number: usize,
    epoch: u64,
    generation: u64,
    /// Keeps the kernel's lock for as long as this address space has it.
    _lock: Mapping,
}

/// This process's place in a region.
pub struct Seats {
    header: Span,
    file: Option<SharedFile>,
    /// The fork generation that `owner` belongs to.
    generation: AtomicU64,
    /// This process as lock words name it.
    owner: AtomicU64,
    taken: ForkLock<Option<Seat>>,
}

impl Seats {
    /// Takes a seat in a shared region, or the only place in a private one.
    pub fn take(header: Span, file: Option<SharedFile>) -> Result<Seats> {
        let seats = Seats {
            header,
            file,
            generation: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            taken: ForkLock::new(None, || None),
        };
        seats.sit()?;
        Ok(seats)
    }

    /// The file of a shared region.
    pub fn file(&self) -> Option<&SharedFile> {
        self.file.as_ref()
    }

    /// How many live processes have the region open.
    pub fn live(&self) -> usize {
        match &self.file {
            None => 1,
            Some(file) => (0..SEATS)
                .filter(|&seat| self.header.load(AT_SEATS + seat, Relaxed) != 0)
                .filter(|&seat| file.seat_is_live(seat))
                .count(),
        }
    }

    /// Gives the seat up: for the last moment of a region in this process.
    pub fn leave(&self) {
        if let Some(seat) = self.taken.lock().take() {
            if seat.generation != sys::fork_generation() {
                // A child that never used the region: the mapping is not here.
                std::mem::forget(seat);
            }
        }
    }

    /// This process in 16 bits, for leases, which expire anyhow: {low bits of
    /// the seat's epoch 8, seat + 1 8}. The last seat has no such name: 0.
    pub fn short_name(&self) -> u64 {
        self.mine().map_or(0, short_name)
    }

    /// Whether the kernel proves that who had this short name is gone.
    pub fn short_name_is_dead(&self, name: u64) -> bool {
        let Some(seat) = (name as usize & 0xff).checked_sub(1) else {
            return false;
        };
        match &self.file {
            None => name != self.short_name(),
            Some(file) => {
                let epoch = self.header.load(AT_SEATS + seat, Acquire) % Owner::EPOCHS;
                short_name(Owner::new(seat, epoch)) != name || !file.seat_is_live(seat)
            }
        }
    }

    /// The seat that this process has, and its epoch.
    pub fn mine(&self) -> Option<Owner> {
        let generation = sys::fork_generation();
        // Acquire: pairs with the Release in `sit`, so the owner is the one of
        // that generation.
        if self.generation.load(Acquire) != generation {
            self.sit().ok()?;
        }
        Owner::of_word(self.owner.load(Relaxed))
    }

    /// The same, but `None` for a child of a fork that has not needed a seat.
    pub fn seated(&self) -> Option<Owner> {
        // Acquire: as in `mine`.
        let is_mine = self.generation.load(Acquire) == sys::fork_generation();
        Owner::of_word(self.owner.load(Relaxed)).filter(|_| is_mine)
    }

    /// Takes a seat for this process if it has none yet.
    fn sit(&self) -> Result<()> {
        let generation = sys::fork_generation();
        let mut taken = self.taken.lock();
        if self.generation.load(Acquire) == generation {
            return Ok(());
        }
        let owner = match &self.file {
            None => Owner::new(0, generation),
            Some(file) => {
                let seat = without_forks(|| find_seat(&self.header, file, generation))?;
                let owner = Owner::new(seat.number, seat.epoch);
                // In a child, the parent's mapping is not in this address
                // space: forgetting it must not unmap whatever is there now.
                if let Some(parents) = taken.replace(seat) {
                    std::mem::forget(parents);
                }
                owner
            }
        };
        self.owner.store(owner.word(), Relaxed);
        self.generation.store(generation, Release);
        Ok(())
    }
}

fn short_name(owner: Owner) -> u64 {
    match owner.seat() {
        Some(seat) if seat < 0xff => (owner.epoch() & 0xff) << 8 | (seat as u64 + 1),
        _ => 0,
    }
}

fn find_seat(header: &Span, file: &SharedFile, generation: u64) -> Result<Seat> {
    let description = file.reopen()?;
    for number in 0..SEATS {
        let io = |e| Error::io(&file.path, "lock", &e);
        if !sys::try_lock_byte(&description, FIRST_BYTE + number as i64, Hold::Alone).map_err(io)? {
            continue;
        }
        let lock =
            Mapping::new(&description, 4096, true).map_err(|e| Error::io(&file.path, "map", &e))?;
        // The predecessor is dead: from now on its epoch names nobody.
        let epoch = header.add(AT_SEATS + number, 1).wrapping_add(1) % Owner::EPOCHS;
        return Ok(Seat {
            number,
            epoch,
            generation,
            _lock: lock,
        });
    }
    Err(Error::NoSeat {
        seats: SEATS as u64,
    })
}

impl Participant for Seats {
    #[inline]
    fn owner(&self) -> Option<Owner> {
        self.mine()
    }

    fn is_dead(&self, owner: Owner) -> bool {
        match &self.file {
            None => Some(owner.epoch()) != self.mine().map(Owner::epoch),
            Some(file) => match owner.seat() {
                Some(seat) if seat < SEATS => {
                    // An earlier occupant of a seat is dead whoever sits there now.
                    let epoch = self.header.load(AT_SEATS + seat, Acquire) % Owner::EPOCHS;
                    epoch != owner.epoch() || !file.seat_is_live(seat)
                }
                _ => true,
            },
        }
    }

    fn give_way(&self) {
        sys::give_way();
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.leave();
    }
}
