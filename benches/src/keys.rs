//! Keys, and the order in which they are asked for.

use rand::rngs::StdRng;
use rand::SeedableRng;
use rand_distr::{Distribution, LogNormal, Zipf};
use std::sync::Arc;

/// The seed of all sequences: the same every time.
const SEED: u64 = 0xf0_4e_ba_17;

/// The `i`-th key: 20 bytes.
pub fn key(i: usize) -> String {
    format!("user:{i:015}")
}

/// Keys in the order of their use, each a string of its own: as a request's
/// key comes, fresh from the wire and not from a table of all keys. The length
/// is a power of two, so that a place in it wraps by a mask.
#[derive(Clone)]
pub struct Sequence {
    keys: Arc<[String]>,
}

impl Sequence {
    /// Zipf's law with exponent 1 over `distinct` keys: of 10,000, the most
    /// frequent one is asked for by every tenth request.
    pub fn zipf(distinct: usize, length: usize) -> Sequence {
        assert!(length.is_power_of_two());
        let mut random = StdRng::seed_from_u64(SEED);
        let zipf = Zipf::new(distinct as f64, 1.0).expect("there are keys");
        Sequence {
            keys: (0..length)
                .map(|_| key(zipf.sample(&mut random) as usize - 1))
                .collect(),
        }
    }

    /// Where a thread begins: threads are spread over the sequence.
    pub fn start(&self, thread: usize) -> usize {
        thread * self.keys.len() / 7
    }

    /// The key at a place, which may lie beyond the end.
    #[inline]
    pub fn at(&self, place: usize) -> &String {
        &self.keys[place & (self.keys.len() - 1)]
    }
}

/// Latencies in nanoseconds as services have them: log-normal, the median at
/// 5 ms, the 99th percentile at about 50.
pub fn latencies(length: usize) -> Arc<[u64]> {
    assert!(length.is_power_of_two());
    let mut random = StdRng::seed_from_u64(SEED);
    let normal = LogNormal::new((5e6f64).ln(), 1.0).expect("a finite deviation");
    (0..length)
        .map(|_| normal.sample(&mut random) as u64)
        .collect()
}

/// The 256-byte value of the key with this text.
pub fn value(key: &str) -> [u8; 256] {
    let mut value = [0; 256];
    for (i, byte) in value.iter_mut().enumerate() {
        *byte = key.as_bytes()[i % key.len()] ^ i as u8;
    }
    value
}
