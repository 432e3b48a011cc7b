//! `check` and `measure`: what a host would make of a configuration or of programs, without serving.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hypervisor::executor::Surroundings;
use hypervisor::manifest::{Manifest, hex};
use hypervisor::parts::{Parts, load_config, runtime};
use hypervisor::payments::Sold;
use hypervisor::pipeline::PAID_ROUTES;
use hypervisor_ctl::check::{Checked, Trial};
use hypervisor_ctl::error::Error;
use hypervisor_ctl::machine::Measured;
use hypervisor_ctl::named;
use hypervisor_ctl::output::{json, plain, written};
use hypervisor_ctl::world::World;

use crate::args::{Cli, Output};

/// The host's program beside this one.
fn host_beside() -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name("hypervisor")
}

pub(crate) fn measure(cli: &Cli, host: Option<&Path>, output: Output) -> Result<(), Error> {
    let config = load_config(cli.config.as_deref())?;
    let host = host.map_or_else(host_beside, Path::to_owned);
    let Parts {
        mut executor,
        platform,
        facts,
        ..
    } = Parts::new(&config, None, &host)?;
    let program = facts.program_sha384().ok_or(Error::NoHost(host))?;
    let plugins = runtime()?
        .block_on(executor.load_plugins(config.plugins()?))
        .map_err(hypervisor::error::Error::from)?;
    hypervisor::fronts::measure(&config, &executor, &facts)?;
    hypervisor::page::measure(&config, &facts)?;
    let manifest = Manifest::new(&config, &plugins, Some(program));
    let backend = platform.backend().map_or("none", |backend| backend.name());
    let measured = Measured::new(&manifest, facts.measurements(), backend);
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &measured),
        Output::Text => measured.print(&mut out),
    })
}

pub(crate) fn configuration(cli: &Cli, output: Output) -> Result<(), Error> {
    let config = load_config(cli.config.as_deref())?;
    hypervisor::server::Tls::open(&config.tls)?;
    let shared = hypervisor::state::check(&config.fleet)?;
    let Parts {
        mut executor,
        platform,
        facts,
        ..
    } = Parts::new(&config, None, &host_beside())?;
    let (plugins, sold) = runtime()?.block_on(async {
        let plugins = executor.load_plugins(config.plugins()?).await?;
        let sold = hypervisor::payments::check(&config, &plugins, &PAID_ROUTES).await?;
        Ok::<_, hypervisor::error::Error>((plugins, sold))
    })?;
    hypervisor::fronts::measure(&config, &executor, &facts)?;
    hypervisor::page::measure(&config, &facts)?;
    let manifest = Manifest::new(&config, &plugins, facts.program_sha384());
    let digest = manifest.digest();
    let named = named::of(&config)?;
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(
            &mut out,
            &serde_json::json!({
                "config": config, "manifest": manifest, "manifest_sha384": digest,
                "plugins": named, "sold": sold,
                "fleet": shared.map(|it| serde_json::json!({
                    "store": it.name, "server": it.server, "schema": it.schema, "known_schema": it.known,
                })),
                "attestation": {
                    "backend": platform.backend().map_or("none", |backend| backend.name()),
                    "simulated_root": platform.simulated_root().map(|root| hex(root)),
                },
            }),
        ),
        Output::Text => toml::to_string(&config)
            .map_err(io::Error::other)
            .and_then(|text| {
                let allocation = executor.allocation();
                write!(out, "{text}")?;
                writeln!(out, "\n# ok; instances are allocated {allocation:?}")?;
                writeln!(out, "# manifest SHA-384: {digest}")?;
                named.iter().try_for_each(|plugin| plugin.print(&mut out))?;
                sold.iter().try_for_each(|sold| price(&mut out, sold))?;
                if let Some(it) = &shared {
                    let (name, server) = (plain(&it.name), plain(&it.server));
                    let (schema, known) = (it.schema, it.known);
                    writeln!(
                        out,
                        "# fleet: PostgreSQL {server} at {name}, schema {schema} (this program's is {known})"
                    )?;
                }
                match (platform.backend(), platform.attester()) {
                    (Some(backend), _) => writeln!(out, "# attests by {backend}"),
                    (None, reason) => {
                        writeln!(out, "# no evidence: {}", reason.err().unwrap_or_default())
                    }
                }
            }),
    })
}

/// What a route costs: as the operator wrote it, and as it is offered.
fn price(out: &mut impl Write, sold: &Sold) -> io::Result<()> {
    writeln!(out, "# sold: {} for {}", sold.route, plain(&sold.price))?;
    for offer in &sold.offers {
        let [scheme, amount, asset] =
            [&offer.scheme, &offer.amount, &offer.asset].map(|it| plain(it));
        let [network, pay_to] = [&offer.network, &offer.pay_to].map(|it| plain(it));
        writeln!(
            out,
            "#   {scheme}: {amount} of {asset} on {network}, to {pay_to}"
        )?;
    }
    Ok(())
}

pub(crate) fn programs(
    cli: &Cli,
    files: &[PathBuf],
    world: Option<World>,
    output: Output,
) -> Result<bool, Error> {
    let trial = Trial::new(&load_config(cli.config.as_deref())?)?;
    let runtime = runtime()?;
    let mut checked: Vec<Checked> = Vec::new();
    for path in files {
        let bytes = std::fs::read(path).map_err(|source| Error::FileUnreadable {
            path: path.clone(),
            source,
        })?;
        checked.push(runtime.block_on(trial.check(path, &bytes, world)));
    }
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &checked),
        Output::Text => checked.iter().try_for_each(|one| one.print(&mut out)),
    })?;
    Ok(checked.iter().all(Checked::runs))
}
