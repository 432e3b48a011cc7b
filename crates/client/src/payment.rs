//! Payment with x402 version 2, schemes `exact` and `upto`: a token's owner signs an authorization of one transfer, by EIP-3009 or for
//! Permit2, and the host has it settled on the chain.
//!
//! A [`Payer`] is a [`Wallet`] and a [`PaymentPolicy`]. The policy decides which of a host's offers is taken: the token must be known,
//! its signing domain comes from the table here and never from the host, and its price must be under the cap. What
//! is signed names amount, recipient, token, chain and a random nonce, so a host can take that amount once and nothing else; of `upto`
//! it takes what the run used, and its report says how that adds up.
//!
//! ```no_run
//! use hypervisor_client::{Client, Program};
//! use hypervisor_client::payment::{Payer, PaymentPolicy, Wallet};
//!
//! # async fn example() -> Result<(), hypervisor_client::Error> {
//! let wallet = Wallet::from_file("payer.key".as_ref())?;
//! let payer = Payer::new(wallet, PaymentPolicy::new("0.05".parse()?));
//! let session = Client::new("https://host.example")?.open_session().await?;
//! let paid = session.run_wasm_paid(Program::new(b"\0asm"), &payer).await?;
//! if let Some(receipt) = paid.receipt() {
//!     println!("{} in transaction {}", receipt.price(), receipt.transaction);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Sources: the x402 specification version 2 (HTTP transport, scheme `exact` on EVM), EIP-3009, EIP-712, EIP-55, CAIP-2.

mod address;
mod amount;
mod asset;
mod authorization;
mod challenge;
mod estimate;
mod exchange;
mod network;
mod permit2;
mod policy;
mod prices;
mod settlement;
mod wallet;

pub use address::Address;
pub use amount::{Amount, Price};
pub use asset::Asset;
pub use authorization::Authorization;
pub use estimate::Estimate;
pub use exchange::{DEFAULT_PATIENCE, Payer};
pub(crate) use exchange::{PAYMENT_REQUIRED, PAYMENT_RESPONSE};
pub use network::Network;
pub use permit2::Method;
pub use policy::{MAX_VALIDITY_SECONDS, PaymentPolicy};
pub use settlement::{Payment, PaymentReceipt};
pub use wallet::Wallet;

use sha3::{Digest, Keccak256};

/// Keccak-256 over the parts, one after the other.
fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Most characters of a host's text that a message repeats.
const QUOTED: usize = 200;

/// A host's text for messages: cut, and with nothing that a terminal would act on.
fn printable(text: &str) -> String {
    let plain = |c: char| c.escape_debug().len() == 1 || matches!(c, '"' | '\'' | '\\');
    let mut out: String = text
        .chars()
        .take(QUOTED)
        .map(|c| {
            if plain(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect();
    if text.chars().nth(QUOTED).is_some() {
        out.push('…');
    }
    out
}

/// The first [`QUOTED`] characters, for messages that escape by themselves.
fn cut(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// A reason code of x402 with what it means for whoever pays; any other reason as it is.
pub(crate) fn in_words(code: &str) -> String {
    let words = match code {
        "insufficient_funds" | "invalid_exact_evm_insufficient_balance" => {
            "the payer's account holds too little of the token"
        }
        "invalid_exact_evm_payload_authorization_valid_before" => {
            "what was signed is no longer valid, or not for long enough: is this machine's clock right?"
        }
        "invalid_exact_evm_payload_authorization_valid_after" => {
            "what was signed is not valid yet: is this machine's clock right?"
        }
        "permit2_allowance_required" => {
            "the payer's account has not let Permit2 transfer its token: have it call approve(0x000000000022D473030F116dDEE9F6B43aC78BA3, amount) of the token once, with any wallet; that takes a little of the chain's own coin, which this program does not spend"
        }
        "permit2_insufficient_balance" => "the payer's account holds too little of the token",
        "permit2_deadline_expired" => {
            "what was signed is no longer valid, or not for long enough: is this machine's clock right?"
        }
        "upto_facilitator_mismatch" => {
            "the host names an account that its facilitator does not settle by: tell its operator"
        }
        "invalid_exact_evm_nonce_already_used" => "this payment was used or cancelled before",
        "invalid_exact_evm_payload_signature" | "invalid_exact_evm_signature" => {
            "the token does not take the signature"
        }
        "invalid_exact_evm_payload_authorization_value"
        | "invalid_exact_evm_payload_authorization_value_mismatch" => "the price is another",
        "invalid_exact_evm_payload_recipient_mismatch" => "somebody else is to be paid",
        _ => return code.to_owned(),
    };
    format!("{words} ({code})")
}
