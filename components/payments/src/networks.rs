//! The names that version 1 of the protocol gives to chains. Version 2 uses CAIP-2 identifiers.

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
