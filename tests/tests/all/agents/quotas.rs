//! How many agents there may be, and whose.

use std::sync::Arc;

use hypervisor_client::Session;
use hypervisor_client::protocol::{OwnerKey, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, reference, rejection};
use hypervisor_tests::programs::component;
use p256::elliptic_curve::sec1::ToSec1Point;

/// A command that compiles at once.
fn small() -> Vec<u8> {
    component(r#"(func (export "run") (result i32) (i32.const 0))"#)
}

async fn deploy(
    session: &Session,
    owner: &OwnerKey,
    name: &str,
) -> Result<(), (Rejection, String)> {
    session
        .deploy(&small(), &manifest(name, ""), owner)
        .await
        .map(drop)
        .map_err(|error| rejection(&error))
}

/// Deploying under this name is refused for want of room, for this reason.
async fn is_full(session: &Session, owner: &OwnerKey, name: &str, key: &str, number: &str) {
    let (problem, detail) = deploy(session, owner, name).await.unwrap_err();
    assert_eq!(problem, Rejection::TooManyAgents);
    assert!(detail.contains(key) && detail.contains(number), "{detail}");
}

#[tokio::test]
async fn a_host_takes_as_many_agents_as_its_operator_says() {
    let host = Host::with("[agents]\ndeployed = 2");
    let session = host.session().await;
    let (one, other) = (owner(), owner());
    deploy(&session, &one, "a").await.unwrap();
    deploy(&session, &other, "b").await.unwrap();
    is_full(&session, &one, "c", "`deployed`", "2 agents").await;
    // Another version of what is there takes no more room.
    deploy(&session, &one, "a").await.unwrap();
    session.remove_agent(&reference("b"), &other).await.unwrap();
    deploy(&session, &one, "c").await.unwrap();
}

#[tokio::test]
async fn an_owner_has_as_many_agents_as_the_operator_says() {
    let host = Host::with("[agents]\nper_owner = 2");
    let session = host.session().await;
    let (one, other) = (owner(), owner());
    deploy(&session, &one, "a").await.unwrap();
    deploy(&session, &one, "b").await.unwrap();
    is_full(&session, &one, "c", "`per_owner`", "2 agents").await;
    deploy(&session, &one, "a").await.unwrap();
    deploy(&session, &other, "c").await.unwrap();
    session.remove_agent(&reference("a"), &one).await.unwrap();
    deploy(&session, &one, "d").await.unwrap();
}

#[tokio::test]
async fn beyond_the_bound_all_are_refused_and_the_host_goes_on_answering() {
    const BOUND: usize = 50;
    let host = Host::with(&format!("[agents]\ndeployed = {BOUND}"));
    let (session, owner) = (Arc::new(host.session().await), Arc::new(owner()));
    let mut deploying = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (session, owner) = (Arc::clone(&session), Arc::clone(&owner));
        deploying.spawn(async move { deploy(&session, &owner, &format!("a{n}")).await });
    }
    let mut refused = 0;
    for answer in deploying.join_all().await {
        if let Err((problem, _)) = answer {
            assert_eq!(problem, Rejection::TooManyAgents);
            refused += 1;
        }
    }
    assert_eq!(refused, 10);
    for n in 0..500 {
        is_full(
            &session,
            &owner,
            &format!("b{n}"),
            "`deployed`",
            "50 agents",
        )
        .await;
    }
    let agents = host.client().agents().await.unwrap().agents;
    assert_eq!(agents.len(), BOUND);
    for agent in [&agents[0], &agents[BOUND - 1]] {
        assert_eq!(host.get(&agent.name, "/").await.status(), 200);
    }
}

#[tokio::test]
async fn an_operator_can_keep_clients_from_deploying() {
    let host = Host::with("[agents]\ndeploy = false");
    let session = host.session().await;
    let (problem, detail) = deploy(&session, &owner(), "a").await.unwrap_err();
    assert_eq!(problem, Rejection::NotOwner);
    assert!(detail.contains("`deploy`"), "{detail}");
    host.register("r", &small(), &manifest("r", ""));
    host.client().deploy_registered("r").await.unwrap();
}

#[tokio::test]
async fn an_operator_can_name_the_owners_by_key_or_by_id() {
    let (by_key, by_long_key, by_id, nobody) = (owner(), owner(), owner(), owner());
    let key = const_hex::encode(by_key.public_key().as_bytes());
    let long = p256::PublicKey::from_sec1_bytes(by_long_key.public_key().as_bytes())
        .unwrap()
        .to_sec1_point(false);
    let long = const_hex::encode_upper(long.as_bytes());
    let id = by_id.id();
    let host = Host::with(&format!("[agents]\nowners = ['0x{key}', '{long}', '{id}']"));
    let session = host.session().await;
    for owner in [&by_key, &by_long_key, &by_id] {
        deploy(&session, owner, "a").await.unwrap();
    }
    let (problem, detail) = deploy(&session, &nobody, "a").await.unwrap_err();
    assert_eq!(problem, Rejection::NotOwner);
    assert!(detail.contains("`owners`"), "{detail}");
}
