//! The `hv` command: a client of a confidential component host.

mod attest;
mod output;
mod pay;
mod policy;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hypervisor_client::{Client, Error};

/// Run private programs on a confidential component host.
#[derive(Debug, Parser)]
#[command(
    name = "hv",
    version,
    after_help = "Exit status: that of the program for `hv run` and `hv python`; else 0 ok, 1 failure, 2 usage, 3 verification failed,\nor a host that has nothing to prove itself with: rely on nothing that it sent."
)]
struct Cli {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Server {
    /// Address of the host.
    #[arg(
        long,
        value_name = "URL",
        env = "HYPERVISOR_SERVER",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    server: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a WebAssembly program: sealed on the way there, its result sealed on the way back.
    Run(run::Run),
    /// Run a Python script, sealed likewise, in the host's sandboxed CPython.
    Python(run::Python),
    /// Fetch evidence of what a host is and save it.
    Attest(attest::Attest),
    /// Hold evidence of a host, fetched now or from a file, against a policy.
    Verify(attest::Verify),
    /// Write a verification policy.
    Policy(policy::Policy),
    /// Ask whether the host answers.
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The program's standard output and standard error, as if it ran here.
    Text,
    /// One JSON document with result, report and commitments.
    Json,
}

/// Exit status for options that do not go together; clap's own is the same.
const USAGE: u8 = 2;

/// Exit status when an answer was not authentic, or evidence not what the policy wants.
const VERIFICATION_FAILED: u8 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Run(run) => run.execute(&cli.server.server).await,
        Command::Python(python) => python.execute(&cli.server.server).await,
        Command::Attest(attest) => attest.execute().await,
        Command::Verify(verify) => verify.execute().await,
        Command::Policy(policy) => policy.execute(),
        Command::Ping => ping(&cli.server.server).await,
    };
    result.unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr(), "hv: {failure}");
        failure.status()
    })
}

async fn ping(server: &str) -> Result<ExitCode, Failure> {
    Client::new(server)?.ping().await?;
    writeln!(io::stdout(), "pong").map_err(|source| Failure::Io {
        what: "standard output".to_owned(),
        source,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Why the command gave up.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Talking to the host failed.
    #[error("{0}")]
    Client(#[from] Error),
    /// A file or stream failed.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// A file that was given is not what it should be.
    #[error("{0}")]
    Input(String),
    /// Evidence that was given can not be read, and so is not verified.
    #[error("{0}")]
    Refused(String),
    /// The options do not go together, or a policy is not one.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    fn status(&self) -> ExitCode {
        match self {
            Self::Client(error) if error.is_verification_failure() => {
                ExitCode::from(VERIFICATION_FAILED)
            }
            Self::Refused(_) => ExitCode::from(VERIFICATION_FAILED),
            Self::Usage(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}
