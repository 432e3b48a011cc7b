//! What a request about environments asks for, read and found possible.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_protocol::environment::{
    self as wire, CallLimits, EvaluateInput, ExecuteInput, Page, Terms,
};
use hypervisor_protocol::metered::{Budget, Used};
use hypervisor_protocol::owner::owner_id;
use hypervisor_protocol::{Commitment, Exit, LimitKind, Operation, PublicKey, Rejection, Stream};
use hypervisor_runtime::{Bundle, Chain, File, Language, Outcome, Tap, micros};
use tokio::sync::OwnedMutexGuard;

use crate::Environments;
use crate::error::{out_of_reach, rejected, unknown};
use crate::head::{Id, accounts, language};
use crate::live::{Place, Using};
use crate::perform::waiting;

/// Bytes of a name.
const MAX_NAME: usize = 200;
/// Files of a bundle.
const MAX_FILES: usize = 4096;
/// Bytes of a path in one.
const MAX_PATH: usize = 512;
/// Entries of a page.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;

/// A request about environments, opened.
pub struct Request<'a> {
    /// What it asks for.
    pub operation: Operation,
    /// Whose environments it is about, proved.
    pub owner: &'a PublicKey,
    /// The network that it comes from, where all that comes from one shares what an owner may have.
    pub network: Option<String>,
    /// Field 0.
    pub environment: Vec<u8>,
    /// SHA-256 of a bundle that it brings.
    pub digest: [u8; 32],
    /// Field 1.
    pub input: Vec<u8>,
    /// The commitment to it.
    pub commitment: Commitment,
}

/// What goes on beside a run.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    /// What it may cost.
    pub(crate) budget: Option<Budget>,
    /// Where what it prints is read.
    pub(crate) tap: Option<Tap>,
    /// How it came about.
    pub(crate) chain: Chain,
}

impl Watched {
    /// Bytes of its standard output that were read while it ran.
    pub(crate) fn streamed(&self) -> usize {
        let read = self.tap.as_ref().map(|tap| tap.taken(Stream::Stdout));
        usize::try_from(read.unwrap_or_default()).unwrap_or(usize::MAX)
    }

    /// Why something is not kept, where with it more is used than may be paid for: so many bytes were written, and so much is kept.
    pub(crate) fn beyond(&self, outcome: &Outcome, written: usize, stored: u64) -> Option<Exit> {
        let written = written.saturating_add(outcome.stderr.len());
        let (used, allowed) = self.budget.as_ref()?.exceeded(Used {
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            traffic_bytes: u64::try_from(written).unwrap_or(u64::MAX),
            stored_byte_seconds: stored,
        })?;
        Some(Exit::Limit {
            which: LimitKind::Price,
            used,
            allowed,
        })
    }
}

/// Something that can be done. What it takes is given back when it is dropped.
pub struct Job {
    pub(crate) environments: Arc<Environments>,
    pub(crate) what: What,
    pub(crate) commitment: Commitment,
    /// Bytes of field 1.
    pub(crate) received: u64,
    pub(crate) watched: Watched,
    digest: [u8; 32],
}

pub(crate) enum What {
    Setup(Box<Setup>),
    Execute(Using, ExecuteInput),
    Evaluate(Using, OwnedMutexGuard<()>, EvaluateInput),
    Fork(Using, Place, Option<String>, Fixed),
    Extend(Using, Fixed),
    List(String, Page),
    Log(String, Id, Page),
    Remove(Using),
}

pub(crate) struct Setup {
    pub(crate) place: Place,
    pub(crate) owner: String,
    pub(crate) network: Option<String>,
    pub(crate) language: Language,
    pub(crate) bundle: Bundle,
    /// SHA-256 of it as it was sent.
    pub(crate) bundle_digest: [u8; 32],
    pub(crate) terms: Fixed,
}

/// Terms within the host's. What is absent was not said.
#[derive(Default)]
pub(crate) struct Fixed {
    pub(crate) name: Option<String>,
    pub(crate) idle: Option<u64>,
    pub(crate) ttl: Option<u64>,
    pub(crate) limits: CallLimits,
    pub(crate) outgoing: Option<Vec<String>>,
}

impl Job {
    /// SHA-256 of the bundle that it is about; zeros where it is about none.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether code runs that may be forbidden or sold.
    pub fn runs(&self) -> bool {
        matches!(
            self.what,
            What::Setup(_) | What::Execute(..) | What::Evaluate(..)
        )
    }

    /// What it may cost at most.
    pub fn limit_to(&mut self, budget: Option<Budget>) {
        self.watched.budget = budget;
    }

    /// Says how it came about: the policy in use then is asked about the requests that it sends.
    pub fn called_by(&mut self, chain: Chain) {
        self.watched.chain = chain;
    }

    /// Has what it prints read while it runs; the answer has the rest.
    pub fn stream_to(&mut self, tap: Tap) {
        self.watched.tap = Some(tap);
    }
}

impl Environments {
    /// Reads a request, and takes what it needs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn plan(self: &Arc<Self>, request: Request<'_>) -> Result<Job, Exit> {
        let Request {
            operation,
            owner,
            network,
            environment,
            digest,
            input,
            commitment,
        } = request;
        let owner = owner_id(owner);
        let received = u64::try_from(input.len()).unwrap_or(u64::MAX);
        let settings = &self.settings;
        let found = || {
            let id = Id::parse(&environment).ok_or_else(unknown)?;
            if self.rows.is_shared() {
                waiting(|| self.refresh(&id)).map_err(|error| {
                    tracing::error!(%error, "an environment cannot be looked up");
                    out_of_reach()
                })?;
            }
            let using = self.live.find(&id, &owner, self.clock.seconds())?;
            let digest = using.0.head().bundle.0;
            Ok::<_, Exit>((using, digest))
        };
        let (what, digest) = match operation {
            Operation::Setup => {
                let setup = self.planned((owner, network), (&environment, digest), &input)?;
                (What::Setup(Box::new(setup)), digest)
            }
            Operation::Execute => {
                let mut execute: ExecuteInput = read("the input", &input)?;
                if execute.data.is_empty() {
                    "null".clone_into(&mut execute.data);
                }
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&execute.data) {
                    return Err(invalid(format!("`data` is not JSON: {error}")));
                }
                let (using, digest) = found()?;
                (What::Execute(using, execute), digest)
            }
            Operation::Evaluate => {
                let evaluate = read("the input", &input)?;
                let (using, digest) = found()?;
                let turn = Arc::clone(&using.0.turn).try_lock_owned();
                let turn = turn.map_err(|_| {
                    let detail = "another turn is under way in this environment: wait for its answer, or run this one in a fork";
                    rejected(Rejection::EnvironmentBusy, detail)
                })?;
                (What::Evaluate(using, turn, evaluate), digest)
            }
            Operation::Fork => {
                let terms = self.fixed(read("the terms", &input)?)?;
                let (using, digest) = found()?;
                let accounts = accounts(&owner, network.as_deref());
                let place = self.live.reserve(accounts, settings)?;
                (What::Fork(using, place, network, terms), digest)
            }
            Operation::Extend => {
                let terms = self.fixed(read("the terms", &input)?)?;
                let (using, digest) = found()?;
                (What::Extend(using, terms), digest)
            }
            Operation::EnvironmentRemove => {
                let (using, digest) = found()?;
                (What::Remove(using), digest)
            }
            Operation::EnvironmentLog => {
                let id = Id::parse(&environment).ok_or_else(unknown)?;
                (What::Log(owner, id, page(&input)?), [0; 32])
            }
            _ => (What::List(owner, page(&input)?), [0; 32]),
        };
        Ok(Job {
            environments: Arc::clone(self),
            what,
            commitment,
            received,
            watched: Watched::default(),
            digest,
        })
    }

    fn planned(
        &self,
        (owner, network): (String, Option<String>),
        (bundle, bundle_digest): (&[u8], [u8; 32]),
        terms: &[u8],
    ) -> Result<Setup, Exit> {
        let bundle: wire::Bundle = read("the bundle", bundle)?;
        let terms = self.fixed(read("the terms", terms)?)?;
        let engine = language(&bundle.language).filter(|it| self.executor.sets_up(*it));
        let language = engine.ok_or_else(|| {
            invalid(format!(
                "this host sets up no environments in `{}`: its operator names an engine in [runtime]",
                clipped(&bundle.language)
            ))
        })?;
        let names = bundle.modules.keys().chain(bundle.packages.keys());
        if names.clone().count() > MAX_FILES {
            return Err(invalid(format!("a bundle has at most {MAX_FILES} files")));
        }
        if let Some(name) = names.into_iter().find(|name| !is_path(name)) {
            return Err(invalid(format!(
                "`{}` is not a path of a bundle: `lib/dates.ts`, relative, with no empty part, no `.` and no `..`",
                clipped(name)
            )));
        }
        if !bundle.main.is_empty() && !bundle.modules.contains_key(&bundle.main) {
            return Err(invalid(format!(
                "`main` is `{}`, and there is no module of this name",
                clipped(&bundle.main)
            )));
        }
        let files = |files: std::collections::BTreeMap<String, hypervisor_protocol::HexBytes>| {
            let file = |(name, content): (String, hypervisor_protocol::HexBytes)| File {
                name,
                content: content.0,
            };
            files.into_iter().map(file).collect()
        };
        let bundle = Bundle {
            main: bundle.main,
            modules: files(bundle.modules),
            packages: files(bundle.packages),
            setup: bundle.setup,
        };
        Ok(Setup {
            place: (self.live).reserve(accounts(&owner, network.as_deref()), &self.settings)?,
            owner,
            network,
            language,
            bundle,
            bundle_digest,
            terms,
        })
    }

    /// Terms, where the host gives them.
    fn fixed(&self, terms: Terms) -> Result<Fixed, Exit> {
        let most = self.settings.lifetime.as_secs();
        for (key, seconds) in [
            ("idle_seconds", terms.idle_seconds),
            ("ttl_seconds", terms.ttl_seconds),
        ] {
            if let Some(seconds) = seconds.filter(|it| !(1..=most).contains(it)) {
                return Err(invalid(format!(
                    "`{key}` is {seconds}; on this host it is 1 to {most}"
                )));
            }
        }
        if let Some(name) = terms.name.as_ref().filter(|it| it.len() > MAX_NAME) {
            let length = name.len();
            return Err(invalid(format!(
                "`name` has {length} bytes, and may have {MAX_NAME}"
            )));
        }
        self.network
            .check(terms.outgoing.as_deref().unwrap_or_default())?;
        Ok(Fixed {
            name: terms.name,
            idle: terms.idle_seconds,
            ttl: terms.ttl_seconds,
            limits: terms.limits,
            outgoing: terms.outgoing,
        })
    }
}

/// Limits as the runtime has them.
pub(crate) fn in_runtime(limits: CallLimits) -> hypervisor_runtime::CallLimits {
    hypervisor_runtime::CallLimits {
        cpu: limits.cpu_ms.map(Duration::from_millis),
        wall: limits.wall_ms.map(Duration::from_millis),
        memory: limits.memory_bytes,
    }
}

fn page(bytes: &[u8]) -> Result<Page, Exit> {
    let page: Page = read("the page", bytes)?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    Ok(Page {
        limit: Some(limit),
        ..page
    })
}

fn is_path(name: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    name.len() <= MAX_PATH && !name.contains(['\\', '\0']) && name.split('/').all(is_part)
}

fn read<T: serde::de::DeserializeOwned + Default>(what: &str, bytes: &[u8]) -> Result<T, Exit> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    wire::decode(bytes).map_err(|error| invalid(format!("{what}: {error}")))
}

pub(crate) fn invalid(detail: impl Into<String>) -> Exit {
    rejected(Rejection::InvalidEnvironment, detail)
}

fn clipped(text: &str) -> String {
    text.chars()
        .take(64)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_tricks_are_no_paths() {
        for path in [
            "main.ts",
            "lib/dates.ts",
            "a b",
            "jinja2-3.1.6-py3-none-any.whl",
        ] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "a//b",
            "../a",
            "a/..",
            "./a",
            "a\\b",
            "a\0",
            &"x".repeat(513),
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
