//! The command line: here and not in the binary, so that its manual page can be made without the host linking what makes it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use hypervisor_telemetry::LogFormat;

/// Serve confidential executions of WebAssembly components.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor",
    version,
    override_usage = "hypervisor [OPTIONS]",
    after_help = "Examples:
  hypervisor --config hypervisor.toml           serve
  hypervisor --listening 127.0.0.1:0            serve on a free port

`hypervisor-ctl` has everything else that an operator needs: check, measure, doctor, record, compile, swap."
)]
pub struct Cli {
    /// Configuration file; without one, the defaults apply.
    #[arg(long, value_name = "FILE", env = "HYPERVISOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address of the public port, `ip:port`; port 0 takes a free one. Overrides the configuration.
    #[arg(long, value_name = "ADDRESS")]
    pub listening: Option<SocketAddr>,
    /// Where other hosts of the fleet reach this one, `ip:port` or `unix:/path`; port 0 is the public port. Overrides the configuration.
    #[arg(long, value_name = "ADDRESS", env = "HYPERVISOR_ADVERTISE")]
    pub advertise: Option<String>,
    /// Form of log lines on standard error.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "HYPERVISOR_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    /// What else to do than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What this program does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile one program from standard input; the host starts this itself.
    #[command(hide = true)]
    CompileWorker {
        /// Bytes of address space.
        #[arg(long)]
        address_space: u64,
        /// The program is a plugin of the operator's.
        #[arg(long)]
        plugin: bool,
    },
    /// Anything else that was asked for.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// The commands of `hypervisor-ctl`.
const ELSEWHERE: [&str; 13] = [
    "check", "measure", "doctor", "record", "compile", "swap", "status", "top", "logs", "agents",
    "drain", "level", "fleet",
];

/// What to say to somebody who asks this program for more than serving.
pub fn not_here(words: &[OsString]) -> String {
    let name = words.first().map(|word| word.to_string_lossy());
    let name = name.unwrap_or_default();
    if ELSEWHERE.contains(&name.as_ref()) {
        format!("this program only serves; run `hypervisor-ctl {name}`")
    } else {
        format!("there is no command `{}`; see --help", name.escape_debug())
    }
}
