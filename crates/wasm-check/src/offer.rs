//! What the host offers to a program: the table behind "granted, inert or missing".

use std::fmt;

use serde::Serialize;

/// How the host answers an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Works.
    Granted,
    /// Present and empty: links, but gives nothing (no files, no sockets, no terminal).
    Inert,
    /// Not offered: the program is refused.
    Missing,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Granted => "granted",
            Self::Inert => "inert",
            Self::Missing => "missing",
        })
    }
}

/// Version of every WASI package the host links.
pub const WASI_VERSION: &str = "0.2.12";
/// Version of the host's own WIT package.
pub const PLUGIN_VERSION: &str = "0.1.1";

/// Interfaces that work for a `wasi:cli/run` program.
const GRANTED: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Interfaces that toolchains import whether the program uses them or not.
const INERT: &[&str] = &[
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Interfaces that only components with a network have: the plugin that takes payments.
const HTTP: &[&str] = &["wasi:http/outgoing-handler", "wasi:http/types"];

/// Interfaces by which components of the world `protocol` keep rows.
const ROWS: &[&str] = &[
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:keyvalue/store",
];
/// Their version: a draft, which nothing but itself matches.
const ROWS_VERSION: &str = "0.2.0-draft";

/// Interfaces of `hypervisor:plugin` that the host itself implements.
const PLUGIN: &[&str] = &["hypervisor:plugin/attestation", "hypervisor:plugin/crypto"];

/// Interfaces of `hypervisor:plugin` that plugins implement, for agents, and the section of the configuration that names the
/// plugin.
const LOADED: &[(&str, &str)] = &[
    ("hypervisor:plugin/policy", "policy"),
    ("hypervisor:plugin/payment", "payments"),
];

/// One import of a program, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// Name as the program has it, version included.
    pub name: String,
    /// What the host does about it.
    pub standing: Standing,
    /// Version the host has of this interface, or `None` where it has none.
    pub host_version: Option<&'static str>,
}

impl Import {
    /// Judges an import by name. Versions match as semver does: any 0.2.x of WASI, any 0.1.x of the plugin package.
    pub fn judge(name: &str) -> Self {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let offered = |list: &[&str]| list.contains(&interface);
        let (standing, host_version) = if offered(GRANTED) {
            (Standing::Granted, Some(WASI_VERSION))
        } else if offered(INERT) {
            (Standing::Inert, Some(WASI_VERSION))
        } else if offered(PLUGIN) {
            (Standing::Granted, Some(PLUGIN_VERSION))
        } else {
            (Standing::Missing, None)
        };
        let compatible = host_version.is_some_and(|host| versions_match(version, host));
        Self {
            name: name.to_owned(),
            standing: if compatible {
                standing
            } else {
                Standing::Missing
            },
            host_version,
        }
    }

    /// The import as it stands for an agent: agents have HTTP, and those plugins that the host has loaded. `plugins` are
    /// interfaces, and whether a plugin offers them here.
    #[must_use]
    pub(crate) fn for_agent(self, plugins: &[(&str, bool)]) -> Self {
        let (interface, version) = self.name.split_once('@').unwrap_or((&self.name, ""));
        let host_version = if HTTP.contains(&interface) {
            Some(WASI_VERSION)
        } else {
            plugins
                .iter()
                .find(|(plugin, _)| *plugin == interface)
                .filter(|(_, loaded)| *loaded)
                .map(|_| PLUGIN_VERSION)
        };
        match host_version {
            None => self,
            Some(host) if versions_match(version, host) => Self {
                standing: Standing::Granted,
                host_version,
                ..self
            },
            Some(_) => Self {
                host_version,
                ..self
            },
        }
    }

    /// The import as it stands for a component that has rows of its own.
    pub(crate) fn with_rows(self) -> Self {
        let (interface, version) = self.name.split_once('@').unwrap_or((&self.name, ""));
        if !ROWS.contains(&interface) {
            return self;
        }
        Self {
            standing: match version {
                ROWS_VERSION => Standing::Granted,
                _ => Standing::Missing,
            },
            host_version: Some(ROWS_VERSION),
            ..self
        }
    }

    /// Whether it is one of the interfaces by which a component sends HTTP requests, in a version that the host links for
    /// those that may.
    pub fn is_http(&self) -> bool {
        let (interface, version) = self.name.split_once('@').unwrap_or((&self.name, ""));
        HTTP.contains(&interface) && versions_match(version, WASI_VERSION)
    }

    /// One sentence for a missing import: what the program wants and what the host has. Agents have more.
    pub fn explain(&self, agent: bool) -> String {
        let (interface, _) = self.name.split_once('@').unwrap_or((&self.name, ""));
        if let Some((_, section)) = LOADED.iter().find(|(plugin, _)| *plugin == interface)
            && self.host_version.is_none()
        {
            return format!(
                "`{}` is a plugin's, for agents, and this host has none loaded (its operator names one in [{section}])",
                self.name
            );
        }
        match self.host_version {
            Some(host) => format!(
                "`{}` is not offered: this host has version {host} of it",
                self.name
            ),
            None => {
                let package = self
                    .name
                    .split_once('/')
                    .map_or(self.name.as_str(), |(package, _)| package);
                let http: &[&str] = if agent { HTTP } else { &[] };
                let same_package: Vec<&str> = [GRANTED, INERT, PLUGIN, http]
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|known| known.split_once('/').is_some_and(|(p, _)| p == package))
                    .collect();
                if same_package.is_empty() {
                    format!(
                        "`{}` is not offered: this host has wasi:cli, wasi:clocks, wasi:filesystem,{} wasi:io, wasi:random and \
                         wasi:sockets {WASI_VERSION} and hypervisor:plugin {PLUGIN_VERSION}",
                        self.name,
                        if agent { " wasi:http," } else { "" },
                    )
                } else {
                    format!(
                        "`{}` is not offered: of {package} this host has {}",
                        self.name,
                        same_package.join(", ")
                    )
                }
            }
        }
    }
}

/// Whether a host that has version `host` of a package has `wanted`: the same `0.minor`, or major from 1 on; no pre-releases.
pub fn versions_match(wanted: &str, host: &str) -> bool {
    let track = |version: &str| {
        let mut parts = version.split('.');
        let major = parts.next()?.parse::<u32>().ok()?;
        let minor = parts.next()?.parse::<u32>().ok()?;
        let patch = parts.next()?;
        if patch.parse::<u32>().is_err() || parts.next().is_some() {
            return None;
        }
        Some((major, if major == 0 { minor } else { 0 }))
    };
    matches!((track(wanted), track(host)), (Some(a), Some(b)) if a == b)
}

/// Every offered interface with its version, for tests and documentation.
pub fn all_offered() -> impl Iterator<Item = String> {
    let wasi = [GRANTED, INERT]
        .into_iter()
        .flatten()
        .map(|name| format!("{name}@{WASI_VERSION}"));
    wasi.chain(PLUGIN.iter().map(|name| format!("{name}@{PLUGIN_VERSION}")))
}
