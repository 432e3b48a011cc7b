//! The official facilitator.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::account::Address;
use super::chain::Chain;
use super::script::Script;

/// A running facilitator; ended when dropped.
pub struct Facilitator {
    _script: Script,
    http: reqwest::Client,
    url: String,
    account: Address,
}

/// How often a facilitator was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Calls {
    /// Calls of `/verify`.
    pub verify: u64,
    /// Calls of `/settle`.
    pub settle: u64,
}

impl Facilitator {
    /// Starts a facilitator for this chain.
    pub fn start(chain: &Chain) -> Self {
        Self::with_arguments(&[chain.rpc_url()])
    }

    /// Starts a facilitator that waits only so long for a transaction to be mined before it answers
    /// `settlement_pending`.
    pub fn impatient(chain: &Chain, patience: Duration) -> Self {
        Self::with_arguments(&[chain.rpc_url(), &patience.as_millis().to_string()])
    }

    fn with_arguments(arguments: &[&str]) -> Self {
        let (script, facts) = Script::start("facilitator.mjs", arguments);
        Self {
            _script: script,
            http: reqwest::Client::new(),
            url: facts["url"].as_str().unwrap().to_owned(),
            account: facts["account"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The account that it settles from.
    pub fn account(&self) -> Address {
        self.account
    }

    /// How often it was asked.
    pub async fn calls(&self) -> Calls {
        let url = format!("{}/calls", self.url);
        let answer = self.http.get(url).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Asks whether a payment is good; see [`Payment::question`](super::Payment::question).
    pub async fn verify(&self, question: &Value) -> Value {
        post(&self.http, &format!("{}/verify", self.url), question).await
    }

    /// Has a payment made; see [`Payment::question`](super::Payment::question).
    pub async fn settle(&self, question: &Value) -> Value {
        post(&self.http, &format!("{}/settle", self.url), question).await
    }
}

/// Posts JSON and reads JSON, whatever the status.
pub(super) async fn post(http: &reqwest::Client, url: &str, body: &Value) -> Value {
    let answer = crate::raw::post(http, url, "application/json", body.to_string().into()).await;
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{url}: {e}: {answer:?}"))
}
