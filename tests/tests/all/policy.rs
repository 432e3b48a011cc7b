//! The operator's policy: asked before each execution, recorded in the sealed report, failing closed, swapped by config.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, PolicyDecision, Report};
use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component_file, guest, python_plugin};
use tempfile::TempDir;

/// A host whose Python policy has these rules, and which runs scripts too.
fn host(rules: &str) -> (Host, TempDir) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("rules.py");
    std::fs::write(&file, rules).unwrap();
    let policy = format!(
        "[policy]\nrules = '{}'\n{}",
        file.display(),
        python_plugin()
    );
    (Host::with_python(&policy), folder)
}

fn decision(report: &Report) -> &PolicyDecision {
    report.policy.as_ref().unwrap()
}

fn denied(report: &Report) -> &str {
    match &report.exit {
        Exit::Denied { reason } => {
            assert!(!decision(report).allowed);
            assert_eq!(decision(report).reason.as_ref(), Some(reason));
            reason
        }
        other => panic!("{other:?}"),
    }
}

async fn hello(host: &Host) -> Report {
    host.run(Program::new(&guest("hello"))).await.report
}

#[test]
fn rules_without_a_component_that_reads_them_stop_the_start() {
    assert!(refused("[policy]\nrules = 'x'\n").contains("policy.component"));
}

#[tokio::test]
async fn of_a_program_that_is_named_the_policy_sees_the_size_and_not_that_of_its_name() {
    let rules = "def authorize(action):\n    return action.sizes.program > 10_000\n";
    let (host, _folder) = host(rules);
    let session = host.session().await;
    for _ in 0..2 {
        let hello = session.run_wasm(Program::new(&guest("hello"))).await;
        assert_eq!(hello.unwrap().report.exit, Exit::Ok);
    }
    assert_eq!(host.log().matches("compiled a program").count(), 1);
}

#[tokio::test]
async fn without_a_policy_nothing_is_asked() {
    assert_eq!(hello(&Host::start()).await.policy, None);
}

#[tokio::test]
async fn an_allowed_execution_runs_and_its_report_names_the_rules() {
    let rules = "def authorize(action):\n    return True\n";
    let (host, _folder) = host(rules);
    let report = hello(&host).await;
    assert_eq!(report.exit, Exit::Ok);
    assert!(decision(&report).allowed);
    let digest = host.python("import sys, hashlib; print(hashlib.sha256(b'def authorize(action):\\n    return True\\n').hexdigest(), end='')").await;
    assert_eq!(
        decision(&report).rules_digest.to_string(),
        String::from_utf8(digest.result).unwrap()
    );
}

#[tokio::test]
async fn a_denied_execution_does_not_run_and_the_caller_reads_why() {
    let (host, _folder) = host("def authorize(action):\n    return Deny('not on a Sunday')\n");
    let execution = host.run(Program::new(&guest("hello"))).await;
    assert_eq!(denied(&execution.report), "not on a Sunday");
    assert_eq!(
        (execution.result.len(), execution.report.cpu_microseconds),
        (0, 0)
    );
}

#[tokio::test]
async fn rules_see_what_is_done_by_whom_and_how_large_it_is() {
    let rules = r#"
def authorize(action):
    facts = f"{action.kind} {len(action.subject)} {len(action.caller)} {action.resource} {action.method}"
    return Deny(f"{facts} {action.sizes.input} {action.sizes.arguments} {action.sizes.argument_bytes} {any('wasi:cli/stdout' in i for i in action.imports)}")
"#;
    let (host, _folder) = host(rules);
    let echo = guest("echo");
    let execution = host
        .run(
            Program::new(&echo)
                .stdin(b"12345")
                .argument("ab")
                .argument("c"),
        )
        .await;
    let reason = denied(&execution.report).to_owned();
    assert!(reason.to_lowercase().contains("wasm"), "{reason}");
    assert!(
        reason.ends_with(" 64 66 /test/execute/wasm POST 5 2 3 True"),
        "{reason}"
    );
    let execution = host.python("print(1)").await;
    let reason = denied(&execution.report).to_owned();
    assert!(
        reason.ends_with(" 64 66 /test/policy/unsafe/python POST 0 0 0 False"),
        "{reason}"
    );
}

#[tokio::test]
async fn the_digest_allow_list_example_allows_only_what_it_lists() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../components/policy-python/examples/allow_digests.py");
    let (host, _folder) = host(&std::fs::read_to_string(example).unwrap());
    let report = hello(&host).await;
    assert!(
        matches!(report.exit, Exit::Denied { .. }),
        "{:?}",
        report.exit
    );
}

#[tokio::test]
async fn the_data_use_example_refuses_raw_dumps() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../components/policy-python/examples/data_use.py");
    let (host, _folder) = host(&std::fs::read_to_string(example).unwrap());
    assert_eq!(hello(&host).await.exit, Exit::Ok);
    let (echo, dump) = (guest("echo"), vec![0; 20 << 20]);
    let execution = host.run(Program::new(&echo).stdin(&dump)).await;
    assert!(
        matches!(execution.report.exit, Exit::Denied { .. }),
        "{:?}",
        execution.report.exit
    );
}

#[tokio::test]
async fn the_spending_cap_example_lets_free_executions_pass() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../components/policy-python/examples/spending_cap.py");
    let (host, _folder) = host(&std::fs::read_to_string(example).unwrap());
    assert_eq!(hello(&host).await.exit, Exit::Ok);
}

#[tokio::test]
async fn rules_that_raise_deny() {
    let (host, _folder) = host("def authorize(action):\n    return 1 / 0\n");
    assert_eq!(
        denied(&hello(&host).await),
        "the policy failed: its rules raised an error"
    );
}

#[tokio::test]
async fn rules_that_return_something_else_deny() {
    let (host, _folder) = host("def authorize(action):\n    return 'yes'\n");
    assert!(denied(&hello(&host).await).starts_with("the policy failed"));
}

#[tokio::test]
async fn rules_that_never_return_deny_and_the_next_decision_is_made_anew() {
    let (host, _folder) = host(
        "def authorize(action):\n    if action.sizes.arguments:\n        while True: pass\n    return True\n",
    );
    let echo = guest("echo");
    let execution = host.run(Program::new(&echo).argument("x")).await;
    assert_eq!(
        denied(&execution.report),
        "the policy failed: it took too long"
    );
    assert_eq!(hello(&host).await.exit, Exit::Ok);
}

#[tokio::test]
async fn rules_that_crash_the_engine_deny() {
    let (host, _folder) = host("import os\ndef authorize(action):\n    os.abort()\n");
    assert_eq!(denied(&hello(&host).await), "the policy failed: it crashed");
}

fn start(config: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hypervisor.toml");
    std::fs::write(&file, format!("listening = '127.0.0.1:0'\n{config}")).unwrap();
    Command::new(binary("hypervisor-ctl"))
        .arg("check")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap()
}

fn refused(config: &str) -> String {
    let output = start(config);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_syntax_error_in_the_rules_stops_the_start_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.py");
    std::fs::write(&rules, "def authorize(action):\n    return True\n\n)\n").unwrap();
    let error = refused(&format!(
        "[policy]\nrules = '{}'\n{}",
        rules.display(),
        python_plugin()
    ));
    assert!(
        error.contains(rules.to_str().unwrap()) && error.contains("line 4"),
        "{error}"
    );
}

#[test]
fn rules_without_authorize_stop_the_start() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.py");
    std::fs::write(&rules, "def authorise(action):\n    return True\n").unwrap();
    let error = refused(&format!(
        "[policy]\nrules = '{}'\n{}",
        rules.display(),
        python_plugin()
    ));
    assert!(error.contains("authorize"), "{error}");
}

#[test]
fn a_policy_without_rules_stops_the_start() {
    assert!(refused(&format!("[policy]\n{}", python_plugin())).contains("policy.rules"));
}

#[test]
fn the_manifest_has_the_policys_component_and_the_digest_of_its_rules() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.py");
    let manifest = |text: &str| {
        std::fs::write(&rules, text).unwrap();
        let config = folder.path().join("hypervisor.toml");
        let policy = format!(
            "[policy]\nrules = '{}'\n{}",
            rules.display(),
            python_plugin()
        );
        std::fs::write(&config, policy).unwrap();
        let output = Command::new(binary("hypervisor-ctl"))
            .args(["check", "--output", "json", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let one = manifest("def authorize(action):\n    return True\n");
    let other = manifest("def authorize(action):\n    return False\n");
    assert_eq!(
        one.pointer("/manifest/components/0/name").unwrap(),
        "policy"
    );
    assert_ne!(
        one.pointer("/manifest/policy_rules"),
        other.pointer("/manifest/policy_rules")
    );
    assert_ne!(
        one.pointer("/manifest_sha384"),
        other.pointer("/manifest_sha384")
    );
}

#[test]
fn a_component_of_another_world_is_refused_with_both_worlds_named() {
    let error = refused(&format!(
        "[runtime.python]\ncomponent = '{}'",
        component_file("policy-rust").display()
    ));
    assert!(
        error.contains("`policy-engine`") && error.contains("`script-engine`"),
        "{error}"
    );
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/hello.wasm");
    let error = refused(&format!(
        "[policy]\nrules = 'x'\ncomponent = '{}'",
        hello.display()
    ));
    assert!(
        error.contains("`agent-command`") && error.contains("`policy-engine`"),
        "{error}"
    );
}

#[test]
fn machine_code_with_another_digest_is_refused() {
    let config = python_plugin().replace("compiled_sha384 = \"", "compiled_sha384 = \"00");
    assert!(refused(&format!("[runtime.python]\n{config}")).contains("SHA-384"));
}

#[tokio::test]
async fn another_engine_takes_its_place_by_config_alone() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("digests.txt");
    let hello = guest("hello");
    let digest = Host::start()
        .run(Program::new(&hello))
        .await
        .report
        .program_digest;
    std::fs::write(&rules, format!("# programs that may run\n{digest}\n")).unwrap();
    let config = format!(
        "[policy]\ncomponent = '{}'\nrules = '{}'",
        component_file("policy-rust").display(),
        rules.display()
    );
    let host = Host::with(&config);
    assert_eq!(host.run(Program::new(&hello)).await.report.exit, Exit::Ok);
    let execution = host.run(Program::new(&guest("echo"))).await;
    assert!(matches!(execution.report.exit, Exit::Denied { .. }));
}

#[test]
fn the_other_engine_names_the_bad_line_of_its_rules() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("digests.txt");
    std::fs::write(&rules, "# fine\nnot a digest\n").unwrap();
    let error = refused(&format!(
        "[policy]\ncomponent = '{}'\nrules = '{}'",
        component_file("policy-rust").display(),
        rules.display()
    ));
    assert!(error.contains("line 2"), "{error}");
}
