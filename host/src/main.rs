//! The `hypervisor` command.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hypervisor::api::{App, PAID_ROUTES, router};
use hypervisor::check::{Checked, check};
use hypervisor::config::Config;
use hypervisor::error::Error;
use hypervisor::executor::{Allocation, Executor, compile_worker};
use hypervisor::manifest::Manifest;
use hypervisor::server::{Server, Shutdown};
use hypervisor::telemetry::{self, LogFormat};
use hypervisor_protocol::PrivateKey;

/// Serve confidential executions of WebAssembly components.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor",
    version,
    after_help = "Examples:
  hypervisor --config hypervisor.toml           serve
  hypervisor --listening 127.0.0.1:0            serve on a free port
  hypervisor check --config hypervisor.toml     validate a configuration
  hypervisor check program.wasm                 list a program's imports: granted, inert or missing"
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
        Some(Command::Check { files, output }) => check_files(files, *output),
        Some(Command::Compile { component, to }) => compile(&cli, component, to).map(|()| true),
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

fn executor(config: &Config) -> Result<Executor, Error> {
    // Stands for this host until it ends; nothing is signed with it yet.
    let identity = PrivateKey::generate();
    Executor::new(
        &config.limits,
        PathBuf::from(THIS_PROGRAM),
        identity.public_key().clone(),
    )
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
        executor(&config)?
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

fn check_config(cli: &Cli, output: Output) -> Result<bool, Error> {
    let config = load_config(cli)?;
    let mut executor = executor(&config)?;
    runtime()?.block_on(async {
        executor.load_plugins(&config).await?;
        hypervisor::payments::check(&config, &executor, &PAID_ROUTES).await
    })?;
    let manifest = Manifest::new(&config, &executor);
    let digest = manifest.digest();
    let mut out = io::stdout().lock();
    let written = match output {
        Output::Json => {
            let document = serde_json::json!({
                "config": config, "manifest": manifest, "manifest_sha384": digest,
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
                writeln!(out, "# manifest SHA-384: {digest}")
            }),
    };
    written
        .map_err(|source| Error::Io {
            what: "writing",
            source,
        })
        .map(|()| true)
}

fn check_files(files: &[PathBuf], output: Output) -> Result<bool, Error> {
    let mut checked: Vec<Checked> = Vec::new();
    for path in files {
        let bytes = std::fs::read(path).map_err(|source| Error::FileUnreadable {
            path: path.clone(),
            source,
        })?;
        checked.push(check(path, &bytes));
    }
    let mut out = io::stdout().lock();
    let written = match output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &checked)
            .map_err(Into::into)
            .and_then(|()| writeln!(out)),
        Output::Text => checked.iter().try_for_each(|one| one.print(&mut out)),
    };
    written.map_err(|source| Error::Io {
        what: "writing",
        source,
    })?;
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
        let mut executor = executor(&config)?;
        executor.load_plugins(&config).await?;
        let server = Server::bind(config.listening, &config.limits).await?;
        let allocation = executor.allocation();
        let app = App::start(config, executor).await?;
        announce(&server, allocation)?;
        let app = Arc::new(app);
        let expiring = tokio::spawn(expire(Arc::clone(&app)));
        let of_payments = Arc::clone(&app);
        let clearing = tokio::spawn(async move { of_payments.clear_doubts().await });
        let result = server.serve(router(app), shutdown).await;
        expiring.abort();
        clearing.abort();
        result
    })
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
    }
}
