//! Sealing a row: what it is bound to.

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::SealingKey;

const ROW: &[u8] = b"hypervisor/v1 store-row\0";
const NAMED_ROW: &[u8] = b"hypervisor/v1 store-row of key\0";
const SEAL_LABEL: &[u8] = b"hypervisor/v1 store seal";
const BLIND_LABEL: &[u8] = b"hypervisor/v1 store blind";

const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals rows under one key.
pub(crate) struct Sealer {
    /// Boxed, so that its schedule has one place and is erased there.
    cipher: Box<Aes256GcmSiv>,
    /// As long as a block of SHA-256, so that HMAC takes it as it is.
    blind: Zeroizing<[u8; 64]>,
    /// Tells keys apart and nothing of them.
    id: KeyId,
    /// Whether what it seals begins with the id: others than this key may have sealed the row beside it.
    is_named: bool,
}

/// What tells keys apart and nothing of them.
pub type KeyId = [u8; 8];

/// Which row a value belongs to: table, key and version.
pub(crate) type Place<'a> = (&'a str, &'a [u8], u64);

impl Sealer {
    pub(crate) fn new(key: &SealingKey) -> Result<Self, Error> {
        let seal = key.derive::<32>(SEAL_LABEL)?;
        Ok(Self {
            cipher: Box::new(Aes256GcmSiv::new((&*seal).into())),
            blind: key.derive(BLIND_LABEL)?,
            id: key.id()?,
            is_named: false,
        })
    }

    /// One of several keys, each of which says which it is in what it seals.
    pub(crate) fn named(key: &SealingKey) -> Result<Self, Error> {
        Ok(Self {
            is_named: true,
            ..Self::new(key)?
        })
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// What a sealed value begins with.
    fn head(&self) -> &[u8] {
        if self.is_named { &self.id } else { &[] }
    }

    fn aad(&self, (table, key, version): Place<'_>) -> Vec<u8> {
        let lp = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let label = if self.is_named { NAMED_ROW } else { ROW };
        let (table, key) = (lp(table.as_bytes()), lp(key));
        [label, self.head(), &table, &key, &version.to_be_bytes()].concat()
    }

    pub(crate) fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Error::Seal("no random numbers"))?;
        // Room for all of it from the start: what grows leaves copies of the plaintext behind.
        let before = self.head().len() + NONCE;
        let mut sealed = Vec::with_capacity(value.len().saturating_add(before + TAG));
        sealed.extend_from_slice(self.head());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let body = sealed.get_mut(before..).unwrap_or_default();
        let tag = self
            .cipher
            .encrypt_inout_detached((&nonce).into(), &self.aad(place), body.into())
            .map_err(|_| Error::Seal("the value is too long"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// None of what does not open.
    pub(crate) fn open(&self, place: Place<'_>, mut sealed: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
        let before = self.head().len();
        let rest = match sealed.split_at_mut_checked(before) {
            Some((head, rest)) if head == self.head() => rest,
            _ => return None,
        };
        let (nonce, body) = rest.split_first_chunk_mut()?;
        let (body, tag) = body.split_last_chunk_mut::<TAG>()?;
        let (nonce, tag, length): ([u8; NONCE], _, _) = (*nonce, Tag::from(*tag), body.len());
        self.cipher
            .decrypt_inout_detached((&nonce).into(), &self.aad(place), body.into(), &tag)
            .ok()?;
        sealed.drain(..before + NONCE);
        sealed.truncate(length);
        Some(Zeroizing::new(sealed))
    }

    pub(crate) fn blind(&self, table: &str, text: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*self.blind).into());
        mac.update(&(table.len() as u64).to_be_bytes());
        mac.update(table.as_bytes());
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}
