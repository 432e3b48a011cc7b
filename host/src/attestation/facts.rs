//! What the host states about itself to the components in it, and the log of what it loaded.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use hypervisor_evidence::evidence::With;
use hypervisor_evidence::{Backend, Evidence, Statement};
use hypervisor_protocol::{ContentFormat, PublicKey};

use super::{Identity, Loader, MeasureError, Measured, Platform, now};
use crate::executor::{HostIdentity, Measurement, Measurements, NoEvidence, Surroundings};

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
    /// after an error it must not be. `sha384` is the component's.
    ///
    /// # Errors
    /// [`MeasureError`]. A register that is not what the log says poisons the log.
    pub fn measure(
        &self,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        self.log.append(Loader::Operator, name, sha384, imports)
    }

    /// The same for an agent.
    ///
    /// # Errors
    /// As [`Self::measure`], and [`MeasureError::Quota`].
    pub fn measure_agent(
        &self,
        loader: Loader<'_>,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        self.log.append(loader, name, sha384, imports)
    }

    /// The log of what was loaded.
    pub(crate) fn log(&self) -> &Measured {
        &self.log
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
}

impl std::fmt::Debug for HostFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFacts")
            .field("identity", &self.identity)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl Surroundings for HostFacts {
    fn measure(
        &self,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self::measure(self, name, sha384, imports)?)
    }

    fn measurements(&self) -> Measurements {
        self.log.read(|log| Measurements {
            entries: log
                .entries()
                .iter()
                .map(|entry| Measurement {
                    name: entry.name.clone(),
                    sha384: entry.digest.0,
                    imports: entry.imports.clone(),
                })
                .collect(),
            head: log.head().head.to_vec(),
        })
    }

    fn identity(&self) -> HostIdentity {
        HostIdentity {
            public_key: self.identity.to_bytes().to_vec(),
            backend: self.backend.to_owned(),
            simulated: self.backend == Backend::Simulated.name(),
        }
    }

    fn makes_statements(&self) -> bool {
        self.statements.get().is_some()
    }

    fn evidence(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        let statements = self.statements.get().ok_or(NoEvidence::Unavailable)?;
        let failed = |_| NoEvidence::Failed;
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
}

#[cfg(test)]
mod tests {
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
                    .measure(name, [7; 48], vec!["wasi:io/poll@0.2.0".to_owned()])
                    .unwrap();
            }
            let log = facts.measurements();
            assert_eq!(log.entries.len(), 2);
            log.head
        });
        assert_ne!(heads[0], heads[1]);
    }
}
