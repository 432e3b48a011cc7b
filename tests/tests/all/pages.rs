//! Every command of the documentation is run as it stands, or says here why not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{
    a2a_front, component_file, guest, guest_file, javascript_plugin, mcp_front, python_plugin,
};
use tempfile::TempDir;

use crate::attestation::{policy_text, simulator};

/// What a command begins with to be one of this project's, or to speak to its host.
const PROGRAMS: [&str; 6] = [
    "hv",
    "hypervisor",
    "hypervisor-ctl",
    "hypervisor-load",
    "make",
    "curl",
];

/// What is done with a command that is not run as it stands.
enum Instead {
    /// Its options are read, and no more; and why.
    Read(&'static str),
    /// It is left out; and why.
    Left(&'static str),
    /// It is run, and ends with this status.
    Ends(i32),
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(why) | Self::Left(why) => f.write_str(why),
            Self::Ends(status) => write!(f, "exit status {status}"),
        }
    }
}

use Instead::{Ends, Left, Read};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The commands in a page's blocks of code, in their order: without prompt, comment, or what is shown beside them.
fn commands(page: &str) -> Vec<String> {
    let (mut found, mut fenced, mut begun) = (Vec::new(), false, None::<String>);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let code = match line.strip_prefix("    ") {
            Some(code) => code,
            None if fenced => line,
            None => {
                begun = None;
                continue;
            }
        };
        if let Some(command) = &mut begun {
            command.push('\n');
            command.push_str(code);
        } else {
            let code = code.strip_prefix("$ ").unwrap_or(code);
            let code = code.split("   ").next().unwrap_or(code);
            let code = code.split("  #").next().unwrap_or(code).trim_end();
            if is_ours(code) {
                begun = Some(code.to_owned());
            }
        }
        // A quote that is open, or a line that says so, goes on in the next.
        let goes_on = begun.as_ref().is_some_and(|command| {
            command.ends_with('\\') || command.matches('\'').count() % 2 == 1
        });
        if !goes_on {
            found.extend(begun.take());
        }
    }
    found
}

fn simulated_root() -> String {
    const_hex::encode(simulator("one").fingerprint())
}

fn is_ours(line: &str) -> bool {
    line.split(['|', '&']).any(|part| {
        let is_assignment = |word: &&str| word.contains('=');
        let word = part.split_whitespace().find(|word| !is_assignment(word));
        let name = word.and_then(|word| word.rsplit('/').next());
        PROGRAMS.contains(&name.unwrap_or_default()) && !line.starts_with("claude ")
    })
}

const ALLOWS: &str = "def authorize(action):\n    return True\n";

/// A folder with the files that pages speak of, and a host.
struct Desk {
    folder: TempDir,
    host: Host,
}

impl Desk {
    fn new() -> Self {
        let (python, javascript) = (python_plugin(), javascript_plugin());
        let front = |name: &str, paths: &str, plugin: &str| {
            format!("[[protocols]]\nname = '{name}'\npaths = ['{paths}']\n{plugin}")
        };
        let folder = TempDir::new().unwrap();
        let rules = folder.path().join("rules.py");
        fs::write(&rules, ALLOWS).unwrap();
        let host = Host::with(&format!(
            "[limits]\ncpu = '5s'\n[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n\
             [audit]\ntrail = true\n\
             [environments]\nsetup = true\noutgoing = ['https://api.example.com']\n\
             [policy]\nrules = {rules:?}\n{python}\n[runtime.python]\n{python}\n[runtime.javascript]\n{javascript}\n{}{}",
            front("mcp", "/mcp", &mcp_front()),
            front("a2a", "/a2a/", &a2a_front()),
        ));
        let desk = Self { folder, host };
        desk.furnish();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn furnish(&self) {
        let believed = format!("simulated = \"{}\"", simulated_root());
        let policy = policy_text(&believed, &simulator("one"));
        let texts = [
            ("policy.toml", policy.as_str()),
            (
                "script.py",
                "import sys\nprint(len(sys.stdin.read()), sys.argv[1:])\n",
            ),
            ("script.js", "console.log('from a script');\n"),
            (
                "report.ts",
                "const total: number = 6 * 7;\nconsole.log(total);\n",
            ),
            ("data.csv", "1,2\n"),
            ("data.json", "{\"items\": [1, 2, 3]}\n"),
            (
                "main.ts",
                "export function handler(event: { data: number }) {\n  return { square: event.data ** 2 };\n}\n",
            ),
            ("rates.ts", "export function handler() {\n  return {};\n}\n"),
            ("package.json", "{\"dependencies\": {}}\n"),
            ("next.py", ALLOWS),
            (
                "my-jq.toml",
                "name = \"my-jq\"\nversion = \"1.0.0\"\ndescription = \"jq\"\n",
            ),
            (
                "agent.toml",
                "name = \"weather\"\nversion = \"1.0.0\"\ndescription = \"Weather, by city\"\n",
            ),
        ];
        for (name, text) in texts {
            fs::write(self.path(name), text).unwrap();
        }
        for (name, program) in [
            ("hello.wasm", guest("hello")),
            ("program.wasm", guest("hello")),
            ("agent.wasm", guest("http-hello")),
            ("a2a.wasm", fs::read(component_file("a2a")).unwrap()),
            (
                "policy.wasm",
                fs::read(component_file("policy-python")).unwrap(),
            ),
            ("component.wasm", guest("hello")),
        ] {
            fs::write(self.path(name), program).unwrap();
        }
        let configuration = self.host.state().with_file_name("hypervisor.toml");
        fs::copy(configuration, self.path("hypervisor.toml")).unwrap();
        fs::create_dir(self.path("target")).unwrap();
        let guests = guest_file("hello");
        symlink(guests.parent().unwrap(), self.path("target/guests")).unwrap();
        symlink(root().join("guests"), self.path("guests")).unwrap();
    }

    fn shell(&self, command: &str) -> Output {
        let binaries = binary("hv").parent().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap();
        let command = command
            .replace("target/release/", "")
            .replace("https://host.example", self.host.url())
            .replace("http://127.0.0.1:8080", self.host.url())
            .replace(
                "--simulated-root HEX",
                &format!("--simulated-root {}", simulated_root()),
            );
        // Of what does not end by itself no test should hang.
        Command::new("timeout")
            .args(["60", "bash", "-euo", "pipefail", "-c", &command])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", binaries.display()))
            .env("HYPERVISOR_SERVER", self.host.url())
            .env("HYPERVISOR_CONFIG", self.path("hypervisor.toml"))
            .env("HYPERVISOR_ADMIN", self.host.admin())
            .env("HYPERVISOR_ADMIN_TOKEN_FILE", self.host.admin_token())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("NONCE", "00112233445566778899aabbccddeeff")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// What make would do.
fn make(targets: &str) -> Output {
    let mut make = Command::new("make");
    make.arg("-n").args(targets.split_whitespace());
    make.current_dir(root()).output().unwrap()
}

/// The same command asked for its help, which it gives where all its options are known.
fn read(command: &str) -> String {
    let (command, rest) = match command.split_once(" > ") {
        Some((command, _)) => (command, ""),
        None => (command, ""),
    };
    match command.split_once(" -- ") {
        Some((options, _)) => format!("{options} --help{rest}"),
        None => format!("{command} --help{rest}"),
    }
}

/// Runs the commands of a page, one after the other, and says which did not do what was expected.
fn run(page: &str, instead: &[(&str, Instead)]) {
    run_after(&[], page, instead);
}

/// The same after these, which the page takes for done.
fn run_after(before: &[&str], page: &str, instead: &[(&str, Instead)]) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let commands = commands(&text);
    assert!(!commands.is_empty(), "{page} has no commands");
    // Pages of targets alone need none.
    let desk = LazyCell::new(Desk::new);
    let (mut failed, mut used) = (String::new(), BTreeSet::new());
    for command in before {
        let output = desk.shell(command);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    for command in &commands {
        let known = instead
            .iter()
            .position(|(begins, _)| command.starts_with(begins));
        used.extend(known);
        let (line, expected) = match known.map(|at| &instead[at].1) {
            Some(Left(_)) => continue,
            Some(Read(_)) => (read(command), 0),
            Some(Ends(status)) => (command.clone(), *status),
            None => (command.clone(), 0),
        };
        let output = match line.strip_prefix("make ") {
            // CI runs the targets; that there is one of the name is what can be wrong here.
            Some(targets) => make(targets),
            None => desk.shell(&line),
        };
        if output.status.code() != Some(expected) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            let _ = write!(failed, "\n$ {line}\n{}\n{out}{err}", output.status);
        }
    }
    let unused: Vec<String> = (instead.iter().enumerate())
        .filter(|(at, _)| !used.contains(at))
        .map(|(_, (begins, instead))| format!("{begins} ({instead})"))
        .collect();
    assert!(unused.is_empty(), "{page} has no longer: {unused:?}");
    assert!(failed.is_empty(), "{page}:{failed}");
}

/// Projects from templates are built and run by [`crate::templates`].
const BUILT: Instead = Read("templates are built by tests of their own");
const PROXIED: Instead = Read("it serves until it is stopped: crate::proxy");
const REGISTRY: Instead = Left("a registry of the reader's: crate::registries");
const FOLLOWS: Instead = Read("it goes on until it is stopped: crate::admin, crate::telemetry");
const COMPILED: Instead = Read("the engine in it is compiled for a minute: crate::agents::swap");
const PAID: Instead = Read("there is a chain in crate::payments");

#[test]
fn commands_of_the_readme() {
    run(
        "README.md",
        &[
            ("target/release/hypervisor", Left("every test starts one")),
            ("hv run target/guests/spin.wasm", Ends(1)),
            ("hv build", BUILT),
            ("hv run target/guests/hello.wasm --pay", PAID),
            ("hv proxy", PROXIED),
            (
                "curl http://127.0.0.1:8090",
                Left("by the proxy: crate::proxy"),
            ),
        ],
    );
}

#[test]
fn commands_of_the_page_on_programs() {
    run(
        "docs/PROGRAMS.md",
        &[
            (
                "cd hello && hv build",
                Left("templates are built by tests of their own"),
            ),
            ("hv push", REGISTRY),
            ("hv run oci:", REGISTRY),
            ("hv deploy oci:", REGISTRY),
        ],
    );
}

#[test]
fn commands_of_the_page_on_agents() {
    let deployed = ["hv deploy target/guests/jq.wasm --manifest my-jq.toml"];
    run_after(
        &deployed,
        "docs/AGENTS.md",
        &[
            ("hv proxy", PROXIED),
            (
                "curl http://127.0.0.1:8090",
                Left("by the proxy: crate::proxy"),
            ),
            (
                "cd weather && hv build",
                Left("templates are built by tests of their own"),
            ),
        ],
    );
}

#[test]
fn commands_of_the_page_on_environments() {
    run(
        "docs/ENVIRONMENTS.md",
        &[
            (
                "hv env create main.ts --package-json",
                Read("npm's registry: crate::environments"),
            ),
            (
                "hv repl --environment squares",
                Read("the page has removed it by then"),
            ),
        ],
    );
}

#[test]
fn commands_of_the_pages_on_python_and_javascript() {
    run("docs/PYTHON.md", &[]);
    run("docs/JAVASCRIPT.md", &[]);
}

#[test]
fn commands_of_the_pages_on_fronts() {
    run("docs/A2A.md", &[]);
    run("docs/MCP.md", &[]);
    run("docs/FRONTS.md", &[]);
    run("docs/HV-MCP.md", &[]);
    run(
        "docs/PROXY.md",
        &[
            ("hv proxy", PROXIED),
            (
                "curl http://127.0.0.1:8090",
                Left("by the proxy: crate::proxy"),
            ),
        ],
    );
}

#[test]
fn commands_of_the_pages_on_evidence() {
    run_after(
        &["hv deploy agent.wasm"],
        "docs/ATTESTATION.md",
        &[
            (
                "hv policy init --measure measure.json --evidence evidence.cbor --to policy.toml",
                Read("a simulated host asks for --simulated-root, as the page says at its end"),
            ),
            (
                "curl --insecure --pinnedpubkey",
                Left("a host with a certificate: crate::tls"),
            ),
        ],
    );
    run("docs/AUDIT.md", &[]);
    // The policy of a simulated host names its root, which these have no way to say: they are read, and run in crate::transparency.
    let simulated = || Read("a simulated host asks for --simulated-root: crate::transparency");
    run_after(
        &["rm policy.toml"],
        "docs/TRANSPARENCY.md",
        &[
            (
                "hv policy init --log log --log-key log.key.pub --to policy.toml",
                simulated(),
            ),
            (
                "hv policy init --log log --log-key log.key.pub --measure",
                simulated(),
            ),
            ("hv policy init --proof", simulated()),
            ("hv policy init --log log --since", simulated()),
            ("hv run hello.wasm", simulated()),
        ],
    );
    run(
        "docs/IMAGE.md",
        &[(
            "hypervisor-ctl measure image",
            Read("scripts/image-test.sh makes an image and measures it"),
        )],
    );
}

#[test]
fn commands_of_the_pages_for_operators() {
    run(
        "docs/OPERATIONS.md",
        &[
            ("hypervisor --config", Left("every test starts one")),
            ("hypervisor-ctl logs --follow", FOLLOWS),
            (
                "hypervisor-ctl fleet",
                Read("the page's host is alone: crate::fleet::routing"),
            ),
            ("hypervisor-ctl telemetry", FOLLOWS),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", FOLLOWS),
            (
                "hypervisor-ctl drain",
                Read("it ends the host: crate::admin"),
            ),
            ("hypervisor-ctl swap policy policy.wasm", COMPILED),
            ("hypervisor-ctl pull", REGISTRY),
            ("hypervisor-ctl payments try", PAID),
        ],
    );
    run(
        "docs/FLEET.md",
        &[
            ("hypervisor --config", Left("every test starts one")),
            (
                "hypervisor-ctl fleet",
                Read("the page's host is alone: crate::fleet::routing"),
            ),
        ],
    );
    run(
        "docs/PLUGINS.md",
        &[("hypervisor-ctl swap policy policy.wasm", COMPILED)],
    );
    run("docs/RELEASES.md", &[]);
    run("docs/PERFORMANCE.md", &[]);
    run("docs/LOAD.md", &[]);
    run("CONTRIBUTING.md", &[]);
}

#[test]
fn commands_of_the_page_on_payments() {
    run("docs/PAYMENTS.md", &[("hv run", PAID), ("hv python", PAID)]);
}

#[test]
fn every_page_with_commands_is_among_these() {
    let here = include_str!("pages.rs");
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned);
    let missing: Vec<String> = (docs.chain(top))
        .filter(|page| page.ends_with(".md") && !here.contains(&format!("{page:?}")))
        .filter(|page| !commands(&fs::read_to_string(root().join(page)).unwrap()).is_empty())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
