//! Signatures that `cosign sign --key` makes: ECDSA on P-256 over a payload that names the manifest, kept under a tag beside it. They are
//! checked with the public key alone, without a transparency log or certificates.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

use crate::error::Error;
use crate::reference::Digest;

/// What the payload is in a manifest of signatures.
pub(crate) const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where its signature stands.
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What a payload says it is.
const KIND: &str = "cosign container image signature";

/// A key whose signatures are believed.
#[derive(Debug)]
pub(crate) struct Key(VerifyingKey);

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Key {
    /// The key in a file of PEM.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Key {
            path: PathBuf::from(path),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        VerifyingKey::from_public_key_pem(&text)
            .map(Self)
            .map_err(|error| wrong(error.to_string()))
    }

    /// Whether it signed this payload, and the payload names this manifest.
    pub(crate) fn signed(&self, payload: &[u8], signature: &str, manifest: Digest) -> bool {
        let signature = STANDARD.decode(signature.trim()).ok();
        let signature = signature.and_then(|bytes| DerSignature::try_from(bytes.as_slice()).ok());
        let Some(signature) = signature else {
            return false;
        };
        // What is said is read only after it is known who says it.
        self.0.verify(payload, &signature).is_ok()
            && serde_json::from_slice::<Payload>(payload).is_ok_and(|payload| {
                payload.critical.kind == KIND
                    && Digest::parse(&payload.critical.image.digest) == Some(manifest)
            })
    }
}

/// The tag that signatures of a manifest are under.
pub(crate) fn tag(manifest: Digest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer;

    use super::*;

    fn payload(digest: &str, kind: &str) -> Vec<u8> {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r/n"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
        )
        .into_bytes()
    }

    #[test]
    fn a_signature_counts_for_its_manifest_and_key_alone() {
        let signer = SigningKey::from_slice(&[7; 32]).unwrap();
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        let key = Key(*signer.verifying_key());
        let manifest = Digest::of(b"manifest");
        let sign = |signer: &SigningKey, payload: &[u8]| {
            let signature: DerSignature = signer.sign(payload);
            STANDARD.encode(signature.as_bytes())
        };
        let good = payload(&manifest.to_string(), KIND);
        assert!(key.signed(&good, &sign(&signer, &good), manifest));
        assert!(!key.signed(&good, &sign(&other, &good), manifest));
        assert!(!key.signed(&good, &sign(&signer, &good), Digest::of(b"another")));
        assert!(!key.signed(&good, "AAAA", manifest));
        assert!(!key.signed(&good, "not base64!", manifest));
        for bad in [
            payload(&manifest.to_string(), "another statement"),
            payload(&manifest.hex(), KIND),
            b"{}".to_vec(),
        ] {
            assert!(!key.signed(&bad, &sign(&signer, &bad), manifest));
        }
    }
}
