#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn the_reference_has_every_key_and_is_a_policy() {
    let policy = Policy::parse(keys::REFERENCE).unwrap();
    assert_eq!(policy.rules.tdx.reference.len(), 1);
    let written = toml::Table::try_from(File {
        version: VERSION,
        name: policy.name,
        roots: Roots {
            vendors: vec!["intel".to_owned()],
            simulated: None,
        },
        transparency: policy.transparency,
        rules: policy.rules,
    })
    .unwrap();
    let reference: toml::Table = keys::REFERENCE.parse().unwrap();
    assert_eq!(keys::paths(&written), keys::paths(&reference));
}
