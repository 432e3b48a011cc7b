//! Signatures of cards (JWS, RFC 7515, by ES256) and the key that makes them (JWK, RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::sec1::ToSec1Point;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::Unproved;
use crate::ports::Proofs;

/// The public key that signs cards.
pub struct CardKey {
    x: String,
    y: String,
}

impl CardKey {
    /// That of this host.
    pub fn of(proofs: &impl Proofs) -> Result<Self, Unproved> {
        let key = p256::PublicKey::from_sec1_bytes(&proofs.card_key()?);
        let point = key.map_err(|_| Unproved::Failed)?.to_sec1_point(false);
        let coordinate = |bytes: Option<&[u8]>| bytes.map(|it| URL_SAFE_NO_PAD.encode(it));
        Ok(Self {
            x: coordinate(point.x().map(|it| &it[..])).ok_or(Unproved::Failed)?,
            y: coordinate(point.y().map(|it| &it[..])).ok_or(Unproved::Failed)?,
        })
    }

    /// Its thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> [u8; 32] {
        // The members that the RFC names, in its order.
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            self.x, self.y
        );
        Sha256::digest(text.as_bytes()).into()
    }

    /// Its name.
    pub fn kid(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint())
    }

    /// A set with it alone.
    pub fn as_set(&self) -> Value {
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "kid": self.kid(), "use": "sig", "alg": "ES256",
        }]})
    }
}

/// A card with a signature. `keys` is where its key is found.
pub fn signed(
    proofs: &impl Proofs,
    mut card: Map<String, Value>,
    keys: &str,
) -> Result<Map<String, Value>, Unproved> {
    let key = CardKey::of(proofs)?;
    let header = json!({"alg": "ES256", "jku": keys, "kid": key.kid(), "typ": "JOSE"});
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let payload = URL_SAFE_NO_PAD.encode(canonical(&card));
    let signature = proofs.sign(format!("{header}.{payload}").as_bytes())?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let signatures = json!([{"protected": header, "signature": signature}]);
    card.insert("signatures".to_owned(), signatures);
    Ok(card)
}

/// What is signed of a card: its canonical form (RFC 8785) without signatures and without members that hold nothing.
pub fn canonical(card: &Map<String, Value>) -> Vec<u8> {
    let mut card = card.clone();
    card.remove("signatures");
    let card = without_nothing(Value::Object(card)).unwrap_or_default();
    let mut text = String::new();
    write(&card, &mut text);
    text.into_bytes()
}

fn without_nothing(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(without_nothing).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(members) => {
            let kept = |(key, value)| Some((key, without_nothing(value)?));
            let members: Map<String, Value> = members.into_iter().filter_map(kept).collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        other => Some(other),
    }
}

/// Members stand in the order of their keys in UTF-16. A card has no numbers, whose form the RFC takes from ECMAScript.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        // serde_json escapes what the RFC has escaped, and nothing else.
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};

    use super::*;
    use crate::tests::keys::Keys;

    fn card() -> Map<String, Value> {
        let card = json!({"name": "a", "version": "1", "empty": "", "list": [], "none": {"a": []},
            "z": [true, "\u{7}é\u{2028}\""], "signatures": [1]});
        card.as_object().unwrap().clone()
    }

    #[test]
    fn the_canonical_form_has_sorted_keys_and_nothing_that_is_empty() {
        let text = String::from_utf8(canonical(&card())).unwrap();
        let expected = "{\"name\":\"a\",\"version\":\"1\",\"z\":[true,\"\\u0007é\u{2028}\\\"\"]}";
        assert_eq!(text, expected);
        let keys = json!({"\u{fb33}": "a", "\u{1f600}": "b", "é": "c"});
        let text = String::from_utf8(canonical(keys.as_object().unwrap())).unwrap();
        assert_eq!(text, "{\"é\":\"c\",\"\u{1f600}\":\"b\",\"\u{fb33}\":\"a\"}");
    }

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // The key of RFC 7517, appendix A.1, with a thumbprint that was computed apart from this code.
        let key = CardKey {
            x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".to_owned(),
            y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".to_owned(),
        };
        assert_eq!(key.kid(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn a_signature_verifies_with_the_key_of_the_set() {
        let keys = Keys::default();
        let card = signed(&keys, card(), "https://host.example/jwks.json").unwrap();
        let signature = &card["signatures"][0];
        let header = signature["protected"].as_str().unwrap();
        let decoded = URL_SAFE_NO_PAD.decode(header).unwrap();
        let read: Value = serde_json::from_slice(&decoded).unwrap();
        assert_eq!(
            (&read["alg"], &read["jku"]),
            (&json!("ES256"), &json!("https://host.example/jwks.json"))
        );
        let set = CardKey::of(&keys).unwrap().as_set();
        assert_eq!(set["keys"][0]["kid"], read["kid"]);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(canonical(&card)));
        let bytes = URL_SAFE_NO_PAD
            .decode(signature["signature"].as_str().unwrap())
            .unwrap();
        let key = VerifyingKey::from_sec1_bytes(&keys.card_key().unwrap()).unwrap();
        key.verify(signed.as_bytes(), &Signature::from_slice(&bytes).unwrap())
            .unwrap();
    }
}
