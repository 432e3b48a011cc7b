//! Runs that were kept: verified offline when the host is gone, by `hv` and by a verifier that shares no line with it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::attestation::{policy_text, simulated, simulator, with_python};

/// A client's folder, with a policy that believes the simulation of the seed `one`.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        desk.write("hello.wasm", &guest("hello"));
        desk.write("script.py", b"print('kept')");
        for seed in ["one", "two"] {
            let simulator = simulator(seed);
            let root = format!("simulated = \"{}\"", fingerprint(seed));
            desk.write(
                &format!("{seed}.toml"),
                policy_text(&root, &simulator).as_bytes(),
            );
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn hv(&self, line: &str) -> Output {
        Command::new(binary("hv"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a program, or a script, on a host and keeps the run; the host is gone afterwards.
    fn keep(&self, host: Host, what: &str) {
        let url = host.url();
        let line = format!("{what} --server {url} --verify one.toml --keep run.cbor");
        let output = self.hv(&line);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The verifier in Python.
    fn second(&self, file: &str, root: &str, more: &[&str]) -> Output {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/evidence/verify.py");
        Command::new("python3")
            .args([program, file, "--root", root])
            .args(more)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }
}

fn fingerprint(seed: &str) -> String {
    const_hex::encode(simulator(seed).fingerprint())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_call_of_an_environment_is_kept_and_verified_like_any_run() {
    let desk = Desk::new();
    let config = format!(
        "[environments]\nsetup = true\n[runtime.javascript]\n{}",
        hypervisor_tests::programs::javascript_plugin()
    );
    let host = simulated("one", &config);
    desk.write("main.js", b"export const handler = () => 'kept';");
    let at = format!("--server {}", host.url());
    let created = desk.hv(&format!("env create main.js --name it {at}"));
    assert!(created.status.success(), "{}", text(&created.stderr));
    let bundle = text(&created.stdout);
    let bundle = bundle.lines().find_map(|line| line.split("sha256:").nth(1));
    desk.keep(host, "env run it");
    let output = desk.hv("verify run.cbor");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    let digest = bundle.unwrap();
    let expected = format!(
        "What ran: a call of an environment's handler, of the bundle, SHA-256 {digest}; it ended well"
    );
    assert!(said.contains(&expected), "{expected}\n{said}");
}

#[test]
fn a_streamed_run_that_was_kept_is_verified_with_all_that_was_streamed() {
    let desk = Desk::new();
    let script = b"import time\nprint('one', flush=True)\ntime.sleep(0.2)\nprint('two')";
    desk.write("slow.py", script);
    desk.keep(with_python("one"), "python slow.py --stream");
    let output = desk.hv("verify run.cbor");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("8 bytes of result"), "{said}");
    let root = fingerprint("one");
    let output = desk.second("run.cbor", &root, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = std::fs::read(desk.path("run.cbor")).unwrap();
    let named = |name: &[u8]| kept.windows(name.len()).any(|it| it == name);
    assert!(named(b"encrypted_chunks"));
}

#[test]
fn a_run_that_was_kept_is_verified_offline_and_told_in_sentences() {
    let desk = Desk::new();
    desk.keep(simulated("one", ""), "run hello.wasm");
    let mode = std::fs::metadata(desk.path("run.cbor")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let output = desk.hv("verify run.cbor");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    let digest = const_hex::encode(Sha256::digest(guest("hello")));
    for expected in [
        "VERIFIED, SIMULATED".to_owned(),
        format!("What ran: a program, SHA-256 {digest}; it ended well; 6 bytes of result."),
        "By which host: identity key 0".to_owned(),
        "kept in this file.".to_owned(),
        "What was paid: nothing, by the sealed report.".to_owned(),
        "this route makes no quote over the result".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected}\n{said}");
    }
    let output = desk.hv("verify run.cbor --output json");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verified"], true);
    assert_eq!(told["report"]["program_digest"], digest);
    assert_eq!(told["attestation"]["assurance"], "simulated");
    let verbose = text(&desk.hv("verify run.cbor -v").stdout);
    assert!(verbose.contains("pass  session-key"), "{verbose}");
}

#[test]
fn a_kept_result_with_its_quote_is_verified_by_two_verifiers() {
    let desk = Desk::new();
    desk.keep(with_python("one"), "python script.py");
    let output = desk.hv("verify run.cbor");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("the result is in a quoted batch"), "{said}");
    // Where a plugin runs from machine code, the verdict says so.
    assert!(said.contains("compiled-code"), "{said}");

    let second = desk.second("run.cbor", &fingerprint("one"), &[]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    let found: Value = serde_json::from_slice(&second.stdout).unwrap();
    let told = desk.hv("verify run.cbor --output json").stdout;
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(found["result_commitment"], told["result_commitment"]);
    assert_eq!(found["components"], told["components"]);
    let attestation = &told["attestation"];
    assert_eq!(found["identity_key"], attestation["identity_key"]);
    assert_eq!(found["manifest_sha384"], attestation["manifest_digest"]);
    assert_eq!(found["receipt_issued_at"], attestation["receipt_issued_at"]);
    assert_eq!(found["quoted"], true);
}

#[test]
fn the_record_in_the_vectors_verifies_as_long_as_its_version_is_read() {
    let desk = Desk::new();
    let vector = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/client/vectors/record.cbor"
    );
    let output = desk.hv(&format!("verify {vector}"));
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("10 bytes of result"), "{said}");
    let second = desk.second(vector, &fingerprint("one"), &[]);
    assert!(second.status.success(), "{}", text(&second.stderr));
}

#[test]
fn a_record_that_was_altered_or_is_of_another_root_is_refused_by_two_verifiers() {
    let desk = Desk::new();
    desk.keep(simulated("one", ""), "run hello.wasm");
    let whole = std::fs::read(desk.path("run.cbor")).unwrap();
    // What is sealed, and what is signed.
    for part in [&b"encrypted_report"[..], b"receipt", b"request_commitment"] {
        let at = whole.windows(part.len()).rposition(|window| window == part);
        let mut altered = whole.clone();
        altered[at.unwrap() + part.len() + 12] ^= 1;
        desk.write("altered.cbor", &altered);
        let output = desk.hv("verify altered.cbor");
        let name = text(part);
        assert_eq!(output.status.code(), Some(3), "{name}");
        let output = desk.second("altered.cbor", &fingerprint("one"), &[]);
        assert_eq!(output.status.code(), Some(3), "{name}");
    }
    let output = desk.hv("verify run.cbor --policy two.toml");
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stdout);
    assert!(said.starts_with("REFUSED"), "{said}");
    assert!(said.contains("FAIL  certificate-chain"), "{said}");
    let output = desk.second("run.cbor", &fingerprint("two"), &[]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_run_is_kept_in_a_new_file_and_only_of_a_host_that_proved_itself() {
    let (desk, host) = (Desk::new(), simulated("one", ""));
    desk.write("there.cbor", b"mine");
    let url = host.url();
    for (line, status) in [
        ("run hello.wasm --keep run.cbor", 2),
        ("run hello.wasm --verify one.toml --keep there.cbor", 2),
        ("run hello.wasm --verify one.toml --keep none/run.cbor", 1),
        ("run hello.wasm --verify two.toml --keep run.cbor", 3),
        ("verify there.cbor", 2),
        ("verify none.cbor", 1),
    ] {
        let output = desk.hv(&format!("{line} --server {url}"));
        assert_eq!(output.status.code(), Some(status), "{line}");
    }
    assert_eq!(std::fs::read(desk.path("there.cbor")).unwrap(), b"mine");
    assert!(!desk.path("run.cbor").exists());
}

#[test]
fn a_live_hosts_evidence_passes_a_second_verifier_for_its_own_nonce_alone() {
    const NONCE: &str = "00112233445566778899aabbccddeeff";
    let (desk, host) = (Desk::new(), with_python("one"));
    let url = host.url();
    let saved = desk.hv(&format!("attest {url} --nonce {NONCE} --to evidence.cbor"));
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let root = fingerprint("one");
    let output = desk.second("evidence.cbor", &root, &["--nonce", NONCE]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["purpose"], "identity");
    assert_eq!(found["simulated"], true);
    assert_eq!(found["components"][0]["name"], "python");
    let booted = found["booted"].as_array().unwrap();
    assert_eq!(booted.len(), 3);
    assert!(
        booted
            .iter()
            .all(|events| events.as_array().unwrap().len() == 1)
    );
    let other = "ff".repeat(16);
    let output = desk.second("evidence.cbor", &root, &["--nonce", &other]);
    assert_eq!(output.status.code(), Some(3));
    // Its report data is in the quote, and begins as the binding does.
    let mut altered = std::fs::read(desk.path("evidence.cbor")).unwrap();
    let quoted = altered.windows(8).position(|window| window == b"HYPERVSR");
    altered[quoted.unwrap() + 40] ^= 1;
    desk.write("altered.cbor", &altered);
    let output = desk.second("altered.cbor", &root, &[]);
    assert_eq!(output.status.code(), Some(3));
}
