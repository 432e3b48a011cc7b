//! Packages from npm: installed and bundled here, imported there.

use std::process::Output;

use hypervisor_tests::Host;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::{hv, said};

/// Packages of the registry and their hashes: an ES module; CommonJS, with modules of its own; and one that needs files.
const ZOD: (&str, &str, &str) = (
    "zod",
    "4.1.12",
    "sha512-JInaHOamG8pt5+Ey8kGmdcAcg3OL9reK8ltczgHTAwNhMys/6ThXHityHxVV2p3fkw/c+MAvBHFVYHFZDmjMCQ==",
);
const LODASH: (&str, &str, &str) = (
    "lodash",
    "4.17.21",
    "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
);
const GRACEFUL_FS: (&str, &str, &str) = (
    "graceful-fs",
    "4.2.11",
    "sha512-RbJ5/jmFcNNCcDV5o9eTnBLJ/HszWV0P73bc+Ff4nS/rJj+YaS6IGyiOL0VoBYX+l1Wrl3k63h/KrH+nhJ0XvQ==",
);

/// A project with these packages, pinned, and this handler.
fn project(packages: &[(&str, &str, &str)], handler: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut dependencies = serde_json::Map::new();
    let mut locked = serde_json::Map::new();
    for (name, version, hash) in packages {
        dependencies.insert((*name).to_owned(), json!(version));
        let package = json!({ "version": version, "integrity": hash });
        locked.insert(format!("node_modules/{name}"), package);
    }
    let manifest = json!({ "name": "rates", "version": "1.0.0", "dependencies": dependencies });
    locked.insert(String::new(), manifest.clone());
    let lock = json!({ "name": "rates", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": locked });
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("package.json", &manifest.to_string());
    write("package-lock.json", &lock.to_string());
    write("main.ts", handler);
    folder
}

fn create(host: &Host, folder: &TempDir) -> Output {
    let arguments = ["env", "create", "main.ts", "--package-json", "package.json"];
    let named = ["--name", "rates", "--output", "json"];
    hv(host, folder.path(), &[&arguments[..], &named].concat(), "")
}

fn refused(host: &Host, folder: &TempDir) -> String {
    let output = create(host, folder);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_json_is_bundled_here_and_its_packages_are_imported_there() {
    let host = Host::with_environments("");
    let handler = r#"
import { z } from "zod";
import _ from "lodash";
import fp from "lodash/fp";
import type { ZodType } from "zod/v4";

const Rates: ZodType<number[]> = z.array(z.number().positive());

export function handler(event: { data: unknown }): unknown {
  const rates = Rates.safeParse(event.data);
  if (!rates.success) return { wrong: rates.error.issues[0].path };
  return { chunks: _.chunk(rates.data, 2), doubled: fp.map((it: number) => it * 2, rates.data) };
}
"#;
    let folder = project(&[ZOD, LODASH], handler);
    let created: Value = serde_json::from_str(&said(&create(&host, &folder))).unwrap();
    assert!(created["environment"]["id"].is_string(), "{created}");
    let run = |data: &str| {
        let ran = hv(
            &host,
            folder.path(),
            &["env", "run", "rates", "--data", data],
            "",
        );
        serde_json::from_str::<Value>(&said(&ran)).unwrap()
    };
    assert_eq!(
        run("[1, 2, 3]"),
        json!({ "chunks": [[1, 2], [3]], "doubled": [2, 4, 6] })
    );
    assert_eq!(run("[1, -2]"), json!({ "wrong": [1] }));
    // A turn finds what no module imports, and both find the same.
    let turn = "(await import('lodash')).default.VERSION\n";
    let turned = hv(
        &host,
        folder.path(),
        &["repl", "--environment", "rates"],
        turn,
    );
    assert!(said(&turned).contains("4.17.21"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_needs_nodes_own_modules_is_refused_by_name() {
    let host = Host::with_environments("");
    let handler = "import fs from 'graceful-fs';\nexport const handler = () => fs.readFileSync('/etc/hosts');\n";
    let words = refused(&host, &project(&[LODASH, GRACEFUL_FS], handler));
    assert!(
        words.contains("`graceful-fs` cannot run in the sandbox: it needs `node:fs`"),
        "{words}"
    );
    assert!(!words.contains("lodash"), "{words}");
    let handler = "import { z } from 'zod';\nexport const handler = () => z;\n";
    let words = refused(&host, &project(&[LODASH], handler));
    assert!(
        words.contains("main.ts imports `zod`, which is not among the `dependencies`"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_what_the_lock_file_says_is_refused_by_name() {
    let host = Host::with_environments("");
    let handler = "import { z } from 'zod';\nexport const handler = () => z;\n";
    // The hash of another.
    let wrong = (ZOD.0, ZOD.1, LODASH.2);
    let words = refused(&host, &project(&[wrong], handler));
    assert!(
        words.contains("`zod` is not what package-lock.json says"),
        "{words}"
    );
}
