//! A registry of OCI artifacts: Debian's `docker-registry`, a process of its own on a free loopback port.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A password of `someone`, as `docker login` would write it, and as the registry has it: bcrypt of its fewest rounds.
pub const AUTH: &str = "c29tZW9uZTpvcGVuIHNlc2FtZQ==";
const PASSWORDS: &str = "someone:$2b$04$ygKt6803XLfz8g.1uB.ouO.1BIrTNQ/QjyiLtpixgM/6Ooxu4rxnm\n";

/// A running registry; ended when dropped.
pub struct Registry {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Registry {
    /// One that is open to everybody.
    pub fn start() -> Self {
        Self::with("")
    }

    /// One that is open to whoever knows a password.
    pub fn with_password() -> Self {
        Self::with("auth: { htpasswd: { realm: test, path: FOLDER/passwords } }\n")
    }

    fn with(config: &str) -> Self {
        crate::prepare_tls();
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: FOLDER }} }}\nhttp: {{ addr: '127.0.0.1:0' }}\n{config}"
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config.replace("FOLDER", path)).unwrap();
        fs::write(folder.path().join("passwords"), PASSWORDS).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("docker-registry: {error}; run `scripts/setup.sh registry`")
            });
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "no address: {said}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('"').next().unwrap().to_owned();
            }
            said += &line;
        };
        // It ends with the process.
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self {
            child,
            folder,
            address,
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A manifest or a blob of a name, as the registry gives it.
    pub async fn get(&self, path: &str) -> Vec<u8> {
        let url = format!("http://{}/v2/{path}", self.address);
        let accepted = "application/vnd.oci.image.manifest.v1+json";
        let request = reqwest::Client::new().get(url).header("accept", accepted);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.bytes().await.unwrap().to_vec()
    }

    /// Puts a blob; gives its digest.
    pub async fn put_blob(&self, name: &str, content: &[u8]) -> String {
        let digest = format!("sha256:{}", const_hex::encode(Sha256::digest(content)));
        let http = reqwest::Client::new();
        let uploads = format!("http://{}/v2/{name}/blobs/uploads/", self.address);
        let begun = http.post(uploads).send().await.unwrap();
        let to = begun.headers()["location"].to_str().unwrap();
        let put = http
            .put(format!("{to}&digest={digest}"))
            .body(content.to_vec());
        put.send().await.unwrap().error_for_status().unwrap();
        digest
    }

    /// Puts a manifest under a tag.
    pub async fn put_manifest(&self, name: &str, tag: &str, manifest: &str) {
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.address);
        let put = reqwest::Client::new().put(url).body(manifest.to_owned());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let answer = put.header("content-type", kind).send().await.unwrap();
        answer.error_for_status().unwrap();
    }

    /// The file in which it keeps a blob.
    pub fn file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
