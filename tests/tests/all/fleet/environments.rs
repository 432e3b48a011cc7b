//! Environments of a fleet: used on whatever host the session is on.

use hypervisor_client::environments::Terms;
use hypervisor_client::protocol::{Exit, OwnerKey, Rejection};
use hypervisor_tests::environments::{Tenant, rejected};
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::{Host, eventually};

const COUNT: &str = "globalThis.n = 0; export function handler() { return n; }";

/// Two hosts of a fleet, and one owner with a session on each.
async fn two(fleet: &Fleet, config: &str) -> ([Host; 2], [Tenant; 2]) {
    let start = || Host::with_environments(&format!("{config}{}", fleet.section()));
    let hosts = [start(), start()];
    let (_, key) = OwnerKey::generate().unwrap();
    let tenant = async |host: &Host| Tenant {
        owner: OwnerKey::from_bytes(&key).unwrap(),
        session: host.session().await,
    };
    let tenants = [tenant(&hosts[0]).await, tenant(&hosts[1]).await];
    (hosts, tenants)
}

#[tokio::test]
async fn what_a_turn_left_on_one_host_is_found_on_the_other_at_once() {
    let fleet = Fleet::start();
    let (_hosts, [one, other]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    for round in 0..5 {
        let (from, to) = match round % 2 {
            0 => (&one, &other),
            _ => (&other, &one),
        };
        let turn = from.turn(&id, "n += 1").await;
        assert!(turn.answer.kept, "{:?}", turn.execution.report.exit);
        assert_eq!(to.value(&id, "null").await, (round + 1).to_string());
    }
    assert_eq!((one.total().await, other.total().await), (1, 1));
}

#[tokio::test]
async fn of_turns_at_once_on_two_hosts_none_is_lost_that_was_said_to_be_kept() {
    let fleet = Fleet::start();
    let (_hosts, [one, other]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    let mut kept = 0;
    for _ in 0..8 {
        let (a, b) = tokio::join!(one.turn(&id, "n += 1"), other.turn(&id, "n += 1"));
        for turn in [a, b] {
            match (turn.answer.kept, turn.execution.report.exit) {
                (true, Exit::Ok) => kept += 1,
                (false, exit) => assert_eq!(rejected(&exit).0, Rejection::EnvironmentBusy),
                (true, exit) => panic!("{exit:?}"),
            }
        }
    }
    assert!(kept >= 8, "{kept}");
    assert_eq!(one.value(&id, "null").await, kept.to_string());
    assert_eq!(other.value(&id, "null").await, kept.to_string());
}

#[tokio::test]
async fn the_log_is_one_chain_whoever_wrote_to_it() {
    let fleet = Fleet::start();
    let (_hosts, [one, other]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    for _ in 0..10 {
        tokio::join!(one.call(&id, "null"), other.call(&id, "null"));
    }
    // A host writes what waits of its own before it shows a log.
    one.log(&id).await;
    // The client holds each row to the hash in the next one.
    let (log, rows) = other.log(&id).await;
    assert_eq!((log.total, rows.len()), (21, 21));
    let sequences = rows.iter().map(|row| row.sequence);
    assert!(sequences.eq(0..21));
}

#[tokio::test]
async fn what_is_removed_on_one_host_is_gone_on_the_other() {
    let fleet = Fleet::start();
    let (_hosts, [one, other]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    other.value(&id, "null").await;
    one.remove(&id).await;
    let call = other.call(&id, "null").await;
    assert_eq!(
        rejected(&call.execution.report.exit).0,
        Rejection::UnknownEnvironment
    );
    assert_eq!(other.total().await, 0);
    assert_eq!(fleet.rows("environments").len(), 0);
    assert_eq!(fleet.rows("environment-states").len(), 0);
}

#[tokio::test]
async fn one_whose_time_is_over_is_refused_everywhere_and_ended_by_one_host() {
    let fleet = Fleet::start();
    let (_hosts, [one, other]) = two(&fleet, "[limits]\nwall = '1s'\n").await;
    let terms = Terms {
        idle_seconds: Some(1),
        ..Terms::default()
    };
    let id = one.set_up_for("javascript", COUNT, &terms).await.id;
    eventually("its end", async || {
        let call = other.call(&id, "null").await;
        match call.execution.report.exit {
            Exit::Ok => {
                // Each call keeps it for another second: this is the pause that ends it.
                tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
                None
            }
            exit => {
                assert_eq!(rejected(&exit).0, Rejection::UnknownEnvironment);
                Some(())
            }
        }
    })
    .await;
    eventually("its rows to go", async || {
        fleet.rows("environments").is_empty().then_some(())
    })
    .await;
    let (log, _) = one.log(&id).await;
    assert!(log.total >= 2);
}

#[tokio::test]
async fn without_the_database_an_environment_is_not_guessed_at() {
    let mut fleet = Fleet::start();
    let (_hosts, [one, _other]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    fleet.database.stop_immediately();
    let call = one.call(&id, "null").await;
    assert_eq!(
        rejected(&call.execution.report.exit).0,
        Rejection::EnvironmentBusy
    );
    fleet.database.run();
    eventually("an answer", async || {
        one.call(&id, "null").await.answer.value
    })
    .await;
}

#[tokio::test]
async fn environments_are_there_after_all_hosts_were_killed() {
    let fleet = Fleet::start();
    let (mut hosts, [one, _]) = two(&fleet, "").await;
    let id = one.set_up("javascript", COUNT).await.id;
    assert!(one.turn(&id, "n = 7").await.answer.kept);
    for host in &mut hosts {
        host.kill();
    }
    for host in &mut hosts {
        host.start_again();
    }
    let again = one.again(&hosts[1]).await;
    assert_eq!(again.value(&id, "null").await, "7");
}
