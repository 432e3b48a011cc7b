//! The plugins in use, and putting others in their place while requests go on.
//!
//! Whoever uses a plugin takes it once, at its beginning, and keeps it to its end: what is under way finishes on the plugin
//! that it began with.

use std::path::PathBuf;
use std::sync::Arc;

use const_hex::encode as hex;
use hypervisor_wasm_check::Plugins;
use serde::Serialize;
use wasmtime::component::InstancePre;

use super::Executor;
use super::guest::Guest;
use super::linked::{self, Callee};
use super::outgoing::Egress;
use super::payment::PaymentEngine;
use super::plugin::{self, Component, PluginError, Source};
use super::policy::PolicyEngine;
use super::sandbox::Sandboxes;
use super::script::{Language, ScriptEngine};
use crate::limits::Limits;
use crate::reserve::Reserves;

/// The plugins in use at one moment. Whoever embeds the runtime holds it, and puts another in its place.
#[derive(Clone, Default)]
pub struct PluginSet {
    scripts: Vec<LoadedPlugin>,
    policy: Option<Arc<Fresh<PolicyEngine>>>,
    payments: Option<Arc<Fresh<PaymentEngine>>>,
}

impl PluginSet {
    /// The policy.
    pub fn policy(&self) -> Option<&Arc<PolicyEngine>> {
        self.policy.as_ref().map(|policy| &policy.engine)
    }

    /// The payment component.
    pub fn payments(&self) -> Option<&Arc<PaymentEngine>> {
        self.payments.as_ref().map(|payments| &payments.engine)
    }

    /// As the manifest names them.
    pub fn loaded(&self) -> Vec<LoadedPlugin> {
        let policy = self.policy.as_ref().map(|policy| &policy.loaded);
        let payments = self.payments.as_ref().map(|payments| &payments.loaded);
        let plugins = self.scripts.iter().chain(policy).chain(payments);
        plugins.cloned().collect()
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Fresh<PolicyEngine>) -> Self {
        Self {
            policy: Some(Arc::new(policy)),
            ..self.clone()
        }
    }

    /// The same policy with other rules: nothing is compiled or loaded for it. None where there is no policy.
    ///
    /// # Errors
    /// [`PluginError`] where it cannot read them.
    pub async fn with_rules(&self, rules: Rules) -> Result<Option<Self>, PluginError> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        let (rules, path) = rules.read()?;
        let engine = policy.engine.with_rules(rules, &path).await?;
        Ok(Some(self.with_policy(Fresh {
            engine: Arc::new(engine),
            callee: Arc::clone(&policy.callee),
            loaded: policy.loaded.clone(),
        })))
    }

    /// SHA-384 of the policy's component, hex.
    pub fn policy_sha384(&self) -> Option<&str> {
        self.policy.as_deref().map(Fresh::sha384)
    }

    /// The same with another payment component.
    #[must_use]
    pub fn with_payments(&self, payments: Fresh<PaymentEngine>) -> Self {
        Self {
            payments: Some(Arc::new(payments)),
            ..self.clone()
        }
    }

    /// The plugin behind an interface that agents import.
    pub(super) fn callee(&self, interface: &str) -> Option<&Arc<Callee>> {
        match interface {
            linked::POLICY_INTERFACE => self.policy.as_ref().map(|policy| &policy.callee),
            linked::PAYMENT_INTERFACE => self.payments.as_ref().map(|payments| &payments.callee),
            _ => None,
        }
    }
}

/// The plugins that a host is to have.
#[derive(Default)]
pub struct PluginSettings {
    /// The script engines.
    pub scripts: Vec<ScriptSettings>,
    /// The policy, and where it comes from.
    pub policy: Option<(Source, PolicySettings)>,
    /// The payment component, and where it comes from.
    pub payments: Option<(Source, PaymentSettings)>,
}

/// How scripts are run.
#[derive(Debug, Clone)]
pub struct ScriptSettings {
    /// What they are written in.
    pub language: Language,
    /// Where the script engine comes from.
    pub source: Source,
    /// Instances kept ready for the next scripts.
    pub ready: usize,
}

/// How the policy is asked.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// The operator's rules.
    pub rules: Rules,
    /// Bounds on one decision.
    pub limits: Limits,
}

/// The operator's rules for the policy.
#[derive(Debug, Clone)]
pub enum Rules {
    /// As they are in this file now.
    File(PathBuf),
    /// These.
    Sent(Vec<u8>),
}

impl Rules {
    /// The rules, and what messages call them.
    fn read(self) -> Result<(Vec<u8>, PathBuf), PluginError> {
        match self {
            Self::File(path) => Ok((plugin::read(&path)?, path)),
            Self::Sent(rules) => Ok((rules, PathBuf::from("the rules that were sent"))),
        }
    }
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
    /// `policy`, `payments`, or the language of a script engine.
    name: &'static str,
    /// SHA-384 of the component, hex.
    sha384: String,
    /// SHA-384 of its machine code where that was made beforehand, hex.
    compiled_sha384: Option<String>,
    /// Interfaces that it imports.
    imports: Vec<String>,
}

impl LoadedPlugin {
    /// What it is: `policy`, `payments`, or a language.
    pub fn name(&self) -> &str {
        self.name
    }

    /// SHA-384 of the component, hex.
    pub fn sha384(&self) -> &str {
        &self.sha384
    }

    pub(super) fn new(
        name: &'static str,
        sha384: [u8; 48],
        component: &Component,
        imports: Vec<String>,
    ) -> Self {
        Self {
            name,
            sha384: hex(sha384),
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

impl Executor {
    /// Loads plugins. The script engine stays with the runtime; the others are in the set.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn load_plugins(
        &mut self,
        settings: PluginSettings,
    ) -> Result<PluginSet, PluginError> {
        let mut set = PluginSet::default();
        for ScriptSettings {
            language,
            source,
            ready,
        } in settings.scripts
        {
            let component = Component::read(&source)?;
            let world = plugin::script(language.name());
            let checked = component.check(world)?;
            let (linked, loaded) = self.load(&component, world, checked).await?;
            let sandboxes = self.sandboxes.clone();
            let engine = ScriptEngine::new(language, linked, sandboxes, component.sha384(), ready)
                .await
                .map_err(|e| component.unusable(&e))?;
            engine.fill().await;
            self.scripts.insert(language, engine);
            set.scripts.push(loaded);
        }
        if let Some((source, settings)) = settings.policy {
            let component = Component::read(&source)?;
            set = set.with_policy(self.policy_of(&component, settings).await?);
        }
        if let Some((source, settings)) = settings.payments {
            let component = Component::read(&source)?;
            set = set.with_payments(self.payments_of(&component, settings).await?);
        }
        self.for_agents = Plugins {
            policy: set.policy.is_some(),
            payments: set.payments.is_some(),
            rows: false,
        };
        Ok(set)
    }

    /// Makes a policy plugin ready from the bytes of a component.
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

    async fn policy_of(
        &self,
        component: &Component,
        settings: PolicySettings,
    ) -> Result<Fresh<PolicyEngine>, PluginError> {
        let checked = component.check(plugin::POLICY)?;
        let (rules, path) = settings.rules.read()?;
        let path = &path;
        let (linked, loaded) = self.load(component, plugin::POLICY, checked).await?;
        let sandboxes = self.sandboxes.with_limits(settings.limits);
        let callee = callee(&linked, &sandboxes, &self.policy_calls);
        let calls = self.policy_calls.host.clone();
        let engine = PolicyEngine::new(linked, sandboxes, calls, rules, path).await?;
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
        let checked = component.check(plugin::PAYMENTS)?;
        let (linked, loaded) = self.load(component, plugin::PAYMENTS, checked).await?;
        let sandboxes = self
            .sandboxes
            .with_limits(settings.limits)
            .with_network(settings.environment, settings.egress)
            .of(component.sha384());
        let callee = callee(&linked, &sandboxes, &self.payment_calls);
        let engine =
            PaymentEngine::new(linked, sandboxes.logging(), self.payment_calls.host.clone());
        let engine = engine.await.map_err(|e| component.unusable(&e))?;
        Ok(Fresh {
            engine: Arc::new(engine),
            callee,
            loaded,
        })
    }
}

fn callee(pre: &InstancePre<Guest>, sandboxes: &Sandboxes, calls: &Reserves) -> Arc<Callee> {
    Arc::new(Callee {
        pre: pre.clone(),
        sandboxes: sandboxes.clone(),
        calls: calls.agents.clone(),
    })
}
