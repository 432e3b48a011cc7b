//! Swapping plugins while requests go on: the new one is checked, compiled, measured and tried first, then takes the place of
//! the old in one step. Whatever goes wrong before that step changes neither plugins nor manifest; a component that was tried
//! stays in the component log, for it was measured before it was instantiated.

use serde::{Deserialize, Serialize};

use super::App;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::metrics;
use crate::payments;

/// The plugins that can be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plugin {
    /// What takes payments.
    Payments,
    /// What decides; its rules are read from the disk anew.
    Policy,
}

/// A swap that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// Which plugin.
    pub plugin: Plugin,
    /// SHA-384 of the component now in use, hex.
    pub sha384: String,
    /// SHA-384 of the manifest from now on, hex.
    pub manifest_sha384: String,
    /// Entries of the component log, this one included.
    pub log_entries: u64,
}

impl App {
    /// Puts `component` in the place of a plugin. Requests under way finish on the one that they began with.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn swap(&self, plugin: Plugin, component: Vec<u8>) -> Result<Swapped, String> {
        // What has begun is brought to its end whether or not the operator waits.
        let _one = self.swapping.lock().await;
        let swapped = self.exchange(plugin, component).await;
        let (sha384, manifest_sha384) = swapped.inspect_err(|_| metrics::swap("refused"))?;
        let log_entries = self.facts.log_length();
        metrics::swap(match plugin {
            Plugin::Payments => "payments",
            Plugin::Policy => "policy",
        });
        tracing::warn!(
            ?plugin,
            sha384,
            manifest_sha384,
            "a plugin was swapped; who verified this host before must verify it again"
        );
        Ok(Swapped {
            plugin,
            sha384,
            manifest_sha384,
            log_entries,
        })
    }

    /// Makes the new plugin ready, and then switches. Gives its digest and that of the manifest.
    async fn exchange(
        &self,
        plugin: Plugin,
        component: Vec<u8>,
    ) -> Result<(String, String), String> {
        let refused = |error: Error| error.to_string();
        let config = &self.config;
        let absent = |section| {
            format!(
                "this host was started without a plugin in [{section}], so there is none to swap; restart it with one"
            )
        };
        match plugin {
            Plugin::Policy => {
                if !self.executor.has_policy() {
                    return Err(absent("policy"));
                }
                let fresh = self
                    .executor
                    .fresh_policy(component, config.policy_settings())
                    .await
                    .map_err(|e| refused(e.into()))?;
                let sha384 = fresh.sha384().to_owned();
                Ok((
                    sha384,
                    self.become_another(|| self.executor.use_policy(fresh)),
                ))
            }
            Plugin::Payments => {
                let Some(payments) = &self.payments else {
                    return Err(absent("payments"));
                };
                let settings = config.payment_settings().map_err(refused)?;
                let fresh = self
                    .executor
                    .fresh_payments(component, settings)
                    .await
                    .map_err(|e| refused(e.into()))?;
                let offers = self.agents.all_offers();
                payments::accepts(config, &fresh.engine, &super::PAID_ROUTES, &offers)
                    .await
                    .map_err(refused)?;
                let sha384 = fresh.sha384().to_owned();
                let manifest = self.become_another(|| {
                    payments.replace(std::sync::Arc::clone(&fresh.engine));
                    self.executor.use_payments(fresh);
                });
                Ok((sha384, manifest))
            }
        }
    }

    /// Switches, and the manifest with it; gives the manifest's digest.
    fn become_another(&self, change: impl FnOnce()) -> String {
        let mut digest = String::new();
        self.switch(|| {
            change();
            let manifest = Manifest::new(&self.config, &self.executor);
            digest = manifest.digest();
            if let Ok(attestation) = &self.attestation {
                attestation.replace_manifest(manifest.encode());
            }
        });
        digest
    }
}
