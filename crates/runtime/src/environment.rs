//! Environments and sessions: code is set up once, and every call starts from what the setup left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypervisor_protocol::LimitKind;
use hypervisor_protocol::metered::Budget;
use sha2::{Digest, Sha384};

use super::Executor;
use super::bundle::{Bundle, File};
use super::outcome::{Exit, Outcome};
use super::outgoing::{Chain, Egress};
use super::script::{Instance, Language, Runtime, ScriptEngine, ScriptError, exit_of, runtime_of};
use super::snapshot::{Base, Delta, Unkept};
use super::state::{MAX_STATE, State, StateError};
use super::tap::Tap;
use super::worlds::script::exports::hypervisor::plugin::runtime;

/// What a handler or a session is called with beside its own arguments.
#[derive(Default)]
pub struct CallInputs {
    /// Standard input.
    pub stdin: Bytes,
    /// Bounds below the host's own.
    pub limits: CallLimits,
    /// What it may cost, where it is paid by use.
    pub budget: Option<Budget>,
    /// Where what it prints is read while it runs; the outcome has the rest.
    pub tap: Option<Tap>,
    /// Who sends its requests; none where it may send none.
    pub egress: Option<Arc<dyn Egress>>,
    /// How it came to run.
    pub chain: Chain,
}

/// Bounds on one call. What is absent, or above the host's limit, is the host's limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Processor time.
    pub cpu: Option<Duration>,
    /// Elapsed time.
    pub wall: Option<Duration>,
    /// Linear memory, bytes; what the engine itself takes is in it.
    pub memory: Option<u64>,
}

/// What came of setting up a bundle.
#[derive(Debug)]
pub struct SetUp {
    /// How it ended and what it printed.
    pub outcome: Outcome,
    /// What it left; there where it ended well, and only there.
    pub state: Option<State>,
}

/// What came of calling a handler.
#[derive(Debug)]
pub struct Answer {
    /// How it ended and what it printed.
    pub outcome: Outcome,
    /// What it answered, JSON; there where it ended well, and only there.
    pub value: Option<String>,
}

/// What came of a turn of a session.
#[derive(Debug)]
pub struct Turn {
    /// How it ended and what it printed.
    pub outcome: Outcome,
    /// The value of its last expression, as the language prints it.
    pub value: Option<String>,
    /// What it left, from which the next turn goes on. Where there is none (the turn trapped, met a limit, ended the program, or is no
    /// program) the session goes on from the state before it.
    pub state: Option<State>,
}

impl Executor {
    /// Whether an engine is loaded that sets up environments in a language.
    pub fn sets_up(&self, language: Language) -> bool {
        self.environments(language).is_ok()
    }

    /// Sets a bundle up in an instance of its own, and keeps what it left.
    ///
    /// # Errors
    /// [`StateError::NoEngine`].
    pub async fn set_up(
        &self,
        language: Language,
        bundle: Bundle,
        inputs: CallInputs,
    ) -> Result<SetUp, StateError> {
        let (engine, base) = self.environments(language)?;
        Ok(engine.set_up(base, bundle, inputs).await)
    }

    /// Calls the handler of an environment, in an instance of its own. `event` and `context` are JSON.
    ///
    /// # Errors
    /// [`StateError`]: nothing ran.
    pub async fn call(
        &self,
        language: Language,
        state: &State,
        (event, context): (&str, &str),
        inputs: CallInputs,
    ) -> Result<Answer, StateError> {
        let engine = self.fitting(language, state)?.0;
        Ok(engine.call(state, (event, context), inputs).await)
    }

    /// Runs a turn of a session, in an instance of its own, from the state of the turn before it; without one it is the first of a session
    /// without a bundle.
    ///
    /// # Errors
    /// [`StateError`]: nothing ran.
    pub async fn evaluate(
        &self,
        language: Language,
        state: Option<&State>,
        source: &str,
        inputs: CallInputs,
    ) -> Result<Turn, StateError> {
        let (engine, base) = match state {
            Some(state) => self.fitting(language, state)?,
            None => self.environments(language)?,
        };
        Ok(engine.evaluate(base, state, source, inputs).await)
    }

    /// Whether a state can be used here, without using it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn fits(&self, language: Language, state: &State) -> Result<(), StateError> {
        self.fitting(language, state).map(drop)
    }

    /// The engine of a language, and what states of it are compared with.
    fn environments(&self, language: Language) -> Result<(&Arc<ScriptEngine>, &Base), StateError> {
        let engine = self.scripts.get(&language);
        let found = engine.and_then(|engine| Some((engine, engine.base.as_ref()?)));
        found.ok_or(StateError::NoEngine(language))
    }

    /// The same, where it is what a state was taken from.
    fn fitting(
        &self,
        language: Language,
        state: &State,
    ) -> Result<(&Arc<ScriptEngine>, &Base), StateError> {
        let (engine, base) = self.environments(language)?;
        if state.engine != engine.sha384 {
            Err(StateError::WrongEngine)
        } else if state.base != base.digest {
            Err(StateError::WrongBase)
        } else {
            Ok((engine, base))
        }
    }
}

impl ScriptEngine {
    async fn set_up(self: &Arc<Self>, base: &Base, bundle: Bundle, inputs: CallInputs) -> SetUp {
        let program = bundle.sha384();
        let bundle = in_wit(bundle);
        let mut instance = match self.begin(program, inputs).await {
            Ok(instance) => instance,
            Err(outcome) => {
                return SetUp {
                    outcome,
                    state: None,
                };
            }
        };
        let ended = instance
            .call(async |exports, store| {
                let Runtime { calls, access } = runtime_of(exports)?;
                match calls.call_setup(&mut *store, &bundle).await? {
                    Ok(()) => Ok(Ok(Delta::of(access, store, base, MAX_STATE).await?)),
                    Err(error) => Ok(Err(error)),
                }
            })
            .await;
        let (exit, kept) = ending(&instance, ended);
        let kept = match kept {
            None => Err(exit),
            Some(Err(unkept)) => Err(refused(&unkept)),
            Some(Ok(delta)) => self.tried(self.state(base, program, delta)).await,
        };
        let (exit, state) = match kept {
            Ok(state) => (Exit::Ok, Some(state)),
            Err(exit) => (exit, None),
        };
        let outcome = instance.sandbox.finish(exit);
        SetUp { outcome, state }
    }

    async fn call(
        self: &Arc<Self>,
        state: &State,
        (event, context): (&str, &str),
        inputs: CallInputs,
    ) -> Answer {
        let mut instance = match self.begin(state.program, inputs).await {
            Ok(instance) => instance,
            Err(outcome) => {
                return Answer {
                    outcome,
                    value: None,
                };
            }
        };
        let called = instance
            .call(async |exports, store| {
                let Runtime { calls, access } = runtime_of(exports)?;
                state.delta.restore(access, store).await?;
                calls.call_call(store, event, context).await
            })
            .await;
        let (exit, value) = ending(&instance, called);
        let outcome = instance.sandbox.finish(exit);
        Answer { outcome, value }
    }

    async fn evaluate(
        self: &Arc<Self>,
        base: &Base,
        state: Option<&State>,
        source: &str,
        inputs: CallInputs,
    ) -> Turn {
        let program = Sha384::digest(source).into();
        let mut instance = match self.begin(program, inputs).await {
            Ok(instance) => instance,
            Err(outcome) => {
                return Turn {
                    outcome,
                    value: None,
                    state: None,
                };
            }
        };
        let mut kept = None;
        let ended = instance
            .call(async |exports, store| {
                let Runtime { calls, access } = runtime_of(exports)?;
                if let Some(state) = state {
                    state.delta.restore(access, store).await?;
                }
                let ended = calls.call_evaluate(&mut *store, source).await?;
                // An error that nobody caught ends the turn, not the session.
                if let Ok(_) | Err(ScriptError::Uncaught(_)) = ended {
                    kept = Some(Delta::of(access, store, base, MAX_STATE).await?);
                }
                Ok(ended)
            })
            .await;
        let (mut exit, value) = ending(&instance, ended);
        let program = state.map_or(program, |state| state.program);
        let state = match kept {
            Some(Ok(delta)) if !matches!(exit, Exit::Limit { .. }) => {
                Some(self.state(base, program, delta))
            }
            Some(Err(unkept)) => {
                exit = refused(&unkept);
                None
            }
            _ => None,
        };
        let value = value.flatten().filter(|_| state.is_some());
        let outcome = instance.sandbox.finish(exit);
        Turn {
            outcome,
            value,
            state,
        }
    }

    fn state(&self, base: &Base, program: [u8; 48], delta: Delta) -> State {
        State {
            engine: self.sha384,
            base: base.digest,
            program,
            delta: Arc::new(delta),
        }
    }

    /// A ready instance in which `program` is about to run.
    async fn begin(
        self: &Arc<Self>,
        program: [u8; 48],
        inputs: CallInputs,
    ) -> Result<Instance, Outcome> {
        let mut instance = self.take().await.map_err(Outcome::not_run)?;
        let sandbox = &mut instance.sandbox;
        sandbox.set_stdin(inputs.stdin);
        let says_things = self.sandboxes.surroundings().makes_statements();
        sandbox.set_program(says_things.then_some(program));
        if let Err(exit) = sandbox.tighten(inputs.limits) {
            return Err(instance.sandbox.finish(exit));
        }
        sandbox.set_budget(inputs.budget);
        sandbox.set_tap(inputs.tap);
        sandbox.set_egress(inputs.egress, inputs.chain);
        Ok(instance)
    }

    /// A state from which an instance has gone on once, without doing anything.
    async fn tried(self: &Arc<Self>, state: State) -> Result<State, Exit> {
        let mut instance = self.take().await?;
        let ended = instance
            .call(async |exports, store| {
                let Runtime { calls, access } = runtime_of(exports)?;
                state.delta.restore(access, store).await?;
                calls.call_evaluate(store, "").await
            })
            .await;
        drop(instance.sandbox.finish(Exit::Ok));
        match ended {
            Ok(Ok(_)) => Ok(state),
            Ok(Err(_)) | Err(_) => Err(Exit::Trap {
                reason: "a copy of what the setup left does not run: it may hold something of the host's that a copy does not have".to_owned(),
            }),
        }
    }
}

/// How an instance ended, and what it gave where it ended well.
fn ending<T>(
    instance: &Instance,
    ended: Result<Result<T, ScriptError>, Exit>,
) -> (Exit, Option<T>) {
    match ended {
        Ok(Ok(value)) => (Exit::Ok, Some(value)),
        // For a script that is a good end; here there is no answer.
        Ok(Err(ScriptError::Exit(0))) => {
            let words = b"it ended itself, with exit code 0, before it was done\n";
            instance.sandbox.stderr().append_end(words);
            (Exit::Code { code: 1 }, None)
        }
        Ok(Err(error)) => (exit_of(error, &instance.sandbox), None),
        Err(exit) => (exit, None),
    }
}

/// Why nothing is kept of an instance that ended well.
fn refused(unkept: &Unkept) -> Exit {
    match unkept {
        Unkept::TooLarge(used) => Exit::Limit {
            which: LimitKind::State,
            used: *used,
            allowed: u64::try_from(MAX_STATE).unwrap_or(u64::MAX),
        },
        Unkept::Handle(name) => Exit::Trap {
            reason: format!(
                "it keeps a handle of the host, a {name}, which a copy of its memory would not have; close it, or make it where it is used"
            ),
        },
    }
}

fn in_wit(bundle: Bundle) -> runtime::Bundle {
    let files = |files: Vec<File>| {
        let files = files.into_iter();
        files
            .map(|File { name, content }| runtime::File { name, content })
            .collect()
    };
    runtime::Bundle {
        main: bundle.main,
        modules: files(bundle.modules),
        packages: files(bundle.packages),
        setup: bundle.setup,
    }
}
