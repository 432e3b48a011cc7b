//! Origins: scheme, host and port of a URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::PatternError;

/// Most characters of a host name (RFC 1035 §2.3.4, without the dot at the end).
const MAX_NAME: usize = 253;
/// Most characters of a label.
const MAX_LABEL: usize = 63;

/// What requests are sent by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("http") {
            Some(Self::Http)
        } else if text.eq_ignore_ascii_case("https") {
            Some(Self::Https)
        } else {
            None
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An origin (RFC 6454): scheme, host and port, in one normal form.
///
/// The scheme is `http` or `https`. The host is a name in lower case without a dot at its end, an IPv4 address, or an IPv6
/// address in brackets in its shortest form. Anything else that a URL may hold as its host is no origin: percent signs, other
/// characters than ASCII, zones, and the short and hexadecimal forms of IPv4 that some resolvers accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl Origin {
    /// The origin of an absolute `http` or `https` URL; none of anything else. User information is left out of it.
    pub fn of(uri: &http::Uri) -> Option<Self> {
        let scheme = Scheme::parse(uri.scheme_str()?)?;
        let authority = uri.authority()?.as_str();
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, after)| after);
        Self::parse(scheme, authority).ok()
    }

    /// The origin of `scheme` and a host with or without a port.
    pub(crate) fn parse(scheme: Scheme, authority: &str) -> Result<Self, PatternError> {
        let (host, port) = split_port(authority)?;
        Ok(Self {
            scheme,
            host: Host::parse(host)?,
            port: port.unwrap_or(scheme.port()),
        })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.scheme.as_str()
    }

    /// The host as it stands in a URL: in lower case, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host.text
    }

    /// The port, the scheme's own where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.ip
    }

    /// Whether requests go over TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Host and port as the field `host` of a request has them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.text.clone()
        } else {
            format!("{}:{}", self.host.text, self.port)
        }
    }

    pub(crate) fn scheme_and_port(&self) -> (Scheme, u16) {
        (self.scheme, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// A host in its normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) text: String,
    pub(crate) ip: Option<IpAddr>,
}

impl Host {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(rest) = text.strip_prefix('[') {
            let ip: Ipv6Addr = rest
                .strip_suffix(']')
                .and_then(|inside| inside.parse().ok())
                .ok_or(PatternError::HostAddress)?;
            return Ok(Self {
                text: format!("[{ip}]"),
                ip: Some(IpAddr::V6(ip)),
            });
        }
        // `a.example.` is the same host as `a.example`, spelt as an absolute name.
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.contains('*') {
            return Err(PatternError::Wildcard);
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        {
            return Err(PatternError::HostCharacter);
        }
        if name.len() > MAX_NAME
            || name
                .split('.')
                .any(|label| label.is_empty() || label.len() > MAX_LABEL)
        {
            return Err(PatternError::HostLength);
        }
        let ip = match name.rsplit('.').next() {
            Some(last) if is_number(last) => Some(IpAddr::V4(
                name.parse::<Ipv4Addr>()
                    .map_err(|_| PatternError::HostAddress)?,
            )),
            _ => None,
        };
        Ok(Self {
            text: name.to_ascii_lowercase(),
            ip,
        })
    }
}

/// Whether a last label makes resolvers read the whole as an IPv4 address: `127.1`, `2130706433`, `0x7f.1`.
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Cuts an authority without user information into host and port.
pub(crate) fn split_port(authority: &str) -> Result<(&str, Option<u16>), PatternError> {
    // The colons of an IPv6 address are inside its brackets.
    let from = match authority.find(']') {
        Some(end) => end,
        None if authority.starts_with('[') => return Err(PatternError::HostAddress),
        None => 0,
    };
    let colon = authority
        .get(from..)
        .and_then(|rest| rest.find(':'))
        .map(|at| from.saturating_add(at));
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else {
        return Ok((authority, None));
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if digits.contains(':') {
        return Err(PatternError::HostAddress);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PatternError::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(PatternError::Port),
        Ok(port) => Ok((host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(
            origin("https://a.example/x"),
            origin("https://A.example:443/y?z")
        );
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_ne!(origin("http://a.example"), origin("http://a.example:81"));
        assert_ne!(origin("http://a.example"), origin("http://a.example.org"));
        assert_eq!(origin("ftp://a.example"), None);
        assert_eq!(origin("/path"), None);
    }

    #[test]
    fn user_information_does_not_hide_the_host() {
        assert_eq!(
            origin("http://allowed.example@evil.example/"),
            origin("http://evil.example/")
        );
        assert_eq!(
            origin("http://user:allowed.example@evil.example/"),
            origin("http://evil.example/")
        );
    }

    #[test]
    fn its_parts_are_in_normal_form() {
        let origin = origin("HTTPS://API.Example.org:8443/").unwrap();
        assert_eq!(origin.scheme(), "https");
        assert_eq!(origin.host(), "api.example.org");
        assert_eq!(origin.port(), 8443);
        assert_eq!(origin.ip(), None);
        assert_eq!(origin.authority(), "api.example.org:8443");
        assert_eq!(origin.to_string(), "https://api.example.org:8443");
    }

    #[test]
    fn the_schemes_own_port_is_not_shown() {
        assert_eq!(
            origin("http://a.example:80/").unwrap().to_string(),
            "http://a.example"
        );
        assert_eq!(
            origin("https://a.example:80/").unwrap().to_string(),
            "https://a.example:80"
        );
    }

    #[test]
    fn a_dot_at_the_end_makes_no_other_host() {
        assert_eq!(origin("http://a.example./"), origin("http://a.example/"));
        assert_eq!(origin("http://localhost./"), origin("http://localhost/"));
        assert_eq!(origin("http://a.example../"), None);
    }

    #[test]
    fn ipv6_literals_are_shortened_and_keep_their_brackets() {
        let origin = origin("http://[2001:DB8:0:0::1]:8080/").unwrap();
        assert_eq!(origin.host(), "[2001:db8::1]");
        assert_eq!(origin.port(), 8080);
        assert_eq!(origin.ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(origin.to_string(), "http://[2001:db8::1]:8080");
    }

    #[test]
    fn ipv4_literals_have_four_decimal_numbers() {
        assert_eq!(
            origin("http://127.0.0.1/").unwrap().ip(),
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
        for other in [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://127.0.0.0x1/",
            "http://0177.0.0.1/",
            "http://127.0.0.01/",
            "http://1.2.3.4.5/",
            "http://a.example.1/",
            "http://256.1.1.1/",
        ] {
            assert_eq!(origin(other), None, "{other}");
        }
    }

    #[test]
    fn odd_ports_are_no_origin() {
        for other in ["http://a.example:65536/", "http://a.example:0/"] {
            assert_eq!(origin(other), None, "{other}");
        }
        assert_eq!(
            Origin::parse(Scheme::Http, "a.example:"),
            Err(PatternError::Port)
        );
        assert_eq!(
            Origin::parse(Scheme::Http, "a.example:+80"),
            Err(PatternError::Port)
        );
        assert_eq!(
            Origin::parse(Scheme::Http, "[::1]:8o"),
            Err(PatternError::Port)
        );
    }

    #[test]
    fn percent_signs_unicode_and_zones_are_no_origin() {
        for (host, error) in [
            ("a%2eexample", PatternError::HostCharacter),
            ("b\u{fc}cher.example", PatternError::HostCharacter),
            ("a\u{3002}example", PatternError::HostCharacter),
            ("a b", PatternError::HostCharacter),
            ("a\0b", PatternError::HostCharacter),
            ("user@a", PatternError::HostCharacter),
            ("[fe80::1%25eth0]", PatternError::HostAddress),
            ("[::1", PatternError::HostAddress),
            ("::1", PatternError::HostAddress),
            ("a.example:80:80", PatternError::HostAddress),
            ("[::1]a", PatternError::HostAddress),
            ("", PatternError::HostLength),
            (".", PatternError::HostLength),
            (".a", PatternError::HostLength),
            ("a..b", PatternError::HostLength),
        ] {
            assert_eq!(Origin::parse(Scheme::Http, host), Err(error), "{host:?}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(Origin::parse(Scheme::Http, &longest).is_ok());
        for long in [format!("{longest}a"), "a".repeat(64)] {
            assert_eq!(
                Origin::parse(Scheme::Http, &long),
                Err(PatternError::HostLength)
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
            let _ = Origin::parse(Scheme::Http, &text);
        }

        #[test]
        fn the_text_of_an_origin_is_its_own_url(
            authority in "([a-zA-Z0-9_.-]{1,40}|[0-9]{1,3}\\.[0-9.x]{1,12}|\\[[0-9a-fA-F:.]{2,30}\\])(:[0-9]{1,6})?",
        ) {
            if let Ok(origin) = Origin::parse(Scheme::Https, &authority) {
                prop_assert!(origin.host().bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()));
                prop_assert!(!origin.host().ends_with('.'));
                let uri: http::Uri = origin.to_string().parse().unwrap();
                prop_assert_eq!(Origin::of(&uri), Some(origin));
            }
        }

        #[test]
        fn what_a_url_parser_takes_for_the_host_is_the_host(
            url in "https?://([a-z@:.\\[\\]0-9A-Z%-]{0,20}@)?[a-zA-Z0-9.\\[\\]:-]{1,30}(/[a-z]*)?",
        ) {
            if let Ok(uri) = url.parse::<http::Uri>()
                && let Some(origin) = Origin::of(&uri)
                && origin.ip().is_none()
            {
                let host = uri.host().unwrap().to_ascii_lowercase();
                prop_assert_eq!(origin.host(), host.strip_suffix('.').unwrap_or(&host));
            }
        }
    }
}
