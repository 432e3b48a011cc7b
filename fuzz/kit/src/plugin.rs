//! What the host makes of what a payment component says. The values are those that come out of WIT, without the engine that brings them.

mod fields;
mod said;

use arbitrary::{Arbitrary, Result, Unstructured};

/// Header fields in the ledger's form.
pub type Fields = Vec<(String, String)>;

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// A way to pay.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Offer {
    pub network: String,
    pub asset: String,
    pub amount: String,
    pub pay_to: String,
}

/// The answer that asks for a payment.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct ChallengeResponse {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

/// What names a payment, on either side of WIT.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct PaymentId {
    pub chain: String,
    pub asset: String,
    pub payer: String,
    pub nonce: String,
}

/// A payment in the ledger's terms.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Payment {
    pub id: PaymentId,
    pub amount: String,
    pub pay_to: String,
    pub valid_before: u64,
    pub state: Vec<u8>,
}

/// The same in the component's.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct AuthorizedPayment {
    pub id: PaymentId,
    pub amount: String,
    pub pay_to: String,
    pub valid_before: u64,
    pub state: Vec<u8>,
}

/// What a component says of a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub enum Settlement {
    Settled(Receipt),
    Failed(SettlementFailure),
    Unknown(UnknownSettlement),
}

/// That the money moved.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Receipt {
    pub id: PaymentId,
    pub amount: String,
    pub transaction: String,
    pub headers: Vec<Header>,
}

/// That it did not.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct SettlementFailure {
    pub reason: String,
    pub headers: Vec<Header>,
}

/// That nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct UnknownSettlement {
    pub payment: AuthorizedPayment,
    pub reason: String,
}

/// The component did not answer.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered;

/// What became of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Settled {
        transaction: String,
        headers: Fields,
    },
    Failed {
        headers: Fields,
    },
    Unknown(Box<Payment>),
}

/// A component that cannot be taken at its word.
#[derive(Debug)]
pub enum PaymentFault {
    Component,
}

pub(crate) use said::pairs;

/// A payment, what is offered, and what a component says of both. That it says anything of this very payment is likely enough.
pub fn given(bytes: &[u8]) -> Result<(Payment, Vec<Offer>, Settlement, ChallengeResponse)> {
    let mut given = Unstructured::new(bytes);
    let payment = Payment::arbitrary(&mut given)?;
    let mut settlement = Settlement::arbitrary(&mut given)?;
    if given.arbitrary()? {
        match &mut settlement {
            Settlement::Settled(receipt) => {
                receipt.id = payment.id.clone();
                if given.arbitrary()? {
                    receipt.amount = payment.amount.clone();
                }
            }
            Settlement::Unknown(doubt) => doubt.payment.id = payment.id.clone(),
            Settlement::Failed(_) => {}
        }
    }
    let mut offers = Vec::<Offer>::arbitrary(&mut given)?;
    if given.arbitrary()? {
        offers.push(Offer {
            network: payment.id.chain.clone(),
            asset: payment.id.asset.to_ascii_uppercase(),
            amount: payment.amount.clone(),
            pay_to: payment.pay_to.to_ascii_lowercase(),
        });
    }
    let challenge = ChallengeResponse::arbitrary(&mut given)?;
    Ok((payment, offers, settlement, challenge))
}

/// What the ledger is told.
pub fn outcome(payment: &Payment, settlement: Option<Settlement>) -> Outcome {
    said::outcome(payment, settlement.ok_or(Unanswered))
}

/// Whether it is for one of these offers.
pub fn is_offered(offers: &[Offer], payment: &Payment) -> bool {
    said::is_offered(offers, payment)
}

/// A payment as a component is told of it, and as it comes back.
pub fn there_and_back(payment: &Payment) -> Payment {
    said::entered(said::authorized(payment))
}

/// What a client is asked for the payment with; none where the component cannot be taken at its word.
pub fn challenged(challenge: ChallengeResponse) -> Option<http::Response<Vec<u8>>> {
    fields::challenged(challenge, Vec::new()).ok()
}

/// A reason as the log has it.
pub fn word(reason: &str) -> &str {
    said::word(reason)
}
