//! Serving, from the start to the end of the last request.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hypervisor::api::{App, service};
use hypervisor::attestation::Attestation;
use hypervisor::error::Error;
use hypervisor::executor::Allocation;
use hypervisor::manifest::Manifest;
use hypervisor::server::{Server, Shutdown};
use hypervisor::telemetry;

use crate::args::Cli;
use crate::parts::{Parts, load_config, parts, runtime};
use crate::written;

/// Time between two rounds of dropping expired sessions.
const SWEEP: Duration = Duration::from_secs(15);

pub(crate) fn serve(cli: &Cli) -> Result<(), Error> {
    let directives = std::env::var("RUST_LOG").ok();
    telemetry::start(cli.log_format, directives.as_deref());
    let config = load_config(cli)?;
    // A core dump would write every session's keys to a disk outside the protected memory.
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).map_err(|e| Error::Io {
        what: "forbidding core dumps",
        source: e.into(),
    })?;
    // Of the libraries that a build may hold, TLS takes this one; a second call finds the first one's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(async {
        let shutdown = Shutdown::listen()?;
        let Parts {
            mut executor,
            platform,
            identity,
        } = parts(&config, Some(&config.executor_path))?;
        executor.load_plugins(&config).await?;
        let manifest = Manifest::new(&config, &executor).encode();
        let facts = Arc::clone(executor.facts());
        let attestation = Attestation::start(&platform, identity, facts, manifest)?;
        let unattested = platform.attester().err().map(str::to_owned);
        let server = Server::bind(config.listening, &config.limits).await?;
        let allocation = executor.allocation();
        let admin = config.admin.address()?;
        let app = App::start(
            config,
            executor,
            attestation.ok_or(unattested.unwrap_or_default()),
            platform.sealing_key(),
        )
        .await?;
        let probed = probes(admin, &app).await?;
        announce(&server, allocation)?;
        let expiring = tokio::spawn(expire(Arc::clone(&app)));
        let of_payments = Arc::clone(&app);
        let introduced = Arc::clone(&app);
        let introducing = tokio::spawn(async move { introduced.introduce().await });
        let clearing = tokio::spawn(async move { of_payments.clear_doubts().await });
        let agents = Arc::clone(app.agents());
        let warming = tokio::spawn(async move { agents.warm_up().await });
        let result = server.serve(service(&app), shutdown).await;
        warming.abort();
        expiring.abort();
        clearing.abort();
        introducing.abort();
        probed.abort();
        result
    })
}

/// Serves the admin port, where there is one.
async fn probes(
    address: Option<SocketAddr>,
    app: &Arc<App>,
) -> Result<tokio::task::JoinHandle<()>, Error> {
    let Some(address) = address else {
        return Ok(tokio::spawn(async {}));
    };
    let listen = |source| Error::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    tracing::info!(%address, "the admin port is open");
    let router = hypervisor::admin::router(Arc::clone(app));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the admin port failed");
        }
    }))
}

/// Tells people (standard output), the log and the service manager where the host answers.
fn announce(server: &Server, allocation: Allocation) -> Result<(), Error> {
    let address = server.address();
    tracing::info!(%address, ?allocation, "serving");
    writeln!(io::stdout(), "listening on http://{address}").map_err(written)?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "no service manager to notify");
    }
    Ok(())
}

async fn expire(app: Arc<App>) {
    let mut rounds = tokio::time::interval(SWEEP);
    loop {
        rounds.tick().await;
        app.sessions().sweep();
        app.agents().sweep();
    }
}
