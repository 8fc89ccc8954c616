//! Dependencies point one way: bindings and ffi on core, core on nothing of
//! ours; inside core, the primitives on the region and never on one another.

use crate::shell::{cargo, output, root};
use anyhow::{ensure, Context, Result};
use serde_json::Value;

/// Which of our crates a crate may depend on.
const MAY: [(&str, &[&str]); 9] = [
    ("forebay", &[]),
    ("forebay-ffi", &["forebay"]),
    ("forebay-python", &["forebay"]),
    ("forebay-node", &["forebay"]),
    ("forebay-benches", &["forebay"]),
    ("forebay-stepper", &["forebay"]),
    ("gateway", &["forebay"]),
    ("forebay-torture", &["forebay"]),
    ("xtask", &[]),
];

/// Folders of core, and the modules of core that must not be named in them.
const MUST_NOT: [(&str, &[&str]); 6] = [
    ("limiter", &["cache", "breaker", "histogram", "permits"]),
    ("cache", &["limiter", "breaker", "histogram", "permits"]),
    ("breaker", &["limiter", "cache", "histogram", "permits"]),
    ("histogram", &["limiter", "cache", "breaker", "permits"]),
    ("permits", &["limiter", "cache", "breaker", "histogram"]),
    // The face of a region opens objects; nothing else in there knows them.
    (
        "region",
        &[
            "limiter::",
            "cache::",
            "breaker::",
            "histogram::",
            "permits::",
        ],
    ),
];

/// Checks both.
pub fn check() -> Result<()> {
    crates()?;
    modules()?;
    println!("layers: dependencies point one way");
    Ok(())
}

fn crates() -> Result<()> {
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().context("a name")?;
        let (_, may) = MAY
            .iter()
            .find(|(crate_name, _)| *crate_name == name)
            .with_context(|| format!("{name} has no place in xtask/src/layers.rs"))?;
        for dependency in package["dependencies"].as_array().context("dependencies")? {
            let dependency = dependency["name"].as_str().context("a name")?;
            ensure!(
                !names.contains(&dependency) || may.contains(&dependency),
                "{name} depends on {dependency}, which points the wrong way"
            );
        }
    }
    Ok(())
}

fn modules() -> Result<()> {
    for (folder, forbidden) in MUST_NOT {
        let folder = root().join("core/src").join(folder);
        for file in std::fs::read_dir(&folder)? {
            let file = file?.path();
            // The layout's fingerprint is made of the primitives' formats.
            if file.ends_with("region/layout.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file)?;
            for module in forbidden {
                let import = format!("crate::{module}");
                let line = text.lines().position(|line| {
                    line.contains(&import) && !line.trim_start().starts_with("//")
                });
                ensure!(
                    line.is_none(),
                    "{}:{}: names {import}",
                    file.display(),
                    line.unwrap_or(0) + 1
                );
            }
        }
    }
    Ok(())
}
