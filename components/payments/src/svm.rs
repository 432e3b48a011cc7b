//! The scheme `exact` on Solana: an SPL token transfer that the payer signed and the facilitator sends.
//!
//! The payment is a whole transaction. The payer signs it as the owner of the tokens; the facilitator pays the fee and signs
//! last, so what the chain will call the transaction is not known before. What it is unique by is its message: the chain runs no
//! message twice while it would still take it, and who signed it, and how often, changes nothing about that.

pub mod chain;
pub mod code;
pub mod fee_payers;
pub mod key;
pub mod message;
pub mod offline;
pub mod payment;
pub mod terms;
pub mod transfer;

/// The namespace of Solana's networks in CAIP-2.
pub const NAMESPACE: &str = "solana:";

/// The networks: the name that version 1 of the protocol and operators use, and the CAIP-2 identifier, which is the beginning of
/// the hash of the network's first block.
pub const NETWORKS: [(&str, &str); 3] = [
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
];

/// Circle's own USDC, which has six decimals, by network.
pub const USDC: [(&str, &str); 3] = [
    (
        NETWORKS[0].1,
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    ),
    (
        NETWORKS[1].1,
        "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
    ),
    (
        NETWORKS[2].1,
        "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
    ),
];

/// How long after its verification a transaction may still be taken, in seconds.
///
/// The chain takes a transaction for 150 blocks after the one that it names, and a block takes 0.4 seconds, or a multiple of that
/// when the network is in trouble. This is two seconds for each.
pub const LIFETIME: u64 = 300;

/// Whether a CAIP-2 identifier names one of Solana's networks.
pub fn is_network(network: &str) -> bool {
    NETWORKS.iter().any(|(_, known)| *known == network)
}

/// A transaction's name: 64 bytes in base58, in their one form.
pub fn is_transaction(text: &str) -> bool {
    let mut signature = [0; 64];
    // The longest has 88 digits.
    text.len() <= 88 && matches!(bs58::decode(text).onto(&mut signature), Ok(64))
}
