//! Digests in both the hashes that boot is measured with, and registers that are extended with them.

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256, Sha384};

/// Digests of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Digests {
    /// For the TPM.
    #[serde(serialize_with = "hex")]
    pub sha256: [u8; 32],
    /// For TDX.
    #[serde(serialize_with = "hex")]
    pub sha384: [u8; 48],
}

impl Digests {
    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts([bytes])
    }

    /// Of parts in a row.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut sha256, mut sha384) = (Sha256::new(), Sha384::new());
        for part in parts {
            sha256.update(part);
            sha384.update(part);
        }
        Self {
            sha256: sha256.finalize().into(),
            sha384: sha384.finalize().into(),
        }
    }
}

/// A register that starts with zeros, in both hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Register {
    /// As a PCR of a TPM's bank of this hash.
    #[serde(serialize_with = "hex")]
    pub sha256: [u8; 32],
    /// As an RTMR of TDX.
    #[serde(serialize_with = "hex")]
    pub sha384: [u8; 48],
}

impl Default for Register {
    fn default() -> Self {
        Self {
            sha256: [0; 32],
            sha384: [0; 48],
        }
    }
}

impl Register {
    /// The new value is the hash of the old one and of what was measured.
    pub fn extend(&mut self, digests: &Digests) {
        self.sha256 = Sha256::new()
            .chain_update(self.sha256)
            .chain_update(digests.sha256)
            .finalize()
            .into();
        self.sha384 = Sha384::new()
            .chain_update(self.sha384)
            .chain_update(digests.sha384)
            .finalize()
            .into();
    }
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&const_hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_a_chain() {
        let mut register = Register::default();
        let digests = Digests::of_parts([b"a".as_slice(), b"b"]);
        assert_eq!(digests, Digests::of(b"ab"));
        register.extend(&digests);
        let expected = Sha256::digest([[0; 32], digests.sha256].concat());
        assert_eq!(register.sha256, *expected);
        let once = register;
        register.extend(&digests);
        assert_ne!(register, once);
    }
}
