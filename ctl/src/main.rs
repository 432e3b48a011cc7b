//! The `hypervisor-ctl` command.

mod args;
mod export;
mod image;
mod inspect;
mod plugins;
mod publish;
mod pull;
mod serving;
mod trial;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use hypervisor::error::chain;
use hypervisor::executor::compile_worker;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::machine;
use hypervisor_ctl::output::written;

use args::{Cli, Command, Measure, Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = write!(io::stderr(), "error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well with what was looked at.
fn run(cli: &Cli) -> Result<bool, Error> {
    match &cli.command {
        Command::CompileWorker {
            address_space,
            plugin,
        } => compile_worker(*address_space, *plugin).map_err(|source| Error::Io {
            what: "compiling",
            source,
        })?,
        Command::Check { files, output, .. } if files.is_empty() => {
            inspect::configuration(cli, *output)?;
        }
        Command::Check {
            files,
            world,
            output,
        } => return inspect::programs(cli, files, *world, *output),
        Command::Measure {
            what: Some(Measure::Image(asked)),
            ..
        } => image::measure(asked)?,
        Command::Measure { host, output, .. } => {
            inspect::measure(cli, host.as_deref(), *output)?;
        }
        Command::Publish(asked) => publish::publish(asked)?,
        Command::Doctor { output } => {
            let found = machine::Machine::examine();
            let mut out = io::stdout().lock();
            written(match output {
                Output::Json => found.json(&mut out),
                Output::Text => found.print(&mut out),
            })?;
            return Ok(found.attests());
        }
        Command::Record { folder } => machine::record_to(folder)?,
        Command::Policy {
            command: trial::PolicyCommand::Ask(question),
        } => return trial::ask(cli, question),
        Command::Payments { command } => return trial::pay(cli, command),
        Command::Pull {
            component,
            to,
            access,
        } => pull::pull(component, to, access)?,
        Command::Compile { component, to } => plugins::compile(cli, component, to)?,
        Command::Completions(asked) => written(
            asked
                .script("hypervisor-ctl", &Cli::command())
                .and_then(|script| io::stdout().lock().write_all(&script)),
        )?,
        Command::Manual(asked) => asked
            .write("hypervisor-ctl", Cli::command())
            .and_then(|()| asked.write("hypervisor", hypervisor::args::Cli::command()))
            .map_err(|source| Error::Io {
                what: "cannot write the manual",
                source,
            })?,
        Command::Swap {
            plugin,
            component,
            rules,
            access,
            output,
        } => plugins::swap(
            cli,
            plugin,
            [component.as_deref(), rules.as_deref()],
            access,
            *output,
        )?,
        Command::Status { access, output } => return serving::status(cli, access, *output),
        Command::Top(asked) => serving::top(cli, &asked.access, asked)?,
        Command::Logs(asked) => serving::logs(cli, &asked.access, asked)?,
        Command::Agents {
            command,
            access,
            output,
        } => serving::agents(cli, access, command.as_ref(), *output)?,
        Command::Fleet {
            command,
            access,
            output,
        } => serving::fleet(cli, access, command.as_ref(), *output)?,
        Command::Drain(asked) => return serving::drain(cli, &asked.access, asked),
        Command::Telemetry(asked) => export::telemetry(cli, asked)?,
        Command::Level {
            directives,
            access,
            output,
        } => serving::level(cli, access, directives.as_deref(), *output)?,
    }
    Ok(true)
}
