//! The `hypervisor` command: serves, and starts itself as the compiler process.

mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use hypervisor::args::{Cli, Command, not_here};
use hypervisor::error::{Error, chain};
use hypervisor::executor::compile_worker;

/// Exit status for a command line that cannot be understood, as the parser's own.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::CompileWorker {
            address_space,
            plugin,
        }) => compile_worker(*address_space, *plugin).map_err(|source| Error::Io {
            what: "compiling",
            source,
        }),
        Some(Command::Other(words)) => {
            let _ = writeln!(io::stderr(), "error: {}", not_here(words));
            return ExitCode::from(USAGE);
        }
        None => serve::serve(&cli),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = write!(io::stderr(), "error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
