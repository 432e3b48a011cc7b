//! `compile` and `swap`: plugins compiled ahead, and put in the place of others.

use std::io::{self, Write};
use std::path::Path;

use hypervisor::parts::{Parts, THIS_PROGRAM, load_config, runtime};
use hypervisor::pipeline::Replacement;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::{json, written};
use hypervisor_protocol::HexBytes;

use crate::args::{AdminAccess, Cli, Output};
use crate::serving;

pub(crate) fn compile(cli: &Cli, component: &Path, to: &Path) -> Result<(), Error> {
    let config = load_config(cli.config.as_deref())?;
    let (code, digest) = runtime()?.block_on(async {
        Parts::new(&config, None, THIS_PROGRAM.as_ref())?
            .executor
            .compile_ahead(component)
            .await
            .map_err(hypervisor::error::Error::from)
    })?;
    std::fs::write(to, code).map_err(|source| Error::FileUnwritable {
        path: to.to_owned(),
        source,
    })?;
    let (component, to) = (component.display(), to.display());
    written(writeln!(
        io::stdout(),
        "component = \"{component}\"\ncompiled = \"{to}\"\ncompiled_sha384 = \"{digest}\""
    ))
}

pub(crate) fn swap(
    cli: &Cli,
    plugin: &str,
    files: [Option<&Path>; 2],
    access: &AdminAccess,
    output: Output,
) -> Result<(), Error> {
    let admin = serving::admin(cli, access)?;
    let [component, rules] = files.map(|file| file.map(read).transpose());
    let with = Replacement {
        component: component?,
        rules: rules?,
    };
    let swapped = runtime()?.block_on(admin.swap(plugin, with))?;
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &swapped),
        Output::Text => {
            let rules = swapped.rules_sha256.as_ref();
            let rules = rules.map_or(String::new(), |rules| format!("rules     {rules}\n"));
            writeln!(
                out,
                "swapped; in use now: {}\n{rules}manifest  {}\nlog       {} entries",
                swapped.sha384, swapped.manifest_sha384, swapped.log_entries
            )
        }
    })
}

fn read(file: &Path) -> Result<HexBytes, Error> {
    let read = std::fs::read(file).map(HexBytes);
    read.map_err(|source| Error::FileUnreadable {
        path: file.to_owned(),
        source,
    })
}
