//! Where requests do not go, and what is said when they do not get there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;

use crate::support::{
    Failure, Names, SOON, Silent, answering, fetch, get, listen, loopback, refused, sender,
    stalling,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hypervisor_egress::{
    Bounds, Error, Networks, Resolve, Sender, Share, SystemResolver, Timeouts,
};
use tokio::net::TcpListener;

fn request(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

async fn outcome(sender: &Sender, url: &str) -> Failure {
    refused(sender.send(request(url), Timeouts::default()).await)
}

/// That every one of them ends with this error.
async fn all_end_with(sender: &Sender, expected: Error, urls: &[&str]) {
    for url in urls {
        assert_eq!(outcome(sender, url).await, expected, "{url}");
    }
}

fn public_only(resolver: impl Resolve + 'static) -> Sender {
    Sender::new(Networks::default(), Arc::new(resolver)).unwrap()
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let sender = public_only(Names::default());
    let urls = [
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fd00:ec2::254]/",
    ];
    all_end_with(&sender, Error::DestinationIpProhibited, &urls).await;
}

#[tokio::test]
async fn spellings_of_addresses_that_resolvers_know_are_no_uri() {
    let sender = public_only(SystemResolver);
    let urls = [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
    ];
    all_end_with(&sender, Error::HttpRequestUriInvalid, &urls).await;
}

#[tokio::test]
async fn the_machines_own_name_is_refused() {
    let sender = public_only(SystemResolver);
    let urls = ["http://localhost/", "http://LOCALHOST./"];
    all_end_with(&sender, Error::DestinationIpProhibited, &urls).await;
}

#[tokio::test]
async fn names_that_resolve_to_private_addresses_are_refused() {
    let sender = public_only(
        Names::default()
            .with("private.test", &["192.168.0.1"])
            .with("metadata.test", &["169.254.169.254"])
            .with("mixed.test", &["1.1.1.1", "127.0.0.1"])
            .with("mixed6.test", &["2606:4700::1", "::1"]),
    );
    let urls = [
        "http://private.test/",
        "http://metadata.test/",
        "http://mixed.test/",
        "http://mixed6.test/",
    ];
    all_end_with(&sender, Error::DestinationIpProhibited, &urls).await;
}

#[tokio::test]
async fn a_listed_network_is_reached_by_address_and_by_name() {
    let server = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    for host in ["127.0.0.1", "server.test"] {
        let url = format!("http://{host}:{}/", server.port());
        let (response, connection) = sender()
            .send(request(&url), Timeouts::default())
            .await
            .unwrap();
        tokio::spawn(connection);
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "ok");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_connected_to_what_was_checked() {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says 127.0.0.1 the first time, and an address that is not allowed from then on.
    #[derive(Default)]
    struct Rebinding(Arc<AtomicUsize>);

    impl Resolve for Rebinding {
        fn resolve<'a>(&'a self, _: &'a str) -> hypervisor_egress::Answer<'a> {
            let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
            let address: IpAddr = if first { "127.0.0.1" } else { "127.0.0.2" }
                .parse()
                .unwrap();
            Box::pin(async move { Ok(vec![address]) })
        }
    }

    let server = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let sender = Sender::new(loopback(), Arc::new(Rebinding(asked.clone()))).unwrap();
    let url = format!("http://rebinding.test:{}/", server.port());
    let (response, _connection) = sender
        .send(request(&url), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(outcome(&sender, &url).await, Error::DestinationIpProhibited);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    assert_eq!(
        outcome(&sender(), "http://unknown.test/").await,
        Error::DnsError {
            rcode: None,
            info_code: None
        }
    );
}

#[tokio::test]
async fn a_port_where_nothing_listens_refuses_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    drop(listener);
    let sent = sender().send(get(server), Timeouts::default()).await;
    assert_eq!(refused(sent), Error::ConnectionRefused);
}

#[tokio::test]
async fn a_resolver_that_does_not_answer_is_a_dns_timeout() {
    let sender = Sender::new(loopback(), Arc::new(Silent)).unwrap();
    let timeouts = Timeouts {
        connect_timeout: SOON,
        ..Timeouts::default()
    };
    let sent = sender.send(request("http://server.test/"), timeouts).await;
    assert_eq!(refused(sent), Error::DnsTimeout);
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_a_connection_timeout() {
    let server = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let url = format!("https://server.test:{}/", server.port());
    // On a machine that has much to do the name alone may take the whole of a short time.
    for times in [1, 10, 100] {
        let timeouts = Timeouts {
            connect_timeout: SOON.map(|soon| soon * times),
            ..Timeouts::default()
        };
        match refused(sender().send(request(&url), timeouts).await) {
            Failure(Error::DnsTimeout) => {}
            error => return assert_eq!(error, Error::ConnectionTimeout),
        }
    }
    panic!("the name was not found in seconds");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_read_timeout() {
    let server = stalling("").await;
    let timeouts = Timeouts {
        first_byte_timeout: SOON,
        ..Timeouts::default()
    };
    let sent = sender().send(get(server), timeouts).await;
    assert_eq!(refused(sent), Error::ConnectionReadTimeout);
}

#[tokio::test]
async fn a_server_that_never_ends_its_head_is_a_read_timeout() {
    let server = stalling("HTTP/1.1 200 OK\r\na: b\r\n").await;
    let timeouts = Timeouts {
        first_byte_timeout: SOON,
        ..Timeouts::default()
    };
    let sent = sender().send(get(server), timeouts).await;
    assert_eq!(refused(sent), Error::ConnectionReadTimeout);
}

#[tokio::test]
async fn a_body_that_stalls_is_a_read_timeout() {
    let server = stalling("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    let timeouts = Timeouts {
        between_bytes_timeout: SOON,
        ..Timeouts::default()
    };
    let failed = fetch(server, timeouts).await;
    assert_eq!(failed.unwrap_err(), Error::ConnectionReadTimeout);
}

#[tokio::test]
async fn no_error_says_where_the_request_was_going() {
    let sender = public_only(Names::default());
    for url in [
        "http://secret-host.test/secret-path",
        "http://secret-user@secret-host.test/",
        "http://127.0.0.1/secret-path",
    ] {
        let Failure(error) = outcome(&sender, url).await;
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(
                !text.contains("secret") && !text.contains("127.0"),
                "{text}"
            );
        }
    }
}

/// A sender that may have so many connections and lookups under way.
fn sharing(connections: usize, lookups: usize, resolver: Arc<dyn Resolve>) -> Sender {
    let share = Share::new(Bounds {
        connections,
        lookups,
    });
    Sender::new(loopback(), resolver).unwrap().sharing(share)
}

#[tokio::test]
async fn a_connection_counts_until_it_ends_and_one_more_is_refused_at_once() {
    let server = stalling("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let names = Names::default().with("server.test", &["127.0.0.1"]);
    let sender = sharing(1, 1, Arc::new(names));
    let (response, connection) = sender.send(get(server), Timeouts::default()).await.unwrap();
    let sent = sender.send(get(server), Timeouts::default()).await;
    assert_eq!(refused(sent), Error::ConnectionLimitReached);
    // A body that nobody reads keeps it; the connection's end gives it back.
    drop(response);
    let sent = sender.send(get(server), Timeouts::default()).await;
    assert_eq!(refused(sent), Error::ConnectionLimitReached);
    drop(connection);
    assert!(sender.send(get(server), Timeouts::default()).await.is_ok());
}

#[tokio::test]
async fn a_lookup_that_nobody_waits_for_still_counts() {
    let sender = sharing(8, 1, Arc::new(Silent));
    let timeouts = Timeouts {
        connect_timeout: SOON,
        ..Timeouts::default()
    };
    // Given up, but its thread would still be in the resolver.
    let sent = sender.send(request("http://server.test/"), timeouts).await;
    assert_eq!(refused(sent), Error::DnsTimeout);
    let sent = sender.send(request("http://other.test/"), timeouts).await;
    assert_eq!(refused(sent), Error::DnsTimeout);
    // An address needs none.
    let sent = sender.send(request("http://127.0.0.1:1/"), timeouts).await;
    assert_eq!(refused(sent), Error::ConnectionRefused);
}
