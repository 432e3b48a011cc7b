//! What the head of an agent holds, in CBOR.

use std::io;

use hypervisor_protocol::{HexArray, HexBytes, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::PIECE;
use super::record::{Head, MAX_DETAILS, MAX_FINGERPRINT, Record};
use crate::error::{Damage, StoreError};
use crate::manifest::{MAX_TEXT, Manifest};

/// Most bytes of a head: manifest, details and fingerprint at their bounds, and room for the rest.
const MAX_HEAD: usize = 256 << 10;

/// Bytes kept apart from the head.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Body {
    writing: HexArray<16>,
    pub(super) length: u64,
}

impl Body {
    pub(super) fn new(writing: [u8; 16], length: u64) -> Self {
        Self {
            writing: HexArray(writing),
            length,
        }
    }

    /// Which writing it is.
    pub(super) fn writing(&self) -> [u8; 16] {
        self.writing.0
    }

    /// Whose it is, and which writing.
    pub(super) fn key(&self, id: &[u8; 32]) -> Vec<u8> {
        [id.as_slice(), &self.writing.0].concat()
    }

    pub(super) fn piece(&self, id: &[u8; 32], index: u32) -> Vec<u8> {
        [id.as_slice(), &self.writing.0, &index.to_be_bytes()].concat()
    }

    /// How many pieces it has.
    pub(super) fn pieces(&self) -> u32 {
        u32::try_from(self.length.div_ceil(PIECE as u64)).unwrap_or(u32::MAX)
    }
}

/// The head.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    owner: Option<HexBytes>,
    manifest: Zeroizing<String>,
    deployed_at: u64,
    pub(super) digest: HexArray<32>,
    sha384: HexArray<48>,
    pub(super) component: Body,
    pub(super) code: Body,
    pub(super) code_fingerprint: String,
    details: HexBytes,
}

/// Checks that a record is within the store's bounds.
pub(super) fn check(record: &Record<'_>) -> Result<(), StoreError> {
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
            return Err(StoreError::TooLarge(what, length, maximum));
        }
    }
    Ok(())
}

impl Contents {
    pub(super) fn new(record: &Record<'_>, component: Body, code: Body) -> Self {
        let sha384: [u8; 48] = Sha384::digest(record.component).into();
        Self {
            owner: record.owner.map(|key| HexBytes(key.to_bytes().to_vec())),
            manifest: Zeroizing::new(record.manifest_text.to_owned()),
            deployed_at: record.deployed_at,
            digest: HexArray(super::digest(record.component)),
            sha384: HexArray(sha384),
            component,
            code,
            code_fingerprint: record.code_fingerprint.to_owned(),
            details: HexBytes(record.details.to_vec()),
        }
    }

    /// What the head names.
    pub(super) fn bodies(self) -> Vec<Body> {
        vec![self.component, self.code]
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Damage> {
        ciborium::from_reader(bytes).map_err(|error| {
            // The library's words may repeat what it read.
            let _: ciborium::de::Error<io::Error> = error;
            wrong("it is not what this program writes")
        })
    }

    pub(super) fn write(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        // Room for all of it from the start: what grows leaves copies behind.
        let mut head = Zeroizing::new(Vec::with_capacity(MAX_HEAD));
        ciborium::into_writer(self, &mut *head).map_err(|_| StoreError::Encoding)?;
        Ok(head)
    }

    pub(super) fn into_head(self) -> Result<Head, Damage> {
        let key = self.owner.as_ref().map(|key| PublicKey::from_sec1(&key.0));
        Ok(Head {
            owner: key.transpose().map_err(wrong)?,
            manifest: Manifest::parse(self.manifest.as_bytes()).map_err(wrong)?,
            manifest_text: self.manifest,
            deployed_at: self.deployed_at,
            digest: self.digest.0,
            sha384: self.sha384.0,
            component_length: self.component.length,
            code_length: self.code.length,
            code_fingerprint: self.code_fingerprint,
            details: self.details.0,
            writing: self.component.writing(),
        })
    }
}

/// Damage of a head that is authentic.
pub(super) fn wrong(error: impl std::fmt::Display) -> Damage {
    Damage::Content(error.to_string())
}
