//! Paid requests: which payment one carries, what is known of it, and whether it is worked on, waited for or refused. What the
//! money does is in `payments`; the order of the steps once a payment is authorized is in `paid_job`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hypervisor_protocol::ProblemType;

use super::App;
use super::execute::serves;
use super::paid_answer::to_response;
use super::paid_job::{Job, detached};
use super::problem::ApiError;
use super::route::{self, Route};
use super::sold::Sold;
use crate::attestation::now;
use crate::executor::{Offer, ResourceInfo, Verification};
use crate::payments::{self, Begin, PaymentFault, Payments, Record, State as Paid, StoreError};

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

pub(super) fn untaken() -> ApiError {
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

pub(super) fn in_doubt() -> ApiError {
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
