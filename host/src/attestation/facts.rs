//! What the host states about itself to the components in it, and the log of what it loaded.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hypervisor_attest::{Backend, ComponentLog, Evidence, LogEntry, LogHead, Statement};
use hypervisor_attest_tsm::{Attester, extend_and_check};
use hypervisor_protocol::{ContentFormat, HexArray, PublicKey};

use super::{Identity, Platform, now};
use crate::executor::{HostIdentity, Measurement, Measurements, NoEvidence, Surroundings};

/// Facts about the host that components may ask for, and the log of what it loaded.
pub struct HostFacts {
    identity: PublicKey,
    /// The name of the backend: `none` where nothing attests.
    backend: &'static str,
    /// The platform's runtime register, where it has one: extended by every entry of the log.
    register: Option<Arc<dyn Attester>>,
    log: Mutex<Log>,
    statements: OnceLock<Statements>,
}

struct Log {
    entries: hypervisor_attest::ComponentLog,
    /// Where entries are written as they come.
    file: Option<File>,
    /// The register does not hold what the log says.
    poisoned: bool,
}

/// The log as evidence needs it.
pub struct LogState {
    /// Head and length.
    pub head: LogHead,
    /// The whole log, CBOR.
    pub encoded: Vec<u8>,
    /// Whether it is extended into a register.
    pub register_bound: bool,
    /// Whether register and log disagree: the host must not stand for it.
    pub poisoned: bool,
}

/// What components' claims are signed with, and the evidence for the key.
pub struct Statements {
    identity: Arc<Identity>,
    evidence: Evidence,
}

impl Statements {
    /// `evidence` is of the identity's key.
    pub fn new(identity: Arc<Identity>, evidence: Evidence) -> Self {
        Self { identity, evidence }
    }
}

/// Why a component could not be measured, and so is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The log cannot take it.
    #[error("the component log: {0}")]
    Log(#[from] hypervisor_attest::Error),
    /// The log cannot be written.
    #[error("writing the component log: {0}")]
    Write(#[from] std::io::Error),
    /// The register was not extended as it should.
    #[error("extending the runtime register: {0}")]
    Register(#[from] hypervisor_attest_tsm::Error),
}

impl HostFacts {
    /// Facts of a host that has loaded nothing yet and attests nothing. `identity` is the key that stands for it.
    pub fn new(identity: PublicKey) -> Arc<Self> {
        Arc::new(Self::with(
            identity,
            "none",
            None,
            None,
            ComponentLog::new(),
        ))
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
        let file = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                Some(File::create(folder.join("component-log.jsonl"))?)
            }
            None => None,
        };
        let register = attester
            .capabilities()
            .runtime_register
            .then(|| Arc::clone(attester));
        let log = match &register {
            Some(register) => ComponentLog::with_register(register.read_register()?),
            None => ComponentLog::new(),
        };
        Ok(Arc::new(Self::with(
            identity,
            backend.name(),
            register,
            file,
            log,
        )))
    }

    fn with(
        identity: PublicKey,
        backend: &'static str,
        register: Option<Arc<dyn Attester>>,
        file: Option<File>,
        entries: ComponentLog,
    ) -> Self {
        Self {
            identity,
            backend,
            register,
            log: Mutex::new(Log {
                entries,
                file,
                poisoned: false,
            }),
            statements: OnceLock::new(),
        }
    }

    /// Appends a component to the log, writes the entry through to the disk, extends the register and reads it back, all
    /// under one lock. Called before the component is instantiated for the first time; after an error it must not be.
    /// `sha384` is the component's.
    ///
    /// # Errors
    /// [`MeasureError`]. A register that is not what the log says poisons the log.
    pub fn measure(
        &self,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        self.append(LogEntry {
            name: name.to_owned(),
            digest: HexArray(sha384),
            imports,
        })
    }

    fn append(&self, entry: LogEntry) -> Result<(), MeasureError> {
        let mut log = self.lock();
        let line = ContentFormat::Json
            .encode(&entry)
            .map_err(std::io::Error::other)?;
        let digest = log.entries.append(entry)?;
        if let Some(file) = &mut log.file {
            file.write_all(&line)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
        }
        if let Some(register) = &self.register {
            let extended = extend_and_check(register.as_ref(), &digest);
            if extended.as_ref().ok() != log.entries.register().as_ref() {
                log.poisoned = true;
                tracing::error!("the runtime register does not hold what the component log says");
                return Err(extended
                    .err()
                    .unwrap_or(hypervisor_attest_tsm::Error::RegisterMismatch)
                    .into());
            }
        }
        Ok(())
    }

    /// Entries that the log still takes.
    pub fn room_in_log(&self) -> usize {
        let taken = self.lock().entries.entries().len();
        hypervisor_attest::log::MAX_ENTRIES.saturating_sub(taken)
    }

    /// The log so far, as evidence needs it.
    pub fn log(&self) -> LogState {
        let log = self.lock();
        LogState {
            head: log.entries.head(),
            // Entries were checked when they were appended.
            encoded: log.entries.encode(ContentFormat::Cbor).unwrap_or_default(),
            register_bound: self.register.is_some(),
            poisoned: log.poisoned,
        }
    }

    /// Entries of the log so far.
    pub fn log_length(&self) -> u64 {
        self.lock().entries.head().count
    }

    /// Whether register and log disagree: the host must not stand for the log.
    pub fn is_log_poisoned(&self) -> bool {
        self.lock().poisoned
    }

    /// Makes components' claims possible.
    pub fn introduce(&self, statements: Statements) {
        let _ = self.statements.set(statements);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
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
        let log = self.lock();
        Measurements {
            entries: log
                .entries
                .entries()
                .iter()
                .map(|entry| Measurement {
                    name: entry.name.clone(),
                    sha384: entry.digest.0,
                    imports: entry.imports.clone(),
                })
                .collect(),
            head: log.entries.head().head.to_vec(),
        }
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
        let mut evidence = statements.evidence.clone();
        evidence.statement = Some(statement.sign(sign).map_err(failed)?);
        evidence.encode(ContentFormat::Cbor).map_err(failed)
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

    /// A platform whose register takes no extension, though it says so.
    struct Stuck;

    impl Attester for Stuck {
        fn backend(&self) -> hypervisor_attest_tsm::Backend {
            hypervisor_attest_tsm::Backend::Tdx
        }

        fn capabilities(&self) -> hypervisor_attest_tsm::Capabilities {
            hypervisor_attest_tsm::Capabilities {
                runtime_register: true,
                certificates: false,
            }
        }

        fn quote(
            &self,
            _: &[u8; 64],
        ) -> Result<hypervisor_attest_tsm::Quote, hypervisor_attest_tsm::Error> {
            Err(hypervisor_attest_tsm::Error::RegisterMismatch)
        }

        fn extend(&self, _: &[u8; 48]) -> Result<(), hypervisor_attest_tsm::Error> {
            Ok(())
        }

        fn read_register(&self) -> Result<[u8; 48], hypervisor_attest_tsm::Error> {
            Ok([0; 48])
        }
    }

    #[test]
    fn a_register_that_does_not_hold_the_log_refuses_the_component_and_poisons_the_log() {
        let identity = PrivateKey::generate().public_key().clone();
        let platform = Platform::of(Arc::new(Stuck));
        let folder = tempfile::tempdir().unwrap();
        let facts = HostFacts::on(&platform, identity, Some(folder.path())).unwrap();
        assert!(!facts.is_log_poisoned());
        assert!(facts.measure("policy", [7; 48], Vec::new()).is_err());
        assert!(facts.is_log_poisoned());
        let written = std::fs::read_to_string(folder.path().join("component-log.jsonl")).unwrap();
        assert_eq!(written.lines().count(), 1);
    }
}
