//! The files of `templates/` in the repository, embedded.

use clap::ValueEnum;

/// Stands for the project's name in a file's text.
const NAME: &str = "{{name}}";

/// The language of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A service in Rust.
    Rust,
    /// A service in Python.
    Python,
    /// A service in JavaScript.
    Js,
}

/// A file of a template: its path in the project, and its text.
type File = (&'static str, &'static str);

/// Files below a folder of the repository, under the same names in the project.
macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$((
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $folder, $name)),
        )),+]
    };
}

const RUST: &[File] = files!["templates/rust/":
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "agent.toml",
    "src/lib.rs",
];

const PYTHON: &[File] = files!["templates/python/":
    ".gitignore",
    "README.md",
    "agent.toml",
    "app.py",
    "build.sh",
    "requirements.txt",
    "wit/world.wit",
];

const JS: &[File] = files!["templates/js/":
    ".gitignore",
    "README.md",
    "agent.js",
    "agent.toml",
    "package.json",
    "wit/world.wit",
];

/// The definitions of WASI that a world refers to.
const WASI: &[File] = files!["":
    "wit/deps/wasi-cli-0.2.12/package.wit",
    "wit/deps/wasi-clocks-0.2.12/package.wit",
    "wit/deps/wasi-filesystem-0.2.12/package.wit",
    "wit/deps/wasi-http-0.2.12/package.wit",
    "wit/deps/wasi-io-0.2.12/package.wit",
    "wit/deps/wasi-random-0.2.12/package.wit",
    "wit/deps/wasi-sockets-0.2.12/package.wit",
];

impl Template {
    /// The project's files: paths in it, and texts.
    pub(super) fn files(self, name: &str) -> impl Iterator<Item = (&'static str, String)> {
        let [own, shared] = self.parts();
        let files = own.iter().chain(shared);
        files.map(move |(path, text)| (*path, text.replace(NAME, name)))
    }

    fn parts(self) -> [&'static [File]; 2] {
        match self {
            Self::Rust => [RUST, &[]],
            Self::Python => [PYTHON, WASI],
            // Its engine has the definitions itself.
            Self::Js => [JS, &[]],
        }
    }

    /// What to type next in the project's folder.
    pub(super) fn commands(self, folder: &str) -> [String; 3] {
        let (enter, build, component) = match self {
            Self::Rust => (
                "",
                "cargo build --release --target wasm32-wasip2",
                "target/wasm32-wasip2/release/agent.wasm",
            ),
            Self::Python => ("", "sh build.sh", "agent.wasm"),
            Self::Js => (" && npm install", "npm run build", "agent.wasm"),
        };
        [
            format!("cd {folder}{enter}"),
            build.to_owned(),
            format!("hv deploy {component}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");

    /// The files below a folder that are kept, by their paths in it. What a build leaves behind is not.
    fn kept(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            match path.as_str() {
                "target" | "node_modules" | ".venv" | "__pycache__" | "agent.wasm" => {}
                "Cargo.lock" | "package-lock.json" | "wit/deps" => {}
                _ if entry.file_type().unwrap().is_dir() => {
                    kept(&entry.path(), &format!("{path}/"), found);
                }
                _ => {
                    found.insert(path);
                }
            }
        }
    }

    #[test]
    fn every_file_of_a_template_is_embedded() {
        for (folder, template) in [
            ("rust", Template::Rust),
            ("python", Template::Python),
            ("js", Template::Js),
        ] {
            let mut expected = BTreeSet::new();
            kept(&Path::new(TEMPLATES).join(folder), "", &mut expected);
            let [own, _] = template.parts();
            let embedded: BTreeSet<String> =
                own.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(embedded, expected, "{folder}");
        }
    }
}
