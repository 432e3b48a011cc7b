//! The manifest's digest: what a host is made of and how it is set, in one value.
//!
//! The manifest is a CBOR map that the host writes; this crate knows only its digest, SHA-384 over the document's bytes as
//! they are. It travels in evidence, so that a verifier sees what the digest stands for.

use hypervisor_protocol::ContentFormat;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha384};
use std::collections::BTreeMap;

use crate::Error;
use crate::error::bound;

/// The most bytes of a manifest.
pub const MAX_LENGTH: usize = 1 << 20;

/// SHA-384 over the document's bytes.
pub fn digest(document: &[u8]) -> [u8; 48] {
    Sha384::digest(document).into()
}

/// Whether the bytes can be a manifest: one CBOR map with text keys, within the bounds.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Malformed`].
pub fn check(document: &[u8]) -> Result<(), Error> {
    bound("manifest", document, MAX_LENGTH)?;
    ContentFormat::Cbor
        .decode::<BTreeMap<String, IgnoredAny>>(document)
        .map(drop)
        .map_err(|error| Error::Malformed {
            what: "manifest",
            reason: error.to_string(),
        })
}

/// What a manifest says of the host's program, for people who read a verdict. Hosts of before say less, others may say anything.
pub fn program(document: &[u8]) -> Vec<(&'static str, String)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Manifest {
        host: Option<String>,
        host_sha384: Option<String>,
        engine: Engine,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Engine {
        wasmtime: Option<String>,
    }
    let said: Manifest = ContentFormat::Cbor.decode(document).unwrap_or_default();
    let plain = |text: &String| text.len() <= 128 && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    [
        ("host", said.host),
        ("host_sha384", said.host_sha384),
        ("wasmtime", said.engine.wasmtime),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.filter(plain)?)))
    .collect()
}
