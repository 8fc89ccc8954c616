//! What is stored: keys of 20 bytes, and values of three kinds.

use rand::rngs::StdRng;
use rand::Rng;
use rand_distr::{Distribution, LogNormal};

/// Bytes of every key.
pub const KEY: usize = 20;

/// A kind of values.
#[derive(Clone, Copy, PartialEq)]
pub enum Sizes {
    /// All alike: rows, sessions.
    Fixed,
    /// Small objects of many sizes.
    LogNormal,
    /// Bodies of HTTP answers.
    Http,
}

/// All kinds.
pub const ALL: [Sizes; 3] = [Sizes::Fixed, Sizes::LogNormal, Sizes::Http];

impl Sizes {
    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Sizes::Fixed => "200 B",
            Sizes::LogNormal => "log-normal 300 B",
            Sizes::Http => "HTTP bodies",
        }
    }

    /// Bytes of key and value, on average.
    pub fn mean_item(self) -> u64 {
        KEY as u64
            + match self {
                Sizes::Fixed => 200,
                Sizes::LogNormal => 492,
                Sizes::Http => 6_000,
            }
    }

    /// Bytes of a value.
    pub fn draw(self, random: &mut StdRng) -> usize {
        let normal = |median: f64, sigma: f64, random: &mut StdRng| {
            let normal = LogNormal::new(median.ln(), sigma).expect("a finite deviation");
            normal.sample(random) as usize
        };
        match self {
            Sizes::Fixed => 200,
            Sizes::LogNormal => normal(300.0, 1.0, random).clamp(1, 32 << 10),
            Sizes::Http => normal(3_000.0, 1.2, random).clamp(300, 100 << 10),
        }
    }
}

/// Which key is set: a number below `distinct`, by Zipf's law with exponent 1,
/// through the inverse of its continuous form.
pub fn zipf(distinct: usize, random: &mut StdRng) -> usize {
    let at: f64 = random.random();
    ((distinct as f64).powf(at) as usize).min(distinct) - 1
}
