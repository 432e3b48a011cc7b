//! A host that sends and sends: the client takes so much of an answer and no more.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hypervisor_client::{Client, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server whose every answer begins with `head` and never ends; and how much it has sent.
async fn endless(head: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[0; 16 << 10]).await.is_ok() {
                    counted.fetch_add(16 << 10, Ordering::Relaxed);
                }
            });
        }
    });
    (url, sent)
}

/// Heads of answers that do not say how long they are, or lie about it.
const HEADS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\ncontent-type: application/cbor\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: application/cbor\r\ncontent-length: 1000000000000\r\n\r\n",
    "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/problem+json\r\n\r\n",
];

/// What fits into the buffers of a connection on its way, and one answer's bound.
const MOST: usize = 32 << 20;

#[tokio::test]
async fn a_session_is_opened_by_a_small_answer_or_not_at_all() {
    for head in HEADS {
        let (url, sent) = endless(head).await;
        let error = Client::new(&url).unwrap().open_session().await.unwrap_err();
        assert!(matches!(error, Error::AnswerTooLarge { .. }), "{error}");
        assert!(sent.load(Ordering::Relaxed) < MOST);
    }
}

#[tokio::test]
async fn a_host_that_is_only_asked_whether_it_is_there_sends_no_more_than_that() {
    let (url, sent) = endless(HEADS[0]).await;
    let error = Client::new(&url).unwrap().ping().await.unwrap_err();
    assert!(matches!(error, Error::AnswerTooLarge { .. }), "{error}");
    assert!(sent.load(Ordering::Relaxed) < MOST);
}
