//! `components/examples`: what authors make of the templates, each by itself and all of them under load.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use hypervisor_client::Program;
use hypervisor_client::protocol::Exit;
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, PAUSE, eventually};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::agents::swap::{command, swapped};
use crate::templates::example;

/// Where tests compile side by side, everything takes its time.
const UNHURRIED: &str =
    "[limits]\ncompile = '10m'\ncompile_agent = '10m'\nwall = '2m'\ncpu = '2m'\n";

/// The part of a configuration that has an example as its policy.
fn policy(name: &str, rules: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rules.txt");
    std::fs::write(&path, rules).unwrap();
    let component = example(name);
    let section = format!(
        "{UNHURRIED}[policy]\ncomponent = {component:?}\nrules = {path:?}\nwall = '30s'\ncpu = '30s'\n"
    );
    (folder, section)
}

/// The part that takes tickets, and a ticket.
fn payments() -> String {
    let (component, key) = (example("payments-js"), const_hex::encode([7; 32]));
    format!(
        "[payments]\ncomponent = {component:?}\npay_to = 'counter'\nprice = '1 TICKET'\n[payments.settings]\nTICKET_KEY = '{key}'\n"
    )
}

fn ticket(number: usize) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    mac.update(number.to_string().as_bytes());
    format!(
        "{number}.{}",
        const_hex::encode(mac.finalize().into_bytes())
    )
}

async fn deploy_counter(host: &Host, more: &str) {
    let agent = std::fs::read(example("agent-python")).unwrap();
    let (owner, manifest) = (owner(), manifest("counter", more));
    host.try_deploy(&owner, &agent, &manifest).await.unwrap();
}

#[tokio::test]
async fn the_policy_in_javascript_bounds_programs_and_what_agents_reach() {
    let hello = guest("hello");
    let rules = |largest: usize| format!(r#"{{"origins": [], "largest": {largest}}}"#);
    let (_folder, section) = policy("policy-js", &rules(hello.len()));
    let host = Host::with(&section);
    assert_eq!(host.run(Program::new(&hello)).await.report.exit, Exit::Ok);
    let jq = guest("jq");
    assert!(jq.len() > hello.len());
    let denied = host.run(Program::new(&jq)).await.report.exit;
    let reason = format!(
        "the program has {} bytes, and may have {}",
        jq.len(),
        hello.len()
    );
    assert_eq!(denied, Exit::Denied { reason });
}

#[tokio::test]
async fn tickets_are_good_for_one_request_each_and_only_the_counter_makes_them() {
    let host = Host::with(&payments());
    let price = "price = '1 TICKET'\npay_to = 'counter'";
    host.deploy(&owner(), "http-hello", "hello", price).await;
    let ask = async |ticket: Option<&str>| {
        let request = Client::new().get(host.agent("hello", "/"));
        let request = match ticket {
            Some(ticket) => request.header("x-ticket", ticket),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let paid = ask(Some(&ticket(1))).await;
    assert_eq!(paid, (StatusCode::OK, "hello from GET /\n".to_owned()));
    assert_eq!(ask(Some(&ticket(1))).await, paid, "the same answer");
    let forged = ticket(1).replacen('1', "2", 1);
    for (ticket, error) in [
        (None, "payment_required"),
        (Some("1"), "payment_required"),
        (Some(forged.as_str()), "invalid_ticket"),
    ] {
        let (status, body) = ask(ticket).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::PAYMENT_REQUIRED, &json!(error))
        );
    }
}

/// Calls of the agent until they are told to stop, each with a ticket of its own: every one has to be answered.
#[derive(Clone, Default)]
struct Callers {
    stop: Arc<AtomicBool>,
    tickets: Arc<AtomicUsize>,
}

impl Callers {
    async fn call(self, url: String) {
        let http = Client::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.tickets.fetch_add(1, Ordering::Relaxed);
            let request = http.post(&url).header("x-ticket", ticket(number));
            let answer = request.body("To be, or not to be").send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 200, "{text}");
            let counted: Value = serde_json::from_str(&text).unwrap();
            let most = json!({"to": 2, "be": 2, "or": 1, "not": 1});
            assert_eq!(counted, json!({"words": 6, "most": most}));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until everybody who calls has been answered since.
    async fn go_on(&self) {
        let before = self.tickets.load(Ordering::Relaxed);
        eventually("calls go on", async || {
            (self.tickets.load(Ordering::Relaxed) > before + 8).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_all_four_serve_and_policy_and_payments_are_swapped() {
    let limits = r#"{"origins": [], "largest": 100000000}"#;
    let (folder, section) = policy("policy-js", limits);
    let host = Host::with(&format!("{section}{}", payments()));
    deploy_counter(&host, "price = '1 TICKET'\npay_to = 'counter'").await;
    let callers = Callers::default();
    let url = host.agent("counter", "/");
    let tasks: Vec<_> = (0..3)
        .map(|_| tokio::spawn(callers.clone().call(url.clone())))
        .collect();
    callers.go_on().await;

    let payments = std::fs::read(example("payments-js")).unwrap();
    swapped(&host, "payments", payments).await;
    callers.go_on().await;

    let rules = folder.path().join("who.toml");
    let swap = async |name: &str, text: &str| {
        std::fs::write(&rules, text).unwrap();
        let component = example(name);
        let arguments = [
            component.to_str().unwrap(),
            "--rules",
            rules.to_str().unwrap(),
        ];
        let done = command(&host, &arguments).await;
        assert!(done.status.success(), "{done:?}");
        callers.go_on().await;
    };
    swap("policy-python", "[agents.counter]\nmethods = [\"POST\"]\n").await;
    let denied = Client::new()
        .get(&url)
        .header("x-ticket", ticket(usize::MAX >> 8));
    let denied = denied.send().await.unwrap();
    assert_eq!(denied.status(), 403);
    assert!(denied.text().await.unwrap().contains("counter takes POST"));
    swap("policy-js", limits).await;

    callers.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
}
