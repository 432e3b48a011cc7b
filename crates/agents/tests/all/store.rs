//! The store: what comes back after a restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::path::Path;

use crate::support::{CODE, COMPONENT, KEY, kept, manifest, open, open_with, record, rows};
use hypervisor_agents::store::digest;
use hypervisor_agents::{Record, SealingKey, StoreError};
use hypervisor_protocol::PrivateKey;
use zeroize::Zeroizing;

#[test]
fn an_agent_comes_back_after_a_restart() {
    let kept = kept().altered("none", |_, value| Some(value));
    let store = &kept.store;
    assert!(store.is_persistent());
    let stored = store.list().unwrap();
    assert!(stored.damaged.is_empty(), "{:?}", stored.damaged);
    let [head] = stored.agents.as_slice() else {
        panic!("{stored:?}");
    };
    assert_eq!(head.address(), kept.address);
    assert_eq!(head.owner.as_ref(), Some(&kept.owner));
    assert_eq!(*head.manifest_text, manifest("weather"));
    assert_eq!(head.manifest.environment["KEY"], "hunter2");
    assert_eq!(head.deployed_at, 1_700_000_000);
    assert_eq!(head.digest, digest(COMPONENT));
    assert_eq!(head.component_length, COMPONENT.len() as u64);
    assert_eq!(head.code_length, CODE.len() as u64);
    assert_eq!(head.code_fingerprint, "engine 1");
    assert_eq!(head.details, b"details");
    let component = store.load_component(&kept.address, &head.digest).unwrap();
    assert_eq!(component, COMPONENT);
    let code = store
        .load_code(&kept.address, &head.digest, "engine 1")
        .unwrap();
    assert_eq!(code.as_deref(), Some(CODE));
}

#[test]
fn an_agent_of_the_operator_is_kept_without_a_key_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let text = manifest("weather");
    let owner = PrivateKey::generate();
    let record = Record {
        owner: None,
        ..record(owner.public_key(), &text)
    };
    store.put(&record).unwrap();
    let address = store.list().unwrap().agents[0].address();
    assert_eq!(address.to_string(), "weather.operator");
}

#[test]
fn an_agent_without_code_or_details_is_kept() {
    let kept = kept();
    let record = Record {
        code: b"",
        details: b"",
        ..kept.record()
    };
    kept.store.put(&record).unwrap();
    assert_eq!(kept.code().unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(kept.component().unwrap(), COMPONENT);
}

#[test]
fn code_of_another_fingerprint_is_not_given_out() {
    let kept = kept();
    let code = kept
        .store
        .load_code(&kept.address, &digest(COMPONENT), "engine 2");
    assert_eq!(code.unwrap(), None);
}

#[test]
fn code_is_replaced_and_the_rest_stays() {
    let kept = kept();
    let digest = digest(COMPONENT);
    kept.store
        .update_code(&kept.address, &digest, b"new code", "engine 2")
        .unwrap();
    let code = |fingerprint| kept.store.load_code(&kept.address, &digest, fingerprint);
    assert_eq!(code("engine 1").unwrap(), None);
    assert_eq!(code("engine 2").unwrap().as_deref(), Some(&b"new code"[..]));
    assert_eq!(kept.component().unwrap(), COMPONENT);
    let head = &kept.store.list().unwrap().agents[0];
    assert_eq!(head.deployed_at, 1_700_000_000);
    assert_eq!(head.owner.as_ref(), Some(&kept.owner));
    assert_eq!(*head.manifest_text, manifest("weather"));
    assert_eq!(head.details, b"details");
    assert_eq!(head.code_fingerprint, "engine 2");
}

#[test]
fn a_second_deploy_replaces_the_first() {
    let kept = kept();
    let second = Record {
        component: b"second",
        code: b"second code",
        ..kept.record()
    };
    kept.store.put(&second).unwrap();
    assert_eq!(kept.store.list().unwrap().agents.len(), 1);
    let code = kept
        .store
        .load_code(&kept.address, &digest(b"second"), "engine 1");
    assert_eq!(code.unwrap().as_deref(), Some(&b"second code"[..]));
}

#[test]
fn who_means_the_replaced_component_is_told() {
    let kept = kept();
    let second = Record {
        component: b"second",
        ..kept.record()
    };
    kept.store.put(&second).unwrap();
    assert!(matches!(kept.code(), Err(StoreError::Replaced)));
    assert!(matches!(kept.component(), Err(StoreError::Replaced)));
    let updated = kept
        .store
        .update_code(&kept.address, &digest(COMPONENT), b"old", "engine 1");
    assert!(matches!(updated, Err(StoreError::Replaced)));
}

#[test]
fn owners_with_the_same_name_have_agents_of_their_own() {
    let kept = kept();
    let other = PrivateKey::generate().public_key().clone();
    kept.store
        .put(&record(&other, &manifest("weather")))
        .unwrap();
    assert_eq!(kept.store.list().unwrap().agents.len(), 2);
    assert!(kept.store.remove(&kept.address).unwrap());
    assert_eq!(
        kept.store.list().unwrap().agents[0].owner.as_ref(),
        Some(&other)
    );
}

#[test]
fn a_removed_agent_is_gone() {
    let kept = kept();
    assert!(kept.store.remove(&kept.address).unwrap());
    assert!(!kept.store.remove(&kept.address).unwrap());
    assert!(matches!(kept.code(), Err(StoreError::NotFound)));
    assert!(kept.store.list().unwrap().agents.is_empty());
    let folder = kept.folder;
    drop(kept.store);
    for table in ["agents", "agent-bodies", "agent-leftovers"] {
        assert!(rows(&folder, table).is_empty(), "{table}");
    }
}

#[test]
fn without_a_key_agents_end_with_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let owner = PrivateKey::generate();
    {
        let store = open_with(&folder, None);
        assert!(!store.is_persistent());
        store
            .put(&record(owner.public_key(), &manifest("weather")))
            .unwrap();
        let head = &store.list().unwrap().agents[0];
        let component = store.load_component(&head.address(), &digest(COMPONENT));
        assert_eq!(component.unwrap(), COMPONENT);
    }
    let stored = open_with(&folder, None).list().unwrap();
    assert!(stored.agents.is_empty() && stored.damaged.is_empty());
}

#[test]
fn bodies_of_any_size_are_kept_whole() {
    let kept = kept();
    for length in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 19] {
        let component: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let code = vec![1; length / 2];
        let record = Record {
            component: &component,
            code: &code,
            ..kept.record()
        };
        kept.store.put(&record).unwrap();
        let digest = digest(&component);
        let found = kept.store.load_component(&kept.address, &digest).unwrap();
        assert!(found == component, "{length}");
        let found = kept.store.load_code(&kept.address, &digest, "engine 1");
        assert!(found.unwrap().unwrap() == code, "{length}");
    }
    let folder = kept.folder;
    drop(kept.store);
    // Nothing is left of those that were replaced.
    assert_eq!(rows(&folder, "agent-bodies").len(), 5);
    assert!(rows(&folder, "agent-leftovers").is_empty());
}

#[test]
fn agents_in_the_files_of_an_earlier_version_are_moved_once() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("agents");
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/files-of-0.1");
    fs::create_dir(&old).unwrap();
    for entry in fs::read_dir(written).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, old.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(old.join(".unfinished-abc123"), b"half").unwrap();
    let damaged = old.join(format!("{}.agent", "0".repeat(64)));
    fs::write(&damaged, b"HVAGENT\0\x01 something else").unwrap();

    let without_a_key = open_with(&folder, None);
    let (moved, wrong) = without_a_key.import(&old, None).unwrap();
    assert_eq!((moved, wrong.len()), (0, 0));
    assert_eq!(without_a_key.deployed_names().unwrap()["echo"], 5);
    drop(without_a_key);

    let key = SealingKey::new(Zeroizing::new(KEY));
    let store = open(&folder);
    let (moved, wrong) = store.import(&old, Some(&key)).unwrap();
    assert_eq!((moved, wrong.len()), (2, 1));
    let left: Vec<_> = fs::read_dir(&old).unwrap().collect();
    assert_eq!(left.len(), 1);
    fs::remove_file(damaged).unwrap();
    assert_eq!(store.import(&old, Some(&key)).unwrap().0, 0);
    assert!(!old.exists());

    let stored = store.list().unwrap();
    let [echo, weather] = stored.agents.as_slice() else {
        panic!("{stored:?}");
    };
    assert_eq!(echo.address().to_string(), "echo.operator");
    assert!(weather.owner.is_some());
    assert_eq!(*weather.manifest_text, manifest("weather"));
    assert_eq!(weather.deployed_at, 1_700_000_000);
    assert_eq!(weather.details, b"details");
    for head in [echo, weather] {
        let (address, digest) = (head.address(), head.digest);
        let component = store.load_component(&address, &digest).unwrap();
        assert_eq!(component, COMPONENT);
        let code = store.load_code(&address, &digest, "engine 1").unwrap();
        assert_eq!(code.as_deref(), Some(CODE));
    }
    assert_eq!(store.deployed_names().unwrap().len(), 1);
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let kept = kept();
    let long = "x".repeat(2000);
    let record = Record {
        code_fingerprint: &long,
        ..kept.record()
    };
    let error = kept.store.put(&record).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record's fingerprint has 2000 bytes, at most 1024 are kept"
    );
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
}

#[test]
fn a_record_needs_a_sound_manifest() {
    let kept = kept();
    let error = kept.store.put(&record(&kept.owner, "nam = 1")).unwrap_err();
    assert!(matches!(error, StoreError::Manifest(_)), "{error}");
}

#[test]
fn debug_shows_neither_keys_nor_content() {
    let kept = kept();
    let key = SealingKey::new(Zeroizing::new(*b"0123456789abcdef0123456789abcdef"));
    let shown = format!(
        "{key:?} {:?} {:?}",
        kept.record(),
        kept.store.list().unwrap()
    );
    for secret in ["weather", "hunter2", "0123", "48, 49"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_thousand_agents_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let owner = PrivateKey::generate();
    let text = manifest("agent-0");
    store.put(&record(owner.public_key(), &text)).unwrap();
    for number in 1..1000 {
        let text = manifest(&format!("agent-{number}"));
        store.put(&record(owner.public_key(), &text)).unwrap();
    }
    let stored = store.list().unwrap();
    assert_eq!((stored.agents.len(), stored.damaged.len()), (1000, 0));
    assert!(stored.agents.is_sorted_by_key(|head| head.address()));
}

#[test]
fn deployed_agents_of_the_registry_come_back_with_a_key_and_without() {
    for key in [None, Some(KEY)] {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_with(&folder, key);
        assert!(open().deployed_names().unwrap().is_empty());
        let key = PrivateKey::generate();
        let put = |name: &str, deployed_at| {
            let text = manifest(name);
            let record = Record {
                owner: None,
                deployed_at,
                ..record(key.public_key(), &text)
            };
            open().put(&record).unwrap();
        };
        put("weather", 5);
        put("echo", 6);
        put("weather", 7);
        let names = open().deployed_names().unwrap();
        assert_eq!((names["weather"], names["echo"], names.len()), (7, 6, 2));
        let weather = "weather.operator".parse().unwrap();
        assert!(open().remove(&weather).unwrap());
        assert!(!open().remove(&weather).unwrap());
        assert_eq!(open().deployed_names().unwrap().len(), 1);
        assert!(open().list().unwrap().damaged.is_empty());
    }
}
