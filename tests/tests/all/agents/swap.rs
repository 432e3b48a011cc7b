//! Plugins that are swapped while the host serves.

use hypervisor_client::Program;
use hypervisor_client::protocol::{ContentFormat, ExecuteResponse, Exit, PublicKey};
use hypervisor_evidence::{Binding, ComponentLog, Evidence, Receipt};
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component_file, guest, released, wat};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host, RawSession};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};
use tempfile::TempDir;
use tokio::process::Command;

use crate::agents::kit::Policy;
use crate::checking::{OTHER_TYPES, built_for};

pub(crate) const SIMULATED: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n";
pub(crate) const CBOR: ContentFormat = ContentFormat::Cbor;

/// Rules of `policy-rust` by which these guests may run.
pub(crate) fn listing(guests: &[&str]) -> String {
    let line = |name: &&str| {
        format!(
            "{} # {name}\n",
            const_hex::encode(Sha256::digest(guest(name)))
        )
    };
    guests.iter().map(line).collect()
}

/// The bytes of a component of `components/`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    std::fs::read(component_file(name)).unwrap()
}

async fn swap(host: &Host, plugin: &str, component: Vec<u8>) -> Answer {
    let url = format!("{}/swap/{plugin}", host.admin());
    post(&host.operator(), &url, "application/wasm", component).await
}

/// Swaps, which has to work.
pub(crate) async fn swapped(host: &Host, plugin: &str, component: Vec<u8>) -> Value {
    let answer = swap(host, plugin, component).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{text}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// Why a swap is refused.
async fn refused(host: &Host, plugin: &str, component: Vec<u8>) -> String {
    let answer = swap(host, plugin, component).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 422, "{text}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:hypervisor:problem:swap-refused");
    problem["detail"].as_str().unwrap().to_owned()
}

/// Whether a guest may run.
pub(crate) async fn may_run(host: &Host, name: &str) -> bool {
    match host.run(Program::new(&guest(name))).await.report.exit {
        Exit::Ok => true,
        Exit::Denied { .. } => false,
        other => panic!("{other:?}"),
    }
}

/// What a host says of itself.
pub(crate) struct Identity {
    key: PublicKey,
    pub(crate) manifest: [u8; 48],
    /// SHA-256 of the policy's rules, as the manifest has it.
    rules: String,
    /// Names and digests of the component log.
    pub(crate) log: Vec<(String, [u8; 48])>,
}

impl Identity {
    pub(crate) async fn of(host: &Host) -> Self {
        let nonce = "00112233445566778899aabbccddeeff".parse().unwrap();
        let evidence: Evidence = host.client().evidence(&nonce).await.unwrap();
        let binding = Binding::decode(&evidence.binding).unwrap();
        assert_eq!(
            binding.manifest_digest,
            *Sha384::digest(evidence.manifest.as_ref().unwrap())
        );
        let manifest: Value = CBOR.decode(evidence.manifest.as_ref().unwrap()).unwrap();
        let log = ComponentLog::decode(CBOR, evidence.log.as_ref().unwrap()).unwrap();
        assert_eq!(log.head(), binding.log);
        let entries = log.entries().iter();
        Self {
            key: binding.identity_public_key,
            manifest: binding.manifest_digest,
            rules: manifest["policy_rules"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            log: entries.map(|e| (e.name.clone(), e.digest.0)).collect(),
        }
    }

    /// The manifest that a receipt of this host names.
    pub(crate) fn manifest_of(&self, answer: &Answer) -> [u8; 48] {
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{text}");
        let response: ExecuteResponse = CBOR.decode(&answer.body).unwrap();
        let receipt = Receipt::verify(&response.receipt.unwrap().0, &self.key).unwrap();
        assert_eq!(receipt.result_commitment, response.result_commitment);
        receipt.manifest_digest.0
    }
}

#[tokio::test]
async fn a_swap_reads_the_rules_anew() {
    let policy = Policy::rust(&listing(&["echo"]));
    let host = Host::with(&policy.section());
    assert!(!may_run(&host, "hello").await);
    policy.write(&listing(&["hello"]));
    assert!(!may_run(&host, "hello").await, "a file is only a file");
    swapped(&host, "policy", component("policy-rust")).await;
    assert!(may_run(&host, "hello").await);
    assert!(!may_run(&host, "echo").await);
}

#[tokio::test]
async fn another_engine_takes_the_place_of_the_first() {
    let policy = Policy::python("def authorize(action):\n    return True\n");
    let host = Host::with(&policy.section());
    assert!(may_run(&host, "echo").await);
    policy.write(&listing(&["hello"]));
    let said = swapped(&host, "policy", component("policy-rust")).await;
    let digest = const_hex::encode(Sha384::digest(component("policy-rust")));
    assert_eq!(
        (&said["plugin"], &said["sha384"]),
        (&"policy".into(), &digest.into())
    );
    assert!(!may_run(&host, "echo").await);
    assert!(may_run(&host, "hello").await);
}

#[tokio::test]
async fn the_command_swaps_and_says_what_is_in_use_now() {
    let policy = Policy::rust("");
    let host = Host::with(&policy.section());
    policy.write(&listing(&["hello"]));
    let run = async |file: &std::path::Path, more: &[&str]| {
        command(&host, &[&[file.to_str().unwrap()], more].concat()).await
    };
    let file = component_file("policy-rust");
    let done = run(&file, &[]).await;
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let digest = const_hex::encode(Sha384::digest(component("policy-rust")));
    assert!(text.contains(&digest), "{text}");
    assert!(may_run(&host, "hello").await);
    let done = run(&file, &["--output", "json"]).await;
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["sha384"], digest);
    let failed = run(&component_file("payments"), &[]).await;
    assert_eq!((failed.status.code(), failed.stdout.len()), (Some(1), 0));
    let text = String::from_utf8(failed.stderr).unwrap();
    assert!(
        text.contains("`payments`") && text.contains("`policy-engine`"),
        "{text}"
    );
}

/// `hypervisor-ctl swap policy` with these arguments, for this host.
pub(crate) async fn command(host: &Host, arguments: &[&str]) -> std::process::Output {
    let admin = host.admin();
    Command::new(binary("hypervisor-ctl"))
        .args(["swap", "policy", "--admin"])
        .arg(admin.strip_prefix("http://").unwrap())
        .arg("--token-file")
        .arg(host.admin_token())
        .args(arguments)
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn rules_are_swapped_alone_with_no_other_component_and_the_manifest_and_receipts_name_them() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let before = Identity::of(&host).await;
    let folder = TempDir::new().unwrap();
    let next = folder.path().join("next");
    let rules = listing(&["echo"]);
    std::fs::write(&next, &rules).unwrap();
    let done = command(
        &host,
        &["--rules", next.to_str().unwrap(), "--output", "json"],
    )
    .await;
    assert!(done.status.success(), "{done:?}");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let digest = const_hex::encode(Sha384::digest(component("policy-rust")));
    let of_rules = const_hex::encode(Sha256::digest(&rules));
    assert_eq!(
        (&said["sha384"], &said["rules_sha256"]),
        (&digest.into(), &of_rules.clone().into())
    );
    assert!(may_run(&host, "echo").await && !may_run(&host, "hello").await);
    let after = Identity::of(&host).await;
    assert_eq!(after.log, before.log, "no component was loaded");
    assert_ne!(after.manifest, before.manifest);
    assert_eq!(said["manifest_sha384"], const_hex::encode(after.manifest));
    assert_eq!(after.rules, of_rules);
    let session = RawSession::open(&host).await;
    let answer = session
        .send(&session.request(&guest("echo"), None, &[]).0)
        .await;
    assert_eq!(after.manifest_of(&answer), after.manifest);
}

#[tokio::test]
async fn component_and_rules_are_swapped_in_one_step_or_not_at_all() {
    let policy = Policy::python("def authorize(action):\n    return Deny('python')\n");
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let before = Identity::of(&host).await;
    let folder = TempDir::new().unwrap();
    let next = folder.path().join("next");
    let file = component_file("policy-rust");
    let arguments = [file.to_str().unwrap(), "--rules", next.to_str().unwrap()];
    std::fs::write(&next, "# fine\nno digest\n").unwrap();
    for arguments in [&arguments[..], &arguments[1..]] {
        let failed = command(&host, arguments).await;
        assert_eq!((failed.status.code(), failed.stdout.len()), (Some(1), 0));
        let text = String::from_utf8(failed.stderr).unwrap();
        assert!(
            text.contains("nothing was swapped: the rules that were sent: rules, line "),
            "{text}"
        );
    }
    assert_eq!(Identity::of(&host).await.manifest, before.manifest);
    assert!(!may_run(&host, "hello").await);
    std::fs::write(&next, listing(&["hello"])).unwrap();
    let done = command(&host, &arguments).await;
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let of_rules = const_hex::encode(Sha256::digest(listing(&["hello"])));
    assert!(text.contains(&format!("rules     {of_rules}\n")), "{text}");
    assert!(may_run(&host, "hello").await && !may_run(&host, "echo").await);
    let usage = command(&host, &[]).await;
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

/// `policy-rust` as of another version of the package of plugins.
fn of_version(version: &str) -> Vec<u8> {
    let mut bytes = component("policy-rust");
    let name = b"hypervisor:plugin/policy@0.1.1";
    let other = format!("hypervisor:plugin/policy@{version}").into_bytes();
    let places: Vec<_> = bytes
        .windows(name.len())
        .enumerate()
        .filter_map(|(at, window)| (window == name).then_some(at))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(&other);
    }
    bytes
}

/// `policy-rust`, cut off.
fn cut_off() -> Vec<u8> {
    let mut bytes = component("policy-rust");
    bytes.truncate(bytes.len() / 2);
    bytes
}

#[tokio::test]
async fn plugins_of_every_patch_version_decide_on_this_host() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&policy.section());
    let released = std::fs::read(released("policy-rust")).unwrap();
    assert_ne!(released, component("policy-rust"));
    for other in [released, of_version("0.1.0"), of_version("0.1.9")] {
        swapped(&host, "policy", other).await;
        assert!(may_run(&host, "hello").await && !may_run(&host, "echo").await);
    }
}

#[tokio::test]
async fn what_is_no_such_plugin_is_refused_and_nothing_has_changed() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let before = Identity::of(&host).await;
    let lacking = wat(r#"(component (import "wasi:sockets/tcp@0.2.6" (instance)))"#);
    for (component, words) in [
        (b"garbage".to_vec(), &[][..]),
        (Vec::new(), &[]),
        (cut_off(), &[]),
        (guest("hello"), &["agent-command", "policy-engine"]),
        (component("payments"), &["payments", "policy-engine"]),
        (
            of_version("0.2.0"),
            &["policy@0.2.0", "policy@0.1.x", "it has 0.1.1"],
        ),
        (lacking, &[]),
        (wat("(module)"), &[]),
    ] {
        let detail = refused(&host, "policy", component).await;
        for word in words {
            assert!(detail.contains(word), "{word} is not in: {detail}");
        }
    }
    let after = Identity::of(&host).await;
    assert_eq!((after.manifest, after.log), (before.manifest, before.log));
    assert!(may_run(&host, "hello").await && !may_run(&host, "echo").await);
    let count = "hypervisor_plugin_swaps_total{plugin=\"policy\",outcome=\"refused\"}";
    assert_eq!(host.counter(count).await, 8);
}

#[tokio::test]
async fn rules_that_the_new_one_cannot_read_are_refused_with_their_line() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let before = Identity::of(&host).await;
    policy.write("# fine\nno digest\n");
    let detail = refused(&host, "policy", component("policy-rust")).await;
    assert!(detail.contains("line 2"), "{detail}");
    let after = Identity::of(&host).await;
    assert_eq!(after.manifest, before.manifest);
    assert!(may_run(&host, "hello").await && !may_run(&host, "echo").await);
    // It was loaded to be tried, and what is loaded is measured first.
    let tried = Sha384::digest(component("policy-rust")).into();
    assert_eq!(after.log.last().unwrap(), &("policy".to_owned(), tried));
    assert_eq!(after.log.len(), before.log.len() + 1);
}

#[tokio::test]
async fn a_plugin_that_the_host_was_started_without_is_not_swapped_in() {
    let host = Host::start();
    for plugin in ["policy", "payments"] {
        let detail = refused(&host, plugin, component("policy-rust")).await;
        assert!(detail.contains(&format!("[{plugin}]")), "{detail}");
    }
    assert_eq!(swap(&host, "script", Vec::new()).await.status, 404);
}

#[tokio::test]
async fn the_public_port_swaps_nothing() {
    let policy = Policy::rust("");
    let host = Host::with(&policy.section());
    let url = format!("{}/swap/policy", host.url());
    let http = reqwest::Client::new();
    let answer = post(&http, &url, "application/wasm", component("policy-rust")).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_swap_stands_in_the_log_and_the_manifest_and_receipts_name_it() {
    let policy = Policy::rust(&listing(&["hello"]));
    let host = Host::with(&format!("{SIMULATED}{}", policy.section()));
    let before = Identity::of(&host).await;
    let session = RawSession::open(&host).await;
    let hello = guest("hello");
    let run = async || session.send(&session.request(&hello, None, &[]).0).await;
    assert_eq!(before.manifest_of(&run().await), before.manifest);

    policy.write(&listing(&["hello", "echo"]));
    let said = swapped(&host, "policy", component("policy-rust")).await;
    let after = Identity::of(&host).await;
    assert_ne!(after.manifest, before.manifest);
    assert_eq!(said["manifest_sha384"], const_hex::encode(after.manifest));
    let mut log = before.log.clone();
    log.push((
        "policy".to_owned(),
        Sha384::digest(component("policy-rust")).into(),
    ));
    assert_eq!(after.log, log);
    assert_eq!(said["log_entries"], log.len());
    // The session goes on, under the other manifest.
    assert_eq!(after.key, before.key);
    assert_eq!(after.manifest_of(&run().await), after.manifest);
    let count = "hypervisor_plugin_swaps_total{plugin=\"policy\",outcome=\"swapped\"}";
    assert_eq!(host.counter(count).await, 1);
}

/// `[payments]` that sells for a token of vouchers.
fn voucher_shop() -> String {
    let component = component_file("payments-voucher");
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let key = const_hex::encode(key.verifying_key().to_sec1_point(false).as_bytes());
    format!(
        "[payments]\ncomponent = {component:?}\npay_to = 'acme'\nprice = '3 CREDIT'\n\
         [payments.settings]\nVOUCHER_ISSUER = '{key}'\n"
    )
}

#[tokio::test]
async fn a_payment_component_that_cannot_take_the_operators_offers_is_refused() {
    let host = Host::with(&format!("{SIMULATED}{}", voucher_shop()));
    let before = Identity::of(&host).await;
    refused(&host, "payments", component("payments")).await;
    let detail = refused(&host, "payments", component("policy-rust")).await;
    assert!(
        detail.contains("`policy-engine`") && detail.contains("`payments`"),
        "{detail}"
    );
    // It would do until it is asked for an offer.
    let (world, change, named) = OTHER_TYPES[0];
    let detail = refused(&host, "payments", built_for(world, change)).await;
    assert!(detail.contains(named), "{detail}");
    assert_eq!(Identity::of(&host).await.manifest, before.manifest);
    swapped(&host, "payments", component("payments-voucher")).await;
    assert_ne!(Identity::of(&host).await.log, before.log);
}

#[tokio::test]
async fn an_agent_that_imports_a_plugin_calls_the_new_one() {
    let policy = Policy::python("def authorize(action):\n    return True\n");
    let host = Host::with(&policy.section());
    host.deploy(&owner(), "ask-policy", "ask", "").await;
    let ask = async |rules: &str| {
        let request = reqwest::Client::new().post(host.agent("ask", "/"));
        let answer = request.body(rules.to_owned()).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let python = "def authorize(action):\n    return True\n";
    assert!(ask(python).await.contains("allow"));
    policy.write(&listing(&["ask-policy"]));
    swapped(&host, "policy", component("policy-rust")).await;
    assert!(ask(python).await.contains("invalid-rules"));
    assert!(ask(&"00".repeat(32)).await.contains("allow"));
}

#[tokio::test]
async fn what_was_refused_before_a_swap_may_be_deployed_after_it() {
    let policy = Policy::rust("");
    let host = Host::with(&policy.section());
    let (owner, hello) = (owner(), guest("http-hello"));
    let manifest = manifest("hello", "");
    let denied = host.try_deploy(&owner, &hello, &manifest).await;
    let denied = denied.unwrap_err();
    assert!(
        matches!(&denied, hypervisor_client::Error::Agent(exit) if matches!(**exit, Exit::Denied { .. })),
        "{denied}"
    );
    policy.write(&listing(&["http-hello"]));
    swapped(&host, "policy", component("policy-rust")).await;
    host.try_deploy(&owner, &hello, &manifest).await.unwrap();
}
