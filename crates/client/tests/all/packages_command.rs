//! `hv env create --package-json` as people meet it before anything is sent: what is refused, and what npm is asked for.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::machine::text;
use tempfile::TempDir;

/// A folder with a handler, `hv` in it, and an npm that notes what it was asked for and says that a hash is wrong.
struct Project(TempDir);

const HASH: &str = "sha512-aGFzaA==";
const NPM: &str = "#!/bin/sh
echo \"$(ls -A | tr '\\n' ' ')| $*\" >>\"$NOTES\"
echo 'npm error code EINTEGRITY' >&2
echo 'npm error Integrity checksum failed when using sha512: wanted sha512-aGFzaA== but got sha512-b3RoZXI=.' >&2
exit 1
";

impl Project {
    fn new(manifest: &str) -> Self {
        let project = Self(TempDir::new().unwrap());
        project.write("main.ts", "export const handler = () => 1;\n");
        project.write("main.py", "def handler(event, context):\n    return 1\n");
        project.write("package.json", manifest);
        project.write("npm", NPM);
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(project.path().join("npm"), runs).unwrap();
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn lock(&self, package: &str) {
        let lock = format!(r#"{{"lockfileVersion": 3, "packages": {{"": {{}}, {package}}}}}"#);
        self.write("package-lock.json", &lock);
    }

    /// `hv env create ARGUMENTS`, to a host that is not there.
    fn create(&self, npm: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hv"))
            .args(["--server", "http://127.0.0.1:1", "env", "create"])
            .args(arguments)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("HV_NPM", self.path().join(npm))
            .env("NOTES", self.path().join("notes"))
            .env_remove("HYPERVISOR_OWNER")
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap()
    }

    /// What it is refused with.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.create("npm", arguments);
        let words = text(&output.stderr);
        assert!(!output.status.success(), "{words}");
        words
    }
}

const CREATE: [&str; 3] = ["main.ts", "--package-json", "package.json"];

#[test]
fn packages_of_the_other_language_are_mistakes_of_usage() {
    let project = Project::new(r#"{"dependencies": {"zod": "4"}}"#);
    for (arguments, words) in [
        (
            &["main.py", "--package-json", "package.json"][..],
            "for Python there is --requirements",
        ),
        (
            &["main.ts", "--requirements", "package.json"],
            "for JavaScript and TypeScript there is --package-json",
        ),
        (
            &[
                "main.ts",
                "--requirements",
                "x",
                "--package-json",
                "package.json",
            ],
            "cannot be used with",
        ),
    ] {
        let output = project.create("npm", arguments);
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_is_of_no_registry_or_has_no_hash_is_refused_by_name() {
    let local = Project::new(r#"{"dependencies": {"shared": "file:../shared"}}"#);
    let words = local.refused(&CREATE);
    assert!(
        words.contains("`shared`") && words.contains("`file:../shared`"),
        "{words}"
    );
    let none = Project::new("{}");
    let words = none.refused(&CREATE);
    assert!(
        words.contains("package.json: it has no `dependencies`"),
        "{words}"
    );
    let absent = Project::new("{}");
    let words = absent.refused(&["main.ts", "--package-json", "nothing.json"]);
    assert!(words.contains("cannot read nothing.json"), "{words}");
    let unhashed = Project::new(r#"{"dependencies": {"zod": "4"}}"#);
    unhashed.lock(r#""node_modules/zod": {"version": "4.1.12"}"#);
    let words = unhashed.refused(&CREATE);
    assert!(
        words.contains("package-lock.json has no SHA-2 hash of `zod`"),
        "{words}"
    );
    for project in [local, none, absent, unhashed] {
        assert!(!project.path().join("notes").exists(), "npm was run");
    }
}

#[test]
fn a_package_with_another_hash_is_refused_by_name_and_no_script_of_one_runs() {
    let project = Project::new(r#"{"dependencies": {"zod": "4"}}"#);
    project.lock(&format!(r#""node_modules/zod": {{"integrity": "{HASH}"}}"#));
    project.write(".npmrc", "fund=false\n");
    let words = project.refused(&CREATE);
    assert!(
        words.contains("`zod` is not what package-lock.json says"),
        "{words}"
    );
    let notes = std::fs::read_to_string(project.path().join("notes")).unwrap();
    // The project's, and the bundler's.
    assert_eq!(notes.lines().count(), 2, "{notes}");
    for line in notes.lines() {
        assert!(line.contains("--ignore-scripts"), "{line}");
        assert!(line.contains(".npmrc") && line.contains("| ci "), "{line}");
    }
    let without = |line: &&str| line.contains("--omit=dev");
    assert_eq!(notes.lines().filter(without).count(), 1, "{notes}");
}

#[test]
fn without_a_lock_file_it_is_said_that_nothing_pins_packages() {
    let project = Project::new(r#"{"dependencies": {"zod": "4"}}"#);
    project.write("yarn.lock", "");
    let words = project.refused(&CREATE);
    assert!(
        words.contains("no package-lock.json is beside package.json (yarn.lock is not read)"),
        "{words}"
    );
    assert!(
        words.contains("npm cannot install the packages of package.json"),
        "{words}"
    );
    let notes = std::fs::read_to_string(project.path().join("notes")).unwrap();
    assert!(notes.contains("| install --no-package-lock"), "{notes}");
}

#[test]
fn a_machine_without_npm_is_told_what_is_missing() {
    let project = Project::new(r#"{"dependencies": {"zod": "4"}}"#);
    let output = project.create("nothing", &CREATE);
    assert_eq!(output.status.code(), Some(1));
    let words = text(&output.stderr);
    assert!(
        words.contains("cannot run") && words.contains("HV_NPM"),
        "{words}"
    );
}
