//! `hypervisor-ctl check` as authors and operators meet it: what a component is, and what a host would make of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component, component_file, guest, wat};
use serde_json::Value;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

fn check(arguments: &[&str]) -> Output {
    Command::new(binary("hypervisor-ctl"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What the check of a component that nobody takes says.
#[track_caller]
fn refused(bytes: &[u8], arguments: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, "a.wasm", bytes);
    let output = check(&[&[file.as_str()], arguments].concat());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    stdout
}

/// The worlds that take it, with the versions of what it exports for them.
fn taken(checked: &Value) -> Vec<(&str, Option<&str>)> {
    let worlds = checked["worlds"].as_array().unwrap().iter();
    worlds
        .filter(|found| found["refusal"].is_null())
        .map(|found| (found["world"].as_str().unwrap(), found["version"].as_str()))
        .collect()
}

#[test]
fn each_component_is_called_by_its_world_and_version() {
    let folder = TempDir::new().unwrap();
    let plugin = |name| component_file(name).to_str().unwrap().to_owned();
    let files = [
        plugin("policy-rust"),
        plugin("payments"),
        plugin("payments-voucher"),
        file(&folder, "http-hello", &guest("http-hello")),
        file(&folder, "hello", &guest("hello")),
    ];
    let arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    let output = check(&[&["--output", "json"], &arguments[..]].concat());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{found}");
    let expected: [&[&str]; 5] = [
        &["policy-engine"],
        &["payments"],
        &["payments"],
        &["agent-service"],
        &["program", "agent-command"],
    ];
    for (checked, expected) in found.as_array().unwrap().iter().zip(expected) {
        let taken = taken(checked);
        let names: Vec<&str> = taken.iter().map(|(world, _)| *world).collect();
        assert_eq!(names, expected, "{checked}");
        assert!(taken[0].1.unwrap().starts_with("0."), "{checked}");
    }
    assert_eq!(taken(&found[0])[0].1, Some("0.1.1"));
    let sends = |import: &Value| {
        import["name"]
            .as_str()
            .unwrap()
            .starts_with("wasi:http/outgoing-handler")
            && import["standing"] == "granted"
    };
    let imports = found[1]["program"]["imports"].as_array().unwrap();
    assert!(imports.iter().any(sends), "{imports:?}");
}

#[test]
fn a_component_is_judged_as_the_world_that_is_asked_for() {
    let policy = fs::read(component_file("policy-rust")).unwrap();
    let said = refused(&policy, &["--world", "payments"]);
    assert!(
        said.contains(
            "refused: components of the world payments export hypervisor:plugin/payment, and this one does not; \
             it is of the world policy-engine"
        ),
        "{said}"
    );
    let said = refused(&guest("http-hello"), &["--world", "program"]);
    assert!(said.contains("it is of the world agent-service"), "{said}");
    let folder = TempDir::new().unwrap();
    let file = file(&folder, "hello.wasm", &guest("hello"));
    let output = check(&["--world", "agent-command", &file]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(
        stdout.contains("ok: runs as an agent, a command"),
        "{stdout}"
    );
}

#[test]
fn an_import_of_other_types_than_the_hosts_is_missing() {
    let said = refused(
        &wat(r#"(component
            (import "wasi:cli/environment@0.2.6" (instance
              (export "get-environment" (func (result u32)))))
            (core module $m (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.6" (instance $exports)))"#),
        &[],
    );
    assert!(
        said.contains("missing  wasi:cli/environment@0.2.6"),
        "{said}"
    );
    assert!(said.contains("get-environment"), "{said}");
    // What the world's own export has to be is compared too.
    let said = refused(
        &wat(r#"(component
            (core module $m (func (export "check") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $check (result u32) (canon lift (core func $i "check")))
            (instance $exports (export "check" (func $check)))
            (export "hypervisor:plugin/policy@0.1.0" (instance $exports)))"#),
        &[],
    );
    assert!(
        said.contains("world    policy-engine, by hypervisor:plugin/policy@0.1.0"),
        "{said}"
    );
    assert!(said.contains("refused: "), "{said}");
}

#[test]
fn the_instructions_of_every_function_are_validated() {
    let module = r#"(module (memory (export "memory") 1) (func (export "_start") i32.add drop))"#;
    let said = refused(&wat(module), &[]);
    assert!(
        said.contains("core module 0 of the program is not valid: "),
        "{said}"
    );
    assert!(said.contains("type mismatch"), "{said}");
    let in_a_component = component(
        r#"(func (export "run") (result i32) (i32.const 0)) (func $unused i32.add drop)"#,
    );
    assert!(refused(&in_a_component, &[]).contains("type mismatch"));
}

#[test]
fn a_limit_that_a_program_cannot_start_within_is_named() {
    let program = component(
        r#"(memory (export "memory") 5000) (func (export "run") (result i32) (i32.const 0))"#,
    );
    let said = refused(&program, &[]);
    assert!(
        said.contains("refused: the limit `memory` is 268435456 here, and it takes 327680000"),
        "{said}"
    );
}

#[test]
fn what_is_of_no_world_is_told_what_tells_one() {
    let said = refused(&wat("(component)"), &[]);
    assert!(said.contains("it exports: nothing"), "{said}");
    assert!(
        said.contains(
            "worlds are told by one of: hypervisor:plugin/policy, hypervisor:plugin/payment, "
        ),
        "{said}"
    );
}

#[test]
fn a_configurations_plugins_are_told_with_the_rules_that_they_read() {
    let folder = TempDir::new().unwrap();
    let rules = file(&folder, "rules", b"# nothing\n# runs\n");
    let plugin = component_file("policy-rust");
    let config = file(
        &folder,
        "hypervisor.toml",
        format!("[policy]\ncomponent = {plugin:?}\nrules = {rules:?}\n").as_bytes(),
    );
    let output = check(&["--config", &config]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    let named = format!(
        "# plugin policy-engine, by hypervisor:plugin/policy@0.1.1: {}\n#   sha384   ",
        plugin.display()
    );
    assert!(stdout.contains(&named), "{stdout}");
    let read = format!(
        "#   rules    {rules}: 17 bytes in lines 1 to 2, read and accepted by the plugin; SHA-384 "
    );
    assert!(stdout.contains(&read), "{stdout}");

    fs::write(Path::new(&rules), "no digest").unwrap();
    let output = check(&["--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let document = check(&["--config", &config, "--output", "json"]);
    assert!(
        document.stdout.is_empty(),
        "nothing is told of what does not load"
    );
}

/// A plugin that traps in all that it exports, built for these definitions with one piece of text changed.
pub(crate) fn built_for(world: &str, (text, other): (&str, &str)) -> Vec<u8> {
    let (folder, wit) = (
        TempDir::new().unwrap(),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit"),
    );
    let mut changed = 0;
    for file in fs::read_dir(&wit)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if file.extension().is_some_and(|extension| extension == "wit") {
            let definitions = fs::read_to_string(&file).unwrap();
            changed += definitions.matches(text).count();
            let name = file.file_name().unwrap();
            fs::write(folder.path().join(name), definitions.replace(text, other)).unwrap();
        }
    }
    assert_eq!(changed, 1, "{text}");
    std::os::unix::fs::symlink(
        wit.canonicalize().unwrap().join("deps"),
        folder.path().join("deps"),
    )
    .unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.path()).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mangling = ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync);
    let mut module = dummy_module(&resolve, world, mangling);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// Functions that are there with other types, or are not, and what is said of each.
pub(crate) const OTHER_TYPES: [(&str, (&str, &str), &str); 8] = [
    (
        "payments-with-quote",
        ("quote: func(price: string,", "quote: func(price: u64,"),
        "its `quote` of hypervisor:plugin/quote@0.1.1 has other types than the host's: expected",
    ),
    (
        "payments-with-finality",
        ("unclear,", "unclear, unknown,"),
        "its `standing` of hypervisor:plugin/finality@0.1.1 has other types than the host's",
    ),
    (
        "payments-with-metered",
        (
            "paths: func() -> list<string>;",
            "routes: func() -> list<string>;",
        ),
        "it exports hypervisor:plugin/payment-catalogue@0.1.1 without the function `paths`",
    ),
    (
        "payments",
        ("challenge: func(info: resource-info,", "challenge: func("),
        "its `challenge` of hypervisor:plugin/payment@0.1.1 has other types than the host's",
    ),
    (
        "policy-engine-with-rules",
        (
            "prepare: func(rules: list<u8>)",
            "prepare: func(rules: string)",
        ),
        "its `prepare` of hypervisor:plugin/policy-rules@0.1.1 has other types than the host's",
    ),
    (
        "policy-engine",
        ("check: func(rules: list<u8>)", "check: func(rules: string)"),
        "its `check` of hypervisor:plugin/policy@0.1.1 has other types than the host's",
    ),
    (
        "runtime-engine",
        (
            "evaluate: func(source: string)",
            "evaluate: func(source: list<u8>)",
        ),
        "its `evaluate` of hypervisor:plugin/runtime@0.1.1 has other types than the host's",
    ),
    (
        "script-engine",
        ("run: func(source: string,", "run: func(source: list<u8>,"),
        "its `run` of hypervisor:plugin/script@0.1.1 has other types than the host's",
    ),
];

#[test]
fn functions_of_other_types_are_refused_by_name_also_in_interfaces_that_need_not_be_there() {
    for (world, change, named) in OTHER_TYPES {
        let said = refused(&built_for(world, change), &[]);
        assert!(said.contains(named), "{world}: {said}");
    }
    // A host that is started with one says the same.
    let folder = TempDir::new().unwrap();
    let (world, change, named) = OTHER_TYPES[0];
    let component = file(&folder, world, &built_for(world, change));
    let config = format!("[payments]\ncomponent = {component:?}\npay_to = 'shop'\n");
    let output = check(&[
        "--config",
        &file(&folder, "hypervisor.toml", config.as_bytes()),
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(named), "{said}");
    // As they are, all of them are taken.
    for world in [
        "payments-with-metered",
        "policy-engine-with-rules",
        "script-engine",
        "runtime-engine",
    ] {
        let file = file(
            &folder,
            world,
            &built_for(world, ("script-error {", "script-error {")),
        );
        let output = check(&[&file]);
        assert!(output.status.success(), "{output:?}");
    }
}
