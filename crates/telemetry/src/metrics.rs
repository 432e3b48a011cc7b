//! What the host counts, and how long the steps of the pipeline take, for the admin port. Labels are classes, all of them written
//! here: never a name, an address or a digest.

mod families;
pub mod history;

use std::fmt;
use std::time::Instant;

use hypervisor_protocol::{LimitKind, Operation, ProblemType};
use hypervisor_runtime::{Exit, Outcome, micros};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text as openmetrics};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use families::{Counters, Histograms};

pub use families::Gauges;

/// Media type of what [`text`] gives: the text format of OpenMetrics.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static AGENT_CALLS: Counters<5> = Counters::new(
    "hypervisor_agent_calls",
    "Calls of agents, by how they ended.",
    "exit",
    ["ok", "code", "trap", "limit", "other"],
);
static OUTGOING: Counters<8> = Counters::new(
    "hypervisor_agent_outgoing_requests",
    "Requests that agents sent, by what became of them.",
    "outcome",
    [
        "sent",
        "internal",
        "not_listed",
        "policy",
        "private_address",
        "limit",
        "chain",
        "failed",
    ],
);
static ENVIRONMENT_OUTGOING: Counters<6> = Counters::new(
    "hypervisor_environment_outgoing_requests",
    "Requests that code in environments sent, by what became of them.",
    "outcome",
    [
        "sent",
        "not_listed",
        "policy",
        "private_address",
        "limit",
        "failed",
    ],
);
static DEPLOYS: Counters<3> = Counters::new(
    "hypervisor_agent_deploys",
    "Deployments, by what became of them.",
    "outcome",
    ["deployed", "removed", "refused"],
);
static SWAPS: Counters<4, 2> = Counters::of_two(
    "hypervisor_plugin_swaps",
    "Plugins and rules that were put in the place of others.",
    ["plugin", "outcome"],
    (
        ["payments", "policy", "protocol", "status"],
        ["swapped", "refused"],
    ),
);
static FORWARDED: Counters<5> = Counters::new(
    "hypervisor_fleet_forwarded_requests",
    "Requests of sessions that another node has, by what became of them.",
    "outcome",
    ["answered", "unknown", "unreachable", "broken", "full"],
);
static DECISIONS: Counters<5, 3> = Counters::of_two(
    "hypervisor_policy_decisions",
    "Questions to the policy, by what is done; what failed was denied.",
    ["kind", "outcome"],
    (
        [
            "execute-wasm",
            "execute-script",
            "deploy-agent",
            "invoke-agent",
            "outgoing-request",
        ],
        ["allowed", "denied", "failed"],
    ),
);
static PAYMENTS: Counters<8> = Counters::new(
    "hypervisor_payments",
    "What the payment component said of payments: whether one is good, and what became of it.",
    "end",
    [
        "authorized",
        "refused",
        "unverified",
        "settled",
        "failed",
        "unknown",
        "taken-back",
        "other",
    ],
);

static REQUESTS: Counters<11, 6> = Counters::of_two(
    "hypervisor_sealed_requests",
    "Sealed requests that were done or kept from it, by what they asked for and how it ended.",
    ["kind", "outcome"],
    (
        [
            "wasm",
            "python",
            "javascript",
            "agent",
            "deploy",
            "setup",
            "execute",
            "evaluate",
            "fork",
            "extend",
            "manage",
        ],
        ["ok", "code", "trap", "limit", "denied", "rejected"],
    ),
);
static LIMITS: Counters<14> = Counters::new(
    "hypervisor_limits_reached",
    "Executions and calls that were stopped at a limit of theirs, by the limit.",
    "limit",
    [
        "cpu",
        "wall",
        "memory",
        "table",
        "instances",
        "output",
        "stack",
        "host-buffer",
        "handles",
        "compile-time",
        "compile-memory",
        "price",
        "state",
        "other",
    ],
);
static FULL: Counters<5, 2> = Counters::of_two(
    "hypervisor_bounds_reached",
    "What was refused because the host or one peer has as much in hand as it may, by what there was no room for.",
    ["bound", "of"],
    (
        ["bytes", "slots", "queue", "turns", "other"],
        ["host", "peer"],
    ),
);
static REFUSALS: Counters<31> = Counters::new(
    "hypervisor_refusals",
    "Answers that are problems or ask for payment, by the problem.",
    "problem",
    [
        "malformed-request",
        "unsupported-media-type",
        "body-too-large",
        "invalid-key",
        "unknown-session",
        "ambiguous-session",
        "authentication-failed",
        "replayed-sequence",
        "too-many-arguments",
        "overloaded",
        "request-timeout",
        "not-found",
        "method-not-allowed",
        "shutting-down",
        "attestation-unavailable",
        "scripts-unavailable",
        "payments-unavailable",
        "payment-unverified",
        "settlement-unknown",
        "payment-reused",
        "answer-gone",
        "agent-not-found",
        "agent-refused",
        "agent-denied",
        "agent-failed",
        "agent-limit",
        "upgrade-unsupported",
        "swap-refused",
        "internal",
        "payment-required",
        "other",
    ],
);
static STEPS: Histograms<7> = Histograms::new(
    "hypervisor_step_seconds",
    "How long steps of the pipeline took, those that were broken off included.",
    "step",
    ["queue", "open", "compile", "run", "settle", "quote", "seal"],
);

/// A step of the pipeline whose time is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waiting for a slot.
    Queue,
    /// Opening the seal of a request.
    Open,
    /// Compiling a program that is in no cache.
    Compile,
    /// From the start of the work to its end; of an agent's answer that is passed on as it comes, to its head.
    Run,
    /// Moving the money.
    Settle,
    /// Waiting for a quote.
    Quote,
    /// Sealing an answer.
    Seal,
}

impl Step {
    fn place(self) -> usize {
        match self {
            Self::Queue => 0,
            Self::Open => 1,
            Self::Compile => 2,
            Self::Run => 3,
            Self::Settle => 4,
            Self::Quote => 5,
            Self::Seal => 6,
        }
    }

    fn name(self) -> &'static str {
        STEPS
            .values()
            .get(self.place())
            .copied()
            .unwrap_or_default()
    }

    /// It took so long.
    pub fn took(self, time: std::time::Duration) {
        STEPS.observe(self.place(), time);
        crate::stepped(self.name(), time);
    }
}

/// Takes the time of a step until it is dropped.
#[derive(Debug)]
pub struct Timed {
    step: Step,
    began: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.step.took(self.began.elapsed());
    }
}

/// A step begins.
#[must_use]
pub fn timed(step: Step) -> Timed {
    Timed {
        step,
        began: Instant::now(),
    }
}

/// How long a step took since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTimes {
    /// The step.
    pub step: String,
    /// How often.
    pub count: u64,
    /// Half of the times it took no longer, microseconds: the end of a bucket.
    pub half_us: u64,
    /// 95 of 100 times it took no longer, microseconds.
    pub most_us: u64,
}

/// How long the steps took since the start.
pub fn steps() -> Vec<StepTimes> {
    let times = |(place, step): (usize, &str)| {
        let reading = STEPS.read(place);
        StepTimes {
            step: step.to_owned(),
            count: reading.count(),
            half_us: reading.at_most(50),
            most_us: reading.at_most(95),
        }
    };
    STEPS.values().into_iter().enumerate().map(times).collect()
}

/// A sealed request of so many bytes was done, or kept from it.
pub fn request(operation: Operation, outcome: &Outcome, received: u64) {
    // The names of the others are in no class, which makes them the last.
    let ended = match &outcome.exit {
        Exit::Ok => "ok",
        Exit::Code { .. } => "code",
        Exit::Trap { .. } => "trap",
        Exit::Limit { .. } => "limit",
        Exit::Denied { .. } => "denied",
        Exit::Rejected { .. } => "rejected",
    };
    REQUESTS.count_both(operation.as_str(), ended);
    let sent = outcome.stdout.len().saturating_add(outcome.stderr.len());
    let recent = history::Recent {
        at: history::now(),
        kind: operation.as_str().to_owned(),
        outcome: ended.to_owned(),
        received_bytes: received,
        sent_bytes: u64::try_from(sent).unwrap_or(u64::MAX),
        cpu_us: micros(outcome.cpu),
        wall_us: micros(outcome.wall),
        peak_memory_bytes: outcome.peak_memory,
    };
    crate::done(&recent);
    history::keep(recent);
}

/// Something was stopped at a limit of its own.
pub fn limit_reached(which: LimitKind) {
    let name = serde_json::to_value(which).unwrap_or_default();
    LIMITS.count(name.as_str().unwrap_or_default());
}

/// There was no room for more, in what the host (`"host"`) or a peer (`"peer"`) may have.
pub fn full(bound: &'static str, of: &'static str) {
    FULL.count_both(bound, of);
}

/// An answer is a problem.
pub fn refused(problem: ProblemType) {
    REFUSALS.count(problem.name());
}

/// An answer asks for payment.
pub fn unpaid() {
    REFUSALS.count("payment-required");
}

/// A call of an agent ended.
pub fn agent_call(exit: &Exit) {
    AGENT_CALLS.count(match exit {
        Exit::Ok => "ok",
        Exit::Code { .. } => "code",
        Exit::Trap { .. } => "trap",
        Exit::Limit { .. } => "limit",
        Exit::Denied { .. } | Exit::Rejected { .. } => "other",
    });
}

/// An agent sent a request, or was kept from it.
pub fn outgoing(outcome: &str) {
    OUTGOING.count(outcome);
}

/// An environment sent a request, or was kept from it.
pub fn environment_outgoing(outcome: &str) {
    ENVIRONMENT_OUTGOING.count(outcome);
}

/// An agent was deployed or removed, or refused.
pub fn deploy(outcome: &str) {
    DEPLOYS.count(outcome);
}

/// A plugin or its rules were swapped, or refused.
pub fn swap(plugin: &str, outcome: &str) {
    SWAPS.count_both(plugin, outcome);
}

/// A request was forwarded to another node, or was not.
pub fn forwarded(outcome: &str) {
    FORWARDED.count(outcome);
}

/// Requests that were forwarded, or were not.
pub fn all_forwarded() -> u64 {
    FORWARDED.sum()
}

/// The policy was asked.
pub fn decision(kind: &str, outcome: &str) {
    DECISIONS.count_both(kind, outcome);
}

/// The payment component said something of a payment.
pub fn payment(end: &str) {
    PAYMENTS.count(end);
}

/// Everything as text, of the type [`MEDIA_TYPE`]; `gauges` are what there is at the moment.
pub fn text(gauges: Vec<Gauges>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything(gauges)));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = openmetrics::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Everything(Vec<Gauges>);

impl Collector for Everything {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        REQUESTS.encode(encoder)?;
        LIMITS.encode(encoder)?;
        FULL.encode(encoder)?;
        REFUSALS.encode(encoder)?;
        STEPS.encode(encoder)?;
        AGENT_CALLS.encode(encoder)?;
        OUTGOING.encode(encoder)?;
        ENVIRONMENT_OUTGOING.encode(encoder)?;
        DEPLOYS.encode(encoder)?;
        SWAPS.encode(encoder)?;
        FORWARDED.encode(encoder)?;
        DECISIONS.encode(encoder)?;
        PAYMENTS.encode(encoder)?;
        self.0.iter().try_for_each(|gauges| gauges.encode(encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_and_every_limit_has_a_counter_of_its_own() {
        for problem in ProblemType::ALL {
            assert!(REFUSALS.knows(problem.name()), "{problem:?}");
        }
        // The first that is not one of its names is told which are.
        let error = serde_json::from_value::<LimitKind>("none".into()).unwrap_err();
        let error = error.to_string();
        let limits: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert!(limits.len() > 10, "{error}");
        assert!(limits.iter().all(|name| LIMITS.knows(name)), "{error}");
    }
}
