//! What the host states about itself to the components in it, and the log of what it loaded.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hypervisor_attestation::{Identity, Loader, MeasureError, Measured, now};
use hypervisor_evidence::evidence::With;
use hypervisor_evidence::{Backend, ComponentLog, Evidence, Statement};
use hypervisor_protocol::ContentFormat;
use hypervisor_telemetry::metrics;
use tokio::sync::watch;

use super::Platform;
use crate::executor::{HostIdentity, Measurement, Measurements, NoEvidence, Surroundings};
use crate::manifest;

/// So long a component that was loaded just now waits for evidence that has it: about a quote's time, and that of one before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Facts about the host that components may ask for, and the log of what it loaded.
pub struct HostFacts {
    identity: Arc<Identity>,
    /// None where nothing attests.
    backend: Option<Backend>,
    log: Arc<Measured>,
    /// What components' claims go with; none until there is some.
    introduced: watch::Sender<Option<Arc<Introduced>>>,
    /// The host's program, and its digest once that was asked for.
    program: PathBuf,
    digest: OnceLock<Option<String>>,
}

/// Evidence of the identity's key.
struct Introduced {
    evidence: Arc<Evidence>,
    /// Digests of the components in its log.
    programs: HashSet<[u8; 48]>,
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
            introduced: watch::Sender::default(),
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

    /// Makes claims possible of the components that are in its log: `evidence` is of the identity's key.
    pub fn introduce(&self, evidence: Arc<Evidence>) {
        let log = evidence.log.as_deref();
        let log = log.and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok());
        let entries = log.iter().flat_map(ComponentLog::entries);
        let introduced = Introduced {
            programs: entries.map(|entry| entry.digest.0).collect(),
            evidence,
        };
        self.introduced.send_replace(Some(Arc::new(introduced)));
    }

    fn introduced(&self) -> Result<Arc<Introduced>, NoEvidence> {
        let introduced = self.introduced.borrow().clone();
        introduced.ok_or(NoEvidence::Unavailable)
    }

    /// Whether a program is in the log, and not in that of what claims go with.
    fn is_new(&self, introduced: &Introduced, program: &[u8; 48]) -> bool {
        let is_program = |entry: &hypervisor_evidence::LogEntry| entry.digest.0 == *program;
        !introduced.programs.contains(program)
            && self.log.read(|log| log.entries().iter().any(is_program))
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
        self.introduced().is_ok()
    }

    fn settled(&self, program: [u8; 48]) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut introduced = self.introduced.subscribe();
        Box::pin(async move {
            let is_settled = |introduced: &Option<Arc<Introduced>>| {
                let introduced = introduced.as_deref();
                introduced.is_none_or(|introduced| !self.is_new(introduced, &program))
            };
            // Who has waited in vain is told so.
            let _ = tokio::time::timeout(PATIENCE, introduced.wait_for(is_settled)).await;
        })
    }

    fn statement(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        // What nobody can verify is not said.
        self.introduced()?;
        let failed = |_| NoEvidence::Failed;
        let sign = |message: &[u8]| Ok::<_, Infallible>(self.identity.sign(message));
        let statement = Statement::new(claim, program, now()).map_err(failed)?;
        statement.sign(sign).map_err(failed)
    }

    fn evidence(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        let introduced = self.introduced()?;
        if self.is_new(&introduced, &program) {
            return Err(NoEvidence::Busy);
        }
        let failed = |_| NoEvidence::Failed;
        let statement = self.statement(claim, program)?;
        let with = With {
            statement: Some(&statement),
            ..With::default()
        };
        (introduced.evidence)
            .encode_with(ContentFormat::Cbor, with)
            .map_err(failed)
    }

    fn decided(&self, kind: &'static str, end: &'static str) {
        metrics::decision(kind, end);
    }

    fn compiled(&self, took: Duration) {
        metrics::Step::Compile.took(took);
    }
}
