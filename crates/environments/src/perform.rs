//! Doing what a job asks for.

use std::sync::Arc;

use hypervisor_protocol::environment::{
    CallLimits, EvaluateAnswer, EvaluateInput, ExecuteAnswer, ExecuteInput, LogKind, LogRow,
    SetupAnswer, encode,
};
use hypervisor_protocol::{Commitment, Exit, HexArray, HexBytes, LimitKind, Rejection};
use hypervisor_runtime::{CallInputs, Egress, Outcome, State, StateError, micros};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use crate::Environments;
use crate::error::{Error, rejected, unknown};
use crate::head::{Head, Id};
use crate::job::{Fixed, Job, Setup, Watched, What, in_runtime};
use crate::live::{Entry, Using};
use crate::reach::Whose;

/// Characters of an end's words that the log keeps.
const MAX_WORDS: usize = 256;

/// What the log has of a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    commitment: Commitment,
    received: u64,
}

/// What came of a job.
pub struct Performed {
    /// How it ended, and the answer.
    pub outcome: Outcome,
    /// What is kept from now on that was not before: bytes of a state, times the seconds to its end.
    pub stored: u64,
    /// What takes back what it left, where it left something.
    pub undo: Option<Undo>,
}

/// What takes back what a job left; dropped, it stays. Until then no other turn begins.
pub struct Undo {
    environments: Arc<Environments>,
    entry: Arc<Entry>,
    left: Left,
}

/// What a job left.
enum Left {
    /// An environment that was not there.
    New,
    /// This writing of the state, in the place of another.
    Turn {
        before: Box<(Head, State)>,
        writing: u64,
        _turn: OwnedMutexGuard<()>,
    },
    /// The second's terms in the place of the first's.
    Terms(Box<[Head; 2]>),
}

impl Undo {
    /// Takes it back: it was not paid for.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn run(self) -> Result<(), Error> {
        let Self {
            environments,
            entry,
            left,
        } = self;
        waiting(|| match left {
            Left::New => {
                let row = environments.bare_row(LogKind::Undo);
                environments.end(&entry, row).map(drop)
            }
            Left::Turn {
                before, writing, ..
            } => environments.go_back(&entry, writing, &before),
            Left::Terms(terms) => environments.take_back(&entry, &terms),
        })
    }
}

impl Performed {
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            stored: 0,
            undo: None,
        }
    }

    /// The same, with what is kept of it.
    pub(crate) fn keeping(self, stored: u64, undo: Undo) -> Self {
        Self {
            stored,
            undo: Some(undo),
            ..self
        }
    }
}

impl Undo {
    /// Of an environment that was not there.
    pub(crate) fn of_new(environments: &Arc<Environments>, entry: Arc<Entry>) -> Self {
        Self {
            environments: Arc::clone(environments),
            entry,
            left: Left::New,
        }
    }

    /// Of other terms, after these.
    pub(crate) fn of_terms(
        environments: &Arc<Environments>,
        entry: &Arc<Entry>,
        terms: [Head; 2],
    ) -> Self {
        Self {
            environments: Arc::clone(environments),
            entry: Arc::clone(entry),
            left: Left::Terms(Box::new(terms)),
        }
    }
}

impl Job {
    /// Does it. The outcome's standard output is the answer, CBOR.
    ///
    /// # Errors
    /// Where the store or the random number generator fails.
    pub async fn perform(self) -> Result<Performed, Error> {
        let Self {
            environments: all,
            what,
            commitment,
            received,
            watched,
            ..
        } = self;
        if all.journal.is_full() {
            return Err(Error::Behind);
        }
        let asked = Asked {
            commitment,
            received,
        };
        let only = Performed::of;
        match what {
            What::Setup(setup) => all.set_up(*setup, asked, watched).await,
            What::Execute(using, input) => {
                all.execute(&using, input, asked, watched).await.map(only)
            }
            What::Evaluate(using, turn, input) => {
                all.evaluate((using, turn), input, asked, watched).await
            }
            What::Fork(using, place, network, terms) => {
                waiting(|| all.fork(&using, (place, network), &terms, (asked, &watched)))
            }
            What::Extend(using, terms) => waiting(|| all.extend(&using, &terms, (asked, &watched))),
            What::List(owner, page) => waiting(|| all.list(&owner, &page)).map(only),
            What::Log(owner, id, page) => waiting(|| all.log(&owner, &id, &page)).map(only),
            What::Remove(using) => waiting(|| all.removed(&using, asked)).map(only),
        }
    }
}

impl Environments {
    async fn set_up(
        self: &Arc<Self>,
        setup: Setup,
        asked: Asked,
        watched: Watched,
    ) -> Result<Performed, Error> {
        let Setup {
            place,
            owner,
            network,
            language,
            bundle,
            bundle_digest,
            terms,
        } = setup;
        let limits = self.terms(terms.limits, self.settings.limits);
        let id = Id::random()?;
        let outgoing = terms.outgoing.clone().unwrap_or_default();
        let egress = self.network.of(Whose {
            id,
            owner: &owner,
            bundle: bundle_digest,
            outgoing: &outgoing,
        });
        let inputs = inputs((HexBytes::default(), limits), egress, &watched);
        let set_up = match self.executor.set_up(language, bundle, inputs).await {
            Ok(set_up) => set_up,
            Err(error) => return Ok(Performed::of(stale(&error))),
        };
        let mut outcome = set_up.outcome;
        let (mut environment, mut kept) = (None, None);
        if let Some(state) = set_up.state {
            let now = self.clock.seconds();
            let head = Head {
                id,
                owner,
                network,
                name: terms.name.clone().unwrap_or_default(),
                language: language.name().to_owned(),
                bundle: HexArray(bundle_digest),
                engine: HexArray(*state.engine()),
                limits,
                outgoing,
                created_at: now,
                used_at: now,
                ends_at: now.saturating_add(self.lifetime(&terms)),
                idle_seconds: self.idle(&terms),
                turns: 0,
                writing: 0,
                state_bytes: state.size(),
                // Known when it is written.
                state: HexArray([0; 32]),
                version: 0,
            };
            let stored = head.stored_from(now);
            let written = outcome.stdout.len().saturating_add(watched.streamed());
            let keeping = match watched.beyond(&outcome, written, stored) {
                None => waiting(|| self.keep_new(place, head, &state))?,
                Some(exit) => Err(exit),
            };
            match keeping {
                Ok((entry, head)) => {
                    kept = Some((stored, Undo::of_new(self, entry)));
                    let row = self.row(LogKind::Setup, asked, &outcome, written);
                    self.journal.append(&head.id, &head.owner, row)?;
                    environment = Some(head.info(self.is_persistent()));
                }
                Err(exit) => outcome.exit = exit,
            }
        }
        let outcome = answered(outcome, |stdout| SetupAnswer {
            environment,
            stdout,
        })?;
        let performed = Performed::of(outcome);
        Ok(match kept {
            Some((stored, undo)) => performed.keeping(stored, undo),
            None => performed,
        })
    }

    async fn execute(
        &self,
        using: &Using,
        input: ExecuteInput,
        asked: Asked,
        watched: Watched,
    ) -> Result<Outcome, Error> {
        let Some((head, language, state)) = self.current(&using.0)? else {
            return Ok(Outcome::not_run(unknown()));
        };
        let execution = Id::random()?.to_string();
        let limits = self.limits(input.limits, head.limits);
        let wall = limits.wall_ms.unwrap_or_default();
        let context = Context {
            execution_id: &execution,
            environment_id: &head.id.to_string(),
            request_id: &asked.commitment.to_string(),
            deadline: self.clock.millis().saturating_add(wall),
        };
        let (env, context) = (json(&input.env)?, json(&context)?);
        // What is between the commas was seen to be JSON.
        let event = format!("{{\"data\":{},\"env\":{env}}}", input.data);
        let inputs = inputs(
            (input.stdin, limits),
            self.network.of(head.whose()),
            &watched,
        );
        let called = self
            .executor
            .call(language, &state, (&event, &context), inputs)
            .await;
        let called = match called {
            Ok(called) => called,
            Err(error) => return Ok(stale(&error)),
        };
        using.0.used(self.clock.seconds());
        let mut outcome = called.outcome;
        let mut value = called.value;
        let written = written(value.as_ref(), &outcome, &watched);
        if let Some(exit) = self.too_much(written) {
            outcome.exit = exit;
            value = None;
        }
        let row = self.row(LogKind::Execute, asked, &outcome, written);
        let row = LogRow {
            execution: execution.clone(),
            ..row
        };
        self.journal.append(&head.id, &head.owner, row)?;
        answered(outcome, |stdout| ExecuteAnswer {
            execution,
            value,
            stdout,
        })
    }

    async fn evaluate(
        self: &Arc<Self>,
        (using, guard): (Using, OwnedMutexGuard<()>),
        input: EvaluateInput,
        asked: Asked,
        watched: Watched,
    ) -> Result<Performed, Error> {
        let Some((head, language, state)) = self.current(&using.0)? else {
            return Ok(Performed::of(Outcome::not_run(unknown())));
        };
        let execution = Id::random()?.to_string();
        let limits = self.limits(input.limits, head.limits);
        let inputs = inputs(
            (input.stdin, limits),
            self.network.of(head.whose()),
            &watched,
        );
        let turn = self
            .executor
            .evaluate(language, Some(&state), &input.source, inputs)
            .await;
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => return Ok(Performed::of(stale(&error))),
        };
        using.0.used(self.clock.seconds());
        let (mut outcome, mut value, mut next) = (turn.outcome, turn.value, turn.state);
        let written = written(value.as_ref(), &outcome, &watched);
        if let Some(exit) = self.too_much(written) {
            outcome.exit = exit;
            (value, next) = (None, None);
        }
        let (mut turns, mut kept) = (head.turns, None);
        if let Some(next) = next {
            let more = next.size().saturating_sub(head.state_bytes);
            let stored = more.saturating_mul(head.ends_at.saturating_sub(self.clock.seconds()));
            let keeping = match watched.beyond(&outcome, written, stored) {
                None => waiting(|| self.keep_next(&using.0, (head.writing, &next)))?,
                Some(exit) => Err(exit),
            };
            match keeping {
                Ok(after) => {
                    turns = after.turns;
                    let left = Left::Turn {
                        before: Box::new((head.clone(), state)),
                        writing: after.writing,
                        _turn: guard,
                    };
                    let undo = Undo {
                        environments: Arc::clone(self),
                        entry: Arc::clone(&using.0),
                        left,
                    };
                    kept = Some((stored, undo));
                }
                Err(exit) => {
                    outcome.exit = exit;
                    value = None;
                }
            }
        }
        let row = self.row(LogKind::Evaluate, asked, &outcome, written);
        let row = LogRow { execution, ..row };
        self.journal.append(&head.id, &head.owner, row)?;
        let outcome = answered(outcome, |stdout| EvaluateAnswer {
            turns,
            kept: kept.is_some(),
            value,
            stdout,
        })?;
        let performed = Performed::of(outcome);
        Ok(match kept {
            Some((stored, undo)) => performed.keeping(stored, undo),
            None => performed,
        })
    }

    /// Limits of an environment: those its owner names, else the others, within the host's.
    pub(crate) fn terms(&self, own: CallLimits, others: CallLimits) -> CallLimits {
        own.or(others).within(self.settings.most)
    }

    /// Limits of a call: its own, within the environment's, within the host's.
    fn limits(&self, own: CallLimits, outer: CallLimits) -> CallLimits {
        own.or(outer).within(outer).within(self.settings.most)
    }

    fn idle(&self, terms: &Fixed) -> u64 {
        terms.idle.unwrap_or(self.settings.idle.as_secs())
    }

    pub(crate) fn lifetime(&self, terms: &Fixed) -> u64 {
        terms.ttl.unwrap_or(self.settings.lifetime.as_secs())
    }

    /// Why an answer of so many bytes is not given.
    fn too_much(&self, written: usize) -> Option<Exit> {
        let (used, allowed) = (
            u64::try_from(written).unwrap_or(u64::MAX),
            self.settings.output,
        );
        (used > allowed).then_some(Exit::Limit {
            which: LimitKind::Output,
            used,
            allowed,
        })
    }

    pub(crate) fn row(
        &self,
        kind: LogKind,
        asked: Asked,
        outcome: &Outcome,
        written: usize,
    ) -> LogRow {
        LogRow {
            exit: Some(shortened(&outcome.exit)),
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            bytes: [asked.received, u64::try_from(written).unwrap_or(u64::MAX)],
            request: Some(asked.commitment),
            ..self.bare_row(kind)
        }
    }

    /// A row of something that nobody asked for.
    pub(crate) fn bare_row(&self, kind: LogKind) -> LogRow {
        LogRow {
            sequence: 0,
            at: self.clock.micros(),
            kind,
            execution: String::new(),
            exit: None,
            cpu_microseconds: 0,
            wall_microseconds: 0,
            peak_memory_bytes: 0,
            bytes: [0, 0],
            request: None,
            previous: HexArray([0; 32]),
        }
    }
}

/// The second argument of a handler.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    execution_id: &'a str,
    environment_id: &'a str,
    request_id: &'a str,
    /// Unix time, milliseconds.
    deadline: u64,
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Json(error.to_string()))
}

fn inputs(
    (stdin, limits): (HexBytes, CallLimits),
    egress: Option<Arc<dyn Egress>>,
    watched: &Watched,
) -> CallInputs {
    let Watched { budget, tap, chain } = watched.clone();
    CallInputs {
        stdin: stdin.0.into(),
        limits: in_runtime(limits),
        budget,
        tap,
        egress,
        chain,
    }
}

/// Bytes of a value and of what was printed, whether it was streamed or is to come with the answer.
fn written(value: Option<&String>, outcome: &Outcome, watched: &Watched) -> usize {
    let printed = outcome.stdout.len().saturating_add(watched.streamed());
    value.map_or(0, String::len).saturating_add(printed)
}

/// The outcome with an answer around what was printed.
fn answered<T: Serialize>(
    outcome: Outcome,
    answer: impl FnOnce(HexBytes) -> T,
) -> Result<Outcome, Error> {
    let answer = answer(HexBytes(outcome.stdout));
    Ok(Outcome {
        stdout: encode(&answer)?,
        ..outcome
    })
}

/// The state is of no use to this host any more.
fn stale(error: &StateError) -> Outcome {
    Outcome::not_run(rejected(Rejection::StaleEnvironment, error.to_string()))
}

/// An end with the beginning of its words.
fn shortened(exit: &Exit) -> Exit {
    let cut = |text: &str| text.chars().take(MAX_WORDS).collect();
    match exit {
        Exit::Trap { reason } => Exit::Trap {
            reason: cut(reason),
        },
        Exit::Rejected { problem, detail } => Exit::Rejected {
            problem: *problem,
            detail: cut(detail),
        },
        other => other.clone(),
    }
}

/// Something that waits for the disk.
pub(crate) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
