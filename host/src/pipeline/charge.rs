//! Charging: which payment a call brings, what is known of it, and when money moves.
//!
//! In the order of the pipeline: [`identify`] names the payment, [`recall`] asks the ledger whether it was used, [`charge`] has
//! it verified and sets it aside, [`before`] settles it where the operator wants to be paid first, [`settle`] settles it when
//! the work has ended. A call without a price passes all five untouched, and without room for what the others wait for: that is
//! made on the heap when it is needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use hypervisor_ledger::Settler as _;
use hypervisor_protocol::metered::Budget;
use hypervisor_protocol::{ContentFormat, PaymentReceipt, ProblemType};
use hypervisor_telemetry::metrics::{self, Step};

use super::{Call, Fields, Host, Input, Refusal, Way};
use crate::agents::Deployed;
use crate::attestation::now;
use crate::executor::{Charge, Header, Offer, ResourceInfo};
use crate::payments::{
    self, Answer as Kept, Claim, Ended, Outcome, Payment, PaymentFault, PaymentId, Payments, Place,
    Record, Request, Tariffs, Teller, Turn, Unused, Verified,
};
use crate::snapshot::Snapshot;

/// What a call costs, and what the caller sent to pay for it.
pub(crate) struct Sale {
    pub(crate) info: ResourceInfo,
    pub(crate) offers: Arc<[Offer]>,
    /// The header fields of the request.
    pub(crate) headers: Vec<Header>,
    /// What use costs, where it is paid by use: the offers are then of the most that it costs.
    pub(crate) tariffs: Option<Tariffs>,
    /// What may be used of what was signed for, once that is known.
    pub(crate) budget: Option<Budget>,
}

impl Sale {
    /// What a call of an agent costs, sealed in a form or plain; none where it is free.
    pub(crate) async fn of_agent(
        host: &Host,
        snapshot: &Snapshot,
        agent: &Deployed,
        path: &str,
        (method, headers): (&Method, &HeaderMap),
        sealed: Option<ContentFormat>,
    ) -> Result<Option<Self>, Refusal> {
        let manifest = &agent.terms.manifest;
        let Some(price) = &manifest.price else {
            return Ok(None);
        };
        let payments = taking(host)?;
        let teller = snapshot.teller.as_ref();
        let teller = teller.ok_or_else(Refusal::takes_no_payments)?;
        let sealed = sealed.map(ContentFormat::media_type);
        let media_type = sealed.or(manifest.media_type.as_deref());
        let metadata = teller.metadata(method.as_str(), Some(agent));
        let what = (manifest.description.as_str(), media_type);
        let info = payments.resource(path, headers, what, metadata);
        let offers = teller.offers_now(price, manifest.pay_to.as_deref());
        Ok(Some(Self {
            info,
            offers: offers.await?,
            // What has no body is not sold: it is told what a call costs, whatever it brings.
            headers: match *method {
                Method::HEAD => Vec::new(),
                _ => payments::headers(headers),
            },
            tariffs: None,
            budget: None,
        }))
    }
}

/// What a call owes.
pub(super) enum Bill {
    /// Nothing.
    Free,
    /// The payment was not looked at yet.
    Unverified(Box<Brought>),
    /// The payment is this call's alone, and not settled.
    Reserved(Box<Turn>),
    /// It was settled, and nothing has run for it.
    Settled(Box<Turn>),
}

/// A payment, and what it is brought for.
pub(super) struct Brought {
    id: PaymentId,
    request: Request,
    /// What was seen of it at the first look, where that was all.
    unused: Option<Unused>,
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
            Self::Free | Self::Unverified(_) => None,
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

    /// The header fields of what was paid, where nothing is left to pay.
    pub(super) fn cleared(&self) -> Option<Fields> {
        match self {
            Self::Free => Some(Fields::new()),
            Self::Unverified(_) => None,
            Self::Reserved(turn) | Self::Settled(turn) => {
                turn.settled().map(|(_, fields)| fields.clone())
            }
        }
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

/// Finds out which payment a call brings. One that brings none is answered with what it costs, whatever else it brings; but for
/// one that may prove by itself that it was paid for.
pub(super) async fn identify<W: Way>(
    host: &Host,
    call: &Call<W>,
    input: Input,
) -> Result<(Option<PaymentId>, Input), Refusal> {
    match &call.sale {
        None => Ok((None, input)),
        Some(sale) => Box::pin(named(host, call, sale, input)).await,
    }
}

async fn named<W: Way>(
    host: &Host,
    call: &Call<W>,
    sale: &Sale,
    input: Input,
) -> Result<(Option<PaymentId>, Input), Refusal> {
    let teller = teller(call)?;
    let identified = {
        let _turn = host.account().plugin().await?;
        teller.identify(&sale.offers, &sale.headers).await?
    };
    let signs_in = || sale.headers.iter().any(|it| teller.signs_in(it));
    if identified.is_none() && !W::route(call).1 && !signs_in() {
        host.bodies().discard(input).await;
        return Err(Box::pin(challenge(host, call)).await);
    }
    Ok((identified, input))
}

/// What a call costs that brings no payment.
pub(super) async fn challenge<W>(host: &Host, call: &Call<W>) -> Refusal {
    let verified = async {
        let sale = (call.sale.as_ref()).ok_or_else(Refusal::takes_no_payments)?;
        let _turn = host.account().plugin().await?;
        let verified = teller(call)?.verify(&sale.info, &sale.offers, &sale.headers);
        Ok::<_, Refusal>(verified.await?)
    };
    match verified.await {
        Ok(Verified::Refused(challenge)) => Refusal::Challenge(challenge, Vec::new()),
        // An authorized payment without a name cannot be kept from being used twice.
        Ok(Verified::Authorized(_)) => PaymentFault::Component.into(),
        Err(refusal) => refusal,
    }
}

/// What a payment is brought for, as the ledger has it.
pub(super) fn request<W: Way>(call: &Call<W>, received: &W::Received) -> Request {
    let (route, is_secret) = W::route(call);
    let mut words = vec![route.as_str()];
    if let (Some(sale), Some(teller)) = (&call.sale, &call.snapshot.teller) {
        let is_read = |it: &&Header| teller.reads(&it.name) && !teller.signs_in(it);
        let read = sale.headers.iter().filter(is_read);
        words.extend(read.map(|header| header.value.as_str()));
    }
    Request {
        digest: W::fingerprint(call, received),
        scope: payments::digest(&words),
        is_secret,
        name: None,
    }
}

/// What the ledger knows of the payment, or of a request that brings none. This goes before asking anyone: a facilitator would
/// refuse one that was settled.
pub(super) async fn recall<W: Way>(
    host: &Host,
    call: &Call<W>,
    payment: Option<PaymentId>,
    request: Option<Request>,
) -> Result<Recalled, Refusal> {
    match request {
        None => Ok(Recalled::Due(Bill::Free)),
        Some(request) if payment.is_none() && !request.is_secret => {
            Box::pin(signed_in(host, call, request)).await
        }
        Some(request) => Box::pin(claim(host, call, payment, request)).await,
    }
}

/// Finds what was paid for by whoever proves to hold the account that paid, and brings no payment.
async fn signed_in<W: Way>(
    host: &Host,
    call: &Call<W>,
    request: Request,
) -> Result<Recalled, Refusal> {
    let proof = {
        let sale = (call.sale.as_ref()).ok_or_else(Refusal::takes_no_payments)?;
        let _turn = host.account().plugin().await?;
        let proof = teller(call)?.signed_in(&sale.info, &sale.offers, &sale.headers);
        proof.await?
    };
    let ledger = taking(host)?.ledger();
    let signed_in = match proof {
        Some(proof) => ledger.signed_in(&request, &proof, now())?,
        None => None,
    };
    match signed_in {
        Some(request) => claim(host, call, None, request).await,
        None => Err(challenge(host, call).await),
    }
}

async fn claim<W: Way>(
    host: &Host,
    call: &Call<W>,
    id: Option<PaymentId>,
    request: Request,
) -> Result<Recalled, Refusal> {
    let payments = taking(host)?;
    let key = id.as_ref().map(payments::key);
    let unused = match &id {
        Some(id) => payments.ledger().unused(id, &request)?,
        None => None,
    };
    let mut reconciled = false;
    loop {
        let known = match unused {
            Some(_) => Claim::New,
            None => payments.ledger().claim(key.as_ref(), &request).await?,
        };
        return match known {
            Claim::New => match id {
                Some(id) => Ok(Recalled::Due(Bill::Unverified(Box::new(Brought {
                    id,
                    request,
                    unused,
                })))),
                None => Err(challenge(host, call).await),
            },
            Claim::Rerun(turn) => Ok(Recalled::Due(Bill::Settled(turn))),
            Claim::Answered(kept, fields) => Ok(Recalled::Answered(kept, fields)),
            // What is no longer held for who signs in can be bought anew.
            Claim::Gone(_) if id.is_none() && !request.is_secret => {
                Err(challenge(host, call).await)
            }
            Claim::Gone(fields) => Err(Refusal::new(
                ProblemType::AnswerGone,
                "the payment was made and its answer is no longer held; the receipt is in the headers",
            )
            .with_fields(fields)),
            Claim::InDoubt(key) if !reconciled => {
                payments.reconcile(teller(call)?, &key).await?;
                reconciled = true;
                continue;
            }
            Claim::InDoubt(_) => Err(Refusal::in_doubt()),
            Claim::Reused => Err(Refusal::new(
                ProblemType::PaymentReused,
                "this payment, or one by the same identifier, was sent with another request; each pays for one",
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
    match (bill, &call.sale) {
        (Bill::Unverified(brought), Some(sale)) => {
            Box::pin(verified(host, call, sale, *brought)).await
        }
        (bill, _) => Ok(Recalled::Due(bill)),
    }
}

async fn verified<W: Way>(
    host: &Host,
    call: &Call<W>,
    sale: &Sale,
    brought: Brought,
) -> Result<Recalled, Refusal> {
    let Brought {
        id,
        mut request,
        unused,
    } = brought;
    let id = &id;
    let payments = taking(host)?;
    if !payments.is_well() {
        return Err(Refusal::unwritable());
    }
    // A call inside another must not wait for what that one holds.
    let is_bound = !payments.settle_first && call.chain.is_empty();
    let free = || match is_bound {
        true => payments.ledger().try_place(id),
        false => Ok(Some(Place::UNBOUND)),
    };
    let mut place = match unused.filter(|_| is_bound) {
        Some(unused) => payments.ledger().place_of(id, unused),
        None => free()?,
    };
    loop {
        let verified = {
            let _turn = host.account().plugin().await?;
            teller(call)?
                .verify(&sale.info, &sale.offers, &sale.headers)
                .await?
        };
        let refused = match verified {
            Verified::Refused(challenge) => Some(challenge),
            Verified::Authorized(payment) if payment.id == *id => {
                // Nobody but the payer is known by the name that they give what they buy.
                request.name = teller(call)?.purchase(id, &sale.headers).await?;
                // Only who can pay may wait, or a stranger would keep the payer waiting; and what was found of a balance
                // before is old after it.
                if let Some(taken) = place.take() {
                    let record = Record::new(*payment, request, now());
                    let key = payments::key(id);
                    if let Some(turn) = (payments.ledger()).reserve(key, record, taken)? {
                        return Ok(Recalled::Due(Bill::Reserved(Box::new(turn))));
                    }
                    place = free()?;
                } else {
                    place = Some(payments.place(id).await?);
                }
                None
            }
            Verified::Authorized(_) => return Err(PaymentFault::Component.into()),
        };
        // Another request with the same payment may have been faster, which may be why it is refused now; and what came of it
        // may be nothing.
        match claim(host, call, Some(id.clone()), request).await? {
            Recalled::Due(Bill::Unverified(_)) => {}
            known => return Ok(known),
        }
        if let Some(challenge) = refused {
            return Err(Refusal::Challenge(challenge, Vec::new()));
        }
    }
}

/// Settles before the work, where the operator says so.
pub(super) async fn before<W: Way>(
    host: &Host,
    call: &Call<W>,
    bill: &mut Bill,
    will_run: bool,
) -> Result<(), Refusal> {
    let Bill::Reserved(turn) = bill else {
        return Ok(());
    };
    let payments = taking(host)?;
    if !will_run || !payments.settle_first {
        return Ok(());
    }
    match Box::pin(transfer(payments, teller(call)?, turn, (None, None))).await? {
        Ended::Settled => Ok(()),
        Ended::Failed(headers) => Err(Box::pin(unpaid(call, headers)).await),
        Ended::Unknown | Ended::Lost => {
            payments.in_doubt();
            Err(Refusal::in_doubt())
        }
    }
}

/// Sets what the work may use, where it is paid by use: no more than was signed for.
pub(super) fn bound<W>(call: &mut Call<W>, bill: &Bill) {
    if let (Some(sale), Some(turn)) = (&mut call.sale, bill.turn()) {
        let tariffs = sale.tariffs.as_ref();
        sale.budget = tariffs.and_then(|tariffs| tariffs.budget(turn.payment()));
    }
}

/// What was paid for was begun and gave no answer: it is not run again for the same payment.
pub(super) fn spend(bill: &mut Bill) {
    if let Bill::Reserved(turn) | Bill::Settled(turn) = bill {
        // It is refused in any case.
        let _ = turn.ran(None);
    }
}

/// Seals the answer, settles what is to be charged for it, and keeps both.
///
/// The answer is whole and with the payment on the disk before anyone is asked to settle: whenever the host is killed, what
/// was charged has an answer.
pub(super) async fn settle<W: Way>(
    host: &Host,
    call: &Call<W>,
    bill: Bill,
    ran: W::Ran,
) -> Result<(W::Answer, Fields), Refusal> {
    match bill {
        Bill::Free | Bill::Unverified(_) => Ok((W::seal(call, host, ran, None)?, Vec::new())),
        Bill::Reserved(turn) | Bill::Settled(turn) => {
            Box::pin(settled(host, call, turn, ran)).await
        }
    }
}

async fn settled<W: Way>(
    host: &Host,
    call: &Call<W>,
    mut turn: Box<Turn>,
    ran: W::Ran,
) -> Result<(W::Answer, Fields), Refusal> {
    let payments = taking(host)?;
    if let Some((transaction, fields)) = turn.settled() {
        let fields = fields.clone();
        let receipt = receipt(turn.payment(), Some(transaction.to_owned()));
        let answer = W::seal(call, host, ran, Some(&receipt))
            .and_then(|answer| Ok((W::keep(&answer)?, answer)));
        if !turn.ran(answer.as_ref().ok().map(|(kept, _)| kept)) {
            return Err(Refusal::in_doubt());
        }
        payments.flush();
        return match answer {
            Ok((_, answer)) => Ok((answer, fields)),
            Err(refusal) => Err(refusal.with_fields(fields)),
        };
    }
    if !W::is_charged(call, &ran, payments.charges_always) {
        let ran = W::uncharged(call, ran);
        let answer = W::seal(call, host, ran, None)?;
        turn.release();
        return Ok((answer, Vec::new()));
    }
    let (ran, signed) = match metered(call, &mut turn, ran)? {
        (ran, Taken::All) => (ran, None),
        (ran, Taken::Part(signed)) => (ran, Some(*signed)),
        (ran, Taken::Nothing) => {
            let answer = W::seal(call, host, ran, None)?;
            turn.release();
            return Ok((answer, Vec::new()));
        }
    };
    let sealed = receipt(turn.payment(), None);
    let mut answer = W::seal(call, host, ran, Some(&sealed))?;
    let kept = W::keep(&answer)?;
    let of = (Some(&kept), signed.as_ref());
    match transfer(payments, teller(call)?, &mut turn, of).await {
        Ok(Ended::Settled) => {}
        Ok(Ended::Failed(headers)) => {
            W::undo(answer);
            return Err(unpaid(call, headers).await);
        }
        Err(refusal) => {
            W::undo(answer);
            return Err(refusal);
        }
        Ok(Ended::Unknown | Ended::Lost) => {
            payments.in_doubt();
            return Err(Refusal::in_doubt());
        }
    }
    let fields = match turn.settled() {
        Some((transaction, fields)) => {
            let fields = fields.clone();
            let receipt = receipt(turn.payment(), Some(transaction.to_owned()));
            if W::receipt(call, host, &mut answer, &receipt)
                && !turn.ran(W::keep(&answer).ok().as_ref())
            {
                return Err(Refusal::in_doubt());
            }
            fields
        }
        None => return Err(Refusal::internal("a payment neither settled nor in doubt")),
    };
    payments.flush();
    Ok((answer, fields))
}

/// Keeps an answer with its evidence, which no other host of the fleet can make.
pub(super) fn amend<W: Way>(host: &Host, payment: Option<&PaymentId>, answer: &W::Answer) {
    if let (Some(payments), Some(id), Ok(kept)) = (host.payments(), payment, W::keep(answer))
        && let Err(error) = payments.ledger().amend(&payments::key(id), &kept)
    {
        tracing::error!(%error, "an answer is kept without its evidence");
    }
}

/// What is taken of a payment.
enum Taken {
    All,
    /// Less than was signed for, which this is.
    Part(Box<Payment>),
    Nothing,
}

/// What use comes to, where that is what is paid: the turn is from here on on a payment of so much.
fn metered<W: Way>(
    call: &Call<W>,
    turn: &mut Turn,
    ran: W::Ran,
) -> Result<(W::Ran, Taken), Refusal> {
    let tariffs = call.sale.as_ref().and_then(|sale| sale.tariffs.as_ref());
    let Some((tariffs, used)) = tariffs.zip(W::used(&ran)) else {
        return Ok((ran, Taken::All));
    };
    let bill = tariffs
        .bill(turn.payment(), used)
        .ok_or_else(|| Refusal::internal("a payment in an asset in which use has no price"))?;
    let taken = match bill.total.as_str() {
        "0" => Taken::Nothing,
        total => {
            let signed = turn.payment().clone();
            turn.take(total.to_owned());
            Taken::Part(Box::new(signed))
        }
    };
    Ok((W::metered(ran, bill), taken))
}

/// Pauses before each question what became of a settlement that nobody knows, while its client waits.
const QUESTIONS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// Moves the money, of what was `signed` where less is taken. What became of a lost answer is often one question away.
async fn transfer(
    payments: &Payments,
    teller: &Teller,
    turn: &mut Turn,
    (answer, signed): (Option<&Kept>, Option<&Payment>),
) -> Result<Ended, Refusal> {
    let began = Instant::now();
    let _settling = metrics::timed(Step::Settle);
    tokio::task::block_in_place(|| turn.settling(answer))?;
    let mut outcome = match signed {
        None => teller.settle(turn.payment()).await,
        Some(signed) => teller.settle_part(signed, turn.payment()).await,
    };
    for pause in QUESTIONS {
        let Outcome::Unknown(payment) = &outcome else {
            break;
        };
        if began.elapsed().saturating_add(pause) >= payments.wall {
            break;
        }
        tokio::time::sleep(pause).await;
        outcome = teller.reconcile(payment).await;
    }
    Ok(tokio::task::block_in_place(|| {
        turn.end(outcome, answer.is_some())
    }))
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
