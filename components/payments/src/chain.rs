//! What became of an authorization, by the chain itself: Ethereum's JSON-RPC.
//!
//! The token is asked whether the nonce is used (EIP-3009), and its events say by what. What was signed for Permit2 is in [`permit2`].

mod permit2;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolEvent};
use serde_json::{Map, Value, json};

use crate::api::AuthorizedPayment;
use crate::contract::{AuthorizationCanceled, AuthorizationUsed, Transfer, authorizationStateCall};
use crate::error::code;
use crate::evm;
use crate::json;
use crate::permit2::nonce;
use crate::ports::Http;

/// The most that is read of an answer, in bytes: a block's list of transactions, a crowded receipt.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// How many blocks one search for events covers: what public endpoints take.
const BLOCKS: u64 = 1000;
/// How many such searches there are.
const SEARCHES: u64 = 20;
/// How much our clock may be ahead of the chain's, in seconds, in deciding how far back to look.
const CLOCK_SLACK: u64 = 300;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Claim {
    asset: Address,
    payer: Address,
    pay_to: Address,
    amount: U256,
    nonce: B256,
    is_permit2: bool,
    valid_before: u64,
    since: u64,
}

impl Claim {
    /// The transfer that a payment authorizes, not made before `since`.
    pub fn new(payment: &AuthorizedPayment, since: u64) -> Option<Self> {
        let permitted = nonce(&payment.id.nonce);
        Some(Self {
            asset: evm::address(&payment.id.asset)?,
            payer: evm::address(&payment.id.payer)?,
            pay_to: evm::address(&payment.pay_to)?,
            amount: evm::amount(&payment.amount)?,
            nonce: match permitted {
                Some(nonce) => nonce.into(),
                None => evm::word(&payment.id.nonce)?,
            },
            is_permit2: permitted.is_some(),
            valid_before: payment.valid_before,
            since,
        })
    }
}

/// What the chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The transfer was made, in this transaction.
    Made(String),
    /// It was not and cannot be any more: a reason code and a text.
    NotMade(&'static str, &'static str),
    /// The nonce is unused and the authorization still holds.
    Open,
    /// It cannot be told.
    Unclear(&'static str),
}

/// An endpoint of JSON-RPC, of any chain.
pub struct Endpoint<'a, H> {
    /// HTTP.
    pub http: &'a H,
    /// Where it is.
    pub url: &'a str,
    /// The longest that a request may take.
    pub timeout_ms: u64,
}

/// One chain's endpoint.
pub struct Rpc<'a, H> {
    /// Where it is.
    pub endpoint: Endpoint<'a, H>,
    /// The chain that it must be of.
    pub chain_id: u64,
    /// Blocks on top of the one with a transfer that make it final.
    pub confirmations: u64,
}

impl<H: Http> Endpoint<'_, H> {
    /// Calls a method. Errors name neither the endpoint nor what was asked.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        let failed = |problem: &str| format!("the RPC endpoint: {method}: {problem}");
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self
            .http
            .post(
                self.url,
                request.to_string().as_bytes(),
                self.timeout_ms,
                LONGEST_ANSWER,
            )
            .map_err(|error| failed(&error.to_string()))?;
        let mut body = json::parse_object(&answer.body).map_err(failed)?;
        match body.remove("result") {
            Some(result) if body.get("error").is_none_or(Value::is_null) => Ok(result),
            _ => Err(failed("an error instead of a result")),
        }
    }
}

impl<H: Http> Rpc<'_, H> {
    fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        self.endpoint.call(method, params)
    }

    /// An endpoint of another chain would know nothing of any nonce, and each payment would look as if it had failed.
    fn check_chain(&self) -> Result<(), String> {
        let chain = self.call("eth_chainId", json!([]))?;
        if quantity(Some(&chain)) == Some(self.chain_id) {
            return Ok(());
        }
        Err(format!(
            "the RPC endpoint is not one of eip155:{}",
            self.chain_id
        ))
    }

    /// Number and timestamp of a block.
    fn block(&self, tag: &str) -> Result<(u64, u64), String> {
        let block = self.call("eth_getBlockByNumber", json!([tag, false]))?;
        quantity(block.get("number"))
            .zip(quantity(block.get("timestamp")))
            .ok_or_else(|| "the RPC endpoint: a block without number or timestamp".to_owned())
    }

    /// The receipt of a transaction; `None` while it is in no block, or in one that is not final.
    fn receipt(&self, transaction: &str) -> Result<Option<Value>, String> {
        let receipt = self.call("eth_getTransactionReceipt", json!([transaction]))?;
        if receipt.is_null() {
            return Ok(None);
        }
        if self.confirmations > 0 {
            let block = quantity(receipt.get("blockNumber"))
                .ok_or_else(|| "the RPC endpoint: a receipt without a block".to_owned())?;
            let (newest, _) = self.block("latest")?;
            if newest < block.saturating_add(self.confirmations) {
                return Ok(None);
            }
        }
        Ok(Some(receipt))
    }
}

/// Whether a transaction made the transfer; `None` while it is in no block.
pub fn confirm<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    transaction: &str,
) -> Result<Option<bool>, String> {
    rpc.check_chain()?;
    match rpc.receipt(transaction)? {
        None => Ok(None),
        Some(receipt) => is_ours(rpc, claim, (transaction, &receipt)).map(Some),
    }
}

fn is_ours<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    (transaction, receipt): (&str, &Value),
) -> Result<bool, String> {
    if claim.is_permit2 {
        return permit2::made(rpc, claim, (transaction, receipt));
    }
    Ok(transfers(receipt, claim) == Transfers::Ours)
}

/// Finds out what became of an authorization. `known` is a transaction that is thought to hold it.
pub fn find<H: Http>(
    rpc: &Rpc<'_, H>,
    claim: &Claim,
    known: Option<&str>,
) -> Result<Finding, String> {
    rpc.check_chain()?;
    if let Some(known) = known
        && let Some(receipt) = rpc.receipt(known)?
        && is_ours(rpc, claim, (known, &receipt))?
    {
        return Ok(Finding::Made(known.to_owned()));
    }
    // State and time are asked of the same block.
    let (number, timestamp) = rpc.block("latest")?;
    let is_used = if claim.is_permit2 {
        permit2::is_used(rpc, claim, number)?
    } else {
        is_used(rpc, claim, number)?
    };
    match is_used {
        false if timestamp > claim.valid_before => Ok(Finding::NotMade(
            code::VALID_BEFORE,
            "the authorization expired unused",
        )),
        false => Ok(Finding::Open),
        true => search(rpc, claim, number),
    }
}

fn is_used<H: Http>(rpc: &Rpc<'_, H>, claim: &Claim, number: u64) -> Result<bool, String> {
    let call = authorizationStateCall {
        authorizer: claim.payer,
        nonce: claim.nonce,
    };
    let used = rpc.call(
        "eth_call",
        json!([
            {"to": evm::text(claim.asset), "data": evm::text(call.abi_encode())},
            hex(number),
        ]),
    )?;
    let used = used.as_str().and_then(evm::word).ok_or_else(|| {
        "the RPC endpoint: the token does not tell whether the nonce is used".to_owned()
    })?;
    Ok(used != B256::ZERO)
}

/// Finds what the nonce was used by, from `newest` backwards.
fn search<H: Http>(rpc: &Rpc<'_, H>, claim: &Claim, newest: u64) -> Result<Finding, String> {
    let mut newest = newest;
    let (address, topics) = if claim.is_permit2 {
        permit2::filter(claim)
    } else {
        filter(claim)
    };
    for _ in 0..SEARCHES {
        let oldest = newest.saturating_sub(BLOCKS - 1);
        let logs = rpc.call(
            "eth_getLogs",
            json!([{
                "address": address,
                "fromBlock": hex(oldest),
                "toBlock": hex(newest),
                "topics": topics,
            }]),
        )?;
        for log in logs.as_array().into_iter().flatten().filter_map(Log::read) {
            let told = if claim.is_permit2 {
                permit2::tell(rpc, claim, &log)?
            } else {
                tell(rpc, claim, &log)?
            };
            if let Some(finding) = told {
                return Ok(finding);
            }
        }
        let (_, timestamp) = rpc.block(&hex(oldest))?;
        if oldest == 0 || timestamp.saturating_add(CLOCK_SLACK) < claim.since {
            return Ok(Finding::Unclear(
                "the nonce is used, and no event since the payment was verified says by what",
            ));
        }
        newest = oldest - 1;
    }
    Ok(Finding::Unclear(
        "the nonce is used, by a transaction too far back to be found",
    ))
}

/// What `eth_getLogs` is asked for.
fn filter(claim: &Claim) -> (Value, Value) {
    (
        evm::text(claim.asset).into(),
        json!([
            [
                evm::text(AuthorizationUsed::SIGNATURE_HASH),
                evm::text(AuthorizationCanceled::SIGNATURE_HASH),
            ],
            evm::text(claim.payer.into_word()),
            evm::text(claim.nonce),
        ]),
    )
}

/// What an event says of the nonce.
fn tell<H: Http>(rpc: &Rpc<'_, H>, claim: &Claim, log: &Log) -> Result<Option<Finding>, String> {
    match (log.use_of_nonce(claim), &log.transaction) {
        (None, _) => Ok(None),
        (Some(Use::Cancelled), _) => Ok(Some(Finding::NotMade(
            code::NONCE_USED,
            "the payer cancelled the authorization",
        ))),
        (Some(Use::Used), Some(transaction)) => judge(rpc, claim, transaction).map(Some),
        (Some(Use::Used), None) => {
            Err("the RPC endpoint: an event without a transaction".to_owned())
        }
    }
}

/// What the transaction that used the nonce transferred.
fn judge<H: Http>(rpc: &Rpc<'_, H>, claim: &Claim, transaction: &str) -> Result<Finding, String> {
    let Some(receipt) = rpc.receipt(transaction)? else {
        return Ok(Finding::Unclear("the nonce's transaction is not final yet"));
    };
    Ok(match transfers(&receipt, claim) {
        Transfers::Ours => Finding::Made(transaction.to_owned()),
        Transfers::NotOurs => Finding::NotMade(
            code::NONCE_USED,
            "the nonce was used for something else than this payment",
        ),
        Transfers::Unclear => Finding::Unclear("the nonce's transaction holds several transfers"),
    })
}

/// What a transaction has to do with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfers {
    /// It used the nonce for the transfer.
    Ours,
    /// It did not make the transfer.
    NotOurs,
    /// It used the nonce, and such a transfer is in it, but not as the one that belongs to the nonce.
    Unclear,
}

/// Looks for the use of the nonce, and between it and the next use of one for the transfer: EIP-3009 emits them in this
/// order. Without the order, one transfer in a batch could pass for two payments.
fn transfers(receipt: &Value, claim: &Claim) -> Transfers {
    if quantity(receipt.get("status")) != Some(1) {
        return Transfers::NotOurs;
    }
    let logs: Vec<Log> = receipt
        .get("logs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Log::read)
        .filter(|log| log.address == claim.asset)
        .collect();
    let ours = logs
        .iter()
        .skip_while(|log| log.use_of_nonce(claim) != Some(Use::Used))
        .skip(1)
        .take_while(|log| log.topics.first() != Some(&AuthorizationUsed::SIGNATURE_HASH))
        .any(|log| log.is_transfer(claim));
    if ours {
        Transfers::Ours
    } else if logs.iter().any(|log| log.is_transfer(claim)) {
        Transfers::Unclear
    } else {
        Transfers::NotOurs
    }
}

/// How a nonce came to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Used,
    Cancelled,
}

/// An event.
struct Log {
    address: Address,
    topics: Vec<B256>,
    data: Vec<u8>,
    transaction: Option<String>,
}

impl Log {
    /// Reads an event; one that is not well-formed is none of ours.
    fn read(log: &Value) -> Option<Self> {
        let log: &Map<String, Value> = log.as_object()?;
        // An event that a reorganization took back.
        if log.get("removed") == Some(&Value::Bool(true)) {
            return None;
        }
        let text = |key: &str| log.get(key).and_then(Value::as_str);
        Some(Self {
            address: evm::address(text("address")?)?,
            topics: log
                .get("topics")?
                .as_array()?
                .iter()
                .map(|topic| topic.as_str().and_then(evm::word))
                .collect::<Option<_>>()?,
            data: evm::any_bytes(text("data")?)?,
            transaction: text("transactionHash")
                .filter(|hash| evm::word(hash).is_some())
                .map(str::to_lowercase),
        })
    }

    fn use_of_nonce(&self, claim: &Claim) -> Option<Use> {
        let [event, payer, nonce] = self.topics.as_slice() else {
            return None;
        };
        let same = self.address == claim.asset
            && *payer == claim.payer.into_word()
            && *nonce == claim.nonce;
        match *event {
            AuthorizationUsed::SIGNATURE_HASH if same => Some(Use::Used),
            AuthorizationCanceled::SIGNATURE_HASH if same => Some(Use::Cancelled),
            _ => None,
        }
    }

    fn is_transfer(&self, claim: &Claim) -> bool {
        self.address == claim.asset
            && self.topics
                == [
                    Transfer::SIGNATURE_HASH,
                    claim.payer.into_word(),
                    claim.pay_to.into_word(),
                ]
            && self.data == claim.amount.to_be_bytes::<32>()
    }
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

/// A number in the form of JSON-RPC.
fn quantity(value: Option<&Value>) -> Option<u64> {
    u64::from_str_radix(value?.as_str()?.strip_prefix("0x")?, 16).ok()
}
