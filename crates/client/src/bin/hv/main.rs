//! The `hv` command: a client of a confidential component host.

mod agents;
mod attest;
mod audit;
mod boot;
mod build;
mod call;
mod console;
mod deploy;
mod desk;
mod env;
mod live;
mod mcp;
mod memory;
mod new;
mod output;
mod owner;
mod pay;
mod policy;
mod proxy;
mod push;
mod record;
mod repl;
mod run;
mod search;
mod session;
mod signals;
mod source;
mod tpm;
mod wit;

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use hypervisor_client::{Client, Error};
use hypervisor_manual::{Completions, Manual};

/// Run private programs, and agents, on a confidential component host.
#[derive(Debug, Parser)]
#[command(
    name = "hv",
    version,
    after_help = "Exit status: that of the program for `hv run`, `hv python`, `hv js` and `hv call` of a command; else 0 ok, 1 failure, 2 usage, 3 verification failed,\nor a host that has nothing to prove itself with: rely on nothing that it sent."
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
    /// Run a script in JavaScript or TypeScript, sealed likewise, in the host's sandboxed QuickJS.
    #[command(alias = "javascript")]
    Js(run::Js),
    /// Fetch evidence of what a host is and save it.
    Attest(attest::Attest),
    /// Hold evidence of a host, fetched now or from a file, against a policy; or a run that was kept with --keep.
    Verify(attest::Verify),
    /// Hold a host's audit trail against what was seen of it, and look for runs in it.
    Audit(audit::Audit),
    /// Write a verification policy.
    Policy(policy::Policy),
    /// Deploy a component as an agent: it stays on the host and is called by its name.
    Deploy(deploy::Deploy),
    /// Push a component to a registry, from where `hv run` and `hv deploy` take it by its digest.
    Push(push::Push),
    /// Call an agent, sealed both ways.
    Call(Box<call::Call>),
    /// List agents, show one, remove one, read what one wrote.
    Agents(agents::Agents),
    /// Set up code once and call it many times: create environments, call, list, copy, extend and remove them, read their logs.
    Env(env::Env),
    /// Run code turn by turn, at a prompt, in an environment that keeps what each turn left.
    Repl(Box<repl::Repl>),
    /// Be a server of tools for AI programs, over the Model Context Protocol: they run code and call agents, sealed and verified.
    Mcp(Box<mcp::Mcp>),
    /// Be an HTTP server on this machine that makes each request a sealed call: clients of A2A, MCP and HTTP use a host that was verified.
    Proxy(Box<proxy::Proxy>),
    /// Find agents by what they do.
    Search(search::Search),
    /// Write a project that builds into an agent, a program or a plugin.
    New(new::New),
    /// Build such a project; says what is missing, and how to get it.
    Build(build::Build),
    /// Write the definitions (WIT) that components are written against.
    Wit(wit::Wit),
    /// Ask whether the host answers.
    Ping,
    /// Print a script that completes this command's arguments in a shell.
    Completions(Completions),
    /// Write this program's manual pages and completions.
    #[command(hide = true)]
    Manual(Manual),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// What the program wrote to standard output and standard error, as if it ran here.
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
        Command::Js(js) => js.execute(&cli.server.server).await,
        Command::Attest(attest) => attest.execute().await,
        Command::Verify(verify) => verify.execute().await,
        Command::Audit(audit) => audit.execute(&cli.server.server).await,
        Command::Policy(policy) => policy.execute(),
        Command::Deploy(deploy) => deploy.execute(&cli.server.server).await,
        Command::Push(push) => push.execute().await,
        Command::Call(call) => call.execute(&cli.server.server).await,
        Command::Agents(agents) => agents.execute(&cli.server.server).await,
        Command::Env(env) => env.execute(&cli.server.server).await,
        Command::Repl(repl) => repl.execute(&cli.server.server).await,
        Command::Mcp(mcp) => mcp.execute(&cli.server.server).await,
        Command::Proxy(proxy) => proxy.execute(&cli.server.server).await,
        Command::Search(search) => search.execute(&cli.server.server).await,
        Command::New(new) => new.execute(),
        Command::Build(build) => build.execute(),
        Command::Wit(wit) => wit.execute(),
        Command::Ping => ping(&cli.server.server).await,
        Command::Completions(asked) => completions(asked),
        Command::Manual(asked) => manual(asked),
    };
    result.unwrap_or_else(|failure| {
        let _ = console::stderr(format_args!("{}", console::plain(&failure.to_string())));
        failure.status()
    })
}

async fn ping(server: &str) -> Result<ExitCode, Failure> {
    Client::new(server)?.ping().await?;
    console::print(|out| writeln!(out, "pong")).map(|()| ExitCode::SUCCESS)
}

fn completions(asked: &Completions) -> Result<ExitCode, Failure> {
    console::print(|out| out.write_all(&asked.script("hv", &Cli::command())?))
        .map(|()| ExitCode::SUCCESS)
}

fn manual(asked: &Manual) -> Result<ExitCode, Failure> {
    let written = asked.write("hv", Cli::command());
    written
        .map(|()| ExitCode::SUCCESS)
        .map_err(|source| Failure::Io {
            what: "cannot write the manual".to_owned(),
            source,
        })
}

/// Why the command gave up.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Talking to the host failed.
    #[error("{0}")]
    Client(#[from] Error),
    /// A component was not pushed to a registry, or not fetched from one.
    #[error("{0}")]
    Registry(#[from] hypervisor_oci::Error),
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
            failure if failure.is_verification_failure() => ExitCode::from(VERIFICATION_FAILED),
            Self::Registry(error) if error.is_usage() => ExitCode::from(USAGE),
            Self::Usage(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether something is not authentic, or not what a policy wants.
    fn is_verification_failure(&self) -> bool {
        match self {
            Self::Client(error) => error.is_verification_failure(),
            Self::Registry(error) => error.is_verification_failure(),
            Self::Refused(_) => true,
            _ => false,
        }
    }
}
