//! Components in a registry: pushed, named by their digest, fetched, and refused where they are something else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hypervisor_tests::Host;
use hypervisor_tests::agents::manifest;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component_file, guest};
use hypervisor_tests::registry::{AUTH, Registry};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder to work in: nobody's `docker login` is in it.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Exit status, standard output, standard error.
    fn run(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(binary(program))
            .args(arguments)
            .env("DOCKER_CONFIG", self.0.path())
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap();
        (status, text(output.stdout), text(output.stderr))
    }

    fn hv(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run("hv", arguments)
    }

    /// Pushes a guest; gives its name by digest.
    #[track_caller]
    fn push(&self, to: &str, content: &[u8]) -> String {
        let file = self.file("pushed.wasm", content);
        let (status, pushed, said) = self.hv(&["push", to, &file]);
        assert_eq!(status, 0, "{said}");
        pushed.trim().to_owned()
    }
}

fn digest(reference: &str) -> &str {
    reference.split_once('@').unwrap().1
}

#[tokio::test]
async fn a_component_that_was_pushed_runs_and_is_deployed_by_its_digest() {
    let (registry, host, desk) = (Registry::start(), Host::start(), Desk::new());
    let at = registry.address();
    let hello = desk.push(&format!("{at}/hello:1.0"), &guest("hello"));
    assert_eq!(
        hello,
        desk.push(&format!("oci://{at}/hello"), &guest("hello"))
    );
    assert!(hello.starts_with(&format!("oci://{at}/hello@sha256:")));
    let (status, out, said) = desk.hv(&["--server", host.url(), "run", &hello, "--", "Ada"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(
        out.as_bytes(),
        host.run(hypervisor_client::Program::new(&guest("hello")).argument("Ada"))
            .await
            .result
    );

    let agent = desk.push(&format!("{at}/agents/greeter"), &guest("http-hello"));
    desk.file("agent.toml", manifest("greeter", ""));
    let (status, out, said) = desk.hv(&["--server", host.url(), "deploy", &agent]);
    assert!(
        status == 0 && out.contains("deployed greeter"),
        "{out}{said}"
    );
}

#[tokio::test]
async fn what_is_pushed_is_laid_out_as_wkg_has_it() {
    let (registry, desk) = (Registry::start(), Desk::new());
    let program = guest("http-hello");
    let pushed = desk.push(&format!("{}/layout:1", registry.address()), &program);
    let by_tag = registry.get("layout/manifests/1").await;
    let by_digest = registry
        .get(&format!("layout/manifests/{}", digest(&pushed)))
        .await;
    assert_eq!(by_tag, by_digest);
    let manifest: Value = serde_json::from_slice(&by_tag).unwrap();
    let kinds = [&manifest, &manifest["config"], &manifest["layers"][0]]
        .map(|it| it["mediaType"].as_str().unwrap());
    assert_eq!(
        kinds,
        [
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.wasm.config.v0+json",
            "application/wasm"
        ]
    );
    let blob = async |entry: &Value| {
        let digest = entry["digest"].as_str().unwrap();
        registry.get(&format!("layout/blobs/{digest}")).await
    };
    assert!(blob(&manifest["layers"][0]).await == program);
    let config: Value = serde_json::from_slice(&blob(&manifest["config"]).await).unwrap();
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasip2"))
    );
    assert_eq!(
        config["layerDigests"],
        json!([manifest["layers"][0]["digest"]])
    );
    let exports = config["component"]["exports"].as_array().unwrap();
    assert!(exports.iter().any(|name| {
        name.as_str()
            .unwrap()
            .starts_with("wasi:http/incoming-handler@")
    }));
}

#[tokio::test]
async fn what_may_change_what_is_not_there_and_what_was_altered_is_refused() {
    let (registry, desk) = (Registry::start(), Desk::new());
    let at = registry.address().to_owned();
    // No host is asked: nothing of it gets that far.
    let run = |reference: &str| desk.hv(&["--server", "http://127.0.0.1:1", "run", reference]);
    let pushed = desk.push(&format!("{at}/hello:1"), &guest("hello"));

    let (status, _, said) = run(&format!("oci://{at}/hello:1"));
    assert!(
        status == 2 && said.contains("a tag can be moved") && said.contains(&pushed),
        "{status} {said}"
    );
    let wrong = format!("oci://{at}/hello@sha256:{}", "0".repeat(64));
    let (status, _, said) = run(&wrong);
    assert!(
        status == 1 && said.contains(&format!("the registry has no {wrong}")),
        "{status} {said}"
    );
    let (status, _, said) = desk.hv(&["push", &pushed, &desk.file("a.wasm", guest("hello"))]);
    assert!(
        status == 2 && said.contains("name a tag, or nothing"),
        "{status} {said}"
    );
    let (status, _, said) = desk.hv(&["push", &format!("{at}/a"), &desk.file("a.txt", "text")]);
    assert!(
        status == 1 && said.contains("nothing that a host runs"),
        "{status} {said}"
    );

    // Whoever keeps the registry puts another program in its place.
    let manifest = registry
        .get(&format!("hello/manifests/{}", digest(&pushed)))
        .await;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let file = registry.file(manifest["layers"][0]["digest"].as_str().unwrap());
    let mut altered = fs::read(&file).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(&file, altered).unwrap();
    let (status, _, said) = run(&pushed);
    assert!(
        status == 3 && said.contains("the registry sent something else: the component is"),
        "{status} {said}"
    );

    drop(registry);
    let (status, _, said) = run(&pushed);
    assert!(
        status == 1 && said.contains(&format!("the registry {at} cannot be reached")),
        "{status} {said}"
    );
}

/// Puts a signature beside an artifact as `cosign sign --key` does.
async fn sign(registry: &Registry, name: &str, digest: &str, signed: &str, key: &SigningKey) {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": format!("{}/{name}", registry.address())},
            "image": {"docker-manifest-digest": signed},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string();
    let signature: DerSignature = key.sign(payload.as_bytes());
    let layer = registry.put_blob(name, payload.as_bytes()).await;
    let config = registry.put_blob(name, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": layer,
            "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(signature.as_bytes())},
        }],
    });
    let tag = format!("{}.sig", digest.replace(':', "-"));
    registry
        .put_manifest(name, &tag, &manifest.to_string())
        .await;
}

#[tokio::test]
async fn where_a_signature_is_asked_for_none_and_anothers_are_refused() {
    let (registry, desk) = (Registry::start(), Desk::new());
    let at = registry.address();
    let keys = [7, 8].map(|byte| SigningKey::from_slice(&[byte; 32]).unwrap());
    let file = |name: &str, key: &SigningKey| {
        let pem = key.verifying_key().to_public_key_pem(LineEnding::LF);
        desk.file(name, pem.unwrap())
    };
    let [ours, theirs] = [file("ours.pub", &keys[0]), file("theirs.pub", &keys[1])];
    let pull = |reference: &str, key: &str| {
        desk.run("hypervisor-ctl", &["pull", reference, "--signed-by", key])
    };
    let unsigned = desk.push(&format!("{at}/unsigned:1"), &guest("hello"));
    let signed = desk.push(&format!("{at}/signed:1"), &guest("hello"));
    sign(
        &registry,
        "signed",
        digest(&signed),
        digest(&signed),
        &keys[0],
    )
    .await;
    let lured = desk.push(&format!("{at}/lured:1"), &guest("echo"));
    sign(
        &registry,
        "lured",
        digest(&lured),
        digest(&signed),
        &keys[0],
    )
    .await;

    let (status, _, said) = pull(&unsigned, &ours);
    assert!(
        status == 1 && said.contains("there is no signature"),
        "{status} {said}"
    );
    let (status, _, said) = desk.hv(&["run", &unsigned, "--signed-by", &ours]);
    assert!(
        status == 3 && said.contains("is not signed with a key"),
        "{status} {said}"
    );
    let (status, _, said) = pull(&signed, &theirs);
    assert!(
        status == 1 && said.contains("is not signed with a key"),
        "{status} {said}"
    );
    let (status, _, said) = pull(&lured, &ours);
    assert!(
        status == 1 && said.contains("is not signed with a key"),
        "{status} {said}"
    );
    // By a tag, too: what it stands for is what was signed.
    for reference in [signed.clone(), format!("oci://{at}/signed:1")] {
        let (status, line, said) = pull(&reference, &ours);
        assert_eq!(status, 0, "{said}");
        assert!(line.starts_with(&format!("# {signed}\n")), "{line}");
    }
    let (status, _, said) = pull(&signed, &desk.file("none.pub", "no key"));
    assert!(
        status == 1 && said.contains("none.pub: "),
        "{status} {said}"
    );
}

#[tokio::test]
async fn a_registry_that_asks_who_it_is_is_shown_what_docker_login_wrote() {
    let (registry, desk) = (Registry::with_password(), Desk::new());
    let at = registry.address();
    let (file, name) = (
        desk.file("a.wasm", guest("hello")),
        format!("{at}/private/hello"),
    );
    let (status, _, said) = desk.hv(&["push", &name, &file]);
    assert!(
        status == 1 && said.contains(&format!("`docker login {at}`")),
        "{status} {said}"
    );
    let log_in = |auth: &str| {
        desk.file(
            "config.json",
            json!({"auths": {at: {"auth": auth}}}).to_string(),
        )
    };
    log_in(&STANDARD.encode("someone:something"));
    let (status, _, said) = desk.hv(&["push", &name, &file]);
    assert!(
        status == 1 && said.contains("does not allow it") && !said.contains("something"),
        "{status} {said}"
    );
    log_in(AUTH);
    let pushed = desk.push(&name, &guest("hello"));
    let (status, line, said) = desk.run("hypervisor-ctl", &["pull", &pushed]);
    assert!(status == 0 && line.contains("component = "), "{said}");
}

#[test]
fn a_plugin_is_fetched_at_the_desk_and_never_by_the_host() {
    let (registry, desk) = (Registry::start(), Desk::new());
    let policy = fs::read(component_file("policy-rust")).unwrap();
    let pushed = desk.push(&format!("{}/policy:1", registry.address()), &policy);
    let rules = desk.file("rules", "");
    let check = |component: &str| {
        let config = desk.file(
            "hypervisor.toml",
            format!("[policy]\nrules = {rules:?}\n{component}\n"),
        );
        desk.run("hypervisor-ctl", &["check", "--config", &config])
    };
    let (status, _, said) = check(&format!("component = {pushed:?}"));
    assert!(
        status == 1 && said.contains("`hypervisor-ctl pull` writes it to a file"),
        "{status} {said}"
    );

    let to = desk.0.path().to_str().unwrap();
    let (status, line, said) = desk.run("hypervisor-ctl", &["pull", &pushed, "--to", to]);
    assert_eq!(status, 0, "{said}");
    let file = format!(
        "policy-{}.wasm",
        digest(&pushed).trim_start_matches("sha256:")
    );
    assert!(line.contains(&file), "{line}");
    assert!(fs::read(Path::new(to).join(file)).unwrap() == policy);
    let (status, said, error) = check(&line);
    assert!(
        status == 0 && said.contains("# plugin policy-engine"),
        "{said}{error}"
    );
}
