//! The client's own npm and Node.js, and the bundler that runs in it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::error::Error;
use super::project::{Lock, Project};
use crate::Failure;

/// Name others than `npm` and `node`.
const NPM: &str = "HV_NPM";
const NODE: &str = "HV_NODE";
/// Lines of what they said that are shown.
const LINES: usize = 8;

/// The bundler: each of its packages is named with its hash.
const BUNDLER: [(&str, &str); 3] = [
    ("package.json", include_str!("tools/package.json")),
    ("package-lock.json", include_str!("tools/package-lock.json")),
    ("bundle.mjs", include_str!("bundle.mjs")),
];

/// Installs a project's packages in one folder, and the bundler in another. No script of a package runs.
pub(super) fn install(project: &Project, packages: &Path, tools: &Path) -> Result<(), Failure> {
    let write = |folder: &Path, name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(|source| Failure::Io {
            what: format!("cannot write {}", path.display()),
            source,
        })
    };
    for (name, content) in BUNDLER {
        write(tools, name, content.as_bytes())?;
    }
    write(packages, "package.json", &project.manifest)?;
    if let Some(lock) = &project.lock {
        write(packages, lock.name, &lock.content)?;
    }
    for folder in [packages, tools] {
        if let Some(settings) = &project.settings {
            write(folder, ".npmrc", settings)?;
        }
    }
    let how: &[&str] = match &project.lock {
        Some(_) => &["ci"],
        None => &["install", "--no-package-lock"],
    };
    let left_out = ["--omit=dev", "--omit=optional"];
    // Both at once; the folders stay until both have ended.
    let own = npm(tools, &["ci", "--include=optional", "--include=prod"])?;
    let theirs = npm(packages, &[how, &left_out].concat()).map(Child::wait_with_output);
    let own = ended(own.wait_with_output())?;
    let theirs = ended(theirs?)?;
    if !theirs.status.success() {
        let what = format!("the packages of {}", project.path.display());
        return Err(refused(what, &theirs, project.lock.as_ref()).into());
    }
    if !own.status.success() {
        let what = "the bundler of --package-json".to_owned();
        return Err(refused(what, &own, None).into());
    }
    Ok(())
}

/// Runs the bundler on a request; what it answers.
pub(super) fn bundle(tools: &Path, request: &Path) -> Result<Vec<u8>, Error> {
    let node = named(NODE, "node");
    let ran = Command::new(&node)
        .arg("bundle.mjs")
        .arg(request)
        .current_dir(tools)
        // The one that was installed, and no other.
        .env_remove("ESBUILD_BINARY_PATH")
        .stdin(Stdio::null())
        .output();
    let ran = ran.map_err(|source| absent(&node, NODE, source))?;
    match ran.status.success() {
        true => Ok(ran.stdout),
        false => Err(Error::Bundler(words(&ran.stderr))),
    }
}

/// npm in a folder, begun.
fn npm(folder: &Path, arguments: &[&str]) -> Result<Child, Error> {
    let npm = named(NPM, "npm");
    Command::new(&npm)
        .args(arguments)
        .args(["--ignore-scripts", "--no-bin-links", "--prefer-offline"])
        .args(["--install-strategy=hoisted", "--no-global"])
        .args(["--no-audit", "--no-fund", "--no-update-notifier"])
        .arg("--loglevel=error")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| absent(&npm, NPM, source))
}

fn named(variable: &str, or: &str) -> OsString {
    let name = std::env::var_os(variable).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| or.into())
}

fn absent(program: &OsString, variable: &'static str, source: std::io::Error) -> Error {
    Error::Program {
        program: program.display().to_string(),
        variable,
        source,
    }
}

fn ended(output: std::io::Result<Output>) -> Result<Output, Failure> {
    output.map_err(|source| Failure::Io {
        what: "cannot wait for npm".to_owned(),
        source,
    })
}

/// Why npm gave up. Of a wrong hash it says no name.
fn refused(what: String, output: &Output, lock: Option<&Lock>) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let words = words(&output.stderr);
    if said.contains("EINTEGRITY")
        && let Some(lock) = lock
    {
        let is_named = |(_, hash): &&(String, String)| {
            let mut each = hash.split_whitespace();
            each.any(|hash| said.contains(&format!("wanted {hash}")))
        };
        let package = lock.hashes.iter().find(is_named);
        return Error::Integrity {
            lock: lock.name,
            package: package.map_or_else(|| "a package".to_owned(), |(name, _)| name.clone()),
            words,
        };
    }
    Error::Install { what, words }
}

/// The first lines of what a program said about its end, without npm's marks, its help and the place of its log.
fn words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().map(|line| {
        let line = line.strip_prefix("npm error").unwrap_or(line);
        line.trim()
    });
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("A complete log"));
    let lines: Vec<&str> = lines
        .take_while(|line| *line != "Usage:")
        .take(LINES)
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_hash_names_its_package() {
        let lock = Lock {
            name: "package-lock.json",
            content: Vec::new(),
            hashes: vec![
                ("a".to_owned(), "sha512-aaaa".to_owned()),
                ("@b/c".to_owned(), "sha512-bbbb".to_owned()),
            ],
        };
        let output = Output {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: b"npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512: wanted sha512-bbbb but got sha512-aaaa.\nnpm error A complete log of this run can be found in: x\n".to_vec(),
        };
        let error = refused("it".to_owned(), &output, Some(&lock)).to_string();
        assert!(
            error.starts_with("`@b/c` is not what package-lock.json says"),
            "{error}"
        );
        assert!(!error.contains("complete log"), "{error}");
    }

    #[test]
    fn what_npm_says_is_shown_without_its_help() {
        let said = b"npm error code EUSAGE\nnpm error\nnpm error Invalid: lock file's a@1 does not satisfy a@2\nnpm error\nnpm error Usage:\nnpm error npm ci\n";
        let invalid = "code EUSAGE\nInvalid: lock file's a@1 does not satisfy a@2";
        assert_eq!(words(said), invalid);
    }

    #[test]
    fn each_package_of_the_bundler_has_a_hash() {
        let lock = serde_json::from_str::<serde_json::Value>(BUNDLER[1].1).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 2);
        for (place, package) in packages.iter().filter(|(place, _)| !place.is_empty()) {
            let hash = package["integrity"].as_str().unwrap_or_default();
            assert!(hash.starts_with("sha512-"), "{place}");
        }
    }
}
