//! A host for one test: it asks for payment, checks what it is given by computing the signer itself, and seals its answers as a
//! host does. What it answers to each payment is a script. It has agents too.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail by panicking; each test file uses a part"
)]

mod agents;
pub(crate) mod machine;
mod payment;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hypervisor_client::protocol::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, ExecutePythonRequest,
    ExecuteResponse, ExecuteWasmRequest, Exit, HostSession, OpenRequest, Operation, PrivateKey,
    Problem, ProblemType, PublicKey, Report, SealedRequest, SessionId,
};
use serde_json::{Value, json};

#[allow(unused_imports, reason = "each test file uses a part")]
pub(crate) use agents::Trick;

/// The key of the example in EIP-712, and its address.
pub(crate) const KEY: &str = "0xc85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4";
pub(crate) const PAYER: &str = "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826";
pub(crate) const TRANSACTION: &str =
    "0x00000000000000000000000000000000000000000000000000000000000000aa";

/// What the host does with a request that carries a good payment.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Runs it, settles, answers with a receipt.
    Settle,
    /// Runs it, and it traps: no receipt.
    Trap,
    /// Runs it, settles, and the connection breaks before the answer is through.
    Break,
    /// Runs it, settles, and answers with these receipts instead of its own.
    Receipts(Vec<String>),
    /// Runs it, settles, and alters a byte of the sealed result.
    Alter,
    /// Refuses the payment, for this reason.
    Refuse(&'static str),
    /// Says that settlement failed, as the specification's example does: without a challenge.
    Failed(Value),
    /// Answers with a problem; `Retry-After: 0`.
    Problem(ProblemType),
    /// A proxy's page.
    BadGateway,
    /// A page of something else.
    Teapot,
}

/// A request to a paid route, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) payment: Option<String>,
    pub(crate) body: Bytes,
}

struct Inner {
    challenge: Challenge,
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    sessions: Mutex<HashMap<SessionId, Arc<HostSession>>>,
    answers: Mutex<HashMap<(SessionId, u64), ExecuteResponse>>,
    agents: agents::Agents,
}

/// How the host asks for payment.
#[derive(Debug, Clone)]
pub(crate) enum Challenge {
    /// It does not.
    None,
    /// With these offers.
    Offers(Vec<Value>),
    /// With these values of PAYMENT-REQUIRED.
    Headers(Vec<String>),
}

/// A running host.
pub(crate) struct Host {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

/// One cent of USDC on Base Sepolia.
pub(crate) fn offer() -> Value {
    json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}
    })
}

/// The offer with some members replaced.
pub(crate) fn offer_with(members: Value) -> Value {
    let mut offer = offer();
    for (name, value) in members.as_object().unwrap() {
        offer[name] = value.clone();
    }
    offer
}

pub(crate) fn header(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

pub(crate) fn payment_required(offers: &[Value], error: &str) -> Value {
    json!({
        "x402Version": 2, "error": error,
        "resource": {"url": "https://host.example/x402_execute/test/wasm"},
        "accepts": offers, "extensions": {"example": {"info": {"a": 1.0}, "schema": {}}}
    })
}

pub(crate) fn receipt() -> Value {
    json!({"success": true, "transaction": TRANSACTION, "network": "eip155:84532", "payer": PAYER})
}

impl Host {
    pub(crate) async fn start(
        challenge: Challenge,
        replies: impl IntoIterator<Item = Reply>,
    ) -> Self {
        let inner = Arc::new(Inner {
            challenge,
            replies: Mutex::new(replies.into_iter().collect()),
            seen: Mutex::default(),
            sessions: Mutex::default(),
            answers: Mutex::default(),
            agents: agents::Agents::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    /// Asks one cent, and replies by the script.
    pub(crate) async fn paid(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(Challenge::Offers(vec![offer()]), replies).await
    }

    /// All requests to paid routes so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// The payments so far, in order, each as often as it came.
    pub(crate) fn payments(&self) -> Vec<String> {
        self.seen()
            .into_iter()
            .filter_map(|seen| seen.payment)
            .collect()
    }

    /// How many different requests were run.
    pub(crate) fn runs(&self) -> usize {
        self.inner.answers.lock().unwrap().len()
    }
}

async fn serve(
    State(host): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match uri.path() {
        "/encrypt/create_keypair" => create_keypair(&host, &body),
        "/test/execute/wasm" => run(&host, Operation::Wasm, &body, Exit::Ok),
        path @ "/x402_execute/test/wasm" => {
            let program = |exit| run(&host, Operation::Wasm, &body, exit);
            paid(&host, path, &headers, &body, program)
        }
        path @ "/x402_policy/unsafe/python" => {
            let script = |exit| run(&host, Operation::Python, &body, exit);
            paid(&host, path, &headers, &body, script)
        }
        path => agents::serve(&host, &method, path, &headers, &body),
    }
}

fn paid(
    host: &Inner,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
    run: impl Fn(Exit) -> Response<Body>,
) -> Response<Body> {
    let payment = headers.get("payment-signature");
    let payment = payment.map(|value| value.to_str().unwrap().to_owned());
    host.seen.lock().unwrap().push(Seen {
        path: path.to_owned(),
        payment: payment.clone(),
        body: body.clone(),
    });
    let offers = match &host.challenge {
        Challenge::None => return run(Exit::Ok),
        Challenge::Offers(offers) => offers,
        Challenge::Headers(values) => return demand(values),
    };
    let Some(payment) = payment else {
        let required = payment_required(offers, "PAYMENT-SIGNATURE header is required");
        return demand(&[header(&required)]);
    };
    if let Err(reason) = payment::check(&payment, offers) {
        return demand(&[header(&payment_required(offers, &reason))]);
    }
    let reply = host.replies.lock().unwrap().pop_front().unwrap();
    match reply {
        Reply::Settle => with_receipts(run(Exit::Ok), &[header(&receipt())]),
        Reply::Receipts(receipts) => with_receipts(run(Exit::Ok), &receipts),
        Reply::Trap => run(Exit::Trap {
            reason: "unreachable".to_owned(),
        }),
        Reply::Break => {
            let answer = with_receipts(run(Exit::Ok), &[header(&receipt())]);
            answer.map(|_| Body::new(Broken))
        }
        Reply::Alter => with_receipts(altered(run(Exit::Ok)), &[header(&receipt())]),
        Reply::Refuse(reason) => demand(&[header(&payment_required(offers, reason))]),
        Reply::Failed(settlement) => with_receipts(demand(&[]), &[header(&settlement)]),
        Reply::Problem(kind) => {
            let answer = with_header(problem(kind), "retry-after", "0");
            match kind {
                ProblemType::AnswerGone => with_receipts(answer, &[header(&receipt())]),
                _ => answer,
            }
        }
        Reply::BadGateway => page(StatusCode::BAD_GATEWAY),
        Reply::Teapot => page(StatusCode::IM_A_TEAPOT),
    }
}

fn create_keypair(host: &Inner, body: &[u8]) -> Response<Body> {
    let request: CreateKeypairRequest = ContentFormat::Cbor.decode(body).unwrap();
    let (key, id) = (PrivateKey::generate(), SessionId::new());
    let client = PublicKey::from_sec1(&request.pubkey.0).unwrap();
    let session = HostSession::new(&key, client, id).unwrap();
    host.sessions.lock().unwrap().insert(id, Arc::new(session));
    cbor(&CreateKeypairResponse {
        session_pubkey: key.public_key().to_bytes().to_vec().into(),
        session_id: id,
        expires_at: u64::MAX,
        quote: None,
        evidence: None,
    })
}

/// Runs nothing, and seals the result `ran`.
fn run(host: &Inner, operation: Operation, body: &[u8], exit: Exit) -> Response<Body> {
    let format = ContentFormat::Cbor;
    let (id, request): (_, SealedRequest) = match operation {
        Operation::Wasm => {
            let request: ExecuteWasmRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
        _ => {
            let request: ExecutePythonRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
    };
    seal(host, operation, id, request, |_, _| (exit, b"ran".to_vec()))
}

/// Opens a request, does the work, and seals what comes of it. A repeated request gets the same answer.
fn seal(
    host: &Inner,
    operation: Operation,
    id: SessionId,
    request: SealedRequest,
    work: impl FnOnce(&HostSession, &OpenRequest) -> (Exit, Vec<u8>),
) -> Response<Body> {
    let session = Arc::clone(&host.sessions.lock().unwrap()[&id]);
    let mut answers = host.answers.lock().unwrap();
    let answer = answers.entry((id, request.sequence)).or_insert_with(|| {
        let opened = session.open_request(operation, request).unwrap();
        let claim = session.claim(opened.sequence).unwrap();
        let (exit, result) = work(&session, &opened);
        let report = Report::new(exit, &opened.program, opened.commitment)
            .encode()
            .unwrap();
        let arguments = u32::try_from(opened.arguments.len()).unwrap();
        let commitment = &opened.commitment;
        let sealed = claim.seal_response(operation, arguments, commitment, result, report);
        ExecuteResponse::new(id, sealed.unwrap())
    });
    cbor(answer)
}

fn demand(headers: &[String]) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::PAYMENT_REQUIRED);
    for value in headers {
        response = response.header("payment-required", value);
    }
    response.body(Body::from("{}")).unwrap()
}

fn with_header(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().append(name, value.parse().unwrap());
    response
}

fn with_receipts(response: Response<Body>, receipts: &[String]) -> Response<Body> {
    receipts.iter().fold(response, |response, value| {
        with_header(response, "payment-response", value)
    })
}

fn cbor(value: &impl serde::Serialize) -> Response<Body> {
    let format = ContentFormat::Cbor;
    let response = Response::builder().header("content-type", format.media_type());
    response
        .body(Body::from(format.encode(value).unwrap()))
        .unwrap()
}

fn problem(kind: ProblemType) -> Response<Body> {
    let response = Response::builder().status(kind.status()).header(
        "content-type",
        hypervisor_client::protocol::problem::MEDIA_TYPE,
    );
    let body = serde_json::to_vec(&Problem::new(kind).with_detail("for the test")).unwrap();
    response.body(Body::from(body)).unwrap()
}

fn page(status: StatusCode) -> Response<Body> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "text/html");
    response.body(Body::from("<h1>no</h1>")).unwrap()
}

/// One byte of the sealed result flipped.
fn altered(response: Response<Body>) -> Response<Body> {
    response.map(|body| Body::new(Altered(Some(body))))
}

/// A body whose bytes come through changed.
struct Altered(Option<Body>);

impl http_body::Body for Altered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let body = self.0.as_mut().unwrap();
        Pin::new(body).poll_frame(context).map_ok(|frame| {
            frame.map_data(|data| {
                let mut bytes = data.to_vec();
                let name = b"encrypted_result";
                let found = bytes.windows(name.len()).position(|window| window == name);
                // After the name come up to five bytes for type and length, then the ciphertext of sixteen bytes and more.
                if let Some(at) = found {
                    bytes[at + name.len() + 8] ^= 1;
                }
                bytes.into()
            })
        })
    }
}

/// A body that breaks off: the server closes the connection.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("the connection breaks"))))
    }
}
