//! Rows of environments and of nodes under the hands of whoever has the database.

use hypervisor_client::Program;
use hypervisor_client::environments::ExecuteInput;
use hypervisor_tests::environments::Tenant;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession, eventually};

use super::kit::Nodes;

const COUNT: &str = "globalThis.n = 0; export function handler() { return n; }";

/// A host with two environments of one owner, which were both used.
async fn two(fleet: &Fleet) -> (Host, Tenant, [String; 2]) {
    let host = Host::with_environments(&fleet.section());
    let tenant = host.tenant().await;
    let mut ids = Vec::new();
    for number in 1..3 {
        let id = tenant.set_up("javascript", COUNT).await.id;
        let turn = tenant.turn(&id, &format!("n = {number}")).await;
        assert!(turn.answer.kept);
        ids.push(id);
    }
    (host, tenant, ids.try_into().unwrap())
}

/// What an environment answers; none where it is refused.
async fn value(tenant: &Tenant, id: &str) -> Option<String> {
    let input = ExecuteInput {
        data: "null".to_owned(),
        ..ExecuteInput::default()
    };
    let done = tenant.session.execute(id, &input, &tenant.owner).await;
    done.ok()?.answer.value
}

fn does_not_authenticate(host: &Host, table: &str) -> bool {
    let said = format!("a row of `{table}` does not authenticate");
    host.log().contains(&said)
}

#[tokio::test]
async fn environments_whose_rows_were_altered_or_swapped_are_refused_and_others_are_served() {
    let fleet = Fleet::start();
    let (host, tenant, [one, other]) = two(&fleet).await;
    let served = async || (value(&tenant, &one).await, value(&tenant, &other).await);
    let (first, second) = (Some("1".to_owned()), Some("2".to_owned()));
    assert_eq!(served().await, (first.clone(), second.clone()));

    fleet.flip("environments", &one);
    assert_eq!(served().await, (None, second.clone()));
    assert!(does_not_authenticate(&host, "environments"));
    fleet.flip("environments", &one);
    assert_eq!(served().await, (first.clone(), second.clone()));

    fleet.swap("environments", &one, &other);
    assert_eq!(served().await, (None, None));
    fleet.swap("environments", &one, &other);
    assert_eq!(served().await, (first, second));
}

#[tokio::test]
async fn a_state_that_was_altered_is_not_run_and_that_of_another_is() {
    let fleet = Fleet::start();
    let (mut host, tenant, [one, other]) = two(&fleet).await;
    fleet.flip("environment-states", &one);
    // It is read anew.
    host.kill_and_restart();
    let tenant = tenant.again(&host).await;
    assert_eq!(value(&tenant, &one).await, None);
    assert_eq!(value(&tenant, &other).await.as_deref(), Some("2"));
    assert!(does_not_authenticate(&host, "environment-states"));
    fleet.flip("environment-states", &one);
    assert_eq!(value(&tenant, &one).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_environment_that_is_put_back_older_is_refused_by_who_knows_and_has_no_state_for_others()
{
    let fleet = Fleet::start();
    let (host, tenant, [one, other]) = two(&fleet).await;
    let late = Host::with_environments(&fleet.section());
    fleet.remember();
    assert!(tenant.turn(&one, "n = 7").await.answer.kept);
    fleet.set_back("environments");
    assert_eq!(value(&tenant, &one).await, None);
    assert_eq!(value(&tenant, &other).await.as_deref(), Some("2"));
    let said = "a row of `environments` is older than this host has seen it";
    assert!(host.log().contains(said));
    // Whoever did not see the turn takes the row for what it is; the state that it names is gone.
    let elsewhere = Tenant {
        session: late.session().await,
        owner: tenant.owner,
    };
    assert_eq!(value(&elsewhere, &one).await, None);
    assert_eq!(value(&elsewhere, &other).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn an_environment_whose_log_was_altered_does_nothing_that_would_be_in_it_and_others_logs_go_on()
 {
    let fleet = Fleet::start();
    let (host, tenant, [one, other]) = two(&fleet).await;
    let (before, _) = tenant.log(&one).await;
    fleet.flip("environment-log-heads", &one);
    eventually("nothing is done there any more", async || {
        value(&tenant, &one).await.is_none().then_some(())
    })
    .await;
    assert!(does_not_authenticate(&host, "environment-log-heads"));
    assert_eq!(value(&tenant, &other).await.as_deref(), Some("2"));
    let (log, rows) = tenant.log(&other).await;
    assert_eq!((log.total, rows.len()), (3, 3));
    fleet.flip("environment-log-heads", &one);
    // What waited is written, and all of it is one chain.
    let (after, rows) = tenant.log(&one).await;
    assert!(after.total > before.total);
    assert_eq!(rows.len() as u64, after.total);
    assert_eq!(value(&tenant, &one).await.as_deref(), Some("1"));
}

/// Three hosts, and a session of each of the last two that is asked of by way of the first, with their tags.
async fn asked_of_the_first(nodes: &Nodes) -> [(RawSession, String); 2] {
    let of = async |host: &Host| {
        let session = RawSession::open(host).await.sent_to(&nodes.hosts[0]);
        let tag = const_hex::encode(&session.session.id().as_bytes()[12..]);
        (session, tag)
    };
    [of(&nodes.hosts[1]).await, of(&nodes.hosts[2]).await]
}

async fn status(session: &RawSession) -> u16 {
    let (request, _) = session.request(&guest("hello"), None, &[]);
    session.send(&request).await.status
}

async fn is_served(what: &str, session: &RawSession) {
    eventually(what, async || (status(session).await == 200).then_some(())).await;
}

#[tokio::test]
async fn a_node_whose_row_is_altered_is_not_found_and_others_are() {
    let nodes = Nodes::start(3, "");
    let [(lost, tag), (kept, _)] = asked_of_the_first(&nodes).await;
    is_served("before", &lost).await;
    nodes.fleet.spoil("nodes", &tag);
    eventually("its row is nobody's", async || {
        assert_eq!(status(&kept).await, 200);
        (status(&lost).await == 404).then_some(())
    })
    .await;
    let said = "rows of nodes cannot be read";
    assert!(nodes.hosts[0].log().contains(said));
    // It serves its own, and nobody takes over what it does.
    let own = nodes.hosts[1].session().await;
    let ran = own.run_wasm(Program::new(&guest("hello"))).await;
    assert_eq!(ran.unwrap().result, b"hello\n");
    nodes.fleet.spare();
    is_served("it is found again", &lost).await;
    for host in &nodes.hosts {
        assert_eq!(host.counter("hypervisor_fleet_takeovers").await, 0);
    }
}

/// What is in the rows of nodes, by their tags.
fn contents(nodes: &Nodes, tags: [&str; 2]) -> [String; 2] {
    tags.map(|tag| {
        nodes.fleet.database.query(&format!(
            "select md5(sealed) from hypervisor_rows where encode(key, 'hex') = '{tag}'"
        ))
    })
}

/// Waits until both rows are others than these.
async fn are_written_anew(nodes: &Nodes, tags: [&str; 2], before: &[String; 2]) {
    eventually("both rows are written anew", async || {
        let now = contents(nodes, tags);
        (now[0] != before[0] && now[1] != before[1]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nodes_whose_rows_were_swapped_or_put_back_older_write_them_anew() {
    let nodes = Nodes::start(3, "");
    let [(one, first), (other, second)] = asked_of_the_first(&nodes).await;
    let tags = [first.as_str(), second.as_str()];
    let both = async |what: &str| {
        is_served(what, &one).await;
        is_served(what, &other).await;
    };
    both("before").await;
    nodes.fleet.swap("nodes", &first, &second);
    let swapped = contents(&nodes, tags);
    are_written_anew(&nodes, tags, &swapped).await;
    both("after they were swapped").await;

    nodes.fleet.remember();
    let before = contents(&nodes, tags);
    are_written_anew(&nodes, tags, &before).await;
    nodes.fleet.set_back("nodes");
    let older = contents(&nodes, tags);
    are_written_anew(&nodes, tags, &older).await;
    both("after they were put back").await;
}
