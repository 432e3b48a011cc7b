//! Measures the host against floors taken in the same run: `make bench`.
//!
//! Every figure is the median of some rounds with the range of the rounds beside it; what is compared runs in turns
//! within a round. Nothing here passes or fails by time. `docs/PERFORMANCE.md` says what the figures mean.

mod a2a;
mod against;
mod agents;
mod attestation;
mod cold;
mod concurrency;
mod environments;
mod executor;
mod fleet;
mod http;
mod ingest;
mod nodes;
mod overhead;
mod payments;
mod python;
mod scaling;
mod sealed;
mod server;
mod siege;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hypervisor_bench::{error, report, stats};

use error::{Context, Result};
use report::{Output, Section};

/// Measure the host against floors taken in the same run.
#[derive(Debug, Parser)]
#[command(name = "hypervisor-bench")]
struct Cli {
    /// What to measure.
    #[command(subcommand)]
    command: Option<Command>,
    /// Rounds; each benchmark has its own default.
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Form of the output.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Command {
    /// A sealed execution of a compiled `hello`, against HTTP + AEAD + run.
    Overhead,
    /// The first execution of a 1.7 MB component, against the compiler's own time.
    Cold,
    /// 200 sleeping executions at once, and 2,000 short ones over 64 connections.
    Concurrency,
    /// Executions a second on one core, on two, and in two processes.
    Scaling,
    /// Decoding and opening a 16 MiB request, against the libraries' own speed.
    Ingest,
    /// Python: scripts against native starts, memory, the price of a policy, start-up.
    Python,
    /// Payments: judging one offline, and a paid execution beside a free one.
    Payments,
    /// Evidence: sessions and results at one quote a second, and verifying.
    Attestation,
    /// Agents: beside `wasmtime serve`, and a thousand of them.
    Agents,
    /// Requests while a plugin is swapped: in Rust, JavaScript and Python.
    Swap,
    /// Environments: calls beside programs, scripts and native processes; what one keeps; copies and turns.
    Environments,
    /// A2A: a message to an agent beside the plain call, streams at once, finished tasks.
    A2a,
    /// A thousand connections of one peer that do the worst they can, while another peer runs `hello`.
    Siege,
    /// Hosts of a fleet: a hop, a shared payment, a deployment, and the loss of one; needs PostgreSQL.
    Fleet,
    /// A machine as one host, and as one host for each core.
    Nodes,
    /// All of them.
    All,
    /// This host and an earlier build of it, side by side.
    Against {
        /// The earlier build's `hypervisor`.
        before: std::path::PathBuf,
        /// What is compared; everything where none is named.
        #[arg(value_enum)]
        parts: Vec<against::Part>,
    },
    /// The floor of HTTP; started by `overhead` and `concurrency`.
    #[command(hide = true)]
    EchoServer,
    /// Runs `hello` over and over; started by `scaling`.
    #[command(hide = true)]
    ScalingWorker(scaling::Worker),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or(Command::All) {
        Command::EchoServer => server::serve_echo(),
        Command::ScalingWorker(worker) => scaling::work(&worker),
        command => measure(command, cli.rounds, cli.output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One benchmark: its subcommand, its default number of rounds, and its code.
type Benchmark = (Command, u32, fn(u32) -> Result<Section>);

const BENCHMARKS: [Benchmark; 15] = [
    (Command::Overhead, 21, overhead::measure),
    (Command::Cold, 5, cold::measure),
    (Command::Concurrency, 5, concurrency::measure),
    (Command::Scaling, 7, scaling::measure),
    (Command::Ingest, 15, ingest::measure),
    (Command::Python, 7, python::measure),
    (Command::Payments, 7, payments::measure),
    (Command::Attestation, 3, attestation::measure),
    (Command::Agents, 5, agents::measure),
    (Command::Swap, 3, agents::measure_swaps),
    (Command::Environments, 7, environments::measure),
    (Command::A2a, 5, a2a::measure),
    (Command::Siege, 3, siege::measure),
    (Command::Fleet, 5, fleet::measure),
    (Command::Nodes, 7, nodes::measure),
];

fn measure(command: Command, rounds: Option<u32>, output: Output) -> Result<()> {
    let mut sections = Vec::new();
    let mut show = |section: Section| -> Result<()> {
        if output == Output::Text {
            section.print(&mut io::stdout().lock()).context("writing")?;
        }
        sections.push(section);
        Ok(())
    };
    if let Command::Against { before, parts } = &command {
        show(against::measure(before, parts, rounds.unwrap_or(15))?)?;
    }
    for (one, default, benchmark) in BENCHMARKS {
        if command == one || command == Command::All {
            show(benchmark(rounds.unwrap_or(default))?)?;
        }
    }
    if output == Output::Json {
        let text = serde_json::to_string_pretty(&sections).context("encoding")?;
        say(&text)?;
        say("\n")?;
    }
    Ok(())
}

/// Writes to standard output at once.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing")
}

/// A client of one thread.
fn client_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("async runtime")
}
