//! The API's own description, OpenAPI 3.1.

use axum::response::IntoResponse;
use http::header;

/// The document served at `/openapi.json`.
pub const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypervisor_protocol::{
        AgentInfo, AgentRequest, CreateKeypairRequest, CreateKeypairResponse, DeployRequest,
        ExecuteResponse, ExecuteWasmRequest, Found, Problem, ProblemType, SearchRequest,
    };
    use serde::Serialize;
    use serde_json::{Value, json};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn schema(name: &str) -> Value {
        document()["components"]["schemas"][name].clone()
    }

    fn keys(value: &Value) -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Every field the type writes is in the schema, and every required one of the schema is written.
    fn agrees<T: Serialize>(name: &str, value: &T) {
        let written = keys(&serde_json::to_value(value).unwrap());
        let schema = schema(name);
        let known = keys(&schema["properties"]);
        for field in &written {
            assert!(known.contains(field), "{name}.{field} is not documented");
        }
        for field in schema["required"].as_array().unwrap() {
            assert!(
                written.iter().any(|w| w == field),
                "{name} requires {field}, which is not written"
            );
        }
    }

    #[test]
    fn every_route_is_documented_and_every_documented_path_is_routed() {
        let source = include_str!("mod.rs");
        let mut routed: Vec<&str> = source
            .split(".route(")
            .skip(1)
            .filter_map(|rest| rest.split('"').nth(1))
            .collect();
        routed.sort_unstable();
        assert_eq!(keys(&document()["paths"]), routed);
    }

    #[test]
    fn request_and_answer_schemas_agree_with_the_wire_types() {
        let hex = json!("00");
        let id = json!("01890a5d-ac96-774b-bcce-b302099a8057");
        let commitment = json!("00".repeat(32));
        let keypair: CreateKeypairRequest =
            serde_json::from_value(json!({"pubkey": hex, "nonce": hex})).unwrap();
        agrees("CreateKeypairRequest", &keypair);
        let keypair: CreateKeypairResponse = serde_json::from_value(
            json!({"session_pubkey": hex, "session_id": id, "expires_at": 1}),
        )
        .unwrap();
        agrees("CreateKeypairResponse", &keypair);
        let execute: ExecuteWasmRequest = serde_json::from_value(json!({
            "encrypted_wasm": hex, "encrypted_arguments": [hex], "public_key": hex, "session_id": id, "sequence": 1, "encrypted_stdin": hex
        }))
        .unwrap();
        agrees("ExecuteWasmRequest", &execute);
        let answer: ExecuteResponse = serde_json::from_value(json!({
            "session_id": id, "encrypted_result": hex, "result_nonce": "00".repeat(12), "encrypted_report": hex,
            "request_commitment": commitment, "result_commitment": commitment
        }))
        .unwrap();
        agrees("ExecuteResponse", &answer);
        let owner = json!({"public_key": hex, "signature": hex});
        let deploy: DeployRequest = serde_json::from_value(json!({
            "encrypted_wasm": hex, "encrypted_manifest": hex, "public_key": hex, "session_id": id, "sequence": 1, "owner": owner
        }))
        .unwrap();
        agrees("DeployRequest", &deploy);
        let agent: AgentRequest = serde_json::from_value(json!({
            "encrypted_agent": hex, "encrypted_stdin": hex, "encrypted_arguments": [hex], "public_key": hex,
            "session_id": id, "sequence": 1, "owner": owner
        }))
        .unwrap();
        agrees("AgentRequest", &agent);
        let info: AgentInfo = serde_json::from_value(json!({
            "name": "a", "address": "a.operator", "path": "/agents/a/", "description": "d", "version": "1",
            "world": "service", "private": false, "price": "$0.01", "digest": "00".repeat(32),
            "sha384": "00".repeat(48), "reuse": 1, "persistent": false, "note": "n", "deployed_at": 1,
            "imports": [{"name": "wasi:io/poll@0.2.0", "standing": "granted", "host_version": "0.2.12"}]
        }))
        .unwrap();
        agrees("AgentInfo", &info);
        agrees("AgentImport", &info.imports[0]);
        let found: Found = serde_json::from_value(json!({
            "name": "a", "address": "a.operator", "description": "d", "version": "1", "score": 1.0, "price": "$0.01",
            "digest": "00".repeat(32), "deployed": true
        }))
        .unwrap();
        agrees("Found", &found);
        let search: SearchRequest =
            serde_json::from_value(json!({"description": "d", "limit": 1})).unwrap();
        agrees("SearchRequest", &search);
        agrees(
            "Problem",
            &Problem::new(ProblemType::Internal)
                .with_detail("d")
                .with_request_id("r"),
        );
    }

    #[test]
    fn every_problem_type_is_documented() {
        let documented = schema("Problem")["properties"]["type"]["enum"].clone();
        let documented: Vec<&str> = documented
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap())
            .collect();
        let known: Vec<String> = ProblemType::ALL
            .iter()
            .map(|kind| kind.uri().to_owned())
            .collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn every_reference_resolves() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(
                            document.pointer(pointer).is_some(),
                            "{reference} leads nowhere"
                        );
                    }
                    map.values().for_each(|v| walk(v, document));
                }
                Value::Array(items) => items.iter().for_each(|v| walk(v, document)),
                _ => {}
            }
        }
        walk(&document(), &document());
    }
}
