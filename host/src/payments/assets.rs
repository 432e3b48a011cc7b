//! Chains and assets that the operator may call by name.

use crate::config::Asset;

/// Names of chains as x402 version 1 and chain lists have them, with their EIP-155 ids.
const NETWORKS: [(&str, &str); 10] = [
    ("ethereum", "eip155:1"),
    ("optimism", "eip155:10"),
    ("polygon", "eip155:137"),
    ("base", "eip155:8453"),
    ("arbitrum", "eip155:42161"),
    ("avalanche-fuji", "eip155:43113"),
    ("avalanche", "eip155:43114"),
    ("polygon-amoy", "eip155:80002"),
    ("base-sepolia", "eip155:84532"),
    ("arbitrum-sepolia", "eip155:421614"),
];

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

/// The CAIP-2 identifier of a chain given by name or by that identifier.
pub(super) fn network(name: &str) -> Result<String, String> {
    if let Some((_, id)) = NETWORKS.iter().find(|(known, _)| *known == name) {
        return Ok((*id).to_owned());
    }
    let is_caip2 = name.split_once(':').is_some_and(|(namespace, reference)| {
        (3..=8).contains(&namespace.len())
            && (1..=32).contains(&reference.len())
            && namespace
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && reference
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    if is_caip2 {
        return Ok(name.to_owned());
    }
    let known: Vec<&str> = NETWORKS.iter().map(|(name, _)| *name).collect();
    Err(format!(
        "`{name}` is no chain this host knows by name; known are {}, and any CAIP-2 identifier like eip155:8453 works",
        known.join(", ")
    ))
}

/// The asset `symbol` on `network` (CAIP-2): the operator's own, else a known one.
pub(super) fn find(symbol: &str, network: &str, own: &[Asset]) -> Result<Asset, String> {
    for asset in own {
        if asset.symbol == symbol && self::network(&asset.network)? == network {
            return Ok(asset.clone());
        }
    }
    let known = USDC
        .iter()
        .find(|(chain, ..)| symbol == "USDC" && *chain == network);
    match known {
        Some((chain, address, name)) => Ok(Asset {
            symbol: symbol.to_owned(),
            network: (*chain).to_owned(),
            address: (*address).to_owned(),
            decimals: 6,
            name: (*name).to_owned(),
            version: "2".to_owned(),
        }),
        None => Err(format!(
            "this host does not know {symbol} on {network}; describe it in [[payments.assets]]"
        )),
    }
}
