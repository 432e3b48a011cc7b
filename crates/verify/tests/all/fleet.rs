//! Who else may have a host's key, and hosts of a fleet that judge each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ciborium::cbor;
use hypervisor_verify::{
    Binding, CheckId, Evidence, Expected, ExpectedSubject, Peer, Policy, Status, Subject, Verdict,
    manifest,
};

use crate::support::{
    NOW, advice, binding, evidence_of, expected_session, failed, key, policy, session_id,
    simulator, status,
};

fn encoded(value: &ciborium::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// A manifest that says this of a fleet.
fn document(fleet: Option<(&str, Option<[u8; 32]>)>) -> Vec<u8> {
    let fleet = fleet.map(|(key, policy)| match policy {
        Some(policy) => cbor!({"key" => key, "policy" => const_hex::encode(policy)}).unwrap(),
        None => cbor!({"key" => key}).unwrap(),
    });
    encoded(&match fleet {
        Some(fleet) => cbor!({"host" => "test 1.0", "fleet" => fleet}).unwrap(),
        None => cbor!({"host" => "test 1.0"}).unwrap(),
    })
}

/// Evidence about a subject by a host with this manifest.
fn evidence(subject: Subject, document: &[u8]) -> Evidence {
    let binding = Binding {
        subject,
        manifest_digest: manifest::digest(document),
        ..binding()
    };
    let mut evidence = evidence_of(&simulator(), &binding);
    evidence.manifest = Some(document.to_vec());
    evidence
}

/// A client's verdict on a host with this manifest.
fn client(policy: &Policy, document: &[u8]) -> Verdict {
    let evidence = evidence(binding().subject, document);
    let mut policy = policy.clone();
    policy.rules.manifest.allowed = vec![hypervisor_protocol::HexArray(manifest::digest(document))];
    hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW)
}

#[test]
fn a_verdict_says_who_has_the_hosts_key_and_a_policy_can_name_who_may() {
    let mut policy = policy();
    let [named, other] = [[1; 32], [2; 32]];
    let by = |policy| document(Some(("peers", Some(policy))));
    let file = document(Some(("file", None)));
    for shared in [&by(named), &file] {
        let verdict = client(&policy, shared);
        assert!(verdict.passed(), "{verdict}");
        assert_eq!(
            status(&verdict, CheckId::FleetKey),
            Some(Status::SkippedByPolicy)
        );
    }
    assert!(
        client(&policy, &by(named))
            .to_string()
            .contains(&"01".repeat(32))
    );

    policy.rules.manifest.fleet = Some(vec![hypervisor_protocol::HexArray(named)]);
    assert!(client(&policy, &document(None)).passed());
    assert!(client(&policy, &by(named)).passed());
    for shared in [
        by(other),
        file,
        document(Some(("peers", None))),
        document(Some(("mail", None))),
    ] {
        assert_eq!(failed(&client(&policy, &shared)), [CheckId::FleetKey]);
    }
    // Nor is it passed by leaving the manifest out.
    let mut evidence = evidence(binding().subject, &by(named));
    evidence.manifest = None;
    policy.rules.manifest.allowed =
        vec![hypervisor_protocol::HexArray(manifest::digest(&by(named)))];
    let verdict = hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW);
    assert_eq!(failed(&verdict), [CheckId::FleetKey]);
}

fn end(joins: bool) -> Peer {
    Peer {
        joins,
        own_public_key: key(1),
        exchange: session_id(1),
        other_public_key: key(2),
    }
}

/// A host's verdict on another one's evidence, under a policy that names hosts with the manifest `accepted`.
fn host(evidence: &Evidence, policy: &Policy, expected: Peer) -> Verdict {
    let expected = Expected {
        subject: ExpectedSubject::Peer(expected),
        ..expected_session()
    };
    hypervisor_verify::verify(evidence, policy, &expected, NOW)
}

#[test]
fn hosts_of_a_fleet_accept_each_other_by_the_manifest_without_its_fleet_and_by_one_policy() {
    let mut policy = policy();
    policy.rules.manifest.allowed = vec![hypervisor_protocol::HexArray(manifest::digest(
        &document(None),
    ))];
    let own = document(Some(("peers", Some(policy.digest))));
    let good = evidence(Subject::Peer(end(true)), &own);
    let verdict = host(&good, &policy, end(true));
    assert!(verdict.passed(), "{verdict}");

    // A joiner's evidence is not a member's, nor that of another exchange or for another host.
    let as_member = host(&good, &policy, end(false));
    assert!(
        failed(&as_member).contains(&CheckId::Purpose),
        "{as_member}"
    );
    let elsewhere = Peer {
        exchange: session_id(2),
        ..end(true)
    };
    assert_eq!(
        failed(&host(&good, &policy, elsewhere)),
        [CheckId::SessionId]
    );
    let to_another = Peer {
        other_public_key: key(3),
        ..end(true)
    };
    assert_eq!(
        failed(&host(&good, &policy, to_another)),
        [CheckId::ClientKey]
    );
    // A session's evidence is no end of an exchange, and the other way round.
    let session = evidence(binding().subject, &own);
    assert!(failed(&host(&session, &policy, end(false))).contains(&CheckId::Purpose));
    let verdict = hypervisor_verify::verify(&good, &policy, &expected_session(), NOW);
    assert!(failed(&verdict).contains(&CheckId::Purpose));

    // Another policy, a key file, or no fleet.
    for fleet in [Some(("peers", Some([9; 32]))), Some(("file", None)), None] {
        let other = evidence(Subject::Peer(end(true)), &document(fleet));
        let verdict = host(&other, &policy, end(true));
        assert_eq!(failed(&verdict), [CheckId::FleetKey], "{verdict}");
        assert!(!advice(&verdict, CheckId::FleetKey).is_empty());
    }
    // Set up in another way.
    let other = cbor!({"host" => "test 1.0", "limits" => 1, "fleet" => {"key" => "peers", "policy" => const_hex::encode(policy.digest)}});
    let other = evidence(Subject::Peer(end(true)), &encoded(&other.unwrap()));
    let verdict = host(&other, &policy, end(true));
    assert_eq!(failed(&verdict), [CheckId::ManifestAllowed], "{verdict}");
}
