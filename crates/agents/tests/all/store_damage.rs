//! The store under the hands of whoever has the disk: nothing to be read, nothing that passes for what it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;

use crate::support::{
    self, CODE, COMPONENT, Kept, kept, manifest, open, open_with, path, record, rows,
};
use hypervisor_agents::store::digest;
use hypervisor_agents::{Damage, Record, StoreError};

fn damaged<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Damage {
    match result {
        Err(StoreError::Damaged(_, damage)) => damage,
        other => panic!("{other:?}"),
    }
}

fn authentication(section: &'static str) -> Damage {
    Damage::Authentication(section)
}

fn flipped(mut row: Vec<u8>) -> Option<Vec<u8>> {
    *row.last_mut().unwrap() ^= 1;
    Some(row)
}

/// Whether a row of `agent-bodies` is a piece of the component: it and the code have different lengths.
fn is_component(row: &[u8]) -> bool {
    row.len() == 8 + 12 + COMPONENT.len() + 16
}

#[test]
fn the_disk_shows_no_name_and_no_content() {
    let Kept {
        folder,
        store,
        address,
        owner,
        ..
    } = kept();
    drop(store);
    let bytes = fs::read(path(&folder)).unwrap();
    for secret in [
        &b"weather"[..],
        b"hunter2",
        COMPONENT,
        CODE,
        b"details",
        b"engine",
        &owner.to_bytes(),
        address.owner.to_string().as_bytes(),
    ] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn a_flipped_bit_in_the_head_is_reported() {
    let kept = kept().altered("agents", |_, row| flipped(row));
    assert_eq!(kept.damage(), authentication("head"));
    assert_eq!(damaged(kept.code()), authentication("head"));
}

#[test]
fn a_flipped_bit_in_a_body_is_reported_when_it_is_read() {
    let flip = |of_component: bool| {
        kept().altered("agent-bodies", move |_, row| {
            if is_component(&row) == of_component {
                flipped(row)
            } else {
                Some(row)
            }
        })
    };
    let component = flip(true);
    assert_eq!(damaged(component.component()), authentication("component"));
    assert_eq!(component.code().unwrap().as_deref(), Some(CODE));
    let code = flip(false);
    assert_eq!(damaged(code.code()), authentication("code"));
    assert_eq!(code.component().unwrap(), COMPONENT);
}

#[test]
fn a_body_that_is_gone_is_reported_when_it_is_read() {
    let kept = kept().altered("agent-bodies", |_, _| None);
    assert_eq!(damaged(kept.component()), authentication("component"));
    assert_eq!(damaged(kept.code()), authentication("code"));
}

#[test]
fn heads_that_changed_places_are_reported() {
    let kept = kept();
    kept.store
        .put(&record(&kept.owner, &manifest("echo")))
        .unwrap();
    let Kept { folder, store, .. } = kept;
    drop(store);
    let [a, b] = <[_; 2]>::try_from(rows(&folder, "agents")).unwrap();
    support::alter(&folder, "agents", |key, _| {
        Some(if key == a.0 { b.1.clone() } else { a.1.clone() })
    });
    let stored = open(&folder).list().unwrap();
    assert_eq!((stored.agents.len(), stored.damaged.len()), (0, 2));
}

#[test]
fn pieces_of_two_writings_do_not_mix() {
    let kept = kept();
    let digest = digest(COMPONENT);
    let Kept {
        folder,
        store,
        address,
        ..
    } = kept;
    drop(store);
    let old = rows(&folder, "agent-bodies");
    let store = open(&folder);
    let code = b"\x7fELF machine c0de";
    store
        .update_code(&address, &digest, code, "engine 1")
        .unwrap();
    drop(store);
    let old = old
        .iter()
        .find(|(_, row)| !is_component(row))
        .unwrap()
        .1
        .clone();
    support::alter(&folder, "agent-bodies", |_, row| {
        Some(if is_component(&row) { row } else { old.clone() })
    });
    let code = open(&folder).load_code(&address, &digest, "engine 1");
    assert_eq!(damaged(code), authentication("code"));
}

#[test]
fn agents_under_another_key_are_not_seen_and_come_back() {
    let Kept {
        folder,
        store,
        address,
        ..
    } = kept();
    drop(store);
    for other in [Some([8; 32]), None] {
        let store = open_with(&folder, other);
        let stored = store.list().unwrap();
        assert!(stored.agents.is_empty() && stored.damaged.is_empty());
        let code = store.load_code(&address, &digest(COMPONENT), "engine 1");
        assert!(matches!(code, Err(StoreError::NotFound)));
    }
    assert_eq!(open(&folder).list().unwrap().agents.len(), 1);
}

#[test]
fn a_damaged_agent_can_be_put_again_and_removed() {
    let kept = kept().altered("agents", |_, row| flipped(row));
    kept.store.put(&kept.record()).unwrap();
    assert_eq!(kept.code().unwrap().as_deref(), Some(CODE));
    let kept = kept.altered("agents", |_, row| flipped(row));
    assert!(kept.store.remove(&kept.address).unwrap());
    assert!(kept.store.list().unwrap().damaged.is_empty());
}

#[test]
fn a_damaged_list_of_deployed_agents_is_reported() {
    let kept = kept();
    let record = Record {
        owner: None,
        ..kept.record()
    };
    kept.store.put(&record).unwrap();
    let Kept { folder, store, .. } = kept;
    drop(store);
    support::alter(&folder, "registered-agents", |_, row| flipped(row));
    assert!(open(&folder).deployed_names().is_err());
}
