//! What a project says about its packages: package.json, and the lock file beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::Error;
use crate::Failure;
use crate::console::file;

/// The names of lock files, in the order in which npm prefers them.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Those of others, which npm does not read.
const FOREIGN: [&str; 4] = ["pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"];
/// Hashes that nobody has found two files for.
const STRONG: [&str; 3] = ["sha512-", "sha384-", "sha256-"];

/// A project, as far as its packages go.
pub(super) struct Project {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its package.json.
    pub(super) manifest: Vec<u8>,
    /// The names of its `dependencies`.
    pub(super) dependencies: Vec<String>,
    /// What they are held against.
    pub(super) lock: Option<Lock>,
    /// A lock file that is not read.
    pub(super) foreign: Option<&'static str>,
    /// npm's settings for it.
    pub(super) settings: Option<Vec<u8>>,
}

/// A lock file.
pub(super) struct Lock {
    pub(super) name: &'static str,
    pub(super) content: Vec<u8>,
    /// Packages and the hashes that they must have.
    pub(super) hashes: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Locks {
    packages: Option<BTreeMap<String, Locked>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Locked {
    resolved: Option<String>,
    integrity: Option<String>,
    link: bool,
    dev: bool,
    optional: bool,
    dev_optional: bool,
    in_bundle: bool,
}

impl Project {
    /// Reads package.json, and what is beside it.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let manifest = file(path)?;
        let dependencies = dependencies(path, &manifest)?;
        let beside = |name: &str| path.with_file_name(name);
        let mut lock = None;
        if let Some(name) = LOCKS.into_iter().find(|name| beside(name).exists()) {
            let content = file(&beside(name))?;
            let hashes = hashes(name, &beside(name), &content)?;
            lock = Some(Lock {
                name,
                content,
                hashes,
            });
        }
        let settings = beside(".npmrc");
        Ok(Self {
            path: path.to_owned(),
            manifest,
            dependencies,
            lock,
            foreign: FOREIGN.into_iter().find(|name| beside(name).exists()),
            settings: settings.exists().then(|| file(&settings)).transpose()?,
        })
    }
}

/// The names of what a project depends on; each is a registry's.
fn dependencies(path: &Path, manifest: &[u8]) -> Result<Vec<String>, Error> {
    let manifest: Manifest = parsed(path, manifest)?;
    if manifest.dependencies.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            why: "it has no `dependencies`, so there is nothing to bundle".to_owned(),
        });
    }
    for (name, version) in &manifest.dependencies {
        if !is_of_a_registry(version) {
            return Err(Error::Local {
                package: name.clone(),
                from: format!("`{version}`"),
            });
        }
    }
    Ok(manifest.dependencies.into_keys().collect())
}

/// Whether it is a version, a range, a tag, or another name: all else (folders, archives, repositories) has one of these signs.
fn is_of_a_registry(version: &str) -> bool {
    version.starts_with("npm:") || !(version.starts_with('.') || version.contains(['/', ':']))
}

/// What packages must be, by a lock file: each that is installed has a hash.
fn hashes(name: &'static str, path: &Path, lock: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let packages = parsed::<Locks>(path, lock)?.packages;
    let packages = packages.ok_or_else(|| Error::File {
        path: path.to_owned(),
        why: "it is of a version before 2, which npm 6 wrote; `npm install` of a newer npm writes it anew".to_owned(),
    })?;
    let mut hashes = Vec::new();
    for (place, package) in packages {
        let is_left_out = package.dev || package.optional || package.dev_optional;
        // A bundled one is part of what another's hash is of.
        if place.is_empty() || is_left_out || package.in_bundle {
            continue;
        }
        let named = place.rsplit_once("node_modules/").map(|(_, name)| name);
        let is_file = |it: &String| it.starts_with("file:");
        if package.link || named.is_none() || package.resolved.as_ref().is_some_and(is_file) {
            return Err(Error::Local {
                package: named.unwrap_or(&place).to_owned(),
                from: "a folder or a file of this machine".to_owned(),
            });
        }
        let named = named.unwrap_or(&place).to_owned();
        let is_strong = |hash: &str| STRONG.iter().any(|start| hash.starts_with(start));
        match package.integrity {
            Some(hash) if hash.split_whitespace().any(is_strong) => hashes.push((named, hash)),
            _ => {
                return Err(Error::Unhashed {
                    lock: name,
                    package: named,
                });
            }
        }
    }
    Ok(hashes)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path, json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| Error::File {
        path: path.to_owned(),
        why: format!("it is not what npm writes: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depends_on(version: &str) -> Result<Vec<String>, Error> {
        let json = serde_json::json!({ "dependencies": { "zod": version }, "devDependencies": { "tsc": "file:x" } });
        dependencies("package.json".as_ref(), json.to_string().as_bytes())
    }

    fn locked(package: serde_json::Value) -> Result<Vec<(String, String)>, Error> {
        let json = serde_json::json!({ "lockfileVersion": 3, "packages": { "": {}, "node_modules/a/node_modules/@b/c": package } });
        let lock = json.to_string();
        hashes(
            "package-lock.json",
            "package-lock.json".as_ref(),
            lock.as_bytes(),
        )
    }

    #[test]
    fn packages_of_registries_are_taken_and_no_others() {
        for version in [
            "^3.1.0",
            "*",
            "npm:@zod/mini@4",
            "latest",
            ">=1 <2 || 3",
            "",
        ] {
            assert_eq!(depends_on(version).unwrap(), ["zod"]);
        }
        for version in [
            "file:../zod",
            "../zod",
            "..",
            "workspace:*",
            "~/zod",
            "colinhacks/zod",
            "git+ssh://git@example.com/zod.git",
            "https://example.com/zod.tgz",
        ] {
            let error = depends_on(version).unwrap_err();
            assert!(matches!(error, Error::Local { .. }), "{error}");
            let words = error.to_string();
            assert!(
                words.contains("`zod`") && words.contains(version),
                "{words}"
            );
        }
        assert_eq!(depends_on("~1.2.0").unwrap(), ["zod"]);
    }

    #[test]
    fn a_project_without_dependencies_and_what_is_no_json_are_said_so() {
        let read = |json: &str| dependencies("package.json".as_ref(), json.as_bytes());
        for (json, words) in [
            ("{}", "no `dependencies`"),
            (r#"{"dependencies": []}"#, "not what npm writes"),
            ("// package", "not what npm writes"),
        ] {
            let said = read(json).unwrap_err().to_string();
            assert!(
                said.starts_with("package.json: ") && said.contains(words),
                "{said}"
            );
        }
    }

    #[test]
    fn a_lock_file_has_a_strong_hash_of_each_package_that_is_installed() {
        let hash = "sha512-aGFzaA==";
        let found = locked(serde_json::json!({ "integrity": hash })).unwrap();
        assert_eq!(found, [("@b/c".to_owned(), hash.to_owned())]);
        for package in [
            serde_json::json!({}),
            serde_json::json!({ "integrity": "sha1-aGFzaA==" }),
            serde_json::json!({ "resolved": "git+ssh://git@example.com/c.git#0123" }),
        ] {
            let error = locked(package).unwrap_err();
            assert!(matches!(error, Error::Unhashed { .. }), "{error}");
            assert!(error.to_string().contains("`@b/c`"), "{error}");
        }
        for package in [
            serde_json::json!({ "resolved": "file:c.tgz", "integrity": hash }),
            serde_json::json!({ "resolved": "../c", "link": true }),
        ] {
            let error = locked(package).unwrap_err();
            assert!(matches!(error, Error::Local { .. }), "{error}");
        }
        for package in [
            serde_json::json!({ "dev": true }),
            serde_json::json!({ "optional": true }),
            serde_json::json!({ "inBundle": true }),
        ] {
            assert!(locked(package).unwrap().is_empty());
        }
    }

    #[test]
    fn a_lock_file_of_npm_6_is_to_be_written_anew() {
        let lock = br#"{"lockfileVersion": 1, "dependencies": {}}"#;
        let said = hashes("package-lock.json", "app/package-lock.json".as_ref(), lock);
        let said = said.unwrap_err().to_string();
        assert!(said.contains("npm install"), "{said}");
    }
}
