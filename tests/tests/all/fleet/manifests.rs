//! What comes with the project to run a fleet: held to schemas and to the host's own reading. No cluster is here to run it on.

use std::fs;
use std::path::Path;
use std::process::Command;

use hypervisor_tests::host::binary;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const RIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// The version of Kubernetes whose schemas are held against.
const VERSION: &str = "1.37";

/// What a script that holds files to their specification says is in them.
fn checked<T: DeserializeOwned>(script: &str, arguments: &[&str]) -> T {
    let done = Command::new(Path::new(RIG).join(".venv/bin/python"))
        .arg(Path::new(RIG).join(script))
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{e}; run scripts/setup-kubernetes.sh"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The manifests, which agree with the schemas.
fn manifests() -> Vec<Value> {
    let [fleet, route] = ["fleet", "route"].map(|name| format!("{DEPLOY}/kubernetes/{name}.yaml"));
    checked("check.py", &[VERSION, &fleet, &route])
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
    let [keys, route] = of_kind(&manifests, "HTTPRoute")["spec"]["rules"]
        .as_array()
        .unwrap()
        .as_slice()
    else {
        panic!("the route has two rules");
    };
    // Nobody is passed to where hosts ask each other for the fleet's key.
    let path = json!([{"path": {"type": "PathPrefix", "value": "/fleet"}}]);
    assert_eq!(keys, &json!({"matches": path}));
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

/// Has the host read a configuration whose database and key are elsewhere.
fn assert_a_host_reads(config: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    let here = |line: &&str| !line.starts_with("store =") && !line.starts_with("key =");
    let lines: Vec<_> = config.lines().filter(here).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let done = Command::new(binary("hypervisor-ctl"))
        .args(["check", "--output", "json", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

#[test]
fn a_host_reads_the_configuration_of_the_manifests_and_ends_before_it_is_killed() {
    let manifests = manifests();
    let config = of_kind(&manifests, "ConfigMap")["data"]["hypervisor.toml"].clone();
    assert_a_host_reads(config.as_str().unwrap());
    let pod = &of_kind(&manifests, "Deployment")["spec"]["template"]["spec"];
    assert!(config.as_str().unwrap().contains("drain = \"60s\""));
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 60);
}

/// The file for a fleet on one machine, which agrees with the Compose Specification.
fn compose() -> Value {
    checked("compose.py", &[&format!("{DEPLOY}/compose.yaml")])
}

#[test]
fn the_compose_file_agrees_with_its_specification_and_haproxy_is_told_where_each_host_is() {
    let services = compose()["services"].clone();
    let told = &services["balancer"]["environment"];
    let read = fs::read_to_string(format!("{DEPLOY}/haproxy.cfg")).unwrap();
    for name in read.split("\"${").skip(1) {
        let (name, _) = name.split_once('}').unwrap();
        assert!(told[name].is_string(), "{name}");
    }
    for name in ["a", "b", "c"] {
        let host = &services[name];
        let address = host["networks"]["fleet"]["ipv4_address"].as_str().unwrap();
        let advertised = &host["environment"]["HYPERVISOR_ADVERTISE"];
        assert_eq!(advertised, &format!("{address}:8080"));
        let to = &told[&format!("HYPERVISOR_{}", name.to_uppercase())];
        assert_eq!(to, advertised);
    }
}

#[test]
fn a_host_reads_the_configuration_of_the_compose_file_and_looks_for_the_database_where_it_is() {
    let compose = compose();
    let config = compose["configs"]["hypervisor"]["content"].as_str();
    let config = config.unwrap();
    assert_a_host_reads(config);
    let database = compose["services"]["postgres"]["networks"]["fleet"]["ipv4_address"].as_str();
    let user = compose["services"]["postgres"]["environment"]["POSTGRES_USER"].as_str();
    let store = format!("postgres://{}@{}/", user.unwrap(), database.unwrap());
    assert!(config.contains(&store), "{config}");
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
