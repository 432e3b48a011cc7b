//! The manifest's digest: what a host is made of and how it is set, in one value.
//!
//! The manifest is a CBOR map that the host writes; this crate knows only its digest, SHA-384 over the document's bytes as
//! they are. It travels in evidence, so that a verifier sees what the digest stands for.

use ciborium::Value;
use hypervisor_protocol::{ContentFormat, HexArray};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha384};
use std::collections::BTreeMap;
use std::fmt;

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

/// The entry of a host that shares what it keeps with others.
const FLEET: &str = "fleet";

/// Who may have the key under which a host keeps agents, environments and payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetKey {
    /// The host itself.
    OwnHost,
    /// Whoever has the file that it was read from.
    File,
    /// Hosts whose evidence passes the policy with this SHA-256.
    Peers([u8; 32]),
}

impl Serialize for FleetKey {
    /// The manifest's entry; a host that is alone has none.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = |key, policy: Option<&[u8; 32]>| Entry {
            key,
            policy: policy.map(|policy| HexArray(*policy).to_string()),
        };
        match self {
            Self::OwnHost => serializer.serialize_none(),
            Self::File => entry("file", None).serialize(serializer),
            Self::Peers(policy) => entry("peers", Some(policy)).serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct Entry {
    key: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl fmt::Display for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnHost => f.write_str("this host alone"),
            Self::File => f.write_str("whoever has the file that the host read it from"),
            Self::Peers(policy) => write!(
                f,
                "hosts whose evidence passes the policy {}",
                const_hex::encode(policy)
            ),
        }
    }
}

/// Who a manifest says may have that key.
///
/// # Errors
/// [`Error::Malformed`] where it says so in a way that this program does not know.
pub fn fleet_key(document: &[u8]) -> Result<FleetKey, Error> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        fleet: Option<Fleet>,
    }
    #[derive(Deserialize)]
    struct Fleet {
        key: String,
        #[serde(default)]
        policy: Option<String>,
    }
    let malformed = |reason: String| Error::Malformed {
        what: "manifest",
        reason,
    };
    let said: Manifest = (ContentFormat::Cbor.decode(document))
        .map_err(|error| malformed(format!("its entry `{FLEET}`: {error}")))?;
    match said.fleet {
        None => Ok(FleetKey::OwnHost),
        Some(Fleet { key, policy: None }) if key == "file" => Ok(FleetKey::File),
        Some(Fleet {
            key,
            policy: Some(policy),
        }) if key == "peers" => {
            let policy: HexArray<32> = policy
                .parse()
                .map_err(|error| malformed(format!("its entry `{FLEET}`: {error}")))?;
            Ok(FleetKey::Peers(policy.0))
        }
        Some(_) => Err(malformed(format!(
            "its entry `{FLEET}` is none that this program knows; update it"
        ))),
    }
}

/// SHA-384 over the manifest without its entry `fleet`: what the same host has that is alone. The policy by which hosts of a fleet
/// judge each other names manifests so, because its own digest is in theirs.
///
/// # Errors
/// [`Error::Malformed`].
pub fn digest_alone(document: &[u8]) -> Result<[u8; 48], Error> {
    let malformed = |reason: String| Error::Malformed {
        what: "manifest",
        reason,
    };
    bound("manifest", document, MAX_LENGTH)?;
    let read = ContentFormat::Cbor.decode::<Value>(document);
    let Value::Map(entries) = read.map_err(|error| malformed(error.to_string()))? else {
        return Err(malformed("it is no map".to_owned()));
    };
    let others = entries
        .into_iter()
        .filter(|(name, _)| name.as_text() != Some(FLEET));
    let alone = ContentFormat::Cbor.encode(&Value::Map(others.collect()));
    alone
        .map(|alone| digest(&alone))
        .map_err(|error| malformed(error.to_string()))
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
    // A host that is alone says nothing of it.
    let shared = fleet_key(document)
        .ok()
        .filter(|key| *key != FleetKey::OwnHost);
    let plain = |text: &String| text.len() <= 128 && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    [
        ("host", said.host),
        ("host_sha384", said.host_sha384),
        ("wasmtime", said.engine.wasmtime),
        ("fleet_key", shared.map(|key| key.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.filter(plain)?)))
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn encoded(entries: &[(&str, Value)]) -> Vec<u8> {
        let entries = entries.iter().cloned();
        let map = entries.map(|(name, value)| (Value::from(name), value));
        ContentFormat::Cbor
            .encode(&Value::Map(map.collect()))
            .unwrap()
    }

    fn fleet(entries: &[(&str, &str)]) -> (&'static str, Value) {
        let entries = entries
            .iter()
            .map(|(name, value)| (Value::from(*name), Value::from(*value)));
        ("fleet", Value::Map(entries.collect()))
    }

    #[test]
    fn a_manifest_says_who_may_have_the_key_and_is_the_same_without_that() {
        let own = ("version", Value::from(3));
        let policy = "ab".repeat(32);
        let alone = encoded(std::slice::from_ref(&own));
        let file = encoded(&[own.clone(), fleet(&[("key", "file")])]);
        let peers = encoded(&[own.clone(), fleet(&[("key", "peers"), ("policy", &policy)])]);
        for (document, key) in [
            (&alone, FleetKey::OwnHost),
            (&file, FleetKey::File),
            (&peers, FleetKey::Peers([0xab; 32])),
        ] {
            assert_eq!(fleet_key(document).unwrap(), key);
            assert_eq!(digest_alone(document).unwrap(), digest(&alone));
        }
        let words = program(&peers);
        assert!(
            words
                .iter()
                .any(|(name, said)| *name == "fleet_key" && said.contains(&policy))
        );
        for unknown in [
            fleet(&[]),
            fleet(&[("key", "peers")]),
            fleet(&[("key", "file"), ("policy", &policy)]),
            fleet(&[("key", "mail")]),
            ("fleet", Value::from(1)),
        ] {
            assert!(fleet_key(&encoded(&[own.clone(), unknown])).is_err());
        }
    }
}
