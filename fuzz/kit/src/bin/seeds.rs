//! Writes the seeds of the targets here: documents of the vectors of this repository, and a few that are made for it.

use std::error::Error;
use std::fs;
use std::path::Path;

use hypervisor_evidence::Evidence;
use hypervisor_fuzz_kit::simulated;
use hypervisor_protocol::environment::{self, Bundle, ExecuteInput, Terms};
use hypervisor_protocol::{
    AgentRequest, ContentFormat, CreateKeypairRequest, EnvironmentRequest, ExecuteWasmRequest,
    Exit, HexBytes, OwnerKey, PrivateKey, Problem, ProblemType, Report, SearchRequest, SessionId,
    stream,
};
use serde::Serialize;
use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../targets/__fuzz__");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn keep(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> Outcome {
    let folder = Path::new(FOLDER).join(target).join("corpus");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)?;
    Ok(())
}

fn file(path: &str) -> Outcome<Vec<u8>> {
    Ok(fs::read(Path::new(ROOT).join(path))?)
}

fn json(path: &str) -> Outcome<Value> {
    Ok(serde_json::from_slice(&file(path)?)?)
}

/// Every text of hex in a document that is so long, as bytes.
fn hex(document: &Value, least: usize, found: &mut Vec<Vec<u8>>) {
    match document {
        Value::String(text) => {
            let bytes = const_hex::decode(text).ok();
            found.extend(bytes.filter(|bytes| bytes.len() >= least));
        }
        Value::Array(values) => values.iter().for_each(|value| hex(value, least, found)),
        Value::Object(members) => members.values().for_each(|value| hex(value, least, found)),
        _ => {}
    }
}

fn both(target: &str, name: &str, body: &impl Serialize) -> Outcome {
    for (format, end) in [(ContentFormat::Json, "json"), (ContentFormat::Cbor, "cbor")] {
        keep(target, &format!("{name}.{end}"), format.encode(body)?)?;
    }
    Ok(())
}

fn bodies() -> Outcome {
    let (client, host) = (
        PrivateKey::from_bytes(&[1; 32])?,
        PrivateKey::from_bytes(&[2; 32])?,
    );
    let id = SessionId::from_bytes([3; 16]);
    let owner = OwnerKey::from_bytes(&[4; 32])?;
    let owner = owner.prove(client.public_key(), host.public_key(), &id);
    let sealed = HexBytes((0..40).collect());
    let public_key = HexBytes(client.public_key().as_bytes().to_vec());
    both(
        "bodies",
        "keypair",
        &CreateKeypairRequest {
            pubkey: public_key.clone(),
            nonce: Some(HexBytes(vec![5; 32])),
        },
    )?;
    both(
        "bodies",
        "wasm",
        &ExecuteWasmRequest {
            encrypted_wasm: sealed.clone(),
            encrypted_arguments: vec![sealed.clone(), sealed.clone()],
            public_key: public_key.clone(),
            session_id: Some(id),
            sequence: 7,
            encrypted_stdin: Some(sealed.clone()),
        },
    )?;
    both(
        "bodies",
        "agent",
        &AgentRequest {
            encrypted_agent: sealed.clone(),
            encrypted_stdin: Some(sealed.clone()),
            encrypted_arguments: vec![sealed.clone()],
            public_key: public_key.clone(),
            session_id: Some(id),
            sequence: 8,
            owner: Some(owner.clone()),
        },
    )?;
    both(
        "bodies",
        "environment",
        &EnvironmentRequest {
            encrypted_environment: sealed.clone(),
            encrypted_input: Some(sealed.clone()),
            public_key,
            session_id: None,
            sequence: u64::MAX,
            owner,
        },
    )?;
    both(
        "bodies",
        "search",
        &SearchRequest {
            description: "weather".to_owned(),
            limit: Some(5),
        },
    )?;
    both(
        "bodies",
        "problem",
        &Problem::new(ProblemType::MalformedRequest),
    )?;
    let vectors = json("crates/client/vectors/settled.json")?;
    keep("bodies", "answer.json", serde_json::to_vec(&vectors)?)
}

fn fields() -> Outcome {
    let bundle = Bundle {
        language: "javascript".to_owned(),
        main: "main.js".to_owned(),
        modules: [("main.js".to_owned(), HexBytes(b"export default 1".to_vec()))].into(),
        packages: [("a.js".to_owned(), HexBytes(b"export {}".to_vec()))].into(),
        setup: Some("let a = 1".to_owned()),
    };
    keep("fields", "bundle", environment::encode(&bundle)?)?;
    let terms = Terms {
        name: Some("mine".to_owned()),
        idle_seconds: Some(60),
        outgoing: Some(vec!["https://*.example.com".to_owned()]),
        ..Terms::default()
    };
    keep("fields", "terms", environment::encode(&terms)?)?;
    keep(
        "fields",
        "input",
        environment::encode(&ExecuteInput::default())?,
    )?;
    let commitment = [9; 32].into();
    for (name, exit) in [
        ("ok", Exit::Ok),
        ("code", Exit::Code { code: 3 }),
        (
            "trap",
            Exit::Trap {
                reason: "unreachable".to_owned(),
            },
        ),
    ] {
        let report = Report::new(exit, b"program", commitment);
        keep("fields", &format!("report-{name}"), report.encode()?)?;
    }
    keep("fields", "key", simulated::key(1).as_bytes())?;
    keep(
        "fields",
        "session",
        SessionId::from_bytes([3; 16]).to_string(),
    )?;
    let chunks = [vec![1; 5], vec![2; 40], vec![3; 300]];
    let mut streamed: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| stream::item(chunk))
        .collect();
    streamed.extend([0xa1, 0x61, b'a', 1]);
    keep("streams", "three", streamed)
}

fn evidence() -> Outcome {
    let good = simulated::evidence();
    for (format, end) in [(ContentFormat::Json, "json"), (ContentFormat::Cbor, "cbor")] {
        keep(
            "verification",
            &format!("simulated.{end}"),
            good.encode(format)?,
        )?;
        let small = Evidence {
            collateral: None,
            ..good.clone()
        };
        keep(
            "evidence_documents",
            &format!("evidence.{end}"),
            small.encode(format)?,
        )?;
    }
    keep("evidence_documents", "log", good.log.unwrap_or_default())?;
    keep("evidence_documents", "binding", good.binding)?;
    for name in [
        "binding",
        "evidence",
        "log",
        "merkle",
        "receipt",
        "statement",
    ] {
        let mut found = Vec::new();
        hex(
            &json(&format!("crates/evidence/vectors/{name}.json"))?,
            64,
            &mut found,
        );
        found.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
        for (number, bytes) in found.iter().take(3).enumerate() {
            keep("evidence_documents", &format!("{name}-{number}"), bytes)?;
        }
    }
    Ok(())
}

fn quotes_and_logs() -> Outcome {
    const REAL: &str = "crates/verify/vectors/real";
    for name in [
        "tdx_quote",
        "tdx_quote_td15ex",
        "boot_ubuntu_quote",
        "report_milan_vlek.bin",
    ] {
        keep("quotes", name, file(&format!("{REAL}/{name}"))?)?;
    }
    keep("quotes", "tdx_v4", file("crates/tsm/vectors/tdx_v4.bin")?)?;
    keep("quotes", "tdx_v5", file("crates/tsm/vectors/tdx_v5.bin")?)?;
    let milan = String::from_utf8(file(&format!("{REAL}/report_milan.hex"))?)?;
    keep("quotes", "report_milan", const_hex::decode(milan.trim())?)?;
    for name in ["azure_milan", "azure_tdx"] {
        let mut found = Vec::new();
        hex(&json(&format!("{REAL}/vtpm_{name}.json"))?, 64, &mut found);
        for (number, bytes) in found
            .iter()
            .filter(|bytes| bytes.len() < 4096)
            .take(4)
            .enumerate()
        {
            keep("quotes", &format!("vtpm-{name}-{number}"), bytes)?;
        }
    }
    keep(
        "event_logs",
        "ubuntu",
        file(&format!("{REAL}/boot_ubuntu_ccel"))?,
    )?;
    let cos = file(&format!("{REAL}/boot_cos_ccel"))?;
    keep("event_logs", "cos", cos)?;
    keep("event_logs", "ima", ima())
}

/// A list of two files as the kernel writes it.
fn ima() -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let entry = |path: &[u8]| {
        let digest = [b"sha256:\0".as_slice(), &[7; 32]].concat();
        let data = [sized(&digest), sized(&[path, b"\0"].concat())].concat();
        [
            &10_u32.to_le_bytes()[..],
            &[1; 20],
            &sized(b"ima-ng"),
            &sized(&data),
        ]
        .concat()
    };
    [entry(b"boot_aggregate"), entry(b"/usr/bin/init")].concat()
}

fn transparency() -> Outcome {
    for name in ["armored-witness", "sum.golang.org"] {
        let bytes = file(&format!("crates/tlog/vectors/{name}.checkpoint"))?;
        keep("transparency", name, bytes)?;
    }
    let checkpoint = String::from_utf8(file("crates/tlog/vectors/sum.golang.org.checkpoint")?)?;
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let proof =
        format!("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 3\n{hash}\n{hash}\n\n{checkpoint}");
    keep("transparency", "proof", proof)?;
    let consistency = format!("old 3\n{hash}\n\n{checkpoint}");
    keep("transparency", "consistency", consistency)?;
    let digest = "00".repeat(48);
    let entry = format!(
        r#"{{"version":1,"kind":"component","name":"payments","release":"0.1.0","sha384":"{digest}"}}"#
    );
    keep("transparency", "entry", entry)?;
    keep(
        "transparency",
        "origin",
        "hypervisor/audit/0123456789abcdef0123456789abcdef/passing",
    )?;
    let started = [&[5_u8][..], &[0; 40]].concat();
    keep("transparency", "audit", started)
}

fn programs() -> Outcome {
    const RUN: &str = r#"(component
        (import "wasi:io/poll@0.2.6" (instance))
        (core module $m (memory 1) (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.6" (instance $exports)))"#;
    const MODULE: &str = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (memory (export "memory") 2)
        (func (export "_start")))"#;
    const FOREIGN: &str = r#"(component (import "acme:db/store@1.0.0" (instance (export "get" (func (param "a" string))))))"#;
    for (name, text) in [("command", RUN), ("module", MODULE), ("foreign", FOREIGN)] {
        keep("components", name, wat::parse_str(text)?)?;
    }
    let tree = hypervisor_image::cpio::Tree(
        [
            ("bin".to_owned(), hypervisor_image::cpio::Node::Folder),
            (
                "bin/init".to_owned(),
                hypervisor_image::cpio::Node::File {
                    bytes: b"\x7fELF".to_vec(),
                    program: true,
                },
            ),
            (
                "init".to_owned(),
                hypervisor_image::cpio::Node::Link("bin/init".to_owned()),
            ),
            (
                "null".to_owned(),
                hypervisor_image::cpio::Node::Device { major: 1, minor: 3 },
            ),
        ]
        .into(),
    );
    keep("images", "archive", tree.write())?;
    keep("images", "program", program())
}

/// A program of UEFI with one section: its headers, as `pe.rs` reads them.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664_u16.to_le_bytes());
    put(0x46, &1_u16.to_le_bytes());
    put(0x54, &240_u16.to_le_bytes());
    put(0x58, &0x20b_u16.to_le_bytes());
    put(0x58 + 32, &0x1000_u32.to_le_bytes());
    put(0x58 + 36, &0x200_u32.to_le_bytes());
    put(0x58 + 56, &0x2000_u32.to_le_bytes());
    put(0x58 + 60, &0x200_u32.to_le_bytes());
    put(0x58 + 108, &16_u32.to_le_bytes());
    let section = 0x58 + 240;
    put(section, b".cmdline");
    put(section + 8, &4_u32.to_le_bytes());
    put(section + 12, &0x1000_u32.to_le_bytes());
    put(section + 16, &0x200_u32.to_le_bytes());
    put(section + 20, &0x200_u32.to_le_bytes());
    put(0x200, b"quiet");
    bytes
}

fn agents() -> Outcome {
    use bhttp::{Message, Mode, StatusCode};
    let mut request = Message::request(
        b"POST".to_vec(),
        b"http".to_vec(),
        b"weather.agent.internal".to_vec(),
        b"/today?in=Oslo".to_vec(),
    );
    request.put_header("content-type", "application/json");
    request.put_header("content-length", "2");
    request.write_content(b"{}");
    request.put_trailer("digest", "x");
    let mut response = Message::response(StatusCode::try_from(200_u16)?);
    response.put_header("content-type", "text/plain");
    response.put_header("set-cookie", "a=1");
    response.write_content(b"rain");
    response.put_trailer("digest", "y");
    for (mode, name) in [
        (Mode::KnownLength, "known"),
        (Mode::IndeterminateLength, "indeterminate"),
    ] {
        for (message, what) in [(&request, "request"), (&response, "response")] {
            let mut bytes = Vec::new();
            message.write_bhttp(mode, &mut bytes)?;
            keep("binary_http", &format!("{what}-{name}"), bytes)?;
        }
    }
    keep(
        "cards",
        "challenge",
        file("crates/client/vectors/payment-required.txt")?.trim_ascii(),
    )?;
    keep("cards", "reference", "weather.operator")?;
    keep(
        "cards",
        "card",
        r#"{"protocolVersion":"1.0","name":"weather","version":"1.2","description":"Tells.","url":"https://host.example/a2a/weather/",
"capabilities":{"streaming":true,"extensions":[{"uri":"urn:hypervisor:a2a:evidence:v1","params":{"evidenceUrl":"evidence"}}]},
"skills":[{"id":"a","name":"b","tags":[],"examples":[""]}],"n":[1,-2.5e3,1e21,0.1,null,true],"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"AA","y":"AA"}],"signatures":[{"protected":"e30","signature":"AA"}]}"#,
    )
}

fn manifests() -> Outcome {
    keep(
        "manifests",
        "name",
        "weather.0123456789abcdef0123456789abcdef",
    )?;
    keep("manifests", "origin", "https://*.example.com:8443")?;
    keep(
        "manifests",
        "full",
        r#"name = "weather"
version = "1.2"
description = "Tells the weather."
skills = ["telling"]
price = "0.01 USDC"
reuse = 8
outgoing = ["https://api.example.com", "http://127.0.0.1:8080"]
examples = ["rain?"]

[limits]
cpu = "1s"
memory = "64 MiB"

[environment]
KEY = "value"
"#,
    )
}

/// Bytes that `arbitrary` makes values of: texts of all lengths, and a byte that decides at the end of each.
fn plugins() -> Outcome {
    for (name, step) in [("rising", 1_u8), ("jumping", 37), ("text", 0)] {
        let bytes: Vec<u8> = (0..600_u16)
            .map(|at| b'a'.wrapping_add(step.wrapping_mul(at as u8)))
            .collect();
        keep("plugin_answers", name, &bytes)?;
        keep("engine_answers", name, bytes)?;
    }
    Ok(())
}

fn main() -> Outcome {
    bodies()?;
    fields()?;
    evidence()?;
    quotes_and_logs()?;
    transparency()?;
    programs()?;
    manifests()?;
    plugins()?;
    agents()
}
