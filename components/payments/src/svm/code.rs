//! Reason codes of the scheme on Solana, as the official facilitator gives them (@x402/svm 2.27).

pub const NOT_DECODED: &str = "invalid_exact_svm_payload_transaction_could_not_be_decoded";
pub const LOOKUP_TABLE: &str = "invalid_exact_svm_smart_wallet_alt_resolution_not_available";
pub const SIGNERS: &str = "invalid_exact_svm_payload_excessive_signers";
pub const SIGNATURE: &str = "invalid_exact_svm_payload_signature_invalid";
pub const FEE_PAYER: &str = "invalid_exact_svm_fee_payer_mismatch";
pub const FEE_PAYER_TRANSFERS: &str =
    "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds";
pub const INSTRUCTIONS: &str = "invalid_exact_svm_payload_transaction_instructions_length";
pub const COMPUTE_LIMIT: &str =
    "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction";
pub const COMPUTE_PRICE: &str =
    "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction";
pub const COMPUTE_PRICE_TOO_HIGH: &str =
    "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";
pub const NO_TRANSFER: &str = "invalid_exact_svm_payload_no_transfer_instruction";
pub const FOURTH_INSTRUCTION: &str = "invalid_exact_svm_payload_unknown_fourth_instruction";
pub const FIFTH_INSTRUCTION: &str = "invalid_exact_svm_payload_unknown_fifth_instruction";
pub const SIXTH_INSTRUCTION: &str = "invalid_exact_svm_payload_unknown_sixth_instruction";
pub const SEVENTH_INSTRUCTION: &str = "invalid_exact_svm_payload_unknown_seventh_instruction";
pub const MINT: &str = "invalid_exact_svm_payload_mint_mismatch";
pub const RECIPIENT: &str = "invalid_exact_svm_payload_recipient_mismatch";
pub const AMOUNT: &str = "invalid_exact_svm_payload_amount_mismatch";
pub const TRANSACTION_FAILED: &str = "invalid_exact_svm_transaction_failed";
/// No facilitator says it: it is found out on the chain.
pub const EXPIRED: &str = "invalid_exact_svm_blockhash_expired";

/// What a facilitator says that does not have the key of the offer's fee payer, in either version of the protocol: the operator's
/// mistake, or one facilitator of several.
pub const FEE_PAYER_NOT_MANAGED: [&str; 2] = [
    "invalid_exact_svm_fee_payer_not_managed_by_facilitator",
    "fee_payer_not_managed_by_facilitator",
];

/// Reasons with which a facilitator refuses a transaction before it sends it. Not among them are those that it also gives of one
/// that was sent a moment ago: a simulation that fails, and that the transaction was seen before.
const DEFINITE: [&str; 18] = [
    NOT_DECODED,
    LOOKUP_TABLE,
    SIGNERS,
    SIGNATURE,
    FEE_PAYER,
    FEE_PAYER_TRANSFERS,
    INSTRUCTIONS,
    COMPUTE_LIMIT,
    COMPUTE_PRICE,
    COMPUTE_PRICE_TOO_HIGH,
    NO_TRANSFER,
    FOURTH_INSTRUCTION,
    FIFTH_INSTRUCTION,
    SIXTH_INSTRUCTION,
    SEVENTH_INSTRUCTION,
    MINT,
    RECIPIENT,
    AMOUNT,
];

/// Whether a reason says that nothing was sent.
pub fn is_definite(reason: &str) -> bool {
    DEFINITE.contains(&reason)
}
