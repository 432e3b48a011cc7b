//! The plugins in use, and putting others in their place while requests go on.
//!
//! Whoever uses a plugin takes it once, at its beginning, and keeps it to its end: what is under way finishes on the plugin
//! that it began with.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use wasmtime::component::InstancePre;

use super::Executor;
use super::guest::Guest;
use super::linked::{Callee, Slot};
use super::origins::Origins;
use super::payment::PaymentEngine;
use super::plugin::{self, Component, PluginError, World};
use super::policy::PolicyEngine;
use super::sandbox::Sandboxes;
use super::script::ScriptEngine;
use super::worlds::payments::PaymentPluginPre;
use super::worlds::policy::PolicyPluginPre;
use super::worlds::script::ScriptPluginPre;
use crate::config::Config;
use crate::manifest::hex;

/// A plugin that can be replaced.
pub(super) struct Swappable<T> {
    current: RwLock<Option<Arc<T>>>,
    /// The same plugin as agents call it.
    callee: Slot,
    loaded: RwLock<Option<LoadedPlugin>>,
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
            sha384: hex(&component.sha384()),
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
    /// Loads the plugins that the configuration names.
    pub async fn load_plugins(&mut self, config: &Config) -> Result<(), PluginError> {
        if let Some(source) = config.script.source() {
            let component = Component::read(&source)?;
            let (linked, loaded) = self.load(&component, World::Script, "script").await?;
            let pre = ScriptPluginPre::new(linked).map_err(|e| component.unusable(&e))?;
            let engine = ScriptEngine::new(pre, self.sandboxes.clone(), config.script.ready);
            engine.fill().await;
            self.script = Some((engine, loaded));
        }
        if let Some(source) = config.policy.source() {
            let component = Component::read(&source)?;
            self.policy.set(self.policy_of(&component, config).await?);
        }
        if let Some(source) = config.payments.source() {
            let component = Component::read(&source)?;
            self.payments
                .set(self.payments_of(&component, config).await?);
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
        config: &Config,
    ) -> Result<Fresh<PolicyEngine>, PluginError> {
        self.policy_of(&Component::sent(component), config).await
    }

    /// Makes a payment plugin ready from the bytes of a component.
    ///
    /// # Errors
    /// [`PluginError`]; nothing has changed then.
    pub async fn fresh_payments(
        &self,
        component: Vec<u8>,
        config: &Config,
    ) -> Result<Fresh<PaymentEngine>, PluginError> {
        self.payments_of(&Component::sent(component), config).await
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
        config: &Config,
    ) -> Result<Fresh<PolicyEngine>, PluginError> {
        let path: &Path = &config.policy.rules;
        component.check(World::Policy)?;
        let rules = plugin::read(path)?;
        let (linked, loaded) = self.load(component, World::Policy, "policy").await?;
        let sandboxes = self
            .sandboxes
            .with_limits(config.policy.limits(&config.limits));
        let callee = callee(&linked, &sandboxes);
        let pre = PolicyPluginPre::new(linked).map_err(|e| component.unusable(&e))?;
        let engine = PolicyEngine::new(pre, sandboxes, rules, path).await?;
        Ok(Fresh {
            engine: Arc::new(engine),
            callee,
            loaded,
        })
    }

    async fn payments_of(
        &self,
        component: &Component,
        config: &Config,
    ) -> Result<Fresh<PaymentEngine>, PluginError> {
        let (linked, loaded) = self.load(component, World::Payments, "payments").await?;
        let settings = &config.payments;
        let origins = Origins::of(settings.endpoints())
            .map_err(|e| component.unusable(&wasmtime::Error::msg(e.to_string())))?;
        let sandboxes = self
            .sandboxes
            .with_limits(settings.limits(&config.limits))
            .with_network(settings.environment(), Arc::new(origins));
        let callee = callee(&linked, &sandboxes);
        let pre = PaymentPluginPre::new(linked).map_err(|e| component.unusable(&e))?;
        Ok(Fresh {
            engine: Arc::new(PaymentEngine::new(pre, sandboxes)),
            callee,
            loaded,
        })
    }
}

fn callee(pre: &InstancePre<Guest>, sandboxes: &Sandboxes) -> Arc<Callee> {
    Arc::new(Callee {
        pre: pre.clone(),
        sandboxes: sandboxes.clone(),
    })
}
