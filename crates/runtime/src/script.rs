//! Scripts: each in an instance of its own, taken from a few that were made ready before they were needed.

use std::fmt;
use std::sync::Arc;

use hypervisor_wasm_check::cut;
use sha2::{Digest, Sha384};

use super::guest::Guest;
use super::outcome::{Exit, Inputs, Outcome};
use super::ready::Stock;
use super::said::{Failure, log_written};
use super::sandbox::{Live, MAX_WORDS, Sandbox, Sandboxes};
use super::worlds::script::ScriptPlugin;
use super::worlds::script::ScriptPluginPre;
use super::worlds::script::exports::hypervisor::plugin::script::{Fault, ScriptError};

/// The first `argv` of an instance; a script's own come with the call.
const INTERPRETER: &str = "script-engine";

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
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loaded script engine.
pub(super) struct ScriptEngine {
    pre: ScriptPluginPre<Guest>,
    sandboxes: Sandboxes,
    ready: Arc<Stock<Instance>>,
}

/// An instance that has run nothing but an empty script.
type Instance = Live<ScriptPlugin>;

impl ScriptEngine {
    /// `wanted` instances are kept ready.
    pub(super) fn new(
        pre: ScriptPluginPre<Guest>,
        sandboxes: Sandboxes,
        wanted: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            pre,
            sandboxes,
            ready: Stock::new(wanted),
        })
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
    async fn take(self: &Arc<Self>) -> Result<Instance, Exit> {
        let Some(instance) = self.ready.take() else {
            return self.instantiate().await;
        };
        let engine = Arc::clone(self);
        tokio::spawn(async move { engine.ready.fill(true, || engine.make_one()).await });
        Ok(instance)
    }

    async fn instantiate(&self) -> Result<Instance, Exit> {
        self.sandboxes
            .live(INTERPRETER, async |store| {
                self.pre.instantiate_async(store).await
            })
            .await
    }

    /// An instance whose pages an empty script has touched: that is most of what a short script costs. What it prints is the
    /// engine's own; of scripts nothing is logged.
    async fn make(&self) -> Result<Instance, Failure> {
        let mut instance = self.instantiate().await?;
        let ended = run(&mut instance, "", &[]).await;
        let made = match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(exit_of(error, &instance.sandbox).into()),
            Err(exit) => Err(exit.into()),
        };
        log_written(INTERPRETER, &instance.sandbox.written());
        made.map(|()| instance)
    }
}

async fn run(
    instance: &mut Instance,
    source: &str,
    arguments: &[String],
) -> Result<Result<(), ScriptError>, Exit> {
    instance
        .call(async |plugin, store| {
            let script = plugin.hypervisor_plugin_script();
            script.call_run(store, source, arguments).await
        })
        .await
}

/// What the interpreter's own command line would make of it: the traceback on standard error, and exit code 1.
fn exit_of(error: ScriptError, sandbox: &Sandbox) -> Exit {
    match error {
        ScriptError::Exit(code) => Exit::Code { code: code.into() },
        ScriptError::InvalidSource(fault) | ScriptError::Uncaught(fault) => {
            let Fault {
                kind, traceback, ..
            } = fault;
            sandbox.stderr().append_end(traceback.as_bytes());
            // After a refused growth this is the limit's doing; the traceback says where.
            match sandbox.memory_refused() {
                Some(limit) if kind == "MemoryError" => limit,
                _ => Exit::Code { code: 1 },
            }
        }
        ScriptError::InternalError(text) => Exit::Trap {
            reason: text.map_or_else(
                || "the interpreter failed".to_owned(),
                |text| cut(&text, MAX_WORDS).into_owned(),
            ),
        },
    }
}
