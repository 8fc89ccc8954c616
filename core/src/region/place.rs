//! A file's place at its path: kept there while processes come in, and taken
//! away only when nobody is in.

use super::seat::SharedFile;
use super::sys::{self, Hold};
use super::trust::open_existing;
use crate::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The byte whose lock keeps the file at its path: held together by those who
/// are coming in, alone by who takes it away.
pub const PLACE_BYTE: i64 = (1 << 40) - 1;
/// How long to wait for that lock: turns, all but the first of a millisecond.
const PATIENCE: u32 = 5_000;

/// Somebody keeps the file from staying or going.
pub const BUSY: Error = Error::Busy {
    what: "the region's file",
};

/// The lock that keeps a file at its path.
pub struct Place(File);

impl Place {
    /// Takes it; `None` if others keep it for too long.
    fn hold(file: &File, hold: Hold) -> std::io::Result<Option<Place>> {
        let file = file.try_clone()?;
        for turn in 0..PATIENCE {
            if sys::try_lock_byte(&file, PLACE_BYTE, hold)? {
                return Ok(Some(Place(file)));
            }
            sys::pause_briefly(turn);
        }
        Ok(None)
    }

    /// Keeps the file where it is while a process takes its seat.
    pub fn keep(shared: &SharedFile) -> Result<Place> {
        Place::hold(&shared.file, Hold::Together)
            .map_err(|e| Error::io(&shared.path, "lock", &e))?
            .ok_or(BUSY)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sys::unlock_byte(&self.0, PLACE_BYTE);
    }
}

/// Takes the file of this identity away from its path so that a new one can be
/// made, but not from under a live process. True if the path leads elsewhere
/// now, whoever did it.
pub fn replace(path: &Path, identity: (u64, u64)) -> Result<bool> {
    // A description of its own: locks of one do not exclude each other.
    let again = match open_existing(path)? {
        Some(file) => SharedFile::new(path, file)?,
        None => return Ok(true),
    };
    if again.identity != identity {
        return Ok(true);
    }
    let place = Place::hold(&again.file, Hold::Alone);
    let Some(_place) = place.map_err(|e| Error::io(path, "lock", &e))? else {
        return Ok(false);
    };
    if !again.is_at_its_path() {
        return Ok(true);
    }
    // Who is not in yet cannot come in now.
    if again.is_in_use() {
        return Ok(false);
    }
    std::fs::remove_file(path).map_err(|e| Error::io(path, "remove", &e))?;
    Ok(true)
}

/// Removes an ephemeral region's file, once dropped, if no process is in it.
pub struct Farewell {
    path: PathBuf,
    identity: (u64, u64),
}

impl Farewell {
    /// To this file.
    pub fn to(shared: &SharedFile) -> Farewell {
        Farewell {
            path: shared.path.clone(),
            identity: shared.identity,
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Best effort: a failure leaves a file that the next opener reuses.
        let _ = replace(&self.path, self.identity);
    }
}
