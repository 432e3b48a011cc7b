//! Policy: the operator's rules, asked before anything is carried out. It fails closed.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use hypervisor_protocol::{HexBytes, LimitKind, PolicyDecision};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Store;

use super::guest::Guest;
use super::idle::Idle;
use super::outcome::Exit;
use super::plugin::PluginError;
use super::reserve::Reserve;
use super::sandbox::{Live, Sandboxes};
use super::worlds::policy::exports::hypervisor::plugin::policy as wit;
use super::worlds::policy::{PolicyPlugin, PolicyPluginPre};

pub use wit::{ActionKind, Charge};

/// The first `argv` of an instance.
const NAME: &str = "policy-engine";
/// Instances kept warm. The rules and the engine are one tenant's, the operator's, so calls may share an instance.
const WARM: usize = 4;
/// Characters of a reason that go into a report.
const MAX_REASON: usize = 1_000;

/// What the host is about to do, as the rules see it.
#[derive(Debug, Clone)]
pub struct Action {
    /// What is done.
    pub kind: ActionKind,
    /// SHA-256 of the program.
    pub subject: [u8; 32],
    /// The client's public key, SEC 1 compressed. None where no session is involved.
    pub caller: Option<[u8; 33]>,
    /// What is paid.
    pub charge: Option<Charge>,
    /// The path of the API.
    pub resource: Cow<'static, str>,
    /// The name of the agent that acts, or is to be deployed, where there is one.
    pub agent: Option<String>,
    /// The method of the HTTP request, in upper case.
    pub method: Option<String>,
    /// Interfaces the program imports.
    pub imports: Vec<String>,
    /// Bytes of the program.
    pub program_bytes: usize,
    /// Bytes of standard input.
    pub input_bytes: usize,
    /// Number of arguments.
    pub arguments: usize,
    /// Bytes of all arguments.
    pub argument_bytes: usize,
}

impl Action {
    /// An action outside any session, unpaid, that carries no program and no inputs.
    pub fn new(
        kind: ActionKind,
        subject: [u8; 32],
        resource: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            subject,
            caller: None,
            charge: None,
            resource: resource.into(),
            agent: None,
            method: None,
            imports: Vec::new(),
            program_bytes: 0,
            input_bytes: 0,
            arguments: 0,
            argument_bytes: 0,
        }
    }
}

/// A loaded policy engine with the operator's rules.
pub struct PolicyEngine {
    pre: PolicyPluginPre<Guest>,
    sandboxes: Sandboxes,
    calls: Reserve,
    rules: Vec<u8>,
    rules_digest: [u8; 32],
    warm: Idle<Live<PolicyPlugin>>,
}

impl PolicyEngine {
    /// Takes `rules` into use if the engine can read them; `path` is for messages.
    pub(super) async fn new(
        pre: PolicyPluginPre<Guest>,
        sandboxes: Sandboxes,
        calls: Reserve,
        rules: Vec<u8>,
        path: &Path,
    ) -> Result<Self, PluginError> {
        let rules_digest = Sha256::digest(&rules).into();
        let policy = Self {
            pre,
            sandboxes,
            calls,
            rules,
            rules_digest,
            warm: Idle::within(Arc::new(Semaphore::new(WARM))),
        };
        policy.check().await.map_err(|message| PluginError::Rules {
            path: path.to_owned(),
            message,
        })?;
        Ok(policy)
    }

    async fn check(&self) -> Result<(), String> {
        let checked = self.ask(async |policy, store| policy.call_check(store, &self.rules).await);
        match checked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wit::ErrorCode::InvalidRules(text))) => Err(text),
            Ok(Err(wit::ErrorCode::InternalError(text))) => {
                Err(text.unwrap_or_else(|| "the policy engine failed".to_owned()))
            }
            Err(what) => Err(failed(what)),
        }
    }

    /// SHA-256 of the rules.
    pub fn rules_digest(&self) -> &[u8; 32] {
        &self.rules_digest
    }

    /// Asks the rules. Whatever is not a clear yes is a no with a reason.
    pub async fn authorize(&self, action: Action) -> PolicyDecision {
        let action = wit::Action::from(action);
        let decided = self
            .ask(async |policy, store| policy.call_authorize(store, &self.rules, &action).await);
        let undecided = match decided.await {
            Ok(Ok(wit::Decision::Allow)) => return self.decision(None),
            Ok(Ok(wit::Decision::Deny(reason))) => return self.decision(Some(&reason)),
            Ok(Err(wit::ErrorCode::InvalidRules(_))) => "its rules raised an error",
            Ok(Err(wit::ErrorCode::InternalError(_))) => "its engine reported an error",
            Err(what) => what,
        };
        tracing::warn!("the policy failed to decide, which denies");
        self.decision(Some(&failed(undecided)))
    }

    fn decision(&self, refused: Option<&str>) -> PolicyDecision {
        PolicyDecision {
            allowed: refused.is_none(),
            reason: refused.map(|reason| reason.chars().take(MAX_REASON).collect()),
            rules_digest: HexBytes(self.rules_digest.to_vec()),
        }
    }

    /// Calls the engine in an instance that waits, or in a new one. One that failed serves no more.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&wit::Guest, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, &'static str> {
        let _place = self.calls.enter().await;
        let mut instance = match self.warm.take() {
            Some(instance) => instance,
            None => self.instance().await.map_err(|exit| why(&exit))?,
        };
        let answer = instance
            .call(async |plugin, store| question(plugin.hypervisor_plugin_policy(), store).await);
        let answer = answer.await.map_err(|exit| why(&exit))?;
        instance.sandbox.clear();
        self.warm.put(instance);
        Ok(answer)
    }

    async fn instance(&self) -> Result<Live<PolicyPlugin>, Exit> {
        self.sandboxes
            .live(NAME, async |store| self.pre.instantiate_async(store).await)
            .await
    }
}

/// Names the failure without the engine's words: they may quote the rules, and the caller reads this.
fn why(exit: &Exit) -> &'static str {
    match exit {
        Exit::Limit { which, .. } => match which {
            LimitKind::Cpu | LimitKind::Wall => "it took too long",
            LimitKind::Memory => "it needed too much memory",
            _ => "it reached a limit",
        },
        _ => "it crashed",
    }
}

fn failed(what: &str) -> String {
    format!("the policy failed: {what}")
}

impl From<Action> for wit::Action {
    fn from(action: Action) -> Self {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            kind: action.kind,
            subject: action.subject.to_vec(),
            agent: action.agent,
            caller: action.caller.map(Vec::from),
            charge: action.charge,
            resource: action.resource.into_owned(),
            method: action.method,
            imports: action.imports,
            sizes: wit::ActionSizes {
                program: wide(action.program_bytes),
                input: wide(action.input_bytes),
                arguments: u32::try_from(action.arguments).unwrap_or(u32::MAX),
                argument_bytes: wide(action.argument_bytes),
            },
        }
    }
}
