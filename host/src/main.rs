//! The `hypervisor` command.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hypervisor::api::{App, PAID_ROUTES, Plugin, service};
use hypervisor::attestation::{Attestation, Identity, Platform};
use hypervisor::check::{Checked, check};
use hypervisor::config::Config;
use hypervisor::error::Error;
use hypervisor::executor::{Allocation, Executor, Plugins, compile_worker};
use hypervisor::imports::attestation::HostFacts;
use hypervisor::machine::{self, Measured};
use hypervisor::manifest::{Manifest, hex};
use hypervisor::operator;
use hypervisor::server::{Server, Shutdown};
use hypervisor::telemetry::{self, LogFormat};

/// Serve confidential executions of WebAssembly components.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor",
    version,
    after_help = "Examples:
  hypervisor --config hypervisor.toml           serve
  hypervisor --listening 127.0.0.1:0            serve on a free port
  hypervisor check --config hypervisor.toml     validate a configuration
  hypervisor check program.wasm                 list a program's imports: granted, inert or missing
  hypervisor measure --output json              what a client's policy has to allow
  hypervisor doctor                             what this machine offers for attestation"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Address of the public port, `ip:port`; port 0 takes a free one. Overrides the configuration.
    #[arg(long, value_name = "ADDRESS")]
    listening: Option<SocketAddr>,
    /// Form of log lines on standard error.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "HYPERVISOR_LOG_FORMAT"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file; defaults apply where there is none.
    #[arg(long, value_name = "FILE", env = "HYPERVISOR_CONFIG", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the configuration, or say what the host makes of programs. Serves nothing.
    Check {
        /// Programs: components or core modules. Without any, the configuration is checked.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Compile one program from standard input; the host starts this itself.
    #[command(hide = true)]
    CompileWorker {
        /// Bytes of address space.
        #[arg(long)]
        address_space: u64,
        /// The program is a plugin of the operator's.
        #[arg(long)]
        plugin: bool,
    },
    /// Print what this configuration and its components will be measured as: for a client's policy file, before serving.
    Measure {
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Say what this machine offers for attestation, and what is missing. Exit status 1 where it attests nothing.
    Doctor {
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Write a quote of this machine and what belongs to it to a new folder, as a fixture for tests.
    Record {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Put another plugin in the place of the one in use, on a host that is serving.
    #[command(after_help = "Examples:
  hypervisor swap payments payments.wasm
  hypervisor swap policy policy-rust.wasm --admin 127.0.0.1:8081

The component is checked, compiled, measured and tried first; where anything is wrong with it, nothing changes. Requests under
way finish on the old one. `swap policy` reads the rules file again.")]
    Swap {
        /// Which plugin.
        #[arg(value_enum)]
        plugin: SwapPlugin,
        /// The component.
        #[arg(value_name = "FILE")]
        component: PathBuf,
        /// Address of the host's admin port, `ip:port`; by default `[admin] listening` of the configuration.
        #[arg(long, value_name = "ADDRESS", env = "HYPERVISOR_ADMIN")]
        admin: Option<SocketAddr>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Compile a plugin once, for all starts; prints the lines that the configuration then needs.
    Compile {
        /// The component.
        #[arg(value_name = "FILE")]
        component: PathBuf,
        /// Where the machine code goes.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The plugins that can be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SwapPlugin {
    /// What takes payments.
    Payments,
    /// What decides.
    Policy,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::CompileWorker {
            address_space,
            plugin,
        }) => compile_worker(*address_space, *plugin)
            .map_err(|source| Error::Io {
                what: "compiling",
                source,
            })
            .map(|()| true),
        Some(Command::Check { files, output }) if files.is_empty() => check_config(&cli, *output),
        Some(Command::Check { files, output }) => check_files(&cli, files, *output),
        Some(Command::Measure { output }) => measure(&cli, *output).map(|()| true),
        Some(Command::Doctor { output }) => {
            machine::doctor(matches!(output, Output::Json), &mut io::stdout().lock())
                .map_err(written)
        }
        Some(Command::Record { folder }) => machine::record_to(folder).map(|()| true),
        Some(Command::Compile { component, to }) => compile(&cli, component, to).map(|()| true),
        Some(Command::Swap {
            plugin,
            component,
            admin,
            output,
        }) => swap(&cli, *plugin, component, *admin, *output).map(|()| true),
        None => serve(&cli).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load_config(cli: &Cli) -> Result<Config, Error> {
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
struct Parts {
    executor: Executor,
    platform: Platform,
    identity: Arc<Identity>,
}

/// `state` is where the component log is written, for a host that serves.
fn parts(config: &Config, state: Option<&Path>) -> Result<Parts, Error> {
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

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "starting the async runtime",
            source,
        })
}

fn compile(cli: &Cli, component: &Path, to: &Path) -> Result<(), Error> {
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
    .map_err(|source| Error::Io {
        what: "writing",
        source,
    })
}

fn swap(
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
    let mut out = io::stdout().lock();
    match output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &swapped)
            .map_err(Into::into)
            .and_then(|()| writeln!(out)),
        Output::Text => writeln!(
            out,
            "swapped; in use now: {}\nmanifest  {}\nlog       {} entries",
            swapped.sha384, swapped.manifest_sha384, swapped.log_entries
        ),
    }
    .map_err(written)
}

fn written(source: io::Error) -> Error {
    Error::Io {
        what: "writing",
        source,
    }
}

fn measure(cli: &Cli, output: Output) -> Result<(), Error> {
    let config = load_config(cli)?;
    let Parts {
        mut executor,
        platform,
        ..
    } = parts(&config, None)?;
    runtime()?.block_on(executor.load_plugins(&config))?;
    let manifest = Manifest::new(&config, &executor);
    let backend = platform.backend().map_or("none", |backend| backend.name());
    let measured = Measured::new(&manifest, &executor, backend);
    let mut out = io::stdout().lock();
    match output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &measured)
            .map_err(Into::into)
            .and_then(|()| writeln!(out)),
        Output::Text => measured.print(&mut out),
    }
    .map_err(written)
}

fn check_config(cli: &Cli, output: Output) -> Result<bool, Error> {
    let config = load_config(cli)?;
    let Parts {
        mut executor,
        platform,
        ..
    } = parts(&config, None)?;
    runtime()?.block_on(async {
        executor.load_plugins(&config).await?;
        hypervisor::payments::check(&config, &executor, &PAID_ROUTES).await
    })?;
    let manifest = Manifest::new(&config, &executor);
    let digest = manifest.digest();
    let mut out = io::stdout().lock();
    let done = match output {
        Output::Json => {
            let document = serde_json::json!({
                "config": config, "manifest": manifest, "manifest_sha384": digest,
                "attestation": {
                    "backend": platform.backend().map_or("none", |backend| backend.name()),
                    "simulated_root": platform.simulated_root().map(|root| hex(root)),
                },
            });
            serde_json::to_writer_pretty(&mut out, &document)
                .map_err(Into::into)
                .and_then(|()| writeln!(out))
        }
        Output::Text => toml::to_string(&config)
            .map_err(io::Error::other)
            .and_then(|text| write!(out, "{text}"))
            .and_then(|()| {
                let allocation = executor.allocation();
                writeln!(out, "\n# ok; instances are allocated {allocation:?}")?;
                writeln!(out, "# manifest SHA-384: {digest}")?;
                match (platform.backend(), platform.attester()) {
                    (Some(backend), _) => writeln!(out, "# attests by {backend}"),
                    (None, reason) => {
                        writeln!(out, "# no evidence: {}", reason.err().unwrap_or_default())
                    }
                }
            }),
    };
    done.map_err(written).map(|()| true)
}

fn check_files(cli: &Cli, files: &[PathBuf], output: Output) -> Result<bool, Error> {
    let config = load_config(cli)?;
    let plugins = Plugins {
        policy: config.policy.source().is_some(),
        payments: config.payments.source().is_some(),
    };
    let mut checked: Vec<Checked> = Vec::new();
    for path in files {
        let bytes = std::fs::read(path).map_err(|source| Error::FileUnreadable {
            path: path.clone(),
            source,
        })?;
        checked.push(check(path, &bytes, plugins));
    }
    let mut out = io::stdout().lock();
    let done = match output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &checked)
            .map_err(Into::into)
            .and_then(|()| writeln!(out)),
        Output::Text => checked.iter().try_for_each(|one| one.print(&mut out)),
    };
    done.map_err(written)?;
    Ok(checked.iter().all(Checked::runs))
}

/// Time between two rounds of dropping expired sessions.
const SWEEP: Duration = Duration::from_secs(15);

fn serve(cli: &Cli) -> Result<(), Error> {
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
    writeln!(io::stdout(), "listening on http://{address}").map_err(|source| Error::Io {
        what: "writing",
        source,
    })?;
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
