//! Configuration: `hypervisor.toml`, the environment and flags, in that rising order of precedence.
//!
//! A file is read into [`Config`] with every key optional; unknown keys are refused with the nearest known one, so a
//! misspelt limit never silently keeps its default.

mod admin;
mod agents;
mod attestation;
mod audit;
mod environments;
mod fleet;
mod limits;
mod metered;
mod payments;
mod protocols;
mod runtime;
mod tls;
mod unknown;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use admin::{Admin, AdminTls, Place};
pub use agents::{Agents, Deploy};
pub use attestation::{Attestation, AttestationBackend};
pub use audit::Audit;
pub use environments::Environments;
pub use fleet::Fleet;
pub use limits::Limits;
pub use metered::Metered;
pub use payments::{Asset, Charging, Payments};
pub use protocols::Protocol;
pub use tls::Tls;

use crate::error::Error;
use crate::executor::Source;

/// Most script instances kept ready: the instance pool has that much room beside the executions.
const MAX_READY: usize = 32;

/// Everything an operator can set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Address of the public HTTP port, `ip:port`; port 0 takes a free one; by default `127.0.0.1:8080`.
    pub listening: SocketAddr,
    /// TLS on that port.
    pub tls: Tls,
    /// Folder of the host's own state; by default `./state`.
    pub executor_path: PathBuf,
    /// Folder of agents that `/agent/deploy` finds by name; by default `./agents`.
    pub app_path: PathBuf,
    /// What one request, one execution and the whole host may use.
    pub limits: Limits,
    /// Components that answer HTTP in the host's own name.
    pub protocols: Vec<Protocol>,
    /// Behaviour that is not a limit.
    pub execution: Execution,
    /// The script engines: without one the endpoints of its language answer 503.
    pub runtime: Runtime,
    /// The operator's policy: without one nothing is asked.
    pub policy: Policy,
    /// Taking payments: without a component paid routes answer 503.
    pub payments: Payments,
    /// Which routes there are.
    pub routes: Routes,
    /// Deployed agents.
    pub agents: Agents,
    /// Environments.
    pub environments: Environments,
    /// What the host proves itself with.
    pub attestation: Attestation,
    /// The hosts that are one service.
    pub fleet: Fleet,
    /// The audit trail.
    pub audit: Audit,
    /// The port for probes and operators.
    pub admin: Admin,
    /// What is kept for `hypervisor-ctl telemetry`.
    pub telemetry: Telemetry,
    /// What to do where the system cannot confine the host and its compilers as they should be.
    pub hardening: Hardening,
}

/// `hardening`: what to do where the system cannot confine the host and its compilers as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Hardening {
    /// A warning, and the rest is done.
    #[default]
    Warn,
    /// The host does not start.
    Require,
}

/// `[runtime]`: the components that run scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Runtime {
    /// That of Python.
    pub python: Script,
    /// That of JavaScript and TypeScript.
    pub javascript: Script,
}

/// `[runtime.python]`, `[runtime.javascript]`: the component that runs scripts in a language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Script {
    /// A component of the world `script-engine`; none switches it off.
    pub component: PathBuf,
    /// Its machine code, made by `hypervisor-ctl compile`; none compiles at every start.
    pub compiled: PathBuf,
    /// SHA-384 of that file, hex.
    pub compiled_sha384: String,
    /// Instances kept ready for the next scripts; each serves one; by default `4`.
    pub ready: usize,
}

/// `[policy]`: the component that decides, and its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// A component of the world `policy-engine`; none switches it off.
    pub component: PathBuf,
    /// Its machine code, made by `hypervisor-ctl compile`; none compiles at every start.
    pub compiled: PathBuf,
    /// SHA-384 of that file, hex.
    pub compiled_sha384: String,
    /// The rules file, in the engine's language.
    pub rules: PathBuf,
    /// Processor time of one decision; by default `100ms`.
    #[serde(with = "humantime_serde")]
    pub cpu: Duration,
    /// Wall-clock time of one decision; by default `1s`.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
}

impl Script {
    /// Where the plugin comes from, if there is one.
    pub fn source(&self) -> Option<Source> {
        Source::new(&self.component, &self.compiled, &self.compiled_sha384)
    }
}

impl Policy {
    /// Where the plugin comes from, if there is one.
    pub fn source(&self) -> Option<Source> {
        Source::new(&self.component, &self.compiled, &self.compiled_sha384)
    }

    /// The limits of one decision: the executions' own, apart from its clocks.
    pub fn limits(&self, executions: &Limits) -> Limits {
        Limits {
            cpu: self.cpu,
            wall: self.wall,
            ..executions.clone()
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            component: PathBuf::new(),
            compiled: PathBuf::new(),
            compiled_sha384: String::new(),
            ready: 4,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            component: PathBuf::new(),
            compiled: PathBuf::new(),
            compiled_sha384: String::new(),
            rules: PathBuf::new(),
            cpu: Duration::from_millis(100),
            wall: Duration::from_secs(1),
        }
    }
}

/// `[execution]`: how programs are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// Let sessions hit programs that other sessions compiled. Faster where many clients send the same public
    /// program; the time of a hit then tells one client what another has run, so it is off by default.
    pub shared_compile_cache: bool,
}

/// `[telemetry]`: what is kept for `hypervisor-ctl telemetry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Telemetry {
    /// Keep spans of the last requests in memory; by default `false`.
    pub traces: bool,
}

/// `[routes]`: which routes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routes {
    /// Executions and scripts that cost nothing; by default `true`. False leaves the paid routes, and agents.
    pub free: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self { free: true }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listening: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: Tls::default(),
            executor_path: PathBuf::from("state"),
            app_path: PathBuf::from("agents"),
            limits: Limits::default(),
            protocols: Vec::new(),
            execution: Execution::default(),
            runtime: Runtime::default(),
            policy: Policy::default(),
            payments: Payments::default(),
            routes: Routes::default(),
            agents: Agents::default(),
            environments: Environments::default(),
            attestation: Attestation::default(),
            fleet: Fleet::default(),
            audit: Audit::default(),
            admin: Admin::default(),
            telemetry: Telemetry::default(),
            hardening: Hardening::default(),
        }
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "each default is written where an operator would look for it"
)]
impl Default for Execution {
    fn default() -> Self {
        Self {
            shared_compile_cache: false,
        }
    }
}

impl Config {
    /// The file with the admin port's token.
    pub fn admin_token_file(&self) -> PathBuf {
        if self.admin.token_file.as_os_str().is_empty() {
            self.executor_path.join("admin.token")
        } else {
            self.admin.token_file.clone()
        }
    }

    /// Where the admin port is; none where it is off.
    ///
    /// # Errors
    /// When it is neither an address nor a path, or has TLS and is no address.
    pub fn admin_place(&self) -> Result<Option<Place>, Error> {
        self.admin.place(&self.executor_path)
    }

    /// The ports of this host's own listeners.
    pub(crate) fn own_ports(&self) -> Result<Vec<u16>, Error> {
        let admin = match self.admin_place()? {
            Some(Place::Tcp(address)) => Some(address.port()),
            Some(Place::Unix(_)) | None => None,
        };
        Ok([self.listening.port()].into_iter().chain(admin).collect())
    }

    /// Reads `path`, or the defaults when there is none, then applies `HYPERVISOR_HOST` and validates.
    pub fn load(path: Option<&Path>, host_override: Option<&str>) -> Result<Self, Error> {
        let mut config = match path {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| Error::ConfigUnreadable {
                        path: path.to_owned(),
                        source,
                    })?;
                Self::parse(path, &text)?
            }
            None => Self::default(),
        };
        if let Some(host) = host_override {
            config.listening = listening_from_host(host, config.listening)?;
        }
        config.limits.validate()?;
        let engines = config.runtime.engines().map(|(_, script)| script.ready);
        let ready = engines.into_iter().fold(0, usize::saturating_add);
        if ready > MAX_READY {
            return Err(Error::ConfigValue {
                key: "runtime.*.ready",
                message: format!("{ready} of all languages is over {MAX_READY}"),
            });
        }
        if config.policy.source().is_some() && config.policy.rules.as_os_str().is_empty() {
            return Err(Error::ConfigValue {
                key: "policy.rules",
                message: "a policy needs a rules file".to_owned(),
            });
        }
        if config.policy.source().is_none() && !config.policy.rules.as_os_str().is_empty() {
            return Err(Error::ConfigValue {
                key: "policy.component",
                message: "rules need a component that reads them; without one nothing is asked"
                    .to_owned(),
            });
        }
        Protocol::validate(&config.protocols)?;
        config.payments.validate()?;
        config.agents.validate()?;
        config.environments.validate()?;
        config.fleet.validate()?;
        config.audit.validate()?;
        config.admin_place()?;
        Ok(config)
    }

    /// Parses the text of a configuration file; `path` is for messages only.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let invalid = |e: toml::de::Error| Error::ConfigInvalid {
            path: path.to_owned(),
            message: e.to_string(),
        };
        let document = toml::Deserializer::parse(text).map_err(invalid)?;
        let mut unknown = Vec::new();
        let config: Self =
            serde_ignored::deserialize(document, |key| unknown.push(key.to_string()))
                .map_err(invalid)?;
        match unknown.into_iter().next() {
            None => Ok(config),
            Some(key) => {
                let nearest = unknown::nearest_key(&key, &Self::default());
                Err(Error::ConfigUnknownKey {
                    path: path.to_owned(),
                    key,
                    nearest,
                })
            }
        }
    }
}

/// `HYPERVISOR_HOST`: an `ip:port`, or an address alone that keeps the configured port.
fn listening_from_host(host: &str, configured: SocketAddr) -> Result<SocketAddr, Error> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Ok(address);
    }
    host.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, configured.port()))
        .map_err(|_| Error::ConfigValue {
            key: "HYPERVISOR_HOST",
            message: format!("`{host}` is neither an IP address nor ip:port"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(Path::new("hypervisor.toml"), text)
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn fixed_keys_and_sections_are_read() {
        let config = parse("listening = '127.0.0.1:0'\nexecutor_path = '/s'\napp_path = '/a'\n[limits]\nwall = '3s'\nmemory = '64 MiB'").unwrap();
        assert_eq!(config.listening.port(), 0);
        assert_eq!(config.limits.wall.as_secs(), 3);
        assert_eq!(config.limits.memory.as_u64(), 64 << 20);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = parse("listenning = '127.0.0.1:0'").unwrap_err().to_string();
        assert_eq!(
            error,
            "hypervisor.toml: unknown key `listenning`; did you mean `listening`?"
        );
        let error = parse("[limits]\nmemroy = '1 MiB'").unwrap_err().to_string();
        assert_eq!(
            error,
            "hypervisor.toml: unknown key `limits.memroy`; did you mean `limits.memory`?"
        );
    }

    #[test]
    fn a_wrong_type_names_the_line() {
        let error = parse("\nlistening = 8080").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn host_override_keeps_the_port_or_sets_both() {
        let configured = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(
            listening_from_host("0.0.0.0", configured)
                .unwrap()
                .to_string(),
            "0.0.0.0:8080"
        );
        assert_eq!(
            listening_from_host("[::1]:9", configured)
                .unwrap()
                .to_string(),
            "[::1]:9"
        );
        assert!(listening_from_host("nowhere", configured).is_err());
    }

    #[test]
    fn the_configurations_of_guest_images_are_understood() {
        for text in [
            include_str!("../../../image/production/hypervisor.toml"),
            include_str!("../../../image/simulated/hypervisor.toml"),
        ] {
            parse(text).unwrap();
        }
    }

    #[test]
    fn the_shipped_example_is_the_defaults_in_full() {
        let example = include_str!("../../../hypervisor.toml");
        assert_eq!(parse(example).unwrap(), Config::default());
        let written: toml::Table = toml::from_str(example).unwrap();
        let known = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(
            unknown::key_paths(&written),
            unknown::key_paths(&known),
            "hypervisor.toml must show every key"
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
