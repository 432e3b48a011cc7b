//! Serving, from the start to the end of the last request.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hypervisor::admin;
use hypervisor::args::Cli;
use hypervisor::error::Error;
use hypervisor::executor::Allocation;
use hypervisor::hardening;
use hypervisor::ingress::service;
use hypervisor::manifest::Manifest;
use hypervisor::parts::{Parts, THIS_PROGRAM, load_config, runtime};
use hypervisor::pipeline::Host;
use hypervisor_server::{Server, Shutdown, Tls};
use hypervisor_store::state_folder;
use hypervisor_telemetry as telemetry;
use tokio::task::JoinSet;

/// Time between two rounds of dropping expired sessions.
const SWEEP: Duration = Duration::from_secs(15);

pub(crate) fn serve(cli: &Cli) -> Result<(), Error> {
    let directives = std::env::var("RUST_LOG").ok();
    telemetry::start(cli.log_format, directives.as_deref());
    let mut config = load_config(cli.config.as_deref())?;
    telemetry::export(config.telemetry.traces);
    if let Some(listening) = cli.listening {
        config.listening = listening;
    }
    if let Some(advertise) = &cli.advertise {
        config.fleet.advertise.clone_from(advertise);
    }
    // Before anything is written there.
    state_folder(&config.executor_path).map_err(Error::State)?;
    let descriptors = hardening::host(&mut config)?;
    // Also what nobody asks of anything goes back to the kernel. The thread that sees to it has the rights that the host has left.
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!(%error, "memory that is free stays with the host until it is used again");
    }
    // Of the libraries that a build may hold, TLS takes this one; a second call finds the first one's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(async {
        let shutdown = Shutdown::listen()?;
        let Parts {
            mut executor,
            platform,
            identity,
            facts,
        } = Parts::new(&config, Some(&config.executor_path), THIS_PROGRAM.as_ref())?;
        let tls = config.tls.open()?;
        let plugins = executor.load_plugins(config.plugins()?).await?;
        let manifest = || Manifest::new(&config, &plugins, facts.program_sha384()).encode();
        let tls_key = tls.as_ref().map(Tls::key);
        let attestation = platform.start(identity, facts.log(), manifest, tls_key)?;
        let server = Server::bind(config.listening, tls, config.limits.server(descriptors)).await?;
        let server = match config.fleet.socket()? {
            Some(path) => {
                let socket = admin::bind(&path);
                server.beside(socket.map_err(|source| Error::ListenBeside { path, source })?)
            }
            None => server,
        };
        let allocation = executor.allocation();
        let admin = admin::Listener::open(&config).await?;
        // From here on the addresses are those in use: agents are kept away from them.
        config.listening = server.address();
        if let Some(admin) = &admin {
            config.admin.listening = admin.place().to_string();
        }
        let app = Host::start(
            config,
            executor,
            plugins,
            facts,
            attestation,
            (platform.sealing_key(), shutdown.drain()),
        )
        .await?;
        let service = service(&app);
        let place = admin.as_ref().map(admin::Listener::url);
        let probed = probes(admin, &app);
        announce(&server, place.as_deref(), allocation)?;
        let mut beside = JoinSet::new();
        beside.spawn(expire(Arc::clone(&app)));
        beside.spawn(Arc::clone(&app).follow_fleet());
        beside.spawn(Arc::clone(&app).follow_key());
        let introduced = Arc::clone(&app);
        beside.spawn(async move { introduced.introduce().await });
        let of_payments = Arc::clone(&app);
        beside.spawn(async move { of_payments.clear_doubts().await });
        let watched = Arc::clone(&app);
        beside.spawn(async move { watched.watch_collateral().await });
        let agents = Arc::clone(app.agents());
        beside.spawn(async move { agents.warm_up().await });
        // These write, and end before the last is written.
        let mut keeping = JoinSet::new();
        let remembering = Arc::clone(&app);
        keeping.spawn(async move { remembering.keep_history().await });
        if let Some(environments) = app.environments().cloned() {
            keeping.spawn(environments.attend());
        }
        if let Some(shelves) = app.shelves().cloned() {
            keeping.spawn(shelves.maintain());
        }
        let attending_fleet = tokio::spawn(Arc::clone(&app).attend_fleet());
        let lingering = Arc::clone(&app).leave_fleet();
        let result = server
            .serve(service.clone(), shutdown, lingering, app.idle())
            .await;
        attending_fleet.abort();
        if result.is_ok() {
            app.depart_fleet().await;
        }
        keeping.abort_all();
        if let Some(Err(error)) = app.shelves().map(|it| it.flush()) {
            tracing::error!(%error, "the end of what protocols keep is lost");
        }
        if let Some(Err(error)) = app.environments().map(|it| it.flush()) {
            tracing::error!(%error, "the end of the log of environments is lost");
        }
        // The last to write: what was answered is in it.
        if let Some(trail) = app.trail().cloned() {
            let closed = tokio::task::spawn_blocking(move || trail.close()).await;
            closed
                .unwrap_or_else(|error| tracing::error!(%error, "the audit trail was not closed"));
        }
        drop(beside);
        probed.abort();
        Ok(result?)
    })
}

/// Serves the admin port, where there is one.
fn probes(admin: Option<admin::Listener>, app: &Arc<Host>) -> tokio::task::JoinHandle<()> {
    let Some(admin) = admin else {
        return tokio::spawn(async {});
    };
    tracing::info!(address = %admin.place(), "the admin port is open");
    tokio::spawn(admin.serve(admin::router(Arc::clone(app))))
}

/// Tells people (standard output), the log and the service manager where the host answers.
fn announce(server: &Server, admin: Option<&str>, allocation: Allocation) -> Result<(), Error> {
    let (address, scheme) = (server.address(), server.scheme());
    tracing::info!(%address, scheme, ?allocation, "serving");
    let mut lines = format!("listening on {scheme}://{address}\n");
    if let Some(admin) = admin {
        lines.push_str(&format!("admin on {admin}\n"));
    }
    // In one piece, so that whoever reads the first line alone does not break the second.
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Io {
            what: "writing the address to standard output",
            source,
        })?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "no service manager to notify");
    }
    Ok(())
}

async fn expire(app: Arc<Host>) {
    let mut rounds = tokio::time::interval(SWEEP);
    loop {
        rounds.tick().await;
        app.sessions().sweep();
        app.agents().sweep();
    }
}
