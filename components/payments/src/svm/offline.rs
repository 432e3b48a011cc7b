//! What can be said of a transaction without a network.
//!
//! Whether the payer has the tokens, and whether the chain still takes the transaction, is the chain's to know.

use super::code;
use super::terms::Terms;
use super::transfer::Transfer;
use crate::error::Refusal;
use crate::ports::Crypto;

/// Checks a transaction against an offer. The outer error is a failure of the host's crypto.
pub fn check(
    transfer: &Transfer,
    terms: &Terms,
    crypto: &impl Crypto,
) -> Result<Result<(), Refusal>, String> {
    if let Err(refusal) = money(transfer, terms) {
        return Ok(Err(refusal));
    }
    let is_signed = crypto.ed25519(&transfer.payer.0, &transfer.signed, &transfer.signature)?;
    Ok(if is_signed {
        Ok(())
    } else {
        Err(Refusal::new(
            code::SIGNATURE,
            "the payer's signature is not of this transaction",
        ))
    })
}

fn money(transfer: &Transfer, terms: &Terms) -> Result<(), Refusal> {
    if transfer.fee_payer != terms.fee_payer {
        return Err(Refusal::new(
            code::FEE_PAYER,
            "the fee is paid by someone else than the offer's feePayer",
        ));
    }
    if transfer.mint != terms.mint {
        return Err(Refusal::new(
            code::MINT,
            "the transaction pays in another token",
        ));
    }
    let account = terms.pay_to.token_account(&terms.mint, &transfer.program);
    if account != Some(transfer.destination) {
        return Err(Refusal::new(
            code::RECIPIENT,
            "the transaction does not pay into payTo's associated token account",
        ));
    }
    // The token program would do nothing, and succeed.
    if transfer.source == transfer.destination {
        return Err(Refusal::new(
            code::RECIPIENT,
            "the tokens come from the account that they go to",
        ));
    }
    if transfer.amount != terms.amount {
        return Err(Refusal::new(
            code::AMOUNT,
            "the transferred amount is not exactly the price",
        ));
    }
    Ok(())
}
