//! Real processes, killed after each single instruction of each operation, and
//! at each system call of opening a region.

use crate::shell::{cargo, run, target};
use anyhow::Result;
use std::process::Command;

/// Builds the stepper as the library is shipped, optimised, and runs it.
pub fn step(quick: bool) -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "forebay-stepper"]))?;
    let mut stepper = Command::new(target().join("release/forebay-stepper"));
    if quick {
        stepper.arg("--quick");
    }
    run(&mut stepper)
}
