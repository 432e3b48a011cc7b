//! `[fleet]`: the hosts that are one service.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use hypervisor_evidence::manifest::FleetKey;
use hypervisor_fleet::Address;
use hypervisor_peers::Terms;
use hypervisor_postgres::Postgres;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;

/// `[fleet]`: the hosts that are one service. They share payments, agents and environments, sealed, in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Fleet {
    /// The database, `postgres://…`; none: this host alone, with files of its own.
    pub store: DatabaseUrl,
    /// A file with the 32 bytes of the fleet's key, the same on every host; or `peers`: hosts give it to each other.
    pub key: PathBuf,
    /// A verification policy, by which hosts judge each other before they do.
    pub policy: PathBuf,
    /// What is in that file, read once.
    #[serde(skip)]
    pub terms: Option<Terms>,
    /// Where other hosts of the fleet reach this one: `ip:port`, or `unix:/path` on one machine; none where no other does.
    pub advertise: String,
}

impl Fleet {
    /// Whether this host is one of several.
    pub fn is_on(&self) -> bool {
        !self.store.is_empty()
    }

    /// Who may have the key, as the manifest says it; none where the host is alone.
    pub fn held_by(&self) -> Option<FleetKey> {
        let terms = self.terms.as_ref();
        let key = terms.map_or(FleetKey::File, |it| FleetKey::Peers(it.sha256()));
        self.is_on().then_some(key)
    }

    /// Where other hosts reach this one.
    pub fn address(&self) -> Result<Option<Address>, Error> {
        if self.advertise.is_empty() {
            return Ok(None);
        }
        let address = self.advertise.parse();
        let address = address.map_err(|error: hypervisor_fleet::Error| Error::Value {
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

    pub(crate) fn validate(&mut self) -> Result<(), Error> {
        let wrong = |key, message: &str| {
            Err(Error::Value {
                key,
                message: message.to_owned(),
            })
        };
        if !self.is_on() {
            let is_set = [
                ("fleet.key", !self.key.as_os_str().is_empty()),
                ("fleet.policy", !self.policy.as_os_str().is_empty()),
                ("fleet.advertise", !self.advertise.is_empty()),
            ];
            return match is_set.into_iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => wrong(key, "needs `store`: a host alone has no fleet"),
                None => Ok(()),
            };
        }
        if let Err(error) = Postgres::named(&self.store) {
            return wrong("fleet.store", &error.to_string());
        }
        if self.key.as_os_str().is_empty() {
            return wrong(
                "fleet.key",
                "a fleet needs the file with its key: 32 random bytes, the same on every host; or \"peers\" with a `policy`",
            );
        }
        let terms = Terms::configured(&self.key, &self.policy, !self.advertise.is_empty());
        self.terms = terms.map_err(|(key, message)| Error::Value { key, message })?;
        self.address().map(drop)
    }
}

/// Where a database is. It may hold a password, and is shown without user and password.
#[derive(Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl Deref for DatabaseUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Postgres::named(&self.0) {
            Ok(name) => write!(f, "postgres://{name}"),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
