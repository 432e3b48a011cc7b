//! `hv env` and `hv repl`: the tour that a newcomer takes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use serde_json::Value;

pub(super) fn hv(host: &Host, folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary("hv"))
        .args(["--server", host.url()])
        .args(arguments)
        .env("HOME", folder)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("HYPERVISOR_OWNER")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

pub(super) fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_set_up_called_twice_listed_and_removed() {
    let host = Host::with_environments("");
    let folder = tempfile::tempdir().unwrap();
    let source = "export function handler(event: { data: { name: string } }) {\n  console.log('greeting');\n  return { hello: event.data.name };\n}\n";
    std::fs::write(folder.path().join("main.ts"), source).unwrap();
    let hv = |arguments: &[&str]| hv(&host, folder.path(), arguments, "");
    let created = hv(&[
        "env", "create", "main.ts", "--name", "greeter", "--output", "json",
    ]);
    let created: Value = serde_json::from_str(&said(&created)).unwrap();
    let id = created["environment"]["id"].as_str().unwrap().to_owned();
    for name in ["Ada", "Grace"] {
        let ran = hv(&[
            "env",
            "run",
            "greeter",
            "--data",
            &format!(r#"{{"name": "{name}"}}"#),
        ]);
        assert_eq!(said(&ran), format!("{{\"hello\":\"{name}\"}}\n"));
        assert_eq!(ran.stderr, b"greeting\n");
    }
    let listed = said(&hv(&["env", "list"]));
    assert!(
        listed.contains(&id) && listed.contains("greeter"),
        "{listed}"
    );
    let log = said(&hv(&["env", "log", &id]));
    assert_eq!(log.matches("execute").count(), 2, "{log}");
    let longer = said(&hv(&["env", "extend", &id, "--ttl", "2h"]));
    assert!(longer.contains("at the latest"), "{longer}");
    let copy = said(&hv(&["env", "fork", "greeter", "--name", "copy"]));
    assert!(copy.contains("copy"), "{copy}");
    assert_eq!(
        said(&hv(&["env", "rm", "greeter"])),
        format!("removed {id}\n")
    );
    assert!(!said(&hv(&["env", "list"])).contains(&id));
    let gone = hv(&["env", "run", "greeter"]);
    assert_eq!(gone.status.code(), Some(1));
    let words = String::from_utf8_lossy(&gone.stderr);
    assert!(words.contains("no environment `greeter`"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requirements_file_is_resolved_here_and_its_packages_are_imported_there() {
    let host = Host::with_environments_in_python("");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    // The hash is that of the wheel in the Python Package Index.
    write(
        "requirements.txt",
        "six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n",
    );
    write(
        "main.py",
        "import six\n\ndef handler(event, context):\n    return six.__version__\n",
    );
    let hv = |arguments: &[&str]| hv(&host, folder.path(), arguments, "");
    let create = [
        "env",
        "create",
        "main.py",
        "--name",
        "six",
        "--requirements",
    ];
    let created = hv(&[&create[..], &["requirements.txt"]].concat());
    said(&created);
    assert_eq!(said(&hv(&["env", "run", "six"])), "\"1.16.0\"\n");

    write(
        "other.txt",
        "six==1.16.0 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
    );
    let refused = hv(&[&create[..], &["other.txt"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("HASH"), "{words}");
    write("native.txt", "numpy==2.1.0\n");
    let refused = hv(&[&create[..], &["native.txt"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        words.contains("numpy") && words.contains("native code"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_from_a_pipe_see_each_other_and_leave_nothing_behind() {
    let host = Host::with_environments_in_python("");
    let folder = tempfile::tempdir().unwrap();
    let python = "x = 6\ndef times(n):\n    return x * n\n\ntimes(7)\n";
    let ran = hv(
        &host,
        folder.path(),
        &["repl", "--language", "python"],
        python,
    );
    assert_eq!(said(&ran), "42\n");
    let javascript = "const xs = [\n  1, 2,\n];\nxs.map((x) => x * 2)\n";
    let ran = hv(&host, folder.path(), &["repl"], javascript);
    assert!(said(&ran).contains('4'));
    let failing = hv(&host, folder.path(), &["repl"], "throw new Error('oh')\n");
    assert_eq!(failing.status.code(), Some(1));
    let listed = said(&hv(&host, folder.path(), &["env", "list"], ""));
    assert!(listed.contains("no environments"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handlers_error_is_shown_and_its_status_is_one() {
    let host = Host::with_environments("");
    let folder = tempfile::tempdir().unwrap();
    let source = "export function handler() { throw new TypeError('no city'); }\n";
    std::fs::write(folder.path().join("main.js"), source).unwrap();
    said(&hv(
        &host,
        folder.path(),
        &["env", "create", ".", "--name", "broken"],
        "",
    ));
    let ran = hv(&host, folder.path(), &["env", "run", "broken"], "");
    assert_eq!(ran.status.code(), Some(1));
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(words.contains("no city"), "{words}");
    assert!(ran.stdout.is_empty());
}
