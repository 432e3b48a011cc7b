//! Solana's runtime and token program as devnet, with USDC at its true address, and the official facilitator on it.

use serde_json::{Value, json};

use super::script::Script;

/// A running network with its facilitator; ended when dropped. Each payer has 1000 USDC (10⁹ of the smallest unit).
pub struct Solana {
    _script: Script,
    http: reqwest::Client,
    facts: Value,
}

impl Solana {
    /// Starts a network of its own.
    pub fn start() -> Self {
        let (script, facts) = Script::start("solana.mjs", &[]);
        Self {
            _script: script,
            http: reqwest::Client::new(),
            facts,
        }
    }

    fn fact(&self, pointer: &str) -> &str {
        self.facts.pointer(pointer).unwrap().as_str().unwrap()
    }

    /// Address of the JSON-RPC server.
    pub fn rpc_url(&self) -> &str {
        self.fact("/rpc")
    }

    /// Where the facilitator is.
    pub fn facilitator_url(&self) -> &str {
        self.fact("/facilitator")
    }

    /// Whom the facilitator pays fees with.
    pub fn fee_payer(&self) -> &str {
        self.fact("/feePayer")
    }

    /// Whose wallet gets paid.
    pub fn pay_to(&self) -> &str {
        self.fact("/payTo")
    }

    /// The address of a payer that has money.
    pub fn payer(&self) -> &str {
        self.fact("/payers/0/address")
    }

    /// Its private key, as hex.
    pub fn private_key(&self) -> &str {
        self.fact("/payers/0/privateKey")
    }

    /// USDC of a wallet, in the smallest unit.
    pub async fn balance_of(&self, wallet: &str) -> u128 {
        let balance = self.ask("usdcOf", wallet.into()).await;
        balance.as_str().unwrap().parse().unwrap()
    }

    /// A payment for an offer of version 2 by the official client, not sent.
    pub async fn payment(&self, offer: &Value) -> Value {
        self.ask("payment", offer.clone()).await
    }

    async fn ask(&self, method: &str, parameter: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]});
        let mut answer = super::facilitator::post(&self.http, self.rpc_url(), &request).await;
        answer["result"].take()
    }
}
