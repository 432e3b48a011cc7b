//! Documents with a version: it is read before the rest, so that a later version is told from a malformed document.

use hypervisor_protocol::ContentFormat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of every document of this crate.
pub(crate) const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Version {
    version: u32,
}

pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    format: ContentFormat,
    bytes: &[u8],
) -> Result<T, Error> {
    let malformed = |error: hypervisor_protocol::Error| Error::Malformed {
        what,
        reason: error.to_string(),
    };
    let Version { version } = format.decode(bytes).map_err(malformed)?;
    if version != VERSION {
        return Err(Error::Version {
            what,
            found: version.into(),
        });
    }
    format.decode(bytes).map_err(malformed)
}

pub(crate) fn encode<T: Serialize>(
    what: &'static str,
    format: ContentFormat,
    document: &T,
) -> Result<Vec<u8>, Error> {
    format.encode(document).map_err(|error| Error::Encode {
        what,
        reason: error.to_string(),
    })
}
