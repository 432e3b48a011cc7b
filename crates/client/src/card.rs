//! Cards of agents that speak A2A: who signed one, and what vouches for the signer.
//!
//! A host's card is signed by a key that a component of the host made for itself. Where the card names evidence
//! ([`EXTENSION`]), that component claims card, key and a nonce of the verifier's at once, in a statement that the host signs; evidence
//! of the host, which holds the key of that statement, is then held against a [`Policy`] as any other.

mod document;
mod signature;

use hypervisor_verify::{
    ComponentLog, Expected, ExpectedSubject, Policy, Verdict, VerifierNonce, evidence, verify,
};
use sha2::{Digest, Sha256, Sha512};
use url::Url;

use crate::attestation::{FailedCheck, Refusal, Stage, challenge, decode_evidence, now};
use crate::client::Client;
use crate::error::Error;
use hypervisor_protocol::ContentFormat;

pub use document::{Card, EXTENSION};
pub use signature::Signer;

/// What the claim of a card begins with.
const LABEL: &[u8] = b"hypervisor/v1 a2a-card\0";
/// Where a card is below what it is of (RFC 8615).
const PLACE: &str = ".well-known/agent-card.json";
/// Bytes of a set of keys.
const MAX_KEYS: usize = 64 << 10;

/// A card that its signer and the host's evidence vouch for.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The card.
    pub card: Card,
    /// Who signed it.
    pub signer: Signer,
    /// Evidence of the host that the component runs in, as it was judged.
    pub verdict: Verdict,
    /// SHA-384 of the component that claimed the card.
    pub component: [u8; 48],
    /// The names under which the host loaded that component.
    pub names: Vec<String>,
}

/// What a component claims that signs a card with a key, for a verifier's nonce.
pub fn claim(card: &Card, signer: &Signer, nonce: &VerifierNonce) -> [u8; 64] {
    let mut hasher = Sha512::new();
    hasher.update(LABEL);
    hasher.update(Sha256::digest(card.canonical()));
    hasher.update(signer.thumbprint());
    hasher.update(nonce.as_bytes());
    hasher.finalize().into()
}

/// Fetches the card at `url`, or below it, with its signer's key and with evidence for a nonce made here, and holds all of it against
/// `policy`.
///
/// # Errors
/// [`Error::Attestation`] for a card that is not signed as it says, has no evidence, or whose evidence is not of it or not what the policy
/// wants; [`Error::Answer`] for what is no card.
pub async fn verify_card(url: &str, policy: &Policy) -> Result<Vouched, Error> {
    let base = base(url)?;
    let client = Client::new(base.as_str())?;
    let card = Card::parse(&fetch(&client, PLACE, document::LARGEST).await?)?;
    let signed = signature::signatures(&card)?;
    let mut refusals = Vec::new();
    let mut signer = None;
    for signature in &signed {
        let checked = async {
            let place = below(&base, signature.keys(), "the keys of its signer")?;
            let keys = fetch(&client, &place, MAX_KEYS).await?;
            signature.verify(&card, &keys)
        };
        match checked.await {
            Ok(found) => {
                signer = Some(found);
                break;
            }
            Err(error) => refusals.push(error),
        }
    }
    let signer = match (signer, refusals.into_iter().next()) {
        (Some(signer), _) => signer,
        (None, Some(error)) => return Err(error),
        (None, None) => return Err(refused("signature", "nobody signed it")),
    };
    let challenge = challenge()?;
    let place = card
        .evidence()
        .ok_or_else(|| refused("evidence", format!("it names none ({EXTENSION})")))?;
    let place = below(&base, place, "its evidence")?;
    let separator = if place.contains('?') { '&' } else { '?' };
    let place = format!("{place}{separator}nonce={}", challenge.nonce);
    let bytes = fetch(&client, &place, evidence::MAX_LENGTH).await?;
    judge(card, signer, &challenge.nonce, (&bytes, policy, now()))
}

/// Holds a card whose signature was verified, and evidence that was asked for with this nonce, against a policy, as of a time.
///
/// # Errors
/// As [`verify_card`].
pub fn judge(
    card: Card,
    signer: Signer,
    nonce: &VerifierNonce,
    (bytes, policy, at): (&[u8], &Policy, u64),
) -> Result<Vouched, Error> {
    let evidence =
        decode_evidence(bytes).map_err(|error| refused("evidence", error.to_string()))?;
    // The nonce is in the claim: that the evidence as a whole is as fresh is not said.
    let mut policy = policy.clone();
    policy.rules.freshness.nonce_required = false;
    let expected = Expected::new(ExpectedSubject::Identity, None);
    let verdict = verify(&evidence, &policy, &expected, at);
    if !verdict.passed() {
        return Err(Refusal::new(Stage::Card, Vec::new(), Some(verdict)).into());
    }
    let Some(statement) = verdict.statement() else {
        return Err(refused(
            "statement",
            "the evidence has no claim of a component",
        ));
    };
    if statement.claim.0 != claim(&card, &signer, nonce) {
        return Err(refused(
            "claim",
            "the component claims another card, another key, or answers another nonce",
        ));
    }
    let component = statement.component.0;
    let log = evidence.log.as_ref();
    let log = log.and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok());
    let entries = log.iter().flat_map(|log| log.entries());
    let names: Vec<String> = entries
        .filter(|entry| entry.digest.0 == component)
        .map(|entry| entry.name.clone())
        .collect();
    if !names.iter().any(|name| name.starts_with(FRONT)) {
        return Err(refused(
            "component",
            format!(
                "the component {} is none that answers in the host's own name, as the log in the evidence has it",
                const_hex::encode(component)
            ),
        ));
    }
    Ok(Vouched {
        card,
        signer,
        verdict,
        component,
        names,
    })
}

/// What the names begin with, in the log, of components that answer in the host's own name.
const FRONT: &str = "protocol/";

fn refused(check: &'static str, reason: impl Into<String>) -> Error {
    Refusal::new(Stage::Card, vec![FailedCheck::new(check, reason)], None).into()
}

async fn fetch(client: &Client, place: &str, maximum: usize) -> Result<Vec<u8>, Error> {
    let answer = client.get_any(place, maximum).await?;
    match answer.status.is_success() {
        true => Ok(answer.body.to_vec()),
        // Not the host's own API: its problems have other forms.
        false => Err(Error::Answer {
            what: "a card, or what its verifier needs",
            reason: format!(
                "{}{place} is answered with {}",
                client.server(),
                answer.status
            ),
        }),
    }
}

/// What a card is of: the address without the card's own place.
fn base(url: &str) -> Result<Url, Error> {
    let wrong = |reason: String| Error::Address {
        url: url.to_owned(),
        reason,
    };
    let mut base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    base.set_query(None);
    base.set_fragment(None);
    let path = base.path().strip_suffix(PLACE).unwrap_or(base.path());
    let path = format!("{}/", path.trim_end_matches('/'));
    base.set_path(&path);
    Ok(base)
}

/// The place of a URL below the base, which is all that a card may send its verifier to: who could point elsewhere could have another host's
/// key and evidence vouch for it.
fn below(base: &Url, url: &str, what: &str) -> Result<String, Error> {
    let elsewhere = || {
        refused(
            "place",
            format!(
                "{what} is not below the address that the card was asked for at, which has to be the one that the host has of itself"
            ),
        )
    };
    let url = base.join(url).map_err(|_| elsewhere())?;
    let path = url.path().strip_prefix(base.path()).map(str::to_owned);
    let place = path
        .filter(|_| url.origin() == base.origin())
        .ok_or_else(elsewhere)?;
    // Such a path would be read as something else when it is joined again.
    if place.starts_with('/') || place.split('/').next().is_some_and(|it| it.contains(':')) {
        return Err(elsewhere());
    }
    Ok(match url.query() {
        Some(query) => format!("{place}?{query}"),
        None => place,
    })
}

#[cfg(test)]
mod tests;
