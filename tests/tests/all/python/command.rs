//! `hv python`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use serde_json::Value;
use tempfile::TempDir;

use crate::python::text;

fn hv(server: &str, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(binary("hv"))
        .args(["--server", server, "python"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn file(folder: &TempDir, name: &str, contents: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn hv_python_passes_streams_and_arguments_through() {
    let (host, folder) = (Host::with_python(""), TempDir::new().unwrap());
    let script = "import sys; print(sys.argv[1:], sys.stdin.read()); print('err', file=sys.stderr)";
    let script = file(&folder, "script.py", script);
    let input = file(&folder, "data.csv", "from a file");
    let server = host.url();
    let output = hv(
        server,
        &[&script, "--stdin", &input, "--", "-x", "two words"],
        b"",
    );
    assert_eq!(text(&output.stdout), "['-x', 'two words'] from a file\n");
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(0));
    let output = hv(server, &[&script, "--stdin", "-"], b"from a pipe");
    assert_eq!(text(&output.stdout), "[] from a pipe\n");
}

#[test]
fn hv_python_exits_with_the_scripts_code() {
    let (host, folder) = (Host::with_python(""), TempDir::new().unwrap());
    let script = file(
        &folder,
        "script.py",
        "import sys; sys.exit(int(sys.argv[1]))",
    );
    for code in [0, 7, 255] {
        let output = hv(host.url(), &[&script, "--", &code.to_string()], b"");
        assert_eq!(output.status.code(), Some(code));
    }
}

#[test]
fn hv_python_shows_the_traceback_and_exits_with_1() {
    let (host, folder) = (Host::with_python(""), TempDir::new().unwrap());
    let script = file(&folder, "script.py", "print('before')\n1 / 0\n");
    let output = hv(host.url(), &[&script], b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "before\n");
    let error = text(&output.stderr);
    assert!(
        error.starts_with("Traceback (most recent call last):\n  File \"<script>\", line 2")
            && error.ends_with("ZeroDivisionError: division by zero\n"),
        "{error}"
    );
}

#[test]
fn hv_python_names_the_limit_that_stopped_a_script() {
    let host = Host::with_python("[limits]\ncpu = '200ms'\n");
    let folder = TempDir::new().unwrap();
    let script = file(
        &folder,
        "script.py",
        "print('kept', flush=True)\nwhile True: pass\n",
    );
    let output = hv(host.url(), &[&script], b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "kept\n");
    let error = text(&output.stderr);
    assert!(
        error.starts_with("hv: stopped at the limit of processor time: ")
            && error.contains("of 200.0ms"),
        "{error}"
    );
}

#[test]
fn hv_python_json_is_one_document_with_the_whole_report() {
    let (host, folder) = (Host::with_python(""), TempDir::new().unwrap());
    let script = file(
        &folder,
        "script.py",
        "import sys\nprint('out')\nsys.exit('why')\n",
    );
    let output = hv(host.url(), &[&script, "--output", "json"], b"");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["result"], "out\n");
    assert_eq!(document["verified"], true);
    assert_eq!(document["report"]["exit"]["kind"], "code");
    assert_eq!(document["report"]["exit"]["code"], 1);
    assert_eq!(document["report"]["stderr"], "7768790a", "hexadecimal");
    assert_eq!(
        document["report"]["request_commitment"],
        document["request_commitment"]
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn hv_python_says_what_is_wrong_with_a_script_that_cannot_run() {
    let (host, folder) = (Host::with_python(""), TempDir::new().unwrap());
    let path = folder.path().join("script.py");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    let output = hv(host.url(), &[path.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("the script is not UTF-8"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn hv_python_says_that_a_host_runs_no_scripts() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let output = hv(host.url(), &[&file(&folder, "script.py", "print(1)")], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no script engine"),
        "{}",
        text(&output.stderr)
    );
}
