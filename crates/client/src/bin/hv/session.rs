//! `--verify`, and opening a session.

use std::path::PathBuf;

use clap::Args;
use hypervisor_client::attest::Policy;
use hypervisor_client::{Client, Session};
use indicatif::ProgressBar;

use crate::output::attested;
use crate::{Failure, attest};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Have the host prove first that it is what this policy wants, and verify afterwards what it attests of the run.
    #[arg(long, value_name = "POLICY")]
    verify: Option<PathBuf>,
}

/// What a host must prove, if anything.
pub(crate) struct Wanted(Option<Policy>);

impl Verify {
    pub(crate) fn policy(&self) -> Result<Wanted, Failure> {
        let policy = self.verify.as_deref().map(attest::policy).transpose()?;
        Ok(Wanted(policy))
    }
}

impl Wanted {
    /// A session with a host that proved it.
    pub(crate) async fn open(
        &self,
        client: &Client,
        progress: &ProgressBar,
    ) -> Result<Session, Failure> {
        progress.set_message("opening a session");
        let session = match &self.0 {
            Some(policy) => client.open_attested_session(policy).await?.0,
            None => client.open_session().await?,
        };
        if let Some(attestation) = session.attestation() {
            attested::warn_if_simulated(attestation)?;
        }
        Ok(session)
    }
}
