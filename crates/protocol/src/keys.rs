//! P-256 keys (SEC 1 v2, FIPS 186-5) and the Diffie-Hellman step of a session.

use std::fmt;
use std::hash::{Hash, Hasher};

use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use crate::Error;

/// Bytes of a compressed SEC1 point, the form in which keys enter every derivation and commitment.
pub const COMPRESSED_LENGTH: usize = 33;

/// Bytes of an uncompressed SEC1 point, accepted on input.
pub const UNCOMPRESSED_LENGTH: usize = 65;

/// A validated P-256 public key: on the curve and never the identity. The curve's cofactor is 1, so this is all the
/// validation that SP 800-56A §5.6.2.3 asks for.
#[derive(Clone)]
pub struct PublicKey {
    point: p256::PublicKey,
    compressed: [u8; COMPRESSED_LENGTH],
}

impl PublicKey {
    /// Reads a SEC1 point (SEC 1 §2.3.4): 33 bytes compressed (first byte 2 or 3) or 65 bytes uncompressed (first byte 4).
    ///
    /// # Errors
    /// [`Error::InvalidPublicKey`] for any other length or first byte (the identity is one byte, so it is refused here)
    /// and for coordinates that are not on the curve.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, Error> {
        match (bytes.len(), bytes.first()) {
            (COMPRESSED_LENGTH, Some(2 | 3)) | (UNCOMPRESSED_LENGTH, Some(4)) => {}
            (COMPRESSED_LENGTH | UNCOMPRESSED_LENGTH, _) => {
                return Err(Error::InvalidPublicKey {
                    reason: "the first byte does not fit the length",
                });
            }
            _ => {
                return Err(Error::InvalidPublicKey {
                    reason: "wrong length",
                });
            }
        }
        p256::PublicKey::from_sec1_bytes(bytes)
            .map_err(|_| Error::InvalidPublicKey {
                reason: "the point is not on the curve",
            })
            .and_then(Self::from_point)
    }

    /// The key as a 33-byte compressed SEC1 point.
    pub fn to_bytes(&self) -> [u8; COMPRESSED_LENGTH] {
        self.compressed
    }

    /// The key as a 33-byte compressed SEC1 point, borrowed.
    pub fn as_bytes(&self) -> &[u8; COMPRESSED_LENGTH] {
        &self.compressed
    }

    /// Whether `bytes` are this key as [`Self::from_sec1`] reads it. That costs a square root for a compressed point; this
    /// is a comparison, for a key that is known already.
    pub fn is_sec1(&self, bytes: &[u8]) -> bool {
        match bytes.len() {
            COMPRESSED_LENGTH => self.compressed == bytes,
            UNCOMPRESSED_LENGTH => self.point.as_affine().to_sec1_point(false).as_bytes() == bytes,
            _ => false,
        }
    }

    fn from_point(point: p256::PublicKey) -> Result<Self, Error> {
        let compressed = point
            .as_affine()
            .to_sec1_point(true)
            .as_bytes()
            .try_into()
            .map_err(|_| Error::InvalidPublicKey {
                reason: "the point is the identity",
            })?;
        Ok(Self { point, compressed })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.compressed == other.compressed
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compressed.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", const_hex::encode(self.compressed))
    }
}

impl fmt::Display for PublicKey {
    /// Lower-case hex of the compressed point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.compressed))
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_sec1(bytes)
    }
}

/// A P-256 private key, zeroized on drop. It is neither `Clone` nor readable: it leaves this crate only as derived session
/// keys. A key serves one session (the session's salt is its id, so a second session would still have other keys).
pub struct PrivateKey {
    secret: p256::SecretKey,
    public: PublicKey,
}

impl PrivateKey {
    /// A new random key.
    ///
    /// # Panics
    /// When the operating system's random number generator fails, as nothing can be kept secret then. Use
    /// [`Self::try_generate`] to handle it.
    #[expect(clippy::panic, reason = "no secrecy is possible without randomness")]
    pub fn generate() -> Self {
        match Self::try_generate() {
            Ok(key) => key,
            Err(error) => panic!("{error}"),
        }
    }

    /// A new random key, by rejection sampling (FIPS 186-5 A.2.2).
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's random number generator fails.
    pub fn try_generate() -> Result<Self, Error> {
        Self::generate_with_bytes().map(|(key, _)| key)
    }

    /// The same with its 32 bytes, for an owner to keep.
    pub(crate) fn generate_with_bytes() -> Result<(Self, Zeroizing<[u8; 32]>), Error> {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(bytes.as_mut_slice()).map_err(|_| Error::Random)?;
            // A candidate outside 1..n has a probability of 2^-32.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return Ok((key, bytes));
            }
        }
    }

    /// A key from its 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`Error::InvalidPrivateKey`] when the value is zero or not below the order of the group.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        let secret = p256::SecretKey::from_slice(bytes).map_err(|_| Error::InvalidPrivateKey)?;
        let public = PublicKey::from_point(secret.public_key())?;
        Ok(Self { secret, public })
    }

    /// The public key that belongs to it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The x-coordinate of the shared point, 32 bytes big-endian (SEC 1 §3.3.1).
    pub(crate) fn diffie_hellman(&self, other: &PublicKey) -> p256::ecdh::SharedSecret {
        self.secret.diffie_hellman(&other.point)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
