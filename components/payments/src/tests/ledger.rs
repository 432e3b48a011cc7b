//! What an RPC endpoint answers, and the events of a token.

use alloy_primitives::keccak256;
use serde_json::{Value, json};

use super::kit::{NOW, Reply, TRANSACTION, payer, reply, usdc};
use crate::evm;

/// The latest block of most tests.
pub const BLOCK: u64 = 5_000;

pub fn result(value: Value) -> Reply {
    reply(200, &json!({"jsonrpc": "2.0", "id": 1, "result": value}))
}

pub fn chain_id() -> Reply {
    result(json!("0x14a34"))
}

pub fn block(number: u64, timestamp: u64) -> Reply {
    result(json!({"number": format!("{number:#x}"), "timestamp": format!("{timestamp:#x}")}))
}

pub fn used(used: bool) -> Reply {
    result(json!(format!("0x{:064x}", u8::from(used))))
}

pub fn topic(signature: &str) -> Value {
    json!(evm::text(keccak256(signature)))
}

pub fn word(address: &str) -> Value {
    let address = address.to_lowercase();
    json!(format!("0x{:0>64}", address.trim_start_matches("0x")))
}

pub fn log(topics: Vec<Value>, data: &str) -> Value {
    json!({
        "address": usdc().asset,
        "topics": topics,
        "data": data,
        "transactionHash": TRANSACTION,
    })
}

/// An event about a nonce of 32 equal bytes.
pub fn nonce_event(signature: &str, byte: u8) -> Value {
    log(
        vec![
            topic(signature),
            word(&evm::text(payer())),
            json!(evm::text([byte; 32])),
        ],
        "0x",
    )
}

pub fn nonce_used() -> Value {
    nonce_event("AuthorizationUsed(address,bytes32)", 9)
}

pub fn transfer(to: &str, amount: u64) -> Value {
    log(
        vec![
            topic("Transfer(address,address,uint256)"),
            word(&evm::text(payer())),
            word(to),
        ],
        &format!("0x{amount:064x}"),
    )
}

pub fn our_transfer() -> Value {
    transfer(&usdc().pay_to, 10_000)
}

pub fn receipt(status: u8, logs: Vec<Value>) -> Reply {
    let block = format!("{BLOCK:#x}");
    result(json!({"status": format!("{status:#x}"), "logs": logs, "blockNumber": block}))
}

pub fn no_receipt() -> Reply {
    result(Value::Null)
}

/// The chain says that the nonce is used, by a transaction with these events.
pub fn nonce_used_with(logs: Vec<Value>) -> Vec<Reply> {
    vec![
        chain_id(),
        block(BLOCK, NOW + 10),
        used(true),
        result(json!([nonce_used()])),
        receipt(1, logs),
    ]
}
