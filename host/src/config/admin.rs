//! `[admin]`: the port for probes and operators.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// `[admin]`: the port for probes and operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Admin {
    /// Where it is, `ip:port` or `unix:/path`; port 0 takes a free one, named in the log; empty switches it off. Keep it on the
    /// loopback interface, or in a folder of the operator's.
    pub listening: String,
    /// The file with the token that changes need; none is `admin.token` in `executor_path`, made where it is missing.
    pub token_file: PathBuf,
    /// Names that the port may be called by beside its address, with or without a port: that of a tunnel, say.
    pub hosts: Vec<String>,
}

impl Admin {
    /// The place; none where the port is off.
    ///
    /// # Errors
    /// When it is neither an address nor a path.
    pub fn place(&self) -> Result<Option<Place>, Error> {
        if self.listening.is_empty() {
            return Ok(None);
        }
        let place = self
            .listening
            .parse()
            .map_err(|message| Error::ConfigValue {
                key: "admin.listening",
                message,
            });
        place.map(Some)
    }
}

/// What stands before a path.
const UNIX: &str = "unix:";

/// Where the admin port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither ip:port nor unix:/path");
        match text.strip_prefix(UNIX) {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_an_absolute_path() {
        for text in ["127.0.0.1:8081", "[::1]:0", "unix:/run/hypervisor/admin"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost:8081",
            "unix:",
            "unix:relative",
            "/run/admin",
            "8081",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
