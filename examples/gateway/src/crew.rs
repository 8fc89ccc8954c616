//! The workers' processes: started, spoken to, listened to, and never waited for
//! without a bound. A worker that dies unasked is an error that says so.

use crate::message::{self, Message};
use anyhow::{bail, Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long a process may take to end after it has closed its output.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// How workers of one language are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    /// As the report calls it.
    pub name: &'static str,
    /// The program, and what it needs before the arguments of all workers.
    pub command: Vec<String>,
}

/// A worker's process.
struct Worker {
    title: String,
    child: Child,
    stdin: ChildStdin,
    leaving: bool,
}

/// What there is to hear of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It said something.
    Said(Message),
    /// It ended in order, after it was dismissed.
    Left,
}

/// A line of a worker's output, or (`None`) the output's end.
type Line = (usize, Option<String>);

/// All workers, those that have left too; each is known by its number from 0.
pub struct Crew {
    workers: Vec<Worker>,
    sender: Sender<Line>,
    lines: Receiver<Line>,
}

impl Default for Crew {
    fn default() -> Self {
        let (sender, lines) = mpsc::channel();
        Crew {
            workers: Vec::new(),
            sender,
            lines,
        }
    }
}

impl Crew {
    /// Starts a worker and returns its number.
    pub fn hire(&mut self, language: &Language, arguments: &[String]) -> Result<usize> {
        let number = self.workers.len();
        let title = format!("worker {} ({})", number + 1, language.name);
        let (program, first) = (language.command.split_first()).context("a command is empty")?;
        let mut child = Command::new(program)
            .args(first)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: Ctrl-C reaches the coordinator alone, which
            // ends the workers and then removes the region as its last user.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{title} cannot be started: {program}"))?;
        let stdin = child.stdin.take().expect("its input is a pipe");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines.map(Some).chain([None]) {
                if sender.send((number, line)).is_err() {
                    return; // The crew is gone.
                }
            }
        });
        self.workers.push(Worker {
            title,
            child,
            stdin,
            leaving: false,
        });
        Ok(number)
    }

    /// How errors call a worker: its number from 1, and its language.
    pub fn title(&self, worker: usize) -> &str {
        &self.workers[worker].title
    }

    /// Says a line to a worker.
    pub fn tell(&mut self, worker: usize, line: &str) -> Result<()> {
        let it = &mut self.workers[worker];
        if writeln!(it.stdin, "{line}").is_err() {
            return Err(self.obituary(worker));
        }
        Ok(())
    }

    /// Tells a worker to go: its summary follows, and then its end.
    pub fn dismiss(&mut self, worker: usize) -> Result<()> {
        self.workers[worker].leaving = true;
        self.tell(worker, "quit")
    }

    /// What there is to hear of any worker, or `None` if there is nothing within
    /// `wait`. What is wrong with a worker is the error.
    pub fn hear(&mut self, wait: Duration) -> Result<Option<(usize, Heard)>> {
        let (worker, line) = match self.lines.recv_timeout(wait) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender"),
        };
        let title = &self.workers[worker].title;
        match line.as_deref().map(message::read) {
            Some(Ok(Message::Wrong(what))) => bail!("{title} found something wrong: {what}"),
            Some(Ok(message)) => Ok(Some((worker, Heard::Said(message)))),
            Some(Err(what)) => bail!("{title} {what}"),
            None if self.workers[worker].leaving => match self.last_breath(worker) {
                Some(status) if status.success() => Ok(Some((worker, Heard::Left))),
                _ => Err(self.obituary(worker)),
            },
            None => Err(self.obituary(worker)),
        }
    }

    fn obituary(&mut self, worker: usize) -> anyhow::Error {
        let how = match self.last_breath(worker) {
            Some(status) => status.to_string(),
            None => "it closed its output, and still runs".to_owned(),
        };
        let title = &self.workers[worker].title;
        anyhow::anyhow!(
            "{title} ended before its time ({how}); what it said, if anything, is above"
        )
    }

    fn last_breath(&mut self, worker: usize) -> Option<ExitStatus> {
        let until = Instant::now() + LAST_BREATH;
        loop {
            match self.workers[worker].child.try_wait() {
                Ok(Some(status)) => return Some(status),
                _ if Instant::now() > until => return None,
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Crew {
    /// Nobody is left running, whatever went wrong.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Fails for those who have left by themselves, as it should.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Language {
        Language {
            name: "Shell",
            command: ["sh", "-c", script].map(String::from).into(),
        }
    }

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_worker_is_told_and_heard_and_leaves() {
        let mut crew = Crew::default();
        let script = r#"echo ready; read a b c; echo "done $b $c HF"; read q; \
            echo '{"served":2,"limited":0,"hits":1,"fetched":1,"failed":0,"rejected":0,"stored":1,"straddled":0}'"#;
        let worker = crew.hire(&shell(script), &[]).unwrap();
        let ready = Heard::Said(Message::Ready);
        assert_eq!(crew.hear(WAIT).unwrap(), Some((worker, ready)));
        crew.tell(worker, "serve 3 5").unwrap();
        match crew.hear(WAIT).unwrap() {
            Some((0, Heard::Said(Message::Done { batch, .. }))) => assert_eq!(batch, 3..5),
            other => panic!("{other:?}"),
        }
        crew.dismiss(worker).unwrap();
        match crew.hear(WAIT).unwrap() {
            Some((0, Heard::Said(Message::Summary(_)))) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(crew.hear(WAIT).unwrap(), Some((worker, Heard::Left)));
        assert_eq!(crew.hear(Duration::from_millis(1)).unwrap(), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let nowhere = Language {
            name: "C++",
            command: vec!["/nonexistent/worker".into()],
        };
        let error = Crew::default().hire(&nowhere, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "worker 1 (C++) cannot be started: /nonexistent/worker"
        );
    }

    #[test]
    fn a_death_is_an_error_and_not_a_hang() {
        for script in ["exit 3", "echo ready; read x; exit 3", "kill -9 $$"] {
            let mut crew = Crew::default();
            let worker = crew.hire(&shell(script), &[]).unwrap();
            let error = loop {
                match crew.hear(WAIT) {
                    Ok(Some(_)) => crew.tell(worker, "serve 0 1").unwrap(),
                    Ok(None) => panic!("no word of the death"),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(
                error.contains("worker 1 (Shell) ended before its time"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_a_worker_finds_wrong_ends_the_run() {
        for (script, says) in [
            (
                "echo wrong /a: 3 bytes; read x",
                "found something wrong: /a: 3 bytes",
            ),
            (
                "echo gibberish; read x",
                "said what no worker says: gibberish",
            ),
        ] {
            let mut crew = Crew::default();
            crew.hire(&shell(script), &[]).unwrap();
            let error = crew.hear(WAIT).unwrap_err().to_string();
            assert!(error.ends_with(says), "{error}");
        }
    }

    #[test]
    fn a_failure_on_the_way_out_counts() {
        let mut crew = Crew::default();
        let worker = crew.hire(&shell("read q; exit 1"), &[]).unwrap();
        crew.dismiss(worker).unwrap();
        assert!(crew.hear(WAIT).is_err());
    }
}
