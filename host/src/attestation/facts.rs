//! What the host states about itself to the components in it, and the log of what it loaded.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hypervisor_attestation::{Identity, Loader, MeasureError, Measured, now};
use hypervisor_evidence::evidence::With;
use hypervisor_evidence::{Backend, Evidence, Statement};
use hypervisor_protocol::ContentFormat;

use super::Platform;
use crate::executor::{HostIdentity, Measurement, Measurements, NoEvidence, Surroundings};
use crate::{manifest, metrics};

/// Facts about the host that components may ask for, and the log of what it loaded.
pub struct HostFacts {
    identity: Arc<Identity>,
    /// None where nothing attests.
    backend: Option<Backend>,
    log: Arc<Measured>,
    /// Of the identity's key: what components' claims go with.
    evidence: OnceLock<Arc<Evidence>>,
    /// The host's program, and its digest once that was asked for.
    program: PathBuf,
    digest: OnceLock<Option<String>>,
}

impl HostFacts {
    /// Facts of a host that has loaded nothing yet. `identity` stands for it. Its log is extended into the platform's runtime
    /// register where it has one, and written to `folder` where one is given. `program` is the host's own file.
    ///
    /// # Errors
    /// When the register cannot be read, or the log's file not be made.
    pub fn on(
        platform: &Platform,
        identity: Arc<Identity>,
        folder: Option<&Path>,
        program: PathBuf,
    ) -> Result<Arc<Self>, MeasureError> {
        let log = match platform.attester() {
            Ok(attester) => Measured::on(attester, folder)?,
            Err(_) => Measured::unattested(),
        };
        Ok(Arc::new(Self {
            identity,
            backend: platform.backend(),
            log: Arc::new(log),
            evidence: OnceLock::new(),
            program,
            digest: OnceLock::new(),
        }))
    }

    /// The log of what was loaded.
    pub fn log(&self) -> &Arc<Measured> {
        &self.log
    }

    /// What stands for the host.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// SHA-384 of the host's program, hex; none where its file cannot be read. Read when it is first asked for.
    pub fn program_sha384(&self) -> Option<&str> {
        let digest = || {
            manifest::sha384_of(&self.program)
                .inspect_err(|error| {
                    tracing::warn!(program = ?self.program, %error, "the host's program cannot be measured");
                })
                .ok()
        };
        self.digest.get_or_init(digest).as_deref()
    }

    /// Makes components' claims possible: `evidence` is of the identity's key.
    pub fn introduce(&self, evidence: Arc<Evidence>) {
        let _ = self.evidence.set(evidence);
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
        Ok(self.log.append(Loader::Operator, name, sha384, imports)?)
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
            public_key: self.identity.public_key().to_bytes().to_vec(),
            backend: self.backend.map_or("none", Backend::name).to_owned(),
            simulated: self.backend == Some(Backend::Simulated),
        }
    }

    fn makes_statements(&self) -> bool {
        self.evidence.get().is_some()
    }

    fn statement(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        // What nobody can verify is not said.
        let _evidence = self.evidence.get().ok_or(NoEvidence::Unavailable)?;
        let failed = |_| NoEvidence::Failed;
        let sign = |message: &[u8]| Ok::<_, Infallible>(self.identity.sign(message));
        let statement = Statement::new(claim, program, now()).map_err(failed)?;
        statement.sign(sign).map_err(failed)
    }

    fn evidence(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        let evidence = self.evidence.get().ok_or(NoEvidence::Unavailable)?;
        let failed = |_| NoEvidence::Failed;
        let statement = self.statement(claim, program)?;
        let with = With {
            statement: Some(&statement),
            ..With::default()
        };
        evidence
            .encode_with(ContentFormat::Cbor, with)
            .map_err(failed)
    }

    fn decided(&self, kind: &'static str, end: &'static str) {
        metrics::decision(kind, end);
    }
}
