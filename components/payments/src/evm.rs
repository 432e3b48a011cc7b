//! Addresses, amounts and nonces as x402 writes them in JSON.

use alloy_primitives::{Address, B256, U256, hex};

/// An address: `0x` and 40 hexadecimal digits. The case of the digits (EIP-55) is not checked.
pub fn address(text: &str) -> Option<Address> {
    bytes::<20>(text).map(Address::from)
}

/// 32 bytes: `0x` and 64 hexadecimal digits.
pub fn word(text: &str) -> Option<B256> {
    bytes::<32>(text).map(B256::from)
}

/// A number of 256 bits in decimal: no sign, no leading zeros.
pub fn amount(text: &str) -> Option<U256> {
    let canonical = text == "0" || !text.starts_with('0');
    // The greatest has 78 digits.
    let digits = (1..=78).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(canonical && digits) {
        return None;
    }
    U256::from_str_radix(text, 10).ok()
}

/// Bytes of any length: `0x` and an even number of hexadecimal digits.
pub fn any_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    only_hexadecimal(digits)
        .then(|| hex::decode(digits).ok())
        .flatten()
}

/// Lower-case hexadecimal with `0x`.
pub fn text(bytes: impl AsRef<[u8]>) -> String {
    hex::encode_prefixed(bytes)
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    any_bytes(text)?.try_into().ok()
}

/// The decoder takes a second `0x` in its stride.
fn only_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_canonical_decimals_of_256_bits() {
        let greatest = U256::MAX.to_string();
        assert_eq!(amount(&greatest), Some(U256::MAX));
        assert_eq!(amount("0"), Some(U256::ZERO));
        let above =
            "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        for bad in [
            above, "", "00", "01", "-1", "+1", "1.0", "1e3", "0x10", "1_000", " 1", "१",
        ] {
            assert_eq!(amount(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_have_forty_digits_behind_0x() {
        let good = "0x857b06519E91e3A54538791bDbb0E22373e36b66";
        assert_eq!(
            address(good).map(text),
            Some(good.to_lowercase()),
            "lower case"
        );
        for bad in [
            "857b06519E91e3A54538791bDbb0E22373e36b66",
            "0x857b06519E91e3A54538791bDbb0E22373e36b6",
            "0x0x7b06519E91e3A54538791bDbb0E22373e36b66",
            "0X857b06519E91e3A54538791bDbb0E22373e36b66",
            "0x857b06519E91e3A54538791bDbb0E22373e36b6g",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
