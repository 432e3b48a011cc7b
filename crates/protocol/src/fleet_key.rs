//! The keys of a fleet on their way from a host that has them to one that asks for them.
//!
//! ```text
//! prk    = HKDF-Extract(salt = exchange, ikm = ECDH x-coordinate)                         RFC 5869 §2.2, SHA-256
//! k      = HKDF-Expand(prk, "hypervisor/v1 fleet-key" ‖ J ‖ M, 32)                         RFC 5869 §2.3
//! sealed = 12 random bytes, the nonce ‖ AES-256-GCM-SIV(k, nonce, aad, keys), its tag at the end
//! aad    = "hypervisor/v1 fleet-key" ‖ 0x00 ‖ policy
//! ```
//!
//! J and M are the joiner's and the member's public keys of this exchange, 33 bytes each; `exchange` is its id, 16 bytes; `policy` is the
//! SHA-256 of the policy by which both judge each other. No key of a session is made by this label, so that neither end can be had to
//! open or seal a fleet's key as something else.

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::scrub::without_trace;
use crate::sealing::{NONCE_LENGTH, TAG_LENGTH};
use crate::{Error, PrivateKey, PublicKey, SessionId};

/// Bytes of a fleet's keys at most.
pub const MOST_BYTES: usize = 256;

const LABEL: &[u8] = b"hypervisor/v1 fleet-key";

/// Which exchange a key is sealed in.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The joiner's public key.
    pub joiner: &'a PublicKey,
    /// The member's.
    pub member: &'a PublicKey,
    /// Its id.
    pub id: SessionId,
    /// SHA-256 of the policy by which both judge.
    pub policy: [u8; 32],
}

impl Exchange<'_> {
    /// Seals a fleet's keys: `own` is the member's private key.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::KeyDerivation`].
    pub fn seal(&self, own: &PrivateKey, keys: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| Error::Random)?;
        let mut body = Zeroizing::new(keys.to_vec());
        let tag = self.cipher(own, self.joiner)?.encrypt_inout_detached(
            (&nonce).into(),
            &self.associated_data(),
            body.as_mut_slice().into(),
        );
        let tag = tag.map_err(|_| Error::KeyDerivation)?;
        Ok([&nonce[..], &body[..], &tag[..]].concat())
    }

    /// Opens what a member sealed: `own` is the joiner's private key.
    ///
    /// # Errors
    /// [`Error::FleetKey`] for anything but keys that were sealed in this exchange.
    pub fn open(&self, own: &PrivateKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (nonce, rest) = sealed
            .split_first_chunk::<NONCE_LENGTH>()
            .ok_or(Error::FleetKey)?;
        let (body, tag) = rest
            .split_last_chunk::<TAG_LENGTH>()
            .filter(|(body, _)| body.len() <= MOST_BYTES)
            .ok_or(Error::FleetKey)?;
        let mut keys = Zeroizing::new(body.to_vec());
        self.cipher(own, self.member)?
            .decrypt_inout_detached(
                nonce.into(),
                &self.associated_data(),
                keys.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Error::FleetKey)?;
        Ok(keys)
    }

    /// Boxed, so that its schedule has one place and is erased there.
    fn cipher(&self, own: &PrivateKey, other: &PublicKey) -> Result<Box<Aes256GcmSiv>, Error> {
        without_trace(|| {
            let shared = own.diffie_hellman(other);
            let (mut prk, hkdf) =
                Hkdf::<Sha256>::extract(Some(self.id.as_bytes()), shared.raw_secret_bytes());
            prk.as_mut_slice().zeroize();
            let info = [LABEL, self.joiner.as_bytes(), self.member.as_bytes()];
            let mut key = Zeroizing::new([0; 32]);
            hkdf.expand_multi_info(&info, key.as_mut_slice())
                .map_err(|_| Error::KeyDerivation)?;
            Ok(Box::new(Aes256GcmSiv::new((&*key).into())))
        })
    }

    fn associated_data(&self) -> Vec<u8> {
        [LABEL, &[0], &self.policy].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn exchange<'a>(joiner: &'a PrivateKey, member: &'a PrivateKey) -> Exchange<'a> {
        Exchange {
            joiner: joiner.public_key(),
            member: member.public_key(),
            id: SessionId::from_bytes([3; 16]),
            policy: [5; 32],
        }
    }

    #[test]
    fn a_key_opens_in_the_exchange_that_it_was_sealed_in_and_in_no_other() {
        let [joiner, member, other] = [(); 3].map(|()| PrivateKey::generate());
        let own = exchange(&joiner, &member);
        let sealed = own.seal(&member, &KEY).unwrap();
        assert_eq!(own.open(&joiner, &sealed).unwrap().as_slice(), KEY);
        let later = Exchange {
            id: SessionId::from_bytes([4; 16]),
            ..own
        };
        let by_another_policy = Exchange {
            policy: [6; 32],
            ..own
        };
        let with_another = exchange(&joiner, &other);
        for wrong in [later, by_another_policy, with_another] {
            assert_eq!(wrong.open(&joiner, &sealed).err(), Some(Error::FleetKey));
        }
        assert_eq!(own.open(&other, &sealed).err(), Some(Error::FleetKey));
        let long = own.seal(&member, &[7; MOST_BYTES + 1]).unwrap();
        assert_eq!(own.open(&joiner, &long).err(), Some(Error::FleetKey));
    }

    proptest! {
        #[test]
        fn what_no_member_sealed_does_not_open(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let [joiner, member] = [(); 2].map(|()| PrivateKey::generate());
            prop_assert!(exchange(&joiner, &member).open(&joiner, &bytes).is_err());
        }
    }
}
