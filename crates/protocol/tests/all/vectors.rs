//! `vectors/v1.json`: every intermediate value of thirteen exchanges, for implementers in other languages.
//!
//! The values are computed here from the primitives alone (HMAC, P-256, AES-256-GCM-SIV, SHA-256), following
//! docs/PROTOCOL.md, and compared with the file and with what the library does. `BLESS=1` writes the file anew.
//! The keys are those of RFC 5903 §8.1 and the session id is the UUIDv7 of RFC 9562 §A.6, so that the ECDH result can be
//! checked against a document that is not ours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use ciborium::Value as Cbor;
use const_hex::{decode, encode};
use hmac::{Hmac, Mac};
use hypervisor_protocol::{
    ClientSession, Commitment, Exit, HexArray, HexBytes, HostSession, LimitKind, Operation,
    PolicyDecision, PrivateKey, PublicKey, Rejection, Report, SealedRequest, SealedResponse,
    SessionId, Stream, StreamReader, Streamed, stream,
};
use p256::elliptic_curve::sec1::ToSec1Point;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/v1.json");

const CLIENT_PRIVATE: &str = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";
const HOST_PRIVATE: &str = "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53";
/// g^ir of RFC 5903 §8.1, the x-coordinate.
const SHARED_X: &str = "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de";
const SESSION_ID: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

fn array(hex: &str) -> [u8; 32] {
    decode(hex).unwrap().try_into().unwrap()
}

fn lp(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The key schedule, from HMAC (RFC 5869: extract is HMAC(salt, ikm), expand to one block is HMAC(prk, info ‖ 1)).
struct Schedule {
    client_public: Vec<u8>,
    host_public: Vec<u8>,
    sid: Vec<u8>,
    ecdh_x: Vec<u8>,
    prk: [u8; 32],
    k_req: [u8; 32],
    k_res: [u8; 32],
}

fn public(private: &str, compressed: bool) -> Vec<u8> {
    p256::SecretKey::from_slice(&array(private))
        .unwrap()
        .public_key()
        .as_affine()
        .to_sec1_point(compressed)
        .as_bytes()
        .to_vec()
}

impl Schedule {
    fn new() -> Self {
        let client_public = public(CLIENT_PRIVATE, true);
        let host_public = public(HOST_PRIVATE, true);
        let sid = decode(SESSION_ID.replace('-', "")).unwrap();
        let client = p256::SecretKey::from_slice(&array(CLIENT_PRIVATE)).unwrap();
        let host = p256::PublicKey::from_sec1_bytes(&host_public).unwrap();
        let ecdh_x = client.diffie_hellman(&host).raw_secret_bytes().to_vec();
        let prk = hmac(&sid, &ecdh_x);
        let expand = |label: &[u8]| {
            hmac(
                &prk,
                &[label, &client_public[..], &host_public, &[1]].concat(),
            )
        };
        Self {
            k_req: expand(b"hypervisor/v1 request"),
            k_res: expand(b"hypervisor/v1 response"),
            client_public,
            host_public,
            sid,
            ecdh_x,
            prk,
        }
    }
}

/// What goes into a case.
struct Case {
    operation: &'static str,
    sequence: u64,
    stdin: Option<&'static [u8]>,
    arguments: &'static [&'static [u8]],
    result: &'static [u8],
    /// What was streamed before it: to 1, standard output, or 2, standard error.
    chunks: &'static [(u8, &'static [u8])],
}

const ARGUMENTS: [&[u8]; 3] = [
    "héllo".as_bytes(),
    b"",
    b"an argument of more than one AES block, 61 bytes of it in all",
];

fn cases() -> Vec<Case> {
    // All different, as they would be in one session.
    let sequences = [
        0,
        1,
        2,
        1023,
        1024,
        0x0102_0304_0506_0708,
        3,
        7,
        u64::MAX - 1,
        1 << 32,
        5,
        6,
    ];
    let mut sequences = sequences.into_iter();
    let mut cases = Vec::new();
    for operation in ["wasm", "python"] {
        for arguments in [&ARGUMENTS[..0], &ARGUMENTS[..1], &ARGUMENTS[..3]] {
            for stdin in [None, Some(&b"line 1\nline 2\n"[..])] {
                let case = cases.len();
                cases.push(Case {
                    operation,
                    sequence: sequences.next().unwrap(),
                    // A stdin that is present and empty is not an absent one.
                    stdin: stdin.map(|bytes| if case == 11 { b"" } else { bytes }),
                    // The same list with another lifetime.
                    arguments: match arguments.len() {
                        0 => &[],
                        1 => &[ARGUMENTS[0]],
                        _ => &ARGUMENTS,
                    },
                    result: if case % 3 == 1 {
                        b""
                    } else {
                        b"Hello, world!\n"
                    },
                    chunks: &[],
                });
            }
        }
    }
    cases.push(Case {
        operation: "wasm",
        sequence: 8,
        stdin: None,
        arguments: &[],
        result: b"world!\n",
        chunks: &[(1, b"Hel"), (2, b"careful\n"), (1, b"lo, ")],
    });
    cases
}

/// The exit and policy of each case: every kind of exit at least once.
fn exit(case: usize) -> Exit {
    match case % 6 {
        0 => Exit::Ok,
        1 => Exit::Code { code: 3 },
        2 => Exit::Trap {
            reason: "wasm `unreachable` instruction executed".to_owned(),
        },
        3 => Exit::Limit {
            which: LimitKind::HostBuffer,
            used: 1 << 33,
            allowed: 1 << 20,
        },
        4 => Exit::Denied {
            reason: "the rules do not allow it".to_owned(),
        },
        _ => Exit::Rejected {
            problem: Rejection::MissingImport,
            detail: "wasi:sockets/tcp@0.2.0".to_owned(),
        },
    }
}

fn report(case: usize, program: &[u8], commitment: [u8; 32], streamed: Option<Streamed>) -> Report {
    Report {
        streamed,
        stderr: HexBytes(b"warning\n".to_vec()),
        stdout_truncated: case == 3,
        stderr_truncated: case == 9,
        cpu_microseconds: 1234,
        wall_microseconds: 70_000,
        peak_memory_bytes: 1_114_112,
        program_digest: HexArray(Sha256::digest(program).into()),
        policy: (case % 6 == 4 || case == 0).then(|| PolicyDecision {
            allowed: case == 0,
            reason: (case != 0).then(|| "the rules do not allow it".to_owned()),
            rules_digest: HexBytes(Sha256::digest(b"rules").to_vec()),
        }),
        ..Report::new(exit(case), program, commitment.into())
    }
}

/// The report as CBOR, key by key.
fn report_cbor(report: &Report) -> Vec<u8> {
    fn map(entries: Vec<(&str, Cbor)>) -> Cbor {
        Cbor::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }
    let exit = match &report.exit {
        Exit::Ok => map(vec![("kind", "ok".into())]),
        Exit::Code { code } => map(vec![("kind", "code".into()), ("code", (*code).into())]),
        Exit::Trap { reason } => map(vec![
            ("kind", "trap".into()),
            ("reason", reason.as_str().into()),
        ]),
        Exit::Limit { used, allowed, .. } => map(vec![
            ("kind", "limit".into()),
            ("which", "host-buffer".into()),
            ("used", (*used).into()),
            ("allowed", (*allowed).into()),
        ]),
        Exit::Denied { reason } => map(vec![
            ("kind", "denied".into()),
            ("reason", reason.as_str().into()),
        ]),
        Exit::Rejected { detail, .. } => map(vec![
            ("kind", "rejected".into()),
            ("problem", "missing-import".into()),
            ("detail", detail.as_str().into()),
        ]),
    };
    let mut entries = vec![
        ("version", 1.into()),
        ("exit", exit),
        ("stderr", Cbor::Bytes(report.stderr.0.clone())),
        ("stdout_truncated", report.stdout_truncated.into()),
        ("stderr_truncated", report.stderr_truncated.into()),
        ("cpu_microseconds", report.cpu_microseconds.into()),
        ("wall_microseconds", report.wall_microseconds.into()),
        ("peak_memory_bytes", report.peak_memory_bytes.into()),
        (
            "program_digest",
            Cbor::Bytes(report.program_digest.0.to_vec()),
        ),
        (
            "request_commitment",
            Cbor::Bytes(report.request_commitment.0.to_vec()),
        ),
    ];
    if let Some(policy) = &report.policy {
        let mut decision = vec![("allowed", policy.allowed.into())];
        if let Some(reason) = &policy.reason {
            decision.push(("reason", reason.as_str().into()));
        }
        decision.push(("rules_digest", Cbor::Bytes(policy.rules_digest.0.clone())));
        entries.push(("policy", map(decision)));
    }
    if let Some(streamed) = &report.streamed {
        let streamed = map(vec![
            ("chunks", streamed.chunks.into()),
            ("commitment", Cbor::Bytes(streamed.commitment.0.to_vec())),
        ]);
        entries.push(("streamed", streamed));
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&map(entries), &mut bytes).unwrap();
    bytes
}

/// Seals one field and describes it.
fn seal(key: &[u8; 32], sequence: u64, field: u32, aad: &[u8], plaintext: &[u8]) -> Value {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&sequence.to_be_bytes());
    nonce[8..].copy_from_slice(&field.to_be_bytes());
    let payload = Payload {
        msg: plaintext,
        aad,
    };
    let ciphertext = Aes256GcmSiv::new(key.into())
        .encrypt(&Nonce::from(nonce), payload)
        .unwrap();
    json!({
        "field": encode(field.to_be_bytes()),
        "nonce": encode(nonce),
        "plaintext": encode(plaintext),
        "ciphertext": encode(ciphertext),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    decode(value.as_str().unwrap()).unwrap()
}

fn program(operation: &str) -> &'static [u8] {
    match operation {
        "wasm" => b"\0asm\x0d\0\x01\0",
        _ => b"import sys\nprint('Hello, world!')\n",
    }
}

fn case_json(schedule: &Schedule, number: usize, case: &Case) -> Value {
    let count = (case.arguments.len() as u32).to_be_bytes();
    let aad = [
        &b"hypervisor/v1\0"[..],
        &lp(case.operation.as_bytes()),
        &count,
    ]
    .concat();
    let request = |field, plaintext| seal(&schedule.k_req, case.sequence, field, &aad, plaintext);
    let sealed_program = request(0, program(case.operation));
    let stdin = case.stdin.map(|stdin| request(1, stdin));
    let arguments: Vec<Value> = (2..)
        .zip(case.arguments)
        .map(|(field, argument)| request(field, argument))
        .collect();
    let encrypted_stdin = stdin
        .as_ref()
        .map(|stdin| bytes(&stdin["ciphertext"]))
        .unwrap_or_default();
    let mut preimage = [
        &b"hypervisor/v1 request-commitment"[..],
        &lp(&schedule.client_public),
        &lp(&schedule.host_public),
        &lp(&schedule.sid),
        &case.sequence.to_be_bytes(),
        &lp(case.operation.as_bytes()),
        &lp(&bytes(&sealed_program["ciphertext"])),
        &lp(&encrypted_stdin),
        &count,
    ]
    .concat();
    for argument in &arguments {
        preimage.extend(lp(&bytes(&argument["ciphertext"])));
    }
    let request_commitment: [u8; 32] = Sha256::digest(preimage).into();

    let response = |field, plaintext| seal(&schedule.k_res, case.sequence, field, &aad, plaintext);
    let chunks: Vec<Value> = (2..)
        .zip(case.chunks)
        .map(|(field, (stream, output))| {
            let chunk = [&[*stream], *output].concat();
            seal(&schedule.k_res, case.sequence, field, &aad, &chunk)
        })
        .collect();
    let streamed = (!chunks.is_empty()).then(|| {
        let mut preimage = b"hypervisor/v1 stream-commitment".to_vec();
        preimage.extend(request_commitment);
        for chunk in &chunks {
            preimage.extend(lp(&bytes(&chunk["ciphertext"])));
        }
        Streamed {
            chunks: chunks.len() as u32,
            commitment: Commitment(Sha256::digest(preimage).into()),
        }
    });
    let report = report(
        number,
        program(case.operation),
        request_commitment,
        streamed,
    );
    let result = response(0, case.result);
    let sealed_report = response(1, &report_cbor(&report));
    let result_commitment: [u8; 32] = Sha256::digest(
        [
            &b"hypervisor/v1 result-commitment"[..],
            &request_commitment,
            &lp(&bytes(&result["nonce"])),
            &lp(&bytes(&result["ciphertext"])),
            &lp(&bytes(&sealed_report["ciphertext"])),
        ]
        .concat(),
    )
    .into();

    let mut json = json!({
        "name": format!(
            "{}, {} arguments, {} stdin{}",
            case.operation,
            case.arguments.len(),
            if case.stdin.is_some() { "with" } else { "without" },
            if chunks.is_empty() { "" } else { ", streamed" },
        ),
        "operation": encode(case.operation),
        "sequence": encode(case.sequence.to_be_bytes()),
        "argument_count": encode(count),
        "aad": encode(aad),
        "request": { "program": sealed_program, "arguments": arguments },
        "request_commitment": encode(request_commitment),
        "response": { "result": result, "report": sealed_report },
        "result_commitment": encode(result_commitment),
        "report_as_json": report,
    });
    if let Some(stdin) = stdin {
        json["request"]["stdin"] = stdin;
    }
    if !chunks.is_empty() {
        let body = chunks
            .iter()
            .map(|chunk| item(&bytes(&chunk["ciphertext"])));
        json["response"]["sequence_before_the_answer"] =
            encode(body.collect::<Vec<_>>().concat()).into();
        json["response"]["chunks"] = chunks.into();
    }
    json
}

/// A byte string in CBOR.
fn item(bytes: &[u8]) -> Vec<u8> {
    let mut item = Vec::new();
    ciborium::into_writer(&Cbor::Bytes(bytes.to_vec()), &mut item).unwrap();
    item
}

fn computed() -> Value {
    let schedule = Schedule::new();
    json!({
        "protocol": "hypervisor/v1",
        "about": "docs/PROTOCOL.md explains the values. All are hex; integers are big-endian; ciphertext ends with its tag; a request without stdin has no such member. Keys: RFC 5903 section 8.1; session id: RFC 9562 section A.6.",
        "client_private": CLIENT_PRIVATE,
        "client_public": encode(&schedule.client_public),
        "client_public_uncompressed": encode(public(CLIENT_PRIVATE, false)),
        "host_private": HOST_PRIVATE,
        "host_public": encode(&schedule.host_public),
        "host_public_uncompressed": encode(public(HOST_PRIVATE, false)),
        "sid": encode(&schedule.sid),
        "ecdh_x": encode(&schedule.ecdh_x),
        "prk": encode(schedule.prk),
        "k_req": encode(schedule.k_req),
        "k_res": encode(schedule.k_res),
        "cases": cases()
            .iter()
            .enumerate()
            .map(|(number, case)| case_json(&schedule, number, case))
            .collect::<Vec<_>>(),
    })
}

fn file() -> Map<String, Value> {
    if std::env::var_os("BLESS").is_some() {
        let mut text = serde_json::to_string_pretty(&computed()).unwrap();
        text.push('\n');
        // Tests run side by side; a rename never shows half a file.
        let draft = format!("{FILE}.{:?}", std::thread::current().id());
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, FILE).unwrap();
    }
    let text = std::fs::read_to_string(FILE).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_file_is_what_the_primitives_give() {
    let (file, computed) = (file(), computed());
    assert_eq!(file["cases"].as_array().unwrap().len(), 13);
    for (file, computed) in file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .zip(computed["cases"].as_array().unwrap())
    {
        assert_eq!(file, computed, "{}", computed["name"]);
    }
    assert_eq!(Value::Object(file), computed);
}

#[test]
fn the_shared_secret_is_the_one_of_rfc_5903() {
    assert_eq!(file()["ecdh_x"], SHARED_X);
    assert_eq!(encode(Schedule::new().ecdh_x), SHARED_X);
}

#[test]
fn the_library_reads_both_forms_of_a_public_key() {
    let file = file();
    for name in ["client_public", "host_public"] {
        let compressed = PublicKey::from_sec1(&bytes(&file[name])).unwrap();
        let long = bytes(&file[&format!("{name}_uncompressed")]);
        assert_eq!(PublicKey::from_sec1(&long).unwrap(), compressed);
        assert_eq!(compressed.to_bytes().as_slice(), bytes(&file[name]));
    }
}

/// The two ends of the session of the file; the client starts at `sequence`.
fn session(file: &Map<String, Value>, sequence: u64) -> (ClientSession, Arc<HostSession>) {
    let key = |name: &str| PrivateKey::from_bytes(&array(file[name].as_str().unwrap())).unwrap();
    let (client, host) = (key("client_private"), key("host_private"));
    let id = SessionId::try_from(bytes(&file["sid"]).as_slice()).unwrap();
    assert_eq!(id.to_string(), SESSION_ID);
    let at_host = HostSession::new(&host, client.public_key().clone(), id).unwrap();
    let at_client =
        ClientSession::starting_at(client, host.public_key().clone(), id, sequence).unwrap();
    (at_client, Arc::new(at_host))
}

fn operation(case: &Value) -> Operation {
    match bytes(&case["operation"]).as_slice() {
        b"wasm" => Operation::Wasm,
        b"python" => Operation::Python,
        b"javascript" => Operation::Javascript,
        other => panic!("{other:?}"),
    }
}

/// Plaintext or ciphertext of every field of the request.
fn fields(case: &Value, which: &str) -> (Vec<u8>, Option<Vec<u8>>, Vec<Vec<u8>>) {
    let request = &case["request"];
    (
        bytes(&request["program"][which]),
        request.get("stdin").map(|stdin| bytes(&stdin[which])),
        request["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| bytes(&argument[which]))
            .collect(),
    )
}

fn sequence(case: &Value) -> u64 {
    u64::from_be_bytes(bytes(&case["sequence"]).try_into().unwrap())
}

fn sealed_request(case: &Value) -> SealedRequest {
    let (program, stdin, arguments) = fields(case, "ciphertext");
    SealedRequest {
        sequence: sequence(case),
        program,
        stdin,
        arguments,
    }
}

#[test]
fn the_client_seals_what_the_file_says() {
    let file = file();
    for case in file["cases"].as_array().unwrap() {
        let (client, _) = session(&file, sequence(case));
        let (program, stdin, arguments) = fields(case, "plaintext");
        let (request, pending) = client
            .seal_request(operation(case), &program, stdin.as_deref(), &arguments)
            .unwrap();
        assert_eq!(request, sealed_request(case), "{}", case["name"]);
        assert_eq!(pending.commitment.to_string(), case["request_commitment"]);
    }
}

#[test]
fn the_host_opens_and_answers_what_the_file_says() {
    let file = file();
    for case in file["cases"].as_array().unwrap() {
        let (_, host) = session(&file, 0);
        let opened = host
            .open_request(operation(case), sealed_request(case))
            .unwrap();
        let (program, stdin, arguments) = fields(case, "plaintext");
        assert_eq!(opened.program, program);
        assert_eq!(opened.stdin, stdin);
        assert_eq!(opened.arguments, arguments);
        assert_eq!(opened.commitment.to_string(), case["request_commitment"]);

        let mut claim = host.claim(opened.sequence).unwrap();
        let (plain, sealed) = (
            chunks(&case["response"], "plaintext"),
            chunks(&case["response"], "ciphertext"),
        );
        for (plain, sealed) in plain.iter().zip(&sealed) {
            let (first, output) = plain.split_first().unwrap();
            let stream = match first {
                1 => Stream::Stdout,
                _ => Stream::Stderr,
            };
            let count = opened.arguments.len() as u32;
            let output = (stream, output);
            let chunk = claim.seal_chunk(operation(case), count, &opened.commitment, output);
            assert_eq!(chunk.unwrap(), *sealed);
        }
        let report = Report::decode(&bytes(&case["response"]["report"]["plaintext"])).unwrap();
        assert_eq!(claim.streamed(), report.streamed);
        let response = claim
            .seal_response(
                operation(case),
                opened.arguments.len() as u32,
                &opened.commitment,
                bytes(&case["response"]["result"]["plaintext"]),
                bytes(&case["response"]["report"]["plaintext"]),
            )
            .unwrap();
        let response = SealedResponse {
            encrypted_chunks: sealed,
            ..response
        };
        assert_eq!(response, sealed_response(case), "{}", case["name"]);
    }
}

/// Plaintext or ciphertext of every chunk.
fn chunks(response: &Value, which: &str) -> Vec<Vec<u8>> {
    let chunks = response.get("chunks").and_then(Value::as_array);
    let chunks = chunks.into_iter().flatten();
    chunks.map(|chunk| bytes(&chunk[which])).collect()
}

#[test]
fn the_sequence_before_an_answer_is_read_as_the_file_says() {
    let file = file();
    let case = &file["cases"][12];
    let before = bytes(&case["response"]["sequence_before_the_answer"]);
    let expected = chunks(&case["response"], "ciphertext");
    for size in 1..before.len() {
        let mut reader = StreamReader::default();
        let parts = before
            .chunks(size)
            .flat_map(|part| reader.push(part).unwrap());
        assert_eq!(parts.collect::<Vec<_>>(), expected);
        assert!(reader.finish().is_err(), "the answer is missing");
    }
    let items = expected.iter().map(|chunk| stream::item(chunk));
    assert_eq!(items.collect::<Vec<_>>().concat(), before);
}

fn sealed_response(case: &Value) -> SealedResponse {
    let response = &case["response"];
    SealedResponse {
        result_nonce: bytes(&response["result"]["nonce"]).try_into().unwrap(),
        encrypted_result: bytes(&response["result"]["ciphertext"]),
        encrypted_report: bytes(&response["report"]["ciphertext"]),
        encrypted_chunks: chunks(response, "ciphertext"),
        request_commitment: case["request_commitment"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
        result_commitment: case["result_commitment"].as_str().unwrap().parse().unwrap(),
    }
}

#[test]
fn the_client_opens_the_responses_of_the_file() {
    let file = file();
    for (number, case) in file["cases"].as_array().unwrap().iter().enumerate() {
        let (client, _) = session(&file, sequence(case));
        let (program, stdin, arguments) = fields(case, "plaintext");
        let (_, pending) = client
            .seal_request(operation(case), &program, stdin.as_deref(), &arguments)
            .unwrap();
        let opened = client
            .open_response(&pending, sealed_response(case))
            .unwrap();
        assert_eq!(
            opened.result,
            bytes(&case["response"]["result"]["plaintext"])
        );
        let streamed = opened.report.streamed;
        let expected = report(number, &program, pending.commitment.0, streamed);
        let written = chunks(&case["response"], "plaintext");
        let written = written.iter().filter(|chunk| chunk[0] == 1);
        assert_eq!(
            opened.streamed.stdout,
            written
                .flat_map(|chunk| &chunk[1..])
                .copied()
                .collect::<Vec<_>>()
        );
        assert_eq!(opened.report, expected, "{}", case["name"]);
        assert_eq!(
            serde_json::to_value(&opened.report).unwrap(),
            case["report_as_json"]
        );
    }
}

#[test]
fn the_library_encodes_reports_as_the_file_says() {
    let file = file();
    for case in file["cases"].as_array().unwrap() {
        let plaintext = bytes(&case["response"]["report"]["plaintext"]);
        let report = Report::decode(&plaintext).unwrap();
        assert_eq!(report.encode().unwrap(), plaintext, "{}", case["name"]);
    }
}
