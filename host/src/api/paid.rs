//! Paid requests: verify, run, settle, release; or settle first, where the operator says so. What the money does is in
//! `payments`; here is the order of the steps, and what each end of them answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use hypervisor_protocol::{ContentFormat, ExecuteResponse, PaymentReceipt, ProblemType};

use super::App;
use super::binary_http;
use super::body::{Received, answer, heavy};
use super::evidence::quote;
use super::execute::serves;
use super::moment::Moment;
use super::problem::ApiError;
use super::route::{self, Route};
use super::sold::{Sold, Task};
use crate::attestation::now;
use crate::executor::{
    AuthorizedPayment, ChallengeResponse, Charge, Header, Offer, ResourceInfo, Verification,
};
use crate::payments::{
    self, Answer, Begin, Outcome, PaymentFault, Payments, Record, State as Paid, StoreError,
    Teller, Turn,
};

/// What executions are, in a challenge.
const EXECUTION: &str = "A sealed execution in a confidential host";

/// `POST /x402_execute/test/wasm`.
pub(super) async fn wasm(State(app): State<Arc<App>>, r: Request) -> Result<Response, ApiError> {
    paid(app, route::PAID_WASM, r).await
}

/// `POST /x402_execute/verifiable/wasm`.
pub(super) async fn attested_wasm(
    State(app): State<Arc<App>>,
    r: Request,
) -> Result<Response, ApiError> {
    paid(app, route::PAID_ATTESTED_WASM, r).await
}

/// `POST /x402_policy/unsafe/python`.
pub(super) async fn python(State(app): State<Arc<App>>, r: Request) -> Result<Response, ApiError> {
    paid(app, route::PAID_PYTHON, r).await
}

/// `POST /x402_policy/unsafe/python/attest`.
pub(super) async fn attested_python(
    State(app): State<Arc<App>>,
    r: Request,
) -> Result<Response, ApiError> {
    paid(app, route::PAID_ATTESTED_PYTHON, r).await
}

/// Sells an execution.
async fn paid(app: Arc<App>, route: Route, request: Request) -> Result<Response, ApiError> {
    let payments = taking(&app)?;
    serves(&app, &route)?;
    let sale = Sale {
        info: payments.resource(&route.path, EXECUTION, request.headers()),
        offers: payments.offers(&route.path).into(),
        sold: Sold::Sealed(route),
    };
    sell(app, sale, request).await
}

/// The part that takes payments.
pub(super) fn taking(app: &App) -> Result<&Payments, ApiError> {
    app.payments.as_deref().ok_or_else(untaken)
}

fn untaken() -> ApiError {
    ApiError::new(
        ProblemType::PaymentsUnavailable,
        "this host takes no payments; its operator names a component in [payments]",
    )
}

/// What is sold, and for what.
pub(super) struct Sale {
    pub(super) info: ResourceInfo,
    pub(super) offers: Arc<[Offer]>,
    pub(super) sold: Sold,
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

/// Sells a request.
pub(super) async fn sell(
    app: Arc<App>,
    sale: Sale,
    request: Request,
) -> Result<Response, ApiError> {
    let payments = taking(&app)?;
    let moment = app.moment();
    let teller = moment.teller.clone().ok_or_else(untaken)?;
    let headers = payments::headers(request.headers());
    let Some(id) = teller.identify(&sale.offers, &headers).await? else {
        app.bodies.discard(request.into_body()).await;
        return match teller.verify(&sale.info, &sale.offers, &headers).await? {
            Verification::Refused(refusal) => to_response(refusal.challenge, Vec::new()),
            // An authorized payment without a name cannot be kept from being used twice.
            Verification::Authorized(_) => Err(PaymentFault::Component.into()),
        };
    };
    let key = payments::key(&id);
    let received = sale.sold.receive(&app, request).await?;
    let fingerprint = received.fingerprint(&sale.sold.target());
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
                    let job = Job::new(app, sale, moment, received, turn);
                    let outcome = detached(job).await;
                    return outcome.map_err(|error| error.with_headers(headers));
                }
                (Paid::Settled { headers, .. }, None) => {
                    return match payments.ledger().answer(&key)? {
                        Some(answer) => sale.sold.release(&app, answer, headers).await,
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
            None => match teller.verify(&sale.info, &sale.offers, &headers).await? {
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
                return detached(Job::new(app, sale, moment, received, *turn)).await;
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
    sale: Sale,
    moment: Moment,
    received: Received,
    turn: Turn,
}

impl Job {
    fn new(app: Arc<App>, sale: Sale, moment: Moment, received: Received, turn: Turn) -> Self {
        Self {
            app,
            sale,
            moment,
            received,
            turn,
        }
    }

    async fn work(self) -> Result<Response, ApiError> {
        let Self {
            app,
            sale,
            moment,
            received,
            mut turn,
        } = self;
        let payments = taking(&app)?;
        let teller = moment.teller.clone().ok_or_else(untaken)?;
        let slot = sale.sold.enter(&app).await?;
        let charge = charge(&turn.record().payment);
        let task = Task::begin(&app, &sale.sold, received, moment, charge).await?;

        if !task.will_run() && !is_settled(&turn) {
            // Refused before it ran: not charged, whatever the order of the steps.
            let answer = task.run(&app).await?.answer(&app, None)?;
            turn.release()?;
            return sale.sold.release(&app, answer, Vec::new()).await;
        }
        if payments.settle_first && !is_settled(&turn) {
            match settle(&teller, &mut turn, false).await? {
                Settled::Yes => {}
                Settled::No(headers) => return refuse(&teller, &sale, headers).await,
                Settled::Unknown => {
                    turn.conclude(Paid::Unknown, None)?;
                    payments.ledger().flush();
                    payments.doubts();
                    return Err(in_doubt());
                }
            }
        }
        let ran = task.run(&app).await?;
        drop(slot);
        if !is_settled(&turn) {
            if !ran.is_charged() {
                let answer = ran.answer(&app, None)?;
                turn.release()?;
                return sale.sold.release(&app, answer, Vec::new()).await;
            }
            match settle(&teller, &mut turn, true).await? {
                Settled::Yes => {}
                Settled::No(headers) => return refuse(&teller, &sale, headers).await,
                Settled::Unknown => {
                    let receipt = receipt(&turn.record().payment, None);
                    let answer = ran.answer(&app, Some(&receipt))?;
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
        let answer = ran.answer(&app, Some(&receipt))?;
        let state = Paid::Settled {
            transaction,
            headers: headers.clone(),
            ran: true,
        };
        turn.conclude(state, Some(&answer))?;
        payments.ledger().flush();
        // A quote that cannot be had now is asked for when the answer is fetched again.
        sale.sold.release(&app, answer, headers).await
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

async fn settle(teller: &Teller, turn: &mut Turn, ran: bool) -> Result<Settled, ApiError> {
    turn.settling()?;
    let payment = turn.record().payment.clone();
    match teller.settle(&payment).await {
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
async fn refuse(teller: &Teller, sale: &Sale, headers: Vec<Header>) -> Result<Response, ApiError> {
    let challenge = teller.challenge(&sale.info, &sale.offers).await?;
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

impl Sold {
    /// An answer that is paid for, or free. On an attested route it gets its quote here: the answer is kept without one.
    async fn release(
        &self,
        app: &App,
        kept: Answer,
        headers: Vec<(String, String)>,
    ) -> Result<Response, ApiError> {
        let mut response = match self {
            Self::Sealed(route) if route.attested => {
                let quoted = quoted(app, route, &kept).await;
                quoted.map_err(|error| error.with_headers(headers.clone()))?
            }
            _ if kept.media_type == binary_http::MEDIA_TYPE => {
                let (response, trailers) = binary_http::decode_response(&kept.body)
                    .ok_or_else(|| ApiError::internal("an answer that was kept is damaged"))?;
                response.map(|body| Body::new(binary_http::whole(body, trailers)))
            }
            _ => {
                let mut response = Response::new(Body::from(kept.body));
                if let Ok(media_type) = HeaderValue::from_str(&kept.media_type) {
                    response
                        .headers_mut()
                        .insert(header::CONTENT_TYPE, media_type);
                }
                response
            }
        };
        insert(&mut response, headers);
        Ok(response)
    }
}

async fn quoted(app: &App, route: &Route, kept: &Answer) -> Result<Response, ApiError> {
    let format = [ContentFormat::Json, ContentFormat::Cbor]
        .into_iter()
        .find(|format| format.media_type() == kept.media_type)
        .unwrap_or(ContentFormat::Json);
    let response: ExecuteResponse = heavy(kept.body.len(), || format.decode(&kept.body))
        .map_err(|_| ApiError::internal("an answer that was kept is damaged"))?;
    let response = quote(app, route, response).await?;
    heavy(kept.body.len(), || answer(format, &response))
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
