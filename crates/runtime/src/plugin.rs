//! Plugins: components the operator loads with authority. Their world is checked, and they are measured before they are
//! compiled or instantiated.

use std::path::{Path, PathBuf};

use const_hex::encode as hex;
use hypervisor_wasm_check::{Inspection, Kind, PLUGIN_VERSION, inspect};
use sha2::{Digest, Sha384};
use wasmtime::component::InstancePre;

use super::Executor;
use super::agent::MachineCode;
use super::guest::Guest;
use super::native::TrustedCode;
use super::plugins::LoadedPlugin;
use super::prepare::{PrepareError, linked};
use super::said::Failure;
use super::typed::{self, Function};

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    component: PathBuf,
    compiled: Option<Compiled>,
}

/// Machine code made beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compiled {
    path: PathBuf,
    /// Hex. The code is trusted because the configuration that names its digest is.
    sha384: String,
}

impl Source {
    /// Empty paths mean none.
    pub fn new(component: &Path, compiled: &Path, sha384: &str) -> Option<Self> {
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let compiled = is_set(compiled).then(|| Compiled {
            path: compiled.to_owned(),
            sha384: sha384.to_owned(),
        });
        is_set(component).then(|| Self {
            component: component.to_owned(),
            compiled,
        })
    }
}

/// Stands for a file's name where there is none.
const SENT: &str = "the component that was sent";

/// The bytes of a plugin, and what goes with them.
pub(super) struct Component {
    /// For messages: the file that it came from.
    path: PathBuf,
    bytes: Vec<u8>,
    compiled: Option<Compiled>,
}

impl Component {
    /// Reads what the configuration names.
    pub(super) fn read(source: &Source) -> Result<Self, PluginError> {
        Ok(Self {
            bytes: read(&source.component)?,
            path: source.component.clone(),
            compiled: source.compiled.clone(),
        })
    }

    /// One that the operator sent.
    pub(super) fn sent(bytes: Vec<u8>) -> Self {
        Self {
            path: PathBuf::from(SENT),
            bytes,
            compiled: None,
        }
    }

    /// Whether it is a component of `world` that this host can load.
    pub(super) fn check(&self, world: World) -> Result<Inspection, PluginError> {
        let path = &self.path;
        let inspection = inspect(&self.bytes).map_err(|refusal| unusable(path, refusal.detail))?;
        let (wanted, export) = (world.name, world.export);
        if inspection.kind != Kind::Component || !inspection.exports_interface(export) {
            let found: Vec<String> = WORLDS
                .iter()
                .filter(|(_, export)| inspection.exports_interface(export))
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let found = if found.is_empty() {
                "of no plugin or agent".to_owned()
            } else {
                found.join(" and ")
            };
            return Err(PluginError::WrongWorld {
                path: path.to_owned(),
                found,
                wanted,
                export,
            });
        }
        for interface in world.functions.iter().map(|function| function.interface) {
            if inspection.exports_compatible(interface, PLUGIN_VERSION) == Some(false) {
                return Err(unusable(path, foreign(&inspection, interface)));
            }
        }
        let missing: Vec<String> = inspection
            .missing()
            .filter(|import| !(world.has_network && import.is_http()))
            .map(|import| import.explain(world.has_network))
            .collect();
        if missing.is_empty() {
            Ok(inspection)
        } else {
            Err(unusable(path, missing.join("; ")))
        }
    }

    /// SHA-384 of the machine code, hex, where it was made beforehand.
    pub(super) fn compiled_sha384(&self) -> Option<&str> {
        self.compiled
            .as_ref()
            .map(|compiled| compiled.sha384.as_str())
    }

    pub(super) fn sha384(&self) -> [u8; 48] {
        Sha384::digest(&self.bytes).into()
    }

    pub(super) fn unusable(&self, error: &wasmtime::Error) -> PluginError {
        unusable(&self.path, format!("{error:#}"))
    }
}

/// A world of `wit/`, known by what it exports.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    name: &'static str,
    export: &'static str,
    /// What the host calls, of what it exports and of what it may export besides.
    functions: &'static [Function],
    /// What its plugin is called in the manifest.
    plugin: &'static str,
    /// Whether its components may import what sends HTTP requests. Where they may send them is said for each.
    has_network: bool,
}

/// Of the engine of a language.
pub(super) const fn script(language: &'static str) -> World {
    World {
        name: "script-engine",
        export: "hypervisor:plugin/script",
        functions: typed::SCRIPT,
        plugin: language,
        // For environments; scripts have nobody who sends for them.
        has_network: true,
    }
}
/// Of one of no language yet.
pub(super) const SCRIPT: World = script("script");
pub(super) const POLICY: World = World {
    name: "policy-engine",
    export: "hypervisor:plugin/policy",
    functions: typed::POLICY,
    plugin: "policy",
    has_network: false,
};
pub(super) const PAYMENTS: World = World {
    name: "payments",
    export: "hypervisor:plugin/payment",
    functions: typed::PAYMENTS,
    plugin: "payments",
    has_network: true,
};

/// All worlds, and what each exports.
const WORLDS: [(&str, &str); 5] = [
    (SCRIPT.name, SCRIPT.export),
    (POLICY.name, POLICY.export),
    (PAYMENTS.name, PAYMENTS.export),
    ("agent-command", "wasi:cli/run"),
    ("agent-service", "wasi:http/incoming-handler"),
];

/// Why a plugin is not loaded. Start-up ends with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is a component of another world.
    #[error("{} is a component of the world {found}; here the world `{wanted}` is needed, which exports {export}@{}", path.display(), PLUGIN_VERSION)]
    WrongWorld {
        /// The file.
        path: PathBuf,
        /// Worlds that its exports belong to.
        found: String,
        /// The world needed.
        wanted: &'static str,
        /// What that world exports.
        export: &'static str,
    },
    /// It cannot be used: not a component, imports the host does not have, does not compile or link.
    #[error("{}: {message}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The machine code is not the one the configuration names.
    #[error("{} has SHA-384 {found}, and the configuration expects {expected}; run `hypervisor compile` again", path.display())]
    WrongCode {
        /// The file.
        path: PathBuf,
        /// Digest of the file.
        found: String,
        /// Digest in the configuration.
        expected: String,
    },
    /// The operator's rules.
    #[error("{}: {message}", path.display())]
    Rules {
        /// The rules file.
        path: PathBuf,
        /// What the policy engine said.
        message: String,
    },
}

impl Executor {
    /// Compiles, measures and links a plugin that was checked.
    pub(super) async fn load(
        &self,
        component: &Component,
        world: World,
        inspection: Inspection,
    ) -> Result<(InstancePre<Guest>, LoadedPlugin), PluginError> {
        let path = &component.path;
        let code = match &component.compiled {
            None => self.compile_plugin(path, &component.bytes).await?,
            Some(compiled) => verified_code(&compiled.path, &compiled.sha384)?,
        };
        let imports: Vec<String> = inspection
            .imports
            .into_iter()
            .map(|import| import.name)
            .collect();
        let sha384 = component.sha384();
        let loaded = LoadedPlugin::new(world.plugin, sha384, component, imports.clone());
        self.sandboxes
            .surroundings()
            .measure(world.plugin, sha384, imports)
            .map_err(|e| unusable(path, e.to_string()))?;
        let mut linker = self.linker.clone();
        if world.has_network {
            wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)
                .map_err(|e| component.unusable(&e))?;
        }
        let linked = linked(code, &linker).await;
        let linked = linked.map_err(|e| component.unusable(&e))?;
        typed::compare(&linked, world.functions).map_err(|e| component.unusable(&e))?;
        Ok((linked, loaded))
    }

    async fn compile_plugin(
        &self,
        path: &Path,
        component: &[u8],
    ) -> Result<TrustedCode, PluginError> {
        if path == Path::new(SENT) {
            tracing::info!("compiling a plugin that the operator sent");
        } else {
            tracing::info!(path = %path.display(), "compiling a plugin; `hypervisor-ctl compile` does it once for all starts");
        }
        match self.compiler.compile_plugin(component).await {
            Ok(compiled) => Ok(compiled.code),
            Err(PrepareError::Program(exit)) => {
                let words = Failure::from(exit).place().unwrap_or_default();
                Err(unusable(path, format!("it cannot be compiled: {words}")))
            }
            Err(PrepareError::Host(message)) => Err(unusable(path, message)),
            // It waits for nobody.
            Err(PrepareError::Busy) => Err(unusable(path, "the compiler is busy".to_owned())),
        }
    }

    /// Reads a component that the operator names, and what it is compiled to; for an agent.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn configured(&self, source: &Source) -> Result<(Vec<u8>, MachineCode), PluginError> {
        let Component {
            path,
            bytes,
            compiled,
        } = Component::read(source)?;
        let code = match &compiled {
            None => self.compile_plugin(&path, &bytes).await?,
            Some(compiled) => verified_code(&compiled.path, &compiled.sha384)?,
        };
        Ok((bytes, code.into()))
    }

    /// Compiles a component that the operator sent.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn compiled(&self, component: &[u8]) -> Result<MachineCode, PluginError> {
        let code = self.compile_plugin(Path::new(SENT), component).await?;
        Ok(code.into())
    }

    /// Compiles a plugin for later starts; gives the machine code and its SHA-384 in hex.
    pub async fn compile_ahead(&self, path: &Path) -> Result<(Vec<u8>, String), PluginError> {
        let component = read(path)?;
        let code = self.compile_plugin(path, &component).await?.into_bytes();
        let digest = hex(Sha384::digest(&code));
        Ok((code, digest))
    }
}

fn verified_code(path: &Path, expected: &str) -> Result<TrustedCode, PluginError> {
    let code = read(path)?;
    let found = hex(Sha384::digest(&code));
    let expected = expected.trim().to_ascii_lowercase();
    if found == expected {
        Ok(TrustedCode::from_configured_digest(code))
    } else {
        Err(PluginError::WrongCode {
            path: path.to_owned(),
            found,
            expected,
        })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    if path.starts_with("oci:") {
        let words = "a host fetches nothing; `hypervisor-ctl pull` writes it to a file, which is what to name";
        return Err(unusable(path, words.to_owned()));
    }
    std::fs::read(path).map_err(|source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// What a component has of an interface that this host takes in other versions only.
fn foreign(inspection: &Inspection, interface: &str) -> String {
    let is_one = |name: &&String| name.split_once('@').is_some_and(|(it, _)| it == interface);
    let found: Vec<&str> = inspection
        .exports
        .iter()
        .filter(is_one)
        .map(String::as_str)
        .collect();
    let (track, _) = PLUGIN_VERSION
        .rsplit_once('.')
        .unwrap_or((PLUGIN_VERSION, ""));
    format!(
        "it exports {}; this host takes {interface}@{track}.x, of which it has {PLUGIN_VERSION}: build it against that version's WIT",
        found.join(", ")
    )
}

fn unusable(path: &Path, message: String) -> PluginError {
    PluginError::Unusable {
        path: path.to_owned(),
        message,
    }
}
