//! The one hash of a region: XXH3 with 128 bits and a secret of the region's own.
//!
//! Its output is fixed by its specification (xxHash, Yann Collet, version
//! 0.8), whatever the processor or the build, so a wheel, an addon and a C
//! program agree on where a key lives; `ahash` promises no such thing. The
//! 192-byte secret is drawn from the operating system when a region is made:
//! who does not know it cannot choose keys that collide.

use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Bytes of secret in a region's header.
pub const SECRET_BYTES: usize = 192;

/// A region's hash function.
#[derive(Clone)]
pub struct Hasher {
    secret: Box<[u8; SECRET_BYTES]>,
}

/// What a key hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// Chooses where to look: a shard, a set of slots.
    pub place: u64,
    /// Tells keys in the same place apart.
    pub tag: u64,
}

impl Hasher {
    /// The hash with this secret.
    pub fn new(secret: [u8; SECRET_BYTES]) -> Hasher {
        Hasher {
            secret: Box::new(secret),
        }
    }

    /// Hashes a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> Hash {
        let both = xxh3_128_with_secret(key, &self.secret[..]);
        Hash {
            place: both as u64,
            tag: (both >> 64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the reference implementation (xxHash 0.8 in C): one for each of its code paths by length.
    #[test]
    fn known_answers_for_every_length_class() {
        let mut secret = [0u8; SECRET_BYTES];
        for (i, byte) in secret.iter_mut().enumerate() {
            *byte = (i * 151 + 17) as u8;
        }
        let hasher = Hasher::new(secret);
        let key: Vec<u8> = (0..2048u32).map(|i| (i * 31 % 251) as u8).collect();
        for (length, tag, place) in KNOWN {
            let hash = hasher.hash(&key[..length]);
            assert_eq!((hash.tag, hash.place), (tag, place), "length {length}");
        }
    }

    const KNOWN: [(usize, u64, u64); 17] = [
        (0, 0x6c5defafe5f0bfd2, 0x256347ada1f9540d),
        (1, 0x9c6abaeae34926bd, 0x91a097416968f52f),
        (3, 0xacd26e7178017430, 0x4d68ae469e71bf88),
        (4, 0x90b4e83327d45abf, 0xd48d407905aeb32f),
        (8, 0x836d9edea809e985, 0xcb7ec3b4d4a1128c),
        (9, 0x71eb877facedc7e4, 0xa7d5a80210d0cb6e),
        (16, 0xde4123e53c51c0b9, 0x8777e5d7f22c5d62),
        (17, 0x03c4d76d238e27f4, 0xd6295f123d139a66),
        (64, 0x6635b37ccf2baa7b, 0x8aae6f7fe93cb81c),
        (128, 0x4945705670600dc6, 0x5649bc9d3fb66087),
        (129, 0x2a84f070c89c241d, 0xdd193174325650b4),
        (200, 0x884a97f85ec8f864, 0x0f2a56ab1b783759),
        (240, 0x9f20a52760c14abf, 0x447ce16fc198fe2f),
        (241, 0xe45f875d7f6048c1, 0x746bd946b1d4c3b9),
        (512, 0xbfa33f5555d17e5a, 0xb1b715c59a7af831),
        (1024, 0x756177292589a5ab, 0x6e85da78b44778f5),
        (2048, 0x42b465b3c2a2d07a, 0x12c8ed784058d085),
    ];
}
