//! Running a program: a sealed request to the host that this front is part of.
//!
//! The front is a client as any other: it opens a session, seals, and opens the answer. No evidence is asked for, because the other end is
//! the same machine. The free route is tried first; where the host gives nothing away, the paid one with the same sealed request.

use front::ports::{Answer, Asked, Ports};
use front::problem;
use hypervisor_protocol::{
    ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse,
    ExecutePythonRequest, ExecuteResponse, ExecuteScriptRequest, ExecuteWasmRequest, OpenResponse,
    Operation, PrivateKey, PublicKey, SealedRequest,
};

use crate::error::Failure;
use crate::outcome::Outcome;
use crate::report;
use crate::x402::{self, Payment};

/// As much of a sealed answer is read.
const MOST_ANSWER: usize = 40 * 1024 * 1024;
/// As much of an answer that opens a session.
const MOST_SESSION: usize = 64 * 1024;
/// Problems and challenges come in JSON, whatever was sent.
const CBOR: ContentFormat = ContentFormat::Cbor;

/// What is to be run.
pub struct Run {
    /// How.
    pub kind: Kind,
    /// A component or a script.
    pub program: Vec<u8>,
    /// Standard input.
    pub stdin: Option<Vec<u8>>,
    /// Arguments.
    pub arguments: Vec<String>,
}

/// What runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CPython.
    Python,
    /// QuickJS.
    Javascript,
    /// The sandbox itself.
    Wasm,
}

impl Kind {
    fn operation(self) -> Operation {
        match self {
            Self::Python => Operation::Python,
            Self::Javascript => Operation::Javascript,
            Self::Wasm => Operation::Wasm,
        }
    }

    /// The free route and the paid one.
    fn routes(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("/test/policy/unsafe/python", "/x402_policy/unsafe/python"),
            Self::Javascript => (
                "/test/policy/unsafe/javascript",
                "/x402_policy/unsafe/javascript",
            ),
            Self::Wasm => ("/test/execute/wasm", "/x402_execute/test/wasm"),
        }
    }

    fn body(self, session: &ClientSession, request: SealedRequest) -> Result<Vec<u8>, Failure> {
        let (key, id) = (session.public_key(), *session.id());
        let body = match self {
            Self::Python => CBOR.encode(&ExecutePythonRequest::new(key, id, request)),
            Self::Javascript => CBOR.encode(&ExecuteScriptRequest::new(key, id, request)),
            Self::Wasm => CBOR.encode(&ExecuteWasmRequest::new(key, id, request)),
        };
        body.map_err(|_| Failure::Unreadable("it can not be sealed"))
    }
}

/// Runs it. `tool` is what it is called in a demand for payment.
pub fn run(
    ports: &impl Ports,
    run: Run,
    payment: Option<&Payment>,
    tool: &str,
) -> Result<Outcome, Failure> {
    let Run {
        kind,
        program,
        stdin,
        arguments,
    } = run;
    let session = open(ports)?;
    let sealed = session.seal_request(kind.operation(), &program, stdin.as_deref(), &arguments);
    let (request, pending) =
        sealed.map_err(|_| Failure::Argument("there is too much to seal".to_owned()))?;
    // What was sealed is not needed in the clear any more, and may be large.
    drop((program, stdin, arguments));
    let body = kind.body(&session, request)?;
    let (free, paid) = kind.routes();
    let ask = |route: &str| {
        let asked = Asked::host("POST", route.to_owned(), MOST_ANSWER);
        asked.with_body(CBOR.media_type(), body.clone())
    };
    let mut answer = ports.send(&ask(free)).map_err(Failure::Host)?;
    if answer.status == 404 && problem::is(&answer, "not-found") {
        let asked = Payment::on(payment, ask(paid));
        answer = problem::send_paid(ports, &asked).map_err(Failure::Host)?;
    }
    if let Some(demand) = x402::demanded(&answer, tool) {
        return Ok(demand);
    }
    if answer.status != 200 {
        return Ok(x402::settled(
            &answer,
            Failure::Problem(problem::refusal(&answer)).into(),
        ));
    }
    let (answer, body) = parts(answer)?;
    let response: ExecuteResponse = CBOR
        .decode(&body)
        .map_err(|_| Failure::Unreadable("it is no sealed answer"))?;
    drop(body);
    let OpenResponse { result, report, .. } = session
        .open_response(&pending, response.into())
        .map_err(|_| Failure::Unreadable("it does not open"))?;
    Ok(x402::settled(&answer, report::outcome(&result, &report)))
}

/// An answer and its body, where that came whole.
fn parts(mut answer: Answer) -> Result<(Answer, Vec<u8>), Failure> {
    if answer.is_cut {
        return Err(Failure::TooLong(MOST_ANSWER));
    }
    let body = std::mem::take(&mut answer.body);
    Ok((answer, body))
}

/// Opens a session for one request.
fn open(ports: &impl Ports) -> Result<ClientSession, Failure> {
    let key = PrivateKey::try_generate();
    let key = key.map_err(|_| Failure::Unreadable("there is no chance here"))?;
    let body = CBOR
        .encode(&CreateKeypairRequest::new(key.public_key(), None))
        .map_err(|_| Failure::Unreadable("it can not be asked for a session"))?;
    let asked = Asked::host("POST", "/encrypt/create_keypair".to_owned(), MOST_SESSION);
    let asked = asked.with_body(CBOR.media_type(), body);
    let answer = ports.send(&asked).map_err(Failure::Host)?;
    if answer.status != 200 {
        return Err(Failure::Problem(problem::refusal(&answer)));
    }
    let unreadable = |_| Failure::Unreadable("it opens no session");
    let opened: CreateKeypairResponse = CBOR.decode(&answer.body).map_err(unreadable)?;
    let host = PublicKey::from_sec1(&opened.session_pubkey.0).map_err(unreadable)?;
    ClientSession::new(key, host, opened.session_id).map_err(unreadable)
}
