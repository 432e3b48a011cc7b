//! What one peer can make the host hold.

use std::net::{IpAddr, Ipv4Addr};

use bhttp::Mode;
use hypervisor_client::Program;
use hypervisor_client::protocol::{
    ContentFormat, CreateKeypairRequest, Exit, PrivateKey, Rejection,
};
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::guest;
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, RawSession, eventually, within};

use crate::agents::binary_http::{message, sent, written};

/// Who attacks, while the test's other requests come from 127.0.0.1.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The status of opening a session from an address, with `extra` bytes that mean nothing.
async fn opened_from(host: &Host, address: IpAddr, extra: usize) -> u16 {
    let client = reqwest::Client::builder().local_address(address);
    let key = PrivateKey::generate();
    let request = CreateKeypairRequest::new(key.public_key(), None);
    let mut body = ContentFormat::Json.encode(&request).unwrap();
    body.resize(body.len() + extra, b' ');
    let sent = client
        .build()
        .unwrap()
        .post(format!("{}/encrypt/create_keypair", host.url()))
        .body(body)
        .send();
    sent.await.unwrap().status().as_u16()
}

/// Requests whose bodies are `sent` bytes of `announced`, all there.
async fn parked(host: &Host, path: &str, count: usize, announced: usize, sent: usize) -> Vec<Wire> {
    let mut parked = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::from(ATTACKER, host.url()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: {announced}\r\n\r\n"
        );
        wire.send(head).await;
        wire.until("100 Continue\r\n\r\n").await;
        wire.send(vec![b' '; sent]).await;
        parked.push(wire);
    }
    parked
}

/// One more, which may be refused.
async fn again(host: &Host, path: &str, announced: usize) -> Wire {
    let mut wire = Wire::from(ATTACKER, host.url()).await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {announced}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + announced - 1, b' ');
    within("what the host takes", wire.try_send(bytes)).await;
    wire
}

#[tokio::test]
async fn announced_bytes_that_never_come_take_nothing_from_others() {
    let host = Host::start();
    let _idle = parked(&host, "/encrypt/create_keypair", 16, 64 << 20, 0).await;
    assert_eq!(opened_from(&host, ATTACKER, 0).await, 200);
    let execution = host.run(Program::new(&guest("hello"))).await;
    assert_eq!(execution.report.exit, Exit::Ok);
}

#[tokio::test]
async fn one_peers_slow_uploads_fill_its_own_share_alone() {
    let host = Host::with("[limits]\nbody = '1 MiB'\nbodies = '4 MiB'\n");
    let mib = 1 << 20;
    let mut slow = parked(&host, "/encrypt/create_keypair", 2, mib, mib - 1).await;
    eventually("the attacker's share is full", async || {
        if opened_from(&host, ATTACKER, 1 << 10).await == 503 {
            return Some(());
        }
        // That one may have been in the way of the last bytes of another, which was refused.
        slow.push(again(&host, "/encrypt/create_keypair", mib).await);
        None
    })
    .await;
    assert_eq!(
        opened_from(&host, Ipv4Addr::LOCALHOST.into(), mib / 2).await,
        200
    );
}

#[tokio::test]
async fn bodies_for_commands_are_in_the_account() {
    let host = Host::with("[limits]\nbody = '1 MiB'\nbodies = '4 MiB'\n");
    host.deploy(&owner(), "echo", "echo", "").await;
    let mib = 1 << 20;
    let mut slow = parked(&host, "/agents/echo/", 2, mib, mib - 1).await;
    eventually("the attacker's share is full", async || {
        if opened_from(&host, ATTACKER, 1 << 10).await == 503 {
            return Some(());
        }
        // That one may have been in the way of the last bytes of another, which was refused.
        slow.push(again(&host, "/agents/echo/", mib).await);
        None
    })
    .await;
    assert_eq!(
        opened_from(&host, Ipv4Addr::LOCALHOST.into(), mib / 2).await,
        200
    );
}

#[tokio::test]
async fn answers_that_are_not_read_fill_the_peers_own_share_alone() {
    let host = Host::with("[limits]\nbody = '4 MiB'\nbodies = '16 MiB'\n");
    let stdin = vec![b'x'; 1_900_000];
    let mut unread = Vec::new();
    let mut refused = false;
    for _ in 0..16 {
        let session = RawSession::open(&host).await;
        let (request, _) = session.request(&guest("echo"), Some(&stdin), &[]);
        let body = ContentFormat::Json.encode(&request).unwrap();
        let mut wire = Wire::narrow(ATTACKER, host.url()).await;
        let head = format!(
            "POST /test/execute/wasm HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        wire.send(head).await;
        // A refusal may come, and the connection end, before the body is sent.
        let sent = wire.try_send(body).await;
        refused |= !sent || wire.until("\r\n").await.contains("503");
        unread.push(wire);
    }
    assert!(
        refused,
        "16 unread answers of 3.8 MB were held for a peer that may hold 8 MiB"
    );
    let execution = host.run(Program::new(&guest("echo")).stdin(&stdin)).await;
    assert_eq!(execution.result, stdin);
}

#[tokio::test]
async fn a_sealed_request_of_very_many_fields_is_rejected_before_it_is_parsed() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "agent", "").await;
    let mut request = message("/");
    for _ in 0..100_000 {
        request.put_header("a", "");
    }
    for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
        let session = RawSession::open(&host).await;
        let (answer, pending) = sent(&session, "agent", "agent", &written(&request, mode)).await;
        let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
        match opened.report.exit {
            Exit::Rejected { problem, detail } => {
                assert_eq!(problem, Rejection::InvalidRequest);
                assert!(detail.contains("section"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_opens_more_sessions_than_there_are_pushes_out_its_own() {
    let host = Host::with("[limits]\nsessions = 50\n");
    let session = host.session().await;
    for _ in 0..100 {
        assert_eq!(opened_from(&host, ATTACKER, 0).await, 200);
    }
    let execution = session.run_wasm(Program::new(&guest("hello"))).await;
    assert_eq!(execution.unwrap().report.exit, Exit::Ok);
}
