//! `cargo xtask`: forebay's commands.
mod shell;
fn main() -> anyhow::Result<()> { let _ = (shell::root(), shell::target(), shell::cargo(), shell::have("x"), shell::run, shell::output); Ok(()) }
