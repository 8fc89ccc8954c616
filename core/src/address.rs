//! Who is asking: the client's address behind proxies, as a limiter's key.

use crate::{Error, Key, Result};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address that a limiter should count a client by.
///
/// An IPv6 client has a whole network to send from, so its address stands for
/// the network of the first 64 bits; an IPv4 address that is written as an IPv6
/// one is the IPv4 address. Two requests have equal keys in every language iff
/// these are equal.
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use forebay::ClientAddress;
/// // Our one proxy, at 10.0.0.7, says who asked it; the rest is the client's word.
/// let client = ClientAddress::behind("10.0.0.7", "6.6.6.6, 203.0.113.9", 1)?;
/// assert_eq!(client.to_string(), "203.0.113.9");
/// let client = ClientAddress::of("[2001:db8:1:2:3:4:5:6]:443")?;
/// assert_eq!(client.to_string(), "2001:db8:1:2::/64");
/// assert_eq!(ClientAddress::of("::ffff:203.0.113.9")?.to_string(), "203.0.113.9");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    address: IpAddr,
    /// Bits of an IPv6 address that count.
    prefix: u8,
}

impl ClientAddress {
    /// Of a peer that connects directly: an address, with or without a port.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is no address.
    pub fn of(peer: &str) -> Result<ClientAddress> {
        ClientAddress::behind(peer, "", 0)
    }

    /// Of a client behind `trusted_hops` proxies of our own, the last of which
    /// is `peer`. Each of them appended the address that it saw to the header
    /// `X-Forwarded-For`; what stands further left is the client's word and
    /// does not count. If there are fewer entries than hops, or the entry is no
    /// address, the nearest one that can be trusted is taken.
    ///
    /// Several such headers are joined by commas, in their order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `peer` is no address.
    pub fn behind(peer: &str, forwarded_for: &str, trusted_hops: usize) -> Result<ClientAddress> {
        let mut address = parse(peer).ok_or_else(|| {
            Error::invalid(
                "address",
                format_args!("{peer:?}"),
                "an IPv4 or IPv6 address, with or without a port",
            )
        })?;
        for entry in forwarded_for.rsplit(',').take(trusted_hops) {
            // A proxy that hides its client says "unknown" or the like.
            match parse(entry.trim()) {
                Some(seen) => address = seen,
                None => break,
            }
        }
        Ok(ClientAddress {
            address: address.to_canonical(),
            prefix: 64,
        })
    }

    /// Counts IPv6 clients by so many bits instead of 64: 0 to 128.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Result<ClientAddress> {
        if bits > 128 {
            return Err(Error::invalid("ipv6_prefix", bits, "0 to 128"));
        }
        self.prefix = bits;
        Ok(self)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                let network = Ipv6Addr::from_bits(address.to_bits() & mask);
                write!(f, "{network}/{}", self.prefix)
            }
        }
    }
}

impl Key for ClientAddress {
    /// The address as text: the same bytes as in every other language.
    fn with_bytes<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use std::io::Write;
        // The longest is eight groups of four digits, and "/128".
        let mut text = [0u8; 48];
        let mut rest = &mut text[..];
        // It fits, and a slice is written without failure.
        let _ = write!(rest, "{self}");
        let left = rest.len();
        use_it(&text[..48 - left])
    }
}

/// An address, alone or with a port, the IPv6 one in brackets or not, and
/// without the zone that a link-local one may have.
fn parse(text: &str) -> Option<IpAddr> {
    if let Some((address, _)) = text.split_once('%') {
        return address.trim_start_matches('[').parse().ok();
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(peer: &str, forwarded: &str, hops: usize) -> String {
        ClientAddress::behind(peer, forwarded, hops)
            .unwrap()
            .to_string()
    }

    #[test]
    fn only_our_own_proxies_are_believed() {
        let header = "6.6.6.6, 203.0.113.9,10.0.0.2";
        assert_eq!(behind("10.0.0.1", header, 0), "10.0.0.1");
        assert_eq!(behind("10.0.0.1", header, 1), "10.0.0.2");
        assert_eq!(behind("10.0.0.1", header, 2), "203.0.113.9");
        assert_eq!(behind("10.0.0.1", header, 3), "6.6.6.6");
        assert_eq!(behind("10.0.0.1", header, 9), "6.6.6.6");
        assert_eq!(behind("10.0.0.1", "", 2), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_is_passed_over_for_the_nearest_that_is() {
        assert_eq!(behind("10.0.0.1", "203.0.113.9, unknown", 2), "10.0.0.1");
        assert_eq!(behind("10.0.0.1", "<script>, 10.0.0.2", 2), "10.0.0.2");
        assert_eq!(behind("10.0.0.1", ",,,", 3), "10.0.0.1");
        for peer in [
            "",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "::1::2",
            "[::1",
            "1.2.3.4:99999",
        ] {
            assert!(ClientAddress::of(peer).is_err(), "{peer}");
        }
    }

    #[test]
    fn addresses_are_told_alike_however_they_are_written() {
        for (written, told) in [
            ("203.0.113.9:5678", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:cb00:7109]:80", "203.0.113.9"),
            ("[2001:DB8::1]", "2001:db8::/64"),
            ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
            ("::1", "::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("[fe80::1%eth0]:80", "fe80::/64"),
        ] {
            assert_eq!(behind(written, "", 0), told, "{written}");
        }
    }

    #[test]
    fn the_network_is_as_wide_as_asked() {
        let client = ClientAddress::of("2001:db8:1:2:3:4:5:6").unwrap();
        for (bits, told) in [
            (0, "::/0"),
            (48, "2001:db8:1::/48"),
            (56, "2001:db8:1::/56"),
            (128, "2001:db8:1:2:3:4:5:6/128"),
        ] {
            assert_eq!(client.ipv6_prefix(bits).unwrap().to_string(), told);
        }
        assert!(client.ipv6_prefix(129).is_err());
    }

    #[test]
    fn its_key_is_its_text() {
        for written in ["203.0.113.9", "2001:db8:1:2:3:4:5:6"] {
            let client = ClientAddress::of(written)
                .unwrap()
                .ipv6_prefix(128)
                .unwrap();
            let text = client.to_string();
            client.with_bytes(|bytes| assert_eq!(bytes, text.as_bytes()));
        }
    }
}
