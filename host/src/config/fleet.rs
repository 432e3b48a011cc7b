//! `[fleet]`: the hosts that are one service.

use std::path::PathBuf;

use hypervisor_fleet::Address;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// `[fleet]`: the hosts that are one service. They share payments, agents and environments, sealed, in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Fleet {
    /// The database, `postgres://…`; none: this host alone, with files of its own.
    pub store: String,
    /// A file with the 32 bytes of the fleet's key, the same on every host.
    pub key: PathBuf,
    /// Where other hosts of the fleet reach this one: `ip:port`, or `unix:/path` on one machine; none where no other does.
    pub advertise: String,
}

impl Fleet {
    /// Whether this host is one of several.
    pub fn is_on(&self) -> bool {
        !self.store.is_empty()
    }

    /// Where other hosts reach this one.
    pub(crate) fn address(&self) -> Result<Option<Address>, Error> {
        if self.advertise.is_empty() {
            return Ok(None);
        }
        let address = self.advertise.parse();
        let address = address.map_err(|error: hypervisor_fleet::Error| Error::ConfigValue {
            key: "fleet.advertise",
            message: error.to_string(),
        });
        address.map(Some)
    }

    /// The socket of this machine on which other hosts reach this one, where it is one.
    ///
    /// # Errors
    /// As the configuration's own check.
    pub fn socket(&self) -> Result<Option<PathBuf>, Error> {
        Ok(match self.address()? {
            Some(Address::Unix(path)) => Some(path),
            Some(Address::Tcp(_)) | None => None,
        })
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message: &str| {
            Err(Error::ConfigValue {
                key,
                message: message.to_owned(),
            })
        };
        if !self.is_on() {
            return match (self.key.as_os_str().is_empty(), self.advertise.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => wrong("fleet.key", "needs `store`: a host alone has no fleet"),
                (_, false) => wrong(
                    "fleet.advertise",
                    "needs `store`: a host alone has no fleet",
                ),
            };
        }
        if !self.store.starts_with("postgres://") && !self.store.starts_with("postgresql://") {
            return wrong("fleet.store", "is not `postgres://…`");
        }
        if self.key.as_os_str().is_empty() {
            return wrong(
                "fleet.key",
                "a fleet needs the file with its key: 32 random bytes, the same on every host",
            );
        }
        self.address().map(drop)
    }
}
