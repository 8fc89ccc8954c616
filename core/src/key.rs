//! Keys: bytes, text, or parts joined without ambiguity.

/// Something that names a bucket or an entry: text, bytes, or a tuple of them.
///
/// The parts of a tuple are joined with a four-byte little-endian length before
/// each, so `("a", "bc")` and `("ab", "c")` are different keys, and every
/// language joins them the same. A plain key is its own bytes.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// let region = forebay::Region::private()?;
/// let limiter = region.limiter("api", forebay::Rate::per_minute(60))?;
/// assert!(limiter.allow("203.0.113.7"));
/// assert!(limiter.allow(("tenant-7", "203.0.113.7")));
/// # Ok(())
/// # }
/// ```
pub trait Key {
    /// Calls `use_it` with the key's bytes. Allocates only when a tuple's
    /// parts together exceed 256 bytes.
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R;
}

const ON_STACK: usize = 256;

/// Joins `parts` as a tuple key and calls `use_it` with the bytes: what the
/// bindings use for keys with a number of parts known only at run time.
pub fn join_parts<R>(parts: &[&[u8]], use_it: impl FnOnce(&[u8]) -> R) -> R {
    let total: usize = parts.iter().map(|p| p.len() + 4).sum();
    if total <= ON_STACK {
        let mut joined = [0u8; ON_STACK];
        let mut at = 0;
        for part in parts {
            // At most ON_STACK, so the cast is exact.
            joined[at..at + 4].copy_from_slice(&(part.len() as u32).to_le_bytes());
            joined[at + 4..at + 4 + part.len()].copy_from_slice(part);
            at += 4 + part.len();
        }
        use_it(&joined[..at])
    } else {
        let mut joined = Vec::with_capacity(total);
        for part in parts {
            joined.extend_from_slice(&(part.len() as u32).to_le_bytes());
            joined.extend_from_slice(part);
        }
        use_it(&joined)
    }
}

impl Key for [u8] {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(self)
    }
}

impl<const N: usize> Key for [u8; N] {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(self)
    }
}

impl Key for Vec<u8> {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(self)
    }
}

impl Key for str {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(self.as_bytes())
    }
}

impl Key for String {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(self.as_bytes())
    }
}

impl<K: Key + ?Sized> Key for &K {
    #[inline(always)]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(use_it)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        self.0
            .with_bytes(|a| self.1.with_bytes(|b| join_parts(&[a, b], use_it)))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    #[inline]
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        self.0.with_bytes(|a| {
            self.1
                .with_bytes(|b| self.2.with_bytes(|c| join_parts(&[a, b, c], use_it)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_tuple_do_not_run_into_each_other() {
        let one = ("a", "bc").with_bytes(<[u8]>::to_vec);
        let other = ("ab", "c").with_bytes(<[u8]>::to_vec);
        assert_ne!(one, other);
        assert_eq!(one, b"\x01\0\0\0a\x02\0\0\0bc");
    }

    #[test]
    fn a_long_tuple_joins_as_a_short_one_does() {
        let long = "x".repeat(300);
        let joined = (long.as_str(), "y").with_bytes(<[u8]>::to_vec);
        assert_eq!(joined.len(), 4 + 300 + 4 + 1);
        assert_eq!(&joined[..4], &300u32.to_le_bytes());
        assert_eq!(&joined[304..], b"\x01\0\0\0y");
    }
}
