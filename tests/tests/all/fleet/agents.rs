//! Agents of a fleet: what one host deploys, all have.

use hypervisor_client::protocol::OwnerKey;
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, eventually};

/// SHA-256 of the agent that a name means on a host; none where it means none.
async fn digest(host: &Host, name: &str) -> Option<String> {
    info(host, name).await.map(|it| text(&it, "digest"))
}

async fn info(host: &Host, name: &str) -> Option<serde_json::Value> {
    let response = reqwest::get(format!("{}/agents/{name}", host.url())).await;
    let response = response.unwrap();
    match response.status().as_u16() {
        200 => serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        404 => None,
        other => panic!("{other}"),
    }
}

fn text(info: &serde_json::Value, field: &str) -> String {
    info[field].as_str().unwrap().to_owned()
}

/// Waits until a name means the same on all hosts, and something else than before; gives what.
async fn everywhere(hosts: &[Host], name: &str, before: Option<&str>) -> Option<String> {
    eventually("one version everywhere", async || {
        let first = digest(&hosts[0], name).await;
        for host in &hosts[1..] {
            if digest(host, name).await != first {
                return None;
            }
        }
        (first.as_deref() != before).then_some(first)
    })
    .await
}

#[tokio::test]
async fn what_is_deployed_replaced_and_removed_on_one_host_is_so_on_all() {
    let fleet = Fleet::start();
    let hosts = fleet.hosts(3, "");
    let owner = owner();
    let first = hosts[0].deploy(&owner, "http-hello", "agent", "").await;
    let first = first.info.digest.to_string();
    assert_eq!(
        everywhere(&hosts, "agent", None).await.as_deref(),
        Some(first.as_str())
    );
    for host in &hosts {
        let answer = host.get("agent", "/").await;
        assert_eq!(answer.status(), 200);
    }

    let second = hosts[1].deploy(&owner, "http-echo", "agent", "").await;
    let second = second.info.digest.to_string();
    let now = everywhere(&hosts, "agent", Some(&first)).await;
    assert_eq!(now.as_deref(), Some(second.as_str()));

    let session = hosts[2].session().await;
    let name = hypervisor_tests::agents::reference("agent");
    session.remove_agent(&name, &owner).await.unwrap();
    assert_eq!(everywhere(&hosts, "agent", Some(&second)).await, None);
    assert_eq!(fleet.rows("agents").len(), 0);
    assert_eq!(fleet.rows("agent-bodies").len(), 0);
}

#[tokio::test]
async fn one_address_that_three_hosts_deploy_at_once_is_one_version_everywhere() {
    let fleet = Fleet::start();
    let hosts = fleet.hosts(3, "");
    let owner = owner();
    let mut before = None;
    for round in 0..3 {
        let text = manifest("agent", &format!("skills = ['round {round}']"));
        let deploy = async |host: &Host, component: &[u8]| {
            let deployed = host.try_deploy(&owner, component, &text).await;
            deployed.unwrap_or_else(|error| panic!("{error}\n{}", host.log()));
        };
        let guests = ["http-hello", "http-echo", "chain"].map(guest);
        tokio::join!(
            deploy(&hosts[0], &guests[0]),
            deploy(&hosts[1], &guests[1]),
            deploy(&hosts[2], &guests[2]),
        );
        // Each had its own for a moment; what is in the store stands.
        let kept = eventually("what is kept", async || {
            let kept = everywhere(&hosts, "agent", None).await;
            let again = everywhere(&hosts, "agent", None).await;
            (kept == again).then_some(kept)
        });
        before = kept.await.or(before);
        assert_eq!(fleet.rows("agents").len(), 1);
        for host in &hosts {
            assert_ne!(host.get("agent", "/").await.status(), 404);
        }
    }
    assert_eq!(fleet.rows("agent-leftovers").len(), 0);
    assert!(before.is_some());
}

#[tokio::test]
async fn a_bare_name_belongs_to_who_deployed_first_on_every_host_and_after_all_restart() {
    let fleet = Fleet::start();
    let mut hosts = fleet.hosts(2, "");
    let owners: [OwnerKey; 2] = [owner(), owner()];
    let first = hosts[0].deploy(&owners[0], "http-hello", "agent", "").await;
    let second = hosts[1].deploy(&owners[1], "http-echo", "agent", "").await;
    let of_first = async |hosts: &[Host]| {
        for host in hosts {
            eventually("the first one's", async || {
                let both = info(host, &second.info.address).await.is_some();
                let named = info(host, "agent").await?;
                (both && text(&named, "address") == first.info.address).then_some(())
            })
            .await;
        }
    };
    of_first(&hosts).await;
    for host in &mut hosts {
        host.kill();
    }
    for host in &mut hosts {
        host.start_again();
    }
    of_first(&hosts).await;
}

#[tokio::test]
async fn agents_that_a_host_has_answer_while_the_database_is_away() {
    let mut fleet = Fleet::start();
    let hosts = fleet.hosts(2, "");
    hosts[0].deploy(&owner(), "http-hello", "agent", "").await;
    everywhere(&hosts, "agent", None).await;
    for host in &hosts {
        assert_eq!(host.get("agent", "/").await.status(), 200);
    }
    fleet.database.stop_immediately();
    for host in &hosts {
        assert_eq!(host.get("agent", "/").await.status(), 200);
    }
    let (late, component, text) = (owner(), guest("http-echo"), manifest("late", ""));
    let refused = hosts[0].try_deploy(&late, &component, &text).await;
    assert!(refused.is_err());
    fleet.database.run();
    eventually("deployments again", async || {
        hosts[1].try_deploy(&late, &component, &text).await.ok()
    })
    .await;
    everywhere(&hosts, "late", None).await;
}
