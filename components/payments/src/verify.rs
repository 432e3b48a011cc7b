//! `verify`: looks for a payment, checks it offline, asks a facilitator.

use serde_json::{Map, Value};

use crate::api::{
    AuthorizedPayment, Header, Offer, PaymentId, Refusal as Refused, ResourceInfo, Verification,
};
use crate::challenge;
use crate::error::{Error, Refusal, code};
use crate::extensions::{identifier, sign_in};
use crate::facilitator::{self, Expected, Verified};
use crate::header::Version;
use crate::offer::{Method, Resource, Terms};
use crate::offered::{self, Offered};
use crate::offline::{self, Verdict};
use crate::payload;
use crate::payment::{self, Payment};
use crate::ports::{Clock, Crypto, Http, Ports};
use crate::settings::Settings;
use crate::state::State;
use crate::svm;

/// Checks the payment in `headers`.
pub fn verify<C: Crypto, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: &Settings,
    info: &ResourceInfo,
    offers: &[Offer],
    headers: &[Header],
) -> Result<Verification, Error> {
    let resource = Resource::new(info)?;
    let terms = offered::check(offers)?;
    let now = ports.clock.now();
    let refused = |refusal: Refusal| {
        Ok(Verification::Refused(Refused {
            challenge: challenge::render(settings, &resource, &terms, &refusal, now)?,
            reason: refusal.code.into_owned(),
            message: Some(refusal.message),
        }))
    };

    let payment = match payment::read(headers) {
        Ok(Some(payment)) => payment,
        Ok(None) => {
            let sent = (headers, now);
            let proof = sign_in::read(settings, &resource, &terms, sent, &ports.crypto)?;
            let why = proof.and_then(Result::err);
            return refused(why.unwrap_or_else(challenge::no_payment));
        }
        Err(refusal) => return refused(refusal),
    };
    if let Err(refusal) = identifier::of(&payment, settings.identifier) {
        return refused(refusal);
    }
    let good = match payment {
        Payment::Evm(payment) => good_on_evm(payment, &terms, &resource, now, &ports.crypto)?,
        Payment::Svm(payment) => good_on_solana(payment, &terms, &resource, now, &ports.crypto)?,
    };
    match good.map(|good| ask(ports, settings, good, (&resource, now))) {
        Ok(answer) => match answer? {
            Ok(authorized) => Ok(Verification::Authorized(authorized)),
            Err(refusal) => refused(refusal),
        },
        Err(refusal) => refused(refusal),
    }
}

/// A payment that is good as far as can be said offline.
struct Good {
    version: Version,
    payload: Value,
    requirements: Value,
    /// Its state is not written yet.
    authorized: AuthorizedPayment,
    /// It is signed for the first facilitator, and no other can settle it.
    is_for_the_first: bool,
}

impl Good {
    /// A payment for an offer. Refused in version 1 on a chain that has no name in it.
    fn new(
        (version, raw): (Version, Map<String, Value>),
        terms: &Offered,
        resource: &Resource,
        id: PaymentId,
        valid_before: u64,
    ) -> Result<Self, Refusal> {
        let requirements = match version {
            Version::V2 => Some(terms.v2()),
            Version::V1 => terms.v1(resource),
        };
        let offer = terms.offer();
        Ok(Self {
            version,
            payload: Value::Object(raw),
            requirements: requirements.ok_or_else(|| {
                Refusal::new(
                    code::INVALID_NETWORK,
                    "the network has no name in version 1",
                )
            })?,
            authorized: AuthorizedPayment {
                id,
                amount: offer.amount.clone(),
                pay_to: offer.pay_to.clone(),
                valid_before,
                state: Vec::new(),
            },
            is_for_the_first: matches!(
                terms,
                Offered::Evm(Terms {
                    method: Method::Permit2 {
                        facilitator: Some(_)
                    },
                    ..
                })
            ),
        })
    }
}

fn good_on_evm(
    payment: payload::Payment,
    offered: &[Offered],
    resource: &Resource,
    now: u64,
    crypto: &impl Crypto,
) -> Result<Result<Good, Refusal>, Error> {
    let terms = offered::evm(offered);
    let chosen = match choose(&payment, &terms, now, crypto)? {
        Ok(chosen) => chosen.clone(),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(valid_before) = payment.ends() else {
        // Not reached: the window was checked.
        return Ok(Err(Refusal::new(
            code::VALID_BEFORE,
            "validBefore does not fit 64 bits",
        )));
    };
    let id = payment.id_for(&chosen.offer.network, chosen.asset);
    let sent = (payment.version, payment.raw);
    let terms = Offered::Evm(chosen);
    Ok(Good::new(sent, &terms, resource, id, valid_before))
}

fn good_on_solana(
    payment: svm::payment::Payment,
    offered: &[Offered],
    resource: &Resource,
    now: u64,
    crypto: &impl Crypto,
) -> Result<Result<Good, Refusal>, Error> {
    let chosen = match payment.choose(&offered::svm(offered), crypto)? {
        Ok(chosen) => chosen.clone(),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let id = payment.id_for(&chosen);
    let sent = (payment.version, payment.raw);
    let terms = Offered::Svm(chosen);
    let valid_before = now.saturating_add(svm::LIFETIME);
    Ok(Good::new(sent, &terms, resource, id, valid_before))
}

/// The offer that the payment is for.
///
/// Where version 1 leaves several, one that the payer's key signed goes before one that a contract may have signed for:
/// offers of one price to one account in two tokens differ only in the hash.
pub fn choose<'a>(
    payment: &payload::Payment,
    terms: &'a [Terms],
    now: u64,
    crypto: &impl Crypto,
) -> Result<Result<&'a Terms, Refusal>, Error> {
    let candidates = match payment.candidates(terms) {
        Ok(candidates) => candidates,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut undecided = None;
    let mut refusal = None;
    for candidate in candidates {
        match offline::check(payment, candidate, now, crypto).map_err(Error::Crypto)? {
            Verdict::Good => return Ok(Ok(candidate)),
            Verdict::Undecided => {
                undecided.get_or_insert(candidate);
            }
            Verdict::Refused(why) => {
                refusal.get_or_insert(why);
            }
        }
    }
    Ok(undecided.ok_or_else(|| {
        refusal.unwrap_or_else(|| {
            Refusal::new(code::INVALID_REQUIREMENTS, "no offer is for this payment")
        })
    }))
}

/// The name of the payment in `headers`, the same that [`verify`] gives it: whatever the time, and whatever became of it.
pub fn identify(headers: &[Header], offers: &[Offer], crypto: &impl Crypto) -> Option<PaymentId> {
    let payment = match payment::read(headers).ok()?? {
        Payment::Evm(payment) => payment,
        Payment::Svm(payment) => return payment.id(),
    };
    if payment.version == Version::V2 {
        return payment.id();
    }
    // Version 1 does not say in which token it pays.
    let terms = offered::evm(&offered::check(offers).ok()?);
    let candidates = payment.candidates(&terms).ok()?;
    let is_signed = |terms: &&&Terms| {
        matches!(
            offline::signature(&payment, terms, crypto),
            Ok(Verdict::Good)
        )
    };
    let chosen = candidates
        .iter()
        .find(is_signed)
        .or_else(|| {
            candidates
                .iter()
                .find(|terms| offline::money(&payment, terms).is_ok())
        })
        .or_else(|| candidates.first())?;
    Some(payment.id_for(&chosen.offer.network, chosen.asset))
}

/// Asks the facilitators, in order, until one answers.
fn ask<C, H: Http, T>(
    ports: &Ports<C, H, T>,
    settings: &Settings,
    good: Good,
    (resource, now): (&Resource, u64),
) -> Result<Result<AuthorizedPayment, Refusal>, Error> {
    let Good {
        version,
        payload,
        requirements,
        mut authorized,
        is_for_the_first,
    } = good;
    let request = facilitator::request(version, &payload, &requirements)?;
    let Some(expected) = Expected::new(version, &authorized) else {
        return Err(Error::Unavailable("the payer is not an address".to_owned()));
    };

    let mut problems = Vec::new();
    let asked = match is_for_the_first {
        true => 1,
        false => settings.facilitators.len(),
    };
    for (index, facilitator) in settings.facilitators.iter().take(asked).enumerate() {
        let answer = ports.http.post(
            &format!("{facilitator}/verify"),
            &request,
            settings.verify_ms,
            facilitator::LONGEST_ANSWER,
        );
        let problem = match answer {
            Ok(answer) => match facilitator::read_verified(&answer, &expected) {
                Verified::Valid => {
                    let state =
                        State::new(version, facilitator.clone(), payload, requirements, now);
                    authorized.state = state.of(resource).encode()?;
                    return Ok(Ok(authorized));
                }
                Verified::Invalid(reason) => {
                    return Ok(Err(Refusal::new(
                        reason,
                        "the facilitator refused the payment",
                    )));
                }
                Verified::Unusable(problem) => problem.into_owned(),
            },
            Err(error) => error.to_string(),
        };
        problems.push(format!("number {}: {problem}", index + 1));
    }
    Err(Error::Unavailable(problems.join("; ")))
}
