//! The `signing-key` resource.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::Generate;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ErrorCode;

/// What named keys are derived with: this, SHA-384 of the program, the number of the candidate, the name.
const INFO: &[u8] = b"hypervisor/v1 named-key\0";
/// Longest name of a key, bytes.
pub(super) const MAX_LABEL: usize = 64;
/// Of as many candidates one is a key but for a chance of 2^-256.
const CANDIDATES: u8 = 8;

/// A P-256 private key of one instance.
///
/// It is made here, has no way out, and is zeroized when dropped (as [`p256::ecdsa::SigningKey`] is). It signs with the
/// deterministic nonces of RFC 6979, so that a bad random number cannot give it away.
pub struct SigningKey(p256::ecdsa::SigningKey);

impl SigningKey {
    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InternalError`] if the operating system has none.
    pub fn generate() -> Result<Self, ErrorCode> {
        p256::ecdsa::SigningKey::try_generate()
            .map(Self)
            .map_err(|_| ErrorCode::InternalError(Some("no random numbers".to_owned())))
    }

    /// A component's key of a name: `root` and the component's digest give always the same.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InternalError`], which does not happen.
    fn derived(root: &KeyRoot, program: &[u8; 48], label: &str) -> Result<Self, ErrorCode> {
        let failed = || ErrorCode::InternalError(None);
        let hkdf = Hkdf::<Sha256>::from_prk(root.0.as_slice()).map_err(|_| failed())?;
        let mut candidate = Zeroizing::new([0; 32]);
        for number in 0..CANDIDATES {
            let info = [INFO, program.as_slice(), &[number], label.as_bytes()];
            let expanded = hkdf.expand_multi_info(&info, candidate.as_mut_slice());
            expanded.map_err(|_| failed())?;
            // Not every 32 bytes are below the order of the group.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(candidate.as_slice()) {
                return Ok(Self(key));
            }
        }
        Err(failed())
    }

    /// The ES256 signature of `message`: `r || s`, 64 bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ErrorCode> {
        let signature: Signature = self
            .0
            .try_sign(message)
            .map_err(|_| ErrorCode::InternalError(None))?;
        Ok(signature.to_bytes().to_vec())
    }

    /// The public key: a SEC 1 point, compressed, 33 bytes.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.0
            .verifying_key()
            .to_sec1_point(true)
            .as_bytes()
            .to_vec()
    }
}

/// What the named keys of all components are derived from: random, of this process, and of no use for anything else.
#[derive(Clone)]
pub struct KeyRoot(Arc<Zeroizing<[u8; 32]>>);

impl KeyRoot {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InternalError`] if the operating system has no random numbers.
    pub fn generate() -> Result<Self, ErrorCode> {
        let mut root = Zeroizing::new([0; 32]);
        getrandom::fill(root.as_mut_slice())
            .map_err(|_| ErrorCode::InternalError(Some("no random numbers".to_owned())))?;
        Ok(Self(Arc::new(root)))
    }

    /// What gives the keys of one component, by its SHA-384.
    pub fn of(&self, program: [u8; 48]) -> NamedKeys {
        NamedKeys {
            root: self.clone(),
            program,
        }
    }
}

/// Gives the named keys of one component.
#[derive(Clone)]
pub struct NamedKeys {
    root: KeyRoot,
    program: [u8; 48],
}

impl NamedKeys {
    pub(super) fn named(&self, label: &str) -> Result<SigningKey, ErrorCode> {
        SigningKey::derived(&self.root, &self.program, label)
    }
}

impl fmt::Debug for NamedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NamedKeys").finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
