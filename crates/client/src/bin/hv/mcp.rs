//! `hv mcp`: a host's tools for AI programs that know nothing of sealing.

mod agents;
mod answer;
mod arguments;
mod install;
mod jobs;
mod server;
mod tools;
mod turns;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rmcp::ServiceExt;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::io::stdio_pipes;

use crate::console::{note, plain};
use crate::desk::{Desk, Listener};
use crate::owner::Owner;
use crate::pay::Pay;
use crate::session::Verify;
use crate::signals::Stop;
use crate::{Failure, VERIFICATION_FAILED};

use server::Server;

/// How long the host is waited for when environments are removed at the end.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv mcp --install                                     how AI programs are told of it
  hv mcp --install --server https://host.example --verify policy.toml
  hv mcp --verify policy.toml
  hv mcp --verify policy.toml --pay ~/payer.key --max-price 0.05
  hv mcp --owner work.key                              call private agents, and evaluate code, as this owner

An AI program starts it and speaks the Model Context Protocol with it, on standard input and standard output: run_python, run_javascript,
run_wasm, session_evaluate, search_agents, call_agent, and a tool for each public agent of the host. Code, input and answers are sealed
between this command and the host. With --verify, nothing is sent to a host that is not what the policy wants.

Each call may cost as much as --max-price. Exit status: 0 when standard input ends, 1 failure, 2 usage, 3 the host failed verification.")]
pub(crate) struct Mcp {
    /// Print what the usual AI programs want to be told, with the options given here, and end. Nothing is written or sent.
    #[arg(long)]
    install: bool,
    /// No tool for each agent of the host: their descriptions are their owners' words, and the AI reads them. call_agent stays.
    #[arg(long)]
    no_agent_tools: bool,
    /// Tell the AI program what a run writes while it runs, where it asks for progress; who watches the network then sees when it writes.
    #[arg(long)]
    stream: bool,
    #[command(flatten)]
    verify: Verify,
    // Last: their headings would hold for what follows.
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    pay: Pay,
}

/// Why it ended.
enum Ended {
    /// Standard input did.
    Input,
    /// It was told to.
    Signal,
}

impl Mcp {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let policy = self.verify.policy()?;
        if self.install {
            return install::print(server).map(|()| ExitCode::SUCCESS);
        }
        let payer = self.pay.payer(server)?;
        let desk = Desk::new(server, policy, payer, self.owner.named()?)?;
        let desk = Arc::new(desk.streaming(self.stream.then_some(watch::tell as Listener)));
        let service = Server::new(Arc::clone(&desk), self.owner.clone(), !self.no_agent_tools);
        let turns = service.turns();
        let mut stop = Stop::listen()?;
        let ended = tokio::select! {
            ended = serve(service) => ended,
            () = stop.requested() => Ok(Ended::Signal),
        };
        // What is not removed in time ends by itself.
        let _ = tokio::time::timeout(FAREWELL, turns.remove(&desk)).await;
        let status = match desk.was_refused() {
            true => VERIFICATION_FAILED,
            false => 0,
        };
        match ended? {
            Ended::Input => Ok(ExitCode::from(status)),
            // A read of standard input may be under way that nothing but its end would end.
            Ended::Signal => std::process::exit(status.into()),
        }
    }
}

/// Serves until standard input ends.
async fn serve(service: Server) -> Result<Ended, Failure> {
    let running = match service.serve(stdio_pipes()).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(Ended::Input),
        Err(error) => return Err(broken(&error)),
    };
    match running.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(broken(&error)),
        Ok(_) => Ok(Ended::Input),
    }
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::Input(format!("the Model Context Protocol broke off: {error}"))
}

/// Says on standard error what went wrong and ends nothing: code and results are in no such text.
fn say(what: &dyn std::fmt::Display) {
    let _ = note(format_args!("{}", plain(&what.to_string())));
}
