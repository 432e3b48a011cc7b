//! Limits: each is named, the host is unharmed, and the next script runs.

use hypervisor_client::protocol::{Exit, LimitKind};

use crate::python::{assert_limit, limited, raised, stderr, stdout};

#[tokio::test]
async fn an_endless_loop() {
    let execution = limited("cpu = '200ms'", "while True: pass").await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
    assert!(execution.report.cpu_microseconds >= 200_000);
}

#[tokio::test]
async fn an_endless_loop_that_catches_every_exception() {
    let script =
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n";
    let execution = limited("cpu = '200ms'", script).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn an_endless_loop_inside_c_code() {
    let script = "import itertools; sum(itertools.count())";
    let execution = limited("cpu = '200ms'", script).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn a_regular_expression_that_backtracks_for_ever() {
    let script = "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')";
    let execution = limited("cpu = '200ms'", script).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn a_power_of_many_digits() {
    let execution = limited("cpu = '200ms'", "9 ** 9 ** 9").await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn a_script_that_takes_for_ever_to_exit() {
    let script = "import atexit\ndef forever():\n    while True: pass\natexit.register(forever)";
    let execution = limited("cpu = '200ms'", script).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn an_exception_that_takes_for_ever_to_describe() {
    let script = "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E\n";
    let execution = limited("cpu = '200ms'", script).await;
    assert_limit(&execution.report, LimitKind::Cpu, 200_000);
}

#[tokio::test]
async fn what_was_flushed_before_a_limit_is_kept() {
    let script = "print('flushed', flush=True)\nwhile True: pass";
    let execution = limited("cpu = '200ms'", script).await;
    assert_eq!(execution.result, b"flushed\n");
}

#[tokio::test]
async fn sleeping_past_the_wall_clock_limit() {
    let execution = limited("wall = '1s'", "import time; time.sleep(3600)").await;
    assert_limit(&execution.report, LimitKind::Wall, 1_000_000);
}

#[tokio::test]
async fn an_event_loop_that_waits_past_the_wall_clock_limit() {
    let script =
        "import asyncio\nasync def main():\n    await asyncio.sleep(3600)\nasyncio.run(main())";
    let execution = limited("wall = '1s'", script).await;
    assert_limit(&execution.report, LimitKind::Wall, 1_000_000);
}

#[tokio::test]
async fn a_gigabyte_of_output() {
    let script = "import sys\nfor _ in range(1 << 14): sys.stdout.buffer.write(bytes(1 << 16))";
    let execution = limited("output = '1 MiB'", script).await;
    assert_limit(&execution.report, LimitKind::Output, 1 << 20);
    assert!(execution.report.stdout_truncated);
    assert_eq!(execution.result.len(), 1 << 20);
}

#[tokio::test]
async fn the_output_limit_cannot_be_caught() {
    let script = "import sys\nwhile True:\n    try: sys.stdout.buffer.write(bytes(1 << 16))\n    except BaseException: pass";
    let execution = limited("output = '1 MiB'", script).await;
    assert_limit(&execution.report, LimitKind::Output, 1 << 20);
}

#[tokio::test]
async fn ten_gibibytes_at_once_are_more_than_the_interpreter_can_address() {
    // Refused by CPython itself, whose sizes have 32 bits here: no memory is asked for, so there is no limit to name.
    let execution = limited("cpu = '5s'", "bytes(10 * 2**30)").await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    let error = stderr(&execution);
    assert!(
        error.contains("File \"<script>\", line 1") && error.contains("\nOverflowError: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_allocation_can_be_caught() {
    let script = "try:\n    bytes(2**30)\nexcept MemoryError:\n    print('went on')";
    let execution = limited("memory = '128 MiB'", script).await;
    assert_eq!(stdout(&execution), "went on\n");
}

#[tokio::test]
async fn more_memory_than_allowed_is_a_memory_error_with_a_traceback() {
    let script = "kept = []\nwhile True:\n    kept.append(bytes(1 << 20))";
    let execution = limited("memory = '128 MiB'", script).await;
    let report = &execution.report;
    assert_limit(&execution.report, LimitKind::Memory, 128 << 20);
    assert!(
        report.peak_memory_bytes > 120 << 20,
        "{}",
        report.peak_memory_bytes
    );
    assert!(report.peak_memory_bytes <= 128 << 20);
}

#[tokio::test]
async fn memory_that_fills_up_with_small_objects() {
    for script in [
        "kept = []\nwhile True: kept.append(object())",
        "kept = {}\nfor i in __import__('itertools').count(): kept[str(i)] = [i] * 100",
        "text = 'a'\nwhile True: text += text",
    ] {
        let execution = limited("memory = '96 MiB'", script).await;
        assert_limit(&execution.report, LimitKind::Memory, 96 << 20);
        assert!(execution.report.peak_memory_bytes <= 96 << 20);
    }
}

#[tokio::test]
async fn memory_that_a_script_will_not_give_back() {
    // It catches every MemoryError and goes on, without any memory, until its time is up.
    let script = "kept = []\nwhile True:\n    try:\n        while True: kept.append(bytearray(1 << 16))\n    except MemoryError: pass";
    let execution = limited("memory = '96 MiB'\ncpu = '1s'", script).await;
    match execution.report.exit {
        Exit::Limit {
            which: LimitKind::Cpu | LimitKind::Memory,
            ..
        } => (),
        ref other => panic!("{other:?}"),
    }
    assert!(execution.report.peak_memory_bytes <= 96 << 20);
}

#[tokio::test]
async fn recursion_without_end() {
    let script = "def f(n):\n    return f(n + 1)\nf(0)";
    let execution = limited("cpu = '5s'", script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    let error = stderr(&execution);
    assert!(error.contains("File \"<script>\", line 2, in f"), "{error}");
    assert!(
        error.ends_with("RecursionError: maximum recursion depth exceeded\n"),
        "{error}"
    );
}

#[tokio::test]
async fn recursion_without_end_and_without_pythons_own_limit() {
    let script = "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)";
    let execution = limited("cpu = '30s'", script).await;
    assert_limit(&execution.report, LimitKind::Stack, 4 << 20);
}

#[tokio::test]
async fn recursion_through_c_code_without_pythons_own_limit() {
    let script = "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    return list(map(lambda _: f(), [1]))\nf()";
    let execution = limited("cpu = '30s'", script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    let error = stderr(&execution);
    assert!(error.contains("\nRecursionError: "), "{error}");
}

#[tokio::test]
async fn data_nested_too_deep_for_c_code_is_the_stack_limit() {
    for script in [
        "x = None\nfor _ in range(1_000_000): x = [x]\nrepr(x)",
        "x = None\nfor _ in range(1_000_000): x = [x]\ndel x",
        "import json; json.loads('[' * 1_000_000)",
    ] {
        let execution = limited("cpu = '30s'", script).await;
        assert_limit(&execution.report, LimitKind::Stack, 4 << 20);
    }
}

#[tokio::test]
async fn source_nested_too_deep_is_an_exception() {
    let error = raised("eval('(' * 100_000 + ')' * 100_000)").await;
    assert!(error.contains("\nMemoryError: "), "{error}");
}

#[tokio::test]
async fn a_small_stack_still_runs_scripts_and_recursion_in_python() {
    let script = "def f(n):\n    return n and f(n - 1)\nprint(f(900))";
    assert_eq!(stdout(&limited("stack = '256 KiB'", script).await), "0\n");
}

#[tokio::test]
async fn a_script_that_does_not_fit_into_memory_is_the_memory_limit() {
    let script = format!("#{}", "x".repeat(40_000_000));
    let execution = limited("memory = '64 MiB'", &script).await;
    assert_limit(&execution.report, LimitKind::Memory, 64 << 20);
}

#[tokio::test]
async fn a_script_that_takes_more_memory_to_compile_than_there_is() {
    let script = "x = 1\n".repeat(3_000_000);
    let execution = limited("memory = '128 MiB'", &script).await;
    assert_limit(&execution.report, LimitKind::Memory, 128 << 20);
}

#[tokio::test]
async fn a_million_threads() {
    let script =
        "import threading\nfor _ in range(10**6):\n    threading.Thread(target=print).start()";
    let execution = limited("cpu = '5s'", script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    assert_eq!(execution.result, b"");
    let error = stderr(&execution);
    assert!(
        error.ends_with("RuntimeError: can't start new thread\n"),
        "{error}"
    );
}

#[tokio::test]
async fn more_signing_keys_than_the_host_holds() {
    let script =
        "import hypervisor\nkeys = [hypervisor.SigningKey.generate() for _ in range(10**5)]";
    let execution = limited("cpu = '5s'", script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    let error = stderr(&execution);
    assert!(
        error.contains("hypervisor.HostError: too-many-keys"),
        "{error}"
    );
}

#[tokio::test]
async fn random_bytes_beyond_what_one_host_call_may_make_the_host_allocate_come_in_parts() {
    let script = "import os\ndrawn = os.urandom(5_000_000)\nprint(len({drawn[i:i + 16] for i in range(0, 5_000_000, 16)}))";
    let execution = limited("host_buffer = '1 MiB'", script).await;
    assert_eq!(
        stdout(&execution),
        "312500
"
    );
}
