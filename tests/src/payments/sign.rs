//! Payments of the scheme `exact` with EIP-3009, every part of which can be wrong.
//!
//! Sources: x402 specification (`scheme_exact_evm`, HTTP transports 1 and 2), EIP-712, EIP-3009, EIP-2098.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde_json::{Value, json};

pub use super::account::{Address, Payer, keccak, random, word};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `X-PAYMENT`, networks by name, `maxAmountRequired`.
    V1,
    /// `PAYMENT-SIGNATURE`, networks by CAIP-2, `amount`.
    V2,
}

impl Version {
    /// The version an offer (payment requirements) is written in.
    pub fn of(offer: &Value) -> Self {
        match offer.get("maxAmountRequired") {
            Some(_) => Self::V1,
            None => Self::V2,
        }
    }

    /// The number in `x402Version`.
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The name of an offer's field for the price.
    pub fn amount_field(self) -> &'static str {
        match self {
            Self::V1 => "maxAmountRequired",
            Self::V2 => "amount",
        }
    }

    /// The request header that carries a payment.
    pub fn payment_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT",
            Self::V2 => "PAYMENT-SIGNATURE",
        }
    }

    /// The response header that carries the settlement.
    pub fn settlement_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT-RESPONSE",
            Self::V2 => "PAYMENT-RESPONSE",
        }
    }
}

/// The EIP-712 domain of a token.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The token's name, as the contract has it.
    pub name: String,
    /// The token's signature version.
    pub version: String,
    /// The chain.
    pub chain_id: u64,
    /// The token's contract.
    pub contract: Address,
}

/// What EIP-3009 has the payer sign.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Who pays.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// How much, in the token's smallest unit.
    pub value: u128,
    /// Valid only after this second since 1970.
    pub valid_after: u64,
    /// Valid only before this second since 1970.
    pub valid_before: u64,
    /// Spent with the payment.
    pub nonce: [u8; 32],
}

/// The digest that is signed (EIP-712).
pub fn digest(domain: &Domain, authorization: &Authorization) -> [u8; 32] {
    let separator = hash_struct(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        &[
            keccak(domain.name.as_bytes()),
            keccak(domain.version.as_bytes()),
            word(domain.chain_id.into()),
            domain.contract.word(),
        ],
    );
    let message = hash_struct(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
        &[
            authorization.from.word(),
            authorization.to.word(),
            word(authorization.value),
            word(authorization.valid_after.into()),
            word(authorization.valid_before.into()),
            authorization.nonce,
        ],
    );
    keccak(&[b"\x19\x01".as_slice(), &separator, &message].concat())
}

/// The hash of a structure of EIP-712: of its type, and of its members, each a word.
pub fn hash_struct(type_name: &str, words: &[[u8; 32]]) -> [u8; 32] {
    keccak(&[keccak(type_name.as_bytes()).as_slice(), &words.concat()].concat())
}

/// Who made a signature of 65 bytes; `None` when nobody can have.
pub fn recover(digest: &[u8; 32], signature: &[u8]) -> Option<Address> {
    let (v, rs) = signature.split_last()?;
    let id = RecoveryId::from_byte(v.checked_sub(27)?)?;
    let signature = Signature::from_slice(rs).ok()?;
    let key = VerifyingKey::recover_from_prehash(digest, &signature, id).ok()?;
    Some(Address::of(&key))
}

/// What is done to a good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing.
    Nothing,
    /// One bit of `s` is flipped.
    FlippedBit,
    /// The other signature for the same message and key: `n - s`, with the other `v`. It recovers to the payer.
    HighS,
    /// `v` is 0 or 1 in place of 27 or 28.
    LowV,
    /// The 64-byte form of EIP-2098.
    Compact,
    /// A zero byte is added.
    TooLong,
    /// No byte is left.
    Empty,
    /// Other bytes.
    Other(Vec<u8>),
}

/// A payment before it is signed. Every field may be changed.
#[derive(Clone)]
pub struct Payment {
    /// Who signs.
    pub signer: Payer,
    /// The version spoken.
    pub version: Version,
    /// What the client says that it accepts: the offer. Version 1 sends no more of it than `scheme` and `network`.
    pub accepted: Value,
    /// The resource paid for, as the client says (version 2).
    pub resource: Option<Value>,
    /// Extensions (version 2).
    pub extensions: Option<Value>,
    /// The domain that is signed.
    pub domain: Domain,
    /// The authorization that is signed, and sent.
    pub authorization: Authorization,
    /// What happens to the signature.
    pub tamper: Tamper,
}

impl Payment {
    /// A good payment for this offer, valid from ten minutes ago until the offer's `maxTimeoutSeconds` are over.
    pub fn for_offer(signer: &Payer, offer: &Value) -> Self {
        let version = Version::of(offer);
        let text = |pointer: &str| {
            offer
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_else(|| panic!("no {pointer} in the offer {offer}"))
        };
        // An offer that does not name the token's domain is one of the wrong offers: pay as if it did.
        let extra = |field: &str, usual: &str| {
            let value = offer.pointer(&format!("/extra/{field}"));
            value.and_then(Value::as_str).unwrap_or(usual).to_owned()
        };
        let now = now();
        Self {
            signer: signer.clone(),
            version,
            accepted: offer.clone(),
            resource: None,
            extensions: None,
            domain: Domain {
                name: extra("name", "USDC"),
                version: extra("version", "2"),
                chain_id: chain_id(text("/network")),
                contract: text("/asset").parse().unwrap(),
            },
            authorization: Authorization {
                from: signer.address(),
                to: text("/payTo").parse().unwrap(),
                value: text(&format!("/{}", version.amount_field()))
                    .parse()
                    .unwrap(),
                valid_after: now - 600,
                valid_before: now + offer["maxTimeoutSeconds"].as_u64().unwrap(),
                nonce: random(),
            },
            tamper: Tamper::Nothing,
        }
    }

    /// The signature as it is sent.
    pub fn signature(&self) -> Vec<u8> {
        let (signature, id) = self.signer.sign(&digest(&self.domain, &self.authorization));
        let (signature, odd) = match self.tamper {
            Tamper::HighS => {
                let (r, s) = signature.split_scalars();
                (Signature::from_scalars(*r, -*s).unwrap(), !id.is_y_odd())
            }
            _ => (signature, id.is_y_odd()),
        };
        let mut bytes = signature.to_vec();
        match &self.tamper {
            Tamper::Nothing | Tamper::HighS => bytes.push(27 + u8::from(odd)),
            Tamper::FlippedBit => {
                bytes[63] ^= 1;
                bytes.push(27 + u8::from(odd));
            }
            Tamper::LowV => bytes.push(u8::from(odd)),
            Tamper::Compact => bytes[32] |= u8::from(odd) << 7,
            Tamper::TooLong => bytes.extend([27 + u8::from(odd), 0]),
            Tamper::Empty => bytes.clear(),
            Tamper::Other(other) => bytes.clone_from(other),
        }
        bytes
    }

    /// The payment payload.
    pub fn payload(&self) -> Value {
        let Authorization {
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
        } = &self.authorization;
        let payload = json!({
            "signature": const_hex::encode_prefixed(self.signature()),
            "authorization": {
                "from": from.to_string(),
                "to": to.to_string(),
                "value": value.to_string(),
                "validAfter": valid_after.to_string(),
                "validBefore": valid_before.to_string(),
                "nonce": const_hex::encode_prefixed(nonce),
            },
        });
        match self.version {
            Version::V1 => json!({
                "x402Version": 1,
                "scheme": self.accepted["scheme"],
                "network": self.accepted["network"],
                "payload": payload,
            }),
            Version::V2 => {
                let mut whole =
                    json!({"x402Version": 2, "accepted": self.accepted, "payload": payload});
                for (field, value) in [
                    ("resource", &self.resource),
                    ("extensions", &self.extensions),
                ] {
                    if let Some(value) = value {
                        whole[field] = value.clone();
                    }
                }
                whole
            }
        }
    }

    /// Name and value of the request header.
    pub fn header(&self) -> (&'static str, String) {
        (
            self.version.payment_header(),
            encode_header(&self.payload()),
        )
    }

    /// What a seller with this offer asks a facilitator about the payment.
    pub fn question(&self, offer: &Value) -> Value {
        json!({
            "x402Version": self.version.number(),
            "paymentPayload": self.payload(),
            "paymentRequirements": offer,
        })
    }
}

/// JSON as the value of a payment header: base64 with padding.
pub fn encode_header(value: &Value) -> String {
    BASE64_STANDARD.encode(value.to_string())
}

/// JSON from the value of a payment header.
pub fn decode_header(value: &str) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(value).unwrap()).unwrap()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn chain_id(network: &str) -> u64 {
    match network {
        "base" => 8453,
        "base-sepolia" => 84532,
        _ => network
            .strip_prefix("eip155:")
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(|| panic!("no chain id known for the network {network}")),
    }
}

#[cfg(test)]
mod tests;
