//! `--requirements`: packages that pip resolves here, on the client, so that the host needs no network and sees no names.

use std::path::Path;
use std::process::{Command, Stdio};

use hypervisor_client::protocol::HexBytes;

use crate::Failure;
use crate::console::file;

/// Names another Python than `python3`.
const PYTHON: &str = "HV_PYTHON";
/// Lines of what pip said that are shown.
const LINES: usize = 8;

/// The wheels that a requirements file resolves to, by their files' names: all of pure Python. Where the file has hashes, each of them is
/// held against its own.
pub(super) fn resolve(requirements: &Path) -> Result<Vec<(String, HexBytes)>, Failure> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| Failure::Io { what, source }
    };
    let folder = tempfile::tempdir().map_err(io("a temporary folder"))?;
    let python = std::env::var_os(PYTHON).filter(|name| !name.is_empty());
    let python = python.unwrap_or_else(|| "python3".into());
    let ran = Command::new(&python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--only-binary=:all:",
            "--implementation",
            "py",
            "--abi",
            "none",
        ])
        .args(["--platform", "any", "--dest"])
        .arg(folder.path())
        .arg("--requirement")
        .arg(requirements)
        .stdin(Stdio::null())
        .output()
        .map_err(io(&format!(
            "cannot run {} for `pip download`; set {PYTHON}",
            python.display()
        )))?;
    if !ran.status.success() {
        return Err(Failure::Input(format!(
            "pip cannot resolve {} to wheels without native code, which are all that runs in the sandbox:\n{}",
            requirements.display(),
            last_lines(&String::from_utf8_lossy(&ran.stderr))
        )));
    }
    let mut wheels = Vec::new();
    for entry in std::fs::read_dir(folder.path()).map_err(io("the folder of wheels"))? {
        let entry = entry.map_err(io("the folder of wheels"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        wheels.push((name, HexBytes(file(&entry.path())?)));
    }
    Ok(wheels)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}
