//! The Rust face: its tests, and the bad files that all faces are tested with.

use crate::shell::{cargo, run, target};
use anyhow::Result;
use std::path::PathBuf;

/// Unit, integration and documentation tests of all crates.
pub fn test() -> Result<()> {
    // Explicit packages: the bindings' modules are no programs that can run.
    let mut command = cargo();
    command.arg("test");
    for package in ["forebay", "gateway", "forebay-stepper", "forebay-torture"] {
        command.args(["--package", package]);
    }
    run(&mut command)
}

/// Writes files that are not good regions, with the error that each must give;
/// returns where.
pub fn bad_files() -> Result<PathBuf> {
    let folder = std::path::absolute(target())?.join("bad-files");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    run(cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "forebay",
            "--example",
            "bad_files",
            "--",
        ])
        .arg(&folder))?;
    Ok(folder)
}
