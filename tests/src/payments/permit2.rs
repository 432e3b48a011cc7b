//! Payments by Permit2, `exact` and `upto`, every part of which can be wrong.
//!
//! Sources: x402 specification of `exact` and `upto` on EVM chains, EIP-712.

use serde_json::{Value, json};

use super::sign::{Address, Payer, encode_header, hash_struct, keccak, now, random, word};

/// The contract, the same on all chains.
pub const PERMIT2: &str = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
const EXACT_PROXY: &str = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
const UPTO_PROXY: &str = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";

/// A payment before it is signed. Every field may be changed.
#[derive(Clone)]
pub struct Permit {
    /// Who signs, and pays.
    pub signer: Payer,
    /// What the client says that it accepts: the offer.
    pub accepted: Value,
    /// The token.
    pub token: Address,
    /// How much of it at the most.
    pub amount: u128,
    /// Who may transfer it.
    pub spender: Address,
    /// Spent with the payment.
    pub nonce: [u8; 32],
    /// Valid until this second since 1970.
    pub deadline: u64,
    /// Who gets it.
    pub to: Address,
    /// Who must ask for it, in `upto`.
    pub facilitator: Option<Address>,
}

impl Permit {
    /// A good payment for this offer of version 2.
    pub fn for_offer(signer: &Payer, offer: &Value) -> Self {
        let address = |pointer: &str| {
            let text = offer.pointer(pointer).and_then(Value::as_str);
            text.map(|text| text.parse::<Address>().unwrap())
        };
        let facilitator = address("/extra/facilitatorAddress");
        let proxy = facilitator.map_or(EXACT_PROXY, |_| UPTO_PROXY);
        Self {
            signer: signer.clone(),
            accepted: offer.clone(),
            token: address("/asset").unwrap(),
            amount: offer["amount"].as_str().unwrap().parse().unwrap(),
            spender: proxy.parse().unwrap(),
            nonce: random(),
            deadline: now() + offer["maxTimeoutSeconds"].as_u64().unwrap(),
            to: address("/payTo").unwrap(),
            facilitator,
        }
    }

    fn digest(&self) -> [u8; 32] {
        let separator = hash_struct(
            "EIP712Domain(string name,uint256 chainId,address verifyingContract)",
            &[
                keccak(b"Permit2"),
                word(84_532),
                PERMIT2.parse::<Address>().unwrap().word(),
            ],
        );
        let permissions = "TokenPermissions(address token,uint256 amount)";
        let mut members = vec![self.to.word()];
        let witness = match self.facilitator {
            None => "Witness(address to,uint256 validAfter)",
            Some(facilitator) => {
                members.push(facilitator.word());
                "Witness(address to,address facilitator,uint256 validAfter)"
            }
        };
        members.push(word(0));
        let kind = format!(
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness){permissions}{witness}"
        );
        let message = hash_struct(
            &kind,
            &[
                hash_struct(permissions, &[self.token.word(), word(self.amount)]),
                self.spender.word(),
                self.nonce,
                word(self.deadline.into()),
                hash_struct(witness, &members),
            ],
        );
        keccak(&[b"\x19\x01".as_slice(), &separator, &message].concat())
    }

    /// The value of `PAYMENT-SIGNATURE`.
    pub fn header(&self) -> String {
        let (signature, id) = self.signer.sign(&self.digest());
        let mut bytes = signature.to_vec();
        bytes.push(27 + u8::from(id.is_y_odd()));
        let mut witness = json!({"to": self.to.to_string(), "validAfter": "0"});
        if let Some(facilitator) = self.facilitator {
            witness["facilitator"] = facilitator.to_string().into();
        }
        encode_header(&json!({
            "x402Version": 2,
            "accepted": self.accepted,
            "payload": {
                "signature": const_hex::encode_prefixed(bytes),
                "permit2Authorization": {
                    "from": self.signer.address().to_string(),
                    "permitted": {
                        "token": self.token.to_string(),
                        "amount": self.amount.to_string(),
                    },
                    "spender": self.spender.to_string(),
                    "nonce": decimal(&self.nonce),
                    "deadline": self.deadline.to_string(),
                    "witness": witness,
                },
            },
        }))
    }
}

/// A number of any length, big-endian, in decimal.
fn decimal(number: &[u8]) -> String {
    let mut digits = vec![0u32];
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
