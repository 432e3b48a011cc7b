//! `hv env`.

mod bundle;
mod npm;
mod packages;
mod show;
mod wheels;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hypervisor_client::environments::{CallLimits, EnvironmentInfo, ExecuteInput, Page, Terms};
use hypervisor_client::protocol::{Exit, OwnerKey};
use hypervisor_client::{Client, Session};
use indicatif::ProgressBar;

use crate::Failure;
use crate::console::{Form, document, note, plain, print, progress, read};
use crate::live::{Live, To, Viewer};
use crate::output::{self, Shown};
use crate::owner::Owner;
use crate::pay::Pay;
use crate::session::{Keep, Keeper, Verify};

use packages::Packages;

pub(crate) use bundle::Language;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv env create main.ts                          set up the handler that main.ts exports
  hv env create app/ --name prices --ttl 12h     every module below app/, with app/main.ts or app/main.py
  hv env create main.py --requirements requirements.txt
  hv env create main.ts --package-json package.json
  hv env create main.py --package jinja2-3.1.6-py3-none-any.whl
  hv env run prices --data '{\"city\": \"Oslo\"}'
  hv env run prices --verify policy.toml --keep call.cbor    (and later: hv verify call.cbor)
  hv env list
  hv env log prices
  hv env extend prices --ttl 12h
  hv env fork prices --name prices-try
  hv env rm prices

A handler is `export function handler(event, context)` in JavaScript and TypeScript, `def handler(event, context)` in Python. The setup runs
once; each call starts from the memory that it left, in an instance of its own. An environment is named by its id, or by its name.")]
pub(crate) struct Env {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up an environment.
    Create(Box<Create>),
    /// Call its handler.
    Run(Box<Run>),
    /// List one's own.
    #[command(alias = "ls")]
    List(List),
    /// Show what was done with one, also for a while after its end.
    Log(Log),
    /// Let one stay longer, or change its name, idle time, limits or where it may send requests.
    Extend(Change),
    /// Make a copy of one as it is now.
    Fork(Change),
    /// Remove one.
    #[command(alias = "remove")]
    Rm(One),
}

#[derive(Debug, Args)]
struct Create {
    /// The module with the handler, or a folder with modules.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The module with the handler, where PATH is a folder; else main.ts, main.js or main.py.
    #[arg(long, value_name = "NAME")]
    main: Option<String>,
    /// Further modules, by their file's name; may be given several times.
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,
    #[command(flatten)]
    packages: Packages,
    /// Source that runs before the modules are loaded.
    #[arg(long, value_name = "FILE")]
    setup: Option<PathBuf>,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    pay: Pay,
}

#[derive(Debug, Args)]
struct Run {
    /// The environment: its id or name.
    #[arg(value_name = "ENV")]
    environment: String,
    /// `event.data`: JSON, or @FILE, or @- for standard input.
    #[arg(long, short, value_name = "JSON", default_value = "null")]
    data: String,
    /// An entry of `event.env`; may be given several times.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// File for standard input, `-` for this command's own.
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    /// Call it so often, one call after the other, and say how long they took; the answer of the last one is shown.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Say on standard error what was verified, and what the call used.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    pay: Pay,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct One {
    /// The environment: its id or name.
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Log {
    /// The environment: its id or name; one that ended, its id.
    #[arg(value_name = "ENV")]
    environment: String,
    /// The first row, counted from 0.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The most rows.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Change {
    /// The environment: its id or name.
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    pay: Pay,
}

#[derive(Debug, Args)]
pub(crate) struct TermsArgs {
    /// What it is called; without one it is named by its id.
    #[arg(long)]
    name: Option<String>,
    /// It ends so long from now at the latest: 12h, 7days.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// It ends when nobody has used it for so long.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    idle: Option<Duration>,
    /// Where its code may send HTTP requests, as far as the operator allows it too: https://api.example.com,
    /// https://*.example.com, or * for anywhere; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    outgoing: Option<Vec<String>>,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Debug, Args)]
struct Limits {
    /// Processor time of a call: 500ms, 2s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    cpu: Option<Duration>,
    /// Elapsed time of a call.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wall: Option<Duration>,
    /// Memory of a call in MiB, the engine's own among it.
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Form,
    #[command(flatten)]
    verify: Verify,
    // Last: its heading would hold for what follows.
    #[command(flatten)]
    owner: Owner,
}

impl Env {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        match &self.command {
            Command::Create(create) => return create.execute(server).await,
            Command::Run(run) => return run.execute(server).await,
            Command::List(list) => list.execute(server).await,
            Command::Log(log) => log.execute(server).await,
            Command::Extend(change) => change.extend(server).await,
            Command::Fork(change) => change.fork(server).await,
            Command::Rm(one) => one.remove(server).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Create {
    async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let mut bundle = bundle::Files {
            path: &self.path,
            main: self.main.as_deref(),
            modules: &self.module,
            packages: &self.packages.package,
            setup: self.setup.as_deref(),
        }
        .read()?;
        self.packages.resolve(&mut bundle)?;
        let payer = self.pay.payer(server)?;
        let owner = self.options.owner.key_or_new()?;
        let session = self.options.open(server).await?;
        let terms = self.terms.terms();
        let progress = progress();
        let (session, viewer) = self.options.watch(session, &self.live, &progress)?;
        progress.set_message("setting up, sealed");
        let done = session.set_up_paid(&bundle, &terms, &owner, payer.as_ref());
        let done = done.await?;
        progress.finish_and_clear();
        let mut shown = shown(&session, &done.execution, done.payment.as_ref());
        shown.was_shown = viewer.has_shown()?;
        show::set_up(self.options.output, &shown, &done.answer)?;
        Ok(match &done.execution.report.exit {
            Exit::Ok if done.answer.environment.is_none() => ExitCode::FAILURE,
            exit => output::status(exit),
        })
    }
}

impl Run {
    async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let input = ExecuteInput {
            data: self.data()?,
            env: self.env.iter().cloned().collect::<BTreeMap<_, _>>(),
            stdin: match &self.stdin {
                Some(path) => read(path)?.into(),
                None => Vec::new().into(),
            },
            limits: self.limits.limits(),
        };
        let payer = self.pay.payer(server)?;
        let owner = self.options.owner.key()?;
        let keeper = self.keep.prepare()?;
        let session = self.options.open_to_keep(server, &keeper).await?;
        let id = find(&session, &self.environment, &owner).await?;
        let hidden = ProgressBar::hidden();
        let (session, viewer) = self.options.watch(session, &self.live, &hidden)?;
        let call = async || {
            let began = Instant::now();
            let done = session.execute_paid(&id, &input, &owner, payer.as_ref());
            done.await.map(|done| (done, began.elapsed()))
        };
        let (mut done, took) = call().await?;
        let mut times = vec![took];
        for _ in 1..self.repeat {
            if done.execution.report.exit != Exit::Ok {
                break;
            }
            let (next, took) = call().await?;
            done = next;
            times.push(took);
        }
        if self.repeat > 1 {
            say_times(times)?;
        }
        let mut shown = shown(&session, &done.execution, done.payment.as_ref());
        shown.was_shown = viewer.has_shown()?;
        let kept = keeper.keep(&done.execution);
        show::executed(self.options.output, &shown, &done.answer, self.verbose)?;
        kept?;
        Ok(output::status(&done.execution.report.exit))
    }

    fn data(&self) -> Result<String, Failure> {
        let Some(file) = self.data.strip_prefix('@') else {
            return Ok(self.data.clone());
        };
        String::from_utf8(read(file.as_ref())?)
            .map_err(|_| Failure::Input(format!("{file} is not UTF-8, so it is not JSON")))
    }
}

impl List {
    async fn execute(&self, server: &str) -> Result<(), Failure> {
        let owner = self.options.owner.key()?;
        let session = self.options.open(server).await?;
        let list = all(&session, &owner).await?;
        print(|out| match self.options.output {
            Form::Text => show::list(out, &list),
            Form::Json => document(out, &serde_json::json!({ "environments": list })),
        })
    }
}

impl Log {
    async fn execute(&self, server: &str) -> Result<(), Failure> {
        let owner = self.options.owner.key()?;
        let session = self.options.open(server).await?;
        let id = find(&session, &self.environment, &owner).await?;
        let page = Page {
            from: self.from,
            limit: Some(self.limit),
        };
        let (log, rows) = session.environment_log(&id, &page, &owner).await?;
        print(|out| match self.options.output {
            Form::Text => show::log(out, &log, &rows),
            Form::Json => document(out, &show::log_json(&log, &rows)),
        })
    }
}

impl Change {
    async fn extend(&self, server: &str) -> Result<(), Failure> {
        let payer = self.pay.payer(server)?;
        let owner = self.options.owner.key()?;
        let session = self.options.open(server).await?;
        let id = find(&session, &self.environment, &owner).await?;
        let terms = self.terms.terms();
        let extended = session.extend_paid(&id, &terms, &owner, payer.as_ref());
        let (info, payment) = extended.await?;
        show::changed(self.options.output, &info, payment.as_ref())
    }

    async fn fork(&self, server: &str) -> Result<(), Failure> {
        let payer = self.pay.payer(server)?;
        let owner = self.options.owner.key()?;
        let session = self.options.open(server).await?;
        let id = find(&session, &self.environment, &owner).await?;
        let terms = self.terms.terms();
        let copied = session.fork_paid(&id, &terms, &owner, payer.as_ref());
        let (info, payment) = copied.await?;
        show::changed(self.options.output, &info, payment.as_ref())
    }
}

impl One {
    async fn remove(&self, server: &str) -> Result<(), Failure> {
        let owner = self.options.owner.key()?;
        let session = self.options.open(server).await?;
        let id = find(&session, &self.environment, &owner).await?;
        let info = session.remove_environment(&id, &owner).await?;
        print(|out| match self.options.output {
            Form::Text => writeln!(out, "removed {}", plain(&info.id)),
            Form::Json => document(out, &info),
        })
    }
}

impl TermsArgs {
    pub(crate) fn terms(&self) -> Terms {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Terms {
            name: self.name.clone(),
            idle_seconds: seconds(self.idle),
            ttl_seconds: seconds(self.ttl),
            limits: self.limits.limits(),
            outgoing: self.outgoing.clone(),
        }
    }
}

impl Limits {
    fn limits(&self) -> CallLimits {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        CallLimits {
            cpu_ms: self.cpu.map(millis),
            wall_ms: self.wall.map(millis),
            memory_bytes: self.memory.map(|mib| mib.saturating_mul(1 << 20)),
        }
    }
}

impl Options {
    pub(crate) async fn open(&self, server: &str) -> Result<Session, Failure> {
        self.open_to_keep(server, &Keeper::default()).await
    }

    /// As [`Self::open`]; runs give records where one is to be kept.
    async fn open_to_keep(&self, server: &str, keeper: &Keeper) -> Result<Session, Failure> {
        let client = Client::new(server)?;
        let progress = progress();
        let policy = self.verify.policy()?;
        let session = policy.open_to_keep(&client, &progress, keeper).await;
        progress.finish_and_clear();
        session
    }

    /// The session, whose runs are shown where that is wanted.
    fn watch(
        &self,
        session: Session,
        live: &Live,
        progress: &ProgressBar,
    ) -> Result<(Session, Viewer), Failure> {
        let is_text = self.output == Form::Text;
        live.watch(session, (progress, To::Stderr), is_text)
    }

    pub(crate) fn key_or_new(&self) -> Result<OwnerKey, Failure> {
        self.owner.key_or_new()
    }
}

/// How long calls took.
fn say_times(mut times: Vec<Duration>) -> Result<(), Failure> {
    let whole: Duration = times.iter().sum();
    times.sort_unstable();
    let middle = times.len().div_euclid(2);
    let median = times.get(middle).copied().unwrap_or_default();
    note(format_args!(
        "{} calls in {whole:.2?}, half of them within {median:.2?}",
        times.len()
    ))
}

/// Environments that are asked for at once.
const PAGE: u64 = 500;
/// Most that are taken from a host, whatever it says.
const MOST: usize = 100_000;

/// All of an owner's.
async fn all(session: &Session, owner: &OwnerKey) -> Result<Vec<EnvironmentInfo>, Failure> {
    let mut found = Vec::new();
    while found.len() < MOST {
        let page = Page {
            from: u64::try_from(found.len()).unwrap_or(u64::MAX),
            limit: Some(PAGE),
        };
        let list = session.environments(&page, owner).await?;
        let is_last = list.environments.is_empty();
        found.extend(list.environments);
        if is_last || u64::try_from(found.len()).unwrap_or(u64::MAX) >= list.total {
            break;
        }
    }
    Ok(found)
}

/// An id, in the form that hosts know.
fn id_of(named: &str) -> Option<String> {
    let is_id = named.len() == 32 && named.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| named.to_ascii_lowercase())
}

/// The id of an environment that is named by its id or its name.
async fn find(session: &Session, named: &str, owner: &OwnerKey) -> Result<String, Failure> {
    match id_of(named) {
        Some(id) => Ok(id),
        None => Ok(look_up(session, named, owner).await?.id),
    }
}

/// The environment that is named by its id or its name.
pub(crate) async fn look_up(
    session: &Session,
    named: &str,
    owner: &OwnerKey,
) -> Result<EnvironmentInfo, Failure> {
    let id = id_of(named);
    let is_it = |info: &EnvironmentInfo| match &id {
        Some(id) => info.id == *id,
        None => info.name == named,
    };
    let all = all(session, owner).await?;
    let mut found = all.into_iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(info), None) => Ok(info),
        (None, _) => Err(Failure::Input(format!(
            "you have no environment `{named}` on this host; `hv env list` lists yours"
        ))),
        (Some(_), Some(_)) => Err(Failure::Input(format!(
            "you have several environments `{named}`; name one by its id, which `hv env list` shows"
        ))),
    }
}

fn shown<'a>(
    session: &'a Session,
    execution: &'a hypervisor_client::Execution,
    payment: Option<&'a hypervisor_client::payment::Payment>,
) -> Shown<'a> {
    Shown {
        session: session.id(),
        execution,
        payment,
        attestation: session.attestation(),
        was_shown: false,
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    if name.is_empty() {
        return Err("it has no name before `=`".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
