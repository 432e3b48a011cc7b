//! The order of the pipeline, pair by pair, for every way in: a call that fails at two steps is refused for the earlier one, and
//! what comes after that step has not happened.

use bhttp::Mode;
use hypervisor_client::protocol::{
    AgentRequest, ContentFormat, DeployRequest, ExecutePythonRequest, ExecuteWasmRequest,
    Operation, OwnerKey,
};
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use hypervisor_tests::programs::{guest, python_plugin};
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Answer, Host, RawSession};
use reqwest::Method;

use crate::agents::binary_http::{message, written};
use crate::agents::kit::Policy;
use crate::payments::agents::COSTS;
use crate::payments::kit::{PYTHON, Shop, WASM, asked, config, confirmed};

const FREE_WASM: &str = "/test/execute/wasm";
const FREE_PYTHON: &str = "/test/policy/unsafe/python";

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Program { sold: bool },
    Script { sold: bool },
    Sealed { sold: bool },
    Plain { sold: bool },
    Command { sold: bool },
    Deploy,
    Remove,
}

const WAYS: [Way; 12] = [
    Way::Program { sold: false },
    Way::Program { sold: true },
    Way::Script { sold: false },
    Way::Script { sold: true },
    Way::Sealed { sold: false },
    Way::Sealed { sold: true },
    Way::Plain { sold: false },
    Way::Plain { sold: true },
    Way::Command { sold: false },
    Way::Command { sold: true },
    Way::Deploy,
    Way::Remove,
];

impl Way {
    fn is_sold(self) -> bool {
        match self {
            Self::Program { sold }
            | Self::Script { sold }
            | Self::Sealed { sold }
            | Self::Plain { sold }
            | Self::Command { sold } => sold,
            Self::Deploy | Self::Remove => false,
        }
    }

    /// Whether what is asked for is sealed, so that there is something to open.
    fn is_sealed(self) -> bool {
        !matches!(self, Self::Plain { .. } | Self::Command { .. })
    }

    /// Whether the body has to be whole before anything is done about it; a service reads its own.
    fn is_received(self) -> bool {
        !matches!(self, Self::Plain { .. })
    }
}

/// Whatever there is to ask for: services, commands, programs and scripts, free and priced.
struct House {
    shop: Shop,
    owner: OwnerKey,
}

impl House {
    /// `more` is further keys of `[payments]`, then sections.
    async fn open(more: &str) -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let python = python_plugin();
        let more = format!("{}\n{more}\n[runtime.python]\n{python}", confirmed(&chain));
        let host = Host::with(&config(&chain, facilitator.url(), &more));
        let house = Self {
            shop: Shop {
                chain,
                facilitator,
                host,
            },
            owner: owner(),
        };
        for (guest, name, more) in [
            ("http-hello", "service", ""),
            ("http-hello", "sold-service", COSTS),
            ("echo", "command", ""),
            ("echo", "sold-command", COSTS),
            ("bad-agent", "holder", ""),
        ] {
            house.host().deploy(&house.owner, guest, name, more).await;
        }
        house
    }

    fn host(&self) -> &Host {
        &self.shop.host
    }

    /// A request by this way in.
    async fn request(&self, way: Way) -> Request {
        let raw = RawSession::open(self.host()).await;
        let session = &raw.session;
        let seal = |operation, program: &[u8], stdin: Option<&[u8]>| {
            let sealed = session.seal_request::<&[u8]>(operation, program, stdin, &[]);
            sealed.unwrap().0
        };
        let (key, id) = (session.public_key(), *session.id());
        let about = |operation, program: &[u8], stdin: Option<&[u8]>, proof| {
            let sealed = seal(operation, program, stdin);
            encoded(&AgentRequest::new(key, id, proof, sealed))
        };
        let prefix = if way.is_sold() { "sold-" } else { "" };
        let (method, path, body) = match way {
            Way::Program { sold } => {
                let sealed = seal(Operation::Wasm, &guest("echo"), None);
                let path = if sold { WASM } else { FREE_WASM };
                let body = encoded(&ExecuteWasmRequest::new(key, id, sealed));
                (Method::POST, path.to_owned(), body)
            }
            Way::Script { sold } => {
                let sealed = seal(Operation::Python, b"print('ran')", None);
                let path = if sold { PYTHON } else { FREE_PYTHON };
                let body = encoded(&ExecutePythonRequest::new(key, id, sealed));
                (Method::POST, path.to_owned(), body)
            }
            Way::Sealed { .. } => {
                let agent = format!("{prefix}service");
                let input = written(&message("/"), Mode::KnownLength);
                let body = about(Operation::Agent, agent.as_bytes(), Some(&input), None);
                (Method::POST, format!("/agents/{agent}"), body)
            }
            Way::Plain { .. } => (Method::GET, format!("/agents/{prefix}service/"), vec![]),
            Way::Command { .. } => {
                let path = format!("/agents/{prefix}command/");
                (Method::POST, path, b"input".to_vec())
            }
            Way::Deploy => {
                let manifest = manifest("another", "");
                let component = guest("http-hello");
                let sealed = seal(Operation::Deploy, &component, Some(manifest.as_bytes()));
                let proof = raw.prove(&self.owner);
                let body = encoded(&DeployRequest::new(key, id, proof, sealed));
                (Method::POST, "/agent/deploy".to_owned(), body)
            }
            Way::Remove => {
                let proof = Some(raw.prove(&self.owner));
                let body = about(Operation::Remove, b"service", None, proof);
                (Method::DELETE, "/agents/service".to_owned(), body)
            }
        };
        Request {
            method,
            url: format!("{}{path}", self.host().url()),
            body,
            is_sealed: way.is_sealed(),
        }
    }

    /// The same request, and a payment for it where one is asked for.
    async fn paid(&self, way: Way) -> (Request, Option<Payment>) {
        let request = self.request(way).await;
        if !way.is_sold() {
            return (request, None);
        }
        let answer = request.send(None).await;
        assert_eq!(answer.status, 402, "{way:?}: {answer:?}");
        let offer = asked(&answer, Version::V2)["accepts"][0].clone();
        let payment = Payment::for_offer(self.shop.chain.payer(0), &offer);
        (request, Some(payment))
    }

    /// What guests did so far.
    async fn ran(&self) -> u64 {
        let calls = "hypervisor_agent_calls_total{exit=\"ok\"}";
        self.host().counter(calls).await
    }

    /// How often the facilitator was asked anything.
    async fn facilitator_calls(&self) -> u64 {
        let calls = self.shop.facilitator.calls().await;
        calls.verify + calls.settle
    }

    /// Holds the only slot until dropped.
    async fn held(&self) -> Wire {
        let mut wire = Wire::open(self.host().url()).await;
        wire.send("GET /agents/holder/sleep-forever HTTP/1.1\r\nhost: h\r\n\r\n")
            .await;
        hypervisor_tests::eventually("the slot is taken", async || {
            (self.host().counter("hypervisor_executions").await > 0).then_some(())
        })
        .await;
        wire
    }
}

fn encoded(body: &impl serde::Serialize) -> Vec<u8> {
    ContentFormat::Cbor.encode(body).unwrap()
}

/// To be sent as often as one likes.
struct Request {
    method: Method,
    url: String,
    body: Vec<u8>,
    is_sealed: bool,
}

impl Request {
    async fn send(&self, payment: Option<&Payment>) -> Answer {
        let mut request = reqwest::Client::new()
            .request(self.method.clone(), &self.url)
            .body(self.body.clone());
        if self.is_sealed {
            request = request.header("content-type", ContentFormat::Cbor.media_type());
        }
        if let Some(payment) = payment {
            let (name, value) = payment.header();
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    /// With one bit changed of what is sealed: the tag of the field that the map of CBOR ends with.
    fn tampered(mut self) -> Self {
        let at = self.body.len() - 1;
        self.body[at] ^= 1;
        self
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_its_payment_is_looked_at() {
    let house = House::open("[limits]\nbody = '512 KiB'\n").await;
    for way in WAYS.into_iter().filter(|way| way.is_received()) {
        let (mut request, payment) = house.paid(way).await;
        request.body = vec![0; 600 << 10];
        let answer = request.send(payment.as_ref()).await;
        assert_eq!(answer.status, 413, "{way:?}: {answer:?}");
    }
    assert_eq!(house.facilitator_calls().await, 0);
}

#[tokio::test]
async fn what_does_not_authenticate_is_refused_before_its_payment_is_looked_at() {
    let house = House::open("").await;
    for way in WAYS.into_iter().filter(|way| way.is_sealed()) {
        let (request, payment) = house.paid(way).await;
        let answer = request.tampered().send(payment.as_ref()).await;
        assert_eq!(answer.problem(), "authentication-failed", "{way:?}");
    }
    assert_eq!(house.facilitator_calls().await, 0);
}

#[tokio::test]
async fn a_payment_is_asked_for_before_a_slot_is_waited_for_and_removing_an_agent_needs_none() {
    let house = House::open("[limits]\nexecutions = 1\nqueue = 0\n").await;
    let _held = house.held().await;
    for way in WAYS {
        let answer = house.request(way).await.send(None).await;
        match way {
            way if way.is_sold() => assert_eq!(answer.status, 402, "{way:?}: {answer:?}"),
            // Owners can make room on a host that is full.
            Way::Remove => assert_eq!(answer.status, 200, "{answer:?}"),
            way => assert_eq!(
                (answer.status, answer.problem().as_str()),
                (503, "overloaded"),
                "{way:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_call_without_a_slot_has_not_reached_the_policy_and_its_payment_is_still_good() {
    let policy = Policy::python("def authorize(action):\n    return True\n");
    let house = House::open(&format!(
        "[limits]\nexecutions = 1\nqueue = 0\n{}",
        policy.section()
    ))
    .await;
    let held = house.held().await;
    let mut refused = Vec::new();
    for way in WAYS.into_iter().filter(|way| way.is_sold()) {
        let (request, payment) = house.paid(way).await;
        let answer = request.send(payment.as_ref()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "overloaded"),
            "{way:?}"
        );
        refused.push((way, request, payment));
    }
    assert!(house.shop.chain.transfers().await.is_empty());
    drop(held);
    for (way, request, payment) in refused {
        let answer = hypervisor_tests::eventually("the slot is free", async || {
            let answer = request.send(payment.as_ref()).await;
            (answer.status != 503).then_some(answer)
        })
        .await;
        assert_eq!(answer.status, 200, "{way:?}: {answer:?}");
    }
}

#[tokio::test]
async fn what_the_policy_denies_has_not_run_and_is_not_paid() {
    // All but what the house is made of.
    let rules = "def authorize(action):\n    if action.kind == 'deploy-agent' and action.agent_name != 'another':\n        return True\n    return Deny('closed')\n";
    let house = House::open(&Policy::python(rules).section()).await;
    for way in WAYS.into_iter().filter(|way| *way != Way::Remove) {
        let (request, payment) = house.paid(way).await;
        let answer = request.send(payment.as_ref()).await;
        let expected = match way {
            // The reason is sealed, and so is that there is one.
            way if way.is_sealed() => 200,
            _ => 403,
        };
        assert_eq!(answer.status, expected, "{way:?}: {answer:?}");
        assert!(!answer.headers.contains_key("payment-response"), "{way:?}");
    }
    assert_eq!(house.ran().await, 0);
    assert!(house.shop.chain.transfers().await.is_empty());
}
