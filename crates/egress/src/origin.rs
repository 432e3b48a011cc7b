//! Origins: scheme, host and port of a URL.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use http::uri::Scheme;
use rustls::pki_types::{DnsName, ServerName};

use crate::error::PatternError;

/// An origin (RFC 6454): scheme, host and port, in one normal form.
///
/// The scheme is `http` or `https`. The host is a name in lower case without a dot at its end, an IPv4 address, or an IPv6
/// address in brackets in its shortest form. Anything else that a URL may hold as its host is no origin: percent signs, other
/// characters than ASCII, zones, and the short and hexadecimal forms of IPv4 that some resolvers accept. The name that is looked up is
/// the one that a certificate must be valid for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    name: ServerName<'static>,
    port: u16,
}

impl Origin {
    /// The origin of an absolute `http` or `https` URL; none of anything else. User information is left out of it.
    pub fn of(uri: &http::Uri) -> Option<Self> {
        let authority = uri.authority()?.as_str();
        let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        Self::parse(uri.scheme()?, authority).ok()
    }

    /// The origin of a scheme and a host with or without a port.
    pub(crate) fn parse(scheme: &Scheme, authority: &str) -> Result<Self, PatternError> {
        let default = default_port(scheme).ok_or(PatternError::Scheme)?;
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are inside its brackets.
            Some((host, port)) if !port.contains(']') => (host, parse_port(port)?),
            _ => (authority, default),
        };
        Ok(Self {
            scheme: scheme.clone(),
            name: parse_host(host)?,
            port,
        })
    }

    /// The host as it stands in a URL: in lower case, an IPv6 address in brackets.
    pub fn host(&self) -> Cow<'_, str> {
        match self.ip() {
            Some(IpAddr::V6(address)) => format!("[{address}]").into(),
            _ => self.name.to_str(),
        }
    }

    /// The port, the scheme's own where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.name {
            ServerName::IpAddress(address) => Some(address.into()),
            _ => None,
        }
    }

    /// Whether requests go over TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Host and port as the field `host` of a request has them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        let host = self.host();
        if default_port(&self.scheme) == Some(self.port) {
            host.into_owned()
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// What the other end's certificate must be valid for.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Whether its host has one or more labels in front of the host of `other`, and all else is the same.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self
                .host()
                .strip_suffix(&*other.host())
                .is_some_and(|front| front.ends_with('.'))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn parse_port(text: &str) -> Result<u16, PatternError> {
    // Numbers in Rust may have a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<NonZeroU16>() {
        Ok(port) if is_number => Ok(port.get()),
        _ => Err(PatternError::Port),
    }
}

fn parse_host(text: &str) -> Result<ServerName<'static>, PatternError> {
    if let Some(rest) = text.strip_prefix('[') {
        let inside = rest.strip_suffix(']').ok_or(PatternError::Host)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| PatternError::Host)?;
        return Ok(address.into());
    }
    if text.contains('*') {
        return Err(PatternError::Wildcard);
    }
    // `a.example.` is the same host as `a.example`, spelt as an absolute name.
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(address.into());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    // A name that ends in a decimal number is none; resolvers read `127.0.0.0x1` as an address too.
    if last.is_empty() || last.starts_with("0x") {
        return Err(PatternError::Host);
    }
    DnsName::try_from(name)
        .map(ServerName::from)
        .map_err(|_| PatternError::Host)
}
