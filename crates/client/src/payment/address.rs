//! Addresses of accounts and contracts.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::payment::keccak256;

/// An address of an EVM chain: 20 bytes, written as `0x` and hex whose letter case is a checksum (EIP-55).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address([u8; 20]);

impl Address {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Whether it is the zero address: nobody's, and what is sent there is lost.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 20]
    }
}

impl From<[u8; 20]> for Address {
    fn from(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Address {
    /// With the checksum of EIP-55: a letter is upper case where the digit of the lower-case text's hash is 8 or more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = const_hex::encode(self.0);
        let hash = const_hex::encode(keccak256(&[digits.as_bytes()]));
        f.write_str("0x")?;
        for (digit, check) in digits.chars().zip(hash.bytes()) {
            let digit = if check >= b'8' {
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
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = Error;

    /// `0x` and 40 hex digits. Mixed case must be the checksum of EIP-55: a mistyped address is nobody's.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Setting {
            what: "an address",
            text: super::cut(text),
            reason: reason.to_owned(),
        };
        let digits = text
            .strip_prefix("0x")
            .filter(|digits| digits.len() == 40)
            .ok_or_else(|| wrong("it is 0x and 40 hex digits"))?;
        let mut bytes = [0; 20];
        const_hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| wrong("it is 0x and 40 hex digits"))?;
        let address = Self(bytes);
        let mixed = digits.contains(|c: char| c.is_ascii_lowercase())
            && digits.contains(|c: char| c.is_ascii_uppercase());
        if mixed && address.to_string() != text {
            return Err(wrong("its letter case is not the checksum of EIP-55"));
        }
        Ok(address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_has_the_checksum_of_eip_55() {
        // The examples of EIP-55.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn one_letter_in_the_wrong_case_is_refused() {
        let error = "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
            .parse::<Address>()
            .unwrap_err();
        assert!(error.to_string().contains("EIP-55"), "{error}");
    }

    #[test]
    fn lower_case_has_no_checksum_and_is_accepted() {
        let text = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
        assert_eq!(
            text.parse::<Address>().unwrap(),
            text.to_ascii_uppercase()
                .replacen("0X", "0x", 1)
                .parse()
                .unwrap()
        );
    }

    #[test]
    fn a_second_prefix_and_other_lengths_are_refused() {
        for text in ["", "0x", "0x0x", "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(
            format!("0x0x{}", "0".repeat(38))
                .parse::<Address>()
                .is_err()
        );
        assert!(format!("0x{}", "0".repeat(41)).parse::<Address>().is_err());
    }

    proptest! {
        #[test]
        fn any_address_survives_its_text(bytes: [u8; 20]) {
            let address = Address::from(bytes);
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = text.parse::<Address>();
        }
    }
}
