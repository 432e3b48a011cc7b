//! The official conformance suite of MCP, unchanged, against a host: the front that speaks MCP, and an agent behind it that is a server
//! itself and has the tools, resources and prompts that the suite asks for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::mcp_front;
use serde_json::Value;

/// What a revision requires of a server and this one does not do, with the reason.
type Missing = [(&'static str, &'static str)];

/// Results by the names of scenarios.
type Results = BTreeMap<String, Vec<Value>>;

fn packages() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/mcp/node_modules"))
}

fn suite() -> PathBuf {
    packages().join("@modelcontextprotocol/conformance")
}

/// Runs all scenarios for servers of a revision, those that are not scored too.
async fn run(revision: &str) -> Results {
    let front = "\n[[protocols]]\nname = 'mcp'\npaths = ['/mcp', '/mcp/']\n";
    let host = Host::with(&format!("{front}{}\n", mcp_front()));
    let name = "mcp-everything";
    host.deploy(&owner(), name, name, "").await;
    let folder = tempfile::tempdir().unwrap();
    // A loaded machine is no reason to fail.
    let output = tokio::process::Command::new(packages().join(".bin/node"))
        .arg(suite().join("dist/index.js"))
        .args(["server", "--requirements", revision, "--timeout", "120000"])
        .args(["--url", &format!("{}/mcp/{name}", host.url())])
        .arg("--output-dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("`make mcp` installs the suite");
    let results = read(folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!results.is_empty(), "{said}");
    results
}

/// What the suite wrote: a folder for each scenario, `server-NAME-TIME`.
fn read(folder: &Path) -> Results {
    const TIME: usize = "-2026-01-01T00-00-00-000Z".len();
    let mut results = Results::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name.strip_prefix("server-").unwrap();
        let name = name[..name.len() - TIME].to_owned();
        // A scenario that broke off wrote nothing, and did not pass.
        let checks = std::fs::read(path.join("checks.json")).unwrap_or_default();
        results.insert(name, serde_json::from_slice(&checks).unwrap_or_default());
    }
    results
}

/// What a revision requires of a server, as the suite has it frozen.
fn required(revision: &str) -> BTreeSet<String> {
    let file = suite().join(format!("requirements/{revision}.yaml"));
    let text = std::fs::read_to_string(file).unwrap();
    let all = text.lines().skip_while(|line| *line != "server:").skip(1);
    let names = all.map_while(|line| line.strip_prefix("  - "));
    names.map(str::to_owned).collect()
}

/// What of a scenario is not as it should be: the name of each check, and why.
fn wrong(checks: &[Value]) -> Vec<String> {
    let bad = checks.iter().filter(|check| {
        let status = check["status"].as_str().unwrap_or_default();
        !["SUCCESS", "INFO", "SKIPPED"].contains(&status)
    });
    bad.map(|check| {
        format!(
            "{} {}: {}",
            check["status"], check["id"], check["errorMessage"]
        )
    })
    .collect()
}

/// All that a revision requires passes, without a warning, but for what is missing; and of what is not scored, this passes.
async fn conforms(revision: &str, missing: &Missing, beyond: &[&str]) {
    let results = run(revision).await;
    let required = required(revision);
    assert!(required.len() >= 30, "{required:?}");
    let passes = |name: &str| {
        let checks = results.get(name);
        let is_success = |check: &Value| check["status"] == "SUCCESS";
        checks.is_some_and(|checks| checks.iter().any(is_success) && wrong(checks).is_empty())
    };
    for name in &required {
        let is_missing = missing.iter().any(|(own, _)| own == name);
        let why = results.get(name).map(|checks| wrong(checks));
        assert_eq!(passes(name), !is_missing, "{revision} {name}: {why:#?}");
    }
    for (name, reason) in missing {
        assert!(required.contains(*name) && !reason.is_empty(), "{name}");
    }
    let unscored = results.keys().filter(|name| !required.contains(*name));
    let passing: Vec<&str> = unscored
        .map(String::as_str)
        .filter(|name| passes(name))
        .collect();
    assert_eq!(passing, beyond, "{revision}");
}

#[tokio::test]
async fn everything_that_revision_2026_07_28_requires_of_a_server_passes() {
    conforms(
        "2026-07-28",
        &[],
        &["http-header-validation", "json-schema-2020-12"],
    )
    .await;
}

#[tokio::test]
async fn what_revision_2025_11_25_requires_of_a_server_passes_but_for_subscriptions() {
    let reason = "no client is told of changes: the front does not declare `resources.subscribe`";
    conforms(
        "2025-11-25",
        &[
            ("resources-subscribe", reason),
            ("resources-unsubscribe", reason),
        ],
        &["json-schema-2020-12", "server-session-lifecycle"],
    )
    .await;
}
