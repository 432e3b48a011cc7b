//! What the head of an agent's file holds, in CBOR.

use hypervisor_protocol::{HexArray, HexBytes, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::record::{Head, MAX_DETAILS, MAX_FINGERPRINT, Record};
use crate::error::{Damage, StoreError};
use crate::manifest::{MAX_TEXT, Manifest};

/// The head.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    owner: Option<HexBytes>,
    pub(super) manifest: Zeroizing<String>,
    pub(super) deployed_at: u64,
    pub(super) digest: HexArray<32>,
    sha384: HexArray<48>,
    pub(super) component_length: u64,
    pub(super) code_length: u64,
    pub(super) code_fingerprint: String,
    pub(super) details: HexBytes,
}

impl Contents {
    pub(super) fn new(record: &Record<'_>) -> Result<Self, StoreError> {
        for (what, length, maximum) in [
            ("manifest", record.manifest_text.len(), MAX_TEXT),
            ("details", record.details.len(), MAX_DETAILS),
            (
                "fingerprint",
                record.code_fingerprint.len(),
                MAX_FINGERPRINT,
            ),
        ] {
            if length > maximum {
                return Err(StoreError::TooLarge {
                    what,
                    length,
                    maximum,
                });
            }
        }
        let sha384: [u8; 48] = Sha384::digest(record.component).into();
        Ok(Self {
            owner: record.owner.map(|key| HexBytes(key.to_bytes().to_vec())),
            manifest: Zeroizing::new(record.manifest_text.to_owned()),
            deployed_at: record.deployed_at,
            digest: HexArray(super::digest(record.component)),
            sha384: HexArray(sha384),
            component_length: record.component.len() as u64,
            code_length: record.code.len() as u64,
            code_fingerprint: record.code_fingerprint.to_owned(),
            details: HexBytes(record.details.to_vec()),
        })
    }

    pub(super) fn owner(&self) -> Result<Option<PublicKey>, Damage> {
        let key = self.owner.as_ref().map(|key| PublicKey::from_sec1(&key.0));
        key.transpose().map_err(wrong)
    }

    pub(super) fn into_head(self) -> Result<Head, Damage> {
        Ok(Head {
            owner: self.owner()?,
            manifest: Manifest::parse(self.manifest.as_bytes()).map_err(wrong)?,
            manifest_text: self.manifest,
            deployed_at: self.deployed_at,
            digest: self.digest.0,
            sha384: self.sha384.0,
            component_length: self.component_length,
            code_length: self.code_length,
            code_fingerprint: self.code_fingerprint,
            details: self.details.0,
        })
    }
}

/// Damage of a head that is authentic.
pub(super) fn wrong(error: impl std::fmt::Display) -> Damage {
    Damage::Content {
        reason: error.to_string(),
    }
}
