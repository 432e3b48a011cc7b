//! Loads a host with everything that it does at once, soaks it, and breaks what it stands on: `make load`, `make soak`, `make chaos`.
//!
//! The host, the chain, the facilitator and the clients are the real ones. Every answer is checked, every payment is looked for on
//! the chain. `docs/LOAD.md` says what each command shows.

mod chaos;
mod kinds;
mod load;
mod market;
mod outcome;
mod overload;
mod soak;
mod tally;
mod watch;

use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::Output;

use outcome::Outcome;

/// Load a host with everything that it does at once, soak it, and break what it stands on.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor-load",
    after_help = "Examples:\n  hypervisor-load load --workers 200 --seconds 180\n  hypervisor-load overload --queue 32 --output json\n  \
                  hypervisor-load soak --minutes 60\n  hypervisor-load chaos kill disk-full\n\n\
                  Exit status: 0 where nothing was lost and every bound held, 1 where not, 2 where it could not be run.\n\
                  It needs what `make test` builds and installs; disk-full, memory and clock are left out where this user may not mount, has no memory cgroup, or libfaketime is missing."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Form of the output.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// All kinds of executions, payments and messages at once.
    Load(load::Load),
    /// Twice as many requests as there are places in the queue.
    Overload(overload::Overload),
    /// The same mix at a moderate rate, for long.
    Soak(soak::Soak),
    /// Kills, faults and exhaustion, one scenario after the other.
    Chaos(chaos::Chaos),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The kit that starts hosts and chains panics where it cannot.
    let done = catch_unwind(AssertUnwindSafe(|| run(cli.command, cli.output)));
    match done {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
        Err(_) => ExitCode::from(2),
    }
}

/// Whether all went well.
fn run(command: Command, output: Output) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("async runtime")?;
    let live = Live {
        is_text: output == Output::Text,
    };
    let outcomes = runtime.block_on(async {
        match command {
            Command::Load(load) => Ok(vec![load.run(live).await?]),
            Command::Overload(overload) => Ok(vec![overload.run().await?]),
            Command::Soak(soak) => Ok(vec![soak.run(live).await?]),
            Command::Chaos(chaos) => chaos.run(live).await,
        }
    })?;
    match output {
        Output::Text => {
            let mut out = io::stdout().lock();
            for outcome in &outcomes {
                outcome.print(&mut out).context("writing")?;
            }
        }
        Output::Json => {
            let text = serde_json::to_string_pretty(&outcomes).context("encoding")?;
            writeln!(io::stdout().lock(), "{text}").context("writing")?;
        }
    }
    Ok(outcomes.iter().all(Outcome::is_good))
}

/// What is told while it runs.
#[derive(Debug, Clone, Copy)]
struct Live {
    is_text: bool,
}

impl Live {
    /// A line of the output as text; otherwise progress.
    fn line(self, text: &str) {
        if self.is_text {
            let _ = writeln!(io::stdout().lock(), "{text}");
        } else {
            self.progress(text);
        }
    }

    /// A line that only who watches needs.
    fn progress(self, text: &str) {
        let mut err = io::stderr().lock();
        if err.is_terminal() {
            let _ = writeln!(err, "{text}");
        }
    }
}
