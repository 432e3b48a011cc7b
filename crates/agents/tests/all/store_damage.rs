//! The store under the hands of whoever has the disk: nothing to be read, nothing that passes for what it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{CODE, COMPONENT, files, kept, manifest, open, open_with, record};
use hypervisor_agents::store::digest;
use hypervisor_agents::{Damage, StoreError};

/// Bytes before the sealed head.
const PREFIX: usize = 29;

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn damaged<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Damage {
    match result {
        Err(StoreError::Damaged { damage, .. }) => damage,
        other => panic!("{other:?}"),
    }
}

fn authentication(section: &'static str) -> Damage {
    Damage::Authentication { section }
}

#[test]
fn the_disk_shows_no_name_and_no_content() {
    let kept = kept();
    let path = kept.file();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(!name.contains("weather") && !name.contains(&kept.address.owner.to_string()));
    assert_eq!(name.len(), 64 + ".agent".len());
    let bytes = fs::read(&path).unwrap();
    for secret in [
        &b"weather"[..],
        b"hunter2",
        COMPONENT,
        CODE,
        b"details",
        b"engine",
        &kept.owner.to_bytes(),
    ] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn the_same_agent_twice_is_sealed_differently() {
    let kept = kept();
    let first = fs::read(kept.file()).unwrap();
    kept.store.put(&kept.record()).unwrap();
    let second = fs::read(kept.file()).unwrap();
    assert_eq!(first.len(), second.len());
    let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    // Magic, version and length are equal, and one byte in 256 of the rest by chance.
    assert!(equal < first.len() / 4, "{equal} of {}", first.len());
}

#[test]
fn a_flipped_bit_in_the_head_is_reported() {
    let kept = kept();
    // In the 16 random bytes, the nonce, the ciphertext.
    for at in [9, PREFIX, PREFIX + 12] {
        flip(&kept.file(), at);
        assert_eq!(kept.damage(), authentication("head"), "{at}");
        assert_eq!(damaged(kept.code()), authentication("head"));
        flip(&kept.file(), at);
    }
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
}

#[test]
fn a_flipped_bit_in_the_component_is_reported_when_it_is_read() {
    let kept = kept();
    let path = kept.file();
    let code = 12 + CODE.len() + 16;
    let component = 12 + COMPONENT.len() + 16;
    let end = fs::read(&path).unwrap().len();
    // The nonce, the ciphertext, the tag.
    for at in [component, component - 12, 1] {
        flip(&path, end - code - at);
        assert_eq!(damaged(kept.component()), authentication("component"));
        assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
        flip(&path, end - code - at);
    }
    assert_eq!(kept.component().unwrap(), COMPONENT);
}

#[test]
fn a_flipped_bit_in_the_code_is_reported_when_it_is_read() {
    let kept = kept();
    let path = kept.file();
    let end = fs::read(&path).unwrap().len();
    for at in [12 + CODE.len() + 16, CODE.len() + 16, 1] {
        flip(&path, end - at);
        assert_eq!(damaged(kept.code()), authentication("code"));
        assert_eq!(kept.component().unwrap(), COMPONENT);
        flip(&path, end - at);
    }
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
}

#[test]
fn no_bit_of_a_file_may_change() {
    let kept = kept();
    let path = kept.file();
    let sound = fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        assert!(
            kept.code().is_err() || kept.component().is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_reported() {
    let kept = kept();
    let path = kept.file();
    let sound = fs::read(&path).unwrap();
    for length in 0..sound.len() {
        fs::write(&path, &sound[..length]).unwrap();
        kept.damage();
        damaged(kept.code());
    }
}

#[test]
fn a_file_with_something_after_its_end_is_reported() {
    let kept = kept();
    let path = kept.file();
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(kept.damage(), Damage::Length { .. }));
}

#[test]
fn swapped_files_are_reported() {
    let kept = kept();
    kept.store
        .put(&record(&kept.owner, &manifest("echo")))
        .unwrap();
    let [a, b] = <[PathBuf; 2]>::try_from(files(&kept.folder)).unwrap();
    let (of_a, of_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, of_b).unwrap();
    fs::write(&b, of_a).unwrap();
    let stored = kept.store.list().unwrap();
    assert!(stored.agents.is_empty());
    assert_eq!(stored.damaged.len(), 2);
    assert_eq!(damaged(kept.code()), authentication("head"));
}

#[test]
fn sections_of_two_writings_do_not_mix() {
    let kept = kept();
    let path = kept.file();
    let old = fs::read(&path).unwrap();
    let code = b"\x7fELF machine c0de";
    let digest = digest(COMPONENT);
    kept.store
        .update_code(&kept.address, &digest, code, "engine 1")
        .unwrap();
    let mut new = fs::read(&path).unwrap();
    assert_eq!(old.len(), new.len());
    let section = new.len() - (12 + CODE.len() + 16);
    new[section..].copy_from_slice(&old[section..]);
    fs::write(&path, &new).unwrap();
    assert_eq!(damaged(kept.code()), authentication("code"));
}

#[test]
fn a_store_of_another_key_is_reported_and_left_alone() {
    let kept = kept();
    let before = fs::read(kept.file()).unwrap();
    let other = open_with(&kept.folder, [8; 32]);
    let stored = other.list().unwrap();
    assert!(stored.agents.is_empty());
    let message = stored.damaged[0].to_string();
    assert!(message.contains("sealed by another key"), "{message}");
    let code = other.load_code(&kept.address, &digest(COMPONENT), "engine 1");
    assert!(matches!(code, Err(StoreError::NotFound)));
    other.put(&kept.record()).unwrap();
    assert_eq!(other.list().unwrap().agents.len(), 1);
    assert!(
        files(&kept.folder)
            .iter()
            .any(|path| fs::read(path).unwrap() == before)
    );
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
}

#[test]
fn a_copy_under_another_spelling_of_its_id_is_no_second_agent() {
    let kept = kept();
    let path = kept.file();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    for copy in [stem.to_uppercase(), format!("0x{stem}")] {
        fs::copy(&path, path.with_file_name(copy + ".agent")).unwrap();
    }
    let stored = kept.store.list().unwrap();
    assert_eq!((stored.agents.len(), stored.damaged.len()), (1, 2));
}

#[test]
fn foreign_files_are_reported_and_the_others_load() {
    let kept = kept();
    let folder = kept.folder.path().join("agents");
    let file = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let hex = |digit: &str| format!("{}.agent", digit.repeat(64));
    file("notes.agent", b"");
    file(&hex("0"), b"");
    file(&hex("1"), &[b'x'; 100]);
    file(&hex("2"), &[&b"HVAGENT\0\x02"[..], &[0; 100]].concat());
    file(&hex("3"), &[&b"HVAGENT\0\x01"[..], &[0xff; 100]].concat());
    file(&hex("4"), &[&b"HVAGENT\0\x01"[..], &[0; 100]].concat());
    file("README.md", b"not an agent's");
    let stored = kept.store.list().unwrap();
    assert_eq!(stored.agents.len(), 1);
    assert_eq!(stored.damaged.len(), 6);
    let versions = |error: &&StoreError| {
        matches!(
            error,
            StoreError::Damaged {
                damage: Damage::Version { found: 2 },
                ..
            }
        )
    };
    assert_eq!(stored.damaged.iter().filter(versions).count(), 1);
}

#[test]
fn a_damaged_agent_can_be_removed_and_put_again() {
    let kept = kept();
    fs::write(kept.file(), b"damage").unwrap();
    assert!(matches!(kept.damage(), Damage::Length { .. }));
    kept.store.put(&kept.record()).unwrap();
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
    fs::write(kept.file(), b"damage").unwrap();
    assert!(kept.store.remove(&kept.address).unwrap());
}

#[test]
fn what_a_crash_left_half_written_is_cleaned() {
    let kept = kept();
    let left = kept.folder.path().join("agents/.unfinished-abc123");
    let file = kept.file();
    fs::write(&left, b"half").unwrap();
    let store = open(&kept.folder);
    assert!(!left.exists() && file.exists());
    assert_eq!(store.list().unwrap().agents.len(), 1);
}

#[test]
fn a_damaged_list_of_deployed_agents_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let name = "weather".parse().unwrap();
    store.set_deployed(&name, 5).unwrap();
    let path = folder.path().join("agents/registry.json");
    for text in [
        "",
        "[]",
        "{\"weather\": \"x\"}",
        "{\"../weather\": 1}",
        "{\"weather\": 1} x",
    ] {
        fs::write(&path, text).unwrap();
        assert!(matches!(
            damaged(store.deployed_names()),
            Damage::Content { .. }
        ));
        damaged(store.set_deployed(&name, 6));
        damaged(store.unset(&name));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_are_no_agent(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), is_marked: bool) {
        let folder = tempfile::tempdir().unwrap();
        let agents = folder.path().join("agents");
        fs::create_dir(&agents).unwrap();
        let start: &[u8] = if is_marked { b"HVAGENT\0\x01" } else { b"" };
        fs::write(agents.join(format!("{}.agent", "a".repeat(64))), [start, &bytes].concat()).unwrap();
        let stored = open(&folder).list().unwrap();
        proptest::prop_assert_eq!((stored.agents.len(), stored.damaged.len()), (0, 1));
    }
}
