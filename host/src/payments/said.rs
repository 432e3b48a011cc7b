//! What a payment component says, held against the payment that it is about, in the ledger's terms. What it could say is anything: `fuzz/` has all
//! of this read it.

use hypervisor_ledger::{Fields, Outcome, Payment, PaymentId};

use crate::executor::{
    AuthorizedPayment, Header, Offer, PaymentId as PluginId, Settlement, Unanswered,
};

/// Header fields of a component's that are passed on, and their bytes: clients take no more, and the ledger keeps them.
const MOST_FIELDS: usize = 64;
const MOST_BYTES: usize = 64 << 10;

/// Header fields as a component gives them, in the form that the ledger keeps. What there is no room for is left out.
pub(crate) fn pairs(headers: Vec<Header>) -> Fields {
    let mut room = MOST_BYTES;
    let fits = |header: &Header| {
        let length = header.name.len().saturating_add(header.value.len());
        let left = room.checked_sub(length);
        room = left.unwrap_or(room);
        left.is_some()
    };
    let pair = |header: Header| (header.name, header.value);
    let headers = headers.into_iter().filter(fits);
    headers.take(MOST_FIELDS).map(pair).collect()
}

/// Whether a payment is for one of `offers`.
pub(super) fn is_offered(offers: &[Offer], payment: &Payment) -> bool {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    offers.iter().any(|offer| {
        offer.network == payment.id.chain
            && same(&offer.asset, &payment.id.asset)
            && same(&offer.pay_to, &payment.pay_to)
            && offer.amount == payment.amount
    })
}

/// What became of a payment. Anything but a clear answer about this very one is doubt.
pub(super) fn outcome(payment: &Payment, settlement: Result<Settlement, Unanswered>) -> Outcome {
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
            // How much is asked about, of whom and until when is not the component's to change.
            unknown(Payment {
                amount: payment.amount.clone(),
                pay_to: payment.pay_to.clone(),
                valid_before: payment.valid_before,
                ..entered(doubt.payment)
            })
        }
        Ok(Settlement::Settled(_) | Settlement::Unknown(_)) => {
            tracing::error!("the payment component answered for another payment");
            unknown(payment.clone())
        }
        Err(_) => unknown(payment.clone()),
    }
}

/// A reason as the log may have it: a code is one, free text could quote anything.
pub(super) fn word(reason: &str) -> &str {
    let is_code = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if reason.len() <= 80 && reason.bytes().all(is_code) {
        reason
    } else {
        "other"
    }
}

/// What names a payment, in the ledger's terms.
pub(super) fn name(id: PluginId) -> PaymentId {
    PaymentId {
        chain: id.chain,
        asset: id.asset,
        payer: id.payer,
        nonce: id.nonce,
    }
}

/// A payment in the ledger's terms.
pub(super) fn entered(payment: AuthorizedPayment) -> Payment {
    Payment {
        id: name(payment.id),
        amount: payment.amount,
        pay_to: payment.pay_to,
        valid_before: payment.valid_before,
        state: payment.state,
    }
}

/// A payment in the component's terms.
pub(super) fn authorized(payment: &Payment) -> AuthorizedPayment {
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
