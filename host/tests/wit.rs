//! What the package `hypervisor:plugin` promises to authors of components.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a check that fails should fail loudly"
)]

use std::collections::BTreeMap;
use std::path::Path;

use wit_component::WitPrinter;
use wit_parser::{
    Docs, Handle, InterfaceId, PackageId, Resolve, Stability, Type, TypeDefKind, WorldId,
    WorldItem, WorldKey,
};

const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
const VERSION: &str = "0.1.1";
/// Versions that were released before, of which `wit/released` has copies that nobody changes.
const RELEASED: [&str; 1] = ["0.1.0"];
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
        .map(|name| name.trim_end_matches("@0.1.1").to_owned())
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
            } if since.to_string() == VERSION || RELEASED.contains(&&*since.to_string()) => {}
            other => self.missing.push(format!(
                "{name}: {other:?}, wanted @since(version = {VERSION}), or an earlier one"
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
            // What is used of another interface is documented there.
            if let TypeDefKind::Type(Type::Id(used)) = definition.kind
                && resolve.types[used].owner != definition.owner
            {
                continue;
            }
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
fn the_package_is_hypervisor_plugin_0_1_1() {
    let (resolve, package) = package();
    assert_eq!(
        resolve.packages[package].name.to_string(),
        "hypervisor:plugin@0.1.1"
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
            "finality",
            "payment",
            "payment-catalogue",
            "payment-fields",
            "payment-identifier",
            "payment-metered",
            "payment-sign-in",
            "policy",
            "policy-rules",
            "quote",
            "runtime",
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
            "payments-with-catalogue",
            "payments-with-fields",
            "payments-with-finality",
            "payments-with-metered",
            "payments-with-quote",
            "payments-with-sign-in",
            "policy-engine",
            "policy-engine-with-rules",
            "protocol",
            "runtime-engine",
            "script-engine"
        ]
    );
}

#[test]
fn everything_is_documented_and_stable_since_a_version() {
    let (resolve, package) = package();
    let audit = audit(&resolve, package);
    assert!(audit.missing.is_empty(), "{:#?}", audit.missing);
    assert!(audit.items > 100, "the walk saw only {} items", audit.items);
}

/// A released package, with the WASI that all versions so far refer to.
fn released(version: &str) -> (Resolve, PackageId) {
    let folder = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(format!("{WIT}/released/{version}")).expect("its files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
    }
    let wasi = std::fs::canonicalize(format!("{WIT}/deps")).expect("WASI");
    std::os::unix::fs::symlink(wasi, folder.path().join("deps")).expect("a link");
    let mut resolve = Resolve::default();
    match resolve.push_dir(folder.path()) {
        Ok((package, _)) => (resolve, package),
        Err(error) => panic!("{}", resolve.render_error(&error)),
    }
}

/// A type in full, whatever it is called.
fn shape(resolve: &Resolve, of: &Type) -> String {
    let Type::Id(id) = of else {
        return format!("{of:?}");
    };
    let optional = |of: &Option<Type>| of.as_ref().map_or("_".to_owned(), |of| shape(resolve, of));
    let all = |parts: Vec<String>| parts.join(", ");
    let of = |of: &Type| shape(resolve, of);
    match &resolve.types[*id].kind {
        TypeDefKind::Record(it) => {
            let fields = it
                .fields
                .iter()
                .map(|it| format!("{}: {}", it.name, of(&it.ty)));
            format!("record {{ {} }}", all(fields.collect()))
        }
        TypeDefKind::Variant(it) => {
            let cases = it
                .cases
                .iter()
                .map(|it| format!("{}({})", it.name, optional(&it.ty)));
            format!("variant {{ {} }}", all(cases.collect()))
        }
        TypeDefKind::Enum(it) => {
            let cases = it.cases.iter().map(|it| it.name.clone());
            format!("enum {{ {} }}", all(cases.collect()))
        }
        TypeDefKind::Flags(it) => {
            let flags = it.flags.iter().map(|it| it.name.clone());
            format!("flags {{ {} }}", all(flags.collect()))
        }
        TypeDefKind::Tuple(it) => format!("tuple<{}>", all(it.types.iter().map(of).collect())),
        TypeDefKind::List(it) => format!("list<{}>", of(it)),
        TypeDefKind::Option(it) => format!("option<{}>", of(it)),
        TypeDefKind::Result(it) => {
            format!("result<{}, {}>", optional(&it.ok), optional(&it.err))
        }
        TypeDefKind::Type(it) => of(it),
        TypeDefKind::Handle(Handle::Own(it)) => format!("own<{}>", of(&Type::Id(*it))),
        TypeDefKind::Handle(Handle::Borrow(it)) => format!("borrow<{}>", of(&Type::Id(*it))),
        TypeDefKind::Resource => format!("resource {:?}", resolve.types[*id].name),
        other => panic!("{other:?} has no shape here"),
    }
}

/// Every type and function of an interface, in full.
fn shapes(resolve: &Resolve, interface: InterfaceId) -> BTreeMap<String, String> {
    let interface = &resolve.interfaces[interface];
    let types = interface.types.iter();
    let types = types.map(|(name, id)| (name.clone(), shape(resolve, &Type::Id(*id))));
    let functions = interface.functions.iter().map(|(name, function)| {
        let parameters = function.params.iter();
        let parameters: Vec<String> = parameters
            .map(|it| format!("{}: {}", it.name, shape(resolve, &it.ty)))
            .collect();
        let result = function.result.as_ref().map(|it| shape(resolve, it));
        let parameters = parameters.join(", ");
        (name.clone(), format!("func({parameters}) -> {result:?}"))
    });
    types.chain(functions).collect()
}

#[test]
fn what_was_released_is_as_it_was() {
    let (now, package) = package();
    for version in RELEASED {
        let (then, released) = released(version);
        for (name, &id) in &then.packages[released].interfaces {
            let current = now.packages[package].interfaces.get(name);
            let current = shapes(&now, *current.unwrap_or_else(|| panic!("{name} is gone")));
            let plugins_export = ["payment", "payment-fields", "policy", "script"];
            let released = shapes(&then, id);
            for (item, shape) in &released {
                assert_eq!(current.get(item), Some(shape), "{name}.{item} of {version}");
            }
            // A component that was built before has no more than this.
            if plugins_export.contains(&name.as_str()) {
                assert_eq!(
                    current.len(),
                    released.len(),
                    "{name} has more than in {version}"
                );
            }
        }
        for (name, &id) in &then.packages[released].worlds {
            let current = &now.worlds[world(&now, package, name)];
            let then = (&then, &then.worlds[id]);
            let own = |(resolve, keys): (&Resolve, Vec<&WorldKey>)| own(resolve, keys.into_iter());
            let exports = own((&now, current.exports.keys().collect()));
            let before = |key: &String| key.replace("@0.1.0", "");
            let exported = own((then.0, then.1.exports.keys().collect()));
            assert_eq!(
                exports,
                exported.iter().map(before).collect::<Vec<_>>(),
                "{name}"
            );
            let imports = own((&now, current.imports.keys().collect()));
            for import in own((then.0, then.1.imports.keys().collect())) {
                assert!(imports.contains(&before(&import)), "{name} lost {import}");
            }
        }
    }
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
        include hypervisor:plugin/policy-engine@0.1.1;
        include hypervisor:plugin/script-engine@0.1.1;
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
