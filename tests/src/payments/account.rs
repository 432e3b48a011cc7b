//! Accounts and the hash that everything on the chain is named by (EIP-55, SEC 1, Keccak-256).

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use sha3::{Digest, Keccak256};

/// An account's address; shown with the checksum of EIP-55.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// An address that nobody has the key of.
    pub fn random() -> Self {
        Self(random())
    }

    /// The address of a public key: the last 20 bytes of its hash.
    pub fn of(key: &VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        Self::from_word(&keccak(&point.as_bytes()[1..]))
    }

    /// Reads a 32-byte word of the ABI.
    pub fn from_word(word: &[u8; 32]) -> Self {
        Self(word[12..].try_into().unwrap())
    }

    /// A 32-byte word of the ABI.
    pub fn word(&self) -> [u8; 32] {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&self.0);
        word
    }
}

impl FromStr for Address {
    type Err = const_hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const_hex::decode_to_array(text).map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = const_hex::encode(self.0);
        let hash = const_hex::encode(keccak(digits.as_bytes()));
        f.write_str("0x")?;
        for (digit, check) in digits.chars().zip(hash.chars()) {
            let digit = if check >= '8' {
                digit.to_ascii_uppercase()
            } else {
                digit
            };
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Somebody who can sign.
#[derive(Clone)]
pub struct Payer {
    key: SigningKey,
    address: Address,
}

impl Payer {
    /// A payer with a new key, and no money.
    pub fn generate() -> Self {
        Self::from_key(&random::<32>())
    }

    /// A payer with this private key.
    pub fn from_key(key: &[u8; 32]) -> Self {
        let key = SigningKey::from_slice(key).unwrap();
        let address = Address::of(key.verifying_key());
        Self { key, address }
    }

    /// Where the payer's money is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest; `s` is low.
    pub fn sign(&self, digest: &[u8; 32]) -> (Signature, RecoveryId) {
        self.key.sign_prehash_recoverable(digest)
    }

    /// The private key as hex, for a client outside this process.
    pub fn private_key(&self) -> String {
        const_hex::encode_prefixed(self.key.to_bytes())
    }
}

/// Keccak-256.
pub fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// A number as a 32-byte word of the ABI.
pub fn word(number: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&number.to_be_bytes());
    word
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
