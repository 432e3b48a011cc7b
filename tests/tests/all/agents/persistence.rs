//! What survives a restart of the host, what is on its disk, and what becomes of damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hypervisor_client::protocol::{AgentInfo, OwnerKey};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, problem, reference};
use hypervisor_tests::programs::guest;

/// A platform whose sealing key comes from this seed.
pub(crate) fn simulated(seed: &str) -> String {
    format!("[attestation]\nbackend = 'simulated'\nsimulated_seed = '{seed}'\n")
}

fn sealing() -> Host {
    Host::with(&simulated("one"))
}

/// Every file below a folder, with its bytes.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

/// Deploys `http-hello` under two names, and gives the key of the first's head.
async fn two_agents(host: &mut Host, owner: &OwnerKey) -> Vec<u8> {
    host.deploy(owner, "http-hello", "one", "").await;
    let [one] = host.rows("agents").try_into().unwrap();
    host.kill_and_restart();
    host.deploy(owner, "http-hello", "two", "").await;
    one
}

async fn status(host: &Host, reference: &str) -> u16 {
    host.get(reference, "/").await.status().as_u16()
}

/// What the two agents answer.
async fn both(host: &Host) -> (u16, u16) {
    (status(host, "one").await, status(host, "two").await)
}

/// Deploys `http-hello` from the registry.
async fn deployed_from_the_registry(host: &Host) -> AgentInfo {
    host.register("agent", &guest("http-hello"), &manifest("agent", ""));
    let deployed = host.client().deploy_registered("agent").await;
    deployed.unwrap().agent
}

#[tokio::test]
async fn an_agent_survives_a_crash_as_it_was_and_its_log_does_not() {
    let mut host = sealing();
    let owner = owner();
    let more =
        "skills = ['misbehaving']\nreuse = 2\n[environment]\nKEY = 'value'\n[limits]\nwall = '5s'";
    let info = host.deploy(&owner, "bad-agent", "agent", more).await.info;
    assert!(info.persistent && info.note.is_none(), "{info:?}");
    host.get("agent", "/log?bytes=10").await;
    assert_eq!(host.logs(&owner, "agent").await.lines.len(), 1);

    host.kill_and_restart();
    let first = host.get("agent", "/env").await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.text().await.unwrap().trim(), r#"{"KEY":"value"}"#);
    let client = host.client();
    assert_eq!(client.agent(&reference("agent")).await.unwrap(), info);
    let log = host.logs(&owner, "agent").await;
    assert_eq!((log.lines.len(), log.dropped), (0, 0));
    let session = host.session().await;
    let own = session.own_agents(&owner).await.unwrap().agents;
    assert_eq!(own, [info]);
}

#[tokio::test]
async fn a_command_survives_too() {
    let mut host = sealing();
    host.deploy(&owner(), "echo", "agent", "").await;
    host.kill_and_restart();
    let answer = host.get("agent", "/?arg=still&arg=here").await;
    assert_eq!(answer.text().await.unwrap(), "still\nhere\n");
}

#[tokio::test]
async fn the_first_calls_after_a_restart_may_come_all_at_once() {
    let mut host = sealing();
    host.deploy(&owner(), "http-hello", "agent", "").await;
    host.kill_and_restart();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let url = host.agent("agent", "/");
        calls.spawn(async move { reqwest::get(url).await.unwrap().status() });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn the_files_tell_nothing_of_an_agent() {
    let host = sealing();
    let owner = owner();
    let component = guest("http-hello");
    let text = "name = 'marker-name'\ndescription = 'marker of the description'\n\
                version = '7.7.7-marker'\nskills = ['marker skill']\nprivate = true\n\
                outgoing = ['https://marker.example.org']\n[environment]\nMARKER_KEY = 'marker value'";
    host.try_deploy(&owner, &component, text).await.unwrap();

    let id = owner.id();
    let mut markers: Vec<&[u8]> = [
        "marker-name",
        "marker of the description",
        "7.7.7-marker",
        "marker skill",
        "marker.example.org",
        "MARKER_KEY",
        "marker value",
        "hello from ",
        "wasi:http/incoming-handler",
        &id,
    ]
    .map(str::as_bytes)
    .to_vec();
    let key = owner.public_key().as_bytes();
    markers.push(&key[1..]);
    // Pieces of the component, wherever they begin.
    markers.extend(component.chunks_exact(64).step_by(16));
    for (path, bytes) in files(&host.state()) {
        let name = path.to_string_lossy().into_owned();
        for marker in &markers {
            let holds = |bytes: &[u8]| bytes.windows(marker.len()).any(|piece| piece == *marker);
            let marker = String::from_utf8_lossy(marker);
            assert!(!holds(&bytes), "{marker:?} is in {name}");
            assert!(!holds(name.as_bytes()), "{marker:?} is the name of {name}");
        }
    }
}

#[tokio::test]
async fn a_damaged_agent_does_not_stop_the_start_and_the_others_answer() {
    let mut host = sealing();
    let one = two_agents(&mut host, &owner()).await;
    let good = std::cell::RefCell::new(Vec::new());
    let cut: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |mut row| {
            row[40] ^= 1;
            row
        },
        |row| row[..row.len() / 2].to_vec(),
        |row| row[..8].to_vec(),
        |row| [row.as_slice(), b"more"].concat(),
        |row| [&row[..8], &b"something else altogether".repeat(10)].concat(),
    ];
    for cut in cut {
        host.alter("agents", |key, row| {
            if key == one {
                if good.borrow().is_empty() {
                    good.replace(row);
                }
                Some(cut(good.borrow().clone()))
            } else {
                Some(row)
            }
        });
        host.kill_and_restart();
        assert_eq!(both(&host).await, (404, 200));
        assert!(host.log().contains("an agent cannot be read"));
    }
    host.alter("agents", |key, row| {
        Some(if key == one {
            good.borrow().clone()
        } else {
            row
        })
    });
    host.kill_and_restart();
    assert_eq!(both(&host).await, (200, 200));
}

#[tokio::test]
async fn machine_code_that_was_altered_is_never_run() {
    let mut host = sealing();
    let owner = owner();
    let one = two_agents(&mut host, &owner).await;
    host.alter("agent-bodies", |key, mut row| {
        if key.starts_with(&one) {
            *row.last_mut().unwrap() ^= 1;
        }
        Some(row)
    });
    host.kill_and_restart();
    let (status, problem) = problem(host.get("one", "/").await).await;
    assert_eq!(
        (status, problem.kind.as_str()),
        (500, "urn:hypervisor:problem:internal")
    );
    assert_eq!(self::status(&host, "two").await, 200);
    // Deployed again it is whole.
    host.deploy(&owner, "http-hello", "one", "").await;
    assert_eq!(self::status(&host, "one").await, 200);
}

#[tokio::test]
async fn agents_that_changed_places_are_not_taken_for_each_other() {
    let mut host = sealing();
    let one = two_agents(&mut host, &owner()).await;
    let two = std::cell::RefCell::new(Vec::new());
    host.alter("agents", |key, row| {
        if key != one {
            two.replace(row.clone());
        }
        Some(row)
    });
    host.alter("agents", |key, row| {
        Some(if key == one {
            two.borrow().clone()
        } else {
            row
        })
    });
    host.kill_and_restart();
    assert_eq!(both(&host).await, (404, 200));
}

#[tokio::test]
async fn under_another_key_the_agents_are_not_there_and_come_back_with_theirs() {
    let mut host = sealing();
    two_agents(&mut host, &owner()).await;
    for config in [
        simulated("two"),
        "[attestation]\nbackend = 'none'".to_owned(),
    ] {
        host.restart_with(&config);
        assert!(host.client().agents().await.unwrap().agents.is_empty());
        assert_eq!(status(&host, "one").await, 404);
    }
    host.restart_with(&simulated("one"));
    assert_eq!(both(&host).await, (200, 200));
}

#[tokio::test]
async fn what_was_removed_stays_removed_and_what_was_replaced_stays_replaced() {
    let mut host = sealing();
    let owner = owner();
    host.deploy(&owner, "http-hello", "removed", "").await;
    host.deploy(&owner, "http-hello", "replaced", "").await;
    host.deploy(&owner, "hello", "replaced", "").await;
    let session = host.session().await;
    let gone = reference("removed");
    session.remove_agent(&gone, &owner).await.unwrap();
    assert_eq!(host.rows("agents").len(), 1);
    host.kill_and_restart();
    assert_eq!(status(&host, "removed").await, 404);
    let answer = host.get("replaced", "/").await;
    assert_eq!(answer.text().await.unwrap(), "hello\n");
}

#[tokio::test]
async fn of_deployments_at_once_the_one_that_answers_is_the_one_that_is_kept() {
    let mut host = sealing();
    let (session, owner) = (host.session().await, owner());
    let components = ["hello", "echo", "http-hello", "http-echo"].map(guest);
    let text = manifest("agent", "");
    let [a, b, c, d] = components.each_ref();
    let deploy = |component| session.deploy(component, &text, &owner);
    let deployed = tokio::join!(deploy(a), deploy(b), deploy(c), deploy(d));
    assert!(deployed.0.is_ok() && deployed.1.is_ok() && deployed.2.is_ok() && deployed.3.is_ok());
    let before = host.client().agents().await.unwrap().agents;
    assert_eq!((before.len(), host.rows("agents").len()), (1, 1));
    host.kill_and_restart();
    assert_eq!(host.client().agents().await.unwrap().agents, before);
    assert_eq!(status(&host, "agent").await, 200);
}

#[tokio::test]
async fn an_agent_that_does_not_fit_a_new_configuration_waits_for_one_that_it_fits() {
    let mut host = sealing();
    let owner = owner();
    host.deploy(&owner, "http-hello", "one", "[limits]\nwall = '50s'")
        .await;
    host.deploy(&owner, "http-hello", "two", "").await;
    host.restart_with(&format!("{}[limits]\nwall = '40s'", simulated("one")));
    assert_eq!(both(&host).await, (404, 200));
    host.restart_with(&simulated("one"));
    assert_eq!(both(&host).await, (200, 200));
}

#[tokio::test]
async fn a_private_agent_stays_private() {
    let mut host = sealing();
    let owner = owner();
    host.deploy(&owner, "http-hello", "agent", "private = true")
        .await;
    host.kill_and_restart();
    assert_eq!(status(&host, "agent").await, 404);
    let session = host.session().await;
    let own = session.own_agents(&owner).await.unwrap().agents;
    assert_eq!(own.len(), 1);
}

#[tokio::test]
async fn the_bare_name_stays_with_whoever_had_it_first() {
    let mut host = sealing();
    // The one whose address comes last deploys first.
    let mut owners = [owner(), owner()];
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.id()));
    for owner in &owners {
        host.deploy(owner, "http-hello", "agent", "").await;
    }
    host.kill_and_restart();
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(found.address, format!("agent.{}", owners[0].id()));
}

#[tokio::test]
async fn without_a_sealing_key_a_clients_agent_ends_with_the_host() {
    let mut host = Host::with("[attestation]\nbackend = 'none'");
    let owner = owner();
    host.deploy(&owner, "http-hello", "agent", "").await;
    assert_eq!(status(&host, "agent").await, 200);
    host.kill_and_restart();
    assert_eq!(status(&host, "agent").await, 404);
}

#[tokio::test]
async fn without_a_sealing_key_an_agent_of_the_registry_is_deployed_again() {
    let mut host = Host::with("[attestation]\nbackend = 'none'");
    let info = deployed_from_the_registry(&host).await;
    assert!(info.persistent && info.note.is_none(), "{info:?}");
    host.kill_and_restart();
    assert_eq!(status(&host, "agent").await, 200);
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(found, info);
}

#[tokio::test]
async fn with_a_sealing_key_the_component_that_was_deployed_stays_whatever_the_registry_has_now() {
    let mut host = sealing();
    let info = deployed_from_the_registry(&host).await;
    // Nobody deployed this one.
    host.register("agent", &guest("http-echo"), &manifest("agent", ""));
    host.kill_and_restart();
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(found, info);
    let answer = host.get("agent", "/").await;
    assert!(answer.text().await.unwrap().starts_with("hello from"));
}
