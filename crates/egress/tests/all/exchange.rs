//! Requests and responses as servers on the other end see and send them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;

use crate::support::{answering, echo, fetch, get, head, listen, refused, sender, stalling};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use hypervisor_egress::{Error, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

fn post<B>(server: std::net::SocketAddr, body: B) -> Request<B> {
    Request::post(format!("http://server.test:{}/path?query", server.port()))
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn the_server_sees_a_path_a_host_and_one_connection_for_one_request() {
    let (heads, mut seen) = mpsc::channel(1);
    let server = listen(move |mut stream| {
        let heads = heads.clone();
        async move {
            heads.send(head(&mut stream).await).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let request = Request::post(format!("http://Server.TEST.:{}/path?query", server.port()))
        .header("host", "other.test")
        .body(Full::new(Bytes::from("12345")))
        .unwrap();
    let (response, connection) = sender().send(request, Timeouts::default()).await.unwrap();
    assert_eq!(response.status(), 204);
    connection.await.unwrap();
    let head = seen.recv().await.unwrap();
    let mut lines = head.trim_end().split("\r\n");
    assert_eq!(lines.next().unwrap(), "POST /path?query HTTP/1.1");
    let mut fields: Vec<_> = lines.collect();
    fields.sort_unstable();
    let host = format!("host: server.test:{}", server.port());
    assert_eq!(fields, ["connection: close", "content-length: 5", &host]);
}

#[tokio::test]
async fn bodies_stream_in_both_directions_at_once() {
    let server = echo().await;
    let (mut body, channel) = Channel::<Bytes>::new(1);
    let (response, connection) = sender()
        .send(post(server, channel), Timeouts::default())
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut answer = response.into_body();
    for part in ["one", "two", "three"] {
        body.send_data(Bytes::from(part)).await.unwrap();
        // The next part goes out only after this one came back.
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    drop(body);
    assert!(answer.frame().await.is_none());
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = echo().await;
    let sent = Bytes::from_iter((0_u32..4 << 20).flat_map(u32::to_le_bytes));
    assert_eq!(sent.len(), 16 << 20);
    let (response, connection) = sender()
        .send(post(server, Full::new(sent.clone())), Timeouts::default())
        .await
        .unwrap();
    tokio::spawn(connection);
    let received = response.into_body().collect().await.unwrap().to_bytes();
    assert!(received == sent);
}

#[tokio::test]
async fn trailers_of_the_response_pass_through() {
    let server = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    let body = fetch(server, Timeouts::default()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
    assert_eq!(body.to_bytes(), "abc");
}

#[tokio::test]
async fn trailers_of_the_request_pass_through() {
    let (bodies, mut seen) = mpsc::channel(1);
    let server = listen(move |mut stream| {
        let bodies = bodies.clone();
        async move {
            head(&mut stream).await;
            let mut body = Vec::new();
            while !body.ends_with(b"\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
            bodies.send(String::from_utf8(body).unwrap()).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let (mut body, channel) = Channel::<Bytes>::new(2);
    let mut request = post(server, channel);
    request
        .headers_mut()
        .insert("trailer", "x-sum".parse().unwrap());
    body.send_data(Bytes::from("abc")).await.unwrap();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    body.send_trailers(trailers).await.unwrap();
    drop(body);
    let (response, _connection) = sender().send(request, Timeouts::default()).await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(
        seen.recv().await.unwrap(),
        "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"
    );
}

#[tokio::test]
async fn informational_responses_are_passed_over() {
    let server = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let body = fetch(server, Timeouts::default()).await.unwrap();
    assert_eq!(body.to_bytes(), "ok");
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let server = answering("HTTP/1.1 200 OK\r\n\r\nall of it").await;
    let body = fetch(server, Timeouts::default()).await.unwrap();
    assert_eq!(body.to_bytes(), "all of it");
}

#[tokio::test]
async fn a_change_of_protocol_is_refused() {
    let server = answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nother bytes",
    )
    .await;
    let sent = sender().send(get(server), Timeouts::default()).await;
    assert_eq!(refused(sent), Error::HttpUpgradeFailed);
}

#[tokio::test]
async fn a_head_may_have_256_fields_and_no_more() {
    let with = |count| {
        format!(
            "HTTP/1.1 204 No Content\r\n{}\r\n",
            "a: b\r\n".repeat(count)
        )
    };
    let sent = sender()
        .send(get(answering(with(256)).await), Timeouts::default())
        .await;
    assert_eq!(sent.unwrap().0.headers().len(), 256);
    let sent = sender()
        .send(get(answering(with(257)).await), Timeouts::default())
        .await;
    assert_eq!(refused(sent), Error::HttpResponseHeaderSectionSize(None));
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes() {
    let server = answering(format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(256 * 1024))).await;
    let sent = sender().send(get(server), Timeouts::default()).await;
    assert_eq!(refused(sent), Error::HttpResponseHeaderSectionSize(None));
}

#[tokio::test]
async fn what_is_not_http_1_1_is_a_protocol_error() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 999999 Odd\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
    ] {
        let sent = sender()
            .send(get(answering(answer).await), Timeouts::default())
            .await;
        assert_eq!(refused(sent), Error::HttpProtocolError, "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_head_is_an_incomplete_response() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let sent = sender()
            .send(get(answering(answer).await), Timeouts::default())
            .await;
        assert_eq!(refused(sent), Error::HttpResponseIncomplete, "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_inside_the_body_is_an_incomplete_response() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nabc",
    ] {
        let failed = fetch(answering(answer).await, Timeouts::default()).await;
        assert_eq!(
            failed.unwrap_err(),
            Error::HttpResponseIncomplete,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn chunks_that_are_none_are_a_protocol_error() {
    let server =
        answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n").await;
    let failed = fetch(server, Timeouts::default()).await;
    assert_eq!(failed.unwrap_err(), Error::HttpProtocolError);
}

#[tokio::test]
async fn a_body_has_ended_after_its_error() {
    let server = answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
    let (response, connection) = sender()
        .send(get(server), Timeouts::default())
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn a_request_whose_body_fails_is_a_protocol_error() {
    let server = stalling("").await;
    let (mut body, channel) = Channel::<Bytes, std::io::Error>::new(1);
    body.send_data(Bytes::from("abc")).await.unwrap();
    body.abort(std::io::Error::other("the component's own"));
    let sent = sender()
        .send(post(server, channel), Timeouts::default())
        .await;
    assert_eq!(refused(sent), Error::HttpProtocolError);
}

#[tokio::test]
async fn a_response_that_comes_before_the_requests_body_ends_is_given() {
    let server = answering("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await;
    let (_body, channel) = Channel::<Bytes>::new(1);
    let (response, _connection) = sender()
        .send(post(server, channel), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn dropping_the_connection_ends_it_for_both() {
    let (ends, mut ended) = mpsc::channel(1);
    let server = listen(move |mut stream| {
        let ends = ends.clone();
        async move {
            head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
                .await
                .unwrap();
            ends.send(stream.read(&mut [0; 1]).await).await.unwrap();
        }
    })
    .await;
    let (response, connection) = sender()
        .send(get(server), Timeouts::default())
        .await
        .unwrap();
    drop(connection);
    assert!(response.into_body().collect().await.is_err());
    assert!(!matches!(ended.recv().await.unwrap(), Ok(1..)));
}

#[tokio::test]
async fn requests_of_one_sender_do_not_wait_for_each_other() {
    let (server, sender) = (echo().await, Arc::new(sender()));
    let (_open, channel) = Channel::<Bytes>::new(1);
    let (_waiting, connection) = sender
        .send(post(server, channel), Timeouts::default())
        .await
        .unwrap();
    tokio::spawn(connection);
    let (response, connection) = sender
        .send(
            post(server, Full::new(Bytes::from("abc"))),
            Timeouts::default(),
        )
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "abc");
}
