//! Where a node is reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Bytes of the path of a socket, as many as the operating system takes.
const MOST_PATH: usize = 107;
/// What ends the authority of a socket's URI; its path is in hexadecimal before it.
const SOCKET: &str = ".socket";

/// Where a node is reached by others: plain HTTP/1.1, for what is secret is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `unix:/path`, on the same machine.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.chars().take(200).collect());
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= MOST_PATH => {
                Ok(Self::Unix(PathBuf::from(path)))
            }
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// As the authority of a URI, by which connections are kept.
    pub fn authority(&self) -> Option<Authority> {
        let text = match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => const_hex::encode(path.to_str()?) + SOCKET,
        };
        text.try_into().ok()
    }

    /// The one that a URI leads to.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?.as_str();
        match authority.strip_suffix(SOCKET) {
            Some(path) => {
                let path = String::from_utf8(const_hex::decode(path).ok()?).ok()?;
                Some(Self::Unix(path.into()))
            }
            None => authority.parse().map(Self::Tcp).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_socket_and_survives_its_uri() {
        for text in [
            "192.0.2.7:8080",
            "[2001:db8::7]:8080",
            "unix:/run/h/a b.sock",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let uri = Uri::builder()
                .scheme("http")
                .authority(address.authority().unwrap())
                .path_and_query("/ping?x")
                .build()
                .unwrap();
            assert_eq!(Address::of(&uri), Some(address));
        }
        for text in [
            "",
            "8080",
            "host:8080",
            "unix:",
            "unix:run",
            "http://192.0.2.7:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_none(text in ".{0,300}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
