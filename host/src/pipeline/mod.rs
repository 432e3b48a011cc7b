//! The one way of a call through the host.
//!
//! There are four ways in (sealed requests, plain HTTP to an agent, one agent to another, management) and one order, that of
//! `Host::answer`: each step is a method of `Way` or a function here, and none is left out or moved for any of them. A call
//! that costs nothing passes the steps of `charge` untouched.

mod authorize;
pub(crate) mod bhttp;
pub(crate) mod body;
mod charge;
mod fleet;
mod host;
pub(crate) mod manage;
pub(crate) mod plain;
mod refusal;
pub(crate) mod route;
pub(crate) mod sealed;
mod target;
mod work;

use std::sync::Arc;

use crate::executor::{Chain, Charge, HttpBody};
use crate::payments::Answer as Kept;
use crate::snapshot::Snapshot;
use hypervisor_account::{Party, Slot};
use hypervisor_protocol::PaymentReceipt;
use hypervisor_protocol::metered::{Metered, Used};
use hypervisor_telemetry as telemetry;
use hypervisor_telemetry::metrics::{self, Step};

use body::Received;
use charge::{Bill, Recalled};

pub(crate) use charge::Sale;
pub use host::{Host, Plugin, Replacement, Swapped};
pub(crate) use refusal::{Fields, Problem, Refusal};
pub use route::PAID_ROUTES;
pub(crate) use route::Route;
pub(crate) use target::Target;

/// A call on its way through.
pub(crate) struct Call<W> {
    /// What is asked for, in the terms of the way in.
    pub(crate) way: W,
    /// What the host was when the call entered: nothing that happens to the call looks for a newer one.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Whose account it is entered in.
    pub(crate) party: Party,
    /// The agents that led to it.
    pub(crate) chain: Chain,
    /// What it costs; none where it is free.
    pub(crate) sale: Option<Sale>,
}

/// The body of a request.
pub(crate) enum Input {
    /// It is still to come.
    Body {
        body: HttpBody,
        length: Option<usize>,
    },
    /// It was read to find out what is asked for.
    Received(Received),
}

/// What differs between the ways in. The methods stand in the order in which [`Host::answer`] calls them.
pub(crate) trait Way: Send + Sync + Sized + 'static {
    /// What was received: every byte of it is in the account.
    type Received: Send + 'static;
    /// What authenticated, where there is something to authenticate.
    type Opened: Send + 'static;
    /// Work that is ready and that nobody forbids, or the reason why not, sealed later.
    type Ready: Send + 'static;
    /// Work that ended.
    type Ran: Send + 'static;
    /// What the caller gets.
    type Answer: Send + 'static;

    /// Receives the body, as far as it must be whole before the work begins.
    fn receive(
        call: &Call<Self>,
        host: &Host,
        input: Input,
    ) -> impl Future<Output = Result<Self::Received, Refusal>> + Send;

    /// SHA-256 over what is asked for. A payment is good for one of them.
    fn fingerprint(call: &Call<Self>, received: &Self::Received) -> [u8; 32];

    /// The route, and whether a request of it is known to nobody but its sender, and the answer of use to nobody else.
    fn route(_: &Call<Self>) -> (String, bool) {
        (String::new(), false)
    }

    /// Finds out who asks, and authenticates it. Costs little: nothing has been paid or admitted yet.
    fn open(
        call: &Call<Self>,
        host: &Host,
        received: Self::Received,
    ) -> Result<Self::Opened, Refusal>;

    /// Makes the work ready, then has the policy of the snapshot look at it.
    fn authorize(
        call: &Call<Self>,
        host: &Host,
        opened: Self::Opened,
        charge: Option<Charge>,
    ) -> impl Future<Output = Result<Self::Ready, Refusal>> + Send;

    /// Whether it runs no component, so that it needs none of the slots for executions.
    fn manages(_: &Call<Self>) -> bool {
        false
    }

    /// Nothing is left to pay, so that what is written may go out before the answer; the header fields of what was paid.
    fn cleared(_: &mut Call<Self>, _: Fields, _is_paid: bool) {}

    /// Takes back what was made ready: it is not paid yet, nothing was done, and the same call may come again.
    fn give_back(_: Self::Ready) {}

    /// Whether there is something to run. What is denied is not charged.
    fn will_run(ready: &Self::Ready) -> bool;

    /// Runs it; what is only of use until then may be taken out of the call. The slot is given back when the guest has ended,
    /// which may be after the answer has begun.
    fn run(
        call: &mut Call<Self>,
        host: &Arc<Host>,
        ready: Self::Ready,
        slot: Slot,
    ) -> impl Future<Output = Result<Self::Ran, Refusal>> + Send;

    /// Whether how it ended is paid for. `always`: what the payer brought is, however it ended.
    fn is_charged(call: &Call<Self>, ran: &Self::Ran, always: bool) -> bool;

    /// What it used, where a call of this way can be paid by use.
    fn used(_: &Self::Ran) -> Option<Used> {
        None
    }

    /// Puts into the answer how its price adds up.
    fn metered(ran: Self::Ran, _: Metered) -> Self::Ran {
        ran
    }

    /// What is given away of an end that is not paid for.
    fn uncharged(_: &Call<Self>, ran: Self::Ran) -> Self::Ran {
        ran
    }

    /// The answer, sealed where it is to be, with the receipt of its payment.
    fn seal(
        call: &Call<Self>,
        host: &Host,
        ran: Self::Ran,
        payment: Option<&PaymentReceipt>,
    ) -> Result<Self::Answer, Refusal>;

    /// Puts the receipt of a settlement that was made into an answer that was sealed before it. Whether it did.
    fn receipt(_: &Call<Self>, _: &Host, _: &mut Self::Answer, _: &PaymentReceipt) -> bool {
        false
    }

    /// Takes back what the work left: its settlement failed.
    fn undo(_: Self::Answer) {}

    /// The answer in the form in which the ledger keeps it for a caller that asks again.
    fn keep(answer: &Self::Answer) -> Result<Kept, Refusal>;

    /// The answer that the ledger kept.
    fn recall(call: &Call<Self>, kept: Kept) -> Result<Self::Answer, Refusal>;

    /// Adds evidence, where the route promises it.
    fn attest(
        call: &Call<Self>,
        host: &Host,
        answer: Self::Answer,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;

    /// Whether evidence was added.
    fn is_quoted(_: &Self::Answer) -> bool {
        false
    }
}

impl Host {
    /// Answers a call. Gives the header fields of its payment with it.
    ///
    /// A future is copied whole into each future that waits for it, so what is large is on the heap: the call, and what runs it.
    pub(crate) async fn answer<W: Way>(
        self: &Arc<Self>,
        mut call: Box<Call<W>>,
        input: Input,
    ) -> Result<(W::Answer, Fields), Refusal> {
        if call.chain.is_empty() {
            self.can_account()?;
        }
        let (payment, input) = charge::identify(self, &call, input).await?;
        let received = match W::receive(&call, self, input).await {
            // What a call costs goes before what is wrong with it.
            Err(_) if call.sale.is_some() && payment.is_none() => {
                return Err(Box::pin(charge::challenge(self, &call)).await);
            }
            received => received?,
        };
        let request = (call.sale.as_ref()).map(|_| charge::request(&call, &received));
        let bill = match charge::recall(self, &call, payment.clone(), request).await? {
            Recalled::Due(bill) => bill,
            Recalled::Answered(kept, fields) => {
                return Box::pin(kept_answer(self, &call, kept, fields)).await;
            }
        };
        let opened = match W::open(&call, self, received) {
            Ok(opened) => opened,
            // What a faster request with the same payment did is why this one does not open any more.
            Err(refusal) => {
                let refusal = bill.explain(refusal);
                // Who holds the turn on a payment would wait for itself.
                drop(bill);
                return match charge::recall(self, &call, payment, request).await? {
                    Recalled::Answered(kept, fields) => {
                        Box::pin(kept_answer(self, &call, kept, fields)).await
                    }
                    Recalled::Due(_) => Err(refusal),
                };
            }
        };
        let bill = match charge::charge(self, &call, bill).await? {
            Recalled::Due(bill) => bill,
            Recalled::Answered(kept, fields) => {
                return Box::pin(kept_answer(self, &call, kept, fields)).await;
            }
        };
        if bill.is_free() {
            let (answer, fields) = work(self, &mut call, opened, bill).await?;
            return attested(self, &call, answer, fields).await;
        }
        // Whether or not the caller stays: once money may move, the books are closed first.
        let host = Arc::clone(self);
        let paid = async move {
            let (answer, fields) = work(&host, &mut call, opened, bill).await?;
            Ok::<_, Refusal>((call, answer, fields))
        };
        let paid = tokio::spawn(telemetry::carried(paid));
        let (call, answer, fields) = paid
            .await
            .map_err(|_| Refusal::internal("a paid request was lost"))??;
        let (answer, fields) = attested(self, &call, answer, fields).await?;
        if W::is_quoted(&answer) && self.fleet().is_some() {
            charge::amend::<W>(self, payment.as_ref(), &answer);
        }
        Ok((answer, fields))
    }
}

/// From a slot to the settlement.
async fn work<W: Way>(
    host: &Arc<Host>,
    call: &mut Call<W>,
    opened: W::Opened,
    mut bill: Bill,
) -> Result<(W::Answer, Fields), Refusal> {
    let slot = admit(call).await?;
    let ran = async {
        let ready = W::authorize(call, host, opened, bill.charge()).await?;
        if let Err(refusal) = charge::before(host, call, &mut bill, W::will_run(&ready)).await {
            W::give_back(ready);
            return Err(refusal);
        }
        charge::bound(call, &bill);
        if let Some(fields) = bill.cleared() {
            W::cleared(call, fields, !bill.is_free());
        }
        let running = metrics::timed(Step::Run);
        let ran = Box::pin(W::run(call, host, ready, slot)).await;
        drop(running);
        ran.inspect_err(|_| charge::spend(&mut bill))
    };
    let ran = ran.await;
    let ran = ran.map_err(|refusal| bill.explain(refusal))?;
    charge::settle(host, call, bill, ran).await
}

/// A slot for the work. Who was called by an agent must not wait for one: that agent holds one already.
async fn admit<W: Way>(call: &Call<W>) -> Result<Slot, Refusal> {
    let _waiting = metrics::timed(Step::Queue);
    Ok(if W::manages(call) {
        call.party.manage().await?
    } else if call.chain.is_empty() {
        call.party.enter().await?
    } else {
        call.party.try_enter()?
    })
}

/// An answer that the ledger kept, with the header fields of its payment whatever becomes of it.
async fn kept_answer<W: Way>(
    host: &Host,
    call: &Call<W>,
    kept: Kept,
    fields: Fields,
) -> Result<(W::Answer, Fields), Refusal> {
    match W::recall(call, kept) {
        Ok(answer) => attested(host, call, answer, fields).await,
        Err(refusal) => Err(refusal.with_fields(fields)),
    }
}

/// Evidence that cannot be had now is asked for when a paid answer is fetched again.
async fn attested<W: Way>(
    host: &Host,
    call: &Call<W>,
    answer: W::Answer,
    fields: Fields,
) -> Result<(W::Answer, Fields), Refusal> {
    match W::attest(call, host, answer).await {
        Ok(answer) => Ok((answer, fields)),
        Err(refusal) => Err(refusal.with_fields(fields)),
    }
}
