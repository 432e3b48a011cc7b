//! `--package-json`: packages that npm installs here, on the client, and that a bundler makes ES modules of, so that the host needs no
//! network and sees no names.
//!
//! ```text
//! project      package.json, and the lock file beside it
//! tools        the client's own npm and Node.js
//! bundle.mjs   runs in Node.js: makes the modules, runs nothing of a package
//! error        why packages are not had
//! ```

mod error;
mod project;
mod tools;

use std::collections::BTreeMap;
use std::path::Path;

use hypervisor_client::environments::Bundle;
use hypervisor_client::protocol::HexBytes;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::console::note;

use error::{Error, Refusal};
use project::Project;

/// Files that a bundle has at most, as hosts have it.
const MAX_FILES: usize = 4096;
/// Bytes of packages at most: half of what a host takes in one request where its operator says nothing else.
const MAX_BYTES: usize = 32 << 20;
/// What a package is called in a bundle: the name by which it is imported, and this.
const ENDING: &str = ".js";
/// What modules that have no name in a bundle are called.
const SETUP: &str = "<setup>";

#[derive(Serialize)]
struct Request<'a> {
    root: &'a Path,
    dependencies: &'a [String],
    given: Vec<&'a str>,
    modules: Vec<Module<'a>>,
}

#[derive(Serialize)]
struct Module<'a> {
    name: &'a str,
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Packages(BTreeMap<String, String>),
    Refused(Vec<Refusal>),
}

/// The packages that a project depends on, as ES modules by their names in a bundle: each of its `dependencies`, and what the modules
/// of the bundle import of them. Where there is a lock file, each is held against its hash.
pub(super) fn resolve(
    path: &Path,
    bundle: &Bundle,
    progress: &ProgressBar,
) -> Result<Vec<(String, HexBytes)>, Failure> {
    let project = Project::read(path)?;
    if project.lock.is_none() {
        progress.suspend(|| say_unlocked(&project))?;
    }
    let io = |source| Failure::Io {
        what: "a temporary folder".to_owned(),
        source,
    };
    let folder = tempfile::tempdir().map_err(io)?;
    // Without links in it, as the bundler names files.
    let whole = folder.path().canonicalize().map_err(io)?;
    let (packages, tools) = (whole.join("packages"), whole.join("tools"));
    for folder in [&packages, &tools] {
        std::fs::create_dir(folder).map_err(io)?;
    }
    tools::install(&project, &packages, &tools)?;
    let request = request(&packages, &project.dependencies, bundle);
    let file = whole.join("request.json");
    let request = serde_json::to_vec(&request).map_err(std::io::Error::from);
    request
        .and_then(|request| std::fs::write(&file, request))
        .map_err(io)?;
    let answer = tools::bundle(&tools, &file)?;
    Ok(packages_of(&answer, bundle)?)
}

/// That nothing says what the packages must be.
fn say_unlocked(project: &Project) -> Result<(), Failure> {
    let foreign = project.foreign.map(|name| format!(" ({name} is not read)"));
    note(format_args!(
        "no package-lock.json is beside {}{}: packages are what the registry has today; `npm install --package-lock-only` pins them",
        project.path.display(),
        foreign.unwrap_or_default()
    ))
}

fn request<'a>(root: &'a Path, dependencies: &'a [String], bundle: &'a Bundle) -> Request<'a> {
    let modules = bundle.modules.iter().filter_map(|(name, content)| {
        // The engine says of others that they are no text.
        let text = std::str::from_utf8(&content.0).ok()?;
        Some(Module { name, text })
    });
    let setup = bundle.setup.as_deref();
    let setup = setup.map(|text| Module { name: SETUP, text });
    let named = |name: &'a String| name.strip_suffix(ENDING).or(name.strip_suffix(".mjs"));
    Request {
        root,
        dependencies,
        given: bundle.packages.keys().filter_map(named).collect(),
        modules: modules.chain(setup).collect(),
    }
}

/// What the bundler made, within the bounds of a bundle.
fn packages_of(answer: &[u8], bundle: &Bundle) -> Result<Vec<(String, HexBytes)>, Error> {
    let answer = serde_json::from_slice(answer)
        .map_err(|error| Error::Bundler(format!("its answer is not read: {error}")))?;
    let packages = match answer {
        Answer::Packages(packages) => packages,
        Answer::Refused(refused) => return Err(Error::Refused(refused)),
    };
    let handed = bundle.modules.len().saturating_add(bundle.packages.len());
    let count = handed.saturating_add(packages.len());
    if count > MAX_FILES {
        let most = MAX_FILES;
        return Err(Error::Files { count, most });
    }
    let bytes = packages.values().map(String::len).sum();
    if bytes > MAX_BYTES {
        let largest = packages.iter().max_by_key(|(_, text)| text.len());
        return Err(Error::Bytes {
            bytes,
            most: MAX_BYTES,
            largest: largest.map(|(name, _)| name.clone()).unwrap_or_default(),
        });
    }
    let file = |(name, text): (String, String)| (name + ENDING, HexBytes(text.into_bytes()));
    Ok(packages.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answer: &serde_json::Value) -> Result<Vec<(String, HexBytes)>, Error> {
        packages_of(answer.to_string().as_bytes(), &Bundle::default())
    }

    #[test]
    fn packages_are_called_as_they_are_imported() {
        let answer = serde_json::json!({ "packages": { "lodash/fp": "1", "big.js": "2", "_/chunk-A.js": "3" } });
        let made = answered(&answer).unwrap();
        let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["_/chunk-A.js.js", "big.js.js", "lodash/fp.js"]);
    }

    #[test]
    fn more_than_a_bundle_has_is_refused_before_it_is_sent() {
        let many: BTreeMap<String, &str> = (0..=MAX_FILES).map(|n| (n.to_string(), "")).collect();
        let said = answered(&serde_json::json!({ "packages": many }));
        let said = said.unwrap_err().to_string();
        assert!(
            said.contains("4097 files") && said.contains("4096"),
            "{said}"
        );
        let large =
            serde_json::json!({ "packages": { "a": "", "zod": "x".repeat(MAX_BYTES + 1) } });
        let said = answered(&large).unwrap_err().to_string();
        assert!(said.contains("33 MiB") && said.contains("`zod`"), "{said}");
    }

    #[test]
    fn the_bundler_is_told_of_what_is_there_already() {
        let file = |name: &str, text: &str| (name.to_owned(), HexBytes(text.into()));
        let bundle = Bundle {
            modules: [file("main.ts", "import 'a'")].into(),
            packages: [file("a.js", ""), file("b.mjs", "")].into(),
            setup: Some("import 'b'".to_owned()),
            ..Bundle::default()
        };
        let request = request("/x".as_ref(), &[], &bundle);
        assert_eq!(request.given, ["a", "b"]);
        let names: Vec<&str> = request.modules.iter().map(|it| it.name).collect();
        assert_eq!(names, ["main.ts", "<setup>"]);
    }
}
