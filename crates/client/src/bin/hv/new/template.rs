//! The files of `templates/` in the repository, embedded.

use clap::ValueEnum;

use crate::wit::World::{self, AgentCommand, AgentService, Payments, PolicyEngine, Program};
use crate::wit::{File, WASI, deps, files};
use Template::{C, Go, Js, Python, Rust};

/// Stands for the project's name in a file's text.
const NAME: &str = "{{name}}";

/// The language of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// Rust.
    Rust,
    /// Python.
    Python,
    /// JavaScript.
    Js,
    /// Go.
    Go,
    /// C.
    C,
}

/// A template of one language and world.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its folder below `templates/`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the files are embedded"))]
    folder: &'static str,
    own: &'static [File],
    wit: Wit,
    /// For the default of a world.
    world: World,
    template: Template,
}

/// Which definitions a project has below `wit`, beside its own.
#[derive(Debug, Clone, Copy)]
enum Wit {
    /// None: its toolchain has them.
    None,
    /// Those of WASI, to which the template's own world refers.
    Wasi,
    /// Those of `hypervisor:plugin` too.
    Plugin,
}

const RUST: &[File] = files!["templates/rust/":
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "agent.toml",
    "build.rs",
    "src/lib.rs",
];

const RUST_PROGRAM: &[File] = files!["templates/rust-program/":
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "agent.toml",
    "build.rs",
    "src/main.rs",
];

const RUST_POLICY: &[File] = files!["templates/rust-policy-engine/":
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "build.rs",
    "hypervisor.toml",
    "rules.txt",
    "src/lib.rs",
    "wit/world.wit",
];

const RUST_PAYMENTS: &[File] = files!["templates/rust-payments/":
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "build.rs",
    "hypervisor.toml",
    "src/lib.rs",
    "wit/world.wit",
];

const PYTHON: &[File] = files!["templates/python/":
    ".gitignore",
    "README.md",
    "agent.toml",
    "app.py",
    "build.sh",
    "requirements.txt",
    "web.py",
    "wit/world.wit",
];

const PYTHON_POLICY: &[File] = files!["templates/python-policy-engine/":
    ".gitignore",
    "README.md",
    "app.py",
    "build.sh",
    "hypervisor.toml",
    "requirements.txt",
    "rules.txt",
    "wit/world.wit",
];

const JS: &[File] = files!["templates/js/":
    ".gitignore",
    "README.md",
    "agent.js",
    "agent.toml",
    "package.json",
    "wit/world.wit",
];

const JS_POLICY: &[File] = files!["templates/js-policy-engine/":
    ".gitignore",
    "README.md",
    "hypervisor.toml",
    "package.json",
    "policy.js",
    "rules.txt",
    "wit/world.wit",
];

const JS_PAYMENTS: &[File] = files!["templates/js-payments/":
    ".gitignore",
    "README.md",
    "hypervisor.toml",
    "package.json",
    "payments.js",
    "wit/world.wit",
];

const PYTHON_PROGRAM: &[File] = files!["templates/python-program/":
    ".gitignore",
    "README.md",
    "agent.toml",
    "app.py",
    "build.sh",
    "requirements.txt",
    "wit/world.wit",
];

const JS_PROGRAM: &[File] = files!["templates/js-program/":
    ".gitignore",
    "README.md",
    "agent.toml",
    "package.json",
    "program.js",
    "wit/world.wit",
];

const GO_PROGRAM: &[File] = files!["templates/go-program/":
    ".gitignore",
    "README.md",
    "agent.toml",
    "go.mod",
    "main.go",
];

const C_PROGRAM: &[File] = files!["templates/c-program/":
    ".gitignore",
    "Makefile",
    "README.md",
    "agent.toml",
    "program.c",
];

/// A test that runs the component under a host, as it is in the project: for everything of one kind, whatever the language.
const TESTS: &[File] =
    files!["templates/tests/": "agent.sh", "payments.sh", "policy-engine.sh", "program.sh"];

/// All there are; the first of a language is its default.
const PROJECTS: &[Project] = &[
    project(Rust, AgentService, "rust", RUST, Wit::None),
    project(Rust, AgentCommand, "rust-program", RUST_PROGRAM, Wit::None),
    project(Rust, Program, "rust-program", RUST_PROGRAM, Wit::None),
    project(
        Rust,
        PolicyEngine,
        "rust-policy-engine",
        RUST_POLICY,
        Wit::Plugin,
    ),
    project(Rust, Payments, "rust-payments", RUST_PAYMENTS, Wit::Plugin),
    project(Python, AgentService, "python", PYTHON, Wit::Wasi),
    project(
        Python,
        AgentCommand,
        "python-program",
        PYTHON_PROGRAM,
        Wit::Plugin,
    ),
    project(
        Python,
        Program,
        "python-program",
        PYTHON_PROGRAM,
        Wit::Plugin,
    ),
    project(
        Python,
        PolicyEngine,
        "python-policy-engine",
        PYTHON_POLICY,
        Wit::Plugin,
    ),
    // Its engine has the definitions itself.
    project(Js, AgentService, "js", JS, Wit::None),
    project(Js, AgentCommand, "js-program", JS_PROGRAM, Wit::Plugin),
    project(Js, Program, "js-program", JS_PROGRAM, Wit::Plugin),
    project(Js, PolicyEngine, "js-policy-engine", JS_POLICY, Wit::Plugin),
    project(Js, Payments, "js-payments", JS_PAYMENTS, Wit::Plugin),
    project(Go, Program, "go-program", GO_PROGRAM, Wit::None),
    project(Go, AgentCommand, "go-program", GO_PROGRAM, Wit::None),
    project(C, Program, "c-program", C_PROGRAM, Wit::None),
    project(C, AgentCommand, "c-program", C_PROGRAM, Wit::None),
];

const fn project(
    template: Template,
    world: World,
    folder: &'static str,
    own: &'static [File],
    wit: Wit,
) -> Project {
    Project {
        folder,
        own,
        wit,
        world,
        template,
    }
}

impl Project {
    /// The template of a language and a world.
    pub(super) fn of(template: Template, world: Option<World>) -> Result<&'static Self, String> {
        let of_it = || {
            PROJECTS
                .iter()
                .filter(|project| project.template == template)
        };
        of_it()
            .find(|project| world.is_none_or(|world| project.world == world))
            .ok_or_else(|| {
                let there: Vec<&str> = of_it().map(|project| project.world.name()).collect();
                let wanted = world.map_or("", World::name);
                format!(
                    "there is no template for {wanted} in this language, but for {}; `hv wit --world {wanted} --to wit` writes what \
                     any toolchain for components builds from",
                    there.join(", ")
                )
            })
    }

    /// The project's files: paths in it, and texts.
    pub(super) fn files(&self, name: &str) -> Vec<(String, String)> {
        let is_agent = matches!(self.world, World::AgentService | World::AgentCommand);
        let own = self
            .own
            .iter()
            .filter(|(path, _)| is_agent || *path != "agent.toml");
        let own = own.map(|(path, text)| ((*path).to_owned(), text.replace(NAME, name)));
        let wit: Vec<(String, &str)> = match self.wit {
            Wit::None => Vec::new(),
            Wit::Wasi => WASI
                .iter()
                .map(|(path, text)| ((*path).to_owned(), *text))
                .collect(),
            Wit::Plugin => deps().collect(),
        };
        let wit = wit
            .into_iter()
            .map(|(path, text)| (format!("wit/{path}"), text.to_owned()));
        let test = TESTS.iter().filter(|(path, _)| *path == self.test());
        let test = test.map(|(_, text)| ("test.sh".to_owned(), text.replace(NAME, name)));
        own.chain(wit).chain(test).collect()
    }

    /// Which of the tests is the project's.
    fn test(&self) -> &'static str {
        match self.world {
            World::AgentService => "agent.sh",
            World::AgentCommand | World::Program => "program.sh",
            World::PolicyEngine => "policy-engine.sh",
            World::Payments => "payments.sh",
            World::ScriptEngine => "",
        }
    }

    /// What to type next.
    pub(super) fn commands(&self, folder: &str) -> [String; 3] {
        let last = match self.world {
            World::AgentService => "hv deploy agent.wasm",
            World::AgentCommand => "hv deploy program.wasm",
            World::Program => "hv run program.wasm",
            World::PolicyEngine | World::Payments | World::ScriptEngine => {
                "hypervisor-ctl check --config hypervisor.toml"
            }
        };
        [
            format!("cd {folder}"),
            "hv build".to_owned(),
            last.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");

    /// The files below a folder that are kept, by their paths in it. What a build leaves behind is not.
    fn kept(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            match path.as_str() {
                "target" | "node_modules" | ".venv" | "__pycache__" => {}
                "agent.wasm" | "program.wasm" | "policy.wasm" | "payment.wasm" => {}
                "Cargo.lock" | "package-lock.json" | "wit/deps" => {}
                _ if entry.file_type().unwrap().is_dir() => {
                    kept(&entry.path(), &format!("{path}/"), found);
                }
                _ => {
                    found.insert(path);
                }
            }
        }
    }

    #[test]
    fn every_file_of_a_template_is_embedded() {
        let mut folders = BTreeSet::from(["README.md", "tests"].map(str::to_owned));
        for project in PROJECTS {
            let folder = Path::new(TEMPLATES).join(project.folder);
            let mut expected = BTreeSet::new();
            kept(&folder, "", &mut expected);
            let embedded: BTreeSet<String> = project
                .own
                .iter()
                .map(|(path, _)| (*path).to_owned())
                .collect();
            assert_eq!(embedded, expected, "{}", project.folder);
            folders.insert(project.folder.to_owned());
        }
        let entries = std::fs::read_dir(TEMPLATES).unwrap();
        let there = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(there.collect::<BTreeSet<String>>(), folders);
    }
}
