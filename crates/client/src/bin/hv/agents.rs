//! `hv agents`.

mod registration;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hypervisor_client::agents::Reference;
use hypervisor_client::protocol::{AgentInfo, OwnerKey, ProblemType};
use hypervisor_client::{Client, Error, Session};

use crate::Failure;
use crate::console::{Form, document, note, plain, print, progress};
use crate::output::agent;
use crate::owner::Owner;
use crate::session::Verify;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv agents list
  hv agents list --mine --output json
  hv agents show weather
  hv agents logs weather
  hv agents remove weather
  hv agents registration weather --public-url https://host.example

An agent is named as it is deployed, or by its address NAME.OWNER where somebody else has the name.")]
pub(crate) struct Agents {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the public agents of the host, or all of one's own.
    List(List),
    /// Show all that the host tells of an agent.
    Show(One),
    /// Remove an agent of one's own.
    Remove(One),
    /// Show what an agent of one's own wrote to standard output and standard error.
    Logs(One),
    /// Print the file by which a registry of ERC-8004 knows an agent.
    Registration(registration::Registration),
}

#[derive(Debug, Args)]
struct List {
    /// List those of the owner's key instead, private ones too; the request is sealed.
    #[arg(long)]
    mine: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct One {
    /// The agent: its name or address.
    #[arg(value_name = "REF")]
    agent: Reference,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
    #[command(flatten)]
    verify: Verify,
    // Last: its heading would hold for what follows.
    #[command(flatten)]
    owner: Owner,
}

impl Agents {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let client = Client::new(server)?;
        match &self.command {
            Command::List(list) => list.execute(&client).await,
            Command::Show(one) => one.show(server, &client).await,
            Command::Remove(one) => one.remove(&client).await,
            Command::Logs(one) => one.logs(&client).await,
            Command::Registration(it) => it.execute(server, &client).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl List {
    async fn execute(&self, client: &Client) -> Result<(), Failure> {
        let list = if self.mine {
            let owner = self.options.owner.key()?;
            self.options.open(client).await?.own_agents(&owner).await?
        } else {
            client.agents().await?
        };
        print(|out| match self.options.output {
            Form::Text => agent::list(out, &list.agents),
            Form::Json => document(out, &list),
        })?;
        match (list.agents.is_empty(), self.options.output) {
            (true, Form::Text) => note(format_args!("there are no agents")),
            _ => Ok(()),
        }
    }
}

impl One {
    async fn show(&self, server: &str, client: &Client) -> Result<(), Failure> {
        let info = match client.agent(&self.agent).await {
            Err(error) if is_unknown(&error) => {
                let own = match self.options.owner.found()? {
                    Some(owner) => {
                        let session = self.options.open(client).await?;
                        own(&session, &self.agent, &owner).await?
                    }
                    None => None,
                };
                own.ok_or(error)?
            }
            other => other?,
        };
        print(|out| match self.options.output {
            Form::Text => {
                writeln!(out, "{}", agent::title(&info))?;
                agent::details(out, server, &info)
            }
            Form::Json => document(out, &info),
        })
    }

    async fn remove(&self, client: &Client) -> Result<(), Failure> {
        let owner = self.options.owner.key()?;
        let session = self.options.open(client).await?;
        let info = session.remove_agent(&self.agent, &owner).await?;
        print(|out| match self.options.output {
            Form::Text => writeln!(out, "removed {}", plain(&info.address)),
            Form::Json => document(out, &info),
        })
    }

    async fn logs(&self, client: &Client) -> Result<(), Failure> {
        let owner = self.options.owner.key()?;
        let session = self.options.open(client).await?;
        let log = session.agent_logs(&self.agent, &owner).await?;
        print(|out| match self.options.output {
            Form::Text => log
                .lines
                .iter()
                .try_for_each(|line| writeln!(out, "{}", plain(line))),
            Form::Json => document(out, &log),
        })?;
        match (log.dropped, self.options.output) {
            (0, _) | (_, Form::Json) => Ok(()),
            (dropped, Form::Text) => note(format_args!("{dropped} earlier lines were dropped")),
        }
    }
}

impl Options {
    async fn open(&self, client: &Client) -> Result<Session, Failure> {
        let progress = progress();
        let session = self.verify.policy()?.open(client, &progress).await;
        progress.finish_and_clear();
        session
    }
}

/// Whether the host knows no such agent, or says so.
pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if problem.problem_type() == Some(ProblemType::AgentNotFound))
}

/// An agent among one's own.
pub(crate) async fn own(
    session: &Session,
    agent: &Reference,
    owner: &OwnerKey,
) -> Result<Option<AgentInfo>, Error> {
    let list = session.own_agents(owner).await?;
    let named = |info: &AgentInfo| info.name == agent.as_str() || info.address == agent.as_str();
    Ok(list.agents.into_iter().find(named))
}
