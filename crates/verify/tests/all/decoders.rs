//! Every decoder: arbitrary bytes never panic, and what was encoded decodes to itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support::*;
use hypervisor_protocol::{Commitment, ContentFormat, HexArray, SessionId};
use hypervisor_verify::boot_log::PcrLog;
use hypervisor_verify::cmw::{Collection, Record};
use hypervisor_verify::ima::FileList;
use hypervisor_verify::snp::SnpReport;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Backend, Binding, ComponentLog, Evidence, InclusionProof, LogEntry, LogHead, Policy, RawQuote,
    Receipt, ReportData, ResultRoot, ResultTree, Statement, Subject, VerifierNonce, Vtpm, manifest,
    snp, vtpm,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const BOTH: [ContentFormat; 2] = [ContentFormat::Json, ContentFormat::Cbor];

/// Runs every decoder; the results do not matter.
fn decode_all(bytes: &[u8]) {
    for format in BOTH {
        let _ = Evidence::decode(format, bytes);
        let _ = ComponentLog::decode(format, bytes);
        let _ = InclusionProof::decode(format, bytes);
        let _ = format.decode::<Collection>(bytes);
    }
    let _ = Binding::decode(bytes);
    let _ = TdxQuote::parse(bytes);
    let _ = hypervisor_verify::Quote::tdx(bytes.to_vec(), &[0; 64]);
    let _ = SnpReport::parse(bytes);
    let _ = snp::certificates_of_table(bytes, false);
    let _ = manifest::check(bytes);
    let _ = Vtpm::decode(bytes);
    let _ = vtpm::TpmQuote::parse(bytes);
    let _ = vtpm::HclReport::parse(bytes);
    let _ = vtpm::attestation_key(bytes);
    let _ = PcrLog::parse_pcrs(bytes);
    let _ = FileList::parse(bytes);
    let _ = Receipt::verify(bytes, &key(1));
    let _ = Statement::verify(bytes, &key(1));
    let _ = VerifierNonce::new(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<VerifierNonce>();
    let _ = Policy::parse(&text);
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Identity),
        (1..9u8, any::<[u8; 16]>(), 1..9u8).prop_map(|(session, id, client)| Subject::Session {
            session_public_key: key(session),
            session_id: SessionId::from_bytes(id),
            client_public_key: key(client),
        }),
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(root, count)| Subject::ResultBatch {
            results: ResultRoot { root, count }
        }),
    ]
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![
        Just(Backend::Tdx),
        Just(Backend::SevSnp),
        Just(Backend::Simulated)
    ]
}

prop_compose! {
    fn any_binding()(
        subject in subject(),
        nonce in option::of(vec(any::<u8>(), 16..64)),
        identity in 1..9u8,
        manifest: [u8; 32],
        head: [u8; 32],
        count: u64,
        register_bound: bool,
        backend in backend(),
        boot_id: [u8; 16],
    ) -> Binding {
        let wide = |half: [u8; 32]| {
            let mut bytes = [0; 48];
            bytes[..32].copy_from_slice(&half);
            bytes
        };
        Binding {
            tls_key: matches!(subject, Subject::Identity).then_some(manifest),
            subject,
            nonce: nonce.and_then(|bytes| VerifierNonce::new(bytes).ok()),
            identity_public_key: key(identity),
            manifest_digest: wide(manifest),
            log: LogHead { head: wide(head), count },
            register_bound,
            backend,
            boot_id,
        }
    }
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn quote() -> impl Strategy<Value = RawQuote> {
    prop_oneof![
        blob().prop_map(RawQuote::Tdx),
        (blob(), blob()).prop_map(|(report, certs)| RawQuote::SevSnp { report, certs }),
    ]
}

prop_compose! {
    fn any_evidence()(
        quote in quote(),
        binding in blob(),
        parts in vec(option::of(blob()), 9),
    ) -> Evidence {
        let mut parts = parts.into_iter().map(|part| part.map(|mut part| { part.push(1); part }));
        let mut next = || parts.next().unwrap();
        Evidence {
            quote,
            binding,
            log: next(),
            manifest: next(),
            collateral: next(),
            crl: next(),
            inclusion: next(),
            statement: next(),
            boot_log: next(),
            vtpm: next(),
            ima: next(),
        }
    }
}

fn entry() -> impl Strategy<Value = LogEntry> {
    (".{1,20}", blob(), vec(".{0,20}", 0..5))
        .prop_map(|(name, component, imports)| LogEntry::new(name, &component, imports))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..1500)) {
        decode_all(&bytes);
    }

    #[test]
    fn text_that_looks_like_json_or_toml_never_panics(text in r#"[{}\[\]",:=._0-9a-f\\u\n -]{0,120}"#) {
        decode_all(text.as_bytes());
    }

    #[test]
    fn a_real_quote_altered_anywhere_never_panics(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut altered = evidence();
        if let RawQuote::Tdx(quote) = &mut altered.quote {
            for (at, byte) in changes {
                let at = at.index(quote.len());
                quote[at] = byte;
            }
            decode_all(quote);
        }
        let _ = verify(&altered).to_ear();
    }

    #[test]
    fn bindings_round_trip_in_one_encoding_only(binding in any_binding(), at: prop::sample::Index, byte in 1..=255u8) {
        let bytes = binding.encode();
        prop_assert_eq!(&Binding::decode(&bytes).unwrap(), &binding);
        prop_assert_eq!(ReportData::of_encoded(&bytes).unwrap(), binding.report_data());
        prop_assert_eq!(binding.report_data().header().unwrap(), binding.header());
        prop_assert!(bytes.len() <= 483);
        let mut other = bytes.clone();
        let at = at.index(other.len());
        other[at] ^= byte;
        if let Ok(decoded) = Binding::decode(&other) {
            prop_assert_eq!(decoded.encode(), other);
            prop_assert_ne!(decoded.report_data(), binding.report_data());
        }
    }

    #[test]
    fn evidence_round_trips(evidence in any_evidence()) {
        for format in BOTH {
            let bytes = evidence.encode(format).unwrap();
            prop_assert_eq!(&Evidence::decode(format, &bytes).unwrap(), &evidence);
        }
    }

    #[test]
    fn collections_round_trip(
        kind in option::of(".{0,20}"),
        items in vec((".{0,8}", ".{0,20}", blob(), option::of(1..16_u8)), 0..8),
    ) {
        let mut collection = Collection::default();
        collection.kind = kind;
        for (label, media_type, value, indicator) in items {
            prop_assume!(label != "__cmwc_t");
            collection.insert(&label, Record { media_type, value, indicator });
        }
        for format in BOTH {
            let bytes = format.encode(&collection).unwrap();
            prop_assert_eq!(&format.decode::<Collection>(&bytes).unwrap(), &collection);
        }
    }

    #[test]
    fn logs_round_trip_to_the_same_head(start in option::of(any::<[u8; 32]>()), entries in vec(entry(), 0..6)) {
        let mut log = start.map_or_else(ComponentLog::new, |half| {
            let mut bytes = [0; 48];
            bytes[16..].copy_from_slice(&half);
            ComponentLog::with_register(bytes)
        });
        for entry in entries {
            log.append(entry).unwrap();
        }
        for format in BOTH {
            let bytes = log.encode(format).unwrap();
            let decoded = ComponentLog::decode(format, &bytes).unwrap();
            prop_assert_eq!(decoded.head(), log.head());
            prop_assert_eq!(decoded, log.clone());
        }
    }

    #[test]
    fn a_log_with_one_entry_altered_has_another_head(entries in vec(entry(), 1..6), at: prop::sample::Index, other in entry()) {
        let at = at.index(entries.len());
        prop_assume!(entries[at] != other);
        let mut altered = entries.clone();
        altered[at] = other;
        prop_assert_ne!(log_of(entries).head(), log_of(altered).head());
    }

    #[test]
    fn proofs_hold_for_their_result_and_round_trip(n in 1..200usize, at: prop::sample::Index, salt: u8) {
        let results: Vec<Commitment> = (0..n).map(|i| {
            let mut bytes = [salt; 32];
            bytes[..8].copy_from_slice(&(i as u64).to_be_bytes());
            Commitment(bytes)
        }).collect();
        let tree = ResultTree::new(&results).unwrap();
        let index = at.index(n);
        let proof = tree.proof(index).unwrap();
        prop_assert!(proof.verifies(&results[index], &tree.root()));
        prop_assert!(proof.path.len() <= 16);
        for format in BOTH {
            let bytes = proof.encode(format).unwrap();
            prop_assert_eq!(&InclusionProof::decode(format, &bytes).unwrap(), &proof);
        }
        let mut wrong = proof;
        if let Some(sibling) = wrong.path.first_mut() {
            *sibling = HexArray([!salt; 32]);
            prop_assert!(!wrong.verifies(&results[index], &tree.root()));
        }
    }

    #[test]
    fn receipts_round_trip(sequence: u64, payment in option::of(blob()), issued_at: u64) {
        use p256::ecdsa::signature::Signer;
        let mut receipt = Receipt::new(session_id(1), sequence, Commitment([1; 32]), Commitment([2; 32]), [3; 48], issued_at);
        if let Some(payment) = payment {
            receipt = receipt.with_payment(payment);
        }
        let bytes = receipt.sign(|message| -> Result<[u8; 64], std::convert::Infallible> {
            let key = p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
            let signature: p256::ecdsa::Signature = key.sign(message);
            Ok(signature.to_bytes().into())
        }).unwrap();
        prop_assert_eq!(Receipt::verify(&bytes, &key(3)).unwrap(), receipt);
    }
}
