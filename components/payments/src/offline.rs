//! What can be said of a payment without a network.
//!
//! Only a refusal is final here. A good signature is necessary and never sufficient: the balance, the nonce and the code
//! at the payer's address are the chain's to know (an account with EIP-7702 code has a key that signs well, and the token
//! asks its code instead).

use alloy_primitives::{Address, B256, U256, uint};

use crate::contract::{address_of, signing_hash};
use crate::error::{Refusal, code};
use crate::header::Version;
use crate::offer::{LEAST_REMAINING, Method, Terms};
use crate::payload::Payment;
use crate::permit2;
use crate::ports::Crypto;

/// How much longer than the offer allows an authorization may run, in seconds: for a client whose clock is ahead.
///
/// Clients of @x402/evm set `validBefore` to their time plus `maxTimeoutSeconds`.
pub const SLACK: u64 = 60;

/// The order of the group of secp256k1 (SEC 2, section 2.4.1).
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All holds, and the payer's key signed.
    Good,
    /// All else holds, and the signature is not of the payer's key: the payer may be a contract (ERC-1271, ERC-6492).
    Undecided,
    /// It cannot be settled.
    Refused(Refusal),
}

/// Checks a payment against an offer at the time `now`. The error is a failure of the host's crypto.
pub fn check(
    payment: &Payment,
    terms: &Terms,
    now: u64,
    crypto: &impl Crypto,
) -> Result<Verdict, String> {
    match window(payment, terms, now).and_then(|()| money(payment, terms)) {
        Ok(()) => signature(payment, terms, crypto),
        Err(refusal) => Ok(Verdict::Refused(refusal)),
    }
}

fn window(payment: &Payment, terms: &Terms, now: u64) -> Result<(), Refusal> {
    let authorization = &payment.authorization;
    if authorization.valid_after > U256::from(now) {
        return Err(Refusal::new(
            payment.word(code::VALID_AFTER, code::PERMIT2_EARLY),
            "the authorization is not valid yet",
        ));
    }
    if authorization.valid_before < U256::from(now.saturating_add(LEAST_REMAINING)) {
        return Err(Refusal::new(
            payment.word(code::VALID_BEFORE, code::PERMIT2_DEADLINE),
            "the authorization has expired or is about to",
        ));
    }
    let latest = now
        .saturating_add(terms.offer.max_timeout_seconds)
        .saturating_add(SLACK);
    if authorization.valid_before > U256::from(latest) {
        return Err(Refusal::new(
            payment.word(code::VALID_BEFORE, code::PERMIT2_DEADLINE),
            "the authorization runs longer than maxTimeoutSeconds allows",
        ));
    }
    Ok(())
}

/// Whether method, price and recipient are the offer's. By EIP-3009 the asset is not compared: it is in no field of the authorization,
/// but in the hash that is signed.
pub fn money(payment: &Payment, terms: &Terms) -> Result<(), Refusal> {
    match (&payment.authorization.permit, &terms.method) {
        (Some(permit), _) => permit2::check(permit, payment.authorization.nonce, terms)?,
        (None, Method::Eip3009 { .. }) => {}
        (None, Method::Permit2 { .. }) => {
            return Err(Refusal::new(
                code::INVALID_PAYLOAD,
                "the offer is paid by Permit2, not by EIP-3009",
            ));
        }
    }
    if payment.authorization.value != terms.amount {
        let code = match payment.version {
            Version::V1 => code::VALUE,
            Version::V2 => payment.word(code::VALUE_MISMATCH, code::PERMIT2_AMOUNT),
        };
        return Err(Refusal::new(
            code,
            "the authorized value is not exactly the price",
        ));
    }
    if payment.authorization.to != terms.pay_to {
        return Err(Refusal::new(
            payment.word(code::RECIPIENT, code::PERMIT2_RECIPIENT),
            "the authorization pays someone else",
        ));
    }
    Ok(())
}

/// Whether the payer's key signed it, in the form that the token takes.
pub fn signature(
    payment: &Payment,
    terms: &Terms,
    crypto: &impl Crypto,
) -> Result<Verdict, String> {
    let code = payment.word(code::SIGNATURE, code::PERMIT2_SIGNATURE);
    let refused = |message: &str| Ok(Verdict::Refused(Refusal::new(code, message)));
    if payment.signature.is_empty() {
        return refused("the signature is empty");
    }
    let Some(signature) = Signature::read(&payment.signature) else {
        return Ok(Verdict::Undecided);
    };
    let hash = signing_hash(&payment.authorization, terms);
    let signer = crypto
        .recover(&hash.0, &signature.low_s, signature.recovery_id)?
        .map(|key| address_of(&key));
    if signer != Some(payment.authorization.from) {
        return Ok(Verdict::Undecided);
    }
    // The payer's own key, in a form that the token refuses after a facilitator has paid for the attempt.
    if signature.was_high {
        return refused("the signature has a high s: sign with the lower one (EIP-2)");
    }
    if !signature.v_is_27_or_28 {
        return refused("the signature's v is not 27 or 28");
    }
    Ok(Verdict::Good)
}

/// Whose key made a signature over a hash; none where no key did, or not in the one form that wallets sign in.
pub fn signer(
    hash: &B256,
    signature: &[u8],
    crypto: &impl Crypto,
) -> Result<Option<Address>, String> {
    let read = Signature::read(signature).filter(|it| it.v_is_27_or_28 && !it.was_high);
    let Some(signature) = read else {
        return Ok(None);
    };
    let key = crypto.recover(&hash.0, &signature.low_s, signature.recovery_id)?;
    Ok(key.map(|key| address_of(&key)))
}

/// 65 bytes `r || s || v`, in the form that recovers.
struct Signature {
    low_s: [u8; 64],
    recovery_id: u8,
    was_high: bool,
    v_is_27_or_28: bool,
}

impl Signature {
    /// `None` for other lengths and for a `v` that no key belongs to.
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 65] = bytes.try_into().ok()?;
        let (rs, v) = bytes.split_first_chunk::<64>()?;
        let (v_is_27_or_28, parity) = match v {
            [v @ (27 | 28)] => (true, v - 27),
            [v @ (0 | 1)] => (false, *v),
            _ => return None,
        };
        let (_, s) = rs.split_last_chunk::<32>()?;
        let s = U256::from_be_bytes(*s);
        let was_high = s > ORDER >> 1 && s < ORDER;
        let mut low_s = *rs;
        if was_high {
            // The same signature: s negated, and with it the point's y.
            let (_, tail) = low_s.split_last_chunk_mut::<32>()?;
            *tail = (ORDER - s).to_be_bytes();
        }
        Some(Self {
            low_s,
            recovery_id: parity ^ u8::from(was_high),
            was_high,
            v_is_27_or_28,
        })
    }
}
