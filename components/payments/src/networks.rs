//! Names of chains: those that version 1 of the protocol gives them, and CAIP-2 identifiers, which version 2 uses.

use crate::svm;

/// Chain ids (EIP-155) and their names in version 1, as the protocol's SDK for TypeScript has them.
const NAMES: [(u64, &str); 17] = [
    (1, "ethereum"),
    (11_155_111, "sepolia"),
    (2741, "abstract"),
    (11_124, "abstract-testnet"),
    (84_532, "base-sepolia"),
    (8453, "base"),
    (43_113, "avalanche-fuji"),
    (43_114, "avalanche"),
    (4689, "iotex"),
    (1329, "sei"),
    (1328, "sei-testnet"),
    (137, "polygon"),
    (80_002, "polygon-amoy"),
    (3338, "peaq"),
    (1514, "story"),
    (41_923, "educhain"),
    (324_705_682, "skale-base-sepolia"),
];

/// Further names, which version 1 does not have: operators may use them.
const FURTHER: [(u64, &str); 3] = [
    (10, "optimism"),
    (42_161, "arbitrum"),
    (421_614, "arbitrum-sepolia"),
];

/// The CAIP-2 identifier of a chain that is given by a name or by that identifier.
pub fn identifier(name: &str) -> Result<String, String> {
    let known = || NAMES.iter().chain(&FURTHER);
    if let Some((_, network)) = svm::NETWORKS.iter().find(|(known, _)| *known == name) {
        return Ok((*network).to_owned());
    }
    match known().find(|(_, known)| *known == name) {
        Some((id, _)) => Ok(format!("eip155:{id}")),
        None if is_identifier(name) => Ok(name.to_owned()),
        None => {
            let solana = svm::NETWORKS.iter().map(|(name, _)| *name);
            let known: Vec<&str> = known().map(|(_, name)| *name).chain(solana).collect();
            Err(format!(
                "`{}` is not a chain: known by name are {}; any other is named by its identifier, such as eip155:8453",
                name.chars().take(80).collect::<String>(),
                known.join(", ")
            ))
        }
    }
}

/// Whether a text is the CAIP-2 identifier of a chain that payments may be on, in its one form.
pub fn is_identifier(network: &str) -> bool {
    chain_id(network).is_some() || svm::is_network(network)
}

/// The name in version 1 of a chain that is given by its CAIP-2 identifier, if it has one.
pub fn v1_name_of(network: &str) -> Option<&'static str> {
    let mut solana = svm::NETWORKS.iter().filter(|(_, known)| *known == network);
    match chain_id(network) {
        Some(id) => v1_name(id),
        None => solana.next().map(|(name, _)| *name),
    }
}

/// The name of a chain in version 1, if it has one.
pub fn v1_name(chain_id: u64) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(id, _)| *id == chain_id)
        .map(|(_, name)| *name)
}

/// The chain id of a CAIP-2 identifier of the namespace `eip155`, in its one canonical form.
pub fn chain_id(network: &str) -> Option<u64> {
    let reference = network.strip_prefix("eip155:")?;
    let id: u64 = reference.parse().ok()?;
    (id > 0 && id.to_string() == reference).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_named_by_its_name_or_its_identifier() {
        for (name, id) in [
            ("base-sepolia", "eip155:84532"),
            ("optimism", "eip155:10"),
            ("eip155:99", "eip155:99"),
            ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
            (
                "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
                "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
            ),
        ] {
            assert_eq!(identifier(name).as_deref(), Ok(id));
        }
        let error = identifier("bass").unwrap_err();
        assert!(
            error.contains("`bass`") && error.contains("base,"),
            "{error}"
        );
        assert!(identifier("solana:mainnet").is_err());
    }

    #[test]
    fn chain_ids_have_one_form() {
        assert_eq!(chain_id("eip155:84532"), Some(84_532));
        for other in [
            "eip155:084532",
            "eip155:+1",
            "eip155:0",
            "eip155:",
            "base-sepolia",
            "solana:1",
            "EIP155:1",
            "eip155:99999999999999999999",
        ] {
            assert_eq!(chain_id(other), None, "{other}");
        }
    }
}
