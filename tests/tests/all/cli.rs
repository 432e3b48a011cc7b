//! The commands as people meet them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{guest, importing};
use tempfile::TempDir;

fn hv(server: &str, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(binary("hv"))
        .args(["--server", server])
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

fn hypervisor(arguments: &[&str]) -> Output {
    command("hypervisor", arguments)
}

fn ctl(arguments: &[&str]) -> Output {
    command("hypervisor-ctl", arguments)
}

fn command(program: &str, arguments: &[&str]) -> Output {
    Command::new(binary(program))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn program(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn guest_file(folder: &TempDir, name: &str) -> String {
    program(folder, &format!("{name}.wasm"), &guest(name))
        .to_str()
        .unwrap()
        .to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn hv_run_passes_streams_and_arguments_through() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let echo = guest_file(&folder, "echo");
    let output = hv(
        host.url(),
        &["run", &echo, "--stdin", "-", "--", "-x", "two words"],
        b"from stdin",
    );
    assert_eq!(output.stdout, b"-x\ntwo words\nfrom stdin");
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn hv_run_reads_standard_input_from_a_file() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let input = program(&folder, "input", b"from a file");
    let output = hv(
        host.url(),
        &[
            "run",
            &guest_file(&folder, "echo"),
            "--stdin",
            input.to_str().unwrap(),
        ],
        b"",
    );
    assert_eq!(output.stdout, b"from a file");
}

#[test]
fn hv_run_exits_with_the_programs_code() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let output = hv(
        host.url(),
        &["run", &guest_file(&folder, "exit-code"), "--", "7"],
        b"",
    );
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn hv_run_names_the_limit_that_stopped_a_program() {
    let (host, folder) = (
        Host::with("[limits]\ncpu = '100ms'"),
        TempDir::new().unwrap(),
    );
    let output = hv(host.url(), &["run", &guest_file(&folder, "spin")], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("hv: stopped at the limit of processor time: 1"),
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("of 100.0ms"));
}

#[test]
fn hv_run_json_is_one_document_with_the_whole_report() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let output = hv(
        host.url(),
        &["run", &guest_file(&folder, "hello"), "--output", "json"],
        b"",
    );
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["result"], "hello\n");
    assert_eq!(document["verified"], true);
    assert_eq!(document["report"]["exit"]["kind"], "ok");
    assert_eq!(
        document["report"]["request_commitment"],
        document["request_commitment"]
    );
}

#[test]
fn hv_run_verbose_says_what_was_verified() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let output = hv(
        host.url(),
        &["run", "-v", &guest_file(&folder, "hello")],
        b"",
    );
    let stderr = text(&output.stderr);
    for words in [
        "request commitment",
        "matches what was sent",
        "result commitment",
        "matches what was received",
        "program SHA-256",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn hv_says_which_server_it_cannot_reach() {
    // A port that was free a moment ago: nothing listens there now.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = hv(&format!("http://{closed}"), &["ping"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&closed.to_string()));
}

#[test]
fn hv_usage_errors_exit_with_2() {
    assert_eq!(
        hv("http://127.0.0.1:1", &["run"], b"").status.code(),
        Some(2)
    );
}

#[test]
fn hv_ping_answers() {
    assert_eq!(hv(Host::start().url(), &["ping"], b"").stdout, b"pong\n");
}

/// Stands between client and host and alters one byte of every execution's sealed result.
async fn tampering_proxy(host: String) -> String {
    use axum::body::{Body, Bytes};
    use axum::http::{HeaderMap, Response, Uri};
    let forward = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let host = host.clone();
        async move {
            let request = reqwest::Client::new()
                .post(format!("{host}{uri}"))
                .header("content-type", &headers["content-type"]);
            let answer = request.body(body).send().await.unwrap();
            let mut bytes = answer.bytes().await.unwrap().to_vec();
            if uri.path().ends_with("wasm") {
                let name = b"encrypted_result";
                let at = bytes
                    .windows(name.len())
                    .position(|window| window == name)
                    .unwrap()
                    + name.len()
                    + 2;
                bytes[at] ^= 1;
            }
            Response::builder()
                .header("content-type", "application/cbor")
                .body(Body::from(bytes))
                .unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(forward);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn hv_run_exits_with_3_when_the_answer_was_altered() {
    let (host, folder) = (Host::start(), TempDir::new().unwrap());
    let proxy = tampering_proxy(host.url().to_owned()).await;
    let hello = guest_file(&folder, "hello");
    let output = tokio::task::spawn_blocking(move || hv(&proxy, &["run", &hello], b""))
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("verification failed"));
    assert_eq!(output.stdout, b"", "nothing unverified is shown");
}

#[test]
fn check_lists_imports_and_succeeds_for_a_program_that_runs() {
    let folder = TempDir::new().unwrap();
    let output = ctl(&["check", &guest_file(&folder, "hello")]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("granted  wasi:cli/stdout@0.2."), "{stdout}");
    assert!(stdout.contains("ok: runs as a command"), "{stdout}");
}

#[test]
fn check_names_a_missing_import_and_fails() {
    let folder = TempDir::new().unwrap();
    let file = program(&folder, "missing.wasm", &importing("acme:db/store@1.0.0"));
    let output = ctl(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("missing  acme:db/store@1.0.0"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn check_gives_json_for_machines() {
    let folder = TempDir::new().unwrap();
    let output = ctl(&["check", "--output", "json", &guest_file(&folder, "hello")]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document[0]["program"]["kind"], "component");
    assert_eq!(document[0]["refusal"], serde_json::Value::Null);
}

#[test]
fn check_validates_the_configuration_without_serving() {
    let folder = TempDir::new().unwrap();
    let good = program(&folder, "good.toml", b"listening = '127.0.0.1:0'");
    assert!(
        ctl(&["check", "--config", good.to_str().unwrap()])
            .status
            .success()
    );
    let bad = program(&folder, "bad.toml", b"[limits]\nwal = '1s'");
    let output = ctl(&["check", "--config", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("unknown key `limits.wal`; did you mean `limits.wall`?"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_host_that_cannot_listen_says_where() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Where its state would be.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(binary("hypervisor"))
        .current_dir(folder.path())
        .args(["--listening", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!("cannot listen on {address}")),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_host_only_serves_and_says_where_the_other_commands_are() {
    for name in ["check", "measure", "doctor", "record", "compile", "swap"] {
        let output = hypervisor(&[name, "--output", "json", "a.wasm"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(&format!("run `hypervisor-ctl {name}`")),
            "{stderr}"
        );
    }
    let output = hypervisor(&["chek\u{1b}[2J"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains('\u{1b}'));
}

#[test]
fn an_error_is_told_with_what_caused_it() {
    let output = ctl(&["check", "/nowhere/program.wasm"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: cannot read /nowhere/program.wasm\nCaused by: No such file or directory (os error 2)\n"
    );
}

#[test]
fn names_in_a_program_reach_no_terminal_unescaped_and_none_without_bound() {
    let folder = TempDir::new().unwrap();
    let name = format!("ev\u{1b}[2J\u{202e}il{}", "x".repeat(100_000));
    let hostile = wat::parse_str(format!(
        r#"(module (import {name:?} "f" (func)) (func (export "_start")) (memory (export "memory") 1))"#
    ));
    let file = program(&folder, "hostile.wasm", &hostile.unwrap());
    for form in ["text", "json"] {
        let output = ctl(&["check", "--output", form, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let stdout = text(&output.stdout);
        assert!(stdout.len() < 20_000, "{} bytes", stdout.len());
        let ends_lines = |c: char| c == '\n';
        assert!(
            !stdout.contains(|c: char| (c.is_control() && !ends_lines(c)) || c == '\u{202e}'),
            "{stdout}"
        );
    }
}

#[test]
fn a_command_whose_output_nobody_reads_has_done_its_work_all_the_same() {
    let folder = TempDir::new().unwrap();
    let file = guest_file(&folder, "hello");
    let mut child = Command::new(binary("hypervisor-ctl"))
        .args(["check", &file])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
}
