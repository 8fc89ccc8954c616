//! The system calls that the standard library does not offer, each made safe
//! here: mapping, kernel-held locks, unnamed files, the boot clock.

use std::fs::File;
use std::io::{Error, Result};
use std::ops::Range;
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A file mapped for reading and writing, shared with other processes.
pub struct Mapping {
    first: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: the mapping is a range of plain memory that stays until drop; what
// it hands out are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes of `file`. With `stays_here`, children made
    /// by fork do not have the mapping.
    pub fn new(file: &File, bytes: usize, stays_here: bool) -> Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no
        // memory that Rust knows of; the result is checked.
        let first = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if first == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let mapping = Mapping { first, bytes };
        #[cfg(target_os = "linux")]
        if stays_here {
            // SAFETY: the range is the mapping just made.
            if unsafe { libc::madvise(first, bytes, libc::MADV_DONTFORK) } != 0 {
                return Err(Error::last_os_error());
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = stays_here;
        Ok(mapping)
    }

    /// The mapped words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, readable and writable for
        // `bytes` bytes until `self` is dropped, and every access to it in
        // every process is by 64-bit atomics. (A file that is cut short under
        // a live mapping raises SIGBUS; docs/caveats.md says who can do that.)
        unsafe { std::slice::from_raw_parts(self.first.cast(), self.bytes / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and nothing borrows from it any more.
        unsafe { libc::munmap(self.first, self.bytes) };
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const OFD_SETLK: libc::c_int = libc::F_OFD_SETLK;
#[cfg(any(target_os = "linux", target_os = "android"))]
const OFD_GETLK: libc::c_int = libc::F_OFD_GETLK;
#[cfg(target_os = "macos")]
const OFD_SETLK: libc::c_int = 90;
#[cfg(target_os = "macos")]
const OFD_GETLK: libc::c_int = 92;

fn lock_of(kind: libc::c_int, bytes: Range<i64>) -> libc::flock {
    // SAFETY: flock is plain data, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = bytes.start as _;
    lock.l_len = (bytes.end - bytes.start) as _;
    lock
}

/// How a byte is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// By one description only.
    Alone,
    /// By any number of them, but by nobody alone.
    Together,
}

/// Tries to lock one byte of the file for this open description. The kernel
/// drops the lock when the description goes, however its owner dies.
pub fn try_lock_byte(file: &File, at: i64, hold: Hold) -> Result<bool> {
    let lock = match hold {
        Hold::Alone => lock_of(libc::F_WRLCK as _, at..at + 1),
        Hold::Together => lock_of(libc::F_RDLCK as _, at..at + 1),
    };
    // SAFETY: the descriptor is open and the struct outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Gives the lock back, also where a fork has left a copy of the descriptor.
pub fn unlock_byte(file: &File, at: i64) {
    let lock = lock_of(libc::F_UNLCK as _, at..at + 1);
    // SAFETY: the descriptor is open and the struct outlives the call, which
    // cannot fail for a descriptor that was locked.
    unsafe { libc::fcntl(file.as_raw_fd(), OFD_SETLK, &lock) };
}

/// Whether another open description holds a lock on one of those bytes.
pub fn is_locked(file: &File, bytes: Range<i64>) -> Result<bool> {
    let mut lock = lock_of(libc::F_WRLCK as _, bytes);
    // SAFETY: the descriptor is open and the struct outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), OFD_GETLK, &mut lock) } != 0 {
        return Err(Error::last_os_error());
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Gives a file of that many bytes its memory, so that no later store can fail.
#[cfg(target_os = "linux")]
pub fn allocate(file: &File, bytes: u64) -> Result<()> {
    // A signal interrupts the call and undoes it, so steps are short enough to
    // get through between the ticks of a profiler.
    const STEP: u64 = 4 << 20;
    let mut at = 0;
    while at < bytes {
        let step = STEP.min(bytes - at);
        // SAFETY: the descriptor is open for writing.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), at as _, step as _) } {
            0 => at += step,
            libc::EINTR => {}
            errno => return Err(Error::from_raw_os_error(errno)),
        }
    }
    Ok(())
}

/// Elsewhere memory is had when it is used.
#[cfg(not(target_os = "linux"))]
pub fn allocate(_file: &File, _bytes: u64) -> Result<()> {
    Ok(())
}

/// The largest file that this process may make; beyond it the kernel sends a
/// deadly signal.
pub fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct outlives the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

/// Bytes free in the file system of this directory, if it is limited.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let path = c_path(directory).ok()?;
    // SAFETY: statvfs is plain data, for which zeros are valid.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated and the struct outlives the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 || stat.f_blocks == 0 {
        return None;
    }
    // The types differ between systems.
    #[allow(clippy::unnecessary_cast)]
    Some((stat.f_bfree as u64).saturating_mul(stat.f_frsize as u64))
}

fn c_path(path: &Path) -> Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::from_raw_os_error(libc::EINVAL))
}

/// Makes a file in `directory` that has no name yet, where the file system can.
#[cfg(target_os = "linux")]
pub fn unnamed_file(directory: &Path, mode: u32) -> Result<File> {
    let path = c_path(directory)?;
    // SAFETY: the path is NUL-terminated; the result is checked.
    let fd = unsafe {
        libc::open(
            path.as_ptr(),
            libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC,
            mode as libc::c_uint,
        )
    };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Gives an unnamed file its name; `AlreadyExists` if that is taken.
#[cfg(target_os = "linux")]
pub fn name_file(file: &File, path: &Path) -> Result<()> {
    let from = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .expect("digits hold no NUL");
    let to = c_path(path)?;
    // SAFETY: both paths are NUL-terminated.
    let done = unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// Renames unless the new name is taken (`AlreadyExists`).
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    #[cfg(target_os = "linux")]
    // SAFETY: both paths are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    #[cfg(target_os = "macos")]
    // SAFETY: both paths are NUL-terminated.
    let done = unsafe { libc::renamex_np(from.as_ptr(), to.as_ptr(), libc::RENAME_EXCL) };
    if done == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// The effective user.
pub fn user() -> u32 {
    // SAFETY: has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// Nanoseconds of the clock that counts from boot, suspension included, and
/// never goes back.
#[inline]
pub fn boot_clock() -> u64 {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // macOS counts suspension in this one; Miri knows no other.
    #[cfg(any(miri, not(any(target_os = "linux", target_os = "android"))))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct outlives the call; the clock exists on every kernel
    // that this builds for.
    unsafe { libc::clock_gettime(CLOCK, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A number that differs between a process and every child it forks.
///
/// Linux wipes one page in children; noticing that costs one load.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn fork_generation() -> u64 {
    use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
    use std::sync::OnceLock;

    struct Page(*const AtomicU64);
    // SAFETY: the pointer is to one atomic word that is never unmapped.
    unsafe impl Send for Page {}
    // SAFETY: as above.
    unsafe impl Sync for Page {}

    static PAGE: OnceLock<Page> = OnceLock::new();
    static LAST: AtomicU64 = AtomicU64::new(0);

    let page = PAGE.get_or_init(|| {
        // SAFETY: a fresh anonymous private page, never unmapped; zero bytes
        // are a valid AtomicU64. If there is no memory for one page the word
        // is an ordinary static, and a fork goes unnoticed.
        unsafe {
            let page = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if page == libc::MAP_FAILED || libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
                static FALLBACK: AtomicU64 = AtomicU64::new(0);
                return Page(&FALLBACK);
            }
            Page(page.cast())
        }
    });
    // SAFETY: see above: always a live word.
    let word = unsafe { &*page.0 };
    match word.load(Acquire) {
        0 => {
            // First use here: in a child, LAST still holds the parent's number.
            let mine = LAST.fetch_add(1, Relaxed) + 1;
            match word.compare_exchange(0, mine, AcqRel, Acquire) {
                Ok(_) => mine,
                Err(other_thread) => other_thread,
            }
        }
        known => known,
    }
}

/// A number that differs between a process and every child it forks.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub fn fork_generation() -> u64 {
    u64::from(std::process::id())
}

/// Has the C library call these around each fork: before it, and after it in
/// the parent and in the child. False if it cannot.
pub fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    #[cfg(miri)]
    return false;
    // SAFETY: the functions are there as long as this library; the C library
    // forgets them when it is unloaded.
    #[cfg(not(miri))]
    unsafe {
        libc::pthread_atfork(Some(before), Some(parent), Some(child)) == 0
    }
}

/// Waits until a word is not `seen` any more or somebody wakes those who wait
/// on it, or for so long, and not for more than a second; it may return before.
pub fn wait_on(word: &AtomicU64, seen: u64, at_most: Duration) {
    let at_most = at_most.min(Duration::from_secs(1));
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        let time = libc::timespec {
            tv_sec: at_most.as_secs() as _,
            tv_nsec: at_most.subsec_nanos() as _,
        };
        // The kernel compares 32 bits. A change that leaves those as they were
        // is seen after a second.
        // SAFETY: the word is mapped and aligned, and the time outlives the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                low_half(word),
                libc::FUTEX_WAIT,
                seen as u32,
                &time as *const libc::timespec,
            )
        };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    if word.load(std::sync::atomic::Ordering::Acquire) == seen {
        std::thread::sleep(at_most.min(Duration::from_millis(1)));
    }
}

/// Wakes all who wait on a word, in any process.
pub fn wake_all(word: &AtomicU64) {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the word is mapped and aligned.
    unsafe {
        libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAKE, i32::MAX)
    };
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = word;
}

/// The half of a word that changes first.
#[cfg(all(target_os = "linux", not(miri)))]
fn low_half(word: &AtomicU64) -> *const u32 {
    let first: *const u32 = word.as_ptr().cast();
    first.wrapping_add(usize::from(cfg!(target_endian = "big")))
}

/// Lets another thread run.
pub fn give_way() {
    std::thread::yield_now();
}

/// Waits for what usually takes microseconds: the first turns only let others
/// run, the later ones sleep for a millisecond.
pub fn pause_briefly(turn: u32) {
    if turn < 100 {
        give_way();
    } else {
        std::thread::sleep(Duration::from_millis(1));
    }
}
