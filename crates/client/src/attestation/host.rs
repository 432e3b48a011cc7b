//! Asking a host for evidence.

use hypervisor_protocol::{CreateKeypairRequest, PrivateKey, PublicKey};
use hypervisor_verify::{
    Connection, Evidence, Expected, ExpectedSubject, Policy, Verdict, VerifierNonce, evidence,
    verify,
};
use zeroize::Zeroizing;

use super::refusal::{Refusal, Stage};
use super::session::SessionAttestation;
use super::{challenge, decode_evidence, now};
use crate::client::Client;
use crate::error::Error;
use crate::record::Keeping;
use crate::session::Session;

/// A key for one session, and its bytes.
fn session_key() -> Result<(PrivateKey, Zeroizing<[u8; 32]>), Error> {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|_| Error::Protocol(hypervisor_protocol::Error::Random))?;
        // One in 2^32 is none.
        if let Ok(key) = PrivateKey::from_bytes(&bytes) {
            return Ok((key, bytes));
        }
    }
}

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
        let session = self.attested(policy, None).await?;
        let verdict = session.attestation().map(|proved| proved.verdict().clone());
        let verdict = verdict
            .ok_or_else(|| Refusal::of(Stage::Host, "evidence", "the session is not attested"))?;
        Ok((session, verdict))
    }

    /// As [`Self::open_attested_session`], and every run gives a [`crate::Record`] to keep. `text` is what the policy was parsed from.
    ///
    /// # Errors
    /// As [`Self::open_attested_session`].
    pub async fn open_recorded_session(
        &self,
        policy: &Policy,
        text: &str,
    ) -> Result<Session, Error> {
        self.attested(policy, Some(text)).await
    }

    async fn attested(&self, policy: &Policy, kept: Option<&str>) -> Result<Session, Error> {
        let challenge = challenge()?;
        let (key, client_key) = session_key()?;
        let nonce = challenge.nonce.as_bytes().to_vec();
        let request = CreateKeypairRequest::new(key.public_key(), Some(nonce));
        let client = self.explaining(policy);
        let open = || client.open("verifiable/encrypt/create_keypair", &request);
        let (answer, affinity) = match open().await {
            // A certificate that no authority vouches for: evidence may.
            Err(Error::Transport { .. }) if self.tls().was_refused() => {
                let (_, verdict) = self.verify_host(policy).await?;
                if !verdict.passed() {
                    return Err(Refusal::new(Stage::Host, Vec::new(), Some(verdict)).into());
                }
                open().await?
            }
            answered => answered?,
        };
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).map_err(Error::Verification)?;
        let evidence = answer.evidence.as_ref().map(AsRef::as_ref);
        let attestation = SessionAttestation::verify(
            policy,
            challenge.clone(),
            (key.public_key(), &host, answer.session_id),
            evidence,
            now(),
        )?;
        let keeping = kept.map(|text| Keeping {
            server: self.server().to_string(),
            policy: text.to_owned(),
            client_key,
            host: host.clone(),
            challenge,
            evidence: evidence.unwrap_or_default().to_vec(),
        });
        Ok(self
            .session((key, host), &answer, affinity)?
            .attested(attestation, keeping))
    }

    /// Fetches evidence of the host's identity for a nonce. Nothing of it is verified.
    ///
    /// # Errors
    /// [`Error::Refused`] when the host has nothing to attest with, [`Error::Attestation`] when what it sends can not be
    /// read.
    pub async fn evidence(&self, nonce: &VerifierNonce) -> Result<Evidence, Error> {
        Ok(self.asked(nonce).await?.0)
    }

    /// Evidence, and the TLS connection that it came over.
    async fn asked(&self, nonce: &VerifierNonce) -> Result<(Evidence, Option<Connection>), Error> {
        let path = format!("attestation?nonce={nonce}");
        let (answer, connection) = self.ask(&path, evidence::MAX_LENGTH).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        let evidence = decode_evidence(&answer.body).map_err(|error| {
            let reason = format!("{error}; is it a host of this API?");
            Error::from(Refusal::of(Stage::Host, "evidence", reason))
        })?;
        Ok((evidence, connection))
    }

    /// Asks the host for evidence of its identity, for a nonce made here, and holds it against `policy`. A verdict that did
    /// not pass is no error. Where it passes and names the key with which the host ends TLS, this client and its clones connect to
    /// that key and to no other from then on, whoever signed its certificate.
    ///
    /// # Errors
    /// As [`Self::evidence`].
    pub async fn verify_host(&self, policy: &Policy) -> Result<(Evidence, Verdict), Error> {
        let challenge = challenge()?;
        let (evidence, connection) = self.asked(&challenge.nonce).await?;
        let expected = Expected {
            connection,
            ..Expected::new(ExpectedSubject::Identity, Some(challenge))
        };
        let verdict = verify(&evidence, policy, &expected, now());
        let named = verdict.binding().and_then(|binding| binding.tls_key);
        if let Some(key) = named.filter(|_| connection.is_some()) {
            self.tls().attested(key);
        }
        Ok((evidence, verdict))
    }
}
