//! A host for one test: it asks for payment, checks what it is given by computing the signer itself, and seals its answers as a
//! host does. What it answers to each payment is a script.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail by panicking; each test file uses a part"
)]

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hypervisor_client::protocol::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, ExecutePythonRequest,
    ExecuteResponse, ExecuteWasmRequest, Exit, HostSession, Operation, PrivateKey, Problem,
    ProblemType, PublicKey, Report, SealedRequest, SessionId,
};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

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
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match uri.path() {
        "/encrypt/create_keypair" => create_keypair(&host, &body),
        "/test/execute/wasm" => run(&host, Operation::Wasm, &body, Exit::Ok),
        "/x402_execute/test/wasm" => paid(&host, Operation::Wasm, uri.path(), &headers, body),
        "/x402_policy/unsafe/python" => paid(&host, Operation::Python, uri.path(), &headers, body),
        _ => problem(ProblemType::NotFound),
    }
}

fn paid(
    host: &Inner,
    operation: Operation,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let payment = headers.get("payment-signature");
    let payment = payment.map(|value| value.to_str().unwrap().to_owned());
    host.seen.lock().unwrap().push(Seen {
        path: path.to_owned(),
        payment: payment.clone(),
        body: body.clone(),
    });
    let offers = match &host.challenge {
        Challenge::None => return run(host, operation, &body, Exit::Ok),
        Challenge::Offers(offers) => offers,
        Challenge::Headers(values) => return demand(values),
    };
    let Some(payment) = payment else {
        let required = payment_required(offers, "PAYMENT-SIGNATURE header is required");
        return demand(&[header(&required)]);
    };
    if let Err(reason) = check(&payment, offers) {
        return demand(&[header(&payment_required(offers, &reason))]);
    }
    let reply = host.replies.lock().unwrap().pop_front().unwrap();
    let run = |exit| run(host, operation, &body, exit);
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

/// Opens the request, runs nothing, and seals the result `ran`. A repeated request gets the same answer.
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
    let session = Arc::clone(&host.sessions.lock().unwrap()[&id]);
    let mut answers = host.answers.lock().unwrap();
    let answer = answers.entry((id, request.sequence)).or_insert_with(|| {
        let opened = session.open_request(operation, request).unwrap();
        let claim = session.claim(opened.sequence).unwrap();
        let report = Report::new(exit, &opened.program, opened.commitment)
            .encode()
            .unwrap();
        let arguments = u32::try_from(opened.arguments.len()).unwrap();
        let sealed = claim
            .seal_response(
                operation,
                arguments,
                &opened.commitment,
                b"ran".to_vec(),
                report,
            )
            .unwrap();
        ExecuteResponse::new(id, sealed)
    });
    cbor(answer)
}

/// Checks a payment as a token and a facilitator would: an offer of ours, a time that is now, and the payer's signature.
fn check(payment: &str, offers: &[Value]) -> Result<(), String> {
    let payment: Value = serde_json::from_slice(&STANDARD.decode(payment).unwrap()).unwrap();
    let accepted = &payment["accepted"];
    if payment["x402Version"] != 2 || !offers.contains(accepted) {
        return Err("not an offer of ours".to_owned());
    }
    let required = payment_required(offers, "");
    if payment["resource"] != required["resource"]
        || payment["extensions"] != required["extensions"]
    {
        return Err("not echoed".to_owned());
    }
    let authorization = &payment["payload"]["authorization"];
    let text = |name: &str| authorization[name].as_str().unwrap();
    if text("to") != accepted["payTo"] || text("value") != accepted["amount"] {
        return Err("not what was offered".to_owned());
    }
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (after, before): (u64, u64) = (
        text("validAfter").parse().unwrap(),
        text("validBefore").parse().unwrap(),
    );
    let longest = now + accepted["maxTimeoutSeconds"].as_u64().unwrap();
    if after > now || before < now + 6 || before > longest {
        return Err("not valid now".to_owned());
    }
    let signature = const_hex::decode(payment["payload"]["signature"].as_str().unwrap()).unwrap();
    if signer(accepted, authorization, &signature) == text("from").to_lowercase() {
        Ok(())
    } else {
        Err("invalid_exact_evm_signature".to_owned())
    }
}

fn keccak(bytes: &[u8]) -> Vec<u8> {
    Keccak256::digest(bytes).to_vec()
}

/// A `uint256` or an address, left-padded to 32 bytes.
fn word(bytes: &[u8]) -> Vec<u8> {
    let mut word = vec![0; 32 - bytes.len()];
    word.extend_from_slice(bytes);
    word
}

/// The address that signed, in lower case; written anew, from EIP-712 and EIP-3009.
fn signer(accepted: &Value, authorization: &Value, signature: &[u8]) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let number = |value: &Value| word(&text(value).parse::<u128>().unwrap().to_be_bytes());
    let bytes = |value: &Value| word(&const_hex::decode(text(value)).unwrap());
    let chain = text(&accepted["network"]).replace("eip155:", "");
    let domain = [
        keccak(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        ),
        keccak(text(&accepted["extra"]["name"]).as_bytes()),
        keccak(text(&accepted["extra"]["version"]).as_bytes()),
        number(&json!(chain)),
        bytes(&accepted["asset"]),
    ];
    let message = [
        // keccak256 of the type, as EIP-3009 gives it.
        const_hex::decode("7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267")
            .unwrap(),
        bytes(&authorization["from"]),
        bytes(&authorization["to"]),
        number(&authorization["value"]),
        number(&authorization["validAfter"]),
        number(&authorization["validBefore"]),
        bytes(&authorization["nonce"]),
    ];
    let digest = [
        vec![0x19, 1],
        keccak(&domain.concat()),
        keccak(&message.concat()),
    ]
    .concat();
    assert!(matches!(signature[64], 27 | 28), "v as tokens want it");
    let recovery = RecoveryId::from_byte(signature[64] - 27).unwrap();
    let parsed = Signature::from_slice(&signature[..64]).unwrap();
    assert_eq!(parsed.normalize_s(), parsed, "s in the lower half");
    let key = VerifyingKey::recover_from_prehash(&keccak(&digest), &parsed, recovery).unwrap();
    let hash = keccak(&key.to_sec1_point(false).as_bytes()[1..]);
    const_hex::encode_prefixed(&hash[12..])
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
                // After the name comes one byte for type and length, then the ciphertext.
                if let Some(at) = found {
                    bytes[at + name.len() + 2] ^= 1;
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
