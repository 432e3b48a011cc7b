//! The same for what was signed for Permit2, which has one bitmap of used nonces for each owner and says by no event what one was
//! used by. The call that used it has it in its input.

use alloy_primitives::U256;
use alloy_sol_types::{SolCall, SolEvent};
use serde_json::{Value, json};

use super::{Claim, Finding, Log, Rpc, hex, quantity};
use crate::contract::{Transfer, UnorderedNonceInvalidation, nonceBitmapCall};
use crate::error::code;
use crate::evm;
use crate::permit2::{PERMIT2, place};
use crate::ports::Http;

/// Whether the nonce is used, in the block of this number.
pub(super) fn is_used<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    number: u64,
) -> Result<bool, String> {
    let (word, bit) = place(claim.nonce.into());
    let call = nonceBitmapCall {
        owner: claim.payer,
        word,
    };
    let bitmap = rpc.call(
        "eth_call",
        json!([
            {"to": evm::text(PERMIT2), "data": evm::text(call.abi_encode())},
            hex(number),
        ]),
    )?;
    let bitmap = bitmap.as_str().and_then(evm::word).ok_or_else(|| {
        "the RPC endpoint: Permit2 does not tell whether the nonce is used".to_owned()
    })?;
    Ok(U256::from_be_bytes(bitmap.0) & bit != U256::ZERO)
}

/// Whether the transaction of a receipt made the transfer: its events have it, and its input has the nonce.
pub(super) fn made<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    (transaction, receipt): (&str, &Value),
) -> Result<bool, String> {
    if quantity(receipt.get("status")) != Some(1) {
        return Ok(false);
    }
    let logs = receipt.get("logs").and_then(Value::as_array);
    let mut logs = logs.into_iter().flatten().filter_map(Log::read);
    if !logs.any(|log| log.is_transfer(claim)) {
        return Ok(false);
    }
    let whole = rpc.call("eth_getTransactionByHash", json!([transaction]))?;
    let input = whole
        .get("input")
        .and_then(Value::as_str)
        .and_then(evm::any_bytes)
        .ok_or_else(|| "the RPC endpoint: a transaction without an input".to_owned())?;
    Ok(input.windows(32).any(|word| word == claim.nonce.as_slice()))
}

/// What `eth_getLogs` is asked for.
pub(super) fn filter(claim: &Claim) -> (Value, Value) {
    (
        json!([evm::text(claim.asset), evm::text(PERMIT2)]),
        json!([
            [
                evm::text(Transfer::SIGNATURE_HASH),
                evm::text(UnorderedNonceInvalidation::SIGNATURE_HASH),
            ],
            evm::text(claim.payer.into_word()),
        ]),
    )
}

/// What an event says of the nonce.
pub(super) fn tell<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    log: &Log,
) -> Result<Option<Finding>, String> {
    if invalidates(log, claim) {
        return Ok(Some(Finding::NotMade(
            code::PERMIT2_NONCE,
            "the payer invalidated the nonce",
        )));
    }
    if !log.is_transfer(claim) {
        return Ok(None);
    }
    let transaction = (log.transaction.as_deref())
        .ok_or_else(|| "the RPC endpoint: an event without a transaction".to_owned())?;
    let Some(receipt) = rpc.receipt(transaction)? else {
        return Ok(Some(Finding::Unclear(
            "the nonce's transaction is not final yet",
        )));
    };
    let is_ours = made(rpc, claim, (transaction, &receipt))?;
    Ok(is_ours.then(|| Finding::Made(transaction.to_owned())))
}

fn invalidates(log: &Log, claim: &Claim) -> bool {
    let (word, bit) = place(claim.nonce.into());
    let named = [
        UnorderedNonceInvalidation::SIGNATURE_HASH,
        claim.payer.into_word(),
    ];
    let Some((first, mask)) = log.data.split_first_chunk::<32>() else {
        return false;
    };
    let Ok(mask) = <[u8; 32]>::try_from(mask) else {
        return false;
    };
    log.address == PERMIT2
        && log.topics == named
        && U256::from_be_bytes(*first) == word
        && U256::from_be_bytes(mask) & bit != U256::ZERO
}
