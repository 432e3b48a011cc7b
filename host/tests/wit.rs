//! What the package `hypervisor:plugin` promises to authors of components.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a check that fails should fail loudly"
)]

use std::path::Path;

use wit_component::WitPrinter;
use wit_parser::{Docs, PackageId, Resolve, Stability, TypeDefKind, WorldId, WorldItem, WorldKey};

const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
const VERSION: &str = "0.1.0";
const WASI: &str = "0.2.12";

fn package() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    match resolve.push_dir(Path::new(WIT)) {
        Ok((package, _)) => (resolve, package),
        Err(error) => panic!("{}", resolve.render_error(&error)),
    }
}

fn world(resolve: &Resolve, package: PackageId, name: &str) -> WorldId {
    resolve.packages[package].worlds[name]
}

/// The names of a world's imports or exports, WASI by package and interface.
fn names<'a>(resolve: &Resolve, keys: impl Iterator<Item = &'a WorldKey>) -> Vec<String> {
    let mut names: Vec<_> = keys.map(|key| resolve.name_world_key(key)).collect();
    names.sort();
    names
}

/// The names of the package's own interfaces among a world's imports or exports, short.
fn own<'a>(resolve: &Resolve, keys: impl Iterator<Item = &'a WorldKey>) -> Vec<String> {
    names(resolve, keys)
        .iter()
        .filter_map(|name| name.strip_prefix("hypervisor:plugin/"))
        .map(|name| name.trim_end_matches("@0.1.0").to_owned())
        .collect()
}

/// Collects what an item of the package lacks.
#[derive(Default)]
struct Audit {
    items: usize,
    missing: Vec<String>,
}

impl Audit {
    fn docs(&mut self, name: &str, docs: &Docs) {
        self.items += 1;
        if docs
            .contents
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
        {
            self.missing.push(format!("{name}: no docs"));
        }
    }

    fn since(&mut self, name: &str, stability: &Stability) {
        match stability {
            Stability::Stable {
                since,
                deprecated: None,
            } if since.to_string() == VERSION => {}
            other => self.missing.push(format!(
                "{name}: {other:?}, wanted @since(version = {VERSION})"
            )),
        }
    }
}

fn audit(resolve: &Resolve, package: PackageId) -> Audit {
    let mut audit = Audit::default();
    let package = &resolve.packages[package];
    audit.docs("package", &package.docs);
    for (name, &id) in &package.interfaces {
        let interface = &resolve.interfaces[id];
        audit.docs(name, &interface.docs);
        audit.since(name, &interface.stability);
        for function in interface.functions.values() {
            let name = format!("{name}.{}", function.name);
            audit.docs(&name, &function.docs);
            audit.since(&name, &function.stability);
        }
        for (type_name, &id) in &interface.types {
            let name = format!("{name}.{type_name}");
            let definition = &resolve.types[id];
            audit.docs(&name, &definition.docs);
            audit.since(&name, &definition.stability);
            let members: Vec<(&str, &Docs)> = match &definition.kind {
                TypeDefKind::Record(it) => it
                    .fields
                    .iter()
                    .map(|it| (it.name.as_str(), &it.docs))
                    .collect(),
                TypeDefKind::Variant(it) => it
                    .cases
                    .iter()
                    .map(|it| (it.name.as_str(), &it.docs))
                    .collect(),
                TypeDefKind::Enum(it) => it
                    .cases
                    .iter()
                    .map(|it| (it.name.as_str(), &it.docs))
                    .collect(),
                TypeDefKind::Flags(it) => it
                    .flags
                    .iter()
                    .map(|it| (it.name.as_str(), &it.docs))
                    .collect(),
                _ => Vec::new(),
            };
            for (member, docs) in members {
                audit.docs(&format!("{name}.{member}"), docs);
            }
        }
    }
    for (name, &id) in &package.worlds {
        let world = &resolve.worlds[id];
        audit.docs(name, &world.docs);
        audit.since(name, &world.stability);
        for (key, item) in world.imports.iter().chain(&world.exports) {
            let key = resolve.name_world_key(key);
            if let WorldItem::Interface { stability, .. } = item
                && key.starts_with("hypervisor:")
            {
                audit.since(&format!("{name}: {key}"), stability);
            }
        }
    }
    audit
}

#[test]
fn the_package_is_hypervisor_plugin_0_1_0() {
    let (resolve, package) = package();
    assert_eq!(
        resolve.packages[package].name.to_string(),
        "hypervisor:plugin@0.1.0"
    );
}

#[test]
fn the_interfaces_and_worlds_are_those_of_the_design() {
    let (resolve, package) = package();
    let package = &resolve.packages[package];
    let mut interfaces: Vec<_> = package.interfaces.keys().map(String::as_str).collect();
    interfaces.sort_unstable();
    assert_eq!(
        interfaces,
        [
            "attestation",
            "crypto",
            "payment",
            "payment-fields",
            "policy",
            "script"
        ]
    );
    let mut worlds: Vec<_> = package.worlds.keys().map(String::as_str).collect();
    worlds.sort_unstable();
    assert_eq!(
        worlds,
        [
            "agent-command",
            "agent-service",
            "payments",
            "payments-with-fields",
            "policy-engine",
            "script-engine"
        ]
    );
}

#[test]
fn everything_is_documented_and_stable_since_0_1_0() {
    let (resolve, package) = package();
    let audit = audit(&resolve, package);
    assert!(audit.missing.is_empty(), "{:#?}", audit.missing);
    assert!(audit.items > 100, "the walk saw only {} items", audit.items);
}

#[test]
fn plugins_export_their_interface_and_import_only_what_they_need() {
    let (resolve, package) = package();
    for (name, exports, imports) in [
        ("payments", "payment", &["attestation", "crypto"][..]),
        ("policy-engine", "policy", &["crypto"]),
        ("script-engine", "script", &["attestation", "crypto"]),
    ] {
        let world = &resolve.worlds[world(&resolve, package, name)];
        assert_eq!(
            names(&resolve, world.exports.keys()),
            [format!("hypervisor:plugin/{exports}@{VERSION}")],
            "{name}"
        );
        assert_eq!(own(&resolve, world.imports.keys()), imports, "{name}");
    }
}

#[test]
fn only_payments_and_agents_may_send_http_requests() {
    let (resolve, package) = package();
    let outgoing = format!("wasi:http/outgoing-handler@{WASI}");
    for (name, expected) in [
        ("payments", true),
        ("policy-engine", false),
        ("script-engine", false),
        ("agent-command", true),
        ("agent-service", true),
    ] {
        let world = &resolve.worlds[world(&resolve, package, name)];
        assert_eq!(
            names(&resolve, world.imports.keys()).contains(&outgoing),
            expected,
            "{name}"
        );
    }
}

#[test]
fn agents_are_ordinary_wasi_programs_that_may_import_the_host_and_its_plugins() {
    let (resolve, package) = package();
    for (name, export) in [
        ("agent-command", "wasi:cli/run"),
        ("agent-service", "wasi:http/incoming-handler"),
    ] {
        let world = &resolve.worlds[world(&resolve, package, name)];
        assert_eq!(
            names(&resolve, world.exports.keys()),
            [format!("{export}@{WASI}")],
            "{name}"
        );
        assert_eq!(
            own(&resolve, world.imports.keys()),
            ["attestation", "crypto", "payment", "policy"],
            "{name}"
        );
    }
}

#[test]
fn every_world_has_the_imports_of_a_wasip2_toolchain() {
    let (resolve, package) = package();
    for (name, &id) in &resolve.packages[package].worlds {
        let imports = names(&resolve, resolve.worlds[id].imports.keys());
        for interface in [
            "cli/environment",
            "cli/stdout",
            "clocks/wall-clock",
            "io/streams",
            "random/random",
        ] {
            assert!(
                imports.contains(&format!("wasi:{interface}@{WASI}")),
                "{name} lacks {interface}"
            );
        }
    }
}

#[test]
fn one_component_can_be_a_policy_engine_and_a_script_engine() {
    let (mut resolve, _) = package();
    let source = "package test:both; world both {
        include hypervisor:plugin/policy-engine@0.1.0;
        include hypervisor:plugin/script-engine@0.1.0;
    }";
    let package = resolve
        .push_source("both.wit", source)
        .expect("the worlds combine");
    let world = &resolve.worlds[world(&resolve, package, "both")];
    assert_eq!(own(&resolve, world.exports.keys()), ["policy", "script"]);
}

#[test]
fn the_package_survives_printing_and_parsing() {
    let (resolve, package) = package();
    let mut nested: Vec<_> = resolve.packages.iter().map(|(id, _)| id).collect();
    nested.retain(|&id| id != package);
    let mut printer = WitPrinter::default();
    printer
        .print(&resolve, package, &nested)
        .expect("the package prints");
    let text = printer.output.to_string();

    let mut again = Resolve::default();
    let reparsed = again
        .push_source("printed.wit", &text)
        .expect("what was printed parses");
    assert_eq!(
        again.packages[reparsed].name,
        resolve.packages[package].name
    );
    let audit = audit(&again, reparsed);
    assert!(
        audit.missing.is_empty(),
        "lost in printing: {:#?}",
        audit.missing
    );
}

#[test]
fn the_package_survives_encoding_as_a_component() {
    let (resolve, package) = package();
    let bytes = wit_component::encode(&resolve, package).expect("the package encodes");
    let decoded = wit_component::decode(&bytes).expect("the encoded package decodes");
    let (again, id) = (decoded.resolve(), decoded.package());
    assert_eq!(again.packages[id].name, resolve.packages[package].name);
    let before = audit(&resolve, package);
    let after = audit(again, id);
    assert!(
        after.missing.is_empty(),
        "lost in encoding: {:#?}",
        after.missing
    );
    assert_eq!(after.items, before.items);
}
