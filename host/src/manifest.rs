//! The manifest: what this host is made of and how it is set, in one document with one digest.
//!
//! It is what evidence will bind, so it says everything that decides how a client's program is treated: the host's
//! version, the engine's settings, the components loaded with authority, the policy's rules, and the limits.

use serde::Serialize;

use crate::config::{Config, Limits};
use crate::executor::{Allocation, Executor};

/// Version of this document's form.
const VERSION: u32 = 1;

/// The document. As CBOR its keys stand in this order.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    version: u32,
    host: &'static str,
    engine: Engine,
    components: Vec<Component>,
    /// SHA-384 over the component log: each entry in its order.
    log_head: String,
    /// SHA-256 of the policy's rules, hex; none where there is no policy.
    policy_rules: Option<String>,
    shared_compile_cache: bool,
    limits: &'a Limits,
}

#[derive(Debug, Serialize)]
struct Engine {
    allocation: Allocation,
    wasi: &'static str,
}

#[derive(Debug, Serialize)]
struct Component {
    name: String,
    /// SHA-384 of the component, hex.
    sha384: String,
    /// SHA-384 of its machine code where that was made beforehand, hex.
    compiled_sha384: Option<String>,
    imports: Vec<String>,
}

impl<'a> Manifest<'a> {
    /// Of a host whose plugins are loaded.
    pub fn new(config: &'a Config, executor: &Executor) -> Self {
        let log = executor.facts().component_log();
        let compiled = |name: &str| {
            let source = match name {
                "script" => config.script.source(),
                "policy" => config.policy.source(),
                "payments" => config.payments.source(),
                _ => None,
            };
            source.and_then(|source| source.compiled_sha384().map(str::to_owned))
        };
        Self {
            version: VERSION,
            host: concat!("hypervisor ", env!("CARGO_PKG_VERSION")),
            engine: Engine {
                allocation: executor.allocation(),
                wasi: crate::executor::WASI_VERSION,
            },
            components: log
                .entries
                .into_iter()
                .map(|entry| Component {
                    compiled_sha384: compiled(&entry.name),
                    sha384: hex(&entry.digest),
                    imports: entry.imports,
                    name: entry.name,
                })
                .collect(),
            log_head: hex(&log.head),
            policy_rules: executor.rules_digest().map(|digest| hex(digest)),
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
        hex(&hypervisor_attest::manifest::digest(&self.encode()))
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
        let facts = crate::imports::attestation::HostFacts::new(identity);
        let executor = Executor::new(&config.limits, "".into(), facts).unwrap();
        Manifest::new(config, &executor).digest()
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
