//! What Prometheus reads of a host: its form, what it counts, and the alert rules and the dashboard that come with the project.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use hypervisor_client::Program;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession, eventually};

const RIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/metrics");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// For each name of a sample its labels, and for each label its values.
type Series = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A scrape of a host, as it is sent.
async fn scrape(host: &Host) -> String {
    let answer = reqwest::get(format!("{}/metrics", host.admin()));
    let answer = answer.await.unwrap();
    let media_type = answer.headers()["content-type"].to_str().unwrap();
    assert!(
        media_type.starts_with("application/openmetrics-text; version=1.0.0"),
        "{media_type}"
    );
    answer.text().await.unwrap()
}

/// The same, read by the parser of the Prometheus project.
fn read(scrape: &str) -> Series {
    held(scrape, "-", &[]).unwrap_or_else(|error| panic!("{error}\n{scrape}"))
}

/// The same, with rules and dashboards held to it; or what is wrong with one of them.
fn held(scrape: &str, rules: &str, dashboards: &[&str]) -> Result<Series, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scrape");
    std::fs::write(&file, scrape).unwrap();
    let python = Path::new(RIG).join(".venv/bin/python");
    let done = std::process::Command::new(python)
        .arg(Path::new(RIG).join("check.py"))
        .arg(&file)
        .arg(rules)
        .args(dashboards)
        .output()
        .unwrap_or_else(|e| panic!("{e}; run scripts/setup-metrics.sh"));
    match done.status.success() {
        true => Ok(serde_json::from_slice(&done.stdout).unwrap()),
        false => Err(String::from_utf8(done.stderr).unwrap()),
    }
}

/// A host of which every series is there.
fn everything() -> Host {
    Host::with("[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n")
}

#[tokio::test]
async fn alert_rules_and_dashboard_name_only_what_a_host_serves() {
    let host = everything();
    host.ready().await;
    let series = held(
        &scrape(&host).await,
        &format!("{DEPLOY}/prometheus/alerts.yml"),
        &[&format!("{DEPLOY}/grafana/hypervisor.json")],
    )
    .unwrap();
    // Names of earlier versions stay.
    for name in [
        "hypervisor_agent_calls_total",
        "hypervisor_agent_outgoing_requests_total",
        "hypervisor_environment_outgoing_requests_total",
        "hypervisor_agent_deploys_total",
        "hypervisor_plugin_swaps_total",
        "hypervisor_policy_decisions_total",
        "hypervisor_payments_total",
        "hypervisor_agents",
        "hypervisor_executions",
    ] {
        assert!(series.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_rule_about_a_series_that_there_is_not_is_found() {
    let host = everything();
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    let text = std::fs::read_to_string(format!("{DEPLOY}/prometheus/alerts.yml")).unwrap();
    let wrong = text.replace("hypervisor_ready == 0", "hypervisor_unready == 1");
    assert_ne!(text, wrong);
    std::fs::write(&rules, wrong).unwrap();
    let found = held(&scrape(&host).await, rules.to_str().unwrap(), &[]);
    let error = found.unwrap_err();
    assert!(error.contains("no series hypervisor_unready"), "{error}");
}

#[tokio::test]
async fn executions_are_counted_by_kind_and_outcome_and_their_steps_are_timed() {
    let host = everything();
    let session = host.session().await;
    for _ in 0..3 {
        let hello = guest("hello");
        let ran = session.run_wasm(Program::new(&hello)).await.unwrap();
        assert_eq!(ran.result, b"hello\n");
    }
    let refused = session.run_wasm(Program::new(b"not wasm")).await.unwrap();
    assert!(refused.result.is_empty());
    let requests = |outcome: &str| {
        format!("hypervisor_sealed_requests_total{{kind=\"wasm\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(host.counter(&requests("ok")).await, 3);
    assert_eq!(host.counter(&requests("rejected")).await, 1);
    let steps = |step: &str| format!("hypervisor_step_seconds_count{{step=\"{step}\"}}");
    for (step, count) in [("queue", 4), ("open", 4), ("seal", 4), ("compile", 1)] {
        assert_eq!(host.counter(&steps(step)).await, count, "{step}");
    }
    // The cache counts in its own time.
    eventually("the program is in the cache", async || {
        session.run_wasm(Program::new(b"not wasm")).await.unwrap();
        let programs = host.counter("hypervisor_compile_cache_programs").await;
        (programs == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_stopped_at_a_limit_is_counted_by_the_limit() {
    let host = Host::with("[limits]\ncpu = '20ms'\n");
    let session = host.session().await;
    let spin = guest("spin");
    session.run_wasm(Program::new(&spin)).await.unwrap();
    assert_eq!(
        host.counter("hypervisor_limits_reached_total{limit=\"cpu\"}")
            .await,
        1
    );
}

#[tokio::test]
async fn a_full_host_shows_what_is_in_use_and_counts_what_it_refused() {
    let host = Host::with("[limits]\nexecutions = 1\nqueue = 0\ncpu = '1h'\nwall = '1h'\n");
    let session = host.session().await;
    let running = tokio::spawn(async move {
        let sleepy = guest("sleepy");
        let _ = session
            .run_wasm(Program::new(&sleepy).argument("3600000"))
            .await;
    });
    eventually("the slot is taken", async || {
        let used = host.counter("hypervisor_in_use{what=\"slots\"}").await;
        (used == 1).then_some(())
    })
    .await;
    assert_eq!(
        host.counter("hypervisor_in_use_limit{what=\"slots\"}")
            .await,
        1
    );
    let raw = RawSession::open(&host).await;
    let (request, _) = raw.request(&guest("hello"), None, &[]);
    assert_eq!(raw.send(&request).await.status, 503);
    let full = |of: &str| format!("hypervisor_bounds_reached_total{{bound=\"queue\",of=\"{of}\"}}");
    let of_peer = host.counter(&full("peer")).await;
    assert_eq!(of_peer + host.counter(&full("host")).await, 1);
    let refused = "hypervisor_refusals_total{problem=\"overloaded\"}";
    assert_eq!(host.counter(refused).await, 1);
    running.abort();
}

#[tokio::test]
async fn nothing_that_clients_send_adds_a_series() {
    let host = everything();
    host.ready().await;
    let before = read(&scrape(&host).await);
    let http = reqwest::Client::new();
    for path in [
        "/",
        "/agents/planted-name",
        "/agents/planted\"name}",
        "/planted{a=\"b\"}",
        "/metrics?planted=1",
    ] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let request = http.request(method, format!("{}{path}", host.url()));
            let request = request.header("content-type", "planted/planted");
            request.body("planted").send().await.unwrap();
        }
    }
    let session = host.session().await;
    for program in [guest("hello"), b"planted".to_vec(), guest("trap")] {
        let _ = session
            .run_wasm(Program::new(&program).argument("planted"))
            .await;
    }
    let text = scrape(&host).await;
    assert!(!text.contains("planted"), "{text}");
    assert_eq!(read(&text), before);
    assert!(before.values().flat_map(BTreeMap::keys).all(|label| {
        [
            "kind", "outcome", "limit", "bound", "of", "problem", "step", "le", "exit", "plugin",
            "end", "what", "peers", "state", "class", "version",
        ]
        .contains(&label.as_str())
    }));
}
