//! What the origin serves: a body that follows from its path and size, so that
//! every worker can tell whether the bytes it was given are that page's.
//!
//! A body repeats one line, `<path> <hash>` and a newline, up to its size. The
//! line's length is odd: two 64-byte cells of a body in the wrong order then
//! never look right, unless a multiple of that length apart.

/// The line that a page's body repeats.
pub fn line(path: &str) -> Vec<u8> {
    let mut line = format!("{path} {:08x}\n", fnv1a(path.as_bytes())).into_bytes();
    if line.len() % 2 == 0 {
        line.push(b'\n');
    }
    line
}

/// Makes the body of a page of `size` bytes in `into`.
pub fn body(path: &str, size: usize, into: &mut Vec<u8>) {
    let line = line(path);
    into.clear();
    into.reserve(size + line.len());
    while into.len() < size {
        into.extend_from_slice(&line);
    }
    into.truncate(size);
}

/// The difference between a body and what the page should be, in words.
pub fn difference(path: &str, size: usize, body: &[u8]) -> Option<String> {
    if body.len() != size {
        return Some(format!("{path}: {} bytes instead of {size}", body.len()));
    }
    let line = line(path);
    body.chunks(line.len())
        .position(|chunk| chunk != &line[..chunk.len()])
        .map(|repeat| format!("{path}: wrong after byte {}", repeat * line.len()))
}

/// FNV-1a of 32 bits (Fowler, Noll and Vo): a few lines in any language.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_body_has_its_size_and_repeats_an_odd_line() {
        for size in [0, 1, 20, 300, 6_001] {
            let mut bytes = vec![7; 3];
            body("/projects/12", size, &mut bytes);
            assert_eq!(bytes.len(), size);
            assert_eq!(difference("/projects/12", size, &bytes), None);
        }
        for path in ["/", "/a", "/ab", "/é"] {
            assert_eq!(line(path).len() % 2, 1, "{path}");
        }
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let mut bytes = Vec::new();
        body("/projects/12", 700, &mut bytes);
        assert!(difference("/projects/13", 700, &bytes).is_some());
        assert!(difference("/projects/12", 699, &bytes).is_some());
        for at in 0..700 {
            bytes[at] ^= 1;
            assert!(difference("/projects/12", 700, &bytes).is_some());
            bytes[at] ^= 1;
        }
        // Two neighbouring cells change places.
        let (left, right) = bytes.split_at_mut(64);
        left.swap_with_slice(&mut right[..64]);
        assert!(difference("/projects/12", 700, &bytes).is_some());
    }
}
