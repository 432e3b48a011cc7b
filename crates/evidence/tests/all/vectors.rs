//! `vectors/*.json`: every format with its intermediate values, for implementers in other languages.
//!
//! The values are computed here from the primitives alone (SHA-256, SHA-384, ECDSA, CBOR), following the crate's
//! documentation, and compared with the files and with what the library does. `BLESS=1` writes the files anew. Keys are those
//! of RFC 5903 §8.1 and RFC 6979 §A.2.5; signatures are deterministic (RFC 6979).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::{Value as Cbor, cbor};
use const_hex::{decode, encode};
use hypervisor_evidence::{
    Backend, Binding, ComponentLog, Evidence, InclusionProof, LogEntry, RawQuote, Receipt,
    ResultTree, SessionEntry, Statement, Subject, VerifierNonce, manifest,
};
use hypervisor_protocol::{Commitment, ContentFormat, HexArray, PublicKey, SessionId};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384};

/// RFC 5903 §8.1, i and r.
const CLIENT_PRIVATE: &str = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";
const SESSION_PRIVATE: &str = "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53";
/// RFC 6979 §A.2.5.
const IDENTITY_PRIVATE: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const SESSION_ID: &str = "017f22e279b07cc398c4dc0c0c07398f";
const NONCE: &str = "6f8a0e3c51d2b79408c6ae1f9d3b52746f8a0e3c51d2b79408c6ae1f9d3b5275";
const BOOT_ID: &str = "00112233445566778899aabbccddeeff";

/// Compares with a file of `vectors/`, or writes it.
fn golden(name: &str, value: &Value) {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(value).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(&file, value, "{name}");
}

fn signing_key(private: &str) -> SigningKey {
    SigningKey::from_slice(&decode(private).unwrap()).unwrap()
}

fn public(private: &str) -> PublicKey {
    let point = signing_key(private).verifying_key().to_sec1_point(true);
    PublicKey::from_sec1(point.as_bytes()).unwrap()
}

fn sha384(parts: &[&[u8]]) -> [u8; 48] {
    Sha384::digest(parts.concat()).into()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn lp(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn tlv(tag: u16, value: &[u8]) -> Vec<u8> {
    [&tag.to_be_bytes()[..], &lp(value)].concat()
}

fn cbor_bytes(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn bytes(value: &[u8]) -> Cbor {
    Cbor::Bytes(value.to_vec())
}

fn commitment(n: u8) -> Commitment {
    Commitment(sha256(&[b"result", &[n]]))
}

fn log() -> ComponentLog {
    let mut log = ComponentLog::with_register([0x11; 48]);
    for (name, component, imports) in [
        (
            "payments",
            &b"\0asm payments"[..],
            &["wasi:clocks/wall-clock@0.2.6"][..],
        ),
        ("policy", b"\0asm policy", &[]),
        (
            "agent/hello",
            b"\0asm hello",
            &["wasi:cli/stdout@0.2.6", "wasi:http/outgoing-handler@0.2.6"],
        ),
    ] {
        let imports = imports.iter().map(|import| (*import).to_owned()).collect();
        log.append(LogEntry::new(name, component, imports)).unwrap();
    }
    log
}

fn manifest_document() -> Vec<u8> {
    cbor_bytes(&cbor!({"version" => 1, "host" => "hypervisor 0.1.0"}).unwrap())
}

fn binding(subject: Subject, backend: Backend, register_bound: bool, nonce: bool) -> Binding {
    Binding {
        subject,
        nonce: nonce.then(|| NONCE.parse::<VerifierNonce>().unwrap()),
        identity_public_key: public(IDENTITY_PRIVATE),
        tls_key: None,
        manifest_digest: manifest::digest(&manifest_document()),
        log: log().head(),
        register_bound,
        backend,
        boot_id: decode(BOOT_ID).unwrap().try_into().unwrap(),
    }
}

fn session() -> Subject {
    Subject::Session {
        session_public_key: public(SESSION_PRIVATE),
        session_id: SessionId::from_bytes(decode(SESSION_ID).unwrap().try_into().unwrap()),
        client_public_key: public(CLIENT_PRIVATE),
    }
}

fn batch() -> ResultTree {
    ResultTree::new(&(0..5).map(commitment).collect::<Vec<_>>()).unwrap()
}

/// The binding and its report data, from nothing but concatenation and SHA-384.
fn binding_case(name: &str, binding: &Binding) -> Value {
    let (purpose, own) = match &binding.subject {
        Subject::Session { .. } | Subject::Peer(_) => (
            binding.subject.purpose().code(),
            vec![
                (0x0010, public(SESSION_PRIVATE).as_bytes().to_vec()),
                (0x0011, decode(SESSION_ID).unwrap()),
                (0x0012, public(CLIENT_PRIVATE).as_bytes().to_vec()),
            ],
        ),
        Subject::ResultBatch { .. } => {
            let root = batch().root();
            (
                2,
                vec![(0x0021, [&root.root[..], &root.count.to_be_bytes()].concat())],
            )
        }
        Subject::Identity => (3, vec![]),
        Subject::SessionBatch { sessions: root } => (
            4,
            vec![(0x0022, [&root.root[..], &root.count.to_be_bytes()].concat())],
        ),
    };
    let backend = match binding.backend {
        Backend::Tdx => "tdx",
        Backend::SevSnp => "sev-snp",
        Backend::Simulated => "simulated",
    };
    let flags = u8::from(binding.nonce.is_some())
        | 2
        | u8::from(binding.register_bound) << 2
        | u8::from(backend == "simulated") << 7;
    let header = [&b"HYPERVSR"[..], &[1, purpose, 1, flags, 0, 0, 0, 0]].concat();
    let head = log().head();
    let mut fields = own;
    if let Some(key) = binding.tls_key {
        fields.push((0x0014, key.to_vec()));
    }
    if binding.nonce.is_some() {
        fields.push((0x0001, decode(NONCE).unwrap()));
    }
    fields.extend([
        (0x0013, public(IDENTITY_PRIVATE).as_bytes().to_vec()),
        (0x0030, sha384(&[&manifest_document()]).to_vec()),
        (0x0031, [&head.head[..], &head.count.to_be_bytes()].concat()),
        (0x0040, backend.as_bytes().to_vec()),
        (0x0041, decode(BOOT_ID).unwrap()),
    ]);
    fields.sort();
    let tlvs: Vec<u8> = fields
        .iter()
        .flat_map(|(tag, value)| tlv(*tag, value))
        .collect();
    let encoded = [header.clone(), tlvs].concat();
    let digest = sha384(&[b"hypervisor/v1 report-data", &[0], &encoded]);
    let report_data = [&header[..], &digest].concat();

    assert_eq!(binding.encode(), encoded, "{name}");
    assert_eq!(
        &binding.report_data().as_bytes()[..],
        &report_data,
        "{name}"
    );
    assert_eq!(&Binding::decode(&encoded).unwrap(), binding, "{name}");
    json!({
        "name": name,
        "header": encode(&header),
        "tlv": fields.iter().map(|(tag, value)| json!({
            "tag": format!("{tag:04x}"), "value": encode(value),
        })).collect::<Vec<_>>(),
        "binding": encode(&encoded),
        "report_data": encode(&report_data),
    })
}

#[test]
fn bindings_and_report_data_are_those_of_the_vectors() {
    let results = Subject::ResultBatch {
        results: batch().root(),
    };
    let cases = [
        (
            "session on TDX with a nonce and a register",
            binding(session(), Backend::Tdx, true, true),
        ),
        (
            "session on SEV-SNP without a nonce",
            binding(session(), Backend::SevSnp, false, false),
        ),
        (
            "session, simulated",
            binding(session(), Backend::Simulated, false, true),
        ),
        (
            "result batch on TDX",
            binding(results, Backend::Tdx, true, false),
        ),
        (
            "identity on SEV-SNP with a nonce",
            binding(Subject::Identity, Backend::SevSnp, false, true),
        ),
        (
            "identity on TDX of a host that ends TLS",
            Binding {
                tls_key: Some(sha256(&[b"a public key"])),
                ..binding(Subject::Identity, Backend::Tdx, false, true)
            },
        ),
    ];
    let cases: Vec<Value> = cases
        .iter()
        .map(|(name, binding)| binding_case(name, binding))
        .collect();
    golden(
        "binding",
        &json!({"label": "hypervisor/v1 report-data", "cases": cases}),
    );
}

#[test]
fn the_component_log_is_that_of_the_vectors() {
    let log = log();
    let mut head = [0; 48];
    let mut register = [0x11; 48];
    let entries: Vec<Value> = log
        .entries()
        .iter()
        .map(|entry| {
            let mut preimage = b"hypervisor/v1 component-log\0".to_vec();
            preimage.extend(lp(entry.name.as_bytes()));
            preimage.extend(entry.digest.0);
            preimage.extend((entry.imports.len() as u32).to_be_bytes());
            for import in &entry.imports {
                preimage.extend(lp(import.as_bytes()));
            }
            let digest = sha384(&[&preimage]);
            head = sha384(&[&head, &digest]);
            register = sha384(&[&register, &digest]);
            json!({
                "name": entry.name, "digest": entry.digest, "imports": entry.imports,
                "entry_digest": encode(digest), "head": encode(head), "register": encode(register),
            })
        })
        .collect();
    assert_eq!(log.head().head, head);
    assert_eq!(log.head().count, 3);
    assert_eq!(log.register(), Some(register));

    let document = Cbor::Map(vec![
        (Cbor::from("version"), Cbor::from(1)),
        (Cbor::from("register_start"), bytes(&[0x11; 48])),
        (
            Cbor::from("entries"),
            Cbor::Array(
                log.entries()
                    .iter()
                    .map(|entry| {
                        let imports = entry.imports.iter().map(|i| Cbor::from(i.as_str()));
                        Cbor::Map(vec![
                            (Cbor::from("name"), Cbor::from(entry.name.as_str())),
                            (Cbor::from("digest"), bytes(&entry.digest.0)),
                            (Cbor::from("imports"), Cbor::Array(imports.collect())),
                        ])
                    })
                    .collect(),
            ),
        ),
    ]);
    let document = cbor_bytes(&document);
    assert_eq!(log.encode(ContentFormat::Cbor).unwrap(), document);
    for format in [ContentFormat::Cbor, ContentFormat::Json] {
        let encoded = log.encode(format).unwrap();
        assert_eq!(ComponentLog::decode(format, &encoded).unwrap(), log);
    }
    golden(
        "log",
        &json!({
            "label": "hypervisor/v1 component-log",
            "register_start": encode([0x11; 48]),
            "entries": entries,
            "cbor": encode(document),
            "json": serde_json::from_slice::<Value>(&log.encode(ContentFormat::Json).unwrap()).unwrap(),
        }),
    );
}

/// RFC 9162 §2.1.1.
fn root_of(results: &[Commitment]) -> [u8; 32] {
    if let [one] = results {
        return sha256(&[&[0], &one.0]);
    }
    let (left, right) = results.split_at(results.len().next_power_of_two() / 2);
    sha256(&[&[1], &root_of(left), &root_of(right)])
}

/// RFC 9162 §2.1.3.1.
fn path_of(index: usize, results: &[Commitment]) -> Vec<[u8; 32]> {
    if results.len() == 1 {
        return Vec::new();
    }
    let split = results.len().next_power_of_two() / 2;
    let (left, right) = results.split_at(split);
    if index < split {
        [path_of(index, left), vec![root_of(right)]].concat()
    } else {
        [path_of(index - split, right), vec![root_of(left)]].concat()
    }
}

#[test]
fn result_trees_are_those_of_the_vectors() {
    let cases: Vec<Value> = [1, 2, 3, 5, 8]
        .into_iter()
        .map(|n: usize| {
            let results: Vec<Commitment> = (0..n as u8).map(commitment).collect();
            let tree = ResultTree::new(&results).unwrap();
            assert_eq!(tree.root().root, root_of(&results));
            let proofs: Vec<Value> = (0..n)
                .map(|i| {
                    let proof = InclusionProof {
                        index: i as u64,
                        count: n as u64,
                        path: path_of(i, &results).into_iter().map(HexArray).collect(),
                    };
                    assert_eq!(tree.proof(i), Some(proof.clone()));
                    assert!(proof.verifies(&results[i], &tree.root()));
                    let encoded = proof.encode(ContentFormat::Cbor).unwrap();
                    json!({"proof": proof, "cbor": encode(encoded)})
                })
                .collect();
            json!({"results": results, "root": encode(tree.root().root), "count": n, "proofs": proofs})
        })
        .collect();
    golden("merkle", &json!({"cases": cases}));
}

/// COSE_Sign1 by hand: what is signed (RFC 9052 §4.4), and the tagged message.
fn sign1(content_type: &str, payload: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let protected = cbor_bytes(&cbor!({1 => -7, 3 => content_type}).unwrap());
    let signed = cbor_bytes(&Cbor::Array(vec![
        Cbor::from("Signature1"),
        bytes(&protected),
        bytes(b""),
        bytes(payload),
    ]));
    let signature: Signature = signing_key(IDENTITY_PRIVATE).sign(&signed);
    // Of the two values of s that verify, the lower.
    let signature = signature.normalize_s();
    let message = Cbor::Tag(
        18,
        Box::new(Cbor::Array(vec![
            bytes(&protected),
            Cbor::Map(vec![]),
            bytes(payload),
            bytes(&signature.to_bytes()),
        ])),
    );
    (protected, signed, cbor_bytes(&message))
}

fn signer(message: &[u8]) -> Result<[u8; 64], std::convert::Infallible> {
    let signature: Signature = signing_key(IDENTITY_PRIVATE).sign(message);
    Ok(signature.to_bytes().into())
}

fn receipt(paid: bool) -> Receipt {
    let receipt = Receipt::new(
        SessionId::from_bytes(decode(SESSION_ID).unwrap().try_into().unwrap()),
        7,
        Commitment(sha256(&[b"request"])),
        commitment(0),
        manifest::digest(&manifest_document()),
        1_795_000_000,
    );
    if paid {
        receipt.with_payment(*b"a payment's receipt")
    } else {
        receipt
    }
}

#[test]
fn receipts_are_those_of_the_vectors() {
    let cases: Vec<Value> = [false, true]
        .into_iter()
        .map(|paid| {
            let mut payload = vec![
                (Cbor::from("version"), Cbor::from(1)),
                (
                    Cbor::from("session_id"),
                    bytes(&decode(SESSION_ID).unwrap()),
                ),
                (Cbor::from("sequence"), Cbor::from(7)),
                (
                    Cbor::from("request_commitment"),
                    bytes(&sha256(&[b"request"])),
                ),
                (Cbor::from("result_commitment"), bytes(&commitment(0).0)),
                (
                    Cbor::from("manifest_digest"),
                    bytes(&sha384(&[&manifest_document()])),
                ),
                (Cbor::from("issued_at"), Cbor::from(1_795_000_000)),
            ];
            if paid {
                payload.push((Cbor::from("payment"), bytes(b"a payment's receipt")));
            }
            let payload = cbor_bytes(&Cbor::Map(payload));
            let (protected, signed, message) =
                sign1("application/vnd.hypervisor.receipt+cbor", &payload);
            let receipt = receipt(paid);
            assert_eq!(receipt.sign(signer).unwrap(), message);
            assert_eq!(
                Receipt::verify(&message, &public(IDENTITY_PRIVATE)).unwrap(),
                receipt
            );
            json!({
                "receipt": receipt, "payload": encode(payload), "protected": encode(protected),
                "signed": encode(signed), "cose_sign1": encode(message),
            })
        })
        .collect();
    golden(
        "receipt",
        &json!({
            "identity_private_key": IDENTITY_PRIVATE,
            "identity_public_key": encode(public(IDENTITY_PRIVATE).as_bytes()),
            "cases": cases,
        }),
    );
}

#[test]
fn a_receipt_with_the_other_s_is_refused() {
    let order = const_hex::decode_to_array::<_, 32>(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    )
    .unwrap();
    for paid in [false, true] {
        let mut message = receipt(paid).sign(signer).unwrap();
        assert!(Receipt::verify(&message, &public(IDENTITY_PRIVATE)).is_ok());
        // s becomes n − s, byte by byte from the last.
        let at = message.len() - 32;
        let mut borrow = 0;
        for (place, n) in order.iter().enumerate().rev() {
            let difference = i16::from(*n) - i16::from(message[at + place]) - borrow;
            borrow = i16::from(difference < 0);
            message[at + place] = difference.rem_euclid(256) as u8;
        }
        assert!(matches!(
            Receipt::verify(&message, &public(IDENTITY_PRIVATE)),
            Err(hypervisor_evidence::Error::Signature { .. })
        ));
    }
}

#[test]
fn statements_are_those_of_the_vectors() {
    let component = sha384(&[b"\0asm hello"]);
    let payload = cbor_bytes(&Cbor::Map(vec![
        (Cbor::from("version"), Cbor::from(1)),
        (Cbor::from("claim"), bytes(b"a claim")),
        (Cbor::from("component"), bytes(&component)),
        (Cbor::from("issued_at"), Cbor::from(1_795_000_000)),
    ]));
    let (protected, signed, message) = sign1("application/vnd.hypervisor.statement+cbor", &payload);
    let statement = Statement::new(*b"a claim", component, 1_795_000_000).unwrap();
    assert_eq!(statement.sign(signer).unwrap(), message);
    assert_eq!(
        Statement::verify(&message, &public(IDENTITY_PRIVATE)).unwrap(),
        statement
    );
    golden(
        "statement",
        &json!({
            "identity_public_key": encode(public(IDENTITY_PRIVATE).as_bytes()),
            "statement": statement, "payload": encode(payload), "protected": encode(protected),
            "signed": encode(signed), "cose_sign1": encode(message),
        }),
    );
}

#[test]
fn evidence_is_the_collection_of_the_vectors() {
    let binding = binding(session(), Backend::SevSnp, false, true);
    let proof = batch().proof(2).unwrap();
    let snp = Evidence {
        log: Some(log().encode(ContentFormat::Cbor).unwrap()),
        manifest: Some(manifest_document()),
        crl: Some(b"crl".to_vec()),
        statement: Some(b"statement".to_vec()),
        ..Evidence::new(
            RawQuote::SevSnp {
                report: b"report".to_vec(),
                certs: b"certs".to_vec(),
            },
            &binding,
        )
    };
    let tdx = Evidence {
        collateral: Some(b"{}".to_vec()),
        inclusion: Some(proof.encode(ContentFormat::Cbor).unwrap()),
        ..Evidence::new(RawQuote::Tdx(b"quote".to_vec()), &binding)
    };
    const PREFIX: &str = "application/vnd.hypervisor.";
    let (evidence_bit, endorsement_bit) = (4, 2);
    let snp_parts = [
        (
            "snp-report",
            format!("{PREFIX}snp-report"),
            b"report".to_vec(),
            evidence_bit,
        ),
        (
            "certs",
            format!("{PREFIX}snp-certs"),
            b"certs".to_vec(),
            endorsement_bit,
        ),
        (
            "binding",
            format!("{PREFIX}binding"),
            binding.encode(),
            evidence_bit,
        ),
        (
            "log",
            format!("{PREFIX}component-log+cbor"),
            snp.log.clone().unwrap(),
            evidence_bit,
        ),
        (
            "manifest",
            format!("{PREFIX}manifest+cbor"),
            manifest_document(),
            evidence_bit,
        ),
        (
            "crl",
            "application/pkix-crl".to_owned(),
            b"crl".to_vec(),
            endorsement_bit,
        ),
        (
            "statement",
            "application/cose; cose-type=\"cose-sign1\"".to_owned(),
            b"statement".to_vec(),
            evidence_bit,
        ),
    ];
    let tdx_parts = [
        (
            "tdx-quote",
            format!("{PREFIX}tdx-quote"),
            b"quote".to_vec(),
            evidence_bit,
        ),
        (
            "binding",
            format!("{PREFIX}binding"),
            binding.encode(),
            evidence_bit,
        ),
        (
            "collateral",
            format!("{PREFIX}tdx-collateral+json"),
            b"{}".to_vec(),
            endorsement_bit,
        ),
        (
            "inclusion",
            format!("{PREFIX}inclusion-proof+cbor"),
            tdx.inclusion.clone().unwrap(),
            evidence_bit,
        ),
    ];
    let cases: Vec<Value> = [(&snp, &snp_parts[..]), (&tdx, &tdx_parts[..])]
        .into_iter()
        .map(|(evidence, parts)| {
            let mut map = vec![(
                Cbor::from("__cmwc_t"),
                Cbor::from("urn:hypervisor:evidence:v1"),
            )];
            let mut object = json!({"__cmwc_t": "urn:hypervisor:evidence:v1"});
            for (label, media_type, value, indicator) in parts {
                map.push((
                    Cbor::from(*label),
                    Cbor::Array(vec![
                        Cbor::from(media_type.as_str()),
                        bytes(value),
                        Cbor::from(*indicator),
                    ]),
                ));
                object[label] = json!([media_type, URL_SAFE_NO_PAD.encode(value), indicator]);
            }
            let cbor = cbor_bytes(&Cbor::Map(map));
            assert_eq!(evidence.encode(ContentFormat::Cbor).unwrap(), cbor);
            let in_json = evidence.encode(ContentFormat::Json).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&in_json).unwrap(), object);
            for (format, bytes) in [
                (ContentFormat::Cbor, &cbor),
                (ContentFormat::Json, &in_json),
            ] {
                assert_eq!(&Evidence::decode(format, bytes).unwrap(), evidence);
            }
            json!({"json": object, "cbor": encode(cbor)})
        })
        .collect();
    golden("evidence", &json!({"cases": cases}));
}

#[test]
fn a_session_of_a_batch_is_the_leaf_of_its_tlvs_and_stands_in_the_batchs_place() {
    let nonce: VerifierNonce = NONCE.parse().unwrap();
    let entry = SessionEntry::new(&session(), Some(&nonce)).unwrap();
    let tlvs = [
        tlv(0x0001, nonce.as_bytes()),
        tlv(0x0010, public(SESSION_PRIVATE).as_bytes()),
        tlv(0x0011, &decode(SESSION_ID).unwrap()),
        tlv(0x0012, public(CLIENT_PRIVATE).as_bytes()),
    ]
    .concat();
    let leaf = sha256(&[b"hypervisor/v1 session-entry\0", &tlvs]);
    assert_eq!(entry.commitment(), Commitment(leaf));

    let results = [commitment(0), entry.commitment(), commitment(2)];
    let tree = ResultTree::new(&results).unwrap();
    let sessions = tree.root();
    let batch = binding(
        Subject::SessionBatch { sessions },
        Backend::Tdx,
        true,
        false,
    );
    let encoded = batch.encode();
    assert_eq!((encoded[9], encoded[11]), (4, 0b110));
    let root = tlv(0x0022, &[&sessions.root[..], &3_u64.to_be_bytes()].concat());
    assert!(encoded.windows(root.len()).any(|window| window == root));

    let mut evidence = Evidence::new(RawQuote::Tdx(Vec::new()), &batch);
    assert!(Binding::of(&evidence).is_err());
    let proved = entry.prove(tree.proof(1).unwrap()).unwrap();
    evidence.inclusion = Some(proved.clone());
    let about = Binding::of(&evidence).unwrap();
    assert_eq!((&about.subject, &about.nonce), (&session(), &Some(nonce)));
    assert_eq!(about.boot_id, batch.boot_id);
    // Every byte of it counts.
    for at in 0..proved.len() {
        let mut altered = proved.clone();
        altered[at] ^= 1;
        evidence.inclusion = Some(altered);
        assert!(Binding::of(&evidence).is_err(), "byte {at}");
    }
    // What is about one thing is about that, whatever is beside it.
    let alone = binding(session(), Backend::Tdx, true, true);
    evidence.binding = alone.encode();
    assert_eq!(Binding::of(&evidence).unwrap(), alone);
    // A batch has no nonce of its own.
    evidence.binding = binding(batch.subject, Backend::Tdx, true, true).encode();
    assert!(Binding::of(&evidence).is_err());
}
