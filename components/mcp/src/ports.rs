//! What this front needs of the world besides requests inside the host. Plain code behind it is tested natively.

use front::ports::{Client, Ports, Streams};

use crate::error::Unkept;

/// All of it.
pub trait World: Ports + Streams + Client + Rows + Seals {}

impl<W: Ports + Streams + Client + Rows + Seals> World for W {}

/// Rows that outlive the instance, in buckets of this component's own.
pub trait Rows {
    /// The value of a key.
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, Unkept>;

    /// Writes it.
    fn set(&self, bucket: &str, key: &str, value: &[u8]) -> Result<(), Unkept>;

    /// Removes it.
    fn delete(&self, bucket: &str, key: &str) -> Result<(), Unkept>;
}

/// Time, chance, and a key that all instances of this component have until the host ends.
pub trait Seals {
    /// Seconds since 1970.
    fn now(&self) -> u64;

    /// Random bytes that nobody can guess.
    fn random(&self) -> [u8; 16];

    /// The signature of a message: 64 bytes. None where the host makes none.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;

    /// Whether [`sign`](Self::sign) made this signature of this message.
    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool;
}

/// An id that nobody can guess: 32 hexadecimal digits.
pub fn fresh(seals: &impl Seals) -> String {
    format!("{:032x}", u128::from_be_bytes(seals.random()))
}

/// Whether a text may be one.
pub fn is_fresh(text: &str) -> bool {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 32 && text.bytes().all(is_digit)
}
