//! Values that prove whose they are: each is made from its key and a number
//! of its own, so a torn or a foreign one gives itself away.

/// The value of `key` with this number: between 16 and some 2,000 bytes.
pub fn value(key: u64, number: u64) -> Vec<u8> {
    let mut state = (key ^ number.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = match next() % 16 {
        0 => 250,
        few => few,
    };
    let mut bytes = [key.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend((0..words).flat_map(|_| next().to_le_bytes()));
    bytes
}

/// The number of a value of `key`; panics if it is not one as a whole.
pub fn number_of(key: u64, bytes: &[u8]) -> u64 {
    let word = |i: usize| u64::from_le_bytes(bytes[i * 8..i * 8 + 8].try_into().unwrap());
    assert!(bytes.len() >= 16, "torn: {} bytes", bytes.len());
    assert_eq!(word(0), key, "another key's value");
    assert!(bytes == value(key, word(1)), "torn");
    word(1)
}
