//! The system calls of this crate, each made safe here: fork, signals, waiting,
//! clocks, mappings and limits.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A child of this process that has not been waited for, so that its number
/// cannot have become another's.
#[derive(Debug)]
pub struct Forked(libc::pid_t);

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is stopped.
    Stopped,
    /// It ended by itself, with this status.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
}

impl Forked {
    /// Runs `body` in a child of this process, which must have one thread; the
    /// child ends with what it returns and never comes back. It is killed when
    /// its parent dies.
    pub fn run(body: impl FnOnce() -> i32) -> Result<Forked> {
        let parent = std::process::id();
        Forked::run_untied(|| {
            die_with(parent);
            body()
        })
    }

    /// As [`Forked::run`], but it outlives its parent.
    pub fn run_untied(body: impl FnOnce() -> i32) -> Result<Forked> {
        // SAFETY: this process has one thread, so the child's copy of every
        // lock is free and it may call anything.
        match unsafe { libc::fork() } {
            -1 => Err(Error::last_os_error()),
            0 => {
                let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                // SAFETY: ends the process; destructors are not wanted, the
                // parent runs its own copies.
                unsafe { libc::_exit(status.unwrap_or(101)) }
            }
            pid => Ok(Forked(pid)),
        }
    }

    /// Kills it with SIGKILL and waits for its end: how it ended.
    pub fn kill(self) -> Result<Fate> {
        signal(self.0, libc::SIGKILL)?;
        self.end()
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Fate> {
        wait(self.0, 0)
    }

    /// Stops it and waits until it is; false if it had ended before.
    pub fn stop(&self) -> Result<bool> {
        signal(self.0, libc::SIGSTOP)?;
        // SAFETY: siginfo is plain data, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: the struct outlives the call; WNOWAIT leaves the end of
            // the child to be waited for.
            let done = unsafe {
                libc::waitid(
                    libc::P_PID,
                    self.0 as libc::id_t,
                    &mut info,
                    libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT,
                )
            };
            if done == 0 {
                return Ok(info.si_code == libc::CLD_STOPPED);
            }
            let error = Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Lets a stopped one go on.
    pub fn go_on(&self) -> Result<()> {
        signal(self.0, libc::SIGCONT)
    }
}

/// Stops, resumes or kills a child of this process that was not waited for.
pub fn signal(pid: libc::pid_t, signal: libc::c_int) -> Result<()> {
    // SAFETY: has no preconditions.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

fn wait(pid: libc::pid_t, options: libc::c_int) -> Result<Fate> {
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        let done = unsafe { libc::waitpid(pid, &mut status, options) };
        if done == pid {
            break;
        }
        let error = Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(if libc::WIFSIGNALED(status) {
        Fate::Killed(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        Fate::Stopped
    } else {
        Fate::Exited(libc::WEXITSTATUS(status))
    })
}

/// Has the kernel kill this process when `parent` ends; ends it now if it has.
pub fn die_with(parent: u32) {
    // SAFETY: sets a flag of this process; getppid and _exit cannot fail.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(0);
        }
    }
}

/// Has the kernel kill what this command starts when this thread ends.
pub fn tie(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let parent = std::process::id();
    // SAFETY: between fork and exec it makes two system calls and no more.
    unsafe {
        command.pre_exec(move || {
            die_with(parent);
            Ok(())
        })
    };
}

/// Makes this process's sleeps end on time.
pub fn sleep_exactly() {
    // SAFETY: sets a figure of this process; a refusal only costs precision.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000) };
}

/// Lowers this process's claim to the processors; children inherit it.
pub fn be_nice(by: i32) {
    // SAFETY: has no preconditions; a refusal does no harm.
    let _ = unsafe { libc::nice(by) };
}

/// Nanoseconds of the clock that all processes of the machine read alike.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct outlives the call; the clock exists everywhere.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps for so many nanoseconds.
pub fn sleep_ns(nanoseconds: u64) {
    std::thread::sleep(Duration::from_nanos(nanoseconds));
}

/// How many descriptors this process may have open: sets it, tells what it was.
pub fn limit_descriptors(most: u64) -> Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct outlives both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(Error::last_os_error());
        }
        let was = limit.rlim_cur;
        limit.rlim_cur = most.min(limit.rlim_max);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(Error::last_os_error());
        }
        Ok(was)
    }
}

/// Mounts a tmpfs of so many bytes on a directory, for this process and its
/// children only; they lose it when they end.
pub fn mount_small(directory: &str, bytes: u64) -> Result<()> {
    let path = std::ffi::CString::new(directory)?;
    let options = std::ffi::CString::new(format!("size={bytes}"))?;
    let done = |result| match result {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    };
    // SAFETY: all strings are NUL-terminated and outlive the calls.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS))?;
        // What is mounted below is not to spread to other namespaces.
        done(libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        ))?;
        done(libc::mount(
            c"tmpfs".as_ptr(),
            path.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            options.as_ptr().cast(),
        ))
    }
}

/// A file's words, mapped for this process and those that it forks.
pub struct Mapped {
    first: *const AtomicU64,
    words: usize,
}

// SAFETY: what is mapped is atomics, which stay until drop.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the whole file for reading and writing.
    pub fn new(file: &File) -> Result<Mapped> {
        let bytes = file.metadata()?.len() as usize;
        // SAFETY: a new mapping at an address of the kernel's choice; the
        // result is checked.
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
        Ok(Mapped {
            first: first.cast(),
            words: bytes / 8,
        })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped by `new` for so many words until drop, page-aligned;
        // every process accesses them as whole words.
        unsafe { std::slice::from_raw_parts(self.first, self.words) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nothing borrows from it any more.
        unsafe { libc::munmap(self.first.cast_mut().cast(), self.words * 8) };
    }
}

/// Whether another open description holds a lock on this byte of the file.
pub fn byte_is_locked(file: &File, at: i64) -> Result<bool> {
    // SAFETY: flock is plain data, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = at;
    lock.l_len = 1;
    // SAFETY: the descriptor is open and the struct outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(Error::last_os_error()),
    }
}
