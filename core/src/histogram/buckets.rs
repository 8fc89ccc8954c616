//! Which bucket a duration belongs to: exact, in integers.
//!
//! Base-2 exponential buckets of scale 5: their upper edges, in seconds and
//! inclusive, are 2^(i/32), exactly those of OpenTelemetry exponential
//! histograms and Prometheus native histograms, so both can be fed without
//! loss. They span 2^-20 s (0.95 µs) to 2^10 s (17 min), with one more on
//! either side. A bucket is 2.2 % wide, so its midpoint is within 1.1 %.
//!
//! A duration in nanoseconds is multiplied by ⌊2^93/10⁹⌋, which makes it
//! seconds in units of 2^-93, a hair too small; the leading bit is the octave,
//! the next six bits look up a candidate among its 32 edges, and one
//! comparison decides. Being a hair too small is what makes a whole power of
//! two seconds fall on its own edge, inclusive; other edges are irrational.

/// Buckets to an octave.
const PER_OCTAVE: u32 = 32;
/// The lowest octave begins at 2^-20 s.
const LOWEST: i32 = -20;
/// The highest ends at 2^10 s.
const HIGHEST: i32 = 10;
/// All buckets: below, 30 octaves, above.
pub const BUCKETS: usize = ((HIGHEST - LOWEST) as u32 * PER_OCTAVE) as usize + 2;

/// ⌊2^93 / 10⁹⌋.
const SECONDS: u128 = (1 << 93) / 1_000_000_000;

/// ⌊2^(63 + j/32)⌋ for j = 0 … 31.
const EDGES: [u64; 32] = [
    0x8000000000000000,
    0x82cd8698ac2ba1d7,
    0x85aac367cc487b14,
    0x88980e8092da8527,
    0x8b95c1e3ea8bd6e6,
    0x8ea4398b45cd53c0,
    0x91c3d373ab11c336,
    0x94f4efa8fef70961,
    0x9837f0518db8a96f,
    0x9b8d39b9d54e5538,
    0x9ef5326091a111ad,
    0xa27043030c496818,
    0xa5fed6a9b15138ea,
    0xa9a15ab4ea7c0ef8,
    0xad583eea42a14ac6,
    0xb123f581d2ac258f,
    0xb504f333f9de6484,
    0xb8fbaf4762fb9ee9,
    0xbd08a39f580c36be,
    0xc12c4cca66709456,
    0xc5672a115506dadd,
    0xc9b9bd866e2f27a2,
    0xce248c151f8480e3,
    0xd2a81d91f12ae45a,
    0xd744fccad69d6af4,
    0xdbfbb797daf23755,
    0xe0ccdeec2a94e111,
    0xe5b906e77c8348a8,
    0xeac0c6e7dd24392e,
    0xefe4b99bdcdaf5cb,
    0xf5257d152486cc2c,
    0xfa83b2db722a033a,
];

/// For the top six bits after the leading one: the first edge not below the
/// cell that they name.
const FIRST: [u8; 64] = {
    let mut table = [0; 64];
    let mut cell = 0;
    while cell < 64 {
        let start = (1 << 63) | (cell as u64) << 57;
        let mut edge = 0;
        while edge < 32 && EDGES[edge] < start {
            edge += 1;
        }
        table[cell] = edge as u8;
        cell += 1;
    }
    table
};

/// The bucket of a duration.
#[inline]
pub fn index(nanoseconds: u64) -> usize {
    let seconds = u128::from(nanoseconds) * SECONDS;
    if seconds == 0 {
        return 0;
    }
    let octave = 127 - seconds.leading_zeros() as i32;
    let mantissa = (seconds << seconds.leading_zeros() >> 64) as u64;
    let candidate = FIRST[(mantissa >> 57 & 63) as usize] as usize;
    // Edge 32 is the next octave's first: no mantissa is above it.
    let edge = candidate + usize::from(candidate < 32 && mantissa > EDGES[candidate]);
    let octaves = octave - 93 - LOWEST;
    let index = i64::from(octaves) * i64::from(PER_OCTAVE) + edge as i64;
    index.clamp(0, BUCKETS as i64 - 1) as usize
}

/// A bucket's upper edge in seconds; infinite for the last.
pub fn upper_edge(index: usize) -> f64 {
    if index >= BUCKETS - 1 {
        return f64::INFINITY;
    }
    let exponent = index as f64 / f64::from(PER_OCTAVE) + f64::from(LOWEST);
    exponent.exp2()
}

/// The middle of a bucket in nanoseconds; the highest finite edge for the last.
pub fn midpoint(index: usize) -> u64 {
    let seconds = match index {
        0 => upper_edge(0) / 2.0,
        _ if index >= BUCKETS - 1 => upper_edge(BUCKETS - 2),
        _ => (upper_edge(index - 1) + upper_edge(index)) / 2.0,
    };
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;

    /// v ≤ 2^(i/32 - 20) s ⟺ v^32 · 2^640 ≤ 2^i · 10⁹^32, in whole numbers.
    fn at_most_edge(v: u64, i: usize) -> bool {
        BigUint::from(v).pow(32) << 640 <= BigUint::from(1_000_000_000u64).pow(32) << i
    }

    fn check(v: u64) {
        let i = index(v);
        assert!(i == BUCKETS - 1 || at_most_edge(v, i), "{v} above {i}");
        assert!(i == 0 || !at_most_edge(v, i - 1), "{v} not above {}", i - 1);
    }

    #[test]
    fn durations_beside_every_edge_fall_on_the_right_side() {
        for i in 0..BUCKETS - 1 {
            let edge = (upper_edge(i) * 1e9) as u64;
            for v in edge.saturating_sub(20)..edge + 20 {
                check(v);
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_caught() {
        for v in [0, 1, 2, 953, 954, u64::MAX, u64::MAX - 1, 1 << 63] {
            check(v);
        }
        assert_eq!(index(0), 0);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        assert_eq!(index(1_024_000_000_000), BUCKETS - 2);
        assert_eq!(index(1_024_000_000_001), BUCKETS - 1);
    }

    #[test]
    fn whole_powers_of_two_seconds_are_inclusive() {
        for power in -9i32..10 {
            let v = (f64::from(power).exp2() * 1e9) as u64;
            let i = ((power - LOWEST) as usize) * PER_OCTAVE as usize;
            assert_eq!(index(v), i);
            assert_eq!(index(v + 1), i + 1);
        }
    }

    #[test]
    fn the_midpoint_is_within_its_bucket_and_the_stated_error() {
        for i in 1..BUCKETS - 1 {
            let (low, high) = (upper_edge(i - 1) * 1e9, upper_edge(i) * 1e9);
            let middle = midpoint(i) as f64;
            assert!(middle >= low - 1.0 && middle <= high + 1.0);
            assert!((high - middle) / middle < 0.0111 + 1.0 / middle);
            assert!((middle - low) / low < 0.0111 + 1.0 / low);
        }
    }
}
