//! Values that tell whose they are: each 32-bit word of a value depends on the
//! key, the length, the id of the write and its own place, so that a value of
//! another key, a mixture of two, or one with parts in the wrong places is seen.
//! The workers in other languages make the same.

/// Bytes of the smallest value: key, length, id.
pub const LEAST: usize = 16;

/// What the word at this place is mixed with.
fn mask(place: u32) -> u32 {
    place.wrapping_mul(0x9e37_79b1)
}

/// Writes the value of this key, id and length (a multiple of 4).
pub fn make(key: u32, id: u64, length: usize, into: &mut Vec<u8>) {
    let header = [key, length as u32, id as u32, (id >> 32) as u32];
    into.clear();
    for place in 0..length as u32 / 4 {
        let word = header[place as usize % 4] ^ mask(place);
        into.extend_from_slice(&word.to_le_bytes());
    }
}

/// The id of a whole value of this key; what is wrong otherwise.
pub fn id_of(key: u32, value: &[u8]) -> Result<u64, String> {
    let word = |place: u32| -> Option<u32> {
        let at = place as usize * 4;
        let bytes = value.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) ^ mask(place))
    };
    let header = [0, 1, 2, 3].map(word);
    let [Some(whose), Some(length), Some(low), Some(high)] = header else {
        return Err(format!("{} bytes, fewer than any value has", value.len()));
    };
    let id = u64::from(high) << 32 | u64::from(low);
    if whose != key {
        return Err(format!("a value of key {whose}, id {id:x}, was read"));
    }
    if length as usize != value.len() {
        return Err(format!(
            "{} bytes were read of the {length} of id {id:x}",
            value.len()
        ));
    }
    match (0..length / 4).find(|&place| word(place) != header[place as usize % 4]) {
        None => Ok(id),
        Some(place) => Err(format!(
            "id {id:x}, {length} bytes, is torn at byte {}",
            place * 4
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_writer() {
        let mut value = Vec::new();
        for length in [16, 20, 4000] {
            make(7, 0x1234_5678_9abc_def0, length, &mut value);
            assert_eq!(id_of(7, &value), Ok(0x1234_5678_9abc_def0));
        }
    }

    #[test]
    fn what_is_not_whole_is_told() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        make(7, 1, 256, &mut one);
        make(7, 2, 256, &mut other);
        assert!(id_of(8, &one).unwrap_err().contains("key 7"));
        assert!(id_of(7, &one[..128]).unwrap_err().contains("128 bytes"));
        let torn = [&one[..128], &other[128..]].concat();
        assert!(id_of(7, &torn).unwrap_err().contains("torn at byte 136"));
        let shifted = [&one[..64], &one[80..], &one[..16]].concat();
        assert!(id_of(7, &shifted).unwrap_err().contains("torn at byte 64"));
        assert!(id_of(7, &[]).is_err());
    }
}
