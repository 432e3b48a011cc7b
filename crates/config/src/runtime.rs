//! What the runtime is told of the configuration.

use std::sync::Arc;

use crate::error::Error;
use crate::origins::Origins;
use crate::{Config, Limits, Runtime, Script};
use hypervisor_runtime::{
    self as executor, Language, PaymentSettings, PluginError, PluginSettings, PolicySettings,
    ScriptSettings, Settings,
};

impl Limits {
    /// Those of one execution.
    pub fn execution(&self) -> executor::Limits {
        executor::Limits {
            cpu: self.cpu,
            wall: self.wall,
            memory: self.memory.as_u64(),
            table_elements: self.table_elements,
            instances: self.instances,
            stack: self.stack.as_u64(),
            output: self.output.as_u64(),
            stderr: self.stderr.as_u64(),
            host_buffer: self.host_buffer.as_u64(),
            handles: self.handles,
        }
    }

    /// Those of the whole runtime.
    pub fn runtime(&self) -> Settings {
        Settings {
            limits: self.execution(),
            executions: self.executions,
            compile: self.compile,
            compile_agent: self.compile_agent,
            compile_memory: self.compile_memory.as_u64(),
            compilations: self.compilations,
            peer_compilations: self.peer().compilations,
            compile_cache: self.compile_cache.as_u64(),
            cache_idle: self.session_idle,
        }
    }
}

impl Runtime {
    /// The script engines that are named.
    fn scripts(&self) -> impl Iterator<Item = ScriptSettings> {
        self.engines().into_iter().filter_map(|(language, script)| {
            Some(ScriptSettings {
                language,
                source: script.source()?,
                ready: script.ready,
            })
        })
    }

    /// The engine of each language.
    pub(crate) fn engines(&self) -> [(Language, &Script); 2] {
        [
            (Language::Python, &self.python),
            (Language::Javascript, &self.javascript),
        ]
    }
}

impl Config {
    /// The plugins that are named.
    ///
    /// # Errors
    /// When TLS cannot be set up for the payment component.
    pub fn plugins(&self) -> Result<PluginSettings, Error> {
        let payments = match self.payments.source() {
            Some(source) => Some((source, self.payment_settings()?)),
            None => None,
        };
        Ok(PluginSettings {
            scripts: self.runtime.scripts().collect(),
            policy: self
                .policy
                .source()
                .map(|source| (source, self.policy_settings())),
            payments,
        })
    }

    /// How the policy is asked.
    pub fn policy_settings(&self) -> PolicySettings {
        PolicySettings {
            rules: executor::Rules::File(self.policy.rules.clone()),
            limits: self.policy.limits(&self.limits).execution(),
        }
    }

    /// How the payment component is called.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the operator's header fields cannot be read.
    pub fn payment_settings(&self) -> Result<PaymentSettings, Error> {
        let origins = Origins::of(self.payments.endpoints()).map_err(|e| {
            Error::Plugin(PluginError::Unusable {
                path: self.payments.component.clone(),
                message: e.to_string(),
            })
        })?;
        let credentials = &self.payments.facilitator_headers;
        let origins = origins.with(credentials).map_err(|message| Error::Value {
            key: "payments.facilitator_headers",
            message,
        })?;
        Ok(PaymentSettings {
            environment: self.payments.environment(),
            limits: self.payments.limits(&self.limits).execution(),
            egress: Arc::new(origins),
        })
    }
}
