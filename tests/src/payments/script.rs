//! The Node.js programs of `tests/payments`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running script; ended when dropped.
pub struct Script {
    child: Child,
}

/// Path of a script of `tests/payments`, whose packages are installed: of its bundle, unless a script has changed since that was made.
pub fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("payments");
    assert!(
        folder.join("node_modules/.installed-from").exists(),
        "the packages of {} are not installed; run scripts/setup-payments.sh",
        folder.display()
    );
    let script = folder.join(name);
    let bundled = script.with_extension("bundled.mjs");
    match is_newer(&bundled, &folder) {
        true => bundled,
        false => script,
    }
}

/// Whether this bundle was made after the last change of the scripts in a folder.
fn is_newer(bundle: &Path, folder: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    let Some(made) = changed(bundle) else {
        return false;
    };
    let scripts = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    scripts
        .filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".mjs") && !name.ends_with(".bundled.mjs")
        })
        .all(|script| changed(&script).is_some_and(|at| at <= made))
}

impl Script {
    /// Starts a script and waits for the line of JSON by which it says that it is up.
    pub fn start(name: &str, arguments: &[&str]) -> (Self, Value) {
        crate::prepare_tls();
        let mut child = Command::new("node")
            .arg(path(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("node: {e}; run scripts/setup-payments.sh"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let facts =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{name} said {line:?}: {e}"));
        (Self { child }, facts)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Closing stdin is how it is told to end, and to end what it started.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
