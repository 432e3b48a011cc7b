//! Charging: which payment a call brings, what is known of it, and when money moves.
//!
//! In the order of the pipeline: [`identify`] names the payment, [`recall`] asks the ledger whether it was used, [`charge`] has
//! it verified and sets it aside, [`before`] settles it where the operator wants to be paid first, [`settle`] settles it when
//! the work has ended. A call without a price passes all five untouched.

use std::sync::Arc;

use http::HeaderMap;
use hypervisor_protocol::{PaymentReceipt, ProblemType};

use super::{Call, Fields, Host, Input, Refusal, Way};
use crate::agents::Deployed;
use crate::attestation::now;
use crate::executor::{Charge, Header, Offer, ResourceInfo};
use crate::payments::{
    self, Answer as Kept, Claim, Outcome, Payment, PaymentFault, PaymentId, Payments, Record,
    State, Teller, Turn, Verified,
};

/// What a call costs, and what the caller sent to pay for it.
pub(crate) struct Sale {
    pub(crate) info: ResourceInfo,
    pub(crate) offers: Arc<[Offer]>,
    /// The header fields of the request.
    pub(crate) headers: Vec<Header>,
}

impl Sale {
    /// What a call of an agent costs; none where it is free.
    pub(crate) fn of_agent(
        host: &Host,
        agent: &Deployed,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Refusal> {
        let Some(offers) = agent.offers() else {
            return Ok(None);
        };
        Ok(Some(Self {
            info: taking(host)?.resource(path, agent.description(), headers),
            offers: Arc::clone(offers),
            headers: payments::headers(headers),
        }))
    }
}

/// What a call owes.
pub(super) enum Bill {
    /// Nothing.
    Free,
    /// The payment was not looked at yet.
    Unverified { id: PaymentId, request: [u8; 32] },
    /// The payment is this call's alone, and not settled.
    Reserved(Box<Turn>),
    /// It was settled, and nothing has run for it.
    Settled(Box<Turn>),
}

/// What the ledger says.
pub(super) enum Recalled {
    /// The call is to be worked on.
    Due(Bill),
    /// It was, and this came of it, with the payment's header fields.
    Answered(Kept, Fields),
}

impl Bill {
    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    fn turn(&self) -> Option<&Turn> {
        match self {
            Self::Reserved(turn) | Self::Settled(turn) => Some(turn),
            Self::Free | Self::Unverified { .. } => None,
        }
    }

    /// What is paid, as the policy sees it.
    pub(super) fn charge(&self) -> Option<Charge> {
        let payment = self.turn()?.payment();
        Some(Charge {
            chain: payment.id.chain.clone(),
            asset: payment.id.asset.clone(),
            payer: payment.id.payer.clone(),
            amount: payment.amount.clone(),
        })
    }

    /// A refusal with the receipt of what was paid by then.
    pub(super) fn explain(&self, refusal: Refusal) -> Refusal {
        match self.turn().and_then(Turn::settled) {
            Some((_, fields)) => refusal.with_fields(fields.clone()),
            None => refusal,
        }
    }
}

fn taking(host: &Host) -> Result<&Payments, Refusal> {
    host.payments().ok_or_else(Refusal::takes_no_payments)
}

fn teller<W>(call: &Call<W>) -> Result<&Teller, Refusal> {
    call.snapshot
        .teller
        .as_ref()
        .ok_or_else(Refusal::takes_no_payments)
}

/// Finds out which payment a call brings. One that brings none is answered with what it costs, whatever else it brings.
pub(super) async fn identify<W: Way>(
    host: &Host,
    call: &Call<W>,
    input: Input,
) -> Result<(Option<PaymentId>, Input), Refusal> {
    let Some(sale) = &call.sale else {
        return Ok((None, input));
    };
    let teller = teller(call)?;
    let identified = {
        let _turn = host.account().plugin().await?;
        teller.identify(&sale.offers, &sale.headers).await?
    };
    if let Some(id) = identified {
        return Ok((Some(id), input));
    }
    host.bodies().discard(input).await;
    let _turn = host.account().plugin().await?;
    match teller
        .verify(&sale.info, &sale.offers, &sale.headers)
        .await?
    {
        Verified::Refused(challenge) => Err(Refusal::Challenge(challenge, Vec::new())),
        // An authorized payment without a name cannot be kept from being used twice.
        Verified::Authorized(_) => Err(PaymentFault::Component.into()),
    }
}

/// What the ledger knows of the payment. This goes before asking anyone: a facilitator would refuse one that was settled.
pub(super) async fn recall<W: Way>(
    host: &Host,
    call: &Call<W>,
    payment: Option<(PaymentId, [u8; 32])>,
) -> Result<Recalled, Refusal> {
    match payment {
        None => Ok(Recalled::Due(Bill::Free)),
        Some((id, request)) => claim(host, call, id, request).await,
    }
}

async fn claim<W: Way>(
    host: &Host,
    call: &Call<W>,
    id: PaymentId,
    request: [u8; 32],
) -> Result<Recalled, Refusal> {
    let payments = taking(host)?;
    let key = payments::key(&id);
    let mut reconciled = false;
    loop {
        return match payments.ledger().claim(&key, &request).await? {
            Claim::New => Ok(Recalled::Due(Bill::Unverified { id, request })),
            Claim::Rerun(turn) => Ok(Recalled::Due(Bill::Settled(turn))),
            Claim::Answered(kept, fields) => Ok(Recalled::Answered(kept, fields)),
            Claim::Gone(fields) => Err(Refusal::new(
                ProblemType::AnswerGone,
                "the payment was made and its answer is no longer held; the receipt is in the headers",
            )
            .with_fields(fields)),
            Claim::InDoubt if !reconciled => {
                payments.reconcile(teller(call)?, &key).await?;
                reconciled = true;
                continue;
            }
            Claim::InDoubt => Err(Refusal::in_doubt()),
            Claim::Reused => Err(Refusal::new(
                ProblemType::PaymentReused,
                "this payment was sent with another request; each payment pays for one",
            )),
        };
    }
}

/// Has the payment verified and sets it aside for this call.
pub(super) async fn charge<W: Way>(
    host: &Host,
    call: &Call<W>,
    bill: Bill,
) -> Result<Recalled, Refusal> {
    let (Bill::Unverified { id, request }, Some(sale)) = (&bill, &call.sale) else {
        return Ok(Recalled::Due(bill));
    };
    let verified = {
        let _turn = host.account().plugin().await?;
        teller(call)?
            .verify(&sale.info, &sale.offers, &sale.headers)
            .await?
    };
    let payment = match verified {
        Verified::Refused(challenge) => {
            // Another request with the same payment may have settled it meanwhile, which is why it is refused now.
            return match claim(host, call, id.clone(), *request).await? {
                Recalled::Due(Bill::Unverified { .. }) => {
                    Err(Refusal::Challenge(challenge, Vec::new()))
                }
                known => Ok(known),
            };
        }
        Verified::Authorized(payment) if payment.id == *id => *payment,
        Verified::Authorized(_) => return Err(PaymentFault::Component.into()),
    };
    let (id, request) = (id.clone(), *request);
    let key = payments::key(&id);
    loop {
        let record = Record {
            state: State::Reserved,
            request,
            created: now(),
            payment: payment.clone(),
        };
        if let Some(turn) = taking(host)?.ledger().reserve(key, record)? {
            return Ok(Recalled::Due(Bill::Reserved(Box::new(turn))));
        }
        // Another request with the same payment was faster: on to what came of it, which may be nothing.
        match claim(host, call, id.clone(), request).await? {
            Recalled::Due(Bill::Unverified { .. }) => {}
            known => return Ok(known),
        }
    }
}

/// Settles before the work, where the operator says so. From here on the work counts as run: a call that fails is not run
/// again for the same payment.
pub(super) async fn before<W: Way>(
    host: &Host,
    call: &Call<W>,
    bill: &mut Bill,
    will_run: bool,
) -> Result<(), Refusal> {
    let payments = match bill {
        Bill::Free | Bill::Unverified { .. } => return Ok(()),
        Bill::Reserved(_) | Bill::Settled(_) => taking(host)?,
    };
    if let Bill::Reserved(turn) = bill {
        if !will_run || !payments.settle_first {
            return Ok(());
        }
        match transfer(teller(call)?, turn, false).await? {
            Transferred::Yes => {}
            Transferred::No(headers) => return Err(unpaid(call, headers).await),
            Transferred::Unknown => {
                turn.conclude(State::Unknown, None)?;
                payments.in_doubt();
                return Err(Refusal::in_doubt());
            }
        }
    }
    if will_run
        && let Bill::Reserved(turn) | Bill::Settled(turn) = bill
        && let State::Settled {
            transaction,
            headers,
            ran: false,
        } = turn.state().clone()
    {
        let ran = State::Settled {
            transaction,
            headers,
            ran: true,
        };
        turn.conclude(ran, None)?;
    }
    Ok(())
}

/// Seals the answer, settles what is to be charged for it, and keeps both.
pub(super) async fn settle<W: Way>(
    host: &Host,
    call: &Call<W>,
    bill: Bill,
    ran: W::Ran,
) -> Result<(W::Answer, Fields), Refusal> {
    let mut turn = match bill {
        Bill::Free | Bill::Unverified { .. } => {
            return Ok((W::seal(call, host, ran, None)?, Vec::new()));
        }
        Bill::Reserved(turn) | Bill::Settled(turn) => turn,
    };
    let payments = taking(host)?;
    if turn.settled().is_none() {
        if !W::is_charged(&ran) {
            let answer = W::seal(call, host, ran, None)?;
            turn.release()?;
            return Ok((answer, Vec::new()));
        }
        match transfer(teller(call)?, &mut turn, true).await? {
            Transferred::Yes => {}
            Transferred::No(headers) => return Err(unpaid(call, headers).await),
            Transferred::Unknown => {
                let answer = W::seal(call, host, ran, Some(&receipt(turn.payment(), None)))?;
                turn.conclude(State::Unknown, Some(&W::keep(&answer)?))?;
                payments.in_doubt();
                return Err(Refusal::in_doubt());
            }
        }
    }
    let Some((transaction, fields)) = turn.settled() else {
        return Err(Refusal::internal("a payment neither settled nor in doubt"));
    };
    let (transaction, fields) = (transaction.to_owned(), fields.clone());
    let receipt = receipt(turn.payment(), Some(transaction.clone()));
    let sealed = W::seal(call, host, ran, Some(&receipt));
    let answer = sealed.map_err(|refusal| refusal.with_fields(fields.clone()))?;
    let state = State::Settled {
        transaction,
        headers: fields.clone(),
        ran: true,
    };
    turn.conclude(state, Some(&W::keep(&answer)?))?;
    payments.flush();
    Ok((answer, fields))
}

/// How a transfer ended.
enum Transferred {
    Yes,
    No(Fields),
    Unknown,
}

async fn transfer(teller: &Teller, turn: &mut Turn, ran: bool) -> Result<Transferred, Refusal> {
    tokio::task::block_in_place(|| turn.settling())?;
    let payment = turn.payment().clone();
    match teller.settle(&payment).await {
        Outcome::Settled {
            transaction,
            headers,
        } => {
            let state = State::Settled {
                transaction,
                headers,
                ran,
            };
            turn.conclude(state, None)?;
            Ok(Transferred::Yes)
        }
        Outcome::Failed { headers } => {
            turn.release()?;
            Ok(Transferred::No(headers))
        }
        Outcome::Unknown(payment) => {
            turn.set_payment(*payment);
            Ok(Transferred::Unknown)
        }
    }
}

/// The challenge after a settlement that failed, with the fields that say why.
async fn unpaid<W>(call: &Call<W>, headers: Fields) -> Refusal {
    let Some(sale) = &call.sale else {
        return Refusal::internal("a payment for what is free");
    };
    let challenge = match teller(call) {
        Ok(teller) => teller
            .challenge(&sale.info, &sale.offers)
            .await
            .map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    match challenge {
        Ok(challenge) => Refusal::Challenge(Box::new(challenge), headers),
        Err(refusal) => refusal,
    }
}

fn receipt(payment: &Payment, transaction: Option<String>) -> PaymentReceipt {
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
