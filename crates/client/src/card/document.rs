//! The card itself, in the form that is signed.

use serde_json::{Map, Value};

use crate::error::Error;

/// Bytes of a card.
pub(super) const LARGEST: usize = 256 << 10;

/// The extension that names evidence: its `params.evidenceUrl` is asked with `nonce`, 16 to 64 bytes as hex, and answers evidence whose statement
/// has the claim of this card ([`super::claim`]).
pub const EXTENSION: &str = "urn:hypervisor:a2a:evidence:v1";

/// An agent's card.
#[derive(Debug, Clone)]
pub struct Card {
    members: Map<String, Value>,
    canonical: Vec<u8>,
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// [`Error::Answer`] for what is no JSON object, or has more than 256 KiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Answer {
            what: "an A2A card",
            reason,
        };
        if bytes.len() > LARGEST {
            return Err(wrong(format!("it has more than {LARGEST} bytes")));
        }
        let members: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let mut signed = members.clone();
        signed.remove("signatures");
        let signed = filled(Value::Object(signed)).unwrap_or_else(|| Value::Object(Map::new()));
        let canonical = serde_json_canonicalizer::to_vec(&signed);
        let canonical = canonical.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { members, canonical })
    }

    /// The card without its signatures and without what is empty, in canonical form (RFC 8785).
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Its name, by its own word.
    pub fn name(&self) -> Option<&str> {
        self.members.get("name")?.as_str()
    }

    /// Its version, by its own word.
    pub fn version(&self) -> Option<&str> {
        self.members.get("version")?.as_str()
    }

    /// Where its evidence is.
    pub(super) fn evidence(&self) -> Option<&str> {
        let extensions = self.members.get("capabilities")?.get("extensions")?;
        let named = |it: &&Value| it.get("uri").and_then(Value::as_str) == Some(EXTENSION);
        let extension = extensions.as_array()?.iter().find(named)?;
        extension.get("params")?.get("evidenceUrl")?.as_str()
    }

    /// Its signatures, as they came.
    pub(super) fn signatures(&self) -> &[Value] {
        let signatures = self.members.get("signatures").and_then(Value::as_array);
        signatures.map_or(&[], Vec::as_slice)
    }
}

/// Without empty text, lists and objects, and without null: libraries of A2A drop them before they sign, those that are required too.
fn filled(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(filled).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(members) => {
            let members = members
                .into_iter()
                .filter_map(|(name, value)| Some((name, filled(value)?)));
            let members: Map<String, Value> = members.collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        other => Some(other),
    }
}
