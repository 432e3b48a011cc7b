//! Fields after a body, both ways.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::wire::exchange;
use tokio::net::TcpStream;

async fn echo() -> Host {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "http-echo", "").await;
    host
}

#[tokio::test]
async fn they_go_through_http_1() {
    let host = echo().await;
    let answer = exchange(
        host.url(),
        "POST /agents/http-echo/ HTTP/1.1\r\nhost: h\r\nconnection: close, te\r\nte: trailers\r\ntrailer: x-sum\r\n\
         transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(head.contains("\r\ntrailer: x-sum"), "{answer}");
    assert!(body.ends_with("\r\n0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn they_go_through_http_2() {
    let host = echo().await;
    let address = host.url().strip_prefix("http://").unwrap();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(42))]);
    let body =
        Full::new(Bytes::from("body"))
            .with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let request = Request::post(host.agent("http-echo", "/"))
        .version(Version::HTTP_2)
        .body(body)
        .unwrap();
    let answer = requests.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "42");
    assert_eq!(whole.to_bytes(), "body");
    driver.abort();
}
