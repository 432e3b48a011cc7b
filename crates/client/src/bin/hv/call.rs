//! `hv call`.

mod service;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hypervisor_client::agents::Reference;
use hypervisor_client::payment::{Payer, Payment};
use hypervisor_client::protocol::{AgentWorld, ComponentDigest, OwnerKey};
use hypervisor_client::{Client, Error, Execution, Inputs, Session};

use crate::agents::{is_unknown, own};
use crate::console::{progress, read};
use crate::live::{Live, To};
use crate::output::{self, Shown};
use crate::owner::Owner;
use crate::pay::Pay;
use crate::run::paid;
use crate::session::{Keep, Verify};
use crate::{Failure, Output};

pub(crate) use service::uri;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv call weather '/forecast?city=Oslo'
  hv call weather /cities -d @cities.json -H 'content-type: application/json' -i
  hv call shout --stdin text.txt -- --loud
  hv call chat /ask -d 'why is the sky blue?' --stream
  hv call weather /forecast --verify policy.toml --pay ~/payer.key --max-price 0.01
  hv call weather / --digest sha384:0123…    (as `hv agents show weather` prints it)
  hv call diary.0123456789abcdef0123456789abcdef / --owner work.key

A service takes a request and its response's body goes to standard output; a command takes arguments and standard input.
Both travel sealed. Exit status: 0 when a service responded, whatever its status, unless --fail is given; a command's own.")]
pub(crate) struct Call {
    /// The agent: its name, or its address NAME.OWNER.
    #[arg(value_name = "REF")]
    agent: Reference,
    /// Call it only if its component has this digest, sha256:HEX or sha384:HEX. Else the host refuses: nothing runs, nothing is paid.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ComponentDigest>,
    #[command(flatten)]
    request: service::Request,
    /// For a command: file for standard input, `-` for this command's own.
    #[arg(long, value_name = "FILE", conflicts_with = "service")]
    stdin: Option<PathBuf>,
    /// The agent is a command: the host is not asked what it is.
    #[arg(long, conflicts_with = "service")]
    command: bool,
    /// For a command: its arguments, after `--`.
    #[arg(last = true, conflicts_with = "service")]
    arguments: Vec<OsString>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Say on standard error what was verified, and what the agent used.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    verify: Verify,
    #[command(flatten)]
    keep: Keep,
    // Last: their headings would hold for what follows.
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    pay: Pay,
}

/// Who calls, and in which session.
struct Caller {
    session: Session,
    owner: Option<OwnerKey>,
    payer: Option<Payer>,
}

impl Call {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let stdin = self.stdin.as_deref().map(read).transpose()?;
        let request = self.request.build()?;
        let owner = self.owner.named()?;
        let payer = self.pay.payer(server)?;
        let policy = self.verify.policy()?;
        let keeper = self.keep.prepare()?;
        let client = Client::new(server)?;

        let progress = progress();
        let session = policy.open_to_keep(&client, &progress, &keeper).await?;
        let is_text = self.output == Output::Text;
        let (session, viewer) = self.live.watch(session, (&progress, To::Stdout), is_text)?;
        let caller = Caller {
            session,
            owner,
            payer,
        };
        let world = self.world(&client, &caller).await?;
        let agent = match self.digest {
            Some(digest) => self.agent.clone().pinned(digest),
            None => self.agent.clone(),
        };
        progress.set_message("calling, sealed");
        match world {
            AgentWorld::Command => {
                let arguments = self.arguments.iter().cloned().map(OsString::into_vec);
                let mut inputs = Inputs::new().arguments(arguments);
                if let Some(stdin) = &stdin {
                    inputs = inputs.stdin(stdin);
                }
                let answer = caller.command(&agent, inputs).await;
                progress.finish_and_clear();
                let (execution, payment) = answer.map_err(unpaid)?;
                let shown = Shown {
                    session: caller.session.id(),
                    execution: &execution,
                    payment: payment.as_ref(),
                    attestation: caller.session.attestation(),
                    was_shown: viewer.has_shown()?,
                };
                let kept = keeper.keep(&execution);
                shown.print(self.output, self.verbose)?;
                kept?;
                Ok(output::status(&execution.report.exit))
            }
            AgentWorld::Service => {
                let answer = caller.service(&agent, request).await;
                progress.finish_and_clear();
                let (answer, payment) = answer.map_err(unpaid)?;
                let shown = Shown {
                    session: caller.session.id(),
                    execution: &answer.execution,
                    payment: payment.as_ref(),
                    attestation: caller.session.attestation(),
                    was_shown: viewer.has_shown()?,
                };
                let kept = keeper.keep(&answer.execution);
                match self.output {
                    Output::Text => self.request.text(&shown, &answer, self.verbose),
                    Output::Json => service::json(&shown, &answer),
                }
                .map_err(output::written)?;
                kept?;
                self.request.status(&answer)
            }
        }
    }

    /// What the agent is called by: by the host's word, else by what was given for it.
    async fn world(&self, client: &Client, caller: &Caller) -> Result<AgentWorld, Failure> {
        let as_command = self.command || self.stdin.is_some() || !self.arguments.is_empty();
        if self.command {
            return Ok(AgentWorld::Command);
        }
        let info = match (client.agent(&self.agent).await, &caller.owner) {
            (Ok(info), _) => Some(info),
            (Err(error), Some(owner)) if is_unknown(&error) => {
                own(&caller.session, &self.agent, owner).await?
            }
            (Err(error), None) if is_unknown(&error) => None,
            (Err(error), _) => return Err(error.into()),
        };
        let agent = &self.agent;
        match info.map(|info| info.world) {
            Some(AgentWorld::Service) if as_command => Err(Failure::Usage(format!(
                "{agent} is a service: it takes a path, -X, -H and -d instead of arguments and --stdin"
            ))),
            Some(AgentWorld::Command) if self.request.is_given() => Err(Failure::Usage(format!(
                "{agent} is a command: it takes arguments after `--`, and --stdin, instead of a request"
            ))),
            Some(world) => Ok(world),
            None if as_command => Ok(AgentWorld::Command),
            None => Ok(AgentWorld::Service),
        }
    }
}

impl Caller {
    async fn command(
        &self,
        agent: &Reference,
        inputs: Inputs<'_>,
    ) -> Result<(Execution, Option<Payment>), Error> {
        let (session, owner) = (&self.session, self.owner.as_ref());
        Ok(match &self.payer {
            None => (session.call_command(agent, inputs, owner).await?, None),
            Some(payer) => paid(
                session
                    .call_command_paid(agent, inputs, owner, payer)
                    .await?,
            ),
        })
    }
}

/// What to do where a call costs something.
fn unpaid(error: Error) -> Failure {
    match error {
        Error::PaymentDemanded(_) => Failure::Input(format!(
            "{error}: `hv agents show` says what a call costs, and --pay KEYFILE --max-price AMOUNT pays for it"
        )),
        other => other.into(),
    }
}
