//! Requests whose end one reader sees here and another there: what is hidden in one is never answered as the next.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::wire::Wire;

const NEXT: &str = "GET /agents/http-hello/smuggled HTTP/1.1\r\nhost: h\r\n\r\n";

/// Sends a request with these fields, and then what may be taken for its body or for the next one. Whatever is answered, it
/// is not the second.
async fn hides(host: &Host, fields: &str, body: &str) -> String {
    let mut wire = Wire::open(host.url()).await;
    let head = "POST /agents/http-echo/ HTTP/1.1\r\nhost: h";
    // Whoever closes early need not take the rest.
    wire.try_send(format!("{head}\r\n{fields}\r\n\r\n{body}"))
        .await;
    let answers = wire.rest().await;
    assert!(
        !answers.contains("hello from GET /smuggled"),
        "{fields:?} hides: {answers}"
    );
    answers
}

fn refused(answers: &str) -> bool {
    answers.is_empty() || answers.starts_with("HTTP/1.1 400 ")
}

async fn host() -> Host {
    // What waits for more is ended soon.
    let host = Host::with("[limits]\nreceive = '1s'");
    for guest in ["http-echo", "http-hello"] {
        host.deploy(&owner(), guest, guest, "").await;
    }
    host
}

#[tokio::test]
async fn a_length_beside_chunks_ends_the_connection() {
    let host = host().await;
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 0\r\ntransfer-encoding: identity, chunked",
    ] {
        hides(&host, fields, &format!("0\r\n\r\n{NEXT}")).await;
    }
}

#[tokio::test]
async fn a_length_that_is_not_one_is_refused() {
    let host = host().await;
    for fields in [
        "content-length: 0\r\ncontent-length: 4",
        "content-length: 0, 4",
        "content-length: +0",
        "content-length: -1",
        "content-length: 0x0",
        "content-length: 0 0",
        "content-length: 99999999999999999999",
    ] {
        let answers = hides(&host, fields, NEXT).await;
        assert!(refused(&answers), "{fields:?}: {answers}");
    }
}

#[tokio::test]
async fn a_coding_that_does_not_end_in_chunks_is_refused() {
    let host = host().await;
    for fields in [
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding: \x0bchunked",
    ] {
        let answers = hides(&host, fields, &format!("0\r\n\r\n{NEXT}")).await;
        assert!(refused(&answers), "{fields:?}: {answers}");
    }
}

#[tokio::test]
async fn fields_that_are_not_well_formed_are_refused() {
    let host = host().await;
    for fields in [
        "content-length : 4",
        "transfer-encoding : chunked",
        "x-folded: a\r\n content-length: 4",
        "x-folded: a\r\n\ttransfer-encoding: chunked",
        "x-zero: a\0b",
        "x-return: a\rtransfer-encoding: chunked",
        "x\0y: z",
        "no colon",
        ": no name",
    ] {
        let answers = hides(&host, fields, NEXT).await;
        assert!(refused(&answers), "{fields:?}: {answers}");
    }
}

#[tokio::test]
async fn chunks_that_are_not_well_formed_end_the_connection() {
    let host = host().await;
    for chunk in [
        "-1\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "ffffffffffffffff0\r\n",
        "\r\n",
        "z\r\n",
        "1\r\nab",
        "1\r\na\n0\r\n\r\n",
        "0\rx",
        "0;\nx\r\n\r\n",
    ] {
        hides(
            &host,
            "transfer-encoding: chunked",
            &format!("{chunk}{NEXT}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_the_next_request() {
    let host = host().await;
    let mut wire = Wire::open(host.url()).await;
    let head = "POST /agents/http-hello/first HTTP/1.1\r\nhost: h";
    wire.send(format!(
        "{head}\r\ncontent-length: {}\r\n\r\n{NEXT}",
        NEXT.len()
    ))
    .await;
    let answers = wire.rest().await;
    assert!(answers.contains("hello from POST /first"), "{answers}");
    assert!(!answers.contains("/smuggled"), "{answers}");
}

#[tokio::test]
async fn fields_of_the_connection_do_not_reach_the_agent() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "http-echo", "").await;
    let mut wire = Wire::open(host.url()).await;
    wire.send(
        "GET /agents/http-echo/info HTTP/1.1\r\nhost: h\r\nconnection: close, x-hop\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = answer.split_once("\r\n\r\n").unwrap().1;
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
    ] {
        assert!(!seen.contains(&format!("\"{name}\"")), "{seen}");
    }
}
