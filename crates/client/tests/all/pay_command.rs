//! `hv run --pay` as people meet it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::support::{Challenge, Host, KEY, PAYER, Reply, TRANSACTION, offer_with};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Hv {
    folder: TempDir,
    server: String,
    key: Option<String>,
}

impl Hv {
    fn new(host: &Host) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("program"), b"\0asm").unwrap();
        Self {
            folder,
            server: host.url.clone(),
            key: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key_file(&self, mode: u32) -> String {
        let path = self.path("payer.key");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `hv COMMAND PROGRAM ARGUMENTS`.
    async fn command(&self, command: &str, arguments: &[&str]) -> Output {
        let mut hv = tokio::process::Command::new(Path::new(env!("CARGO_BIN_EXE_hv")));
        hv.args(["--server", &self.server, command])
            .arg(self.path("program"))
            .args(arguments)
            .env_remove("HV_PAY_KEY")
            .envs(self.key.iter().map(|key| ("HV_PAY_KEY", key)))
            .stdin(Stdio::null());
        hv.output().await.unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.command("run", arguments).await
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn hv_run_says_what_it_paid() {
    let host = Host::paid([Reply::Settle]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let output = hv.run(&["--pay", &key, "--max-price", "0.05"]).await;
    assert_eq!(output.stdout, b"ran");
    assert_eq!(
        text(&output.stderr),
        format!("hv: paid 0.01 USDC on base-sepolia, transaction {TRANSACTION}\n")
    );
    assert!(output.status.success());
}

#[tokio::test]
async fn hv_python_pays_likewise() {
    let host = Host::paid([Reply::Settle]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let output = hv
        .command("python", &["--pay", &key, "--max-price", "0.01"])
        .await;
    assert!(
        text(&output.stderr).contains("paid 0.01 USDC"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(host.seen()[0].path, "/x402_policy/unsafe/python");
}

#[tokio::test]
async fn hv_run_takes_the_key_from_the_environment() {
    let host = Host::paid([Reply::Settle]).await;
    let mut hv = Hv::new(&host);
    hv.key = Some(KEY.to_owned());
    let output = hv.run(&["--max-price", "0.05"]).await;
    assert!(
        text(&output.stderr).contains("paid 0.01 USDC"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn hv_run_without_a_cap_uses_the_free_route_whatever_the_environment() {
    let host = Host::paid([]).await;
    let mut hv = Hv::new(&host);
    hv.key = Some(KEY.to_owned());
    let output = hv.run(&[]).await;
    assert_eq!(
        (output.stdout.as_slice(), text(&output.stderr).as_str()),
        (&b"ran"[..], "")
    );
    assert_eq!(host.seen().len(), 0);
}

#[tokio::test]
async fn hv_run_json_has_the_payment() {
    let host = Host::paid([Reply::Settle]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let arguments = ["--pay", &key, "--max-price", "0.05", "--output", "json"];
    let document: Value = serde_json::from_slice(&hv.run(&arguments).await.stdout).unwrap();
    let payment = &document["payment"];
    for (name, value) in [
        ("status", "paid"),
        ("amount", "0.01"),
        ("asset", "USDC"),
        (
            "asset_address",
            "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        ),
        ("network", "eip155:84532"),
        ("transaction", TRANSACTION),
        ("payer", PAYER),
    ] {
        assert_eq!(payment[name], value, "{name}");
    }
    assert_eq!(document["result"], "ran");
}

#[tokio::test]
async fn hv_run_json_of_a_host_that_did_not_ask_has_no_amount() {
    let host = Host::start(Challenge::None, []).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let arguments = ["--pay", &key, "--max-price", "0.05", "--output", "json"];
    let document: Value = serde_json::from_slice(&hv.run(&arguments).await.stdout).unwrap();
    assert_eq!(document["payment"], json!({"status": "not-asked"}));
}

#[tokio::test]
async fn hv_run_names_price_and_cap_and_exits_with_1() {
    let offers = vec![offer_with(json!({"amount": "60000"}))];
    let host = Host::start(Challenge::Offers(offers), []).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let output = hv.run(&["--pay", &key, "--max-price", "0.05"]).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("0.06 USDC on base-sepolia, above the maximum of 0.05 USDC"),
        "{stderr}"
    );
    assert!(stderr.contains("nothing was paid"), "{stderr}");
}

#[tokio::test]
async fn hv_run_pays_on_the_named_network_only() {
    let host = Host::paid([]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let arguments = [
        "--pay",
        &key,
        "--max-price",
        "1",
        "--pay-network",
        "base",
        "--pay-network",
        "eip155:137",
    ];
    let output = hv.run(&arguments).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("allowed are polygon, base"), "{stderr}");
}

#[tokio::test]
async fn hv_run_pays_with_a_token_that_was_named() {
    let token = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238";
    let offer = offer_with(
        json!({"asset": token, "amount": "50", "extra": {"name": "Mine", "version": "1"}}),
    );
    let host = Host::start(Challenge::Offers(vec![offer]), [Reply::Settle]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let asset = format!("eip155:84532/{token}:2:Mine:1");
    let output = hv
        .run(&["--pay", &key, "--max-price", "0.5", "--pay-asset", &asset])
        .await;
    assert!(
        text(&output.stderr).contains("paid 0.5 Mine"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn hv_run_says_that_a_failed_run_was_not_charged() {
    let host = Host::paid([Reply::Trap]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let output = hv.run(&["--pay", &key, "--max-price", "0.05"]).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("the program trapped") && stderr.contains("not charged"),
        "{stderr}"
    );
}

#[tokio::test]
async fn hv_run_exits_with_3_when_a_paid_answer_was_altered() {
    let host = Host::paid([Reply::Alter]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    let output = hv.run(&["--pay", &key, "--max-price", "0.05"]).await;
    assert_eq!(output.status.code(), Some(3));
    let stderr = text(&output.stderr);
    for part in [
        "verification failed",
        "may have been made",
        PAYER,
        "nonce 0x",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_eq!(output.stdout, b"");
}

#[tokio::test]
async fn hv_run_warns_of_a_key_file_that_others_can_read() {
    let host = Host::paid([Reply::Settle]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o644);
    let output = hv.run(&["--pay", &key, "--max-price", "0.05"]).await;
    assert!(
        text(&output.stderr).contains("chmod 600"),
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());
}

#[tokio::test]
async fn hv_run_does_not_show_a_key_that_it_can_not_use() {
    let host = Host::paid([]).await;
    let mut hv = Hv::new(&host);
    hv.key = Some(KEY[..40].to_owned());
    let output = hv.run(&["--max-price", "0.05"]).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("HV_PAY_KEY") && !stderr.contains(&KEY[2..10]),
        "{stderr}"
    );
}

#[tokio::test]
async fn options_of_payment_that_do_not_go_together_are_usage_errors() {
    let host = Host::paid([]).await;
    let hv = Hv::new(&host);
    let key = hv.key_file(0o600);
    for arguments in [
        vec!["--pay", &key],
        vec!["--max-price", "0.05"],
        vec!["--pay-network", "base"],
        vec!["--pay", &key, "--max-price", "5e-2"],
        vec!["--pay", &key, "--max-price", "-1"],
        vec!["--pay", &key, "--max-price", "1", "--pay-network", "bass"],
        vec!["--pay", &key, "--max-price", "1", "--pay-asset", "USDC"],
    ] {
        let output = hv.run(&arguments).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(host.seen().len(), 0);
}

#[tokio::test]
async fn help_shows_how_to_pay() {
    let host = Host::paid([]).await;
    let hv = Hv::new(&host);
    let stdout = text(&hv.run(&["--help"]).await.stdout);
    for part in [
        "--pay ~/payer.key --max-price 0.05",
        "HV_PAY_KEY",
        "--pay-network",
        "Payment:",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
}
