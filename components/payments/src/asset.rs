//! The tokens that prices may be in: the operator's own, and those known by name.

use serde_json::{Map, Value};

use crate::networks;
use crate::quoting::Asset;
use crate::svm;

/// Circle's own USDC: chain, contract, and `name` of its EIP-712 domain, whose version is 2. It has six decimals.
const USDC: [(&str, &str, &str); 10] = [
    (
        "eip155:1",
        "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        "USD Coin",
    ),
    (
        "eip155:10",
        "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85",
        "USD Coin",
    ),
    (
        "eip155:137",
        "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        "USD Coin",
    ),
    (
        "eip155:8453",
        "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
        "USD Coin",
    ),
    (
        "eip155:42161",
        "0xaf88d065e77c8cC2239327C5EDb3A432268e5831",
        "USD Coin",
    ),
    (
        "eip155:43113",
        "0x5425890298aed601595a70AB815c96711a31Bc65",
        "USD Coin",
    ),
    (
        "eip155:43114",
        "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E",
        "USD Coin",
    ),
    (
        "eip155:80002",
        "0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582",
        "USDC",
    ),
    (
        "eip155:84532",
        "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "USDC",
    ),
    (
        "eip155:421614",
        "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d",
        "USD Coin",
    ),
];

/// A token, and how it is transferred.
#[derive(Debug)]
pub struct Token {
    pub address: String,
    pub decimals: u8,
    /// On an EVM chain: `name` and `version` of the EIP-712 domain that authorizations of it are signed for.
    domain: Option<(String, String)>,
    /// By Permit2, in `exact` too.
    by_permit2: bool,
}

impl Token {
    /// What offers on an EVM chain carry besides: the EIP-712 domain; where it is paid by Permit2, that it is, and in `upto` by which
    /// facilitator.
    pub fn extra(&self, facilitator: Option<&str>) -> Map<String, Value> {
        let mut extra = Map::new();
        if let Some((name, version)) = &self.domain {
            extra.insert("name".to_owned(), name.clone().into());
            extra.insert("version".to_owned(), version.clone().into());
        }
        if self.by_permit2 || facilitator.is_some() {
            extra.insert("assetTransferMethod".to_owned(), "permit2".into());
        }
        if let Some(account) = facilitator {
            extra.insert("facilitatorAddress".to_owned(), account.into());
        }
        extra
    }

    /// One that the operator describes. Beside what every asset has, it has on an EVM chain `name` and `version`, or
    /// `transfer = "permit2"`, and nothing on Solana.
    fn described(asset: &Asset, network: &str) -> Result<Self, String> {
        let wrong =
            |problem: String| format!("the asset {} on {}: {problem}", asset.symbol, asset.network);
        if svm::is_network(network) {
            if let Some((key, _)) = asset.details.first() {
                return Err(wrong(format!("unknown key `{key}`")));
            }
            return Ok(Self {
                address: asset.address.clone(),
                decimals: asset.decimals,
                domain: None,
                by_permit2: false,
            });
        }
        let keys = ["name", "version", "transfer"];
        let mut details = asset.details.iter().map(|(key, _)| key.as_str());
        if let Some(key) = details.find(|key| !keys.contains(key)) {
            return Err(wrong(format!(
                "unknown key `{key}`; it may have `name`, `version` and `transfer`"
            )));
        }
        let [name, version, transfer] = keys.map(|key| {
            let detail = asset.details.iter().find(|(known, _)| known == key);
            let text = detail.map(|(_, text)| text.clone());
            text.filter(|text| !text.is_empty())
        });
        let by_permit2 = match transfer.as_deref() {
            None | Some("eip3009") => false,
            Some("permit2") => true,
            Some(_) => {
                return Err(wrong("`transfer` is \"eip3009\" or \"permit2\"".to_owned()));
            }
        };
        let missing = |key: &str| {
            wrong(format!(
                "`{key}` is missing: that of the token's EIP-712 domain; a token without EIP-3009 has `transfer = \"permit2\"` instead"
            ))
        };
        let domain = match (name, version) {
            (None, None) if by_permit2 => None,
            (name, version) => Some((
                name.ok_or_else(|| missing("name"))?,
                version.ok_or_else(|| missing("version"))?,
            )),
        };
        Ok(Self {
            address: asset.address.clone(),
            decimals: asset.decimals,
            domain,
            by_permit2,
        })
    }
}

/// The asset `symbol` on `network` (CAIP-2): the operator's own, else a known one.
pub fn find(symbol: &str, network: &str, own: &[Asset]) -> Result<Token, String> {
    for asset in own {
        if asset.symbol == symbol && networks::identifier(&asset.network)? == network {
            return Token::described(asset, network);
        }
    }
    let evm = USDC
        .iter()
        .map(|(chain, address, name)| (chain, address, Some(*name)));
    let solana = svm::USDC.iter().map(|(chain, mint)| (chain, mint, None));
    let mut known = evm.chain(solana).filter(|_| symbol == "USDC");
    match known.find(|(chain, ..)| **chain == network) {
        Some((_, address, name)) => Ok(Token {
            address: (*address).to_owned(),
            decimals: 6,
            domain: name.map(|name| (name.to_owned(), "2".to_owned())),
            by_permit2: false,
        }),
        None => Err(format!(
            "{symbol} on {network} is not known; describe it in [[payments.assets]]"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro(details: &[(&str, &str)]) -> Asset {
        let text = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        Asset {
            symbol: "EURC".to_owned(),
            network: "base-sepolia".to_owned(),
            address: "0x2222222222222222222222222222222222222222".to_owned(),
            decimals: 2,
            details: details.iter().map(text).collect(),
        }
    }

    #[test]
    fn an_asset_of_the_operators_own_is_found_by_its_name_and_chain() {
        let own = [euro(&[("version", "1"), ("name", "Euro")])];
        let token = find("EURC", "eip155:84532", &own).unwrap();
        assert_eq!((token.decimals, &token.address), (2, &own[0].address));
        let extra = Value::Object(token.extra(None)).to_string();
        assert_eq!(extra, r#"{"name":"Euro","version":"1"}"#);
        let elsewhere = find("EURC", "eip155:1", &own).unwrap_err();
        assert!(elsewhere.contains("[[payments.assets]]"), "{elsewhere}");
    }

    #[test]
    fn a_token_without_a_domain_of_its_own_is_paid_by_permit2() {
        let own = [euro(&[("transfer", "permit2")])];
        let token = find("EURC", "eip155:84532", &own).unwrap();
        let extra = Value::Object(token.extra(None)).to_string();
        assert_eq!(extra, r#"{"assetTransferMethod":"permit2"}"#);
    }

    #[test]
    fn a_description_that_lacks_the_domain_or_has_more_is_refused() {
        for (details, word) in [
            (&[("name", "Euro")][..], "`version` is missing"),
            (&[("name", ""), ("version", "1")], "`name` is missing"),
            (
                &[("name", "Euro"), ("version", "1"), ("nmae", "x")],
                "`nmae`",
            ),
            (&[("transfer", "carrier pigeon")], "`transfer` is"),
            (&[("transfer", "permit2"), ("name", "Euro")], "`version`"),
        ] {
            let error = find("EURC", "eip155:84532", &[euro(details)]).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_token_on_solana_has_no_domain() {
        let mut own = euro(&[]);
        own.network = "solana-devnet".to_owned();
        let find = |own: &Asset| find("EURC", svm::NETWORKS[1].1, std::slice::from_ref(own));
        assert!(find(&own).unwrap().extra(None).is_empty());
        own.details = vec![("name".to_owned(), "Euro".to_owned())];
        assert!(find(&own).unwrap_err().contains("`name`"));
        let usdc = super::find("USDC", svm::NETWORKS[0].1, &[]).unwrap();
        assert_eq!(usdc.address, svm::USDC[0].1);
    }
}
