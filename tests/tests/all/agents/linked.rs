//! Plugins as imports of agents: what they call is the component that the host has loaded.

use base64::prelude::{BASE64_STANDARD, Engine};
use hypervisor_client::protocol::Rejection;
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::programs::{component_file, guest};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::agents::kit::Policy;

const ALL: &str = "def authorize(action):\n    return True\n";

/// A digest as the rules of `policy-rust` have it.
fn digest(program: &[u8]) -> String {
    const_hex::encode(Sha256::digest(program))
}

/// A host with this policy and `ask-policy` on it.
async fn asking(policy: &Policy) -> Host {
    let host = Host::with(&policy.section());
    host.deploy(&owner(), "ask-policy", "ask", "").await;
    host
}

/// Status and JSON of what an agent answers.
async fn post(host: &Host, path: &str, body: &str) -> (u16, Value) {
    let request = Client::new().post(host.agent("ask", path));
    let answer = request.body(body.to_owned()).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status} {e}: {text}"));
    (status, json)
}

#[tokio::test]
async fn an_agent_asks_the_policy_in_rust_with_rules_of_its_own() {
    let host = asking(&Policy::rust(&digest(&guest("ask-policy")))).await;
    let subject = "ab".repeat(32);
    let path = format!("/?subject={subject}");
    let allowed = post(&host, &path, &format!("{subject} # that one\n")).await;
    assert_eq!(allowed, (200, json!({"decision": "allow"})));
    let (status, denied) = post(&host, &path, "# nobody\n").await;
    assert_eq!((status, &denied["decision"]), (200, &"deny".into()));
    assert!(
        denied["reason"].as_str().unwrap().contains(&subject),
        "{denied}"
    );
    let (status, bad) = post(&host, &path, "not a digest\n").await;
    assert_eq!((status, &bad["error"]), (422, &"invalid-rules".into()));
    assert!(bad["message"].as_str().unwrap().contains("line 1"), "{bad}");
}

#[tokio::test]
async fn an_agent_asks_the_policy_in_python_with_rules_of_its_own() {
    let host = asking(&Policy::python(ALL)).await;
    let rules = "def authorize(action):\n    return Deny(f'{action.kind} {action.resource} {action.agent}')\n";
    let denied = post(&host, "/a/path", rules).await;
    let reason = "invoke-agent /a/path ask-policy";
    assert_eq!(denied, (200, json!({"decision": "deny", "reason": reason})));
    assert_eq!(
        post(&host, "/", ALL).await,
        (200, json!({"decision": "allow"}))
    );
    let (status, bad) = post(&host, "/", "def authorize(action:\n").await;
    assert_eq!((status, &bad["error"]), (422, &"invalid-rules".into()));
    let (status, raised) = post(&host, "/", "def authorize(action):\n    return 1 / 0\n").await;
    assert_eq!((status, &raised["error"]), (422, &"invalid-rules".into()));
    assert!(
        raised["message"]
            .as_str()
            .unwrap()
            .contains("ZeroDivisionError"),
        "{raised}"
    );
}

#[tokio::test]
async fn what_an_agent_asks_leaves_nothing_behind_for_the_operators_own_questions() {
    let host = asking(&Policy::python(ALL)).await;
    let poison = "import builtins, sys\nbuiltins.True_ = False\nsys.modules['json'] = None\n\
                  def authorize(action):\n    authorize.__globals__['Allow'] = None\n    return True\n";
    assert_eq!(post(&host, "/", poison).await.0, 200);
    let leftover =
        "import builtins\ndef authorize(action):\n    return not hasattr(builtins, 'True_')\n";
    assert_eq!(
        post(&host, "/", leftover).await.1,
        json!({"decision": "allow"})
    );
    assert_eq!(
        host.get("ask", "/").await.status(),
        422,
        "called, with no rules"
    );
}

#[tokio::test]
async fn a_policy_that_fails_is_an_error_that_the_agent_lives_through() {
    let host = asking(&Policy::python(ALL)).await;
    let endless = "def authorize(action):\n    while True: pass\n";
    let crashing = "import os\ndef authorize(action):\n    os.abort()\n";
    for (rules, words) in [
        (endless, " was stopped at its limit of "),
        (crashing, " crashed"),
    ] {
        let (status, failed) = post(&host, "/", rules).await;
        assert_eq!((status, &failed["error"]), (500, &"internal-error".into()));
        assert!(
            failed["message"].as_str().unwrap().contains(words),
            "{failed}"
        );
    }
    assert_eq!(post(&host, "/", ALL).await.0, 200);
}

#[tokio::test]
async fn a_host_without_the_plugin_does_not_take_the_agent() {
    let host = Host::start();
    for (name, interface) in [("ask-policy", "policy"), ("ask-payment", "payment")] {
        let refused = host
            .try_deploy(&owner(), &guest(name), &manifest("ask", ""))
            .await;
        let (problem, detail) = rejection(&refused.unwrap_err());
        assert_eq!(problem, Rejection::MissingImport);
        let import = format!("hypervisor:plugin/{interface}@0.1.1");
        assert!(detail.contains(&import), "{detail}");
    }
}

#[tokio::test]
async fn a_sealed_program_does_not_get_at_the_plugins() {
    let policy = Policy::python(ALL);
    let host = Host::with(&policy.section());
    let program = hypervisor_tests::programs::importing("hypervisor:plugin/policy@0.1.0");
    let report = host
        .run(hypervisor_client::Program::new(&program))
        .await
        .report;
    assert!(
        matches!(
            report.exit,
            hypervisor_client::protocol::Exit::Rejected { .. }
        ),
        "{:?}",
        report.exit
    );
}

/// `[payments]` with the component for x402; no facilitator answers.
fn payments() -> String {
    let component = component_file("payments").with_extension("toml");
    let component = std::fs::read_to_string(component).unwrap();
    format!(
        "[payments]\n{component}price = '0.01 USDC'\nnetworks = ['base-sepolia']\n\
         pay_to = '0x209693Bc6afc0C5328bA36FaF03C514EF312287C'\nfacilitators = ['http://127.0.0.1:9']\n"
    )
}

#[tokio::test]
async fn an_agent_has_the_payment_component_ask_for_money() {
    let host = Host::with(&payments());
    host.deploy(&owner(), "ask-payment", "ask", "").await;
    let offer = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "12345",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
    });
    let request = Client::new().post(host.agent("ask", "/for/this"));
    let answer = request.body(offer.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 402);
    let asked = answer.headers()["payment-required"].to_str().unwrap();
    let asked: Value = serde_json::from_slice(&BASE64_STANDARD.decode(asked).unwrap()).unwrap();
    assert_eq!(asked["accepts"][0]["amount"], "12345");
    let url = asked["resource"]["url"].as_str().unwrap();
    assert!(url.ends_with("/for/this"), "{asked}");
}

#[tokio::test]
async fn an_offer_that_is_none_is_an_error_of_the_agents() {
    let host = Host::with(&payments());
    host.deploy(&owner(), "ask-payment", "ask", "").await;
    let offer = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "a lot", "asset": "0x0",
        "payTo": "nobody", "maxTimeoutSeconds": 60,
    });
    let (status, answer) = post(&host, "/", &offer.to_string()).await;
    assert_eq!(
        (status, &answer["error"]),
        (422, &"invalid-offer".into()),
        "{answer}"
    );
}
