//! The `hypervisor` command.

mod args;
mod inspect;
mod parts;
mod plugins;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use hypervisor::error::Error;
use hypervisor::executor::compile_worker;
use hypervisor::machine;
use serde::Serialize;

use args::{Cli, Command, Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::CompileWorker {
            address_space,
            plugin,
        }) => compile_worker(*address_space, *plugin)
            .map_err(|source| Error::Io {
                what: "compiling",
                source,
            })
            .map(|()| true),
        Some(Command::Check { files, output }) if files.is_empty() => {
            inspect::configuration(&cli, *output)
        }
        Some(Command::Check { files, output }) => inspect::programs(&cli, files, *output),
        Some(Command::Measure { output }) => inspect::measure(&cli, *output).map(|()| true),
        Some(Command::Doctor { output }) => {
            machine::doctor(matches!(output, Output::Json), &mut io::stdout().lock())
                .map_err(written)
        }
        Some(Command::Record { folder }) => machine::record_to(folder).map(|()| true),
        Some(Command::Compile { component, to }) => {
            plugins::compile(&cli, component, to).map(|()| true)
        }
        Some(Command::Swap {
            plugin,
            component,
            admin,
            output,
        }) => plugins::swap(&cli, *plugin, component, *admin, *output).map(|()| true),
        None => serve::serve(&cli).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints one JSON document.
fn print_json(document: &impl Serialize) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, document)
        .map_err(Into::into)
        .and_then(|()| writeln!(out))
        .map_err(written)
}

fn written(source: io::Error) -> Error {
    Error::Io {
        what: "writing",
        source,
    }
}
