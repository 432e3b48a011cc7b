//! A host that attests, for one test: real evidence of the simulator, real sealing, real receipts, and one trick.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail by panicking; each test file uses a part"
)]

mod reference;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use hypervisor_client::attest::{
    Backend, Binding, Evidence, RawQuote, Receipt, ResultTree, Subject, VerifierNonce, manifest,
};
use hypervisor_client::protocol::{
    AgentRequest, Commitment, ContentFormat, CreateKeypairRequest, CreateKeypairResponse,
    DeployRequest, ExecutePythonRequest, ExecuteResponse, ExecuteWasmRequest, Exit, HexBytes,
    HostSession, Operation, PrivateKey, Problem, ProblemType, PublicKey, Report, SealedRequest,
    SessionId,
};
use hypervisor_evidence::Attester;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

pub(crate) use reference::*;

/// What the host, or whoever stands before it, does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Nothing.
    None,
    /// Offers another session key than the attested one.
    SwapKey,
    /// Gives evidence for an earlier nonce.
    ReplayNonce,
    /// Gives evidence that another host made for this nonce, and for a session of its own.
    Relay,
    /// Gives no evidence.
    NoEvidence,
    /// Gives bytes that are no evidence.
    Garbage,
    /// Has loaded a component that nobody measured.
    ForeignComponent,
    /// Has no attester.
    NoAttester,
    /// Gives the receipt of its first answer with every later one.
    ReceiptOfAnother,
    /// Signs the receipt with another key.
    ForgedReceipt,
    /// Names another manifest in the receipt.
    ReceiptOfAnotherManifest,
    /// Gives no receipt.
    NoReceipt,
    /// Proves another result to be in the batch.
    MovedResult,
    /// Gives no evidence of the result.
    NoResultEvidence,
    /// Quotes the result after it was started anew, with the same key.
    Restarted,
    /// Quotes the result with another identity key.
    OtherIdentity,
    /// Quotes the result with a log in another order.
    ReorderedLog,
    /// Quotes the result after it loaded one more component that the policy allows.
    GrownLog,
    /// Quotes the result with another manifest.
    OtherManifest,
}

/// A request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

struct Inner {
    trick: Trick,
    identity: SigningKey,
    boot_id: [u8; 16],
    sessions: Mutex<HashMap<SessionId, Arc<HostSession>>>,
    seen: Mutex<Vec<Seen>>,
    first_receipt: Mutex<Option<Vec<u8>>>,
}

/// A running host.
pub(crate) struct Host {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

impl Host {
    pub(crate) async fn start(trick: Trick) -> Self {
        let (_, identity) = signing_key();
        let inner = Arc::new(Inner {
            trick,
            identity,
            boot_id: *SessionId::new().as_bytes(),
            sessions: Mutex::default(),
            seen: Mutex::default(),
            first_receipt: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    /// The paths that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let seen = self.inner.seen.lock().unwrap();
        seen.iter().map(|seen| seen.path.clone()).collect()
    }

    /// The host's identity key.
    pub(crate) fn identity(&self) -> PublicKey {
        public(&self.inner.identity)
    }
}

fn signing_key() -> (PublicKey, SigningKey) {
    loop {
        // Two ids are 32 bytes; a scalar out of range is drawn again.
        let bytes = [*SessionId::new().as_bytes(), *SessionId::new().as_bytes()].concat();
        if let Ok(key) = SigningKey::from_slice(&bytes) {
            return (public(&key), key);
        }
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_sec1(key.verifying_key().to_sec1_point(true).as_bytes()).unwrap()
}

impl Inner {
    fn binding(&self, subject: Subject, nonce: Option<VerifierNonce>) -> Binding {
        Binding {
            subject,
            nonce,
            identity_public_key: public(&self.identity),
            tls_key: None,
            manifest_digest: manifest::digest(MANIFEST),
            log: measured(&COMPONENTS).1.head(),
            register_bound: true,
            backend: Backend::Simulated,
            boot_id: self.boot_id,
        }
    }

    fn session_evidence(&self, subject: Subject, nonce: VerifierNonce) -> Vec<u8> {
        let mut binding = self.binding(subject, Some(nonce));
        match self.trick {
            Trick::Garbage => return b"{\"no\": \"evidence\"}".to_vec(),
            Trick::ReplayNonce => {
                binding.nonce = Some("6f8a0e3c51d2b79408c6ae1f9d3b5274".parse().unwrap());
            }
            Trick::Relay => {
                let (client, host) = (PrivateKey::generate(), PrivateKey::generate());
                binding.subject = Subject::Session {
                    session_public_key: host.public_key().clone(),
                    session_id: SessionId::new(),
                    client_public_key: client.public_key().clone(),
                };
                binding.identity_public_key = signing_key().0;
            }
            Trick::ForeignComponent => {
                return evidence(binding, &["policy", "keylogger"], MANIFEST).encoded();
            }
            _ => {}
        }
        evidence(binding, &COMPONENTS, MANIFEST).encoded()
    }

    fn result_evidence(&self, commitment: Commitment) -> Vec<u8> {
        let others = [Commitment([1; 32]), commitment, Commitment([2; 32])];
        let tree = ResultTree::new(&others).unwrap();
        let index = usize::from(self.trick != Trick::MovedResult);
        let subject = Subject::ResultBatch {
            results: tree.root(),
        };
        let mut binding = self.binding(subject, None);
        let (mut names, mut document) = (COMPONENTS.to_vec(), MANIFEST);
        match self.trick {
            Trick::Restarted => binding.boot_id = [9; 16],
            Trick::OtherIdentity => binding.identity_public_key = signing_key().0,
            Trick::ReorderedLog => names.reverse(),
            Trick::GrownLog => names.push(LATER),
            Trick::OtherManifest => document = OTHER_MANIFEST,
            _ => {}
        }
        let mut made = evidence(binding, &names, document);
        let proof = tree.proof(index).unwrap();
        made.0.inclusion = Some(proof.encode(ContentFormat::Cbor).unwrap());
        made.encoded()
    }

    fn receipt(&self, id: SessionId, sequence: u64, answer: &ExecuteResponse) -> Vec<u8> {
        let document = match self.trick {
            Trick::ReceiptOfAnotherManifest => OTHER_MANIFEST,
            _ => MANIFEST,
        };
        let receipt = Receipt::new(
            id,
            sequence,
            answer.request_commitment,
            answer.result_commitment,
            manifest::digest(document),
            1_767_225_600,
        );
        let key = match self.trick {
            Trick::ForgedReceipt => signing_key().1,
            _ => self.identity.clone(),
        };
        let signed = receipt
            .sign(|message| {
                let signature: Signature = key.sign(message);
                Ok::<_, std::convert::Infallible>(signature.to_bytes().into())
            })
            .unwrap();
        let mut first = self.first_receipt.lock().unwrap();
        let first = first.get_or_insert_with(|| signed.clone()).clone();
        match self.trick {
            Trick::ReceiptOfAnother => first,
            _ => signed,
        }
    }
}

struct Made(Evidence);

impl Made {
    fn encoded(&self) -> Vec<u8> {
        self.0.encode(ContentFormat::Cbor).unwrap()
    }
}

/// Evidence of a host that loaded these components.
fn evidence(mut binding: Binding, names: &[&str], document: &[u8]) -> Made {
    let (simulator, log) = measured(names);
    binding.log = log.head();
    binding.manifest_digest = manifest::digest(document);
    let quote = Attester::quote(&simulator, binding.report_data().as_bytes()).unwrap();
    Made(Evidence {
        log: Some(log.encode(ContentFormat::Cbor).unwrap()),
        manifest: Some(document.to_vec()),
        collateral: Some(simulator.collateral_json().unwrap().into_bytes()),
        ..Evidence::new(RawQuote::Tdx(quote.bytes), &binding)
    })
}

async fn serve(
    State(host): State<Arc<Inner>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path();
    host.seen.lock().unwrap().push(Seen {
        path: path.to_owned(),
        body: body.clone(),
    });
    if host.trick == Trick::NoAttester {
        return problem(ProblemType::AttestationUnavailable);
    }
    match path {
        "/attestation" => identity(&host, &uri, &headers),
        "/verifiable/encrypt/create_keypair" => create_keypair(&host, &body),
        "/test/execute/wasm" => run(&host, Operation::Wasm, false, &body),
        "/x402_execute/verifiable/wasm" => run(&host, Operation::Wasm, true, &body),
        "/test/policy/unsafe/python/attest" | "/x402_policy/unsafe/python/attest" => {
            run(&host, Operation::Python, true, &body)
        }
        "/agents/shout" => run(&host, Operation::Agent, false, &body),
        "/agent/deploy" => run(&host, Operation::Deploy, false, &body),
        _ => problem(ProblemType::NotFound),
    }
}

fn identity(host: &Inner, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let nonce = uri.query().and_then(|query| query.strip_prefix("nonce="));
    let Some(nonce) = nonce.and_then(|nonce| nonce.parse().ok()) else {
        return problem(ProblemType::MalformedRequest);
    };
    let bytes = host.session_evidence(Subject::Identity, nonce);
    if headers["accept"] == "application/cbor" || host.trick == Trick::Garbage {
        return answer("application/cbor", bytes);
    }
    let evidence = Evidence::decode(ContentFormat::Cbor, &bytes).unwrap();
    answer(
        "application/json",
        evidence.encode(ContentFormat::Json).unwrap(),
    )
}

fn create_keypair(host: &Inner, body: &[u8]) -> Response<Body> {
    let request: CreateKeypairRequest = ContentFormat::Cbor.decode(body).unwrap();
    let (key, id) = (PrivateKey::generate(), SessionId::new());
    let client = PublicKey::from_sec1(&request.pubkey.0).unwrap();
    let session = HostSession::new(&key, client.clone(), id).unwrap();
    host.sessions.lock().unwrap().insert(id, Arc::new(session));
    let subject = Subject::Session {
        session_public_key: key.public_key().clone(),
        session_id: id,
        client_public_key: client,
    };
    let nonce = VerifierNonce::new(request.nonce.unwrap().0).unwrap();
    let evidence = host.session_evidence(subject, nonce);
    let offered = match host.trick {
        Trick::SwapKey => PrivateKey::generate(),
        _ => key,
    };
    cbor(&CreateKeypairResponse {
        session_pubkey: offered.public_key().to_bytes().to_vec().into(),
        session_id: id,
        expires_at: u64::MAX,
        quote: Some(HexBytes(vec![4, 0])),
        evidence: Some(evidence)
            .filter(|_| host.trick != Trick::NoEvidence)
            .map(HexBytes),
    })
}

/// Opens the request, runs nothing, and seals the result `ran`.
fn run(host: &Inner, operation: Operation, attested: bool, body: &[u8]) -> Response<Body> {
    let format = ContentFormat::Cbor;
    let (id, request): (_, SealedRequest) = match operation {
        Operation::Wasm => {
            let request: ExecuteWasmRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
        Operation::Agent => {
            let request: AgentRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
        Operation::Deploy => {
            let request: DeployRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
        _ => {
            let request: ExecutePythonRequest = format.decode(body).unwrap();
            (request.session_id.unwrap(), request.into())
        }
    };
    let session = Arc::clone(&host.sessions.lock().unwrap()[&id]);
    let opened = session.open_request(operation, request).unwrap();
    let claim = session.claim(opened.sequence).unwrap();
    let report = Report::new(Exit::Ok, &opened.program, opened.commitment);
    let report = report.encode().unwrap();
    let arguments = u32::try_from(opened.arguments.len()).unwrap();
    let (commitment, result) = (opened.commitment, b"ran".to_vec());
    let sealed = claim.seal_response(operation, arguments, &commitment, result, report);
    let mut answer = ExecuteResponse::new(id, sealed.unwrap());
    if host.trick != Trick::NoReceipt {
        answer.receipt = Some(HexBytes(host.receipt(id, opened.sequence, &answer)));
    }
    if attested && host.trick != Trick::NoResultEvidence {
        let evidence = host.result_evidence(answer.result_commitment);
        answer.result_evidence = Some(HexBytes(evidence));
    }
    cbor(&answer)
}

fn cbor(value: &impl serde::Serialize) -> Response<Body> {
    let format = ContentFormat::Cbor;
    answer(format.media_type(), format.encode(value).unwrap())
}

fn answer(media_type: &str, bytes: Vec<u8>) -> Response<Body> {
    let response = Response::builder().status(StatusCode::OK);
    let response = response.header("content-type", media_type);
    response.body(Body::from(bytes)).unwrap()
}

fn problem(kind: ProblemType) -> Response<Body> {
    let response = Response::builder().status(kind.status()).header(
        "content-type",
        hypervisor_client::protocol::problem::MEDIA_TYPE,
    );
    let body = serde_json::to_vec(&Problem::new(kind).with_detail("for the test")).unwrap();
    response.body(Body::from(body)).unwrap()
}
