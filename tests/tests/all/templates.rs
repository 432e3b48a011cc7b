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
pub(crate) fn template(name: &str) -> PathBuf {
    built(&format!("template-{name}"))
}

/// The component of a folder of `components/examples/`.
pub(crate) fn example(name: &str) -> PathBuf {
    built(&format!("example-{name}"))
}

fn built(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("target/templates/{name}.wasm"));
    assert!(
        path.exists(),
        "{} is not built; run `make templates`",
        path.display()
    );
    path
}

#[tokio::test]
async fn the_programs_in_rust_go_and_c_greet_their_arguments_and_count_lines() {
    let host = Host::start();
    for name in ["rust-program", "go-program", "c-program"] {
        let program = std::fs::read(template(name)).unwrap();
        let program = Program::new(&program).argument("Ada").stdin(b"one\ntwo\n");
        let execution = host.run(program).await;
        assert_eq!(execution.result, b"hello, Ada\n2 lines\n", "{name}");
    }
}

#[tokio::test]
async fn the_policy_in_rust_lets_run_what_is_on_its_list() {
    decides_by_its_list(&template("rust-policy-engine")).await;
}

#[tokio::test]
async fn the_policy_in_javascript_does_as_well() {
    decides_by_its_list(&template("js-policy-engine")).await;
}

#[test]
fn the_policy_in_python_is_a_policy_that_links() {
    link_as("policy-engine", &[template("python-policy-engine")]);
}

/// Runs one program that the rules of a policy list, and one that they do not.
pub(crate) async fn decides_by_its_list(component: &Path) {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.txt");
    let listed = const_hex::encode(Sha256::digest(guest("hello")));
    std::fs::write(&rules, format!("# hello\n{listed}\n")).unwrap();
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

/// Asks `hypervisor-ctl check`, which is done long before they are compiled.
pub(crate) fn link_as(world: &str, components: &[PathBuf]) {
    let output = Command::new(binary("hypervisor-ctl"))
        .args(["check", "--world", world])
        .args(components)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    let taken = "ok: loads as the plugin of [";
    assert_eq!(stdout.matches(taken).count(), components.len(), "{stdout}");
}

#[test]
fn the_test_that_a_new_project_holds_runs_its_component_under_a_host() {
    let programs = binary("hypervisor");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", programs.parent().unwrap().display());
    let folder = TempDir::new().unwrap();
    for (world, built, component) in [
        ("agent-service", "rust", "agent.wasm"),
        ("program", "rust-program", "program.wasm"),
        ("policy-engine", "rust-policy-engine", "policy.wasm"),
        ("payments", "rust-payments", "payment.wasm"),
    ] {
        let project = folder.path().join(built);
        let run = |program: &Path, arguments: &[&str], at: &Path| {
            let mut command = Command::new(program);
            let command = command.args(arguments).current_dir(at).env("PATH", &path);
            command.stdin(Stdio::null()).output().unwrap()
        };
        let new = ["new", "--template", "rust", "--world", world, built];
        assert!(run(&binary("hv"), &new, folder.path()).status.success());
        std::fs::copy(template(built), project.join(component)).unwrap();
        let good = run(Path::new("sh"), &["test.sh"], &project);
        let said = String::from_utf8_lossy(&good.stdout);
        assert!(good.status.success() && said.contains("ok: "), "{good:?}");
        // Another component in its place is told apart.
        let other = match world {
            "policy-engine" | "payments" => b"".to_vec(),
            _ => guest("echo"),
        };
        std::fs::write(project.join(component), other).unwrap();
        let bad = run(Path::new("sh"), &["test.sh"], &project);
        assert!(!bad.status.success(), "{bad:?}");
    }
}

#[test]
fn the_examples_of_the_documentation_are_the_templates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (page, file) in [
        ("PROGRAMS.md", "rust-program/src/main.rs"),
        ("PROGRAMS.md", "python-program/app.py"),
        ("AGENTS.md", "js/agent.js"),
        ("AGENTS.md", "rust/src/lib.rs"),
        ("PLUGINS.md", "js-policy-engine/policy.js"),
        ("PLUGINS.md", "rust-policy-engine/src/lib.rs"),
    ] {
        let page = std::fs::read_to_string(root.join("docs").join(page)).unwrap();
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
