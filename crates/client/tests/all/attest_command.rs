//! `hv attest`, `hv verify`, `hv policy init` and `hv run --verify` as people meet them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use crate::attested::{Host, Trick, measure, policy_text, policy_under, root};
use serde_json::Value;
use tempfile::TempDir;

const NONCE: &str = "6f8a0e3c51d2b79408c6ae1f9d3b5274";
const OTHER_NONCE: &str = "00112233445566778899aabbccddeeff";

struct Hv {
    folder: TempDir,
    url: String,
}

impl Hv {
    fn new(host: &Host) -> Self {
        let hv = Self {
            folder: TempDir::new().unwrap(),
            url: host.url.clone(),
        };
        hv.write("program", "\0asm");
        hv.write("policy.toml", &policy_text());
        hv.write("measure.json", &measure().to_string());
        hv
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `hv LINE`, in the folder of the test's files.
    async fn hv(&self, line: &str) -> Output {
        let mut hv = tokio::process::Command::new(env!("CARGO_BIN_EXE_hv"));
        hv.args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env("HYPERVISOR_SERVER", &self.url)
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null());
        hv.output().await.unwrap()
    }

    /// Evidence for [`NONCE`], saved.
    async fn save(&self) {
        let url = &self.url;
        let saved = self
            .hv(&format!("attest {url} --nonce {NONCE} --to evidence.cbor"))
            .await;
        assert!(saved.status.success(), "{}", text(&saved.stderr));
        assert!(text(&saved.stdout).contains(NONCE));
        assert!(text(&saved.stdout).contains("not verified"));
    }

    async fn verify(&self, nonce: &str) -> Output {
        let line = format!("verify evidence.cbor --policy policy.toml --nonce {nonce}");
        self.hv(&line).await
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check<'a>(ear: &'a Value, name: &str) -> &'a Value {
    let checks = &ear["submods"]["hypervisor"]["hypervisor.checks"];
    let mut checks = checks.as_array().unwrap().iter();
    checks.find(|check| check["check"] == name).unwrap()
}

#[tokio::test]
async fn hv_verify_asks_a_host_with_a_nonce_of_its_own_and_lists_every_check() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let line = format!("verify {} --policy policy.toml", host.url);
    let output = hv.hv(&line).await;
    let listed = text(&output.stdout);
    assert!(output.status.success(), "{listed}");
    assert!(listed.starts_with("passed, SIMULATED"), "{listed}");
    for expected in ["pass  nonce", "pass  report-data", "n/a   session-key"] {
        assert!(listed.contains(expected), "{expected}\n{listed}");
    }
}

#[tokio::test]
async fn hv_verify_exits_with_3_and_says_what_to_do() {
    let host = Host::start(Trick::ReplayNonce).await;
    let hv = Hv::new(&host);
    let line = format!("verify {} --policy policy.toml", host.url);
    let output = hv.hv(&line).await;
    assert_eq!(output.status.code(), Some(3));
    let listed = text(&output.stdout);
    assert!(listed.starts_with("REFUSED"), "{listed}");
    assert!(
        listed.contains("FAIL  nonce: the evidence answers another nonce"),
        "{listed}"
    );
}

#[tokio::test]
async fn hv_verify_prints_an_attestation_result_in_json() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let line = format!("verify {} --policy policy.toml --output json", host.url);
    let ear = json(&hv.hv(&line).await);
    assert_eq!(ear["submods"]["hypervisor"]["ear.status"], "warning");
    assert_eq!(check(&ear, "measurements")["status"], "pass");
}

#[tokio::test]
async fn hv_verify_exits_with_3_for_a_host_without_attester_and_for_garbage() {
    for trick in [Trick::NoAttester, Trick::Garbage] {
        let host = Host::start(trick).await;
        let hv = Hv::new(&host);
        let line = format!("verify {} --policy policy.toml", host.url);
        let output = hv.hv(&line).await;
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn saved_evidence_is_verified_offline_with_its_nonce_only() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    hv.save().await;
    assert!(hv.verify(NONCE).await.status.success());
    let other = hv.verify(OTHER_NONCE).await;
    assert_eq!(other.status.code(), Some(3));
    assert!(text(&other.stdout).contains("FAIL  nonce"));
    let none = hv.hv("verify evidence.cbor --policy policy.toml").await;
    assert_eq!(none.status.code(), Some(3));
    assert_eq!(host.paths(), ["/attestation"]);
}

#[tokio::test]
async fn saved_evidence_gets_old_and_can_be_judged_as_of_its_time() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    hv.save().await;
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let file = std::fs::File::options()
        .write(true)
        .open(hv.path("evidence.cbor"))
        .unwrap();
    file.set_modified(yesterday).unwrap();
    let old = hv.verify(NONCE).await;
    assert_eq!(old.status.code(), Some(3));
    assert!(text(&old.stdout).contains("FAIL  age"));
    let then = humantime::format_rfc3339(yesterday + Duration::from_secs(60));
    let at = hv.verify(&format!("{NONCE} --at {then}")).await;
    assert!(at.status.success(), "{}", text(&at.stdout));
}

#[tokio::test]
async fn a_file_with_json_evidence_is_read_too_and_one_with_neither_exits_with_3() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let url = format!("{}/attestation?nonce={NONCE}", host.url);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = reqwest::Client::new()
        .get(url)
        .header("accept", "*/*")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(body.first(), Some(&b'{'));
    std::fs::write(hv.path("evidence.cbor"), &body).unwrap();
    assert!(hv.verify(NONCE).await.status.success());

    hv.write("evidence.cbor", "neither");
    let output = hv.verify(NONCE).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("malformed evidence"));
}

#[tokio::test]
async fn an_unknown_key_of_a_policy_names_the_nearest() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let policy = policy_text().replace("[manifest]", "fresness.max_age = \"1m\"\n[manifest]");
    hv.write("policy.toml", &policy);
    let line = format!("verify {} --policy policy.toml", host.url);
    for line in [line.as_str(), "run program --verify policy.toml"] {
        let output = hv.hv(line).await;
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains("did you mean `freshness"), "{said}");
    }
    assert!(host.paths().is_empty());
}

#[tokio::test]
async fn a_policy_of_measurement_and_first_evidence_accepts_the_next_evidence() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    hv.save().await;
    let line = format!(
        "policy init --measure measure.json --evidence evidence.cbor --simulated-root {} --to new.toml",
        root()
    );
    let output = hv.hv(&line).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert!(hv.read("new.toml").contains("# TRUST ON FIRST USE"));
    let line = format!("verify {} --policy new.toml", host.url);
    assert!(hv.hv(&line).await.status.success());
}

#[tokio::test]
async fn a_policy_is_never_written_over_another_file() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let line = format!(
        "policy init --measure measure.json --simulated-root {} --to policy.toml",
        root()
    );
    let output = hv.hv(&line).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is there already"));
    assert_eq!(hv.read("policy.toml"), policy_text());
}

#[tokio::test]
async fn a_simulated_host_needs_its_root_to_be_named() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let output = hv
        .hv("policy init --measure measure.json --to new.toml")
        .await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--simulated-root"));
    assert!(!hv.path("new.toml").exists());
}

#[tokio::test]
async fn evidence_of_a_host_that_was_not_measured_is_warned_about() {
    let host = Host::start(Trick::ForeignComponent).await;
    let hv = Hv::new(&host);
    hv.save().await;
    let line = format!(
        "policy init --measure measure.json --evidence evidence.cbor --simulated-root {} --to new.toml",
        root()
    );
    let output = hv.hv(&line).await;
    let said = text(&output.stderr);
    assert!(
        said.contains("components: the host loaded `keylogger`"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_no_measurement_is_refused() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let mut other = measure();
    other["version"] = 2.into();
    for content in ["{}", "[", &other.to_string()] {
        hv.write("measure.json", content);
        let output = hv
            .hv("policy init --measure measure.json --to new.toml")
            .await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("hypervisor-ctl measure"));
    }
}

#[tokio::test]
async fn hv_python_verifies_and_says_so_in_json() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let output = hv
        .hv("python program --verify policy.toml --output json")
        .await;
    assert!(text(&output.stderr).contains("SIMULATED"));
    let document = json(&output);
    assert_eq!(document["result"], "ran");
    let attestation = &document["attestation"];
    assert_eq!(attestation["assurance"], "simulated");
    assert_eq!(attestation["identity_key"], host.identity().to_string());
    assert_eq!(attestation["manifest_digest"], measure()["manifest_sha384"]);
    assert_eq!(attestation["checks"]["session"]["fail"], 0);
    assert!(attestation["checks"]["result"]["pass"].as_u64() > Some(0));
    assert!(attestation["receipt"].as_str().unwrap().starts_with("d2"));
}

#[tokio::test]
async fn hv_run_says_what_was_verified_when_asked() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let output = hv.hv("run program --verify policy.toml --verbose").await;
    assert!(output.status.success());
    assert_eq!(output.stdout, b"ran");
    let said = text(&output.stderr);
    assert!(said.contains("host               SIMULATED"), "{said}");
    assert!(said.contains("no quote on this route"), "{said}");
}

#[tokio::test]
async fn hv_run_sends_nothing_to_a_host_that_the_policy_refuses() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    hv.write("policy.toml", &policy_under("vendors = [\"intel\"]"));
    let output = hv.hv("run program --verify policy.toml").await;
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("no program was sent"), "{said}");
    assert!(
        said.contains("\n  trust-domain: the evidence is simulated"),
        "{said}"
    );
    assert_eq!(host.paths(), ["/verifiable/encrypt/create_keypair"]);
}

#[tokio::test]
async fn hv_python_shows_no_result_that_is_not_attested() {
    let host = Host::start(Trick::MovedResult).await;
    let hv = Hv::new(&host);
    let output = hv.hv("python program --verify policy.toml").await;
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("\n  result: "), "{said}");
    assert!(said.contains("discarded"), "{said}");
}

#[tokio::test]
async fn hv_remembers_the_highest_tcb_evaluation_and_does_not_go_back() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    let line = format!("verify {} --policy policy.toml", host.url);
    assert!(hv.hv(&line).await.status.success());
    let remembered = hv.read("state/hypervisor/hv.toml");
    let number = remembered.split(" = ").nth(1).unwrap().trim();
    let later: u32 = number.parse::<u32>().unwrap() + 1;
    let recovered = remembered.replace(&format!(" = {number}"), &format!(" = {later}"));
    hv.write("state/hypervisor/hv.toml", &recovered);
    for line in [line.clone(), "run program --verify policy.toml".to_owned()] {
        let output = hv.hv(&line).await;
        assert_eq!(output.status.code(), Some(3), "{line}");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        for expected in [
            "tcb-evaluation: the collateral is of TCB evaluation",
            "which is remembered in",
            "hv.toml",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }
    assert_eq!(hv.read("state/hypervisor/hv.toml"), recovered);
    hv.write("state/hypervisor/hv.toml", "garbage");
    let output = hv.hv(&line).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is damaged"));
}

#[tokio::test]
async fn hv_policy_init_takes_the_floors_from_the_evidence() {
    let host = Host::start(Trick::None).await;
    let hv = Hv::new(&host);
    hv.save().await;
    let root = root();
    let line = format!(
        "policy init --measure measure.json --evidence evidence.cbor --simulated-root {root} --to new.toml"
    );
    let output = hv.hv(&line).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rules = hypervisor_client::attest::Policy::parse(&hv.read("new.toml"))
        .unwrap()
        .rules;
    assert!(rules.tdx.minimum_tcb_evaluation_data_number > 0);
    assert!(rules.log.register_required);
    assert!(rules.components.agents);
}
