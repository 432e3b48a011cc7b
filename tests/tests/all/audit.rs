//! The audit trail: what a host did is in it, and a host that shows another past is found out, by `hv audit` and by a verifier that
//! shares no line with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hypervisor_client::Program;
use hypervisor_tests::agents::owner;
use hypervisor_tests::disk::Small;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::RawSession;
use hypervisor_tests::{Host, copy_folder, eventually};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::agents::kit::Policy;
use crate::agents::swap::{component, listing, swapped};
use crate::attestation::{policy_text, simulated, simulator};

/// A client's folder, with a policy that believes the simulation of the seed `one`.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        let simulator = simulator("one");
        let root = const_hex::encode(simulator.fingerprint());
        let policy = policy_text(&format!("simulated = \"{root}\""), &simulator);
        fs::write(desk.path("policy.toml"), policy).unwrap();
        fs::write(desk.path("hello.wasm"), guest("hello")).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What `hv audit` remembers.
    pub(crate) fn heads(&self) -> PathBuf {
        self.path("state/hypervisor/audit.json")
    }

    fn hv(&self, host: &Host, line: &str) -> (i32, String, String) {
        let output = Command::new(binary("hv"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("HYPERVISOR_SERVER", host.url())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap();
        (status, text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    pub(crate) fn keep(&self, host: &Host, name: &str) {
        let line = format!("run hello.wasm --verify policy.toml --keep {name}");
        let (status, _, err) = self.hv(host, &line);
        assert_eq!(status, 0, "{err}");
    }

    /// An audit in which all holds.
    #[track_caller]
    pub(crate) fn audited(&self, host: &Host, targets: &str) -> Value {
        let line = format!("audit --policy policy.toml --output json {targets}");
        let (status, out, err) = self.hv(host, &line);
        assert_eq!(status, 0, "{out}{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// What is said of an audit in which something does not hold.
    #[track_caller]
    fn refused(&self, host: &Host, targets: &str) -> String {
        let (status, out, err) = self.hv(host, &format!("audit --policy policy.toml {targets}"));
        assert_eq!(status, 3, "{out}{err}");
        out + &err
    }

    /// The verifier in Python: what it found, or why it refused.
    fn second(&self, arguments: &[&str]) -> Result<Value, String> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/evidence/audit.py");
        let output = Command::new("python3")
            .arg(program)
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        match output.status.code() {
            Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
            _ => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }
}

/// A document of a host's trail.
pub(crate) async fn get(host: &Host, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}/audit/{path}", host.url()));
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap())
}

/// A proof, once it is there.
pub(crate) async fn proof(host: &Host, digest: &str) -> String {
    eventually("the entry is in the trail", async || {
        let (status, text) = get(host, &format!("proof/{digest}")).await;
        (status == 200).then_some(text)
    })
    .await
}

/// The size in a checkpoint.
pub(crate) fn size(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

fn lp(parts: &[&[u8]]) -> Vec<u8> {
    let lp = |part: &&[u8]| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
    parts.iter().flat_map(lp).collect()
}

/// The digest of an entry, as docs/AUDIT.md says it.
pub(crate) fn digest(label: &str, parts: &[&[u8]]) -> String {
    let parts = lp(parts);
    const_hex::encode(Sha256::digest([label.as_bytes(), &parts].concat()))
}

#[test]
fn a_run_that_was_kept_is_in_the_trail_also_after_restarts() {
    let desk = Desk::new();
    let mut host = simulated("one", "");
    desk.keep(&host, "run.cbor");
    let first = desk.audited(&host, "run.cbor");
    assert_eq!(first["verified"], true);
    assert_eq!(first["assurance"], "simulated");
    assert_eq!(first["remembered"], Value::Null);
    let entry = &first["entries"][0];
    assert_eq!(
        (&entry["found"], &entry["kind"]),
        (&Value::from(true), &Value::from("execution"))
    );
    let mode = fs::metadata(desk.heads()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for _ in 0..2 {
        host.kill_and_restart();
        let again = desk.audited(&host, "run.cbor");
        assert_eq!(again["head"]["origin"], first["head"]["origin"]);
        assert_eq!(again["entries"][0]["index"], entry["index"]);
        assert_ne!(again["identity_key"], first["identity_key"]);
        assert!(again["head"]["size"].as_u64() > again["remembered"]["size"].as_u64());
    }
    // The policy that the run was kept with is enough, and a commitment is as good as the run.
    let (status, out, _) = desk.hv(&host, "audit run.cbor");
    assert!(
        status == 0 && out.contains("found    run.cbor: entry "),
        "{out}"
    );
    let commitment = entry["commitment"].as_str().unwrap();
    desk.audited(&host, commitment);
    let said = desk.refused(&host, &"00".repeat(32));
    assert!(said.contains("MISSING"), "{said}");
    let (_, out, _) = desk.hv(&host, "verify run.cbor");
    assert!(out.contains("audit trail had "), "{out}");
}

#[tokio::test]
async fn a_verifier_that_shares_no_line_with_it_agrees() {
    let desk = Desk::new();
    let mut host = simulated("one", "");
    desk.keep(&host, "run.cbor");
    let first = desk.audited(&host, "run.cbor");
    let identity = first["identity_key"].as_str().unwrap();
    let commitment = first["entries"][0]["commitment"].as_str().unwrap();
    let index = &first["entries"][0]["index"];
    fs::write(desk.path("proof"), proof(&host, commitment).await).unwrap();
    let found = desk.second(&["--identity", identity, "--proof", "proof", commitment]);
    assert_eq!(&found.unwrap()["index"], index);
    let other = desk.second(&["--identity", identity, "--proof", "proof", &"00".repeat(32)]);
    assert!(other.unwrap_err().contains("another entry"));

    let (_, old) = get(&host, "head").await;
    fs::write(desk.path("old"), &old).unwrap();
    host.kill_and_restart();
    desk.keep(&host, "again.cbor");
    let second = desk.audited(&host, "again.cbor");
    let now = second["identity_key"].as_str().unwrap();
    let (_, consistency) = get(&host, &format!("consistency?from={}", size(&old))).await;
    fs::write(desk.path("consistency"), &consistency).unwrap();
    let arguments = [
        "--identity",
        now,
        "--old-identity",
        identity,
        "--old",
        "old",
        "--consistency",
        "consistency",
    ];
    let found = desk.second(&arguments).unwrap();
    assert_eq!(found["old"], size(&old));
    // One hash of it altered.
    let line = consistency.lines().nth(1).unwrap();
    let altered = line.replacen(
        &line[..4],
        if line.starts_with("AAAA") {
            "BBBB"
        } else {
            "AAAA"
        },
        1,
    );
    fs::write(
        desk.path("consistency"),
        consistency.replacen(line, &altered, 1),
    )
    .unwrap();
    assert!(
        desk.second(&arguments)
            .unwrap_err()
            .contains("does not continue")
    );
}

#[tokio::test]
async fn starts_swaps_and_what_operators_do_are_entries() {
    let rules = Policy::rust(&listing(&["hello"]));
    let host = simulated("one", &rules.section());
    let desk = Desk::new();
    let identity = desk.audited(&host, "")["identity_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let identity = const_hex::decode(identity).unwrap();
    proof(&host, &digest("hypervisor/v1 audit-start", &[&identity])).await;

    let manifest = async || {
        let attested = host
            .client()
            .open_attested_session(&crate::attestation::policy("one"))
            .await;
        *attested.unwrap().0.attestation().unwrap().manifest_digest()
    };
    let before = manifest().await;
    rules.write(&listing(&["hello", "echo"]));
    swapped(&host, "policy", component("policy-rust")).await;
    let after = manifest().await;
    proof(
        &host,
        &digest("hypervisor/v1 audit-swap", &[b"policy", &before, &after]),
    )
    .await;

    host.deploy(&owner(), "echo", "weather", "").await;
    let gone = host
        .operator()
        .delete(format!("{}/agents/weather", host.admin()));
    assert_eq!(gone.send().await.unwrap().status(), 200);
    proof(
        &host,
        &digest("hypervisor/v1 audit-admin", &[b"take-down", b"weather"]),
    )
    .await;
}

#[tokio::test]
async fn plain_calls_are_entered_where_the_operator_wants_it_by_what_their_callers_know() {
    let host = Host::with("[audit]\nplain = true\n");
    host.deploy(&owner(), "http-hello", "weather", "").await;
    let info = host.client().agents().await.unwrap().agents.remove(0);
    let answer = host.get("weather", "/").await;
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let named = answer.headers()["audit-commitment"]
        .to_str()
        .unwrap()
        .to_owned();
    let parts = [id.as_bytes(), info.address.as_bytes(), &info.sha384.0];
    assert_eq!(named, digest("hypervisor/v1 audit-call", &parts));
    proof(&host, &named).await;
    let quiet = Host::start();
    quiet.deploy(&owner(), "http-hello", "weather", "").await;
    let answer = quiet.get("weather", "/").await;
    assert!(!answer.headers().contains_key("audit-commitment"));
}

#[tokio::test]
async fn a_host_that_ends_in_order_loses_nothing_and_says_so() {
    let mut host = simulated("one", "");
    let session = RawSession::open(&host).await;
    let mut commitments = Vec::new();
    for _ in 0..20 {
        let run = host.run(Program::new(&guest("hello"))).await;
        commitments.push(run.result_commitment.to_string());
    }
    drop(session);
    host.terminate();
    assert!(host.wait().success());
    host.kill_and_restart();
    for commitment in commitments {
        assert_eq!(get(&host, &format!("proof/{commitment}")).await.0, 200);
    }
    let (_, head) = get(&host, "head").await;
    // A start, the answers, an end, and a start.
    assert_eq!(size(&head), 1 + 20 + 1 + 1);
}

#[tokio::test]
async fn a_full_disk_loses_no_entry_and_the_operator_is_told() {
    let mut host = simulated("one", "");
    host.kill();
    let disk = match Small::over(&host.state()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("not tested, as nothing can be mounted: {why}");
            return;
        }
    };
    host.kill_and_restart();
    let (_, before) = get(&host, "head").await;
    disk.fill();
    let mut commitments = Vec::new();
    for _ in 0..5 {
        let run = host.run(Program::new(&guest("hello"))).await;
        commitments.push(run.result_commitment.to_string());
    }
    let ready = format!("{}/readyz", host.admin());
    eventually("the operator is told", async || {
        let said = reqwest::get(&ready).await.ok()?.text().await.ok()?;
        said.contains("the audit trail cannot be written")
            .then_some(())
    })
    .await;
    // No head is shown that the disk has not.
    let (_, head) = get(&host, "head").await;
    assert_eq!(size(&head), size(&before));
    disk.empty();
    for commitment in &commitments {
        proof(&host, commitment).await;
    }
    host.ready().await;
    let (_, head) = get(&host, "head").await;
    assert_eq!(size(&head), size(&before) + 5);
}

#[test]
fn a_state_folder_that_was_put_back_is_found_out() {
    let desk = Desk::new();
    let mut host = simulated("one", "");
    desk.keep(&host, "before.cbor");
    desk.audited(&host, "before.cbor");
    host.kill();
    let store = host.state().join("store");
    copy_folder(&store, &desk.path("backup"));
    host.kill_and_restart();
    desk.keep(&host, "run.cbor");
    desk.audited(&host, "run.cbor");
    host.kill();
    copy_folder(&desk.path("backup"), &store);
    host.kill_and_restart();
    // Shorter than it was, and then as long with another past.
    let said = desk.refused(&host, "");
    assert!(
        said.contains("DO NOT RELY ON THIS HOST") && said.contains("rolled back"),
        "{said}"
    );
    for number in 0..4 {
        desk.keep(&host, &format!("{number}.cbor"));
    }
    let said = desk.refused(&host, "");
    assert!(
        said.contains("the consistency proof does not hold"),
        "{said}"
    );
    // What was remembered is not given up for it; who kept a run needs no memory.
    desk.refused(&host, "");
    fs::remove_file(desk.heads()).unwrap();
    let said = desk.refused(&host, "run.cbor");
    assert!(
        said.contains("the head that came with run.cbor") || said.contains("MISSING"),
        "{said}"
    );
    // Before that point nothing contradicts it.
    desk.audited(&host, "before.cbor --forget");
}

#[test]
fn a_host_that_gives_up_its_trail_is_found_out_unless_it_said_that_it_would() {
    let desk = Desk::new();
    let mut host = simulated("one", "");
    desk.keep(&host, "run.cbor");
    desk.audited(&host, "");
    host.kill();
    fs::remove_file(host.state().join("store/audit.redb")).unwrap();
    host.kill_and_restart();
    // It is at another address now, at which it would be another host.
    moved(&desk, &host);
    let said = desk.refused(&host, "");
    assert!(said.contains("DO NOT RELY ON THIS HOST"), "{said}");
    let said = desk.refused(&host, "--forget run.cbor");
    assert!(said.contains("the head that came with run.cbor"), "{said}");

    let said =
        "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n[audit]\ntrail = false\n";
    host.restart_with(said);
    moved(&desk, &host);
    let said = desk.refused(&host, "");
    assert!(said.contains("shows no audit trail"), "{said}");
    fs::remove_file(desk.heads()).unwrap();
    let (status, _, err) = desk.hv(&host, "audit --policy policy.toml");
    assert!(status == 1 && err.contains("keeps no audit trail"), "{err}");
}

/// The client finds the host at another address, and takes it for the same.
fn moved(desk: &Desk, host: &Host) {
    let text = fs::read_to_string(desk.heads()).unwrap();
    let mut seen: Value = serde_json::from_str(&text).unwrap();
    let hosts = seen["hosts"].as_object_mut().unwrap();
    let origin = hosts.values().next().unwrap().clone();
    hosts.insert(host.url().to_owned(), origin);
    fs::write(desk.heads(), seen.to_string()).unwrap();
}

#[tokio::test]
async fn a_trail_without_a_sealing_key_says_that_it_ends_with_the_process() {
    // Nothing attests, so nothing seals.
    let mut host = Host::start();
    let (_, first) = get(&host, "head").await;
    assert!(
        first.lines().next().unwrap().ends_with("/passing"),
        "{first}"
    );
    assert!(
        host.log()
            .contains("the audit trail ends with this process")
    );
    host.kill_and_restart();
    let (_, second) = get(&host, "head").await;
    assert_ne!(first.lines().next(), second.lines().next());
}

#[tokio::test]
async fn what_was_said_in_confidence_is_neither_in_the_trail_nor_in_the_log() {
    let host = simulated("one", "");
    let markers = ["planted-argument-7c1f", "planted-input-94ab"];
    let echo = guest("echo");
    let run = host
        .run(
            Program::new(&echo)
                .argument(markers[0])
                .stdin(markers[1].as_bytes()),
        )
        .await;
    let commitment = run.result_commitment.to_string();
    let mut texts = vec![
        proof(&host, &commitment).await,
        get(&host, "head").await.1,
        host.log(),
    ];
    texts.push(get(&host, "consistency?from=1").await.1);
    let store = fs::read(host.state().join("store/audit.redb")).unwrap();
    texts.push(String::from_utf8_lossy(&store).into_owned());
    for marker in markers {
        for text in &texts {
            assert!(!text.contains(marker));
        }
    }
    // Not even that there was this answer: one has to know it.
    assert!(!host.log().contains(&commitment));
    let raw = const_hex::decode(&commitment).unwrap();
    assert!(!store.windows(raw.len()).any(|it| it == raw));
}
