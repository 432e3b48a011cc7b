//! `hv wit`, and the definitions that components are written against, embedded: `wit/` of the repository.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Failure;
use crate::console::print;
use crate::new::{require_free, write_all};
use clap::{Args, ValueEnum};

/// A file: its path in a folder, and its text.
pub(crate) type File = (&'static str, &'static str);

/// Files below a folder of the repository, under the same names.
macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$((
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $folder, $name)),
        )),+]
    };
}
pub(crate) use files;

/// The package `hypervisor:plugin`.
const PLUGIN: &[File] = files!["wit/":
    "attestation.wit",
    "crypto.wit",
    "payment-more.wit",
    "payment.wit",
    "policy-rules.wit",
    "policy.wit",
    "runtime.wit",
    "script.wit",
    "world.wit",
];

/// The packages of WASI, to which it refers.
pub(crate) const WASI: &[File] = files!["wit/":
    "deps/wasi-cli-0.2.12/package.wit",
    "deps/wasi-clocks-0.2.12/package.wit",
    "deps/wasi-filesystem-0.2.12/package.wit",
    "deps/wasi-http-0.2.12/package.wit",
    "deps/wasi-io-0.2.12/package.wit",
    "deps/wasi-keyvalue-0.2.0-draft/package.wit",
    "deps/wasi-random-0.2.12/package.wit",
    "deps/wasi-sockets-0.2.12/package.wit",
];

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv wit --to wit                            the package hypervisor:plugin and what it refers to
  hv wit --world policy-engine --to wit      a package of your own with a world to build for, and the rest below it, in deps

The folder is what `--wit-path`, `--wit` and `path` of componentize-py, jco and wit-bindgen take; the world's name is `component`.")]
pub(crate) struct Wit {
    /// What the component is to be.
    #[arg(long, value_enum)]
    world: Option<World>,
    /// The folder, which must not be there or be empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

impl Wit {
    pub(crate) fn execute(&self) -> Result<ExitCode, Failure> {
        require_free(&self.to, "--to")?;
        let files = match self.world {
            Some(world) => world.package(),
            None => {
                let files = PLUGIN.iter().chain(WASI);
                files
                    .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                    .collect()
            }
        };
        write_all(&self.to, files)?;
        print(|out| writeln!(out, "wrote {}", self.to.display())).map(|()| ExitCode::SUCCESS)
    }
}

/// What a component can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum World {
    /// An agent that answers HTTP requests.
    AgentService,
    /// An agent that is run for each request.
    AgentCommand,
    /// A program that is sent, sealed, with its arguments.
    Program,
    /// The operator's plugin that decides what may be done.
    PolicyEngine,
    /// The operator's plugin that takes payments.
    Payments,
    /// The operator's plugin that runs scripts.
    ScriptEngine,
}

impl World {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AgentService => "agent-service",
            Self::AgentCommand => "agent-command",
            Self::Program => "program",
            Self::PolicyEngine => "policy-engine",
            Self::Payments => "payments",
            Self::ScriptEngine => "script-engine",
        }
    }

    /// The interfaces that a component of this world may export besides, and that the host looks for.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Payments => &[
                "payment-fields",
                "quote",
                "finality",
                "payment-identifier",
                "payment-catalogue",
                "payment-metered",
                "payment-sign-in",
            ],
            Self::ScriptEngine => &["runtime"],
            _ => &[],
        }
    }

    /// A package with a world `component` that is this one, and below it all that it refers to.
    pub(crate) fn package(self) -> Vec<(String, String)> {
        let plugin = version_of("hypervisor:plugin", PLUGIN);
        let items = match self {
            // What clients send is a command of WASI's, which may use the host's cryptography.
            Self::Program => format!(
                "include wasi:cli/command@{};\n  import hypervisor:plugin/crypto@{plugin};",
                version_of("wasi:cli", WASI)
            ),
            world => format!("include hypervisor:plugin/{}@{plugin};", world.name()),
        };
        let optional = match self.optional() {
            [] => String::new(),
            names => names.iter().fold(
                "\n  // What it may export besides: take out what yours does not have.".to_owned(),
                |text, name| format!("{text}\n  export hypervisor:plugin/{name}@{plugin};"),
            ),
        };
        let own = format!(
            "package local:component;\n\n/// What the component imports and exports.\nworld component {{\n  {items}{optional}\n}}\n"
        );
        let deps = deps().map(|(path, text)| (path, text.to_owned()));
        std::iter::once(("world.wit".to_owned(), own))
            .chain(deps)
            .collect()
    }
}

/// All that a package of one's own may refer to, below its folder.
pub(crate) fn deps() -> impl Iterator<Item = (String, &'static str)> {
    let plugin = PLUGIN
        .iter()
        .map(|(path, text)| (format!("deps/hypervisor-plugin/{path}"), *text));
    plugin.chain(WASI.iter().map(|(path, text)| ((*path).to_owned(), *text)))
}

/// As the package itself has it.
fn version_of(package: &str, files: &[File]) -> &'static str {
    let start = format!("package {package}@");
    let mut lines = files.iter().flat_map(|(_, text)| text.lines());
    lines
        .find_map(|line| line.strip_prefix(&start)?.strip_suffix(';'))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_whole_package_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let names = |below: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(folder.join(below)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.ends_with(".md")).collect()
        };
        let mut embedded: BTreeSet<String> =
            PLUGIN.iter().map(|(path, _)| (*path).to_owned()).collect();
        // Beside the package: what it refers to, and its earlier versions, which nobody writes for.
        embedded.extend(["deps", "released"].map(str::to_owned));
        assert_eq!(names(""), embedded);
        let deps = WASI.iter().map(|(path, _)| path.split('/').nth(1).unwrap());
        assert_eq!(names("deps"), deps.map(str::to_owned).collect());
    }
}
