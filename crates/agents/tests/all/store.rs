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

use crate::support::{CODE, COMPONENT, KEY, files, kept, manifest, open, record};
use hypervisor_agents::store::digest;
use hypervisor_agents::{Record, SealingKey, Store, StoreError};
use hypervisor_protocol::PrivateKey;
use zeroize::Zeroizing;

#[test]
fn an_agent_comes_back_after_a_restart() {
    let kept = kept();
    let store = open(&kept.folder);
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
    assert!(files(&kept.folder).is_empty());
}

#[test]
fn without_a_key_no_agent_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("agents"), None).unwrap();
    let owner = PrivateKey::generate();
    assert!(!store.is_persistent());
    store
        .put(&record(owner.public_key(), &manifest("weather")))
        .unwrap();
    assert!(!folder.path().join("agents").exists());
    let stored = store.list().unwrap();
    assert!(stored.agents.is_empty() && stored.damaged.is_empty());
    let address = "weather.operator".parse().unwrap();
    let code = store.load_code(&address, &digest(COMPONENT), "engine 1");
    assert!(matches!(code, Err(StoreError::NotFound)));
    assert!(!store.remove(&address).unwrap());
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
    assert_eq!(files(&kept.folder).len(), 1);
}

#[test]
fn a_record_needs_a_sound_manifest() {
    let kept = kept();
    let error = kept.store.put(&record(&kept.owner, "nam = 1")).unwrap_err();
    assert!(matches!(error, StoreError::Manifest(_)), "{error}");
}

#[test]
fn the_folder_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let kept = kept();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept.folder.path().join("agents")), 0o700);
    assert_eq!(mode(&kept.file()), 0o600);
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
    let stored = open(&folder).list().unwrap();
    assert_eq!((stored.agents.len(), stored.damaged.len()), (1000, 0));
    assert!(stored.agents.is_sorted_by_key(|head| head.address()));
}

#[test]
fn deployed_agents_of_the_registry_come_back_with_a_key_and_without() {
    for key in [None, Some(KEY)] {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let key = key.map(|key| SealingKey::new(Zeroizing::new(key)));
            Store::open(folder.path().join("agents"), key).unwrap()
        };
        assert!(open().deployed_names().unwrap().is_empty());
        let name = |text: &str| text.parse().unwrap();
        open().set_deployed(&name("weather"), 5).unwrap();
        open().set_deployed(&name("echo"), 6).unwrap();
        open().set_deployed(&name("weather"), 7).unwrap();
        let names = open().deployed_names().unwrap();
        assert_eq!((names["weather"], names["echo"], names.len()), (7, 6, 2));
        assert!(open().unset(&name("weather")).unwrap());
        assert!(!open().unset(&name("weather")).unwrap());
        assert_eq!(open().deployed_names().unwrap().len(), 1);
        assert!(open().list().unwrap().damaged.is_empty());
    }
}
