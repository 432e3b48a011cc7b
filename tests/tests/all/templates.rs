//! What `hv new` writes, built as its README says, under a host.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hypervisor_client::Program;
use hypervisor_client::protocol::Exit;
use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The component of a folder of `templates/`.
fn template(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("target/templates/template-{name}.wasm"));
    assert!(
        path.exists(),
        "{} is not built; run `make templates`",
        path.display()
    );
    path
}

#[tokio::test]
async fn the_program_in_rust_greets_its_arguments_and_counts_lines() {
    let host = Host::start();
    let program = std::fs::read(template("rust-program")).unwrap();
    let program = Program::new(&program).argument("Ada").stdin(b"one\ntwo\n");
    let execution = host.run(program).await;
    assert_eq!(execution.result, b"hello, Ada\n2 lines\n");
}

#[tokio::test]
async fn the_policy_in_rust_lets_run_what_is_on_its_list() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.txt");
    let listed = const_hex::encode(Sha256::digest(guest("hello")));
    std::fs::write(&rules, format!("# hello\n{listed}\n")).unwrap();
    let component = template("rust-policy-engine");
    let host = Host::with(&format!(
        "[policy]\ncomponent = {component:?}\nrules = {rules:?}"
    ));
    let report = host.run(Program::new(&guest("hello"))).await.report;
    assert_eq!(report.exit, Exit::Ok);
    assert!(report.policy.unwrap().allowed);
    let report = host.run(Program::new(&guest("echo"))).await.report;
    let not_listed = const_hex::encode(Sha256::digest(guest("echo")));
    let reason = format!("the program {not_listed} is not on the list");
    assert_eq!(report.exit, Exit::Denied { reason });
}

#[test]
fn the_policies_in_javascript_and_python_are_policies_that_link() {
    let output = Command::new(binary("hypervisor-ctl"))
        .args(["check", "--world", "policy-engine"])
        .args(["js-policy-engine", "python-policy-engine"].map(template))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    let taken = "ok: loads as the plugin of [policy]";
    assert_eq!(stdout.matches(taken).count(), 2, "{stdout}");
}

#[test]
fn the_examples_of_the_documentation_are_the_templates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/COMPONENTS.md")).unwrap();
    for file in [
        "rust-program/src/main.rs",
        "python-program/app.py",
        "js/agent.js",
        "rust/src/lib.rs",
        "js-policy-engine/policy.js",
        "rust-policy-engine/src/lib.rs",
    ] {
        let text = std::fs::read_to_string(root.join("templates").join(file)).unwrap();
        let indented = text.lines().map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        });
        let indented: String = indented.collect();
        assert!(
            page.contains(&indented),
            "{file} is not as in the documentation"
        );
    }
}
