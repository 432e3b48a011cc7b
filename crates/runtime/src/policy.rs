//! Policy: the operator's rules, asked before anything is carried out. It fails closed.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hypervisor_protocol::{HexBytes, LimitKind, PolicyDecision};
use sha2::{Digest, Sha256};

use super::guest::Guest;
use super::outcome::Exit;
use super::plugin::PluginError;
use super::reserve::Reserve;
use super::sandbox::{Sandbox, Sandboxes};
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

/// An action, and the policy that was in use when it was about to be done.
pub struct Question {
    pub(super) policy: Arc<PolicyEngine>,
    pub(super) action: Action,
}

impl Question {
    /// Has the policy decide.
    pub async fn ask(self) -> PolicyDecision {
        self.policy.authorize(self.action).await
    }
}

/// A loaded policy engine with the operator's rules.
pub struct PolicyEngine {
    pre: PolicyPluginPre<Guest>,
    sandboxes: Sandboxes,
    calls: Reserve,
    rules: Vec<u8>,
    rules_digest: [u8; 32],
    warm: Mutex<Vec<Instance>>,
}

struct Instance {
    sandbox: Sandbox,
    plugin: PolicyPlugin,
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
            warm: Mutex::default(),
        };
        policy.check().await.map_err(|message| PluginError::Rules {
            path: path.to_owned(),
            message,
        })?;
        Ok(policy)
    }

    async fn check(&self) -> Result<(), String> {
        let mut instance = self.instance().await.map_err(|exit| failed(&exit))?;
        let rules = &self.rules;
        let plugin = &instance.plugin;
        let checked = instance
            .sandbox
            .call(async |store| {
                plugin
                    .hypervisor_plugin_policy()
                    .call_check(store, rules)
                    .await
            })
            .await;
        match checked {
            Ok(Ok(())) => {
                self.keep(instance);
                Ok(())
            }
            Ok(Err(wit::ErrorCode::InvalidRules(text))) => Err(text),
            Ok(Err(wit::ErrorCode::InternalError(text))) => {
                Err(text.unwrap_or_else(|| "the policy engine failed".to_owned()))
            }
            Err(exit) => Err(failed(&exit)),
        }
    }

    pub(super) fn rules_digest(&self) -> &[u8; 32] {
        &self.rules_digest
    }

    /// Asks the rules. Whatever is not a clear yes is a no with a reason.
    pub async fn authorize(&self, action: Action) -> PolicyDecision {
        let decided = self.decide(&action.into()).await;
        let (allowed, reason) = match decided {
            Ok(wit::Decision::Allow) => (true, None),
            Ok(wit::Decision::Deny(reason)) => (false, Some(reason)),
            Err(reason) => {
                tracing::warn!("the policy failed to decide, which denies");
                (false, Some(reason))
            }
        };
        let reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect());
        PolicyDecision {
            allowed,
            reason,
            rules_digest: HexBytes(self.rules_digest.to_vec()),
        }
    }

    async fn decide(&self, action: &wit::Action) -> Result<wit::Decision, String> {
        let _place = self.calls.enter().await;
        let mut instance = self.instance().await.map_err(|exit| failed(&exit))?;
        let (plugin, rules) = (&instance.plugin, &self.rules);
        let decided = instance
            .sandbox
            .call(async |store| {
                plugin
                    .hypervisor_plugin_policy()
                    .call_authorize(store, rules, action)
                    .await
            })
            .await;
        match decided {
            Ok(decision) => {
                instance.sandbox.clear();
                self.keep(instance);
                decision.map_err(|error| match error {
                    wit::ErrorCode::InvalidRules(_) => {
                        "the policy failed: its rules raised an error".to_owned()
                    }
                    wit::ErrorCode::InternalError(_) => {
                        "the policy failed: its engine reported an error".to_owned()
                    }
                })
            }
            Err(exit) => Err(failed(&exit)),
        }
    }

    async fn instance(&self) -> Result<Instance, Exit> {
        let warm = self
            .warm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(instance) = warm {
            return Ok(instance);
        }
        let mut sandbox = self.sandboxes.make(&[NAME.to_owned()]);
        let plugin = sandbox
            .call(async |store| self.pre.instantiate_async(store).await)
            .await?;
        Ok(Instance { sandbox, plugin })
    }

    fn keep(&self, instance: Instance) {
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.len() < WARM {
            warm.push(instance);
        }
    }
}

/// Names the failure without the engine's words: they may quote the rules, and the caller reads this.
fn failed(exit: &Exit) -> String {
    match exit {
        Exit::Limit {
            which: LimitKind::Cpu | LimitKind::Wall,
            ..
        } => "the policy failed: it took too long".to_owned(),
        Exit::Limit {
            which: LimitKind::Memory,
            ..
        } => "the policy failed: it needed too much memory".to_owned(),
        Exit::Limit { .. } => "the policy failed: it reached a limit".to_owned(),
        _ => "the policy failed: it crashed".to_owned(),
    }
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
