//! Writes region files that must not open, and what each face must say of them.
//!
//! `cargo run -p forebay --example bad_files -- DIR` fills DIR and writes
//! `DIR/manifest.tsv`: file name, code number, code name and message, where
//! `{path}` stands for the file's absolute path. The test suites of all faces
//! open each file, by path and with default options, when `FOREBAY_BAD_FILES`
//! names DIR, and compare code and sentence.

mod files;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err("usage: bad_files DIRECTORY".into());
    };
    let directory = std::path::absolute(PathBuf::from(directory))?;
    let rows = manifest(&directory)?;
    std::fs::write(directory.join("manifest.tsv"), rows.concat())?;
    println!("{} bad files in {}", rows.len(), directory.display());
    Ok(())
}

fn manifest(directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for name in files::write(directory)? {
        let path = directory.join(name);
        let path = path.to_str().expect("checked when the files were made");
        let Err(error) = forebay::Region::open(path) else {
            return Err(format!("{path}: opened").into());
        };
        let (code, message) = (error.code(), error.to_string());
        rows.push(format!(
            "{name}\t{}\t{}\t{}\n",
            code as i32,
            code.name(),
            message.replace(path, "{path}")
        ));
    }
    Ok(rows)
}
