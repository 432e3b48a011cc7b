//! The file by which the hosts of a fleet judge each other.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::judge::{Judge, LONGEST};

/// What a configuration has in the place of a key file.
const PEERS: &str = "peers";

/// The text of the policy, read once: what a host says of it and what it judges by are the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Terms {
    text: Arc<str>,
    sha256: [u8; 32],
}

impl Terms {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Policy`], [`Error::NoJudge`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| {
                file.take(LONGEST.saturating_add(1))
                    .read_to_string(&mut text)
            })
            .map_err(|source| Error::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(text)
    }

    /// What a configuration means by its `key`, `policy` and whether others reach the host; none where the key is a file.
    ///
    /// # Errors
    /// Which of its keys cannot be used so, and why.
    pub fn configured(
        key: &Path,
        policy: &Path,
        is_reached: bool,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let is_named = !policy.as_os_str().is_empty();
        let wrong = match (key == Path::new(PEERS), is_named) {
            (true, false) => (
                "fleet.policy",
                "`key = \"peers\"` needs the verification policy by which hosts judge each other",
            ),
            (false, true) => (
                "fleet.policy",
                "has no use beside a key file: whoever has the file has the key; write `key = \"peers\"`",
            ),
            (true, true) if !is_reached => (
                "fleet.advertise",
                "hosts that give each other the key have to reach each other",
            ),
            (true, true) => {
                let terms = Self::read(policy);
                return terms
                    .map(Some)
                    .map_err(|error| ("fleet.policy", error.to_string()));
            }
            (false, false) => return Ok(None),
        };
        Err((wrong.0, wrong.1.to_owned()))
    }

    /// A policy of this text.
    ///
    /// # Errors
    /// [`Error::Policy`].
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        let text = text.into();
        Judge::of(&text)?;
        let sha256 = Sha256::digest(text.as_bytes()).into();
        Ok(Self { text, sha256 })
    }

    /// SHA-256 of the file, which the manifest names.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    pub(crate) fn judge(&self) -> Result<Judge, Error> {
        Judge::of(&self.text)
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Terms({})", const_hex::encode(self.sha256))
    }
}
