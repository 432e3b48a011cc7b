//! What a token of EIP-3009 signs, emits and answers, and the EIP-712 hash of an authorization.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};

use crate::offer::{Method, Terms};
use crate::permit2::{self, Permit};

sol! {
    #[derive(Debug)]
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
    event Transfer(address indexed from, address indexed to, uint256 value);

    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);

    // Permit2's.
    event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

    function nonceBitmap(address owner, uint256 word) external view returns (uint256);
}

/// What the payer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The payer.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// The amount.
    pub value: U256,
    /// The token takes it only after this second.
    pub valid_after: U256,
    /// The token takes it only before this second.
    pub valid_before: U256,
    /// Makes it unique.
    pub nonce: B256,
    /// What Permit2 needs besides; none of an authorization by EIP-3009.
    pub permit: Option<Permit>,
}

/// The hash that is signed (EIP-712), under the domain of Permit2 or of the offer's token.
pub fn signing_hash(authorization: &Authorization, terms: &Terms) -> B256 {
    if let Some(permit) = &authorization.permit {
        return permit2::signing_hash(authorization, permit, terms.chain_id);
    }
    // An offer for Permit2 has no such domain, and `offline` refuses what was signed under one.
    let (name, version) = match &terms.method {
        Method::Eip3009 { name, version } => (name.as_str(), version.as_str()),
        Method::Permit2 { .. } => ("", ""),
    };
    let domain = Eip712Domain::new(
        Some(name.to_owned().into()),
        Some(version.to_owned().into()),
        Some(U256::from(terms.chain_id)),
        Some(terms.asset),
        None,
    );
    TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value,
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
    }
    .eip712_signing_hash(&domain)
}

/// The address of an uncompressed public key: the last 20 bytes of the hash of its coordinates.
pub fn address_of(public_key: &[u8; 65]) -> Address {
    let (_, coordinates) = public_key.split_at(1);
    Address::from_word(keccak256(coordinates))
}
