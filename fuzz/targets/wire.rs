//! Bodies of requests and answers, and what is sealed in them.

use hypervisor_protocol::environment::{
    self, Bundle, EnvironmentInfo, EnvironmentList, EnvironmentLog, EvaluateAnswer, EvaluateInput,
    ExecuteAnswer, ExecuteInput, LogRow, Page, SetupAnswer, Terms,
};
use hypervisor_protocol::{
    AgentInfo, AgentList, AgentLog, AgentRequest, ContentFormat, CreateKeypairRequest,
    CreateKeypairResponse, DeployRequest, DeployResponse, EnvironmentRequest, ExecutePythonRequest,
    ExecuteResponse, ExecuteScriptRequest, ExecuteWasmRequest, HexBytes, OwnerProof, Problem,
    PublicKey, RegistryRequest, Report, SearchRequest, SearchResponse, SessionId, StreamReader,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{bounded, bounded_by_serde};

/// Two characters of JSON, `""` in a list, are an empty list of bytes of 24, in a list that has grown to twice its length.
const TIMES: usize = 64;

/// What is read is written in a way that is read as the same.
fn body<T: Serialize + DeserializeOwned>(format: ContentFormat, bytes: &[u8]) {
    let Ok(read) = bounded_by_serde(bytes, TIMES, || format.decode::<T>(bytes)) else {
        return;
    };
    let written = format.encode(&read).expect("what was read can be written");
    let again = format
        .decode::<T>(&written)
        .expect("what was written can be read");
    assert_eq!(format.encode(&again).unwrap(), written);
}

/// Bodies in both formats.
pub(crate) fn bodies(bytes: &[u8]) {
    for format in [ContentFormat::Json, ContentFormat::Cbor] {
        body::<CreateKeypairRequest>(format, bytes);
        body::<CreateKeypairResponse>(format, bytes);
        body::<ExecuteWasmRequest>(format, bytes);
        body::<ExecutePythonRequest>(format, bytes);
        body::<ExecuteScriptRequest>(format, bytes);
        body::<ExecuteResponse>(format, bytes);
        body::<DeployRequest>(format, bytes);
        body::<DeployResponse>(format, bytes);
        body::<RegistryRequest>(format, bytes);
        body::<AgentRequest>(format, bytes);
        body::<EnvironmentRequest>(format, bytes);
        body::<SearchRequest>(format, bytes);
        body::<OwnerProof>(format, bytes);
        body::<Problem>(format, bytes);
    }
    // JSON's reader may be off by the last bits of a score.
    body::<SearchResponse>(ContentFormat::Cbor, bytes);
    let _ = ContentFormat::Json.decode::<SearchResponse>(bytes);
}

fn field<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = bounded_by_serde(bytes, TIMES, || environment::decode::<T>(bytes)) else {
        return;
    };
    let written = environment::encode(&read).expect("what was read can be written");
    let again = environment::decode::<T>(&written).expect("what was written can be read");
    assert_eq!(environment::encode(&again).unwrap(), written);
}

/// What is sealed: fields of requests, reports, and answers about agents and environments.
pub(crate) fn fields(bytes: &[u8]) {
    field::<Bundle>(bytes);
    field::<Terms>(bytes);
    field::<ExecuteInput>(bytes);
    field::<EvaluateInput>(bytes);
    field::<Page>(bytes);
    field::<SetupAnswer>(bytes);
    field::<ExecuteAnswer>(bytes);
    field::<EvaluateAnswer>(bytes);
    field::<EnvironmentInfo>(bytes);
    field::<EnvironmentList>(bytes);
    field::<LogRow>(bytes);
    field::<AgentInfo>(bytes);
    field::<AgentList>(bytes);
    field::<AgentLog>(bytes);
    if let Ok(log) = environment::decode::<EnvironmentLog>(bytes) {
        // Rows that follow one another are as many as there are.
        assert!(
            log.verified()
                .map_or(true, |rows| rows.len() == log.rows.len())
        );
    }
    if let Ok(report) = Report::decode(bytes) {
        let written = report.encode().expect("what was read can be written");
        assert_eq!(Report::decode(&written).unwrap(), report);
    }
    if let Ok(key) = PublicKey::from_sec1(bytes) {
        assert_eq!(PublicKey::from_sec1(key.as_bytes()).unwrap(), key);
        // The compressed form has one way of being written.
        assert!(bytes.len() != key.as_bytes().len() || bytes == key.as_bytes());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(id) = text.parse::<SessionId>() {
            assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        }
        if let Ok(hex) = text.parse::<HexBytes>() {
            assert_eq!(hex.to_string().parse::<HexBytes>().unwrap(), hex);
        }
        if let Some(format) = ContentFormat::from_media_type(text) {
            let name = format.media_type();
            assert_eq!(ContentFormat::from_media_type(name), Some(format));
        }
    }
}

/// A streamed answer: whatever it is cut into, the same chunks come out of it.
pub(crate) fn streams(bytes: &[u8]) {
    let read = |size: usize| {
        let mut reader = StreamReader::default();
        let mut chunks = Vec::new();
        for piece in bytes.chunks(size) {
            match reader.push(piece) {
                Ok(more) => chunks.extend(more),
                Err(_) => return None,
            }
            assert!(reader.waiting() <= bytes.len());
        }
        Some((chunks, reader.finish().ok()))
    };
    let whole = bounded(bytes, 64, || read(bytes.len().max(1)));
    for size in [1, 3, 64] {
        assert_eq!(read(size), whole);
    }
    if let Some((chunks, _)) = whole {
        assert!(chunks.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    }
}
