//! Sealing keys of the simulator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_evidence::Attester;
use hypervisor_simulated::{Simulator, SimulatorBuilder};

fn built(builder: SimulatorBuilder) -> Option<[u8; 32]> {
    let key = builder.build().unwrap().sealing_key(b"label").unwrap();
    key.map(|key| *key.as_bytes())
}

fn seeded(seed: &[u8]) -> SimulatorBuilder {
    Simulator::builder(seed)
}

#[test]
fn the_same_seed_gives_the_same_key_after_a_restart() {
    assert!(built(seeded(b"seed")).is_some());
    assert_eq!(built(seeded(b"seed")), built(seeded(b"seed")));
}

#[test]
fn another_seed_image_or_debugging_gives_another_key() {
    let key = built(seeded(b"seed"));
    assert_ne!(key, built(seeded(b"another")));
    assert_ne!(key, built(seeded(b"seed").mrtd([0x12; 48])));
    assert_ne!(key, built(seeded(b"seed").debug()));
}

#[test]
fn labels_separate_keys() {
    let simulator = seeded(b"seed").build().unwrap();
    let key = |label| *simulator.sealing_key(label).unwrap().unwrap().as_bytes();
    assert_ne!(key(b"one"), key(b"two"));
}

#[test]
fn what_happens_at_run_time_does_not_change_the_key() {
    let simulator = seeded(b"seed").build().unwrap();
    simulator.extend(&[7; 48]).unwrap();
    let key = simulator.sealing_key(b"label").unwrap().unwrap();
    assert_eq!(Some(*key.as_bytes()), built(seeded(b"seed")));
}

#[test]
fn a_random_seed_has_no_key_when_it_is_said_to_be_one() {
    assert_eq!(built(seeded(b"random").without_sealing_key()), None);
}

#[test]
fn the_root_is_the_same_with_and_without_sealing_keys() {
    let with = seeded(b"seed").build().unwrap();
    let without = seeded(b"seed").without_sealing_key().build().unwrap();
    assert_eq!(with.fingerprint(), without.fingerprint());
}
