//! Reference values in a transparency log: published, taken into policies, and refused where somebody lies about them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hypervisor_tests::copy_folder;
use hypervisor_tests::host::binary;
use serde_json::{Value, json};
use sha2::Digest;
use tempfile::TempDir;

use crate::attestation::{Known, simulator};

/// Runs a program in a folder: exit status, standard output, standard error.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary(program))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap();
    (status, text(output.stdout), text(output.stderr))
}

fn digest(byte: u8) -> String {
    const_hex::encode([byte; 48])
}

/// What `measure` prints of a host with one component.
fn measured(manifest: u8, component: u8) -> Value {
    json!({
        "version": 1, "backend": "none", "manifest_sha384": digest(manifest),
        "manifest": { "host_sha384": digest(0xaa), "components": [] },
        "log": { "entries": [{ "name": "policy", "digest": digest(component) }] },
    })
}

/// A desk with a log in `log`, its key and that of a witness.
struct Desk(TempDir);

impl Desk {
    /// Release 1.0 is in the log.
    fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        desk.made(&["keygen", "example.com/log", "--to", "log.key"]);
        desk.made(&[
            "keygen",
            "example.com/witness",
            "--to",
            "w.key",
            "--witness",
        ]);
        desk.write("1.json", &measured(1, 2).to_string());
        desk.write("2.json", &measured(3, 4).to_string());
        desk.publish("1.0", &["--measure", "1.json"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn ctl(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [&["publish"][..], arguments].concat();
        run(self.0.path(), "hypervisor-ctl", &arguments)
    }

    #[track_caller]
    fn made(&self, arguments: &[&str]) -> String {
        let (status, out, err) = self.ctl(arguments);
        assert_eq!(status, 0, "{err}");
        out
    }

    #[track_caller]
    fn publish(&self, release: &str, values: &[&str]) -> Value {
        let log = ["--log", "log", "--key", "log.key", "--output", "json"];
        let arguments = [&log[..], &["--release", release], values].concat();
        serde_json::from_str(&self.made(&arguments)).unwrap()
    }

    #[track_caller]
    fn not_published(&self, says: &str) {
        let log = ["--log", "log", "--key", "log.key", "--release", "2.0"];
        let (status, out, err) = self.ctl(&[&log[..], &["--measure", "2.json"]].concat());
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(says), "{err}");
    }

    fn cosign(&self) -> (i32, String, String) {
        self.ctl(&[
            "cosign",
            "--log",
            "log",
            "--log-key",
            "log.key.pub",
            "--key",
            "w.key",
            "--seen",
            "seen",
        ])
    }

    /// Takes the witness' cosignature up.
    fn cosigned(&self) {
        let (status, line, err) = self.cosign();
        assert_eq!(status, 0, "{err}");
        self.write("line", &line);
        self.made(&[
            "add-cosignature",
            "--log",
            "log",
            "--log-key",
            "log.key.pub",
            "--witness",
            "w.key.pub",
            "line",
        ]);
    }

    fn init(&self, to: &str, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [&["policy", "init", "--to", to][..], arguments].concat();
        run(self.0.path(), "hv", &arguments)
    }

    /// A policy that is written.
    #[track_caller]
    fn policy(&self, to: &str, arguments: &[&str]) -> String {
        let (status, _, err) = self.init(to, arguments);
        assert_eq!(status, 0, "{err}");
        fs::read_to_string(self.path(to)).unwrap()
    }

    /// Refused with the status of what was not verified, and nothing is written.
    #[track_caller]
    fn refused(&self, arguments: &[&str], says: &str) {
        let (status, out, err) = self.init("refused.toml", arguments);
        assert_eq!((status, out.as_str()), (3, ""), "{err}");
        assert!(err.contains(says), "{err}");
        assert!(!self.path("refused.toml").exists());
    }

    /// Changes a file of the log.
    fn alter(&self, name: &str, change: impl FnOnce(String) -> String) {
        // Bytes as characters: bundles are not text.
        let text: String = fs::read(self.path(name))
            .unwrap()
            .into_iter()
            .map(char::from)
            .collect();
        let changed = change(text.clone());
        assert_ne!(text, changed);
        let bytes = changed.chars().map(|it| u8::try_from(it).unwrap());
        fs::write(self.path(name), bytes.collect::<Vec<_>>()).unwrap();
    }
}

const LOG: [&str; 4] = ["--log", "log", "--log-key", "log.key.pub"];

#[test]
fn what_was_published_of_a_host_is_a_policy_that_programs_run_under() {
    let known = Known::start();
    let folder = known.path(".");
    let ctl = |arguments: &[&str]| {
        let (status, out, err) = run(&folder, "hypervisor-ctl", arguments);
        assert_eq!(status, 0, "{err}");
        out
    };
    ctl(&["publish", "keygen", "example.com/log", "--to", "log.key"]);
    let listed = ctl(&[
        "publish",
        "--log",
        "log",
        "--key",
        "log.key",
        "--release",
        "1.0",
        "--measure",
        "measure.json",
        "--policy",
        "policy.toml",
    ]);
    let root = const_hex::encode(simulator("one").fingerprint());
    let runs = |policy: &str, arguments: &[&str]| {
        let init = ["policy", "init", "--simulated-root", &root, "--to", policy];
        let (status, _, err) = known.hv(&[&init[..], arguments].concat());
        assert_eq!(status, 0, "{err}");
        let (status, out, err) = known.hv(&["python", "--verify", policy, "script.py"]);
        assert_eq!((status, out.as_str()), (0, "attested\n"), "{err}");
    };
    // From the log alone; what `measure` and the host say, held against the log; and proofs without the log.
    runs("log.toml", &LOG);
    let own = ["--measure", "measure.json", "--evidence", "evidence.cbor"];
    runs("both.toml", &[&LOG[..], &own].concat());
    let mut proofs = vec!["--log-key".to_owned(), "log.key.pub".to_owned()];
    for index in 0..listed
        .lines()
        .filter(|line| line.starts_with("added"))
        .count()
    {
        let (index, to) = (index.to_string(), format!("{index}.tlog-proof"));
        let prove = [
            &["publish", "prove"][..],
            &LOG,
            &[index.as_str(), "--to", to.as_str()],
        ]
        .concat();
        ctl(&prove);
        proofs.extend(["--proof".to_owned(), to]);
    }
    let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
    runs("proofs.toml", &proofs);
    let text = fs::read_to_string(known.path("log.toml")).unwrap();
    assert!(!text.contains("TRUST ON FIRST USE"), "{text}");
    // The image that the host shows is another one than that of the log.
    ctl(&[
        "publish",
        "keygen",
        "example.com/other",
        "--to",
        "other.key",
    ]);
    ctl(&[
        "publish",
        "--log",
        "other",
        "--key",
        "other.key",
        "--release",
        "2.0",
        "--measure",
        "measure.json",
    ]);
    let other = [
        "policy",
        "init",
        "--to",
        "none.toml",
        "--log",
        "other",
        "--log-key",
        "other.key.pub",
    ];
    let simulated = ["--simulated-root", root.as_str()];
    let (status, _, err) = known.hv(&[&other[..], &simulated, &own].concat());
    assert_eq!(status, 3, "{err}");
    assert!(err.contains("the image that measures 1111"), "{err}");
}

#[test]
fn the_same_entry_is_not_appended_twice() {
    let desk = Desk::new();
    let checkpoint = fs::read(desk.path("log/checkpoint")).unwrap();
    let again = desk.publish("1.0", &["--measure", "1.json"]);
    assert_eq!(again["size"], 3);
    let added = |said: &Value| -> Vec<bool> {
        let entries = said["entries"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["added"].as_bool().unwrap())
            .collect()
    };
    assert_eq!(added(&again), [false; 3]);
    assert_eq!(fs::read(desk.path("log/checkpoint")).unwrap(), checkpoint);
    let other = desk.publish("1.1", &["--measure", "1.json"]);
    assert_eq!((added(&other), &other["size"]), (vec![true; 3], &json!(6)));
}

#[test]
fn files_are_published_by_their_digest() {
    let desk = Desk::new();
    desk.write("image.efi", "an image");
    desk.write("policy.wasm", "a component");
    let values = [
        "--image",
        "image.efi",
        "--host",
        "image.efi",
        "--component",
        "policy=policy.wasm",
    ];
    let said = desk.publish("files", &values);
    let kinds: Vec<&str> = said["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["image", "host", "component"]);
    assert_eq!(said["entries"][0]["sha384"], said["entries"][1]["sha384"]);
    let digest = const_hex::encode(sha2::Sha384::digest("an image"));
    assert_eq!(said["entries"][0]["sha384"], digest);
    let listed = desk.made(&[&["list"][..], &LOG].concat());
    assert!(listed.contains("image image.efi of files"), "{listed}");
}

#[test]
fn a_private_key_is_for_its_owner_alone_and_is_not_written_over() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let mode = |name| fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("log.key"), 0o600);
    let (status, ..) = desk.ctl(&["keygen", "example.com/log", "--to", "log.key"]);
    assert_eq!(status, 1);
}

#[test]
fn a_log_that_was_altered_or_went_back_is_not_appended_to() {
    let desk = Desk::new();
    copy_folder(&desk.path("log"), &desk.path("old"));
    desk.publish("1.1", &["--measure", "1.json"]);
    copy_folder(&desk.path("log"), &desk.path("new"));
    let restored = |from| {
        fs::remove_dir_all(desk.path("log")).unwrap();
        copy_folder(&desk.path(from), &desk.path("log"));
    };
    restored("old");
    desk.not_published("rolled back");
    fs::remove_dir_all(desk.path("log")).unwrap();
    desk.not_published("rolled back");
    restored("new");
    desk.alter("log/tile/entries/000.p/6", |text| {
        text.replace("policy", "policx")
    });
    desk.not_published("altered");
    restored("new");
    desk.alter("log/checkpoint", |text| text.replace("\n6\n", "\n5\n"));
    desk.not_published("does not verify");
    restored("new");
    fs::remove_file(desk.path("log/tile/entries/000.p/6")).unwrap();
    desk.not_published("truncated");
    restored("new");
    fs::write(desk.path("log/tile/0/000.p/6"), [0; 192]).unwrap();
    desk.not_published("was altered");
    restored("new");
    desk.publish("2.0", &["--measure", "2.json"]);
}

#[test]
fn a_policy_takes_the_values_of_one_release_and_remembers_the_log() {
    let desk = Desk::new();
    desk.publish("2.0", &["--measure", "2.json"]);
    let text = desk.policy("latest.toml", &LOG);
    assert!(
        text.contains(&digest(3)) && text.contains(&digest(4)),
        "{text}"
    );
    assert!(
        !text.contains(&digest(1)) && !text.contains(&digest(2)),
        "{text}"
    );
    assert!(
        text.contains("[transparency]") && text.contains("example.com/log"),
        "{text}"
    );
    let text = desk.policy("first.toml", &[&LOG[..], &["--release", "1.0"]].concat());
    assert!(
        text.contains(&digest(1)) && !text.contains(&digest(3)),
        "{text}"
    );
    desk.refused(
        &[&LOG[..], &["--release", "3.0"]].concat(),
        "no release `3.0`",
    );
}

#[test]
fn a_value_that_is_not_in_the_log_is_refused_by_its_name() {
    let desk = Desk::new();
    desk.refused(
        &[&LOG[..], &["--measure", "2.json"]].concat(),
        &format!(
            "the manifest {} is not in the log example.com/log",
            digest(3)
        ),
    );
    desk.write("3.json", &measured(1, 9).to_string());
    desk.refused(
        &[&LOG[..], &["--measure", "3.json"]].concat(),
        &format!("the component `policy` {} is not in", digest(9)),
    );
    let (status, _, err) = desk.init(
        "policy.toml",
        &[&LOG[..], &["--measure", "1.json"]].concat(),
    );
    assert_eq!(status, 0, "{err}");
}

#[test]
fn an_entry_of_another_kind_or_name_does_not_stand_for_a_value() {
    let desk = Desk::new();
    // The manifest's digest is in the log as a component, the component's as a manifest.
    desk.write("swapped.json", &measured(2, 1).to_string());
    desk.refused(
        &[&LOG[..], &["--measure", "swapped.json"]].concat(),
        "is not in the log example.com/log with 3 entries; there it is the component `policy`",
    );
    let mut renamed = measured(1, 2);
    renamed["log"]["entries"][0]["name"] = json!("payments");
    desk.write("renamed.json", &renamed.to_string());
    desk.refused(
        &[&LOG[..], &["--measure", "renamed.json"]].concat(),
        "there it is the component `policy`",
    );
}

#[test]
fn a_log_of_another_key_and_a_forged_checkpoint_are_refused() {
    let desk = Desk::new();
    desk.made(&["keygen", "example.com/log", "--to", "impostor.key"]);
    desk.made(&["keygen", "example.com/other", "--to", "other.key"]);
    desk.refused(
        &["--log", "log", "--log-key", "impostor.key.pub"],
        "not signed by the log's key",
    );
    desk.refused(
        &["--log", "log", "--log-key", "other.key.pub"],
        "is of the log `example.com/log`",
    );
    desk.alter("log/checkpoint", |text| {
        let root = text.lines().nth(2).unwrap().to_owned();
        text.replace(&root, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    });
    desk.refused(&LOG, "forged");
}

#[test]
fn an_altered_entry_is_refused() {
    let desk = Desk::new();
    desk.alter("log/tile/entries/000.p/3", |text| {
        text.replace(&digest(2), &digest(9))
    });
    desk.refused(&LOG, "its entries lead to another root");
    desk.write("log/tile/entries/000.p/3", "");
    desk.refused(&LOG, "has not the 3 entries");
}

#[test]
fn a_log_that_was_rolled_back_or_forked_is_refused() {
    let desk = Desk::new();
    copy_folder(&desk.path("log"), &desk.path("old"));
    desk.publish("2.0", &["--measure", "2.json"]);
    desk.policy("policy.toml", &LOG);
    let since = |log| ["--log", log, "--since", "policy.toml"];
    desk.refused(
        &since("old"),
        "rolled back: it has 3 entries, 6 were seen before",
    );
    // Whoever has the key signs another continuation, without what it remembers.
    fs::remove_file(desk.path("log.key.seen")).unwrap();
    copy_folder(&desk.path("old"), &desk.path("forked"));
    fs::rename(desk.path("log"), desk.path("good")).unwrap();
    fs::rename(desk.path("forked"), desk.path("log")).unwrap();
    desk.write("evil.json", &measured(7, 8).to_string());
    desk.publish("2.0", &["--measure", "evil.json"]);
    desk.refused(&since("log"), "forked: its 6 entries do not continue the 6");
    desk.publish("3.0", &["--measure", "evil.json"]);
    desk.refused(&since("log"), "forked: its 9 entries do not continue the 6");
    let text = desk.policy("next.toml", &since("good"));
    assert!(text.contains(&digest(3)), "{text}");
}

#[test]
fn a_policy_that_asks_for_witnesses_needs_them_on_every_checkpoint() {
    let desk = Desk::new();
    let witnessed = [&LOG[..], &["--witness", "w.key.pub"]].concat();
    desk.refused(
        &witnessed,
        "cosigned by 0 of the 1 known witnesses, 1 are needed",
    );
    desk.cosigned();
    desk.policy("policy.toml", &witnessed);
    desk.publish("2.0", &["--measure", "2.json"]);
    desk.refused(
        &["--log", "log", "--since", "policy.toml"],
        "cosigned by 0 of the 1",
    );
    desk.cosigned();
    desk.policy("next.toml", &["--log", "log", "--since", "policy.toml"]);
    let (status, _, err) = desk.init("x", &[&witnessed[..], &["--witnesses", "2"]].concat());
    assert_eq!(status, 2, "{err}");
}

#[test]
fn a_witness_does_not_cosign_what_does_not_continue_what_it_saw() {
    let desk = Desk::new();
    copy_folder(&desk.path("log"), &desk.path("old"));
    desk.publish("2.0", &["--measure", "2.json"]);
    desk.cosigned();
    fs::remove_dir_all(desk.path("log")).unwrap();
    fs::rename(desk.path("old"), desk.path("log")).unwrap();
    let (status, line, err) = desk.cosign();
    assert_eq!((status, line.as_str()), (1, ""), "{err}");
    assert!(err.contains("rolled back"), "{err}");
}

#[test]
fn a_cosignature_of_another_checkpoint_or_key_is_not_taken_up() {
    let desk = Desk::new();
    let (_, line, _) = desk.cosign();
    desk.write("line", &line);
    desk.made(&["keygen", "example.com/b", "--to", "b.key", "--witness"]);
    let add = |witness| {
        let arguments = [
            &["add-cosignature"][..],
            &LOG[..],
            &["--witness", witness, "line"],
        ]
        .concat();
        let (status, _, err) = desk.ctl(&arguments);
        assert_eq!(status, 1, "{err}");
        err
    };
    let before = fs::read(desk.path("log/checkpoint")).unwrap();
    assert!(add("b.key.pub").contains("no cosignature of the witness example.com/b"));
    assert_eq!(fs::read(desk.path("log/checkpoint")).unwrap(), before);
    desk.publish("2.0", &["--measure", "2.json"]);
    assert!(add("w.key.pub").contains("does not verify"));
}

#[test]
fn a_proof_stands_for_its_entry_alone() {
    let desk = Desk::new();
    let prove = |entry: &str, to: &str| {
        desk.made(&[&["prove"][..], &LOG, &[entry, "--to", to]].concat());
    };
    prove(&digest(1), "manifest.tlog-proof");
    prove("2", "component.tlog-proof");
    let both = [
        "--log-key",
        "log.key.pub",
        "--proof",
        "manifest.tlog-proof",
        "--proof",
        "component.tlog-proof",
    ];
    let one = &both[..4];
    let text = desk.policy("policy.toml", &both);
    assert!(
        text.contains(&digest(1)) && text.contains(&digest(2)),
        "{text}"
    );
    desk.policy("held.toml", &[&both[..], &["--measure", "1.json"]].concat());
    desk.refused(
        &[one, &["--measure", "1.json"]].concat(),
        "the component `policy`",
    );
    // The same policy may be made again; of a later checkpoint a proof does not show that it continues.
    let since = ["--since", "policy.toml", "--proof", "manifest.tlog-proof"];
    desk.policy("again.toml", &since);
    desk.publish("2.0", &["--measure", "2.json"]);
    prove("3", "later.tlog-proof");
    desk.refused(
        &["--since", "policy.toml", "--proof", "later.tlog-proof"],
        "give it with --log",
    );
    desk.refused(
        &[one, &["--proof", "later.tlog-proof"]].concat(),
        "from one checkpoint",
    );
    desk.alter("manifest.tlog-proof", |text| {
        text.replace("index 0", "index 1")
    });
    desk.refused(
        one,
        "manifest.tlog-proof: the inclusion proof does not hold",
    );
}

#[test]
fn options_that_do_not_go_together_are_told() {
    let desk = Desk::new();
    for arguments in [
        &["--log", "log"][..],
        &["--log-key", "log.key.pub", "--measure", "1.json"],
        &["--log", "log", "--log-key", "nothing"],
        &["--log", "log", "--log-key", "w.key.pub+"],
        &["--log", "log", "--since", "p", "--log-key", "log.key.pub"],
        &[],
    ] {
        let (status, _, err) = desk.init("x.toml", arguments);
        assert_eq!(status, 2, "{arguments:?}: {err}");
    }
    // A key that signs logs is no witness', and the other way round.
    let (status, _, err) = desk.init(
        "x.toml",
        &[&LOG[..], &["--witness", "log.key.pub"]].concat(),
    );
    assert_eq!(status, 2, "{err}");
    let other = [
        "--log",
        "other",
        "--key",
        "w.key",
        "--release",
        "1",
        "--measure",
        "1.json",
    ];
    let (status, _, err) = desk.ctl(&other);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("a log needs its own"), "{err}");
    let (status, _, err) = desk.init("x.toml", &["--log", "none", "--log-key", "log.key.pub"]);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("there is no log in none"), "{err}");
    let (status, _, err) = desk.ctl(&["--log", "log", "--key", "log.key", "--release", "1"]);
    assert_eq!(status, 1);
    assert!(err.contains("nothing to publish"), "{err}");
}
