//! Why packages are not had from npm, in words.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Failure;

/// Packages are not resolved.
#[derive(Debug, thiserror::Error)]
pub(in crate::env) enum Error {
    /// A file is not what it should be.
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    /// A package that is no registry's.
    #[error(
        "`{package}` is {from}: --package-json takes packages from registries alone; send its modules with the handler's, or one ES module by --package"
    )]
    Local { package: String, from: String },
    /// A package in the lock file that nothing can be held against.
    #[error(
        "{lock} has no SHA-2 hash of `{package}`: `npm install` writes the file anew, and packages that are no registry's have none"
    )]
    Unhashed { lock: &'static str, package: String },
    /// What a registry sent has another hash.
    #[error(
        "`{package}` is not what {lock} says: its integrity hash is another one. If the file is right, do not use what the registry sent; else `npm install` writes it anew.\n{words}"
    )]
    Integrity {
        lock: &'static str,
        package: String,
        words: String,
    },
    /// Another program is not there.
    #[error(
        "cannot run {program}: {source}; install Node.js 18 or newer with npm, or name it by {variable}"
    )]
    Program {
        program: String,
        variable: &'static str,
        source: std::io::Error,
    },
    /// npm gave up.
    #[error("npm cannot install {what}:\n{words}")]
    Install { what: String, words: String },
    /// The bundler gave up.
    #[error("the packages cannot be bundled:\n{0}")]
    Bundler(String),
    /// Packages that the sandbox cannot run, or that are not there.
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
    /// More than a bundle has.
    #[error(
        "the packages are {count} files with those of the handler, and a bundle has at most {most}: import less of them"
    )]
    Files { count: usize, most: usize },
    /// More than is sent.
    #[error(
        "the packages have {} MiB when bundled, and may have {}; the largest is `{largest}`: take a smaller one, or leave it out of `dependencies`",
        bytes.div_ceil(1 << 20), most >> 20
    )]
    Bytes {
        bytes: usize,
        most: usize,
        largest: String,
    },
}

/// Why a package is not had.
#[derive(Debug, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "lowercase")]
pub(in crate::env) enum Refusal {
    #[error(
        "`{package}` cannot run in the sandbox: {} `node:{module}`, and there is no Node.js there. {INSTEAD}",
        who(package, by, "needs")
    )]
    Node {
        package: String,
        by: String,
        module: String,
    },
    #[error(
        "`{package}` cannot run in the sandbox: {} a native addon, and only JavaScript runs there. {INSTEAD}",
        who(package, by, "has")
    )]
    Native { package: String, by: String },
    #[error(
        "`{package}` is not complete: {} the package `{module}`, which is not installed. Add it to `dependencies`.",
        who(package, by, "needs")
    )]
    Missing {
        package: String,
        by: String,
        module: String,
    },
    #[error("`{package}` imports {file}, which is no package's file. It is not sent.")]
    Outside { package: String, file: String },
    #[error("`{package}` cannot be bundled: {words}")]
    Other { package: String, words: String },
    #[error(
        "{by} imports `{package}`, which is not among the `dependencies` of package.json. `npm install {package}` adds it."
    )]
    Undeclared { package: String, by: String },
    #[error("{by} imports `{module}`, and the package `{package}` has no such module.")]
    Absent {
        package: String,
        by: String,
        module: String,
    },
    #[error("{words}")]
    Handler { words: String },
}

const INSTEAD: &str =
    "Take another package, or move it to `devDependencies` where the handler does without it.";

/// Who of them does something: the package, or one that it depends on.
fn who(package: &str, by: &str, does: &str) -> String {
    match by == package {
        true => format!("it {does}"),
        false => format!("`{by}`, which comes with it, {does}"),
    }
}

fn lines(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Input(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_package_and_who_brings_the_reason() {
        let read = |json: &str| serde_json::from_str::<Refusal>(json).unwrap().to_string();
        let own = read(r#"{"package":"pg","by":"pg","reason":"node","module":"net"}"#);
        assert!(
            own.starts_with("`pg` cannot run in the sandbox: it needs `node:net`"),
            "{own}"
        );
        let other =
            read(r#"{"package":"express","by":"body-parser","reason":"node","module":"zlib"}"#);
        assert!(
            other.contains("`body-parser`, which comes with it, needs `node:zlib`"),
            "{other}"
        );
        let native =
            read(r#"{"package":"better-sqlite3","by":"better-sqlite3","reason":"native"}"#);
        assert!(native.contains("it has a native addon"), "{native}");
    }
}
