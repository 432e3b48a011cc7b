//! The key of a fleet changes while its hosts serve.

use std::process::Command;

use hypervisor_tests::agents::owner;
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator, Purchase, Version};
use hypervisor_tests::peers::Peers;
use hypervisor_tests::{Host, eventually};
use serde_json::Value;

use crate::agents::kit::Policy;
use crate::agents::swap::{component, listing};
use crate::audit::{digest, proof};

const SEALED: &str =
    "select string_agg(md5(sealed), ' ') from hypervisor_rows where tab like 'fleet-key-sealed%'";

/// What a host says of its fleet.
pub(crate) async fn fleet(host: &Host) -> Value {
    let asked = host.operator().get(format!("{}/fleet", host.admin()));
    let answer = asked.send().await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

/// The key that a host writes under.
pub(crate) async fn key(host: &Host) -> String {
    let key = fleet(host).await["key"].clone();
    key["id"].as_str().unwrap().to_owned()
}

/// Asks a host for another key; its answer.
pub(crate) async fn try_rotate(host: &Host) -> (u16, String) {
    let asked = (host.operator()).post(format!("{}/fleet/rotate", host.admin()));
    let answer = asked.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap().trim().to_owned())
}

/// Asks a host for another key; its id.
pub(crate) async fn rotate(host: &Host) -> String {
    let (status, key) = try_rotate(host).await;
    assert_eq!(status, 202, "{key}");
    key
}

/// Waits until hosts have this key and no other one.
pub(crate) async fn all_have(hosts: &[&Host], next: &str) {
    for host in hosts {
        eventually("the host has the new key alone", async || {
            let key = fleet(host).await["key"].clone();
            (key["id"] == *next && key["to"].is_null()).then_some(())
        })
        .await;
    }
}

/// How many rows are under a key.
pub(crate) fn under(peers: &Peers, key: &str) -> u64 {
    let count = peers.fleet.database.query(&format!(
        "select count(*) from hypervisor_rows where substring(sealed from 1 for 8) = decode('{key}', 'hex') and tab <> 'fleet-key'"
    ));
    count.trim().parse().unwrap()
}

async fn serves(hosts: &[&Host], agent: &str) {
    for host in hosts {
        eventually("the agent", async || {
            (host.get(agent, "/").await.status() == 200).then_some(())
        })
        .await;
    }
}

/// Whom a host waits for before anything is under the next key.
async fn waits_for_somebody(host: &Host) {
    eventually("it waits for a host", async || {
        let key = fleet(host).await["key"].clone();
        let waits = key["waits_for"].as_array().is_some_and(|it| !it.is_empty());
        (key["phase"] == "offered" && waits).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_before_is_read_and_paid_for_once_under_the_new_key_and_nobody_was_restarted()
{
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let peers = Peers::start(&config(&chain, facilitator.url(), &confirmed(&chain))).await;
    let [a, b, c] = [(); 3].map(|()| peers.host());
    a.deploy(&owner(), "http-hello", "agent", "").await;
    serves(&[&a, &b, &c], "agent").await;
    let purchase = Purchase::of_echo(&b, "argument").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let paid = purchase.pay(&payment).await;
    assert_eq!(paid.status, 200);
    let (before, kept) = (key(&a).await, peers.fleet.database.query(SEALED));

    let done = Command::new(binary("hypervisor-ctl"))
        .args(["fleet", "rotate", "--admin", &a.admin(), "--token-file"])
        .arg(a.admin_token())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let next = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert_ne!(next, before);
    // Sales go on meanwhile.
    let mut sold = 1;
    while key(&c).await == before || fleet(&c).await["key"]["to"].is_string() {
        let purchase = Purchase::of_echo(&c, &sold.to_string()).await;
        let payment = purchase.payment(&chain, Version::V2).await;
        assert_eq!(purchase.pay(&payment).await.status, 200);
        sold += 1;
    }
    all_have(&[&a, &b, &c], &next).await;
    assert_eq!(under(&peers, &before), 0);
    assert!(under(&peers, &next) > 0);
    assert_ne!(peers.fleet.database.query(SEALED), kept);

    // The payment of before is in the books, and its answer is the same.
    let moved = purchase.moved(&c);
    let again = moved.pay(&payment).await;
    assert_eq!(again.status, 200);
    assert_eq!(chain.transfers().await.len(), sold);
    serves(&[&a, &b, &c], "agent").await;
    let joined = peers.host();
    serves(&[&joined], "agent").await;
    assert_eq!(key(&joined).await, next);
    proof(
        &a,
        &digest("hypervisor/v1 audit-admin", &[b"rotate", next.as_bytes()]),
    )
    .await;

    // Whoever is alone has it from the platform.
    drop((a, b, joined));
    let mut last = c;
    last.kill_and_restart();
    assert!(last.log().contains("origin=Unsealed"));
    serves(&[&last], "agent").await;
    assert_eq!(key(&last).await, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stood_still_for_the_whole_of_it_has_the_key_when_it_is_back() {
    let peers = Peers::start("").await;
    let (a, b) = (peers.host(), peers.host());
    a.deploy(&owner(), "http-hello", "agent", "").await;
    serves(&[&a, &b], "agent").await;
    let before = key(&a).await;
    b.freeze();
    let next = rotate(&a).await;
    all_have(&[&a], &next).await;
    assert_eq!(under(&peers, &before), 0);
    a.deploy(&owner(), "http-hello", "another", "").await;
    b.thaw();
    all_have(&[&b], &next).await;
    serves(&[&a, &b], "another").await;
    b.deploy(&owner(), "http-hello", "third", "").await;
    serves(&[&a, &b], "third").await;
    assert_eq!(under(&peers, &before), 0);
}

/// Two hosts, of which the second has other rules since it has its keys: nobody gives it another one.
struct Held {
    peers: Peers,
    a: Host,
    b: Host,
    _rules: Policy,
}

impl Held {
    async fn start() -> Self {
        let rules = Policy::rust(&listing(&["hello"]));
        let peers = Peers::start(&rules.section()).await;
        let (a, b) = (peers.host(), peers.host());
        rules.write(&listing(&["hello", "echo"]));
        let swap = (b.operator()).post(format!("{}/swap/policy", b.admin()));
        let swapped = swap.body(component("policy-rust")).send().await.unwrap();
        assert_eq!(swapped.status(), 200);
        rules.write(&listing(&["hello"]));
        Self {
            peers,
            a,
            b,
            _rules: rules,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_or_loses_the_database_in_the_middle_has_all_keys_and_a_second_rotation_is_refused()
 {
    let mut held = Held::start().await;
    let before = key(&held.a).await;
    let next = rotate(&held.a).await;
    waits_for_somebody(&held.a).await;
    held.b
        .has_logged("it refuses this host: `manifest-allowed`")
        .await;
    let joined = held.peers.host();
    for host in [&held.a, &joined] {
        let (status, words) = try_rotate(host).await;
        assert_eq!(status, 409);
        assert!(words.contains(&next), "{words}");
        assert_eq!(key(host).await, before);
    }
    assert!(under(&held.peers, &before) > 0);
    held.peers.fleet.database.kill();
    held.peers.fleet.database.run();
    // Started anew it is what the policy knows.
    held.b.kill_and_restart();
    all_have(&[&held.a, &held.b, &joined], &next).await;
    assert_eq!(under(&held.peers, &before), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_only_host_died_is_named_and_another_takes_its_place() {
    let mut held = Held::start().await;
    let lost = rotate(&held.a).await;
    waits_for_somebody(&held.a).await;
    held.a.kill();
    let said = format!("the fleet has the key {lost}, and no host that lives gave it");
    held.b.has_logged(&said).await;
    // Until the host that died is known to be dead the key may be with it.
    let next = eventually("another one is made", async || {
        let (status, key) = try_rotate(&held.b).await;
        (status == 202).then_some(key)
    })
    .await;
    all_have(&[&held.b], &next).await;
    held.b.kill_and_restart();
    held.a.start_again();
    all_have(&[&held.a, &held.b], &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_behind_keeps_nobody_from_the_key_that_a_platform_has() {
    let peers = Peers::start("").await;
    let (mut a, b) = (peers.host(), peers.host());
    a.deploy(&owner(), "http-hello", "agent", "").await;
    serves(&[&a, &b], "agent").await;
    b.freeze();
    let next = rotate(&a).await;
    all_have(&[&a], &next).await;
    a.kill();
    b.thaw();
    b.has_logged("this host cannot follow the fleet's key")
        .await;
    a.start_again();
    assert!(a.log().contains("origin=Unsealed"));
    all_have(&[&a, &b], &next).await;
    serves(&[&a, &b], "agent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_a_key_file_and_a_host_alone_say_that_they_change_no_key() {
    let peers = Peers::start("").await;
    let by_file = Host::with(&format!("{}{}", peers.attests(), peers.fleet.section()));
    let (status, words) = try_rotate(&by_file).await;
    assert_eq!(status, 409);
    assert!(words.contains("is in a file"), "{words}");
    assert!(fleet(&by_file).await["key"].is_null());
    let alone = Host::with(peers.attests());
    assert_eq!(try_rotate(&alone).await.0, 409);
}
