//! A host's state across versions of the host: read where an earlier one wrote it, and left alone where a later one did.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use serde_json::Value;

use crate::agents::persistence::{files, simulated};
use crate::audit::Desk;

/// What an earlier version left: `state`, and of its client `run.cbor` and `audit.json`. Its README says which version it was.
fn earlier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/state")
}

#[tokio::test]
async fn agents_and_the_trail_of_an_earlier_version_are_served() {
    let earlier = earlier();
    let host = Host::on_state(&earlier.join("state"), &simulated("one"));
    let answer = host.get("agent", "/env").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap().trim(), r#"{"KEY":"value"}"#);

    let desk = Desk::new();
    fs::create_dir_all(desk.heads().parent().unwrap()).unwrap();
    fs::copy(earlier.join("audit.json"), desk.heads()).unwrap();
    fs::copy(earlier.join("run.cbor"), desk.path("run.cbor")).unwrap();
    let audited = desk.audited(&host, "run.cbor");
    assert_eq!(audited["entries"][0]["found"], true, "{audited}");
    // The trail goes on from the head that the client remembers.
    let [head, remembered] = ["head", "remembered"].map(|it| audited[it]["size"].as_u64());
    assert!(remembered.is_some() && head > remembered, "{audited}");
}

#[test]
fn the_state_of_a_later_version_is_refused_and_left_as_it_is() {
    let mut host = Host::start();
    host.kill();
    let format = host.state().join("format");
    assert_eq!(fs::read_to_string(&format).unwrap(), "1\n");
    fs::write(&format, "2\n").unwrap();
    let before = files(&host.state());
    let said = host.refused_again();
    assert!(
        said.contains(
            "was written by a later version of the host, in format 2, and this one reads up to 1"
        ),
        "{said}"
    );
    assert!(files(&host.state()) == before);
}

#[tokio::test]
#[ignore = "writes the folder that another test reads; HYPERVISOR_TEST_BIN names the host of the version that is to write it, OUT the folder"]
async fn the_state_of_a_version_is_recorded() {
    let out = PathBuf::from(std::env::var_os("OUT").unwrap());
    let desk = Desk::new();
    let mut host = Host::with(&simulated("one"));
    let more =
        "skills = ['misbehaving']\nreuse = 2\n[environment]\nKEY = 'value'\n[limits]\nwall = '5s'";
    host.deploy(&owner(), "bad-agent", "agent", more).await;
    desk.keep(&host, "run.cbor");
    assert_ne!(desk.audited(&host, "run.cbor")["head"], Value::Null);
    host.kill();
    for (path, bytes) in files(&host.state().join("store")) {
        let path = out
            .join("state")
            .join(path.strip_prefix(host.state()).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::copy(desk.heads(), out.join("audit.json")).unwrap();
    fs::copy(desk.path("run.cbor"), out.join("run.cbor")).unwrap();
}
