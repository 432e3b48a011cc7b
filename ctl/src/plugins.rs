//! `compile` and `swap`: plugins compiled ahead, and put in the place of others.

use std::io::{self, Write};
use std::path::Path;

use hypervisor::admin::{Place, Token};
use hypervisor::parts::{Parts, THIS_PROGRAM, load_config, runtime};
use hypervisor::pipeline::{Plugin, Replacement};
use hypervisor_ctl::error::Error;
use hypervisor_ctl::operator;
use hypervisor_ctl::output::{json, written};
use hypervisor_protocol::HexBytes;

use crate::args::{Cli, Output, SwapPlugin};

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
    plugin: SwapPlugin,
    files: [Option<&Path>; 2],
    admin: Option<&Place>,
    token_file: Option<&Path>,
    output: Output,
) -> Result<(), Error> {
    let config = load_config(cli.config.as_deref())?;
    let admin = match admin {
        Some(admin) => admin.clone(),
        None => config.admin.place()?.ok_or(Error::NoAdminPort)?,
    };
    let token = match token_file {
        Some(file) => Some(read_token(file)?),
        // The configuration may be another host's: this host then says that the token is missing.
        None => Some(config.admin_token_file())
            .filter(|file| file.exists())
            .map(|file| read_token(&file))
            .transpose()?,
    };
    let [component, rules] = files.map(|file| file.map(read).transpose());
    let with = Replacement {
        component: component?,
        rules: rules?,
    };
    let plugin = match plugin {
        SwapPlugin::Payments => Plugin::Payments,
        SwapPlugin::Policy => Plugin::Policy,
    };
    let swapped = runtime()?.block_on(operator::swap(&admin, token.as_ref(), plugin, with))?;
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

fn read_token(file: &Path) -> Result<Token, Error> {
    Ok(
        Token::read(file).map_err(|source| hypervisor::error::Error::AdminToken {
            path: file.to_owned(),
            source,
        })?,
    )
}
