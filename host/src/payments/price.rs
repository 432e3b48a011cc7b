//! Prices in human units: `0.01 USDC`.

/// A price as the operator wrote it: a decimal number and the name of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Price {
    whole: String,
    fraction: String,
    pub(super) symbol: String,
}

impl Price {
    /// Reads `0.01 USDC`. The text of the error goes into the operator's message.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a price; write it like `0.01 USDC`");
        let mut words = text.split_whitespace();
        let (Some(number), Some(symbol), None) = (words.next(), words.next(), words.next()) else {
            return Err(form());
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(form());
        }
        Ok(Self {
            whole: whole.to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
            symbol: symbol.to_owned(),
        })
    }

    /// The amount in the smallest unit of an asset with this many decimals: digits without leading zeros.
    pub(super) fn in_smallest_units(&self, decimals: u8) -> Result<String, String> {
        let decimals = usize::from(decimals);
        if self.fraction.len() > decimals {
            return Err(format!(
                "{}.{} has more decimal places than the {decimals} of {}",
                self.whole, self.fraction, self.symbol
            ));
        }
        let digits = format!("{}{:0<decimals$}", self.whole, self.fraction);
        match digits.trim_start_matches('0') {
            "" => Err("a price of nothing cannot be paid; free routes need no payment".to_owned()),
            amount => Ok(amount.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, decimals: u8) -> Result<String, String> {
        Price::parse(text)?.in_smallest_units(decimals)
    }

    #[test]
    fn human_units_become_the_smallest_units() {
        assert_eq!(units("0.01 USDC", 6).unwrap(), "10000");
        assert_eq!(units("1 USDC", 6).unwrap(), "1000000");
        assert_eq!(units("12.5 USDC", 6).unwrap(), "12500000");
        assert_eq!(units("0.000001 USDC", 6).unwrap(), "1");
        assert_eq!(units("0.0100000000 USDC", 6).unwrap(), "10000");
        assert_eq!(units("007 X", 0).unwrap(), "7");
        let wei = units("123456789012345678901234567890 X", 18).unwrap();
        assert_eq!(
            wei,
            format!("123456789012345678901234567890{}", "0".repeat(18))
        );
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", "USDC", "0.01", "0.01USDC", "-1 USDC", "1e3 USDC", "1. USDC", ".1 USDC",
            "1 2 USDC", "0x1 USDC",
        ] {
            assert!(
                Price::parse(text).unwrap_err().contains("0.01 USDC"),
                "{text}"
            );
        }
        assert!(
            units("0.0000001 USDC", 6)
                .unwrap_err()
                .contains("decimal places")
        );
        assert!(units("0.00 USDC", 6).unwrap_err().contains("nothing"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", decimals: u8) {
            let _ = units(&text, decimals);
        }
    }
}
