//! What a token and a facilitator look at in a payment.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

use super::payment_required;

/// Checks a payment as a token and a facilitator would: an offer of ours, a time that is now, and the payer's signature.
pub(super) fn check(payment: &str, offers: &[Value]) -> Result<(), String> {
    let payment: Value = serde_json::from_slice(&STANDARD.decode(payment).unwrap()).unwrap();
    let accepted = &payment["accepted"];
    if payment["x402Version"] != 2 || !offers.contains(accepted) {
        return Err("not an offer of ours".to_owned());
    }
    let required = payment_required(offers, "");
    if payment["resource"] != required["resource"]
        || payment["extensions"] != required["extensions"]
    {
        return Err("not echoed".to_owned());
    }
    let authorization = &payment["payload"]["authorization"];
    let text = |name: &str| authorization[name].as_str().unwrap();
    if text("to") != accepted["payTo"] || text("value") != accepted["amount"] {
        return Err("not what was offered".to_owned());
    }
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (after, before): (u64, u64) = (
        text("validAfter").parse().unwrap(),
        text("validBefore").parse().unwrap(),
    );
    let time = accepted["maxTimeoutSeconds"].as_u64().unwrap();
    let (shortest, longest) = (now + 6.min(time / 2), now + time);
    if after > now || before < shortest || before > longest {
        return Err("not valid now".to_owned());
    }
    let signature = const_hex::decode(payment["payload"]["signature"].as_str().unwrap()).unwrap();
    if signer(accepted, authorization, &signature) == text("from").to_lowercase() {
        Ok(())
    } else {
        Err("invalid_exact_evm_signature".to_owned())
    }
}

fn keccak(bytes: &[u8]) -> Vec<u8> {
    Keccak256::digest(bytes).to_vec()
}

/// A `uint256` or an address, left-padded to 32 bytes.
fn word(bytes: &[u8]) -> Vec<u8> {
    let mut word = vec![0; 32 - bytes.len()];
    word.extend_from_slice(bytes);
    word
}

/// The address that signed, in lower case; written anew, from EIP-712 and EIP-3009.
fn signer(accepted: &Value, authorization: &Value, signature: &[u8]) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let number = |value: &Value| word(&text(value).parse::<u128>().unwrap().to_be_bytes());
    let bytes = |value: &Value| word(&const_hex::decode(text(value)).unwrap());
    let chain = text(&accepted["network"]).replace("eip155:", "");
    let domain = [
        keccak(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        ),
        keccak(text(&accepted["extra"]["name"]).as_bytes()),
        keccak(text(&accepted["extra"]["version"]).as_bytes()),
        number(&json!(chain)),
        bytes(&accepted["asset"]),
    ];
    let message = [
        // keccak256 of the type, as EIP-3009 gives it.
        const_hex::decode("7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267")
            .unwrap(),
        bytes(&authorization["from"]),
        bytes(&authorization["to"]),
        number(&authorization["value"]),
        number(&authorization["validAfter"]),
        number(&authorization["validBefore"]),
        bytes(&authorization["nonce"]),
    ];
    let digest = [
        vec![0x19, 1],
        keccak(&domain.concat()),
        keccak(&message.concat()),
    ]
    .concat();
    assert!(matches!(signature[64], 27 | 28), "v as tokens want it");
    let recovery = RecoveryId::from_byte(signature[64] - 27).unwrap();
    let parsed = Signature::from_slice(&signature[..64]).unwrap();
    assert_eq!(parsed.normalize_s(), parsed, "s in the lower half");
    let key = VerifyingKey::recover_from_prehash(&keccak(&digest), &parsed, recovery).unwrap();
    let hash = keccak(&key.to_sec1_point(false).as_bytes()[1..]);
    const_hex::encode_prefixed(&hash[12..])
}
