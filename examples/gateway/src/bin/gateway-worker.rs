//! A worker of the gateway, in Rust: limiter, cache, breaker, histogram.

use forebay::{CallError, Charge, Region};
use gateway::log::{self, Line};
use gateway::objects::{Objects, Setup};
use gateway::origin::{Origin, Phase};
use gateway::outcome::{Outcome, Tally};
use gateway::page;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Worker {
    objects: Objects,
    origin: Origin,
    /// The buffer that bodies are read into.
    body: Vec<u8>,
    tally: Tally,
    stored: u64,
    straddled: u64,
}

impl Worker {
    /// Serves one request; what it finds wrong is the error.
    fn serve(&mut self, request: &Line<'_>) -> Result<Outcome> {
        let Objects {
            clients,
            pages,
            origin: breaker,
            ..
        } = &self.objects;
        if !clients.allow_with(request.client, Charge::default().tier(request.tier)) {
            return Ok(Outcome::Limited);
        }
        if pages.get_into(request.path, &mut self.body).is_some() {
            return match page::difference(request.path, request.size, &self.body) {
                None => Ok(Outcome::Hit),
                Some(wrong) => Err(wrong.into()),
            };
        }
        match breaker.call(|| self.origin.work()) {
            Ok(()) => {
                self.straddled += u64::from(self.origin.phase() == Phase::Failing);
                page::body(request.path, request.size, &mut self.body);
                self.stored += u64::from(pages.set(request.path, &self.body));
                Ok(Outcome::Fetched)
            }
            Err(CallError::Rejected(_)) => Ok(Outcome::Rejected),
            Err(CallError::Failed(_)) => Ok(Outcome::Failed),
        }
    }

    /// Serves a batch and returns a letter for each request.
    fn serve_all(&mut self, requests: &[Line<'_>]) -> Result<String> {
        let mut letters = String::with_capacity(requests.len());
        for request in requests {
            let begun = Instant::now();
            let outcome = self.serve(request)?;
            self.objects.latency.record(begun.elapsed());
            self.tally.count(outcome);
            letters.push(char::from(outcome.letter()));
        }
        Ok(letters)
    }

    fn summary(&self) -> String {
        let Tally {
            served,
            limited,
            hits,
            fetched,
            failed,
            rejected,
        } = self.tally;
        let (stored, straddled) = (self.stored, self.straddled);
        format!(
            r#"{{"served":{served},"limited":{limited},"hits":{hits},"fetched":{fetched},"failed":{failed},"rejected":{rejected},"stored":{stored},"straddled":{straddled}}}"#
        )
    }
}

fn work() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, log, run, minute, max_keys] = arguments.as_slice() else {
        return Err("usage: gateway-worker REGION LOG RUN_NS MINUTE_NS MAX_KEYS".into());
    };
    let setup = Setup {
        run: Duration::from_nanos(run.parse()?),
        minute: Duration::from_nanos(minute.parse()?),
        max_keys: max_keys.parse()?,
    };
    let region = Region::options().create(false).ephemeral(true).open(name)?;
    let text = std::fs::read_to_string(log)?;
    let requests = log::read(&text)?;
    let mut worker = Worker {
        objects: Objects::declare(&region, &setup)?,
        origin: Origin {
            region,
            start: 0,
            run: setup.run,
        },
        body: Vec::new(),
        tally: Tally::default(),
        stored: 0,
        straddled: 0,
    };

    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["start", at] => worker.origin.start = at.parse()?,
            ["serve", from, to] => {
                let batch = requests.get(from.parse()?..to.parse()?);
                let letters = worker.serve_all(batch.ok_or("no such requests")?)?;
                writeln!(output, "done {from} {to} {letters}")?;
            }
            ["quit"] => {
                writeln!(output, "{}", worker.summary())?;
                break;
            }
            _ => return Err(format!("not a command: {line}").into()),
        }
    }
    Ok(())
}

fn main() {
    if let Err(error) = work() {
        println!("wrong {error}");
        std::process::exit(1);
    }
}
