//! Death after each instruction.
//!
//! A death leaves the region's memory as it is at that instruction, and drops
//! the victim's seat. So one run, a copy of the memory after each instruction
//! and a survivor for each copy stand for a death at each instruction; and at
//! every 97th (in long operations, further apart) the victim is really killed, to show that the two are the same.

use crate::image::{write, Held, Image, View};
use crate::operations::{find, Operation, ALL, REPAIRS};
use crate::quota_operations::QUOTAS;
use crate::survivor::{check, come, see, Bounds, Coming};
use crate::trace::{mark, Stop, Victim};
use crate::watch::Watch;
use crate::world::{text, Seen, World};
use anyhow::{ensure, Context, Result};
use std::collections::HashSet;
use std::path::Path;

/// How thorough to be.
pub struct Size {
    /// At most so many real kills of each operation, at every 97th instruction
    /// or further apart.
    pub kills: usize,
    /// Of each operation's states with a lock held, so many get a repairer
    /// that dies in turn.
    pub pairs: usize,
}

/// What was done and found.
#[derive(Default)]
pub struct Tally {
    /// Operations.
    pub operations: u64,
    /// Instructions executed one by one.
    pub instructions: u64,
    /// States in which a survivor was tried.
    pub states: u64,
    /// Of them with a lock held.
    pub held: u64,
    /// Processes killed.
    pub kills: u64,
    /// What should not be.
    pub violations: Vec<String>,
}

impl Tally {
    /// Adds another's figures.
    pub fn add(&mut self, other: Tally) {
        self.operations += other.operations;
        self.instructions += other.instructions;
        self.states += other.states;
        self.held += other.held;
        self.kills += other.kills;
        self.violations.extend(other.violations);
    }

    /// Keeps a result that is an error.
    pub fn note(&mut self, result: Result<()>, what: impl FnOnce() -> String) {
        if let Err(error) = result {
            self.violations.push(format!("{}: {error:#}", what()));
        }
    }
}

/// What a victim does.
pub fn be_victim(name: &str, path: &Path) -> Result<()> {
    let operation = find(name).context("no such operation")?;
    let world = World::attach(path)?;
    let ready = (operation.ready)(&world);
    mark();
    (operation.act)(&world, ready);
    mark();
    Ok(())
}

/// The memory after each instruction, where it changed: {instructions so far,
/// bytes}; the last is after the operation's end. And how many there were.
struct Pass {
    states: Vec<(usize, Vec<u8>)>,
    instructions: usize,
}

/// No operation executes more instructions than this.
const MOST: usize = 2_000_000;

fn pass(operation: &Operation, path: &Path, image: &[u8], watch: &Watch) -> Result<Pass> {
    write(path, image)?;
    let victim = Victim::start(&["victim", operation.name, text(path)?])?;
    let view = View::new(path)?;
    let mut states = vec![(0, view.copy())];
    let mut instructions = 0;
    while victim.step()? == Stop::Instruction {
        instructions += 1;
        ensure!(instructions < MOST, "the operation does not end");
        let (_, last) = states.last().expect("one at least");
        if !view.holds(last) {
            states.push((instructions, view.copy()));
            watch.beat();
        }
    }
    Ok(Pass {
        states,
        instructions,
    })
}

/// Steps through one operation.
pub fn step(
    operation: &Operation,
    path: &Path,
    size: &Size,
    watch: &Watch,
) -> Result<(Tally, Tally)> {
    watch.now(operation.name);
    let world = World::create(path)?;
    (operation.prepare)(&world);
    drop(world);
    let image = std::fs::read(path)?;
    let pass = pass(operation, path, &image, watch)?;
    let before = see(path, &pass.states[0].1)?;
    let after = see(path, &pass.states[pass.states.len() - 1].1)?;
    ensure!(
        (operation.worked)(&before, &after),
        "{}: not what the victim did: {before:?} {after:?}",
        operation.name
    );
    let mut tally = Tally {
        operations: 1,
        instructions: pass.instructions as u64,
        ..Tally::default()
    };
    let between = Bounds {
        images: vec![&before, &after],
        deaths: 1,
    };
    tally.judge(operation.name, path, &pass, &between, watch)?;
    kills(
        operation, path, &image, &pass, &between, size, &mut tally, watch,
    )?;
    let repairs = repairs(operation, path, &pass, &before, &after, size, watch)?;
    Ok((tally, repairs))
}

impl Tally {
    /// Tries survivors in each state of a pass.
    fn judge(
        &mut self,
        name: &str,
        path: &Path,
        pass: &Pass,
        bounds: &Bounds,
        watch: &Watch,
    ) -> Result<()> {
        let done = Bounds {
            images: vec![bounds.images[bounds.images.len() - 1]],
            deaths: bounds.deaths,
        };
        let mut known = HashSet::new();
        for (number, (at, bytes)) in pass.states.iter().enumerate() {
            let is_last = number + 1 == pass.states.len();
            if !known.insert(bytes) && !is_last {
                continue;
            }
            self.states += 1;
            self.held += u64::from(!Image::new(bytes).held().is_empty());
            let bounds = if is_last { &done } else { bounds };
            for coming in [Coming::InItsSeat, Coming::Beside] {
                watch.beat();
                write(path, bytes)?;
                let world = come(path, coming);
                let result = world.and_then(|world| check(path, &world, coming, bounds));
                self.note(result, || {
                    format!("{name}, after instruction {at}, {coming:?}")
                });
            }
        }
        Ok(())
    }
}

/// Real kills, for the kernel's part.
#[allow(clippy::too_many_arguments)]
fn kills(
    operation: &Operation,
    path: &Path,
    image: &[u8],
    pass: &Pass,
    bounds: &Bounds,
    size: &Size,
    tally: &mut Tally,
    watch: &Watch,
) -> Result<()> {
    let known: HashSet<u64> = pass
        .states
        .iter()
        .map(|(_, bytes)| Image::new(bytes).digest())
        .collect();
    let each = (pass.instructions / size.kills).max(97);
    let sample = (0..pass.instructions).step_by(each);
    for (turn, instructions) in sample.enumerate() {
        let coming = [Coming::Before, Coming::InItsSeat, Coming::Beside][turn % 3];
        watch.beat();
        write(path, image)?;
        let early = (coming == Coming::Before)
            .then(|| World::attach(path))
            .transpose()?;
        let victim = Victim::start(&["victim", operation.name, text(path)?])?;
        for _ in 0..instructions {
            if victim.step()? != Stop::Instruction {
                break;
            }
        }
        victim.kill();
        tally.kills += 1;
        let result = || -> Result<()> {
            let bytes = std::fs::read(path)?;
            // One that was there before has the seat that victims have else.
            ensure!(
                early.is_some() || known.contains(&Image::new(&bytes).digest()),
                "the memory is not as it was at any step"
            );
            let world = match early {
                Some(world) => world,
                None => come(path, coming)?,
            };
            check(path, &world, coming, bounds)
        };
        tally.note(result(), || {
            format!(
                "{}, killed after {instructions}, {coming:?}",
                operation.name
            )
        });
    }
    Ok(())
}

/// Repairers that die in turn, in some of the states in which a lock is held.
fn repairs(
    operation: &Operation,
    path: &Path,
    pass: &Pass,
    before: &Seen,
    after: &Seen,
    size: &Size,
    watch: &Watch,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let held: Vec<_> = pass
        .states
        .iter()
        .filter_map(|(at, bytes)| Some((at, bytes, *Image::new(bytes).held().last()?)))
        .collect();
    let each = held.len().div_ceil(size.pairs.max(1)).max(1);
    for (turn, (at, bytes, lock)) in held.into_iter().step_by(each).enumerate() {
        let repair = match lock {
            Held::Creation => &REPAIRS[4],
            Held::Events => &REPAIRS[3 + turn % 2],
            Held::Shard => &REPAIRS[turn % 4],
            Held::Permits => &REPAIRS[5],
        };
        watch.now(&format!(
            "{}, after instruction {at}, then {}",
            operation.name, repair.name
        ));
        let second = self::pass(repair, path, bytes, watch)?;
        let (_, end) = second.states.last().expect("one at least");
        let repaired = see(path, end)?;
        tally.operations += 1;
        tally.instructions += second.instructions as u64;
        let name = format!(
            "{}, after instruction {at}, then {}",
            operation.name, repair.name
        );
        if !(repair.worked)(before, &repaired) {
            tally
                .violations
                .push(format!("{name}: not done: {repaired:?}"));
        }
        let bounds = Bounds {
            images: vec![before, after, &repaired],
            deaths: 2,
        };
        tally.judge(&name, path, &second, &bounds, watch)?;
    }
    Ok(tally)
}

/// All operations whose names contain `only`.
pub fn all(only: &str) -> impl Iterator<Item = &'static Operation> + '_ {
    ALL.iter()
        .chain(&QUOTAS)
        .filter(move |operation| operation.name.contains(only))
}
