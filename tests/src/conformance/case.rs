//! One file of the suite.

use std::collections::BTreeSet;

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As a script, as it is.
    Sloppy,
    /// As a script, in strict mode.
    Strict,
    /// As a module.
    Module,
}

/// What a file is.
#[derive(Debug)]
pub struct Case {
    /// Its path in the suite.
    pub path: String,
    /// Without what the suite's keeper wrote around it.
    pub source: String,
    /// What it needs of the harness, beside what all have.
    pub includes: Vec<String>,
    /// The constructor of the error that it has to end with.
    pub negative: Option<String>,
    flags: BTreeSet<String>,
    features: BTreeSet<String>,
}

/// What the engine does not claim to have: its own list, `test262.conf` of its sources.
const UNCLAIMED: [&str; 14] = [
    "Atomics.waitAsync",
    "Intl-enumeration",
    "ShadowRealm",
    "Temporal",
    "await-dictionary",
    "canonical-tz",
    "decorators",
    "import-assertions",
    "import-defer",
    "intl-normative-optional",
    "legacy-regexp",
    "source-phase-imports",
    "source-phase-imports-module-source",
    "tail-call-optimization",
];

/// What only the shell of an engine has: a second realm, a collector on demand, an object of browsers, threads.
const SHELL_FEATURES: [&str; 3] = ["IsHTMLDDA", "cross-realm", "host-gc-required"];
const SHELL_WORDS: [&str; 4] = [
    "$262.IsHTMLDDA",
    "$262.agent",
    "$262.createRealm",
    "$262.gc",
];

impl Case {
    /// Reads a file; none where it has no description, and so is no program.
    pub fn read(path: &str, text: &str) -> Option<Self> {
        let source = unwrapped(text);
        let (_, rest) = source.split_once("/*---")?;
        let (description, _) = rest.split_once("---*/")?;
        let set = |key| list(description, key).into_iter().collect();
        let mut negative = block(description, "negative").into_iter().flatten();
        let kind = negative.find(|line| line.trim_start().starts_with("type:"));
        let kind = kind.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        Some(Self {
            path: path.to_owned(),
            includes: list(description, "includes"),
            negative: kind,
            flags: set("flags"),
            features: set("features"),
            source: source.clone(),
        })
    }

    /// Whether it says this of itself.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    /// The ways it is to be run.
    pub fn modes(&self) -> &'static [Mode] {
        let is = |flag| self.has_flag(flag);
        match () {
            () if is("module") => &[Mode::Module],
            () if is("raw") || is("noStrict") => &[Mode::Sloppy],
            () if is("onlyStrict") => &[Mode::Strict],
            () => &[Mode::Sloppy, Mode::Strict],
        }
    }

    /// Its name in lists.
    pub fn name(&self, mode: Mode) -> String {
        match mode {
            Mode::Strict if !self.has_flag("onlyStrict") => format!("{} (strict)", self.path),
            _ => self.path.clone(),
        }
    }

    /// Why it does not apply, if it does not.
    pub fn skipped(&self) -> Option<&'static str> {
        let has = |features: &[&str]| features.iter().any(|it| self.features.contains(*it));
        let mut needs = self.includes.iter();
        if has(&UNCLAIMED) || self.features.iter().any(|it| it.starts_with("Intl.")) {
            Some("the engine does not claim to have it")
        } else if has(&SHELL_FEATURES)
            || SHELL_WORDS.iter().any(|it| self.source.contains(it))
            || needs.any(|it| it == "atomicsHelper.js" || it == "async-gc.js")
            || self.has_flag("CanBlockIsFalse")
        {
            Some("it needs an engine's own shell: realms, threads, a collector on demand")
        } else {
            None
        }
    }
}

/// Without the lines that Firefox's copy of the suite has around each program.
fn unwrapped(text: &str) -> String {
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("// |reftest|") => rest,
        _ => text,
    };
    let end = text.trim_end();
    let text = end.strip_suffix("reportCompare(0, 0);").unwrap_or(text);
    text.to_owned()
}

/// The lines of a key of the description.
fn block<'a>(description: &'a str, key: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut lines = description.lines();
    let first = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t', '-']) || line.is_empty());
    Some(std::iter::once(first).chain(more))
}

/// A list of the description, in either of YAML's forms.
fn list(description: &str, key: &str) -> Vec<String> {
    let lines = block(description, key).into_iter().flatten();
    let items = lines.flat_map(|line| {
        let line = line.trim();
        line.strip_prefix("- ")
            .unwrap_or(line)
            .split(['[', ']', ','])
    });
    let items = items.map(|it| it.trim().trim_matches('"'));
    items
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read_in_both_forms_of_lists() {
        let text = "// |reftest| async\n// Who\n/*---\ninfo: |\n  features: [no]\nflags: [async, generated]\nincludes:\n  - a.js\n  - b-c.js\n\
                    features: [x,\n  y-z]\nnegative:\n  phase: parse\n  type: SyntaxError\n---*/\ncode();\n\nreportCompare(0, 0);\n";
        let case = Case::read("a/b.js", text).unwrap();
        assert!(case.has_flag("async") && case.has_flag("generated"));
        assert_eq!(case.includes, ["a.js", "b-c.js"]);
        let features: Vec<_> = case.features.iter().map(String::as_str).collect();
        assert_eq!(features, ["x", "y-z"]);
        assert_eq!(case.negative.as_deref(), Some("SyntaxError"));
        assert!(case.source.ends_with("code();\n\n") && case.source.starts_with("// Who"));
        assert_eq!(case.modes(), [Mode::Sloppy, Mode::Strict]);
        assert_eq!(case.name(Mode::Strict), "a/b.js (strict)");
    }

    #[test]
    fn what_does_not_apply_says_why() {
        let read = |body: &str| Case::read("a.js", &format!("/*---\n{body}\n---*/\n")).unwrap();
        assert!(read("features: [Temporal]").skipped().is_some());
        assert!(read("features: [Intl.Locale]").skipped().is_some());
        assert!(read("features: [cross-realm]").skipped().is_some());
        assert_eq!(read("features: [BigInt]").skipped(), None);
        assert!(Case::read("a.js", "no description").is_none());
    }
}
