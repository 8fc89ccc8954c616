//! The languages whose programs the demo and the torture start.

use clap::ValueEnum;

/// The languages beside Rust, which cannot be left out.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Cpp,
    Python,
    Node,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 3] = [Language::Cpp, Language::Python, Language::Node];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Language::Cpp => "cpp",
            Language::Python => "python",
            Language::Node => "node",
        }
    }

    /// What compiles or runs it; the variables CXX, PYTHON and NODE name another.
    pub fn program(self) -> String {
        let (variable, usual) = match self {
            Language::Cpp => ("CXX", "c++"),
            Language::Python => ("PYTHON", "python3"),
            Language::Node => ("NODE", "node"),
        };
        std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
    }
}
