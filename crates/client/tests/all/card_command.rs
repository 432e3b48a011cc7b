//! `hv verify --card`: an agent's card, whose component vouches for it, asked for over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::process::{Output, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypervisor_client::attest::{
    Backend, Binding, Evidence, LogEntry, RawQuote, Statement, Subject, manifest,
};
use hypervisor_client::card::Card;
use hypervisor_client::protocol::{ContentFormat, PublicKey};
use hypervisor_evidence::Attester;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;

use crate::attested::{COMPONENTS, MANIFEST, measured, policy_text};

/// The component that answers in the host's own name.
const FRONT: &str = "protocol/a2a";

/// A host with an agent that has a card.
struct Host {
    /// Of the agent.
    url: String,
    /// What it claims to its verifiers: that, or something else.
    claims: bool,
}

struct Inner {
    url: String,
    claims: bool,
    key: SigningKey,
    identity: SigningKey,
}

fn point(key: &SigningKey) -> [String; 2] {
    let point = key.verifying_key().to_sec1_point(false);
    [1..33, 33..65].map(|half| URL_SAFE_NO_PAD.encode(&point.as_bytes()[half]))
}

impl Inner {
    fn card(&self) -> Value {
        let mut card = json!({
            "name": "weather", "version": "1.0.0", "description": "Tells the weather.",
            "supportedInterfaces": [{"url": self.url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
            "capabilities": {"streaming": true, "extensions": [
                {"uri": "urn:hypervisor:a2a:evidence:v1", "params": {"evidenceUrl": format!("{}evidence", self.url)}}]},
            "skills": [],
        });
        let header = json!({"alg": "ES256", "kid": "k", "jku": format!("{}.well-known/jwks.json", self.url)});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let unsigned = Card::parse(card.to_string().as_bytes()).unwrap();
        let payload = URL_SAFE_NO_PAD.encode(unsigned.canonical());
        let signature: Signature = self.key.sign(format!("{header}.{payload}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        card["signatures"] = json!([{"protected": header, "signature": signature}]);
        card
    }

    fn keys(&self) -> Value {
        let [x, y] = point(&self.key);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]})
    }

    /// As the documentation of the extension has it.
    fn claim(&self, nonce: &[u8]) -> [u8; 64] {
        let card = Card::parse(self.card().to_string().as_bytes()).unwrap();
        let [x, y] = point(&self.key);
        let key = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let parts: [&[u8]; 5] = [
            b"hypervisor/v1 a2a-card",
            &[0],
            &Sha256::digest(card.canonical()),
            &Sha256::digest(key),
            nonce,
        ];
        Sha512::digest(parts.concat()).into()
    }

    fn evidence(&self, nonce: &[u8]) -> Vec<u8> {
        let (simulator, log) = measured(&[COMPONENTS[0], FRONT]);
        let identity = self.identity.verifying_key().to_sec1_point(true);
        let binding = Binding {
            subject: Subject::Identity,
            nonce: None,
            identity_public_key: PublicKey::from_sec1(identity.as_bytes()).unwrap(),
            tls_key: None,
            manifest_digest: manifest::digest(MANIFEST),
            log: log.head(),
            register_bound: true,
            backend: Backend::Simulated,
            boot_id: [3; 16],
        };
        let quote = simulator.quote(binding.report_data().as_bytes()).unwrap();
        let claim = match self.claims {
            true => self.claim(nonce),
            false => self.claim(b"the nonce of another verifier"),
        };
        let statement = Statement::new(claim, digest(), 1_780_000_000).unwrap();
        let sign = |message: &[u8]| {
            let signature: Signature = self.identity.sign(message);
            Ok::<[u8; 64], std::convert::Infallible>(signature.to_bytes().into())
        };
        let evidence = Evidence {
            log: Some(log.encode(ContentFormat::Cbor).unwrap()),
            manifest: Some(MANIFEST.to_vec()),
            collateral: Some(simulator.collateral_json().unwrap().into_bytes()),
            statement: Some(statement.sign(sign).unwrap()),
            ..Evidence::new(RawQuote::Tdx(quote.bytes), &binding)
        };
        evidence.encode(ContentFormat::Cbor).unwrap()
    }
}

/// That of the front.
fn digest() -> [u8; 48] {
    LogEntry::new(FRONT, FRONT.as_bytes(), Vec::new()).digest.0
}

impl Host {
    fn new() -> Self {
        Self {
            url: String::new(),
            claims: true,
        }
    }

    async fn start(self) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a2a/weather/", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            url: url.clone(),
            claims: self.claims,
            key: SigningKey::from_slice(&[1; 32]).unwrap(),
            identity: SigningKey::from_slice(&[7; 32]).unwrap(),
        });
        type Shared = State<Arc<Inner>>;
        let router = Router::new()
            .route(
                "/a2a/weather/.well-known/agent-card.json",
                get(async |State(host): Shared| host.card().to_string()),
            )
            .route(
                "/a2a/weather/.well-known/jwks.json",
                get(async |State(host): Shared| host.keys().to_string()),
            )
            .route(
                "/a2a/weather/evidence",
                get(async |State(host): Shared, uri: Uri| {
                    let nonce = uri.query().unwrap().strip_prefix("nonce=").unwrap();
                    host.evidence(&const_hex::decode(nonce).unwrap())
                }),
            )
            .with_state(inner);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, ..self }
    }

    async fn verified(&self, more: &[&str]) -> Output {
        let folder = TempDir::new().unwrap();
        let front = format!(
            "\n[[components.allowed]]\nname = \"{FRONT}\"\ndigest = \"{}\"\n",
            const_hex::encode(digest())
        );
        std::fs::write(folder.path().join("policy.toml"), policy_text() + &front).unwrap();
        let mut hv = tokio::process::Command::new(env!("CARGO_BIN_EXE_hv"));
        hv.args(["verify", "--policy", "policy.toml", "--card", &self.url])
            .args(more)
            .current_dir(folder.path())
            .env("XDG_STATE_HOME", folder.path())
            .stdin(Stdio::null());
        hv.output().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_component_that_vouches_for_a_card_is_named_in_sentences() {
    let host = Host::new().start().await;
    let output = host.verified(&[]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{stderr}");
    for words in [
        &format!("The card of weather (1.0.0) at {}", host.url),
        "The component protocol/a2a, SHA-384",
        &const_hex::encode(digest()),
        "is what the policy wants, SIMULATED",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_in_json() {
    let host = Host::new().start().await;
    let output = host.verified(&["--output", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["name"], "weather");
    assert_eq!(said["component_names"], json!([FRONT]));
    assert_eq!(said["component"], const_hex::encode(digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_another_nonce_is_a_failed_verification() {
    let host = Host {
        claims: false,
        ..Host::new()
    };
    let output = host.start().await.verified(&[]).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.contains("claim: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_card_it_fails_and_without_a_policy_it_is_not_asked_for() {
    let host = Host::new().start().await;
    let elsewhere = Host {
        url: host.url.replace("weather", "nobody"),
        ..Host::new()
    };
    let output = elsewhere.verified(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let hv = tokio::process::Command::new(env!("CARGO_BIN_EXE_hv"))
        .args(["verify", "--card", &host.url])
        .output();
    assert_eq!(hv.await.unwrap().status.code(), Some(2));
}
