//! Bad input: a clear error or a failed check, never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support::*;
use ciborium::Value as Cbor;
use hypervisor_protocol::{Commitment, ContentFormat};
use hypervisor_verify::snp::SnpReport;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Binding, CheckId, ComponentLog, Error, Evidence, InclusionProof, RawQuote, Receipt,
    VerifierNonce, manifest,
};
use p256::ecdsa::signature::Signer;

const BOTH: [ContentFormat; 2] = [ContentFormat::Cbor, ContentFormat::Json];

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn evidence_truncated_at_every_length_is_refused() {
    let evidence = Evidence {
        // The whole is 30 kB; the collateral, a byte string like the others, is most of it.
        collateral: Some(vec![7; 40]),
        ..evidence()
    };
    for format in BOTH {
        let whole = evidence.encode(format).unwrap();
        assert_eq!(Evidence::decode(format, &whole).unwrap(), evidence);
        for length in 0..whole.len() {
            assert!(
                Evidence::decode(format, &whole[..length]).is_err(),
                "{length}"
            );
        }
        let mut longer = whole;
        longer.push(b'0');
        assert!(Evidence::decode(format, &longer).is_err());
    }
}

#[test]
fn a_quote_or_report_truncated_at_every_length_is_refused() {
    let RawQuote::Tdx(quote) = evidence().quote else {
        unreachable!("the simulator makes TDX quotes")
    };
    for length in 0..quote.len() {
        assert!(TdxQuote::parse(&quote[..length]).is_err(), "{length}");
    }
    for length in 0..1300 {
        let parsed = SnpReport::parse(&vec![0; length]).map(|_| ());
        assert!(parsed.is_err(), "{length}");
    }
}

#[test]
fn a_truncated_quote_fails_its_check_and_hides_no_other() {
    for length in [0, 47, 600, 1500] {
        let mut short = evidence();
        if let RawQuote::Tdx(quote) = &mut short.quote {
            quote.truncate(length);
        }
        let verdict = verify(&short);
        let failures = failed(&verdict);
        for id in [
            CheckId::QuoteForm,
            CheckId::QuoteSignature,
            CheckId::ReportData,
        ] {
            assert!(failures.contains(&id), "{length}: {verdict}");
        }
        for id in [
            CheckId::Nonce,
            CheckId::SessionKey,
            CheckId::Log,
            CheckId::Manifest,
        ] {
            assert!(!failures.contains(&id), "{length}: {verdict}");
        }
    }
}

#[test]
fn a_binding_truncated_at_every_length_is_refused() {
    let whole = binding().encode();
    for length in 0..whole.len() {
        assert!(Binding::decode(&whole[..length]).is_err(), "{length}");
    }
}

/// A binding's encoding with its TLVs changed.
fn altered(change: impl FnOnce(&mut Vec<(u16, Vec<u8>)>)) -> Vec<u8> {
    let whole = binding().encode();
    let mut tlvs = Vec::new();
    let mut rest = &whole[16..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[2..6].try_into().unwrap()) as usize;
        let tag = u16::from_be_bytes([rest[0], rest[1]]);
        tlvs.push((tag, rest[6..6 + length].to_vec()));
        rest = &rest[6 + length..];
    }
    change(&mut tlvs);
    let mut bytes = whole[..16].to_vec();
    for (tag, value) in tlvs {
        bytes.extend(tag.to_be_bytes());
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(value);
    }
    bytes
}

#[test]
fn tags_out_of_order_twice_unknown_missing_or_of_another_purpose_are_refused() {
    assert_eq!(Binding::decode(&altered(|_| {})).unwrap(), binding());
    for (change, words) in [
        (
            (|tlvs| tlvs.swap(0, 1)) as fn(&mut Vec<(u16, Vec<u8>)>),
            "tags ascend",
        ),
        (|tlvs| tlvs.insert(1, tlvs[0].clone()), "none stands twice"),
        (|tlvs| tlvs.push((0x7fff, vec![])), "tag 7fff is unknown"),
        (
            |tlvs| tlvs.insert(5, (0x0021, vec![0; 40])),
            "tag 0021 is unknown in a binding for the purpose session",
        ),
        (
            |tlvs| tlvs.retain(|(tag, _)| *tag != 0x0030),
            "tag 0030 (manifest digest) is missing",
        ),
        (
            |tlvs| tlvs.retain(|(tag, _)| *tag != 0x0001),
            "flags of the header",
        ),
        (|tlvs| tlvs[0].1.truncate(15), "too short"),
        (|tlvs| tlvs[1].1[0] = 9, "session public key"),
        (|tlvs| tlvs[2].1.push(0), "has 17 bytes, not 16"),
        (|tlvs| tlvs[7].1 = b"sgx".to_vec(), "names a backend"),
    ] {
        let text = message(Binding::decode(&altered(change)));
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn every_byte_of_the_header_is_checked() {
    let whole = binding().encode();
    for offset in 0..16 {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x40;
        assert!(Binding::decode(&bytes).is_err(), "{offset}");
    }
}

#[test]
fn a_megabyte_in_a_tlv_is_refused_by_its_length() {
    let bytes = altered(|tlvs| tlvs[0].1 = vec![1; 1 << 20]);
    assert!(matches!(
        Binding::decode(&bytes),
        Err(Error::TooLarge {
            what: "binding",
            maximum: 1024,
            ..
        })
    ));
    // A length alone, without the bytes.
    let mut claims = binding().encode();
    claims[18..22].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(message(Binding::decode(&claims)).contains("claims 4294967295 bytes"));
}

#[test]
fn parts_that_are_too_large_are_refused_by_name() {
    let large = Evidence {
        manifest: Some(vec![0; (1 << 20) + 1]),
        ..evidence()
    };
    assert!(message(large.encode(ContentFormat::Cbor)).contains("the manifest is 1048577 bytes"));
    let whole = vec![0; hypervisor_verify::evidence::MAX_LENGTH + 1];
    assert!(matches!(
        Evidence::decode(ContentFormat::Cbor, &whole),
        Err(Error::TooLarge { .. })
    ));
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = vec![0x81; depth];
    bytes.push(0x00);
    bytes
}

#[test]
fn deep_cbor_is_refused_everywhere() {
    for depth in [40, 1000, 100_000] {
        let deep = nested(depth);
        assert!(Evidence::decode(ContentFormat::Cbor, &deep).is_err());
        assert!(ComponentLog::decode(ContentFormat::Cbor, &deep).is_err());
        assert!(InclusionProof::decode(ContentFormat::Cbor, &deep).is_err());
        assert!(manifest::check(&deep).is_err());
        assert!(Receipt::verify(&deep, &key(3)).is_err());
        // Under a key of a map, and as a tagged COSE message.
        let map = [&b"\xa1\x61x"[..], &deep].concat();
        assert!(Evidence::decode(ContentFormat::Cbor, &map).is_err());
        assert!(manifest::check(&map).is_err());
        assert!(Receipt::verify(&[&b"\xd2"[..], &deep].concat(), &key(3)).is_err());
    }
    let json = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(Evidence::decode(ContentFormat::Json, &json).is_err());
}

#[test]
fn a_label_or_key_that_stands_twice_is_refused() {
    let text = String::from_utf8(evidence().encode(ContentFormat::Json).unwrap()).unwrap();
    let twice = text.replacen(
        "\"binding\":",
        "\"binding\":[\"application/vnd.hypervisor.binding\",\"AA\"],\"binding\":",
        1,
    );
    assert!(
        message(Evidence::decode(ContentFormat::Json, twice.as_bytes()))
            .contains("`binding` stands twice")
    );
    let kind = text.replacen('{', "{\"__cmwc_t\":\"urn:hypervisor:evidence:v1\",", 1);
    assert!(
        message(Evidence::decode(ContentFormat::Json, kind.as_bytes()))
            .contains("`__cmwc_t` stands twice")
    );

    let map = |keys: &[&str]| {
        let record = Cbor::Array(vec![Cbor::from("text/plain"), Cbor::Bytes(vec![])]);
        let entries = keys.iter().map(|key| (Cbor::from(*key), record.clone()));
        let mut bytes = Vec::new();
        ciborium::into_writer(&Cbor::Map(entries.collect()), &mut bytes).unwrap();
        bytes
    };
    assert!(
        message(Evidence::decode(ContentFormat::Cbor, &map(&["x", "x"])))
            .contains("`x` stands twice")
    );

    let log = r#"{"version":1,"entries":[],"entries":[]}"#;
    assert!(
        message(ComponentLog::decode(ContentFormat::Json, log.as_bytes())).contains("duplicate")
    );
    let entry = format!(
        r#"{{"version":1,"entries":[{{"name":"a","name":"b","digest":"{}","imports":[]}}]}}"#,
        "00".repeat(48)
    );
    assert!(
        message(ComponentLog::decode(ContentFormat::Json, entry.as_bytes())).contains("duplicate")
    );
}

#[test]
fn evidence_of_another_kind_or_with_the_wrong_parts_is_refused() {
    let text = String::from_utf8(evidence().encode(ContentFormat::Json).unwrap()).unwrap();
    let decode = |text: &str| message(Evidence::decode(ContentFormat::Json, text.as_bytes()));
    assert!(
        decode(&text.replace("urn:hypervisor:evidence:v1", "urn:other"))
            .contains("not of the kind")
    );
    assert!(
        decode(&text.replace("\"tdx-quote\"", "\"other\"")).contains("neither `tdx-quote` nor")
    );
    assert!(decode(&text.replace("\"binding\"", "\"other\"")).contains("`binding` is missing"));
    assert!(
        decode(&text.replace("hypervisor.tdx-quote", "hypervisor.other"))
            .contains("`tdx-quote` is not")
    );
    assert!(decode(&text.replace("\"log\"", "\"snp-report\"")).contains("is not application"));
    // What a verifier does not know is left alone.
    let more = text.replacen(
        "\"log\"",
        "\"ccel\":[\"application/octet-stream\",\"AA\"],\"log\"",
        1,
    );
    assert_eq!(
        Evidence::decode(ContentFormat::Json, more.as_bytes()).unwrap(),
        evidence()
    );
}

#[test]
fn nonces_of_a_wrong_size_are_refused_wherever_they_come_from() {
    for bytes in [vec![], vec![1, 2, 3], (0..65).collect()] {
        assert!(matches!(
            VerifierNonce::new(bytes),
            Err(Error::Nonce { .. })
        ));
    }
}

fn sign(message: &[u8]) -> Result<[u8; 64], std::convert::Infallible> {
    let key = p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
    let signature: p256::ecdsa::Signature = key.sign(message);
    Ok(signature.to_bytes().into())
}

fn receipt() -> Receipt {
    Receipt::new(
        session_id(1),
        4,
        Commitment([1; 32]),
        Commitment([2; 32]),
        [3; 48],
        NOW,
    )
}

#[test]
fn a_receipt_verifies_under_the_identity_key_and_no_other() {
    let bytes = receipt().sign(sign).unwrap();
    assert_eq!(Receipt::verify(&bytes, &key(3)).unwrap(), receipt());
    assert!(matches!(
        Receipt::verify(&bytes, &key(4)),
        Err(Error::Signature { what: "receipt" })
    ));
}

#[test]
fn a_receipt_changed_in_any_byte_or_cut_is_refused() {
    let bytes = receipt().sign(sign).unwrap();
    for offset in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[offset] ^= 1;
        assert!(Receipt::verify(&altered, &key(3)).is_err(), "{offset}");
        assert!(
            Receipt::verify(&bytes[..offset], &key(3)).is_err(),
            "{offset}"
        );
    }
}

#[test]
fn a_statement_does_not_pass_for_a_receipt() {
    let statement = hypervisor_verify::Statement::new(*b"claim", [0; 48], NOW).unwrap();
    let bytes = statement.sign(sign).unwrap();
    assert!(message(Receipt::verify(&bytes, &key(3))).contains("content type"));
}

#[test]
fn a_signer_that_fails_makes_no_receipt() {
    let failed = receipt().sign(|_| Err("the key is gone"));
    assert!(message(failed).contains("the key is gone"));
}

#[test]
fn a_payment_receipt_and_a_claim_are_bounded() {
    let large = receipt().with_payment(vec![0; (8 << 10) + 1]);
    assert!(matches!(large.sign(sign), Err(Error::TooLarge { .. })));
    let claim = hypervisor_verify::Statement::new(vec![0; 65], [0; 48], NOW);
    assert!(matches!(claim, Err(Error::TooLarge { maximum: 64, .. })));
}
