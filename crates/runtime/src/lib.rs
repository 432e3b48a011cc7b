//! Runs WebAssembly components in sandboxes: takes a component, inputs and limits, gives an outcome.
//!
//! It knows nothing of the host's API, its configuration, sessions or keys: what it needs of whoever embeds it comes in by
//! [`Surroundings`] and [`Egress`]. Programs are prepared once (compiled in a process of its own, linked, cached in memory)
//! and run in a fresh instance each time.

mod access;
mod adapt;
mod agent;
mod begin;
mod budget;
mod bundle;
mod cache;
mod compile;
mod engine;
mod environment;
mod epoch;
mod error;
mod gate;
mod guest;
mod holding;
mod idle;
pub mod imports;
mod instrument;
mod limits;
mod linked;
mod meter;
mod native;
mod outcome;
mod outgoing;
mod payment;
mod plugin;
mod plugins;
mod policy;
mod prepare;
mod ready;
mod reserve;
mod rows;
mod run;
mod said;
mod sandbox;
mod script;
mod service;
mod service_body;
mod snapshot;
mod state;
mod stdio;
mod still;
mod surroundings;
mod tap;
mod teardown;
mod touch;
mod trial;
mod typed;
mod worker;
mod worlds;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;

pub use agent::{Agent, AgentSettings, Command, MachineCode};
pub use bundle::{Bundle, File};
pub use cache::{Scope, sha256};
pub use engine::{Allocation, WASMTIME_VERSION, compile_settings, look_at_own_pages};
pub use environment::{Answer, CallInputs, CallLimits, SetUp, Turn};
pub use error::Error;
pub use gate::Client;
pub use holding::Holding;
pub use hypervisor_wasm_check::{
    AgentInspection, Import, Inspection, Kind, PLUGIN_VERSION, Plugins, Refusal, Standing,
    WASI_VERSION, granted, inspect, versions_match,
};
pub use instrument::INSTRUMENTER_VERSION;
pub use limits::{Limits, Settings};
pub use outcome::{Exit, Inputs, Outcome};
pub use outgoing::{
    Chain, Connection, Egress, HttpBody, HttpError, HttpTimeouts, Moment, Sending, Sent,
};
pub use payment::{
    Account, Asset, AuthorizedPayment, ChallengeResponse, Finality, Header, Item, Offer, Page,
    PaymentEngine, PaymentError, PaymentId, Proof, Receipt, ResourceInfo, Settlement,
    SettlementFailure, Terms, Unanswered, UnknownSettlement, Verification,
};
pub use plugin::{PluginError, Source};
pub use plugins::{
    Fresh, LoadedPlugin, PaymentSettings, PluginSet, PluginSettings, PolicySettings, Rules,
    ScriptSettings,
};
pub use policy::{Action, ActionKind, AgentId, Charge, KINDS, PolicyEngine, kind_name};
pub use prepare::{PrepareError, Program, refusal};
pub use rows::{Rows, RowsError, Value};
pub use run::arguments_from_bytes;
pub use said::{Failure, PLUGIN_LOG, Said, Written};
pub use script::Language;
pub use service::{Ended, Held, NoResponse, Service, Usage, Witness};
pub use service_body::ServiceBody;
pub use state::{MAX_STATE, State, StateError};
pub use surroundings::{
    HostIdentity, Measurement, Measurements, NoEvidence, Surroundings, Unattested,
};
pub use tap::Tap;
pub use trial::Role;
pub use worker::main as compile_worker;

use cache::ProgramCache;
use compile::Compiler;
pub use compile::micros;
use epoch::EpochClock;
use guest::Guest;
use imports::crypto::KeyRoot;
use prepare::Prepared;
use reserve::Reserves;
use sandbox::Sandboxes;
use script::ScriptEngine;
use teardown::Teardown;

/// Prepares and runs programs and scripts, and asks the operator's policy.
pub struct Executor {
    linker: Linker<Guest>,
    sandboxes: Sandboxes,
    compiler: Compiler,
    compile_time: Duration,
    agent_compile_time: Duration,
    cache: ProgramCache,
    allocation: Allocation,
    scripts: BTreeMap<Language, Arc<ScriptEngine>>,
    /// What agents may import.
    for_agents: Plugins,
    policy_calls: Reserves,
    payment_calls: Reserves,
    agent_linker: Linker<Guest>,
    /// The same, with rows.
    front_linker: Linker<Guest>,
    /// Room for instances of services between two requests.
    idle: Arc<Semaphore>,
}

impl Executor {
    /// Builds the engine, without plugins. `compiler` is the executable that runs [`compile_worker`]: this program itself.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(
        settings: &Settings,
        compiler: PathBuf,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, Error> {
        let (engine, allocation) = engine::host_engine(settings)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(Error::Engine)?;
        imports::crypto::add_to_linker(&mut linker, Guest::crypto).map_err(Error::Engine)?;
        imports::attestation::add_to_linker(&mut linker, Guest::attestation)
            .map_err(Error::Engine)?;
        let clock = EpochClock::start(&engine).map_err(|source| Error::Io {
            what: "starting the epoch thread",
            source,
        })?;
        let teardown = Teardown::start().map_err(|source| Error::Io {
            what: "starting the teardown thread",
            source,
        })?;
        let agent_linker = agent::linker(&linker).map_err(Error::Engine)?;
        let mut front_linker = agent_linker.clone();
        imports::keyvalue::add_to_linker(&mut front_linker, Guest::keyvalue)
            .map_err(Error::Engine)?;
        let key_root = KeyRoot::generate().map_err(|_| Error::NoRandomness)?;
        Ok(Self {
            linker,
            sandboxes: Sandboxes::new(
                &engine,
                settings.limits,
                (surroundings, key_root),
                Arc::new(clock),
                teardown,
            ),
            compiler: Compiler::new(
                compiler,
                settings.compile_memory,
                settings.compile_cache,
                (settings.compilations, settings.peer_compilations),
                settings.compile.saturating_mul(compile::SLACK),
            ),
            compile_time: settings.compile,
            agent_compile_time: settings.compile_agent,
            cache: ProgramCache::new(settings.compile_cache, settings.cache_idle),
            allocation,
            scripts: BTreeMap::new(),
            for_agents: Plugins::default(),
            policy_calls: Reserves::default(),
            payment_calls: Reserves::default(),
            agent_linker,
            front_linker,
            idle: Arc::new(Semaphore::new(idle::MOST)),
        })
    }

    /// Whether an engine for a language is loaded.
    pub fn runs(&self, language: Language) -> bool {
        self.scripts.contains_key(&language)
    }

    /// Runs a script in an instance of its own; none where no engine for its language is loaded.
    pub async fn run_script(
        &self,
        language: Language,
        source: String,
        inputs: Inputs,
    ) -> Option<Outcome> {
        let engine = self.scripts.get(&language)?;
        Some(engine.run(source, inputs).await)
    }

    /// How instances are allocated on this machine.
    pub fn allocation(&self) -> Allocation {
        self.allocation
    }

    /// Runs a prepared program in a fresh instance. Dropping the future stops the guest.
    pub async fn run(&self, program: &Program, inputs: Inputs) -> Outcome {
        let Prepared { pre, sha384, .. } = &*program.prepared;
        run::run(pre, &self.sandboxes, *sha384, inputs, Chain::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypervisor_wasm_check::all_offered;
    use wasmtime::component::Component;
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{ManglingAndAbi, Resolve};

    /// A component that imports every function the host says it offers.
    fn imports_everything() -> Vec<u8> {
        let mut resolve = Resolve::default();
        resolve
            .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))
            .unwrap();
        let source = "package test:all; world all { include wasi:cli/imports@0.2.12; \
                      import hypervisor:plugin/crypto@0.1.1; import hypervisor:plugin/attestation@0.1.1; export wasi:cli/run@0.2.12; }";
        let package = resolve.push_source("all.wit", source).unwrap();
        let world = resolve.select_world(&[package], Some("all")).unwrap();
        let abi = ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync);
        let mut module = dummy_module(&resolve, world, abi);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }

    #[test]
    fn an_interface_of_another_patch_version_links_to_the_hosts() {
        let executor =
            Executor::new(&Settings::default(), PathBuf::new(), Arc::new(Unattested)).unwrap();
        let of_version = |version: &str| {
            let mut bytes = imports_everything();
            let name = "hypervisor:plugin/crypto@0.1.1".as_bytes();
            let places: Vec<usize> = (0..bytes.len() - name.len())
                .filter(|at| bytes[*at..].starts_with(name))
                .collect();
            assert!(!places.is_empty());
            for end in places.iter().map(|at| at + name.len()) {
                bytes[end - version.len()..end].copy_from_slice(version.as_bytes());
            }
            let judged = inspect(&bytes).unwrap().require_command().is_ok();
            let component = Component::new(executor.linker.engine(), &bytes).unwrap();
            (judged, executor.linker.instantiate_pre(&component).is_ok())
        };
        assert_eq!(of_version("0.1.0"), (true, true));
        assert_eq!(of_version("0.1.9"), (true, true));
        assert_eq!(of_version("0.2.0"), (false, false));
    }

    #[test]
    fn every_offered_interface_links_with_all_its_functions() {
        let component = imports_everything();
        let inspection = inspect(&component).unwrap();
        inspection.require_command().unwrap();
        let mut imported: Vec<String> = inspection.imports.into_iter().map(|i| i.name).collect();
        let mut offered: Vec<String> = all_offered().collect();
        imported.sort();
        offered.sort();
        assert_eq!(imported, offered);

        let executor =
            Executor::new(&Settings::default(), PathBuf::new(), Arc::new(Unattested)).unwrap();
        let component = Component::new(executor.linker.engine(), &component).unwrap();
        executor.linker.instantiate_pre(&component).unwrap();
    }
}
