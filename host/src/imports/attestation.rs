//! The `attestation` import: what the host states about itself to the components in it.

use std::sync::{Arc, Mutex, PoisonError};

use hypervisor_protocol::PublicKey;
use sha2::{Digest, Sha384};
use wasmtime::component::{HasData, Linker};

use super::bindings::hypervisor::plugin::attestation as wit;

pub use wit::{ComponentLog, ErrorCode, HostIdentity, Measurement};

/// Longest claim, bytes.
const MAX_CLAIM: usize = 64;
/// First bytes of what a log head hashes.
const LOG_LABEL: &[u8] = b"hypervisor/v1 component-log";

/// Facts about the host that components may ask for.
#[derive(Debug)]
pub struct HostFacts {
    identity: PublicKey,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    entries: Vec<Measurement>,
    head: [u8; 48],
}

impl HostFacts {
    /// Facts of a host that has loaded nothing yet. `identity` is the key that stands for it.
    pub fn new(identity: PublicKey) -> Arc<Self> {
        let log = Log {
            entries: Vec::new(),
            head: [0; 48],
        };
        Arc::new(Self {
            identity,
            log: Mutex::new(log),
        })
    }

    /// Appends a component to the log. Called before the component is instantiated for the first time.
    ///
    /// head′ = SHA-384(label ‖ head ‖ lp(name) ‖ digest ‖ u32 n ‖ lp(import)…), lp(x) = u32 BE length ‖ x.
    pub fn measure(&self, name: &str, component: &[u8], imports: Vec<String>) -> [u8; 48] {
        let digest: [u8; 48] = Sha384::digest(component).into();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hash = Sha384::new();
        hash.update(LOG_LABEL);
        hash.update(log.head);
        update_prefixed(&mut hash, name.as_bytes());
        hash.update(digest);
        hash.update(length(imports.len()));
        for import in &imports {
            update_prefixed(&mut hash, import.as_bytes());
        }
        log.head = hash.finalize().into();
        log.entries.push(Measurement {
            name: name.to_owned(),
            digest: digest.to_vec(),
            imports,
        });
        digest
    }

    /// The log so far.
    pub fn component_log(&self) -> ComponentLog {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        ComponentLog {
            entries: log.entries.clone(),
            head: log.head.to_vec(),
        }
    }
}

fn update_prefixed(hash: &mut Sha384, bytes: &[u8]) {
    hash.update(length(bytes.len()));
    hash.update(bytes);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// The part of a store's data that the import works on.
pub struct AttestationView<'a> {
    /// Shared by every store of the host.
    pub facts: &'a Arc<HostFacts>,
}

/// Ties [`AttestationView`] to the generated bindings.
struct Attestation;

impl HasData for Attestation {
    type Data<'a> = AttestationView<'a>;
}

/// Adds `hypervisor:plugin/attestation@0.1.0` to `linker`. `get` projects a store's data to the view.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> AttestationView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Attestation>(linker, get)
}

impl wit::Host for AttestationView<'_> {
    fn evidence(&mut self, claim: Vec<u8>) -> Result<Vec<u8>, ErrorCode> {
        if claim.len() > MAX_CLAIM {
            return Err(ErrorCode::ClaimTooLong(
                u64::try_from(claim.len()).unwrap_or(u64::MAX),
            ));
        }
        Err(ErrorCode::Unavailable(
            "this host has no attester".to_owned(),
        ))
    }

    fn measurements(&mut self) -> ComponentLog {
        self.facts.component_log()
    }

    fn identity(&mut self) -> HostIdentity {
        HostIdentity {
            public_key: self.facts.identity.to_bytes().to_vec(),
            backend: "none".to_owned(),
            simulated: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wit::Host;
    use super::*;
    use hypervisor_protocol::PrivateKey;

    fn facts() -> Arc<HostFacts> {
        HostFacts::new(PrivateKey::generate().public_key().clone())
    }

    #[test]
    fn the_log_head_covers_every_entry_and_their_order() {
        let heads = [["a", "b"], ["b", "a"]].map(|names| {
            let facts = facts();
            for name in names {
                facts.measure(name, b"component", vec!["wasi:io/poll@0.2.0".to_owned()]);
            }
            let log = AttestationView { facts: &facts }.measurements();
            assert_eq!(log.entries.len(), 2);
            log.head
        });
        assert_ne!(heads[0], heads[1]);
    }

    #[test]
    fn a_host_without_an_attester_says_so_and_refuses_long_claims_first() {
        let facts = facts();
        let mut view = AttestationView { facts: &facts };
        assert!(matches!(
            view.evidence(vec![0; 65]),
            Err(ErrorCode::ClaimTooLong(65))
        ));
        assert!(matches!(
            view.evidence(vec![0; 64]),
            Err(ErrorCode::Unavailable(_))
        ));
        assert_eq!(view.identity().backend, "none");
    }
}
