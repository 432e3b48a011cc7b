//! How a request finds the host of its session.

use std::process::Command;
use std::time::{Duration, Instant};

use hypervisor_client::protocol::{
    ContentFormat, CreateKeypairRequest, ExecuteScriptRequest, Operation, PrivateKey, StreamReader,
    stream,
};
use hypervisor_client::{Client, Error, Program};
use hypervisor_tests::balancer::Balancer;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{guest, javascript_plugin};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host, RawSession, eventually, within};
use serde_json::Value;

use super::kit::{Nodes, all_forwarded, forwarded};
use crate::streams::ENDLESS;

const CBOR: ContentFormat = ContentFormat::Cbor;
/// Times that each of the sessions behind a balancer is used, and how many there are.
const RUNS: usize = 10;
const SESSIONS: usize = 30;

/// Runs a program that says a word in a session, wherever its requests go.
async fn run(session: &RawSession, word: &str) -> Answer {
    let (request, pending) = session.request(&guest("echo"), None, &[word.as_bytes()]);
    let answer = session.send(&request).await;
    if answer.status == 200 {
        let opened = session.open_answer(CBOR, &pending, &answer);
        assert_eq!(opened.result, format!("{word}\n").as_bytes());
    }
    answer
}

#[tokio::test]
async fn the_balancer_lets_nobody_ask_hosts_for_their_key() {
    let nodes = Nodes::start(3, "");
    let [a, b, c] = &nodes.hosts[..] else {
        panic!()
    };
    let balancer = Balancer::before([a, b, c]).await;
    for path in ["/fleet/join", "/fleet", "/%66leet/join", "/fleet/join?x"] {
        let url = format!("{}{path}", balancer.url());
        let answer = reqwest::get(&url).await.unwrap();
        // A host's own refusal is a 404.
        assert_eq!(answer.status(), 403, "{path}");
        let direct = reqwest::get(format!("{}{path}", a.url())).await.unwrap();
        assert_ne!(direct.status(), 403, "{path}");
    }
    for path in ["/readyz", "/fleets", "/agents/fleet/"] {
        let answer = reqwest::get(format!("{}{path}", balancer.url())).await;
        assert_ne!(answer.unwrap().status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_session_is_served_by_its_own_host_whichever_is_asked() {
    let nodes = Nodes::start(3, "");
    let [a, b, c] = &nodes.hosts[..] else {
        panic!()
    };
    let mut session = RawSession::open(a).await;
    for other in [b, c, b] {
        session = session.sent_to(other);
        assert_eq!(run(&session, "hello").await.status, 200);
    }
    assert_eq!(forwarded(b, "answered").await, 2);
    assert_eq!(forwarded(c, "answered").await, 1);
    assert_eq!(forwarded(a, "answered").await, 0);
    // A request that is refused is refused by the session's own host.
    let (request, _) = session.request(&guest("hello"), None, &[]);
    assert_eq!(session.send(&request).await.status, 200);
    assert_eq!(session.send(&request).await.problem(), "replayed-sequence");
}

#[tokio::test]
async fn the_answer_that_opens_a_session_names_it_in_a_header_and_ids_of_one_host_end_alike() {
    let nodes = Nodes::start(2, "");
    let mut ends = Vec::new();
    for host in [&nodes.hosts[0], &nodes.hosts[0], &nodes.hosts[1]] {
        let request = CreateKeypairRequest::new(PrivateKey::generate().public_key(), None);
        let body = ContentFormat::Json.encode(&request).unwrap();
        let url = format!("{}/encrypt/create_keypair", host.url());
        let answer = post(&reqwest::Client::new(), &url, "application/json", body).await;
        let opened: Value = serde_json::from_slice(&answer.body).unwrap();
        let id = opened["session_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.headers["hypervisor-session"], *id);
        ends.push(id[id.len() - 8..].to_owned());
    }
    assert_eq!(ends[0], ends[1]);
    assert_ne!(ends[0], ends[2]);
}

#[tokio::test]
async fn in_either_format_twenty_megabytes_are_forwarded() {
    let nodes = Nodes::start(2, "");
    let session = RawSession::open(&nodes.hosts[0]).await;
    let session = session.sent_to(&nodes.hosts[1]);
    let input = vec![b'x'; 20 << 20];
    for format in [ContentFormat::Cbor, ContentFormat::Json] {
        let (request, pending) = session.request(&guest("hello"), Some(&input), &[]);
        let answer = session.send_as(format, &request).await;
        let opened = session.open_answer(format, &pending, &answer);
        assert_eq!(opened.result, b"hello\n");
    }
}

#[tokio::test]
async fn a_streamed_answer_is_streamed_through_another_host() {
    let config = format!("[runtime.javascript]\n{}", javascript_plugin());
    let nodes = Nodes::start(2, &config);
    let session = RawSession::open(&nodes.hosts[0]).await;
    let sealed =
        session
            .session
            .seal_request::<&[u8]>(Operation::Javascript, ENDLESS.as_bytes(), None, &[]);
    let (sealed, pending) = sealed.unwrap();
    let (key, id) = (session.session.public_key(), *session.session.id());
    let body = CBOR
        .encode(&ExecuteScriptRequest::new(key, id, sealed))
        .unwrap();
    let url = format!("{}/test/policy/unsafe/javascript", nodes.hosts[1].url());
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", CBOR.media_type())
        .header("accept", stream::MEDIA_TYPE);
    let mut response = request.body(body).send().await.unwrap();
    let (mut reader, mut chunks) = (StreamReader::default(), Vec::new());
    // The script itself goes on for longer than any test.
    while chunks.is_empty() {
        let part = response.chunk().await.unwrap().unwrap();
        chunks.extend(reader.push(&part).unwrap());
    }
    let (_, written) = session
        .session
        .open_chunk(&pending, 0, chunks.remove(0))
        .unwrap();
    assert_eq!(written, b"one\n");
}

#[tokio::test]
async fn a_host_is_reached_by_others_on_a_socket_of_the_machine() {
    let mut nodes = Nodes::start(1, "");
    let socket = nodes.folder().join("b.sock");
    nodes.add(&format!("unix:{}", socket.display()), "");
    let [a, b] = &nodes.hosts[..] else { panic!() };
    let session = RawSession::open(b).await.sent_to(a);
    assert_eq!(run(&session, "by socket").await.status, 200);
    assert_eq!(forwarded(a, "answered").await, 1);
}

#[tokio::test]
async fn a_request_that_names_no_session_is_told_to() {
    let nodes = Nodes::start(2, "");
    let session = RawSession::open(&nodes.hosts[0]).await;
    let (mut request, _) = session.request(&guest("hello"), None, &[]);
    request.session_id = None;
    // Where it was opened it is the only one.
    assert_eq!(session.send(&request).await.status, 200);
    let elsewhere = session.sent_to(&nodes.hosts[1]);
    let (mut request, _) = elsewhere.request(&guest("hello"), None, &[]);
    request.session_id = None;
    let answer = elsewhere.send(&request).await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (409, "ambiguous-session")
    );
}

#[tokio::test]
async fn sessions_of_a_killed_host_are_unreachable_until_it_is_dead_and_others_notice_nothing() {
    let mut nodes = Nodes::start(3, "");
    let lost = RawSession::open(&nodes.hosts[0]).await;
    let lost = lost.sent_to(&nodes.hosts[1]);
    let kept = RawSession::open(&nodes.hosts[2]).await;
    let kept = kept.sent_to(&nodes.hosts[1]);
    assert_eq!(run(&lost, "before").await.status, 200);
    nodes.hosts[0].kill();
    let answer = run(&lost, "too late").await;
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    assert!(answer.headers.contains_key("retry-after"));
    eventually("its sessions are unknown", async || {
        assert_eq!(run(&kept, "still").await.status, 200);
        let answer = run(&lost, "gone").await;
        (answer.status == 404).then(|| assert_eq!(answer.problem(), "unknown-session"))
    })
    .await;
    // Who opens another is served.
    let again = RawSession::open(&nodes.hosts[1]).await;
    assert_eq!(run(&again, "again").await.status, 200);
}

#[tokio::test]
async fn a_host_that_stands_still_holds_up_others_requests_until_it_is_dead_and_no_longer() {
    let nodes = Nodes::start(2, "");
    let session = RawSession::open(&nodes.hosts[0]).await;
    let session = session.sent_to(&nodes.hosts[1]);
    assert_eq!(run(&session, "before").await.status, 200);
    nodes.hosts[0].freeze();
    let began = Instant::now();
    let answer = run(&session, "still").await;
    nodes.hosts[0].thaw();
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    assert!(began.elapsed() < Duration::from_secs(60));
    // It wakes, and has its place again.
    eventually("its sessions are served again", async || {
        (run(&session, "after").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_from_here_is_said_to_be_so() {
    let mut nodes = Nodes::start(1, "");
    // Nobody is there, and what is sent there may be swallowed (RFC 5737).
    nodes.add("192.0.2.1:9", "");
    let session = RawSession::open(&nodes.hosts[1]).await;
    let session = session.sent_to(&nodes.hosts[0]);
    let answer = within("an answer", run(&session, "nobody")).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(forwarded(&nodes.hosts[0], "unreachable").await, 1);
}

#[tokio::test]
async fn a_session_that_no_host_ever_had_is_unknown() {
    let nodes = Nodes::start(2, "");
    let session = RawSession::open(&nodes.hosts[0]).await;
    let (mut request, _) = session.request(&guest("hello"), None, &[]);
    let mut id = *request.session_id.unwrap().as_bytes();
    id[15] ^= 1;
    request.session_id = Some(hypervisor_client::protocol::SessionId::from_bytes(id));
    let answer = session.send(&request).await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (404, "unknown-session")
    );
    assert_eq!(forwarded(&nodes.hosts[0], "unknown").await, 1);
}

#[tokio::test]
async fn behind_a_balancer_a_client_that_repeats_the_header_is_never_forwarded() {
    let nodes = Nodes::start(3, "");
    let [a, b, c] = &nodes.hosts[..] else {
        panic!()
    };
    let balancer = Balancer::before([a, b, c]).await;
    let client = Client::new(balancer.url()).unwrap();
    let program = guest("hello");
    for _ in 0..SESSIONS {
        let session = client.open_session().await.unwrap();
        for _ in 0..RUNS {
            let ran = session.run_wasm(Program::new(&program)).await.unwrap();
            assert_eq!(ran.result, b"hello\n");
        }
    }
    assert_eq!(all_forwarded(&nodes.hosts).await, 0);
}

#[tokio::test]
async fn behind_a_balancer_a_client_that_knows_of_no_header_is_answered_all_the_same() {
    let nodes = Nodes::start(3, "");
    let [a, b, c] = &nodes.hosts[..] else {
        panic!()
    };
    let balancer = Balancer::before([a, b, c]).await;
    for _ in 0..SESSIONS {
        let session = RawSession::open_at(balancer.url()).await;
        for _ in 0..RUNS {
            assert_eq!(run(&session, "hello").await.status, 200);
        }
    }
    let mut answered = 0;
    for host in &nodes.hosts {
        answered += forwarded(host, "answered").await;
    }
    assert_eq!(answered, all_forwarded(&nodes.hosts).await);
    assert!(answered > 0);
}

#[tokio::test]
async fn hosts_are_replaced_one_by_one_and_nothing_fails_but_sessions_of_those_that_ended() {
    let mut nodes = Nodes::start(3, "[limits]\ndrain = '12s'\n");
    let program = guest("hello");
    for round in 0..3 {
        let replacement = "[limits]\ndrain = '12s'\n";
        nodes.add("127.0.0.1:0", replacement);
        let [old, rest @ ..] = &mut nodes.hosts[..] else {
            panic!()
        };
        let rest = [&rest[0], &rest[1], &rest[2]];
        let balancer = Balancer::before([old, rest[0], rest[1]]).await;
        let client = Client::new(balancer.url()).unwrap();
        // One session on each, by its own front door; requests come by the balancer.
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(client.open_session().await.unwrap());
        }
        old.terminate();
        let mut ended = None;
        let mut lost = 0;
        while ended.is_none() || lost == 0 {
            let mut open = Vec::new();
            for session in sessions {
                match session.run_wasm(Program::new(&program)).await {
                    Ok(ran) => {
                        assert_eq!(ran.result, b"hello\n");
                        open.push(session);
                    }
                    Err(Error::Refused(problem)) if problem.kind.ends_with(":unknown-session") => {
                        lost += 1;
                        open.push(client.open_session().await.unwrap());
                    }
                    Err(other) => panic!("round {round}: {other}"),
                }
            }
            sessions = open;
            if ended.is_none()
                && !std::path::Path::new(&format!("/proc/{}/exe", old.pid())).exists()
            {
                ended = Some(old.wait());
                // None of the six may have been its own.
                lost += 1;
            }
        }
        assert!(ended.unwrap().success(), "round {round}");
        nodes.hosts.remove(0);
    }
}

#[tokio::test]
async fn the_operator_sees_the_hosts_of_a_fleet() {
    let nodes = Nodes::start(2, "");
    let host = &nodes.hosts[0];
    let session = RawSession::open(&nodes.hosts[1]).await.sent_to(host);
    assert_eq!(run(&session, "hello").await.status, 200);
    let said = |command: &str, output: &str| {
        let done = Command::new(binary("hypervisor-ctl"))
            .args([command, "--output", output, "--admin", &host.admin()])
            .arg("--token-file")
            .arg(host.admin_token())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let ctl = |output: &str| said("fleet", output);
    let fleet = eventually("each sees the other, and the session", async || {
        let fleet: Value = serde_json::from_str(&ctl("json")).unwrap();
        let nodes = fleet["nodes"].as_array().unwrap();
        let sessions = nodes.iter().filter_map(|node| node["sessions"].as_u64());
        (nodes.len() == 2 && sessions.sum::<u64>() == 1).then_some(fleet)
    })
    .await;
    let address = host.url().strip_prefix("http://").unwrap();
    let own = fleet["nodes"].as_array().unwrap().iter();
    let own: Vec<_> = own.filter(|node| node["tag"] == fleet["tag"]).collect();
    assert_eq!(own[0]["address"], *address);
    assert_eq!(own[0]["state"], "serving");
    assert_eq!(fleet["forwarded"], 1);
    let status: Value = serde_json::from_str(&said("status", "json")).unwrap();
    assert_eq!(status["fleet"]["tag"], fleet["tag"]);
    assert_eq!(status["fleet"]["nodes"].as_array().unwrap().len(), 2);
    for text in [ctl("text"), said("status", "text")] {
        assert!(text.contains(address), "{text}");
        let words = "by this node: 0 takeovers, 1 requests forwarded";
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_is_alone_has_no_fleet_to_show() {
    let host = Host::start();
    let ask = async |path: &str| {
        let asked = host.operator().get(format!("{}{path}", host.admin()));
        asked.send().await.unwrap()
    };
    assert_eq!(ask("/fleet").await.status(), 404);
    let status: Value = serde_json::from_str(&ask("/status").await.text().await.unwrap()).unwrap();
    assert!(status.get("fleet").is_none());
}
