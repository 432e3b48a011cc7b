//! Tokens that may be paid with.

use std::str::FromStr;

use crate::error::Error;
use crate::payment::amount::word;
use crate::payment::{Address, Amount, Network, keccak256};

/// Most decimals of a token that is given by hand; 18 is usual.
const MAX_DECIMALS: u8 = 36;

/// A token with EIP-3009, and the domain that its signatures are made for (EIP-712). These facts are the payer's own: a host
/// that could choose them could sell at a price that looks low.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The chain.
    pub network: Network,
    /// The token's contract.
    pub address: Address,
    /// How many decimals an amount of it has.
    pub decimals: u8,
    /// What people call it.
    pub symbol: String,
    /// `name` of the signing domain.
    pub name: String,
    /// `version` of the signing domain.
    pub version: String,
}

/// Chain id, contract and domain name of USDC, issued natively by Circle. Version 2, 6 decimals. The domains are those of which the
/// contracts' own DOMAIN_SEPARATOR is made: see the test below.
const USDC: [(u64, &str, &str); 10] = [
    (1, "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin"),
    (10, "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85", "USD Coin"),
    (
        137,
        "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        "USD Coin",
    ),
    (
        8453,
        "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
        "USD Coin",
    ),
    (
        42161,
        "0xaf88d065e77c8cC2239327C5EDb3A432268e5831",
        "USD Coin",
    ),
    (
        43114,
        "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E",
        "USD Coin",
    ),
    (
        43113,
        "0x5425890298aed601595a70AB815c96711a31Bc65",
        "USD Coin",
    ),
    (80002, "0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582", "USDC"),
    (84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
    (
        421614,
        "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d",
        "USD Coin",
    ),
];

impl Asset {
    /// The tokens that this crate knows: USDC on ten chains.
    pub fn known() -> impl Iterator<Item = Self> {
        USDC.iter().filter_map(|(chain, address, name)| {
            Some(Self {
                network: Network::new(*chain),
                address: address.parse().ok()?,
                decimals: 6,
                symbol: "USDC".to_owned(),
                name: (*name).to_owned(),
                version: "2".to_owned(),
            })
        })
    }

    /// An amount of it as people read it: `0.01 USDC`.
    pub fn show(&self, amount: Amount) -> String {
        format!("{} {}", amount.in_units(self.decimals), self.symbol)
    }

    /// The hash of the signing domain (EIP-712, `domainSeparator`).
    pub(crate) fn domain_separator(&self) -> [u8; 32] {
        let kind = keccak256(&[
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        ]);
        keccak256(&[
            &kind,
            &keccak256(&[self.name.as_bytes()]),
            &keccak256(&[self.version.as_bytes()]),
            &word(self.network.chain_id().into()),
            &[0; 12],
            self.address.as_bytes(),
        ])
    }
}

impl FromStr for Asset {
    type Err = Error;

    /// `NETWORK/ADDRESS:DECIMALS:NAME:VERSION`, name and version being those of the signing domain. The name serves as symbol.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Setting {
            what: "an asset",
            text: super::cut(text),
            reason,
        };
        let form = || wrong("write it as eip155:8453/0xADDRESS:DECIMALS:NAME:VERSION".to_owned());
        let (network, rest) = text.split_once('/').ok_or_else(form)?;
        let (address, rest) = rest.split_once(':').ok_or_else(form)?;
        let (decimals, rest) = rest.split_once(':').ok_or_else(form)?;
        let (name, version) = rest.rsplit_once(':').ok_or_else(form)?;
        if name.is_empty() || version.is_empty() || text.len() > 256 {
            return Err(form());
        }
        let part = |error: Error| wrong(error.to_string());
        let decimals = decimals.parse::<u8>().ok().filter(|n| *n <= MAX_DECIMALS);
        Ok(Self {
            network: network.parse().map_err(part)?,
            address: address.parse().map_err(part)?,
            decimals: decimals
                .ok_or_else(|| wrong(format!("decimals are a number up to {MAX_DECIMALS}")))?,
            symbol: name.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_asset_is_usable_and_on_a_chain_of_its_own() {
        let networks: Vec<_> = Asset::known().map(|asset| asset.network).collect();
        assert_eq!(networks.len(), USDC.len());
        for network in &networks {
            assert_eq!(networks.iter().filter(|other| *other == network).count(), 1);
            assert!(
                !network.to_string().starts_with("eip155"),
                "{network} has a name"
            );
        }
    }

    #[test]
    fn domains_are_those_of_the_contracts_on_the_chain() {
        // DOMAIN_SEPARATOR() of each contract.
        for (chain, separator) in [
            (
                1,
                "06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335",
            ),
            (
                10,
                "26d9c34bb1a1c312f69c53b2d93b8be20faafba63af2438c6811713c9b1f933f",
            ),
            (
                137,
                "caa2ce1a5703ccbe253a34eb3166df60a705c561b44b192061e28f2a985be2ca",
            ),
            (
                8453,
                "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f",
            ),
            (
                42161,
                "08d11903f8419e68b1b8721bcbe2e9fc68569122a77ef18c216f10b3b5112c78",
            ),
            (
                43114,
                "bbea200329a938bc3438984a49cb0732e66d66d7bd59c127abacc1710e77f7b3",
            ),
            (
                84532,
                "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818",
            ),
        ] {
            let asset = Asset::known()
                .find(|asset| asset.network == Network::new(chain))
                .unwrap();
            assert_eq!(
                const_hex::encode(asset.domain_separator()),
                separator,
                "{chain}"
            );
        }
    }

    #[test]
    fn an_asset_given_by_hand_has_all_its_parts() {
        let asset: Asset = "base/0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238:18:My: Token:1"
            .parse()
            .unwrap();
        assert_eq!(asset.network, Network::new(8453));
        assert_eq!(
            (asset.decimals, asset.name.as_str(), asset.version.as_str()),
            (18, "My: Token", "1")
        );
        assert_eq!(
            asset.show(Amount::new(1_500_000_000_000_000_000)),
            "1.5 My: Token"
        );
    }

    #[test]
    fn an_asset_with_a_part_missing_or_wrong_is_refused() {
        let address = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238";
        for text in [
            String::new(),
            address.to_owned(),
            format!("base/{address}"),
            format!("base/{address}:6:USDC"),
            format!("base/{address}:6::2"),
            format!("base/{address}:6:USDC:"),
            format!("base/{address}:37:USDC:2"),
            format!("base/{address}:-1:USDC:2"),
            format!("bass/{address}:6:USDC:2"),
            "base/0x1234:6:USDC:2".to_owned(),
        ] {
            assert!(text.parse::<Asset>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "base/0x[0-9a-f]{40}:[0-9]{1,3}:.{0,20}|.{0,80}") {
            if let Ok(asset) = text.parse::<Asset>() {
                asset.show(Amount::new(u128::MAX));
                asset.domain_separator();
            }
        }
    }
}
