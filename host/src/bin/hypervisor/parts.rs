//! What every command begins with: the configuration, and the parts that a host is put together from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypervisor::attestation::{Identity, Platform};
use hypervisor::config::Config;
use hypervisor::error::Error;
use hypervisor::executor::Executor;
use hypervisor::imports::attestation::HostFacts;

use crate::args::Cli;

pub(crate) fn load_config(cli: &Cli) -> Result<Config, Error> {
    let host = std::env::var("HYPERVISOR_HOST").ok();
    let mut config = Config::load(cli.common.config.as_deref(), host.as_deref())?;
    if let Some(listening) = cli.listening {
        config.listening = listening;
    }
    Ok(config)
}

/// This very program, also after its file was replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The parts that a host is put together from.
pub(crate) struct Parts {
    pub(crate) executor: Executor,
    pub(crate) platform: Platform,
    pub(crate) identity: Arc<Identity>,
}

/// `state` is where the component log is written, for a host that serves.
pub(crate) fn parts(config: &Config, state: Option<&Path>) -> Result<Parts, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Attestation(e.to_string());
    let platform = Platform::open(&config.attestation)?;
    // Stands for this host until it ends.
    let identity = Arc::new(Identity::generate().map_err(|e| failed(&e))?);
    let facts =
        HostFacts::on(&platform, identity.public_key().clone(), state).map_err(|e| failed(&e))?;
    let executor = Executor::new(&config.limits, PathBuf::from(THIS_PROGRAM), facts)?;
    Ok(Parts {
        executor,
        platform,
        identity,
    })
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "starting the async runtime",
            source,
        })
}
