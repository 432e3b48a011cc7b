//! The verifier: evidence, a policy and what the verifier knows by itself, against one another.
//!
//! Every check is made that can be made: an early failure hides no later one. A check that needs what a failed one did not
//! give fails too and says so.

mod binding;
mod chain;
mod log;
mod result;
mod snp;
mod tdx;
mod vtpm;

use hypervisor_protocol::{Commitment, PublicKey, SessionId};

use crate::binding::{Backend, Binding, Peer, Subject};
use crate::evidence::{Evidence, RawQuote};
use crate::nonce::VerifierNonce;
use crate::policy::{Policy, Trust};
use crate::report_data::{Purpose, ReportData};
use crate::verdict::{CheckId, Recorder, Verdict};

pub use vtpm::fingerprint;

/// A nonce and when it was made. Use each for one verification: the verifier holds no state, so that a nonce is single-use
/// is up to its maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The nonce.
    pub nonce: VerifierNonce,
    /// When the verifier made it: Unix time, seconds, by the clock that [`verify`] is given.
    pub made_at: u64,
}

/// What the evidence should be about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each verification, and it is not moved about"
)]
pub enum ExpectedSubject {
    /// The session that the verifier opened.
    Session {
        /// The session's public key, as the host answered it.
        session_public_key: PublicKey,
        /// The session's id, as the host answered it.
        session_id: SessionId,
        /// The verifier's own public key.
        client_public_key: PublicKey,
    },
    /// A result.
    Result {
        /// Its commitment, as the verifier computed it from what it sent and received.
        commitment: Commitment,
    },
    /// The host's identity.
    Identity,
    /// The other end of an exchange, by a host of the same fleet. The policy is the fleet's: what of the host its manifest says
    /// beside its fleet has to be among the manifests that are accepted, and the other end has to go by the same policy.
    Peer(Peer),
}

impl ExpectedSubject {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Session { .. } => Purpose::Session,
            Self::Result { .. } => Purpose::ResultBatch,
            Self::Identity => Purpose::Identity,
            Self::Peer(peer) => Subject::Peer(peer.clone()).purpose(),
        }
    }
}

/// What the verifier knows by itself. Nothing here may come from the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What the evidence should be about.
    pub subject: ExpectedSubject,
    /// The nonce that the evidence should hold. None for results: their commitment is fresh by itself.
    pub challenge: Option<Challenge>,
    /// The host's identity key, where it is known from earlier evidence.
    pub identity_public_key: Option<PublicKey>,
    /// The highest `tcbEvaluationDataNumber` seen before: collateral does not go back.
    pub last_tcb_evaluation_data_number: Option<u32>,
    /// The TLS connection that evidence of an identity came over, where the verifier fetched it over one.
    pub connection: Option<Connection>,
}

/// Whose TLS a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// SHA-256 of the public key (SubjectPublicKeyInfo) of its certificate.
    pub key: [u8; 32],
    /// Whether the verifier's machine trusts the certificate: an authority that it knows vouches for the name.
    pub trusted: bool,
}

impl Expected {
    /// Evidence about `subject` that answers `challenge`.
    pub fn new(subject: ExpectedSubject, challenge: Option<Challenge>) -> Self {
        Self {
            subject,
            challenge,
            identity_public_key: None,
            last_tcb_evaluation_data_number: None,
            connection: None,
        }
    }
}

/// What a quote says, once it is parsed. It is worth as much as the checks of the hardware that passed.
struct Facts {
    report_data: ReportData,
    /// RTMR3, on TDX.
    register: Option<[u8; 48]>,
    /// RTMR3 before the log, of the reference that matched.
    register_start: Option<[u8; 48]>,
    /// `tcbEvaluationDataNumber` of the collateral, on TDX.
    tcb_evaluation_data_number: Option<u32>,
}

/// Everything that the checks look at.
struct Context<'a> {
    evidence: &'a Evidence,
    policy: &'a Policy,
    expected: &'a Expected,
    now: u64,
}

/// Verifies evidence at `now` (Unix time, seconds, by the verifier's clock).
pub fn verify(evidence: &Evidence, policy: &Policy, expected: &Expected, now: u64) -> Verdict {
    let context = Context {
        evidence,
        policy,
        expected,
        now,
    };
    let mut recorder = Recorder::default();
    let binding = binding::form(evidence, &mut recorder);
    trust_domain(&context, binding.as_ref(), &mut recorder);
    let facts = match &evidence.quote {
        RawQuote::Tdx(quote) => tdx::verify(&context, quote, &mut recorder),
        RawQuote::SevSnp { report, certs } => snp::verify(&context, report, certs, &mut recorder),
    };
    let facts = vtpm::verify(&context, facts, &mut recorder);
    let statement = match &binding {
        Some(binding) => {
            binding::verify(&context, binding, facts.as_ref(), &mut recorder);
            log::verify(&context, binding, facts.as_ref(), &mut recorder);
            result::verify(&context, binding, &mut recorder)
        }
        None => {
            recorder.blocked(
                CheckId::BindingForm,
                &[
                    CheckId::ReportData,
                    CheckId::Purpose,
                    CheckId::Nonce,
                    CheckId::IdentityKey,
                    CheckId::TlsKey,
                    CheckId::Log,
                    CheckId::Manifest,
                    CheckId::FleetKey,
                    CheckId::CompiledCode,
                ],
            );
            None
        }
    };
    Verdict {
        checks: recorder.finish(),
        simulated: matches!(policy.trust, Trust::Simulated { .. }),
        policy_name: policy.name.clone(),
        policy_digest: policy.digest,
        at: now,
        tcb_evaluation_data_number: facts.and_then(|facts| facts.tcb_evaluation_data_number),
        binding,
        statement,
    }
}

/// The policy decides whose evidence is believed; evidence of another kind is refused whatever it says of itself.
fn trust_domain(context: &Context<'_>, binding: Option<&Binding>, recorder: &mut Recorder) {
    let claimed = match (binding, &context.evidence.quote) {
        (Some(binding), _) => binding.backend,
        (None, RawQuote::Tdx(_)) => Backend::Tdx,
        (None, RawQuote::SevSnp { .. }) => Backend::SevSnp,
    };
    let trust = context.policy.trust;
    let check = recorder
        .check(CheckId::TrustDomain)
        .input("evidence", claimed)
        .input(
            "policy",
            match trust {
                Trust::Hardware {
                    intel: true,
                    amd: true,
                } => "intel, amd".to_owned(),
                Trust::Hardware { intel: true, .. } => "intel".to_owned(),
                Trust::Hardware { .. } => "amd".to_owned(),
                Trust::Simulated { fingerprint } => {
                    format!("simulator {}", const_hex::encode(fingerprint))
                }
            },
        );
    match (trust, claimed) {
        (Trust::Hardware { .. }, Backend::Simulated) => check.fail(
            "the evidence is simulated and proves nothing about hardware; do not use this host for anything but tests, for which a policy can name the simulator's root",
        ),
        (Trust::Simulated { .. }, Backend::Tdx | Backend::SevSnp) => check.fail(
            "the policy is for a simulator and the evidence claims hardware; use a policy that names the vendor's root",
        ),
        (Trust::Hardware { intel: false, .. }, Backend::Tdx) => check.fail(
            "the policy names no root for TDX; add \"intel\" to `roots.vendors` if this host may run on it",
        ),
        (Trust::Hardware { amd: false, .. }, Backend::SevSnp) => check.fail(
            "the policy names no root for SEV-SNP; add \"amd\" to `roots.vendors` if this host may run on it",
        ),
        _ => check.pass(),
    }
}
