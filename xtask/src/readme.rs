//! The programs that README.md prints, run as printed: each of the four is
//! first once, renders, and the other three find what it rendered.

use crate::shell::{cargo, output, root, run, target};
use crate::{c, node, python};
use anyhow::{ensure, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs them all, in four regions of their own.
pub fn test() -> Result<()> {
    let here = target().join("readme");
    if here.exists() {
        fs::remove_dir_all(&here)?;
    }
    fs::create_dir_all(&here)?;
    let here = std::path::absolute(here)?;
    let text = fs::read_to_string(root().join("README.md"))?;
    let programs = [
        ("Rust", in_rust(&here, block(&text, "rust")?)?),
        ("C++", in_cpp(&here, block(&text, "cpp")?)?),
        ("Python", in_python(&here, block(&text, "python")?)?),
        ("Node", in_node(block(&text, "js")?)?),
    ];
    for first in 0..programs.len() {
        let regions = here.join(format!("regions-{first}"));
        fs::create_dir(&regions)?;
        for turn in 0..programs.len() {
            let (language, program) = &programs[(first + turn) % programs.len()];
            let mut command = Command::new(&program[0]);
            command.args(&program[1..]);
            command.env("FOREBAY_DIR", &regions);
            command.env("PYTHONPATH", target().join("python"));
            let said = output(&mut command).with_context(|| format!("README.md: {language}"))?;
            let wanted = format!("rendered by {}", programs[first].0);
            ensure!(
                said.trim_end() == wanted,
                "README.md: {language} printed {said:?}, not {wanted:?}"
            );
        }
    }
    println!("README.md: {} programs run as printed", programs.len());
    Ok(())
}

/// The one code block of a language.
fn block<'a>(text: &'a str, language: &str) -> Result<&'a str> {
    let fence = format!("\n```{language}\n");
    let mut parts = text.split(fence.as_str()).skip(1);
    let begins = parts
        .next()
        .with_context(|| format!("README.md has no block of {language}"))?;
    ensure!(
        parts.next().is_none(),
        "README.md has two blocks of {language}"
    );
    let end = begins.find("\n```").context("a block ends")?;
    Ok(&begins[..=end])
}

fn in_rust(here: &Path, text: &str) -> Result<Vec<PathBuf>> {
    run(cargo().args(["build", "--quiet", "--package", "forebay"]))?;
    let built = std::path::absolute(target())?.join("debug");
    let (source, program) = (here.join("shop.rs"), here.join("shop-rust"));
    fs::write(&source, text)?;
    let mut library = std::ffi::OsString::from("forebay=");
    library.push(built.join("libforebay.rlib"));
    let mut dependencies = std::ffi::OsString::from("dependency=");
    dependencies.push(built.join("deps"));
    run(Command::new("rustc")
        .args(["--edition", "2021", "-D", "warnings", "--extern"])
        .arg(library)
        .arg("-L")
        .arg(dependencies)
        .arg("-o")
        .args([&program, &source]))?;
    Ok(vec![program])
}

fn in_cpp(here: &Path, text: &str) -> Result<Vec<PathBuf>> {
    let library = c::build(false)?;
    let (source, program) = (here.join("shop.cpp"), here.join("shop-cpp"));
    fs::write(&source, text)?;
    let mut path = std::ffi::OsString::from("-Wl,-rpath,");
    path.push(&library);
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    run(Command::new(compiler)
        .args([
            "-std=c++17",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(root().join("include"))
        .arg("-o")
        .args([&program, &source])
        .arg("-L")
        .arg(&library)
        .arg("-lforebay")
        .arg(path))?;
    Ok(vec![program])
}

fn in_python(here: &Path, text: &str) -> Result<Vec<PathBuf>> {
    python::build(false)?;
    let source = here.join("shop.py");
    fs::write(&source, text)?;
    let interpreter = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    Ok(vec![interpreter.into(), source])
}

fn in_node(text: &str) -> Result<Vec<PathBuf>> {
    // Beside the installed package, where `import` finds it.
    let source = std::path::absolute(node::build(false)?)?.join("shop.mjs");
    fs::write(&source, text)?;
    let program = std::env::var_os("NODE").unwrap_or_else(|| "node".into());
    Ok(vec![program.into(), source])
}
