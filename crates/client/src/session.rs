//! An open session and the executions in it.

use hypervisor_protocol::{
    ClientSession, Commitment, ExecutePythonRequest, ExecuteResponse, ExecuteWasmRequest,
    OpenResponse, Operation, PendingRequest, Report, SealedRequest, SessionId,
};

use crate::attestation::{Exchange, ExecutionAttestation, SessionAttestation, verify_execution};
use crate::client::Client;
use crate::error::Error;
use crate::payment::{Payer, Payment, PaymentReceipt};

/// A session with a host: a key schedule of its own and a count of the requests made under it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    session: ClientSession,
    expires_at: u64,
    /// Where there is one, nothing is given out that the host did not attest.
    attestation: Option<Box<SessionAttestation>>,
}

/// A route, and whether it makes a quote over the result.
struct Route {
    path: &'static str,
    quoted: bool,
}

/// A program with its inputs, in plaintext on this side only.
#[derive(Clone)]
pub struct Program<'a> {
    bytes: &'a [u8],
    stdin: Option<&'a [u8]>,
    arguments: Vec<Vec<u8>>,
}

/// What came of an execution, verified: both commitments were recomputed from what this client sent and received, and the
/// sealed report names the same request.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The program's standard output.
    pub result: Vec<u8>,
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

impl<'a> Program<'a> {
    /// A component that exports `wasi:cli/run@0.2.x` or a preview 1 command module; for [`Session::run_python`], a script.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            stdin: None,
            arguments: Vec::new(),
        }
    }

    /// Adds an argument; the program sees them after its own name. WASI passes UTF-8 only.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item: Into<Vec<u8>>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets standard input; without it the program reads end of file.
    #[must_use]
    pub fn stdin(mut self, bytes: &'a [u8]) -> Self {
        self.stdin = Some(bytes);
        self
    }
}

impl Session {
    pub(crate) fn new(client: Client, session: ClientSession, expires_at: u64) -> Self {
        Self {
            client,
            session,
            expires_at,
            attestation: None,
        }
    }

    pub(crate) fn attested(mut self, attestation: SessionAttestation) -> Self {
        self.attestation = Some(Box::new(attestation));
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
    /// A program that fails is no error here: [`Report::exit`] says how it ended.
    ///
    /// # Errors
    /// In an attested session [`Error::Attestation`] when the receipt, or the quote over the result, is not of this run and
    /// this host. This route makes no such quote: there the receipt alone is verified.
    pub async fn run_wasm(&self, program: Program<'_>) -> Result<Execution, Error> {
        let route = Route {
            path: "test/execute/wasm",
            quoted: false,
        };
        let (request, pending) = self.seal_wasm(&program)?;
        let answer = self.client.post(route.path, &request).await?;
        self.open(&route, &pending, answer)
    }

    /// As [`Self::run_wasm`], for a Python script: UTF-8 text. An uncaught exception is exit code 1 with the traceback on
    /// standard error.
    pub async fn run_python(&self, script: Program<'_>) -> Result<Execution, Error> {
        let route = self.route(
            "test/policy/unsafe/python",
            "test/policy/unsafe/python/attest",
        );
        let (request, pending) = self.seal_python(&script)?;
        let answer = self.client.post(route.path, &request).await?;
        self.open(&route, &pending, answer)
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
        let (request, pending) = self.seal_wasm(&program)?;
        let answer = payer.post(&self.client, route.path, &request);
        self.open_paid(&route, &pending, answer.await?)
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
        let (request, pending) = self.seal_python(&script)?;
        let answer = payer.post(&self.client, route.path, &request);
        self.open_paid(&route, &pending, answer.await?)
    }

    /// An attested session takes the route with a quote over the result.
    fn route(&self, plain: &'static str, quoted: &'static str) -> Route {
        match self.attestation {
            None => Route {
                path: plain,
                quoted: false,
            },
            Some(_) => Route {
                path: quoted,
                quoted: true,
            },
        }
    }

    fn seal_wasm(
        &self,
        program: &Program<'_>,
    ) -> Result<(ExecuteWasmRequest, PendingRequest), Error> {
        let (request, pending) = self.seal(Operation::Wasm, program)?;
        let key = self.session.public_key();
        let request = ExecuteWasmRequest::new(key, *self.session.id(), request);
        Ok((request, pending))
    }

    fn seal_python(
        &self,
        script: &Program<'_>,
    ) -> Result<(ExecutePythonRequest, PendingRequest), Error> {
        let (request, pending) = self.seal(Operation::Python, script)?;
        let key = self.session.public_key();
        let request = ExecutePythonRequest::new(key, *self.session.id(), request);
        Ok((request, pending))
    }

    fn seal(
        &self,
        operation: Operation,
        program: &Program<'_>,
    ) -> Result<(SealedRequest, PendingRequest), Error> {
        let Program {
            bytes,
            stdin,
            arguments,
        } = program;
        self.session
            .seal_request(operation, bytes, *stdin, arguments)
            .map_err(Error::Protocol)
    }

    fn open(
        &self,
        route: &Route,
        pending: &PendingRequest,
        mut answer: ExecuteResponse,
    ) -> Result<Execution, Error> {
        let result_commitment = answer.result_commitment;
        let (receipt, evidence) = (answer.receipt.take(), answer.result_evidence.take());
        let OpenResponse { result, report } = self
            .session
            .open_response(pending, answer.into())
            .map_err(Error::Verification)?;
        let attestation = self.attestation.as_deref().map(|attestation| {
            let exchange = Exchange {
                session_id: *self.id(),
                sequence: pending.sequence,
                request_commitment: pending.commitment,
                result_commitment,
                receipt,
                evidence,
                quoted: route.quoted,
            };
            verify_execution(attestation, exchange)
        });
        Ok(Execution {
            result,
            report,
            sequence: pending.sequence,
            request_commitment: pending.commitment,
            result_commitment,
            attestation: attestation.transpose()?,
        })
    }

    fn open_paid(
        &self,
        route: &Route,
        pending: &PendingRequest,
        (answer, payment): (ExecuteResponse, Payment),
    ) -> Result<PaidExecution, Error> {
        match self.open(route, pending, answer) {
            Ok(execution) => Ok(PaidExecution {
                payment: payment.checked(&execution.report),
                execution,
            }),
            Err(error) => Err(payment.taint(error)),
        }
    }
}
