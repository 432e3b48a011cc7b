//! Programs that cannot run: the reason is sealed, names what is wrong and what the host has, and costs nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::programs::{component, guest, huge_function, importing, wat};

/// Sends a program that must be rejected, then a good one in the same session; gives the sentence.
async fn rejected(program: Program<'_>, expected: Rejection) -> String {
    let host = Host::start();
    let session = host.session().await;
    let execution = session.run_wasm(program).await.unwrap();
    let next = session
        .run_wasm(Program::new(&guest("hello")))
        .await
        .unwrap();
    assert_eq!(
        next.result, b"hello\n",
        "the next good request on the same session"
    );
    match execution.report.exit {
        Exit::Rejected { problem, detail } => {
            assert_eq!(problem, expected, "{detail}");
            assert!(
                !host.log().contains(&detail),
                "the reason names parts of the program, so it is not logged"
            );
            detail
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bytes_that_are_not_wasm() {
    for program in [&b""[..], b"#!/bin/sh\n", b"\0as", &[0xff; 4096]] {
        rejected(Program::new(program), Rejection::NotWasm).await;
    }
}

#[tokio::test]
async fn a_core_module_without_an_entry_point() {
    let module = wat(r#"(module (func (export "main")))"#);
    let detail = rejected(Program::new(&module), Rejection::NoEntryPoint).await;
    assert!(
        detail.contains("`_start`") && detail.contains("main"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_core_module_that_keeps_its_memory_to_itself() {
    let detail = rejected(
        Program::new(&wat(r#"(module (func (export "_start")))"#)),
        Rejection::InvalidComponent,
    )
    .await;
    assert!(detail.contains("`memory`"), "{detail}");
}

#[tokio::test]
async fn a_core_module_with_foreign_imports() {
    let module =
        wat(r#"(module (import "env" "emscripten_thing" (func)) (func (export "_start")))"#);
    let detail = rejected(Program::new(&module), Rejection::MissingImport).await;
    assert!(detail.contains("env.emscripten_thing"), "{detail}");
}

#[tokio::test]
async fn a_component_without_an_entry_point() {
    let detail = rejected(Program::new(&wat("(component)")), Rejection::NoEntryPoint).await;
    assert!(detail.contains("wasi:cli/run@0.2.x"), "{detail}");
}

#[tokio::test]
async fn a_component_with_an_unknown_import_by_name_with_what_the_host_has() {
    let detail = rejected(
        Program::new(&importing("acme:db/store@1.0.0")),
        Rejection::MissingImport,
    )
    .await;
    assert!(
        detail.contains("acme:db/store@1.0.0") && detail.contains("hypervisor:plugin 0.1.1"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_component_for_another_version_of_wasi_is_told_the_hosts() {
    let detail = rejected(
        Program::new(&importing("wasi:cli/stdin@0.3.0")),
        Rejection::MissingImport,
    )
    .await;
    assert!(
        detail.contains("wasi:cli/stdin@0.3.0") && detail.contains("0.2.12"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_service_is_told_that_it_is_an_agent() {
    let detail = rejected(Program::new(&guest("http-hello")), Rejection::WrongWorld).await;
    assert!(detail.contains("wasi:http/incoming-handler"), "{detail}");
}

#[tokio::test]
async fn precompiled_machine_code() {
    // What a `.cwasm` is: an ELF object.
    let mut cwasm = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    cwasm.resize(4096, 0);
    rejected(Program::new(&cwasm), Rejection::Precompiled).await;
}

#[tokio::test]
async fn a_truncated_component() {
    let hello = guest("hello");
    let (half, _) = hello.split_at(hello.len() / 2);
    rejected(Program::new(half), Rejection::InvalidComponent).await;
}

#[tokio::test]
async fn a_component_that_does_not_validate() {
    let mut program = component(r#"(func (export "run") (result i32) (i32.const 0))"#);
    // i32.const becomes i64.const: the body no longer has the declared type.
    let at = program
        .windows(2)
        .position(|pair| pair == [0x41, 0x00])
        .unwrap();
    *program.get_mut(at).unwrap() = 0x42;
    rejected(Program::new(&program), Rejection::InvalidComponent).await;
}

#[tokio::test]
async fn one_function_of_16_megabytes() {
    let detail = rejected(
        Program::new(&huge_function(16 << 20)),
        Rejection::InvalidComponent,
    )
    .await;
    assert!(detail.contains("size"), "{detail}");
}

#[tokio::test]
async fn an_argument_that_is_not_utf_8() {
    let echo = guest("echo");
    let program = Program::new(&echo)
        .argument("fine")
        .argument(vec![0xff, 0xfe]);
    let detail = rejected(program, Rejection::InvalidArgument).await;
    assert!(detail.starts_with("argument 2"), "{detail}");
}

#[tokio::test]
async fn an_argument_with_a_zero_byte() {
    let echo = guest("echo");
    let detail = rejected(
        Program::new(&echo).argument("a\0b"),
        Rejection::InvalidArgument,
    )
    .await;
    assert!(detail.contains("zero byte"), "{detail}");
}
