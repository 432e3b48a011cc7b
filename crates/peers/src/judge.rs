//! Evidence of one end, made by this host or held against the policy.

use hypervisor_attestation::{Attestation, EvidenceError};
use hypervisor_evidence::{Peer, Subject, VerifierNonce};
use hypervisor_protocol::ContentFormat;

use crate::message::NONCE;

/// Evidence that this host is one end of an exchange, for the other one's nonce.
pub(crate) async fn evidence(
    attestation: &Attestation,
    end: Peer,
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, EvidenceError> {
    let nonce = VerifierNonce::new(nonce).map_err(|error| failed(&error))?;
    let subject = Subject::Peer(end);
    let attested = attestation.evidence(None, subject, Some(nonce)).await?;
    attested
        .encode(ContentFormat::Cbor)
        .map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> EvidenceError {
    EvidenceError::Platform(error.to_string())
}

/// The most bytes of a policy file.
pub(crate) const LONGEST: u64 = 1 << 20;

pub(crate) use with::Judge;

#[cfg(feature = "judge")]
mod with {
    use hypervisor_attestation::now;
    use hypervisor_evidence::{Evidence, Peer, VerifierNonce};
    use hypervisor_protocol::ContentFormat;
    use hypervisor_verify::{Challenge, Expected, ExpectedSubject, Policy, verify};

    use crate::error::{Error, Refused};
    use crate::message::NONCE;

    /// Holds evidence against a policy.
    #[derive(Debug, Clone)]
    pub(crate) struct Judge(Policy);

    impl Judge {
        /// # Errors
        /// [`Error::Policy`].
        pub(crate) fn of(text: &str) -> Result<Self, Error> {
            let policy = Policy::parse(text).map_err(|error| Error::Policy(error.to_string()))?;
            Ok(Self(policy))
        }

        /// SHA-256 of the policy's file.
        pub(crate) fn policy(&self) -> [u8; 32] {
            self.0.digest
        }

        /// Whether `bytes` prove that a host which the policy accepts is this end of an exchange, and answers a nonce of `made_at`.
        pub(crate) fn judge(
            &self,
            end: &Peer,
            (nonce, made_at): ([u8; NONCE], u64),
            bytes: &[u8],
        ) -> Result<(), Refused> {
            let of_form = |reason: String| Refused {
                check: "evidence".to_owned(),
                reason,
            };
            let evidence = Evidence::decode(ContentFormat::Cbor, bytes);
            let evidence = evidence.map_err(|error| of_form(error.to_string()))?;
            let nonce = VerifierNonce::new(nonce).map_err(|error| of_form(error.to_string()))?;
            let subject = ExpectedSubject::Peer(end.clone());
            let expected = Expected::new(subject, Some(Challenge { nonce, made_at }));
            let verdict = verify(&evidence, &self.0, &expected, now());
            if let Some(check) = verdict.failures().next() {
                return Err(Refused {
                    check: check.id.name().to_owned(),
                    reason: check.reason.clone().unwrap_or_default(),
                });
            }
            // A verdict without checks has not passed either.
            match verdict.passed() {
                true => Ok(()),
                false => Err(of_form("nothing in it was checked".to_owned())),
            }
        }
    }
}

/// A build that judges nobody: there is no value of its judge.
#[cfg(not(feature = "judge"))]
mod with {
    use std::convert::Infallible;

    use hypervisor_evidence::Peer;

    use crate::error::{Error, Refused};
    use crate::message::NONCE;

    #[derive(Debug, Clone)]
    pub(crate) struct Judge(Infallible);

    impl Judge {
        pub(crate) fn of(_: &str) -> Result<Self, Error> {
            Err(Error::NoJudge)
        }

        pub(crate) fn policy(&self) -> [u8; 32] {
            match self.0 {}
        }

        pub(crate) fn judge(
            &self,
            _: &Peer,
            _: ([u8; NONCE], u64),
            _: &[u8],
        ) -> Result<(), Refused> {
            match self.0 {}
        }
    }
}
