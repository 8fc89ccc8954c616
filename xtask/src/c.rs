//! The C face: building libforebay, making its header, and running the C and
//! C++ programs of `ffi/tests` and `examples` against it.

mod header;
mod vectors;

use crate::shell::{cargo, have, output, root, run, target};
use anyhow::{ensure, Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use header::header;

/// What every C and C++ file must pass.
const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"];

/// Builds libforebay and returns the directory where it lies, with the link that
/// the dynamic linker asks for beside it.
pub fn build(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "forebay-ffi"]);
    if release {
        command.arg("--release");
    }
    run(&mut command)?;
    let folder = std::path::absolute(target())?.join(if release { "release" } else { "debug" });
    let (library, asked_for) = names();
    ensure!(
        folder.join(library).exists(),
        "cargo left no {library} in {}",
        folder.display()
    );
    // By rename, so that a program which starts meanwhile finds the old or the new.
    let fresh = folder.join(format!("{asked_for}.{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    link(library, &fresh)?;
    std::fs::rename(&fresh, folder.join(asked_for))?;
    Ok(folder)
}

/// The library as cargo names it, and as programs ask for it.
fn names() -> (&'static str, &'static str) {
    if cfg!(target_os = "macos") {
        ("libforebay.dylib", "libforebay.0.dylib")
    } else {
        ("libforebay.so", "libforebay.so.0")
    }
}

#[cfg(unix)]
fn link(library: &str, at: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(library, at)?)
}

#[cfg(not(unix))]
fn link(_library: &str, _at: &Path) -> Result<()> {
    anyhow::bail!("the C face is built on Linux and macOS only")
}

/// Builds everything and runs all tests of the C and C++ faces. Returns the
/// number of checks that passed.
pub fn test() -> Result<u64> {
    let library = build(false)?;
    let tests = Tests::new(library)?;
    vectors::write(&root().join("tests/vectors"), &tests.out.join("vectors.h"))?;
    tests.headers()?;
    tests.symbols()?;
    tests.soname()?;
    let mut passed = 0;
    for program in sorted("ffi/tests", &["c", "cpp"])? {
        if program.ends_with("allocations.c") && !cfg!(all(target_os = "linux", target_env = "gnu"))
        {
            println!("skipped: {} (needs glibc)", program.display());
            continue;
        }
        passed += tests.run(&program)?;
    }
    for folder in ["examples/c", "examples/cpp"] {
        for example in sorted(folder, &["c", "cpp"])? {
            let built = tests.compile(&example, &tests.shared())?;
            run(&mut Command::new(built))?;
        }
    }
    tests.statically()?;
    println!("C and C++: {passed} checks passed");
    Ok(passed)
}

/// The files of a folder with one of these extensions, in order.
fn sorted(folder: &str, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = root().join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|e| extensions.iter().any(|x| e == *x))
    });
    files.sort();
    ensure!(!files.is_empty(), "no tests in {}", folder.display());
    Ok(files)
}

struct Tests {
    library: PathBuf,
    /// Where everything that is made goes.
    out: PathBuf,
    c: Vec<String>,
    cpp: Vec<String>,
}

impl Tests {
    fn new(library: PathBuf) -> Result<Tests> {
        let out = std::path::absolute(target())?.join("ffi-tests");
        std::fs::create_dir_all(&out)?;
        let tests = Tests {
            library,
            out,
            c: compiler("CC", "cc"),
            cpp: compiler("CXX", "c++"),
        };
        for compiler in [&tests.c[0], &tests.cpp[0]] {
            ensure!(have(compiler), "no compiler: {compiler} (set CC and CXX)");
        }
        Ok(tests)
    }

    fn command(&self, compiler: &[String], standard: &str) -> Command {
        let mut command = Command::new(&compiler[0]);
        command
            .args(&compiler[1..])
            .arg(format!("-std={standard}"))
            .args(STRICT)
            .arg("-I")
            .arg(root().join("include"));
        command
    }

    /// Each header alone and twice, in each standard.
    fn headers(&self) -> Result<()> {
        let twice = |header: &str| {
            format!(
                "#include <{header}>\n#include <{header}>\nint unused_{};\n",
                header.len()
            )
        };
        let c = self.out.join("twice.c");
        let cpp = self.out.join("twice.cpp");
        let hpp = self.out.join("twice_hpp.cpp");
        std::fs::write(&c, twice("forebay.h"))?;
        std::fs::write(&cpp, twice("forebay.h"))?;
        std::fs::write(&hpp, twice("forebay.hpp"))?;
        let include = root().join("include");
        for standard in ["c11", "c2x"] {
            for file in [&c, &include.join("forebay.h")] {
                run(self
                    .command(&self.c, standard)
                    .args(["-fsyntax-only", "-x", "c"])
                    .arg(file))?;
            }
        }
        for standard in ["c++17", "c++20"] {
            for file in [
                &cpp,
                &hpp,
                &include.join("forebay.h"),
                &include.join("forebay.hpp"),
            ] {
                // A header given as the file to compile is the main file, so
                // `#pragma once` in it must not be complained about.
                run(self
                    .command(&self.cpp, standard)
                    .args(["-fsyntax-only", "-x", "c++"])
                    .arg(file))?;
            }
        }
        for arguments in [
            &["-DFOREBAY_NO_EXCEPTIONS"][..],
            &["-fno-exceptions"],
            &["-fno-exceptions", "-fno-rtti"],
        ] {
            for standard in ["c++17", "c++20"] {
                run(self
                    .command(&self.cpp, standard)
                    .args(["-fsyntax-only", "-x", "c++"])
                    .args(arguments)
                    .arg(&hpp))?;
            }
        }
        Ok(())
    }

    /// The exported symbols are those that were agreed on, no more and no fewer.
    fn symbols(&self) -> Result<()> {
        if cfg!(target_os = "macos") {
            println!("skipped: exported symbols (compared on Linux)");
            return Ok(());
        }
        let listed = output(
            Command::new("nm")
                .args(["-D", "--defined-only"])
                .arg(self.library.join(names().0)),
        )?;
        let mut exported: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .collect();
        exported.sort_unstable();
        let file = root().join("ffi/abi/symbols.txt");
        let agreed = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let agreed: Vec<&str> = agreed.lines().collect();
        let added: Vec<_> = exported.iter().filter(|s| !agreed.contains(s)).collect();
        let missing: Vec<_> = agreed.iter().filter(|s| !exported.contains(s)).collect();
        ensure!(
            added.is_empty() && missing.is_empty(),
            "exported symbols differ from ffi/abi/symbols.txt: added {added:?}, missing {missing:?}"
        );
        Ok(())
    }

    /// The library says what programs linked to it shall ask for.
    fn soname(&self) -> Result<()> {
        if cfg!(target_os = "macos") {
            return Ok(());
        }
        let dynamic = output(
            Command::new("readelf")
                .arg("-d")
                .arg(self.library.join(names().0)),
        )?;
        ensure!(
            dynamic.contains("[libforebay.so.0]"),
            "the library has no SONAME libforebay.so.0"
        );
        Ok(())
    }

    fn shared(&self) -> Vec<String> {
        let folder = self.library.display();
        vec![
            format!("-L{folder}"),
            "-lforebay".to_owned(),
            format!("-Wl,-rpath,{folder}"),
        ]
    }

    /// Compiles a program and links it.
    fn compile(&self, source: &Path, link: &[String]) -> Result<PathBuf> {
        let name = source.file_name().context("a file")?.to_string_lossy();
        let mut command = if name.ends_with(".c") {
            self.command(&self.c, "c11")
        } else if name == "coroutine.cpp" {
            self.command(&self.cpp, "c++20")
        } else {
            self.command(&self.cpp, "c++17")
        };
        if name == "no_exceptions.cpp" {
            command.arg("-fno-exceptions");
        }
        let built = self.out.join(name.replace('.', "_"));
        command
            .args(["-g", "-O1", "-pthread", "-I"])
            .arg(&self.out)
            .arg("-o")
            .arg(&built)
            .arg(source)
            .args(link);
        run(&mut command)?;
        Ok(built)
    }

    /// Compiles and runs one test program; returns how many of its checks passed.
    fn run(&self, source: &Path) -> Result<u64> {
        let built = self.compile(source, &self.shared())?;
        let name = source.file_name().context("a file")?.to_string_lossy();
        let said = output(Command::new(&built).env("FOREBAY_TEST_OUT", &self.out))
            .with_context(|| format!("{name} failed"))?;
        let last = said.lines().last().unwrap_or_default();
        println!(
            "{name}: {said}",
            said = said.trim_end().replace('\n', "\n    ")
        );
        if said.starts_with("skipped: ") {
            return Ok(0);
        }
        let passed = last
            .strip_suffix(" passed, 0 failed")
            .and_then(|n| n.parse::<u64>().ok())
            .with_context(|| format!("{name} did not end with a count: {last:?}"))?;
        ensure!(passed > 0, "{name} checked nothing");
        Ok(passed)
    }

    /// The static library serves as well: one example against it.
    fn statically(&self) -> Result<()> {
        let archive = self.library.join("libforebay.a");
        let mut link = vec![archive.display().to_string()];
        let libraries: &[&str] = if cfg!(target_os = "macos") {
            &["-liconv", "-lSystem", "-lc", "-lm"]
        } else {
            &[
                "-lgcc_s",
                "-lutil",
                "-lrt",
                "-lpthread",
                "-lm",
                "-ldl",
                "-lc",
            ]
        };
        link.extend(libraries.iter().map(|l| (*l).to_owned()));
        let built = self.compile(&root().join("examples/c/first.c"), &link)?;
        run(&mut Command::new(built))
    }
}

/// A compiler from the environment, which may bring arguments, or the usual one.
fn compiler(variable: &str, usual: &str) -> Vec<String> {
    let words: Vec<String> = std::env::var(variable)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        vec![usual.to_owned()]
    } else {
        words
    }
}
