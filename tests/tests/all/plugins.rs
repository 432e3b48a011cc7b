//! Plugins as those who write them find out what is wrong: in the operator's log, in the counters, and by asking them by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::process::{Command, Output};

use hypervisor_client::Program;
use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component_file, guest, python_plugin};
use serde_json::Value;
use tempfile::TempDir;

/// Rules that print what they are asked about, and then fail about it.
const FAILING: &str = "import sys
def authorize(action):
    print('asked by', action.caller)
    print('wrong\\x1b[2J', file=sys.stderr)
    raise ValueError(action.caller)
";

/// A folder with a policy: its configuration, and its rules.
struct Policy(TempDir);

impl Policy {
    fn python(rules: &str) -> Self {
        Self::of(&python_plugin(), rules)
    }

    fn of(component: &str, rules: &str) -> Self {
        let policy = Self(TempDir::new().unwrap());
        std::fs::write(policy.0.path().join("rules"), rules).unwrap();
        let config = format!(
            "executor_path = {:?}\n{}",
            policy.0.path().join("state"),
            policy.section(component)
        );
        std::fs::write(policy.config(), config).unwrap();
        policy
    }

    fn section(&self, component: &str) -> String {
        format!(
            "[policy]\nrules = {:?}\n{component}\n",
            self.0.path().join("rules")
        )
    }

    fn config(&self) -> std::path::PathBuf {
        self.0.path().join("hypervisor.toml")
    }

    /// `hypervisor-ctl policy ask` with these arguments.
    fn ask(&self, arguments: &[&str]) -> Output {
        ctl(&self.config(), &[&["policy", "ask"], arguments].concat())
    }
}

fn ctl(config: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(binary("hypervisor-ctl"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

/// Its exit status, and what it says.
fn said(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

/// The line of a log with these words.
fn line<'a>(log: &'a str, words: &str) -> &'a str {
    let found = log.lines().find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("{words} is not in:\n{log}"))
}

#[tokio::test]
async fn a_policy_that_fails_is_named_with_kind_class_and_request_and_its_words_stay_out_of_the_log()
 {
    let policy = Policy::python(FAILING);
    let host = Host::with(&policy.section(&python_plugin()));
    host.run(Program::new(&guest("hello"))).await;
    let log = host.log();
    let line = line(&log, "the policy failed to decide, which denies");
    for words in [
        "request_id=",
        "kind=\"execute-wasm\"",
        "failure=\"invalid-rules\"",
        "RUST_LOG=info,plugin=debug",
    ] {
        assert!(line.contains(words), "{line}");
    }
    // At `trace`, which names no target.
    for words in ["ValueError", "asked by", "wrong"] {
        assert!(!log.contains(words), "{words}");
    }
    let counter = "hypervisor_policy_decisions_total{kind=\"execute-wasm\",outcome=\"failed\"}";
    assert_eq!(host.counter(counter).await, 1);
}

#[tokio::test]
async fn an_operator_who_names_the_target_reads_what_the_policy_prints_and_says() {
    let policy = Policy::python(FAILING);
    let host = Host::logging("info,plugin=debug", &policy.section(&python_plugin()));
    host.run(Program::new(&guest("hello"))).await;
    let log = host.log();
    let words = line(&log, "rules, line 5: ValueError: 0");
    assert!(
        words.contains("request_id=") && words.contains("class=\"invalid-rules\""),
        "{words}"
    );
    for printed in [
        "stream=\"stdout\" line=\"asked by 0",
        "stream=\"stderr\" line=\"wrong\\u{1b}[2J\"",
    ] {
        let line = line(&log, printed);
        assert!(line.contains("plugin=\"policy-engine\""), "{line}");
    }
}

#[tokio::test]
async fn what_a_script_prints_is_in_no_log_of_the_operators() {
    let script = format!("[runtime.python]\n{}", python_plugin());
    let host = Host::logging("trace,plugin=trace", &script);
    let ran = host
        .python("import sys; print('of the client'); print('of the client', file=sys.stderr)")
        .await;
    assert_eq!(ran.result, b"of the client\n");
    assert!(!host.log().contains("of the client"));
}

#[tokio::test]
async fn a_policy_that_crashes_is_named_with_the_function_that_it_crashed_in() {
    let policy = Policy::python("import os\ndef authorize(action):\n    os.abort()\n");
    let host = Host::with(&policy.section(&python_plugin()));
    host.run(Program::new(&guest("hello"))).await;
    let log = host.log();
    let line = line(&log, "the policy failed to decide, which denies");
    assert!(
        line.contains("failure=\"trap\"") && line.contains("; at abort"),
        "{line}"
    );
}

#[test]
fn a_policy_is_asked_by_hand_and_its_answer_is_the_exit_status() {
    let rules = "def authorize(action):
    if action.agent_name == 'bad' or action.calling_agent_owner == 'abc':
        return Deny(f'{action.kind} of {action.agent} at {action.resource} by {action.calling_agent} for {action.charge}')
    return True
";
    let policy = Policy::python(rules);
    let (status, text) = said(policy.ask(&["--kind", "deploy-agent", "--agent", "weather"]));
    assert!(status == 0 && text.starts_with("allowed\n"), "{text}");
    assert!(text.contains("read once for each instance"), "{text}");
    let bad = ["--kind", "deploy-agent", "--agent", "bad.0123"];
    let (status, text) = said(policy.ask(&bad));
    assert_eq!(status, 1);
    let denied = "denied: deploy-agent of bad.0123 at /agent/deploy by None for None\n";
    assert!(text.starts_with(denied), "{text}");
    let call = [
        "--kind",
        "invoke-agent",
        "--agent",
        "good",
        "--calling-agent",
        "x.abc",
        "--payer",
        "0xfee",
        "--amount",
        "7",
        "--output",
        "json",
        "--times",
        "3",
    ];
    let output = policy.ask(&call);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["decision"], "denied");
    assert_eq!(
        answer["reason"],
        "invoke-agent of good.operator at /agents/good/ by x.abc for Charge(chain='eip155:8453', asset='', payer='0xfee', amount=7)"
    );
    assert_eq!(policy.ask(&["--kind", "dance"]).status.code(), Some(2));
}

#[test]
fn a_policy_that_fails_by_hand_shows_all_that_it_says() {
    let policy = Policy::python(FAILING);
    let (status, text) =
        said(policy.ask(&["--kind", "execute-wasm", "--caller", &"02".repeat(33)]));
    assert_eq!(status, 1);
    let failed = format!(
        "failed, which denies: its rules raised an error: rules, line 5: ValueError: {}\n",
        "02".repeat(33)
    );
    assert!(text.starts_with(&failed), "{text}");
    assert!(text.contains("  stderr   wrong\\u{1b}[2J\n"), "{text}");
    // Other rules than those of the configuration.
    let other = policy.0.path().join("other");
    std::fs::write(&other, "def authorize(action):\n    return 1 +\n").unwrap();
    let (status, text) =
        said(policy.ask(&["--kind", "execute-wasm", "--rules", other.to_str().unwrap()]));
    assert_eq!(status, 1);
    let broken = format!(
        "error: {}: rules, line 2: SyntaxError: invalid syntax\n",
        other.display()
    );
    assert_eq!(text, broken);
}

#[test]
fn an_engine_that_reads_its_rules_at_each_question_is_asked_in_the_same_way() {
    let component = format!("component = {:?}", component_file("policy-rust"));
    let policy = Policy::of(&component, &format!("{} # one\n", "ab".repeat(32)));
    let question = ["--kind", "execute-wasm", "--subject", &"ab".repeat(32)];
    let (status, text) = said(policy.ask(&question));
    assert!(
        status == 0 && text.contains("read at each question"),
        "{text}"
    );
    let nothing = TempDir::new().unwrap();
    let config = nothing.path().join("hypervisor.toml");
    std::fs::write(&config, "").unwrap();
    let (status, text) = said(ctl(&config, &["policy", "ask", "--kind", "execute-wasm"]));
    assert_eq!(
        (status, text.as_str()),
        (
            1,
            "error: the configuration names no policy: set `component` and `rules` in [policy]\n"
        )
    );
}

#[test]
fn a_payment_component_is_tried_by_hand() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("hypervisor.toml");
    let component = component_file("payments-voucher");
    let shop = |issuer: &str| {
        let text = format!(
            "executor_path = {:?}\n[payments]\ncomponent = {component:?}\nscheme = 'voucher'\nnetworks = ['voucher:issuer']\n\
             pay_to = 'acme'\nprice = '3 CREDIT'\n\
             assets = [{{ symbol = 'CREDIT', network = 'voucher:issuer', address = 'voucher', decimals = 0 }}]\n\
             [payments.settings]\nVOUCHER_ISSUER = '{issuer}'\n",
            folder.path().join("state")
        );
        std::fs::write(&config, text).unwrap();
    };
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    shop(&const_hex::encode(
        key.verifying_key().to_sec1_point(false).as_bytes(),
    ));
    let (status, text) = said(ctl(&config, &["payments", "try"]));
    assert_eq!(status, 0, "{text}");
    assert!(
        text.starts_with("offer      3 of voucher on voucher:issuer to acme\nchallenge  402\n"),
        "{text}"
    );
    let paying = [
        "payments",
        "try",
        "--header",
        "x-voucher: garbage",
        "--output",
        "json",
    ];
    let output = ctl(&config, &paying);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let tried: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(tried["refusal"]["class"].is_string(), "{tried}");
    assert_eq!(tried["challenge"]["Ok"]["status"], 402);
    let (status, text) = said(ctl(&config, &["payments", "try", "--route", "/free"]));
    assert!(
        status == 1 && text.contains("`/free` is no paid route"),
        "{text}"
    );
    shop("no key");
    let (status, text) = said(ctl(&config, &["payments", "try"]));
    assert!(
        status == 1 && text.contains("VOUCHER_ISSUER: not a public key"),
        "{text}"
    );
}
