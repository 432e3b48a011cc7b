//! The way of sealed requests: executions, scripts, calls of agents, and management by their owners.

pub(crate) mod decode;
mod live;
mod prepare;

use std::sync::Arc;

use bytes::Bytes;
use hypervisor_account::{Share, Slot};
use hypervisor_protocol::metered::{Budget, Metered, Used};
use hypervisor_protocol::{
    Claim, Commitment, ContentFormat, ExecuteResponse, HexBytes, HostSession, OpenRequest,
    Operation, PaymentReceipt, PolicyDecision, ProblemType, PublicKey, Report, Stream,
};
use hypervisor_telemetry::metrics::{self, Step};

use super::authorize::{ask, denial};
use super::body::{Received, heavy};
use super::route::Route;
use super::work::{Done, Work};
use super::{Call, Fields, Host, Input, Kept, Refusal, Target, Way};
use crate::audit;
use crate::executor::{Charge, Exit, Outcome, micros};
use crate::fleet::Tag;
use hypervisor_agents::Owner;
use hypervisor_environments::Undo;

use live::Flown;
use prepare::{Ready, action, prepare};

pub(crate) use live::{Live, Part, Parts};

/// A sealed request.
pub(crate) struct Sealed {
    pub(crate) route: Route,
    /// The form of the request's body and of its answer.
    pub(crate) format: ContentFormat,
    /// The agent that the path names.
    pub(crate) target: Option<Target>,
    /// A caller who asked for output as it is written.
    pub(crate) live: Option<Live>,
}

/// A request that authenticated.
pub(crate) struct Opened {
    exchange: Exchange,
    request: OpenRequest,
    /// The body's part of the account: what was opened is as large.
    share: Share,
}

/// What the later steps have to know of the request.
struct Exchange {
    session: Arc<HostSession>,
    /// The owner that the client speaks for, proved for this session.
    owner: Option<PublicKey>,
    arguments: u32,
    commitment: Commitment,
}

impl Exchange {
    fn owner(&self) -> Option<Owner> {
        self.owner.as_ref().map(Owner::from)
    }
}

/// A request whose sequence is used: an answer will be sealed.
pub(crate) struct Authorized {
    exchange: Exchange,
    claim: Claim,
    digest: [u8; 32],
    work: Result<Work, Exit>,
    policy: Option<PolicyDecision>,
    received: u64,
    share: Share,
}

/// A request that was done, or kept from it.
pub(crate) struct Ran {
    exchange: Exchange,
    claim: Claim,
    digest: [u8; 32],
    policy: Option<PolicyDecision>,
    /// Bytes of what was asked for.
    received: u64,
    done: Done,
    flown: Flown,
    metered: Option<Metered>,
}

/// A sealed answer.
pub(crate) struct Answer {
    pub(crate) response: ExecuteResponse,
    /// The request's, for the receipt; of an answer that was kept, which has its receipt, 0.
    sequence: u64,
    /// Covers the answer from here until it is sent.
    pub(crate) share: Share,
    format: ContentFormat,
    /// What takes back what it left, should it not be paid.
    undo: Option<Undo>,
}

impl Sealed {
    /// Refuses a route for which this host lacks a part.
    pub(crate) fn serves(&self, host: &Host) -> Result<(), Refusal> {
        if let Some(language) = self
            .route
            .language()
            .filter(|it| !host.executor().runs(*it))
        {
            return Err(Refusal::new(
                ProblemType::ScriptsUnavailable,
                format!(
                    "this host has no script engine for this language; its operator names one in [runtime.{language}]"
                ),
            ));
        }
        let is_sold = self.route.is_paid() && self.route.needs_environments();
        if is_sold && host.environments().is_none() {
            return Err(Refusal::new(
                ProblemType::ScriptsUnavailable,
                "this host's operator lets nobody use environments; [environments] `setup` and `owners` say who may",
            ));
        }
        if self.route.attested {
            host.attestation()?;
        }
        Ok(())
    }
}

impl Way for Sealed {
    type Received = Received;
    type Opened = Opened;
    type Ready = Authorized;
    type Ran = Ran;
    type Answer = Answer;

    async fn receive(call: &Call<Self>, host: &Host, input: Input) -> Result<Received, Refusal> {
        host.bodies().receive(&call.party, input).await
    }

    fn fingerprint(call: &Call<Self>, received: &Received) -> [u8; 32] {
        received.fingerprint(&call.way.route.path, call.way.format.media_type())
    }

    fn route(call: &Call<Self>) -> (String, bool) {
        (call.way.route.path.to_string(), true)
    }

    fn open(call: &Call<Self>, host: &Host, received: Received) -> Result<Opened, Refusal> {
        let _opening = metrics::timed(Step::Open);
        let decoded = decode::decode(host, &call.way, received)?;
        let (session, request) = (decoded.session, decoded.request);
        let arguments = decode::argument_count(host, &request)?;
        if session.window_contains(request.sequence) {
            return Err(hypervisor_protocol::Error::Replayed {
                sequence: request.sequence,
            }
            .into());
        }
        let bytes = request
            .program
            .len()
            .saturating_add(request.stdin.as_ref().map_or(0, Vec::len));
        let request = heavy(bytes, || {
            session.open_request(call.way.route.operation, request)
        })?;
        Ok(Opened {
            exchange: Exchange {
                session,
                owner: decoded.owner,
                arguments,
                commitment: request.commitment,
            },
            request,
            share: decoded.share,
        })
    }

    /// Work that cannot be done uses its sequence too: the reason is sealed, and a sealed answer needs a fresh nonce.
    async fn authorize(
        call: &Call<Self>,
        host: &Host,
        opened: Opened,
        charge: Option<Charge>,
    ) -> Result<Authorized, Refusal> {
        let Opened {
            exchange,
            request,
            share,
        } = opened;
        let sequence = request.sequence;
        let is_paid = charge.is_some();
        let Ready {
            work,
            digest,
            sizes,
        } = prepare(call, host, &exchange, request, is_paid).await?;
        let claim = exchange.session.claim(sequence)?;
        let mut policy = None;
        let work = match work {
            Ok(work) => {
                if work.is_subject_to_policy() {
                    let asked = || action(call, host, &exchange, &work, (&digest, sizes), charge);
                    policy = ask(host, &call.snapshot, asked).await?;
                }
                match denial(policy.as_ref()) {
                    None => Ok(work),
                    Some(reason) => Err(Exit::Denied { reason }),
                }
            }
            Err(exit) => Err(exit),
        };
        Ok(Authorized {
            exchange,
            claim,
            digest,
            work,
            policy,
            received: sizes.total(),
            share,
        })
    }

    fn manages(call: &Call<Self>) -> bool {
        let operation = call.way.route.operation;
        matches!(
            operation,
            Operation::Remove
                | Operation::List
                | Operation::Logs
                | Operation::Fork
                | Operation::Extend
                | Operation::EnvironmentList
                | Operation::EnvironmentLog
                | Operation::EnvironmentRemove
        )
    }

    fn cleared(call: &mut Call<Self>, fields: Fields, is_paid: bool) {
        if let Some(live) = &mut call.way.live {
            live.clear(&call.party, fields, is_paid);
        }
    }

    fn give_back(ready: Authorized) {
        ready.claim.give_back();
    }

    fn will_run(ready: &Authorized) -> bool {
        ready.work.is_ok()
    }

    async fn run(
        call: &mut Call<Self>,
        host: &Arc<Host>,
        ready: Authorized,
        slot: Slot,
    ) -> Result<Ran, Refusal> {
        let Authorized {
            exchange,
            mut claim,
            digest,
            work,
            policy,
            received,
            share: _share,
        } = ready;
        let flow = call.way.live.take().and_then(Live::flow);
        let (done, flown) = match work {
            Ok(work) => {
                let budget = call.sale.as_ref().and_then(|sale| sale.budget.clone());
                let budget = budget.map(|budget| Budget { received, ..budget });
                let work = work.within(budget);
                match flow {
                    None => {
                        let done = work.perform(host, call, None, slot).await?;
                        (done, Flown::default())
                    }
                    Some(flow) => {
                        let operation = call.way.route.operation;
                        let Exchange {
                            arguments,
                            commitment,
                            ..
                        } = &exchange;
                        let seal = |stream: Stream, output: &[u8]| {
                            let output = (stream, output);
                            let sealed =
                                claim.seal_chunk(operation, *arguments, commitment, output);
                            sealed.map_err(Refusal::from)
                        };
                        let work = work.perform(host, call, Some(flow.tap.clone()), slot);
                        Box::pin(flow.during(work, seal)).await?
                    }
                }
            }
            Err(exit) => (Outcome::not_run(exit).into(), Flown::default()),
        };
        metrics::request(call.way.route.operation, &done.outcome, received);
        log_limit(&done.outcome.exit);
        Ok(Ran {
            exchange,
            claim,
            digest,
            policy,
            received,
            done,
            flown,
            metered: None,
        })
    }

    fn is_charged(call: &Call<Self>, ran: &Ran, always: bool) -> bool {
        ran.done.is_charged || (always && call.way.route.brings_program() && ran.done.has_run())
    }

    fn used(ran: &Ran) -> Option<Used> {
        let outcome = &ran.done.outcome;
        let sent = outcome.stdout.len().saturating_add(outcome.stderr.len());
        Some(Used {
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            traffic_bytes: (ran.received)
                .saturating_add(sent as u64)
                .saturating_add(ran.flown.bytes),
            stored_byte_seconds: ran.done.stored,
        })
    }

    fn metered(ran: Ran, metered: Metered) -> Ran {
        Ran {
            metered: Some(metered),
            ..ran
        }
    }

    /// The program's owner pays by how it ends: what it wrote by then is not given away, nor anything that it could speak by.
    fn uncharged(call: &Call<Self>, ran: Ran) -> Ran {
        if call.way.route.brings_program() {
            let done = ran.done.bare();
            Ran { done, ..ran }
        } else {
            ran
        }
    }

    fn seal(
        call: &Call<Self>,
        host: &Host,
        ran: Ran,
        payment: Option<&PaymentReceipt>,
    ) -> Result<Answer, Refusal> {
        let _sealing = metrics::timed(Step::Seal);
        let Ran {
            exchange,
            claim,
            digest,
            policy,
            done,
            flown,
            metered,
            ..
        } = ran;
        let (outcome, undo, sequence) = (done.outcome, done.undo, claim.sequence());
        let report = Report {
            exit: outcome.exit,
            stderr: HexBytes(outcome.stderr),
            stdout_truncated: outcome.stdout_truncated,
            stderr_truncated: outcome.stderr_truncated,
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            policy,
            payment: payment.cloned(),
            metered,
            streamed: claim.streamed(),
            ..Report::with_digest(digest, exchange.commitment)
        }
        .encode()?;
        let result = outcome.stdout;
        let mut share = call.party.share();
        // An answer that is paid for is kept, and is there when the caller has room for it.
        if payment.is_none() {
            share.cover(result.len().saturating_add(report.len()))?;
        }
        let id = *claim.session().id();
        let sealed = heavy(result.len(), || {
            claim.seal_response(
                call.way.route.operation,
                exchange.arguments,
                &exchange.commitment,
                result,
                report,
            )
        })?;
        let response = ExecuteResponse {
            encrypted_chunks: flown.chunks,
            audit_head: host.trail().map(|it| it.published().text.to_string()),
            ..ExecuteResponse::new(id, sealed)
        };
        let mut answer = Answer {
            response,
            sequence,
            share,
            format: call.way.format,
            undo,
        };
        answer.sign(call, host, payment)?;
        Ok(answer)
    }

    fn receipt(
        call: &Call<Self>,
        host: &Host,
        answer: &mut Answer,
        payment: &PaymentReceipt,
    ) -> bool {
        let signed = answer.sign(call, host, Some(payment));
        signed.is_ok() && answer.response.receipt.is_some()
    }

    fn undo(answer: Answer) {
        if let Some(Err(error)) = answer.undo.map(Undo::run) {
            tracing::error!(%error, "what was not paid for stays in an environment");
        }
    }

    fn keep(answer: &Answer) -> Result<Kept, Refusal> {
        Ok(Kept {
            media_type: answer.format.media_type().to_owned(),
            body: HexBytes(answer.encode()?),
        })
    }

    fn recall(call: &Call<Self>, kept: Kept) -> Result<Answer, Refusal> {
        let format = [ContentFormat::Json, ContentFormat::Cbor]
            .into_iter()
            .find(|format| format.media_type() == kept.media_type)
            .unwrap_or(ContentFormat::Json);
        let mut share = call.party.share();
        let body = kept.body.0;
        share.cover(body.len())?;
        let response = heavy(body.len(), || format.decode(&body))
            .map_err(|_| Refusal::internal("an answer that was kept is damaged"))?;
        Ok(Answer {
            response,
            sequence: 0,
            share,
            format,
            undo: None,
        })
    }

    /// Adds the quote over a batch with this result in it. The answer is kept without one: it can be quoted later.
    async fn attest(call: &Call<Self>, host: &Host, mut answer: Answer) -> Result<Answer, Refusal> {
        let response = &mut answer.response;
        // Here passes every answer that goes out, also one that was kept when the host was killed before its entry was written.
        host.did(&audit::Done::Answered(response.result_commitment.0));
        // A host quotes nothing that another one ran, which its fleet kept.
        let is_own =
            (host.fleet()).is_none_or(|it| it.tag() == Tag::of(response.session_id.as_bytes()));
        if call.way.route.attested && response.result_quote.is_none() && is_own {
            let receipt = response.receipt.as_ref().map(AsRef::as_ref);
            let quoting = metrics::timed(Step::Quote);
            let evidence = host
                .attestation()?
                .result(response.result_commitment, receipt)
                .await?;
            drop(quoting);
            let encoded = evidence
                .encode(ContentFormat::Cbor)
                .map_err(|e| Refusal::internal(e.to_string()))?;
            response.result_quote = Some(HexBytes(evidence.quote().to_vec()));
            response.result_evidence = Some(HexBytes(encoded));
        }
        Ok(answer)
    }

    fn is_quoted(answer: &Answer) -> bool {
        answer.response.result_quote.is_some()
    }
}

impl Answer {
    /// Signs the receipt, where this host has an identity to sign with.
    fn sign(
        &mut self,
        call: &Call<Sealed>,
        host: &Host,
        payment: Option<&PaymentReceipt>,
    ) -> Result<(), Refusal> {
        if let (Ok(attestation), Some(manifest)) = (host.attestation(), &call.snapshot.manifest) {
            let receipt = attestation
                .receipt(&self.response, self.sequence, payment, manifest)
                .map_err(|e| Refusal::internal(e.to_string()))?;
            self.response.receipt = Some(HexBytes(receipt));
        }
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, Refusal> {
        heavy(self.response.encrypted_result.0.len(), || {
            self.format.encode(&self.response)
        })
        .map_err(|_| Refusal::internal("encoding an answer"))
    }

    /// The last item of a streamed answer. It has the chunks that are kept with it, unless they went out before it.
    pub(crate) fn into_last_item(mut self, is_sent: bool) -> Result<Bytes, Refusal> {
        self.format = ContentFormat::Cbor;
        if is_sent {
            self.response.encrypted_chunks.clear();
        }
        self.into_body().map(|(body, _)| body)
    }

    /// The answer's body and its format. The body is in the account until it is sent.
    pub(crate) fn into_body(self) -> Result<(Bytes, ContentFormat), Refusal> {
        let bytes = self.encode()?;
        let Self {
            mut share, format, ..
        } = self;
        share.cover(bytes.len())?;
        Ok((share.around(bytes), format))
    }
}

/// Operators need to see which limits are hit; how other executions end is between the program and its client.
fn log_limit(exit: &Exit) {
    if let Exit::Limit {
        which,
        used,
        allowed,
    } = exit
    {
        metrics::limit_reached(*which);
        tracing::info!(limit = ?which, used, allowed, "an execution was stopped at a limit");
    }
}
