//! The `attestation` import: what the host states about itself to the components in it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use hypervisor_evidence::evidence::With;
use hypervisor_evidence::{Backend, Evidence, Statement};
use hypervisor_protocol::{ContentFormat, PublicKey};
use sha2::{Digest, Sha384};
use wasmtime::component::{HasData, Linker};

use super::bindings::hypervisor::plugin::attestation as wit;
use crate::attestation::{Identity, Loader, MeasureError, Measured, Platform, now};

pub use wit::{ErrorCode, HostIdentity, Measurement};

/// Longest claim, bytes.
const MAX_CLAIM: usize = 64;

/// Facts about the host that components may ask for, and the log of what it loaded.
pub struct HostFacts {
    identity: PublicKey,
    /// The name of the backend: `none` where nothing attests.
    backend: &'static str,
    log: Measured,
    statements: OnceLock<Statements>,
}

/// What components' claims are signed with, and the evidence for the key.
pub struct Statements {
    identity: Arc<Identity>,
    evidence: Arc<Evidence>,
}

impl Statements {
    /// `evidence` is of the identity's key.
    pub fn new(identity: Arc<Identity>, evidence: Arc<Evidence>) -> Self {
        Self { identity, evidence }
    }
}

impl HostFacts {
    /// Facts of a host that has loaded nothing yet and attests nothing. `identity` is the key that stands for it.
    pub fn new(identity: PublicKey) -> Arc<Self> {
        Arc::new(Self::with(identity, "none", Measured::unattested()))
    }

    /// The same on a platform: its log is extended into the platform's runtime register where it has one, and written to
    /// `folder` where one is given.
    ///
    /// # Errors
    /// When the register cannot be read, or the log's file not be made.
    pub fn on(
        platform: &Platform,
        identity: PublicKey,
        folder: Option<&Path>,
    ) -> Result<Arc<Self>, MeasureError> {
        let (Ok(attester), Some(backend)) = (platform.attester(), platform.backend()) else {
            return Ok(Self::new(identity));
        };
        let log = Measured::on(attester, folder)?;
        Ok(Arc::new(Self::with(identity, backend.name(), log)))
    }

    fn with(identity: PublicKey, backend: &'static str, log: Measured) -> Self {
        Self {
            identity,
            backend,
            log,
            statements: OnceLock::new(),
        }
    }

    /// Appends a component of the operator's to the log. Called before the component is instantiated for the first time;
    /// after an error it must not be.
    ///
    /// # Errors
    /// [`MeasureError`]. A register that is not what the log says poisons the log.
    pub fn measure(
        &self,
        name: &str,
        component: &[u8],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        let sha384 = Sha384::digest(component).into();
        self.log.append(Loader::Operator, name, sha384, imports)
    }

    /// The same for an agent of `owner`, whose component has the SHA-384 `sha384`.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn measure_agent(
        &self,
        owner: &str,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        self.log.append(Loader::Owner(owner), name, sha384, imports)
    }

    /// Whether the log takes a deployment of `owner`.
    ///
    /// # Errors
    /// [`MeasureError::Quota`].
    pub fn room_for(&self, owner: &str) -> Result<(), MeasureError> {
        self.log.room_for(owner)
    }

    /// The log of what was loaded.
    pub(crate) fn log(&self) -> &Measured {
        &self.log
    }

    /// The log so far, as components see it.
    pub fn component_log(&self) -> wit::ComponentLog {
        self.log.read(|log| wit::ComponentLog {
            entries: log
                .entries()
                .iter()
                .map(|entry| Measurement {
                    name: entry.name.clone(),
                    digest: entry.digest.0.to_vec(),
                    imports: entry.imports.clone(),
                })
                .collect(),
            head: log.head().head.to_vec(),
        })
    }

    /// Entries of the log so far.
    pub fn log_length(&self) -> u64 {
        self.log.length()
    }

    /// Whether register and log disagree: the host must not stand for the log.
    pub fn is_log_poisoned(&self) -> bool {
        self.log.is_poisoned()
    }

    /// Makes components' claims possible.
    pub fn introduce(&self, statements: Statements) {
        let _ = self.statements.set(statements);
    }

    /// Whether components' claims are possible, and their digests worth computing.
    pub fn makes_statements(&self) -> bool {
        self.statements.get().is_some()
    }
}

impl std::fmt::Debug for HostFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFacts")
            .field("identity", &self.identity)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// The part of a store's data that the import works on.
pub struct AttestationView<'a> {
    /// Shared by every store of the host.
    pub facts: &'a Arc<HostFacts>,
    /// SHA-384 of the program in the store, where it was computed.
    pub program: Option<[u8; 48]>,
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
        let (Some(statements), Some(program)) = (self.facts.statements.get(), self.program) else {
            return Err(ErrorCode::Unavailable(
                "this host has no attester".to_owned(),
            ));
        };
        let failed = |_| ErrorCode::InternalError(None);
        let sign =
            |message: &[u8]| Ok::<_, std::convert::Infallible>(statements.identity.sign(message));
        let statement = Statement::new(claim, program, now()).map_err(failed)?;
        let statement = statement.sign(sign).map_err(failed)?;
        let with = With {
            statement: Some(&statement),
            inclusion: None,
        };
        let evidence = &statements.evidence;
        evidence
            .encode_with(ContentFormat::Cbor, with)
            .map_err(failed)
    }

    fn measurements(&mut self) -> wit::ComponentLog {
        self.facts.component_log()
    }

    fn identity(&mut self) -> HostIdentity {
        HostIdentity {
            public_key: self.facts.identity.to_bytes().to_vec(),
            backend: self.facts.backend.to_owned(),
            simulated: self.facts.backend == Backend::Simulated.name(),
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
                facts
                    .measure(name, b"component", vec!["wasi:io/poll@0.2.0".to_owned()])
                    .unwrap();
            }
            let log = AttestationView {
                facts: &facts,
                program: None,
            }
            .measurements();
            assert_eq!(log.entries.len(), 2);
            log.head
        });
        assert_ne!(heads[0], heads[1]);
    }

    #[test]
    fn a_host_without_an_attester_says_so_and_refuses_long_claims_first() {
        let facts = facts();
        let mut view = AttestationView {
            facts: &facts,
            program: None,
        };
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
