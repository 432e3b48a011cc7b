//! How long environments stay, and what survives what.

use hypervisor_client::environments::{LogKind, LogRow, Page, Terms};
use hypervisor_client::protocol::{Exit, Rejection};
use hypervisor_tests::environments::{Tenant, refused, rejected};
use hypervisor_tests::{Host, eventually};

use crate::agents::persistence::simulated;

const GREET: &str =
    "let greeting = 'hello'; export const handler = ({ data }) => `${greeting}, ${data}`;";

fn terms(idle: u64, ttl: u64) -> Terms {
    Terms {
        idle_seconds: Some(idle),
        ttl_seconds: Some(ttl),
        ..Terms::default()
    }
}

/// The rows of a log that the reaper has closed.
async fn ended(tenant: &Tenant, id: &str) -> Vec<LogRow> {
    eventually("the end in the log", async || {
        let (_, rows) = tenant.log(id).await;
        let is_over = rows.last()?.kind == LogKind::Expire;
        is_over.then_some(rows)
    })
    .await
}

/// Whether the environment is unknown by now.
async fn has_ended(tenant: &Tenant, id: &str) -> bool {
    match tenant.call(id, "1").await.execution.report.exit {
        Exit::Ok => false,
        exit => {
            assert_eq!(rejected(&exit).0, Rejection::UnknownEnvironment);
            true
        }
    }
}

#[tokio::test]
async fn an_environment_ends_when_nobody_uses_it_and_at_its_end_at_the_latest() {
    let mut host = Host::with_environments(&simulated("environments"));
    let tenant = host.tenant().await;
    let idle = tenant
        .set_up_for("javascript", GREET, &terms(1, 1000))
        .await;
    assert_eq!(idle.expires_at, idle.created_at + 1);
    assert_eq!(idle.ends_at, idle.created_at + 1000);
    let short = tenant.set_up_for("javascript", GREET, &terms(2, 2)).await;
    eventually("nothing listed", async || {
        (tenant.total().await == 0).then_some(())
    })
    .await;
    assert!(has_ended(&tenant, &idle.id).await);
    assert!(has_ended(&tenant, &short.id).await);
    assert!(!ended(&tenant, &short.id).await.is_empty());
    assert_eq!(host.rows("environments").len(), 0);
    assert_eq!(host.rows("environment-states").len(), 0);
}

#[tokio::test]
async fn a_run_under_way_is_not_ended_by_the_environments_time() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let source = "export const handler = ({ data }) => \
        new Promise((done) => setTimeout(done, data - Date.now(), 'done'));";
    // How long there has to be between a setup and a call is the machine's to say.
    for ttl in [1, 2, 4, 8] {
        let environment = tenant
            .set_up_for("javascript", source, &terms(ttl, ttl))
            .await;
        let later = environment.ends_at * 1000 + 1500;
        let done = tenant.call(&environment.id, &later.to_string()).await;
        if done.execution.report.exit == Exit::Ok {
            assert_eq!(done.answer.value.as_deref(), Some("\"done\""));
            assert!(has_ended(&tenant, &environment.id).await);
            return;
        }
        let exit = done.execution.report.exit;
        assert_eq!(rejected(&exit).0, Rejection::UnknownEnvironment);
    }
    panic!("no call began before the end of an environment");
}

#[tokio::test]
async fn extending_moves_the_end_and_says_it() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let environment = tenant.set_up_for("javascript", GREET, &terms(60, 60)).await;
    let longer = terms(7200, 7200);
    let extended = tenant
        .session
        .extend(&environment.id, &longer, &tenant.owner);
    let extended = extended.await.unwrap();
    assert!(extended.ends_at >= environment.ends_at + 7000);
    assert_eq!(extended.idle_seconds, 7200);
    assert_eq!(
        (extended.id, extended.state),
        (environment.id.clone(), environment.state)
    );
    let beyond = terms(60, 365 * 24 * 3600);
    let error = tenant
        .session
        .extend(&environment.id, &beyond, &tenant.owner)
        .await;
    assert_eq!(
        refused(&error.unwrap_err()).0,
        Rejection::InvalidEnvironment
    );
}

#[tokio::test]
async fn an_owner_removes_what_is_theirs_and_nobody_else_sees_it() {
    let mut host = Host::with_environments("");
    let (tenant, other) = (host.tenant().await, host.tenant().await);
    let environment = tenant.set_up("javascript", GREET).await;
    assert!(has_ended(&other, &environment.id).await);
    let stolen = other
        .session
        .remove_environment(&environment.id, &other.owner)
        .await;
    assert_eq!(
        refused(&stolen.unwrap_err()).0,
        Rejection::UnknownEnvironment
    );
    let log = other
        .session
        .environment_log(&environment.id, &Page::default(), &other.owner)
        .await;
    assert_eq!(refused(&log.unwrap_err()).0, Rejection::UnknownEnvironment);
    assert_eq!((tenant.total().await, other.total().await), (1, 0));
    assert_eq!(tenant.value(&environment.id, "1").await, "\"hello, 1\"");
    assert_eq!(tenant.remove(&environment.id).await.id, environment.id);
    assert!(has_ended(&tenant, &environment.id).await);
    assert_eq!(host.rows("environment-states").len(), 0);
}

#[tokio::test]
async fn environments_and_their_turns_survive_a_crash_where_there_is_a_sealing_key() {
    let mut host = Host::with_environments(&simulated("environments"));
    let mut tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", GREET).await;
    assert!(environment.persistent);
    tenant.turn(&environment.id, "globalThis.n = 5").await;
    for turns in 1..4 {
        host.kill_and_restart();
        tenant = tenant.again(&host).await;
        assert_eq!(tenant.value(&environment.id, "2").await, "\"hello, 2\"");
        let turn = tenant.turn(&environment.id, "globalThis.n += 1").await;
        assert_eq!(turn.answer.value, Some((5 + turns).to_string()));
    }
}

#[tokio::test]
async fn without_a_sealing_key_environments_end_with_the_process() {
    let mut host = Host::with_environments("");
    let mut tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", GREET).await;
    assert!(!environment.persistent);
    host.kill_and_restart();
    tenant = tenant.again(&host).await;
    assert!(has_ended(&tenant, &environment.id).await);
    assert_eq!(tenant.total().await, 0);
}

#[tokio::test]
async fn what_ended_while_the_host_was_down_is_gone_when_it_is_back() {
    let mut host = Host::with_environments(&simulated("environments"));
    let mut tenant = host.tenant().await;
    let environment = tenant.set_up_for("javascript", GREET, &terms(1, 1)).await;
    // Rows are written a few times a second; what was read of a log is in the store.
    tenant.log(&environment.id).await;
    host.kill();
    let end = std::time::UNIX_EPOCH + std::time::Duration::from_secs(environment.ends_at + 1);
    eventually("the end", async || {
        (std::time::SystemTime::now() > end).then_some(())
    })
    .await;
    host.kill_and_restart();
    tenant = tenant.again(&host).await;
    assert!(has_ended(&tenant, &environment.id).await);
    ended(&tenant, &environment.id).await;
    assert!(host.rows("environments").is_empty());
}

#[tokio::test]
async fn a_state_that_is_not_in_memory_comes_back_from_the_store() {
    let host = Host::with_environments("[environments]\nsetup = true\ncached = 0\n");
    let tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", GREET).await;
    for _ in 0..3 {
        assert_eq!(tenant.value(&environment.id, "3").await, "\"hello, 3\"");
    }
}
