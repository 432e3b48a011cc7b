//! COSE_Sign1 (RFC 9052) with ES256 (RFC 9053) by the host's identity key, in the one form that this protocol has: tagged,
//! algorithm and content type in the protected header, nothing else in any header, the payload attached.

use coset::{
    ContentType, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, RegisteredLabelWithPrivate,
    TaggedCborSerializable, iana,
};
use hypervisor_protocol::{ContentFormat, PublicKey};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::bound;
use crate::{Error, document};

/// The most bytes of a signed document.
pub(crate) const MAX_LENGTH: usize = 16 << 10;

/// A document of this protocol that is signed.
pub(crate) trait Signed: Serialize + DeserializeOwned {
    const WHAT: &'static str;
    const CONTENT_TYPE: &'static str;

    /// Bounds that its fields have.
    fn check(&self) -> Result<(), Error>;

    fn sign_with<E: std::fmt::Display>(
        &self,
        signer: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    ) -> Result<Vec<u8>, Error> {
        self.check()?;
        let payload = document::encode(Self::WHAT, ContentFormat::Cbor, self)?;
        sign(Self::WHAT, Self::CONTENT_TYPE, payload, signer)
    }

    fn verified(bytes: &[u8], identity: &PublicKey) -> Result<Self, Error> {
        let payload = verify(Self::WHAT, Self::CONTENT_TYPE, bytes, identity)?;
        let read: Self = document::decode(Self::WHAT, ContentFormat::Cbor, &payload)?;
        read.check()?;
        Ok(read)
    }
}

fn header(content_type: &str) -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES256)
        .content_type(content_type.to_owned())
        .build()
}

/// Signs `payload`. `sign` gets the bytes to be signed (the Sig_structure) and returns r ‖ s of ECDSA over their SHA-256.
fn sign<E: std::fmt::Display>(
    what: &'static str,
    content_type: &str,
    payload: Vec<u8>,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<Vec<u8>, Error> {
    CoseSign1Builder::new()
        .protected(header(content_type))
        .payload(payload)
        .try_create_signature(&[], |message| sign(message).map(low_s))
        .map_err(|error| Error::Signer {
            what,
            reason: error.to_string(),
        })?
        .build()
        .to_tagged_vec()
        .map_err(|error| Error::Encode {
            what,
            reason: error.to_string(),
        })
}

/// The lower of the two values of s that verify.
fn low_s(bytes: [u8; 64]) -> Vec<u8> {
    Signature::from_slice(&bytes).map_or_else(
        // Not a signature: the verifier says so.
        |_| bytes.to_vec(),
        |signature| signature.normalize_s().to_bytes().to_vec(),
    )
}

/// The payload, once the form is right and the signature verifies under `key`.
fn verify(
    what: &'static str,
    content_type: &str,
    bytes: &[u8],
    key: &PublicKey,
) -> Result<Vec<u8>, Error> {
    bound(what, bytes, MAX_LENGTH)?;
    let malformed = |reason: String| Error::Malformed { what, reason };
    let message =
        CoseSign1::from_tagged_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    // Sign1 has one encoding here, so that its bytes identify it.
    if message.clone().to_tagged_vec().ok().as_deref() != Some(bytes) {
        return Err(malformed(
            "it is not in the deterministic encoding".to_owned(),
        ));
    }
    let protected = &message.protected.header;
    if protected.alg != Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES256)) {
        return Err(malformed("its algorithm is not ES256".to_owned()));
    }
    if protected.content_type != Some(ContentType::Text(content_type.to_owned())) {
        return Err(malformed(format!("its content type is not {content_type}")));
    }
    if *protected != header(content_type) || !message.unprotected.is_empty() {
        return Err(malformed(
            "its headers hold more than algorithm and content type".to_owned(),
        ));
    }
    let refused = Error::Signature { what };
    let Ok(verifier) = VerifyingKey::from_sec1_bytes(key.as_bytes()) else {
        return Err(refused);
    };
    message
        .verify_signature(&[], |signature, signed| {
            let signature = Signature::from_slice(signature)?;
            // (r, n − s) verifies as well; one of the two is let through, so that nobody but the signer makes the bytes.
            if signature.normalize_s() != signature {
                return Err(p256::ecdsa::Error::new());
            }
            verifier.verify(signed, &signature)
        })
        .map_err(|_| refused)?;
    message
        .payload
        .ok_or_else(|| malformed("it has no payload".to_owned()))
}
