//! The main job: a sealed program runs, its standard output is the sealed result.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::path::Path;

use hypervisor_client::Program;
use hypervisor_client::protocol::{ContentFormat, Exit, LimitKind};
use hypervisor_tests::programs::{guest, wat};
use hypervisor_tests::{Host, RawSession};

/// Every guest has a test of its own here or in another file: a guest nobody runs is a guest nobody knows to work.
#[test]
fn every_guest_is_named_in_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    read(&root.join("tests"), &mut tests);
    for folder in std::fs::read_dir(root.join("../guests")).unwrap() {
        let folder = folder.unwrap().path();
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        // What is neither is a library that guests share.
        if folder.join("src/main.rs").exists() || manifest.contains("cdylib") {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                tests.contains(&format!("\"{name}\"")),
                "no test runs guests/{name}"
            );
        }
    }
}

/// All files below a folder, one after the other.
fn read(folder: &Path, text: &mut String) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            read(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[tokio::test]
async fn hello_prints_hello() {
    let execution = Host::start().run(Program::new(&guest("hello"))).await;
    assert_eq!(execution.result, b"hello\n");
    assert_eq!(execution.report.exit, Exit::Ok);
}

#[tokio::test]
async fn arguments_and_standard_input_arrive_in_order() {
    let echo = guest("echo");
    let program = Program::new(&echo)
        .argument("one")
        .argument("")
        .argument("dr\u{e9}i")
        .stdin(b"input\n");
    let execution = Host::start().run(program).await;
    assert_eq!(execution.result, "one\n\ndr\u{e9}i\ninput\n".as_bytes());
}

#[tokio::test]
async fn standard_input_of_several_megabytes_arrives_whole() {
    let (echo, input) = (guest("echo"), vec![b'x'; 5 << 20]);
    let execution = Host::start().run(Program::new(&echo).stdin(&input)).await;
    assert!(execution.result == input);
}

#[tokio::test]
async fn a_real_filter_runs_over_a_real_document() {
    let document = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/protocol/vectors/v1.json"
    ))
    .unwrap();
    let expected = serde_json::from_slice::<serde_json::Value>(&document)
        .unwrap()
        .as_object()
        .unwrap()
        .len();
    let jq = guest("jq");
    let execution = Host::start()
        .run(Program::new(&jq).argument("keys | length").stdin(&document))
        .await;
    assert_eq!(
        String::from_utf8(execution.result).unwrap().trim(),
        expected.to_string()
    );
}

#[tokio::test]
async fn json_and_cbor_bodies_give_the_same() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    for format in [ContentFormat::Json, ContentFormat::Cbor] {
        let (request, pending) = session.request(&guest("echo"), Some(b"in"), &[b"arg"]);
        let answer = session.send_as(format, &request).await;
        assert_eq!(answer.headers["content-type"], format.media_type());
        assert_eq!(
            session.open_answer(format, &pending, &answer).result,
            b"arg\nin"
        );
    }
}

#[tokio::test]
async fn a_preview_1_core_module_is_adapted_and_runs() {
    let module = wat(r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 16) "from preview 1\n")
             (func (export "_start")
               (i32.store (i32.const 0) (i32.const 16))
               (i32.store (i32.const 4) (i32.const 15))
               (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#);
    let execution = Host::start().run(Program::new(&module)).await;
    assert_eq!(execution.report.exit, Exit::Ok);
    assert_eq!(execution.result, b"from preview 1\n");
}

#[tokio::test]
async fn the_exit_code_is_in_the_report() {
    let exit_code = guest("exit-code");
    let execution = Host::start()
        .run(Program::new(&exit_code).argument("7"))
        .await;
    assert_eq!(execution.report.exit, Exit::Code { code: 7 });
}

#[tokio::test]
async fn a_trap_is_reported_with_the_programs_standard_error() {
    let execution = Host::start().run(Program::new(&guest("trap"))).await;
    assert!(
        matches!(&execution.report.exit, Exit::Trap { reason } if reason.contains("unreachable")),
        "{:?}",
        execution.report
    );
    assert!(String::from_utf8_lossy(&execution.report.stderr.0).contains("panicked"));
    assert_eq!(execution.result, b"about to panic\n");
}

#[tokio::test]
async fn ten_thousand_arguments_arrive() {
    let many = guest("many-args");
    let execution = Host::start()
        .run(Program::new(&many).arguments((0..10_000).map(|i| i.to_string())))
        .await;
    assert_eq!(execution.result, b"10000 arguments, 38890 bytes\n");
}

#[tokio::test]
async fn a_guest_that_allocates_100_megabytes_keeps_its_memory_intact() {
    let execution = Host::start().run(Program::new(&guest("big-alloc"))).await;
    assert_eq!(execution.report.exit, Exit::Ok);
    assert!(execution.result.ends_with(b"ok\n"));
    assert!(execution.report.peak_memory_bytes > 90_000_000);
}

#[tokio::test]
async fn a_program_may_sleep() {
    let sleepy = guest("sleepy");
    let execution = Host::start()
        .run(Program::new(&sleepy).argument("50"))
        .await;
    assert_eq!(execution.result, b"awake\n");
    assert!(execution.report.wall_microseconds >= 50_000);
}

#[tokio::test]
async fn the_crypto_import_digests_signs_and_verifies() {
    let sign = guest("sign");
    let execution = Host::start().run(Program::new(&sign).stdin(b"abc")).await;
    let text = String::from_utf8(execution.result).unwrap();
    // FIPS 180-4, SHA-256 of "abc".
    assert!(
        text.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("verified"), "{text}");
}

#[tokio::test]
async fn a_program_sees_no_environment_and_no_files() {
    let module = wat(r#"(module
             (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_prestat_get" (func $pre (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start")
               (drop (call $env (i32.const 0) (i32.const 4)))
               (if (i32.load (i32.const 0)) (then (call $exit (i32.const 2))))
               (if (i32.eqz (call $pre (i32.const 3) (i32.const 0))) (then (call $exit (i32.const 3))))))"#);
    let execution = Host::start().run(Program::new(&module)).await;
    assert_eq!(execution.report.exit, Exit::Ok);
}

#[tokio::test]
async fn the_report_names_the_program_and_what_it_used() {
    let hello = guest("hello");
    let execution = Host::start().run(Program::new(&hello)).await;
    let report = execution.report;
    assert_eq!(report.request_commitment, execution.request_commitment);
    assert!(
        report.cpu_microseconds > 0
            && report.wall_microseconds > 0
            && report.peak_memory_bytes >= 65_536
    );
    assert_ne!(report.program_digest.0, [0; 32]);
}

#[tokio::test]
async fn requests_at_the_same_time_for_one_program_compile_it_once() {
    let host = Host::start();
    let (session, jq) = (host.session().await, guest("jq"));
    let run = || session.run_wasm(Program::new(&jq).argument(".").stdin(b"1"));
    let (a, b, c) = tokio::join!(run(), run(), run());
    for execution in [a, b, c] {
        assert_eq!(execution.unwrap().result, b"1\n");
    }
    assert_eq!(
        host.log().matches("compiled a program").count(),
        1,
        "{}",
        host.log()
    );
}

#[tokio::test]
async fn sessions_do_not_share_compiled_programs_unless_the_operator_says_so() {
    let hello = guest("hello");
    for (config, compilations) in [("", 2), ("[execution]\nshared_compile_cache = true", 1)] {
        let host = Host::with(config);
        host.run(Program::new(&hello)).await;
        host.run(Program::new(&hello)).await;
        assert_eq!(
            host.log().matches("compiled a program").count(),
            compilations
        );
    }
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_the_next_request_of_the_session_works() {
    let host = Host::with("[limits]\ncpu = '200ms'");
    let session = host.session().await;
    let execution = session
        .run_wasm(Program::new(&guest("spin")))
        .await
        .unwrap();
    assert!(matches!(
        execution.report.exit,
        Exit::Limit {
            which: LimitKind::Cpu,
            ..
        }
    ));
    let execution = session
        .run_wasm(Program::new(&guest("hello")))
        .await
        .unwrap();
    assert_eq!(execution.result, b"hello\n");
}
