//! `pull`: plugins from registries, into files that a configuration can name. The host has no part in it.

use std::io::{self, Write};
use std::path::Path;

use hypervisor::parts::runtime;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::written;
use hypervisor_oci::{Access, Reference};

pub(crate) fn pull(reference: &Reference, to: &Path, access: &Access) -> Result<(), Error> {
    let pulled = runtime()?.block_on(access.pull(reference))?;
    let (title, digest) = (reference.title(), pulled.digest.hex());
    let path = to.join(format!("{title}-{digest}.wasm"));
    std::fs::write(&path, pulled.component).map_err(|source| Error::FileUnwritable {
        path: path.clone(),
        source,
    })?;
    let path = path.display();
    written(writeln!(
        io::stdout(),
        "# {}\ncomponent = \"{path}\"",
        pulled.reference
    ))
}
