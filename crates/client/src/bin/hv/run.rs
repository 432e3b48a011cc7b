//! `hv run`.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hypervisor_client::{Client, Program};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Shown};
use crate::{Failure, Output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv run hello.wasm
  hv run jq.wasm --stdin data.json -- '.items | length'
  cat data.json | hv run jq.wasm --stdin - -- .
  hv run hello.wasm --output json

The exit status is the program's own. A program that was stopped or refused gives 1 and a line on standard error.")]
pub(crate) struct Run {
    /// The program: a wasm32-wasip2 component or a wasm32-wasip1 command module.
    program: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv python script.py
  hv python report.py --stdin data.csv -- --year 2026

The script runs in the host's sandboxed CPython. An uncaught exception gives exit status 1 and Python's traceback.")]
pub(crate) struct Python {
    /// The script: Python source, UTF-8.
    script: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// File for standard input, `-` for this command's own; without it the program reads end of file.
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Say on standard error what was verified, and what the program used.
    #[arg(long, short)]
    verbose: bool,
    /// Arguments of the program, after `--`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Wasm,
    Python,
}

impl Run {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        self.options
            .execute(server, &self.program, Kind::Wasm)
            .await
    }
}

impl Python {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        self.options
            .execute(server, &self.script, Kind::Python)
            .await
    }
}

impl Options {
    async fn execute(&self, server: &str, program: &Path, kind: Kind) -> Result<ExitCode, Failure> {
        let bytes = read(program)?;
        let stdin = self.stdin.as_deref().map(read).transpose()?;
        let arguments = self.arguments.iter().cloned().map(OsString::into_vec);
        let mut program = Program::new(&bytes).arguments(arguments);
        if let Some(stdin) = &stdin {
            program = program.stdin(stdin);
        }

        let progress = progress();
        progress.set_message("opening a session");
        let session = Client::new(server)?.open_session().await?;
        progress.set_message("running, sealed");
        let execution = match kind {
            Kind::Wasm => session.run_wasm(program).await?,
            Kind::Python => session.run_python(program).await?,
        };
        progress.finish_and_clear();

        let shown = Shown {
            session: session.id(),
            execution: &execution,
        };
        match self.output {
            Output::Text => shown.text(self.verbose),
            Output::Json => shown.json(),
        }
        .map_err(|source| Failure::Io {
            what: "writing the result".to_owned(),
            source,
        })?;
        Ok(output::status(&execution.report.exit))
    }
}

/// A spinner on a terminal; nothing elsewhere.
fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|source| Failure::Io {
        what: format!("cannot read {}", path.display()),
        source,
    })
}

pub(crate) fn stderr(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stderr(), "hv: {line}")
}
