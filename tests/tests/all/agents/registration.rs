//! `hv agents registration`: what a registry of ERC-8004 is told of an agent.

use std::process::{Command, Output};

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::mcp_front;
use serde_json::{Value, json};

fn registration(host: &Host, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("hv"));
    command.args(["agents", "registration", "--server", host.url()]);
    command.args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_of_what_the_host_says_of_the_agent_and_speaks() {
    let host = Host::with(&format!(
        "[[protocols]]\nname = 'mcp'\npaths = ['/mcp']\n{}\n",
        mcp_front()
    ));
    let deployed = host.deploy(&owner(), "http-hello", "hello", "").await;
    let output = registration(&host, &["hello", "--public-url", "https://host.example"]);
    assert!(output.status.success(), "{output:?}");
    let file: Value = serde_json::from_slice(&output.stdout).unwrap();
    let address = deployed.info.address;
    assert_eq!(
        file,
        json!({
            "type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1",
            "name": "hello",
            "description": "An agent of the tests.",
            "services": [
                {"name": "web", "endpoint": format!("https://host.example/agents/{address}/")},
                {"name": "MCP", "endpoint": "https://host.example/mcp", "version": "2026-07-28"},
            ],
            "x402Support": false,
            "active": true,
            "registrations": [],
            "supportedTrust": ["tee-attestation"],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_know_of_is_not_registered() {
    let host = Host::start();
    host.deploy(&owner(), "http-hello", "hidden", "private = true")
        .await;
    for agent in ["hidden", "nobody"] {
        let output = registration(&host, &[agent]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty());
    }
}
