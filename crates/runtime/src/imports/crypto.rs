//! `hypervisor:plugin/crypto`: primitives at native speed, and signing keys that components use but never see.
//!
//! Every input comes from untrusted code. Malformed input is answered with a typed [`ErrorCode`]; nothing here traps or
//! panics on it. Work and memory are bounded by [`CryptoLimits`], because a host call does not count against the guest's
//! own limits.

mod aead;
mod hash;
mod length;
mod signature;
mod signing_key;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use zeroize::Zeroizing;

use super::bindings::hypervisor::plugin::crypto as wit;

pub use signing_key::{KeyRoot, NamedKeys, SigningKey};
pub use wit::{DigestAlgorithm, ErrorCode, Host, HostSigningKey, LengthMismatch};

/// Bounds on what one instance may ask of the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoLimits {
    /// The longest byte string taken as one parameter, in bytes. The interface promises components at least 1 MiB.
    pub max_input: usize,
    /// How many signing keys may be alive at one time.
    pub max_signing_keys: u32,
}

impl Default for CryptoLimits {
    /// 16 MiB (some tens of milliseconds of hashing) and 64 keys.
    fn default() -> Self {
        Self {
            max_input: 16 << 20,
            max_signing_keys: 64,
        }
    }
}

/// What the import keeps for one instance, beside the keys in the resource table.
#[derive(Debug, Default)]
pub struct CryptoCtx {
    limits: CryptoLimits,
    live_signing_keys: u32,
}

impl CryptoCtx {
    /// A context for a new instance, which holds no keys.
    #[must_use]
    pub fn new(limits: CryptoLimits) -> Self {
        Self {
            limits,
            live_signing_keys: 0,
        }
    }
}

/// The parts of a store's data that the import works on.
pub struct CryptoView<'a> {
    /// Where the signing keys live. Dropping it erases them.
    pub table: &'a mut ResourceTable,
    /// Limits and counts.
    pub ctx: &'a mut CryptoCtx,
    /// The named keys of the program; none where it is not known which program it is.
    pub named: Option<NamedKeys>,
}

/// Ties [`CryptoView`] to the generated bindings.
struct Crypto;

impl HasData for Crypto {
    type Data<'a> = CryptoView<'a>;
}

/// Adds `hypervisor:plugin/crypto@0.1.1` to `linker`. `get` projects a store's data to the view.
///
/// # Errors
///
/// The linker already has an interface of that name, and does not allow shadowing.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> CryptoView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Crypto>(linker, get)
}

impl CryptoView<'_> {
    /// Refuses a parameter beyond the host's bound.
    fn bounded(&self, parameter: &str, bytes: &[u8]) -> Result<(), ErrorCode> {
        length::within(parameter, bytes.len(), 0, self.ctx.limits.max_input)
    }
}

impl wit::Host for CryptoView<'_> {
    fn digest(&mut self, algorithm: DigestAlgorithm, data: Vec<u8>) -> Result<Vec<u8>, ErrorCode> {
        self.bounded("data", &data)?;
        Ok(hash::digest(algorithm, &data))
    }

    fn hmac(
        &mut self,
        algorithm: DigestAlgorithm,
        key: Vec<u8>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let key = Zeroizing::new(key);
        self.bounded("key", &key)?;
        self.bounded("data", &data)?;
        hash::hmac(algorithm, &key, &data)
    }

    fn hmac_verify(
        &mut self,
        algorithm: DigestAlgorithm,
        key: Vec<u8>,
        data: Vec<u8>,
        tag: Vec<u8>,
    ) -> Result<(), ErrorCode> {
        let key = Zeroizing::new(key);
        self.bounded("key", &key)?;
        self.bounded("data", &data)?;
        hash::hmac_verify(algorithm, &key, &data, &tag)
    }

    fn hkdf(
        &mut self,
        algorithm: DigestAlgorithm,
        ikm: Vec<u8>,
        salt: Vec<u8>,
        info: Vec<u8>,
        length: u32,
    ) -> Result<Vec<u8>, ErrorCode> {
        let ikm = Zeroizing::new(ikm);
        self.bounded("ikm", &ikm)?;
        self.bounded("salt", &salt)?;
        self.bounded("info", &info)?;
        hash::hkdf(algorithm, &ikm, &salt, &info, length)
    }

    fn p256_verify(
        &mut self,
        public_key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), ErrorCode> {
        self.bounded("message", &message)?;
        signature::p256_verify(&public_key, &message, &signature)
    }

    fn ed25519_verify(
        &mut self,
        public_key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), ErrorCode> {
        self.bounded("message", &message)?;
        signature::ed25519_verify(&public_key, &message, &signature)
    }

    fn secp256k1_verify(
        &mut self,
        public_key: Vec<u8>,
        prehash: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), ErrorCode> {
        signature::secp256k1_verify(&public_key, &prehash, &signature)
    }

    fn secp256k1_recover(
        &mut self,
        prehash: Vec<u8>,
        signature: Vec<u8>,
        recovery_id: u8,
    ) -> Result<Vec<u8>, ErrorCode> {
        signature::secp256k1_recover(&prehash, &signature, recovery_id)
    }

    fn aes_gcm_siv_seal(
        &mut self,
        key: Vec<u8>,
        nonce: Vec<u8>,
        aad: Vec<u8>,
        plaintext: Vec<u8>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let key = Zeroizing::new(key);
        self.bounded("aad", &aad)?;
        self.bounded("plaintext", &plaintext)?;
        aead::seal(&key, &nonce, &aad, plaintext)
    }

    fn aes_gcm_siv_open(
        &mut self,
        key: Vec<u8>,
        nonce: Vec<u8>,
        aad: Vec<u8>,
        ciphertext: Vec<u8>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let key = Zeroizing::new(key);
        self.bounded("aad", &aad)?;
        // What `seal` makes of the longest plaintext can be opened.
        let longest = self.ctx.limits.max_input.saturating_add(aead::TAG_LENGTH);
        length::within("ciphertext", ciphertext.len(), aead::TAG_LENGTH, longest)?;
        aead::open(&key, &nonce, &aad, ciphertext)
    }
}

impl CryptoView<'_> {
    /// A handle to a key that `make` makes, where there is room for one.
    fn held(
        &mut self,
        make: impl FnOnce(&Self) -> Result<SigningKey, ErrorCode>,
    ) -> wasmtime::Result<Result<Resource<SigningKey>, ErrorCode>> {
        let limit = self.ctx.limits.max_signing_keys;
        if self.ctx.live_signing_keys >= limit {
            return Ok(Err(ErrorCode::TooManyKeys(limit)));
        }
        let key = match make(self) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        let handle = self.table.push(key)?;
        self.ctx.live_signing_keys = self.ctx.live_signing_keys.saturating_add(1);
        Ok(Ok(handle))
    }
}

impl wit::HostSigningKey for CryptoView<'_> {
    fn generate(&mut self) -> wasmtime::Result<Result<Resource<SigningKey>, ErrorCode>> {
        self.held(|_| SigningKey::generate())
    }

    fn named(
        &mut self,
        label: String,
    ) -> wasmtime::Result<Result<Resource<SigningKey>, ErrorCode>> {
        self.held(|view| {
            length::within("label", label.len(), 1, signing_key::MAX_LABEL)?;
            let unknown = || ErrorCode::InternalError(Some("no program is known here".to_owned()));
            let named = view.named.as_ref().ok_or_else(unknown)?;
            named.named(&label)
        })
    }

    fn sign(
        &mut self,
        key: Resource<SigningKey>,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, ErrorCode>> {
        let key = self.table.get(&key)?;
        Ok(self
            .bounded("message", &message)
            .and_then(|()| key.sign(&message)))
    }

    fn public_key(&mut self, key: Resource<SigningKey>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&key)?.public_key())
    }

    fn drop(&mut self, key: Resource<SigningKey>) -> wasmtime::Result<()> {
        self.table.delete(key)?;
        self.ctx.live_signing_keys = self.ctx.live_signing_keys.saturating_sub(1);
        Ok(())
    }
}
