//! Payments, brought with what they are for again and again until that is answered, over every kill and fault between.

use serde_json::Value;

use super::purchase::{Purchase, asked};
use super::{Payment, Version};
use crate::agents::manifest;
use crate::programs::guest;
use crate::{Answer, Host};

/// One way in which paid work is done.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// A plain call of an agent that has a price; otherwise a sealed execution.
    pub is_agent: bool,
    /// Whether the host settles before it runs.
    pub settles_first: bool,
}

/// All of them.
pub const FLOWS: [Flow; 4] = [
    Flow {
        is_agent: false,
        settles_first: false,
    },
    Flow {
        is_agent: false,
        settles_first: true,
    },
    Flow {
        is_agent: true,
        settles_first: false,
    },
    Flow {
        is_agent: true,
        settles_first: true,
    },
];

/// One payment, and what it is brought for.
pub struct Order {
    flow: Flow,
    number: usize,
    payment: Payment,
    asks: Asks,
}

enum Asks {
    Sealed(Box<Purchase>),
    Agent(String),
}

/// What came of one attempt.
#[derive(Debug)]
pub enum Said {
    /// What was paid for.
    Answered,
    /// Nothing yet: the same request again.
    Again,
    /// The session ended with the host, or the sequence was used for nothing: another request, with the same payment.
    Anew,
    /// The payment was refused, and why.
    Refused(String),
}

impl Order {
    /// What each costs.
    pub async fn offer(flow: Flow, host: &Host) -> Value {
        match flow.is_agent {
            false => Purchase::of_echo(host, "").await.offer(Version::V2).await,
            true => {
                let response = reqwest::get(host.agent("hello", "/")).await.unwrap();
                let answer = Answer {
                    status: response.status().as_u16(),
                    headers: response.headers().clone(),
                    body: Vec::new(),
                };
                asked(&answer, Version::V2)["accepts"][0].clone()
            }
        }
    }

    /// The `number`th order.
    pub async fn new(flow: Flow, host: &Host, number: usize, payment: Payment) -> Self {
        let asks = match flow.is_agent {
            false => Asks::Sealed(Box::new(Purchase::of_echo(host, &number.to_string()).await)),
            true => Asks::Agent(host.agent("hello", &format!("/{number}"))),
        };
        Self {
            flow,
            number,
            payment,
            asks,
        }
    }

    /// Has a host sell what the flow is about.
    pub async fn prepare(flow: Flow, host: &Host) {
        if flow.is_agent {
            let manifest = manifest("hello", "price = '0.01 USDC'");
            host.register("hello", &guest("http-hello"), &manifest);
            host.client().deploy_registered("hello").await.unwrap();
        }
    }

    /// Its payment.
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// Sends it with its payment.
    ///
    /// # Errors
    /// Where what was paid for is lost, or somebody else's.
    pub async fn sent(&self) -> Result<Said, String> {
        let (name, value) = self.payment.header();
        let answer = match &self.asks {
            Asks::Sealed(purchase) => purchase.try_send(&[(name, &value)]).await,
            Asks::Agent(url) => get(url, (name, &value)).await,
        };
        let Ok(answer) = answer else {
            return Ok(Said::Again);
        };
        let lost = || {
            let problem = String::from_utf8_lossy(&answer.body);
            let status = answer.status;
            Err(format!(
                "{:?}: a payment is lost: {status} {problem}",
                self.flow
            ))
        };
        match (answer.status, &self.asks) {
            (200, Asks::Sealed(purchase)) => {
                let expected = format!("{}\n", self.number);
                match purchase.opened(&answer).result == expected.as_bytes() {
                    true => Ok(Said::Answered),
                    false => lost(),
                }
            }
            (200, Asks::Agent(_)) => {
                let expected = format!("hello from GET /{}\n", self.number);
                match answer.body == expected.as_bytes() {
                    true => Ok(Said::Answered),
                    false => lost(),
                }
            }
            (402, _) => Ok(Said::Refused(reason(&answer))),
            (503, _) => Ok(Said::Again),
            (_, Asks::Sealed(_)) if answer.problem() == "unknown-session" => Ok(Said::Anew),
            // It was at work when something failed, and nothing was charged.
            (409, Asks::Sealed(_))
                if answer.problem() == "replayed-sequence"
                    && !answer.headers.contains_key("payment-response") =>
            {
                Ok(Said::Anew)
            }
            _ => lost(),
        }
    }

    /// The order as it is brought next; none where it was answered, or refused.
    pub async fn after(self, said: Said, host: &Host) -> Option<Self> {
        let Self {
            flow,
            number,
            payment,
            asks,
        } = self;
        match (said, asks) {
            (Said::Answered | Said::Refused(_), _) => None,
            (Said::Again, Asks::Sealed(purchase)) => Some(Self {
                asks: Asks::Sealed(Box::new(purchase.moved(host))),
                flow,
                number,
                payment,
            }),
            (Said::Again | Said::Anew, _) => Some(Self::new(flow, host, number, payment).await),
        }
    }
}

async fn get(url: &str, (name, value): (&str, &str)) -> reqwest::Result<Answer> {
    let response = reqwest::Client::new().get(url).header(name, value);
    let response = response.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await?.to_vec(),
    })
}

fn reason(answer: &Answer) -> String {
    let reason = asked(answer, Version::V2)["error"].clone();
    reason.as_str().unwrap_or_default().to_owned()
}
