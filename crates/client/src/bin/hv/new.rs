//! `hv new`.

mod template;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hypervisor_client::agents::Reference;

use crate::Failure;
use crate::console::print;
use crate::wit::World;
use template::{Project, Template};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv new --template rust weather
  hv new --template python weather --path agents/weather
  hv new --template js --world policy-engine house-rules

`hv build` builds the project; its README says what that needs, and what to do with the component. Nothing is sent anywhere.")]
pub(crate) struct New {
    /// The language.
    #[arg(long, value_enum)]
    template: Template,
    /// What the component is to be; by default an agent that answers HTTP requests, and a program in Go and C.
    #[arg(long, value_enum)]
    world: Option<World>,
    /// The name of the project, and of the agent: 1 to 63 of a-z, 0-9 and -, first a letter, last not a hyphen.
    #[arg(value_parser = name)]
    name: String,
    /// The project's folder, which must not be there or be empty; one of the project's name where it is left out.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

impl New {
    pub(crate) fn execute(&self) -> Result<ExitCode, Failure> {
        let folder = self
            .path
            .clone()
            .unwrap_or_else(|| PathBuf::from(&self.name));
        let project = Project::of(self.template, self.world).map_err(Failure::Usage)?;
        require_free(&folder, "--path")?;
        write_all(&folder, project.files(&self.name))?;
        print(|out| {
            writeln!(out, "wrote {}; next:\n", folder.display())?;
            let commands = project.commands(&quoted(&folder));
            commands
                .iter()
                .try_for_each(|command| writeln!(out, "  {command}"))
        })
        .map(|()| ExitCode::SUCCESS)
    }
}

/// A name that an agent can have.
fn name(text: &str) -> Result<String, String> {
    let reference: Reference = text
        .parse()
        .map_err(|error: hypervisor_client::Error| error.to_string())?;
    match reference.name() == text {
        true => Ok(text.to_owned()),
        false => Err("it is an address; give the name alone".to_owned()),
    }
}

/// Nothing is written where something is. The option `named` gives another folder.
pub(crate) fn require_free(folder: &Path, named: &str) -> Result<(), Failure> {
    let taken = |what| {
        let folder = folder.display();
        Err(Failure::Input(format!(
            "{folder} {what}: name another folder with {named}"
        )))
    };
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => taken("is there already and not empty"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => taken("is not a folder"),
        Err(source) => Err(Failure::Io {
            what: format!("cannot read {}", folder.display()),
            source,
        }),
    }
}

/// Writes files, their paths in `folder`.
pub(crate) fn write_all(
    folder: &Path,
    files: impl IntoIterator<Item = (String, String)>,
) -> Result<(), Failure> {
    for (path, text) in files {
        let path = folder.join(path);
        write(&path, &text).map_err(|source| Failure::Io {
            what: format!("cannot write {}", path.display()),
            source,
        })?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(safe) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_quoted_where_a_shell_would_take_it_apart() {
        for (path, text) in [
            ("weather", "weather"),
            ("/tmp/a_b/c-1", "/tmp/a_b/c-1"),
            ("my agents/weather", "'my agents/weather'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }
}
