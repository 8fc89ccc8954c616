//! Making and opening a region's file.
//!
//! A file appears complete or not at all: it is made without a name (or under
//! a temporary one), given its memory, filled in and only then named. Of
//! several processes that create at once the first wins and the others attach.
//! Who it belongs to, what it is and who may write to it are asked of the open
//! descriptor, never of the path.

use super::layout::*;
use super::memory::Memory;
use super::seat::SharedFile;
use super::sys::{self, Mapping};
use super::RegionOptions;
use crate::words::{Span, Words};
use crate::{Error, Result};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::Arc;

/// The byte whose lock says that the file is being replaced.
const REPLACE_BYTE: i64 = (1 << 40) - 1;
/// How often opening starts over when the file changes under it.
const ATTEMPTS: usize = 100;

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
    let directory = match std::env::var_os("FOREBAY_DIR") {
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
            directory
        }
    };
    Ok(directory.join(format!("{name}.v{LAYOUT_VERSION}")))
}

/// Opens or creates the region file at `path`: its memory, the file, and
/// whether this call created it.
pub fn open(path: &Path, options: &RegionOptions) -> Result<(Arc<Memory>, SharedFile, bool)> {
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
                if fresh {
                    // Ignored, by design, while another process is in the region.
                    if replace(&shared, true)? {
                        fresh = false;
                        continue;
                    }
                    fresh = false;
                }
                match map(&shared) {
                    Ok(memory) => return Ok((memory, shared, false)),
                    Err(Error::OtherBoot { .. }) if options.create => {
                        replace(&shared, false)?;
                        continue;
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
                Some((memory, shared)) => return Ok((memory, shared, true)),
                // Somebody else was first: attach to theirs.
                None => fresh = false,
            },
            Err(e) => return Err(e),
        }
    }
    Err(Error::Busy {
        what: "the region's file",
    })
}

/// Removes the file so that a new one can be made, unless it is in use (with
/// `if_unused`); true if this call or another process did.
fn replace(shared: &SharedFile, if_unused: bool) -> Result<bool> {
    let io = |e| Error::io(&shared.path, "lock", &e);
    // The lock falls with this description, however this call ends.
    let lock = match open_existing(&shared.path)? {
        Some(file) => SharedFile::new(&shared.path, file)?,
        None => return Ok(true),
    };
    if lock.identity != shared.identity {
        return Ok(true);
    }
    if !sys::try_lock_byte(&lock.file, REPLACE_BYTE).map_err(io)? {
        sys::give_way();
        return Ok(true);
    }
    if if_unused && (0..SEATS).any(|seat| shared.seat_is_live(seat)) {
        return Ok(false);
    }
    if lock.is_at_its_path() {
        std::fs::remove_file(&shared.path).map_err(|e| Error::io(&shared.path, "remove", &e))?;
    }
    Ok(true)
}

/// Removes an ephemeral region's file if no process is in it any more.
pub fn remove_if_unused(shared: &SharedFile) {
    // Best effort: a failure leaves a file that the next opener reuses.
    let _ = replace(shared, true);
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
    let bits = meta.mode() & 0o777;
    if bits & !mode != 0 {
        let remedy = if bits & !0o660 == 0 {
            "to 600, or open it with mode 660"
        } else {
            "to 600"
        };
        return refuse(format!(
            "has mode {bits:o}, which lets in others than mode {mode:o} does: chmod it {remedy}"
        ));
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
    if header.load(AT_MAGIC, Relaxed) != MAGIC {
        return Err(corrupt(
            "it does not begin with the mark of a region".into(),
        ));
    }
    let order = header.load(AT_BYTE_ORDER, Relaxed);
    if order == BYTE_ORDER.swap_bytes() {
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
    let here = machine();
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
    if let Some(left) = container_memory_left() {
        if bytes > left {
            return Err(no_space(format!(
                "the container's memory limit leaves {left} bytes; raise it (docker --memory, resources.limits.memory) or ask for fewer bytes"
            )));
        }
    }
    let (file, temporary) = new_file(path, directory, options.mode)?;
    let finish = || -> Result<Option<(Arc<Memory>, SharedFile)>> {
        sys::allocate(&file, bytes).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOSPC | libc::EFBIG | libc::EDQUOT) => no_space(
                "the file system is full; raise it (docker --shm-size, an emptyDir's sizeLimit) or ask for fewer bytes"
                    .into(),
            ),
            _ => Error::io(path, "allocate", &e),
        })?;
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

/// A new file in the directory: without a name, or with a temporary one where
/// the file system knows no unnamed files.
fn new_file(path: &Path, directory: &Path, mode: u32) -> Result<(File, Option<PathBuf>)> {
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
    let mut unique = [0u8; 8];
    random(path, &mut unique)?;
    let temporary = directory.join(format!(".forebay-{:016x}", u64::from_le_bytes(unique)));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary)
        .map_err(|e| not_writable(directory, &e))?;
    set_mode(&file, path)?;
    Ok((file, Some(temporary)))
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
    let here = machine();
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

fn machine() -> Machine {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok())
        .unwrap_or(0);
    // The namespace's identity does not matter, its boot clock's offset does.
    let clock_offset = std::fs::read_to_string("/proc/self/timens_offsets")
        .ok()
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
    Machine {
        boot: ((boot >> 64) as u64, boot as u64),
        clock_offset,
    }
}

/// What the control group lets this process still allocate, if it has a limit.
/// Clean file pages count as free: the kernel drops them when memory is short.
fn container_memory_left() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut directory = PathBuf::from("/sys/fs/cgroup");
    directory.push(group.trim_start_matches('/'));
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat")?;
    let field = |name: &str| -> u64 {
        stat.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(field, _)| *field == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0)
    };
    let droppable = field("file").saturating_sub(field("shmem"));
    Some(limit.saturating_sub(used.saturating_sub(droppable)))
}
