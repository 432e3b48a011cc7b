//! What an attested session rests on.

use hypervisor_protocol::{ContentFormat, PublicKey, SessionId};
use hypervisor_verify::{
    Assurance, Binding, Challenge, ComponentLog, Evidence, Expected, ExpectedSubject, Policy,
    Verdict, verify,
};

use super::decode_evidence;
use super::refusal::{FailedCheck, Refusal, Stage};

/// Verified evidence of a session, and the policy that it passed.
#[derive(Debug, Clone)]
pub struct SessionAttestation {
    pub(super) policy: Policy,
    pub(super) evidence: Evidence,
    pub(super) binding: Binding,
    pub(super) log: ComponentLog,
    verdict: Verdict,
}

impl SessionAttestation {
    /// Holds evidence of a session against a policy and against what this client knows of the session, as of a time.
    pub(crate) fn verify(
        policy: &Policy,
        challenge: Challenge,
        (client, host, id): (&PublicKey, &PublicKey, SessionId),
        evidence: Option<&[u8]>,
        at: u64,
    ) -> Result<Self, Refusal> {
        let refused = |reason: String| Refusal::of(Stage::Host, "evidence", reason);
        let bytes = evidence.ok_or_else(|| {
            refused("the host answered without evidence; it is no host that can prove anything, or something in between took it out".to_owned())
        })?;
        let evidence = decode_evidence(bytes)
            .map_err(|error| refused(format!("{error}; do not rely on this host")))?;
        let expected = Expected::new(
            ExpectedSubject::Session {
                session_public_key: host.clone(),
                session_id: id,
                client_public_key: client.clone(),
            },
            Some(challenge),
        );
        let verdict = verify(&evidence, policy, &expected, at);
        let log = evidence
            .log
            .as_ref()
            .and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok());
        match (verdict.binding().cloned(), log) {
            (Some(binding), Some(log)) => Ok(Self {
                policy: policy.clone(),
                evidence,
                binding,
                log,
                verdict,
            }),
            // A verdict that passed has a binding and a log; should that ever change, nothing is accepted.
            (binding, _) => {
                let missing = binding.map(|_| {
                    FailedCheck::new(
                        "evidence",
                        "it has no component log; do not rely on this host",
                    )
                });
                Err(Refusal::new(
                    Stage::Host,
                    missing.into_iter().collect(),
                    Some(verdict),
                ))
            }
        }
    }

    /// Every check, and that it passed or was not made.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What the evidence is worth: [`Assurance::Simulated`] proves nothing about hardware.
    pub fn assurance(&self) -> Assurance {
        self.verdict.assurance()
    }

    /// The evidence, to be kept beside receipts.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The key that signs the host's receipts.
    pub fn identity_public_key(&self) -> &PublicKey {
        &self.binding.identity_public_key
    }

    /// SHA-384 of the host's manifest.
    pub fn manifest_digest(&self) -> &[u8; 48] {
        &self.binding.manifest_digest
    }
}
