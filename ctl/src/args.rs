//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use hypervisor::admin::Place;
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
  hypervisor-ctl swap policy policy-rust.wasm --admin 127.0.0.1:8081
  hypervisor-ctl swap policy --rules next.py
  hypervisor-ctl swap policy policy-rust.wasm --rules digests.txt

The component is checked, compiled, measured and tried first; where anything is wrong with it, nothing changes. Requests under
way finish on the old one. Component and rules are swapped in one step. A component without --rules reads the rules file of the
configuration again. Rules that are sent are in no file of the host's: it reads its own when it is started again.")]
    Swap {
        /// Which plugin.
        #[arg(value_enum)]
        plugin: SwapPlugin,
        /// The component; without one the one in use stays, and --rules are swapped alone.
        #[arg(value_name = "FILE", required_unless_present = "rules")]
        component: Option<PathBuf>,
        /// Rules for the policy.
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// The host's admin port, `ip:port` or `unix:/path`; by default `[admin] listening` of the configuration.
        #[arg(long, value_name = "ADDRESS", env = "HYPERVISOR_ADMIN")]
        admin: Option<Place>,
        /// The file with the admin port's token; by default that of the configuration.
        #[arg(long, value_name = "FILE", env = "HYPERVISOR_ADMIN_TOKEN_FILE")]
        token_file: Option<PathBuf>,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
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

/// The plugins that can be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SwapPlugin {
    /// What takes payments.
    Payments,
    /// What decides.
    Policy,
}
