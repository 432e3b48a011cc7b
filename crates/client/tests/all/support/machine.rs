//! `hv` on a machine of its own, for one test.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::{Challenge, Host, KEY};

/// A machine with a component, a manifest and no owner's key yet.
pub(crate) struct Hv {
    folder: TempDir,
    server: String,
    /// HYPERVISOR_OWNER.
    pub(crate) owner: Option<&'static str>,
}

impl Hv {
    pub(crate) fn new(host: &Host) -> Self {
        let hv = Self {
            folder: TempDir::new().unwrap(),
            server: host.url.clone(),
            owner: None,
        };
        hv.write("app/weather.wasm", "\0asm");
        hv.write(
            "app/agent.toml",
            "name = 'weather'\ndescription = 'Tells the weather.'",
        );
        hv
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A key file for `--owner` or `--pay`.
    pub(crate) fn key(&self, name: &str, mode: u32) {
        self.write(name, &format!("{}\n", &KEY[2..]));
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.feed(arguments, b"").await
    }

    /// `hv ARGUMENTS` in the folder, with this standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut hv = tokio::process::Command::new(env!("CARGO_BIN_EXE_hv"));
        hv.args(["--server", &self.server])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("HYPERVISOR_OWNER")
            .envs(self.owner.map(|file| ("HYPERVISOR_OWNER", file)))
            .env_remove("HV_PAY_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = hv.spawn().unwrap();
        // A command that does not read its input closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(stdin).await;
        child.wait_with_output().await.unwrap()
    }

    /// A command that succeeds: its standard output.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A command that fails with this status: its standard error.
    pub(crate) async fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert_eq!(text(&output.stdout), "");
        stderr
    }

    pub(crate) async fn deploy(&self, name: &str, more: &str) {
        let manifest = format!("name = '{name}'\ndescription = 'Tells the weather.'\n{more}");
        self.write("manifest.toml", &manifest);
        let arguments = ["deploy", "app/weather.wasm", "--manifest", "manifest.toml"];
        self.ok(&arguments).await;
    }
}

pub(crate) async fn free() -> (Host, Hv) {
    let host = Host::start(Challenge::None, []).await;
    let hv = Hv::new(&host);
    (host, hv)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
