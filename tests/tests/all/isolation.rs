//! Nothing of one execution reaches another, or the operator.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use hypervisor_client::Program;
use hypervisor_client::protocol::Exit;
use hypervisor_tests::programs::{canary, component, guest};
use hypervisor_tests::{Host, RawSession};

#[tokio::test]
async fn an_instance_finds_nothing_of_the_one_before_in_its_pool_slot() {
    // One slot: every execution gets the memory of the one before.
    let host = Host::with("[limits]\nexecutions = 1\nmemory = '64 MiB'");
    let session = host.session().await;
    // Sizes on both sides of what a slot keeps resident (4 MiB), and two programs so that the slot changes its image too.
    let programs = [canary(16, 0xa5), canary(200, 0x5a), canary(1024, 0xff)];
    for round in 0..6 {
        for program in &programs {
            let execution = session.run_wasm(Program::new(program)).await.unwrap();
            assert_eq!(
                execution.report.exit,
                Exit::Ok,
                "round {round}: bytes of an earlier instance were found"
            );
        }
    }
}

#[tokio::test]
async fn the_canary_can_find_something() {
    let program = component(
        r#"(memory (export "memory") 1)
           (data (i32.const 40000) "\01")
           (func (export "run") (result i32)
             (if (i64.ne (i64.load (i32.const 40000)) (i64.const 0)) (then unreachable))
             (i32.const 0))"#,
    );
    let execution = Host::start().run(Program::new(&program)).await;
    assert!(matches!(execution.report.exit, Exit::Trap { .. }));
}

#[tokio::test]
async fn globals_and_tables_start_anew() {
    let program = component(
        r#"(global $g (mut i32) (i32.const 0))
           (table $t 2 funcref)
           (elem declare func $f)
           (func $f)
           (func (export "run") (result i32)
             (if (global.get $g) (then unreachable))
             (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then unreachable))
             (global.set $g (i32.const 1))
             (table.set $t (i32.const 1) (ref.func $f))
             (i32.const 0))"#,
    );
    let host = Host::with("[limits]\nexecutions = 1");
    let session = host.session().await;
    for _ in 0..5 {
        assert_eq!(
            session
                .run_wasm(Program::new(&program))
                .await
                .unwrap()
                .report
                .exit,
            Exit::Ok
        );
    }
}

#[tokio::test]
async fn no_plaintext_reaches_the_log_or_the_wire() {
    const MARKER: &str = "PLANTED-MARKER-5f1c";
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let marker = MARKER.as_bytes();

    let (request, pending) = session.request(&guest("echo"), Some(marker), &[marker]);
    let answer = session.send(&request).await;
    assert!(!contains(&answer.body, marker));
    let opened = session.open_answer(
        hypervisor_client::protocol::ContentFormat::Cbor,
        &pending,
        &answer,
    );
    assert!(contains(&opened.result, marker), "the marker did travel");

    // Every way to fail carries it too: standard error, a trap, a refused name, bad arguments, tampered requests.
    for (program, arguments) in [
        (guest("jq"), vec![marker]),
        (guest("trap"), vec![marker]),
        (
            hypervisor_tests::programs::importing("planted-marker-5f1c:a/b@1.0.0"),
            vec![marker],
        ),
        (guest("echo"), vec![marker, &[0xff]]),
        (MARKER.as_bytes().to_vec(), vec![]),
    ] {
        let (request, _) = session.request(&program, Some(marker), &arguments);
        assert!(!contains(&session.send(&request).await.body, marker));
        let (mut request, _) = session.request(&program, Some(marker), &arguments);
        *request.encrypted_wasm.0.first_mut().unwrap() ^= 1;
        assert!(!contains(&session.send(&request).await.body, marker));
    }
    let body = format!("{{\"public_key\": \"{MARKER}\", \"encrypted_wasm\": \"00\"}}");
    session
        .send_bytes("application/json", body.into_bytes())
        .await;

    let log = host.log();
    assert!(log.contains("request_id"), "the log is on");
    for form in [MARKER.to_owned(), MARKER.to_lowercase(), hex(marker)] {
        assert!(!log.contains(&form), "{form} is in the log");
    }
    for secret in [
        session.session.id().to_string(),
        hex(&session.session.public_key().to_bytes()),
    ] {
        assert!(!log.contains(&secret), "the log tells sessions apart");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
