//! Output that is streamed: a client that asks for it and does not take it.

use std::net::Ipv4Addr;

use hypervisor_client::Program;
use hypervisor_client::protocol::{ContentFormat, Operation};
use hypervisor_client::protocol::{ExecuteScriptRequest, stream};
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, RawSession, eventually};

use crate::streams::{ENDLESS, Told};

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_ends_its_run() {
    let host = Host::with_javascript("[limits]\nexecutions = 1\nwall = '1h'");
    let told = Told::default();
    let session = told.by(host.session().await);
    for round in 1..=3 {
        let running = session.run_javascript(Program::new(ENDLESS.as_bytes()));
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = told.has(4 * round) => {}
        }
        eventually("the only slot is free", async || {
            (host.counter("hypervisor_executions").await == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_a_stream_does_not_hold_its_run_up() {
    let host = Host::with_javascript(
        "[limits]\nexecutions = 1\nwall = '1h'\noutput = '1 MiB'\nsend = '1h'",
    );
    let session = RawSession::open(&host).await;
    let script = "
        for (;;) {
            console.log('x'.repeat(9_999));
            await new Promise(after => setTimeout(after, 1));
        }";
    let client = &session.session;
    let (sealed, _) = client
        .seal_request::<&[u8]>(Operation::Javascript, script.as_bytes(), None, &[])
        .unwrap();
    let request = ExecuteScriptRequest::new(client.public_key(), *client.id(), sealed);
    let body = ContentFormat::Cbor.encode(&request).unwrap();
    let head = format!(
        "POST /test/policy/unsafe/javascript HTTP/1.1\r\nhost: host\r\ncontent-type: application/cbor\r\n\
         accept: {}\r\ncontent-length: {}\r\n\r\n",
        stream::MEDIA_TYPE,
        body.len()
    );
    let mut wire = Wire::narrow(Ipv4Addr::LOCALHOST.into(), host.url()).await;
    wire.send(head).await;
    wire.send(body).await;
    wire.until(stream::MEDIA_TYPE).await;
    eventually("the only slot is free", async || {
        (host.counter("hypervisor_executions").await == 0).then_some(())
    })
    .await;
}
