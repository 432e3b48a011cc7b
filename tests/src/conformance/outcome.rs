//! What came of programs, and comparing what came of them in one place with another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::conformance::error::Error;

/// What came of programs, by their names: `pass`, or words that say why not.
pub type Outcomes = BTreeMap<String, String>;

/// Whether a program did what it has to.
pub fn is_pass(outcome: &str) -> bool {
    outcome == "pass"
}

/// The first line of what was written, if anything was.
pub(super) fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.chars().take(300).collect())
}

/// Outcomes as a file keeps them: a line each, below one that says of which engine they are.
pub fn recorded(engine: &str, outcomes: &Outcomes) -> String {
    let line = |(name, outcome): (&String, &String)| match is_pass(outcome) {
        true => format!("pass {name}\n"),
        false => format!("fail {name}\n"),
    };
    let lines: String = outcomes.iter().map(line).collect();
    format!("# {engine}\n{lines}")
}

/// The line by which a manifest takes the engine: its version and its features.
///
/// # Errors
/// [`Error::File`], and [`Error::Content`] where there is no such line.
pub fn engine_of(manifest: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(manifest).map_err(Error::file(manifest))?;
    let line = text.lines().find(|line| line.starts_with("rquickjs = "));
    line.map(str::to_owned)
        .ok_or_else(|| Error::Content(format!("{}: no rquickjs", manifest.display())))
}

/// Reads such a file: whether each passed. Lines that begin with `#` say where it is from.
///
/// # Errors
/// [`Error::File`] and [`Error::Content`].
pub fn read_recorded(path: &Path) -> Result<BTreeMap<String, bool>, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = lines.map(|line| match line.split_once(' ') {
        Some(("pass", name)) => Ok((name.to_owned(), true)),
        Some(("fail", name)) => Ok((name.to_owned(), false)),
        _ => Err(Error::Content(format!("{}: '{line}'", path.display()))),
    });
    read.collect()
}

/// Programs that pass in the bare engine and may fail in the component, with the reasons: a list that is kept by hand.
pub struct Differences(Vec<(String, String)>);

impl Differences {
    /// Reads the list: paragraphs of lines `# reason`, and below them beginnings of names.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Content`] where a name has no reason.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let mut list = Vec::new();
        for paragraph in text.split("\n\n") {
            let (words, names): (Vec<_>, Vec<_>) =
                paragraph.lines().partition(|line| line.starts_with('#'));
            let words: Vec<_> = words.iter().map(|it| it.trim_matches(['#', ' '])).collect();
            let reason = words.join(" ");
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                if reason.is_empty() {
                    let words = format!("{}: '{name}' has no reason", path.display());
                    return Err(Error::Content(words));
                }
                list.push((name.to_owned(), reason.clone()));
            }
        }
        Ok(Self(list))
    }

    /// Why a program may fail, if it may.
    pub fn reason(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(prefix, _)| name.starts_with(prefix));
        found.next().map(|(_, reason)| reason.as_str())
    }

    /// Entries that no name begins with.
    pub fn unused<'a>(&'a self, names: &[&str]) -> Vec<&'a str> {
        let is_unused = |prefix: &&str| !names.iter().any(|name| name.starts_with(*prefix));
        self.0
            .iter()
            .map(|(it, _)| it.as_str())
            .filter(is_unused)
            .collect()
    }
}
