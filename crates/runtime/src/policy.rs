//! Policy: the operator's rules, asked before anything is carried out. It fails closed.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hypervisor_protocol::{HexBytes, PolicyDecision};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::guest::Guest;
use super::idle::Idle;
use super::plugin::PluginError;
use super::reserve::Reserve;
use super::said::{Failure, Said, Written, log_written, reason};
use super::sandbox::{Live, Sandbox, Sandboxes};
use super::worlds::policy::exports::hypervisor::plugin::{policy as wit, policy_rules as prepared};
use prepared::Parties;

pub use prepared::AgentId;
pub use wit::{ActionKind, Charge};

/// The interface of engines that read their rules once.
const PREPARED: &str = "hypervisor:plugin/policy-rules@0.1.1";

/// The first `argv` of an instance.
const NAME: &str = "policy-engine";
/// Instances kept warm. The rules and the engine are one tenant's, the operator's, so calls may share an instance.
const WARM: usize = 4;

/// The kinds of action with their names in WIT.
pub const KINDS: [(ActionKind, &str); 5] = [
    (ActionKind::ExecuteWasm, "execute-wasm"),
    (ActionKind::ExecuteScript, "execute-script"),
    (ActionKind::DeployAgent, "deploy-agent"),
    (ActionKind::InvokeAgent, "invoke-agent"),
    (ActionKind::OutgoingRequest, "outgoing-request"),
];

/// The name of a kind of action.
pub fn kind_name(kind: ActionKind) -> &'static str {
    let named = KINDS.iter().find(|(known, _)| *known == kind);
    named.map_or("other", |(_, name)| name)
}

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
    /// The agent that acts, is called, or is to be deployed, where there is one.
    pub agent: Option<AgentId>,
    /// The agent that calls it, where one agent calls another.
    pub calling_agent: Option<AgentId>,
    /// The owner as whom the client speaks, proved for its session.
    pub caller_owner: Option<String>,
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
            calling_agent: None,
            caller_owner: None,
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
    plugin: Plugin,
    rules: Vec<u8>,
    rules_digest: [u8; 32],
    warm: Idle<Live<Exports>>,
}

/// A policy engine, whatever its rules.
#[derive(Clone)]
struct Plugin {
    linked: InstancePre<Guest>,
    policy: wit::GuestIndices,
    /// Of an engine that reads its rules once.
    prepared: Option<prepared::GuestIndices>,
    sandboxes: Sandboxes,
    calls: Reserve,
}

/// What the host calls in a component, and whether it is there with the right types.
pub(super) fn exported(
    linked: &InstancePre<Guest>,
) -> wasmtime::Result<(wit::GuestIndices, Option<prepared::GuestIndices>)> {
    let reads_once = linked.component().get_export_index(None, PREPARED);
    let prepared = reads_once.map(|_| prepared::GuestIndices::new(linked));
    Ok((wit::GuestIndices::new(linked)?, prepared.transpose()?))
}

/// What the host calls in an instance.
struct Exports {
    policy: wit::Guest,
    /// Its rules are in the instance already.
    prepared: Option<prepared::Guest>,
}

impl PolicyEngine {
    /// Takes `rules` into use if the engine can read them; `path` is for messages.
    pub(super) async fn new(
        linked: InstancePre<Guest>,
        sandboxes: Sandboxes,
        calls: Reserve,
        rules: Vec<u8>,
        path: &Path,
    ) -> Result<Self, PluginError> {
        let unusable = |error: wasmtime::Error| PluginError::Unusable {
            path: path.to_owned(),
            message: format!("{error:#}"),
        };
        let (policy, prepared) = exported(&linked).map_err(unusable)?;
        let plugin = Plugin {
            policy,
            prepared,
            linked,
            sandboxes: sandboxes.logging(),
            calls,
        };
        Self::begin(plugin, rules, path).await
    }

    /// The same engine with other rules.
    pub(super) async fn with_rules(
        &self,
        rules: Vec<u8>,
        path: &Path,
    ) -> Result<Self, PluginError> {
        Self::begin(self.plugin.clone(), rules, path).await
    }

    async fn begin(plugin: Plugin, rules: Vec<u8>, path: &Path) -> Result<Self, PluginError> {
        let policy = Self {
            plugin,
            rules_digest: Sha256::digest(&rules).into(),
            rules,
            warm: Idle::within(Arc::new(Semaphore::new(WARM))),
        };
        let said = policy.check().await;
        log_written(NAME, &said.written);
        said.answer.map_err(|failure| PluginError::Rules {
            path: path.to_owned(),
            message: failure.of_rules(&said.written),
        })?;
        Ok(policy)
    }

    async fn check(&self) -> Said<()> {
        self.ask(async |exports, store| match exports.prepared {
            Some(_) => Ok(Ok(())),
            None => exports.policy.call_check(store, &self.rules).await,
        })
        .await
    }

    /// SHA-256 of the rules.
    pub fn rules_digest(&self) -> &[u8; 32] {
        &self.rules_digest
    }

    /// Whether the rules are read once for each instance, and not at each question.
    pub fn reads_rules_once(&self) -> bool {
        self.plugin.prepared.is_some()
    }

    /// Asks the rules. Whatever is not a clear yes is a no with a reason.
    pub async fn authorize(&self, action: Action) -> PolicyDecision {
        let kind = kind_name(action.kind);
        let said = self.decide(action).await;
        log_written(NAME, &said.written);
        let surroundings = self.plugin.sandboxes.surroundings();
        match said.answer {
            Ok(denied) => {
                let end = denied.as_ref().map_or("allowed", |_| "denied");
                surroundings.decided(kind, end);
                self.decision(denied.as_deref())
            }
            Err(failure) => {
                surroundings.decided(kind, "failed");
                let (class, place) = (failure.class(), failure.place());
                tracing::warn!(
                    kind,
                    failure = class,
                    place,
                    "the policy failed to decide, which denies; its own words are in the log with RUST_LOG=info,plugin=debug"
                );
                failure.log_words(NAME, kind);
                // Without the engine's words: they may quote the rules, and the caller reads this.
                self.decision(Some(&format!("the policy failed: {failure}")))
            }
        }
    }

    /// Asks the rules for whoever tries them out: nothing is logged or counted. The answer is the reason of a denial.
    pub async fn decide(&self, action: Action) -> Said<Option<String>> {
        let (action, parties) = in_wit(action);
        self.ask(async |exports, store| {
            let decided = match &exports.prepared {
                Some(rules) => rules.call_authorize(store, &action, &parties).await,
                None => {
                    let policy = &exports.policy;
                    policy.call_authorize(store, &self.rules, &action).await
                }
            };
            Ok(decided?.map(|decision| match decision {
                wit::Decision::Allow => None,
                wit::Decision::Deny(reason) => Some(reason),
            }))
        })
        .await
    }

    fn decision(&self, refused: Option<&str>) -> PolicyDecision {
        PolicyDecision {
            allowed: refused.is_none(),
            reason: refused.map(reason),
            rules_digest: HexBytes(self.rules_digest.to_vec()),
        }
    }

    /// Calls the engine in an instance that waits, or in a new one. One that trapped or reached a limit serves no more.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(
            &Exports,
            &mut Store<Guest>,
        ) -> wasmtime::Result<Result<T, wit::ErrorCode>>,
    ) -> Said<T> {
        let _place = self.plugin.calls.enter().await;
        let began = Instant::now();
        let said = |answer, written| Said {
            answer,
            written,
            took: began.elapsed(),
        };
        let mut instance = match self.warm.take() {
            Some(instance) => instance,
            None => match self.instance().await {
                Ok(instance) => instance,
                Err((failure, written)) => return said(Err(failure), written),
            },
        };
        let asked = instance
            .call(async |exports, store| question(exports, store).await)
            .await;
        let written = instance.sandbox.written();
        match asked {
            Ok(answer) => {
                self.warm.put(instance);
                said(answer.map_err(Failure::from), written)
            }
            Err(exit) => said(Err(exit.into()), written),
        }
    }

    /// An instance that has read the rules, where the engine reads them once.
    async fn instance(&self) -> Result<Live<Exports>, (Failure, Written)> {
        let mut sandbox = self.plugin.sandboxes.make(&[NAME.to_owned()]);
        match self.prepare(&mut sandbox).await {
            Ok(plugin) => Ok(Live { sandbox, plugin }),
            Err(failure) => Err((failure, sandbox.written())),
        }
    }

    async fn prepare(&self, sandbox: &mut Sandbox) -> Result<Exports, Failure> {
        let plugin = &self.plugin;
        let exports = sandbox.call(async |store| {
            let instance = plugin.linked.instantiate_async(&mut *store).await?;
            let prepared = plugin.prepared.as_ref();
            let prepared = prepared.map(|it| it.load(&mut *store, &instance));
            Ok(Exports {
                policy: plugin.policy.load(&mut *store, &instance)?,
                prepared: prepared.transpose()?,
            })
        });
        let exports = exports.await?;
        if let Some(rules) = &exports.prepared {
            let prepared = sandbox.call(async |store| rules.call_prepare(store, &self.rules).await);
            prepared.await??;
        }
        Ok(exports)
    }
}

impl From<wit::ErrorCode> for Failure {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::InvalidRules(words) => Self::Rules(words),
            wit::ErrorCode::InternalError(words) => Self::Internal(words),
        }
    }
}

/// The action in the plugin's terms.
fn in_wit(action: Action) -> (wit::Action, Parties) {
    let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let parties = Parties {
        calling_agent: action.calling_agent,
        caller_owner: action.caller_owner,
        agent: action.agent,
    };
    let action = wit::Action {
        kind: action.kind,
        subject: action.subject.to_vec(),
        agent: parties.agent.as_ref().map(|agent| agent.address.clone()),
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
    };
    (action, parties)
}
