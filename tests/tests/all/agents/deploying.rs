//! What deploying answers, and what is refused.

use std::fmt::Write;

use hypervisor_client::Error;
use hypervisor_client::protocol::agent::AgentWorld;
use hypervisor_client::protocol::{AgentInfo, Exit, HexArray, LimitKind, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::programs::{component, guest, huge_function, importing, wat};
use sha2::{Digest, Sha256, Sha384};

/// Deploys a component, which has to be refused.
pub(crate) async fn refused(host: &Host, component: &[u8], manifest: &str) -> Error {
    host.try_deploy(&owner(), component, manifest)
        .await
        .unwrap_err()
}

/// How an import stands, and the version that the host has.
fn standing<'a>(info: &'a AgentInfo, interface: &str) -> (&'a str, Option<&'a str>) {
    let import = info
        .imports
        .iter()
        .find(|import| import.name.split('@').next() == Some(interface))
        .unwrap_or_else(|| panic!("no {interface} in {:?}", info.imports));
    (&import.standing, import.host_version.as_deref())
}

/// A component that would be a service if the host had what it imports.
fn service_importing(imports: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut text = String::new();
    for import in imports {
        writeln!(text, "(import \"{import}\" (instance))").unwrap();
    }
    wat(&format!(
        r#"(component {text}
             (core module $m (func (export "handle")))
             (core instance $i (instantiate $m))
             (func $handle (canon lift (core func $i "handle")))
             (instance $exports (export "handle" (func $handle)))
             (export "wasi:http/incoming-handler@0.2.6" (instance $exports)))"#
    ))
}

/// A preview 1 command module.
fn preview1() -> Vec<u8> {
    wat(r#"(module
             (import "wasi_snapshot_preview1" "fd_write"
               (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 8) "from preview 1\n")
             (func (export "_start")
               (i32.store (i32.const 0) (i32.const 8))
               (i32.store (i32.const 4) (i32.const 15))
               (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#)
}

#[tokio::test]
async fn the_answer_says_what_was_deployed_and_what_it_may_import() {
    let host = Host::start();
    let owner = owner();
    let more = "skills = ['greeting']\noutgoing = ['https://api.example.org']\nreuse = 3";
    let info = host.deploy(&owner, "http-hello", "hello", more).await.info;
    let component = guest("http-hello");
    assert_eq!(info.digest, HexArray(Sha256::digest(&component).into()));
    assert_eq!(info.sha384, HexArray(Sha384::digest(&component).into()));
    assert_eq!(info.path, "/agents/hello/");
    assert_eq!(info.address, format!("hello.{}", owner.id()));
    assert_eq!(info.world, AgentWorld::Service);
    assert_eq!((info.version.as_str(), info.reuse), ("1.0.0", 3));
    assert_eq!(info.skills, ["greeting"]);
    assert_eq!(info.outgoing, ["https://api.example.org"]);
    assert_eq!(
        standing(&info, "wasi:http/types"),
        ("granted", Some("0.2.12"))
    );

    let info = host.deploy(&owner, "echo", "echo", "").await.info;
    assert_eq!(info.world, AgentWorld::Command);
    assert_eq!(
        standing(&info, "wasi:cli/stdin"),
        ("granted", Some("0.2.12"))
    );
    assert_eq!(
        standing(&info, "wasi:filesystem/preopens"),
        ("inert", Some("0.2.12"))
    );
}

#[tokio::test]
async fn without_a_sealing_key_the_answer_says_that_and_why_the_agent_ends_with_the_host() {
    let host = Host::with("[attestation]\nbackend = 'none'");
    let info = host.deploy(&owner(), "hello", "hello", "").await.info;
    assert!(!info.persistent);
    let note = info.note.unwrap();
    assert!(
        note.contains("no sealing key") && note.contains("restart"),
        "{note}"
    );
}

#[tokio::test]
async fn an_import_that_the_host_lacks_is_refused_by_name_with_what_the_host_has() {
    let host = Host::start();
    for (import, has) in [
        ("acme:db/store@1.0.0", "hypervisor:plugin 0.1.1"),
        ("wasi:io/poll@0.3.0", "0.2.12"),
        ("wasi:http/types@0.3.0", "0.2.12"),
        ("wasi:http/outgoing-handler@0.2.0-rc-2023", "0.2.12"),
        ("wasi:cli/nonsense@0.2.0", "wasi:cli/stdin"),
        ("wasi:http/nonsense@0.2.0", "wasi:http/outgoing-handler"),
        ("hypervisor:plugin/crypto@0.2.0", "0.1.1"),
    ] {
        for component in [importing(import), service_importing([import.to_owned()])] {
            let error = refused(&host, &component, &manifest("agent", "")).await;
            let (problem, detail) = rejection(&error);
            assert_eq!(problem, Rejection::MissingImport, "{detail}");
            assert!(detail.contains(import) && detail.contains(has), "{detail}");
        }
    }
}

#[tokio::test]
async fn every_missing_import_is_named_up_to_a_bound() {
    let host = Host::start();
    let imports = ["acme:db/store@1.0.0", "acme:mail/send@2.0.0"].map(str::to_owned);
    let component = service_importing(imports.clone());
    let error = refused(&host, &component, &manifest("agent", "")).await;
    let (_, detail) = rejection(&error);
    assert!(imports.iter().all(|name| detail.contains(name)), "{detail}");

    let many = |count: u32| (0..count).map(|n| format!("acme:db/store{n}@1.0.0"));
    let component = service_importing(many(250));
    let error = refused(&host, &component, &manifest("agent", "")).await;
    let (problem, detail) = rejection(&error);
    assert_eq!(problem, Rejection::MissingImport);
    assert!(detail.len() < 10_000, "{} bytes of detail", detail.len());

    let error = refused(
        &host,
        &service_importing(many(2000)),
        &manifest("agent", ""),
    )
    .await;
    let (problem, detail) = rejection(&error);
    assert_eq!(problem, Rejection::InvalidComponent);
    assert!(detail.contains("256"), "{detail}");
}

#[tokio::test]
async fn an_agent_of_a_plugin_that_is_not_loaded_is_refused_with_the_section_that_would_load_it() {
    let host = Host::start();
    for (name, interface, section) in [
        ("ask-policy", "hypervisor:plugin/policy@0.1.1", "[policy]"),
        (
            "ask-payment",
            "hypervisor:plugin/payment@0.1.1",
            "[payments]",
        ),
    ] {
        let error = refused(&host, &guest(name), &manifest(name, "")).await;
        let (problem, detail) = rejection(&error);
        assert_eq!(problem, Rejection::MissingImport);
        assert!(
            detail.contains(interface) && detail.contains(section),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn what_is_neither_a_service_nor_a_command_is_refused() {
    let host = Host::start();
    let hello = guest("hello");
    let module = wat(r#"(module (memory (export "memory") 1) (func (export "main")))"#);
    let nothing = wat("(component)");
    let cases: [(&[u8], &str, Rejection, &str); 8] = [
        (b"#!/bin/sh\n", "", Rejection::NotWasm, "not WebAssembly"),
        (b"", "", Rejection::NotWasm, "not WebAssembly"),
        (
            b"\x7fELF\x02\x01\x01",
            "",
            Rejection::Precompiled,
            "precompiled",
        ),
        (
            &hello[..hello.len() / 2],
            "",
            Rejection::InvalidComponent,
            "not valid WebAssembly",
        ),
        (&module, "", Rejection::NoEntryPoint, "_start"),
        (&nothing, "", Rejection::NoEntryPoint, "wasi:cli/run"),
        (
            &hello,
            "world = 'service'",
            Rejection::WrongWorld,
            "wasi:http/incoming-handler",
        ),
        (
            &guest("http-hello"),
            "world = 'command'",
            Rejection::WrongWorld,
            "wasi:cli/run",
        ),
    ];
    for (component, more, problem, word) in cases {
        let error = refused(&host, component, &manifest("agent", more)).await;
        let (found, detail) = rejection(&error);
        assert_eq!(found, problem, "{detail}");
        assert!(detail.contains(word), "{detail}");
    }
    assert!(host.client().agents().await.unwrap().agents.is_empty());
}

#[tokio::test]
async fn a_preview_1_command_module_deploys_as_a_command() {
    let host = Host::start();
    let deployed = host
        .try_deploy(&owner(), &preview1(), &manifest("old", ""))
        .await
        .unwrap();
    assert_eq!(deployed.info.world, AgentWorld::Command);
    let answer = host.get("old", "/").await;
    assert_eq!(answer.headers()["x-exit-code"], "0");
    assert_eq!(answer.text().await.unwrap(), "from preview 1\n");
}

#[tokio::test]
async fn a_command_may_import_what_services_may() {
    let host = Host::start();
    let component = importing("wasi:http/outgoing-handler@0.2.6");
    let deployed = host
        .try_deploy(&owner(), &component, &manifest("agent", ""))
        .await
        .unwrap();
    assert_eq!(
        standing(&deployed.info, "wasi:http/outgoing-handler"),
        ("granted", Some("0.2.12"))
    );
    assert_eq!(host.get("agent", "/").await.status(), 200);
}

/// The limit that stopped a deployment, and what it allows.
fn limit(error: &Error) -> (LimitKind, u64) {
    match error {
        Error::Agent(exit) => match exit.as_ref() {
            Exit::Limit { which, allowed, .. } => (*which, *allowed),
            other => panic!("{other:?} instead of a limit"),
        },
        other => panic!("{other} instead of a limit"),
    }
}

#[tokio::test]
async fn memory_beyond_the_manifests_limit_is_refused_at_deployment() {
    let host = Host::start();
    let large = component(r#"(memory 1024) (func (export "run") (result i32) (i32.const 0))"#);
    let more = "[limits]\nmemory = '32 MiB'";
    let error = refused(&host, &large, &manifest("large", more)).await;
    assert_eq!(limit(&error), (LimitKind::Memory, 32 << 20));
    host.try_deploy(&owner(), &large, &manifest("large", ""))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_component_that_compiles_for_too_long_is_refused() {
    let host = Host::with("[limits]\ncompile_agent = '20ms'");
    let error = refused(&host, &huge_function(6 << 20), &manifest("slow", "")).await;
    assert_eq!(limit(&error), (LimitKind::CompileTime, 20_000));
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let host = Host::with("[limits]\ncompile_memory = '200 MiB'");
    let error = refused(&host, &huge_function(6 << 20), &manifest("greedy", "")).await;
    assert_eq!(limit(&error), (LimitKind::CompileMemory, 200 << 20));
    host.deploy(&owner(), "hello", "hello", "").await;
}
