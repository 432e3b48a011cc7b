//! Which part may know which: every arrow points down, and nothing depends on the host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each package that ships, and all that it may be linked with of this workspace. The operator's program reads configurations as
/// the host does, which makes it the one thing above it: docs/decisions/0023-the-operators-commands-apart.md
const LAYERS: &[(&str, &str)] = &[
    ("protocol", ""),
    ("store", ""),
    ("wasm-check", "protocol"),
    ("evidence", "protocol"),
    ("attestation", "evidence protocol"),
    ("verify", "evidence protocol"),
    ("tsm", "evidence protocol"),
    ("simulated", "evidence protocol"),
    ("egress", ""),
    ("confine", ""),
    ("runtime", "confine wasm-check protocol"),
    (
        "environments",
        "confine runtime wasm-check egress store protocol",
    ),
    ("vtpm", "evidence protocol"),
    ("tlog", "protocol"),
    ("audit", "store tlog protocol"),
    ("agents", "confine runtime wasm-check egress store protocol"),
    ("ledger", "store protocol"),
    ("fleet", "store"),
    ("peers", "attestation evidence fleet protocol store verify"),
    ("postgres", "store"),
    ("image", ""),
    ("manual", ""),
    ("server", ""),
    ("account", "server"),
    (
        "config",
        "account agents attestation confine egress environments evidence fleet peers postgres protocol runtime server store telemetry verify wasm-check",
    ),
    (
        "telemetry",
        "account confine protocol runtime server wasm-check",
    ),
    ("oci", "wasm-check protocol"),
    (
        "client",
        "oci manual tlog verify evidence wasm-check protocol",
    ),
    (
        "host",
        "account agents attestation audit config confine egress environments evidence fleet ledger peers postgres protocol runtime server simulated store telemetry tlog tsm verify vtpm wasm-check",
    ),
    (
        "ctl",
        "account agents attestation audit config confine egress environments evidence fleet host image ledger manual oci peers postgres protocol runtime server simulated store telemetry tlog tsm verify vtpm wasm-check",
    ),
];

/// Packages that never ship may see everything.
const NOT_SHIPPED: [&str; 2] = ["tests", "bench"];

/// Libraries that do I/O, and packages of which none is linked with them.
const IO: [&str; 9] = [
    "axum",
    "cap-std",
    "hyper",
    "hyper-util",
    "redb",
    "reqwest",
    "rusqlite",
    "rustix",
    "tokio",
];
const WITHOUT_IO: [&str; 4] = ["protocol", "evidence", "verify", "wasm-check"];

/// Libraries that a package is never linked with.
const WITHOUT: &[(&str, &[&str])] = &[
    // Components in, outcomes out: no server, no configuration file, no store.
    ("runtime", &["axum", "clap", "redb", "reqwest", "toml"]),
    // Neither the host's API nor its command line.
    ("agents", &["axum", "clap", "reqwest"]),
    (
        "attestation",
        &["axum", "clap", "http", "hyper", "redb", "toml"],
    ),
    // What was done, and nothing of how it is asked for.
    ("audit", &["axum", "http", "hyper", "tokio", "wasmtime"]),
    // What was paid, and neither how it was asked for nor by what it was run.
    ("ledger", &["axum", "http", "hyper", "toml", "wasmtime"]),
    (
        "host",
        &[
            "clap_complete",
            "clap_mangen",
            "opentelemetry",
            "opentelemetry-proto",
            "opentelemetry_sdk",
            "prost",
            "reqwest",
        ],
    ),
];

/// Text that does not occur in a module of the host, or in any but those after `except`.
const MODULES: &[(&str, Where)] = &[
    ("axum::", Where::Except(&["admin", "ingress", "bin"])),
    (
        "StatusCode",
        // The pipeline: the codec of Binary HTTP, and what an agent that answered HTTP is charged for.
        Where::Except(&["admin", "ingress", "pipeline"]),
    ),
    ("crate::admin", Where::Except(&["admin"])),
    // Requests come from it; nothing below them knows of it but who a subscriber is.
    ("hypervisor_server::Server", Where::Except(&["bin"])),
    ("crate::ingress", Where::Except(&["ingress"])),
    (
        "crate::pipeline",
        Where::Except(&["admin", "ingress", "pipeline"]),
    ),
    ("crate::agents", Where::In(LOW)),
    ("crate::payments", Where::In(LOW)),
    // A host of a fleet judges others, and nothing else here does.
    ("hypervisor_verify", Where::Except(&[])),
    (
        "hypervisor_peers",
        Where::In(&["account", "admin", "sessions"]),
    ),
];

/// The modules that know no request.
const LOW: &[&str] = &["attestation", "config", "sessions"];

enum Where {
    In(&'static [&'static str]),
    Except(&'static [&'static str]),
}

/// The folder's name in this workspace of a package.
fn short(package: &str) -> String {
    match package {
        "hypervisor" => "host".to_owned(),
        other => other.trim_start_matches("hypervisor-").to_owned(),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What each package names among its dependencies, those of its tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let linked = package["dependencies"].as_array().unwrap().iter();
            let linked = linked.filter(|dependency| dependency["kind"].is_null());
            let named = linked.map(|dependency| {
                let name = text(&dependency["name"]);
                let of_workspace = dependency["path"].is_string();
                if of_workspace {
                    format!("./{}", short(&name))
                } else {
                    name
                }
            });
            (short(&text(&package["name"])), named.collect())
        })
        .collect()
}

/// All that is linked with a package: of this workspace as `./NAME`, and what those name of other people's.
fn linked(package: &str, all: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(next) = open.pop() {
        for dependency in &all[&next] {
            if found.insert(dependency.clone())
                && let Some(own) = dependency.strip_prefix("./")
            {
                open.push(own.to_owned());
            }
        }
    }
    found
}

/// One that is not named there is built like a dependency: without the checks that tests count on.
#[test]
fn every_package_of_the_workspace_is_named_in_the_development_profile() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, profiles) = manifest.split_once("[profile.dev.package]\n").unwrap();
    let named: BTreeSet<_> = profiles
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| {
            let checks = ["debug-assertions = true", "overflow-checks = true"];
            checks.iter().all(|check| line.contains(check))
        })
        .map(|line| short(line.split_once(" = ").unwrap().0))
        .collect();
    let members: BTreeSet<_> = dependencies().into_keys().collect();
    assert_eq!(named, members);
}

#[test]
fn every_package_depends_on_those_below_it_only() {
    let all = dependencies();
    for package in all
        .keys()
        .filter(|name| !NOT_SHIPPED.contains(&name.as_str()))
    {
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| name == package)
            .unwrap_or_else(|| panic!("`{package}` has no place in LAYERS"));
        let allowed: Vec<&str> = allowed.split_whitespace().collect();
        for dependency in linked(package, &all) {
            if let Some(own) = dependency.strip_prefix("./") {
                assert!(allowed.contains(&own), "{package} must not depend on {own}");
            }
        }
    }
}

#[test]
fn a_release_of_the_host_has_neither_simulator_nor_verifier() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--package", "hypervisor"])
        .args([
            "--no-default-features",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let linked = String::from_utf8(output.stdout).unwrap();
    assert!(linked.contains("hypervisor-evidence v"), "{linked}");
    for absent in [
        "hypervisor-simulated v",
        "hypervisor-verify v",
        "dcap-qvl v",
    ] {
        assert!(!linked.contains(absent), "a release links {absent}");
    }
}

#[test]
fn what_both_ends_share_and_what_verifies_does_no_io() {
    let all = dependencies();
    for package in WITHOUT_IO.iter().filter(|name| all.contains_key(**name)) {
        for library in linked(package, &all) {
            assert!(
                !IO.contains(&library.as_str()),
                "{package} must not depend on {library}"
            );
        }
        for (file, text) in sources(&root().join("crates").join(package).join("src")) {
            for word in [
                "std::fs",
                "std::process::",
                "std::net::Tcp",
                "std::net::Udp",
            ] {
                assert!(
                    !text.contains(word),
                    "{} must not use {word}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn libraries_stay_in_the_packages_that_they_are_for() {
    let all = dependencies();
    for (package, libraries) in WITHOUT.iter().filter(|(name, _)| all.contains_key(*name)) {
        let linked = linked(package, &all);
        for library in *libraries {
            assert!(
                !linked.contains(*library),
                "{package} must not depend on {library}"
            );
        }
    }
}

#[test]
fn the_hosts_modules_know_those_below_them_only() {
    let source = root().join("host/src");
    for (file, text) in sources(&source) {
        let module = file.strip_prefix(&source).unwrap().iter().next().unwrap();
        let module = module.to_str().unwrap().trim_end_matches(".rs");
        for (word, place) in MODULES {
            let forbidden = match place {
                Where::In(modules) => modules.contains(&module),
                Where::Except(modules) => !modules.contains(&module),
            };
            let used = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            assert!(
                !(forbidden && used),
                "{} must not use {word}",
                file.display()
            );
        }
    }
}

/// What the host and what keeps its books and agents do not know: the payment component does.
const MONEY: [&str; 16] = [
    "eip155",
    "eip-155",
    "eip712",
    "eip-712",
    "eip-3009",
    "erc20",
    "erc-20",
    "caip",
    "usdc",
    "eurc",
    "evm",
    "ethereum",
    "solana",
    "base-sepolia",
    "stablecoin",
    "0x833589",
];

#[test]
fn the_host_knows_no_chain_and_no_token() {
    for folder in ["host/src", "crates/ledger/src", "crates/agents/src"] {
        for (file, text) in sources(&root().join(folder)) {
            let text = text.to_lowercase();
            for word in MONEY {
                let is_word = |part: &str| !part.starts_with(|c: char| c.is_ascii_alphabetic());
                let known = text.split(word).skip(1).any(is_word);
                assert!(!known, "{} knows of {word}", file.display());
            }
        }
    }
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}
