//! What a fleet of many hosts would do, from what one host and one database were measured to do: where it breaks first.
//!
//! Nothing here is a measurement of a fleet: no more hosts than one machine holds were ever run.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use hypervisor_bench::model::{Inputs, Outlook};
use hypervisor_bench::report::Output;

/// Model fleets of 10, 100 and 1,000 hosts from figures of one.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor-fleet-model",
    after_help = "Examples:\n  hypervisor-fleet-model\n  hypervisor-fleet-model --nodes 50 --payments 20 --agents 5000 --output json"
)]
struct Cli {
    /// Hosts of the fleet.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    nodes: Vec<u32>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    inputs: Inputs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outlooks: Vec<Outlook> = (cli.nodes.iter())
        .map(|nodes| Outlook::of(*nodes, &cli.inputs))
        .collect();
    let text = match cli.output {
        Output::Json => serde_json::to_string_pretty(&outlooks).unwrap_or_default(),
        Output::Text => outlooks.iter().map(Outlook::to_text).collect(),
    };
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
