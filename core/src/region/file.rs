//! Making and opening a region's file.
//!
//! A file appears complete or not at all: it is made without a name (or under
//! a temporary one), given its memory, filled in and only then named. Of
//! several processes that create at once the first wins and the others attach.
//! Who it belongs to, what it is and who may write to it are asked of the open
//! descriptor, never of the path.

use super::header::{self, machine};
use super::layout::*;
use super::memory::Memory;
use super::place::{replace, Place, BUSY, PLACE_BYTE};
use super::seat::SharedFile;
use super::sys::{self, Hold, Mapping};
use super::trust::{check_directory, check_file, open_existing, refuse_link};
use super::{container, RegionOptions};
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// How often opening starts over when the file changes under it.
pub const ATTEMPTS: usize = 1_000;

/// The standard path for a region's name: the layout's version is part of it,
/// so workers of two versions do not meet in a rolling deploy.
pub fn standard_path(name: &str) -> Result<PathBuf> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 48 || name.starts_with('.') || !name.bytes().all(allowed) {
        return Err(Error::invalid(
            "name",
            format_args!("{name:?}"),
            "1 to 48 letters, digits, '-', '_' or '.', not beginning with '.'; or a path with a '/'",
        ));
    }
    let given = std::env::var_os("FOREBAY_DIR").filter(|directory| !directory.is_empty());
    let directory = match given {
        Some(directory) => PathBuf::from(directory),
        None => {
            let shared = Path::new("/dev/shm");
            let parent = if shared.is_dir() {
                shared.to_owned()
            } else {
                std::env::temp_dir()
            };
            let directory = parent.join(format!("forebay-{}", sys::user()));
            let made = DirBuilder::new().mode(0o700).create(&directory);
            if let Err(e) = made {
                if e.kind() != ErrorKind::AlreadyExists {
                    return Err(Error::io(&directory, "make directory", &e));
                }
            }
            refuse_link(&directory)?;
            directory
        }
    };
    Ok(directory.join(format!("{name}.v{LAYOUT_VERSION}")))
}

/// Opens or creates the region file at `path`: its memory and the file.
pub fn open(path: &Path, options: &RegionOptions) -> Result<(Arc<Memory>, SharedFile)> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    check_directory(directory)?;
    let mut fresh = options.fresh;
    for _ in 0..ATTEMPTS {
        match open_existing(path) {
            Ok(Some(file)) => {
                check_file(path, &file, options.mode)?;
                let shared = SharedFile::new(path, file)?;
                if std::mem::take(&mut fresh) && replace(path, shared.identity)? {
                    continue;
                }
                match map(&shared) {
                    Ok(memory) => return Ok((memory, shared)),
                    Err(Error::OtherBoot { .. }) if options.create => {
                        // Nobody lives in a file from before the boot; if
                        // somebody does it is a file of this one after all.
                        if !replace(path, shared.identity)? {
                            return Err(BUSY);
                        }
                    }
                    Err(e) => return Err(e),
                }
            }
            Ok(None) if !options.create => {
                return Err(Error::NotFound {
                    what: format!("the region {}", path.display()),
                })
            }
            Ok(None) => match create(path, directory, options)? {
                Some(made) => return Ok(made),
                // Somebody else was first: attach to theirs.
                None => fresh = false,
            },
            Err(e) => return Err(e),
        }
    }
    Err(BUSY)
}

/// Maps an existing file after checking everything that its header says.
fn map(shared: &SharedFile) -> Result<Arc<Memory>> {
    let path = &shared.path;
    let corrupt = |problem: String| Error::Corrupt {
        path: path.clone(),
        problem,
    };
    let meta = shared
        .file
        .metadata()
        .map_err(|e| Error::io(path, "stat", &e))?;
    let header_bytes = (HEADER_WORDS * 8) as u64;
    let bytes = meta.len();
    if bytes < header_bytes {
        return Err(corrupt(format!(
            "it holds {bytes} bytes, a header alone takes {header_bytes}"
        )));
    }
    let Ok(length) = usize::try_from(bytes) else {
        return Err(corrupt(format!(
            "it holds {bytes} bytes, more than can be mapped"
        )));
    };
    let mapping =
        Mapping::new(&shared.file, length, false).map_err(|e| Error::io(path, "map", &e))?;
    let memory = Arc::new(Memory::Map(mapping));
    let header = Span::new(memory.clone(), 0, HEADER_WORDS).expect("at least a header is mapped");
    // Words are stored as the machine does, the mark of a region included.
    let mark = header.load(AT_MAGIC, Relaxed);
    let order = header.load(AT_BYTE_ORDER, Relaxed);
    if mark != MAGIC && mark != MAGIC.swap_bytes() {
        return Err(corrupt(
            "it does not begin with the mark of a region".into(),
        ));
    }
    if mark != MAGIC || order == BYTE_ORDER.swap_bytes() {
        return Err(Error::Layout {
            path: path.clone(),
            found: "the other byte order".into(),
            wanted: "this machine's".into(),
        });
    }
    let layout = header.load(AT_LAYOUT, Relaxed);
    if layout != LAYOUT {
        return Err(Error::Layout {
            path: path.clone(),
            found: format!("layout {} ({:08x})", layout as u32, layout >> 32),
            wanted: format!("layout {LAYOUT_VERSION} ({FINGERPRINT:08x})"),
        });
    }
    if order != BYTE_ORDER {
        return Err(corrupt("its byte order mark is damaged".into()));
    }
    let words = header.load(AT_WORDS, Relaxed);
    if words.checked_mul(8) != Some(bytes) {
        return Err(corrupt(format!(
            "it holds {bytes} bytes, its header says {}",
            words.saturating_mul(8)
        )));
    }
    let here = machine()?;
    if (
        header.load(AT_BOOT, Relaxed),
        header.load(AT_BOOT + 1, Relaxed),
    ) != here.boot
    {
        return Err(Error::OtherBoot { path: path.clone() });
    }
    if header.load(AT_CLOCK_OFFSET, Relaxed) != here.clock_offset {
        return Err(Error::ClockNamespace { path: path.clone() });
    }
    if header.load(AT_EPOCH, Relaxed) > sys::boot_clock() {
        return Err(corrupt("its epoch lies in the future".into()));
    }
    // A copy may have left zeros out; touching them on a full file system is
    // a SIGBUS.
    if meta.blocks().saturating_mul(512) < bytes {
        sys::allocate(&shared.file, bytes).map_err(|e| not_allocated(path, bytes, &e))?;
    }
    Ok(memory)
}

/// Makes the file; `None` if somebody else was first.
fn create(
    path: &Path,
    directory: &Path,
    options: &RegionOptions,
) -> Result<Option<(Arc<Memory>, SharedFile)>> {
    let bytes = options.bytes;
    let no_space = |hint: String| Error::OutOfSpace {
        path: path.to_owned(),
        needs: bytes,
        hint,
    };
    // Filling the disk first and finding out then would hurt others.
    if sys::free_bytes(directory).is_some_and(|free| bytes > free) {
        return Err(no_space(FULL.into()));
    }
    let largest = sys::file_size_limit();
    if bytes > largest {
        return Err(no_space(format!(
            "this process may make files of at most {largest} bytes; raise that (ulimit -f) or ask for fewer bytes"
        )));
    }
    if let Some(left) = container::memory_left() {
        if bytes > left {
            return Err(no_space(format!(
                "the container's memory limit leaves {left} bytes; raise it (docker --memory, resources.limits.memory) or ask for fewer bytes"
            )));
        }
    }
    let (file, temporary) = new_file(path, directory, options.mode)?;
    let (temporary, _place) = temporary.unzip();
    let finish = || -> Result<Option<(Arc<Memory>, SharedFile)>> {
        file.set_len(bytes)
            .and_then(|()| sys::allocate(&file, bytes))
            .map_err(|e| not_allocated(path, bytes, &e))?;
        let mapping =
            Mapping::new(&file, bytes as usize, false).map_err(|e| Error::io(path, "map", &e))?;
        let memory = Arc::new(Memory::Map(mapping));
        let header = Span::new(memory.clone(), 0, HEADER_WORDS).expect("bytes hold a header");
        header::fill(&header, options)?;
        let named = match &temporary {
            Some(from) => sys::rename_new(from, path),
            #[cfg(target_os = "linux")]
            None => sys::name_file(&file, path),
            #[cfg(not(target_os = "linux"))]
            None => unreachable!("only Linux has unnamed files"),
        };
        match named {
            Ok(()) => {
                let file = file.try_clone().map_err(|e| Error::io(path, "dup", &e))?;
                Ok(Some((memory, SharedFile::new(path, file)?)))
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(Error::io(path, "name", &e)),
        }
    };
    let result = finish();
    if let (Some(from), false) = (&temporary, matches!(result, Ok(Some(_)))) {
        let _ = std::fs::remove_file(from);
    }
    result
}

const FULL: &str = "the file system is full; raise it (docker --shm-size, an emptyDir's sizeLimit) or ask for fewer bytes";

fn not_allocated(path: &Path, bytes: u64, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EFBIG | libc::EDQUOT) => Error::OutOfSpace {
            path: path.to_owned(),
            needs: bytes,
            hint: FULL.into(),
        },
        _ => Error::io(path, "allocate", error),
    }
}

/// A new file in the directory: without a name, or where the file system knows
/// no unnamed files with a temporary one, and the lock that says that somebody
/// is making it.
fn new_file(path: &Path, directory: &Path, mode: u32) -> Result<(File, Option<(PathBuf, Place)>)> {
    let set_mode = |file: &File, path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        // The umask may have taken bits away.
        file.set_permissions(std::fs::Permissions::from_mode(mode))
            .map_err(|e| Error::io(path, "chmod", &e))
    };
    #[cfg(target_os = "linux")]
    match sys::unnamed_file(directory, mode) {
        Ok(file) => {
            set_mode(&file, path)?;
            return Ok((file, None));
        }
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL)
            ) => {}
        Err(e) => return Err(not_writable(directory, &e)),
    }
    sweep(directory);
    for _ in 0..ATTEMPTS {
        let mut unique = [0u8; 8];
        random(path, &mut unique)?;
        let unique = u64::from_le_bytes(unique);
        let temporary = directory.join(format!("{TEMPORARY}{unique:016x}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&temporary)
            .map_err(|e| not_writable(directory, &e))?;
        let copy = file.try_clone().map_err(|e| Error::io(path, "dup", &e))?;
        let shared = SharedFile::new(&temporary, copy)?;
        let place = Place::keep(&shared)?;
        // Before that, another creator may have swept it away.
        if shared.is_at_its_path() {
            set_mode(&file, path)?;
            return Ok((file, Some((temporary, place))));
        }
    }
    Err(BUSY)
}

/// What temporary names begin with; sixteen hexadecimal digits follow.
const TEMPORARY: &str = ".forebay-";

/// Removes the temporary files that dead creators left in the directory: those
/// of this user that nobody keeps in place. Best effort.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
        let is_ours =
            digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_ours {
            continue;
        }
        let path = entry.path();
        let Ok(Some(file)) = open_existing(&path) else {
            continue;
        };
        let usual =
            check_file(&path, &file, 0o600).is_ok() || check_file(&path, &file, 0o660).is_ok();
        let Ok(shared) = SharedFile::new(&path, file) else {
            continue;
        };
        let free = || sys::try_lock_byte(&shared.file, PLACE_BYTE, Hold::Alone);
        if usual && free().is_ok_and(|free| free) && shared.is_at_its_path() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn not_writable(directory: &Path, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EROFS | libc::EPERM) => Error::Permission {
            path: directory.to_owned(),
            problem: "the directory may not be written by this user".into(),
        },
        _ => Error::io(directory, "create in directory", error),
    }
}

/// Random bytes of the operating system's.
pub fn random(path: &Path, bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|e| Error::Io {
        path: path.to_owned(),
        operation: "draw random bytes",
        errno: e.raw_os_error().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_creators_left_is_swept_away_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = place.path().join(name);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            SharedFile::new(&path, file).unwrap()
        };
        let dead = make(".forebay-0123456789abcdef");
        let others = [
            ".forebay-0123456789abcde",
            ".forebay-0123456789abcdeg",
            "x.v1",
        ]
        .map(make);
        let making = make(".forebay-00000000000000ff");
        let kept = Place::keep(&making).unwrap();
        sweep(place.path());
        assert!(!dead.is_at_its_path());
        assert!(others.iter().all(SharedFile::is_at_its_path));
        assert!(making.is_at_its_path());
        drop(kept);
        sweep(place.path());
        assert!(!making.is_at_its_path());
    }
}
