//! A fleet whose database is behind PgBouncer in transaction mode.

use hypervisor_tests::agents::owner;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator, Purchase, Version};
use hypervisor_tests::pooler::{CONNECTIONS, Pooler};
use hypervisor_tests::{Host, eventually};

/// Payments of one payer that are bought at once, by more connections than the pooler has.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_hosts_deploy_sell_and_take_over() {
    let fleet = Fleet::start();
    let mut pooler = Pooler::before(&fleet.database);
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let sells = config(
        &chain,
        facilitator.url(),
        &format!("unsettled = {AT_ONCE}\n{}", confirmed(&chain)),
    );
    let section = fleet.section_at(pooler.url());
    let [mut first, second] = [0, 1].map(|_| Host::with(&format!("{sells}{section}")));

    first.deploy(&owner(), "http-hello", "agent", "").await;
    eventually("the other host has it", async || {
        (second.get("agent", "/").await.status() == 200).then_some(())
    })
    .await;

    let mut buying = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let host = [&first, &second][number % 2];
        let purchase = Purchase::of_echo(host, &number.to_string()).await;
        let payment = purchase.payment(&chain, Version::V2).await;
        buying.spawn(async move { purchase.pay(&payment).await });
    }
    for bought in buying.join_all().await {
        assert_eq!(bought.status, 200, "{bought:?}");
    }
    let connected = fleet.database.query(
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
    let connected: u64 = connected.parse().unwrap();
    assert!((1..=CONNECTIONS).contains(&connected), "{connected}");

    let purchase = Purchase::of_echo(&first, "kept").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let bought = purchase.pay(&payment).await;
    assert_eq!(bought.status, 200, "{bought:?}");
    first.kill();
    let purchase = purchase.moved(&second);
    let again = eventually("the other host answers", async || {
        let again = purchase.pay(&payment).await;
        assert!([200, 503].contains(&again.status), "{again:?}");
        (again.status == 200).then_some(again)
    })
    .await;
    assert_eq!(again.body, bought.body);
    eventually("what the first one left is taken over", async || {
        let takeovers = second.counter("hypervisor_fleet_takeovers").await;
        (takeovers == 1).then_some(())
    })
    .await;

    // Its connections end with it; those that a host kept are opened again.
    pooler.kill();
    pooler.run();
    let after = eventually("sold again", async || {
        let purchase = Purchase::of_echo(&second, "after").await;
        let is_offered = purchase.send(&[]).await.status == 402;
        is_offered.then_some(purchase)
    })
    .await;
    let payment = after.payment(&chain, Version::V2).await;
    eventually("bought again", async || {
        let answer = after.pay(&payment).await;
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(chain.transfers().await.len(), AT_ONCE + 2);
}
