//! Agents and their owners against the host, its clients and each other.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hypervisor_client::protocol::{OwnerKey, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::programs::{component, component_file, guest};

const SIMULATED: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'attacks'\n";

/// A configuration that names these owners and keeps every other default.
fn owners(owners: &[&OwnerKey]) -> String {
    let ids: Vec<String> = owners.iter().map(|it| format!("'{}'", it.id())).collect();
    format!("[agents]\nowners = [{}]\n", ids.join(", "))
}

/// A command that carries `bytes` bytes of data; each `seed` another.
fn heavy(bytes: usize, seed: u8) -> Vec<u8> {
    let data = format!("\\{seed:02x}").repeat(bytes);
    component(&format!(
        r#"(memory 64) (data "{data}") (func (export "run") (result i32) (i32.const 0))"#
    ))
}

/// Deploys a component; why it was refused.
async fn deploy(
    host: &Host,
    owner: &OwnerKey,
    name: &str,
    component: &[u8],
) -> Result<(), (Rejection, String)> {
    host.try_deploy(owner, component, &manifest(name, ""))
        .await
        .map(drop)
        .map_err(|error| rejection(&error))
}

async fn status(host: &Host, agent: &str) -> u16 {
    host.get(agent, "/").await.status().as_u16()
}

/// Takes an agent down as the operator does; the status and the answer.
async fn take_down(host: &Host, agent: &str) -> (u16, String) {
    let url = format!("{}/agents/{agent}", host.admin());
    let answer = host.operator().delete(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_stranger_cannot_deploy_on_a_host_whose_operator_named_no_owner() {
    let host = Host::as_configured("");
    let (problem, detail) = deploy(&host, &owner(), "agent", &guest("hello"))
        .await
        .unwrap_err();
    assert_eq!(problem, Rejection::NotOwner);
    assert!(detail.contains("`owners`"), "{detail}");
}

#[tokio::test]
async fn an_open_host_says_so_in_its_log() {
    let host = Host::as_configured("[agents]\ndeploy = true");
    deploy(&host, &owner(), "agent", &guest("hello"))
        .await
        .unwrap();
    let log = host.log();
    assert!(
        log.contains("every client may deploy agents on this host"),
        "{log}"
    );
    let named = Host::as_configured(&owners(&[&owner()]));
    assert!(!named.log().contains("every client may deploy"));
}

#[tokio::test]
async fn an_agent_reaches_no_origin_that_the_operator_did_not_allow() {
    let owner = owner();
    let config = format!("{}private_networks = ['127.0.0.0/8']\n", owners(&[&owner]));
    let host = Host::as_configured(&config);
    // Where the request would go: the host itself.
    let listed = format!("outgoing = ['{}']", host.url());
    host.deploy(&owner, "chain", "chain", &listed).await;
    let url = format!("{}?url={}/ping", host.agent("chain", "/"), host.url());
    reqwest::get(url).await.unwrap();
    let refused = "hypervisor_agent_outgoing_requests_total{outcome=\"not_listed\"}";
    assert_eq!(host.counter(refused).await, 1);
}

#[tokio::test]
async fn one_owner_cannot_fill_the_hosts_disk() {
    let host = Host::with("[agents]\nstored_per_owner = '1 MiB'\nstored = '3 MiB'");
    let (one, other) = (owner(), owner());
    let mut deployed = 0;
    let (problem, detail) = loop {
        let component = heavy(200 << 10, deployed);
        match deploy(&host, &one, &format!("a{deployed}"), &component).await {
            Ok(()) => deployed += 1,
            Err(refused) => break refused,
        }
        assert!(deployed < 10, "nothing bounds one owner");
    };
    assert_eq!(problem, Rejection::TooManyAgents);
    assert!(detail.contains("`stored_per_owner`"), "{detail}");
    assert!(deployed > 0);
    // What is replaced takes no room of its own, and others have theirs.
    deploy(&host, &one, "a0", &heavy(200 << 10, 100))
        .await
        .unwrap();
    deploy(&host, &other, "b", &heavy(200 << 10, 101))
        .await
        .unwrap();
    let mut of_all = Ok(());
    for n in 0..20 {
        // A key costs nothing.
        of_all = deploy(&host, &owner(), &format!("c{n}"), &heavy(200 << 10, n)).await;
        if matches!(&of_all, Err((_, detail)) if detail.contains("`stored`")) {
            break;
        }
    }
    assert!(
        matches!(&of_all, Err((_, detail)) if detail.contains("`stored`")),
        "{of_all:?}"
    );
    assert_eq!(status(&host, "a0").await, 200);
}

#[tokio::test]
async fn machine_code_of_many_agents_does_not_stay_in_memory() {
    const AGENTS: u64 = 6;
    let host = Host::with("[agents]\nloaded = '8 MiB'\n[attestation]\nbackend = 'none'");
    let owner = owner();
    let program = guest("jq");
    // Until memory holds as much code as it may, and the allocator what it keeps.
    for n in 0..3 {
        deploy(&host, &owner, &format!("first{n}"), &program)
            .await
            .unwrap();
    }
    let (before, stored) = (host.resident(), size(&host));
    for n in 0..AGENTS {
        deploy(&host, &owner, &format!("agent{n}"), &program)
            .await
            .unwrap();
    }
    let stored = size(&host).saturating_sub(stored);
    assert!(stored > 16 << 20, "too small to tell: {stored} bytes");
    // Otherwise all of it stayed in memory.
    host.grown(before, stored / 2).await;
}

/// Bytes of the store of agents.
fn size(host: &Host) -> u64 {
    std::fs::metadata(host.store("agents")).map_or(0, |it| it.len())
}

#[tokio::test]
async fn code_that_memory_never_has_room_for_is_refused() {
    let host = Host::with("[agents]\nloaded = '1 KiB'");
    let (problem, detail) = deploy(&host, &owner(), "agent", &guest("hello"))
        .await
        .unwrap_err();
    assert_eq!(problem, Rejection::TooManyAgents);
    assert!(detail.contains("`loaded`"), "{detail}");
    assert!(host.client().agents().await.unwrap().agents.is_empty());
}

#[tokio::test]
async fn the_operator_takes_any_agent_down_and_it_stays_down() {
    let mut host = Host::with(SIMULATED);
    let (one, other) = (owner(), owner());
    host.deploy(&one, "hello", "agent", "").await;
    host.deploy(&other, "hello", "agent", "private = true")
        .await;
    host.deploy(&other, "hello", "alone", "private = true")
        .await;
    let (ambiguous, text) = take_down(&host, "agent").await;
    assert_eq!(ambiguous, 409);
    let addresses = [&one, &other].map(|owner| format!("agent.{}", owner.id()));
    assert!(addresses.iter().all(|it| text.contains(it)), "{text}");
    for agent in [&addresses[0], &addresses[1], "alone"] {
        assert_eq!(take_down(&host, agent).await.0, 200, "{agent}");
        assert_eq!(take_down(&host, agent).await.0, 404, "{agent}");
    }
    host.kill_and_restart();
    assert_eq!(status(&host, &addresses[0]).await, 404);
    let session = host.session().await;
    assert!(session.own_agents(&other).await.unwrap().agents.is_empty());
}

#[tokio::test]
async fn an_owner_who_was_struck_off_is_not_back_after_a_restart() {
    let (one, other) = (owner(), owner());
    let both = format!("{}{SIMULATED}", owners(&[&one, &other]));
    let mut host = Host::as_configured(&both);
    host.deploy(&one, "hello", "one", "").await;
    host.deploy(&other, "hello", "other", "").await;
    for (config, expected) in [
        (format!("{}{SIMULATED}", owners(&[&other])), (404, 200)),
        (SIMULATED.to_owned(), (404, 404)),
        (both.clone(), (200, 200)),
    ] {
        host.restart_as_configured(&config);
        let is = (status(&host, "one").await, status(&host, "other").await);
        assert_eq!(is, expected, "{config}");
    }
    // What is kept and not taken up can be deleted all the same.
    host.restart_as_configured(&format!("{}{SIMULATED}", owners(&[&other])));
    let address = format!("one.{}", one.id());
    assert_eq!(take_down(&host, &address).await.0, 200);
    assert_eq!(take_down(&host, &address).await.0, 404);
    host.restart_as_configured(&both);
    assert_eq!(status(&host, "one").await, 404);
}

#[tokio::test]
async fn an_agent_that_the_policy_came_to_forbid_is_not_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("digests");
    let allow = |guests: &[&str]| {
        let digests = guests.iter().map(|name| {
            use sha2::Digest;
            const_hex::encode(sha2::Sha256::digest(guest(name)))
        });
        std::fs::write(&rules, digests.collect::<Vec<_>>().join("\n")).unwrap();
    };
    allow(&["hello", "echo"]);
    let engine = component_file("policy-rust");
    let config = format!("{SIMULATED}[policy]\ncomponent = {engine:?}\nrules = {rules:?}\n");
    let mut host = Host::with(&config);
    let owner = owner();
    host.deploy(&owner, "hello", "hello", "").await;
    host.deploy(&owner, "echo", "echo", "").await;
    allow(&["echo"]);
    host.kill_and_restart();
    let agents = host.client().agents().await.unwrap().agents;
    let names: Vec<&str> = agents.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["echo"]);
}

/// Whoever else there is on the machine may not read this, nor anything below it.
fn is_private(path: &Path) {
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            is_private(&entry.unwrap().path());
        }
    }
}

#[tokio::test]
async fn nobody_else_on_the_machine_reads_the_state_whatever_the_umask() {
    // What the host inherits; what other tests make in the meantime is in folders of their own that are private.
    rustix::process::umask(rustix::fs::Mode::empty());
    let payments = std::fs::read_to_string(component_file("payments").with_extension("toml"));
    let config = format!(
        "[payments]\n{}networks = ['base-sepolia']\npay_to = '0x{}'\nfacilitators = ['http://127.0.0.1:1']\n{SIMULATED}",
        payments.unwrap(),
        "11".repeat(20)
    );
    let mut host = Host::with(&config);
    host.deploy(&owner(), "hello", "agent", "").await;
    is_private(&host.state());
    // As an earlier version left it.
    for path in [host.state(), host.store("agents")] {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, open).unwrap();
    }
    std::fs::write(host.state().join("left-behind"), b"it").unwrap();
    host.kill_and_restart();
    is_private(&host.state());
    assert_eq!(status(&host, "agent").await, 200);
}
