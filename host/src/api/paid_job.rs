//! A paid request whose payment is authorized: run, settle, release; or settle first, where the operator says so. Here is the
//! order of the steps, and what each end of them answers.

use std::sync::Arc;

use axum::response::Response;
use hypervisor_protocol::PaymentReceipt;

use super::App;
use super::body::Received;
use super::moment::Moment;
use super::paid::{Sale, in_doubt, taking, untaken};
use super::paid_answer::to_response;
use super::problem::ApiError;
use super::sold::Task;
use crate::executor::{AuthorizedPayment, Charge, Header};
use crate::payments::{Outcome, State as Paid, Teller, Turn};

/// Does the job whether or not the client stays: once money may move, the books are closed first.
pub(super) async fn detached(job: Job) -> Result<Response, ApiError> {
    tokio::spawn(job.work())
        .await
        .map_err(|_| ApiError::internal("a paid request was lost"))?
}

/// One paid request with the turn on its payment.
pub(super) struct Job {
    app: Arc<App>,
    sale: Sale,
    moment: Moment,
    received: Received,
    turn: Turn,
}

impl Job {
    pub(super) fn new(
        app: Arc<App>,
        sale: Sale,
        moment: Moment,
        received: Received,
        turn: Turn,
    ) -> Self {
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
