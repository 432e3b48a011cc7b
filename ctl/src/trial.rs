//! `policy ask` and `payments try`: a plugin called by hand, by the configuration that it is to serve under. Serves nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hypervisor::config::Config;
use hypervisor::executor::{
    Action, ActionKind, AgentId, Charge, Header, KINDS, PluginSet, PluginSettings, Rules, Said,
    inspect, sha256,
};
use hypervisor::manifest::hex;
use hypervisor::parts::{Parts, THIS_PROGRAM, load_config, runtime};
use hypervisor::payments::{Trial, trial};
use hypervisor::pipeline::PAID_ROUTES;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::{json, plain, written};
use hypervisor_protocol::HexArray;
use hypervisor_telemetry::{self as telemetry, LogFormat};
use serde::Serialize;

use crate::args::{Cli, Output};

/// Log directives that show what a plugin says.
const SHOWN: &str = "warn,plugin=debug";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Ask the policy about one action. Exit status 0 where it allows, 1 where it denies, fails or cannot be loaded.
    #[command(after_help = "Examples:
  hypervisor-ctl policy ask --kind deploy-agent --agent weather
  hypervisor-ctl policy ask --kind execute-wasm --program hello.wasm --payer 0xabc --amount 1000
  hypervisor-ctl policy ask --kind invoke-agent --agent weather --calling-agent news --rules next.py")]
    Ask(Box<Question>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PaymentsCommand {
    /// Have the payment component ask for payment, and look at one. Nothing is settled. Exit status 0 where it answers, and
    /// authorizes the payment if there is one; else 1.
    #[command(after_help = "Examples:
  hypervisor-ctl payments try
  hypervisor-ctl payments try --route /x402_policy/unsafe/python --header 'PAYMENT-SIGNATURE: eyJ4…'

With --header the component may ask its facilitator, as it would for a client.")]
    Try {
        /// The route that is paid for.
        #[arg(long, default_value = PAID_ROUTES[0])]
        route: String,
        /// A header field of the request, `NAME: VALUE`; may be repeated.
        #[arg(long, value_name = "FIELD", value_parser = header)]
        header: Vec<Header>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
}

/// An action; what is not named it does not have.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// What is done.
    #[arg(long, value_parser = kinds())]
    kind: ActionKind,
    /// The agent that acts, is called or deployed: NAME, which is the operator's, or NAME.OWNER.
    #[arg(long, value_name = "NAME", value_parser = agent)]
    agent: Option<AgentId>,
    /// The agent that calls it.
    #[arg(long, value_name = "NAME", value_parser = agent)]
    calling_agent: Option<AgentId>,
    /// The program that acts: gives digest, size and imports.
    #[arg(long, value_name = "FILE", conflicts_with = "subject")]
    program: Option<PathBuf>,
    /// The SHA-256 of the program, in hexadecimal; by default zeros.
    #[arg(long, value_name = "HEX")]
    subject: Option<HexArray<32>>,
    /// The client's public key, compressed, in hexadecimal.
    #[arg(long, value_name = "HEX")]
    caller: Option<HexArray<33>>,
    /// The owner as whom the client speaks.
    #[arg(long, value_name = "ID")]
    caller_owner: Option<String>,
    /// What is acted upon: a path of the API or a URL; by default one that goes with the kind.
    #[arg(long)]
    resource: Option<String>,
    /// The method of the request.
    #[arg(long, default_value = "POST")]
    method: String,
    /// Bytes of standard input or of the body.
    #[arg(long, value_name = "BYTES", default_value = "0")]
    input: usize,
    /// The number of arguments.
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    arguments: usize,
    /// Bytes of all arguments.
    #[arg(long, value_name = "BYTES", default_value = "0")]
    argument_bytes: usize,
    /// The account that pays.
    #[arg(long, value_name = "ACCOUNT", requires = "amount")]
    payer: Option<String>,
    /// What is paid, in the smallest unit of the asset.
    #[arg(long, value_name = "NUMBER", requires = "payer")]
    amount: Option<u128>,
    /// The asset that is paid in.
    #[arg(long, default_value = "")]
    asset: String,
    /// The chain that it is paid on.
    #[arg(long, default_value = "eip155:8453")]
    chain: String,
    /// Rules to ask in the place of those of the configuration.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// How often to ask, to measure it.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    times: u32,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

fn kinds() -> impl TypedValueParser<Value = ActionKind> {
    PossibleValuesParser::new(KINDS.map(|(_, name)| name)).map(|given| {
        let known = KINDS.iter().find(|(_, name)| *name == given);
        known.map_or(ActionKind::ExecuteWasm, |(kind, _)| *kind)
    })
}

fn agent(text: &str) -> Result<AgentId, &'static str> {
    let (name, owner) = text.split_once('.').unwrap_or((text, "operator"));
    if name.is_empty() || owner.is_empty() {
        return Err("an agent is NAME or NAME.OWNER");
    }
    Ok(AgentId {
        name: name.to_owned(),
        owner: owner.to_owned(),
        address: format!("{name}.{owner}"),
    })
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header field is `NAME: VALUE`")?;
    Ok(Header {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
    })
}

impl Question {
    fn action(&self) -> Result<Action, Error> {
        let (mut subject, mut imports, mut bytes) = ([0; 32], Vec::new(), 0);
        if let Some(path) = &self.program {
            let program = std::fs::read(path).map_err(|source| Error::FileUnreadable {
                path: path.clone(),
                source,
            })?;
            // A script has no imports.
            let found = inspect(&program)
                .map(|found| found.imports)
                .unwrap_or_default();
            imports = found.into_iter().map(|import| import.name).collect();
            (subject, bytes) = (sha256(&program), program.len());
        }
        let charge = self.payer.as_ref().zip(self.amount);
        let resource = self.resource.clone().unwrap_or_else(|| self.usual());
        Ok(Action {
            agent: self.agent.clone(),
            calling_agent: self.calling_agent.clone(),
            caller: self.caller.map(|caller| caller.0),
            caller_owner: self.caller_owner.clone(),
            charge: charge.map(|(payer, amount)| Charge {
                chain: self.chain.clone(),
                asset: self.asset.clone(),
                payer: payer.clone(),
                amount: amount.to_string(),
            }),
            method: Some(self.method.to_ascii_uppercase()),
            imports,
            program_bytes: bytes,
            input_bytes: self.input,
            arguments: self.arguments,
            argument_bytes: self.argument_bytes,
            ..Action::new(self.kind, self.subject.map_or(subject, |it| it.0), resource)
        })
    }

    /// The resource that actions of this kind usually have.
    fn usual(&self) -> String {
        let name = self.agent.as_ref().map_or("NAME", |agent| &agent.name);
        match self.kind {
            ActionKind::ExecuteWasm => "/test/execute/wasm".to_owned(),
            ActionKind::ExecuteScript => "/test/policy/unsafe/python".to_owned(),
            ActionKind::DeployAgent => "/agent/deploy".to_owned(),
            ActionKind::InvokeAgent => format!("/agents/{name}/"),
            ActionKind::OutgoingRequest => "https://example.org/".to_owned(),
        }
    }
}

/// What the policy said.
#[derive(Debug, Serialize)]
struct Asked {
    /// `allowed`, `denied`, or `failed`, which denies.
    decision: &'static str,
    /// Why it is denied.
    reason: Option<String>,
    /// The class of a failure, as logs and counters have it.
    failure: Option<&'static str>,
    rules_sha256: String,
    /// Once for each instance, and not at each question.
    reads_rules_once: bool,
    /// Of the first question, for which an instance was there already, and of the median one.
    first_microseconds: u128,
    median_microseconds: u128,
    stdout: String,
    stderr: String,
}

pub(crate) fn ask(cli: &Cli, question: &Question) -> Result<bool, Error> {
    let config = load_config(cli.config.as_deref())?;
    let action = question.action()?;
    let asked = runtime()?.block_on(async {
        let mut settings = config.plugins()?;
        (settings.scripts, settings.payments) = (Vec::new(), None);
        if let (Some((_, policy)), Some(file)) = (&mut settings.policy, &question.rules) {
            policy.rules = Rules::File(file.clone());
        }
        let plugins = load(&config, settings).await?;
        let policy = plugins.policy().ok_or(Error::NoPolicy)?;
        let first = policy.decide(action.clone()).await;
        let mut times = vec![first.took];
        for _ in 1..question.times {
            times.push(policy.decide(action.clone()).await.took);
        }
        let rules = hex(policy.rules_digest());
        Ok::<_, Error>(Asked::new(first, rules, policy.reads_rules_once(), times))
    })?;
    let mut out = io::stdout().lock();
    written(match question.output {
        Output::Json => json(&mut out, &asked),
        Output::Text => asked.print(&mut out),
    })?;
    Ok(asked.decision == "allowed")
}

async fn load(config: &Config, settings: PluginSettings) -> Result<PluginSet, Error> {
    let mut parts = Parts::new(config, None, THIS_PROGRAM.as_ref())?;
    let loaded = parts.executor.load_plugins(settings).await;
    Ok(loaded.map_err(hypervisor::error::Error::from)?)
}

impl Asked {
    fn new(
        said: Said<Option<String>>,
        rules_sha256: String,
        reads_rules_once: bool,
        mut times: Vec<Duration>,
    ) -> Self {
        let (decision, reason, failure) = match &said.answer {
            Ok(None) => ("allowed", None, None),
            Ok(Some(reason)) => ("denied", Some(reason.clone()), None),
            Err(failure) => ("failed", Some(failure.explained()), Some(failure.class())),
        };
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let [stdout, stderr] = said
            .written
            .map(|it| String::from_utf8_lossy(&it).into_owned());
        Self {
            decision,
            reason,
            failure,
            rules_sha256,
            reads_rules_once,
            first_microseconds: said.took.as_micros(),
            median_microseconds: median.as_micros(),
            stdout,
            stderr,
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let reason = self.reason.as_deref().map(plain).unwrap_or_default();
        match self.decision {
            "allowed" => writeln!(out, "allowed")?,
            "denied" => writeln!(out, "denied: {reason}")?,
            _ => writeln!(out, "failed, which denies: {reason}")?,
        }
        let read = if self.reads_rules_once {
            "once for each instance"
        } else {
            "at each question"
        };
        writeln!(out, "  rules    {}, read {read}", self.rules_sha256)?;
        let (first, median) = (self.first_microseconds, self.median_microseconds);
        writeln!(out, "  took     {first} µs, at the median {median} µs")?;
        for (stream, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in text.lines() {
                writeln!(out, "  {stream}   {}", plain(line))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn pay(cli: &Cli, command: &PaymentsCommand) -> Result<bool, Error> {
    let PaymentsCommand::Try {
        route,
        header,
        output,
    } = command;
    telemetry::start(LogFormat::Text, Some(SHOWN));
    let config = load_config(cli.config.as_deref())?;
    let tried = runtime()?.block_on(async {
        let mut settings = config.plugins()?;
        (settings.scripts, settings.policy) = (Vec::new(), None);
        let plugins = load(&config, settings).await?;
        Ok::<_, Error>(trial(&config, &plugins, &PAID_ROUTES, route, header).await?)
    })?;
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &tried),
        Output::Text => print(&tried, !header.is_empty(), &mut out),
    })?;
    Ok(tried.challenge.is_ok() && tried.refusal.is_none())
}

fn print(tried: &Trial, with_payment: bool, out: &mut impl Write) -> io::Result<()> {
    for offer in &tried.offers {
        let (amount, asset, network) = (&offer.amount, &offer.asset, &offer.network);
        writeln!(
            out,
            "offer      {amount} of {asset} on {network} to {}",
            offer.pay_to
        )?;
    }
    match &tried.challenge {
        Ok(challenge) => {
            writeln!(out, "challenge  {}", challenge.status)?;
            for field in &challenge.headers {
                writeln!(out, "  {}: {}", plain(&field.name), plain(&field.value))?;
            }
            writeln!(out, "  {}", plain(&challenge.body))?;
        }
        Err(failed) => writeln!(out, "challenge  failed, {}", said(failed))?,
    }
    if let Some(payment) = &tried.payment {
        let (payer, nonce) = (plain(&payment.payer), plain(&payment.nonce));
        writeln!(out, "payment    of {payer}, nonce {nonce}")?;
    }
    match &tried.refusal {
        Some(failed) => writeln!(out, "refused    {}", said(failed)),
        None if with_payment => writeln!(out, "authorized; nothing was settled"),
        None => Ok(()),
    }
}

fn said(failed: &hypervisor::payments::Failed) -> String {
    let words = failed.words.as_deref().unwrap_or("it gave no words");
    format!("{}: {}", plain(&failed.class), plain(words))
}
