//! A host that sells an agent over A2A, and a facilitator that does as it is told.

use hypervisor_tests::payments::faulty;
use hypervisor_tests::payments::sign::decode_header;
use hypervisor_tests::payments::{Chain, Facilitator, Payment};
use hypervisor_tests::{Host, within};
use serde_json::{Value, json};

use super::kit::{AGENT, Asker, LASTING, Work, configured, order, says, state};
use crate::payments::kit::{config, confirmed};

const SOLD: &str = "price = '0.01 USDC'";
pub(super) const EXTENSION: &str =
    "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2";

/// A host that sells [`AGENT`], by a facilitator that does as it is told, and the chain that it is paid on.
pub(super) struct Sale {
    pub(super) host: Host,
    pub(super) work: Work,
    chain: Chain,
    _real: Facilitator,
    pub(super) faulty: faulty::Facilitator,
}

impl Sale {
    pub(super) async fn open() -> Self {
        Self::with("").await
    }

    /// `more` are further keys of `[payments]`.
    pub(super) async fn with(more: &str) -> Self {
        let chain = Chain::start();
        let real = Facilitator::start(&chain);
        let faulty = faulty::Facilitator::start(Some(real.url())).await;
        let more = format!(
            "{more}\n{}\n{}",
            confirmed(&chain),
            configured(LASTING, "background = '5m'")
        );
        let host = Host::with(&config(&chain, &faulty.url(), &more));
        let work = Work::of(2).await;
        work.deploy(&host, SOLD).await;
        Self {
            host,
            work,
            chain,
            _real: real,
            faulty,
        }
    }

    /// The task that an unpaid message becomes for a client that pays by messages.
    pub(super) async fn asked(&self, asker: &Asker, id: &str) -> Value {
        let asker = asker.clone().with("a2a-extensions", EXTENSION);
        let task = asker.sends(&self.host, &order(id)).await;
        assert_eq!(state(&task), "INPUT_REQUIRED", "{task}");
        task
    }

    /// The message that pays for a task.
    pub(super) fn paying(&self, task: &Value) -> Value {
        let challenge = &task["status"]["message"]["metadata"]["x402.payment.required"];
        let payment = Payment::for_offer(self.chain.payer(0), &challenge["accepts"][0]);
        let mut message = says("pays", "paid");
        message["taskId"] = task["id"].clone();
        message["metadata"] = json!({
            "x402.payment.status": "payment-submitted",
            "x402.payment.payload": payment.payload(),
        });
        message
    }

    /// A payment by HTTP for a message to the agent.
    pub(super) async fn payment(&self) -> (&'static str, String) {
        let asker = Asker::anonymous(AGENT);
        let params = json!({"message": order("unpaid")});
        let answer = asker.rpc(&self.host, "SendMessage", &params);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 402);
        let challenge = answer.headers()["payment-required"].to_str().unwrap();
        let offer = &decode_header(challenge)["accepts"][0];
        Payment::for_offer(self.chain.payer(0), offer).header()
    }

    pub(super) async fn charges(&self) -> usize {
        self.chain.transfers().await.len()
    }

    /// Sends a message, and kills the host when `is_there`. The connection breaks off.
    pub(super) async fn killed_at(&mut self, asker: &Asker, message: &Value, point: Point) {
        let params = json!({"message": message});
        let sent = tokio::spawn(asker.rpc(&self.host, "SendMessage", &params).send());
        match point {
            Point::Verifying | Point::Settling => {
                within("the facilitator", self.faulty.held(1)).await;
            }
            Point::Working => self.work.began(1).await,
        }
        self.host.kill_and_restart();
        let answer = sent.await.unwrap();
        assert!(answer.is_err() || answer.unwrap().text().await.is_err());
        self.faulty.release();
        self.work.allow(2);
    }
}

/// Where a payment is when the host is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// With the facilitator, which has not said yet whether it is good.
    Verifying,
    /// The agent works.
    Working,
    /// It was settled, and the host does not know yet.
    Settling,
}
