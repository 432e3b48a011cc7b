//! Evidence from real host processes, made by the simulated backend: a trust domain of its own that proves nothing about
//! hardware, judged by the same verifier.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hypervisor_client::protocol::{
    ClientSession, Commitment, ContentFormat, CreateKeypairRequest, CreateKeypairResponse,
    ExecutePythonRequest, ExecuteResponse, Operation, PrivateKey, PublicKey,
};
use hypervisor_evidence::Attester;
use hypervisor_simulated::Simulator;
use hypervisor_tests::host::binary;
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host, eventually};
use hypervisor_verify::{Challenge, Expected, ExpectedSubject};
use hypervisor_verify::{
    CheckId, Evidence, Policy, RawQuote, Receipt, Statement, Status, Verdict, VerifierNonce,
};
use sha2::{Digest, Sha384};

const CBOR: ContentFormat = ContentFormat::Cbor;
const NONCE: &str = "00112233445566778899aabbccddeeff";

/// A host that attests by a simulation of this seed.
pub(crate) fn simulated(seed: &str, more: &str) -> Host {
    Host::with(&format!(
        "[attestation]\nbackend = 'simulated'\nsimulated_seed = '{seed}'\n{more}"
    ))
}

pub(crate) fn with_python(seed: &str) -> Host {
    let plugin = hypervisor_tests::programs::python_plugin();
    simulated(seed, &format!("[runtime.python]\n{plugin}"))
}

pub(crate) fn simulator(seed: &str) -> Simulator {
    Simulator::builder(seed.as_bytes()).build().unwrap()
}

/// What believes the simulation of `seed`, whatever the host runs.
pub(crate) fn policy(seed: &str) -> Policy {
    let simulator = simulator(seed);
    let roots = format!(
        "simulated = \"{}\"",
        const_hex::encode(simulator.fingerprint())
    );
    Policy::parse(&policy_text(&roots, &simulator)).unwrap()
}

pub(crate) fn policy_text(roots: &str, simulator: &Simulator) -> String {
    hypervisor_tests::peers::policy_text(roots, simulator, "any = true")
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn challenge(nonce: &str) -> Challenge {
    Challenge {
        nonce: nonce.parse().unwrap(),
        made_at: now(),
    }
}

pub(crate) fn judge(evidence: &Evidence, policy: &Policy, expected: &Expected) -> Verdict {
    hypervisor_verify::verify(evidence, policy, expected, now())
}

fn failed(verdict: &Verdict) -> Vec<CheckId> {
    verdict.failures().map(|check| check.id).collect()
}

async fn get(host: &Host, path: &str) -> Answer {
    let response = reqwest::Client::new()
        .get(format!("{}{path}", host.url()))
        .header("accept", "application/cbor")
        .send()
        .await
        .unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

pub(crate) async fn identity_evidence(host: &Host) -> Evidence {
    let answer = get(host, &format!("/attestation?nonce={NONCE}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    Evidence::decode(CBOR, &answer.body).unwrap()
}

pub(crate) fn identity() -> Expected {
    Expected::new(ExpectedSubject::Identity, Some(challenge(NONCE)))
}

/// A session opened with evidence.
struct Attested {
    session: ClientSession,
    answer: CreateKeypairResponse,
    subject: ExpectedSubject,
    url: String,
}

impl Attested {
    async fn open(host: &Host) -> Self {
        Self::open_by(host, &reqwest::Client::new()).await
    }

    async fn open_by(host: &Host, http: &reqwest::Client) -> Self {
        let key = PrivateKey::generate();
        let nonce: VerifierNonce = NONCE.parse().unwrap();
        let request = CreateKeypairRequest::new(key.public_key(), Some(nonce.as_bytes().to_vec()));
        let url = format!("{}/verifiable/encrypt/create_keypair", host.url());
        let body = CBOR.encode(&request).unwrap();
        let answer = post(http, &url, CBOR.media_type(), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: CreateKeypairResponse = CBOR.decode(&answer.body).unwrap();
        let host_key = PublicKey::from_sec1(&answer.session_pubkey.0).unwrap();
        let subject = ExpectedSubject::Session {
            session_public_key: host_key.clone(),
            session_id: answer.session_id,
            client_public_key: key.public_key().clone(),
        };
        Self {
            session: ClientSession::new(key, host_key, answer.session_id).unwrap(),
            answer,
            subject,
            url: host.url().to_owned(),
        }
    }

    fn evidence(&self) -> Evidence {
        Evidence::decode(CBOR, &self.answer.evidence.as_ref().unwrap().0).unwrap()
    }

    /// The verdict on the session, which has to pass, gives the identity's key.
    fn identity(&self, seed: &str) -> PublicKey {
        let expected = Expected::new(self.subject.clone(), Some(challenge(NONCE)));
        let verdict = judge(&self.evidence(), &policy(seed), &expected);
        assert!(verdict.passed(), "{verdict}");
        verdict.binding().unwrap().identity_public_key.clone()
    }

    /// Runs a script on the attested route.
    async fn python(&self, script: &str) -> (ExecuteResponse, Vec<u8>) {
        let (sealed, pending) = self
            .session
            .seal_request::<&[u8]>(Operation::Python, script.as_bytes(), None, &[])
            .unwrap();
        let request =
            ExecutePythonRequest::new(self.session.public_key(), *self.session.id(), sealed);
        let url = format!("{}/test/policy/unsafe/python/attest", self.url);
        let body = CBOR.encode(&request).unwrap();
        let answer = post(&reqwest::Client::new(), &url, CBOR.media_type(), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let response: ExecuteResponse = CBOR.decode(&answer.body).unwrap();
        let opened = self
            .session
            .open_response(&pending, response.clone().into())
            .unwrap();
        (response, opened.result)
    }
}

fn result(commitment: Commitment, identity: &PublicKey) -> Expected {
    Expected {
        identity_public_key: Some(identity.clone()),
        ..Expected::new(ExpectedSubject::Result { commitment }, None)
    }
}

fn result_evidence(response: &ExecuteResponse) -> Evidence {
    Evidence::decode(CBOR, &response.result_evidence.as_ref().unwrap().0).unwrap()
}

#[tokio::test]
async fn simulated_evidence_is_accepted_by_a_policy_that_names_its_root() {
    let host = simulated("one", "");
    let evidence = identity_evidence(&host).await;
    let verdict = judge(&evidence, &policy("one"), &identity());
    assert!(verdict.passed(), "{verdict}");
    assert!(host.log().contains("SIMULATED"));
}

#[tokio::test]
async fn simulated_evidence_is_refused_by_a_policy_for_hardware_and_by_that_of_another_root() {
    let host = simulated("one", "");
    let evidence = identity_evidence(&host).await;
    let hardware = policy_text("vendors = [\"intel\", \"amd\"]", &simulator("one"));
    for policy in [Policy::parse(&hardware).unwrap(), policy("two")] {
        assert!(!judge(&evidence, &policy, &identity()).passed());
    }
}

#[tokio::test]
async fn a_nonce_that_was_not_mine_is_refused() {
    let host = simulated("one", "");
    let evidence = identity_evidence(&host).await;
    let other = challenge("ffeeddccbbaa99887766554433221100");
    let expected = Expected::new(ExpectedSubject::Identity, Some(other));
    let verdict = judge(&evidence, &policy("one"), &expected);
    assert!(failed(&verdict).contains(&CheckId::Nonce), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_come_at_once_share_quotes_and_each_is_proved() {
    const SESSIONS: usize = 400;
    let host = Arc::new(simulated("one", "simulated_delay = '1s'\n"));
    let reads = ("accept-evidence", "session-batch");
    let headers = [(reads.0.parse().unwrap(), reads.1.parse().unwrap())];
    let http = reqwest::Client::builder().default_headers(headers.into_iter().collect());
    let http = http.build().unwrap();
    // Beside them, anybody asks for evidence of the identity.
    let flood: Vec<_> = (0..20)
        .map(|_| {
            let host = Arc::clone(&host);
            tokio::spawn(async move { identity_evidence(&host).await })
        })
        .collect();
    let began = Instant::now();
    let opening: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let (host, http) = (Arc::clone(&host), http.clone());
            tokio::spawn(async move { Attested::open_by(&host, &http).await })
        })
        .collect();
    let mut opened = Vec::new();
    for session in opening {
        opened.push(session.await.unwrap());
    }
    eprintln!("{SESSIONS} sessions in {:?}", began.elapsed());
    for asked in flood {
        asked.abort();
    }
    let quotes: HashSet<_> = opened
        .iter()
        .map(|it| it.answer.quote.clone().unwrap().0)
        .collect();
    assert!(quotes.len() < SESSIONS / 10, "{} quotes", quotes.len());

    let (first, last) = (&opened[0], &opened[SESSIONS - 1]);
    first.identity("one");
    last.identity("one");
    // A proof is of its own session alone, and there is no evidence without one.
    let expected = Expected::new(first.subject.clone(), Some(challenge(NONCE)));
    for inclusion in [None, last.evidence().inclusion] {
        let evidence = Evidence {
            inclusion,
            ..first.evidence()
        };
        assert!(!judge(&evidence, &policy("one"), &expected).passed());
    }
    let commitment = Commitment([1; 32]);
    let of_a_result = Expected::new(ExpectedSubject::Result { commitment }, None);
    assert!(!judge(&first.evidence(), &policy("one"), &of_a_result).passed());
}

#[tokio::test]
async fn a_session_key_swapped_after_the_quote_is_refused() {
    let host = simulated("one", "");
    let mine = Attested::open(&host).await;
    mine.identity("one");
    let other = Attested::open(&host).await;
    let expected = Expected::new(other.subject.clone(), Some(challenge(NONCE)));
    assert!(!judge(&mine.evidence(), &policy("one"), &expected).passed());
}

#[tokio::test]
async fn the_quote_beside_the_evidence_is_the_one_inside() {
    let host = simulated("one", "");
    let session = Attested::open(&host).await;
    let RawQuote::Tdx(quote) = session.evidence().quote else {
        panic!("the simulation makes TDX quotes");
    };
    assert_eq!(session.answer.quote.as_ref().unwrap().0, quote);
}

#[tokio::test]
async fn a_result_is_proved_to_be_this_hosts_and_its_receipt_is_signed_by_the_attested_key() {
    let host = with_python("one");
    let session = Attested::open(&host).await;
    let identity = session.identity("one");
    let (response, output) = session.python("print('proved')").await;
    assert_eq!(output, b"proved\n");
    let expected = result(response.result_commitment, &identity);
    let verdict = judge(&result_evidence(&response), &policy("one"), &expected);
    assert!(verdict.passed(), "{verdict}");

    let receipt = Receipt::verify(&response.receipt.as_ref().unwrap().0, &identity).unwrap();
    assert_eq!(receipt.session_id, *session.session.id());
    assert_eq!(receipt.request_commitment, response.request_commitment);
    assert_eq!(receipt.result_commitment, response.result_commitment);
    let binding = verdict.binding().unwrap();
    assert_eq!(receipt.manifest_digest.0, binding.manifest_digest);
}

#[tokio::test]
async fn a_result_moved_to_another_exchange_is_refused() {
    let host = with_python("one");
    let session = Attested::open(&host).await;
    let identity = session.identity("one");
    let (first, _) = session.python("print(1)").await;
    let (second, _) = session.python("print(2)").await;
    let expected = result(second.result_commitment, &identity);
    assert!(!judge(&result_evidence(&first), &policy("one"), &expected).passed());
}

#[tokio::test]
async fn results_of_one_host_do_not_verify_as_anothers() {
    let (a, b) = (with_python("one"), with_python("one"));
    let session = Attested::open(&a).await;
    let other = Attested::open(&b).await.identity("one");
    let (response, _) = session.python("print('from a')").await;
    let expected = result(response.result_commitment, &other);
    assert!(!judge(&result_evidence(&response), &policy("one"), &expected).passed());
    assert!(Receipt::verify(&response.receipt.as_ref().unwrap().0, &other).is_err());
}

#[tokio::test]
async fn results_that_come_at_once_share_quotes() {
    let host = std::sync::Arc::new(with_python("one"));
    let mut scripts = tokio::task::JoinSet::new();
    for n in 0..20 {
        let host = std::sync::Arc::clone(&host);
        scripts.spawn(async move {
            let session = Attested::open(&host).await;
            let identity = session.identity("one");
            let (response, output) = session.python(&format!("print({n})")).await;
            assert_eq!(output, format!("{n}\n").into_bytes());
            let expected = result(response.result_commitment, &identity);
            let verdict = judge(&result_evidence(&response), &policy("one"), &expected);
            assert!(verdict.passed(), "{verdict}");
        });
    }
    scripts.join_all().await;
}

#[tokio::test]
async fn a_component_that_is_loaded_stands_in_the_log_and_the_register() {
    let host = with_python("one");
    let evidence = identity_evidence(&host).await;
    let log =
        hypervisor_verify::ComponentLog::decode(CBOR, evidence.log.as_ref().unwrap()).unwrap();
    let names: Vec<&str> = log.entries().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["python"]);
    let verdict = judge(&evidence, &policy("one"), &identity());
    assert!(verdict.passed(), "{verdict}");
    assert!(verdict.binding().unwrap().register_bound);

    let mut shortened = evidence.clone();
    let empty = hypervisor_verify::ComponentLog::new().encode(CBOR).unwrap();
    shortened.log = Some(empty);
    assert!(!judge(&shortened, &policy("one"), &identity()).passed());
}

#[tokio::test]
async fn a_scripts_claim_is_signed_with_the_scripts_digest() {
    let host = with_python("one");
    host.ready().await;
    let session = Attested::open(&host).await;
    let identity = session.identity("one");
    let script =
        "import hypervisor, sys\nsys.stdout.buffer.write(hypervisor.evidence(b'my claim'))\n";
    let (_, output) = session.python(script).await;
    let evidence = Evidence::decode(CBOR, &output).unwrap();
    let statement = Statement::verify(evidence.statement.as_ref().unwrap(), &identity).unwrap();
    assert_eq!(statement.claim.0, b"my claim");
}

#[tokio::test]
async fn nonces_that_cannot_be_used_are_refused_with_the_reason() {
    let host = simulated("one", "");
    let long = "ab".repeat(65);
    for query in [
        "",
        "?nonce=",
        "?nonce=00112233",
        "?nonce=zz112233445566778899aabbccddeeff",
        &format!("?nonce={long}"),
        &format!("?nonce={NONCE}&nonce={NONCE}"),
    ] {
        let answer = get(&host, &format!("/attestation{query}")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "malformed-request"),
            "{query}"
        );
        assert!(answer.detail().contains("nonce"), "{}", answer.detail());
    }
}

#[tokio::test]
async fn a_host_without_a_tee_says_why_it_gives_no_evidence() {
    let host = Host::with("[attestation]\nbackend = 'none'\n");
    let answer = get(&host, &format!("/attestation?nonce={NONCE}")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "attestation-unavailable")
    );
    assert!(
        answer.detail().contains("switched off"),
        "{}",
        answer.detail()
    );
}

#[test]
fn a_simulation_needs_a_seed_and_a_tee_that_was_asked_for_must_be_there() {
    for (config, word) in [
        ("backend = 'simulated'", "simulated_seed"),
        ("backend = 'tsm'", "doctor"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hypervisor.toml");
        std::fs::write(&file, format!("[attestation]\n{config}\n")).unwrap();
        let checked = Command::new(binary("hypervisor-ctl"))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        // On a machine with a TEE the second is right.
        if checked.status.success() {
            assert!(config.contains("tsm"));
            continue;
        }
        let message = String::from_utf8(checked.stderr).unwrap();
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn what_measure_prints_is_what_evidence_binds() {
    let plugin = hypervisor_tests::programs::python_plugin();
    let config = format!("[agents]\ndeploy = true\noutgoing = ['*']\n[runtime.python]\n{plugin}");
    let host = with_python("one");
    let evidence = identity_evidence(&host).await;
    let verdict = judge(&evidence, &policy("one"), &identity());
    let binding = verdict.binding().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    std::fs::write(&file, config).unwrap();
    let measured = Command::new(binary("hypervisor-ctl"))
        .args(["measure", "--output", "json", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(measured.status.success());
    let measured: serde_json::Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!(
        measured["manifest_sha384"],
        const_hex::encode(binding.manifest_digest)
    );
    assert_eq!(measured["log"]["head"], const_hex::encode(binding.log.head));

    // The verdict shows which program and engine that is.
    let program = std::fs::read(binary("hypervisor")).unwrap();
    let checks = verdict.checks().iter();
    let shown: Vec<_> = checks.flat_map(|check| &check.inputs).collect();
    for (name, value) in [
        ("host_sha384", const_hex::encode(Sha384::digest(&program))),
        (
            "wasmtime",
            measured["manifest"]["engine"]["wasmtime"]
                .as_str()
                .unwrap()
                .to_owned(),
        ),
    ] {
        assert!(shown.contains(&&(name, value)), "{name}: {shown:?}");
    }
}

#[test]
fn what_measure_prints_does_not_depend_on_the_machine_that_measures() {
    // On the second machine there is no address space for a pool of instances.
    let [here, there] = ["unlimited", "8000000"].map(|address_space| {
        let run = |command: &str| {
            let limited = format!("ulimit -v {address_space}; exec \"$0\" {command} --output json");
            let output = Command::new("sh")
                .args(["-c", &limited])
                .arg(binary("hypervisor-ctl"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let text = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -v {address_space}; exec \"$0\" check"),
            ])
            .arg(binary("hypervisor-ctl"))
            .output()
            .unwrap();
        let on_demand = String::from_utf8(text.stdout).unwrap().contains("OnDemand");
        (run("measure"), on_demand)
    });
    assert_eq!((here.1, there.1), (false, true));
    assert_eq!(here.0, there.0);
}

#[test]
fn a_host_program_that_is_not_there_is_named_by_measure() {
    let measured = Command::new(binary("hypervisor-ctl"))
        .args(["measure", "--host", "/nowhere/hypervisor"])
        .output()
        .unwrap();
    assert!(!measured.status.success());
    let message = String::from_utf8(measured.stderr).unwrap();
    assert!(message.contains("/nowhere/hypervisor"), "{message}");
}

#[tokio::test]
async fn an_operator_is_told_before_the_collateral_expires_and_that_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let soon = now() + 3 * 24 * 3600;
    let simulator = Simulator::builder(b"one").collateral_window(now() - 3600, soon);
    let collateral = simulator.build().unwrap().collateral_json().unwrap();
    for (text, expires, words) in [
        (collateral.as_str(), soon, "it expires at "),
        ("{}", 0, "clients cannot verify this host"),
    ] {
        let file = folder.path().join("collateral.json");
        std::fs::write(&file, text).unwrap();
        let host = simulated("one", &format!("collateral = {file:?}\n"));
        let gauge = format!("\nhypervisor_collateral_expiry_timestamp_seconds {expires}\n");
        let metrics = host.operator().get(format!("{}/metrics", host.admin()));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains(&gauge), "{metrics}");
        eventually("the log says so", async || {
            host.log().contains(words).then_some(())
        })
        .await;
        let sent = identity_evidence(&host).await.collateral;
        assert_eq!(sent.as_deref(), Some(text.as_bytes()));
    }
}

#[test]
fn doctor_says_what_this_machine_offers() {
    let doctor = Command::new(binary("hypervisor-ctl"))
        .args(["doctor", "--output", "json"])
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(doctor.status.success(), !found["backend"].is_null());
    assert!(found["configfs"]["advice"].is_string());
}

/// A host, and what its operator and its client write down about it: the policy file made by `hv policy init`.
pub(crate) struct Known {
    pub(crate) host: Host,
    folder: tempfile::TempDir,
}

impl Known {
    pub(crate) fn start() -> Self {
        let host = with_python("one");
        let known = Self {
            host,
            folder: tempfile::tempdir().unwrap(),
        };
        let plugin = hypervisor_tests::programs::python_plugin();
        let config =
            format!("[agents]\ndeploy = true\noutgoing = ['*']\n[runtime.python]\n{plugin}");
        std::fs::write(known.path("host.toml"), config).unwrap();
        std::fs::write(known.path("script.py"), "print('attested')\n").unwrap();
        let measured = Command::new(binary("hypervisor-ctl"))
            .args(["measure", "--output", "json", "--config"])
            .arg(known.path("host.toml"))
            .output()
            .unwrap();
        std::fs::write(known.path("measure.json"), measured.stdout).unwrap();
        let root = const_hex::encode(simulator("one").fingerprint());
        known.hv(&["attest", known.host.url(), "--to", "evidence.cbor"]);
        known.hv(&[
            "policy",
            "init",
            "--measure",
            "measure.json",
            "--simulated-root",
            &root,
            "--evidence",
            "evidence.cbor",
            "--to",
            "policy.toml",
        ]);
        known
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `hv` in the folder: status, standard output, standard error.
    pub(crate) fn hv(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(binary("hv"))
            .args(arguments)
            .env("HYPERVISOR_SERVER", self.host.url())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

#[test]
fn hv_runs_on_a_host_that_measures_as_its_operator_said() {
    let known = Known::start();
    let (status, out, err) = known.hv(&["python", "--verify", "policy.toml", "script.py"]);
    assert_eq!((status, out.as_str()), (0, "attested\n"), "{err}");
    assert!(err.contains("SIMULATED"), "{err}");
    let (status, ..) = known.hv(&["verify", known.host.url(), "--policy", "policy.toml"]);
    assert_eq!(status, 0);
}

#[test]
fn hv_sends_nothing_to_a_host_that_runs_something_else() {
    let known = Known::start();
    let other = simulated("one", "");
    let (status, out, err) = known.hv(&[
        "python",
        "--server",
        other.url(),
        "--verify",
        "policy.toml",
        "script.py",
    ]);
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("manifest"), "{err}");
    assert!(
        !other.log().contains("unsafe/python"),
        "the script was sent"
    );
}

#[test]
fn hv_sends_nothing_to_a_simulation_that_its_policy_does_not_name() {
    let known = Known::start();
    let text = std::fs::read_to_string(known.path("policy.toml")).unwrap();
    let root = const_hex::encode(simulator("one").fingerprint());
    let hardware = text.replace(&format!("simulated = \"{root}\""), "vendors = [\"intel\"]");
    assert_ne!(hardware, text);
    std::fs::write(known.path("hardware.toml"), hardware).unwrap();
    let (status, out, err) = known.hv(&["python", "--verify", "hardware.toml", "script.py"]);
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(
        !known.host.log().contains("unsafe/python"),
        "the script was sent"
    );
}

/// What the image of a simulated host boots, as a policy names it in the place of its registers.
fn policy_by_events(seed: &str) -> String {
    let simulator = simulator(seed);
    let log = Attester::boot_log(&simulator).unwrap().unwrap();
    let log = hypervisor_verify::BootLog::parse(&log).unwrap();
    let events: Vec<String> = log
        .events()
        .iter()
        .map(|event| {
            let (register, kind) = (event.register.unwrap(), event.type_name());
            let digest = const_hex::encode(event.digest);
            format!("{{ rtmr = {register}, type = \"{kind}\", digest = \"{digest}\" }}")
        })
        .collect();
    let root = const_hex::encode(simulator.fingerprint());
    let text = policy_text(&format!("simulated = \"{root}\""), &simulator);
    let boot = |line: &&str| {
        ["rtmr0", "rtmr1", "rtmr2"]
            .iter()
            .all(|it| !line.starts_with(it))
    };
    let mut lines: Vec<&str> = text.lines().filter(boot).collect();
    let events = format!("events = [{}]", events.join(", "));
    lines.push(&events);
    lines.join("\n")
}

#[tokio::test]
async fn an_image_is_known_by_the_events_of_its_boot_in_sessions_too() {
    let host = simulated("one", "");
    let policy = Policy::parse(&policy_by_events("one")).unwrap();
    let (evidence, verdict) = host.client().verify_host(&policy).await.unwrap();
    assert!(verdict.passed(), "{verdict}");
    assert!(evidence.boot_log.is_some());
    let (_, verdict) = host.client().open_attested_session(&policy).await.unwrap();
    assert_eq!(
        verdict.check(CheckId::BootLog).unwrap().status,
        Status::Pass
    );
    // Who does not ask for it does not get it.
    assert_eq!(Attested::open(&host).await.evidence().boot_log, None);
}

#[tokio::test]
async fn hv_shows_what_was_booted_and_a_policy_names_it() {
    let host = simulated("one", "");
    let folder = tempfile::TempDir::new().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(
        &policy,
        policy_by_events("one").replace("digest = \"", "digest = \"00"),
    )
    .unwrap();
    let verify = |policy: &std::path::Path| {
        let mut hv = Command::new(binary("hv"));
        hv.args(["verify", host.url(), "-v", "--policy"])
            .arg(policy);
        hv.env("XDG_STATE_HOME", folder.path());
        let output = hv.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    assert_eq!(verify(&policy).0, Some(2));
    std::fs::write(&policy, policy_by_events("one")).unwrap();
    let (status, said) = verify(&policy);
    assert_eq!(status, Some(0), "{said}");
    let events: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("boot  RTMR"))
        .collect();
    assert_eq!(events.len(), 3, "{said}");
    assert!(events[1].starts_with("boot  RTMR1  EV_IPL  "), "{said}");
    // The simulator's own events: their digests are of their words.
    assert!(events[1].ends_with("  SIMULATED kernel"), "{said}");
}
