//! Owners of agents: a P-256 key that signs sessions.
//!
//! ```text
//! signature = ECDSA-P256-SHA256("hypervisor/v1 agent-owner" ‖ lp(C) ‖ lp(S) ‖ lp(sid))     r ‖ s, 64 bytes
//! owner id  = first 16 bytes of SHA-256("hypervisor/v1 owner-id" ‖ public key), in hex
//! ```
//!
//! C, S and sid are those of the session. The signature says that whoever holds the session's key C speaks for the owner: it
//! is the same for every request of the session, and of no use in another.

use std::fmt;

use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Error, HexBytes, PrivateKey, PublicKey, SessionId};

const LABEL: &[u8] = b"hypervisor/v1 agent-owner";
const ID_LABEL: &[u8] = b"hypervisor/v1 owner-id";

/// Bytes of an owner's id.
pub const ID_LENGTH: usize = 16;

/// An owner's private key, erased on drop.
pub struct OwnerKey {
    key: SigningKey,
    public: PublicKey,
}

impl OwnerKey {
    /// A new random key, with its bytes to be kept.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's random number generator fails.
    pub fn generate() -> Result<(Self, Zeroizing<[u8; 32]>), Error> {
        let (_, bytes) = PrivateKey::generate_with_bytes()?;
        Ok((Self::from_bytes(&bytes)?, bytes))
    }

    /// A key from its 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`Error::InvalidPrivateKey`] when the value is zero or not below the order of the group.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        let key = SigningKey::from_slice(bytes).map_err(|_| Error::InvalidPrivateKey)?;
        let public = PrivateKey::from_bytes(bytes)?.public_key().clone();
        Ok(Self { key, public })
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The owner's id, which is the second part of its agents' addresses.
    pub fn id(&self) -> String {
        owner_id(&self.public)
    }

    /// Signs a session: the client's key C, the session's key S, and its id.
    pub fn prove(&self, client: &PublicKey, session: &PublicKey, id: &SessionId) -> OwnerProof {
        let signature: Signature = self.key.sign(&message(client, session, id));
        OwnerProof {
            public_key: HexBytes(self.public.to_bytes().to_vec()),
            signature: HexBytes(signature.to_bytes().to_vec()),
        }
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// That the holder of a session speaks for an owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerProof {
    /// The owner's public key: SEC1, 33 or 65 bytes.
    pub public_key: HexBytes,
    /// The signature over the session: `r ‖ s`, 64 bytes.
    pub signature: HexBytes,
}

impl OwnerProof {
    /// Checks it for a session, and gives the owner's key.
    ///
    /// # Errors
    /// [`Error::InvalidPublicKey`], [`Error::InvalidOwner`].
    pub fn verify(
        &self,
        client: &PublicKey,
        session: &PublicKey,
        id: &SessionId,
    ) -> Result<PublicKey, Error> {
        let wrong = |reason| Error::InvalidOwner { reason };
        let owner = PublicKey::from_sec1(&self.public_key.0)?;
        let key = VerifyingKey::from_sec1_bytes(owner.as_bytes())
            .map_err(|_| wrong("the key is not one"))?;
        let signature = Signature::from_slice(&self.signature.0)
            .map_err(|_| wrong("it is not 64 bytes r ‖ s"))?;
        key.verify(&message(client, session, id), &signature)
            .map_err(|_| wrong("it was made for another session or by another key"))?;
        Ok(owner)
    }
}

/// The id of an owner, in lower-case hex: 32 digits.
pub fn owner_id(owner: &PublicKey) -> String {
    let mut hash = Sha256::new_with_prefix(ID_LABEL);
    hash.update(owner.as_bytes());
    let digest = hash.finalize();
    const_hex::encode(digest.get(..ID_LENGTH).unwrap_or_default())
}

fn message(client: &PublicKey, session: &PublicKey, id: &SessionId) -> Vec<u8> {
    let mut message = LABEL.to_vec();
    for part in [
        client.as_bytes().as_slice(),
        session.as_bytes(),
        id.as_bytes(),
    ] {
        // A key has 33 bytes and a session id 16.
        message.extend((part.len() as u32).to_be_bytes());
        message.extend(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_session_and_its_key_only() {
        let (owner, _) = OwnerKey::generate().unwrap();
        let keys = [(); 2].map(|()| PrivateKey::generate());
        let [client, session] = keys.each_ref().map(PrivateKey::public_key);
        let id = SessionId::new();
        let proof = owner.prove(client, session, &id);
        assert_eq!(
            proof.verify(client, session, &id).unwrap(),
            *owner.public_key()
        );
        assert!(proof.verify(session, client, &id).is_err());
        assert!(proof.verify(client, session, &SessionId::new()).is_err());
        let (other, _) = OwnerKey::generate().unwrap();
        let forged = OwnerProof {
            public_key: HexBytes(other.public_key().to_bytes().to_vec()),
            ..proof
        };
        assert!(forged.verify(client, session, &id).is_err());
    }

    #[test]
    fn an_id_is_32_hex_digits_and_the_keys_own() {
        let (a, bytes) = OwnerKey::generate().unwrap();
        let (b, _) = OwnerKey::generate().unwrap();
        assert_eq!(a.id().len(), 32);
        assert_ne!(a.id(), b.id());
        assert_eq!(OwnerKey::from_bytes(&bytes).unwrap().id(), a.id());
    }
}
