//! Chains.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::Error;

/// An EVM chain, by its chain id. Written as CAIP-2 `eip155:8453`, or by its name where it has one here: `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(u64);

/// Names as x402 version 1 and chain lists use them.
const NAMES: [(u64, &str); 10] = [
    (1, "ethereum"),
    (10, "optimism"),
    (137, "polygon"),
    (8453, "base"),
    (42161, "arbitrum"),
    (43113, "avalanche-fuji"),
    (43114, "avalanche"),
    (80002, "polygon-amoy"),
    (84532, "base-sepolia"),
    (421614, "arbitrum-sepolia"),
];

impl Network {
    /// The chain with this id (EIP-155).
    pub const fn new(chain_id: u64) -> Self {
        Self(chain_id)
    }

    /// The chain id (EIP-155).
    pub const fn chain_id(self) -> u64 {
        self.0
    }

    /// `eip155:` and the chain id (CAIP-2).
    pub fn caip2(self) -> String {
        format!("eip155:{}", self.0)
    }

    /// Reads CAIP-2 alone: what x402 version 2 sends.
    pub(crate) fn from_caip2(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("eip155:")?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for Network {
    /// The name, or CAIP-2 for a chain without one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(id, _)| *id == self.0) {
            Some((_, name)) => f.write_str(name),
            None => f.write_str(&self.caip2()),
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named
            .map(|(id, _)| Self(*id))
            .or_else(|| Self::from_caip2(text))
            .ok_or_else(|| Error::Setting {
                what: "a network",
                text: super::cut(text),
                reason: format!(
                    "it is eip155: and a chain id, or one of {}",
                    NAMES.map(|(_, name)| name).join(", ")
                ),
            })
    }
}

impl Serialize for Network {
    /// CAIP-2.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.caip2())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_is_named_or_numbered() {
        assert_eq!("base-sepolia".parse::<Network>().unwrap().chain_id(), 84532);
        assert_eq!(
            "eip155:84532".parse::<Network>().unwrap().to_string(),
            "base-sepolia"
        );
        assert_eq!(
            "eip155:5042".parse::<Network>().unwrap().to_string(),
            "eip155:5042"
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "bass".parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("`bass` is not a network"), "{error}");
        assert!(error.contains("base-sepolia"), "{error}");
    }

    #[test]
    fn only_canonical_chain_ids_are_read() {
        for text in [
            "eip155:",
            "eip155:0",
            "eip155:01",
            "eip155:+1",
            "eip155:1 ",
            "8453",
            "solana:1",
            "EIP155:1",
        ] {
            assert_eq!(Network::from_caip2(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_survives_its_text(id in 1_u64..) {
            let network = Network::new(id);
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
            prop_assert_eq!(Network::from_caip2(&network.caip2()), Some(network));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "eip155:.{0,30}|.{0,40}") {
            let _ = text.parse::<Network>();
        }
    }
}
