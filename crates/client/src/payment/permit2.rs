//! Permit2: what is signed for tokens that have no EIP-3009, and where the host takes no more than was used.
//!
//! One of two contracts, the same on all chains, may then transfer an amount of the token once, and only to who is signed: for
//! `exact` that amount, for `upto` any part of it, which only the facilitator that is signed can ask for.

use crate::payment::amount::word;
use crate::payment::{Address, Authorization, keccak256};

const PERMIT2: &str = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
const EXACT_PROXY: &str = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
const UPTO_PROXY: &str = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";

/// How an amount is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By the token itself, exactly.
    Eip3009,
    /// By Permit2.
    Permit2 {
        /// Who says how much is taken: the account of the facilitator. Without one it is exactly the amount.
        facilitator: Option<Address>,
    },
}

impl Method {
    /// Whether less than was signed may be taken.
    pub fn is_upto(&self) -> bool {
        matches!(
            self,
            Self::Permit2 {
                facilitator: Some(_)
            }
        )
    }
}

/// Who may transfer.
pub(super) fn spender(facilitator: Option<Address>) -> Option<Address> {
    let proxy = facilitator.map_or(EXACT_PROXY, |_| UPTO_PROXY);
    proxy.parse().ok()
}

/// The digest that is signed (EIP-712).
pub(super) fn digest(
    authorization: &Authorization,
    facilitator: Option<Address>,
) -> Option<[u8; 32]> {
    let permissions = "TokenPermissions(address token,uint256 amount)";
    let witness = match facilitator {
        None => "Witness(address to,uint256 validAfter)",
        Some(_) => "Witness(address to,address facilitator,uint256 validAfter)",
    };
    let kind = format!(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness){permissions}{witness}"
    );
    let contract: Address = PERMIT2.parse().ok()?;
    let domain = keccak256(&[
        &keccak256(&[b"EIP712Domain(string name,uint256 chainId,address verifyingContract)"]),
        &keccak256(&[b"Permit2"]),
        &word(authorization.asset.network.chain_id().into()),
        &padded(contract),
    ]);
    let permitted = keccak256(&[
        &keccak256(&[permissions.as_bytes()]),
        &padded(authorization.asset.address),
        &authorization.amount.to_word(),
    ]);
    let account = facilitator.map(padded);
    let witnessed = keccak256(&[
        &keccak256(&[witness.as_bytes()]),
        &padded(authorization.to),
        account
            .as_ref()
            .map_or(&[][..], |account| account.as_slice()),
        &word(authorization.valid_after.into()),
    ]);
    let message = keccak256(&[
        &keccak256(&[kind.as_bytes()]),
        &permitted,
        &padded(spender(facilitator)?),
        &authorization.nonce,
        &word(authorization.valid_before.into()),
        &witnessed,
    ]);
    Some(keccak256(&[b"\x19\x01", &domain, &message]))
}

fn padded(address: Address) -> [u8; 32] {
    let mut padded = [0; 32];
    for (to, from) in padded.iter_mut().skip(12).zip(address.as_bytes()) {
        *to = *from;
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Asset, Network};

    #[test]
    fn what_is_signed_is_what_another_library_hashes() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let mut authorization = Authorization {
            asset: Asset::known()
                .find(|asset| asset.network == Network::new(84532))
                .unwrap(),
            method: Method::Permit2 { facilitator: None },
            from: address("0x857b06519E91e3A54538791bDbb0E22373e36b66"),
            to: address("0x209693Bc6afc0C5328bA36FaF03C514EF312287C"),
            amount: Amount::new(10_000),
            valid_after: 0,
            valid_before: 1_800_000_060,
            nonce: word(7),
        };
        for (facilitator, digest) in [
            (
                None,
                "0xdad73c18e062a61658b828d03f7a023612818b5eec04f106dcac21e77aaa5ee9",
            ),
            (
                Some(address("0x3333333333333333333333333333333333333333")),
                "0x277ad47b8b5ccaeb94a2a914220c172efa1b45070fd0952ff5d1cea64d1ced13",
            ),
        ] {
            authorization.method = Method::Permit2 { facilitator };
            let signed = authorization.digest().unwrap();
            assert_eq!(const_hex::encode_prefixed(signed), digest);
            assert_eq!(authorization.nonce_text(), "7");
        }
        authorization.nonce = [0xff; 32];
        let greatest =
            "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(authorization.nonce_text(), greatest);
    }
}
