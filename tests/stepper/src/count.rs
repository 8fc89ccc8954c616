//! How many instructions a hot call takes: the same single steps, counted.
//! `cargo xtask bench` writes the table into docs/performance.md.
//!
//! A count is that of one call, of what the calling thread executes in user
//! mode: the hash, the engine, the reading of the clock in the kernel's vDSO;
//! not what the processor does in the kernel (a hot call never goes there), and
//! not the loop around it, which is counted by itself and subtracted.

use crate::trace::{mark, Stop, Victim};
use anyhow::{ensure, Context, Result};
use forebay::breaker::Outcome;
use forebay::{take_all, Breaker, BreakerOptions, CacheOptions, Charge, Rate, Region};
use std::fmt::Write;
use std::hint::black_box;

/// Calls before the first that is counted: what is set up once is set up then.
const WARM: usize = 200;
/// Calls that are counted, one by one. Where a key lies depends on the region's
/// secret, which no two runs have in common; their median hardly does.
const COUNTED: usize = 101;
const CALLED: usize = WARM + COUNTED + 1;
/// No call executes more instructions than this.
const MOST: usize = 100_000;

/// What the loop around the calls costs: subtracted from all others.
const EMPTY: &str = "an empty loop";

/// A call, the `i`-th of its kind; whether the answer is what the name says.
type Call<'a> = &'a mut dyn FnMut(usize) -> bool;

fn key(i: usize) -> String {
    format!("user:{i:015}")
}

/// Makes all calls ready, and shows each with its name as the table has it.
fn calls(mut show: impl FnMut(&'static str, Call)) -> Result<()> {
    let region = Region::options().bytes(16 << 20).private()?;
    let plenty = region.limiter("plenty", Rate::per_second(1).burst(1_000_000))?;
    let other = region.limiter("other", Rate::per_second(1).burst(2_000_000))?;
    let empty = region.limiter("empty", Rate::per_day(1))?;
    let cache = region.cache("cache", CacheOptions::new().max_entries(4_000))?;
    let breaker = region.breaker("breaker", BreakerOptions::new())?;
    let in_a_row = BreakerOptions::new().failure_rate(None);
    let in_a_row = region.breaker("in a row", in_a_row)?;
    let histogram = region.histogram("histogram", None)?;
    let known: Vec<String> = (0..CALLED).map(key).collect();
    let fresh: Vec<String> = (0..CALLED).map(|i| key(1_000_000 + i)).collect();
    let value = [7u8; 256];
    for key in &known {
        ensure!(plenty.allow_with(key, Charge::cost(1_000)));
        ensure!(other.allow_with(key, Charge::cost(1_000)));
        ensure!(empty.allow(key));
        ensure!(cache.set(key, value));
    }
    let mut buffer = Vec::with_capacity(value.len());
    let now = Charge::default().at(region.now());
    let enter_and_leave = |breaker: &Breaker| match breaker.enter_raw() {
        Ok(permit) => breaker.leave(permit, Outcome::Success),
        Err(_) => false,
    };

    show(EMPTY, &mut |i| black_box(i) == i);
    show("`limiter.allow`, admitted", &mut |i| {
        plenty.allow(&known[i])
    });
    show("`limiter.allow`, admitted, `now` given", &mut |i| {
        plenty.allow_with(&known[i], now)
    });
    show("`limiter.allow`, refused", &mut |i| !empty.allow(&known[i]));
    show("`limiter.allow`, refused, `now` given", &mut |i| {
        !empty.allow_with(&known[i], now)
    });
    show("`limiter.allow`, a key not seen before", &mut |i| {
        plenty.allow(&fresh[i])
    });
    show("`limiter.take`, admitted", &mut |i| {
        plenty.take(&known[i]).allowed
    });
    show("`limiter.take`, refused", &mut |i| {
        !empty.take(&known[i]).allowed
    });
    show("`take_all` of two limits, admitted", &mut |i| {
        let requests = [
            plenty.request(&known[i], Charge::default()),
            other.request(&known[i], Charge::default()),
        ];
        take_all(&requests).is_ok_and(|(admitted, _)| admitted)
    });
    show("`cache.get_into`, 256 bytes", &mut |i| {
        cache.get_into(&known[i], &mut buffer).is_some()
    });
    show("`cache.get_into`, a miss", &mut |i| {
        cache.get_into(&fresh[i], &mut buffer).is_none()
    });
    show("`cache.set`, 256 bytes over 256", &mut |i| {
        cache.set(&known[i], value)
    });
    show("`breaker.enter_raw` and `leave`", &mut |_| {
        enter_and_leave(&breaker)
    });
    show("the same, failures in a row only", &mut |_| {
        enter_and_leave(&in_a_row)
    });
    show("`histogram.record_ns`", &mut |i| {
        histogram.record_ns(black_box(i as u64 * 10_000));
        true
    });
    show("`region.now`", &mut |_| black_box(region.now()) > 0);
    Ok(())
}

/// What a victim does: a mark, a call, a mark, a call, and so on.
pub fn be_victim(asked: &str) -> Result<()> {
    let mut answers = Vec::new();
    calls(|name, call| {
        if name == asked {
            answers.extend((0..WARM).map(&mut *call));
            let mut right = true;
            // From one mark to the next; what follows the last is not counted.
            for i in WARM..CALLED {
                mark();
                right &= call(i);
            }
            answers.push(right);
        }
    })?;
    ensure!(!answers.is_empty(), "no call is named {asked}");
    ensure!(
        answers.into_iter().all(|right| right),
        "{asked}: not the answer that its name says"
    );
    mark();
    Ok(())
}

/// Counts, and returns the section of the document: Markdown.
pub fn count() -> Result<String> {
    let mut names = Vec::new();
    calls(|name, _| names.push(name))?;
    let loops = steps(EMPTY)?;
    ensure!(loops[0] == loops[COUNTED - 1], "an empty loop varies");
    let loops = loops[0];
    let mut rows = Vec::new();
    for call in names.into_iter().filter(|name| *name != EMPTY) {
        let counts = steps(call).with_context(|| call.to_owned())?;
        let median = counts[COUNTED / 2];
        let of = |count: usize| count.saturating_sub(loops).to_string();
        rows.push([
            call.to_owned(),
            of(median),
            of(counts[0]),
            of(counts[COUNTED - 1]),
        ]);
    }
    let heading = ["call", "median", "least", "most"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).map(|row| row[column].len());
        cells.max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    let mut text = format!(
        "## Instructions\n\nWhat one call executes, counted by single steps (`ptrace`) in a \
         release build, {}, one thread: {COUNTED} calls each, by 20-byte string keys, one key \
         after the other. Counted is what the thread does in user mode from the call to its \
         return, with the hash and the reading of the clock, without the loop around it; a \
         repeated string instruction counts once for each repetition. The counts depend on the \
         compiler and the architecture, hardly on the machine, and not on what else it does, so \
         they can be compared between two commits. The least is the way without a detour and \
         recurs to the instruction. More are executed where a key lies behind others among its \
         slots, which the region's random secret decides, where the time of a breaker's window \
         moves on, and where the kernel changes the clock while it is read.\n\n",
        std::env::consts::ARCH
    );
    let line = |cells: &[String; 4]| {
        let [w0, w1, w2, w3] = widths;
        let [a, b, c, d] = cells;
        format!("| {a:<w0$} | {b:>w1$} | {c:>w2$} | {d:>w3$} |\n")
    };
    text += &line(&heading);
    let dashes = |column: usize| "-".repeat(widths[column] + 1);
    let _ = writeln!(
        text,
        "|{}-|{}:|{}:|{}:|",
        dashes(0),
        dashes(1),
        dashes(2),
        dashes(3)
    );
    for row in &rows {
        text += &line(row);
    }
    Ok(text)
}

/// The instructions from each mark to the next, in order of size.
fn steps(call: &str) -> Result<Vec<usize>> {
    let victim = Victim::start(&["counted", call])?;
    let mut counts = Vec::with_capacity(COUNTED);
    for _ in 0..COUNTED {
        let mut instructions = 0;
        while victim.step()? == Stop::Instruction {
            instructions += 1;
            ensure!(instructions < MOST, "it does not end");
        }
        counts.push(instructions);
    }
    // After the last call it comes to a last mark only if all answers were right.
    victim.run_to_mark()?;
    counts.sort_unstable();
    Ok(counts)
}
