//! Amounts and prices, in integers: a token has a smallest part, and money has no rounding errors.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Most digits of a price: all of them fit 128 bits.
const MAX_DIGITS: usize = 38;

/// An amount in the smallest parts of an asset. A token counts in 256 bits; 128 are more than any token has of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

/// A price in whole units of an asset, as people write it: `0.05`. An exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Price {
    digits: u128,
    /// How many of the digits are after the point; the last of them is not 0.
    scale: u8,
}

impl Amount {
    /// So many smallest parts.
    pub const fn new(parts: u128) -> Self {
        Self(parts)
    }

    /// The number of smallest parts.
    pub const fn parts(self) -> u128 {
        self.0
    }

    /// Big-endian, 32 bytes: a `uint256` of the chain's.
    pub(crate) fn to_word(self) -> [u8; 32] {
        word(self.0)
    }

    /// In whole units of an asset with so many decimals, without trailing zeros.
    pub fn in_units(self, decimals: u8) -> String {
        let digits = format!("{:0>width$}", self.0, width = usize::from(decimals) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

/// A number as a `uint256`: 32 bytes, big-endian.
pub(crate) fn word(number: u128) -> [u8; 32] {
    let mut word = [0; 32];
    for (to, from) in word.iter_mut().rev().zip(number.to_be_bytes().iter().rev()) {
        *to = *from;
    }
    word
}

impl fmt::Display for Amount {
    /// The number of smallest parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = Error;

    /// A decimal integer without sign or leading zeros.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Setting {
            what: "an amount",
            text: super::cut(text),
            reason: reason.to_owned(),
        };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong("it is digits only"));
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(wrong("it has leading zeros"));
        }
        text.parse()
            .map(Self)
            .map_err(|_| wrong("it is more than any token has"))
    }
}

impl Price {
    /// The most smallest parts that are not above this price, for an asset with so many decimals. Beyond 128 bits it
    /// is the largest [`Amount`]: no amount is above such a price.
    pub fn in_parts(self, decimals: u8) -> Amount {
        let power = |exponent: u8| 10_u128.checked_pow(exponent.into());
        Amount(match decimals.checked_sub(self.scale) {
            // No price but zero is so small that it fits after multiplying by more than 128 bits.
            Some(_) if self.digits == 0 => 0,
            Some(exponent) => power(exponent)
                .and_then(|power| self.digits.checked_mul(power))
                .unwrap_or(u128::MAX),
            None => {
                let exponent = self.scale.saturating_sub(decimals);
                power(exponent).map_or(0, |power| self.digits / power)
            }
        })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Amount(self.digits).in_units(self.scale))
    }
}

impl FromStr for Price {
    type Err = Error;

    /// Digits, and if there is a point, digits after it: `5`, `0.05`. No sign, no exponent, no separators.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Setting {
            what: "a price",
            text: super::cut(text),
            reason,
        };
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return Err(wrong("write it as 5 or 0.05".to_owned()));
        }
        if text.len() > MAX_DIGITS {
            return Err(wrong(format!("it has more than {MAX_DIGITS} characters")));
        }
        let fraction = fraction.unwrap_or_default().trim_end_matches('0');
        let too_long = || wrong("it has too many digits".to_owned());
        Ok(Self {
            digits: format!("{whole}{fraction}")
                .parse()
                .map_err(|_| too_long())?,
            scale: u8::try_from(fraction.len()).map_err(|_| too_long())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_price_is_counted_in_the_assets_parts() {
        assert_eq!(price("0.05").in_parts(6).parts(), 50_000);
        assert_eq!(price("5").in_parts(6).parts(), 5_000_000);
        assert_eq!(price("0.05").in_parts(18).parts(), 50_000_000_000_000_000);
        assert_eq!(price("1").in_parts(0).parts(), 1);
    }

    #[test]
    fn a_fraction_of_the_smallest_part_is_not_allowed_for() {
        assert_eq!(price("0.0000019").in_parts(6).parts(), 1);
        assert_eq!(price("0.0000009").in_parts(6).parts(), 0);
    }

    #[test]
    fn a_price_beyond_128_bits_is_above_every_amount() {
        assert_eq!(
            price("9".repeat(38).as_str()).in_parts(6).parts(),
            u128::MAX
        );
        assert_eq!(price("1").in_parts(255).parts(), u128::MAX);
        assert_eq!(price("0").in_parts(255).parts(), 0);
    }

    #[test]
    fn only_plain_decimals_are_prices() {
        for text in [
            "", ".", ".5", "5.", "-1", "+1", "1e3", "1_000", "1,5", " 1", "1 ", "0x1", "1.2.3",
            "٣", "NaN", "inf",
        ] {
            assert!(text.parse::<Price>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_canonical_integers_are_amounts() {
        for text in ["", "-1", "+1", "01", "00", "1.0", "0x1", "1e3", " 1"] {
            assert!(text.parse::<Amount>().is_err(), "{text:?}");
        }
        assert_eq!("0".parse::<Amount>().unwrap().parts(), 0);
        let most = u128::MAX.to_string();
        assert_eq!(most.parse::<Amount>().unwrap().parts(), u128::MAX);
        // 2^128 and the largest uint256.
        for text in ["340282366920938463463374607431768211456", &"9".repeat(78)] {
            let error = text.parse::<Amount>().unwrap_err().to_string();
            assert!(error.contains("more than any token has"), "{error}");
        }
    }

    #[test]
    fn amounts_are_shown_in_units() {
        for (parts, decimals, text) in [
            (10_000, 6, "0.01"),
            (1_500_000, 6, "1.5"),
            (0, 6, "0"),
            (1, 18, "0.000000000000000001"),
            (7, 0, "7"),
        ] {
            assert_eq!(Amount::new(parts).in_units(decimals), text);
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_the_price_it_is_shown_as(parts: u64, decimals in 0_u8..=18) {
            let amount = Amount::new(parts.into());
            prop_assert_eq!(price(&amount.in_units(decimals)).in_parts(decimals), amount);
        }

        #[test]
        fn a_price_is_exact(whole in 0_u64..1_000_000_000, fraction in 0_u64..1_000_000) {
            let shown = format!("{whole}.{fraction:06}");
            prop_assert_eq!(
                price(&shown).in_parts(6).parts(),
                u128::from(whole) * 1_000_000 + u128::from(fraction)
            );
            prop_assert_eq!(price(&price(&shown).to_string()), price(&shown));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.e+-]{0,60}|.{0,60}", decimals: u8) {
            if let Ok(price) = text.parse::<Price>() {
                price.in_parts(decimals);
            }
            if let Ok(amount) = text.parse::<Amount>() {
                amount.in_units(decimals);
            }
        }
    }
}
