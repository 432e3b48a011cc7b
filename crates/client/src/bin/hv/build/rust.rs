//! Rust for `wasm32-wasip2`: of rustup, or of Debian's packages, where rustup has no network.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ended;
use crate::Failure;

const TARGET: &str = "wasm32-wasip2";

const CARGO: &str = "it takes Rust 1.85 or newer: https://rustup.rs";

/// Where Debian's packages put what they bring, and what is to be linked beside it.
const RUSTC: &str = "usr/bin/rustc";
const STD: &str = "usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const LINKER: &str = "usr/bin/wasm-ld-19";
const LIBC: &str = "usr/lib/wasm32-wasi/libc.a";
const STARTUP: &str = "usr/lib/rustlib/wasm32-wasip2/lib/self-contained";

/// Builds a project, and brings the component into its folder.
pub(super) fn build(folder: &Path) -> Result<PathBuf, Failure> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let sysroot = sysroot(folder)?;
    if !has_target(&sysroot) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = linkers(&sysroot)
            .chain(std::env::split_paths(&path))
            .collect();
        let missing = missing(Path::new("/"), &folders);
        if !missing.is_empty() {
            return Err(Failure::Input(how(&missing)));
        }
        if let Ok(path) = std::env::join_paths(folders) {
            cargo.env("PATH", path);
        }
        // The standard library is there as sources, which cargo builds as part of the project.
        cargo
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="])
            .env("RUSTC", Path::new("/").join(RUSTC))
            .env("RUSTC_BOOTSTRAP", "1")
            // It belongs to the other compiler.
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
    }
    let output = cargo.output();
    let (status, messages) = match output {
        Ok(output) => (Ok(output.status), output.stdout),
        Err(error) => (Err(error), Vec::new()),
    };
    ended(status, "cargo", CARGO)?;
    let component = component(&messages).ok_or_else(|| {
        Failure::Input(
            "cargo built no component: the project's crate is no `cdylib` and has no `main.rs`"
                .to_owned(),
        )
    })?;
    let copy = folder.join(component.file_name().unwrap_or_default());
    std::fs::copy(&component, &copy).map_err(|source| Failure::Io {
        what: format!("cannot copy {} to {}", component.display(), copy.display()),
        source,
    })?;
    Ok(copy)
}

/// Of the compiler that cargo would take.
fn sysroot(folder: &Path) -> Result<PathBuf, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    let (status, text) = match output {
        Ok(output) => (Ok(output.status), output.stdout),
        Err(error) => (Err(error), Vec::new()),
    };
    ended(status, "rustc", CARGO)?;
    Ok(PathBuf::from(String::from_utf8_lossy(&text).trim()))
}

/// Whether a compiler has the standard library for the target.
fn has_target(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let is_std = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry.map(|entry| entry.file_name());
        name.is_ok_and(|name| name.to_string_lossy().starts_with("libstd-"))
    };
    std::fs::read_dir(libraries).is_ok_and(|mut entries| entries.any(is_std))
}

/// Where toolchains of rustup have the target's linkers, whatever they have of the target.
fn linkers(sysroot: &Path) -> impl Iterator<Item = PathBuf> {
    let targets = std::fs::read_dir(sysroot.join("lib/rustlib"));
    let targets = targets.into_iter().flatten().flatten();
    targets.flat_map(|target| ["bin", "bin/gcc-ld"].map(|folder| target.path().join(folder)))
}

/// What Debian's way lacks below `root`, where `path` are the folders of programs.
fn missing(root: &Path, path: &[PathBuf]) -> Vec<String> {
    let startup =
        ["crt1-command.o", "crt1-reactor.o", "libc.a"].map(|name| format!("{STARTUP}/{name}"));
    let files = [RUSTC, STD, LINKER, LIBC].into_iter();
    let files = files.chain(startup.iter().map(String::as_str));
    let files = files
        .filter(|file| !root.join(file).exists())
        .map(|file| format!("/{file}"));
    let programs = ["wasm-component-ld", "wasm-ld"].into_iter();
    let programs = programs
        .filter(|program| !path.iter().any(|folder| folder.join(program).is_file()))
        .map(str::to_owned);
    files.chain(programs).collect()
}

/// Both ways to the target.
fn how(missing: &[String]) -> String {
    format!(
        "the Rust here has no standard library for {TARGET}. Get it by

  rustup target add {TARGET}

or, where rustup has no network, on Debian, as root, by

  apt-get install --no-install-recommends rustc-web rust-web-src lld-19 wasi-libc
  cargo install wasm-component-ld --locked
  ln -s /{LINKER} /usr/local/bin/wasm-ld
  mkdir -p /{STARTUP}
  ln -s /usr/lib/wasm32-wasi/crt1-command.o /usr/lib/wasm32-wasi/crt1-reactor.o /{LIBC} /{STARTUP}

and run `hv build` again. Of the second way, missing here: {}",
        missing.join(", ")
    )
}

/// The last component that cargo says it made.
fn component(messages: &[u8]) -> Option<PathBuf> {
    let messages = String::from_utf8_lossy(messages);
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?;
        let mut files = files.iter().filter_map(|file| file.as_str());
        files
            .find(|file| file.ends_with(".wasm"))
            .map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_debians_way_lacks_is_named_with_the_commands_that_bring_it() {
        let root = tempfile::TempDir::new().unwrap();
        let bin = root.path().join("bin");
        assert_eq!(missing(root.path(), std::slice::from_ref(&bin)).len(), 9);
        for file in [RUSTC, STD, LINKER, LIBC, "bin/wasm-component-ld"] {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let lacking = missing(root.path(), &[bin]);
        assert_eq!(lacking.len(), 4, "{lacking:?}");
        let said = how(&lacking);
        for words in [
            "rustup target add wasm32-wasip2",
            "rustc-web",
            "crt1-reactor.o, ",
            ", wasm-ld",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn the_component_is_the_last_that_cargo_names() {
        let messages = br#"{"reason":"compiler-artifact","filenames":["/t/libdep.rlib"]}
{"reason":"compiler-artifact","filenames":["/t/agent.wasm","/t/libagent.rlib"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(component(messages), Some(PathBuf::from("/t/agent.wasm")));
        assert_eq!(component(b""), None);
    }
}
