//! What is signed: an authorization of one transfer, by EIP-3009 or for Permit2.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::Error;
use crate::payment::amount::word;
use crate::payment::challenge::{Challenge, Json};
use crate::payment::permit2::{self, Method};
use crate::payment::policy::Offer;
use crate::payment::{Address, Amount, Asset, Wallet, keccak256};

/// How long before now an authorization starts to be valid, seconds: clocks of chains and payers differ.
const BACKDATED_SECONDS: u64 = 600;

/// Leave to move an amount of a token from one account to another, once, within a time. It holds no signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The token, and with it the chain.
    pub asset: Asset,
    /// How it is moved.
    pub method: Method,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much; at the most, if [`Method::is_upto`].
    pub amount: Amount,
    /// Seconds since the Unix epoch after which it is valid.
    pub valid_after: u64,
    /// Seconds since the Unix epoch before which it is valid: later nobody can settle it.
    pub valid_before: u64,
    /// Random; a token takes each once. `authorizationState(from, nonce)` of the token says whether it was, and for Permit2 a bit of its
    /// `nonceBitmap`.
    pub nonce: [u8; 32],
}

/// `payload` on EVM chains: numbers are decimal strings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<WireAuthorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permit2_authorization: Option<WirePermit>,
}

#[derive(Serialize)]
struct WirePermit {
    from: Address,
    permitted: Permitted,
    spender: Address,
    nonce: String,
    deadline: String,
    witness: Witness,
}

#[derive(Serialize)]
struct Permitted {
    token: Address,
    amount: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Witness {
    to: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    facilitator: Option<Address>,
    valid_after: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireAuthorization {
    from: Address,
    to: Address,
    value: String,
    valid_after: String,
    valid_before: String,
    nonce: String,
}

/// PaymentPayload of x402 version 2. What the host sent is echoed as it was, to the byte.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentPayload<'a> {
    x402_version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Json>,
    accepted: &'a Json,
    payload: Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<&'a Json>,
}

impl Authorization {
    /// For an offer, from now on and for as long as the offer asks.
    pub(crate) fn new(offer: &Offer<'_>, from: Address) -> Result<Self, Error> {
        let signing = |reason: String| Error::Signing { reason };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| signing("the clock is before 1970".to_owned()))?
            .as_secs();
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| signing(format!("no randomness: {error}")))?;
        Ok(Self {
            asset: offer.asset.clone(),
            method: offer.method,
            from,
            to: offer.pay_to,
            amount: offer.amount,
            valid_after: now.saturating_sub(BACKDATED_SECONDS),
            valid_before: now.saturating_add(offer.validity_seconds),
            nonce,
        })
    }

    /// The price as people read it: `0.01 USDC`.
    pub fn price(&self) -> String {
        self.asset.show(self.amount)
    }

    /// The nonce as the protocol writes it: `0x` and hex for EIP-3009, a decimal number for Permit2.
    pub fn nonce_text(&self) -> String {
        match self.method {
            Method::Permit2 { .. } => decimal(&self.nonce),
            Method::Eip3009 => const_hex::encode_prefixed(self.nonce),
        }
    }

    /// The digest that is signed (EIP-712).
    pub(crate) fn digest(&self) -> Result<[u8; 32], Error> {
        match self.method {
            Method::Eip3009 => Ok(self.transfer_digest()),
            Method::Permit2 { facilitator } => {
                permit2::digest(self, facilitator).ok_or_else(no_proxy)
            }
        }
    }

    fn transfer_digest(&self) -> [u8; 32] {
        let kind = keccak256(&[
            b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
        ]);
        let pad = [0; 12];
        let message = keccak256(&[
            &kind,
            &pad,
            self.from.as_bytes(),
            &pad,
            self.to.as_bytes(),
            &self.amount.to_word(),
            &word(self.valid_after.into()),
            &word(self.valid_before.into()),
            &self.nonce,
        ]);
        keccak256(&[b"\x19\x01", &self.asset.domain_separator(), &message])
    }

    /// The JSON of PAYMENT-SIGNATURE: signed, with what the challenge wants echoed.
    pub(crate) fn payload(
        &self,
        wallet: &Wallet,
        challenge: &Challenge,
        accepted: &Json,
    ) -> Result<String, Error> {
        let signature = const_hex::encode_prefixed(wallet.sign(&self.digest()?)?);
        let (authorization, permit2_authorization) = match self.method {
            Method::Eip3009 => (Some(self.transfer()), None),
            Method::Permit2 { facilitator } => (None, Some(self.permit(facilitator)?)),
        };
        let payload = PaymentPayload {
            x402_version: 2,
            resource: challenge.resource.as_deref(),
            accepted,
            payload: Payload {
                signature,
                authorization,
                permit2_authorization,
            },
            extensions: challenge.extensions.as_deref(),
        };
        serde_json::to_string(&payload).map_err(|error| Error::Signing {
            reason: error.to_string(),
        })
    }
}

impl Authorization {
    fn transfer(&self) -> WireAuthorization {
        WireAuthorization {
            from: self.from,
            to: self.to,
            value: self.amount.to_string(),
            valid_after: self.valid_after.to_string(),
            valid_before: self.valid_before.to_string(),
            nonce: self.nonce_text(),
        }
    }

    fn permit(&self, facilitator: Option<Address>) -> Result<WirePermit, Error> {
        Ok(WirePermit {
            from: self.from,
            permitted: Permitted {
                token: self.asset.address,
                amount: self.amount.to_string(),
            },
            spender: permit2::spender(facilitator).ok_or_else(no_proxy)?,
            nonce: self.nonce_text(),
            deadline: self.valid_before.to_string(),
            witness: Witness {
                to: self.to,
                facilitator,
                valid_after: self.valid_after.to_string(),
            },
        })
    }
}

/// Not reached: the addresses are written in this program.
fn no_proxy() -> Error {
    Error::Signing {
        reason: "the address of a proxy is none".to_owned(),
    }
}

impl fmt::Display for Authorization {
    /// What one needs to find the payment on the chain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method.is_upto() {
            f.write_str("at most ")?;
        }
        write!(
            f,
            "{} on {} from payer {} to {}, nonce {}, ",
            self.price(),
            self.asset.network,
            self.from,
            self.to,
            self.nonce_text()
        )?;
        match UNIX_EPOCH.checked_add(Duration::from_secs(self.valid_before)) {
            Some(end) => write!(f, "valid until {}", humantime::format_rfc3339_seconds(end)),
            None => write!(f, "valid until {}", self.valid_before),
        }
    }
}

/// A number of 256 bits, big-endian, in decimal.
fn decimal(number: &[u8; 32]) -> String {
    // The least significant first.
    let mut digits: Vec<u32> = vec![0];
    for byte in number {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let digits = digits.iter().rev();
    digits.filter_map(|it| char::from_digit(*it, 10)).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::payment::Network;

    /// PAYMENT-SIGNATURE of the specification's example: genuine, says the README beside it.
    const SPECIFICATION: &str =
        include_str!("../../../../tests/vectors/x402/v2-payment-signature.txt");
    /// A payment that a token accepted on its chain.
    const SETTLED: &str = include_str!("../../vectors/settled.json");
    /// Payments that another signer made with a key that is given.
    const SIGNED: &str = include_str!("../../vectors/eip3009-signatures.json");

    fn text<'a>(value: &'a Value, name: &str) -> &'a str {
        value[name].as_str().unwrap()
    }

    fn read(case: &Value) -> Authorization {
        let (domain, authorization) = (&case["domain"], &case["authorization"]);
        Authorization {
            asset: Asset {
                network: Network::new(domain["chainId"].as_u64().unwrap()),
                address: text(domain, "verifyingContract").parse().unwrap(),
                decimals: 6,
                symbol: "USDC".to_owned(),
                name: text(domain, "name").to_owned(),
                version: text(domain, "version").to_owned(),
            },
            method: Method::Eip3009,
            from: text(authorization, "from").parse().unwrap(),
            to: text(authorization, "to").parse().unwrap(),
            amount: text(authorization, "value").parse().unwrap(),
            valid_after: text(authorization, "validAfter").parse().unwrap(),
            valid_before: text(authorization, "validBefore").parse().unwrap(),
            nonce: const_hex::decode_to_array(text(authorization, "nonce")).unwrap(),
        }
    }

    fn signer(digest: &[u8; 32], signature: &str) -> Address {
        let bytes: [u8; 65] = const_hex::decode_to_array(signature).unwrap();
        let recovery = RecoveryId::from_byte(bytes[64] - 27).unwrap();
        let signature = Signature::from_slice(&bytes[..64]).unwrap();
        let key = VerifyingKey::recover_from_prehash(digest, &signature, recovery).unwrap();
        let hash = keccak256(&[&key.to_sec1_point(false).as_bytes()[1..]]);
        Address::from(<[u8; 20]>::try_from(&hash[12..]).unwrap())
    }

    /// The example, in the form of the other vectors.
    fn specification() -> Value {
        let header = STANDARD.decode(SPECIFICATION.trim()).unwrap();
        let payload: Value = serde_json::from_slice(&header).unwrap();
        let accepted = &payload["accepted"];
        let network: Network = text(accepted, "network").parse().unwrap();
        json!({
            "domain": {
                "name": accepted["extra"]["name"],
                "version": accepted["extra"]["version"],
                "chainId": network.chain_id(),
                "verifyingContract": accepted["asset"],
            },
            "authorization": payload["payload"]["authorization"],
            "signature": payload["payload"]["signature"],
        })
    }

    #[test]
    fn the_payment_of_the_specification_recovers_to_its_payer() {
        let authorization = read(&specification());
        let signer = signer(
            &authorization.digest().unwrap(),
            text(&specification(), "signature"),
        );
        assert_eq!(signer, authorization.from);
    }

    #[test]
    fn a_payment_that_was_settled_recovers_to_its_payer() {
        let settled: Value = serde_json::from_str(SETTLED).unwrap();
        let authorization = read(&settled);
        let signer = signer(
            &authorization.digest().unwrap(),
            text(&settled, "signature"),
        );
        assert_eq!(signer, authorization.from);
        let known = Asset::known().find(|asset| asset.address == authorization.asset.address);
        assert_eq!(known, Some(authorization.asset));
    }

    #[test]
    fn signatures_are_those_of_another_signer_to_the_byte() {
        let vectors: Value = serde_json::from_str(SIGNED).unwrap();
        let wallet = Wallet::from_hex(text(&vectors, "key")).unwrap();
        assert_eq!(wallet.address().to_string(), text(&vectors, "address"));
        let cases = vectors["signatures"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let authorization = read(case);
            let digest = authorization.digest().unwrap();
            assert_eq!(
                const_hex::encode_prefixed(authorization.asset.domain_separator()),
                text(case, "domainSeparator")
            );
            assert_eq!(const_hex::encode_prefixed(digest), text(case, "digest"));
            let signature = const_hex::encode_prefixed(wallet.sign(&digest).unwrap());
            assert_eq!(signature, text(case, "signature"));
        }
    }

    #[test]
    fn every_field_is_signed() {
        let original = read(&specification());
        let other = Address::from([1; 20]);
        let changes: [fn(&mut Authorization, Address); 10] = [
            |a, other| a.from = other,
            |a, other| a.to = other,
            |a, _| a.amount = Amount::new(a.amount.parts() + 1),
            |a, _| a.valid_after += 1,
            |a, _| a.valid_before += 1,
            |a, _| a.nonce[31] ^= 1,
            |a, other| a.asset.address = other,
            |a, _| a.asset.network = Network::new(1),
            |a, _| a.asset.name.push('x'),
            |a, _| a.asset.version.push('x'),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = original.clone();
            change(&mut changed, other);
            assert_ne!(
                changed.digest().unwrap(),
                original.digest().unwrap(),
                "change {number}"
            );
        }
    }

    #[test]
    fn it_is_shown_with_all_that_finds_it_on_the_chain() {
        let shown = read(&specification()).to_string();
        for part in [
            "0.01 USDC on base-sepolia",
            "0x857b06519E91e3A54538791bDbb0E22373e36b66",
            "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480",
            "2025-02-27T16:02:34Z",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
