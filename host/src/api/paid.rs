//! Paid routes: verify, run, settle, release; or settle first, where the operator says so. What the money does is in
//! `payments`; here is the order of the steps, and what each end of them answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use hypervisor_protocol::{ExecuteResponse, PaymentReceipt, ProblemType};

use super::App;
use super::body::{Received, heavy};
use super::evidence::attach;
use super::execute::{Ran, decode, open, serves};
use super::problem::ApiError;
use super::route::{self, Route};
use crate::attestation::now;
use crate::executor::{
    AuthorizedPayment, ChallengeResponse, Charge, Header, ResourceInfo, Verification,
};
use crate::payments::{
    self, Answer, Begin, Outcome, PaymentFault, Payments, Record, State as Paid, StoreError, Turn,
};

/// `POST /x402_execute/test/wasm`.
pub(super) async fn wasm(State(app): State<Arc<App>>, r: Request) -> Result<Response, ApiError> {
    paid(app, &route::PAID_WASM, r).await
}

/// `POST /x402_execute/verifiable/wasm`.
pub(super) async fn attested_wasm(
    State(app): State<Arc<App>>,
    r: Request,
) -> Result<Response, ApiError> {
    paid(app, &route::PAID_ATTESTED_WASM, r).await
}

/// `POST /x402_policy/unsafe/python`.
pub(super) async fn python(State(app): State<Arc<App>>, r: Request) -> Result<Response, ApiError> {
    paid(app, &route::PAID_PYTHON, r).await
}

/// `POST /x402_policy/unsafe/python/attest`.
pub(super) async fn attested_python(
    State(app): State<Arc<App>>,
    r: Request,
) -> Result<Response, ApiError> {
    paid(app, &route::PAID_ATTESTED_PYTHON, r).await
}

impl From<PaymentFault> for ApiError {
    fn from(fault: PaymentFault) -> Self {
        match fault {
            PaymentFault::Store(error) => error.into(),
            PaymentFault::Unavailable | PaymentFault::Unanswered(_) | PaymentFault::Component => {
                Self::new(
                    ProblemType::PaymentUnverified,
                    "the payment was neither accepted nor refused, and not charged; send it again",
                )
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error.to_string())
    }
}

fn in_doubt() -> ApiError {
    ApiError::new(
        ProblemType::SettlementUnknown,
        "the payment may have been made: send the same request with the same payment again, not a new payment",
    )
}

async fn paid(
    app: Arc<App>,
    route: &'static Route,
    request: Request,
) -> Result<Response, ApiError> {
    let payments = app.payments.as_ref().ok_or_else(|| {
        ApiError::new(
            ProblemType::PaymentsUnavailable,
            "this host takes no payments; its operator names a component in [payments]",
        )
    })?;
    serves(&app, route)?;
    let info = payments.resource(route.path, request.headers());
    let headers = payments::headers(request.headers());
    let Some(id) = payments.identify(route.path, &headers).await? else {
        app.bodies.discard(request.into_body()).await;
        return match payments.verify(&info, route.path, &headers).await? {
            Verification::Refused(refusal) => to_response(refusal.challenge, Vec::new()),
            // An authorized payment without a name cannot be kept from being used twice.
            Verification::Authorized(_) => Err(PaymentFault::Component.into()),
        };
    };
    let key = payments::key(&id);
    let received = app.bodies.receive(request).await?;
    let fingerprint = received.fingerprint(route.path);
    let mut payment = None;
    loop {
        // What is known of the payment goes before asking anyone: a facilitator would refuse one that was settled.
        if let Some((record, busy)) = payments.ledger().look(&key)? {
            if record.request != fingerprint {
                return Err(ApiError::new(
                    ProblemType::PaymentReused,
                    "this payment was sent with another request; each payment pays for one",
                ));
            }
            match (record.state, busy) {
                (_, Some(mut busy)) => {
                    // Ends when the other request is done with it.
                    while busy.changed().await.is_ok() {}
                    continue;
                }
                (
                    Paid::Settled {
                        headers,
                        ran: false,
                        ..
                    },
                    None,
                ) => {
                    let Some(turn) = payments.ledger().resume(&key)? else {
                        continue;
                    };
                    let job = Job::new(&app, route, received, info, turn);
                    let outcome = detached(job).await;
                    return outcome.map_err(|error| error.with_headers(headers));
                }
                (Paid::Settled { headers, .. }, None) => {
                    return match payments.ledger().answer(&key)? {
                        Some(answer) => Ok(release(answer, headers)),
                        None => Err(ApiError::new(
                            ProblemType::AnswerGone,
                            "the payment was made and its answer is no longer held; the receipt is in the headers",
                        )
                        .with_headers(headers)),
                    };
                }
                (Paid::Settling | Paid::Unknown, None) => {
                    payments.reconcile(&key).await?;
                    if let Some((record, None)) = payments.ledger().look(&key)?
                        && matches!(record.state, Paid::Settling | Paid::Unknown)
                    {
                        return Err(in_doubt());
                    }
                    continue;
                }
                // Whoever set it aside frees it before the turn ends.
                (Paid::Reserved, None) => {
                    return Err(ApiError::internal("a payment is set aside for nobody"));
                }
            }
        }
        let authorized = match payment.take() {
            Some(authorized) => authorized,
            None => match payments.verify(&info, route.path, &headers).await? {
                Verification::Refused(refusal) => {
                    return to_response(refusal.challenge, Vec::new());
                }
                Verification::Authorized(authorized) if authorized.id == id => authorized,
                Verification::Authorized(_) => return Err(PaymentFault::Component.into()),
            },
        };
        let record = Record {
            state: Paid::Reserved,
            request: fingerprint,
            created: now(),
            payment: authorized.clone(),
        };
        match payments.ledger().begin(key, record)? {
            Begin::New(turn) => {
                return detached(Job::new(&app, route, received, info, *turn)).await;
            }
            // Somebody was faster: on to what came of it.
            Begin::Taken => payment = Some(authorized),
        }
    }
}

/// Does the job whether or not the client stays: once money may move, the books are closed first.
async fn detached(job: Job) -> Result<Response, ApiError> {
    tokio::spawn(job.work())
        .await
        .map_err(|_| ApiError::internal("a paid request was lost"))?
}

/// One paid request with the turn on its payment.
struct Job {
    app: Arc<App>,
    route: &'static Route,
    received: Received,
    info: ResourceInfo,
    turn: Turn,
}

impl Job {
    fn new(
        app: &Arc<App>,
        route: &'static Route,
        received: Received,
        info: ResourceInfo,
        turn: Turn,
    ) -> Self {
        Self {
            app: Arc::clone(app),
            route,
            received,
            info,
            turn,
        }
    }

    async fn work(self) -> Result<Response, ApiError> {
        let Self {
            app,
            route,
            received,
            info,
            mut turn,
        } = self;
        let payments = app
            .payments
            .as_ref()
            .ok_or_else(|| ApiError::internal("no payments"))?;
        let slot = app.admission.enter().await?;
        let media_type = received.format.media_type();
        let (call, request, _share, format) = decode(&app, route, received)?;
        let opened = open(&app, call, request).await?;
        let charge = charge(&turn.record().payment);
        let admitted = opened.admit(&app, Some(charge)).await?;

        let seal = async |ran: Ran, receipt: Option<PaymentReceipt>| -> Result<Answer, ApiError> {
            let sequence = ran.sequence();
            let mut response: ExecuteResponse = ran.seal(receipt.clone())?;
            attach(&app, route, sequence, receipt.as_ref(), &mut response).await?;
            let body = heavy(response.encrypted_result.0.len(), || {
                format.encode(&response)
            });
            Ok(Answer {
                media_type: media_type.to_owned(),
                body: body.map_err(|_| ApiError::internal("encoding an answer"))?,
            })
        };

        if !admitted.will_run() && !is_settled(&turn) {
            // Refused before it ran: not charged, whatever the order of the steps.
            let answer = seal(admitted.run(&app).await, None).await?;
            turn.release()?;
            return Ok(release(answer, Vec::new()));
        }
        if payments.settle_first && !is_settled(&turn) {
            match settle(payments, &mut turn, false).await? {
                Settled::Yes => {}
                Settled::No(headers) => return refuse(payments, &info, route, headers).await,
                Settled::Unknown => {
                    turn.conclude(Paid::Unknown, None)?;
                    payments.ledger().flush();
                    payments.doubts();
                    return Err(in_doubt());
                }
            }
        }
        let ran = admitted.run(&app).await;
        drop(slot);
        if !is_settled(&turn) {
            if !ran.is_charged() {
                let answer = seal(ran, None).await?;
                turn.release()?;
                return Ok(release(answer, Vec::new()));
            }
            match settle(payments, &mut turn, true).await? {
                Settled::Yes => {}
                Settled::No(headers) => return refuse(payments, &info, route, headers).await,
                Settled::Unknown => {
                    let receipt = receipt(&turn.record().payment, None);
                    let answer = seal(ran, Some(receipt)).await?;
                    turn.conclude(Paid::Unknown, Some(&answer))?;
                    payments.ledger().flush();
                    payments.doubts();
                    return Err(in_doubt());
                }
            }
        }
        let Paid::Settled {
            transaction,
            headers,
            ..
        } = turn.record().state.clone()
        else {
            return Err(ApiError::internal("a payment neither settled nor in doubt"));
        };
        let receipt = receipt(&turn.record().payment, Some(transaction.clone()));
        let answer = seal(ran, Some(receipt)).await?;
        let state = Paid::Settled {
            transaction,
            headers: headers.clone(),
            ran: true,
        };
        turn.conclude(state, Some(&answer))?;
        payments.ledger().flush();
        Ok(release(answer, headers))
    }
}

fn is_settled(turn: &Turn) -> bool {
    matches!(turn.record().state, Paid::Settled { .. })
}

/// How a settlement ended for the job.
enum Settled {
    Yes,
    No(Vec<Header>),
    Unknown,
}

async fn settle(payments: &Payments, turn: &mut Turn, ran: bool) -> Result<Settled, ApiError> {
    turn.settling()?;
    let payment = turn.record().payment.clone();
    match payments.settle(&payment).await {
        Outcome::Settled {
            transaction,
            headers,
        } => {
            let state = Paid::Settled {
                transaction,
                headers,
                ran,
            };
            turn.conclude(state, None)?;
            Ok(Settled::Yes)
        }
        Outcome::Failed { headers } => {
            turn.release()?;
            Ok(Settled::No(headers))
        }
        Outcome::Unknown(payment) => {
            turn.set_payment(*payment);
            Ok(Settled::Unknown)
        }
    }
}

/// The 402 after a settlement that failed, with the headers that say why.
async fn refuse(
    payments: &Payments,
    info: &ResourceInfo,
    route: &Route,
    headers: Vec<Header>,
) -> Result<Response, ApiError> {
    let challenge = payments.challenge(info, route.path).await?;
    to_response(challenge, headers)
}

fn charge(payment: &AuthorizedPayment) -> Charge {
    Charge {
        chain: payment.id.chain.clone(),
        asset: payment.id.asset.clone(),
        payer: payment.id.payer.clone(),
        amount: payment.amount.clone(),
    }
}

fn receipt(payment: &AuthorizedPayment, transaction: Option<String>) -> PaymentReceipt {
    PaymentReceipt {
        network: payment.id.chain.clone(),
        asset: payment.id.asset.clone(),
        payer: payment.id.payer.clone(),
        pay_to: payment.pay_to.clone(),
        amount: payment.amount.clone(),
        nonce: payment.id.nonce.clone(),
        transaction,
    }
}

/// A component's response, with more headers.
fn to_response(challenge: ChallengeResponse, more: Vec<Header>) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(challenge.status)
        .ok()
        .filter(|status| status.is_client_error())
        .ok_or_else(|| ApiError::from(PaymentFault::Component))?;
    let mut response = Response::new(Body::from(challenge.body));
    *response.status_mut() = status;
    let fields = payments::pairs(challenge.headers.into_iter().chain(more).collect());
    insert(&mut response, fields);
    Ok(response)
}

/// An answer that is paid for, or free.
fn release(answer: Answer, headers: Vec<(String, String)>) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    if let Ok(media_type) = HeaderValue::from_str(&answer.media_type) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
    }
    insert(&mut response, headers);
    response
}

/// Adds a component's header fields; those that are no HTTP fields, or are the connection's own, are left out. Nothing here
/// may be kept by a cache.
pub(super) fn insert(response: &mut Response, fields: Vec<(String, String)>) {
    const NOT_THEIRS: [HeaderName; 4] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
    ];
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) && !NOT_THEIRS.contains(&name)
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
