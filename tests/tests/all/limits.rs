//! Every limit holds and is named in the sealed report, with how much was used and allowed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use hypervisor_client::protocol::{Exit, LimitKind};
use hypervisor_client::{Execution, Program};
use hypervisor_tests::programs::{component, guest, huge_function};
use hypervisor_tests::{Host, assert_limit};

/// Runs `program` under `[limits]`, then a good one in the same session.
async fn run(limits: &str, program: Program<'_>) -> Execution {
    let host = Host::with(&format!("[limits]\n{limits}"));
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
    execution
}

#[tokio::test]
async fn processor_time() {
    let execution = run("cpu = '200ms'", Program::new(&guest("spin"))).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
    assert!(execution.report.cpu_microseconds >= 200_000);
}

#[tokio::test]
async fn wall_clock_time_of_a_program_that_sleeps() {
    let sleepy = guest("sleepy");
    let execution = run("wall = '1s'", Program::new(&sleepy).argument("60000")).await;
    assert_limit(&execution.report, LimitKind::Wall, 1_000_000);
    assert!(
        execution.report.cpu_microseconds < 1_000_000,
        "sleeping is not processor time"
    );
}

#[tokio::test]
async fn wall_clock_time_of_a_program_that_spins() {
    let execution = run("wall = '1s'", Program::new(&guest("spin"))).await;
    assert_limit(&execution.report, LimitKind::Wall, 1_000_000);
}

#[tokio::test]
async fn a_start_function_that_never_returns() {
    let program = component(
        r#"(func $loop (loop (br 0))) (start $loop) (func (export "run") (result i32) (i32.const 0))"#,
    );
    let execution = run("cpu = '100ms'", Program::new(&program)).await;
    assert_limit(&execution.report, LimitKind::Cpu, 100_000);
}

#[tokio::test]
async fn memory_of_a_program_that_allocates_for_ever() {
    let execution = run("memory = '32 MiB'", Program::new(&guest("oom"))).await;
    assert_limit(&execution.report, LimitKind::Memory, 32 << 20);
    assert!(execution.report.peak_memory_bytes <= 32 << 20);
}

#[tokio::test]
async fn memory_that_a_program_asks_for_before_it_starts() {
    let program = component(r#"(memory 4096) (func (export "run") (result i32) (i32.const 0))"#);
    let execution = run("memory = '32 MiB'", Program::new(&program)).await;
    assert_limit(&execution.report, LimitKind::Memory, 32 << 20);
}

#[tokio::test]
async fn a_refused_growth_that_the_program_survives_is_no_limit_reached() {
    let program = component(
        r#"(memory 1)
           (func (export "run") (result i32)
             (i32.eq (memory.grow (i32.const 60000)) (i32.const -1))
             (if (then) (else unreachable))
             (i32.const 0))"#,
    );
    let execution = run("memory = '32 MiB'", Program::new(&program)).await;
    assert_eq!(execution.report.exit, Exit::Ok);
}

#[tokio::test]
async fn table_elements() {
    let program = component(
        r#"(table $t 1 funcref)
           (func (export "run") (result i32)
             (loop
               (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
               (br 0))
             (i32.const 0))"#,
    );
    let execution = run("table_elements = 50000", Program::new(&program)).await;
    assert_limit(&execution.report, LimitKind::Table, 50_000);
}

#[tokio::test]
async fn table_elements_that_a_program_asks_for_before_it_starts() {
    let program =
        component(r#"(table 60000 funcref) (func (export "run") (result i32) (i32.const 0))"#);
    let execution = run("table_elements = 50000", Program::new(&program)).await;
    assert_limit(&execution.report, LimitKind::Table, 50_000);
}

#[tokio::test]
async fn call_stack() {
    let execution = run("stack = '256 KiB'", Program::new(&guest("deep-recursion"))).await;
    assert_limit(&execution.report, LimitKind::Stack, 256 << 10);
}

#[tokio::test]
async fn standard_output_keeps_its_first_part() {
    let execution = run("output = '1 MiB'", Program::new(&guest("flood"))).await;
    assert_limit(&execution.report, LimitKind::Output, 1 << 20);
    assert!(execution.report.stdout_truncated);
    assert_eq!(execution.result.len(), 1 << 20);
}

#[tokio::test]
async fn standard_error_beyond_its_limit_is_cut_and_the_program_goes_on() {
    let flood = guest("flood");
    let execution = run(
        "stderr = '10 KiB'\ncpu = '300ms'",
        Program::new(&flood).argument("stderr"),
    )
    .await;
    assert_limit(&execution.report, LimitKind::Cpu, 300_000);
    assert!(execution.report.stderr_truncated);
    assert_eq!(execution.report.stderr.0.len(), 10 << 10);
}

#[tokio::test]
async fn bytes_that_one_host_call_makes_the_host_allocate() {
    // `get-random-bytes` of more than the limit.
    let text = r#"(component
        (import "wasi:random/random@0.2.6" (instance $random
          (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
        (core module $libc
          (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (core func $bytes (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
        (core module $m
          (import "" "bytes" (func $bytes (param i64 i32)))
          (func (export "run") (result i32) (call $bytes (i64.const 100000000) (i32.const 0)) (i32.const 0)))
        (core instance $i (instantiate $m (with "" (instance (export "bytes" (func $bytes))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.6" (instance $exports)))"#;
    let program = hypervisor_tests::programs::wat(text);
    let execution = run("host_buffer = '1 MiB'", Program::new(&program)).await;
    assert_limit(&execution.report, LimitKind::HostBuffer, 1 << 20);
}

#[tokio::test]
async fn live_handles() {
    let text = r#"(component
        (import "wasi:io/poll@0.2.6" (instance $poll (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
          (alias outer 1 $pollable (type $p))
          (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core module $m
          (import "" "subscribe" (func $subscribe (param i64) (result i32)))
          (func (export "run") (result i32) (loop (drop (call $subscribe (i64.const 1))) (br 0)) (i32.const 0)))
        (core instance $i (instantiate $m (with "" (instance (export "subscribe" (func $subscribe))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.6" (instance $exports)))"#;
    let execution = run(
        "handles = 100",
        Program::new(&hypervisor_tests::programs::wat(text)),
    )
    .await;
    assert_limit(&execution.report, LimitKind::Handles, 100);
}

#[tokio::test]
async fn core_instances() {
    let instances = (0..20)
        .map(|_| "(core instance (instantiate $m))")
        .collect::<String>();
    let text = format!(
        r#"(component
             (core module $m (func (export "run") (result i32) (i32.const 0)))
             (core instance $i (instantiate $m))
             {instances}
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#
    );
    let execution = run(
        "instances = 10",
        Program::new(&hypervisor_tests::programs::wat(&text)),
    )
    .await;
    assert_limit(&execution.report, LimitKind::Instances, 10);
}

#[tokio::test]
async fn compile_time() {
    let host = Host::with("[limits]\ncompile = '20ms'");
    let session = host.session().await;
    let slow = huge_function(6 << 20);
    let execution = session.run_wasm(Program::new(&slow)).await.unwrap();
    assert_limit(&execution.report, LimitKind::CompileTime, 20_000);
    // On a busy machine no program is sure to compile in this time; one that needs no compiler is answered.
    let next = session.run_wasm(Program::new(b"text")).await.unwrap();
    assert!(matches!(next.report.exit, Exit::Rejected { .. }));
}

#[tokio::test]
async fn compiler_memory() {
    let execution = run(
        "compile_memory = '200 MiB'",
        Program::new(&huge_function(6 << 20)),
    )
    .await;
    assert_limit(&execution.report, LimitKind::CompileMemory, 200 << 20);
}
