//! Connections that are kept for the next request.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hypervisor_egress::{Bounds, Error, Pool, Share, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{HttpBody, SOON, head, listen, sender};

fn pool() -> Pool {
    Pool::of(sender())
}

fn request(server: SocketAddr) -> Request<HttpBody> {
    let body = Empty::new().map_err(|never| match never {});
    Request::get(format!("http://server.test:{}/", server.port()))
        .body(body.boxed_unsync())
        .unwrap()
}

fn post(server: SocketAddr) -> Request<HttpBody> {
    let body = Full::new(Bytes::from("x")).map_err(|never| match never {});
    Request::post(format!("http://server.test:{}/", server.port()))
        .body(body.boxed_unsync())
        .unwrap()
}

type Sent = (
    Response<HttpBody>,
    Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
);

async fn send(pool: &Pool, request: Request<HttpBody>) -> Result<Sent, Error> {
    let (response, ended) = pool.send_for_guest(request, None).await?;
    Ok((response, Box::into_pin(ended)))
}

/// Sends a request, reads the answer, and waits until the connection is kept or has ended.
async fn fetch(pool: &Pool, server: SocketAddr) -> Bytes {
    let (response, ended) = send(pool, request(server)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    ended.await.unwrap();
    body
}

/// A server that answers each request with the number of its connection, as many of a connection as `each`.
async fn numbering(each: usize) -> SocketAddr {
    let connections = Arc::new(AtomicUsize::new(0));
    listen(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            for _ in 0..each {
                head(&mut stream).await;
                respond(&mut stream, "", &number.to_string()).await;
            }
        }
    })
    .await
}

async fn respond(stream: &mut TcpStream, fields: &str, body: &str) {
    let length = body.len();
    let response = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn the_next_request_to_an_origin_goes_over_the_connection_of_the_last() {
    let (server, pool) = (numbering(3).await, pool());
    for _ in 0..3 {
        assert_eq!(fetch(&pool, server).await, "1");
    }
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each() {
    let (server, pool) = (numbering(1).await, pool());
    let (one, two) = tokio::join!(fetch(&pool, server), fetch(&pool, server));
    assert_ne!(one, two);
}

#[tokio::test]
async fn a_connection_is_kept_for_its_own_origin() {
    let (one, two, pool) = (numbering(2).await, numbering(2).await, pool());
    fetch(&pool, one).await;
    let (seen, mut heads) = mpsc::channel(1);
    let other = listen(move |mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(head(&mut stream).await).await.unwrap();
            respond(&mut stream, "", "").await;
        }
    })
    .await;
    fetch(&pool, other).await;
    let host = format!("host: server.test:{}\r\n", other.port());
    assert!(heads.recv().await.unwrap().contains(&host));
    assert_eq!(fetch(&pool, two).await, "1");
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_not_used_again() {
    let pool = pool();
    let connections = Arc::new(AtomicUsize::new(0));
    let (counted, (closed, mut ends)) = (Arc::clone(&connections), mpsc::channel(8));
    let server = listen(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let closed = closed.clone();
        async move {
            head(&mut stream).await;
            respond(&mut stream, "connection: close\r\n", "1").await;
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    for number in 1..=2 {
        assert_eq!(fetch(&pool, server).await, "1");
        ends.recv().await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), number);
    }
}

#[tokio::test]
async fn a_connection_whose_response_was_not_read_is_not_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let (ended, mut ends) = mpsc::channel(8);
    let server = listen(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let ended = ended.clone();
        async move {
            head(&mut stream).await;
            // Longer than what has arrived.
            let promised = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun";
            stream.write_all(promised).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let pool = pool();
    for number in 1..=2 {
        drop(send(&pool, request(server)).await.unwrap());
        // The server sees its end, though nobody polls what drives it.
        ends.recv().await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), number);
    }
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let server = listen(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            head(&mut stream).await;
            counted.fetch_add(1, Ordering::SeqCst);
            respond(&mut stream, "", "").await;
            head(&mut stream).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let pool = pool();
    fetch(&pool, server).await;
    assert!(send(&pool, post(server)).await.is_err());
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_its_connection() {
    let (ended, mut ends) = mpsc::channel(1);
    let server = listen(move |mut stream| {
        let ended = ended.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.read(&mut [0; 1]).await;
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let soon = Timeouts {
        first_byte_timeout: SOON,
        ..Timeouts::default()
    };
    let sent = pool().send_for_guest(request(server), Some(soon)).await;
    assert!(matches!(sent, Err(Error::ConnectionReadTimeout)));
    ends.recv().await.unwrap();
}

#[tokio::test]
async fn a_server_that_reads_nothing_does_not_keep_the_share_of_what_gave_it_up() {
    let server = listen(|mut stream| async move {
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let bounds = Bounds {
        connections: 1,
        lookups: 1,
    };
    let pool = Pool::of(sender().sharing(Share::new(bounds)));
    let soon = Timeouts {
        first_byte_timeout: SOON,
        ..Timeouts::default()
    };
    let send = async || {
        // More than both ends' buffers take.
        let body = Full::new(Bytes::from(vec![0; 32 << 20])).map_err(|never| match never {});
        let url = format!("http://server.test:{}/", server.port());
        let request = Request::post(url).body(body.boxed_unsync()).unwrap();
        pool.send_for_guest(request, Some(soon)).await.err()
    };
    assert!(matches!(send().await, Some(Error::ConnectionReadTimeout)));
    let again = tokio::time::timeout(Duration::from_secs(10), async {
        while matches!(send().await, Some(Error::ConnectionLimitReached)) {
            tokio::task::yield_now().await;
        }
    });
    again.await.unwrap();
}
