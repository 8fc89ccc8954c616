//! Tortures forebay: many processes in four languages on one region, killed,
//! stopped and starved from a seed, and every promise checked on what they saw.
//!
//! `cargo xtask verify torture` builds all workers and runs this.

mod check;
mod crew;
mod log;
mod nursery;
mod player;
mod random;
mod report;
mod run;
mod stage;
mod steady;
mod sys;
mod value;
mod world;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use steady::Part;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the whole.
    Run(run::Options),
    /// A worker that lives long.
    #[command(hide = true)]
    Steady(Place),
    /// Forks workers and kills them.
    #[command(hide = true)]
    Nursery {
        /// Children use the handles that the nursery opened.
        #[arg(long)]
        inherit: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Stages one kind of misfortune.
    #[command(hide = true)]
    Stage {
        /// Which.
        name: String,
        /// A directory of its own.
        directory: String,
        /// The seed.
        seed: u64,
    },
}

#[derive(clap::Args)]
struct Place {
    region: String,
    log: String,
    who: u32,
    seed: u64,
}

impl From<Place> for Part {
    fn from(place: Place) -> Part {
        Part {
            region: place.region,
            log: place.log,
            who: place.who,
            seed: place.seed,
        }
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().role {
        Role::Run(options) => run::run(&options),
        Role::Steady(place) => steady::work(&place.into()),
        Role::Nursery { inherit, place } => nursery::raise(&place.into(), inherit),
        Role::Stage {
            name,
            directory,
            seed,
        } => stage::play(&name, &directory, seed),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::FAILURE
        }
    }
}
