//! The Python package: built by cargo alone, tested in an environment of its own.
//!
//! `python3` is the interpreter unless the variable `PYTHON` names another.

use crate::shell::{cargo, output, root, run, target};
use anyhow::{bail, Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Python that the module works with (its stable ABI).
const OLDEST: (u32, u32) = (3, 11);

/// What the tests need and users do not, pinned.
const TEST_PACKAGES: [&str; 6] = [
    "pytest==9.2.0",
    "mypy==2.4.1",
    "limits==5.8.0",
    "flask-limiter==4.1.1",
    "slowapi==0.1.10",
    "starlette==1.10.0",
];

/// Builds the package and lays it out as an import finds it: the directory that
/// is returned goes on `PYTHONPATH`.
pub fn build(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["build", "--package", "forebay-python"])
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        .env("PYO3_NO_PYTHON", "1");
    if release {
        command.arg("--release");
    }
    run(&mut command)?;

    let profile = target().join(if release { "release" } else { "debug" });
    let library = format!(
        "{}forebay_python{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let path = target().join("python");
    let package = path.join("forebay");
    let sources = root().join("bindings/python/python/forebay");
    fs::create_dir_all(&package).with_context(|| format!("create {}", package.display()))?;
    for entry in fs::read_dir(&sources)? {
        let file = entry?.path();
        if file.is_file() {
            install(
                &file,
                &package.join(file.file_name().expect("a listed file")),
            )?;
        }
    }
    // A file of the last build that the sources no longer have must not import.
    for entry in fs::read_dir(&package)? {
        let file = entry?.path();
        let name = file.file_name().expect("a listed file");
        if file.is_file() && name != MODULE && !sources.join(name).exists() {
            fs::remove_file(&file)?;
        }
    }
    install(&profile.join(library), &package.join(MODULE))?;
    Ok(path)
}

/// The module's file: the stable ABI's suffix, the same on Linux and macOS.
const MODULE: &str = "_core.abi3.so";

/// Builds the package and runs everything that proves it: the tests, the stub
/// against the module, the types of the package and of a program that uses it.
pub fn test() -> Result<()> {
    let package = build(false)?;
    let python = environment()?;
    let here = root().join("bindings/python");
    let command = |module: &str| {
        let mut command = Command::new(&python);
        command
            .current_dir(&here)
            .env("PYTHONPATH", &package)
            .env("MYPYPATH", &package)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", module]);
        command
    };
    // Its closing line counts what ran; with nothing collected it fails.
    let cache = format!("cache_dir={}", target().join("pytest").display());
    run(command("pytest").args(["-q", "-o", &cache]))?;
    let cache = target().join("mypy");
    run(command("mypy.stubtest").arg("forebay"))?;
    run(command("mypy")
        .arg("--strict")
        .arg("--cache-dir")
        .arg(cache)
        .args(["tests", "../../examples/python"])
        .arg(package.join("forebay")))
}

/// An environment with the test packages, made once and kept under `target`.
fn environment() -> Result<PathBuf> {
    let interpreter: OsString =
        std::env::var_os("PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let shown = interpreter.to_string_lossy().into_owned();
    let version = output(Command::new(&interpreter).args([
        "-c",
        "import sys; print(*sys.version_info[:2]); print(sys.executable)",
    ]))
    .with_context(|| format!("{shown} is needed for the Python tests (PYTHON names another)"))?;
    let numbers = version.lines().next().unwrap_or_default();
    let mut numbers = numbers.split(' ').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("{shown} does not say its version: {version:?}");
    };
    if (major, minor) < OLDEST {
        bail!(
            "{shown} is Python {major}.{minor}; forebay needs {}.{} or later (PYTHON names another)",
            OLDEST.0,
            OLDEST.1
        );
    }

    let venv = target().join("venv");
    let python = venv.join("bin/python");
    // What the environment was made of: anything else, and it is made anew.
    let recipe = format!("{version}{}\n", TEST_PACKAGES.join("\n"));
    let stamp = venv.join("forebay-recipe");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) && python.exists() {
        return Ok(python);
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("remove {}", venv.display()))?;
    }
    run(Command::new(&interpreter).args(["-m", "venv"]).arg(&venv)).with_context(|| {
        format!(
            "{shown} cannot make a virtual environment; \
             on Debian and Ubuntu: apt install python3-venv"
        )
    })?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(TEST_PACKAGES))
    .context("pip could not install what the Python tests need")?;
    fs::write(&stamp, recipe)?;
    Ok(python)
}

/// Copies a file beside its place, then renames it there: a process that has
/// the old one mapped keeps it whole.
fn install(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_extension(format!("{}.tmp", std::process::id()));
    fs::copy(from, &temporary)
        .with_context(|| format!("copy {} to {}", from.display(), temporary.display()))?;
    fs::rename(&temporary, to)
        .with_context(|| format!("rename {} to {}", temporary.display(), to.display()))
}
