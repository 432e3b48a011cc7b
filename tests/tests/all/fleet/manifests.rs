//! What comes with the project to run a fleet: held to schemas and to the host's own reading. No cluster is here to run it on.

use std::fs;
use std::path::Path;
use std::process::Command;

use hypervisor_tests::host::binary;
use serde_json::Value;

const RIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// The version of Kubernetes whose schemas are held against.
const VERSION: &str = "1.37";

/// The manifests, which agree with the schemas.
fn manifests() -> Vec<Value> {
    let done = Command::new(Path::new(RIG).join(".venv/bin/python"))
        .arg(Path::new(RIG).join("check.py"))
        .arg(VERSION)
        .args(["fleet", "route"].map(|name| format!("{DEPLOY}/kubernetes/{name}.yaml")))
        .output()
        .unwrap_or_else(|e| panic!("{e}; run scripts/setup-kubernetes.sh"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|it| it["kind"] == kind).unwrap()
}

#[test]
fn manifests_agree_with_the_schemas_and_with_each_other() {
    let manifests = manifests();
    let deployment = of_kind(&manifests, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selected = &of_kind(&manifests, "Service")["spec"]["selector"];
    assert_eq!(labels, selected);
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        let spec = &of_kind(&manifests, kind)["spec"];
        let selector = spec.get("selector").or(spec.get("podSelector")).unwrap();
        assert_eq!(&selector["matchLabels"], labels, "{kind}");
    }
    let route = &of_kind(&manifests, "HTTPRoute")["spec"]["rules"][0];
    assert_eq!(
        route["sessionPersistence"]["sessionName"],
        "Hypervisor-Session"
    );
    let service = of_kind(&manifests, "Service");
    assert_eq!(route["backendRefs"][0]["name"], service["metadata"]["name"]);
    assert_eq!(
        route["backendRefs"][0]["port"],
        service["spec"]["ports"][0]["port"]
    );
}

#[test]
fn a_host_reads_the_configuration_of_the_manifests_and_ends_before_it_is_killed() {
    let manifests = manifests();
    let config = of_kind(&manifests, "ConfigMap")["data"]["hypervisor.toml"].clone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    // The database and the key are on the cluster.
    let here = |line: &&str| !line.starts_with("store =") && !line.starts_with("key =");
    let lines: Vec<_> = config.as_str().unwrap().lines().filter(here).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let done = Command::new(binary("hypervisor-ctl"))
        .args(["check", "--output", "json", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let pod = &of_kind(&manifests, "Deployment")["spec"]["template"]["spec"];
    assert!(config.as_str().unwrap().contains("drain = \"60s\""));
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 60);
}

#[test]
fn haproxy_reads_its_file() {
    let mut command = Command::new("haproxy");
    command.args(["-c", "-f", &format!("{DEPLOY}/haproxy.cfg")]);
    command.env("HYPERVISOR_BIND", "127.0.0.1:8080");
    for name in ["A", "B", "C"] {
        command.env(format!("HYPERVISOR_{name}"), "127.0.0.1:8081");
        command.env(format!("HYPERVISOR_{name}_ADMIN"), "8082");
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
