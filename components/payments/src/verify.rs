//! `verify`: looks for a payment, checks it offline, asks a facilitator.

use serde_json::Value;

use crate::api::{
    AuthorizedPayment, Header, Offer, PaymentId, Refusal as Refused, ResourceInfo, Verification,
};
use crate::challenge;
use crate::error::{Error, Refusal, code};
use crate::extensions::identifier;
use crate::facilitator::{self, Expected, Verified};
use crate::header::Version;
use crate::offer::{self, Method, Resource, Terms};
use crate::offline::{self, Verdict};
use crate::payload::{self, Payment};
use crate::ports::{Clock, Crypto, Http, Ports};
use crate::settings::Settings;
use crate::state::State;

/// Checks the payment in `headers`.
pub fn verify<C: Crypto, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: &Settings,
    info: &ResourceInfo,
    offers: &[Offer],
    headers: &[Header],
) -> Result<Verification, Error> {
    let resource = Resource::new(info)?;
    let terms = offer::check(offers)?;
    let refused = |refusal: Refusal| {
        Ok(Verification::Refused(Refused {
            challenge: challenge::render(settings, &resource, &terms, &refusal)?,
            reason: refusal.code.into_owned(),
            message: Some(refusal.message),
        }))
    };

    let payment = match payload::read(headers) {
        Ok(Some(payment)) => payment,
        Ok(None) => return refused(challenge::no_payment()),
        Err(refusal) => return refused(refusal),
    };
    if let Err(refusal) = identifier::of(&payment, settings.identifier) {
        return refused(refusal);
    }
    let now = ports.clock.now();
    let chosen = match choose(&payment, &terms, now, &ports.crypto)? {
        Ok(chosen) => chosen,
        Err(refusal) => return refused(refusal),
    };
    match ask(ports, settings, &resource, &payment, chosen, now)? {
        Ok(authorized) => Ok(Verification::Authorized(authorized)),
        Err(refusal) => refused(refusal),
    }
}

/// The offer that the payment is for.
///
/// Where version 1 leaves several, one that the payer's key signed goes before one that a contract may have signed for:
/// offers of one price to one account in two tokens differ only in the hash.
pub fn choose<'a>(
    payment: &Payment,
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
    let payment = payload::read(headers).ok()??;
    if payment.version == Version::V2 {
        return payment.id();
    }
    // Version 1 does not say in which token it pays.
    let terms = offer::check(offers).ok()?;
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
    resource: &Resource,
    payment: &Payment,
    terms: &Terms,
    now: u64,
) -> Result<Result<AuthorizedPayment, Refusal>, Error> {
    let Some(valid_before) = payment.ends() else {
        // Not reached: the window was checked.
        return Ok(Err(Refusal::new(
            code::VALID_BEFORE,
            "validBefore does not fit 64 bits",
        )));
    };
    let requirements = match payment.version {
        Version::V2 => Some(terms.v2()),
        Version::V1 => terms.v1(resource),
    };
    let Some(requirements) = requirements else {
        return Ok(Err(Refusal::new(
            code::INVALID_NETWORK,
            "the network has no name in version 1",
        )));
    };
    let payload = Value::Object(payment.raw.clone());
    let request = facilitator::request(payment.version, &payload, &requirements)?;
    let mut authorized = AuthorizedPayment {
        id: payment.id_for(&terms.offer.network, terms.asset),
        amount: terms.offer.amount.clone(),
        pay_to: terms.offer.pay_to.clone(),
        valid_before,
        state: Vec::new(),
    };
    let Some(expected) = Expected::new(payment.version, &authorized) else {
        return Err(Error::Unavailable("the payer is not an address".to_owned()));
    };

    let mut problems = Vec::new();
    // What is signed for one facilitator, no other can settle.
    let asked = match terms.method {
        Method::Permit2 {
            facilitator: Some(_),
        } => 1,
        _ => settings.facilitators.len(),
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
                    let state = State::new(
                        payment.version,
                        facilitator.clone(),
                        payload,
                        requirements,
                        now,
                    );
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
