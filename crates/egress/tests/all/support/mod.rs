//! Servers on loopback, a resolver with given answers, and a sender that may go there.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Empty};
use hypervisor_egress::{Answer, Connection, Error, Networks, Resolve, Sender, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A time that ends soon, for what never comes.
pub(crate) const SOON: Option<Duration> = Some(Duration::from_millis(50));

/// Answers for names; others do not exist.
#[derive(Default)]
pub(crate) struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Names {
    pub(crate) fn with(mut self, name: &'static str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        self.0.insert(name, addresses.collect());
        self
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Answer<'a> {
        let answer = self.0.get(name).cloned();
        Box::pin(async move {
            answer.ok_or(Error::DnsError {
                rcode: None,
                info_code: None,
            })
        })
    }
}

/// A resolver that never answers.
pub(crate) struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _: &'a str) -> Answer<'a> {
        Box::pin(std::future::pending())
    }
}

/// A sender that may go to 127.0.0.1, the address of `server.test`.
pub(crate) fn sender() -> Sender {
    let names = Names::default().with("server.test", &["127.0.0.1"]);
    Sender::new(loopback(), Arc::new(names)).unwrap()
}

pub(crate) fn loopback() -> Networks {
    Networks::parse(&["127.0.0.1"]).unwrap()
}

/// Listens on a free port and gives each connection to `serve`.
pub(crate) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads the head of a request, up to and with the empty line.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server that reads a head, answers `response`, and closes.
pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> SocketAddr {
    let response: Arc<Vec<u8>> = Arc::new(response.into());
    listen(move |mut stream| {
        let response = response.clone();
        async move {
            head(&mut stream).await;
            // The client may have seen enough before the end.
            let _ = stream.write_all(&response).await;
        }
    })
    .await
}

/// A server that answers `response` and then neither sends nor closes.
pub(crate) async fn stalling(response: &'static str) -> SocketAddr {
    listen(move |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(response.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await
}

/// A server of hyper's, which sends each request's body back.
pub(crate) async fn echo() -> SocketAddr {
    listen(|stream| async move {
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
            .await;
    })
    .await
}

pub(crate) fn get(server: SocketAddr) -> Request<Empty<Bytes>> {
    Request::get(format!("http://server.test:{}/", server.port()))
        .body(Empty::new())
        .unwrap()
}

/// What `send` answers with.
pub(crate) type HttpBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Error>;

/// An error, to compare.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Error);

impl PartialEq<Error> for Failure {
    fn eq(&self, other: &Error) -> bool {
        format!("{:?}", self.0) == format!("{other:?}")
    }
}

/// What `send` gives.
pub(crate) type Sent = Result<(Response<HttpBody>, Connection), Error>;

/// The error of a request that was not answered.
pub(crate) fn refused(sent: Sent) -> Failure {
    match sent {
        Ok((response, _)) => panic!("it was answered with {}", response.status()),
        Err(error) => Failure(error),
    }
}

/// Sends `GET /` and reads the response to its end.
pub(crate) async fn fetch(
    server: SocketAddr,
    timeouts: Timeouts,
) -> Result<Collected<Bytes>, Failure> {
    let sent = sender().send(get(server), timeouts).await;
    let (response, connection) = sent.map_err(Failure)?;
    let connection = tokio::spawn(connection);
    let body = response.into_body().collect().await;
    connection.abort();
    body.map_err(Failure)
}
