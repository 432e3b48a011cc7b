//! What every command begins with: the configuration, and the parts that a host is put together from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::attestation::{HostFacts, Identity, Platform};
use crate::config::Config;
use crate::error::Error;
use crate::executor::Executor;

/// The configuration in `file`, or the defaults, under what the environment says.
///
/// # Errors
/// Where the file cannot be read or says what cannot be used.
pub fn load_config(file: Option<&Path>) -> Result<Config, Error> {
    let host = std::env::var("HYPERVISOR_HOST").ok();
    Ok(Config::load(file, host.as_deref())?)
}

/// This very program, also after its file was replaced by a newer one. It has the command `compile-worker`.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// The parts that a host is put together from.
pub struct Parts {
    /// Runs programs.
    pub executor: Executor,
    /// What makes evidence here.
    pub platform: Platform,
    /// Stands for this host until it ends.
    pub identity: Arc<Identity>,
    /// What it says of itself, and the log of what it loaded.
    pub facts: Arc<HostFacts>,
}

impl Parts {
    /// `state` is where the component log is written, for a host that serves. `host` is the host's program, which its manifest
    /// names by its digest.
    ///
    /// # Errors
    /// Where this machine does not give what the configuration asks for.
    pub fn new(config: &Config, state: Option<&Path>, host: &Path) -> Result<Self, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Attestation(e.to_string());
        let platform = Platform::open(&config.attestation)?;
        let identity = Arc::new(Identity::generate().map_err(|e| failed(&e))?);
        let facts = HostFacts::on(&platform, Arc::clone(&identity), state, host.to_owned())
            .map_err(|e| failed(&e))?;
        let executor = Executor::new(
            &config.limits.runtime(),
            PathBuf::from(THIS_PROGRAM),
            Arc::clone(&facts) as _,
        )?;
        Ok(Self {
            executor,
            platform,
            identity,
            facts,
        })
    }
}

/// What asynchronous work runs on.
///
/// # Errors
/// Where the operating system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "starting the async runtime",
            source,
        })
}
