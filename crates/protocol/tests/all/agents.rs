//! The bodies about agents, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ciborium::cbor;
use hypervisor_protocol::wire::MAX_ARGUMENTS;
use hypervisor_protocol::{
    AgentImport, AgentInfo, AgentList, AgentLog, AgentRequest, AgentTool, AgentWorld,
    ComponentDigest, ContentFormat, DeployRequest, DeployResponse, Error, Exit, Found, HexArray,
    HexBytes, OwnerProof, PrivateKey, RegistryRequest, Rejection, SealedRequest, SearchRequest,
    SearchResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const ID: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
const BOTH: [ContentFormat; 2] = [ContentFormat::Json, ContentFormat::Cbor];

fn returns<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    for format in BOTH {
        let bytes = format.encode(value).unwrap();
        assert_eq!(format.decode::<T>(&bytes).as_ref(), Ok(value));
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    ContentFormat::Json.decode(text.as_bytes())
}

/// The message of an error, which must be about decoding.
fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::Decode { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

fn key() -> PrivateKey {
    PrivateKey::from_bytes(&[1; 32]).unwrap()
}

fn proof() -> OwnerProof {
    OwnerProof {
        public_key: HexBytes(vec![2; 33]),
        signature: HexBytes(vec![9; 64]),
    }
}

fn sealed(stdin: Option<Vec<u8>>, arguments: Vec<Vec<u8>>) -> SealedRequest {
    SealedRequest {
        sequence: u64::MAX,
        program: vec![1, 2],
        stdin,
        arguments,
    }
}

fn info() -> AgentInfo {
    AgentInfo {
        name: "weather".to_owned(),
        address: format!("weather.{}", "0a".repeat(16)),
        path: "/agents/weather/".to_owned(),
        description: "Tells the weather.".to_owned(),
        version: "1.0.0".to_owned(),
        world: AgentWorld::Service,
        skills: vec!["forecast".to_owned()],
        private: false,
        price: Some("0.01 USDC".to_owned()),
        digest: HexArray([3; 32]),
        sha384: HexArray([4; 48]),
        outgoing: vec!["https://api.example.org".to_owned()],
        reuse: 1,
        imports: vec![AgentImport {
            name: "wasi:http/types@0.2.6".to_owned(),
            standing: "granted".to_owned(),
            host_version: Some("0.2.12".to_owned()),
        }],
        persistent: true,
        note: None,
        tool: None,
        deployed_at: 1_767_225_600,
    }
}

fn found(score: f64) -> Found {
    Found {
        name: "weather".to_owned(),
        address: "weather.operator".to_owned(),
        description: "Tells the weather.".to_owned(),
        version: "1.0.0".to_owned(),
        skills: Vec::new(),
        score,
        price: None,
        digest: HexArray([3; 32]),
        deployed: false,
    }
}

#[test]
fn a_deploy_request_has_the_manifest_in_the_place_of_standard_input() {
    let request = sealed(Some(vec![3]), Vec::new());
    let body = DeployRequest::new(
        key().public_key(),
        ID.parse().unwrap(),
        proof(),
        request.clone(),
    );
    let expected = json!({
        "encrypted_wasm": "0102",
        "encrypted_manifest": "03",
        "public_key": key().public_key().to_string(),
        "session_id": ID,
        "sequence": u64::MAX,
        "owner": {"public_key": "02".repeat(33), "signature": "09".repeat(64)},
    });
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    returns(&body);
    assert_eq!(SealedRequest::from(body), request);
}

#[test]
fn a_deploy_request_in_cbor() {
    let id = ID.parse().unwrap();
    let request = sealed(Some(vec![3]), Vec::new());
    let body = DeployRequest::new(key().public_key(), id, proof(), request);
    let bytes = ContentFormat::Cbor.encode(&body).unwrap();
    let value: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let blob = |bytes: &[u8]| ciborium::Value::Bytes(bytes.to_vec());
    let expected = cbor!({
        "encrypted_wasm" => blob(&[1, 2]),
        "encrypted_manifest" => blob(&[3]),
        "public_key" => blob(&key().public_key().to_bytes()),
        "session_id" => blob(id.as_bytes()),
        "sequence" => u64::MAX,
        "owner" => {"public_key" => blob(&[2; 33]), "signature" => blob(&[9; 64])},
    });
    assert_eq!(value, expected.unwrap());
}

#[test]
fn a_deploy_request_needs_an_owner_and_the_registrys_is_told_from_it() {
    let message = reason(json::<DeployRequest>(
        r#"{"encrypted_wasm":"00","encrypted_manifest":"00","public_key":"02"}"#,
    ));
    assert!(message.contains("missing field `owner`"), "{message}");
    let registry = RegistryRequest {
        agent: "weather".to_owned(),
    };
    returns(&registry);
    let text = serde_json::to_string(&registry).unwrap();
    assert_eq!(text, r#"{"agent":"weather"}"#);
    assert!(json::<DeployRequest>(&text).is_err());
}

#[test]
fn an_agent_request_leaves_out_what_is_absent() {
    let id = ID.parse().unwrap();
    let request = sealed(None, Vec::new());
    let body = AgentRequest::new(key().public_key(), id, None, request.clone());
    let expected = json!({
        "encrypted_agent": "0102",
        "encrypted_arguments": [],
        "public_key": key().public_key().to_string(),
        "session_id": ID,
        "sequence": u64::MAX,
    });
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    returns(&body);
    assert_eq!(SealedRequest::from(body), request);
    let least: AgentRequest = json(r#"{"encrypted_agent":"00","public_key":"02"}"#).unwrap();
    assert_eq!((least.sequence, least.owner), (0, None));
}

#[test]
fn an_agent_request_has_input_arguments_and_proof() {
    let id = ID.parse().unwrap();
    let request = sealed(Some(Vec::new()), vec![vec![4], Vec::new()]);
    let body = AgentRequest::new(key().public_key(), id, Some(proof()), request.clone());
    assert_eq!(body.encrypted_stdin, Some(HexBytes(Vec::new())));
    returns(&body);
    assert_eq!(SealedRequest::from(body), request);
}

#[test]
fn of_too_many_arguments_one_beyond_the_limit_is_kept() {
    let arguments = vec![""; MAX_ARGUMENTS + 100];
    let text =
        json!({"encrypted_agent": "00", "public_key": "02", "encrypted_arguments": arguments});
    let body: AgentRequest = json(&text.to_string()).unwrap();
    assert_eq!(body.encrypted_arguments.len(), MAX_ARGUMENTS + 1);
}

#[test]
fn an_unknown_field_of_a_request_is_refused_by_name() {
    let agent = r#"{"encrypted_agent":"00","public_key":"02","program":"00"}"#;
    let message = reason(json::<AgentRequest>(agent));
    assert!(message.contains("unknown field `program`"), "{message}");
    let message = reason(json::<SearchRequest>(r#"{"description":"a","max":1}"#));
    assert!(message.contains("unknown field `max`"), "{message}");
    let message = reason(json::<RegistryRequest>(r#"{"agent":"a","force":true}"#));
    assert!(message.contains("unknown field `force`"), "{message}");
    let proof = r#"{"public_key":"00","signature":"00","id":"a"}"#;
    let message = reason(json::<OwnerProof>(proof));
    assert!(message.contains("unknown field `id`"), "{message}");
}

#[test]
fn an_agent_is_described_in_json() {
    let expected = json!({
        "name": "weather",
        "address": "weather.0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
        "path": "/agents/weather/",
        "description": "Tells the weather.",
        "version": "1.0.0",
        "world": "service",
        "skills": ["forecast"],
        "private": false,
        "price": "0.01 USDC",
        "digest": "03".repeat(32),
        "sha384": "04".repeat(48),
        "outgoing": ["https://api.example.org"],
        "reuse": 1,
        "imports": [{
            "name": "wasi:http/types@0.2.6", "standing": "granted", "host_version": "0.2.12",
        }],
        "persistent": true,
        "deployed_at": 1_767_225_600,
    });
    assert_eq!(serde_json::to_value(info()).unwrap(), expected);
}

#[test]
fn answers_about_agents_return_as_they_were() {
    let command = AgentInfo {
        world: AgentWorld::Command,
        price: None,
        note: Some("nothing is kept on disk".to_owned()),
        tool: Some(AgentTool {
            description: None,
            path: "/".to_owned(),
            input_schema: Some(json!({"type": "object", "properties": {"n": {"minimum": -1.5}}})),
        }),
        ..info()
    };
    returns(&AgentList {
        agents: vec![info(), command],
    });
    returns(&DeployResponse {
        message: "deployed".to_owned(),
        agent: info(),
    });
    returns(&AgentLog {
        lines: vec!["one".to_owned(), String::new()],
        dropped: u64::MAX,
    });
    returns(&SearchRequest {
        description: "weather".to_owned(),
        limit: Some(100),
    });
}

#[test]
fn an_unknown_field_of_an_answer_is_ignored() {
    let mut value = serde_json::to_value(info()).unwrap();
    value["later"] = json!({"a": [1]});
    assert_eq!(json::<AgentInfo>(&value.to_string()).unwrap(), info());
}

#[test]
fn a_score_is_read_in_every_width_that_cbor_writes_it_in() {
    for (score, width) in [(1.5, 0xf9), (0.099_999_994_039_535_52, 0xfa), (0.1, 0xfb)] {
        let bytes = ContentFormat::Cbor.encode(&found(score)).unwrap();
        let name = b"score".as_slice();
        let at = bytes.windows(5).position(|window| window == name).unwrap();
        assert_eq!(bytes[at + 5], width);
        returns(&found(score));
    }
    let mut value = serde_json::to_value(found(2.0)).unwrap();
    value["score"] = json!(2);
    assert_eq!(json::<Found>(&value.to_string()).unwrap(), found(2.0));
    returns(&SearchResponse {
        message: "weather".to_owned(),
        agents: vec![found(2.0), found(f64::MIN_POSITIVE)],
    });
}

#[test]
fn the_rejections_of_agents_have_names() {
    for (problem, name) in [
        (Rejection::InvalidManifest, "invalid-manifest"),
        (Rejection::NotOwner, "not-owner"),
        (Rejection::NameTaken, "name-taken"),
        (Rejection::UnknownAgent, "unknown-agent"),
        (Rejection::TooManyAgents, "too-many-agents"),
        (Rejection::InvalidRequest, "invalid-request"),
    ] {
        let detail = String::new();
        let value = serde_json::to_value(Exit::Rejected { problem, detail }).unwrap();
        assert_eq!(value["problem"], name);
    }
}

#[test]
fn a_pinned_name_is_taken_apart_and_a_digest_has_one_form() {
    let component = b"a component";
    for sample in [
        ComponentDigest::Sha256([0; 32]),
        ComponentDigest::Sha384([0; 48]),
    ] {
        let digest = sample.of(component);
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        let (_, digits) = text.split_once(':').unwrap();
        assert_eq!(digits.parse(), Ok(digest), "its length tells the function");
        let name = format!("weather@{text}");
        let split = ComponentDigest::split(name.as_bytes());
        assert_eq!(split, Ok((&b"weather"[..], Some(digest))));
        for wrong in [
            text.to_uppercase(),
            text.replace("sha", "md"),
            format!("{text}00"),
            digits[2..].to_owned(),
            format!("0x{digits}"),
        ] {
            let refused = wrong.parse::<ComponentDigest>();
            assert_eq!(refused, Err(Error::InvalidDigest), "{wrong}");
        }
    }
    let plain = ComponentDigest::split(b"weather");
    assert_eq!(plain, Ok((&b"weather"[..], None)));
    for wrong in [&b"weather@"[..], b"@", b"weather@\xff"] {
        let refused = ComponentDigest::split(wrong);
        assert_eq!(refused, Err(Error::InvalidDigest));
    }
}
