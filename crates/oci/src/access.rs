//! How registries are reached and what is believed of them: options that all commands have alike.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::signature::Key;

/// Options of commands that speak to registries. Who one is comes from what `docker login` wrote.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct Access {
    /// For oci://: refuse what none of these keys signed; cosign.pub, as `cosign sign --key` has them. A tag may be named then.
    #[arg(long, value_name = "FILE")]
    pub signed_by: Vec<PathBuf>,
    /// For oci://: speak to a registry without TLS. Those on this machine always are.
    #[arg(long)]
    pub plain_http: bool,
}

impl Access {
    pub(crate) fn keys(&self) -> Result<Vec<Key>, Error> {
        self.signed_by.iter().map(|path| Key::read(path)).collect()
    }
}
