//! `hypervisor check`: what the host makes of a program or a configuration, without serving.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::executor::{Inspection, Refusal, Standing, inspect};

/// What the check of one file found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The file.
    pub file: String,
    /// What it holds, where it could be read as WebAssembly.
    pub program: Option<Inspection>,
    /// Why it cannot run as a command.
    pub refusal: Option<Refused>,
}

/// A refusal for output.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Stable class, as in a sealed report.
    pub problem: hypervisor_protocol::Rejection,
    /// What is wrong and what works.
    pub detail: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            problem: refusal.problem,
            detail: refusal.detail,
        }
    }
}

/// Checks a program's bytes as the host would before compiling it.
pub fn check(file: &Path, bytes: &[u8]) -> Checked {
    let file = file.display().to_string();
    match inspect(bytes) {
        Ok(program) => {
            let refusal = program.require_command().err().map(Into::into);
            Checked {
                file,
                program: Some(program),
                refusal,
            }
        }
        Err(refusal) => Checked {
            file,
            program: None,
            refusal: Some(refusal.into()),
        },
    }
}

impl Checked {
    /// Whether the host would run it.
    pub fn runs(&self) -> bool {
        self.refusal.is_none()
    }

    /// Prints for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.file)?;
        if let Some(program) = &self.program {
            writeln!(
                out,
                "  kind     {}",
                serde_json::to_value(program.kind)?
                    .as_str()
                    .unwrap_or_default()
            )?;
            for export in &program.exports {
                writeln!(out, "  exports  {export}")?;
            }
            for import in &program.imports {
                let note = match (import.standing, import.host_version) {
                    (Standing::Missing, None) => "  (the host has none)".to_owned(),
                    (_, Some(host)) if !import.name.ends_with(&format!("@{host}")) => {
                        format!("  (the host has {host})")
                    }
                    _ => String::new(),
                };
                writeln!(out, "  {:<8} {}{note}", import.standing, import.name)?;
            }
        }
        match &self.refusal {
            None => writeln!(out, "  ok: runs as a command"),
            Some(refusal) => writeln!(out, "  refused: {}", refusal.detail),
        }
    }
}
