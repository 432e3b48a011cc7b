//! Whoever has the database, or only reaches a host, wants a key to change, not to change, or to have rows of before be taken for new.

use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Purchase, Version};
use hypervisor_tests::peers::Peers;
use hypervisor_tests::{Host, eventually};

use crate::fleet::rotation::{all_have, fleet, key, rotate, try_rotate, under};

/// A fleet that has sold something, to somebody who asks again.
struct Sold {
    chain: Chain,
    _facilitator: Facilitator,
    peers: Peers,
    host: Host,
    purchase: Purchase,
    payment: Payment,
}

impl Sold {
    async fn once() -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let peers = Peers::start(&config(&chain, facilitator.url(), &confirmed(&chain))).await;
        let host = peers.host();
        let purchase = Purchase::of_echo(&host, "argument").await;
        let payment = purchase.payment(&chain, Version::V2).await;
        assert_eq!(purchase.pay(&payment).await.status, 200);
        Self {
            chain,
            _facilitator: facilitator,
            peers,
            host,
            purchase,
            payment,
        }
    }

    async fn is_charged_once(&self) {
        assert_eq!(self.chain.transfers().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_asks_for_another_key_is_refused_and_nothing_changes() {
    let peers = Peers::start("").await;
    let host = peers.host();
    let before = key(&host).await;
    let stranger = reqwest::Client::new();
    for token in [None, Some("Bearer 00"), Some("Basic abc")] {
        let mut asked = stranger.post(format!("{}/fleet/rotate", host.admin()));
        if let Some(token) = token {
            asked = asked.header("authorization", token);
        }
        assert_eq!(asked.send().await.unwrap().status(), 401, "{token:?}");
    }
    let page = (host.operator()).post(format!("{}/fleet/rotate", host.admin()));
    let page = page.header("origin", "https://attacker.example");
    assert_eq!(page.send().await.unwrap().status(), 403);
    // Where clients ask there is no such thing, whoever they are.
    for client in [stranger, host.operator()] {
        let asked = client.post(format!("{}/fleet/rotate", host.url()));
        assert_eq!(asked.send().await.unwrap().status(), 404);
    }
    assert_eq!(key(&host).await, before);
    assert_eq!(peers.fleet.rows("fleet-rotation").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_before_that_are_put_back_after_the_key_changed_are_refused_by_its_name() {
    let sold = Sold::once().await;
    let before = key(&sold.host).await;
    sold.peers.fleet.remember();
    let next = rotate(&sold.host).await;
    all_have(&[&sold.host], &next).await;
    sold.peers.fleet.set_back("payments");
    assert!(under(&sold.peers, &before) > 0);
    let said = format!("says that it is under the key {before}");
    let joined = sold.peers.host();
    for host in [&sold.host, &joined] {
        let moved = Purchase::of_echo(host, "argument").await;
        // The same payment for something else, too.
        for asked in [&sold.purchase, &moved] {
            let answer = asked.pay(&sold.payment).await;
            assert!(answer.status >= 400, "{answer:?}");
        }
    }
    sold.host.has_logged(&said).await;
    sold.is_charged_once().await;
    // Others buy what they like.
    let other = Purchase::of_echo(&joined, "other").await;
    let payment = other.payment(&sold.chain, Version::V2).await;
    assert_eq!(other.pay(&payment).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_says_that_it_is_under_a_key_that_there_never_was_is_refused_by_that_name() {
    let sold = Sold::once().await;
    let flip = |from: &str, to: &str| {
        sold.peers.fleet.database.query(&format!(
            "update hypervisor_rows set sealed = decode('{to}', 'hex') || substring(sealed from 9) \
             where tab = 'payments' and substring(sealed from 1 for 8) = decode('{from}', 'hex')"
        ));
    };
    let (own, false_one) = (key(&sold.host).await, "00112233445566aa");
    flip(&own, false_one);
    assert!(sold.purchase.pay(&sold.payment).await.status >= 400);
    sold.host
        .has_logged(&format!("says that it is under the key {false_one}"))
        .await;
    // Nobody who has the row's word for it asks others for such a key.
    assert!(!sold.host.log().contains("no host that lives gave it"));
    sold.is_charged_once().await;
    flip(false_one, &own);
    assert_eq!(sold.purchase.pay(&sold.payment).await.status, 200);
    sold.is_charged_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_withholds_the_row_of_a_rotation_or_puts_it_back_loses_no_row_and_no_key() {
    let peers = Peers::start("").await;
    let (a, b) = (peers.host(), peers.host());
    a.deploy(&owner(), "http-hello", "agent", "").await;
    let serves = async |what: &str| {
        for host in [&a, &b] {
            eventually(what, async || {
                (host.get("agent", "/").await.status() == 200).then_some(())
            })
            .await;
        }
    };
    serves("before").await;
    // Nothing can be under the next key while a host that lives has none of it.
    b.freeze();
    let lost = rotate(&a).await;
    peers.fleet.database.query(
        "create table withheld as select * from hypervisor_rows where tab like 'fleet-rotation%'; \
         delete from hypervisor_rows where tab like 'fleet-rotation%'",
    );
    b.thaw();
    let next = eventually("it is as if nobody had asked", async || {
        let (status, key) = try_rotate(&a).await;
        (status == 202).then_some(key)
    })
    .await;
    assert_ne!(next, lost);
    all_have(&[&a, &b], &next).await;
    serves("under the new key").await;
    // The first offer again, as if nothing had come of it.
    peers.fleet.database.query(
        "delete from hypervisor_rows where tab like 'fleet-rotation%'; \
         insert into hypervisor_rows select * from withheld",
    );
    for host in [&a, &b] {
        host.has_logged("this host cannot follow the fleet's key")
            .await;
        assert_eq!(key(host).await, next);
        assert_eq!(fleet(host).await["key"]["to"], serde_json::Value::Null);
    }
    assert_eq!(try_rotate(&a).await.0, 409);
    serves("under an old row").await;
    peers
        .fleet
        .database
        .query("delete from hypervisor_rows where tab like 'fleet-rotation%'");
    let third = eventually("the key changes again", async || {
        let (status, key) = try_rotate(&b).await;
        (status == 202).then_some(key)
    })
    .await;
    all_have(&[&a, &b], &third).await;
    serves("under the third key").await;
}
