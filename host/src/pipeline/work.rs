//! What a sealed request asks for, once it is ready to be done.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use hypervisor_account::Slot;
use hypervisor_agents::Owner;
use hypervisor_environments::{self as environments, Job};
use hypervisor_protocol::metered::Budget;
use hypervisor_protocol::{LimitKind, Stream};

use super::plain::{Unread, each, is_charged, whole};
use super::{Call, Host, Refusal, bhttp};
use crate::agents::{Deployed, Plan, deploy};
use crate::executor::{
    Chain, Command, Exit, Held, Inputs, Language, NoResponse, Outcome, PrepareError, Program,
    Service, Tap, Usage, micros,
};

/// Something that can be done.
pub(super) enum Work {
    Program(Program, Inputs),
    Script(Language, String, Inputs),
    Service(
        Arc<Deployed>,
        Arc<Service>,
        Box<http::Request<bhttp::Whole>>,
    ),
    Command(Arc<Deployed>, Arc<Command>, Inputs),
    Deploy(Box<Plan>),
    Remove(Arc<Deployed>),
    Logs(Arc<Deployed>),
    List(Owner),
    Environment(Box<Job>),
}

/// What came of it.
pub(crate) struct Done {
    pub(super) outcome: Outcome,
    /// Whether it is to be paid for, where there is a price.
    pub(super) is_charged: bool,
    /// What is kept of an environment from now on that was not before: bytes, times the seconds to its end.
    pub(super) stored: u64,
    /// What takes back what it left, should it not be paid.
    pub(super) undo: Option<environments::Undo>,
}

impl Done {
    /// Whether it began.
    pub(super) fn has_run(&self) -> bool {
        !matches!(
            self.outcome.exit,
            Exit::Denied { .. } | Exit::Rejected { .. }
        )
    }

    /// How it ended and nothing that it could speak by: no output, no words, and its use in powers of two.
    pub(super) fn bare(self) -> Self {
        let Outcome {
            exit,
            cpu,
            wall,
            peak_memory,
            ..
        } = self.outcome;
        let exit = match exit {
            Exit::Trap { .. } => Exit::Trap {
                reason: "the program trapped; it was not paid for, so no more is told".to_owned(),
            },
            Exit::Limit { which, allowed, .. } => Exit::Limit {
                which,
                used: allowed,
                allowed,
            },
            other => other,
        };
        let rounded = |time: Duration| match micros(time) {
            0 => Duration::ZERO,
            used => Duration::from_micros(used.checked_next_power_of_two().unwrap_or(used)),
        };
        Self {
            outcome: Outcome {
                cpu: rounded(cpu),
                wall: rounded(wall),
                peak_memory: (peak_memory.checked_next_power_of_two()).unwrap_or(peak_memory),
                ..Outcome::not_run(exit)
            },
            ..self
        }
    }
}

impl From<Outcome> for Done {
    /// What ran to an end of its own is charged. A trap, a limit, a denial and a program that cannot run are free.
    fn from(outcome: Outcome) -> Self {
        Self {
            is_charged: matches!(outcome.exit, Exit::Ok | Exit::Code { .. }),
            stored: 0,
            undo: None,
            outcome,
        }
    }
}

impl Work {
    /// The same, for no more than it may cost.
    pub(super) fn within(mut self, most: Option<Budget>) -> Self {
        match &mut self {
            Self::Program(_, inputs) | Self::Script(.., inputs) => inputs.budget = most,
            Self::Environment(job) => job.limit_to(most),
            _ => {}
        }
        self
    }

    /// Does it, and gives the `slot` back when it has ended. What it writes is read at `tap` meanwhile, and what is left of it then is
    /// in the outcome.
    ///
    /// # Errors
    /// Where the host is at a bound, or failed.
    pub(super) async fn perform<W>(
        self,
        host: &Host,
        call: &Call<W>,
        tap: Option<Tap>,
        slot: Slot,
    ) -> Result<Done, Refusal> {
        let chain = call.chain.clone();
        let outcome = match self {
            Self::Program(program, inputs) => {
                let inputs = Inputs { tap, ..inputs };
                host.executor().run(&program, inputs).await
            }
            Self::Script(language, source, inputs) => host
                .executor()
                .run_script(language, source, Inputs { tap, ..inputs })
                .await
                .unwrap_or_else(|| {
                    Outcome::not_run(Exit::Denied {
                        reason: "the host has no script engine".to_owned(),
                    })
                }),
            Self::Service(agent, service, request) => {
                let limit = agent.terms.limits.output;
                // What answers in the host's name does so for whoever asked it.
                let chain = match agent.terms.owner() {
                    Owner::Protocol => chain.by(Arc::new(call.party.peer().clone())),
                    _ => chain,
                };
                // It may go on after its response.
                let served = serve(&service, *request, (limit, tap), chain, slot);
                return Ok(Box::pin(served).await);
            }
            Self::Command(_, command, inputs) => {
                command.call(Inputs { tap, ..inputs }, chain).await
            }
            Self::Deploy(plan) => {
                let teller = call.snapshot.teller.as_ref();
                reported(Box::pin(deploy(host.agents(), *plan, teller)).await)?
            }
            Self::Remove(agent) => reported(Box::pin(host.agents().remove(&agent)).await)?,
            Self::Logs(agent) => reported(Ok(agent.log()))?,
            Self::List(owner) => reported(Ok(host.agents().of_owner(&owner)))?,
            Self::Environment(mut job) => {
                if let Some(tap) = tap {
                    job.stream_to(tap);
                }
                job.called_by(chain);
                let done = Box::pin(job.perform()).await;
                let done = done.map_err(|error| match error {
                    environments::Error::Behind => Refusal::overloaded(),
                    error => Refusal::internal(error.to_string()),
                })?;
                return Ok(Done {
                    stored: done.stored,
                    undo: done.undo,
                    ..done.outcome.into()
                });
            }
        };
        Ok(outcome.into())
    }
}

/// The outcome of management: its answer, as JSON, in the place of standard output.
fn reported<T: serde::Serialize>(answer: Result<T, PrepareError>) -> Result<Outcome, Refusal> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(PrepareError::Program(exit)) => return Ok(Outcome::not_run(exit)),
        Err(error) => return Err(error.into()),
    };
    let json = serde_json::to_vec(&answer).map_err(|e| Refusal::internal(e.to_string()))?;
    Ok(Outcome {
        stdout: json,
        ..Outcome::not_run(Exit::Ok)
    })
}

/// A slot, until the call has ended that it was given for.
pub(super) struct Until {
    pub(super) _slot: Slot,
}

impl Held for Until {}

/// Is held by a service until it has ended.
struct Serving {
    usage: Ending,
    _slot: Slot,
}

/// What a call used and how it ended, once it has.
type Ending = Arc<OnceLock<(Usage, Exit)>>;

impl Held for Serving {
    fn ended(&self, usage: Usage, exit: &Exit) {
        self.usage.ended(usage, exit);
    }
}

async fn serve(
    service: &Arc<Service>,
    request: http::Request<bhttp::Whole>,
    out: (u64, Option<Tap>),
    chain: Chain,
    slot: Slot,
) -> Done {
    let started = Instant::now();
    let usage = Ending::default();
    let serving = Serving {
        usage: Arc::clone(&usage),
        _slot: slot,
    };
    let answered = answer(service, request, out, chain, (&usage, serving)).await;
    let Usage { cpu, peak_memory } = usage.get().map(|(usage, _)| *usage).unwrap_or_default();
    let ended = |exit| Outcome {
        cpu,
        peak_memory,
        wall: started.elapsed(),
        ..Outcome::not_run(exit)
    };
    match answered {
        Ok((stdout, status)) => Done {
            is_charged: is_charged(status),
            stored: 0,
            undo: None,
            outcome: Outcome {
                stdout,
                ..ended(Exit::Ok)
            },
        },
        Err(exit) => ended(exit).into(),
    }
}

/// The whole response in Binary HTTP, and its status.
async fn answer(
    service: &Arc<Service>,
    request: http::Request<bhttp::Whole>,
    (limit, tap): (u64, Option<Tap>),
    chain: Chain,
    (usage, serving): (&Ending, Serving),
) -> Result<(Vec<u8>, http::StatusCode), Exit> {
    let trap = |reason: &str| Exit::Trap {
        reason: reason.to_owned(),
    };
    let response =
        service
            .call(request, false, chain, serving)
            .await
            .map_err(|none| match none {
                NoResponse::Ended(exit) => exit,
                none => trap(&none.to_string()),
            })?;
    let (head, body) = response.into_parts();
    let formless = || trap("the response has no Binary HTTP form");
    let status = head.status;
    let unread = |unread| match unread {
        Unread::TooLong => Exit::Limit {
            which: LimitKind::Output,
            used: limit.saturating_add(1),
            allowed: limit,
        },
        Unread::Unfinished => match usage.get() {
            Some((_, exit)) if *exit != Exit::Ok => exit.clone(),
            _ => trap("the agent did not finish its response"),
        },
    };
    let Some(tap) = tap else {
        let collected = whole(body, limit).await.map_err(unread)?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let response = http::Response::from_parts(head, collected.to_bytes());
        let encoded = bhttp::encode(&response, &trailers).ok_or_else(formless)?;
        return Ok((encoded, status));
    };
    let head = http::Response::from_parts(head, ());
    let [start, end] = bhttp::around(&head, &HeaderMap::new()).ok_or_else(formless)?;
    tap.write(Stream::Stdout, &start);
    let written = |data: &Bytes| {
        if !data.is_empty() {
            tap.write(Stream::Stdout, &bhttp::piece_head(data.len()));
            tap.write(Stream::Stdout, data);
        }
    };
    let trailers = each(body, limit, written).await.map_err(unread)?;
    let end = match trailers {
        None => end,
        Some(trailers) => {
            let [_, end] = bhttp::around(&head, &trailers).ok_or_else(formless)?;
            end
        }
    };
    tap.write(Stream::Stdout, &end);
    Ok((tap.rest(Stream::Stdout), status))
}
