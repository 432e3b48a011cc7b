//! What a host sells: its configuration, and sealed requests that are paid for.

use hypervisor_client::protocol::{
    ContentFormat, EnvironmentRequest, ExecutePythonRequest, OpenResponse, Operation, OwnerKey,
    PendingRequest,
};
use serde_json::Value;

use super::official::Request;
use super::{Chain, Payment, Version};
use crate::programs::{component_file, guest};
use crate::{Answer, Host, RawSession};

/// Paid executions.
pub const WASM: &str = "/x402_execute/test/wasm";
/// Paid scripts in Python.
pub const PYTHON: &str = "/x402_policy/unsafe/python";

/// Lines of a configuration that name the payment component and its machine code.
pub fn component() -> String {
    std::fs::read_to_string(component_file("payments").with_extension("toml")).unwrap()
}

/// A configuration that sells for one cent, by this facilitator; `more` are further keys of `[payments]`, then sections.
pub fn config(chain: &Chain, facilitator: &str, more: &str) -> String {
    let pay_to = chain.pay_to();
    format!(
        "[payments]\n{}price = '0.01 USDC'\nnetworks = ['base-sepolia']\npay_to = '{pay_to}'\n\
         facilitators = ['{facilitator}']\n{more}\n",
        component(),
    )
}

/// The line that has settlements confirmed on the chain; goes last, after `[payments]`' own keys.
pub fn confirmed(chain: &Chain) -> String {
    confirmed_by(chain.rpc_url())
}

/// The same by what stands in front of the chain.
pub fn confirmed_by(rpc: &str) -> String {
    format!("rpc = {{ 'eip155:84532' = '{rpc}' }}")
}

/// One sealed request, to be sent as often as one likes.
pub struct Purchase {
    http: reqwest::Client,
    /// Where it is sent.
    pub url: String,
    /// The request.
    pub body: Vec<u8>,
    pending: PendingRequest,
    /// The session that it is of.
    pub session: RawSession,
}

const FORMAT: ContentFormat = ContentFormat::Cbor;

impl Purchase {
    /// Runs `echo` with an argument.
    pub async fn of_echo(host: &Host, argument: &str) -> Self {
        Self::of(host, &guest("echo"), &[argument.as_bytes()]).await
    }

    /// Runs a program with arguments.
    pub async fn of(host: &Host, program: &[u8], arguments: &[&[u8]]) -> Self {
        let session = RawSession::open(host).await;
        let (request, pending) = session.request(program, None, arguments);
        Self {
            http: reqwest::Client::new(),
            url: format!("{}{WASM}", host.url()),
            body: FORMAT.encode(&request).unwrap(),
            pending,
            session,
        }
    }

    /// Runs a script in Python.
    pub async fn of_script(host: &Host, script: &str) -> Self {
        let session = RawSession::open(host).await;
        let client = &session.session;
        let (sealed, pending) = client
            .seal_request::<&[u8]>(Operation::Python, script.as_bytes(), None, &[])
            .unwrap();
        let request = ExecutePythonRequest::new(client.public_key(), *client.id(), sealed);
        Self {
            http: reqwest::Client::new(),
            url: format!("{}{PYTHON}", host.url()),
            body: FORMAT.encode(&request).unwrap(),
            pending,
            session,
        }
    }

    /// Calls an agent by what is sealed as its name.
    pub async fn of_call(host: &Host, agent: &str, sealed: &str) -> Self {
        let session = RawSession::open(host).await;
        let (request, pending) = session.about(Operation::Agent, sealed, None, None);
        Self {
            http: reqwest::Client::new(),
            url: format!("{}/agents/{agent}", host.url()),
            body: FORMAT.encode(&request).unwrap(),
            pending,
            session,
        }
    }

    /// A request about environments, at the paid route for its operation.
    pub async fn of_environment(
        host: &Host,
        owner: &OwnerKey,
        operation: Operation,
        (first, input): (&[u8], &[u8]),
    ) -> Self {
        let session = RawSession::open(host).await;
        let client = &session.session;
        let (sealed, pending) = client
            .seal_request::<&[u8]>(operation, first, Some(input), &[])
            .unwrap();
        let proof = session.prove(owner);
        let request = EnvironmentRequest::new(client.public_key(), *client.id(), proof, sealed);
        Self {
            http: reqwest::Client::new(),
            url: format!("{}/x402_environments/{operation}", host.url()),
            body: FORMAT.encode(&request).unwrap(),
            pending,
            session,
        }
    }

    /// A request with these headers.
    pub async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        self.try_send(headers).await.unwrap()
    }

    /// The same where the host may not answer.
    pub async fn try_send(&self, headers: &[(&str, &str)]) -> reqwest::Result<Answer> {
        let mut request = self
            .http
            .post(&self.url)
            .header("content-type", FORMAT.media_type())
            .body(self.body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            body: response.bytes().await?.to_vec(),
        })
    }

    /// A request that pays.
    pub async fn pay(&self, payment: &Payment) -> Answer {
        let (name, value) = payment.header();
        self.send(&[(name, &value)]).await
    }

    /// What a client that nobody here wrote gets for it.
    pub async fn bought(
        &self,
        pay: impl AsyncFnOnce(&Request<'_>) -> Result<Answer, String>,
    ) -> Answer {
        let request = Request {
            url: &self.url,
            method: "POST",
            headers: &[("content-type", FORMAT.media_type())],
            body: Some(&self.body),
        };
        pay(&request).await.unwrap()
    }

    /// What the host asks for.
    pub async fn offer(&self, version: Version) -> Value {
        let answer = self.send(&[]).await;
        assert_eq!(answer.status, 402, "{answer:?}");
        asked(&answer, version)["accepts"][0].clone()
    }

    /// A good payment by the first payer for what the host asks.
    pub async fn payment(&self, chain: &Chain, version: Version) -> Payment {
        Payment::for_offer(chain.payer(0), &self.offer(version).await)
    }

    /// What its answer is opened by.
    pub fn pending(&self) -> &PendingRequest {
        &self.pending
    }

    /// Opens the answer.
    pub fn opened(&self, answer: &Answer) -> OpenResponse {
        self.session.open_answer(FORMAT, &self.pending, answer)
    }

    /// The same request, to a host that moved.
    pub fn moved(mut self, host: &Host) -> Self {
        let path = reqwest::Url::parse(&self.url).unwrap().path().to_owned();
        self.url = format!("{}{path}", host.url());
        self
    }
}

/// The challenge of a 402, in one version or the other.
pub fn asked(answer: &Answer, version: Version) -> Value {
    match version {
        Version::V1 => serde_json::from_slice(&answer.body).unwrap(),
        Version::V2 => header(answer, "payment-required"),
    }
}

/// A header in x402's form.
pub fn header(answer: &Answer, name: &str) -> Value {
    let value = answer
        .headers
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    super::sign::decode_header(value.to_str().unwrap())
}
