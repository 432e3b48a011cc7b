//! Sealing a row: what it is bound to.

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::SealingKey;

const ROW: &[u8] = b"hypervisor/v1 store-row\0";
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
    id: [u8; 8],
}

/// Which row a value belongs to: table, key and version.
pub(crate) type Place<'a> = (&'static str, &'a [u8], u64);

fn aad((table, key, version): Place<'_>) -> Vec<u8> {
    let lp = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
    [ROW, &lp(table.as_bytes()), &lp(key), &version.to_be_bytes()].concat()
}

impl Sealer {
    pub(crate) fn new(key: &SealingKey) -> Result<Self, Error> {
        let seal = key.derive::<32>(SEAL_LABEL)?;
        Ok(Self {
            cipher: Box::new(Aes256GcmSiv::new((&*seal).into())),
            blind: key.derive(BLIND_LABEL)?,
            id: key.id()?,
        })
    }

    pub(crate) fn id(&self) -> String {
        const_hex::encode(self.id)
    }

    pub(crate) fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Error::Seal("no random numbers"))?;
        // Room for all of it from the start: what grows leaves copies of the plaintext behind.
        let mut sealed = Vec::with_capacity(value.len().saturating_add(NONCE + TAG));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let body = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = self
            .cipher
            .encrypt_inout_detached((&nonce).into(), &aad(place), body.into())
            .map_err(|_| Error::Seal("the value is too long"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    pub(crate) fn open(
        &self,
        place: Place<'_>,
        mut sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = || Error::Authentication(place.0);
        let (nonce, body) = sealed.split_first_chunk_mut().ok_or_else(failed)?;
        let (body, tag) = body.split_last_chunk_mut::<TAG>().ok_or_else(failed)?;
        let (nonce, tag, length): ([u8; NONCE], _, _) = (*nonce, Tag::from(*tag), body.len());
        self.cipher
            .decrypt_inout_detached((&nonce).into(), &aad(place), body.into(), &tag)
            .map_err(|_| failed())?;
        sealed.drain(..NONCE);
        sealed.truncate(length);
        Ok(Zeroizing::new(sealed))
    }

    pub(crate) fn blind(&self, table: &str, text: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*self.blind).into());
        mac.update(&(table.len() as u64).to_be_bytes());
        mac.update(table.as_bytes());
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}
