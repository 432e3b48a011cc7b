//! `offer-receipt`: a receipt that chains to the host's evidence.
//!
//! It is a JWS (ES256) by a key that is made for it and named in `kid` as a `did:key`, so that any implementation of the extension verifies
//! it. Beside that its header has `statement`: what the host's attested identity key says of the key, and of the component that holds it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::api::AuthorizedPayment;
use crate::ports::{Crypto, Vouched};

/// The extension.
pub const NAME: &str = "offer-receipt";
/// The multicodec of a P-256 public key.
const P256_PUBLIC: [u8; 2] = [0x80, 0x24];
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The extension of a settlement's answer: that what is at `url` was paid for by a transaction. `None` where the host proves nothing.
pub fn signed(
    crypto: &impl Crypto,
    payment: &AuthorizedPayment,
    (url, transaction): (&str, &str),
    now: u64,
) -> Option<Value> {
    let payload = json!({
        "version": 1,
        "network": payment.id.chain,
        "resourceUrl": url,
        "payer": payment.id.payer,
        "issuedAt": now,
        "transaction": transaction,
    });
    let payload = encode(payload.to_string());
    let message = |vouched: &Vouched| {
        let did = format!("z{}", base58(&[&P256_PUBLIC[..], &vouched.key].concat()));
        let header = json!({
            "alg": "ES256",
            "kid": format!("did:key:{did}#{did}"),
            "statement": encode(&vouched.statement),
        });
        format!("{}.{payload}", encode(header.to_string()))
    };
    let (message, signature) = crypto.sign_vouched(&message)?;
    Some(json!({
        "info": {"receipt": {"format": "jws", "signature": format!("{message}.{}", encode(signature))}},
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "receipt": {
                    "type": "object",
                    "properties": {"format": {"type": "string"}, "signature": {"type": "string"}},
                    "required": ["format", "signature"],
                },
            },
            "required": ["receipt"],
        },
    }))
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base58 with Bitcoin's alphabet, of bytes that do not begin with zero.
fn base58(bytes: &[u8]) -> String {
    // The least significant first.
    let mut digits: Vec<usize> = Vec::new();
    for byte in bytes {
        let mut carry = usize::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let letters = digits.iter().rev().filter_map(|digit| BASE58.get(*digit));
    letters.copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base58_is_that_of_the_draft() {
        assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
        let fox = b"The quick brown fox jumps over the lazy dog.";
        let text = "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z";
        assert_eq!(base58(fox), text);
    }
}
