//! Attested sessions: what is accepted, and what each attack is refused for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use crate::attested::{Host, Trick, policy, policy_text, policy_under};
use hypervisor_client::attest::{Assurance, Policy, Receipt};
use hypervisor_client::attestation::{Refusal, Stage};
use hypervisor_client::payment::{Payer, Payment, PaymentPolicy, Wallet};
use hypervisor_client::protocol::OwnerKey;
use hypervisor_client::{Client, Error, Execution, Inputs, Program, Session};

const PROGRAM: &[u8] = b"print('secret')";

async fn open(host: &Host, policy: &Policy) -> Result<Session, Error> {
    let client = Client::new(&host.url).unwrap();
    Ok(client.open_attested_session(policy).await?.0)
}

fn refusal<T>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(error @ Error::Attestation(_)) => {
            assert!(error.is_verification_failure());
            let Error::Attestation(refusal) = error else {
                unreachable!()
            };
            *refusal
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

/// The failed checks of opening a session with a host of this trick; nothing was sent to it after that.
async fn refused_session(trick: Trick) -> Vec<&'static str> {
    let host = Host::start(trick).await;
    let refusal = refusal(open(&host, &policy()).await);
    assert_eq!(refusal.stage(), Stage::Host);
    assert_eq!(host.paths(), ["/verifiable/encrypt/create_keypair"]);
    refusal.names()
}

async fn python(trick: Trick, policy: &Policy) -> Result<Execution, Error> {
    let host = Host::start(trick).await;
    let session = open(&host, policy).await.unwrap();
    session.run_python(Program::new(PROGRAM)).await
}

/// The failed checks of a run on a host of this trick, whose session was accepted.
async fn refused_run(trick: Trick) -> Vec<&'static str> {
    let refusal = refusal(python(trick, &policy()).await);
    assert_eq!(refusal.stage(), Stage::Execution);
    refusal.names()
}

#[tokio::test]
async fn a_policy_with_the_simulators_root_accepts_it_and_says_simulated() {
    let host = Host::start(Trick::None).await;
    let client = Client::new(&host.url).unwrap();
    let (session, verdict) = client.open_attested_session(&policy()).await.unwrap();
    assert_eq!(verdict.assurance(), Assurance::Simulated);
    let attestation = session.attestation().unwrap();
    assert_eq!(attestation.identity_public_key(), &host.identity());

    let execution = session.run_python(Program::new(PROGRAM)).await.unwrap();
    assert_eq!(execution.result, b"ran");
    assert!(execution.attestation.unwrap().result.unwrap().passed());
}

#[tokio::test]
async fn a_policy_without_the_root_refuses_the_simulator_before_anything_is_sent() {
    let host = Host::start(Trick::None).await;
    let other = format!("simulated = \"{}\"", "ab".repeat(32));
    for (roots, check) in [
        ("vendors = [\"intel\", \"amd\"]", "trust-domain"),
        (other.as_str(), "certificate-chain"),
    ] {
        let policy = Policy::parse(&policy_under(roots)).unwrap();
        let refusal = refusal(open(&host, &policy).await);
        assert!(refusal.names().contains(&check), "{refusal}");
        assert!(refusal.to_string().contains("no program was sent"));
    }
    assert_eq!(host.paths(), ["/verifiable/encrypt/create_keypair"; 2]);
}

#[tokio::test]
async fn a_session_key_that_is_not_the_attested_one_is_refused() {
    assert_eq!(refused_session(Trick::SwapKey).await, ["session-key"]);
}

#[tokio::test]
async fn evidence_for_another_nonce_is_refused() {
    assert_eq!(refused_session(Trick::ReplayNonce).await, ["nonce"]);
}

#[tokio::test]
async fn evidence_of_another_host_is_refused() {
    assert_eq!(
        refused_session(Trick::Relay).await,
        ["session-key", "session-id", "client-key"]
    );
}

#[tokio::test]
async fn a_component_that_the_policy_does_not_name_is_refused() {
    assert_eq!(
        refused_session(Trick::ForeignComponent).await,
        ["components"]
    );
}

#[tokio::test]
async fn missing_and_malformed_evidence_is_refused() {
    assert_eq!(refused_session(Trick::NoEvidence).await, ["evidence"]);
    assert_eq!(refused_session(Trick::Garbage).await, ["evidence"]);
}

#[tokio::test]
async fn a_host_without_an_attester_fails_verification() {
    let host = Host::start(Trick::NoAttester).await;
    let error = open(&host, &policy()).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(error.is_verification_failure());
}

#[tokio::test]
async fn a_receipt_of_another_exchange_is_refused() {
    let host = Host::start(Trick::ReceiptOfAnother).await;
    let session = open(&host, &policy()).await.unwrap();
    session.run_wasm(Program::new(PROGRAM)).await.unwrap();
    let refusal = refusal(session.run_wasm(Program::new(PROGRAM)).await);
    assert_eq!(refusal.names(), ["receipt-exchange"]);
    assert!(refusal.to_string().contains("sequence"), "{refusal}");
}

#[tokio::test]
async fn forged_and_missing_receipts_are_refused() {
    assert_eq!(refused_run(Trick::ForgedReceipt).await, ["receipt"]);
    assert_eq!(refused_run(Trick::NoReceipt).await, ["receipt"]);
}

#[tokio::test]
async fn a_receipt_for_another_manifest_is_refused() {
    assert_eq!(
        refused_run(Trick::ReceiptOfAnotherManifest).await,
        ["receipt-manifest"]
    );
}

#[tokio::test]
async fn a_result_that_is_not_where_the_proof_says_is_refused() {
    assert_eq!(refused_run(Trick::MovedResult).await, ["result"]);
}

#[tokio::test]
async fn missing_evidence_of_the_result_is_refused() {
    assert_eq!(refused_run(Trick::NoResultEvidence).await, ["evidence"]);
}

#[tokio::test]
async fn a_result_quoted_by_another_start_of_the_host_is_refused() {
    assert_eq!(refused_run(Trick::Restarted).await, ["same-start"]);
}

#[tokio::test]
async fn a_result_quoted_under_another_identity_is_refused() {
    assert_eq!(refused_run(Trick::OtherIdentity).await, ["identity-key"]);
}

#[tokio::test]
async fn a_log_that_grew_is_accepted_and_one_that_was_rewritten_is_refused() {
    assert!(python(Trick::GrownLog, &policy()).await.is_ok());
    assert_eq!(refused_run(Trick::ReorderedLog).await, ["log-continues"]);
}

#[tokio::test]
async fn a_manifest_that_changed_under_the_session_is_refused_even_where_any_is_allowed() {
    assert_eq!(
        refused_run(Trick::OtherManifest).await,
        ["manifest-allowed"]
    );
    let (before, after) = policy_text()
        .split_once("allowed = ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let any = Policy::parse(&format!("{before}any = true\n{after}")).unwrap();
    let refusal = refusal(python(Trick::OtherManifest, &any).await);
    assert_eq!(refusal.names(), ["same-manifest"]);
}

#[tokio::test]
async fn the_free_wasm_route_has_a_receipt_and_no_quote() {
    let host = Host::start(Trick::None).await;
    let session = open(&host, &policy()).await.unwrap();
    let execution = session.run_wasm(Program::new(PROGRAM)).await.unwrap();
    let attestation = execution.attestation.unwrap();
    assert!(attestation.result.is_none());
    let kept = Receipt::verify(&attestation.signed_receipt, &host.identity()).unwrap();
    assert_eq!(kept.result_commitment, execution.result_commitment);
}

#[tokio::test]
async fn paid_runs_of_an_attested_session_take_the_attested_routes() {
    let host = Host::start(Trick::None).await;
    let session = open(&host, &policy()).await.unwrap();
    let wallet: Wallet = Wallet::from_hex(&"11".repeat(32)).unwrap();
    let payer = Payer::new(wallet, PaymentPolicy::new("0.01".parse().unwrap()));
    let wasm = session.run_wasm_paid(Program::new(PROGRAM), &payer).await;
    let wasm = wasm.unwrap();
    assert!(matches!(wasm.payment, Payment::NotAsked));
    assert!(wasm.execution.attestation.unwrap().result.is_some());
    let python = session.run_python_paid(Program::new(PROGRAM), &payer).await;
    assert!(python.unwrap().execution.attestation.is_some());
    assert_eq!(
        host.paths()[1..],
        [
            "/x402_execute/verifiable/wasm",
            "/x402_policy/unsafe/python/attest"
        ]
    );
}

#[tokio::test]
async fn calls_and_deployments_of_an_attested_session_are_refused_without_their_receipt() {
    let (owner, _) = OwnerKey::generate().unwrap();
    let shout = "shout".parse().unwrap();
    for (trick, check) in [
        (Trick::NoReceipt, "receipt"),
        (Trick::ForgedReceipt, "receipt"),
        (Trick::ReceiptOfAnotherManifest, "receipt-manifest"),
    ] {
        let host = Host::start(trick).await;
        let session = open(&host, &policy()).await.unwrap();
        let call = session.call_command(&shout, Inputs::new(), Some(&owner));
        assert_eq!(refusal(call.await).names(), [check]);
        let deployed = session.deploy(PROGRAM, "name = 'shout'", &owner);
        assert_eq!(refusal(deployed.await).names(), [check]);
    }
    let host = Host::start(Trick::None).await;
    let session = open(&host, &policy()).await.unwrap();
    let call = session.call_command(&shout, Inputs::new(), None).await;
    let attestation = call.unwrap().attestation.unwrap();
    assert!(attestation.result.is_none(), "no quote on this route");
    assert_eq!(attestation.receipt.sequence, 0);
}

#[tokio::test]
async fn a_host_is_verified_without_running_anything() {
    let host = Host::start(Trick::None).await;
    let client = Client::new(&host.url).unwrap();
    let (_, verdict) = client.verify_host(&policy()).await.unwrap();
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(host.paths(), ["/attestation"]);
}
