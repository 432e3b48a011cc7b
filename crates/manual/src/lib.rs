//! Manual pages and completions, made from what a command line is defined as. Linked into the operator's and the client's programs; the
//! host's are made by the operator's.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::{Generator, Shell};

/// The shells that packages bring completions for.
const PACKAGED: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What `completions` is told.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// The script that makes the shell complete this command, of this name.
    ///
    /// # Errors
    /// When the script cannot be made.
    pub fn script(&self, name: &'static str, command: &Command) -> io::Result<Vec<u8>> {
        script(self.shell, name, command)
    }
}

/// What `manual` is told, the hidden command that packages are made with.
#[derive(Debug, Args)]
pub struct Manual {
    /// The folder; it is made where it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Manual {
    /// Writes a page for this command, of this name, and each below it, and completions, in files named as readers of both look for them.
    ///
    /// # Errors
    /// When the folder or a file cannot be written.
    pub fn write(&self, name: &'static str, command: Command) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for shell in PACKAGED {
            let script = script(shell, name, &command)?;
            fs::write(self.folder.join(shell.file_name(name)), script)?;
        }
        clap_mangen::generate_to(command, &self.folder)
    }
}

fn script(shell: Shell, name: &'static str, command: &Command) -> io::Result<Vec<u8>> {
    // Without the commands that `--help` does not list: a shell would offer them.
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
    let mut listed = Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(shown.cloned());
    listed.set_bin_name(name);
    listed.build();
    let mut script = Vec::new();
    shell.try_generate(&listed, &mut script)?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command() -> Command {
        let inner = Command::new("list").about("List what is there");
        Command::new("tool")
            .about("A tool")
            .arg(Arg::new("server").long("server"))
            .subcommand(Command::new("env").about("Environments").subcommand(inner))
            .subcommand(Command::new("worker").hide(true))
    }

    fn written() -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let manual = Manual {
            folder: folder.path().join("new"),
        };
        manual.write("tool", command()).unwrap();
        let files = fs::read_dir(&manual.folder).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (folder, names)
    }

    #[test]
    fn every_command_that_is_listed_has_a_page_and_each_shell_its_file() {
        let (_folder, names) = written();
        let expected = [
            "_tool",
            "tool-env-list.1",
            "tool-env.1",
            "tool.1",
            "tool.bash",
            "tool.fish",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_command_that_is_not_listed_is_not_completed() {
        for shell in PACKAGED {
            let script = String::from_utf8(script(shell, "tool", &command()).unwrap()).unwrap();
            assert!(script.contains("list"), "{script}");
            assert!(script.contains("server"), "{script}");
            assert!(!script.contains("worker"), "{script}");
        }
    }

    #[test]
    fn what_is_written_is_the_same_each_time() {
        let (first, names) = written();
        let (second, _) = written();
        for name in names {
            let read = |folder: &tempfile::TempDir| {
                fs::read(folder.path().join("new").join(&name)).unwrap()
            };
            assert_eq!(read(&first), read(&second), "{name}");
        }
    }
}
