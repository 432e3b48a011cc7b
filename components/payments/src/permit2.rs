//! Permit2: transfers of any ERC-20, by the schemes `exact` and `upto`.
//!
//! The payer lets one of x402's two proxies take an amount through Permit2, and signs with it who gets it: the witness. With
//! `upto` the amount is a maximum, and the witness names the account of the facilitator too, so that nobody else decides how much
//! of it is taken.
//!
//! Sources: the x402 specification of `exact` and `upto` on EVM chains, and Permit2's `SignatureTransfer`.

use alloy_primitives::{Address, B256, U256, address};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde_json::{Map, Value};

use crate::contract::Authorization;
use crate::error::{Refusal, code};
use crate::evm;
use crate::offer::{Method, Terms};
use crate::payload::{number, object, owner};

/// The contract, the same on all chains.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");
/// Who transfers by `exact`.
pub const EXACT_PROXY: Address = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");
/// Who transfers by `upto`.
pub const UPTO_PROXY: Address = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// What the payer signs besides what every authorization has. Of that, the deadline is `valid_before`, and itself still in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The token.
    pub token: Address,
    /// Who may transfer it.
    pub spender: Address,
    /// Who must ask for it: in `upto` alone.
    pub facilitator: Option<Address>,
}

/// Reads `permit2Authorization`.
pub fn read(members: &Map<String, Value>) -> Result<Authorization, Refusal> {
    let permitted = object(members, "permitted")?;
    let witness = object(members, "witness")?;
    let facilitator = match witness.get("facilitator") {
        None => None,
        Some(_) => Some(owner(witness, "facilitator")?),
    };
    Ok(Authorization {
        from: owner(members, "from")?,
        to: owner(witness, "to")?,
        value: number(permitted, "amount")?,
        valid_after: number(witness, "validAfter")?,
        valid_before: number(members, "deadline")?,
        nonce: number(members, "nonce")?.into(),
        permit: Some(Permit {
            token: owner(permitted, "token")?,
            spender: owner(members, "spender")?,
            facilitator,
        }),
    })
}

/// A nonce as payments are named by it: in decimal, as the protocol writes it, so that no nonce of EIP-3009 has the same name.
pub fn name(nonce: B256) -> String {
    U256::from_be_bytes(nonce.0).to_string()
}

/// The nonce that a payment is named by; none where that is one of EIP-3009.
pub fn nonce(name: &str) -> Option<U256> {
    evm::amount(name)
}

/// Whether a call that has this nonce cannot be one that merely has such a number: an amount, a time, an address, or parts of them.
///
/// The chain tells what used a nonce by the input of a call alone. Clients of x402 take 256 random bits, so none of theirs is refused.
fn is_telling(nonce: U256) -> bool {
    nonce.bit_len() > Address::len_bytes() * 8
}

/// The word of an owner's bitmap that has a nonce, and the nonce's bit in it.
pub fn place(nonce: U256) -> (U256, U256) {
    let [bit, ..] = nonce.to_le_bytes::<32>();
    (nonce >> 8, U256::from(1) << usize::from(bit))
}

/// Whether token, proxy and facilitator are the offer's, and the nonce is one that can be told from other numbers.
pub fn check(permit: &Permit, nonce: B256, terms: &Terms) -> Result<(), Refusal> {
    let refused = |code, message: &str| Err(Refusal::new(code, message));
    let Method::Permit2 { facilitator } = terms.method else {
        return refused(
            code::INVALID_PAYLOAD,
            "the offer is paid by EIP-3009, not by Permit2",
        );
    };
    let proxy = match facilitator {
        Some(_) => UPTO_PROXY,
        None => EXACT_PROXY,
    };
    if permit.spender != proxy {
        return refused(
            code::PERMIT2_SPENDER,
            "the spender is not the scheme's proxy",
        );
    }
    if permit.facilitator != facilitator {
        return refused(
            code::UPTO_FACILITATOR,
            "the witness does not name the offer's facilitatorAddress",
        );
    }
    if permit.token != terms.asset {
        return refused(code::PERMIT2_TOKEN, "the permit is for another token");
    }
    if !is_telling(nonce.into()) {
        return refused(
            code::PERMIT2_NONCE,
            "the nonce is below 2^160: take 256 random bits",
        );
    }
    Ok(())
}

/// The hash that is signed (EIP-712), under Permit2's own domain.
pub fn signing_hash(authorization: &Authorization, permit: &Permit, chain_id: u64) -> B256 {
    let domain = Eip712Domain::new(
        Some("Permit2".into()),
        None,
        Some(U256::from(chain_id)),
        Some(PERMIT2),
        None,
    );
    let nonce = U256::from_be_bytes(authorization.nonce.0);
    match permit.facilitator {
        None => exact::PermitWitnessTransferFrom {
            permitted: exact::TokenPermissions {
                token: permit.token,
                amount: authorization.value,
            },
            spender: permit.spender,
            nonce,
            deadline: authorization.valid_before,
            witness: exact::Witness {
                to: authorization.to,
                validAfter: authorization.valid_after,
            },
        }
        .eip712_signing_hash(&domain),
        Some(facilitator) => upto::PermitWitnessTransferFrom {
            permitted: upto::TokenPermissions {
                token: permit.token,
                amount: authorization.value,
            },
            spender: permit.spender,
            nonce,
            deadline: authorization.valid_before,
            witness: upto::Witness {
                to: authorization.to,
                facilitator,
                validAfter: authorization.valid_after,
            },
        }
        .eip712_signing_hash(&domain),
    }
}

/// What is signed for `exact`.
mod exact {
    alloy_sol_types::sol! {
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        struct Witness {
            address to;
            uint256 validAfter;
        }

        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
    }
}

/// What is signed for `upto`.
mod upto {
    alloy_sol_types::sol! {
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        struct Witness {
            address to;
            address facilitator;
            uint256 validAfter;
        }

        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
    }
}
