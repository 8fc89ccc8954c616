//! The Node package: building, installing and testing it.

use crate::shell;
use anyhow::{bail, ensure, Context, Result};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What tests need from npm, and only they.
const TOOLS: &[&str] = &["typescript@5.9.3", "@types/node@20.19.43"];

/// The frameworks that the adapters are for, and only their tests need.
const FRAMEWORKS: &[&str] = &[
    "express@5.3.0",
    "express-rate-limit@8.7.4",
    "@types/express@5.0.6",
    "fastify@5.12.8",
    "@fastify/rate-limit@11.2.0",
    "@nestjs/common@11.2.10",
    "@nestjs/core@11.2.10",
    "@nestjs/platform-express@11.2.10",
    "@nestjs/throttler@6.7.1",
    "reflect-metadata@0.2.2",
    "rxjs@7.8.2",
];

/// The program that runs Node: `NODE`, else `node`.
pub fn node() -> Command {
    Command::new(std::env::var_os("NODE").unwrap_or_else(|| "node".into()))
}

fn npm() -> Command {
    Command::new(std::env::var_os("NPM").unwrap_or_else(|| "npm".into()))
}

fn package() -> PathBuf {
    shell::root().join("bindings/node")
}

/// Builds the package and installs it as `target/node/node_modules/forebay`.
///
/// Answers with `target/node`. A script below that directory finds `forebay`
/// both by `import` and by `require`: copy it there. Elsewhere, `require` finds
/// it with `NODE_PATH=target/node/node_modules`; `import` takes no notice of
/// that variable, but `createRequire('<target/node>/x')('forebay')` works.
pub fn build(release: bool) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--quiet", "--package", "forebay-node"]);
    if release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;

    let home = shell::target().join("node");
    let profile = if release { "release" } else { "debug" };
    let library = format!("{DLL_PREFIX}forebay_node{DLL_SUFFIX}");
    install(&home, &shell::target().join(profile).join(library))?;
    Ok(home)
}

/// Installs the package, with this engine, below `home`.
fn install(home: &Path, library: &Path) -> Result<()> {
    let installed = home.join("node_modules/forebay");
    fs::create_dir_all(&installed)?;
    replace(library, &installed.join("forebay.node"))?;
    for file in ["package.json", "README.md"] {
        replace(&package().join(file), &installed.join(file))?;
    }
    for file in published()? {
        let from = package().join(&file);
        if from.is_dir() {
            fs::create_dir_all(installed.join(&file))?;
            for entry in fs::read_dir(&from)? {
                let name = entry?.file_name();
                replace(&from.join(&name), &installed.join(&file).join(&name))?;
            }
        } else if file != "forebay.node" {
            replace(&from, &installed.join(&file))?;
        }
    }
    Ok(())
}

/// What `package.json` says is published: what is not listed there is not
/// installed here either, so the tests would miss it.
fn published() -> Result<Vec<String>> {
    let text = fs::read_to_string(package().join("package.json"))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let files = json["files"].as_array().context("package.json has files")?;
    Ok(files
        .iter()
        .filter_map(|file| file.as_str().map(str::to_owned))
        .collect())
}

/// Copies under another name and renames: a process that has the old library
/// mapped must keep it, not see it change.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension(format!("{}.new", std::process::id()));
    fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// Builds and installs the package, then runs its tests, the examples and the
/// type check against what was installed.
pub fn test() -> Result<()> {
    let home = build(false)?;
    run_tests(&home, "test", None)?;
    run_examples(&home)?;
    let types = typescript()?.join("node_modules/@types");
    check_types(&home, "test/types.ts", &types)
}

/// Runs the tests of the adapters, and their type check, against the frameworks
/// that they are for.
pub fn test_frameworks() -> Result<()> {
    let home = build(false)?;
    let frameworks = from_npm("node-frameworks", FRAMEWORKS)?;
    let engine = home.join("node_modules/forebay/forebay.node");
    install(&frameworks, &engine)?;
    run_tests(&home, "test/frameworks", Some(&frameworks))?;
    let types = typescript()?.join("node_modules/@types");
    check_types(&frameworks, "test/frameworks/types.ts", &types)
}

fn run_tests(home: &Path, directory: &str, frameworks: Option<&Path>) -> Result<()> {
    let mut files: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(package().join(directory))? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".test.js") || name.ends_with(".test.mjs") {
            files.push(path.into());
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "bindings/node/{directory} has no tests");

    // The tests import the package that they lie in by its name; the library
    // that they test is the one that was installed.
    let output = node()
        .args(["--test", "--test-reporter=spec"])
        .args(&files)
        .current_dir(package())
        .env(
            "FOREBAY_NATIVE",
            home.join("node_modules/forebay/forebay.node"),
        )
        .env_remove("NODE_OPTIONS")
        .envs(frameworks.map(|frameworks| ("FOREBAY_FRAMEWORKS", frameworks)))
        .output()
        .context("cannot start node")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    print!("{printed}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("node --test failed ({})", output.status);
    }
    // Without tests it succeeds too.
    let passed = closing_count(&printed, "pass").context("node --test told no count")?;
    ensure!(
        passed > files.len(),
        "node --test passed {passed} tests in {} files",
        files.len()
    );
    Ok(())
}

/// The number in one of the closing lines, such as `ℹ pass 42` or `# pass 42`.
fn closing_count(printed: &str, name: &str) -> Option<usize> {
    printed.lines().rev().find_map(|line| {
        let line = line.trim_start_matches(['ℹ', '#', ' ']);
        line.strip_prefix(name)?.trim().parse().ok()
    })
}

/// Programs of `examples/node`.
const EXAMPLES: [&str; 5] = [
    "first.mjs",
    "first.cjs",
    "limits-assets.mjs",
    "limits-platform.mjs",
    "limits-agents.mjs",
];

fn run_examples(home: &Path) -> Result<()> {
    for name in EXAMPLES {
        let example = home.join(name);
        replace(&shell::root().join("examples/node").join(name), &example)?;
        let printed = shell::output(node().arg(&example))?;
        ensure!(!printed.is_empty(), "{name} printed nothing");
    }
    Ok(())
}

/// The directory that has the compiler of TypeScript.
fn typescript() -> Result<PathBuf> {
    from_npm("node-tools", TOOLS)
}

/// Installs packages into a directory of the target directory, unless they are
/// there already.
fn from_npm(directory: &str, packages: &[&str]) -> Result<PathBuf> {
    let home = shell::target().join(directory);
    let wanted = packages.join(" ");
    let stamp = home.join("installed");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        fs::create_dir_all(&home)?;
        shell::run(
            npm()
                .args([
                    "install",
                    "--no-save",
                    "--no-audit",
                    "--no-fund",
                    "--silent",
                ])
                .arg("--prefix")
                .arg(&home)
                .args(packages),
        )?;
        fs::write(&stamp, &wanted)?;
    }
    Ok(home)
}

/// `tsc --strict` on a file of the package's, as an ES module and as CommonJS,
/// beside what is installed below `home`.
fn check_types(home: &Path, file: &str, types: &Path) -> Result<()> {
    let compiler = typescript()?.join("node_modules/typescript/bin/tsc");
    for extension in ["mts", "cts"] {
        let usage = home.join(format!("types.{extension}"));
        replace(&package().join(file), &usage)?;
        shell::run(
            node()
                .arg(&compiler)
                .args(["--noEmit", "--strict", "--exactOptionalPropertyTypes"])
                .args(["--target", "es2022", "--module", "nodenext"])
                .args(["--types", "node", "--typeRoots"])
                .arg(types)
                .arg(&usage),
        )?;
    }
    Ok(())
}
