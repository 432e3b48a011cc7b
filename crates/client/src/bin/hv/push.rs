//! `hv push`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hypervisor_oci::{Access, Reference};

use crate::Failure;
use crate::console::{print, progress, read};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv push ghcr.io/owner/weather:1.0 weather.wasm
  hv push localhost:5000/weather weather.wasm
  hv deploy oci://ghcr.io/owner/weather@sha256:…      (as `hv push` printed it)

The component goes into a registry of OCI artifacts in wkg's layout, and its name by digest is printed. The same component has the same
digest everywhere. Who you are is read from what `docker login` wrote (~/.docker/config.json).")]
pub(crate) struct Push {
    /// REGISTRY/NAME, and a :TAG if it is to have one.
    #[arg(value_name = "REF")]
    reference: Reference,
    /// The component, or `-` for standard input.
    #[arg(value_name = "FILE")]
    component: PathBuf,
    /// Speak to a registry without TLS. Those on this machine always are.
    #[arg(long)]
    plain_http: bool,
}

impl Push {
    pub(crate) async fn execute(&self) -> Result<ExitCode, Failure> {
        let component = read(&self.component)?;
        let access = Access {
            plain_http: self.plain_http,
            ..Access::default()
        };
        let progress = progress();
        progress.set_message("pushing");
        let pushed = access.push(&self.reference, component).await?;
        progress.finish_and_clear();
        print(|out| writeln!(out, "{pushed}")).map(|()| ExitCode::SUCCESS)
    }
}
