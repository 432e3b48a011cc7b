//! Scripts: each in an instance of its own, taken from a few that were made ready before they were needed.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha384};
use wasmtime::component::InstancePre;

use super::access::{Access, AccessIndices};
use super::begin::Beginning;
use super::guest::Guest;
use super::outcome::{Exit, Inputs, Outcome};
use super::ready::Stock;
use super::said::{Failure, ended};
use super::sandbox::{Live, Sandbox, Sandboxes};
use super::snapshot::Base;
use super::worlds::script::exports::hypervisor::plugin::runtime;
use super::worlds::script::exports::hypervisor::plugin::script;
pub(super) use script::{Fault, ScriptError};

/// The first `argv` of an instance; a script's own come with the call.
pub(super) const INTERPRETER: &str = "script-engine";

/// What an engine may export besides.
const RUNTIME: &str = "hypervisor:plugin/runtime@0.1.1";

/// A language of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript, and TypeScript.
    Javascript,
}

impl Language {
    /// As the configuration and the manifest name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
        }
    }

    /// A script that does what most do: it writes something.
    pub(super) fn sample(self) -> &'static str {
        match self {
            Self::Python => "print('')",
            Self::Javascript => "console.log('')",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loaded script engine.
pub(super) struct ScriptEngine {
    pre: InstancePre<Guest>,
    exports: Exported,
    pub(super) language: Language,
    pub(super) sandboxes: Sandboxes,
    /// What every instance holds that was made ready, where environments are set up in them.
    pub(super) base: Option<Base>,
    pub(super) beginning: Beginning,
    /// SHA-384 of the component.
    pub(super) sha384: [u8; 48],
    ready: Arc<Stock<Instance>>,
}

/// What the host calls in a component.
pub(super) struct Exported {
    script: script::GuestIndices,
    runtime: Option<(runtime::GuestIndices, AccessIndices)>,
}

/// What the host calls in an instance.
pub(super) struct Exports {
    script: script::Guest,
    pub(super) runtime: Option<Runtime>,
}

/// For environments.
pub(super) struct Runtime {
    pub(super) calls: runtime::Guest,
    pub(super) access: Access,
}

/// An instance that has run nothing but an empty script.
pub(super) type Instance = Live<Exports>;

/// What the host calls in a component, and whether it is there with the right types.
pub(super) fn exported(linked: &InstancePre<Guest>) -> wasmtime::Result<Exported> {
    let component = linked.component();
    let runtime = match component.get_export_index(None, RUNTIME) {
        None => None,
        Some(_) => {
            let access = AccessIndices::of(component).ok_or_else(|| {
                wasmtime::Error::msg(
                    "its machine code gives no access to its memory; run `hypervisor-ctl compile` again",
                )
            })?;
            Some((runtime::GuestIndices::new(linked)?, access))
        }
    };
    Ok(Exported {
        script: script::GuestIndices::new(linked)?,
        runtime,
    })
}

impl ScriptEngine {
    /// `wanted` instances are kept ready.
    pub(super) async fn new(
        language: Language,
        pre: InstancePre<Guest>,
        sandboxes: Sandboxes,
        sha384: [u8; 48],
        wanted: usize,
    ) -> wasmtime::Result<Arc<Self>> {
        let exports = exported(&pre)?;
        let sandboxes = match exports.runtime {
            Some(_) => sandboxes.alike(),
            None => sandboxes,
        };
        let mut engine = Self {
            exports,
            pre,
            language,
            sandboxes,
            base: None,
            beginning: Beginning::default(),
            sha384,
            ready: Stock::new(wanted),
        };
        if engine.exports.runtime.is_some() {
            engine.learn().await?;
        }
        Ok(Arc::new(engine))
    }

    /// Makes instances ready until as many wait as are wanted.
    pub(super) async fn fill(&self) {
        self.ready.fill(false, || self.make_one()).await;
    }

    async fn make_one(&self) -> Option<Instance> {
        self.make()
            .await
            .inspect_err(|failure| {
                tracing::warn!(
                    failure = failure.class(),
                    place = failure.place(),
                    "cannot make a script instance ready"
                );
            })
            .ok()
    }

    /// Runs a script in an instance that nothing ran in before and nothing will run in after.
    pub(super) async fn run(self: &Arc<Self>, source: String, inputs: Inputs) -> Outcome {
        let mut instance = match self.take().await {
            Ok(instance) => instance,
            Err(exit) => return Outcome::not_run(exit),
        };
        instance.sandbox.set_stdin(inputs.stdin);
        instance.sandbox.set_budget(inputs.budget);
        instance.sandbox.set_tap(inputs.tap);
        let says_things = self.sandboxes.surroundings().makes_statements();
        let program = says_things.then(|| Sha384::digest(&source).into());
        instance.sandbox.set_program(program);
        let ended = run(&mut instance, &source, &inputs.arguments).await;
        let sandbox = instance.sandbox;
        let exit = match ended {
            Ok(Ok(())) => Exit::Ok,
            Ok(Err(error)) => exit_of(error, &sandbox),
            Err(exit) => exit,
        };
        sandbox.finish(exit)
    }

    /// A ready instance, replaced in the background; where none is ready, a new one.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Instance, Exit> {
        match self.stocked() {
            Some(instance) => Ok(instance),
            // Those that environments use are made ready in any case: states are of such.
            None if self.exports.runtime.is_some() => self.make().await.map_err(unready),
            None => self.instantiate().await,
        }
    }

    fn stocked(self: &Arc<Self>) -> Option<Instance> {
        let instance = self.ready.take()?;
        let engine = Arc::clone(self);
        tokio::spawn(async move { engine.ready.fill(true, || engine.make_one()).await });
        Some(instance)
    }

    /// An instance that was made like every other is so no longer: it has clocks and chance.
    pub(super) fn awaken(&self, instance: &mut Instance) {
        if self.exports.runtime.is_some() {
            instance.sandbox.awaken();
        }
    }

    pub(super) async fn instantiate(&self) -> Result<Instance, Exit> {
        self.sandboxes
            .live(INTERPRETER, async |store| {
                let instance = self.pre.instantiate_async(&mut *store).await?;
                let Exported { script, runtime } = &self.exports;
                let runtime = match runtime {
                    None => None,
                    Some((calls, access)) => Some(Runtime {
                        calls: calls.load(&mut *store, &instance)?,
                        access: access.load(store, &instance)?,
                    }),
                };
                let script = script.load(store, &instance)?;
                Ok(Exports { script, runtime })
            })
            .await
    }
}

/// An engine without it is asked for nothing of the kind.
pub(super) fn runtime_of(exports: &Exports) -> wasmtime::Result<&Runtime> {
    let missing = || wasmtime::Error::msg("the engine does not export `runtime`");
    exports.runtime.as_ref().ok_or_else(missing)
}

fn unready(failure: Failure) -> Exit {
    Exit::Trap {
        reason: format!("the interpreter cannot be made ready: {failure}"),
    }
}

pub(super) async fn run(
    instance: &mut Instance,
    source: &str,
    arguments: &[String],
) -> Result<Result<(), ScriptError>, Exit> {
    instance
        .call(async |exports, store| exports.script.call_run(store, source, arguments).await)
        .await
}

/// What the interpreter's own command line would make of it: the traceback on standard error, and exit code 1.
pub(super) fn exit_of(error: ScriptError, sandbox: &Sandbox) -> Exit {
    let (exit, fault) = ended(error);
    let Some(fault) = fault else {
        return exit;
    };
    sandbox.stderr().append_end(fault.traceback.as_bytes());
    // After a refused growth this is the limit's doing; the traceback says where.
    match sandbox.memory_refused() {
        Some(limit) if fault.kind == "MemoryError" => limit,
        _ => exit,
    }
}
