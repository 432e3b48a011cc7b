//! A shop: a chain, a facilitator and a host that sells executions.

use std::process::{Command, Output};

use hypervisor_client::protocol::{
    ContentFormat, EnvironmentRequest, ExecutePythonRequest, OpenResponse, Operation, OwnerKey,
    PendingRequest,
};
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::official::Request;
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use hypervisor_tests::programs::{component_file, guest};
use hypervisor_tests::{Answer, Host, RawSession};
use serde_json::Value;

/// One cent, in the smallest unit.
pub(crate) const PRICE: u128 = 10_000;
pub(crate) const WASM: &str = "/x402_execute/test/wasm";
pub(crate) const PYTHON: &str = "/x402_policy/unsafe/python";

/// Lines of a configuration that name the payment component and its machine code.
pub(crate) fn component() -> String {
    std::fs::read_to_string(component_file("payments").with_extension("toml")).unwrap()
}

/// A configuration that sells for one cent, by this facilitator; `more` are further keys of `[payments]`, then sections.
pub(crate) fn config(chain: &Chain, facilitator: &str, more: &str) -> String {
    let pay_to = chain.pay_to();
    format!(
        "[payments]\n{}price = '0.01 USDC'\nnetworks = ['base-sepolia']\npay_to = '{pay_to}'\n\
         facilitators = ['{facilitator}']\n{more}\n",
        component(),
    )
}

/// The line that has settlements confirmed on the chain; goes last, after `[payments]`' own keys.
pub(crate) fn confirmed(chain: &Chain) -> String {
    format!("rpc = {{ 'eip155:84532' = '{}' }}", chain.rpc_url())
}

/// What `check` says of a configuration.
pub(crate) fn checked(config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    let state = folder.path().join("state");
    std::fs::write(&file, format!("executor_path = {state:?}\n{config}")).unwrap();
    let mut check = Command::new(binary("hypervisor-ctl"));
    check.args(["check", "--config"]).arg(&file);
    check.output().unwrap()
}

pub(crate) struct Shop {
    pub(crate) chain: Chain,
    pub(crate) facilitator: Facilitator,
    pub(crate) host: Host,
}

impl Shop {
    /// The official facilitator, settlements confirmed on the chain.
    pub(crate) fn open() -> Self {
        Self::with("")
    }

    pub(crate) fn with(more: &str) -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let more = format!("{}\n{more}", confirmed(&chain));
        let host = Host::with(&config(&chain, facilitator.url(), &more));
        Self {
            chain,
            facilitator,
            host,
        }
    }

    /// A good payment of the first payer.
    pub(crate) async fn payment(&self, purchase: &Purchase) -> Payment {
        purchase.payment(&self.chain, Version::V2).await
    }
}

/// One sealed request, to be sent as often as one likes.
pub(crate) struct Purchase {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
    pending: PendingRequest,
    pub(crate) session: RawSession,
}

const FORMAT: ContentFormat = ContentFormat::Cbor;

impl Purchase {
    /// Runs `echo` with an argument.
    pub(crate) async fn of_echo(host: &Host, argument: &str) -> Self {
        Self::of(host, &guest("echo"), &[argument.as_bytes()]).await
    }

    pub(crate) async fn of(host: &Host, program: &[u8], arguments: &[&[u8]]) -> Self {
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

    pub(crate) async fn of_script(host: &Host, script: &str) -> Self {
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
    pub(crate) async fn of_call(host: &Host, agent: &str, sealed: &str) -> Self {
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
    pub(crate) async fn of_environment(
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
    pub(crate) async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        self.try_send(headers).await.unwrap()
    }

    pub(crate) async fn try_send(&self, headers: &[(&str, &str)]) -> reqwest::Result<Answer> {
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
    pub(crate) async fn pay(&self, payment: &Payment) -> Answer {
        let (name, value) = payment.header();
        self.send(&[(name, &value)]).await
    }

    /// What a client that nobody here wrote gets for it.
    pub(crate) async fn bought(
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
    pub(crate) async fn offer(&self, version: Version) -> Value {
        let answer = self.send(&[]).await;
        assert_eq!(answer.status, 402, "{answer:?}");
        asked(&answer, version)["accepts"][0].clone()
    }

    /// A good payment by the first payer for what the host asks.
    pub(crate) async fn payment(&self, chain: &Chain, version: Version) -> Payment {
        Payment::for_offer(chain.payer(0), &self.offer(version).await)
    }

    /// What its answer is opened by.
    pub(crate) fn pending(&self) -> &PendingRequest {
        &self.pending
    }

    /// Opens the answer.
    pub(crate) fn opened(&self, answer: &Answer) -> OpenResponse {
        self.session.open_answer(FORMAT, &self.pending, answer)
    }

    /// The same request, to a host that moved.
    pub(crate) fn moved(mut self, host: &Host) -> Self {
        let path = reqwest::Url::parse(&self.url).unwrap().path().to_owned();
        self.url = format!("{}{path}", host.url());
        self
    }
}

/// The challenge of a 402, in one version or the other.
pub(crate) fn asked(answer: &Answer, version: Version) -> Value {
    match version {
        Version::V1 => serde_json::from_slice(&answer.body).unwrap(),
        Version::V2 => header(answer, "payment-required"),
    }
}

/// A header in x402's form.
pub(crate) fn header(answer: &Answer, name: &str) -> Value {
    let value = answer
        .headers
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    hypervisor_tests::payments::sign::decode_header(value.to_str().unwrap())
}

/// Why a payment was refused.
pub(crate) fn reason(answer: &Answer) -> String {
    asked(answer, Version::V1)["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Ends a host in order, and starts it again.
pub(crate) fn restart(host: &mut Host) {
    host.terminate();
    host.wait();
    host.kill_and_restart();
}
