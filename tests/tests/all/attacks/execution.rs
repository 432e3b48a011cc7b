//! Programs and agents against the sandbox, the compiler and the report.

use std::fmt::Write;

use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, Rejection};
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::{component, guest, huge_function, wat};
use hypervisor_tests::{Host, eventually, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Sends GETs over HTTP/2 and grants no byte of window for what comes back.
async fn requests_that_nobody_reads(host: &Host, path: &str, streams: u8) -> TcpStream {
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    }
    fn literal(name: u8, value: &str) -> Vec<u8> {
        [
            &[name, u8::try_from(value.len()).unwrap()],
            value.as_bytes(),
        ]
        .concat()
    }
    let address = host.url().strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    // `:method: GET` and `:scheme: http` are in the table.
    let head = [vec![0x82, 0x86], literal(4, path), literal(1, address)].concat();
    for n in 0..streams {
        bytes.extend(frame(1, 0x05, 2 * n + 1, &head));
    }
    connection.write_all(&bytes).await.unwrap();
    connection
}

#[tokio::test]
async fn an_answer_that_nobody_reads_holds_its_slot_no_longer_than_its_wall() {
    let host = Host::with("[limits]\nexecutions = 2\nqueue = 0\nwall = '2s'");
    host.deploy(&owner(), "bad-agent", "bad", "").await;
    let path = "/agents/bad/write-forever";
    let _unread = requests_that_nobody_reads(&host, path, 2).await;
    eventually("both slots are taken", async || {
        (host.counter("hypervisor_executions").await == 2).then_some(())
    })
    .await;
    assert_eq!(host.get("bad", "/counter").await.status(), 503);
    eventually("a victim is served again", async || {
        (host.get("bad", "/counter").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_trap_quotes_no_more_of_a_name_than_people_read() {
    let host = Host::start();
    let name = "n".repeat(1 << 20);
    let program = component(&format!(
        r#"(func ${name} unreachable) (func (export "run") (result i32) (call ${name}) (i32.const 0))"#
    ));
    let execution = host.run(Program::new(&program)).await;
    match execution.report.exit {
        Exit::Trap { reason } => {
            assert!(reason.contains("nnnn"), "the function is named");
            assert!(reason.len() < 8_000, "{} bytes", reason.len());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_long_name_in_a_module_is_refused_in_few_words() {
    let host = Host::start();
    let name = "f".repeat(65_299);
    let program = wat(&format!(
        r#"(module (import "wasi_snapshot_preview1" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))"#
    ));
    match host.run(Program::new(&program)).await.report.exit {
        Exit::Rejected { detail, .. } => assert!(detail.len() < 8_192, "{} bytes", detail.len()),
        other => panic!("{other:?}"),
    }
}

/// A command with so many more core modules, each with data of its own.
fn with_modules(modules: usize, marker: usize) -> Vec<u8> {
    let mut text = String::from("(component ");
    for module in 0..modules {
        write!(
            text,
            r#"(core module (memory 1) (data (i32.const 0) "{marker} {module}"))"#
        )
        .unwrap();
    }
    text.push_str(
        r#"(core module $m (func (export "run") (result i32) (i32.const 0)))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $exports (export "run" (func $run)))
           (export "wasi:cli/run@0.2.6" (instance $exports)))"#,
    );
    wat(&text)
}

#[tokio::test]
async fn a_program_takes_one_file_descriptor_however_many_modules_it_has() {
    let host = Host::start();
    let session = host.session().await;
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", host.pid()))
            .unwrap()
            .count()
    };
    session
        .run_wasm(Program::new(&guest("hello")))
        .await
        .unwrap();
    let before = open();
    for marker in 0..4 {
        let program = with_modules(50, marker);
        let execution = session.run_wasm(Program::new(&program)).await.unwrap();
        assert_eq!(execution.report.exit, Exit::Ok);
    }
    let more = open().saturating_sub(before);
    assert!(more < 20, "{more} descriptors more for four programs");
}

#[tokio::test]
async fn nine_hundred_core_modules_are_refused_by_number() {
    let host = Host::start();
    match host
        .run(Program::new(&with_modules(900, 0)))
        .await
        .report
        .exit
    {
        Exit::Rejected { problem, detail } => {
            assert_eq!(problem, Rejection::InvalidComponent);
            assert!(detail.contains("core modules"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn more_imports_than_a_host_takes_are_refused_by_number() {
    let host = Host::start();
    let mut text = String::from("(component ");
    for n in 0..300 {
        write!(text, r#"(import "test:a/i{n}@0.1.0" (instance))"#).unwrap();
    }
    text.push(')');
    let component = wat(&text);
    match host.run(Program::new(&component)).await.report.exit {
        Exit::Rejected { detail, .. } => assert!(detail.contains("256"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_clients_compilations_leave_a_place_for_another() {
    let host = Host::with("[limits]\ncompile = '10s'");
    let slow = huge_function(8 << 20);
    let greedy = std::sync::Arc::new(host.session().await);
    let attack: Vec<_> = (0..8_u8)
        .map(|n| {
            let (session, mut program) = (std::sync::Arc::clone(&greedy), slow.clone());
            // A custom section of its own, so that no two are the same program.
            program.extend_from_slice(&[0, 3, 1, b'n', n]);
            tokio::spawn(async move { session.run_wasm(Program::new(&program)).await.is_ok() })
        })
        .collect();
    let victim = host.session().await;
    let hello = guest("hello");
    let execution = within(
        "the victim's program",
        victim.run_wasm(Program::new(&hello)),
    )
    .await;
    assert_eq!(execution.unwrap().result, b"hello\n");
    let waiting = attack.iter().filter(|one| !one.is_finished()).count();
    assert!(
        waiting >= 4,
        "the victim waited for {} of them",
        8 - waiting
    );
    attack.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn programs_with_as_many_memories_as_may_be_all_find_room() {
    const AT_ONCE: usize = 48;
    let host = Host::with(&format!(
        "[limits]\nexecutions = {AT_ONCE}\nmemory = '4 MiB'"
    ));
    let mut text = String::from("(component ");
    for n in 0..7 {
        write!(
            text,
            r#"(core module $m{n} (memory 1)) (core instance (instantiate $m{n}))"#
        )
        .unwrap();
    }
    text.push_str(
        r#"(core module $m (memory 1)
             (func (export "run") (result i32) (local $n i32)
               (local.set $n (i32.const 100000000))
               (loop $again
                 (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                 (br_if $again (local.get $n)))
               (i32.const 0)))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $exports (export "run" (func $run)))
           (export "wasi:cli/run@0.2.6" (instance $exports)))"#,
    );
    let session = std::sync::Arc::new(host.session().await);
    let program: std::sync::Arc<[u8]> = wat(&text).into();
    let running: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (session, program) = (
                std::sync::Arc::clone(&session),
                std::sync::Arc::clone(&program),
            );
            tokio::spawn(async move {
                let execution = session.run_wasm(Program::new(&program)).await.unwrap();
                execution.report.exit
            })
        })
        .collect();
    for one in running {
        assert_eq!(one.await.unwrap(), Exit::Ok);
    }
}
