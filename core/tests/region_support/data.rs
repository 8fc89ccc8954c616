//! Recorded data that tests may read: outside the project, in the directory
//! that `FOREBAY_DATA` names, else in `shared/data` beside the repository.
//! Where it is absent, as on a user's machine, tests skip themselves by name.

#![allow(dead_code)] // each test binary uses its own part of this

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a data file; if it is absent the test is named as skipped.
pub fn file(test: &str, name: &str) -> Option<PathBuf> {
    let directory = match std::env::var_os("FOREBAY_DATA") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    let path = directory.join(name);
    if path.is_file() {
        return Some(path);
    }
    skip(test, format_args!("no {name} (set FOREBAY_DATA)"));
    None
}

/// The content of a compressed file, by the program for its kind; `None` if
/// that is not installed.
pub fn unpacked(path: &Path) -> Option<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        other => panic!("unknown kind {other:?}"),
    };
    let output = Command::new(program).arg("-dc").arg(path).output().ok()?;
    assert!(
        output.status.success(),
        "{program} cannot read {}",
        path.display()
    );
    Some(output.stdout)
}

/// Names a test that cannot run here, and why, past the harness's capture.
pub fn skip(test: &str, why: impl std::fmt::Display) {
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
