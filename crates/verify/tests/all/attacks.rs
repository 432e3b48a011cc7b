//! Attacks, on evidence of the simulator under a policy that names its root: what each must be refused for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support::*;
use hypervisor_protocol::{Commitment, ContentFormat};
use hypervisor_simulated::Simulator;
use hypervisor_verify::{
    Assurance, Backend, Binding, Challenge, CheckId, ComponentLog, Connection, Evidence, Expected,
    ExpectedSubject, LogEntry, Policy, RawQuote, ResultTree, Statement, Status, Subject, Verdict,
};

#[test]
fn honest_evidence_passes_and_is_labelled_simulated() {
    let verdict = verify(&evidence());
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(verdict.assurance(), Assurance::Simulated);
    assert_eq!(verdict.binding(), Some(&binding()));
    assert_eq!(status(&verdict, CheckId::Register), Some(Status::Pass));
    assert!(verdict.to_string().starts_with("passed, SIMULATED"));
    let ear = verdict.to_ear();
    let host = &ear["submods"]["hypervisor"];
    assert_eq!(host["ear.status"], "warning");
    assert_eq!(host["ear.trustworthiness-vector"]["hardware"], 32);
    assert_eq!(host["ear.trustworthiness-vector"]["executables"], 2);
    assert_eq!(host["hypervisor.assurance"], "simulated");
}

#[test]
fn a_replayed_nonce_is_refused() {
    let mut expected = expected_session();
    expected.challenge = Some(Challenge {
        nonce: nonce(8),
        made_at: NOW,
    });
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::Nonce]);
    assert!(advice(&verdict, CheckId::Nonce).contains("ask again with a new nonce"));
    assert!(verdict.binding().is_none());
}

#[test]
fn evidence_without_the_nonce_is_refused() {
    let binding = Binding {
        nonce: None,
        ..binding()
    };
    let verdict = verify(&evidence_of(&simulator(), &binding));
    assert_eq!(failed(&verdict), [CheckId::Nonce]);
}

#[test]
fn a_verifier_without_a_nonce_is_told_to_make_one() {
    let expected = Expected {
        challenge: None,
        ..expected_session()
    };
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::Nonce, CheckId::Age]);
    assert!(advice(&verdict, CheckId::Nonce).contains("32 random bytes"));
}

#[test]
fn an_old_nonce_and_one_of_the_future_are_refused() {
    let mut expected = expected_session();
    for made_at in [NOW - 301, NOW + 1] {
        expected.challenge = Some(Challenge {
            nonce: nonce(7),
            made_at,
        });
        let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
        assert_eq!(failed(&verdict), [CheckId::Age]);
    }
}

#[test]
fn a_session_key_swapped_after_the_quote_is_refused() {
    let mut expected = expected_session();
    expected.subject = ExpectedSubject::Session {
        session_public_key: key(4),
        session_id: session_id(1),
        client_public_key: key(2),
    };
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::SessionKey]);
    assert!(advice(&verdict, CheckId::SessionKey).contains("do not send anything"));

    // With the binding changed to match, the quote no longer does.
    let swapped = Binding {
        subject: Subject::Session {
            session_public_key: key(4),
            session_id: session_id(1),
            client_public_key: key(2),
        },
        ..binding()
    };
    let evidence = Evidence {
        binding: swapped.encode(),
        ..evidence()
    };
    let verdict = hypervisor_verify::verify(&evidence, &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::ReportData]);
}

#[test]
fn evidence_of_another_session_or_client_is_refused() {
    let mut expected = expected_session();
    expected.subject = ExpectedSubject::Session {
        session_public_key: key(1),
        session_id: session_id(2),
        client_public_key: key(5),
    };
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::SessionId, CheckId::ClientKey]);
}

#[test]
fn a_quote_made_for_another_purpose_is_refused() {
    let binding = Binding {
        subject: Subject::Identity,
        ..binding()
    };
    let verdict = verify(&evidence_of(&simulator(), &binding));
    let failures = failed(&verdict);
    assert_eq!(failures.first(), Some(&CheckId::Purpose));
    assert!(failures.contains(&CheckId::SessionKey), "{verdict}");
}

fn result_evidence() -> (Evidence, [Commitment; 3]) {
    let results = [1, 2, 3].map(|n| Commitment([n; 32]));
    let tree = ResultTree::new(&results).unwrap();
    let binding = Binding {
        subject: Subject::ResultBatch {
            results: tree.root(),
        },
        nonce: None,
        ..binding()
    };
    let mut evidence = evidence_of(&simulator(), &binding);
    let proof = tree.proof(1).unwrap();
    evidence.inclusion = Some(proof.encode(ContentFormat::Cbor).unwrap());
    (evidence, results)
}

fn verify_result(evidence: &Evidence, commitment: Commitment) -> Verdict {
    let expected = Expected {
        identity_public_key: Some(key(3)),
        ..Expected::new(ExpectedSubject::Result { commitment }, None)
    };
    hypervisor_verify::verify(evidence, &policy(), &expected, NOW)
}

#[test]
fn a_result_in_the_batch_passes_without_a_nonce() {
    let (evidence, results) = result_evidence();
    let verdict = verify_result(&evidence, results[1]);
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::Nonce),
        Some(Status::NotApplicable)
    );
}

#[test]
fn a_result_moved_from_another_session_is_refused() {
    let (evidence, results) = result_evidence();
    // A commitment covers its session, so a result of another session has another one; so has its neighbour in the batch.
    for moved in [Commitment([9; 32]), results[0], results[2]] {
        let verdict = verify_result(&evidence, moved);
        assert_eq!(failed(&verdict), [CheckId::Result]);
    }
}

#[test]
fn a_result_without_its_proof_is_refused() {
    let (evidence, results) = result_evidence();
    let evidence = Evidence {
        inclusion: None,
        ..evidence
    };
    assert_eq!(
        failed(&verify_result(&evidence, results[1])),
        [CheckId::Result]
    );
}

#[test]
fn what_a_result_lacks_is_filled_in_from_the_session() {
    let (full, results) = result_evidence();
    let mut short = Evidence {
        log: None,
        manifest: None,
        collateral: None,
        ..full.clone()
    };
    let verdict = verify_result(&short, results[1]);
    assert!(failed(&verdict).contains(&CheckId::Log), "{verdict}");
    assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
    short.fill_from(&evidence());
    assert_eq!(short, full);
    assert!(verify_result(&short, results[1]).passed());
}

/// Evidence whose log was exchanged for another, the quote as it was.
fn with_log(entries: Vec<LogEntry>) -> Verdict {
    verify(&Evidence {
        log: Some(cbor(&log_of(entries))),
        ..evidence()
    })
}

fn refused_for_its_log(verdict: &Verdict) {
    let failures = failed(verdict);
    assert_eq!(
        failures,
        [CheckId::Log, CheckId::Register, CheckId::Components],
        "{verdict}"
    );
}

#[test]
fn a_truncated_log_is_refused() {
    for length in 0..entries().len() {
        let mut kept = entries();
        kept.truncate(length);
        refused_for_its_log(&with_log(kept));
    }
}

#[test]
fn a_reordered_log_is_refused() {
    let mut moved = entries();
    moved.swap(0, 2);
    refused_for_its_log(&with_log(moved));
}

#[test]
fn an_entry_altered_under_its_components_digest_is_refused() {
    for alter in [
        (|entry| entry.name = "agent/other".to_owned()) as fn(&mut LogEntry),
        |entry| {
            entry
                .imports
                .push("wasi:http/outgoing-handler@0.2.6".to_owned())
        },
        |entry| entry.imports.clear(),
    ] {
        let mut altered = entries();
        alter(&mut altered[2]);
        assert_eq!(altered[2].digest, entries()[2].digest);
        refused_for_its_log(&with_log(altered));
    }
}

#[test]
fn a_log_left_out_is_refused() {
    let evidence = Evidence {
        log: None,
        ..evidence()
    };
    refused_for_its_log(&verify(&evidence));
}

#[test]
fn a_component_that_the_log_hides_shows_in_the_register() {
    // The host loaded one more component than it says: its kernel extended RTMR3, its log and report data leave it out.
    let mut loaded = entries();
    loaded.push(LogEntry::new("agent/hidden", b"hidden", vec![]));
    let simulator = simulator_of(builder(), &log_of(loaded));
    let verdict = verify(&evidence_of(&simulator, &binding()));
    assert_eq!(failed(&verdict), [CheckId::Register]);
}

#[test]
fn a_log_that_starts_after_hidden_entries_is_refused() {
    let mut hidden = ComponentLog::with_register([0; 48]);
    hidden
        .append(LogEntry::new("hidden", b"hidden", vec![]))
        .unwrap();
    let mut log = ComponentLog::with_register(hidden.register().unwrap());
    for entry in entries() {
        log.append(entry).unwrap();
    }
    let simulator = simulator_of(builder(), &log);
    let evidence = Evidence {
        log: Some(cbor(&log)),
        ..evidence_of(&simulator, &binding())
    };
    let verdict = verify(&evidence);
    assert_eq!(failed(&verdict), [CheckId::Register]);
    assert!(advice(&verdict, CheckId::Register).contains("before the host"));
}

#[test]
fn a_register_that_the_host_does_not_own_up_to_is_refused() {
    let binding = Binding {
        register_bound: false,
        ..binding()
    };
    let verdict = verify(&evidence_of(&simulator(), &binding));
    assert_eq!(failed(&verdict), [CheckId::Register]);
}

/// A verdict on evidence of a host that has loaded one component more.
fn with_one_more(name: &str, policy: &Policy) -> Verdict {
    let mut loaded = entries();
    loaded.push(LogEntry::new(name, b"new", vec![]));
    let log = log_of(loaded);
    let binding = Binding {
        log: log.head(),
        ..binding()
    };
    let simulator = simulator_of(builder(), &log);
    let evidence = Evidence {
        log: Some(cbor(&log)),
        ..evidence_of(&simulator, &binding)
    };
    hypervisor_verify::verify(&evidence, policy, &expected_session(), NOW)
}

#[test]
fn a_component_that_the_policy_does_not_name_is_refused() {
    let verdict = with_one_more("plugin/new", &policy());
    assert_eq!(failed(&verdict), [CheckId::Components]);
    assert!(advice(&verdict, CheckId::Components).contains("`plugin/new`"));
}

#[test]
fn an_agent_that_the_policy_does_not_name_is_refused_where_the_policy_says_so() {
    assert_eq!(failed(&with_one_more("agent/new", &policy())), []);
    let mut strict = policy();
    strict.rules.components.agents = false;
    let verdict = with_one_more("agent/new", &strict);
    assert_eq!(failed(&verdict), [CheckId::Components]);
    assert!(advice(&verdict, CheckId::Components).contains("`agent/new`"));
}

#[test]
fn another_manifest_is_refused() {
    let exchanged = Evidence {
        manifest: Some(b"\xa0".to_vec()),
        ..evidence()
    };
    assert_eq!(failed(&verify(&exchanged)), [CheckId::Manifest]);
    let binding = Binding {
        manifest_digest: [1; 48],
        ..binding()
    };
    let other = Evidence {
        manifest: None,
        ..evidence_of(&simulator(), &binding)
    };
    assert_eq!(failed(&verify(&other)), [CheckId::ManifestAllowed]);
}

#[test]
fn evidence_of_one_host_is_not_the_identity_of_another() {
    let expected = Expected {
        identity_public_key: Some(key(6)),
        ..expected_session()
    };
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::IdentityKey]);
    assert!(advice(&verdict, CheckId::IdentityKey).contains("another host"));
}

#[test]
fn a_statement_counts_only_under_the_identity_key() {
    use p256::ecdsa::signature::Signer;
    let sign = |n: u8| {
        move |message: &[u8]| -> Result<[u8; 64], std::convert::Infallible> {
            let key = p256::ecdsa::SigningKey::from_slice(&[n; 32]).unwrap();
            let signature: p256::ecdsa::Signature = key.sign(message);
            Ok(signature.to_bytes().into())
        }
    };
    let statement = Statement::new(*b"claim", [5; 48], NOW).unwrap();
    let with = |bytes| Evidence {
        statement: Some(bytes),
        ..evidence()
    };
    let verdict = verify(&with(statement.sign(sign(3)).unwrap()));
    assert_eq!(verdict.statement(), Some(&statement), "{verdict}");
    let verdict = verify(&with(statement.sign(sign(4)).unwrap()));
    assert_eq!(failed(&verdict), [CheckId::Statement]);
    assert!(verdict.statement().is_none());
}

fn hardware_policy() -> Policy {
    let text = format!(
        "version = 1\nroots.vendors = [\"intel\", \"amd\"]\n{}",
        software()
    );
    Policy::parse(&text).unwrap()
}

#[test]
fn simulated_evidence_is_refused_by_a_policy_for_hardware() {
    let verdict =
        hypervisor_verify::verify(&evidence(), &hardware_policy(), &expected_session(), NOW);
    let failures = failed(&verdict);
    for id in [
        CheckId::TrustDomain,
        CheckId::CertificateChain,
        CheckId::Collateral,
    ] {
        assert!(failures.contains(&id), "{verdict}");
    }
    assert!(advice(&verdict, CheckId::TrustDomain).contains("nothing about hardware"));
    assert_eq!(verdict.assurance(), Assurance::None);
}

#[test]
fn a_downgrade_to_simulated_evidence_that_claims_hardware_is_refused() {
    let binding = Binding {
        backend: Backend::Tdx,
        ..binding()
    };
    let evidence = evidence_of(&simulator(), &binding);
    // Under a policy for hardware the root is wrong; under the simulator's own the claim is.
    let verdict =
        hypervisor_verify::verify(&evidence, &hardware_policy(), &expected_session(), NOW);
    assert_eq!(status(&verdict, CheckId::TrustDomain), Some(Status::Pass));
    assert!(
        failed(&verdict).contains(&CheckId::CertificateChain),
        "{verdict}"
    );
    assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
    assert_eq!(failed(&verify(&evidence)), [CheckId::TrustDomain]);
}

#[test]
fn another_simulators_root_is_refused() {
    let other = Simulator::builder(b"another seed")
        .registers(simulator().registers())
        .build()
        .unwrap();
    let verdict = verify(&evidence_of(&other, &binding()));
    let failures = failed(&verdict);
    assert!(failures.contains(&CheckId::CertificateChain), "{verdict}");
    assert!(failures.contains(&CheckId::Collateral), "{verdict}");
}

/// The last certificate of the chain in a quote: where it starts.
fn root_in(evidence: &Evidence) -> (Vec<u8>, usize) {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let RawQuote::Tdx(quote) = &evidence.quote else {
        unreachable!("the simulator makes TDX quotes")
    };
    let at = quote
        .windows(BEGIN.len())
        .rposition(|window| window == BEGIN)
        .unwrap();
    (quote.clone(), at)
}

#[test]
fn a_chain_that_only_ends_in_the_named_root_is_refused() {
    let (ours, from) = root_in(&evidence());
    // A foreign simulator whose root has the length of ours (signatures vary in length), so that ours fits in its place.
    let (mut quote, at, mut evidence) = (0..100u8)
        .map(|n| {
            let other = Simulator::builder(&[n])
                .registers(simulator().registers())
                .build()
                .unwrap();
            let evidence = evidence_of(&other, &binding());
            let (quote, at) = root_in(&evidence);
            (quote, at, evidence)
        })
        .find(|(quote, at, _)| quote.len() - at == ours.len() - from)
        .unwrap();
    quote.truncate(at);
    quote.extend_from_slice(&ours[from..]);
    evidence.quote = RawQuote::Tdx(quote);
    let verdict = verify(&evidence);
    assert!(
        advice(&verdict, CheckId::CertificateChain).contains("certificate 2 of 3 is not signed"),
        "{verdict}"
    );
    assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
}

#[test]
fn evidence_that_came_over_a_connection_with_another_key_is_refused() {
    let judged = |named: Option<[u8; 32]>, connection: Option<Connection>| {
        let binding = Binding {
            subject: Subject::Identity,
            tls_key: named,
            ..binding()
        };
        let evidence = evidence_of(&simulator(), &binding);
        let expected = Expected {
            subject: ExpectedSubject::Identity,
            connection,
            ..expected_session()
        };
        let verdict = hypervisor_verify::verify(&evidence, &policy(), &expected, NOW);
        (status(&verdict, CheckId::TlsKey).unwrap(), verdict.passed())
    };
    let over = |key: u8, trusted| {
        let key = [key; 32];
        Some(Connection { key, trusted })
    };
    for trusted in [true, false] {
        assert_eq!(
            judged(Some([1; 32]), over(1, trusted)),
            (Status::Pass, true)
        );
        assert_eq!(
            judged(Some([1; 32]), over(2, trusted)),
            (Status::Fail, false)
        );
    }
    assert_eq!(judged(None, over(1, true)), (Status::NotApplicable, true));
    assert_eq!(judged(None, over(1, false)), (Status::Fail, false));
    assert_eq!(judged(Some([1; 32]), None), (Status::NotApplicable, true));
}

#[test]
fn a_tls_key_stands_in_the_binding_of_an_identity_alone() {
    let named = Binding {
        tls_key: Some([1; 32]),
        ..binding()
    };
    let error = Binding::decode(&named.encode()).unwrap_err().to_string();
    assert!(error.contains("tag 0014 is unknown"), "{error}");
}
