//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hypervisor_ctl::operator::AdminUrl;
use hypervisor_ctl::world::World;
use hypervisor_manual::{Completions, Manual};
use hypervisor_oci::{Access, Reference};

use crate::image::MeasureImage;
use crate::publish::Publish;
use crate::trial::{PaymentsCommand, PolicyCommand};

/// Prepare and look after a host: the operator's commands. `hypervisor` itself only serves.
#[derive(Debug, Parser)]
#[command(
    name = "hypervisor-ctl",
    version,
    after_help = "Examples:
  hypervisor-ctl check --config hypervisor.toml     validate a configuration
  hypervisor-ctl check program.wasm                 what a component is, what it would be given, and whether it would be taken
  hypervisor-ctl measure --output json              what a client's policy has to allow
  hypervisor-ctl doctor                             what this machine offers for attestation
  hypervisor-ctl status                             what a serving host does, and what is full
  hypervisor-ctl swap policy policy-rust.wasm       another plugin, on a host that is serving
  hypervisor-ctl policy ask --kind deploy-agent --agent weather    what the rules say to it"
)]
pub(crate) struct Cli {
    /// Configuration file; without one, the defaults apply.
    #[arg(long, value_name = "FILE", env = "HYPERVISOR_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Validate the configuration and its plugins, or say what the host makes of components. Serves nothing.
    #[command(
        after_help = "A component is told by what it exports, validated, and linked as the host links it; nothing of it runs. Exit status 1 where one
would be refused as all that it can be, or as the --world that was asked for."
    )]
    Check {
        /// Programs, agents or plugins: components or core modules. Without any, the configuration is checked.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// What they are to be; by default whatever their exports say.
        #[arg(long, value_enum, requires = "files")]
        world: Option<World>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Compile one program from standard input; this program starts it itself.
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
    #[command(
        after_help = "The answer is the same on every machine: it depends on the configuration, the components and the host's program alone.",
        args_conflicts_with_subcommands = true
    )]
    Measure {
        #[command(subcommand)]
        what: Option<Measure>,
        /// The host's program, as it will be run; by default `hypervisor` beside this one.
        #[arg(long, value_name = "FILE")]
        host: Option<PathBuf>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Append reference values to a transparency log in a folder, for `hv policy init --log`.
    Publish(Box<Publish>),
    /// Show what this machine offers for attestation and what is missing; exits with status 1 if it cannot attest.
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
  hypervisor-ctl swap payments payments.wasm
  hypervisor-ctl swap policy policy-rust.wasm --admin http://127.0.0.1:8081
  hypervisor-ctl swap policy --rules next.py
  hypervisor-ctl swap policy policy-rust.wasm --rules digests.txt
  hypervisor-ctl swap a2a.protocol a2a.wasm

The component is checked, compiled, measured and tried first; where anything is wrong with it, nothing changes. Requests under
way finish on the old one. Component and rules are swapped in one step. A component without --rules reads the rules file of the
configuration again. Rules that are sent are in no file of the host's: it reads its own when it is started again.")]
    Swap {
        /// `payments`, `policy`, `status`, or `NAME.protocol` for what answers in the host's own name.
        #[arg(value_name = "PLUGIN", value_parser = swappable)]
        plugin: String,
        /// The component; without one the one in use stays, and --rules are swapped alone.
        #[arg(value_name = "FILE", required_unless_present = "rules")]
        component: Option<PathBuf>,
        /// Rules for the policy.
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        #[command(flatten)]
        access: AdminAccess,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Show what a serving host is, what it does and what is full; exits with status 1 if it is not ready.
    #[command(after_help = "Examples:
  hypervisor-ctl status
  hypervisor-ctl status --output json --admin unix:/var/lib/hypervisor/admin.sock
  hypervisor-ctl status --admin https://host.example:8081 --tls-ca ca.pem --tls-certificate me.pem --tls-key me.key")]
    Status {
        #[command(flatten)]
        access: AdminAccess,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Watch a serving host: load, latency and the last requests, as long as it is on a terminal.
    #[command(after_help = "Examples:
  hypervisor-ctl top
  hypervisor-ctl top --interval 10s")]
    Top(Top),
    /// Read the last lines of a serving host's log: a thousand, and 256 KiB, are kept in memory.
    #[command(after_help = "Examples:
  hypervisor-ctl logs --follow
  hypervisor-ctl logs --lines 1000 --output json")]
    Logs(Logs),
    /// List what each owner has on a serving host, or take it down.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:
  hypervisor-ctl agents
  hypervisor-ctl agents remove weather.0123456789abcdef
  hypervisor-ctl agents remove-environments 0123456789abcdef"
    )]
    Agents {
        #[command(subcommand)]
        command: Option<AgentsCommand>,
        #[command(flatten)]
        access: AdminAccess,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text", global = true)]
        output: Output,
    },
    /// Show the hosts that are one service, as a serving host sees them, or change the key that they share.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:
  hypervisor-ctl fleet
  hypervisor-ctl fleet --output json
  hypervisor-ctl fleet rotate"
    )]
    Fleet {
        #[command(subcommand)]
        command: Option<FleetCommand>,
        #[command(flatten)]
        access: AdminAccess,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text", global = true)]
        output: Output,
    },
    /// Have a serving host take no more, and end when what is under way has ended, as after SIGTERM.
    #[command(after_help = "Examples:
  hypervisor-ctl drain                 wait until it has ended
  hypervisor-ctl drain --stay          not ready, so that a load balancer sends nothing more; it goes on answering
  hypervisor-ctl drain --leave         ready again")]
    Drain(Drain),
    /// Show the log levels of a serving host, or set them until it ends.
    #[command(after_help = "Examples:
  hypervisor-ctl level
  hypervisor-ctl level debug
  hypervisor-ctl level info,plugin=debug")]
    Level {
        /// Levels as RUST_LOG has them; without any, those in force are shown.
        #[arg(value_name = "LEVELS")]
        directives: Option<String>,
        #[command(flatten)]
        access: AdminAccess,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Export the metrics and spans of a serving host by OTLP, as the variables of OpenTelemetry say, until it is told to end.
    #[command(after_help = "Examples:
  OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example:4318 hypervisor-ctl telemetry
  OTEL_TRACES_EXPORTER=none OTEL_METRIC_EXPORT_INTERVAL=10000 hypervisor-ctl telemetry
  hypervisor-ctl telemetry --once --admin unix:/var/lib/hypervisor/admin.sock

Spans need `traces = true` in [telemetry] of the host's configuration. Variables, with their meaning in OpenTelemetry's specification:
  OTEL_EXPORTER_OTLP_ENDPOINT           http://localhost:4318; /v1/traces and /v1/metrics are added
  OTEL_EXPORTER_OTLP_HEADERS            NAME=VALUE,NAME=VALUE; values percent-encoded
  OTEL_EXPORTER_OTLP_TIMEOUT            milliseconds of one export, 10000
  OTEL_EXPORTER_OTLP_PROTOCOL           http/protobuf; grpc and http/json are refused
  OTEL_EXPORTER_OTLP_COMPRESSION        none; gzip is refused
  OTEL_EXPORTER_OTLP_CERTIFICATE        what signs the collector's certificate, PEM; by default what this machine trusts
  OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY    your own, PEM
  each also as OTEL_EXPORTER_OTLP_TRACES_… and OTEL_EXPORTER_OTLP_METRICS_…, which go before it; an endpoint is then taken as it is
  OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER    otlp, or none
  OTEL_METRIC_EXPORT_INTERVAL           milliseconds between exports of metrics, 60000
  OTEL_BSP_SCHEDULE_DELAY               milliseconds between looks for spans, 1000
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG   parentbased_always_on, parentbased_traceidratio and 0.1, …
  OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES    by default service.name=hypervisor
  OTEL_SDK_DISABLED                     true: nothing is exported")]
    Telemetry(Telemetry),
    /// Ask the policy of a configuration by hand, without serving.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Try the payment component of a configuration by hand, without serving.
    Payments {
        #[command(subcommand)]
        command: PaymentsCommand,
    },
    /// Fetch a plugin from a registry, by its digest; prints the line that the configuration then needs.
    Pull {
        /// oci://REGISTRY/NAME@sha256:DIGEST.
        #[arg(value_name = "REF")]
        component: Reference,
        /// The folder for the file, whose name has the digest.
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
        #[command(flatten)]
        access: Access,
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
    /// Print a script that completes this command's arguments in a shell.
    Completions(Completions),
    /// Write the manual pages and completions of this program and the host's.
    #[command(hide = true)]
    Manual(Manual),
}

/// How the admin port of a serving host is reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminAccess {
    /// The host's admin port: unix:/PATH, http://IP:PORT or https://NAME:PORT; by default that of the configuration.
    #[arg(long, value_name = "URL", env = "HYPERVISOR_ADMIN", global = true)]
    pub(crate) admin: Option<AdminUrl>,
    /// The file with the admin port's token; by default that of the configuration.
    #[arg(
        long,
        value_name = "FILE",
        env = "HYPERVISOR_ADMIN_TOKEN_FILE",
        global = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: AdminTls,
}

/// What is shown and asked for under TLS.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminTls {
    /// With https: the certificates that sign the host's, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "HYPERVISOR_ADMIN_TLS_CA",
        global = true
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// With https: your own certificate, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "HYPERVISOR_ADMIN_TLS_CERTIFICATE",
        requires = "tls_key",
        global = true
    )]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// With https: its private key, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "HYPERVISOR_ADMIN_TLS_KEY",
        requires = "tls_certificate",
        global = true
    )]
    pub(crate) tls_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Time between two looks.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) access: AdminAccess,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Lines to begin with, at the most.
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) lines: usize,
    /// Go on with the lines that come.
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) access: AdminAccess,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Telemetry {
    /// Export what there is and end; exits with status 1 where the host does not give it or the collector does not take it.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) access: AdminAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// Take down an agent, by its name or its address.
    Remove {
        /// NAME, or NAME.OWNER.
        #[arg(value_name = "AGENT")]
        agent: String,
    },
    /// Take away all environments of an owner.
    RemoveEnvironments {
        /// The id of the owner's key.
        #[arg(value_name = "OWNER")]
        owner: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Have a new key take the place of the one that rows are sealed under, where hosts give it to each other.
    #[command(
        after_help = "The host makes the key, and the others get it from it. Once all that live have it everything is written under it, and what
there is is sealed anew; then the one before is forgotten. `hypervisor-ctl fleet` says how far that is. No host is restarted."
    )]
    Rotate,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Only be not ready, and go on answering.
    #[arg(long, conflicts_with_all = ["leave", "no_wait"])]
    pub(crate) stay: bool,
    /// Be ready again.
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) leave: bool,
    /// Do not wait for the end.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The longest wait for the end; after it the exit status is 1, and the host goes on draining.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) access: AdminAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    /// Say what a guest image will be measured as, from its file alone: a verification policy.
    Image(MeasureImage),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Takes the name of what can be swapped.
fn swappable(name: &str) -> Result<String, String> {
    let is_front = name.strip_suffix(".protocol").is_some_and(|it| {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !it.is_empty() && it.bytes().all(is_plain)
    });
    match matches!(name, "payments" | "policy" | "status") || is_front {
        true => Ok(name.to_owned()),
        false => Err("payments, policy, status and NAME.protocol can be swapped".to_owned()),
    }
}
