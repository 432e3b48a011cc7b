//! `hv mcp --install`: what AI programs want to be told.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Failure;
use crate::console::print as show;

/// What the server is called there.
const NAME: &str = "hypervisor";
/// Options whose value is a file: AI programs start this command in folders of their own.
const FILES: [&str; 3] = ["--verify", "--pay", "--owner"];

/// How this command is started: the program, and what it is given.
struct Start {
    program: String,
    arguments: Vec<String>,
}

/// Prints the configurations.
pub(super) fn print(server: &str) -> Result<(), Failure> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| Failure::Io { what, source }
    };
    let program = std::env::current_exe().map_err(failed("cannot find this program's file"))?;
    let folder = std::env::current_dir().map_err(failed("cannot find the current folder"))?;
    let given = std::env::args_os().skip(1);
    let owner = std::env::var_os("HYPERVISOR_OWNER").filter(|owner| !owner.is_empty());
    let arguments = arguments(given, server, owner, &folder);
    let start = Start {
        program: text(program.into_os_string())?,
        arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
    };
    show(|out| start.write(out))
}

/// The arguments that were given, without `--install`, with files by their whole paths, and with what was in variables.
fn arguments(
    given: impl Iterator<Item = OsString>,
    server: &str,
    owner: Option<OsString>,
    folder: &Path,
) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut is_file = false;
    let mut names = Vec::new();
    for argument in given {
        if std::mem::take(&mut is_file) {
            arguments.push(absolute(folder, &argument));
            continue;
        }
        let (name, value) = match argument.to_str().and_then(|it| it.split_once('=')) {
            Some((name, value)) => (OsString::from(name), Some(OsString::from(value))),
            None => (argument.clone(), None),
        };
        let names_file = FILES.iter().any(|file| name == **file);
        match value {
            _ if argument == "--install" => continue,
            Some(value) if names_file => {
                arguments.extend([name.clone(), absolute(folder, &value)]);
            }
            _ => {
                is_file = names_file;
                arguments.push(argument);
            }
        }
        names.push(name);
    }
    let has = |name: &str| names.iter().any(|given| given == name);
    if !has("--server") {
        arguments.extend(["--server".into(), server.into()]);
    }
    if let Some(owner) = owner.filter(|_| !has("--owner")) {
        arguments.extend(["--owner".into(), absolute(folder, &owner)]);
    }
    arguments
}

fn absolute(folder: &Path, file: &OsStr) -> OsString {
    let file = PathBuf::from(file);
    let joined = folder.join(&file);
    // `.` and `..` stay right in it, and look better resolved.
    joined.canonicalize().unwrap_or(joined).into_os_string()
}

fn text(argument: OsString) -> Result<String, Failure> {
    argument.into_string().map_err(|argument| {
        Failure::Usage(format!(
            "{} is not UTF-8, and a configuration is",
            argument.display()
        ))
    })
}

impl Start {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let entry = json!({ "command": self.program, "args": self.arguments });
        let servers = named("mcpServers", &entry);
        let mut of_code = entry.clone();
        if let Value::Object(of_code) = &mut of_code {
            of_code.insert("type".to_owned(), json!("stdio"));
        }
        writeln!(out, "Claude Code, on the command line:\n")?;
        writeln!(out, "claude mcp add {NAME} -- {}\n", self.line())?;
        section(
            out,
            "Claude Desktop, in claude_desktop_config.json (Settings, Developer, Edit Config)",
            &servers,
        )?;
        section(
            out,
            "Cursor, in ~/.cursor/mcp.json, or .cursor/mcp.json of a project",
            &servers,
        )?;
        section(
            out,
            "VS Code, in .vscode/mcp.json of a project, or by the command `MCP: Open User Configuration`",
            &named("servers", &of_code),
        )?;
        writeln!(out, "Codex, in ~/.codex/config.toml:\n")?;
        writeln!(out, "[mcp_servers.{NAME}]")?;
        // JSON's texts and lists of texts are TOML's, too.
        writeln!(out, "command = {}", json!(self.program))?;
        writeln!(out, "args = {}", json!(self.arguments))
    }

    /// For a shell.
    fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let quoted: Vec<String> = words.map(|word| quoted(word)).collect();
        quoted.join(" ")
    }
}

fn named(key: &str, entry: &Value) -> Value {
    json!({ key: { NAME: entry } })
}

fn section(out: &mut dyn Write, title: &str, document: &Value) -> io::Result<()> {
    writeln!(out, "{title}:\n\n{document:#}\n")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str, owner: Option<&str>) -> String {
        let words = line.split(' ').map(OsString::from);
        let owner = owner.map(OsString::from);
        let arguments = arguments(words, "http://127.0.0.1:8080", owner, Path::new("/work"));
        let arguments: Vec<_> = arguments.iter().map(|it| it.to_string_lossy()).collect();
        arguments.join(" ")
    }

    #[test]
    fn files_are_named_by_their_whole_paths_and_variables_become_options() {
        assert_eq!(
            given("mcp --install --verify policy.toml", None),
            "mcp --verify /work/policy.toml --server http://127.0.0.1:8080"
        );
        assert_eq!(
            given(
                "--server=https://host.example mcp --pay=payer.key --max-price 0.05 --install",
                Some("own.key")
            ),
            "--server=https://host.example mcp --pay /work/payer.key --max-price 0.05 --owner /work/own.key"
        );
    }

    #[test]
    fn words_are_quoted_for_shells() {
        let start = Start {
            program: "/opt/my tools/hv".to_owned(),
            arguments: vec!["mcp".to_owned(), "it's".to_owned()],
        };
        assert_eq!(start.line(), r"'/opt/my tools/hv' mcp 'it'\''s'");
    }

    #[test]
    fn a_configuration_has_program_and_arguments() {
        let start = Start {
            program: "/bin/hv".to_owned(),
            arguments: vec!["mcp".to_owned()],
        };
        let mut out = Vec::new();
        start.write(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("claude mcp add hypervisor -- /bin/hv mcp\n"),
            "{out}"
        );
        let code = out
            .split("VS Code")
            .nth(1)
            .unwrap()
            .split("Codex")
            .next()
            .unwrap();
        let document = code.split_once(":\n\n").unwrap().1;
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["servers"]["hypervisor"]["command"], "/bin/hv");
        assert_eq!(document["servers"]["hypervisor"]["type"], "stdio");
        assert!(
            out.contains("command = \"/bin/hv\"\nargs = [\"mcp\"]\n"),
            "{out}"
        );
    }
}
