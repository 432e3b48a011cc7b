//! Plugins that are swapped while there is much to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hypervisor_client::Program;
use hypervisor_client::protocol::Exit;
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, PAUSE, RawSession, eventually};
use sha2::{Digest, Sha256, Sha384};

use crate::agents::kit::Policy;
use crate::agents::swap::{CBOR, Identity, SIMULATED, component, listing, may_run, swapped};
use crate::templates::template;

/// Requests that are sent until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Four tasks of sealed runs and four of plain calls; each wants nothing but success.
    async fn on(host: &Host) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let (session, go_on) = (host.session().await, Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let hello = guest("hello");
                while !go_on.load(Ordering::Relaxed) {
                    let execution = session.run_wasm(Program::new(&hello)).await.unwrap();
                    assert_eq!(execution.report.exit, Exit::Ok);
                    tokio::time::sleep(PAUSE).await;
                }
            }));
            let (url, go_on) = (host.agent("hello", "/"), Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let http = reqwest::Client::new();
                while !go_on.load(Ordering::Relaxed) {
                    let answer = http.get(&url).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    assert_eq!(answer.text().await.unwrap(), "hello from GET /\n");
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self { stop, tasks }
    }

    /// Ends, if all went well.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_request_that_is_under_way_ends_as_it_began() {
    // The next longer sleep is for a machine that was too slow for the one before.
    for sleep in ["1500", "6000", "24000"] {
        if ends_as_it_began(sleep).await {
            return;
        }
    }
    panic!("each program ended before the plugin was swapped");
}

/// False where the program, which sleeps for `sleep` milliseconds, ended before the plugin was swapped.
async fn ends_as_it_began(sleep: &str) -> bool {
    let policy = Policy::rust(&listing(&["sleepy", "http-hello"]));
    let limits = "[limits]\nexecutions = 1\nqueue = 0\n";
    let host = Host::with(&format!("{limits}{SIMULATED}{}", policy.section()));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let before = Identity::of(&host).await;
    let session = RawSession::open(&host).await;
    let sleepy = guest("sleepy");
    let run = async {
        loop {
            let (request, pending) = session.request(&sleepy, None, &[sleep.as_bytes()]);
            let answer = session.send(&request).await;
            // The call that looks for the program was in the slot.
            if answer.status != 503 {
                return (answer, pending, Instant::now());
            }
        }
    };
    let swap_meanwhile = async {
        eventually("the program runs", async || {
            (host.get("hello", "/").await.status() == 503).then_some(())
        })
        .await;
        policy.write("# nothing may run any more\n");
        swapped(&host, "policy", component("policy-rust")).await;
        Instant::now()
    };
    let ((answer, pending, answered), swapped) = tokio::join!(run, swap_meanwhile);
    assert_eq!(before.manifest_of(&answer), before.manifest);
    let report = session.open_answer(CBOR, &pending, &answer).report;
    assert_eq!(report.exit, Exit::Ok);
    let rules = const_hex::encode(Sha256::digest(listing(&["sleepy", "http-hello"])));
    assert_eq!(report.policy.unwrap().rules_digest.to_string(), rules);
    assert_eq!(host.get("hello", "/").await.status(), 403, "the next");
    swapped < answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_plugins_are_swapped() {
    let rules = listing(&["hello", "http-hello"]);
    let policy = Policy::rust(&rules);
    let host = Host::with(&policy.section());
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let load = Load::on(&host).await;
    let mut manifests = Vec::new();
    for number in 0..5 {
        policy.write(&format!("{rules}# the {number}th\n"));
        let said = swapped(&host, "policy", component("policy-rust")).await;
        manifests.push(said["manifest_sha384"].clone());
    }
    load.end().await;
    manifests.dedup();
    assert_eq!(manifests.len(), 5);
}

/// The policies that `hv new` writes: lists of programs, in three languages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_policies_in_three_languages_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.txt");
    let listed = ["hello", "http-hello"].map(|name| const_hex::encode(Sha256::digest(guest(name))));
    std::fs::write(&rules, listed.join("\n")).unwrap();
    let first = template("rust-policy-engine");
    // A policy that is late denies, and a machine may be busy: what is asked here is whether any request gets lost.
    let host = Host::with(&format!(
        "[policy]\ncomponent = {first:?}\nrules = {rules:?}\ncpu = '10s'\nwall = '30s'\n"
    ));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let load = Load::on(&host).await;
    for language in ["js", "python", "rust"] {
        let policy = std::fs::read(template(&format!("{language}-policy-engine"))).unwrap();
        let sha384 = const_hex::encode(Sha384::digest(&policy));
        let said = swapped(&host, "policy", policy).await;
        assert_eq!(said["sha384"], sha384, "{language}");
        let denied = host.run(Program::new(&guest("echo"))).await.report.exit;
        assert!(
            matches!(denied, Exit::Denied { .. }),
            "{language}: {denied:?}"
        );
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_deployed_while_plugins_are_swapped() {
    let rules = listing(&["hello", "http-hello"]);
    let policy = Policy::rust(&rules);
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let owner = owner();
    let deploying = async {
        for number in 0..10 {
            let name = format!("agent-{number}");
            host.deploy(&owner, "http-hello", &name, "").await;
            assert_eq!(host.get(&name, "/").await.status(), 200);
        }
    };
    let swapping = async {
        for number in 0..5 {
            policy.write(&format!("{rules}# the {number}th\n"));
            swapped(&host, "policy", component("policy-rust")).await;
        }
    };
    tokio::join!(deploying, swapping);
    // Each is in the log, once for each time that it was loaded.
    let log = Identity::of(&host).await.log;
    let swaps = log.iter().filter(|(name, _)| name == "policy").count();
    assert_eq!((swaps, log.len()), (6, 16));
}

#[tokio::test]
async fn two_swaps_at_once_are_made_one_after_the_other() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let (one, other) = tokio::join!(
        swapped(&host, "policy", component("policy-rust")),
        swapped(&host, "policy", component("policy-rust")),
    );
    let mut entries = [&one, &other].map(|said| said["log_entries"].as_u64().unwrap());
    entries.sort_unstable();
    assert_eq!(entries, [2, 3]);
    assert!(may_run(&host, "hello").await);
}
