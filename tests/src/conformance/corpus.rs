//! A folder with programs of the suite, laid out as Firefox's sources have it: the harness is in files `shell.js`, where
//! `// file: NAME` begins each of its parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::conformance::case::{Case, Mode};
use crate::conformance::error::Error;
use crate::conformance::program::Program;

/// The parts of the suite that describe the language; the others are of internationalisation, or not settled yet.
const PARTS: [&str; 3] = ["annexB", "built-ins", "language"];

/// What every program has of the harness.
const ALWAYS: [&str; 2] = ["assert.js", "sta.js"];

/// A suite.
pub struct Corpus {
    folder: PathBuf,
    cases: Vec<Case>,
    harness: BTreeMap<String, String>,
}

impl Corpus {
    /// Reads all programs below a folder, in the order of their names.
    ///
    /// # Errors
    /// [`Error::File`] where something cannot be read, [`Error::Content`] where there are none.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let mut corpus = Self {
            folder: folder.to_owned(),
            cases: Vec::new(),
            harness: BTreeMap::new(),
        };
        corpus.add_harness(&folder.join("shell.js"))?;
        for part in PARTS {
            corpus.add_folder(part)?;
        }
        if corpus.cases.is_empty() {
            let words = format!("there are no programs in {}", folder.display());
            return Err(Error::Content(words));
        }
        Ok(corpus)
    }

    fn add_folder(&mut self, name: &str) -> Result<(), Error> {
        let folder = self.folder.join(name);
        if !folder.exists() {
            return Ok(());
        }
        let mut entries = fs::read_dir(&folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(Error::file(&folder))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let path = format!("{name}/{file}");
            if entry.path().is_dir() {
                self.add_folder(&path)?;
            } else if file == "shell.js" {
                self.add_harness(&entry.path())?;
            } else if file.ends_with(".js") && !file.contains("_FIXTURE") {
                let bytes = fs::read(entry.path()).map_err(Error::file(&entry.path()))?;
                // What is not UTF-8 cannot be sent as a script.
                let case = String::from_utf8(bytes)
                    .ok()
                    .and_then(|it| Case::read(&path, &it));
                self.cases.extend(case);
            }
        }
        Ok(())
    }

    fn add_harness(&mut self, path: &Path) -> Result<(), Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        for part in text.split("// file: ").skip(1) {
            if let Some((name, source)) = part.split_once('\n') {
                // Through `eval`, these would be known there alone.
                let source = format!("\n{source}")
                    .replace("\nconst ", "\nvar ")
                    .replace("\nlet ", "\nvar ");
                self.harness.entry(name.trim().to_owned()).or_insert(source);
            }
        }
        Ok(())
    }

    /// The programs that apply and whose names begin so, in every way that they are to be run.
    ///
    /// # Errors
    /// [`Error::Content`] where the harness lacks a part.
    pub fn programs(&self, prefix: &str) -> Result<Vec<Program>, Error> {
        let mut programs = Vec::new();
        let cases = self.cases.iter().filter(|it| it.path.starts_with(prefix));
        for case in cases.filter(|it| it.skipped().is_none()) {
            for &mode in case.modes() {
                programs.push(self.program(case, mode)?);
            }
        }
        Ok(programs)
    }

    /// How many files do not apply, by the reason.
    pub fn skipped(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for reason in self.cases.iter().filter_map(Case::skipped) {
            let count: &mut usize = counts.entry(reason).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    fn program(&self, case: &Case, mode: Mode) -> Result<Program, Error> {
        let mut harness = String::new();
        let includes = case.includes.iter().map(String::as_str);
        for name in ALWAYS.into_iter().chain(includes) {
            // The driver says itself what came of asynchronous programs.
            if name == "doneprintHandle.js" {
                continue;
            }
            let part = self.harness.get(name).ok_or_else(|| {
                Error::Content(format!("{}: the harness has no '{name}'", case.path))
            })?;
            harness.push_str(part);
        }
        Program::of(case, mode, &harness, &self.imported(case))
    }

    /// What a program imports, and these in turn, by paths from the program's folder on.
    fn imported(&self, case: &Case) -> BTreeMap<String, String> {
        let folder = self.folder.join(&case.path);
        let folder = folder.parent().unwrap_or(&self.folder);
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), case.source.clone())];
        while let Some((from, source)) = open.pop() {
            for name in named(&source) {
                let path = match from.rsplit_once('/') {
                    Some((base, _)) => format!("{base}/{name}"),
                    None => name.to_owned(),
                };
                if found.contains_key(&path) {
                    continue;
                }
                // A name in a string may be no file, and a file may be no text.
                if let Ok(source) = fs::read_to_string(folder.join(&path)) {
                    open.push((path.clone(), source.clone()));
                    found.insert(path, source);
                }
            }
        }
        found
    }
}

/// What stands in quotes and may be a path of a module below.
fn named(source: &str) -> impl Iterator<Item = &str> {
    let words = source.split(['"', '\'', '`']).skip(1);
    words.filter_map(|word| {
        let is_module = word.ends_with(".js") || word.ends_with(".json");
        let name = word.strip_prefix("./").filter(|it| !it.contains(".."));
        name.filter(|_| is_module)
    })
}
