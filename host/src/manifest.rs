//! The manifest: what this host is made of and how it is set, in one document with one digest.
//!
//! It is what evidence binds, so it says everything that decides how a client's program is treated: the host's program, the
//! engine, the plugins in use, the policy's rules, prices, what agents may do, and the limits. It changes when a plugin is
//! swapped, and at no other time while the host runs.
//!
//! Nothing in it depends on the machine: `hypervisor-ctl measure` makes the same document anywhere out of the same program,
//! configuration and components.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha384};

use hypervisor_agents::Deployers;
pub use hypervisor_evidence::manifest::digest_alone;
use hypervisor_evidence::manifest::{FleetKey, digest};

use crate::config::{Config, Limits};
use crate::executor::{LoadedPlugin, PluginSet};

/// Version of this document's form.
const VERSION: u32 = 3;

/// The document. As CBOR its keys stand in this order.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    version: u32,
    host: &'static str,
    /// SHA-384 of the host's program, hex.
    host_sha384: Option<&'a str>,
    engine: Engine,
    /// The plugins in use. Agents come and go: they are in the component log alone.
    components: Vec<LoadedPlugin>,
    /// SHA-256 of the policy's rules, hex; none where there is no policy.
    policy_rules: Option<String>,
    /// What executions cost; none where nothing is taken.
    payments: Option<Payments<'a>>,
    agents: Agents<'a>,
    environments: Environments<'a>,
    shared_compile_cache: bool,
    limits: &'a Limits,
    /// Who else may have the key of what is kept; none where the host is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetKey>,
}

#[derive(Debug, Serialize)]
struct Engine {
    wasmtime: &'static str,
    wasi: &'static str,
    /// What gives the host access to the memory of script engines: it is not of their own bytes.
    instrumenter: &'static str,
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
struct Environments<'a> {
    setup: bool,
    owners: &'a [String],
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
    /// Of a host with these plugins, whose program has the digest `program`.
    pub fn new(config: &'a Config, plugins: &'a PluginSet, program: Option<&'a str>) -> Self {
        let payments = &config.payments;
        let (agents, environments) = (&config.agents, &config.environments);
        Self {
            version: VERSION,
            host: concat!("hypervisor ", env!("CARGO_PKG_VERSION")),
            host_sha384: program,
            engine: Engine {
                wasmtime: crate::executor::WASMTIME_VERSION,
                wasi: crate::executor::WASI_VERSION,
                instrumenter: crate::executor::INSTRUMENTER_VERSION,
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
            environments: Environments {
                setup: environments.users() != Deployers::Nobody,
                owners: &environments.owners,
            },
            shared_compile_cache: config.execution.shared_compile_cache,
            limits: &config.limits,
            fleet: config.fleet.held_by(),
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

    /// SHA-384 over the CBOR form.
    pub fn sha384(&self) -> [u8; 48] {
        digest(&self.encode())
    }

    /// The same, hex.
    pub fn digest(&self) -> String {
        hex(&self.sha384())
    }
}

/// SHA-384 of a file, hex.
///
/// # Errors
/// Where it cannot be read.
pub fn sha384_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut part) = (Sha384::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(part.get(..read).unwrap_or_default()),
        }
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
    use crate::parts::{Parts, THIS_PROGRAM};

    fn digest_of(config: &Config) -> String {
        let parts = Parts::new(config, None, THIS_PROGRAM.as_ref()).unwrap();
        let program = parts.facts.program_sha384();
        Manifest::new(config, &PluginSet::default(), program).digest()
    }

    #[test]
    fn the_digest_is_that_of_the_settings_and_of_nothing_else() {
        let config = Config::default();
        assert_eq!(digest_of(&config), digest_of(&config.clone()));
        let mut other = config.clone();
        other.limits.output = bytesize::ByteSize::mib(1);
        assert_ne!(digest_of(&config), digest_of(&other));
        let mut other = config.clone();
        other.execution.shared_compile_cache = true;
        assert_ne!(digest_of(&config), digest_of(&other));
    }
}
