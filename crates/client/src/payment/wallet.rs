//! The key that pays.

use std::env::VarError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use k256::ecdsa::SigningKey;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::payment::{Address, keccak256};

/// More than any key file has.
const MAX_FILE: u64 = 1024;

/// A secp256k1 private key and the address that belongs to it. The key is wiped from memory on drop, and is never shown: there
/// is no `Debug`.
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

impl Wallet {
    /// A key of 32 bytes as hex, with or without `0x`; white space around it is ignored.
    ///
    /// # Errors
    /// [`Error::Wallet`] when it is not that, or is not a private key of secp256k1.
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Wallet {
            reason: reason.to_owned(),
        };
        let text = text.trim_ascii();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() != 64 {
            return Err(wrong("it has another length"));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        // The decoder would take off a prefix by itself.
        if digits.starts_with("0x")
            || const_hex::decode_to_slice(digits, bytes.as_mut_slice()).is_err()
        {
            return Err(wrong("it is not hex"));
        }
        let key = SigningKey::from_slice(bytes.as_slice())
            .map_err(|_| wrong("its number is zero or beyond the curve's order"))?;
        let point = key.verifying_key().to_sec1_point(false);
        // The last 20 bytes of the hash of both coordinates (Ethereum yellow paper, appendix F).
        let hash = keccak256(&[point.as_bytes().get(1..).unwrap_or_default()]);
        let mut address = [0; 20];
        for (to, from) in address.iter_mut().zip(hash.iter().skip(12)) {
            *to = *from;
        }
        Ok(Self {
            key,
            address: address.into(),
        })
    }

    /// A file that holds what [`Self::from_hex`] takes.
    ///
    /// # Errors
    /// [`Error::Wallet`] when it can not be read or holds something else, an encrypted keystore for example.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let unreadable = |reason: &str| Error::Wallet {
            reason: format!("{}: {reason}", path.display()),
        };
        // Enough from the start: growing would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
        File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
            .map_err(|error| unreadable(&error.to_string()))?;
        Self::from_hex(&text).map_err(|error| match error {
            Error::Wallet { reason } => unreadable(&reason),
            other => other,
        })
    }

    /// An environment variable that holds what [`Self::from_hex`] takes; nothing when it is not set, or empty.
    ///
    /// # Errors
    /// [`Error::Wallet`] when it holds something else.
    pub fn from_environment(variable: &str) -> Result<Option<Self>, Error> {
        let wrong = |reason: &str| Error::Wallet {
            reason: format!("environment variable {variable}: {reason}"),
        };
        let text = match std::env::var(variable) {
            Ok(text) => Zeroizing::new(text),
            Err(VarError::NotPresent) => return Ok(None),
            Err(VarError::NotUnicode(_)) => return Err(wrong("it is not text")),
        };
        if text.is_empty() {
            return Ok(None);
        }
        Self::from_hex(&text)
            .map(Some)
            .map_err(|error| match error {
                Error::Wallet { reason } => wrong(&reason),
                other => other,
            })
    }

    /// The address that pays.
    pub fn address(&self) -> Address {
        self.address
    }

    /// r ‖ s ‖ v over a digest: s in the lower half and v 27 or 28, as tokens require (EIP-2). The nonce is RFC 6979's.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 65], Error> {
        let (signature, recovery) = self.key.sign_prehash_recoverable(digest);
        // One in 2^127: x of the point was beyond the order, and v can not say so.
        if recovery.is_x_reduced() {
            return Err(Error::Signing {
                reason: "the signature can not be written down; try again".to_owned(),
            });
        }
        let mut bytes = [0; 65];
        let v = [27 + recovery.to_byte()];
        for (to, from) in bytes.iter_mut().zip(signature.to_bytes().iter().chain(&v)) {
            *to = *from;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// The key and address of the example of EIP-712: the key is Keccak-256 of `cow`.
    const KEY: &str = "c85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4";
    const ADDRESS: &str = "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826";

    fn reason(text: &str) -> String {
        match Wallet::from_hex(text) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_address_belongs_to_the_key() {
        assert_eq!(
            Wallet::from_hex(KEY).unwrap().address().to_string(),
            ADDRESS
        );
    }

    #[test]
    fn a_prefix_and_a_newline_are_allowed() {
        for text in [
            format!("0x{KEY}"),
            format!("{KEY}\n"),
            format!("0x{}\r\n", KEY.to_uppercase()),
        ] {
            assert_eq!(
                Wallet::from_hex(&text).unwrap().address().to_string(),
                ADDRESS
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let other = format!("0x0x{}", &KEY[..62]);
        let short = &KEY[..62];
        let letter = format!("{}g", &KEY[..63]);
        for text in ["", "0x", order, &"0".repeat(64), &other, short, &letter] {
            let reason = reason(text);
            assert!(reason.contains("64 hex digits"), "{reason}");
            assert!(text.len() < 8 || !reason.contains(&text[..8]), "{reason}");
        }
    }

    #[test]
    fn a_key_file_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "0x{KEY}").unwrap();
        assert_eq!(
            Wallet::from_file(file.path())
                .unwrap()
                .address()
                .to_string(),
            ADDRESS
        );
    }

    #[test]
    fn a_key_file_that_is_missing_or_something_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("payer.key");
        let error = Wallet::from_file(&missing).err().unwrap().to_string();
        assert!(
            error.contains("payer.key") && error.contains("No such file"),
            "{error}"
        );
        std::fs::write(&missing, r#"{"version":3,"crypto":{}}"#).unwrap();
        let error = Wallet::from_file(&missing).err().unwrap().to_string();
        assert!(
            error.contains("payer.key") && error.contains("64 hex digits"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(0x)?[0-9a-fA-F]{60,68}|.{0,80}") {
            let _ = Wallet::from_hex(&text);
        }
    }
}
