//! The JavaScript that runs one program of the suite: the driver, which is the same everywhere, and the program as data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::conformance::case::{Case, Mode};
use crate::conformance::error::Error;

const DRIVER: &str = include_str!("driver.js");

/// The main module of a bundle.
pub(super) const MAIN: &str = "main.js";

/// What is run.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// Its name in lists.
    pub name: String,
    /// Modules by their paths: one, `MAIN`, is a script by itself; more are a bundle, whose main module has a handler.
    pub files: BTreeMap<String, String>,
}

/// The program as the driver takes it.
#[derive(Serialize)]
struct Told<'a> {
    harness: &'a str,
    source: &'a str,
    module: Option<String>,
    negative: Option<&'a str>,
    r#async: bool,
    raw: bool,
}

impl Program {
    pub(super) fn of(
        case: &Case,
        mode: Mode,
        harness: &str,
        imported: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let file = case.path.rsplit_once('/').map_or(&*case.path, |(_, it)| it);
        let is_module = mode == Mode::Module;
        let is_bundle = is_module || !imported.is_empty();
        let source = match mode {
            Mode::Strict => format!("\"use strict\";\n{}", case.source),
            _ => case.source.clone(),
        };
        let told = Told {
            harness,
            source: if is_module { "" } else { &source },
            module: is_module.then(|| format!("./{file}")),
            negative: case.negative.as_deref(),
            r#async: case.has_flag("async"),
            raw: case.has_flag("raw"),
        };
        let told = serde_json::to_string(&told)?;
        let mut files = BTreeMap::new();
        if is_bundle {
            files.clone_from(imported);
            // A script that imports its own file finds it as it is.
            files.insert(file.to_owned(), case.source.clone());
        }
        let begin = match is_bundle {
            true => format!(
                "export const handler = () => new Promise((end) => run({told}, () => end(null)));"
            ),
            false => format!("run({told}, () => {{}});"),
        };
        files.insert(MAIN.to_owned(), format!("{DRIVER}\n{begin}\n"));
        Ok(Self {
            name: case.name(mode),
            files,
        })
    }

    /// The one module of a script; none of a bundle.
    pub fn script(&self) -> Option<&str> {
        let is_script = self.files.len() == 1;
        self.files
            .get(MAIN)
            .filter(|_| is_script)
            .map(String::as_str)
    }
}
