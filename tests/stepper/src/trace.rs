//! A process under `ptrace`: this program again, playing a victim, run one
//! instruction or one system call at a time, and killed.
//!
//! All calls must come from the thread that started the victim.

use anyhow::{bail, ensure, Context, Result};
use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A stopped victim. Killed when dropped.
pub struct Victim {
    pid: libc::pid_t,
    /// Whether it ended by itself: then the number may be another's by now.
    gone: Cell<bool>,
}

/// Why a victim stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It executed one instruction.
    Instruction,
    /// It enters or leaves a system call.
    Call,
    /// It raised SIGSTOP: [`mark`].
    Mark,
}

/// Says to the tracer: here it begins, or here it ends.
pub fn mark() {
    // SAFETY: raising a signal for this thread has no preconditions.
    unsafe { libc::raise(libc::SIGSTOP) };
}

impl Victim {
    /// Starts this program with these arguments and lets it run to its first mark.
    pub fn start(arguments: &[&str]) -> Result<Victim> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            command.pre_exec(
                || match libc::ptrace(libc::PTRACE_TRACEME, 0, 0usize, 0usize) {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                },
            );
        }
        let child = command.spawn().context("cannot start a traced process")?;
        let victim = Victim {
            pid: child.id() as libc::pid_t,
            gone: Cell::new(false),
        };
        // The exec stops it for the first time.
        victim.wait()?;
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        victim.request(libc::PTRACE_SETOPTIONS, options as usize)?;
        victim.run_to_mark()?;
        Ok(victim)
    }

    /// Lets it execute one instruction.
    pub fn step(&self) -> Result<Stop> {
        self.request(libc::PTRACE_SINGLESTEP, 0)?;
        self.wait()
    }

    /// Lets it run to where it enters or leaves a system call.
    pub fn run_to_call(&self) -> Result<Stop> {
        self.request(libc::PTRACE_SYSCALL, 0)?;
        self.wait()
    }

    /// Lets it run to its next mark.
    pub fn run_to_mark(&self) -> Result<()> {
        self.request(libc::PTRACE_CONT, 0)?;
        let stop = self.wait()?;
        ensure!(stop == Stop::Mark, "the victim stopped for {stop:?}");
        Ok(())
    }

    /// Kills it; when this returns, the kernel has dropped its locks.
    pub fn kill(self) {
        drop(self);
    }

    fn request(&self, request: libc::c_uint, data: usize) -> Result<()> {
        // SAFETY: none of the requests made here reads or writes our memory.
        let done = unsafe { libc::ptrace(request, self.pid, 0usize, data) };
        ensure!(
            done != -1,
            "ptrace request {request}: {}",
            std::io::Error::last_os_error()
        );
        Ok(())
    }

    fn wait(&self) -> Result<Stop> {
        let status = self.reap()?;
        if !libc::WIFSTOPPED(status) {
            bail!("the victim ended by itself: status {status:#x}");
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Ok(Stop::Instruction),
            libc::SIGSTOP => Ok(Stop::Mark),
            signal if signal == libc::SIGTRAP | 0x80 => Ok(Stop::Call),
            signal => bail!("the victim got signal {signal}"),
        }
    }

    fn reap(&self) -> Result<libc::c_int> {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, 0) };
        ensure!(
            pid == self.pid,
            "waitpid: {}",
            std::io::Error::last_os_error()
        );
        self.gone.set(!libc::WIFSTOPPED(status));
        Ok(status)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        while !self.gone.get() {
            // SAFETY: the process is our child and has not been waited for to
            // its end, so the number is its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            if self.reap().is_err() {
                break;
            }
        }
    }
}

/// Whether processes may be traced here; some sandboxes forbid it.
pub fn is_allowed() -> Result<()> {
    Victim::start(&["nobody"]).map(|_| ())
}
