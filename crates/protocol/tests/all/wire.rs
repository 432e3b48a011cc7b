//! The bodies of the HTTP API, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ciborium::cbor;
use hypervisor_protocol::problem::{Problem, ProblemType, TYPE_PREFIX};
use hypervisor_protocol::wire::MAX_ARGUMENTS;
use hypervisor_protocol::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, Error, ExecutePythonRequest,
    ExecuteResponse, ExecuteWasmRequest, HexArray, HexBytes, PrivateKey, SealedRequest,
    SealedResponse, SessionId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const ID: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
const BOTH: [ContentFormat; 2] = [ContentFormat::Json, ContentFormat::Cbor];

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    ContentFormat::Json.decode(text.as_bytes())
}

fn cbor<T: DeserializeOwned>(value: &ciborium::Value) -> Result<T, Error> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    ContentFormat::Cbor.decode(&bytes)
}

/// The message of an error, which must be about decoding.
fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::Decode { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

fn returns<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    for format in BOTH {
        let bytes = format.encode(value).unwrap();
        assert_eq!(format.decode::<T>(&bytes).as_ref(), Ok(value));
    }
}

fn sealed_request() -> SealedRequest {
    SealedRequest {
        sequence: u64::MAX,
        program: vec![1, 2],
        stdin: Some(vec![3]),
        arguments: vec![vec![4], vec![]],
    }
}

#[test]
fn an_execute_request_in_json() {
    let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
    let body = ExecuteWasmRequest::new(key.public_key(), ID.parse().unwrap(), sealed_request());
    let expected = json!({
        "encrypted_wasm": "0102",
        "encrypted_arguments": ["04", ""],
        "public_key": key.public_key().to_string(),
        "session_id": ID,
        "sequence": u64::MAX,
        "encrypted_stdin": "03",
    });
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    assert_eq!(SealedRequest::from(body.clone()), sealed_request());
    returns(&body);
}

#[test]
fn an_execute_request_in_cbor() {
    let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
    let body = ExecutePythonRequest::new(key.public_key(), ID.parse().unwrap(), sealed_request());
    let bytes = ContentFormat::Cbor.encode(&body).unwrap();
    let value: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let blob = |bytes: &[u8]| ciborium::Value::Bytes(bytes.to_vec());
    let id: SessionId = ID.parse().unwrap();
    let expected = cbor!({
        "encrypted_python" => blob(&[1, 2]),
        "encrypted_arguments" => [blob(&[4]), blob(&[])],
        "public_key" => blob(&key.public_key().to_bytes()),
        "session_id" => blob(id.as_bytes()),
        "sequence" => u64::MAX,
        "encrypted_stdin" => blob(&[3]),
    })
    .unwrap();
    assert_eq!(value, expected);
    assert_eq!(SealedRequest::from(body.clone()), sealed_request());
    returns(&body);
}

#[test]
fn the_least_execute_request_is_program_and_key() {
    let body: ExecuteWasmRequest = json(r#"{"encrypted_wasm":"00","public_key":"02"}"#).unwrap();
    assert_eq!(body.sequence, 0);
    assert_eq!(body.session_id, None);
    assert_eq!(body.encrypted_stdin, None);
    assert!(body.encrypted_arguments.is_empty());
}

#[test]
fn a_missing_field_is_named() {
    let message = reason(json::<ExecuteWasmRequest>(r#"{"public_key":"02"}"#));
    assert!(
        message.contains("missing field `encrypted_wasm`"),
        "{message}"
    );
}

#[test]
fn an_unknown_field_of_a_request_is_refused_by_name() {
    let text = r#"{"encrypted_wasm":"00","public_key":"02","stdin":"00"}"#;
    let message = reason(json::<ExecuteWasmRequest>(text));
    assert!(message.contains("unknown field `stdin`"), "{message}");
    let value = cbor!({ "pubkey" => ciborium::Value::Bytes(vec![2]), "key" => 1 }).unwrap();
    let message = reason(cbor::<CreateKeypairRequest>(&value));
    assert!(message.contains("unknown field `key`"), "{message}");
}

#[test]
fn a_field_twice_is_refused() {
    let message = reason(json::<CreateKeypairRequest>(
        r#"{"pubkey":"00","pubkey":"01"}"#,
    ));
    assert!(message.contains("duplicate field"), "{message}");
}

#[test]
fn an_unknown_field_of_a_response_is_ignored() {
    let text = format!(
        r#"{{"session_pubkey":"02","session_id":"{ID}","expires_at":7,"later":{{"a":[1]}}}}"#
    );
    assert_eq!(json::<CreateKeypairResponse>(&text).unwrap().expires_at, 7);
}

#[test]
fn keypair_bodies_return_as_they_were() {
    let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
    returns(&CreateKeypairRequest::new(key.public_key(), None));
    returns(&CreateKeypairRequest::new(
        key.public_key(),
        Some(vec![9; 32]),
    ));
    let plain = CreateKeypairResponse {
        session_pubkey: HexBytes(key.public_key().to_bytes().to_vec()),
        session_id: SessionId::new(),
        expires_at: 1_800_000_000,
        quote: None,
        evidence: None,
    };
    returns(&plain);
    returns(&CreateKeypairResponse {
        quote: Some(HexBytes(vec![4, 0])),
        evidence: Some(HexBytes(vec![0xa1])),
        ..plain
    });
}

#[test]
fn an_execute_response_leaves_out_what_is_absent() {
    let sealed = SealedResponse {
        result_nonce: [7; 12],
        encrypted_result: vec![1],
        encrypted_report: vec![2],
        encrypted_chunks: Vec::new(),
        request_commitment: [3; 32].into(),
        result_commitment: [4; 32].into(),
    };
    let mut body = ExecuteResponse::new(ID.parse().unwrap(), sealed.clone());
    let expected = json!({
        "session_id": ID,
        "encrypted_result": "01",
        "result_nonce": "07".repeat(12),
        "encrypted_report": "02",
        "request_commitment": "03".repeat(32),
        "result_commitment": "04".repeat(32),
    });
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    returns(&body);
    body.receipt = Some(HexBytes(vec![5]));
    body.result_quote = Some(HexBytes(vec![6]));
    body.result_evidence = Some(HexBytes(vec![7]));
    returns(&body);
    assert_eq!(SealedResponse::from(body), sealed);
}

#[test]
fn hex_may_be_upper_case_and_have_a_prefix() {
    for text in [
        r#""c0ffee""#,
        r#""C0FFEE""#,
        r#""0xc0ffee""#,
        r#""0Xc0FFee""#,
    ] {
        assert_eq!(json::<HexBytes>(text).unwrap().0, [0xc0, 0xff, 0xee]);
        assert_eq!(json::<HexArray<3>>(text).unwrap().0, [0xc0, 0xff, 0xee]);
    }
    // An escaped character makes the decoder copy the text first.
    assert_eq!(json::<HexBytes>(r#""\u0063\u0030""#).unwrap().0, [0xc0]);
}

#[test]
fn hex_is_written_lower_case_without_a_prefix() {
    let text = serde_json::to_string(&HexBytes(vec![0xc0, 0xff, 0xee])).unwrap();
    assert_eq!(text, r#""c0ffee""#);
}

#[test]
fn what_is_not_hex_is_refused_with_a_reason() {
    for (text, expected) in [
        (r#""abc""#, "odd number of digits (3)"),
        (r#""0xabc""#, "odd number of digits (5)"),
        (r#""zz""#, "invalid character"),
        (r#""0x0xab""#, "invalid character"),
        (r#""0X0xab""#, "more than one 0x prefix"),
        (r#""ab cd ""#, "invalid character"),
        (r#""é""#, "invalid character"),
        ("[1,2]", "expected binary data"),
        ("null", "expected binary data"),
    ] {
        let message = reason(json::<HexBytes>(text));
        assert!(message.contains(expected), "{text}: {message}");
    }
    let message = reason(json::<HexArray<4>>(r#""aabb""#));
    assert!(
        message.contains("2 bytes where 4 are expected"),
        "{message}"
    );
}

#[test]
fn cbor_takes_byte_strings_only() {
    let text = cbor::<HexBytes>(&cbor!("aabb").unwrap());
    let list = cbor::<HexBytes>(&cbor!([1, 2]).unwrap());
    for result in [text, list] {
        let message = reason(result);
        assert!(
            message.contains("binary data") || message.contains("byte"),
            "{message}"
        );
    }
}

#[test]
fn a_session_id_is_uuid_text_in_json() {
    let id: SessionId = ID.parse().unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("{ID:?}"));
    let plain = ID.replace('-', "");
    for text in [ID, &ID.to_uppercase(), &plain] {
        assert_eq!(text.parse::<SessionId>().unwrap(), id);
        assert_eq!(json::<SessionId>(&format!("{text:?}")).unwrap(), id);
    }
    for text in [
        "",
        "017f",
        &format!("{{{ID}}}"),
        &format!("urn:uuid:{ID}"),
        &plain[1..],
    ] {
        assert_eq!(text.parse::<SessionId>(), Err(Error::InvalidSessionId));
    }
}

#[test]
fn a_session_id_is_sixteen_bytes_in_cbor() {
    let id: SessionId = ID.parse().unwrap();
    let bytes = ContentFormat::Cbor.encode(&id).unwrap();
    assert_eq!(bytes, [&[0x50], &id.as_bytes()[..]].concat());
    returns(&id);
    assert!(cbor::<SessionId>(&ciborium::Value::Bytes(vec![0; 15])).is_err());
}

#[test]
fn session_ids_are_uuid_version_7_and_differ() {
    let (a, b) = (SessionId::new(), SessionId::new());
    assert_ne!(a, b);
    assert_eq!(a.to_string().as_bytes().get(14), Some(&b'7'));
}

#[test]
fn bytes_after_the_value_are_refused() {
    assert!(json::<HexBytes>(r#""ab" x"#).is_err());
    let mut bytes = ContentFormat::Cbor.encode(&HexBytes(vec![1])).unwrap();
    bytes.push(0);
    let message = reason(ContentFormat::Cbor.decode::<HexBytes>(&bytes));
    assert_eq!(message, "1 bytes follow the value");
}

#[test]
fn truncated_input_is_refused_wherever_it_ends() {
    let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
    let body = ExecuteWasmRequest::new(key.public_key(), ID.parse().unwrap(), sealed_request());
    for format in BOTH {
        let bytes = format.encode(&body).unwrap();
        for end in 0..bytes.len() {
            let message = reason(format.decode::<ExecuteWasmRequest>(&bytes[..end]));
            let expected = match format {
                ContentFormat::Json => "EOF",
                ContentFormat::Cbor => "ends early",
            };
            assert!(message.contains(expected), "{end}: {message}");
        }
    }
}

#[test]
fn a_length_that_the_input_does_not_have_allocates_nothing() {
    // A byte string, a text, an array and a map of 2^62 elements.
    for head in [0x5b_u8, 0x7b, 0x9b, 0xbb] {
        let mut bytes = vec![head];
        bytes.extend_from_slice(&(1_u64 << 62).to_be_bytes());
        assert!(ContentFormat::Cbor.decode::<HexBytes>(&bytes).is_err());
        assert!(
            ContentFormat::Cbor
                .decode::<ExecuteWasmRequest>(&bytes)
                .is_err()
        );
        assert!(
            ContentFormat::Cbor
                .decode::<ExecuteResponse>(&bytes)
                .is_err()
        );
    }
}

#[test]
fn nesting_is_bounded() {
    // {"later": [[[…]]]}: an unknown key, so its value is skipped.
    let mut bytes = vec![0xa1, 0x65];
    bytes.extend_from_slice(b"later");
    bytes.resize(100_000, 0x81);
    let message = reason(ContentFormat::Cbor.decode::<CreateKeypairResponse>(&bytes));
    assert!(message.contains("nested deeper"), "{message}");
    let text = format!(r#"{{"later":{}"#, "[".repeat(100_000));
    assert!(json::<CreateKeypairResponse>(&text).is_err());
}

#[test]
fn arguments_beyond_the_limit_are_counted_as_too_many_and_not_kept() {
    let text = format!(
        r#"{{"encrypted_wasm":"","public_key":"","encrypted_arguments":[{}""]}}"#,
        r#""","#.repeat(100_000)
    );
    let body: ExecuteWasmRequest = json(&text).unwrap();
    assert_eq!(body.encrypted_arguments.len(), MAX_ARGUMENTS + 1);
}

#[test]
fn formats_have_media_types() {
    for format in BOTH {
        assert_eq!(
            ContentFormat::from_media_type(format.media_type()),
            Some(format)
        );
    }
    let json = Some(ContentFormat::Json);
    assert_eq!(
        ContentFormat::from_media_type("Application/JSON; charset=utf-8"),
        json
    );
    for other in [
        "",
        "text/plain",
        "application/jsonx",
        "application/cbor-seq",
    ] {
        assert_eq!(ContentFormat::from_media_type(other), None);
    }
}

#[test]
fn a_problem_in_json() {
    let problem = Problem::new(ProblemType::ReplayedSequence)
        .with_detail("sequence 3 was already used")
        .with_instance("/test/execute/wasm")
        .with_request_id("r-1")
        .with_extension("sequence", 3)
        .with_extension("status", 200);
    let expected = json!({
        "type": "urn:hypervisor:problem:replayed-sequence",
        "title": "The sequence was already used",
        "status": 409,
        "detail": "sequence 3 was already used",
        "instance": "/test/execute/wasm",
        "request_id": "r-1",
        "sequence": 3,
    });
    assert_eq!(serde_json::to_value(&problem).unwrap(), expected);
    assert_eq!(problem.problem_type(), Some(ProblemType::ReplayedSequence));
    let text = serde_json::to_string(&problem).unwrap();
    assert_eq!(json::<Problem>(&text).unwrap(), problem);
}

#[test]
fn a_problem_of_a_foreign_server_can_be_read() {
    let problem: Problem = json(r#"{"title":"Bad Gateway","status":502}"#).unwrap();
    assert_eq!(problem.kind, "about:blank");
    assert_eq!(problem.problem_type(), None);
}

#[test]
fn problem_types_and_their_statuses() {
    let listed = ProblemType::ALL.map(|kind| (kind.name(), kind.status()));
    let expected = [
        ("malformed-request", 400),
        ("unsupported-media-type", 415),
        ("body-too-large", 413),
        ("invalid-key", 400),
        ("unknown-session", 404),
        ("ambiguous-session", 409),
        ("authentication-failed", 400),
        ("replayed-sequence", 409),
        ("too-many-arguments", 400),
        ("overloaded", 503),
        ("request-timeout", 408),
        ("not-found", 404),
        ("method-not-allowed", 405),
        ("shutting-down", 503),
        ("attestation-unavailable", 503),
        ("scripts-unavailable", 503),
        ("payments-unavailable", 503),
        ("payment-unverified", 503),
        ("settlement-unknown", 503),
        ("payment-reused", 409),
        ("answer-gone", 409),
        ("agent-not-found", 404),
        ("agent-refused", 422),
        ("agent-denied", 403),
        ("agent-failed", 502),
        ("agent-limit", 504),
        ("upgrade-unsupported", 501),
        ("swap-refused", 422),
        ("internal", 500),
    ];
    assert_eq!(listed, expected);
    for kind in ProblemType::ALL {
        assert_eq!(kind.uri(), format!("{TYPE_PREFIX}{}", kind.name()));
        assert_eq!(ProblemType::from_uri(kind.uri()), Some(kind));
    }
}

#[test]
fn errors_become_problems_that_say_what_to_do() {
    let error = Error::Replayed { sequence: 3 };
    let problem = Problem::from(&error);
    assert_eq!(problem.problem_type(), Some(ProblemType::ReplayedSequence));
    assert!(problem.detail.contains("sequence 3") && problem.detail.contains("1023"));
}
