//! An open session and the executions in it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::digest::name_program;
use hypervisor_protocol::{
    ClientSession, Commitment, ExecutePythonRequest, ExecuteResponse, ExecuteScriptRequest,
    ExecuteWasmRequest, Exit, OpenResponse, Operation, Output, OwnerKey, OwnerProof,
    PendingRequest, PublicKey, Rejection, Report, SealedRequest, SessionId, Stream,
};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::attestation::{
    Exchange, ExecutionAttestation, SessionAttestation, now, verify_execution,
};
use crate::client::Client;
use crate::error::Error;
use crate::live::{Form, Heard, Listener, Opening};
use crate::payment::{PAYMENT_RESPONSE, Payer, Payment, PaymentReceipt};
use crate::program::{Inputs, Program};
use crate::record::Keeping;

/// A session with a host: a key schedule of its own and a count of the requests made under it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    session: ClientSession,
    expires_at: u64,
    /// Where there is one, nothing is given out that the host did not attest.
    attestation: Option<Box<SessionAttestation>>,
    /// Where there is one, each run gives a record.
    keeping: Option<Box<Keeping>>,
    /// Programs that the host has of this session, by SHA-256.
    sent: Mutex<BTreeSet<[u8; 32]>>,
    /// The last owner's proof: it is the same for every request.
    proof: Mutex<Option<(PublicKey, OwnerProof)>>,
    /// Who is told of output while runs go on.
    listener: Option<Listener>,
}

/// Where a sealed request goes.
pub(crate) struct Route<'a> {
    method: Method,
    path: Cow<'a, str>,
    /// Whether the host makes a quote over the result there.
    quoted: bool,
    form: Form,
    /// Who is told of output, in the place of the session's listener.
    listener: Option<Listener>,
}

/// A sealed request, and what checks and opens its answer.
pub(crate) struct Sealed<B> {
    body: B,
    pending: PendingRequest,
}

/// What came of an execution, verified: both commitments were recomputed from what this client sent and received, and the
/// sealed report names the same request.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The program's standard output.
    pub result: Vec<u8>,
    /// What was printed before the result and is not in it: of runs in environments that were streamed. Their answers have it.
    pub printed: Vec<u8>,
    /// Exit, standard error, usage, digests.
    pub report: Report,
    /// Sequence of the request in its session.
    pub sequence: u64,
    /// SHA-256 over the sealed request.
    pub request_commitment: Commitment,
    /// SHA-256 over the request commitment and the sealed answer.
    pub result_commitment: Commitment,
    /// What the host attested of this run; some in every attested session, none in others.
    pub attestation: Option<ExecutionAttestation>,
}

/// An execution, and what became of paying for it.
#[derive(Debug, Clone)]
pub struct PaidExecution {
    /// The execution, verified.
    pub execution: Execution,
    /// The payment, by the host's word.
    pub payment: Payment,
}

impl PaidExecution {
    /// The receipt, if something was paid.
    pub fn receipt(&self) -> Option<&PaymentReceipt> {
        self.payment.receipt()
    }
}

impl<'a> Route<'a> {
    /// Posts, and gets a receipt and no quote.
    pub(crate) fn post(path: impl Into<Cow<'a, str>>) -> Self {
        Self::new(Method::POST, path)
    }

    /// As [`Self::post`], with another method.
    pub(crate) fn new(method: Method, path: impl Into<Cow<'a, str>>) -> Self {
        Self {
            method,
            path: path.into(),
            quoted: false,
            form: Form::Output,
            listener: None,
        }
    }

    /// The same, where the result is something else than output.
    pub(crate) fn giving(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The same, with a listener of this request's own.
    pub(crate) fn told(self, listener: Option<Listener>) -> Self {
        Self { listener, ..self }
    }
}

impl Session {
    pub(crate) fn new(client: Client, session: ClientSession, expires_at: u64) -> Self {
        Self {
            client,
            session,
            expires_at,
            attestation: None,
            keeping: None,
            sent: Mutex::default(),
            proof: Mutex::default(),
            listener: None,
        }
    }

    /// The same, with somebody who is told what runs in it write, while they write it where the host lets it out: what was paid for goes
    /// out when it is paid. All that a run writes is told, in order and once, and is in its [`Execution`] besides; of an agent that is
    /// a service, its response's body. Each part is authentic; that it is all was verified when the execution is there.
    #[must_use]
    pub fn with_output(self, told: impl Fn(Stream, &[u8]) + Send + Sync + 'static) -> Self {
        Self {
            listener: Some(Listener::new(move |heard| {
                if let Heard::Output(stream, output) = heard {
                    told(stream, output);
                }
            })),
            ..self
        }
    }

    /// Tells what of an output is known from elsewhere than the result.
    pub(crate) fn tell(&self, output: &[u8]) {
        if let Some(listener) = &self.listener {
            listener.tell(Stream::Stdout, output);
        }
    }

    fn opening<'a>(
        &'a self,
        route: &'a Route<'_>,
        pending: &'a PendingRequest,
    ) -> Option<Opening<'a>> {
        let listener = route.listener.as_ref().or(self.listener.as_ref())?;
        Some(Opening::new(&self.session, pending, listener, route.form))
    }

    pub(crate) fn attested(
        mut self,
        attestation: SessionAttestation,
        keeping: Option<Keeping>,
    ) -> Self {
        self.attestation = Some(Box::new(attestation));
        self.keeping = keeping.map(Box::new);
        self
    }

    /// What the host proved when the session was opened; none where it was not asked to.
    pub fn attestation(&self) -> Option<&SessionAttestation> {
        self.attestation.as_deref()
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        self.session.id()
    }

    /// Latest end of the session, seconds since the Unix epoch; the host ends it earlier when idle.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Seals and sends the program, verifies and opens the answer. Sessions may run several programs at once.
    ///
    /// A program that fails is no error here: [`Report::exit`] says how it ended. One that ran in this session before is named by
    /// its digest in place of being sent; a host that keeps it no more gets it again, in a second request.
    ///
    /// # Errors
    /// In an attested session [`Error::Attestation`] when the receipt, or the quote over the result, is not of this run and
    /// this host. This route makes no such quote: there the receipt alone is verified.
    pub async fn run_wasm(&self, program: Program<'_>) -> Result<Execution, Error> {
        let route = Route::post("test/execute/wasm");
        let digest: [u8; 32] = Sha256::digest(program.bytes).into();
        if self.sent().contains(&digest) {
            let name = name_program(digest);
            let inputs = program.inputs.clone();
            let named = Program::with_inputs(name.as_bytes(), inputs);
            let request = self.seal_program(Operation::Wasm, &named, ExecuteWasmRequest::new)?;
            let execution = self.exchange(&route, &request).await?;
            match execution.report.exit {
                Exit::Rejected {
                    problem: Rejection::UnknownProgram,
                    ..
                } => self.sent().remove(&digest),
                _ => return Ok(execution),
            };
        }
        let request = self.seal_program(Operation::Wasm, &program, ExecuteWasmRequest::new)?;
        let execution = self.exchange(&route, &request).await?;
        if !matches!(execution.report.exit, Exit::Rejected { .. }) {
            self.sent().insert(digest);
        }
        Ok(execution)
    }

    fn sent(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::run_wasm`], for a Python script: UTF-8 text. An uncaught exception is exit code 1 with the traceback on
    /// standard error.
    pub async fn run_python(&self, script: Program<'_>) -> Result<Execution, Error> {
        let route = self.route(
            "test/policy/unsafe/python",
            "test/policy/unsafe/python/attest",
        );
        let request = self.seal_program(Operation::Python, &script, ExecutePythonRequest::new)?;
        self.exchange(&route, &request).await
    }

    /// As [`Self::run_wasm`], for a script in JavaScript or TypeScript: UTF-8 text, an ES module. An uncaught error is exit code 1
    /// with the traceback on standard error.
    pub async fn run_javascript(&self, script: Program<'_>) -> Result<Execution, Error> {
        let route = self.route(
            "test/policy/unsafe/javascript",
            "test/policy/unsafe/javascript/attest",
        );
        let request =
            self.seal_program(Operation::Javascript, &script, ExecuteScriptRequest::new)?;
        self.exchange(&route, &request).await
    }

    /// As [`Self::run_wasm`], and pays for it if the host asks. An answer that came for a payment is verified like any other.
    ///
    /// # Errors
    /// [`Error::NoAcceptableOffer`], [`Error::Challenge`] and [`Error::PaymentRefused`] when nothing was charged;
    /// [`Error::PaymentUncertain`] when something may have been.
    pub async fn run_wasm_paid(
        &self,
        program: Program<'_>,
        payer: &Payer,
    ) -> Result<PaidExecution, Error> {
        let route = self.route("x402_execute/test/wasm", "x402_execute/verifiable/wasm");
        let request = self.seal_program(Operation::Wasm, &program, ExecuteWasmRequest::new)?;
        self.exchange_paid(&route, &request, payer).await
    }

    /// As [`Self::run_wasm_paid`], for a Python script.
    ///
    /// # Errors
    /// As [`Self::run_wasm_paid`].
    pub async fn run_python_paid(
        &self,
        script: Program<'_>,
        payer: &Payer,
    ) -> Result<PaidExecution, Error> {
        let route = self.route(
            "x402_policy/unsafe/python",
            "x402_policy/unsafe/python/attest",
        );
        let request = self.seal_program(Operation::Python, &script, ExecutePythonRequest::new)?;
        self.exchange_paid(&route, &request, payer).await
    }

    /// As [`Self::run_wasm_paid`], for a script in JavaScript or TypeScript.
    ///
    /// # Errors
    /// As [`Self::run_wasm_paid`].
    pub async fn run_javascript_paid(
        &self,
        script: Program<'_>,
        payer: &Payer,
    ) -> Result<PaidExecution, Error> {
        let route = self.route(
            "x402_policy/unsafe/javascript",
            "x402_policy/unsafe/javascript/attest",
        );
        let request =
            self.seal_program(Operation::Javascript, &script, ExecuteScriptRequest::new)?;
        self.exchange_paid(&route, &request, payer).await
    }

    /// An attested session takes the route with a quote over the result.
    fn route(&self, plain: &'static str, quoted: &'static str) -> Route<'static> {
        match self.attestation {
            None => Route::post(plain),
            Some(_) => Route {
                quoted: true,
                ..Route::post(quoted)
            },
        }
    }

    fn seal_program<B>(
        &self,
        operation: Operation,
        program: &Program<'_>,
        body: impl FnOnce(&PublicKey, SessionId, SealedRequest) -> B,
    ) -> Result<Sealed<B>, Error> {
        self.seal(operation, program.bytes, &program.inputs, body)
    }

    /// Seals the fields of a request under the next sequence and puts them into a body.
    pub(crate) fn seal<B>(
        &self,
        operation: Operation,
        first: &[u8],
        inputs: &Inputs<'_>,
        body: impl FnOnce(&PublicKey, SessionId, SealedRequest) -> B,
    ) -> Result<Sealed<B>, Error> {
        let Inputs { stdin, arguments } = inputs;
        let (request, pending) = self
            .session
            .seal_request(operation, first, *stdin, arguments)
            .map_err(Error::Protocol)?;
        let body = body(self.session.public_key(), *self.session.id(), request);
        Ok(Sealed { body, pending })
    }

    /// An owner's proof for this session.
    pub(crate) fn prove(&self, owner: &OwnerKey) -> OwnerProof {
        let mut last = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, proof)) if of == owner.public_key() => proof.clone(),
            _ => {
                let (key, host) = (self.session.public_key(), self.session.host());
                let proof = owner.prove(key, host, self.session.id());
                *last = Some((owner.public_key().clone(), proof.clone()));
                proof
            }
        }
    }

    /// Sends a sealed request, verifies and opens the answer.
    pub(crate) async fn exchange<B: Serialize>(
        &self,
        route: &Route<'_>,
        request: &Sealed<B>,
    ) -> Result<Execution, Error> {
        let (execution, _) = self.exchange_carrying(route, request, None).await?;
        Ok(execution)
    }

    /// As [`Self::exchange`], with a payment that somebody else signed. Gives what the host says of its settlement, too.
    pub(crate) async fn exchange_carrying<B: Serialize>(
        &self,
        route: &Route<'_>,
        request: &Sealed<B>,
        payment: Option<&HeaderValue>,
    ) -> Result<(Execution, Option<HeaderValue>), Error> {
        let body = Client::encode(&request.body)?;
        let method = route.method.clone();
        let mut live = self.opening(route, &request.pending);
        let with = (payment, live.as_mut());
        let answer = self.client.send(method, &route.path, body, with).await?;
        let settlement = answer.headers.get(PAYMENT_RESPONSE).cloned();
        let opened = self.open(route, &request.pending, self.client.read(&answer)?, live)?;
        Ok((opened, settlement))
    }

    /// As [`Self::exchange`], and pays if the host asks. The route's method is POST.
    pub(crate) async fn exchange_paid<B: Serialize>(
        &self,
        route: &Route<'_>,
        request: &Sealed<B>,
        payer: &Payer,
    ) -> Result<PaidExecution, Error> {
        let mut live = self.opening(route, &request.pending);
        let answer = payer.post(&self.client, &route.path, &request.body, live.as_mut());
        let (answer, payment) = answer.await?;
        match self.open(route, &request.pending, answer, live) {
            Ok(execution) => Ok(PaidExecution {
                payment: payment.checked(&execution.report),
                execution,
            }),
            Err(error) => Err(payment.taint(error)),
        }
    }

    fn open(
        &self,
        route: &Route<'_>,
        pending: &PendingRequest,
        mut answer: ExecuteResponse,
        mut live: Option<Opening<'_>>,
    ) -> Result<Execution, Error> {
        // An answer that is given again has them in it.
        if let Some(live) = &mut live
            && answer.encrypted_chunks.is_empty()
        {
            answer.encrypted_chunks = live.take_chunks();
        }
        let result_commitment = answer.result_commitment;
        let whole = self
            .keeping
            .as_ref()
            .map(|keeping| (keeping, answer.clone()));
        let (receipt, evidence) = (answer.receipt.take(), answer.result_evidence.take());
        let audit_head = answer.audit_head.take();
        let opened = self
            .session
            .open_response(pending, answer.into())
            .map_err(Error::Verification)?;
        if let Some(mut live) = live {
            live.finish(&opened);
        }
        let at = now();
        let attestation = self.attestation.as_deref().map(|attestation| {
            let exchange = Exchange {
                session_id: *self.id(),
                sequence: pending.sequence,
                request_commitment: pending.commitment,
                result_commitment,
                receipt,
                audit_head,
                evidence,
                quoted: route.quoted,
            };
            let mut run = verify_execution(attestation, exchange, at)?;
            run.record = whole.map(|(keeping, answer)| {
                let times = (attestation.verdict().at(), at);
                let answer = (route.quoted, answer);
                Box::new(keeping.record(&route.path, pending, answer, times))
            });
            Ok::<_, Error>(run)
        });
        let attestation = attestation.transpose()?;
        Ok(Execution::new(
            pending,
            opened,
            result_commitment,
            attestation,
        ))
    }
}

impl Execution {
    /// What was opened and verified, with the output in one piece.
    pub(crate) fn new(
        pending: &PendingRequest,
        opened: OpenResponse,
        result_commitment: Commitment,
        attestation: Option<ExecutionAttestation>,
    ) -> Self {
        let OpenResponse {
            result,
            mut report,
            streamed: Output { stdout, stderr },
        } = opened;
        let in_answer = matches!(
            pending.operation,
            Operation::Setup | Operation::Execute | Operation::Evaluate
        );
        let (result, printed) = match in_answer {
            true => (result, stdout),
            false => (joined(stdout, result), Vec::new()),
        };
        report.stderr.0 = joined(stderr, report.stderr.0);
        Self {
            result,
            printed,
            report,
            sequence: pending.sequence,
            request_commitment: pending.commitment,
            result_commitment,
            attestation,
        }
    }
}

/// What came first, and what came with the answer.
pub(crate) fn joined(mut first: Vec<u8>, then: Vec<u8>) -> Vec<u8> {
    if first.is_empty() {
        return then;
    }
    first.extend(then);
    first
}
