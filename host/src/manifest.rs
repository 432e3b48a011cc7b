//! The manifest: what this host is made of and how it is set, in one document with one digest.
//!
//! It is what evidence binds, so it says everything that decides how a client's program is treated: the host's version, the
//! engine's settings, the plugins in use, the policy's rules, prices, what agents may do, and the limits. It changes when a
//! plugin is swapped, and at no other time while the host runs.

use std::collections::BTreeMap;

use serde::Serialize;

use hypervisor_agents::Deployers;

use crate::config::{Config, Limits};
use crate::executor::{Allocation, Executor, LoadedPlugin, PluginSet};

/// Version of this document's form.
const VERSION: u32 = 2;

/// The document. As CBOR its keys stand in this order.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    version: u32,
    host: &'static str,
    engine: Engine,
    /// The plugins in use. Agents come and go: they are in the component log alone.
    components: Vec<LoadedPlugin>,
    /// SHA-256 of the policy's rules, hex; none where there is no policy.
    policy_rules: Option<String>,
    /// What executions cost; none where nothing is taken.
    payments: Option<Payments<'a>>,
    agents: Agents<'a>,
    shared_compile_cache: bool,
    limits: &'a Limits,
}

#[derive(Debug, Serialize)]
struct Engine {
    allocation: Allocation,
    wasi: &'static str,
}

#[derive(Debug, Serialize)]
struct Payments<'a> {
    price: &'a str,
    prices: &'a BTreeMap<String, String>,
    networks: &'a [String],
    pay_to: &'a str,
    settle_first: bool,
}

#[derive(Debug, Serialize)]
struct Agents<'a> {
    deploy: bool,
    owners: &'a [String],
    outgoing: &'a [String],
    private_networks: &'a [String],
    depth: usize,
}

impl<'a> Manifest<'a> {
    /// Of a host with these plugins.
    pub fn new(config: &'a Config, executor: &Executor, plugins: &PluginSet) -> Self {
        let payments = &config.payments;
        let agents = &config.agents;
        Self {
            version: VERSION,
            host: concat!("hypervisor ", env!("CARGO_PKG_VERSION")),
            engine: Engine {
                allocation: executor.allocation(),
                wasi: crate::executor::WASI_VERSION,
            },
            components: plugins.loaded(),
            policy_rules: plugins.policy().map(|policy| hex(policy.rules_digest())),
            payments: plugins.payments().map(|_| Payments {
                price: &payments.price,
                prices: &payments.prices,
                networks: &payments.networks,
                pay_to: &payments.pay_to,
                settle_first: payments.settle_first,
            }),
            agents: Agents {
                deploy: agents.deployers() != Deployers::Nobody,
                owners: &agents.owners,
                outgoing: &agents.outgoing,
                private_networks: &agents.private_networks,
                depth: agents.depth,
            },
            shared_compile_cache: config.execution.shared_compile_cache,
            limits: &config.limits,
        }
    }

    /// The CBOR form, which evidence carries.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail, and these types have no value that CBOR cannot hold.
        let written = ciborium::into_writer(self, &mut bytes);
        debug_assert!(written.is_ok(), "the manifest has a CBOR form");
        bytes
    }

    /// SHA-384 over the CBOR form, hex.
    pub fn digest(&self) -> String {
        hex(&hypervisor_evidence::manifest::digest(&self.encode()))
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypervisor_protocol::PrivateKey;

    fn digest(config: &Config) -> String {
        let identity = PrivateKey::generate().public_key().clone();
        let facts = crate::attestation::HostFacts::new(identity);
        let executor = Executor::new(&config.limits.runtime(), "".into(), facts).unwrap();
        Manifest::new(config, &executor, &PluginSet::default()).digest()
    }

    #[test]
    fn the_digest_is_that_of_the_settings_and_of_nothing_else() {
        let config = Config::default();
        assert_eq!(digest(&config), digest(&config.clone()));
        let mut other = config.clone();
        other.limits.output = bytesize::ByteSize::mib(1);
        assert_ne!(digest(&config), digest(&other));
        let mut other = config.clone();
        other.execution.shared_compile_cache = true;
        assert_ne!(digest(&config), digest(&other));
    }
}
