//! Every decoder: arbitrary bytes never panic, and what was encoded decodes to itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_protocol::{
    AgentInfo, AgentList, AgentLog, AgentRequest, ContentFormat, CreateKeypairRequest,
    CreateKeypairResponse, DeployRequest, DeployResponse, ExecutePythonRequest, ExecuteResponse,
    ExecuteWasmRequest, Exit, Found, HexArray, HexBytes, LimitKind, OwnerKey, OwnerProof,
    PolicyDecision, PrivateKey, Problem, PublicKey, RegistryRequest, Report, SearchRequest,
    SearchResponse, SessionId, StreamReader, stream,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const BOTH: [ContentFormat; 2] = [ContentFormat::Json, ContentFormat::Cbor];

/// Runs every decoder; the results do not matter.
fn decode_all(bytes: &[u8]) {
    for format in BOTH {
        let _ = format.decode::<CreateKeypairRequest>(bytes);
        let _ = format.decode::<CreateKeypairResponse>(bytes);
        let _ = format.decode::<ExecuteWasmRequest>(bytes);
        let _ = format.decode::<ExecutePythonRequest>(bytes);
        let _ = format.decode::<ExecuteResponse>(bytes);
        let _ = format.decode::<DeployRequest>(bytes);
        let _ = format.decode::<RegistryRequest>(bytes);
        let _ = format.decode::<DeployResponse>(bytes);
        let _ = format.decode::<AgentRequest>(bytes);
        let _ = format.decode::<OwnerProof>(bytes);
        let _ = format.decode::<AgentInfo>(bytes);
        let _ = format.decode::<AgentList>(bytes);
        let _ = format.decode::<AgentLog>(bytes);
        let _ = format.decode::<SearchRequest>(bytes);
        let _ = format.decode::<SearchResponse>(bytes);
        let _ = format.decode::<Problem>(bytes);
        let _ = format.decode::<Report>(bytes);
        let _ = format.decode::<HexBytes>(bytes);
        let _ = format.decode::<HexArray<12>>(bytes);
        let _ = format.decode::<SessionId>(bytes);
    }
    for size in [1, 7, 4096] {
        let mut reader = StreamReader::default();
        let ended = bytes
            .chunks(size)
            .try_for_each(|part| reader.push(part).map(drop));
        if ended.is_ok() {
            let _ = reader.finish();
        }
    }
    let _ = Report::decode(bytes);
    let _ = PublicKey::from_sec1(bytes);
    let _ = SessionId::try_from(bytes);
    let _ = HexArray::<32>::try_from(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<SessionId>();
    let _ = text.parse::<HexBytes>();
    let _ = text.parse::<HexArray<4>>();
    let _ = ContentFormat::from_media_type(&text);
}

/// Runs every decoder on bytes of which one is another.
fn decode_altered(bytes: &mut [u8], at: &prop::sample::Index, value: u8) {
    let place = at.index(bytes.len());
    if let Some(byte) = bytes.get_mut(place) {
        *byte = value;
    }
    decode_all(bytes);
}

/// That it comes back as it was, from both formats.
fn returns<T>(body: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for format in BOTH {
        let bytes = format.encode(body).unwrap();
        prop_assert_eq!(&format.decode::<T>(&bytes).unwrap(), body);
    }
    Ok(())
}

fn blob() -> impl Strategy<Value = HexBytes> {
    vec(any::<u8>(), 0..200).prop_map(HexBytes)
}

fn id() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_bytes)
}

prop_compose! {
    fn wasm_request()(
        encrypted_wasm in blob(),
        encrypted_arguments in vec(blob(), 0..5),
        public_key in blob(),
        session_id in option::of(id()),
        sequence: u64,
        encrypted_stdin in option::of(blob()),
    ) -> ExecuteWasmRequest {
        ExecuteWasmRequest { encrypted_wasm, encrypted_arguments, public_key, session_id, sequence, encrypted_stdin }
    }
}

fn proof() -> impl Strategy<Value = OwnerProof> {
    (blob(), blob()).prop_map(|(public_key, signature)| OwnerProof {
        public_key,
        signature,
    })
}

prop_compose! {
    fn agent_request()(
        encrypted_agent in blob(),
        encrypted_stdin in option::of(blob()),
        encrypted_arguments in vec(blob(), 0..5),
        public_key in blob(),
        session_id in option::of(id()),
        sequence: u64,
        owner in option::of(proof()),
    ) -> AgentRequest {
        AgentRequest { encrypted_agent, encrypted_stdin, encrypted_arguments, public_key, session_id, sequence, owner }
    }
}

prop_compose! {
    fn deploy_request()(
        encrypted_wasm in blob(),
        encrypted_manifest in blob(),
        public_key in blob(),
        session_id in option::of(id()),
        sequence: u64,
        owner in proof(),
    ) -> DeployRequest {
        DeployRequest { encrypted_wasm, encrypted_manifest, public_key, session_id, sequence, owner }
    }
}

prop_compose! {
    fn found()(
        texts: [String; 4],
        skills in vec(".*", 0..3),
        score in prop_oneof![any::<f32>().prop_map(f64::from), any::<f64>(), (0_u16..1000).prop_map(f64::from)]
            .prop_filter("a number", |score| score.is_finite()),
        price in option::of(".*"),
        digest: [u8; 32],
        deployed: bool,
    ) -> Found {
        let [name, address, description, version] = texts;
        Found { name, address, description, version, skills, score, price, digest: HexArray(digest), deployed }
    }
}

prop_compose! {
    fn response()(
        session_id in id(),
        encrypted_result in blob(),
        result_nonce: [u8; 12],
        encrypted_report in blob(),
        encrypted_chunks in vec(blob(), 0..3),
        request_commitment: [u8; 32],
        result_commitment: [u8; 32],
        receipt in option::of(blob()),
        audit_head in option::of(".*"),
        result_quote in option::of(blob()),
        result_evidence in option::of(blob()),
    ) -> ExecuteResponse {
        ExecuteResponse {
            session_id,
            encrypted_result,
            result_nonce: HexArray(result_nonce),
            encrypted_report,
            encrypted_chunks,
            request_commitment: request_commitment.into(),
            result_commitment: result_commitment.into(),
            receipt,
            audit_head,
            result_quote,
            result_evidence,
        }
    }
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        Just(Exit::Ok),
        any::<u32>().prop_map(|code| Exit::Code { code }),
        ".*".prop_map(|reason| Exit::Trap { reason }),
        ".*".prop_map(|reason| Exit::Denied { reason }),
        any::<(u64, u64)>().prop_map(|(used, allowed)| Exit::Limit {
            which: LimitKind::Wall,
            used,
            allowed
        }),
    ]
}

fn policy() -> impl Strategy<Value = PolicyDecision> {
    (any::<bool>(), option::of(".*"), blob()).prop_map(|(allowed, reason, rules_digest)| {
        PolicyDecision {
            allowed,
            reason,
            rules_digest,
        }
    })
}

prop_compose! {
    fn report()(
        exit in exit(),
        stderr in blob(),
        stdout_truncated: bool,
        stderr_truncated: bool,
        times: [u64; 3],
        digest: [u8; 32],
        commitment: [u8; 32],
        policy in option::of(policy()),
    ) -> Report {
        let [cpu_microseconds, wall_microseconds, peak_memory_bytes] = times;
        Report {
            exit,
            stderr,
            stdout_truncated,
            stderr_truncated,
            cpu_microseconds,
            wall_microseconds,
            peak_memory_bytes,
            policy,
            ..Report::with_digest(digest, commitment.into())
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".*") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn text_that_looks_like_json_never_panics(text in r#"[{}\[\]",:0-9a-fxX\\u \-]{0,100}"#) {
        decode_all(text.as_bytes());
    }

    #[test]
    fn an_altered_body_never_panics(
        body in wasm_request(),
        at: prop::sample::Index,
        value: u8,
        cut: prop::sample::Index,
    ) {
        for format in BOTH {
            let mut bytes = format.encode(&body).unwrap();
            decode_altered(&mut bytes, &at, value);
            bytes.truncate(cut.index(bytes.len()));
            decode_all(&bytes);
        }
    }

    #[test]
    fn an_altered_report_never_panics(report in report(), at: prop::sample::Index, value: u8) {
        let mut bytes = report.encode().unwrap();
        decode_altered(&mut bytes, &at, value);
    }

    #[test]
    fn requests_return_as_they_were(body in wasm_request()) {
        returns(&body)?;
    }

    #[test]
    fn requests_about_agents_return_as_they_were(call in agent_request(), deployment in deploy_request()) {
        returns(&call)?;
        returns(&deployment)?;
    }

    #[test]
    fn agents_that_were_found_return_as_they_were(found in found()) {
        let bytes = ContentFormat::Cbor.encode(&found).unwrap();
        prop_assert_eq!(&ContentFormat::Cbor.decode::<Found>(&bytes).unwrap(), &found);
        // JSON's reader may be off by the last bits of a number.
        let bytes = ContentFormat::Json.encode(&found).unwrap();
        let read = ContentFormat::Json.decode::<Found>(&bytes).unwrap();
        prop_assert!((read.score - found.score).abs() <= found.score.abs() * 1e-12);
        prop_assert_eq!(Found { score: found.score, ..read }, found);
    }

    #[test]
    fn an_altered_request_about_an_agent_never_panics(
        body in agent_request(),
        at: prop::sample::Index,
        value: u8,
        cut: prop::sample::Index,
    ) {
        for format in BOTH {
            let mut bytes = format.encode(&body).unwrap();
            decode_altered(&mut bytes, &at, value);
            bytes.truncate(cut.index(bytes.len()));
            decode_all(&bytes);
        }
    }

    #[test]
    fn no_proof_that_was_not_signed_holds(proof in proof(), client: [u8; 32], id in id()) {
        let Ok(client) = PrivateKey::from_bytes(&client) else {
            return Ok(());
        };
        let client = client.public_key();
        prop_assert!(proof.verify(client, client, &id).is_err());
    }

    #[test]
    fn responses_return_as_they_were(body in response()) {
        returns(&body)?;
    }

    #[test]
    fn reports_return_as_they_were(report in report()) {
        prop_assert_eq!(&Report::decode(&report.encode().unwrap()).unwrap(), &report);
        returns(&report)?;
    }

    #[test]
    fn hex_returns_as_it_was(bytes in vec(any::<u8>(), 0..300)) {
        let bytes = HexBytes(bytes);
        let text = bytes.to_string();
        prop_assert_eq!(&text.parse::<HexBytes>().unwrap(), &bytes);
        prop_assert_eq!(&text.to_uppercase().parse::<HexBytes>().unwrap(), &bytes);
        prop_assert_eq!(&format!("0X{text}").parse::<HexBytes>().unwrap(), &bytes);
    }

    #[test]
    fn session_ids_return_as_they_were(id in id()) {
        prop_assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        prop_assert_eq!(SessionId::try_from(&id.as_bytes()[..]).unwrap(), id);
    }

    #[test]
    fn text_is_a_session_id_only_in_two_forms(text in "[0-9a-f\\-{}]{30,40}") {
        if let Ok(id) = text.parse::<SessionId>() {
            let plain = id.to_string().replace('-', "");
            prop_assert!(text == id.to_string() || text == plain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_return_as_they_were(secret: [u8; 32]) {
        // Zero and values from the group order up are no keys, and too rare to meet here.
        let key = PrivateKey::from_bytes(&secret).unwrap();
        let public = key.public_key();
        prop_assert_eq!(&PublicKey::from_sec1(&public.to_bytes()).unwrap(), public);
    }

    #[test]
    fn an_altered_proof_does_not_hold(owner: [u8; 32], place in 0_usize..64, bit in 0_u8..8, id in id()) {
        let owner = OwnerKey::from_bytes(&owner).unwrap();
        let (client, session) = (PrivateKey::generate(), PrivateKey::generate());
        let (client, session) = (client.public_key(), session.public_key());
        let mut proof = owner.prove(client, session, &id);
        prop_assert_eq!(&proof.verify(client, session, &id).unwrap(), owner.public_key());
        if let Some(byte) = proof.signature.0.get_mut(place) {
            *byte ^= 1 << bit;
        }
        prop_assert!(proof.verify(client, session, &id).is_err());
    }

    #[test]
    fn a_key_that_is_accepted_is_written_as_it_was_read(tag in 2_u8..=3, x: [u8; 32]) {
        let bytes = [&[tag], &x[..]].concat();
        if let Ok(key) = PublicKey::from_sec1(&bytes) {
            prop_assert_eq!(&key.to_bytes()[..], &bytes);
        }
    }

    #[test]
    fn a_point_off_the_curve_is_refused(x: [u8; 32], y: [u8; 32]) {
        let bytes = [&[4], &x[..], &y].concat();
        prop_assert!(PublicKey::from_sec1(&bytes).is_err());
    }
}

proptest! {
    #[test]
    fn chunks_come_out_of_a_sequence_as_they_went_in(
        chunks in vec(vec(any::<u8>(), 0..300), 0..6),
        last in vec(any::<u8>(), 0..40),
        size in 1..400_usize,
    ) {
        let last = [&[0xa0][..], &last].concat();
        let mut body: Vec<u8> = chunks.iter().flat_map(|chunk| stream::item(chunk)).collect();
        body.extend(&last);
        let mut reader = StreamReader::default();
        let mut read = Vec::new();
        for part in body.chunks(size) {
            read.extend(reader.push(part).unwrap());
        }
        prop_assert_eq!(read, chunks);
        prop_assert_eq!(reader.finish().unwrap(), last);
    }
}

#[test]
fn a_chunk_of_no_bounds_is_refused() {
    for head in [
        &[0x5f][..],
        &[0x5a, 0x00, 0x10, 0x00, 0x01],
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(StreamReader::default().push(head).is_err());
    }
}
