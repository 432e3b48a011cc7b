//! What an environment is made of, from files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use hypervisor_client::environments::Bundle;
use hypervisor_client::protocol::HexBytes;

use crate::Failure;
use crate::console::file;

/// Modules of a folder at most: more is a mistake, a folder of packages for one.
const MAX_MODULES: usize = 4096;
/// Folders in one another at most.
const MAX_DEPTH: usize = 16;
/// What is looked for in a folder.
const MAINS: [&str; 6] = [
    "main.ts", "main.js", "main.mjs", "main.py", "index.ts", "index.js",
];

/// A language of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// JavaScript and TypeScript.
    #[value(alias = "javascript", alias = "ts", alias = "typescript")]
    Js,
    /// Python.
    #[value(alias = "py")]
    Python,
}

impl Language {
    /// As the host names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Js => "javascript",
            Self::Python => "python",
        }
    }

    /// By the end of a file's name.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "js" | "mjs" | "ts" | "mts" => Some(Self::Js),
            "py" => Some(Self::Python),
            _ => None,
        }
    }
}

/// Whether a file is JSON, which modules in JavaScript import.
fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "json")
}

/// The files of a bundle.
pub(super) struct Files<'a> {
    pub(super) path: &'a Path,
    pub(super) main: Option<&'a str>,
    pub(super) modules: &'a [PathBuf],
    pub(super) packages: &'a [PathBuf],
    pub(super) setup: Option<&'a Path>,
}

impl Files<'_> {
    pub(super) fn read(&self) -> Result<Bundle, Failure> {
        let mut modules = BTreeMap::new();
        let main = if self.path.is_dir() {
            below(self.path, "", &mut modules, 0)?;
            let is_there = |name: &&str| modules.contains_key(*name);
            let found = self.main.or_else(|| MAINS.into_iter().find(is_there));
            found.map(str::to_owned).ok_or_else(|| {
                Failure::Usage(format!(
                    "{} has no main.ts, main.js or main.py; name the module with the handler by --main",
                    self.path.display()
                ))
            })?
        } else {
            let name = name_of(self.path)?;
            modules.insert(name.clone(), HexBytes(file(self.path)?));
            name
        };
        let mut given = Vec::new();
        for path in self.modules {
            let name = name_of(path)?;
            modules.insert(name.clone(), HexBytes(file(path)?));
            given.push(name);
        }
        if !modules.contains_key(&main) {
            return Err(Failure::Usage(format!("there is no module `{main}`")));
        }
        let language = Language::of(main.as_ref()).ok_or_else(|| {
            Failure::Usage(format!(
                "`{main}` is neither JavaScript, TypeScript nor Python by the end of its name"
            ))
        })?;
        let is_of_it = |name: &str| Language::of(name.as_ref()) == Some(language);
        let named = json_named(&modules, is_of_it);
        // What a folder has of the other language is not sent, nor JSON that nothing names: it may be anything.
        modules.retain(|name, _| {
            let is_wanted = given.contains(name) || named.contains(name);
            is_of_it(name) || (language == Language::Js && is_json(name) && is_wanted)
        });
        let mut packages = BTreeMap::new();
        for path in self.packages {
            packages.insert(name_of(path)?, HexBytes(file(path)?));
        }
        let setup = self.setup.map(|path| {
            String::from_utf8(file(path)?)
                .map_err(|_| Failure::Input(format!("{} is not UTF-8", path.display())))
        });
        Ok(Bundle {
            language: language.name().to_owned(),
            main,
            modules,
            packages,
            setup: setup.transpose()?,
        })
    }
}

/// The JSON files whose name stands in one of the modules of the language.
fn json_named(
    modules: &BTreeMap<String, HexBytes>,
    is_module: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let texts: Vec<_> = modules
        .iter()
        .filter(|(name, _)| is_module(name))
        .map(|(_, content)| String::from_utf8_lossy(&content.0))
        .collect();
    let is_named = |path: &&String| {
        let name = path.rsplit('/').next().unwrap_or(path);
        is_json(path) && texts.iter().any(|text| text.contains(name))
    };
    modules.keys().filter(is_named).cloned().collect()
}

/// The modules below a folder; what is hidden, and what other tools put there, is left out.
fn below(
    folder: &Path,
    prefix: &str,
    modules: &mut BTreeMap<String, HexBytes>,
    depth: usize,
) -> Result<(), Failure> {
    let unread = |source| Failure::Io {
        what: format!("cannot read {}", folder.display()),
        source,
    };
    if depth > MAX_DEPTH {
        return Err(Failure::Input(format!(
            "{} is more than {MAX_DEPTH} folders deep",
            folder.display()
        )));
    }
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(unread)?;
        let is_left_out =
            name.starts_with('.') || matches!(name.as_str(), "node_modules" | "__pycache__");
        if is_left_out {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            let deeper = depth.saturating_add(1);
            below(&entry.path(), &format!("{path}/"), modules, deeper)?;
        } else if Language::of(name.as_ref()).is_some() || is_json(&name) {
            modules.insert(path, HexBytes(file(&entry.path())?));
        }
        if modules.len() > MAX_MODULES {
            return Err(Failure::Input(format!(
                "{} has more than {MAX_MODULES} modules",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Failure::Usage(format!("{} has no name that is UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &Path) -> Files<'_> {
        Files {
            path,
            main: None,
            modules: &[],
            packages: &[],
            setup: None,
        }
    }

    #[test]
    fn a_folder_is_its_modules_of_the_mains_language() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "import table from './table.json'").unwrap();
        };
        for name in [
            "main.ts",
            "lib/dates.ts",
            "lib/table.json",
            "secrets.json",
            "tool.py",
            "README.md",
            ".git/x.ts",
            "node_modules/left/index.js",
        ] {
            write(name);
        }
        let bundle = files(folder.path()).read().unwrap();
        assert_eq!(bundle.language, "javascript");
        assert_eq!(bundle.main, "main.ts");
        let names: Vec<_> = bundle.modules.keys().map(String::as_str).collect();
        assert_eq!(names, ["lib/dates.ts", "lib/table.json", "main.ts"]);
        let given = [folder.path().join("secrets.json")];
        let files = Files {
            modules: &given,
            ..files(folder.path())
        };
        assert!(files.read().unwrap().modules.contains_key("secrets.json"));
    }

    #[test]
    fn a_folder_without_a_main_and_a_file_of_no_language_are_mistakes_of_usage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "").unwrap();
        for path in [folder.path(), &path] {
            let error = files(path).read().unwrap_err();
            assert!(matches!(error, Failure::Usage(_)), "{error}");
        }
    }
}
