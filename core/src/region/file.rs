//! Making and opening a region's file.
//!
//! A file appears complete or not at all: it is made without a name (or under
//! a temporary one), given its memory, filled in and only then named. Of
//! several processes that create at once the first wins and the others attach.
//! Who it belongs to, what it is and who may write to it are asked of the open
//! descriptor, never of the path.

use super::container;
use super::layout::*;
use super::memory::Memory;
use super::seat::SharedFile;
use super::sys::{self, Hold, Mapping};
use super::RegionOptions;
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::Arc;

/// The byte whose lock keeps the file at its path: held together by those who
/// are coming in, alone by who takes it away.
const PLACE_BYTE: i64 = (1 << 40) - 1;
/// How long to wait for that lock: turns, all but the first of a millisecond.
const PATIENCE: u32 = 5_000;
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
fn replace(path: &Path, identity: (u64, u64)) -> Result<bool> {
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

/// The standard directory lies where everybody may write: somebody may have
/// been there first, with a link to elsewhere.
fn refuse_link(directory: &Path) -> Result<()> {
    match std::fs::symlink_metadata(directory) {
        Ok(meta) if !meta.is_symlink() => Ok(()),
        Ok(_) => Err(Error::Permission {
            path: directory.to_owned(),
            problem: "is a symbolic link, which is not followed".into(),
        }),
        Err(e) => Err(Error::io(directory, "stat", &e)),
    }
}

fn check_directory(directory: &Path) -> Result<()> {
    let meta =
        std::fs::metadata(directory).map_err(|e| Error::io(directory, "open directory", &e))?;
    if !meta.is_dir() {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: "is not a directory".into(),
        });
    }
    if meta.uid() != sys::user() && meta.uid() != 0 {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: format!(
                "the directory belongs to user {}, not to user {} or root",
                meta.uid(),
                sys::user()
            ),
        });
    }
    // Others who may write could swap the file, unless the sticky bit keeps
    // them from touching what is not theirs.
    if meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0 {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: format!(
                "the directory is writable by everybody (mode {:o}): chmod o-w it",
                meta.mode() & 0o7777
            ),
        });
    }
    Ok(())
}

fn open_existing(path: &Path) -> Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        // A FIFO or a device must not block the opening.
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::ELOOP) => Error::Permission {
                path: path.to_owned(),
                problem: "is a symbolic link, which is not followed".into(),
            },
            Some(libc::EACCES) => Error::Permission {
                path: path.to_owned(),
                problem: match std::fs::symlink_metadata(path) {
                    Ok(meta) if meta.uid() != sys::user() => belongs_to(meta.uid()),
                    _ => "may not be read and written by this user".into(),
                },
            },
            Some(libc::EISDIR) => Error::Permission {
                path: path.to_owned(),
                problem: "is a directory, not a regular file".into(),
            },
            Some(libc::ENXIO | libc::ENODEV) => Error::Permission {
                path: path.to_owned(),
                problem: "is not a regular file".into(),
            },
            _ => Error::io(path, "open", &e),
        }),
    }
}

fn belongs_to(uid: u32) -> String {
    format!("belongs to user {uid}, not to user {}", sys::user())
}

fn check_file(path: &Path, file: &File, mode: u32) -> Result<()> {
    let meta = file.metadata().map_err(|e| Error::io(path, "stat", &e))?;
    let refuse = |problem: String| {
        Err(Error::Permission {
            path: path.to_owned(),
            problem,
        })
    };
    let kind = meta.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || !kind.is_file() {
        return refuse("is not a regular file".into());
    }
    let for_group = mode & 0o060 == 0o060;
    if meta.uid() != sys::user() && !for_group {
        return refuse(belongs_to(meta.uid()));
    }
    if meta.nlink() > 1 {
        return refuse(format!("has {} names (hard links), not one", meta.nlink()));
    }
    let found = meta.mode() & 0o777;
    if found & !mode != 0 {
        let mut problem =
            format!("has mode {found:o}, which lets in more than mode {mode:o}: chmod {mode:o} it");
        if RegionOptions::allows_mode(found) {
            problem += &format!(", or open it with mode {found:o}");
        }
        return refuse(problem);
    }
    Ok(())
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
        fill_header(&header, options)?;
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

fn random(path: &Path, bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|e| Error::Io {
        path: path.to_owned(),
        operation: "draw random bytes",
        errno: e.raw_os_error().unwrap_or(0),
    })
}

/// Writes a header for a region of `options.bytes` over words that are zero.
pub fn fill_header(header: &Span, options: &RegionOptions) -> Result<()> {
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
struct Machine {
    boot: (u64, u64),
    clock_offset: u64,
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

fn machine() -> Result<Machine> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_standard_directory() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(refuse_link(place.path()).is_ok());
        assert!(matches!(refuse_link(&link), Err(Error::Permission { .. })));
        assert!(matches!(
            refuse_link(&link.join("none")),
            Err(Error::Io { .. })
        ));
    }

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
