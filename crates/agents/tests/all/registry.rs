//! The registry: the operator's folder, and nothing outside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hypervisor_agents::{Name, Registry, RegistryError};
use tempfile::TempDir;

const LIMIT: u64 = 1000;

fn manifest(name: &str) -> String {
    format!("name = '{name}'\ndescription = 'An agent.'\nversion = '1.0.0'\n")
}

/// Writes an agent below a folder, its component being its name.
fn agent(folder: &Path, name: &str) {
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("agent.toml"), manifest(name)).unwrap();
    fs::write(folder.join("agent.wasm"), name).unwrap();
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn open(folder: &TempDir) -> Registry {
    Registry::open(folder.path()).unwrap()
}

/// The names of sound agents, and the messages about the others.
fn list(registry: &Registry) -> (Vec<String>, Vec<String>) {
    let listing = registry.list().unwrap();
    (
        listing
            .agents
            .iter()
            .map(|it| it.name.to_string())
            .collect(),
        listing.broken.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn agents_are_listed_by_name_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["weather", "arxiv", "echo"] {
        agent(folder.path(), name);
    }
    let registry = open(&folder);
    let (agents, broken) = list(&registry);
    assert_eq!(agents, ["arxiv", "echo", "weather"]);
    assert!(broken.is_empty(), "{broken:?}");
    let loaded = registry.load(&name("echo"), LIMIT).unwrap();
    assert_eq!(loaded.manifest.name, name("echo"));
    assert_eq!(*loaded.manifest_text, manifest("echo"));
    assert_eq!(loaded.component, b"echo");
}

#[test]
fn a_folder_that_does_not_exist_is_empty_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents");
    let registry = Registry::open(&path).unwrap();
    assert_eq!(list(&registry), (vec![], vec![]));
    let error = registry.load(&name("echo"), LIMIT).err().unwrap();
    assert_eq!(error.to_string(), "the registry has no agent `echo`");
    fs::create_dir(&path).unwrap();
    agent(&path, "echo");
    assert_eq!(list(&registry).0, ["echo"]);
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents");
    fs::write(&path, "").unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert!(matches!(error, RegistryError::NotAFolder { .. }), "{error}");
}

#[test]
fn broken_agents_are_reported_beside_the_sound_ones() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "sound",
        "no-manifest",
        "no-component",
        "bad-manifest",
        "other-name",
    ] {
        agent(folder.path(), name);
    }
    let file = |path: &str| folder.path().join(path);
    fs::remove_file(file("no-manifest/agent.toml")).unwrap();
    fs::remove_file(file("no-component/agent.wasm")).unwrap();
    fs::write(file("bad-manifest/agent.toml"), "nam = 1").unwrap();
    fs::write(file("other-name/agent.toml"), manifest("sound")).unwrap();
    fs::create_dir(file("Not A Name")).unwrap();
    let (agents, broken) = list(&open(&folder));
    assert_eq!(agents, ["sound"]);
    assert_eq!(broken.len(), 5, "{broken:?}");
    for part in [
        "no-manifest/agent.toml",
        "no-component/agent.wasm",
        "bad-manifest/agent.toml: the manifest: unknown key `nam`; did you mean `name`?",
        "other-name/agent.toml names the agent `sound`",
        "Not A Name: a name holds 'N'",
    ] {
        assert!(
            broken.iter().any(|it| it.contains(part)),
            "{part}: {broken:?}"
        );
    }
}

#[test]
fn plain_files_and_hidden_folders_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "").unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    assert_eq!(list(&open(&folder)), (vec![], vec![]));
}

#[test]
fn a_folder_under_another_name_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "echo");
    fs::rename(folder.path().join("echo"), folder.path().join("weather")).unwrap();
    let error = open(&folder).load(&name("weather"), LIMIT).err().unwrap();
    assert!(matches!(error, RegistryError::OtherName { .. }), "{error}");
}

#[test]
fn a_component_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "echo");
    let registry = open(&folder);
    assert!(registry.load(&name("echo"), 4).is_ok());
    let error = registry.load(&name("echo"), 3).err().unwrap();
    assert!(matches!(error, RegistryError::TooLarge(_, 3)));
}

#[test]
fn a_manifest_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "echo");
    let text = manifest("echo") + "#" + &"x".repeat(64 << 10);
    fs::write(folder.path().join("echo/agent.toml"), text).unwrap();
    let error = open(&folder).load(&name("echo"), LIMIT).err().unwrap();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    agent(outside.path(), "whole");
    agent(outside.path(), "part");
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "part");
    agent(folder.path(), "up");
    let part = folder.path().join("part/agent.wasm");
    fs::remove_file(&part).unwrap();
    symlink(outside.path().join("part/agent.wasm"), &part).unwrap();
    symlink(outside.path().join("whole"), folder.path().join("whole")).unwrap();
    let up = folder.path().join("up/agent.toml");
    fs::remove_file(&up).unwrap();
    symlink("../../up.toml", &up).unwrap();
    let registry = open(&folder);
    let (agents, broken) = list(&registry);
    assert!(agents.is_empty(), "{agents:?}");
    assert_eq!(broken.len(), 3, "{broken:?}");
    for message in broken {
        assert!(message.contains("leads out of the folder"), "{message}");
    }
    for agent in ["whole", "part", "up"] {
        let error = registry.load(&name(agent), LIMIT).err().unwrap();
        assert!(matches!(error, RegistryError::Outside { .. }), "{error}");
    }
}

#[test]
fn links_that_stay_inside_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "echo");
    let component = folder.path().join("echo/agent.wasm");
    fs::remove_file(&component).unwrap();
    fs::write(folder.path().join("shared.wasm"), "shared").unwrap();
    symlink("../shared.wasm", &component).unwrap();
    let registry = open(&folder);
    assert_eq!(list(&registry).0, ["echo"]);
    let loaded = registry.load(&name("echo"), LIMIT).unwrap();
    assert_eq!(loaded.component, b"shared");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    agent(folder.path(), "echo");
    let component = folder.path().join("echo/agent.wasm");
    fs::remove_file(&component).unwrap();
    fs::create_dir(&component).unwrap();
    let error = open(&folder).load(&name("echo"), LIMIT).err().unwrap();
    assert!(matches!(error, RegistryError::NotAFile { .. }), "{error}");
}
