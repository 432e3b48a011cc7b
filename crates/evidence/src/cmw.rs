//! RATS conceptual message wrappers (RFC 9999): a collection of labelled records, in JSON and CBOR.
//!
//! ```text
//! record      = [type, value, indicator?]    type: a media type; value: base64url without padding in JSON, a byte string
//!                                            in CBOR; indicator: bits 0 reference values, 1 endorsements, 2 evidence,
//!                                            3 attestation results
//! collection  = map of "__cmwc_t": type of the collection, label: record, …
//! ```
//!
//! Collections do not nest here, a label stands once, and a record's type is text.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most labels of a collection.
pub const MAX_ITEMS: usize = 32;

const TYPE_LABEL: &str = "__cmwc_t";

/// Bits of [`Record::indicator`].
pub mod indicator {
    /// Reference values.
    pub const REFERENCE_VALUES: u8 = 1;
    /// Endorsements: certificates, TCB levels, revocation lists.
    pub const ENDORSEMENTS: u8 = 1 << 1;
    /// Evidence.
    pub const EVIDENCE: u8 = 1 << 2;
    /// Attestation results.
    pub const ATTESTATION_RESULTS: u8 = 1 << 3;
}

/// One wrapped message.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The media type of the value.
    pub media_type: String,
    /// The message.
    pub value: Vec<u8>,
    /// What kind of message it is ([`indicator`]); none where that is left open.
    pub indicator: Option<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {} bytes)", self.media_type, self.value.len())
    }
}

/// Labelled records.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Collection {
    /// What the collection is: a URI or an OID in dotted form.
    pub kind: Option<String>,
    items: Vec<(String, Record)>,
}

impl Collection {
    /// An empty collection of a kind.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: Some(kind.into()),
            items: Vec::new(),
        }
    }

    /// Adds a record, in the place of one with the same label.
    pub fn insert(&mut self, label: &str, record: Record) {
        match self.items.iter_mut().find(|(found, _)| found == label) {
            Some((_, present)) => *present = record,
            None => self.items.push((label.to_owned(), record)),
        }
    }

    /// The record of a label.
    pub fn get(&self, label: &str) -> Option<&Record> {
        self.items
            .iter()
            .find(|(found, _)| found == label)
            .map(|(_, record)| record)
    }

    /// Every label and its record, in the document's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.items
            .iter()
            .map(|(label, record)| (label.as_str(), record))
    }
}

/// A record's value: base64url text or bytes.
struct Value<B>(B);

impl<B: AsRef<[u8]>> Serialize for Value<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
        } else {
            serializer.serialize_bytes(self.0.as_ref())
        }
    }
}

impl<'de> Deserialize<'de> for Value<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Value<Vec<u8>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value (base64url text in JSON, a byte string in CBOR)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                URL_SAFE_NO_PAD
                    .decode(text)
                    .map(Value)
                    .map_err(|error| E::custom(format_args!("not base64url: {error}")))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Value(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Ok(Value(bytes))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Bytes)
        } else {
            deserializer.deserialize_byte_buf(Bytes)
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = if self.indicator.is_some() { 3 } else { 2 };
        let mut array = serializer.serialize_tuple(length)?;
        array.serialize_element(&self.media_type)?;
        array.serialize_element(&Value(&self.value))?;
        if let Some(indicator) = self.indicator {
            array.serialize_element(&indicator)?;
        }
        array.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record: an array of type, value and perhaps an indicator")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Record, A::Error> {
                let media_type = array
                    .next_element()?
                    .ok_or_else(|| de::Error::custom("a record without a type"))?;
                let Value(value) = array
                    .next_element()?
                    .ok_or_else(|| de::Error::custom("a record without a value"))?;
                let indicator: Option<u8> = array.next_element()?;
                if let Some(bits) = indicator.filter(|bits| !(1..=0b1111).contains(bits)) {
                    return Err(de::Error::custom(format_args!(
                        "a record with the indicator {bits}; bits 0 to 3 are known"
                    )));
                }
                if array.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom("a record of more than three elements"));
                }
                Ok(Record {
                    media_type,
                    value,
                    indicator,
                })
            }
        }

        deserializer.deserialize_seq(Array)
    }
}

impl Serialize for Collection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = self.items.len().saturating_add(self.kind.iter().len());
        let mut map = serializer.serialize_map(Some(length))?;
        if let Some(kind) = &self.kind {
            map.serialize_entry(TYPE_LABEL, kind)?;
        }
        for (label, record) in &self.items {
            map.serialize_entry(label, record)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Collection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Collection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a collection: a map of labels to records")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Collection, A::Error> {
                let mut collection = Collection::default();
                while let Some(label) = map.next_key::<String>()? {
                    let twice = if label == TYPE_LABEL {
                        collection.kind.replace(map.next_value()?).is_some()
                    } else {
                        let twice = collection.get(&label).is_some();
                        collection.items.push((label.clone(), map.next_value()?));
                        twice
                    };
                    if twice {
                        return Err(de::Error::custom(format_args!(
                            "the label `{label}` stands twice"
                        )));
                    }
                    if collection.items.len() > MAX_ITEMS {
                        return Err(de::Error::custom(format_args!(
                            "more than {MAX_ITEMS} labels"
                        )));
                    }
                }
                Ok(collection)
            }
        }

        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_an_unknown_indicator_is_refused() {
        let record = |indicator: u16| {
            serde_json::from_str::<Record>(&format!(r#"["a/b","AA",{indicator}]"#))
        };
        assert!(record(4).is_ok() && record(15).is_ok());
        assert!(record(0).is_err() && record(16).is_err() && record(256).is_err());
    }
}
