//! For tests that need files and other processes: a directory that goes away
//! with its test, and children that play a role.
//!
//! A child is this very test binary, started again to run its test `child`,
//! which does nothing unless it was given a role. Parent and child talk in
//! lines; a child's line begins with `@`, since the test harness writes to the
//! same pipe.

#![allow(dead_code)] // each test binary uses its own part of this

use forebay::{LimiterOptions, Rate, Region};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "FOREBAY_TEST_ROLE";
const ARGUMENTS: &str = "FOREBAY_TEST_ARGUMENTS";

/// A directory for one test, in memory where there is a file system for that.
pub struct Place(tempfile::TempDir);

impl Place {
    /// A new, empty one.
    pub fn new() -> Place {
        let memory = Path::new("/dev/shm");
        Place(match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it, as text.
    pub fn file(&self, name: &str) -> String {
        self.path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    }

    /// The names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A small shared region at `path`.
pub fn small(path: &str) -> Region {
    Region::options().bytes(256 << 10).open(path).unwrap()
}

/// A limiter small enough for that, which admits so many a day.
pub fn budget(tokens: u64) -> LimiterOptions {
    LimiterOptions::new(Rate::per_day(tokens)).max_keys(12)
}

/// The words of a region's file, by the numbers of `docs/layout.md`, from
/// outside: what another process may do to it.
pub struct Words(File);

impl Words {
    /// The file at `path`.
    pub fn of(path: &str) -> Words {
        Words(File::options().read(true).write(true).open(path).unwrap())
    }

    /// The word at `index`.
    pub fn load(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, index as u64 * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Writes the word at `index`.
    pub fn store(&self, index: usize, value: u64) {
        self.0
            .write_all_at(&value.to_ne_bytes(), index as u64 * 8)
            .unwrap();
    }
}

/// Words of the header, as `docs/layout.md` numbers them.
pub mod word {
    pub const BOOT: usize = 5;
    pub const CREATION_LOCK: usize = 11;
    pub const EVENT_LOCK: usize = 12;
    pub const SEATS: usize = 64;
    pub const DIRECTORY: usize = 320;
    pub const ENTRY_WORDS: usize = 16;
    /// Within a directory entry.
    pub const ENTRY_OFFSET: usize = 7;
    pub const ENTRY_LENGTH: usize = 8;
    pub const ENTRY_GEOMETRY: usize = 9;
}

/// A process that plays a role. Killed when dropped.
pub struct Player {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Player {
    /// Starts a process in this role.
    pub fn start(role: &str, arguments: &[&str]) -> Player {
        Player::start_with(role, arguments, |_| {})
    }

    /// The same, with something done to the command first.
    pub fn start_with(
        role: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Player {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut process = command.spawn().unwrap();
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().unwrap());
        Player { process, to, from }
    }

    /// Its process number.
    pub fn pid(&self) -> libc::pid_t {
        self.process.id() as libc::pid_t
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        let to = self.to.as_mut().expect("it still listens");
        writeln!(to, "{line}").unwrap();
    }

    /// Waits for its next line; `None` if it ended.
    pub fn hear_any(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.from.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The harness leaves "test child ... " before the first line.
            if let Some((_, said)) = line.split_once('@') {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Waits for its next line.
    pub fn hear(&mut self) -> String {
        self.hear_any().expect("the child ended without a word")
    }

    /// Tells it a line and waits for the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: plain system call about a child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Kills it as the kernel does when memory is short, and waits until it is
    /// gone.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    /// Lets it come to its end, which must be a good one.
    pub fn finish(mut self) {
        let status = self.end();
        assert!(status.success(), "the child ended with {status}");
    }

    /// Lets it come to its end, whatever that is.
    pub fn ended(mut self) -> ExitStatus {
        self.end()
    }

    fn end(&mut self) -> ExitStatus {
        drop(self.to.take());
        while self.hear_any().is_some() {}
        self.process.wait().unwrap()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other side: what a child hears and says.
pub struct Stage {
    arguments: Vec<String>,
    lines: std::io::Lines<std::io::StdinLock<'static>>,
}

impl Stage {
    /// Role and stage of this process, if it is a child.
    pub fn of_child() -> Option<(String, Stage)> {
        let role = std::env::var(ROLE).ok()?;
        let arguments = std::env::var(ARGUMENTS).unwrap();
        let stage = Stage {
            arguments: arguments.lines().map(str::to_owned).collect(),
            lines: std::io::stdin().lines(),
        };
        Some((role, stage))
    }

    /// An argument that the child was started with.
    pub fn argument(&self, i: usize) -> &str {
        &self.arguments[i]
    }

    /// Says a line to the parent.
    pub fn say(&self, line: impl std::fmt::Display) {
        // One write, so that lines of several threads do not mix.
        let line = format!("@{line}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }

    /// Waits for the parent's next line; `None` if there will be none.
    pub fn hear(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.unwrap())
    }

    /// Says that it is ready and waits for the word.
    pub fn ready(&mut self) {
        self.say("ready");
        self.hear();
    }
}

/// A child made by `fork`, in a process of the test's own: it plays `part` and
/// is gone, with a good end unless that panics. A hang ends by SIGALRM.
pub fn fork(part: impl FnOnce()) -> libc::pid_t {
    // SAFETY: only this thread goes on in the child, which uses what works
    // there: the region under test, the allocator, pipes.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid > 0 {
        return pid;
    }
    // SAFETY: plain system calls.
    unsafe { libc::alarm(60) };
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));
    // SAFETY: as above; the parent's destructors are not to run here.
    unsafe { libc::_exit(i32::from(played.is_err())) }
}

/// Waits for a child made by [`fork`] and takes it from the process table.
pub fn wait_for(pid: libc::pid_t) -> ExitStatus {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    ExitStatus::from_raw(status)
}

/// Waits until the process is dead or stopped, and leaves it as it is: a dead
/// one stays a zombie.
pub fn wait_until(pid: libc::pid_t, what: libc::c_int) {
    // SAFETY: siginfo is plain data and outlives the call.
    let done = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid as _, &mut info, what | libc::WNOWAIT)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Names a test that cannot run here, and why, past the harness's capture.
#[allow(clippy::explicit_write)] // eprintln! would be captured with the test's output
pub fn skip(test: &str, why: impl std::fmt::Display) {
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
