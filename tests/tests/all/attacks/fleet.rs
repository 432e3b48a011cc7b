//! A stranger says that its request was forwarded by a host of the fleet: to be taken for another, or to have it end where it is.

use hypervisor_client::protocol::ContentFormat;
use hypervisor_tests::RawSession;
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::post_with;

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
