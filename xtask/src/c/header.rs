//! include/forebay.h, made by cbindgen from ffi/src. cbindgen takes long to
//! build, so it stands behind xtask's feature `header`.

use anyhow::Result;

/// Writes include/forebay.h, or with `check` compares it with what would be written.
#[cfg(feature = "header")]
pub fn header(check: bool) -> Result<()> {
    use crate::shell::root;
    use anyhow::{ensure, Context};

    let ffi = root().join("ffi");
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml"))
        .map_err(|problem| anyhow::anyhow!("ffi/cbindgen.toml: {problem}"))?;
    // All crates of the workspace have one version.
    config.after_includes = Some(format!(
        "\n/**\n * The version of this header.\n */\n#define FB_VERSION \"{}\"",
        env!("CARGO_PKG_VERSION")
    ));
    let mut text = Vec::new();
    let mut builder = cbindgen::Builder::new().with_config(config);
    // File by file: cbindgen would run cargo to find them by itself. The order
    // is the header's.
    for file in [
        "status",
        "key",
        "region",
        "limiter",
        "waiting",
        "together",
        "http",
        "window",
        "permits",
        "cache",
        "breaker",
        "histogram",
    ] {
        builder = builder.with_src(ffi.join(format!("src/{file}.rs")));
    }
    builder
        .generate()
        .context("cbindgen cannot read ffi/src")?
        .write(&mut text);
    let text = String::from_utf8(text)?;

    let file = root().join("include/forebay.h");
    if check {
        let committed = std::fs::read_to_string(&file)?;
        ensure!(
            committed == text,
            "include/forebay.h is not what ffi/src says: run `cargo xtask header`"
        );
    } else if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        std::fs::write(&file, text)?;
        println!("wrote {}", file.display());
    }
    Ok(())
}

/// Says how to get what is not built in.
#[cfg(not(feature = "header"))]
pub fn header(_check: bool) -> Result<()> {
    anyhow::bail!("run: cargo run --package xtask --features header -- header")
}
