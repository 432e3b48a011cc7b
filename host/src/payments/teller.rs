//! The payment component as one call meets it: what it says, held against what was offered, in the ledger's terms.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use hypervisor_ledger::{Outcome, Payment, PaymentId, Settler};

use super::{PaymentFault, agreed, pairs};
use crate::agents::PREFIX as AGENTS_PREFIX;
use crate::executor::{
    AuthorizedPayment, ChallengeResponse, Header, Offer, PaymentEngine, PaymentId as PluginId,
    ResourceInfo, Settlement, Unanswered, Verification,
};
use crate::metrics;

/// The payment component that one request began with.
#[derive(Clone)]
pub(crate) struct Teller(Arc<PaymentEngine>);

impl Teller {
    pub(crate) fn new(engine: Arc<PaymentEngine>) -> Self {
        Self(engine)
    }

    /// The header fields in which the component looks for payments.
    pub(crate) fn fields(&self) -> &[HeaderName] {
        self.0.fields()
    }

    /// What the component gets to see: where it names the fields that it reads, those and no others. Requests to agents carry
    /// credentials that are no business of who takes the payments.
    fn read<'a>(&self, headers: &'a [Header]) -> Cow<'a, [Header]> {
        if !self.0.names_fields() {
            return Cow::Borrowed(headers);
        }
        let is_read = |header: &&Header| self.reads(&header.name);
        Cow::Owned(headers.iter().filter(is_read).cloned().collect())
    }

    /// Whether the component looks for payments in a header field.
    pub(crate) fn reads(&self, name: &str) -> bool {
        let mut named = self.0.fields().iter().map(HeaderName::as_str);
        named.any(|it| it.eq_ignore_ascii_case(name))
    }

    /// Has the component look at the offers of an agent.
    ///
    /// # Errors
    /// What is wrong with them, in its words.
    pub(crate) async fn agrees(&self, offers: &[Offer]) -> Result<(), String> {
        agreed(&self.0, AGENTS_PREFIX, offers).await
    }

    /// The 402 for `offers`.
    pub(crate) async fn challenge(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
    ) -> Result<ChallengeResponse, PaymentFault> {
        Ok(self.0.challenge(info, offers).await??)
    }

    /// Which payment the headers carry.
    pub(crate) async fn identify(
        &self,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<PaymentId>, PaymentFault> {
        let identified = self.0.identify(offers, &self.read(headers)).await?;
        Ok(identified.map(name))
    }

    /// Whether the headers pay for one of `offers`. What is authorized was held against the offers: a component that grew
    /// careless with amounts or recipients is no reason to lose money.
    pub(crate) async fn verify(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Verified, PaymentFault> {
        let verified = self.0.verify(info, offers, &self.read(headers)).await;
        metrics::payment(match &verified {
            Ok(Ok(Verification::Authorized(_))) => "authorized",
            Ok(Ok(Verification::Refused(_))) => "refused",
            Ok(Err(_)) | Err(_) => "unverified",
        });
        let payment = match verified?? {
            Verification::Refused(refusal) => {
                return Ok(Verified::Refused(Box::new(refusal.challenge)));
            }
            Verification::Authorized(payment) => entered(payment),
        };
        let is_offered = offers.iter().any(|offer| {
            let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
            offer.network == payment.id.chain
                && same(&offer.asset, &payment.id.asset)
                && same(&offer.pay_to, &payment.pay_to)
                && offer.amount == payment.amount
        });
        if !is_offered {
            tracing::error!("the payment component authorized what was not offered");
            return Err(PaymentFault::Component);
        }
        Ok(Verified::Authorized(Box::new(payment)))
    }

    /// Transfers the money. Anything but a clear answer about this very payment is doubt.
    pub(crate) async fn settle(&self, payment: &Payment) -> Outcome {
        counted(outcome(payment, self.0.settle(&authorized(payment)).await))
    }
}

impl Settler for Teller {
    async fn reconcile(&self, payment: &Payment) -> Outcome {
        counted(outcome(
            payment,
            self.0.reconcile(&authorized(payment)).await,
        ))
    }
}

/// What the component says of a payment.
pub(crate) enum Verified {
    /// It is good for what was offered.
    Authorized(Box<Payment>),
    /// It is not, with the challenge that says why.
    Refused(Box<ChallengeResponse>),
}

fn outcome(payment: &Payment, settlement: Result<Settlement, Unanswered>) -> Outcome {
    let unknown = |payment: Payment| Outcome::Unknown(Box::new(payment));
    match settlement {
        Ok(Settlement::Settled(receipt))
            if name(receipt.id.clone()) == payment.id && receipt.amount == payment.amount =>
        {
            Outcome::Settled {
                transaction: receipt.transaction,
                headers: pairs(receipt.headers),
            }
        }
        Ok(Settlement::Failed(failure)) => {
            tracing::info!(reason = word(&failure.reason), "a settlement failed");
            Outcome::Failed {
                headers: pairs(failure.headers),
            }
        }
        Ok(Settlement::Unknown(doubt)) if name(doubt.payment.id.clone()) == payment.id => {
            tracing::warn!(reason = word(&doubt.reason), "a settlement is in doubt");
            unknown(entered(doubt.payment))
        }
        Ok(Settlement::Settled(_) | Settlement::Unknown(_)) => {
            tracing::error!("the payment component answered for another payment");
            unknown(payment.clone())
        }
        Err(_) => unknown(payment.clone()),
    }
}

/// The same, counted.
fn counted(outcome: Outcome) -> Outcome {
    metrics::payment(match outcome {
        Outcome::Settled { .. } => "settled",
        Outcome::Failed { .. } => "failed",
        Outcome::Unknown(_) => "unknown",
    });
    outcome
}

/// A reason as the log may have it: a code is one, free text could quote anything.
fn word(reason: &str) -> &str {
    let is_code = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if reason.len() <= 80 && reason.bytes().all(is_code) {
        reason
    } else {
        "other"
    }
}

/// What names a payment, in the ledger's terms.
fn name(id: PluginId) -> PaymentId {
    PaymentId {
        chain: id.chain,
        asset: id.asset,
        payer: id.payer,
        nonce: id.nonce,
    }
}

/// A payment in the ledger's terms.
fn entered(payment: AuthorizedPayment) -> Payment {
    Payment {
        id: name(payment.id),
        amount: payment.amount,
        pay_to: payment.pay_to,
        valid_before: payment.valid_before,
        state: payment.state,
    }
}

/// A payment in the component's terms.
fn authorized(payment: &Payment) -> AuthorizedPayment {
    let id = &payment.id;
    AuthorizedPayment {
        id: PluginId {
            chain: id.chain.clone(),
            asset: id.asset.clone(),
            payer: id.payer.clone(),
            nonce: id.nonce.clone(),
        },
        amount: payment.amount.clone(),
        pay_to: payment.pay_to.clone(),
        valid_before: payment.valid_before,
        state: payment.state.clone(),
    }
}
