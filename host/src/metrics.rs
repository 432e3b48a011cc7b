//! Counters of the whole host, for the admin port. Their labels are classes: never a name, an address or a digest.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::executor::Exit;

/// A family of counters, one for each value of a label, or for each pair of values of two.
struct Family<const N: usize, const M: usize = 1> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
    values: ([&'static str; N], [&'static str; M]),
    counts: [[AtomicU64; M]; N],
}

impl<const N: usize> Family<N> {
    const fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> Self {
        Self::of_two(name, help, [label, ""], (values, [""]))
    }

    /// Counts one of `value`; what is in no class counts as the last one.
    fn count(&self, value: &str) {
        self.count_both(value, "");
    }
}

impl<const N: usize, const M: usize> Family<N, M> {
    const fn of_two(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; 2],
        values: ([&'static str; N], [&'static str; M]),
    ) -> Self {
        Self {
            name,
            help,
            labels,
            values,
            counts: [const { [const { AtomicU64::new(0) }; M] }; N],
        }
    }

    fn count_both(&self, first: &str, second: &str) {
        let index = |values: &[&str], value: &str| {
            let found = values.iter().position(|known| *known == value);
            found.unwrap_or(values.len().saturating_sub(1))
        };
        let (row, column) = (index(&self.values.0, first), index(&self.values.1, second));
        if let Some(count) = self.counts.get(row).and_then(|row| row.get(column)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, out: &mut String) {
        let Self {
            name, help, labels, ..
        } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (first, row) in self.values.0.iter().zip(&self.counts) {
            for (second, count) in self.values.1.iter().zip(row) {
                let count = count.load(Ordering::Relaxed);
                let _ = write!(out, "{name}{{{}=\"{first}\"", labels[0]);
                if M > 1 {
                    let _ = write!(out, ",{}=\"{second}\"", labels[1]);
                }
                let _ = writeln!(out, "}} {count}");
            }
        }
    }
}

static AGENT_CALLS: Family<5> = Family::new(
    "hypervisor_agent_calls_total",
    "Calls of agents, by how they ended.",
    "exit",
    ["ok", "code", "trap", "limit", "other"],
);
static OUTGOING: Family<8> = Family::new(
    "hypervisor_agent_outgoing_requests_total",
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
static ENVIRONMENT_OUTGOING: Family<6> = Family::new(
    "hypervisor_environment_outgoing_requests_total",
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
static DEPLOYS: Family<3> = Family::new(
    "hypervisor_agent_deploys_total",
    "Deployments, by what became of them.",
    "outcome",
    ["deployed", "removed", "refused"],
);
static SWAPS: Family<2, 2> = Family::of_two(
    "hypervisor_plugin_swaps_total",
    "Plugins and rules that were put in the place of others.",
    ["plugin", "outcome"],
    (["payments", "policy"], ["swapped", "refused"]),
);
static DECISIONS: Family<5, 3> = Family::of_two(
    "hypervisor_policy_decisions_total",
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
static PAYMENTS: Family<8> = Family::new(
    "hypervisor_payments_total",
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

/// A call of an agent ended.
pub(crate) fn agent_call(exit: &Exit) {
    AGENT_CALLS.count(match exit {
        Exit::Ok => "ok",
        Exit::Code { .. } => "code",
        Exit::Trap { .. } => "trap",
        Exit::Limit { .. } => "limit",
        Exit::Denied { .. } | Exit::Rejected { .. } => "other",
    });
}

/// An agent sent a request, or was kept from it.
pub(crate) fn outgoing(outcome: &str) {
    OUTGOING.count(outcome);
}

/// An environment sent a request, or was kept from it.
pub(crate) fn environment_outgoing(outcome: &str) {
    ENVIRONMENT_OUTGOING.count(outcome);
}

/// An agent was deployed or removed, or refused.
pub(crate) fn deploy(outcome: &str) {
    DEPLOYS.count(outcome);
}

/// A plugin or its rules were swapped, or refused.
pub(crate) fn swap(plugin: &str, outcome: &str) {
    SWAPS.count_both(plugin, outcome);
}

/// The policy was asked.
pub(crate) fn decision(kind: &str, outcome: &str) {
    DECISIONS.count_both(kind, outcome);
}

/// The payment component said something of a payment.
pub(crate) fn payment(end: &str) {
    PAYMENTS.count(end);
}

/// Everything in the text format of Prometheus, version 0.0.4. `gauges` are names with help and value.
pub fn text(gauges: &[(&str, &str, u64)]) -> String {
    let mut out = String::new();
    AGENT_CALLS.write(&mut out);
    OUTGOING.write(&mut out);
    ENVIRONMENT_OUTGOING.write(&mut out);
    DEPLOYS.write(&mut out);
    SWAPS.write(&mut out);
    DECISIONS.write(&mut out);
    PAYMENTS.write(&mut out);
    for (name, help, value) in gauges {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_with_their_labels() {
        static TEST: Family<2> = Family::new("test_total", "Help.", "kind", ["a", "other"]);
        TEST.count("a");
        TEST.count("something else");
        let mut out = String::new();
        TEST.write(&mut out);
        assert_eq!(
            out,
            "# HELP test_total Help.\n# TYPE test_total counter\ntest_total{kind=\"a\"} 1\ntest_total{kind=\"other\"} 1\n"
        );
    }

    #[test]
    fn pairs_of_labels_have_a_counter_each() {
        static TEST: Family<2, 2> =
            Family::of_two("test_total", "Help.", ["a", "b"], (["x", "y"], ["1", "2"]));
        TEST.count_both("y", "1");
        let mut out = String::new();
        TEST.write(&mut out);
        let lines: Vec<&str> = out.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "test_total{a=\"x\",b=\"1\"} 0",
                "test_total{a=\"x\",b=\"2\"} 0",
                "test_total{a=\"y\",b=\"1\"} 1",
                "test_total{a=\"y\",b=\"2\"} 0",
            ]
        );
    }
}
