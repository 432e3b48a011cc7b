//! Addresses: which are public, and which others the operator allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;

use crate::error::NetworkError;

/// Most characters of a text that an error repeats.
const MAX_SHOWN: usize = 64;
/// A port for asking which way packets would go.
const DISCARD: u16 = 9;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), prefix)
}

/// What of IPv4 is not public: the IANA special-purpose registry and the address space registry.
const SPECIAL_V4: [Ipv4Net; 16] = [
    // "This network", RFC 791 §3.2; Linux connects 0.0.0.0 to itself.
    v4(0, 0, 0, 0, 8),
    // Private use, RFC 1918.
    v4(10, 0, 0, 0, 8),
    // Shared address space of carriers' NAT, RFC 6598; a cloud's metadata service uses it too.
    v4(100, 64, 0, 0, 10),
    // Loopback, RFC 1122 §3.2.1.3.
    v4(127, 0, 0, 0, 8),
    // Link-local, RFC 3927; metadata services of clouds are at 169.254.169.254.
    v4(169, 254, 0, 0, 16),
    // Private use, RFC 1918.
    v4(172, 16, 0, 0, 12),
    // Azure's platform services: public in form, private to each machine.
    v4(168, 63, 129, 16, 32),
    // IETF protocol assignments, RFC 6890.
    v4(192, 0, 0, 0, 24),
    // TEST-NET-1, RFC 5737.
    v4(192, 0, 2, 0, 24),
    // 6to4 relay anycast, deprecated by RFC 7526.
    v4(192, 88, 99, 0, 24),
    // Private use, RFC 1918.
    v4(192, 168, 0, 0, 16),
    // Benchmarking, RFC 2544.
    v4(198, 18, 0, 0, 15),
    // TEST-NET-2, RFC 5737.
    v4(198, 51, 100, 0, 24),
    // TEST-NET-3, RFC 5737.
    v4(203, 0, 113, 0, 24),
    // Multicast, RFC 5771.
    v4(224, 0, 0, 0, 4),
    // Reserved, RFC 1112 §4, and limited broadcast, RFC 919.
    v4(240, 0, 0, 0, 4),
];

/// All that is assigned as global unicast, RFC 4291 §2.4. Loopback, unique local (RFC 4193), link-local, site-local (RFC 3879),
/// multicast, discard-only (RFC 6666), NAT64 (RFC 6052, RFC 8215), translated IPv4 (RFC 2765) and segment routing (RFC 9602) lie
/// outside of it.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What of global unicast is not public after all: the IANA special-purpose registry.
const SPECIAL_V6: [Ipv6Net; 4] = [
    // IETF protocol assignments, RFC 2928: Teredo (RFC 4380), benchmarking (RFC 5180), ORCHIDv2 (RFC 7343) and others.
    v6(0x2001, 0, 0, 23),
    // Documentation, RFC 3849.
    v6(0x2001, 0xdb8, 0, 32),
    // 6to4, RFC 3056: holds an IPv4 address that a relay would go to.
    v6(0x2002, 0, 0, 16),
    // Documentation, RFC 9637.
    v6(0x3fff, 0, 0, 20),
];

/// IPv4-compatible IPv6, deprecated by RFC 4291 §2.5.5.1.
const COMPATIBLE: Ipv6Net = v6(0, 0, 0, 96);

/// Whether `address` is one of the public internet, by the IANA special-purpose registries (RFC 6890).
///
/// An IPv6 address that holds an IPv4 address in its last 32 bits (IPv4-mapped and IPv4-compatible, RFC 4291 §2.5.5) is what that
/// one is. Addresses of translators and tunnels (NAT64, 6to4, Teredo) are not public: what is behind them can not be seen.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    if COMPATIBLE.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address))
}

/// Where connections may go: to public addresses, and to others in the ranges that are listed.
///
/// A range that is listed is allowed as it is: with `64:ff9b::/96` (NAT64) every IPv4 address behind the translator is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
    /// Ports of this machine that are never reached; none where this machine's own addresses are as others.
    own: Option<Vec<u16>>,
}

impl Networks {
    /// Reads ranges that are allowed, each `10.1.0.0/16`, `fd00::/8` or one address.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] for a text that is no range, or has bits after its prefix.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NetworkError> {
        Ok(Self {
            allowed: ranges(texts)?,
            ..Self::default()
        })
    }

    /// The same without these ranges, public or listed.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn without<T: AsRef<str>>(self, texts: &[T]) -> Result<Self, NetworkError> {
        Ok(Self {
            denied: ranges(texts)?,
            ..self
        })
    }

    /// The same without the machine that this runs on: its addresses, public ones too, unless their range is listed, and these
    /// `ports` of it in any case. What reaches a service from its own machine is often trusted more than what comes from outside.
    #[must_use]
    pub fn elsewhere(self, ports: Vec<u16>) -> Self {
        Self {
            own: Some(ports),
            ..self
        }
    }

    /// Whether `address` may be connected to: it is public, or in one of the ranges, and not denied. An IPv4-mapped address is in a
    /// range when its IPv4 address is.
    pub fn allow(&self, address: IpAddr) -> bool {
        (is_public(address) || contain(&self.allowed, address)) && !contain(&self.denied, address)
    }

    /// Whether a connection may go to `address`: as [`Self::allow`], and not to this very machine.
    pub(crate) fn permit(&self, address: SocketAddr) -> bool {
        let is_elsewhere = || match &self.own {
            None => true,
            Some(_) if !is_own(address.ip()) => true,
            Some(ports) => contain(&self.allowed, address.ip()) && !ports.contains(&address.port()),
        };
        self.allow(address.ip()) && is_elsewhere()
    }
}

fn contain(ranges: &[IpNet], address: IpAddr) -> bool {
    let canonical = address.to_canonical();
    ranges.iter().any(|net| net.contains(&canonical))
}

/// Whether `address` is one of this machine: packets to it would come from it. Nothing is sent. Where that cannot be found out, it
/// is taken for one.
fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((any, 0)) {
        Ok(socket) => socket,
        // A machine without this family has none of its addresses.
        Err(error) => return Errno::from_io_error(&error) != Some(Errno::AFNOSUPPORT),
    };
    // No route: it is not this machine, and the connection will fail.
    if socket.connect((address, DISCARD)).is_err() {
        return false;
    }
    socket
        .local_addr()
        .is_ok_and(|source| source.ip().to_canonical() == address)
}

fn ranges<T: AsRef<str>>(texts: &[T]) -> Result<Vec<IpNet>, NetworkError> {
    texts.iter().map(|text| range(text.as_ref())).collect()
}

fn range(text: &str) -> Result<IpNet, NetworkError> {
    let shown = || text.chars().take(MAX_SHOWN).collect();
    let net: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text
            .parse()
            .map_err(|_| NetworkError::Invalid { text: shown() })?,
    };
    if net != net.trunc() {
        return Err(NetworkError::HostBits {
            text: shown(),
            network: net.trunc().to_string(),
        });
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_only_where_its_range_is_listed_and_never_at_its_own_ports() {
        let networks = Networks::parse(&["127.0.0.0/8"]).unwrap();
        let networks = networks.elsewhere(vec![8080]);
        let permit = |text: &str| networks.permit(text.parse().unwrap());
        assert!(permit("127.0.0.1:80"));
        for own in [
            "127.0.0.1:8080",
            "127.9.9.9:8080",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(!permit(own), "{own}");
        }
        assert!(!permit("[::1]:80"));
    }

    #[test]
    fn addresses_of_this_machine_are_known_and_those_of_others_are_not_its_own() {
        for own in [
            "127.0.0.1",
            "127.3.2.1",
            "::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_own(own.parse().unwrap()), "{own}");
        }
        for other in ["1.1.1.1", "2606:4700::1", "192.0.2.77"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
    }
}
