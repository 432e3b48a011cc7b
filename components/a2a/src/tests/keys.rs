//! A host that vouches.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

use crate::error::Unproved;
use crate::ports::Proofs;

/// What a host has to vouch with.
#[derive(Clone)]
pub struct Keys {
    /// The start of the host.
    pub start: String,
    /// What is said where there is no attester.
    pub unavailable: Option<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            start: "first".to_owned(),
            unavailable: None,
        }
    }
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

impl Proofs for Keys {
    fn start(&self) -> String {
        self.start.clone()
    }

    fn is_attested(&self) -> bool {
        self.unavailable.is_none()
    }

    fn card_key(&self) -> Result<Vec<u8>, Unproved> {
        let point = key().verifying_key().to_sec1_point(true);
        Ok(point.as_bytes().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unproved> {
        let signature: Signature = key().sign(message);
        Ok(signature.to_bytes().to_vec())
    }

    fn evidence(&self, claim: &[u8; 64]) -> Result<Vec<u8>, Unproved> {
        match &self.unavailable {
            None => Ok(claim.to_vec()),
            Some(why) => Err(Unproved::Unavailable(why.clone())),
        }
    }
}
