//! `[admin]`: the port for probes and operators.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The name of the socket that there is where nothing else is said.
const SOCKET: &str = "admin.sock";
/// What stands before a path, and alone for that socket.
const UNIX: &str = "unix";

/// `[admin]`: the port for probes and operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Admin {
    /// Where it is: `unix`, a socket `admin.sock` in `executor_path` for the host's own user, which is the default; `unix:/path`;
    /// `ip:port`, where port 0 takes a free one, named in the log; empty switches it off.
    pub listening: String,
    /// The file with the token that a port at an address needs; none is `admin.token` in `executor_path`, made where it is missing.
    pub token_file: PathBuf,
    /// Names that the port may be called by beside its address, with or without a port: that of a tunnel, say.
    pub hosts: Vec<String>,
    /// The component that makes the page at `/`; none: it has the document alone.
    pub page: PathBuf,
    /// TLS on a port at an address.
    pub tls: AdminTls,
}

/// `[admin.tls]`: TLS on the admin port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct AdminTls {
    /// The certificate with what signs it, PEM; none: no TLS.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Certificates, PEM, that sign those of clients: with it a client shows one in the place of the token.
    pub client_ca: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listening: UNIX.to_owned(),
            token_file: PathBuf::new(),
            hosts: Vec::new(),
            page: PathBuf::new(),
            tls: AdminTls::default(),
        }
    }
}

impl AdminTls {
    /// Whether anything is named.
    pub(crate) fn is_on(&self) -> bool {
        let files = [&self.certificate, &self.key, &self.client_ca];
        files.iter().any(|file| !file.as_os_str().is_empty())
    }
}

impl Admin {
    /// The place, of a host whose state is in `state`; none where the port is off.
    pub(super) fn place(&self, state: &Path) -> Result<Option<Place>, Error> {
        let wrong = |key, message| Error::ConfigValue { key, message };
        let place = match self.listening.as_str() {
            "" => return Ok(None),
            UNIX => {
                let path = std::path::absolute(state.join(SOCKET));
                let path = path.map_err(|e| wrong("executor_path", e.to_string()))?;
                Place::Unix(path)
            }
            other => (other.parse()).map_err(|message| wrong("admin.listening", message))?,
        };
        if self.tls.is_on() && matches!(place, Place::Unix(_)) {
            let message = "TLS is for a port at an address: set `listening` in [admin] to ip:port";
            return Err(wrong("admin.tls", message.to_owned()));
        }
        Ok(Some(place))
    }
}

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
        match text.strip_prefix(UNIX).and_then(|it| it.strip_prefix(':')) {
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
            Self::Unix(path) => write!(f, "{UNIX}:{}", path.display()),
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
            "unix",
            "localhost:8081",
            "unix:",
            "unix:relative",
            "/run/admin",
            "8081",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_word_it_is_a_socket_in_the_hosts_own_folder() {
        let place = |admin: &Admin| admin.place(Path::new("/state"));
        let admin = Admin::default();
        let socket = Place::Unix("/state/admin.sock".into());
        assert_eq!(place(&admin).unwrap(), Some(socket));
        let off = Admin {
            listening: String::new(),
            ..admin.clone()
        };
        assert_eq!(place(&off).unwrap(), None);
        let tls = AdminTls {
            certificate: "certificate.pem".into(),
            ..AdminTls::default()
        };
        let with_tls = Admin { tls, ..admin };
        assert!(place(&with_tls).is_err());
        let at_address = Admin {
            listening: "127.0.0.1:0".to_owned(),
            ..with_tls
        };
        assert!(place(&at_address).unwrap().is_some());
    }
}
