//! Agents that do what they should not.

use hypervisor_tests::agents::{owner, problem};
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, eventually};
use reqwest::Client;
use serde_json::{Value, json};

use crate::agents::kit::fails;

/// A host with `bad-agent` as `bad`.
async fn bad() -> Host {
    let host = Host::start();
    host.deploy(&owner(), "bad-agent", "bad", "").await;
    host
}

/// Status and name of the problem that a path is answered with.
async fn failure(host: &Host, path: &str) -> (u16, String) {
    let (status, problem) = problem(host.get("bad", path).await).await;
    let name = problem.kind.strip_prefix("urn:hypervisor:problem:");
    (status, name.unwrap().to_owned())
}

/// The JSON that a path is answered with.
async fn json(host: &Host, path: &str) -> Value {
    let answer = host.get("bad", path).await;
    assert_eq!(answer.status(), 200);
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn no_answer_and_a_trap_are_failures_whose_reasons_are_the_owners() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    let failed = (502, "agent-failed".to_owned());
    for path in ["/never", "/trap-before"] {
        assert_eq!(failure(&host, path).await, failed, "{path}");
    }
    let (_, problem) = problem(host.get("bad", "/trap-before").await).await;
    assert!(!problem.detail.contains("asked to panic"), "{problem:?}");
    let log = host.logs(&owner, "bad").await;
    let said = |text: &str| log.lines.iter().any(|line| line.contains(text));
    assert!(said("asked to panic") && said("host trap: "), "{log:?}");
    assert_eq!(host.get("bad", "/counter").await.status(), 200, "the next");
}

#[tokio::test]
async fn a_second_answer_is_a_trap_and_the_client_sees_no_whole_first_one() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    fails(Client::new().get(host.agent("bad", "/twice"))).await;
    eventually("the owner reads of the trap", async || {
        let log = host.logs(&owner, "bad").await;
        let trap = |line: &String| line.contains("host trap: ");
        log.lines.iter().any(trap).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_a_trap_cuts_off_does_not_look_whole() {
    let host = bad().await;
    let url = host.agent("bad", "/trap-after-headers");
    let newer = Client::builder().http2_prior_knowledge();
    for client in [Client::new(), newer.build().unwrap()] {
        fails(client.get(&url)).await;
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_read_until_a_limit() {
    let host = Host::with("[limits]\nwall = '1s'");
    host.deploy(&owner(), "bad-agent", "bad", "").await;
    let mut wire = Wire::open(host.url()).await;
    wire.send(
        "POST /agents/bad/read-forever HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while wire.try_send(&chunk).await {}
    let answer = wire.rest().await;
    // A client that still sends may lose the answer with the connection.
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 504 "),
        "{answer}"
    );
    assert_eq!(
        host.counter("hypervisor_agent_calls_total{exit=\"limit\"}")
            .await,
        1
    );
}

#[tokio::test]
async fn a_thousand_header_fields_go_through() {
    let host = bad().await;
    let authority = host.url().to_owned();
    let mut wire = Wire::open(&authority).await;
    wire.send("GET /agents/bad/1000-headers HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    let answer = wire.rest().await;
    assert_eq!(answer.matches("\r\nx-header-").count(), 1000);
    assert!(answer.contains("a thousand headers\n"));
}

#[tokio::test]
async fn header_fields_without_a_measure_are_a_failure_of_the_agents() {
    let host = bad().await;
    let expected = (502, "agent-failed".to_owned());
    assert_eq!(failure(&host, "/1000-headers?bytes=10000").await, expected);
    assert_eq!(host.get("bad", "/counter").await.status(), 200, "the next");
}

#[tokio::test]
async fn fields_that_split_an_answer_or_belong_to_the_connection_are_refused() {
    let host = bad().await;
    let answer = host.get("bad", "/bad-header").await;
    assert!(!answer.headers().contains_key("x-injected"));
    let tried: Vec<Value> = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(!tried.is_empty());
    for one in tried {
        assert_ne!(one["said"], "ok", "{one}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_declared_does_not_look_whole() {
    let host = bad().await;
    fails(Client::new().get(host.agent("bad", "/wrong-length?declared=100"))).await;
}

#[tokio::test]
async fn a_body_longer_than_declared_does_not_spill_into_the_next_answer() {
    let host = bad().await;
    let mut wire = Wire::open(host.url()).await;
    wire.send(
        "GET /agents/bad/wrong-length?declared=3 HTTP/1.1\r\nhost: h\r\n\r\n\
         GET /agents/bad/counter HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    let answers = wire.rest().await;
    assert!(!answers.contains("ten bytes"), "{answers}");
    assert_eq!(host.get("bad", "/counter").await.status(), 200);
}

#[tokio::test]
async fn a_log_is_bounded_and_says_how_much_of_it_is_gone() {
    let host = Host::with("[agents]\nlog = '4 KiB'\n[limits]\nstderr = '16 KiB'");
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    assert_eq!(
        json(&host, "/log?bytes=1000000").await,
        json!({"asked": 1_000_000, "left": 0}),
        "the agent does not notice"
    );
    let log = host.logs(&owner, "bad").await;
    let kept: usize = log.lines.iter().map(String::len).sum();
    assert!(kept <= 4096 && !log.lines.is_empty(), "{kept}");
    // 16 KiB of lines of 61 bytes were taken, the rest was not.
    let lines = u64::try_from(log.lines.len()).unwrap() + log.dropped;
    assert_eq!(lines, (16_u64 << 10).div_ceil(61));
}

#[tokio::test]
async fn what_an_agent_writes_after_its_answer_is_in_its_log() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    let text = host.get("bad", "/after").await.text().await.unwrap();
    assert_eq!(text, "this is all\n");
    eventually("the line is there", async || {
        let log = host.logs(&owner, "bad").await;
        let line = |line: &String| line.ends_with("stderr bad-agent: still here");
        log.lines.iter().any(line).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agents_words_are_in_no_log_of_the_hosts() {
    let host = bad().await;
    host.get("bad", "/trap-before?secret-in-the-query").await;
    host.get("bad", "/after").await.text().await.unwrap();
    let log = host.log();
    for text in ["asked to panic", "secret-in-the-query", "this is all"] {
        assert!(!log.contains(text), "the log has {text:?}");
    }
}

#[tokio::test]
async fn an_agents_environment_is_what_its_manifest_says_and_nothing_else() {
    let host = Host::start();
    let environment = "[environment]\nAPI_KEY = 'ä=b c'\nEMPTY = ''";
    host.deploy(&owner(), "bad-agent", "bad", environment).await;
    assert_eq!(
        json(&host, "/env").await,
        json!({"API_KEY": "ä=b c", "EMPTY": ""})
    );
    host.deploy(&owner(), "bad-agent", "bare", "").await;
    let bare = host.get("bare", "/env").await.text().await.unwrap();
    assert_eq!(bare, "{}\n");
}
