//! Programs that a session sent before, named by their digest in the place of their bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use hypervisor_client::Program;
use hypervisor_client::protocol::digest::name_program;
use hypervisor_client::protocol::{ContentFormat, Exit, OpenResponse, Rejection};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession, eventually};
use sha2::{Digest, Sha256};

fn name_of(program: &[u8]) -> String {
    name_program(Sha256::digest(program).into())
}

async fn run(session: &RawSession, program: &[u8]) -> OpenResponse {
    let (request, pending) = session.request(program, None, &[b"one"]);
    let answer = session.send(&request).await;
    session.open_answer(ContentFormat::Cbor, &pending, &answer)
}

fn is_unknown(answer: &OpenResponse) -> bool {
    let Exit::Rejected { problem, .. } = &answer.report.exit else {
        return false;
    };
    assert!(answer.result.is_empty());
    *problem == Rejection::UnknownProgram
}

#[tokio::test]
async fn a_program_that_the_session_sent_runs_by_its_digest() {
    let host = Host::start();
    let (session, echo) = (RawSession::open(&host).await, guest("echo"));
    let sent = run(&session, &echo).await;
    let named = run(&session, name_of(&echo).as_bytes()).await;
    assert_eq!((named.report.exit, named.result), (Exit::Ok, sent.result));
    assert_eq!(named.report.program_digest, sent.report.program_digest);
    assert_eq!(host.log().matches("compiled a program").count(), 1);
}

#[tokio::test]
async fn what_was_never_sent_or_only_by_another_session_is_unknown() {
    for config in ["", "[execution]\nshared_compile_cache = true"] {
        let host = Host::with(config);
        let echo = guest("echo");
        let (one, other) = (RawSession::open(&host).await, RawSession::open(&host).await);
        assert!(is_unknown(&run(&one, name_of(&echo).as_bytes()).await));
        assert_eq!(run(&one, &echo).await.report.exit, Exit::Ok);
        assert!(is_unknown(&run(&other, name_of(&echo).as_bytes()).await));
        other.still_works().await;
        // It has sent it now.
        assert!(!is_unknown(&run(&other, name_of(&echo).as_bytes()).await));
    }
}

#[tokio::test]
async fn what_is_almost_a_digest_is_a_program_that_is_none() {
    let host = Host::start();
    let (session, echo) = (RawSession::open(&host).await, guest("echo"));
    assert_eq!(run(&session, &echo).await.report.exit, Exit::Ok);
    let name = name_of(&echo);
    for almost in [
        name.to_uppercase(),
        name.replace("256", "384"),
        format!("{name} "),
        format!("{name}0"),
        name.chars().take(70).collect(),
        "sha256:".to_owned(),
    ] {
        let Exit::Rejected { problem, .. } = run(&session, almost.as_bytes()).await.report.exit
        else {
            panic!("{almost} ran");
        };
        assert_eq!(problem, Rejection::NotWasm, "{almost}");
    }
}

#[tokio::test]
async fn the_client_names_what_it_sent_and_sends_it_again_where_it_is_kept_no_more() {
    // What is not used for so long is kept no more; the session is, as it runs something else meanwhile.
    let idle = Duration::from_secs(4);
    let host = Host::with("[limits]\nsession_idle = '4s'");
    let session = host.session().await;
    let (echo, hello) = (guest("echo"), guest("hello"));
    let sequence = async |program: &[u8]| {
        let ran = session.run_wasm(Program::new(program)).await.unwrap();
        assert_eq!(ran.report.exit, Exit::Ok);
        ran.sequence
    };
    assert_eq!(sequence(&echo).await, 0);
    assert_eq!(sequence(&echo).await, 1);
    let began = Instant::now();
    let mut last = 1;
    eventually("the time without use", async || {
        last = sequence(&hello).await;
        (began.elapsed() > idle).then_some(())
    })
    .await;
    // The name that was not known, and then the program.
    assert_eq!(sequence(&echo).await, last + 2);
    assert_eq!(sequence(&echo).await, last + 3);
}
