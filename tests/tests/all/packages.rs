//! What authors of components take from registries, and what they build of it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hypervisor_tests::host::binary;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wit_component::DecodedWasm;
use wit_parser::{PackageId, Resolve};

use crate::templates::{decides_by_its_list, link_as};

const VERSION: &str = "0.1.1";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of `target/packages`.
fn package(name: &str) -> PathBuf {
    let path = root().join("target/packages").join(name);
    let shown = path.display();
    assert!(path.exists(), "{shown} is not built; run `make packages`");
    path
}

/// A policy that was built from a package, and nothing else of this tree.
fn outsider(language: &str) -> PathBuf {
    let path = root().join(format!("target/outsiders/{language}.wasm"));
    let shown = path.display();
    assert!(path.exists(), "{shown} is not built; run `make test`");
    path
}

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&Path]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// The files below a folder: their paths in it, and what they hold.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(top, &path, found);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

/// The files of an archive.
fn unpacked(name: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let archive = package(name);
    if name.ends_with(".whl") {
        let arguments = ["-m", "zipfile", "-e"].map(Path::new);
        let arguments = [&arguments[..], &[&archive, folder.path()]].concat();
        run("python3", &arguments);
    } else {
        let arguments = [Path::new("-xzf"), &archive, Path::new("-C"), folder.path()];
        run("tar", &arguments);
    }
    files(folder.path())
}

/// The definitions in the tree, without the versions before and what is said about them.
fn definitions() -> BTreeMap<String, Vec<u8>> {
    let mut files = files(&root().join("wit"));
    files.retain(|name, _| !name.starts_with("released/") && name.ends_with(".wit"));
    files
}

#[test]
fn every_package_has_all_definitions_and_what_its_registry_shows() {
    for (archive, top, wit, others) in [
        (
            format!("hypervisor-plugin-{VERSION}.crate"),
            format!("hypervisor-plugin-{VERSION}/"),
            "wit/",
            vec!["Cargo.toml", "README.md", "LICENSE-MIT", "src/lib.rs"],
        ),
        (
            format!("hypervisor-plugin-{VERSION}.tgz"),
            "package/".to_owned(),
            "wit/",
            vec![
                "package.json",
                "README.md",
                "LICENSE-MIT",
                "index.d.ts",
                "types/policy-engine.d.ts",
                "types/interfaces/hypervisor-plugin-quote.d.ts",
            ],
        ),
        (
            format!("hypervisor_plugin-{VERSION}.tar.gz"),
            format!("hypervisor_plugin-{VERSION}/"),
            "hypervisor_plugin/wit/",
            vec!["pyproject.toml", "PKG-INFO", "README.md", "LICENSE-MIT"],
        ),
        (
            format!("hypervisor_plugin-{VERSION}-py3-none-any.whl"),
            String::new(),
            "hypervisor_plugin/wit/",
            vec![
                "hypervisor_plugin-0.1.1.dist-info/METADATA",
                "hypervisor_plugin-0.1.1.dist-info/RECORD",
                "hypervisor_plugin/py.typed",
                "hypervisor_plugin/componentize-py.toml",
                "hypervisor_plugin/types/policy-engine/wit_world/exports/policy.py",
                "hypervisor_plugin/types/payments-with-quote/wit_world/exports/quote.py",
            ],
        ),
    ] {
        let files = unpacked(&archive);
        for (name, text) in definitions() {
            let there = files.get(&format!("{top}{wit}{name}"));
            assert_eq!(there, Some(&text), "{archive}: {name}");
        }
        for other in others {
            let there = files.contains_key(&format!("{top}{other}"));
            assert!(there, "{archive}: {other}");
        }
        let foreign: Vec<&String> = files
            .keys()
            .filter(|name| !name.starts_with(&top))
            .collect();
        assert_eq!(foreign, Vec::<&String>::new(), "{archive}");
    }
}

/// The interfaces and worlds of a package.
fn names(resolve: &Resolve, id: PackageId) -> BTreeSet<String> {
    let package = resolve.packages.get(id).unwrap();
    let names = package.interfaces.keys().chain(package.worlds.keys());
    names.map(|name| package.name.interface_id(name)).collect()
}

#[test]
fn a_registry_of_oci_gets_the_definitions_as_one_binary_under_its_digest() {
    let layout = package("oci");
    let read = |entry: &Value| {
        let digest = entry["digest"].as_str().unwrap();
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blob = std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
        assert_eq!(const_hex::encode(Sha256::digest(&blob)), hex);
        assert_eq!(entry["size"], blob.len());
        blob
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let manifest = json(&read(&index["manifests"][0]));
    let config = json(&read(&manifest["config"]));
    let layer = &manifest["layers"][0];
    let media_types = [&manifest["config"], layer].map(|entry| entry["mediaType"].as_str());
    let wanted = ["application/vnd.wasm.config.v0+json", "application/wasm"];
    assert_eq!(media_types, wanted.map(Some));
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"][0], layer["digest"]);

    let DecodedWasm::WitPackage(resolve, id) = wit_component::decode(&read(layer)).unwrap() else {
        panic!("no package");
    };
    let mut tree = Resolve::default();
    let (of_tree, _) = tree.push_dir(root().join("wit")).unwrap();
    let names_there = names(&resolve, id);
    assert_eq!(names_there, names(&tree, of_tree));
    let exports = config["component"]["exports"].as_array().unwrap();
    let exports: BTreeSet<String> = exports
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert!(names_there.is_subset(&exports), "{exports:?}");
}

#[test]
fn two_runs_make_the_same_packages() {
    let folder = TempDir::new().unwrap();
    let script = root().join("scripts/build-packages.sh");
    run(script, &[&binary("wit-package"), folder.path()]);
    let first = files(&root().join("target/packages"));
    let second = files(folder.path());
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        second.keys().collect::<Vec<_>>()
    );
    for (name, content) in first {
        assert!(second[&name] == content, "{name}");
    }
}

#[tokio::test]
async fn a_policy_built_from_the_crate_alone_decides_under_a_host() {
    decides_by_its_list(&outsider("rust")).await;
}

#[test]
fn policies_built_from_the_packages_for_python_and_javascript_link() {
    link_as("policy-engine", &["python", "js"].map(outsider));
}

#[test]
fn payment_components_built_from_the_packages_for_rust_and_javascript_link() {
    link_as("payments", &["rust-payments", "js-payments"].map(outsider));
}
