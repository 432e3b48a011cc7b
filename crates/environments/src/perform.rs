//! Doing what a job asks for.

use std::sync::Arc;

use hypervisor_protocol::environment::{
    CallLimits, EnvironmentInfo, EnvironmentList, EnvironmentLog, EvaluateAnswer, EvaluateInput,
    ExecuteAnswer, ExecuteInput, LogKind, LogRow, Page, SetupAnswer, encode,
};
use hypervisor_protocol::metered::Budget;
use hypervisor_protocol::{Commitment, Exit, HexArray, HexBytes, LimitKind, Rejection};
use hypervisor_runtime::{CallInputs, Outcome, State, StateError, micros};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use crate::Environments;
use crate::error::{Error, rejected, unknown};
use crate::head::{Head, Id};
use crate::job::{Fixed, Job, Setup, What, in_runtime};
use crate::live::{Entry, Place, Using};

/// Characters of an end's words that the log keeps.
const MAX_WORDS: usize = 256;

/// What the log has of a request.
#[derive(Clone, Copy)]
struct Asked {
    commitment: Commitment,
    received: u64,
}

/// What came of a job.
pub struct Performed {
    /// How it ended, and the answer.
    pub outcome: Outcome,
    /// What takes back what it left, where it left something.
    pub undo: Option<Undo>,
}

/// What takes back what a setup or a turn left; dropped, it stays. Until then no other turn begins.
pub struct Undo {
    entry: Arc<Entry>,
    /// What was there before a turn.
    before: Option<Box<(Head, State)>>,
    /// Of what is there now.
    writing: u64,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Undo {
    fn of_setup(entry: Arc<Entry>) -> Self {
        Self {
            entry,
            before: None,
            writing: 0,
            _turn: None,
        }
    }
}

impl Performed {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            undo: None,
        }
    }
}

impl Environments {
    /// Does it. The outcome's standard output is the answer, CBOR.
    ///
    /// # Errors
    /// Where the store or the random number generator fails.
    pub async fn perform(&self, job: Job) -> Result<Performed, Error> {
        let Job {
            what,
            commitment,
            received,
            budget,
            ..
        } = job;
        if self.journal.is_full() {
            return Err(Error::Behind);
        }
        let asked = Asked {
            commitment,
            received,
        };
        let only = Performed::of;
        match what {
            What::Setup(setup) => self.set_up(*setup, asked, budget).await,
            What::Execute(using, input) => {
                self.execute(&using, input, asked, budget).await.map(only)
            }
            What::Evaluate(using, turn, input) => {
                self.evaluate((using, turn), input, asked, budget).await
            }
            What::Fork(using, place, network, terms) => {
                waiting(|| self.fork(&using, (place, network), &terms, asked)).map(only)
            }
            What::Extend(using, terms) => waiting(|| self.extend(&using, &terms, asked)).map(only),
            What::List(owner, page) => self.list(&owner, &page).map(only),
            What::Log(owner, id, page) => waiting(|| self.log(&owner, &id, &page)).map(only),
            What::Remove(using) => waiting(|| self.removed(&using, asked)).map(only),
        }
    }

    /// Takes back what a job left that is not to stay: it was not paid for.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn undo(&self, undo: Undo) -> Result<(), Error> {
        let Undo {
            entry,
            before,
            writing,
            ..
        } = undo;
        waiting(|| match before {
            None => self.end(&entry, self.bare_row(LogKind::Undo)).map(drop),
            Some(before) => self.go_back(&entry, writing, &before),
        })
    }

    async fn set_up(
        &self,
        setup: Setup,
        asked: Asked,
        budget: Option<Budget>,
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
        let inputs = inputs(HexBytes::default(), limits, budget);
        let set_up = match self.executor.set_up(language, bundle, inputs).await {
            Ok(set_up) => set_up,
            Err(error) => return Ok(Performed::of(stale(&error))),
        };
        let mut outcome = set_up.outcome;
        let (mut environment, mut undo) = (None, None);
        if let Some(state) = set_up.state {
            let now = self.clock.seconds();
            let head = Head {
                id: Id::random()?,
                owner,
                network,
                name: terms.name.clone().unwrap_or_default(),
                language: language.name().to_owned(),
                bundle: HexArray(bundle_digest),
                engine: HexArray(*state.engine()),
                limits,
                created_at: now,
                used_at: now,
                ends_at: now.saturating_add(self.lifetime(&terms)),
                idle_seconds: self.idle(&terms),
                turns: 0,
                writing: 0,
                state_bytes: state.size(),
                state: HexArray(state.digest()),
            };
            match waiting(|| self.keep_new(place, &head, &state))? {
                Ok(entry) => {
                    undo = Some(Undo::of_setup(entry));
                    let row = self.row(LogKind::Setup, asked, &outcome, outcome.stdout.len());
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
        Ok(Performed { outcome, undo })
    }

    async fn execute(
        &self,
        using: &Using,
        input: ExecuteInput,
        asked: Asked,
        budget: Option<Budget>,
    ) -> Result<Outcome, Error> {
        let head = using.0.head();
        let (Some(language), Some(state)) = (head.language(), self.state(&head)?) else {
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
        let inputs = inputs(input.stdin, limits, budget);
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
        let written = value.as_ref().map_or(0, String::len);
        let written = written.saturating_add(outcome.stdout.len());
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
        &self,
        (using, guard): (Using, OwnedMutexGuard<()>),
        input: EvaluateInput,
        asked: Asked,
        budget: Option<Budget>,
    ) -> Result<Performed, Error> {
        let head = using.0.head();
        let (Some(language), Some(state)) = (head.language(), self.state(&head)?) else {
            return Ok(Performed::of(Outcome::not_run(unknown())));
        };
        let execution = Id::random()?.to_string();
        let limits = self.limits(input.limits, head.limits);
        let inputs = inputs(input.stdin, limits, budget);
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
        let written = value.as_ref().map_or(0, String::len);
        let written = written.saturating_add(outcome.stdout.len());
        if let Some(exit) = self.too_much(written) {
            outcome.exit = exit;
            (value, next) = (None, None);
        }
        let (mut turns, mut kept, mut undo) = (head.turns, false, None);
        if let Some(next) = next {
            match waiting(|| self.keep_next(&using.0, &next))? {
                Ok(after) => {
                    (turns, kept) = (after.turns, true);
                    undo = Some(Undo {
                        entry: Arc::clone(&using.0),
                        before: Some(Box::new((head.clone(), state))),
                        writing: after.writing,
                        _turn: Some(guard),
                    });
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
            kept,
            value,
            stdout,
        })?;
        Ok(Performed { outcome, undo })
    }

    fn fork(
        &self,
        using: &Using,
        (place, network): (Place, Option<String>),
        terms: &Fixed,
        asked: Asked,
    ) -> Result<Outcome, Error> {
        let of = using.0.head();
        let Some(state) = self.state(&of)? else {
            return Ok(Outcome::not_run(unknown()));
        };
        let now = self.clock.seconds();
        let head = Head {
            id: Id::random()?,
            name: terms.name.clone().unwrap_or_else(|| of.name.clone()),
            limits: self.terms(terms.limits, of.limits),
            created_at: now,
            used_at: now,
            ends_at: now.saturating_add(self.lifetime(terms)),
            idle_seconds: terms.idle.unwrap_or(of.idle_seconds),
            writing: 0,
            network,
            ..of.clone()
        };
        if let Err(exit) = self.keep_new(place, &head, &state)? {
            return Ok(Outcome::not_run(exit));
        }
        let done = Outcome::not_run(Exit::Ok);
        let row = |kind| self.row(kind, asked, &done, 0);
        self.journal.append(&of.id, &of.owner, row(LogKind::Fork))?;
        self.journal
            .append(&head.id, &head.owner, row(LogKind::Setup))?;
        reported(&head.info(self.is_persistent()))
    }

    fn extend(&self, using: &Using, terms: &Fixed, asked: Asked) -> Result<Outcome, Error> {
        let mut head = using.0.locked();
        if using.0.is_gone() {
            return Ok(Outcome::not_run(unknown()));
        }
        let now = self.clock.seconds();
        let mut next = Head {
            used_at: now,
            ends_at: now.saturating_add(self.lifetime(terms)),
            idle_seconds: terms.idle.unwrap_or(head.idle_seconds),
            limits: self.terms(terms.limits, head.limits),
            ..head.clone()
        };
        if let Some(name) = &terms.name {
            next.name.clone_from(name);
        }
        self.rows.put_head(&next)?;
        using.0.times(&next);
        using.0.used(now);
        *head = next.clone();
        drop(head);
        self.changed.notify_one();
        let done = Outcome::not_run(Exit::Ok);
        let row = self.row(LogKind::Extend, asked, &done, 0);
        self.journal.append(&next.id, &next.owner, row)?;
        reported(&next.info(self.is_persistent()))
    }

    fn list(&self, owner: &str, page: &Page) -> Result<Outcome, Error> {
        let heads = self.live.of_owner(owner, self.clock.seconds());
        let total = u64::try_from(heads.len()).unwrap_or(u64::MAX);
        let persistent = self.is_persistent();
        let (from, limit) = bounds_of(page);
        let infos = heads.iter().skip(from).take(limit);
        let environments: Vec<EnvironmentInfo> = infos.map(|head| head.info(persistent)).collect();
        reported(&EnvironmentList {
            environments,
            total,
        })
    }

    fn log(&self, owner: &str, id: &Id, page: &Page) -> Result<Outcome, Error> {
        let Some(bounds) = self.journal.bounds(id, owner) else {
            return Ok(Outcome::not_run(unknown()));
        };
        let (_, limit) = bounds_of(page);
        let rows = self.journal.read(id, page.from.max(bounds.first), limit)?;
        reported(&EnvironmentLog {
            rows: rows.into_iter().map(HexBytes).collect(),
            first: bounds.first,
            total: bounds.next,
            head: bounds.head,
        })
    }

    fn removed(&self, using: &Using, asked: Asked) -> Result<Outcome, Error> {
        let head = using.0.head();
        let done = Outcome::not_run(Exit::Ok);
        let row = self.row(LogKind::Remove, asked, &done, 0);
        if !self.end(&using.0, row)? {
            return Ok(Outcome::not_run(unknown()));
        }
        reported(&head.info(self.is_persistent()))
    }

    /// Takes an environment out of everything but its log. Whether it was there.
    pub(crate) fn end(&self, entry: &Entry, row: LogRow) -> Result<bool, Error> {
        // Whoever changes it holds this, so that nothing is written after.
        let head = entry.locked();
        let is_first = self.live.remove(&entry.id).is_some();
        if !is_first && entry.is_ended() {
            return Ok(false);
        }
        self.rows.remove(&head)?;
        entry.ended();
        self.states.remove(&entry.id);
        self.live.release(&head.accounts(), head.state_bytes);
        drop(head);
        self.journal.append(&entry.id, &entry.owner, row)?;
        self.journal.end(&entry.id, self.clock.seconds());
        Ok(true)
    }

    /// Keeps a new environment in its place, where there is room for its state.
    fn keep_new(
        &self,
        place: Place,
        head: &Head,
        state: &State,
    ) -> Result<Result<Arc<Entry>, Exit>, Error> {
        let change = (0, head.state_bytes);
        let accounts = head.accounts();
        if let Err(exit) = self.live.exchange(&accounts, change, &self.settings) {
            return Ok(Err(exit));
        }
        if let Err(error) = self.rows.put(head, state, None) {
            self.live.undo(&accounts, change);
            return Err(error);
        }
        self.states.put(head, state);
        let entry = self.live.insert(place, head.clone());
        self.changed.notify_one();
        Ok(Ok(entry))
    }

    /// Moves an environment on.
    fn keep_next(&self, entry: &Entry, state: &State) -> Result<Result<Head, Exit>, Error> {
        let mut head = entry.locked();
        if entry.is_gone() {
            return Ok(Err(unknown()));
        }
        let next = Head {
            turns: head.turns.saturating_add(1),
            writing: head.writing.saturating_add(1),
            state_bytes: state.size(),
            state: HexArray(state.digest()),
            used_at: self.clock.seconds(),
            ..head.clone()
        };
        let (before, after) = (head.state_bytes, next.state_bytes);
        let accounts = head.accounts();
        let room = self
            .live
            .exchange(&accounts, (before, after), &self.settings);
        if let Err(exit) = room {
            return Ok(Err(exit));
        }
        if let Err(error) = self.rows.put(&next, state, Some(&head)) {
            self.live.undo(&accounts, (before, after));
            return Err(error);
        }
        self.states.put(&next, state);
        *head = next.clone();
        Ok(Ok(next))
    }

    /// Puts an environment back to where it was before the turn of this writing, where no other came after it.
    fn go_back(
        &self,
        entry: &Entry,
        writing: u64,
        (before, state): &(Head, State),
    ) -> Result<(), Error> {
        let mut head = entry.locked();
        if entry.is_gone() || head.writing != writing {
            return Ok(());
        }
        let next = Head {
            turns: before.turns,
            writing: head.writing.saturating_add(1),
            state_bytes: before.state_bytes,
            state: before.state,
            ..head.clone()
        };
        self.rows.put(&next, state, Some(&head))?;
        let bytes = (next.state_bytes, head.state_bytes);
        self.live.undo(&head.accounts(), bytes);
        self.states.put(&next, state);
        *head = next;
        drop(head);
        let row = self.bare_row(LogKind::Undo);
        self.journal.append(&entry.id, &entry.owner, row)
    }

    /// The state that a head names; none where it moved on or ended meanwhile.
    fn state(&self, head: &Head) -> Result<Option<State>, Error> {
        if let Some(state) = self.states.get(head) {
            return Ok(Some(state));
        }
        match waiting(|| self.rows.state(head)) {
            Ok(state) => {
                self.states.put(head, &state);
                Ok(Some(state))
            }
            Err(Error::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Limits of an environment: those its owner names, else the others, within the host's.
    fn terms(&self, own: CallLimits, others: CallLimits) -> CallLimits {
        own.or(others).within(self.settings.most)
    }

    /// Limits of a call: its own, within the environment's, within the host's.
    fn limits(&self, own: CallLimits, outer: CallLimits) -> CallLimits {
        own.or(outer).within(outer).within(self.settings.most)
    }

    fn idle(&self, terms: &Fixed) -> u64 {
        terms.idle.unwrap_or(self.settings.idle.as_secs())
    }

    fn lifetime(&self, terms: &Fixed) -> u64 {
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

    fn row(&self, kind: LogKind, asked: Asked, outcome: &Outcome, written: usize) -> LogRow {
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

fn inputs(stdin: HexBytes, limits: CallLimits, budget: Option<Budget>) -> CallInputs {
    CallInputs {
        stdin: stdin.0.into(),
        limits: in_runtime(limits),
        budget,
    }
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

/// The outcome of something that ran nothing.
fn reported<T: Serialize>(answer: &T) -> Result<Outcome, Error> {
    Ok(Outcome {
        stdout: encode(answer)?,
        ..Outcome::not_run(Exit::Ok)
    })
}

/// The state is of no use to this host any more.
fn stale(error: &StateError) -> Outcome {
    Outcome::not_run(rejected(Rejection::StaleEnvironment, error.to_string()))
}

fn bounds_of(page: &Page) -> (usize, usize) {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    (size(page.from), size(page.limit.unwrap_or_default()))
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
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
