//! Scripts that are wrong, or that try to leave the sandbox.

use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::programs::guest;

use crate::python::{limited, output, raised, run, stderr, stdout};

#[tokio::test]
async fn source_that_is_not_utf_8_is_rejected() {
    let host = Host::with_python("");
    let session = host.session().await;
    let execution = session
        .run_python(Program::new(b"print('caf\xe9')"))
        .await
        .unwrap();
    match execution.report.exit {
        Exit::Rejected { problem, detail } => {
            assert_eq!(problem, Rejection::InvalidSource);
            assert!(
                detail.contains("UTF-8") && detail.contains("10"),
                "{detail}"
            );
        }
        other => panic!("{other:?}"),
    }
    let next = session.run_python(Program::new(b"print(1)")).await.unwrap();
    assert_eq!(stdout(&next), "1\n");
}

#[tokio::test]
async fn source_with_a_zero_byte() {
    let error = raised("print(1)\n\0print(2)\n").await;
    assert_eq!(
        error,
        "SyntaxError: source code string cannot contain null bytes\n"
    );
}

#[tokio::test]
async fn an_argument_with_a_zero_byte_or_not_utf_8_is_rejected() {
    let host = Host::with_python("");
    let session = host.session().await;
    for argument in [&b"a\0b"[..], &[0xff]] {
        let program = Program::new(b"print(1)").argument(argument);
        let report = session.run_python(program).await.unwrap().report;
        assert!(
            matches!(
                report.exit,
                Exit::Rejected {
                    problem: Rejection::InvalidArgument,
                    ..
                }
            ),
            "{:?}",
            report.exit
        );
    }
}

#[tokio::test]
async fn a_component_sent_as_a_script_is_rejected() {
    let host = Host::with_python("");
    let hello = guest("hello");
    let execution = host.session().await.run_python(Program::new(&hello)).await;
    assert!(matches!(
        execution.unwrap().report.exit,
        Exit::Rejected {
            problem: Rejection::InvalidSource,
            ..
        }
    ));
}

#[tokio::test]
async fn a_script_sent_as_a_component_is_rejected() {
    let report = Host::with_python("")
        .run(Program::new(b"print(1)"))
        .await
        .report;
    assert!(matches!(
        report.exit,
        Exit::Rejected {
            problem: Rejection::NotWasm,
            ..
        }
    ));
}

#[tokio::test]
async fn a_script_that_closes_standard_output() {
    let execution = run("import sys; print('before'); sys.stdout.close()").await;
    assert_eq!(stdout(&execution), "before\n");
}

#[tokio::test]
async fn printing_to_closed_standard_output_is_an_exception() {
    let execution = run("import sys\nprint('before')\nsys.stdout.close()\nprint('after')").await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    assert_eq!(execution.result, b"before\n");
    let error = stderr(&execution);
    assert!(
        error.contains("line 4") && error.ends_with("ValueError: I/O operation on closed file.\n"),
        "{error}"
    );
}

#[tokio::test]
async fn closing_the_descriptors_harms_only_the_script() {
    let execution = limited(
        "cpu = '5s'",
        "import os\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass\nprint('lost')\nraise ValueError('told')",
    )
    .await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    assert!(stderr(&execution).ends_with("ValueError: told\n"));
}

#[tokio::test]
async fn os_exit_ends_at_once_and_what_was_flushed_is_kept() {
    let script = "import os, atexit\natexit.register(print, 'never')\nprint('flushed', flush=True)\nprint('buffered')\nos._exit(0)\nprint('never')";
    let execution = run(script).await;
    assert_eq!(stdout(&execution), "flushed\n");
}

#[tokio::test]
async fn os_exit_with_any_code_but_0_is_1() {
    // WASI's `exit` has a result, not a number.
    let execution = limited("cpu = '5s'", "import os; os._exit(3)").await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
}

#[tokio::test]
async fn os_abort_is_a_trap_with_a_backtrace() {
    let execution = limited(
        "cpu = '5s'",
        "import os; print('a', flush=True); os.abort()",
    )
    .await;
    match &execution.report.exit {
        Exit::Trap { reason } => assert!(reason.contains("at os_abort"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(execution.result, b"a\n");
}

#[tokio::test]
async fn a_crash_of_the_interpreter_harms_only_its_own_execution() {
    let execution = limited("cpu = '5s'", "import faulthandler; faulthandler._sigsegv()").await;
    assert!(
        matches!(execution.report.exit, Exit::Trap { .. }),
        "{:?}",
        execution.report.exit
    );
}

#[tokio::test]
async fn ctypes_has_the_types_of_c_and_calls_nothing() {
    let script = "
from ctypes import c_bool, c_double, c_int8, c_long, c_uint16, sizeof
import ctypes.util
print(sizeof(c_long), sizeof(c_double(1)), c_int8(200).value, c_uint16(-1), c_bool(3).value, ctypes.util.find_library('c'))
ctypes.CDLL(None)
";
    let host = Host::with_python("");
    let ran = host.python(script).await;
    assert_eq!(
        String::from_utf8_lossy(&ran.result),
        "4 8 -56 c_uint16(65535) True None\n"
    );
    let error = stderr(&ran);
    assert!(
        error.ends_with("AttributeError: module 'ctypes' has no attribute 'CDLL' in the sandbox: a component cannot call foreign functions\n"),
        "{error}"
    );
    let error = raised("from ctypes import CDLL").await;
    assert!(
        error.contains("ImportError: cannot import name 'CDLL' from 'ctypes'"),
        "{error}"
    );
}

#[tokio::test]
async fn a_module_that_does_not_exist_is_pythons_own_exception() {
    let error = raised("import numpy").await;
    assert!(
        error.ends_with("ModuleNotFoundError: No module named 'numpy'\n"),
        "{error}"
    );
}

#[tokio::test]
async fn what_reaches_out_of_the_sandbox_is_a_clear_exception() {
    let host = Host::with_python("");
    for (attempt, exception) in [
        ("import socket; socket.socket()", "PermissionError"),
        (
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "PermissionError",
        ),
        (
            "import socket; socket.create_connection(('127.0.0.1', 80))",
            "gaierror",
        ),
        (
            "import socket; socket.getaddrinfo('example.com', 80)",
            "gaierror",
        ),
        (
            "import urllib.request; urllib.request.urlopen('http://127.0.0.1')",
            "URLError",
        ),
        ("import subprocess; subprocess.run(['ls'])", "OSError"),
        ("import os; os.popen('ls')", "OSError"),
        ("import os; os.system('ls')", "AttributeError"),
        ("import os; os.fork()", "AttributeError"),
        ("import os; os.kill(1, 9)", "AttributeError"),
        ("import os; os.pipe()", "AttributeError"),
        ("import os; os.listdir('/')", "FileNotFoundError"),
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("open('../../etc/passwd')", "FileNotFoundError"),
        ("open('new', 'w')", "FileNotFoundError"),
        (
            "import tempfile; tempfile.TemporaryFile()",
            "FileNotFoundError",
        ),
        (
            "import threading; threading.Thread(target=print).start()",
            "RuntimeError",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor as T; T().submit(print)",
            "RuntimeError",
        ),
        (
            "import asyncio; asyncio.run(asyncio.to_thread(print))",
            "RuntimeError",
        ),
        ("import signal; signal.alarm(1)", "AttributeError"),
        (
            "import hashlib; hashlib.pbkdf2_hmac('sha256', b'p', b's', 1)",
            "AttributeError",
        ),
    ] {
        let script =
            format!("try:\n    {attempt}\nexcept Exception as e:\n    print(type(e).__name__)\n");
        let execution = host.python(&script).await;
        assert_eq!(stdout(&execution), format!("{exception}\n"), "{attempt}");
    }
}

#[tokio::test]
async fn the_environment_is_empty() {
    assert_eq!(output("import os; print(dict(os.environ))").await, "{}\n");
}
