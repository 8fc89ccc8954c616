//! What an HTTP server asks: a verdict as headers, and a client's address.

use crate::argument::{buffer, bytes, out, slice, text, write_text};
use crate::limiter::{fb_verdict, FB_NOW};
use crate::status::{answer, fb_code, fb_status};
use forebay::{headers, ClientAddress, Error, HeaderStyle, Limit, Result, Verdict};
use std::ffi::{c_char, c_void};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A limit as headers tell it. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_limit {
    /// Its name in the newer styles, printable ASCII ended by NUL: such as the
    /// limiter's.
    pub name: *const c_char,
    /// What the limiter said.
    pub verdict: fb_verdict,
    /// The key that was asked about, if the client is to be told which of its
    /// requests share a bucket; NULL with 0: not told. "draft-8" and "draft-10"
    /// tell it as pk, the partition key, by the first twelve hexadecimal digits of
    /// its SHA-256. Somebody who sees them can check a guess at the key.
    pub key: *const c_void,
    /// Its length. An empty key is one that is not NULL.
    pub key_len: usize,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<fb_limit>() == 8 * 8);

/// The headers that tell a client about these limits, as lines for a response:
/// "Name: value\r\n" each, then NUL. `*len` becomes the length without NUL, also
/// when `cap` is too small.
///
/// `styles`: names joined by commas, of "legacy" (X-RateLimit-Limit, -Remaining
/// and -Reset, the reset in seconds since 1970), "legacy-delta" (the reset in
/// seconds from now), and the IETF's "draft-6", "draft-7", "draft-8" and
/// "draft-10". Several limits share the headers of draft-8 and draft-10; the older
/// styles have room for one: that which refused, else the one with the fewest
/// tokens left. An unlimited one is not told. Retry-After is there if a limit
/// refused and waiting helps. `wall_ns`: nanoseconds since 1970, which "legacy"
/// needs, or FB_NOW to read the system's clock.
///
/// Ownership: borrows the limits, their names and keys, and the styles; writes to
/// `buf` (`cap` bytes; NULL with 0 asks for the length).
/// Threads: any.
/// Cost: allocates; no lock.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT for a style that there is not, or a name
/// that is not printable ASCII; FB_E_TOO_LARGE unless `cap` is more than `*len`.
#[no_mangle]
pub unsafe extern "C" fn fb_headers(
    limits: *const fb_limit,
    count: usize,
    styles: *const c_char,
    wall_ns: u64,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and below.
        let (limits, styles, buf) = unsafe {
            (
                slice("limits", limits, count)?,
                text("styles", styles)?,
                buffer("buf", buf.cast::<u8>(), cap)?,
            )
        };
        let len = out("len", len)?;
        let named = limits.iter().map(|limit| {
            // SAFETY: as above.
            let (name, key) = unsafe {
                (
                    text("name", limit.name)?,
                    bytes("key", limit.key, limit.key_len)?,
                )
            };
            let key = (!limit.key.is_null()).then_some(key);
            Ok((name, Verdict::from(&limit.verdict), key))
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        let limits: Vec<_> = named
            .iter()
            .map(|(name, said, key)| match key {
                Some(key) => Limit::new(name, said).key(key),
                None => Limit::new(name, said),
            })
            .collect();
        let now = match wall_ns {
            FB_NOW => SystemTime::now(),
            since => UNIX_EPOCH + Duration::from_nanos(since),
        };
        let mut lines = String::new();
        for (name, value) in headers(&limits, &styles_of(styles)?, now)? {
            lines.extend([name, ": ", &value, "\r\n"]);
        }
        // SAFETY: as above.
        unsafe { write_text(lines.as_bytes(), buf, len)? };
        Ok(fb_code::FB_OK)
    })
}

/// The styles of a list; an empty text has none.
fn styles_of(names: &str) -> Result<Vec<HeaderStyle>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    names.split(',').map(|name| name.trim().parse()).collect()
}

/// The address that a limiter should count a client by, as text for its key,
/// ended by NUL: the same in every language. `*len` becomes its length without
/// NUL, also when `cap` is too small; 64 bytes are always enough.
///
/// `peer`: the address of the connection, with or without a port.
/// `trusted_hops`: how many proxies of our own there are, the last of which is
/// `peer`; 0: clients connect directly. Each of them appended the address that it
/// saw to the header X-Forwarded-For, which is `forwarded_for` (several are joined
/// by commas, in their order); what stands further left is the client's word and
/// does not count. If there are fewer entries than hops, or the entry is no
/// address, the nearest one that can be trusted is taken.
///
/// An IPv6 address stands for its network of `ipv6_prefix` bits, 0 to 128; 64 is
/// what one client usually has. An IPv4 address written as an IPv6 one is the IPv4
/// address.
///
/// Ownership: borrows the texts; `forwarded_for` has `forwarded_len` bytes of any
/// kind (NULL with 0: no such header). Writes to `buf` (`cap` bytes).
/// Threads: any.
/// Cost: allocates; no lock.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT if `peer` is no address or for more than
/// 128 bits; FB_E_TOO_LARGE unless `cap` is more than `*len`.
#[no_mangle]
pub unsafe extern "C" fn fb_client_address(
    peer: *const c_char,
    forwarded_for: *const c_char,
    forwarded_len: usize,
    trusted_hops: usize,
    ipv6_prefix: u32,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (peer, forwarded, buf) = unsafe {
            (
                text("peer", peer)?,
                bytes("forwarded_for", forwarded_for.cast(), forwarded_len)?,
                buffer("buf", buf.cast::<u8>(), cap)?,
            )
        };
        let len = out("len", len)?;
        let prefix = u8::try_from(ipv6_prefix)
            .map_err(|_| Error::invalid("ipv6_prefix", ipv6_prefix, "0 to 128"))?;
        // A client may send any bytes: those that are no text are no address.
        let forwarded = String::from_utf8_lossy(forwarded);
        let client = ClientAddress::behind(peer, &forwarded, trusted_hops)?;
        let told = client.ipv6_prefix(prefix)?.to_string();
        // SAFETY: as above.
        unsafe { write_text(told.as_bytes(), buf, len)? };
        Ok(fb_code::FB_OK)
    })
}
