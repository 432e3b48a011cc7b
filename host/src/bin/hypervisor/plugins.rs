//! `hypervisor compile` and `hypervisor swap`: plugins compiled ahead, and put in the place of others.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use hypervisor::api::Plugin;
use hypervisor::error::Error;
use hypervisor::operator;

use crate::args::{Cli, Output, SwapPlugin};
use crate::parts::{load_config, parts, runtime};
use crate::{print_json, written};

pub(crate) fn compile(cli: &Cli, component: &Path, to: &Path) -> Result<(), Error> {
    let config = load_config(cli)?;
    let (code, digest) = runtime()?.block_on(async {
        parts(&config, None)?
            .executor
            .compile_ahead(component)
            .await
            .map_err(Error::from)
    })?;
    std::fs::write(to, code).map_err(|source| Error::Io {
        what: "writing the machine code",
        source,
    })?;
    let (component, to) = (component.display(), to.display());
    writeln!(
        io::stdout(),
        "component = \"{component}\"\ncompiled = \"{to}\"\ncompiled_sha384 = \"{digest}\""
    )
    .map_err(written)
}

pub(crate) fn swap(
    cli: &Cli,
    plugin: SwapPlugin,
    component: &Path,
    admin: Option<SocketAddr>,
    output: Output,
) -> Result<(), Error> {
    let admin = match admin {
        Some(admin) => admin,
        None => load_config(cli)?
            .admin
            .address()?
            .ok_or(Error::NoAdminPort)?,
    };
    let bytes = std::fs::read(component).map_err(|source| Error::FileUnreadable {
        path: component.to_owned(),
        source,
    })?;
    let plugin = match plugin {
        SwapPlugin::Payments => Plugin::Payments,
        SwapPlugin::Policy => Plugin::Policy,
    };
    let swapped = runtime()?.block_on(operator::swap(admin, plugin, bytes))?;
    match output {
        Output::Json => print_json(&swapped),
        Output::Text => writeln!(
            io::stdout(),
            "swapped; in use now: {}\nmanifest  {}\nlog       {} entries",
            swapped.sha384,
            swapped.manifest_sha384,
            swapped.log_entries
        )
        .map_err(written),
    }
}
