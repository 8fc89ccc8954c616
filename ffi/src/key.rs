//! Tuple keys.

use crate::argument::{buffer, bytes, out, slice, too_small};
use crate::status::{answer, fb_code, fb_status};
use forebay::Error;
use std::ffi::c_void;

/// Joins parts into one key without ambiguity, as every language does: before
/// each part its length, as four bytes, little-endian. So ("a", "bc") and
/// ("ab", "c") are different keys, and a key made here is the same one that
/// Python makes of the tuple.
///
/// `parts[i]` has `lens[i]` bytes; `*len` becomes the length of the key, also
/// when `cap` is too small for it.
///
/// Ownership: borrows the parts; writes to `buf`, which must not overlap them.
/// Threads: any.
/// Cost: one copy; no allocation, no lock.
/// Returns: FB_OK; FB_E_TOO_LARGE when `cap` is too small (nothing but `*len`
/// is written) or a part is 4 GiB or more.
#[no_mangle]
pub unsafe extern "C" fn fb_key_join(
    parts: *const *const c_void,
    lens: *const usize,
    count: usize,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let (parts, lens) = unsafe { (slice("parts", parts, count)?, slice("lens", lens, count)?) };
        let len = out("len", len)?;

        let mut total = 0usize;
        for (&part, &part_len) in parts.iter().zip(lens) {
            // SAFETY: the caller's promise.
            unsafe { bytes("part", part, part_len)? };
            if u32::try_from(part_len).is_err() {
                return Err(Error::TooLarge {
                    what: "part",
                    size: part_len as u64,
                    max: u32::MAX.into(),
                });
            }
            // Each addend is below 2^33 and each part took an entry of `lens`,
            // but the same bytes may be named many times.
            total = total.saturating_add(4 + part_len);
        }
        // SAFETY: the caller's promise, for this and the writes to `len`.
        let joined = unsafe { buffer("buf", buf.cast::<u8>(), cap)? };
        if total > cap {
            // SAFETY: as above.
            unsafe { len.write(total) };
            return Err(too_small::<u8>("buf", total, cap));
        }
        let mut at = 0;
        for (&part, &part_len) in parts.iter().zip(lens) {
            // SAFETY: the caller's promise.
            let part = unsafe { bytes("part", part, part_len)? };
            joined[at..at + 4].copy_from_slice(&(part_len as u32).to_le_bytes());
            joined[at + 4..at + 4 + part_len].copy_from_slice(part);
            at += 4 + part_len;
        }
        // SAFETY: as above.
        unsafe { len.write(total) };
        Ok(fb_code::FB_OK)
    })
}
