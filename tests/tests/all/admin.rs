//! What an operator sees of a serving host and does with it, by the commands of `hypervisor-ctl`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypervisor_client::Program;
use hypervisor_tests::agents::owner;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, eventually, within};
use serde_json::Value;

/// A host whose admin port is what it is where nothing is said.
const BY_DEFAULT: &str = "[admin]\nhosts = []\n";

fn ctl(host: &Host, arguments: &[&str]) -> Output {
    Command::new(binary("hypervisor-ctl"))
        .args(arguments)
        .args(["--admin", &host.admin()])
        .env("HYPERVISOR_ADMIN_TOKEN_FILE", host.admin_token())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a command prints that has to succeed.
fn said(host: &Host, arguments: &[&str]) -> String {
    let done = ctl(host, arguments);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(done.stdout).unwrap()
}

fn status(host: &Host) -> Value {
    serde_json::from_str(&said(host, &["status", "--output", "json"])).unwrap()
}

async fn ready(host: &Host) {
    eventually("the host is ready", async || {
        ctl(host, &["status"]).status.success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_word_the_port_is_a_socket_for_the_hosts_own_user() {
    let host = Host::with(BY_DEFAULT);
    let socket = host.state().join("admin.sock");
    assert_eq!(host.admin(), format!("unix:{}", socket.display()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&host.state())), (0o600, 0o700));
    assert!(!host.admin_token().exists());
    // The command finds it by the configuration alone.
    let config = host.state().with_file_name("hypervisor.toml");
    let done = Command::new(binary("hypervisor-ctl"))
        .args(["level", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "trace\n");
}

#[tokio::test]
async fn status_says_what_runs_what_it_did_and_what_is_full() {
    let host = Host::with(
        "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n[limits]\nexecutions = 1\nqueue = 0\ncpu = '1h'\nwall = '1h'\n[admin]\nhosts = []\n",
    );
    ready(&host).await;
    let session = host.session().await;
    session
        .run_wasm(Program::new(&guest("hello")))
        .await
        .unwrap();
    let running = tokio::spawn(async move {
        let sleepy = guest("sleepy");
        let program = Program::new(&sleepy).argument("3600000");
        let _ = session.run_wasm(program).await;
    });
    let full = eventually("the slots are full", async || {
        let status = status(&host);
        let slots = &status["in_use"][0];
        slots["full_since"].is_u64().then(|| status.clone())
    })
    .await;
    assert_eq!(full["state"], "ready");
    assert_eq!(full["attestation"]["backend"], "simulated");
    assert_eq!(full["manifest_sha384"].as_str().unwrap().len(), 96);
    let slots = &full["in_use"][0];
    assert_eq!(
        (&slots["name"], &slots["used"], &slots["most"]),
        (&"slots".into(), &1.into(), &1.into())
    );
    let done = &full["recent"][0];
    assert_eq!(
        (&done["kind"], &done["outcome"], &done["sent_bytes"]),
        (&"wasm".into(), &"ok".into(), &6.into())
    );
    assert!(done["received_bytes"].as_u64().unwrap() > 1_000);
    let text = said(&host, &["status"]);
    for words in ["ready", "it proves nothing", "1 of 1  full for", "wasm"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Not on a terminal, it is told once.
    assert!(said(&host, &["top"]).contains("ten minutes"));
    running.abort();
}

#[tokio::test]
async fn the_exit_status_is_1_where_a_host_is_not_ready_or_not_there_and_2_for_what_is_not_understood()
 {
    let mut host = Host::with(BY_DEFAULT);
    ready(&host).await;
    said(&host, &["drain", "--stay"]);
    let code = |arguments: &[&str]| ctl(&host, arguments).status.code();
    assert_eq!(code(&["status"]), Some(1));
    assert_eq!(code(&["status", "--colour"]), Some(2));
    assert_eq!(code(&["drain", "--stay", "--leave"]), Some(2));
    host.kill();
    let gone = ctl(&host, &["status"]);
    let words = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(words.contains(&host.admin()), "{words}");
}

#[tokio::test]
async fn a_drained_host_is_not_ready_answers_and_can_be_taken_back() {
    let host = Host::with(BY_DEFAULT);
    ready(&host).await;
    said(&host, &["drain", "--stay"]);
    let drained = ctl(&host, &["status", "--output", "json"]);
    let drained: Value = serde_json::from_slice(&drained.stdout).unwrap();
    assert_eq!(drained["state"], "draining");
    assert_eq!(
        host.run(Program::new(&guest("hello"))).await.result,
        b"hello\n"
    );
    said(&host, &["drain", "--leave"]);
    assert_eq!(status(&host)["state"], "ready");
}

#[tokio::test]
async fn drain_lets_what_is_under_way_end_and_waits_for_the_end_of_the_host() {
    let mut host = Host::with(BY_DEFAULT);
    let session = host.session().await;
    let running = tokio::spawn(async move {
        let sleepy = guest("sleepy");
        let ran = session.run_wasm(Program::new(&sleepy).argument("3000"));
        ran.await.map(|ran| ran.result)
    });
    eventually("it runs", async || {
        (status(&host)["in_use"][0]["used"] == 1).then_some(())
    })
    .await;
    let told = said(&host, &["drain"]);
    assert!(told.ends_with("the host has ended\n"), "{told}");
    let ran = within("the result", running).await.unwrap().unwrap();
    assert_eq!(ran, b"awake\n");
    assert!(host.wait().success());
    assert!(host.log().contains("the operator drains the host"));
}

#[tokio::test]
async fn log_levels_change_while_the_host_serves_and_what_may_be_written_does_not() {
    let host = Host::logging("info", BY_DEFAULT);
    let ping = async || host.client().ping().await.unwrap();
    ping().await;
    assert!(!host.log().contains("micros="));
    assert_eq!(said(&host, &["level", "debug"]), "debug\n");
    ping().await;
    host.has_logged("micros=").await;
    for wrong in ["", "hypervisor=loud", &"x".repeat(2_000)] {
        assert_eq!(
            ctl(&host, &["level", wrong]).status.code(),
            Some(1),
            "{wrong}"
        );
    }
    assert_eq!(said(&host, &["level"]), "debug\n");
    // Libraries trace what they handle, and stay silent at any level.
    said(&host, &["level", "trace"]);
    let planted = "planted-in-a-header";
    let asked = reqwest::Client::new().get(format!("{}/ping", host.url()));
    asked.header("x-planted", planted).send().await.unwrap();
    let levels = "levels=\"trace\"";
    host.has_logged(levels).await;
    let log = host.log();
    let (_, after) = log.split_once(levels).unwrap();
    assert!(
        !log.contains(planted) && !after.contains("hyper"),
        "{after}"
    );
    assert_eq!(said(&host, &["level", "error"]), "error\n");
}

#[tokio::test]
async fn the_last_lines_of_the_log_are_read_over_the_admin_port() {
    let host = Host::logging("info", BY_DEFAULT);
    let lines = said(&host, &["logs"]);
    assert!(lines.contains(" serving "), "{lines}");
    assert!(!lines.contains('\u{1b}'));
    assert_eq!(said(&host, &["logs", "--lines", "1"]).lines().count(), 1);
    let json = said(&host, &["logs", "--lines", "1", "--output", "json"]);
    assert!(serde_json::from_str::<String>(&json).is_ok());
    let mut following = tokio::process::Command::new(binary("hypervisor-ctl"))
        .args(["logs", "--follow", "--lines", "0", "--admin", &host.admin()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let out = following.stdout.take().unwrap();
    let mut out = tokio::io::BufReader::new(out);
    let mut line = String::new();
    // The line may come before the command looks for the first time: it is caused until it is seen.
    let seen = async {
        loop {
            said(&host, &["level", "info"]);
            let read = tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line);
            if tokio::time::timeout(std::time::Duration::from_secs(2), read)
                .await
                .is_ok()
            {
                return;
            }
        }
    };
    within("a line", seen).await;
    assert!(line.contains("the operator set the log levels"), "{line}");
    following.kill().await.unwrap();
}

#[tokio::test]
async fn an_operator_sees_what_owners_have_and_takes_it_down() {
    let host = Host::with(BY_DEFAULT);
    let owner = owner();
    host.deploy(&owner, "http-hello", "public", "").await;
    host.deploy(&owner, "http-hello", "hidden", "private = true")
        .await;
    let listed: Value =
        serde_json::from_str(&said(&host, &["agents", "--output", "json"])).unwrap();
    let agents = listed[0]["agents"].as_array().unwrap();
    let addresses: Vec<&str> = agents
        .iter()
        .map(|it| it["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses.len(), 2);
    let hidden = addresses
        .iter()
        .find(|it| it.starts_with("hidden."))
        .unwrap();
    let told = said(&host, &["agents", "remove", hidden]);
    assert_eq!(told, format!("{hidden} is taken down\n"));
    let text = said(&host, &["agents"]);
    assert!(
        text.contains("public.") && !text.contains("hidden."),
        "{text}"
    );
    let unknown = ctl(&host, &["agents", "remove", hidden]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn an_operator_takes_away_the_environments_of_an_owner_and_of_no_other() {
    let host = Host::with_environments(BY_DEFAULT);
    let (one, other) = (host.tenant().await, host.tenant().await);
    let source = "export function handler() { return 1; }";
    one.set_up("javascript", source).await;
    one.set_up("javascript", source).await;
    let stays = other.set_up("javascript", source).await;
    let owners = || -> Vec<(String, u64)> {
        let listed = said(&host, &["agents", "--output", "json"]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let named = |it: &Value| it["owner"].as_str().unwrap().to_owned();
        let counted = |it: &Value| it["environments"].as_u64().unwrap();
        listed.iter().map(|it| (named(it), counted(it))).collect()
    };
    let before = owners();
    let (owner, _) = before.iter().find(|(_, count)| *count == 2).unwrap();
    let told = said(&host, &["agents", "remove-environments", owner]);
    assert_eq!(told, "environments removed: 2\n");
    assert_eq!(owners().len(), 1);
    let left = other.value(&stays.id, "null").await;
    assert_eq!(left, "1");
    assert_eq!(one.total().await, 0);
}

/// A file of `tests/vectors/tls`.
fn pem(name: &str) -> String {
    format!(
        "{}/vectors/tls/admin-{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// `status`, of a host that ends TLS, with these files.
fn status_over_tls(host: &Host, files: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary("hypervisor-ctl"));
    command.args(["status", "--admin", &host.admin()]);
    for (flag, name) in files {
        command.args([flag, &&*pem(name)]);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn with_client_certificates_an_address_needs_no_token_and_answers_nobody_else() {
    let (certificate, key, authority) = (
        pem("host.certificate"),
        pem("host.key"),
        pem("authority.certificate"),
    );
    let host = Host::with(&format!(
        "[admin]\nlistening = '127.0.0.1:0'\n[admin.tls]\ncertificate = '{certificate}'\nkey = '{key}'\nclient_ca = '{authority}'\n"
    ));
    assert!(host.admin().starts_with("https://127.0.0.1:"));
    assert!(!host.admin_token().exists());
    let ca = ("--tls-ca", "authority.certificate");
    let identity = |name: &'static str| {
        let [certificate, key] = match name {
            "operator" => ["operator.certificate", "operator.key"],
            _ => ["stranger.certificate", "stranger.key"],
        };
        [ca, ("--tls-certificate", certificate), ("--tls-key", key)]
    };
    eventually("the operator is answered", async || {
        let done = status_over_tls(&host, &identity("operator"));
        done.status.success().then_some(())
    })
    .await;
    for files in [&[ca][..], &identity("stranger")] {
        let done = status_over_tls(&host, files);
        assert_eq!(done.status.code(), Some(1), "{files:?}");
        assert!(done.stdout.is_empty());
    }
    // Nor is the operator's certificate shown to a host that nobody vouches for.
    let other = [
        ("--tls-ca", "stranger.certificate"),
        ("--tls-certificate", "operator.certificate"),
        ("--tls-key", "operator.key"),
    ];
    assert_eq!(status_over_tls(&host, &other).status.code(), Some(1));
    // Without TLS nothing is answered at all.
    let plain = host.admin().replace("https://", "http://");
    assert!(reqwest::get(format!("{plain}/livez")).await.is_err());
}

#[tokio::test]
async fn with_tls_and_no_client_certificates_the_token_is_needed() {
    let (certificate, key) = (pem("host.certificate"), pem("host.key"));
    let host = Host::with(&format!(
        "[admin]\nlistening = '127.0.0.1:0'\n[admin.tls]\ncertificate = '{certificate}'\nkey = '{key}'\n"
    ));
    let ca = [("--tls-ca", "authority.certificate")];
    let refused = status_over_tls(&host, &ca);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("Bearer"), "{words}");
    let ca = pem("authority.certificate");
    let told = said(&host, &["level", "--tls-ca", &ca]);
    assert_eq!(told, "trace\n");
}

#[test]
fn tls_on_a_socket_stops_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = folder.path().join("hypervisor.toml");
    std::fs::write(&config, "[admin.tls]\ncertificate = 'c.pem'\n").unwrap();
    let done = Command::new(binary("hypervisor"))
        .current_dir(folder.path())
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    let words = String::from_utf8(done.stderr).unwrap();
    assert!(words.contains("TLS is for a port at an address"), "{words}");
}
