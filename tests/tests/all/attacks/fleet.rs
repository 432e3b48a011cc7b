//! A stranger says that its request was forwarded by a host of the fleet: to be taken for another, or to have it end where it is; or
//! has so many forwarded that nobody else's are.

use std::net::{IpAddr, Ipv4Addr};

use hypervisor_client::protocol::ContentFormat;
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::{post, post_with};
use hypervisor_tests::{RawSession, eventually};

use crate::fleet::kit::{Nodes, forwarded};

/// What a stranger can make up: the form is right, and the key is not the fleet's.
fn forged() -> String {
    format!("00000000 00000000 0 192.0.2.1 {}", "ab".repeat(32))
}

#[tokio::test]
async fn a_forged_proof_is_no_proof_and_the_request_is_forwarded_as_any() {
    let nodes = Nodes::start(2, "[limits]\nexecutions = 1\n");
    let [own, other] = &nodes.hosts[..] else {
        panic!()
    };
    let session = RawSession::open(own).await;
    for (number, claim) in [forged(), "x".repeat(8000), String::new()]
        .into_iter()
        .enumerate()
    {
        let (request, pending) = session.request(&guest("hello"), None, &[]);
        let body = ContentFormat::Cbor.encode(&request).unwrap();
        let url = format!("{}/test/execute/wasm", other.url());
        let header = ("hypervisor-forwarded", claim.as_str());
        let answer = post_with(&url, "application/cbor", header, body).await;
        let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
        assert_eq!(opened.result, b"hello\n");
        assert_eq!(forwarded(other, "answered").await, number as u64 + 1);
    }
}

/// Who attacks, while the test's other requests come from 127.0.0.1.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// More requests than one host forwards at once.
const FLOOD: usize = 300;

#[tokio::test]
async fn one_client_whose_requests_wait_for_another_host_leaves_places_for_those_of_others() {
    let nodes = Nodes::start(3, "");
    let [asked, silent, other] = &nodes.hosts[..] else {
        panic!()
    };
    let victim = RawSession::open(other).await.sent_to(asked);
    let session = RawSession::open(silent).await;
    let (request, _) = session.request(b"nothing that runs", None, &[]);
    let body = ContentFormat::Cbor.encode(&request).unwrap();
    // It takes connections, and answers nothing.
    silent.freeze();
    let http = reqwest::Client::builder().local_address(ATTACKER);
    let http = http.build().unwrap();
    let url = format!("{}/test/execute/wasm", asked.url());
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let (http, url, body) = (http.clone(), url.clone(), body.clone());
            tokio::spawn(async move { post(&http, &url, "application/cbor", body).await })
        })
        .collect();
    eventually("the attacker has as many as it may have", async || {
        (forwarded(asked, "full").await > 0).then_some(())
    })
    .await;
    let (request, pending) = victim.request(&guest("hello"), None, &[]);
    let answer = victim.send(&request).await;
    assert_eq!(forwarded(asked, "answered").await, 1, "{answer:?}");
    let opened = victim.open_answer(ContentFormat::Cbor, &pending, &answer);
    assert_eq!(opened.result, b"hello\n");
    assert!(!flood.iter().all(tokio::task::JoinHandle::is_finished));
    silent.thaw();
    for flooded in flood {
        flooded.abort();
    }
}
