//! Asking a host for evidence.

use hypervisor_protocol::{CreateKeypairRequest, CreateKeypairResponse, PrivateKey, PublicKey};
use hypervisor_verify::{
    Evidence, Expected, ExpectedSubject, Policy, Verdict, VerifierNonce, evidence, verify,
};

use super::refusal::{Refusal, Stage};
use super::session::SessionAttestation;
use super::{challenge, decode_evidence, now};
use crate::client::Client;
use crate::error::Error;
use crate::session::Session;

impl Client {
    /// Opens a session whose host proves, for a nonce made here, that it is what `policy` wants: the session's key, this
    /// client's key, the session's id and the nonce are all in what the hardware signs. Runs in the session are verified
    /// likewise.
    ///
    /// # Errors
    /// [`Error::Attestation`] when a check fails; nothing but a public key and a nonce has been sent then.
    /// [`Error::Refused`] when the host has nothing to attest with.
    pub async fn open_attested_session(
        &self,
        policy: &Policy,
    ) -> Result<(Session, Verdict), Error> {
        let challenge = challenge()?;
        let key = PrivateKey::generate();
        let nonce = challenge.nonce.as_bytes().to_vec();
        let request = CreateKeypairRequest::new(key.public_key(), Some(nonce));
        let answer: CreateKeypairResponse = self
            .post("verifiable/encrypt/create_keypair", &request)
            .await?;
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).map_err(Error::Verification)?;
        let attestation = SessionAttestation::verify(
            policy,
            challenge,
            (key.public_key(), &host, answer.session_id),
            answer.evidence.as_ref().map(AsRef::as_ref),
        )?;
        let verdict = attestation.verdict().clone();
        let session = self.session(key, host, &answer)?.attested(attestation);
        Ok((session, verdict))
    }

    /// Fetches evidence of the host's identity for a nonce. Nothing of it is verified.
    ///
    /// # Errors
    /// [`Error::Refused`] when the host has nothing to attest with, [`Error::Attestation`] when what it sends can not be
    /// read.
    pub async fn evidence(&self, nonce: &VerifierNonce) -> Result<Evidence, Error> {
        let path = format!("attestation?nonce={nonce}");
        let answer = self.get(&path, evidence::MAX_LENGTH).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        decode_evidence(&answer.body).map_err(|error| {
            let reason = format!("{error}; is it a host of this API?");
            Refusal::of(Stage::Host, "evidence", reason).into()
        })
    }

    /// Asks the host for evidence of its identity, for a nonce made here, and holds it against `policy`. A verdict that did
    /// not pass is no error.
    ///
    /// # Errors
    /// As [`Self::evidence`].
    pub async fn verify_host(&self, policy: &Policy) -> Result<(Evidence, Verdict), Error> {
        let challenge = challenge()?;
        let evidence = self.evidence(&challenge.nonce).await?;
        let expected = Expected::new(ExpectedSubject::Identity, Some(challenge));
        let verdict = verify(&evidence, policy, &expected, now());
        Ok((evidence, verdict))
    }
}
