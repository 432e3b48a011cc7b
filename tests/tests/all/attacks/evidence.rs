//! Evidence, the component log and quotes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_client::protocol::{ContentFormat, Exit, ProblemType, Rejection};
use hypervisor_simulated::Simulator;
use hypervisor_tests::agents::{manifest, owner, problem, rejection};
use hypervisor_tests::peers::policy_text;
use hypervisor_tests::programs::wat;
use hypervisor_tests::{Host, RawSession};
use hypervisor_verify::{
    Challenge, ComponentLog, Evidence, Expected, ExpectedSubject, Policy, VerifierNonce,
};

const CBOR: ContentFormat = ContentFormat::Cbor;
const SIMULATED: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'attacked'\n";

/// A command that imports one interface in `imports` versions; each `number` is another component.
fn component(number: usize, imports: usize) -> Vec<u8> {
    let imports: String = (0..imports)
        .map(|n| format!("(import \"wasi:clocks/monotonic-clock@0.2.{n}\" (instance))"))
        .collect();
    wat(&format!(
        r#"(component
             {imports}
             (core module $m (func (export "run") (result i32) (drop (i32.const {number})) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#
    ))
}

/// What believes the simulation, whatever the host runs.
fn policy() -> Policy {
    let simulator = Simulator::builder(b"attacked").build().unwrap();
    let root = format!(
        "simulated = \"{}\"",
        const_hex::encode(simulator.fingerprint())
    );
    let text = policy_text(&root, &simulator, "any = true");
    Policy::parse(&text).unwrap()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn nonce(n: usize) -> VerifierNonce {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    VerifierNonce::new(bytes.to_vec()).unwrap()
}

/// Evidence of the host, asked for and judged as `hv verify` does.
async fn refusals(host: &Host, policy: &Policy, n: usize) -> Vec<String> {
    let nonce = nonce(n);
    let made_at = now();
    let evidence: Evidence = host.client().evidence(&nonce).await.unwrap();
    let expected = Expected::new(
        ExpectedSubject::Identity,
        Some(Challenge { nonce, made_at }),
    );
    let verdict = hypervisor_verify::verify(&evidence, policy, &expected, now());
    verdict
        .failures()
        .map(|check| format!("{check:?}"))
        .collect()
}

#[tokio::test]
async fn one_owner_that_redeploys_an_agent_without_end_does_not_end_attestation() {
    let (stranger, another) = (owner(), owner());
    let owners = format!("owners = ['{}', '{}']", stranger.id(), another.id());
    let host = Host::with(&format!("{SIMULATED}[agents]\n{owners}\n"));
    let text = manifest("again", "");
    let mut refused = None;
    for n in 0..400 {
        if let Err(error) = host.try_deploy(&stranger, &component(n, 256), &text).await {
            refused = Some((n, rejection(&error)));
            break;
        }
    }
    let (deployed, (kind, detail)) = refused.expect("the log takes so many of one owner only");
    assert_eq!(kind, Rejection::TooManyAgents, "{detail}");
    assert!(detail.contains("component log"), "{detail}");
    // What it deployed last serves, and what is in the log already may be deployed again.
    let last = component(deployed - 1, 256);
    host.try_deploy(&stranger, &last, &text).await.unwrap();
    let evidence: Evidence = host.client().evidence(&nonce(1)).await.unwrap();
    let length = evidence.encode(CBOR).unwrap().len();
    assert!(length < 256 << 10, "{length} bytes of evidence");
    assert!(refusals(&host, &policy(), 2).await.is_empty());
    // Others deploy as before.
    let other = component(0, 1);
    host.try_deploy(&another, &other, &manifest("other", ""))
        .await
        .unwrap();
}

#[tokio::test]
async fn owners_made_up_by_one_address_do_not_use_up_the_log_for_others() {
    let host = Host::with(SIMULATED);
    let attacker = RawSession::open_from(&host, Ipv4Addr::new(127, 0, 0, 2).into()).await;
    let text = manifest("again", "");
    let (mut made_up, mut deployed) = (owner(), 0);
    let refused = loop {
        if deployed % 50 == 49 {
            made_up = owner();
        }
        let (answer, pending) = attacker
            .deploy(&made_up, &component(deployed, 1), &text)
            .await;
        match attacker.open_answer(CBOR, &pending, &answer).report.exit {
            Exit::Ok => deployed += 1,
            Exit::Rejected { problem, detail } => break (problem, detail),
            other => panic!("{other:?}"),
        }
        assert!(deployed < 400, "the log takes so many of one address only");
    };
    assert_eq!(refused.0, Rejection::TooManyAgents);
    assert!(refused.1.contains("component log"), "{}", refused.1);
    // What it deployed last it may deploy again; and others deploy as before.
    let last = component(deployed - 1, 1);
    let (answer, pending) = attacker.deploy(&made_up, &last, &text).await;
    let opened = attacker.open_answer(CBOR, &pending, &answer);
    assert_eq!(opened.report.exit, Exit::Ok);
    host.try_deploy(&owner(), &component(0, 1), &manifest("other", ""))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_imports_of_a_deployment_are_measured_by_their_digest() {
    let host = Host::with(SIMULATED);
    let many = component(0, 250);
    let deployed = host
        .try_deploy(&owner(), &many, &manifest("many", ""))
        .await;
    deployed.unwrap();
    let evidence: Evidence = host.client().evidence(&nonce(1)).await.unwrap();
    let log = ComponentLog::decode(CBOR, evidence.log.as_ref().unwrap()).unwrap();
    let [digest] = &log.entries()[0].imports[..] else {
        panic!("{:?}", log.entries());
    };
    assert!(digest.starts_with("sha384:"), "{digest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_beside_verifiers_spoil_no_evidence() {
    let host = Arc::new(Host::with(&format!(
        "{SIMULATED}simulated_delay = '300ms'\n"
    )));
    let done = Arc::new(AtomicBool::new(false));
    let deploying = {
        let (host, done) = (Arc::clone(&host), Arc::clone(&done));
        tokio::spawn(async move {
            let (stranger, mut n) = (owner(), 0);
            while !done.load(Ordering::Relaxed) {
                // The log takes so many of one owner.
                host.try_deploy(&stranger, &component(n % 200, 1), &manifest("again", ""))
                    .await
                    .unwrap();
                n += 1;
            }
            n
        })
    };
    let policy = Arc::new(policy());
    let verifiers: Vec<_> = (0..4)
        .map(|verifier| {
            let (host, policy) = (Arc::clone(&host), Arc::clone(&policy));
            tokio::spawn(async move {
                for round in 0..3 {
                    let refusals = refusals(&host, &policy, verifier * 10 + round).await;
                    assert!(refusals.is_empty(), "{refusals:?}");
                }
            })
        })
        .collect();
    for verifier in verifiers {
        verifier.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let deployments = deploying.await.unwrap();
    assert!(deployments >= 2, "they met no deployment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_for_evidence_does_not_keep_a_session_waiting() {
    const FLOOD: usize = 60;
    let host = Arc::new(Host::with(&format!(
        "{SIMULATED}simulated_delay = '200ms'\n"
    )));
    let answered = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..FLOOD)
        .map(|n| {
            let (host, answered) = (Arc::clone(&host), Arc::clone(&answered));
            tokio::spawn(async move {
                let url = format!("{}/attestation?nonce={}", host.url(), nonce(n));
                let _ = reqwest::get(url).await;
                answered.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    // The first of them was answered: the others wait.
    hypervisor_tests::eventually("the flood has come", async || {
        (answered.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    let policy = policy();
    let session = host.client().open_attested_session(&policy).await;
    let before = answered.load(Ordering::SeqCst);
    assert!(session.is_ok());
    assert!(
        before < FLOOD / 2,
        "the session waited for {before} of them"
    );
    for request in flood {
        request.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_quotes_than_wait_is_told_to_come_again() {
    let host = Arc::new(Host::with(&format!("{SIMULATED}simulated_delay = '2s'\n")));
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let flood: Vec<_> = (0..400)
        .map(|n| {
            let (host, tell) = (Arc::clone(&host), tell.clone());
            tokio::spawn(async move {
                let url = format!("{}/attestation?nonce={}", host.url(), nonce(n));
                let response = reqwest::get(url).await.unwrap();
                if response.status() != 200 {
                    let _ = tell.send(response).await;
                }
            })
        })
        .collect();
    let refused = tokio::time::timeout(Duration::from_secs(60), told.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let (status, problem) = problem(refused).await;
    assert_eq!(status, 503);
    assert_eq!(problem.problem_type(), Some(ProblemType::Overloaded));
    for request in flood {
        request.abort();
    }
}
