//! What became of a transaction, by the chain itself: Solana's JSON-RPC.
//!
//! A transaction made the payment if it holds the message that the payer signed, and did not fail: the message was checked when the
//! payment was, and the chain makes all of it or nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::transfer::Transfer;
use super::{NAMESPACE, code, is_transaction, message};
use crate::api::AuthorizedPayment;
use crate::chain::{Endpoint, Finding};
use crate::evm;
use crate::ports::Http;

/// How many transactions of an account are listed: what endpoints take.
const LISTED: usize = 1000;
/// How many of them are looked at, at the most.
const READ: usize = 32;
/// How much our clock may be ahead of the chain's, in seconds, in deciding how far back to look.
const CLOCK_SLACK: u64 = 300;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Claim {
    transfer: Transfer,
    valid_before: u64,
    since: u64,
}

impl Claim {
    /// The transaction of a payment that was not sent before `since`.
    pub fn new(payment: &AuthorizedPayment, payload: &Value, since: u64) -> Option<Self> {
        let transaction = payload.pointer("/payload/transaction")?.as_str()?;
        let transfer = Transfer::read(transaction).ok()?;
        (evm::text(transfer.digest) == payment.id.nonce).then_some(Self {
            transfer,
            valid_before: payment.valid_before,
            since,
        })
    }
}

/// One network's endpoint.
pub struct Rpc<'a, H> {
    /// Where it is.
    pub endpoint: Endpoint<'a, H>,
    /// The network that it must be of, as CAIP-2.
    pub network: &'a str,
    /// Nothing but what can no longer be taken back counts.
    pub is_final: bool,
}

/// What a transaction has to do with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// It is the one, and was made.
    Made,
    /// It is the one, and failed.
    Failed,
    /// It is another.
    Other,
}

impl<H: Http> Rpc<'_, H> {
    fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        self.endpoint.call(method, params)
    }

    /// An endpoint of another network would know nothing of any transaction, and each payment would look as if it had failed.
    fn check_network(&self) -> Result<(), String> {
        let genesis = self.call("getGenesisHash", json!([]))?;
        let reference = self.network.strip_prefix(NAMESPACE);
        match (genesis.as_str(), reference) {
            (Some(genesis), Some(reference)) if genesis.starts_with(reference) => Ok(()),
            _ => Err(format!("the RPC endpoint is not one of {}", self.network)),
        }
    }

    fn commitment(&self) -> &'static str {
        if self.is_final {
            "finalized"
        } else {
            "confirmed"
        }
    }

    /// `None` while the transaction is in no block, or in one that does not count yet.
    fn transaction(&self, name: &str, claim: &Claim) -> Result<Option<Match>, String> {
        let options = json!({
            "encoding": "base64",
            "commitment": self.commitment(),
            "maxSupportedTransactionVersion": 0,
        });
        let answer = self.call("getTransaction", json!([name, options]))?;
        if answer.is_null() {
            return Ok(None);
        }
        let is_ours = answer
            .pointer("/transaction/0")
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| Some(message::digest(message::split(&bytes)?.1)))
            .ok_or("the RPC endpoint: a transaction that cannot be read")?
            == claim.transfer.digest;
        let error = answer
            .pointer("/meta/err")
            .ok_or("the RPC endpoint: a transaction without its end")?;
        Ok(Some(match (is_ours, error.is_null()) {
            (true, true) => Match::Made,
            (true, false) => Match::Failed,
            (false, _) => Match::Other,
        }))
    }

    /// Slot and time of the newest block that is final.
    fn newest(&self) -> Result<(u64, u64), String> {
        let slot = self.call("getSlot", json!([{"commitment": "finalized"}]))?;
        let time = self.call("getBlockTime", json!([slot]))?;
        slot.as_u64()
            .zip(time.as_u64())
            .ok_or_else(|| "the RPC endpoint: a block without number or time".to_owned())
    }
}

/// Whether a transaction made the payment; `None` while it is in no block.
pub fn confirm<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    transaction: &str,
) -> Result<Option<bool>, String> {
    rpc.check_network()?;
    let found = rpc.transaction(transaction, claim)?;
    Ok(found.map(|found| found == Match::Made))
}

/// Finds out what became of a transaction. `known` is what it is thought to be called.
pub fn find<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    known: Option<&str>,
) -> Result<Finding, String> {
    rpc.check_network()?;
    if let Some(known) = known
        && let Some(finding) = judged(rpc.transaction(known, claim)?, known)
    {
        return Ok(finding);
    }
    // Asked before the search, of a block that cannot be taken back, and the search is of that block or a later one: whatever the
    // chain still took before it is found.
    let (slot, time) = rpc.newest()?;
    let mut is_over = false;
    if time > claim.valid_before {
        let blockhash = claim.transfer.blockhash.to_string();
        let options = json!({"commitment": "finalized", "minContextSlot": slot});
        let valid = rpc.call("isBlockhashValid", json!([blockhash, options]))?;
        is_over = valid.get("value") == Some(&Value::Bool(false));
    }
    Ok(match search(rpc, claim, slot)? {
        Finding::Open if is_over => {
            Finding::NotMade(code::EXPIRED, "the transaction expired and was not made")
        }
        found => found,
    })
}

/// What follows from a transaction of this name; nothing from another one.
fn judged(found: Option<Match>, name: &str) -> Option<Finding> {
    match found? {
        Match::Made => Some(Finding::Made(name.to_owned())),
        Match::Failed => Some(Finding::NotMade(
            code::TRANSACTION_FAILED,
            "the transaction failed on the chain",
        )),
        Match::Other => None,
    }
}

/// Looks for the transaction among those of the account that pays.
fn search<H: Http>(rpc: &Rpc<'_, H>, claim: &Claim, slot: u64) -> Result<Finding, String> {
    let options = json!({
        "commitment": rpc.commitment(),
        "limit": LISTED,
        "minContextSlot": slot,
    });
    let account = claim.transfer.source.to_string();
    let listed = rpc.call("getSignaturesForAddress", json!([account, options]))?;
    let listed = listed
        .as_array()
        .ok_or("the RPC endpoint: no list of transactions")?;
    let mut candidates: Vec<&str> = Vec::new();
    for entry in listed.iter().filter_map(Value::as_object) {
        let time = entry.get("blockTime").and_then(Value::as_u64);
        // The newest come first.
        if time.is_some_and(|time| time.saturating_add(CLOCK_SLACK) < claim.since) {
            return look_at(rpc, claim, &candidates);
        }
        if has_note(entry, claim) {
            let name = entry.get("signature").and_then(Value::as_str);
            let name = name.filter(|name| is_transaction(name));
            candidates.push(name.ok_or("the RPC endpoint: a transaction without a name")?);
        }
    }
    match look_at(rpc, claim, &candidates)? {
        Finding::Open if listed.len() >= LISTED => Ok(Finding::Unclear(
            "the payer's account has more transactions than can be looked through",
        )),
        found => Ok(found),
    }
}

/// Whether a listed transaction can be the one by its note. Clients write one that is like no other.
fn has_note(entry: &Map<String, Value>, claim: &Claim) -> bool {
    match (
        &claim.transfer.memo,
        entry.get("memo").and_then(Value::as_str),
    ) {
        (Some(ours), Some(listed)) => listed.contains(ours.as_str()),
        // Some endpoints keep no notes.
        _ => true,
    }
}

fn look_at<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    candidates: &[&str],
) -> Result<Finding, String> {
    for name in candidates.iter().take(READ) {
        match rpc.transaction(name, claim)? {
            None => {
                return Ok(Finding::Unclear(
                    "a transaction is listed and cannot be had yet",
                ));
            }
            found => {
                if let Some(finding) = judged(found, name) {
                    return Ok(finding);
                }
            }
        }
    }
    if candidates.len() > READ {
        return Ok(Finding::Unclear(
            "the payer's account has more transactions than are looked at",
        ));
    }
    Ok(Finding::Open)
}
