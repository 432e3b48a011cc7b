//! Replacing and removing agents while they serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hypervisor_client::protocol::OwnerKey;
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, reference};
use hypervisor_tests::programs::{component, guest, importing};
use hypervisor_tests::wire::Wire;

use crate::agents::persistence::simulated;

/// A request to `http-echo` that is under way: what is said comes back.
struct Conversation(Wire);

impl Conversation {
    async fn begin(host: &Host, reference: &str) -> Self {
        let mut wire = Wire::open(host.url()).await;
        wire.send(format!(
            "POST /agents/{reference}/ HTTP/1.1\r\nhost: host\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
        let mut conversation = Self(wire);
        conversation.exchange("before").await;
        conversation
    }

    async fn exchange(&mut self, word: &str) {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        self.0.send(&chunk).await;
        self.0.until(&chunk).await;
    }

    async fn end(mut self) {
        self.exchange("after").await;
        self.0.send("0\r\n\r\n").await;
        self.0.until("0\r\n\r\n").await;
    }
}

async fn says_hello(host: &Host, reference: &str) -> bool {
    let answer = host.get(reference, "/").await;
    answer.status() == 200 && answer.text().await.unwrap().starts_with("hello from GET")
}

#[tokio::test]
async fn requests_under_way_finish_on_the_agent_that_is_replaced() {
    let host = Host::start();
    let owner = owner();
    let old = host.deploy(&owner, "http-echo", "agent", "").await.info;
    let by_name = Conversation::begin(&host, "agent").await;
    let by_address = Conversation::begin(&host, &old.address).await;

    let new = host.deploy(&owner, "http-hello", "agent", "").await.info;
    assert_eq!((&new.address, &new.path), (&old.address, &old.path));
    assert_ne!(new.digest, old.digest);
    assert!(says_hello(&host, "agent").await);
    by_name.end().await;
    by_address.end().await;
    assert_eq!(host.client().agents().await.unwrap().agents.len(), 1);
}

#[tokio::test]
async fn requests_under_way_finish_on_the_agent_that_is_removed() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-echo", "agent", "").await;
    let under_way = Conversation::begin(&host, "agent").await;

    let session = host.session().await;
    let removed = session
        .remove_agent(&reference("agent"), &owner)
        .await
        .unwrap();
    assert_eq!(removed.name, "agent");
    assert_eq!(host.get("agent", "/").await.status(), 404);
    under_way.end().await;
}

/// Everything that a replacement may be refused for, one after the other.
async fn replacements_that_are_refused(host: &Host, owner: &OwnerKey) {
    let large = component(r#"(memory 4096) (func (export "run") (result i32) (i32.const 0))"#);
    let missing = importing("acme:db/store@1.0.0");
    // It compiles, and only the linker finds that `run` is not there.
    let invalid = hypervisor_tests::programs::wat(
        r#"(component
             (core module $m (func (export "run") (result i32) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "ran" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#,
    );
    let small = "[limits]\nmemory = '1 MiB'";
    for (component, more) in [
        (guest("hello"), "price = 'free'"),
        (guest("hello"), "world = 'service'"),
        (b"text".to_vec(), ""),
        (missing, ""),
        (large, small),
        (invalid, ""),
    ] {
        host.try_deploy(owner, &component, &manifest("agent", more))
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn a_replacement_that_is_refused_changes_nothing() {
    let host = Host::start();
    let owner = owner();
    let info = host.deploy(&owner, "http-hello", "agent", "").await.info;
    replacements_that_are_refused(&host, &owner).await;
    let client = host.client();
    assert_eq!(client.agent(&reference("agent")).await.unwrap(), info);
    assert!(says_hello(&host, "agent").await);
}

#[tokio::test]
async fn the_same_again_replaces_and_changes_nothing_else() {
    let host = Host::start();
    let owner = owner();
    let first = host.deploy(&owner, "http-hello", "agent", "").await.info;
    let again = host.deploy(&owner, "http-hello", "agent", "").await.info;
    assert_eq!(first, again);
    assert!(says_hello(&host, "agent").await);
}

#[tokio::test]
async fn a_name_that_was_removed_can_be_deployed_again() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-echo", "agent", "").await;
    let session = host.session().await;
    let name = reference("agent");
    session.remove_agent(&name, &owner).await.unwrap();
    session.remove_agent(&name, &owner).await.unwrap_err();
    host.deploy(&owner, "http-hello", "agent", "").await;
    assert!(says_hello(&host, "agent").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_its_agent_is_replaced() {
    let host = Host::with(&simulated("one"));
    let owner = owner();
    host.deploy(&owner, "http-hello", "agent", "").await;
    let (over, url) = (Arc::new(AtomicBool::new(false)), host.agent("agent", "/"));
    let caller = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let client = reqwest::Client::new();
            while !over.load(Ordering::Relaxed) {
                let answer = client.get(&url).send().await.unwrap();
                let status = answer.status();
                assert_eq!(status, 200, "{}", answer.text().await.unwrap());
            }
        }
    });
    for guest in ["http-echo", "http-hello", "http-echo"] {
        host.deploy(&owner, guest, "agent", "").await;
    }
    over.store(true, Ordering::Relaxed);
    caller.await.unwrap();
}
