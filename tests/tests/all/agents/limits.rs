//! Limits of plain calls: each holds, and says its name.

use hypervisor_tests::Host;
use hypervisor_tests::agents::{owner, problem};
use hypervisor_tests::{eventually, wire};
use serde_json::Value;

/// The limit that ended a call before its answer, and how much was allowed.
async fn limit(response: reqwest::Response) -> (String, u64) {
    let (status, problem) = problem(response).await;
    let problem = serde_json::to_value(problem).unwrap();
    assert_eq!(
        (status, &problem["type"]),
        (504, &"urn:hypervisor:problem:agent-limit".into()),
        "{problem}"
    );
    let number = |name: &str| problem[name].as_u64().unwrap();
    assert!(number("used") >= number("allowed"), "{problem}");
    let name = problem["limit"].as_str().unwrap().to_owned();
    (name, number("allowed"))
}

/// What a path of `bad-agent` reaches on a host with these limits, deployed with this in its manifest.
async fn reached(limits: &str, manifest: &str, path: &str) -> (String, u64) {
    let host = Host::with(&format!("[limits]\n{limits}"));
    host.deploy(&owner(), "bad-agent", "bad", manifest).await;
    let reached = limit(host.get("bad", path).await).await;
    assert_eq!(host.get("bad", "/counter").await.status(), 200, "the next");
    reached
}

#[tokio::test]
async fn processor_time() {
    let reached = reached("cpu = '200ms'", "", "/spin").await;
    assert_eq!(reached, ("cpu".to_owned(), 200_000));
}

#[tokio::test]
async fn wall_clock_time_of_an_agent_that_waits() {
    let reached = reached("wall = '1s'", "", "/sleep-forever").await;
    assert_eq!(reached, ("wall".to_owned(), 1_000_000));
}

#[tokio::test]
async fn wall_clock_time_of_an_agent_that_spins() {
    let reached = reached("wall = '1s'", "", "/spin").await;
    assert_eq!(reached, ("wall".to_owned(), 1_000_000));
}

#[tokio::test]
async fn memory() {
    let reached = reached("memory = '32 MiB'", "", "/oom").await;
    assert_eq!(reached, ("memory".to_owned(), 32 << 20));
}

#[tokio::test]
async fn an_agent_may_have_lower_limits_than_the_host() {
    for (manifest, path, expected) in [
        ("[limits]\ncpu = '100ms'", "/spin", ("cpu", 100_000)),
        (
            "[limits]\nwall = '500ms'",
            "/sleep-forever",
            ("wall", 500_000),
        ),
        ("[limits]\nmemory = '16 MiB'", "/oom", ("memory", 16 << 20)),
    ] {
        let (name, allowed) = reached("", manifest, path).await;
        assert_eq!((name.as_str(), allowed), expected);
    }
}

#[tokio::test]
async fn what_an_agent_asks_for_in_its_manifest_is_no_more_than_the_host_gives() {
    let host = Host::with("[limits]\nwall = '10s'");
    let component = hypervisor_tests::programs::guest("bad-agent");
    let manifest = hypervisor_tests::agents::manifest("bad", "[limits]\nwall = '11s'");
    let refused = host.try_deploy(&owner(), &component, &manifest).await;
    let (_, detail) = hypervisor_tests::agents::rejection(&refused.unwrap_err());
    assert!(
        detail.contains("limits.wall") && detail.contains("10s"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_answer_that_reaches_a_limit_midway_does_not_look_whole() {
    let host = Host::with("[limits]\nwall = '1s'");
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    let answer = wire::exchange(
        host.url(),
        "GET /agents/bad/write-forever HTTP/1.1\r\nhost: h\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with("\r\n0\r\n\r\n"));
    let answer = host.get("bad", "/write-forever").await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap_err();
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let request = client
        .build()
        .unwrap()
        .get(host.agent("bad", "/write-forever"));
    request.send().await.unwrap().bytes().await.unwrap_err();
}

#[tokio::test]
async fn the_owner_reads_in_the_log_which_limit_it_was() {
    let host = Host::with("[limits]\nwall = '3s'\ncpu = '200ms'\nmemory = '32 MiB'");
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    for path in ["/spin", "/sleep-forever", "/oom"] {
        limit(host.get("bad", path).await).await;
    }
    let lines = host.logs(&owner, "bad").await.lines;
    for said in [
        "host stopped at the limit of processor time: ",
        "host stopped at the limit of wall-clock time: ",
        "host stopped at the limit of memory: ",
    ] {
        assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    }
    let counted = host
        .counter("hypervisor_agent_calls_total{exit=\"limit\"}")
        .await;
    assert_eq!(counted, 3);
}

#[tokio::test]
async fn an_agent_that_goes_on_after_its_answer_is_stopped_too() {
    let host = Host::start();
    let owner = owner();
    // 50 ms are more than it has.
    host.deploy(&owner, "bad-agent", "bad", "[limits]\nwall = '30ms'")
        .await;
    let answer = host.get("bad", "/after").await;
    assert_eq!(answer.status(), 200);
    let lines = eventually("the log names the limit", async || {
        let lines = host.logs(&owner, "bad").await.lines;
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert!(
        lines[0].contains("the limit of wall-clock time"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn what_is_said_of_a_limit_is_no_word_of_the_agents() {
    let host = Host::with("[limits]\ncpu = '200ms'");
    host.deploy(&owner(), "bad-agent", "bad", "").await;
    let (_, problem) = problem(host.get("bad", "/spin").await).await;
    let Value::Object(members) = serde_json::to_value(problem).unwrap() else {
        panic!("no object");
    };
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    let expected = [
        "type", "title", "status", "detail", "limit", "used", "allowed",
    ];
    assert!(
        names
            .iter()
            .all(|name| expected.contains(name) || name.contains("request")),
        "{names:?}"
    );
}
