//! `--verify` and `--keep`, and opening a session.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use hypervisor_client::attest::Policy;
use hypervisor_client::{Client, Error, Execution, Session};
use indicatif::ProgressBar;
use tempfile::NamedTempFile;

use crate::memory::Memory;
use crate::output::attested;
use crate::{Failure, attest};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Have the host prove first that it is what this policy wants, and verify afterwards what it attests of the run.
    #[arg(long, value_name = "POLICY")]
    verify: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// Keep all that proves this run in a new file, for `hv verify FILE` years later. Whoever has the file can read the result.
    #[arg(long, value_name = "FILE", requires = "verify")]
    keep: Option<PathBuf>,
}

/// What a host must prove, if anything.
pub(crate) struct Wanted(Option<(Policy, String)>);

/// Where a record goes: under its name it is whole or not there, and readable by nobody else.
#[derive(Default)]
pub(crate) struct Keeper(Option<(PathBuf, NamedTempFile)>);

impl Verify {
    pub(crate) fn policy(&self) -> Result<Wanted, Failure> {
        let policy = self.verify.as_deref().map(attest::policy).transpose()?;
        Ok(Wanted(policy))
    }
}

impl Keep {
    /// Makes sure that the file can be written, before anything is sent or paid.
    pub(crate) fn prepare(&self) -> Result<Keeper, Failure> {
        let Some(path) = &self.keep else {
            return Ok(Keeper(None));
        };
        if path.symlink_metadata().is_ok() {
            return Err(Failure::Usage(format!(
                "{} is there already; name another file or remove it",
                path.display()
            )));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = NamedTempFile::new_in(folder).map_err(|source| unwritten(path, source))?;
        Ok(Keeper(Some((path.clone(), file))))
    }
}

fn unwritten(path: &Path, source: std::io::Error) -> Failure {
    Failure::Io {
        what: format!("cannot write {}", path.display()),
        source,
    }
}

impl Keeper {
    /// Keeps the record of a run.
    pub(crate) fn keep(self, execution: &Execution) -> Result<(), Failure> {
        let Some((path, mut file)) = self.0 else {
            return Ok(());
        };
        let run = execution.attestation.as_ref();
        let Some(record) = run.and_then(|run| run.record.as_ref()) else {
            return Err(Failure::Input("there is no record of this run".to_owned()));
        };
        let bytes = record.encode()?;
        file.write_all(&bytes)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|source| unwritten(&path, source))?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(unwritten(&path, error.error)),
        }
    }
}

impl Wanted {
    /// Whether it has to prove anything.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// A session with a host that proved it.
    pub(crate) async fn open(
        &self,
        client: &Client,
        progress: &ProgressBar,
    ) -> Result<Session, Failure> {
        self.open_to_keep(client, progress, &Keeper::default())
            .await
    }

    /// As [`Self::open`]; runs give records where one is to be kept.
    pub(crate) async fn open_to_keep(
        &self,
        client: &Client,
        progress: &ProgressBar,
        keeper: &Keeper,
    ) -> Result<Session, Failure> {
        progress.set_message("opening a session");
        let Some((policy, text)) = &self.0 else {
            return Ok(client.open_session().await?);
        };
        let memory = Memory::read()?;
        let policy = memory.applied_to(policy);
        let opened = match &keeper.0 {
            None => client
                .open_attested_session(&policy)
                .await
                .map(|(session, _)| session),
            Some(_) => client.open_recorded_session(&policy, text).await,
        };
        if let Err(Error::Attestation(refusal)) = &opened {
            memory.explain(&policy, refusal.verdict())?;
        }
        let session = opened?;
        if let Some(attestation) = session.attestation() {
            memory.remember(&policy, attestation.verdict())?;
            attested::warn_if_simulated(attestation)?;
        }
        Ok(session)
    }
}
