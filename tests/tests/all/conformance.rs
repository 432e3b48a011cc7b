//! Programs in the form of test262's, in the component as scripts and as bundles: what passes is what passes in the engine by itself.
//! `make conformance` does the same with the whole suite.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use hypervisor_tests::Host;
use hypervisor_tests::conformance::{
    Corpus, Differences, engine_of, inside, is_pass, read_recorded,
};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[tokio::test]
async fn what_passes_in_the_engine_by_itself_passes_inside_and_nothing_else_does() {
    let folder = repository().join("tests/vectors/javascript");
    let mut recorded = read_recorded(&folder.join("native.txt")).unwrap();
    let differences = Differences::read(&folder.join("differences.txt")).unwrap();
    for (name, passes) in &mut recorded {
        *passes &= differences.reason(name).is_none();
    }
    let programs = Corpus::read(&folder).unwrap().programs("").unwrap();
    let host = Host::with_environments("");
    let outcomes = inside(host.url(), &programs, 4, |_| {}).await.unwrap();
    let other: Vec<_> = outcomes
        .iter()
        .filter(|(name, outcome)| recorded.get(*name) != Some(&is_pass(outcome)))
        .collect();
    assert!(other.is_empty(), "{other:#?}");
    assert_eq!(outcomes.len(), recorded.len());
}

#[test]
fn what_was_recorded_is_of_the_engine_in_the_component() {
    let engine = |manifest: &str| engine_of(&repository().join(manifest)).unwrap();
    let component = engine("components/runtime-javascript/Cargo.toml");
    assert_eq!(engine("tests/native/Cargo.toml"), component);
    let recorded = repository().join("tests/vectors/javascript/native.txt");
    let recorded = std::fs::read_to_string(recorded).unwrap();
    assert_eq!(recorded.lines().next(), Some(&*format!("# {component}")));
}
