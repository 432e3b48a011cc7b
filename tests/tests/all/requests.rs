//! Bad requests: each gets a problem with a stable type, and the session still takes the next good one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use hypervisor_client::protocol::{
    ContentFormat, ExecuteWasmRequest, HexBytes, PrivateKey, SessionId,
};
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::post;
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Answer, Host, RawSession};

const JSON: &str = "application/json";
const CBOR: &str = "application/cbor";

/// Sends a good request after `alter` bent it, and checks the problem and that the session goes on.
async fn refused(
    alter: impl FnOnce(&mut ExecuteWasmRequest),
    status: u16,
    problem: &str,
) -> Answer {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (mut request, _) = session.request(
        &guest("echo"),
        Some(b"input"),
        &[b"first", b"second", b"third"],
    );
    alter(&mut request);
    let answer = session.send(&request).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, problem),
        "{}",
        answer.detail()
    );
    session.still_works().await;
    answer
}

/// Sends bytes that are no request at all.
async fn refused_bytes(content_type: &str, body: &[u8], status: u16, problem: &str) -> Answer {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let answer = session.send_bytes(content_type, body.to_vec()).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, problem),
        "{}",
        answer.detail()
    );
    session.still_works().await;
    answer
}

fn json_request() -> serde_json::Value {
    serde_json::json!({"encrypted_wasm": "00", "public_key": "00"})
}

#[tokio::test]
async fn not_json() {
    refused_bytes(JSON, b"{not json", 400, "malformed-request").await;
    refused_bytes(JSON, b"", 400, "malformed-request").await;
}

#[tokio::test]
async fn json_that_is_no_request_names_the_field() {
    let answer = refused_bytes(JSON, b"{\"public_key\": \"00\"}", 400, "malformed-request").await;
    assert!(
        answer.detail().contains("encrypted_wasm"),
        "{}",
        answer.detail()
    );
    let mut unknown = json_request();
    unknown["encrypted_argument"] = "00".into();
    let answer = refused_bytes(
        JSON,
        unknown.to_string().as_bytes(),
        400,
        "malformed-request",
    )
    .await;
    assert!(
        answer.detail().contains("encrypted_argument"),
        "{}",
        answer.detail()
    );
}

#[tokio::test]
async fn truncated_cbor() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, _) = session.request(&guest("echo"), None, &[]);
    let mut body = ContentFormat::Cbor.encode(&request).unwrap();
    body.truncate(body.len() / 2);
    let answer = session.send_bytes(CBOR, body).await;
    assert_eq!(answer.problem(), "malformed-request");
    session.still_works().await;
}

#[tokio::test]
async fn cbor_with_bytes_after_its_end() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, _) = session.request(&guest("echo"), None, &[]);
    let mut body = ContentFormat::Cbor.encode(&request).unwrap();
    body.push(0);
    assert_eq!(
        session.send_bytes(CBOR, body).await.problem(),
        "malformed-request"
    );
    session.still_works().await;
}

#[tokio::test]
async fn hex_of_odd_length_and_text_that_is_not_hex() {
    for hex in ["abc", "zz", "0x0", "é"] {
        let mut request = json_request();
        request["encrypted_wasm"] = hex.into();
        refused_bytes(
            JSON,
            request.to_string().as_bytes(),
            400,
            "malformed-request",
        )
        .await;
    }
}

#[tokio::test]
async fn a_content_type_that_is_neither_json_nor_cbor() {
    refused_bytes("text/plain", b"{}", 415, "unsupported-media-type").await;
}

#[tokio::test]
async fn a_body_over_the_limit_declared_or_streamed() {
    let host = Host::with("[limits]\nbody = '200 KiB'");
    let session = RawSession::open(&host).await;
    let head = format!("POST /test/execute/wasm HTTP/1.1\r\nhost: h\r\ncontent-type: {CBOR}\r\n");
    // No byte is on its way when the answer comes, which could make the connection end before it is read.
    let declared = format!("{head}content-length: {}\r\n\r\n", 300 << 10);
    let most = 200 << 10;
    let streamed = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{}",
        most + 1,
        "x".repeat(most + 1)
    );
    for request in [declared, streamed] {
        let mut wire = Wire::open(host.url()).await;
        wire.send(request).await;
        let answer = wire.until("}").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("body-too-large"), "{answer}");
    }
    session.still_works().await;
}

#[tokio::test]
async fn bodies_over_the_hosts_account_are_refused_for_now() {
    let host = Host::with("[limits]\nbody = '1 KiB'\nbodies = '1 KiB'");
    let http = reqwest::Client::new();
    let url = format!("{}/encrypt/create_keypair", host.url());
    // Fits: the account is given back after each request.
    for _ in 0..3 {
        assert_eq!(post(&http, &url, JSON, vec![b' '; 1000]).await.status, 400);
    }
}

#[tokio::test]
async fn keys_that_are_no_points() {
    let off_curve = [&[2_u8][..], &[0xff; 32]].concat();
    let cases: [(&str, Vec<u8>); 6] = [
        ("not on the curve", off_curve),
        ("identity", vec![0]),
        ("identity, padded", vec![0; 33]),
        ("short", vec![2; 32]),
        ("long", vec![4; 66]),
        ("empty", vec![]),
    ];
    for (what, key) in cases {
        let in_request = key.clone();
        let answer = refused(|r| r.public_key = HexBytes(in_request), 400, "invalid-key").await;
        assert!(answer.detail().contains("public_key"), "{what}");
        let host = Host::start();
        let body = ContentFormat::Cbor
            .encode(&serde_json::json!({"pubkey": 1}))
            .unwrap();
        let url = format!("{}/encrypt/create_keypair", host.url());
        let http = reqwest::Client::new();
        assert_eq!(
            post(&http, &url, CBOR, body).await.problem(),
            "malformed-request"
        );
        let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
        let body = serde_json::json!({"pubkey": hex}).to_string().into_bytes();
        assert_eq!(
            post(&http, &url, JSON, body).await.problem(),
            "invalid-key",
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_uncompressed_key_names_the_same_session() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (mut request, pending) = session.request(&guest("hello"), None, &[]);
    request.public_key = HexBytes(uncompressed(&request.public_key.0));
    let answer = session.send(&request).await;
    assert_eq!(
        session
            .open_answer(ContentFormat::Cbor, &pending, &answer)
            .result,
        b"hello\n"
    );
}

/// SEC 1 compressed to uncompressed.
fn uncompressed(compressed: &[u8]) -> Vec<u8> {
    use p256::elliptic_curve::sec1::ToSec1Point;
    p256::PublicKey::from_sec1_bytes(compressed)
        .unwrap()
        .to_sec1_point(false)
        .as_bytes()
        .to_vec()
}

#[tokio::test]
async fn an_unknown_session() {
    refused(
        |r| r.session_id = Some(SessionId::new()),
        404,
        "unknown-session",
    )
    .await;
}

#[tokio::test]
async fn a_session_id_that_is_none() {
    let mut request = json_request();
    request["session_id"] = "not-a-uuid".into();
    refused_bytes(
        JSON,
        request.to_string().as_bytes(),
        400,
        "malformed-request",
    )
    .await;
}

#[tokio::test]
async fn an_expired_session() {
    let host = Host::with("[limits]\nsession_idle = '0s'");
    let session = RawSession::open(&host).await;
    let (request, _) = session.request(&guest("hello"), None, &[]);
    assert_eq!(session.send(&request).await.problem(), "unknown-session");
}

#[tokio::test]
async fn someone_elses_session_is_as_unknown_as_none() {
    let host = Host::start();
    let (owner, other) = (RawSession::open(&host).await, RawSession::open(&host).await);
    let (mut request, _) = other.request(&guest("hello"), None, &[]);
    request.session_id = Some(*owner.session.id());
    assert_eq!(other.send(&request).await.problem(), "unknown-session");
    owner.still_works().await;
    other.still_works().await;
}

#[tokio::test]
async fn a_tampered_program() {
    for at in [0, 1000] {
        let answer = refused(
            |r| r.encrypted_wasm.0[at] ^= 1,
            400,
            "authentication-failed",
        )
        .await;
        assert!(
            answer.detail().starts_with("program"),
            "{}",
            answer.detail()
        );
    }
}

#[tokio::test]
async fn a_tampered_tag() {
    refused(
        |r| *r.encrypted_wasm.0.last_mut().unwrap() ^= 0x80,
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn a_ciphertext_shorter_than_a_tag() {
    refused(
        |r| r.encrypted_wasm.0.truncate(15),
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn tampered_standard_input() {
    refused(
        |r| r.encrypted_stdin.as_mut().unwrap().0[0] ^= 1,
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn a_tampered_argument() {
    refused(
        |r| r.encrypted_arguments[2].0[0] ^= 1,
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn a_tampered_sequence() {
    refused(|r| r.sequence += 1, 400, "authentication-failed").await;
}

#[tokio::test]
async fn swapped_arguments() {
    refused(
        |r| r.encrypted_arguments.swap(0, 1),
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn a_removed_argument() {
    refused(
        |r| drop(r.encrypted_arguments.pop()),
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn an_added_argument() {
    refused(
        |r| r.encrypted_arguments.push(r.encrypted_arguments[0].clone()),
        400,
        "authentication-failed",
    )
    .await;
}

#[tokio::test]
async fn removed_standard_input_is_found_out_by_the_client() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (mut request, pending) = session.request(&guest("echo"), Some(b"input"), &[]);
    request.encrypted_stdin = None;
    let answer = session.send(&request).await;
    let response: hypervisor_client::protocol::ExecuteResponse =
        ContentFormat::Cbor.decode(&answer.body).unwrap();
    assert!(
        session
            .session
            .open_response(&pending, response.into())
            .is_err()
    );
    session.still_works().await;
}

#[tokio::test]
async fn more_arguments_than_allowed() {
    let host = Host::with("[limits]\narguments = 2");
    let session = RawSession::open(&host).await;
    let (request, _) = session.request(&guest("echo"), None, &[b"1", b"2", b"3"]);
    let answer = session.send(&request).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "too-many-arguments")
    );
    session.still_works().await;
}

#[tokio::test]
async fn a_replayed_sequence() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, pending) = session.request(&guest("hello"), None, &[]);
    let answer = session.send(&request).await;
    session.open_answer(ContentFormat::Cbor, &pending, &answer);
    let answer = session.send(&request).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "replayed-sequence")
    );
    session.still_works().await;
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_sequence() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, pending) = session.request(&guest("hello"), None, &[]);
    let mut tampered = request.clone();
    tampered.encrypted_wasm.0[0] ^= 1;
    assert_eq!(
        session.send(&tampered).await.problem(),
        "authentication-failed"
    );
    let answer = session.send(&request).await;
    assert_eq!(
        session
            .open_answer(ContentFormat::Cbor, &pending, &answer)
            .result,
        b"hello\n"
    );
}

#[tokio::test]
async fn sequences_may_come_in_any_order() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let mut requests: Vec<_> = (0..5)
        .map(|_| session.request(&guest("hello"), None, &[]))
        .collect();
    requests.reverse();
    for (request, pending) in requests {
        let answer = session.send(&request).await;
        session.open_answer(ContentFormat::Cbor, &pending, &answer);
    }
}

#[tokio::test]
async fn one_sequence_sent_32_times_at_once_runs_once() {
    let host = Host::start();
    let session = std::sync::Arc::new(RawSession::open(&host).await);
    let (request, _) = session.request(&guest("hello"), None, &[]);
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (session, request) = (std::sync::Arc::clone(&session), request.clone());
        sending.spawn(async move { session.send(&request).await.status });
    }
    let mut statuses = sending.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![409; 31]].concat());
    session.still_works().await;
}

#[tokio::test]
async fn two_sessions_with_one_key_need_an_id() {
    let host = Host::start();
    let key = || PrivateKey::from_bytes(&[7; 32]).unwrap();
    let first = RawSession::open_with(&host, key()).await;
    let (mut request, pending) = first.request(&guest("hello"), None, &[]);
    request.session_id = None;
    let answer = first.send(&request).await;
    first.open_answer(ContentFormat::Cbor, &pending, &answer);

    let second = RawSession::open_with(&host, key()).await;
    let (mut request, _) = first.request(&guest("hello"), None, &[]);
    request.session_id = None;
    let answer = first.send(&request).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "ambiguous-session")
    );
    assert!(answer.detail().contains("session_id"));
    first.still_works().await;
    second.still_works().await;
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let host = Host::start();
    let http = reqwest::Client::new();
    let answer = post(&http, &format!("{}/nowhere", host.url()), JSON, vec![]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "not-found")
    );
    let answer = post(&http, &format!("{}/ping", host.url()), JSON, vec![]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (405, "method-not-allowed")
    );
}

#[tokio::test]
async fn the_attested_session_says_that_there_is_no_attester() {
    let host = Host::start();
    let http = reqwest::Client::new();
    let answer = post(
        &http,
        &format!("{}/verifiable/encrypt/create_keypair", host.url()),
        JSON,
        b"{}".to_vec(),
    )
    .await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "attestation-unavailable")
    );
}

#[tokio::test]
async fn the_api_describes_itself() {
    let host = Host::start();
    let text = reqwest::get(format!("{}/openapi.json", host.url()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(text, include_str!("../../../host/openapi.json"));
}
