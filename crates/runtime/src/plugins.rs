//! The plugins in use, and putting others in their place while requests go on.
//!
//! Whoever uses a plugin takes it once, at its beginning, and keeps it to its end: what is under way finishes on the plugin
//! that it began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use const_hex::encode as hex;
use serde::Serialize;
use wasmtime::component::InstancePre;

use super::Executor;
use super::guest::Guest;
use super::linked::{self, Callee, Slot};
use super::outgoing::Egress;
use super::payment::PaymentEngine;
use super::plugin::{self, Component, PluginError, Source, World};
use super::policy::PolicyEngine;
use super::sandbox::Sandboxes;
use super::script::ScriptEngine;
use super::worlds::policy::PolicyPluginPre;
use super::worlds::script::ScriptPluginPre;
use crate::limits::Limits;
use crate::reserve::Reserve;

/// A plugin that can be replaced.
pub(super) struct Swappable<T> {
    current: RwLock<Option<Arc<T>>>,
    /// The same plugin as agents call it.
    callee: Slot,
    loaded: RwLock<Option<LoadedPlugin>>,
    /// Places for the host's calls and for agents', which a swap does not change.
    calls: Reserve,
    calls_of_agents: Reserve,
}

/// The plugins in use at one moment, as the host and its agents call them.
#[derive(Default)]
pub struct PluginSet {
    policy: Option<(Arc<PolicyEngine>, Arc<Callee>)>,
    payments: Option<(Arc<PaymentEngine>, Arc<Callee>)>,
}

impl PluginSet {
    /// The policy.
    pub fn policy(&self) -> Option<&Arc<PolicyEngine>> {
        self.policy.as_ref().map(|(engine, _)| engine)
    }

    /// The payment component.
    pub fn payments(&self) -> Option<&Arc<PaymentEngine>> {
        self.payments.as_ref().map(|(engine, _)| engine)
    }

    /// The plugin behind an interface that agents import.
    pub(super) fn callee(&self, interface: &str) -> Option<&Arc<Callee>> {
        match interface {
            linked::POLICY_INTERFACE => self.policy.as_ref().map(|(_, callee)| callee),
            linked::PAYMENT_INTERFACE => self.payments.as_ref().map(|(_, callee)| callee),
            _ => None,
        }
    }
}

/// The plugins that a host is to have.
#[derive(Default)]
pub struct PluginSettings {
    /// The script engine.
    pub script: Option<ScriptSettings>,
    /// The policy, and where it comes from.
    pub policy: Option<(Source, PolicySettings)>,
    /// The payment component, and where it comes from.
    pub payments: Option<(Source, PaymentSettings)>,
}

/// How scripts are run.
#[derive(Debug, Clone)]
pub struct ScriptSettings {
    /// Where the script engine comes from.
    pub source: Source,
    /// Instances kept ready for the next scripts.
    pub ready: usize,
}

/// How the policy is asked.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// The file with the operator's rules.
    pub rules: PathBuf,
    /// Bounds on one decision.
    pub limits: Limits,
}

/// How the payment component is called.
pub struct PaymentSettings {
    /// Its environment variables.
    pub environment: Vec<(String, String)>,
    /// Bounds on one call.
    pub limits: Limits,
    /// Who sends its requests.
    pub egress: Arc<dyn Egress>,
}

/// A plugin in use, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedPlugin {
    /// `script`, `policy` or `payments`.
    name: &'static str,
    /// SHA-384 of the component, hex.
    sha384: String,
    /// SHA-384 of its machine code where that was made beforehand, hex.
    compiled_sha384: Option<String>,
    /// Interfaces that it imports.
    imports: Vec<String>,
}

impl LoadedPlugin {
    pub(super) fn new(name: &'static str, component: &Component, imports: Vec<String>) -> Self {
        Self {
            name,
            sha384: hex(component.sha384()),
            compiled_sha384: component.compiled_sha384().map(str::to_owned),
            imports,
        }
    }
}

/// A plugin that was checked, compiled and measured, and is not in use yet.
pub struct Fresh<T> {
    /// The plugin.
    pub engine: Arc<T>,
    callee: Arc<Callee>,
    loaded: LoadedPlugin,
}

impl<T> Fresh<T> {
    /// SHA-384 of the component, hex.
    pub fn sha384(&self) -> &str {
        &self.loaded.sha384
    }
}

impl<T> Swappable<T> {
    pub(super) fn empty() -> Self {
        Self {
            current: RwLock::default(),
            callee: Slot::default(),
            loaded: RwLock::default(),
            calls: Reserve::new(),
            calls_of_agents: Reserve::new(),
        }
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.callee
    }

    /// The plugin in use.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn both(&self) -> Option<(Arc<T>, Arc<Callee>)> {
        let callee = self.callee.read().unwrap_or_else(PoisonError::into_inner);
        Some((self.get()?, callee.clone()?))
    }

    fn loaded(&self) -> Option<LoadedPlugin> {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, fresh: Fresh<T>) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh.loaded);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh.engine);
        *self.callee.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh.callee);
    }
}

impl Executor {
    /// The plugins in use now. Not to be asked for while one is swapped.
    pub fn plugin_set(&self) -> PluginSet {
        PluginSet {
            policy: self.policy.both(),
            payments: self.payments.both(),
        }
    }

    /// Loads plugins.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn load_plugins(&mut self, settings: PluginSettings) -> Result<(), PluginError> {
        if let Some(ScriptSettings { source, ready }) = settings.script {
            let component = Component::read(&source)?;
            let (linked, loaded) = self.load(&component, World::Script, "script").await?;
            let pre = ScriptPluginPre::new(linked).map_err(|e| component.unusable(&e))?;
            let engine = ScriptEngine::new(pre, self.sandboxes.clone(), ready);
            engine.fill().await;
            self.script = Some((engine, loaded));
        }
        if let Some((source, settings)) = settings.policy {
            let component = Component::read(&source)?;
            self.policy.set(self.policy_of(&component, settings).await?);
        }
        if let Some((source, settings)) = settings.payments {
            let component = Component::read(&source)?;
            self.payments
                .set(self.payments_of(&component, settings).await?);
        }
        Ok(())
    }

    /// The plugins in use.
    pub fn plugins(&self) -> Vec<LoadedPlugin> {
        let script = self.script.as_ref().map(|(_, loaded)| loaded.clone());
        [script, self.policy.loaded(), self.payments.loaded()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Makes a policy plugin ready from the bytes of a component, with the rules as they are on the disk now.
    ///
    /// # Errors
    /// [`PluginError`]; nothing has changed then.
    pub async fn fresh_policy(
        &self,
        component: Vec<u8>,
        settings: PolicySettings,
    ) -> Result<Fresh<PolicyEngine>, PluginError> {
        self.policy_of(&Component::sent(component), settings).await
    }

    /// Makes a payment plugin ready from the bytes of a component.
    ///
    /// # Errors
    /// [`PluginError`]; nothing has changed then.
    pub async fn fresh_payments(
        &self,
        component: Vec<u8>,
        settings: PaymentSettings,
    ) -> Result<Fresh<PaymentEngine>, PluginError> {
        self.payments_of(&Component::sent(component), settings)
            .await
    }

    /// From here on requests that begin use this policy.
    pub fn use_policy(&self, fresh: Fresh<PolicyEngine>) {
        self.policy.set(fresh);
    }

    /// From here on requests that begin use this payment component.
    pub fn use_payments(&self, fresh: Fresh<PaymentEngine>) {
        self.payments.set(fresh);
    }

    async fn policy_of(
        &self,
        component: &Component,
        settings: PolicySettings,
    ) -> Result<Fresh<PolicyEngine>, PluginError> {
        let path: &Path = &settings.rules;
        component.check(World::Policy)?;
        let rules = plugin::read(path)?;
        let (linked, loaded) = self.load(component, World::Policy, "policy").await?;
        let sandboxes = self.sandboxes.with_limits(settings.limits);
        let callee = callee(&linked, &sandboxes, &self.policy);
        let pre = PolicyPluginPre::new(linked).map_err(|e| component.unusable(&e))?;
        let engine =
            PolicyEngine::new(pre, sandboxes, self.policy.calls.clone(), rules, path).await?;
        Ok(Fresh {
            engine: Arc::new(engine),
            callee,
            loaded,
        })
    }

    async fn payments_of(
        &self,
        component: &Component,
        settings: PaymentSettings,
    ) -> Result<Fresh<PaymentEngine>, PluginError> {
        let (linked, loaded) = self.load(component, World::Payments, "payments").await?;
        let sandboxes = self
            .sandboxes
            .with_limits(settings.limits)
            .with_network(settings.environment, settings.egress);
        let callee = callee(&linked, &sandboxes, &self.payments);
        let engine = PaymentEngine::new(linked, sandboxes, self.payments.calls.clone());
        let engine = engine.await.map_err(|e| component.unusable(&e))?;
        Ok(Fresh {
            engine: Arc::new(engine),
            callee,
            loaded,
        })
    }
}

fn callee<T>(
    pre: &InstancePre<Guest>,
    sandboxes: &Sandboxes,
    plugin: &Swappable<T>,
) -> Arc<Callee> {
    Arc::new(Callee {
        pre: pre.clone(),
        sandboxes: sandboxes.clone(),
        calls: plugin.calls_of_agents.clone(),
    })
}
